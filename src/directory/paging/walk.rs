//! The pages of an unsorted list behind its first one: along whatever yields candidates in the order they were made,
//! until the page is full and one more resource shows that there is a next page, or as much was looked at as one
//! request may. Then the page is shorter than it was asked to be, even empty, and the next one goes on.

use super::cursor::Place;
use super::{Located, Terms};
use crate::directory::Directory;
use crate::directory::error::Error;
use crate::directory::keys;
use crate::directory::kind::Kind;
use crate::directory::plan::Plan;
use crate::directory::query::{CHUNK, Match, Search};
use crate::directory::request::Context;
use crate::domain::ids::ResourceId;
use crate::store::{Bounds, Document, Entry, Index, Page};

/// What yields candidates in the order they were made.
enum Source {
    /// These ids.
    Ids(Vec<String>),
    /// The entries of an index that have this key: their order is that of their ids.
    Entries { index: Index, key: String },
}

/// What a walk found of one kind.
struct Walked {
    found: Vec<(ResourceId, Document)>,
    /// The last one that was looked at.
    last: Option<ResourceId>,
    /// Whether as much was looked at as may be, with more to come.
    is_cut_off: bool,
}

impl Directory {
    /// Up to `count` resources behind this place, and where the next page begins.
    pub(super) async fn walk(
        &self,
        context: &Context,
        terms: &Terms,
        behind: Option<Place>,
        count: usize,
    ) -> Result<(Vec<Located>, Option<Place>), Error> {
        let mut left = self.settings.queries.max_scan;
        let mut found: Vec<Located> = Vec::new();
        let mut reached = behind.clone();
        let first = behind.as_ref().and_then(|place| terms.0.iter().position(|(kind, _)| *kind == place.kind));
        for (kind, search) in terms.0.iter().skip(first.unwrap_or(0)) {
            let after = behind.as_ref().filter(|place| place.kind == *kind).map(|place| place.id);
            let wanted = count + 1 - found.len();
            let walked = self.walk_kind(context, *kind, search, after, wanted, &mut left).await?;
            found.extend(walked.found.into_iter().map(|(id, document)| (*kind, id, document)));
            if found.len() > count {
                found.truncate(count);
                let next = found.last().map(|(kind, id, _)| Place { kind: *kind, id: *id, rank: 0 });
                return Ok((found, next));
            }
            reached = walked.last.map(|id| Place { kind: *kind, id, rank: 0 }).or(reached);
            if walked.is_cut_off {
                return Ok((found, reached));
            }
        }
        Ok((found, None))
    }

    async fn walk_kind(
        &self,
        context: &Context,
        kind: Kind,
        search: &Search,
        mut after: Option<ResourceId>,
        wanted: usize,
        left: &mut usize,
    ) -> Result<Walked, Error> {
        let planned = self.planned(kind);
        let plan = planned.plan(search.filter.as_ref());
        let is_exact = matches!(plan, Plan::Exact(_));
        let source = self.source(context, kind, &plan).await?;
        let mut found = Vec::new();
        while found.len() < wanted {
            // What an index answers by itself is not looked at.
            if *left == 0 && !is_exact {
                return Ok(Walked { found, last: after, is_cut_off: true });
            }
            let step = if is_exact { wanted - found.len() } else { CHUNK.min(*left) };
            let ids = self.step(context, &source, after, step).await?;
            let Some(last) = ids.last() else { break };
            after = Some(last.parse().map_err(|error| Error::damaged("index", error))?);
            let documents = self.documents(context, kind, &ids).await?;
            if is_exact {
                found.extend(documents);
            } else {
                *left = left.saturating_sub(ids.len());
                let satisfying = self.satisfying(context, planned, search, documents).await?;
                found.extend(satisfying.into_iter().map(|Match { id, document, .. }| (id, document)));
            }
        }
        Ok(Walked { found, last: after, is_cut_off: false })
    }

    /// What is not in the order of ids is put into it where it is little, and otherwise looked for among all.
    async fn source(&self, context: &Context, kind: Kind, plan: &Plan) -> Result<Source, Error> {
        let entries = |index: Index, key: &str| Source::Entries { index, key: key.to_owned() };
        Ok(match plan {
            Plan::Exact(index) | Plan::Range(index, Bounds::All) => entries(Index::new(index), ""),
            Plan::Range(index, Bounds::Key(key)) => entries(Index::new(index), key),
            Plan::GroupsOf(member) => entries(keys::groups_of(*member), ""),
            Plan::Nothing
            | Plan::Ids(_)
            | Plan::Unique(..)
            | Plan::Within(_)
            | Plan::Range(_, Bounds::Prefix(_) | Bounds::Between { .. } | Bounds::Since { .. }) => {
                match self.candidates(context, plan, self.settings.queries.max_scan).await? {
                    // A filter may ask for an id that is none.
                    Some(ids) => Source::Ids(ids.into_iter().filter(|id| id.parse::<ResourceId>().is_ok()).collect()),
                    None => entries(keys::all(kind), ""),
                }
            }
        })
    }

    /// The next ids behind this one.
    async fn step(
        &self,
        context: &Context,
        source: &Source,
        after: Option<ResourceId>,
        limit: usize,
    ) -> Result<Vec<String>, Error> {
        let after = after.map(|id| id.to_string());
        match source {
            Source::Ids(ids) => {
                let rest = ids.iter().filter(|id| after.as_ref().is_none_or(|after| *id > after));
                Ok(rest.take(limit).cloned().collect())
            }
            Source::Entries { index, key } => {
                let after = after.map(|id| Entry { key: key.clone(), id });
                let page = Page { after, offset: 0, limit, reverse: false };
                let entries = self.store.range(&context.space, index, &Bounds::Key(key.clone()), &page).await?;
                Ok(entries.into_iter().map(|entry| entry.id).collect())
            }
        }
    }
}
