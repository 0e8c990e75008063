//! Reading what an account keeps for its admins: the audit stream, and the mails that wait to go out.

use super::audit::AuditEvent;
use super::change::put_letter;
use super::error::Error;
use super::outbox::Letter;
use super::request::Request;
use super::{Directory, entropy, keys};
use crate::domain::ids::OutboxId;
use crate::domain::secrets::Scope;
use crate::domain::time::Timestamp;
use crate::store::{Bounds, Check, DocumentKey, EventId, Index, Page, Write};

/// A letter of the outbox, and when it is tried next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Queued {
    pub letter: Letter,
    /// `None`: it is dropped, or about to be.
    pub next_attempt: Option<Timestamp>,
}

/// A page of the outbox.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Queue {
    pub total: u64,
    pub letters: Vec<Queued>,
}

impl Directory {
    /// Audit events behind `after` in the direction of reading.
    ///
    /// # Errors
    /// [`Error::MissingScope`] without `audit`; of the store.
    pub async fn audit(
        &self,
        request: &Request,
        after: Option<EventId>,
        limit: usize,
        newest_first: bool,
    ) -> Result<Vec<(EventId, AuditEvent)>, Error> {
        let (context, _) = self.open(request, &[]).await?;
        context.require(Scope::Audit)?;
        let events = self.store.events(&context.space, after, limit, newest_first).await?;
        let read = |event: crate::store::Event| {
            let read = serde_json::from_slice(&event.body).map_err(|error| Error::damaged("audit event", error));
            read.map(|read| (event.id, read))
        };
        events.into_iter().map(read).collect()
    }

    /// What waits to go out, the oldest first.
    ///
    /// # Errors
    /// [`Error::MissingScope`] without `invitations`; of the store.
    pub async fn outbox(&self, request: &Request, offset: usize, limit: usize) -> Result<Queue, Error> {
        let (context, _) = self.open(request, &[]).await?;
        context.require(Scope::Invitations)?;
        let index = Index::new(keys::QUEUE);
        let total = self.store.count(&context.space, &index, &Bounds::All).await?;
        let page = Page { after: None, offset, limit, reverse: false };
        let entries = self.store.range(&context.space, &index, &Bounds::All, &page).await?;
        let wanted: Vec<DocumentKey> = entries.iter().map(|entry| DocumentKey::new(keys::OUTBOX, &entry.id)).collect();
        let documents = self.store.get(&context.space, &wanted).await?;
        let mut letters = Vec::with_capacity(documents.len());
        for document in documents.into_iter().flatten() {
            let letter = read_letter(&document.body)?;
            let timer = self.store.timer(&context.space, &keys::outbox_timer(letter.id)).await?;
            letters.push(Queued { letter, next_attempt: timer.map(|timer| timer.due) });
        }
        Ok(Queue { total, letters })
    }

    /// Lets a letter be tried at once. One that is being tried at this moment is left alone; a dead one is revived.
    ///
    /// # Errors
    /// [`Error::NotFound`] when it is gone, as it is once it was sent; [`Error::MissingScope`] without `invitations`; as
    /// [`Directory::revive_letter`].
    pub async fn retry_letter(&self, request: &Request, id: OutboxId) -> Result<Queued, Error> {
        let unknown = || Error::NotFound(format!("there is no letter {id} in the outbox; it may have gone out"));
        let tried: Queued = retrying!(self, {
            let (context, documents) = self.open(request, &[keys::outbox(id)]).await?;
            context.require(Scope::Invitations)?;
            let document = documents.into_iter().next().flatten().ok_or_else(unknown)?;
            let letter = read_letter(&document.body)?;
            if letter.dead.is_some() {
                return Ok(Some(Queued { letter, next_attempt: Some(context.now) }));
            }
            let owner = keys::outbox_timer(id);
            let timer = self.store.timer(&context.space, &owner).await?.ok_or_else(unknown)?;
            if timer.wakes <= context.now || timer.wakes > timer.due {
                return Ok(Some(Queued { letter, next_attempt: Some(timer.due) }));
            }
            let mut batch = context.batch(entropy::commit_id(context.now));
            batch.checks.push(Check::Revision { key: keys::outbox(id), revision: document.revision });
            put_letter(&mut batch, &letter, document.revision + 1, context.now);
            batch.writes.push(Write::TimerSet { owner, due: context.now });
            let done = self.committed(&context.space, &batch).await?;
            Ok(done.then_some(Queued { letter, next_attempt: Some(context.now) }))
        })?;
        if tried.letter.dead.is_some() {
            self.revive_letter(request, id).await?;
        }
        Ok(tried)
    }
}

fn read_letter(body: &[u8]) -> Result<Letter, Error> {
    serde_json::from_slice(body).map_err(|error| Error::damaged("outbox entry", error))
}
