//! SCIM queries over one resource type or over several (RFC 7644 §3.4.2), a page at a time: by index, or by cursor
//! (RFC 9865, `cursor`).
//!
//! Both come in the order in which resources were made unless they are sorted, one type after the other. By index, all
//! that a filter selects is counted for each page, and what takes more reading than one request may do is `tooMany`.
//! By cursor only the first page counts, where that can be done; the others go on where the one before ended
//! (`walk`), so that every match of a large directory is reached.

mod cursor;
mod walk;

use self::cursor::{Cursor, Place};
use super::Directory;
use super::error::Error;
use super::kind::Kind;
use super::query::Search;
use super::request::{Context, Request};
use crate::domain::ids::ResourceId;
use crate::scim::list::{PageSizes, Paging, Query};
use crate::scim::profile::{Applied, Profile, Tolerance};
use crate::scim::sort::Sort;
use crate::scim::{Filter, ScimError, ScimType};
use crate::store::Document;

/// A resource with the kind that tells how it is read.
pub type Located = (Kind, ResourceId, Document);

/// A page of a SCIM query, as found.
#[derive(Debug)]
pub struct Answered {
    pub context: Context,
    /// `None`: more resources could match than one request may look at, so nobody has counted them.
    pub total: Option<usize>,
    /// Of the first resource; by index only.
    pub start_index: Option<usize>,
    /// By cursor, and not on the last page.
    pub next_cursor: Option<String>,
    pub resources: Vec<Located>,
}

/// What is asked of each kind. Where and how long the page is, the way of paging decides.
struct Terms(Vec<(Kind, Search)>);

/// Resources of a page, and how many there are in all.
struct Counted {
    total: usize,
    resources: Vec<Located>,
}

impl Directory {
    /// A SCIM query over these kinds, read as the profile of its token has it. Of several kinds those are left out that
    /// the token may not see.
    ///
    /// # Errors
    /// `invalidFilter`, `invalidValue`, and by cursor `invalidCursor`, `expiredCursor` and `invalidCount` for a bad query;
    /// `tooMany` for one that takes too much reading; [`Error::MissingScope`].
    pub async fn query(&self, request: &Request, kinds: &[Kind], query: &Query) -> Result<Answered, Error> {
        let (context, _) = self.open(request, &[]).await?;
        let seen: Vec<Kind> = kinds.iter().copied().filter(|kind| context.allows(kind.scope())).collect();
        if let ([], Some(first)) = (seen.as_slice(), kinds.first()) {
            return Err(Error::MissingScope(first.scope()));
        }
        let terms = self.terms(request, &self.profile_of(&context)?, seen, query)?;
        let answered = match &query.cursor {
            Some(text) => self.by_cursor(context, &terms, query, text).await?,
            None => {
                let paging = Paging::parse(query.start_index.as_deref(), query.count.as_deref(), self.page_sizes())?;
                let counted = self.counted(&context, &terms, paging.offset(), paging.count).await?;
                let Counted { total, resources } = counted.ok_or_else(|| self.too_many(terms.first()))?;
                let start_index = Some(paging.start_index);
                Answered { context, total: Some(total), start_index, next_cursor: None, resources }
            }
        };
        request.notes.found(answered.total.unwrap_or(answered.resources.len()));
        Ok(answered)
    }

    fn page_sizes(&self) -> PageSizes {
        PageSizes { default: self.settings.queries.default_page, max: self.settings.queries.max_page }
    }

    /// Reads the query for each kind. Where it is over several, attributes that one of them does not have are without a
    /// value there (RFC 7644 §3.4.2.1), whatever the profile tolerates in a query over a single one.
    fn terms(&self, request: &Request, profile: &Profile, kinds: Vec<Kind>, query: &Query) -> Result<Terms, Error> {
        let mut applied = Applied::new();
        let filter =
            query.filter.as_deref().map(|text| Filter::parse_noting(text, profile, &mut applied)).transpose()?;
        for kind in &kinds {
            let Some(filter) = &filter else { break };
            let kind = self.resource_type(*kind);
            if kinds.len() > 1 {
                filter.check(&self.schemas, kind, &profile.with(Tolerance::UnknownFilterAttributes, true))?;
                continue;
            }
            filter.check(&self.schemas, kind, profile)?;
            let stricter = profile.with(Tolerance::UnknownFilterAttributes, false);
            if filter.check(&self.schemas, kind, &stricter).is_err() {
                applied.insert(Tolerance::UnknownFilterAttributes);
            }
        }
        request.notes.tolerated(applied);
        let sorts = self.sorts(&kinds, query)?;
        let search = |sort| Search { filter: filter.clone(), sort, start_index: 1, count: 0 };
        Ok(Terms(kinds.into_iter().zip(sorts.into_iter().map(search)).collect()))
    }

    /// The order wanted, for each kind; `None` for one that does not have the attribute, unless none has it.
    fn sorts(&self, kinds: &[Kind], query: &Query) -> Result<Vec<Option<Sort>>, Error> {
        let (by, order) = (query.sort_by.as_deref(), query.sort_order.as_deref());
        let mut sorts = Vec::with_capacity(kinds.len());
        let mut refused = None;
        for kind in kinds {
            sorts.push(match Sort::parse(by, order, &self.schemas, self.resource_type(*kind)) {
                Ok(sort) => sort,
                Err(error) => {
                    refused = refused.or(Some(error));
                    None
                }
            });
        }
        let mut known = sorts.iter().flatten();
        match (known.next(), refused) {
            (None, Some(error)) => return Err(error.into()),
            (Some(first), _) if known.any(|sort| !sort.compares_with(first)) => {
                let detail = "`sortBy`: this attribute is of another type in each of the resource types; sort one of \
                              them at a time";
                return Err(ScimError::invalid_value(detail).into());
            }
            (None, None) | (Some(_), _) => {}
        }
        Ok(sorts)
    }

    /// The page behind `offset` resources; `None` when that would look at more resources than one request may.
    async fn counted(
        &self,
        context: &Context,
        terms: &Terms,
        offset: usize,
        count: usize,
    ) -> Result<Option<Counted>, Error> {
        if terms.are_sorted() {
            let sorted = self.sorted(context, terms).await?;
            return Ok(sorted.map(|all| Counted {
                total: all.len(),
                resources: all.into_iter().skip(offset).take(count).collect(),
            }));
        }
        let mut left = self.settings.queries.max_scan;
        let mut counted = Counted { total: 0, resources: Vec::new() };
        for (kind, search) in &terms.0 {
            let search = Search {
                start_index: offset.saturating_sub(counted.total) + 1,
                count: count - counted.resources.len(),
                ..search.clone()
            };
            let Some(found) = self.page_of(context, *kind, &search, &mut left).await? else { return Ok(None) };
            counted.total += found.total;
            counted.resources.extend(found.documents.into_iter().map(|(id, document)| (*kind, id, document)));
        }
        Ok(Some(counted))
    }

    /// Everything that matches, in the order wanted; `None` as above.
    async fn sorted(&self, context: &Context, terms: &Terms) -> Result<Option<Vec<Located>>, Error> {
        let mut left = self.settings.queries.max_scan;
        let mut matching = Vec::new();
        for (kind, search) in &terms.0 {
            let Some(found) = self.matching(context, *kind, search, &mut left).await? else { return Ok(None) };
            let keyed =
                found.into_iter().map(|found| (found.key.unwrap_or_default(), (*kind, found.id, found.document)));
            matching.extend(keyed);
        }
        if let Some(sort) = terms.0.iter().find_map(|(_, search)| search.sort.as_ref()) {
            matching.sort_by(|(one, _), (other, _)| sort.compare(one, other));
        }
        Ok(Some(matching.into_iter().map(|(_, located)| located).collect()))
    }

    async fn by_cursor(&self, context: Context, terms: &Terms, query: &Query, text: &str) -> Result<Answered, Error> {
        let begun = match text {
            "" => None,
            text => Some(self.open_cursor(&context, &terms.kinds(), query, text)?),
        };
        let count = Paging::cursor_count(query.count.as_deref(), self.page_sizes())?;
        if begun.as_ref().is_some_and(|begun| begun.count != count) {
            let detail = "`count` differs from the one that this list was begun with; repeat it, or begin again with an \
                          empty `cursor`";
            return Err(ScimError::of(ScimType::InvalidCount, detail).into());
        }
        let place = begun.as_ref().map(|begun| begun.place.clone());
        let (total, resources, next) = if terms.are_sorted() {
            self.sorted_behind(&context, terms, place, count).await?
        } else {
            self.unsorted_behind(&context, terms, begun, count).await?
        };
        let next_cursor = next.map(|place| {
            let cursor = Cursor { given: context.now, count, total, place };
            self.seal_cursor(&context, &terms.kinds(), query, &cursor)
        });
        Ok(Answered { context, total, start_index: None, next_cursor, resources })
    }

    /// No index has the order, so each page sorts everything once more and goes on behind the last resource of the page
    /// before; where that one is gone, behind as many as came before it.
    async fn sorted_behind(
        &self,
        context: &Context,
        terms: &Terms,
        place: Option<Place>,
        count: usize,
    ) -> Result<(Option<usize>, Vec<Located>, Option<Place>), Error> {
        let all = self.sorted(context, terms).await?.ok_or_else(|| self.too_many(terms.first()))?;
        let total = all.len();
        let start = place.map_or(0, |place| {
            let last = all.iter().position(|(kind, id, _)| (*kind, *id) == (place.kind, place.id));
            last.map_or(place.rank.saturating_sub(1), |last| last + 1)
        });
        let page: Vec<Located> = all.into_iter().skip(start).take(count).collect();
        let rank = start + page.len();
        let next = page.last().filter(|_| rank < total).map(|(kind, id, _)| Place { kind: *kind, id: *id, rank });
        Ok((Some(total), page, next))
    }

    /// The first page is counted where that is possible, and what it counted stands in the cursors; the others walk.
    async fn unsorted_behind(
        &self,
        context: &Context,
        terms: &Terms,
        begun: Option<Cursor>,
        count: usize,
    ) -> Result<(Option<usize>, Vec<Located>, Option<Place>), Error> {
        let (total, place) = match begun {
            Some(Cursor { total, place, .. }) => (total, Some(place)),
            None => match self.counted(context, terms, 0, count).await? {
                None if count == 0 => return Err(self.too_many(terms.first())),
                None => (None, None),
                // Whatever was to be on it went a moment ago.
                Some(Counted { total, resources }) if resources.is_empty() && count.min(total) > 0 => {
                    (Some(total), None)
                }
                Some(Counted { total, resources }) => {
                    let next = resources.last().filter(|_| resources.len() < total);
                    let next = next.map(|(kind, id, _)| Place { kind: *kind, id: *id, rank: resources.len() });
                    return Ok((Some(total), resources, next));
                }
            },
        };
        let (resources, next) = self.walk(context, terms, place, count).await?;
        Ok((total, resources, next))
    }
}

impl Terms {
    fn kinds(&self) -> Vec<Kind> {
        self.0.iter().map(|(kind, _)| *kind).collect()
    }

    /// Whose indexes are named to whoever asks too much.
    fn first(&self) -> Kind {
        self.0.first().map_or(Kind::User, |(kind, _)| *kind)
    }

    fn are_sorted(&self) -> bool {
        self.0.iter().any(|(_, search)| search.sort.is_some())
    }
}
