//! Deliveries as people look at them: what waits, what was given up, and what is to be sent again.

use super::deliveries::{Delivery, queue, read_delivery};
use super::error::Error;
use super::request::Request;
use super::webhooks::unknown;
use super::{Directory, entropy, keys};
use crate::domain::ids::EndpointId;
use crate::domain::secrets::Scope;
use crate::domain::time::Timestamp;
use crate::store::{Batch, Bounds, Check, DocumentKey, Index, Owner, Page, Write};

/// So many timers are looked at for what waits.
pub const TIMERS_LOOKED_AT: usize = 2_000;
/// So many dead deliveries are looked at in one trip.
const DEAD_AT_ONCE: usize = 500;

impl Directory {
    /// The webhooks of an account that wait to go out, with when each is tried next, the first to be tried first: those
    /// among the next [`TIMERS_LOOKED_AT`] timers of the account.
    ///
    /// # Errors
    /// Of the store; [`Error::MissingScope`] without `tokens`.
    pub async fn waiting_deliveries(&self, request: &Request) -> Result<Vec<(Timestamp, Delivery)>, Error> {
        let (context, _) = self.open(request, &[]).await?;
        context.require(Scope::Tokens)?;
        let timers = self.store.timers(&context.space, None, TIMERS_LOOKED_AT).await?;
        let timers: Vec<_> = timers.into_iter().filter(|timer| timer.owner.kind == keys::WEBHOOK).collect();
        let owners: Vec<Owner> = timers.iter().map(|timer| timer.owner.clone()).collect();
        let found = self.store.get(&context.space, &owners).await?;
        let mut waiting = Vec::new();
        for (timer, document) in timers.iter().zip(found) {
            let Some(delivery) = document.map(|document| read_delivery(&document.body)).transpose()? else { continue };
            if delivery.dead.is_none() {
                waiting.push((timer.wakes, delivery));
            }
        }
        Ok(waiting)
    }

    /// The webhooks of an account that were given up, by endpoint, the oldest first, up to `limit`.
    ///
    /// # Errors
    /// Of the store; [`Error::NotFound`] when there is no such account; [`Error::MissingScope`] without `tokens`.
    pub async fn dead_deliveries(&self, request: &Request, limit: usize) -> Result<Vec<Delivery>, Error> {
        let (context, _) = self.open(request, &[]).await?;
        context.require(Scope::Tokens)?;
        let index = Index::new(keys::DEAD_WEBHOOKS);
        let entries = self.store.range(&context.space, &index, &Bounds::All, &Page::first(limit)).await?;
        let wanted: Vec<_> = entries.iter().map(|entry| DocumentKey::new(keys::WEBHOOK, &entry.id)).collect();
        let found = self.store.get(&context.space, &wanted).await?;
        found.into_iter().flatten().map(|document| read_delivery(&document.body)).collect()
    }

    /// Sends everything again that was given up for an endpoint, and lets new events go there if it was disabled; how
    /// many deliveries that are.
    ///
    /// # Errors
    /// [`Error::NotFound`]; [`Error::MissingScope`] without `tokens`.
    pub async fn redrive_webhook(&self, request: &Request, endpoint: EndpointId) -> Result<usize, Error> {
        self.enable_webhook(request, endpoint).await?;
        let (index, mut page) = (Index::new(keys::DEAD_WEBHOOKS), Page::first(DEAD_AT_ONCE));
        let mut revived = 0;
        loop {
            let (context, _) = self.open(request, &[]).await?;
            let target = context.account.webhooks.get(&endpoint).ok_or_else(|| unknown(endpoint))?;
            let entries = self.store.range(&context.space, &index, &Bounds::All, &page).await?;
            let wanted: Vec<_> = entries.iter().map(|entry| DocumentKey::new(keys::WEBHOOK, &entry.id)).collect();
            for document in self.store.get(&context.space, &wanted).await?.into_iter().flatten() {
                let mut delivery = read_delivery(&document.body)?;
                if delivery.endpoint != endpoint || delivery.dead.take().is_none() {
                    continue;
                }
                delivery.attempts = 0;
                let mut batch = Batch::new(entropy::commit_id(context.now));
                batch.checks.push(Check::Revision { key: delivery.key(), revision: document.revision });
                queue(&mut batch, &delivery, document.revision + 1, target, context.now);
                batch
                    .writes
                    .push(Write::IndexRemove { index: index.clone(), entry: delivery.entry(keys::DEAD_WEBHOOKS) });
                // Whoever was faster has revived it, or it was kept long enough.
                revived += usize::from(self.committed(&context.space, &batch).await?);
            }
            match entries.into_iter().last() {
                Some(last) if wanted.len() == page.limit => page.after = Some(last),
                _ => return Ok(revived),
            }
        }
    }
}
