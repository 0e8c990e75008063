//! What is left in the story of a person who was erased: that there were requests, and not whom they were about.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::{Line, json, put_after, read};
use crate::directory::record::UserRecord;
use crate::directory::{Directory, Error, entropy, keys};
use crate::domain::names::fold;
use crate::store::{Batch, Bounds, Check, Document, DocumentKey, Entry, Index, Page, Space};

/// So many chunks are read in one trip, with their bodies.
const AT_ONCE: usize = 20;

/// By what a person is known in requests.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::directory) struct Known {
    id: String,
    /// Names, addresses and foreign ids, folded.
    terms: BTreeSet<String>,
}

impl Known {
    pub fn of(record: &UserRecord) -> Self {
        let user = &record.user;
        let names = [Some(user.user_name.as_str()), user.external_id.as_deref()];
        let waiting = user.unconfirmed_address.as_ref().map(|waiting| &waiting.address);
        let addresses = user.sign_in_address.iter().chain(waiting).map(|address| address.as_str());
        let mut terms = record.emails();
        terms.extend(names.into_iter().flatten().chain(addresses).map(fold));
        Known { id: user.id.to_string(), terms }
    }

    /// Whether this text has their id, or one of their names as a quoted value.
    fn is_in(&self, text: &str) -> bool {
        let folded = fold(text);
        folded.contains(&self.id) || self.terms.iter().any(|term| folded.contains(&format!("\"{term}\"")))
    }

    fn is_about(&self, line: &Line, body: Option<&str>) -> bool {
        line.terms.contains(&self.id)
            || !line.terms.is_disjoint(&self.terms)
            || self.is_in(&line.target)
            || body.is_some_and(|body| self.is_in(body))
    }
}

impl Line {
    /// Takes out whom it is about. Error details hold no values of clients.
    fn forget(&mut self, id: &str) {
        self.about = None;
        self.terms = if self.terms.contains(id) { BTreeSet::from([id.to_owned()]) } else { BTreeSet::new() };
        if let Some(query) = self.target.find('?') {
            self.target.truncate(query);
        }
    }
}

impl Directory {
    /// Takes a person who was erased out of the next chunks of the story; the last one that was looked at, if there may
    /// be more.
    pub(in crate::directory) async fn forget_in_story(
        &self,
        space: &Space,
        known: &Known,
        behind: Option<String>,
    ) -> Result<Option<String>, Error> {
        let after = behind.map(|id| Entry { key: id.clone(), id });
        let page = Page { after, ..Page::first(AT_ONCE) };
        let entries = self.store.range(space, &Index::new(keys::STORY), &Bounds::All, &page).await?;
        let wanted: Vec<DocumentKey> =
            entries.iter().flat_map(|entry| [keys::story(&entry.id), keys::story_bodies(&entry.id)]).collect();
        let documents = if wanted.is_empty() { Vec::new() } else { self.store.get(space, &wanted).await? };
        for (entry, chunk) in entries.iter().zip(documents.chunks(2)) {
            let mut chunk = chunk.to_vec();
            // Whoever forgets somebody else in the same chunk at this moment comes first; trimmed, it is empty.
            while let Some(batch) = self.forgetting(known, &entry.id, &chunk) {
                if self.committed(space, &batch).await? {
                    break;
                }
                chunk = self.store.get(space, &[keys::story(&entry.id), keys::story_bodies(&entry.id)]).await?;
            }
        }
        Ok(entries.into_iter().last().map(|last| last.id))
    }

    /// The batch that rewrites a chunk; `None` when it is about others only, or cannot be read: then the story does not
    /// show it either, and it goes with its age.
    fn forgetting(&self, known: &Known, id: &str, chunk: &[Option<Document>]) -> Option<Batch> {
        let lines = read::<Line>(chunk.first().and_then(Option::as_ref));
        let bodies = read::<Option<String>>(chunk.get(1).and_then(Option::as_ref));
        let (mut lines, mut bodies) = match (lines, bodies) {
            (Ok(lines), Ok(bodies)) => (lines, bodies),
            (Err(error), _) | (_, Err(error)) => {
                tracing::warn!(%error, "a part of the story is passed over while somebody is erased");
                return None;
            }
        };
        bodies.resize(lines.len(), None);
        let mut changed = false;
        for (line, body) in lines.iter_mut().zip(&mut bodies) {
            if known.is_about(line, body.as_deref()) {
                line.forget(&known.id);
                *body = None;
                changed = true;
            }
        }
        let now = self.store.now();
        let mut batch = Batch::new(entropy::commit_id(now));
        let revision = chunk.first().and_then(Option::as_ref).map_or(0, |document| document.revision);
        batch.checks.push(Check::Revision { key: keys::story(id), revision });
        batch.writes.push(put_after(revision, keys::story(id), now, json(&lines)));
        batch.writes.push(put_after(revision, keys::story_bodies(id), now, json(&bodies)));
        changed.then_some(batch)
    }
}
