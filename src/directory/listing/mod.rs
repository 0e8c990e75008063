//! The user directory as a list: by an index alone where nothing narrows it, by loading whoever may match where those
//! are few, and else by a walk along an index that each page takes up where the one before ended (`walk`).

mod walk;
mod words;

use std::cmp::Reverse;
use std::collections::BTreeSet;

pub use self::walk::Start;
use self::words::Word;
use super::error::Error;
use super::record::UserRecord;
use super::request::Context;
use super::{Directory, keys};
use crate::domain::ids::ResourceId;
use crate::domain::secrets::Scope;
use crate::domain::user::{Status, User};
use crate::store::{Bounds, Index, Page, Store};

/// How the directory is sorted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Order {
    #[default]
    Name,
    NameReversed,
    Newest,
    Oldest,
}

impl Order {
    const fn is_by_name(self) -> bool {
        matches!(self, Order::Name | Order::NameReversed)
    }

    const fn is_reversed(self) -> bool {
        matches!(self, Order::NameReversed | Order::Newest)
    }
}

/// A page of the user directory, as asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listing {
    /// `None`: of every status.
    pub status: Option<Status>,
    /// Words of which each must begin a word of the name, the mail or the id.
    pub words: Vec<String>,
    pub filters: Filters,
    pub order: Order,
    pub start: Start,
    pub limit: usize,
}

/// What else somebody must have to be listed; `None`: anything.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Filters {
    pub account_role: Option<String>,
    pub organization: Option<ResourceId>,
    pub project: Option<ResourceId>,
    pub license: Option<ResourceId>,
}

impl Filters {
    /// The indexes of which each holds everybody whom these filters let through.
    fn indexes(&self) -> Vec<Index> {
        let assigned = [self.organization, self.project, self.license].into_iter().flatten().map(keys::assigned);
        self.account_role.iter().map(|role| keys::users_by_role(role)).chain(assigned).map(Index::new).collect()
    }

    fn lets_through(&self, user: &User) -> bool {
        let is_in = |organization| user.organization == Some(organization);
        let has_joined = |project| user.projects.iter().any(|assigned| assigned.project == project);
        let has_license = |license| user.licenses.iter().any(|assigned| assigned.license == license);
        self.account_role.as_ref().is_none_or(|role| user.account_role == *role)
            && self.organization.is_none_or(is_in)
            && self.project.is_none_or(has_joined)
            && self.license.is_none_or(has_license)
    }
}

/// A page of the user directory, as found.
#[derive(Debug, Clone)]
pub struct Listed {
    pub users: Vec<UserRecord>,
    /// `None`: more users could match than one request may look at, so nobody has counted them.
    pub counts: Option<Counts>,
    /// Of those that this listing pages through.
    pub total: Total,
    /// Where the next page begins. A page that is not full, with more to come, is where the bound of one request was
    /// reached.
    pub next: Option<Start>,
}

/// How many there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Total {
    Exactly(usize),
    /// So many were found so far, and not everybody has been looked at.
    AtLeast(usize),
}

/// How many users of each status match words and filters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    pub pending: usize,
    pub active: usize,
    pub inactive: usize,
}

impl Counts {
    pub fn all(self) -> usize {
        self.pending + self.active + self.inactive
    }

    pub fn of(self, status: Status) -> usize {
        match status {
            Status::Pending => self.pending,
            Status::Active => self.active,
            Status::Inactive => self.inactive,
        }
    }

    fn at(&mut self, status: Status) -> &mut usize {
        match status {
            Status::Pending => &mut self.pending,
            Status::Active => &mut self.active,
            Status::Inactive => &mut self.inactive,
        }
    }
}

impl Listing {
    /// Everybody of this status, in this order.
    fn index(&self) -> Index {
        Index::new(match (self.status, self.order.is_by_name()) {
            (None, true) => keys::USERS_BY_SHOWN_NAME.to_owned(),
            (None, false) => keys::USERS.to_owned(),
            (Some(status), true) => keys::users_by_status_and_shown_name(status),
            (Some(status), false) => keys::users_by_status(status),
        })
    }

    /// Whether somebody is one of those that are listed.
    fn fits(&self) -> impl Fn(&UserRecord) -> bool {
        let words: Vec<Word> = self.words.iter().map(|word| Word::of(word)).collect();
        let (filters, status) = (self.filters.clone(), self.status);
        move |record| {
            status.is_none_or(|status| record.user.status() == Some(status))
                && filters.lets_through(&record.user)
                && words.iter().all(|word| word.is_in(record))
        }
    }
}

/// People whom a search may load at once: some megabytes, well within a request's deadline.
const MAX_CANDIDATES: usize = 2_000;
/// Words of a search whose matches are counted before it is walked for.
const MAX_TRIED: usize = 4;

impl Directory {
    /// How many users there are of each status.
    ///
    /// # Errors
    /// [`Error::MissingScope`]; of the store.
    pub async fn count_users(&self, context: &Context) -> Result<Counts, Error> {
        context.require(Scope::Users)?;
        let mut counts = Counts::default();
        for status in Status::ALL {
            let index = Index::new(keys::users_by_status(status));
            let count = self.store.count(&context.space, &index, &Bounds::All).await?;
            *counts.at(status) = usize::try_from(count).unwrap_or(usize::MAX);
        }
        Ok(counts)
    }

    /// A page of the user directory. Its cost does not depend on how many users there are.
    ///
    /// # Errors
    /// [`Error::Invalid`] for an offset where so many could match that only a walk finds them; [`Error::MissingScope`];
    /// of the store.
    pub async fn list_users(&self, context: &Context, listing: &Listing) -> Result<Listed, Error> {
        context.require(Scope::Users)?;
        let offset = match &listing.start {
            Start::Behind { entry, shown } => {
                return self.walk_users(context, listing, Some(entry.clone()), *shown).await;
            }
            Start::At(offset) => *offset,
        };
        if listing.words.is_empty() && listing.filters == Filters::default() {
            return self.page_of_users(context, listing, offset).await;
        }
        match self.few_candidates(context, listing).await? {
            Some(ids) => self.search_users(context, listing, offset, ids).await,
            None if offset == 0 => self.walk_users(context, listing, None, 0).await,
            None => {
                let why = "too many people could match to count them: begin without an offset, and go on by `next`";
                Err(Error::Invalid(why.to_owned()))
            }
        }
    }

    /// Everybody, read off an index.
    async fn page_of_users(&self, context: &Context, listing: &Listing, offset: usize) -> Result<Listed, Error> {
        let counts = self.count_users(context).await?;
        let page = Page { after: None, offset, limit: listing.limit, reverse: listing.order.is_reversed() };
        let entries = self.store.range(&context.space, &listing.index(), &Bounds::All, &page).await?;
        let users = self.records(context, entries.into_iter().map(|entry| entry.id)).await?;
        let total = listing.status.map_or(counts.all(), |status| counts.of(status));
        Ok(Listed::numbered(users, counts, total, offset + listing.limit))
    }

    /// The ids of everybody who may match, by the smallest index of the filters or by one of the words, the longest
    /// first; `None` when each of them leaves too many.
    async fn few_candidates(&self, context: &Context, listing: &Listing) -> Result<Option<BTreeSet<String>>, Error> {
        if let Some((_, index)) = smallest(&self.store, context, listing.filters.indexes()).await? {
            let ids = self.few_in(context, &index, &Bounds::All).await?;
            if ids.is_some() {
                return Ok(ids);
            }
        }
        let index = Index::new(keys::USERS_BY_WORD);
        let mut words: Vec<Word> = listing.words.iter().map(|word| Word::of(word)).collect();
        words.sort_by_key(|word| Reverse(word.whole.len()));
        'words: for word in words.iter().take(MAX_TRIED) {
            let mut ids = BTreeSet::new();
            for prefix in word.prefixes() {
                match self.few_in(context, &index, &Bounds::Prefix(prefix.to_owned())).await? {
                    Some(found) => ids.extend(found),
                    None => continue 'words,
                }
            }
            return Ok(Some(ids));
        }
        Ok(None)
    }

    /// Who stands in this part of an index, unless these are too many to load.
    async fn few_in(&self, context: &Context, index: &Index, part: &Bounds) -> Result<Option<BTreeSet<String>>, Error> {
        let entries = self.store.range(&context.space, index, part, &Page::first(MAX_CANDIDATES + 1)).await?;
        let are_few = entries.len() <= MAX_CANDIDATES;
        Ok(are_few.then(|| entries.into_iter().map(|entry| entry.id).collect()))
    }

    /// Those of these people who match, counted and sorted as wanted.
    async fn search_users(
        &self,
        context: &Context,
        listing: &Listing,
        offset: usize,
        ids: BTreeSet<String>,
    ) -> Result<Listed, Error> {
        let of_any_status = Listing { status: None, ..listing.clone() };
        let mut found = self.records(context, ids).await?;
        found.retain(of_any_status.fits());
        let mut counts = Counts::default();
        for status in found.iter().filter_map(|record| record.user.status()) {
            *counts.at(status) += 1;
        }
        found.retain(|record| listing.status.is_none_or(|status| record.user.status() == Some(status)));
        match listing.order.is_by_name() {
            true => found.sort_by_cached_key(UserRecord::shown_key),
            false => found.sort_by_key(|record| record.user.id),
        }
        if listing.order.is_reversed() {
            found.reverse();
        }
        let total = found.len();
        let users = found.into_iter().skip(offset).take(listing.limit).collect();
        Ok(Listed::numbered(users, counts, total, offset + listing.limit))
    }
}

impl Listed {
    /// A page of a list that was counted.
    fn numbered(users: Vec<UserRecord>, counts: Counts, total: usize, end: usize) -> Self {
        let next = (end < total).then_some(Start::At(end));
        Listed { users, counts: Some(counts), total: Total::Exactly(total), next }
    }
}

/// The index that holds the fewest, and how many.
async fn smallest(
    store: &Store,
    context: &Context,
    indexes: impl IntoIterator<Item = Index>,
) -> Result<Option<(u64, Index)>, Error> {
    let mut smallest = None;
    for index in indexes {
        let count = store.count(&context.space, &index, &Bounds::All).await?;
        if smallest.as_ref().is_none_or(|(least, _)| count < *least) {
            smallest = Some((count, index));
        }
    }
    Ok(smallest)
}
