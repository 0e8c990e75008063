//! A license with fewer seats than are used (lifecycle: "quota lowered below use"): invitations give theirs back, the
//! newest first, until the rest fits. Nobody who is Active loses one by that; the Account Admins hear of it.

use super::error::Error;
use super::kind::Kind;
use super::request::Context;
use super::resources::Resource;
use super::tasks::{Slice, Step, USERS_AT_ONCE, Work};
use super::{Directory, keys};
use crate::domain::ids::ResourceId;
use crate::domain::lifecycle::Event;
use crate::store::{Bounds, Entry, Index, Page};

impl Directory {
    /// By how many seats a change leaves a license short: 0 when it takes none away.
    pub(super) async fn seats_over(
        &self,
        context: &Context,
        before: &Resource,
        after: &Resource,
    ) -> Result<u64, Error> {
        let seats = |resource: &Resource| resource.terms().and_then(|terms| terms.seats).unwrap_or(u64::MAX);
        if before.revision == 0 || seats(after) >= seats(before) {
            return Ok(0);
        }
        self.seats_above(context, after).await
    }

    /// By how many seats a license is used above its quota.
    async fn seats_above(&self, context: &Context, license: &Resource) -> Result<u64, Error> {
        let Some(quota) = license.terms().and_then(|terms| terms.seats) else { return Ok(0) };
        let used = self.seats_used(context, std::slice::from_ref(license)).await?.first().copied().unwrap_or(0);
        Ok(used.saturating_sub(quota))
    }

    pub(super) async fn quota_slice(
        &self,
        slice: &Slice<'_>,
        license: ResourceId,
        after: Option<String>,
    ) -> Result<Option<Step>, Error> {
        let after = after.map(|id| Entry { key: String::new(), id });
        let page = Page { after, offset: 0, limit: USERS_AT_ONCE, reverse: true };
        let index = Index::new(keys::assigned(license));
        let users = self.store.range(slice.space(), &index, &Bounds::All, &page).await?;
        let mut last = None;
        for entry in users {
            if !self.is_over_quota(slice.context, license).await? {
                last = None;
                break;
            }
            self.take_seat_back(slice.context, &entry.id, license).await?;
            last = Some(entry.id);
        }
        let mut batch = slice.batch();
        if last.is_none() {
            slice.end(&mut batch);
            return self.finished(slice, &batch).await;
        }
        slice.advance(Work::QuotaLowered { license, after: last }, &mut batch);
        Ok(self.committed(slice.space(), &batch).await?.then_some(Step::More))
    }

    async fn is_over_quota(&self, context: &Context, license: ResourceId) -> Result<bool, Error> {
        let document = self.store.get(&context.space, &[Kind::License.key(license)]).await?.pop().flatten();
        let resource = document.map(|document| Resource::decode(Kind::License, license, &document)).transpose()?;
        match resource {
            Some(resource) => Ok(self.seats_above(context, &resource).await? > 0),
            None => Ok(false),
        }
    }

    async fn take_seat_back(&self, context: &Context, user: &str, license: ResourceId) -> Result<(), Error> {
        self.on_stored(context, user, "user.seat_lost", &Event::QuotaLowered { lost: vec![license] }, |_| {}).await
    }
}
