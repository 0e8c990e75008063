//! The walk of a search that too many people could match to load them all: along one index, in its order, so much in
//! one request, and on from there in the next. So everybody is reached, and no page costs more than the bound.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::str::FromStr;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::{Listed, Listing, Total, smallest};
use crate::directory::Directory;
use crate::directory::error::Error;
use crate::directory::request::Context;
use crate::domain::secrets::Scope;
use crate::store::{Bounds, Entry, Index, Page, Reads};

/// Index entries are read so many at a time.
const STEP: usize = 250;
/// Index entries that one request looks at.
const MAX_ENTRIES: usize = 10_000;
/// People whom one request loads, within a step: those of the entries that stand in every index of the filters.
const MAX_LOADED: usize = 2_000;

/// Where a page of the directory begins. As text it is what a client sends back to go on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Start {
    /// Behind so many.
    At(usize),
    /// Behind this entry of the index that is walked along, with so many people on the pages before.
    Behind { entry: Entry, shown: usize },
}

impl fmt::Display for Start {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Start::At(offset) => write!(f, "{offset}"),
            // Begins with a letter, since digits in front of the NUL do as base64.
            Start::Behind { entry: Entry { key, id }, shown } => {
                f.write_str(&URL_SAFE_NO_PAD.encode(format!("{shown}\0{key}\0{id}")))
            }
        }
    }
}

/// This was never where a page ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NoStart;

impl FromStr for Start {
    type Err = NoStart;

    fn from_str(text: &str) -> Result<Self, NoStart> {
        if let Ok(offset) = text.parse() {
            return Ok(Start::At(offset));
        }
        let bytes = URL_SAFE_NO_PAD.decode(text).map_err(|_| NoStart)?;
        let text = std::str::from_utf8(&bytes).map_err(|_| NoStart)?;
        let [shown, key, id] = text.split('\0').collect::<Vec<_>>().try_into().map_err(|_| NoStart)?;
        let entry = Entry { key: key.to_owned(), id: id.to_owned() };
        Ok(Start::Behind { entry, shown: shown.parse().map_err(|_| NoStart)? })
    }
}

impl Directory {
    /// A part of a listing that is read to its end: along an index, however few or many match, so that each part costs
    /// the same. A part may hold nobody and not be the last.
    ///
    /// # Errors
    /// [`Error::MissingScope`]; of the store.
    pub async fn next_users(&self, context: &Context, listing: &Listing) -> Result<Listed, Error> {
        context.require(Scope::Users)?;
        match &listing.start {
            Start::At(_) => self.walk_users(context, listing, None, 0).await,
            Start::Behind { entry, shown } => self.walk_users(context, listing, Some(entry.clone()), *shown).await,
        }
    }

    /// A page of the walk: until it is full, or the bound is reached, or everybody was looked at.
    pub(super) async fn walk_users(
        &self,
        context: &Context,
        listing: &Listing,
        after: Option<Entry>,
        shown: usize,
    ) -> Result<Listed, Error> {
        let index = self.walked(context, listing).await?;
        let others: Vec<Index> = listing.filters.indexes().into_iter().filter(|other| *other != index).collect();
        let fits = listing.fits();
        let (mut users, mut behind) = (Vec::new(), after);
        let (mut entries, mut loaded) = (0, 0);
        let next = 'walk: loop {
            let page = Page { after: behind.clone(), offset: 0, limit: STEP, reverse: listing.order.is_reversed() };
            let step = self.store.range(&context.space, &index, &Bounds::All, &page).await?;
            let ids = self.standing_in_all(context, &others, &step).await?;
            entries += step.len();
            loaded += ids.len();
            let found = self.records(context, ids).await?;
            let mut found: BTreeMap<String, _> =
                found.into_iter().map(|record| (record.user.id.to_string(), record)).collect();
            let is_last = step.len() < STEP;
            let mut step = step.into_iter().peekable();
            while let Some(entry) = step.next() {
                users.extend(found.remove(&entry.id).filter(&fits));
                behind = Some(entry);
                if users.len() == listing.limit {
                    break 'walk behind.filter(|_| !is_last || step.peek().is_some());
                }
            }
            if is_last {
                break None;
            }
            if entries >= MAX_ENTRIES || loaded >= MAX_LOADED {
                break behind;
            }
        };
        let so_far = shown + users.len();
        let total = match (&next, listing.filters.indexes().as_slice()) {
            (None, _) => Total::Exactly(so_far),
            (Some(_), [only]) if listing.words.is_empty() && listing.status.is_none() => {
                let count = self.store.count(&context.space, only, &Bounds::All).await?;
                Total::Exactly(usize::try_from(count).unwrap_or(usize::MAX))
            }
            (Some(_), _) => Total::AtLeast(so_far),
        };
        let next = next.map(|entry| Start::Behind { entry, shown: so_far });
        Ok(Listed { users, counts: None, total, next })
    }

    /// The index to walk along: the one that is in the order wanted. Those in the order people were made are several,
    /// of which the smallest is taken.
    async fn walked(&self, context: &Context, listing: &Listing) -> Result<Index, Error> {
        let everybody = listing.index();
        if listing.order.is_by_name() {
            return Ok(everybody);
        }
        let indexes = listing.filters.indexes().into_iter().chain([everybody.clone()]);
        Ok(smallest(&self.store, context, indexes).await?.map_or(everybody, |(_, index)| index))
    }

    /// The ids of those entries that stand in all these indexes as well, which costs less than loading whom they name.
    async fn standing_in_all(
        &self,
        context: &Context,
        indexes: &[Index],
        step: &[Entry],
    ) -> Result<BTreeSet<String>, Error> {
        let mut ids: BTreeSet<String> = step.iter().map(|entry| entry.id.clone()).collect();
        for index in indexes {
            let place = |id: &String| (index.clone(), Entry { key: String::new(), id: id.clone() });
            let reads = Reads { entries: ids.iter().map(place).collect(), ..Reads::default() };
            let stands = self.store.read(&context.space, &reads).await?.entries;
            ids = ids.into_iter().zip(stands).filter_map(|(id, stands)| stands.then_some(id)).collect();
        }
        Ok(ids)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_start_reads_back_as_it_was_written() {
        let entry = Entry { key: "müller, jö".to_owned(), id: "01a20a98-17b0-7e25-b27d-fab95ac96297".to_owned() };
        for start in [Start::At(0), Start::At(2_500), Start::Behind { entry, shown: 75 }] {
            assert_eq!(start.to_string().parse(), Ok(start));
        }
    }

    #[test]
    fn what_is_no_start_is_said_to_be_none() {
        for text in ["", "-1", "nonsense", "1,2", &URL_SAFE_NO_PAD.encode("1\0a"), &URL_SAFE_NO_PAD.encode("x\0a\0b")] {
            assert_eq!(text.parse::<Start>(), Err(NoStart), "{text}");
        }
    }
}
