//! Forgetting a person: the lines of the story stay, since they say what a client did, and say no more about whom.

use std::collections::BTreeSet;

use super::{CHUNKS_AT_ONCE, Line, json, put, read_lines};
use crate::directory::error::Error;
use crate::directory::record::UserRecord;
use crate::directory::{Directory, entropy, keys};
use crate::domain::ids::AccountId;
use crate::domain::names::fold;
use crate::store::{Batch, Bounds, Check, Document, DocumentKey, Index, Page, Space};

/// Stands where something about a person stood.
const ERASED: &str = "(erased)";

impl Directory {
    /// Whom the story is to forget, as they are stored before they are erased: then nothing says it any more.
    ///
    /// # Errors
    /// Of the store.
    pub(in crate::directory) async fn stored_user(
        &self,
        account: &AccountId,
        id: &str,
    ) -> Result<Option<UserRecord>, Error> {
        let Ok(id) = id.parse() else { return Ok(None) };
        let found = self.store.get(&Space::Account(account.clone()), &[keys::user(id)]).await?.pop().flatten();
        found.as_ref().map(UserRecord::decode).transpose()
    }

    /// Takes a person out of the story. What a request of this moment said about them is written after this, and goes
    /// with its age.
    ///
    /// # Errors
    /// Of the store; repeating it goes on where it stopped.
    pub(in crate::directory) async fn forget_in_story(
        &self,
        account: &AccountId,
        person: &UserRecord,
    ) -> Result<(), Error> {
        let space = Space::Account(account.clone());
        let terms = terms_of(person);
        let mut page = Page::first(CHUNKS_AT_ONCE);
        loop {
            let entries = self.store.range(&space, &Index::new(keys::STORY), &Bounds::All, &page).await?;
            let wanted: Vec<DocumentKey> = entries.iter().map(|entry| keys::story(&entry.id)).collect();
            let documents = if wanted.is_empty() { Vec::new() } else { self.store.get(&space, &wanted).await? };
            for (entry, document) in entries.iter().zip(documents) {
                let lines = read_lines(document.as_ref())?;
                if lines.iter().any(|line| is_about(line, &terms)) {
                    self.forget_in_chunk(&space, &entry.id, lines, &terms).await?;
                }
            }
            match entries.into_iter().last() {
                Some(last) if wanted.len() == page.limit => page.after = Some(last),
                _ => return Ok(()),
            }
        }
    }

    async fn forget_in_chunk(
        &self,
        space: &Space,
        chunk: &str,
        mut lines: Vec<Line>,
        terms: &BTreeSet<String>,
    ) -> Result<(), Error> {
        let bodies = self.store.get(space, &[keys::story_bodies(chunk)]).await?.pop().flatten();
        let mut bodies = read_bodies(bodies.as_ref())?;
        for (number, line) in lines.iter_mut().enumerate().filter(|(_, line)| is_about(line, terms)) {
            erase(line);
            if let Some(body) = bodies.get_mut(number) {
                *body = None;
            }
        }
        let now = self.store.now();
        let mut batch = Batch::new(entropy::commit_id(now));
        // Nobody else writes a chunk; one that was trimmed meanwhile is not to come back.
        batch.checks.push(Check::Exists { key: keys::story(chunk) });
        batch.writes.push(put(keys::story(chunk), now, json(&lines)));
        batch.writes.push(put(keys::story_bodies(chunk), now, json(&bodies)));
        self.committed(space, &batch).await.map(|_| ())
    }
}

fn terms_of(person: &UserRecord) -> BTreeSet<String> {
    let user = &person.user;
    let address = user.sign_in_address.as_ref().map(|address| address.as_str().to_owned());
    let names =
        [Some(user.id.to_string()), Some(user.user_name.as_str().to_owned()), user.external_id.clone(), address];
    names.into_iter().flatten().map(|name| fold(&name)).filter(|name| !name.is_empty()).collect()
}

fn is_about(line: &Line, terms: &BTreeSet<String>) -> bool {
    // A lookup carries the name in its filter alone, in quotes.
    let target = fold(&line.target);
    !line.terms.is_disjoint(terms) || terms.iter().any(|term| target.contains(&format!("\"{term}\"")))
}

fn erase(line: &mut Line) {
    line.about = None;
    line.terms.clear();
    if let Some((path, _)) = line.target.split_once('?') {
        line.target = format!("{path}?{ERASED}");
    }
    if let Some(refused) = &mut line.refused {
        ERASED.clone_into(&mut refused.detail);
    }
}

pub(super) fn read_bodies(document: Option<&Document>) -> Result<Vec<Option<String>>, Error> {
    match document {
        Some(document) => serde_json::from_slice(&document.body).map_err(|error| Error::damaged("story", error)),
        None => Ok(Vec::new()),
    }
}
