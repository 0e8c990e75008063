//! Streams of security event tokens as their receivers fetch them (RFC 8936), and the tokens themselves.
//!
//! What waits stays until its receiver acknowledges it, so that a receiver which dies with what it has fetched gets it
//! again, under the same `jti`. A receiver that never comes is given up after a week (`deliveries`).

use super::deliveries::{Content, Delivery, bury, put, read_delivery, remove};
use super::error::Error;
use super::kind::Kind;
use super::request::{Context, Request};
use super::security_events::SecurityEvent;
use super::webhooks::{Endpoint, Stream, unknown};
use super::{Directory, entropy, keys};
use crate::domain::ids::{AccountId, EndpointId, OutboxId, ResourceId};
use crate::domain::secrets::Scope;
use crate::domain::security_event::Form;
use crate::domain::text::safe_line;
use crate::store::{Batch, Bounds, Check, Document, DocumentKey, Entry, Index, Page, Space};

/// So many tokens are handed out at once, and so many octets of them: the last may go beyond.
pub const MAX_FETCHED: usize = 100;
const MAX_OCTETS: usize = 1024 * 1024;
/// So many are acknowledged by one batch, each with four writes.
const ACKNOWLEDGED_AT_ONCE: usize = 400;
/// So much of what a receiver says of a token is kept.
const MAX_REPLY: usize = 300;

/// What a receiver tells of what it fetched, and asks for.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Fetch {
    /// Taken: not to be handed out again.
    pub acknowledged: Vec<OutboxId>,
    /// Not taken, and why; neither to be handed out again.
    pub refused: Vec<(OutboxId, String)>,
    /// So many are wanted at the most.
    pub wanted: usize,
}

/// What waits in a stream, the oldest first.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Fetched {
    /// By `jti`, each signed.
    pub tokens: Vec<(OutboxId, String)>,
    /// Whether more waits than this.
    pub more: bool,
}

impl Stream {
    /// What a token needs to fetch this stream: what is in it must be nothing that it could not read.
    fn scopes(&self) -> &'static [Scope] {
        match self.form {
            Form::Notice => &[Scope::Audit],
            Form::Full => &[Scope::Audit, Scope::Users, Scope::Groups, Scope::Resources],
        }
    }
}

impl Directory {
    /// Records what a receiver took and refused, and hands out what waits.
    ///
    /// # Errors
    /// [`Error::MissingScope`] without `audit`, for a stream of the full form also without `users`, `groups` and
    /// `resources`; [`Error::NotFound`] when there is no such stream, or it is not one that is fetched.
    pub async fn poll_stream(&self, request: &Request, id: EndpointId, fetch: &Fetch) -> Result<Fetched, Error> {
        for chunk in fetch.acknowledged.chunks(ACKNOWLEDGED_AT_ONCE) {
            retrying!(self, {
                let (context, _) = self.open_stream(request, id).await?;
                let mut batch = context.batch(entropy::commit_id(context.now));
                chunk.iter().for_each(|taken| remove(&mut batch, id, *taken));
                Ok(self.committed(&context.space, &batch).await?.then_some(()))
            })?;
        }
        for (refused, why) in &fetch.refused {
            self.refuse_token(request, id, *refused, why).await?;
        }
        let (context, _) = self.open_stream(request, id).await?;
        self.waiting_tokens(&context, id, fetch.wanted.min(MAX_FETCHED)).await
    }

    async fn open_stream(&self, request: &Request, id: EndpointId) -> Result<(Context, Stream), Error> {
        let (context, _) = self.open(request, &[]).await?;
        context.require(Scope::Audit)?;
        let is_fetched = |endpoint: &&Endpoint| endpoint.url.is_none();
        let stream = context.account.webhooks.get(&id).filter(is_fetched).and_then(Endpoint::stream).cloned();
        let stream = stream.ok_or_else(|| Error::NotFound(format!("there is no stream {id} to be fetched")))?;
        stream.scopes().iter().try_for_each(|scope| context.require(*scope))?;
        Ok((context, stream))
    }

    /// A receiver that cannot take a token will not take it the next time either: it waits for an admin.
    async fn refuse_token(&self, request: &Request, id: EndpointId, token: OutboxId, why: &str) -> Result<(), Error> {
        retrying!(self, {
            let (context, _) = self.open_stream(request, id).await?;
            let key = keys::webhook(id, token);
            let found = self.store.get(&context.space, std::slice::from_ref(&key)).await?.pop().flatten();
            let Some(document) = found else { return Ok(Some(())) };
            let delivery = read_delivery(&document.body)?;
            if delivery.dead.is_some() {
                return Ok(Some(()));
            }
            let mut batch = context.batch(entropy::commit_id(context.now));
            batch.checks.push(Check::Revision { key, revision: document.revision });
            let reply = format!("the receiver refused it: {}", safe_line(why, MAX_REPLY));
            bury(&mut batch, &delivery, document.revision, &reply, context.now);
            Ok(self.committed(&context.space, &batch).await?.then_some(()))
        })
    }

    async fn waiting_tokens(&self, context: &Context, id: EndpointId, wanted: usize) -> Result<Fetched, Error> {
        let waiting = self.waiting_entries(&context.space, id, wanted + 1).await?;
        let mut fetched = Fetched { more: waiting.len() > wanted, ..Fetched::default() };
        let keys: Vec<DocumentKey> =
            waiting.iter().take(wanted).map(|entry| DocumentKey::new(keys::WEBHOOK, &entry.id)).collect();
        if keys.is_empty() {
            return Ok(fetched);
        }
        let mut octets = 0;
        for document in self.store.get(&context.space, &keys).await?.into_iter().flatten() {
            let delivery = read_delivery(&document.body)?;
            let Content::Token { security_event } = &delivery.content else { continue };
            if octets >= MAX_OCTETS {
                fetched.more = true;
                break;
            }
            let token = self.token_of(context, &delivery, security_event)?;
            octets += token.len();
            fetched.tokens.push((delivery.id, token));
        }
        Ok(fetched)
    }

    async fn waiting_entries(&self, space: &Space, id: EndpointId, limit: usize) -> Result<Vec<Entry>, Error> {
        let index = Index::new(keys::STREAMED);
        Ok(self.store.range(space, &index, &Bounds::Key(id.to_string()), &Page::first(limit)).await?)
    }

    /// Whether something waits in a stream, for whoever waits for it: one read, by nobody's right.
    ///
    /// # Errors
    /// Of the store.
    pub async fn is_waiting(&self, account: &AccountId, id: EndpointId) -> Result<bool, Error> {
        Ok(!self.waiting_entries(&Space::Account(account.clone()), id, 1).await?.is_empty())
    }

    /// How much waits in a stream.
    ///
    /// # Errors
    /// Of the store.
    pub async fn count_waiting(&self, space: &Space, id: EndpointId) -> Result<u64, Error> {
        Ok(self.store.count(space, &Index::new(keys::STREAMED), &Bounds::Key(id.to_string())).await?)
    }

    /// The signed token of an event. Its claims never change; its signature may.
    pub(super) fn token_of(
        &self,
        context: &Context,
        delivery: &Delivery,
        event: &SecurityEvent,
    ) -> Result<String, Error> {
        let endpoint = context.account.webhooks.get(&delivery.endpoint).ok_or_else(|| unknown(delivery.endpoint))?;
        let audience = match endpoint.stream().and_then(|stream| stream.audience.as_ref()) {
            Some(audience) => audience.as_str().to_owned(),
            None => self.stream_address(delivery.endpoint),
        };
        self.signed(&event.claims(delivery.id, delivery.at, &self.settings.public_url, &audience))
    }

    /// Where a stream is, to be fetched with `/poll` behind it; the audience of its tokens unless it has another.
    pub fn stream_address(&self, id: EndpointId) -> String {
        format!("{}/api/v1/streams/{id}", self.settings.public_url)
    }

    /// Takes what is personal out of what is told of a person who is erased, among the next entries of an index; the
    /// last one that was looked at, if there may be more.
    pub(super) async fn forget_in_streams(
        &self,
        space: &Space,
        index: &str,
        person: ResourceId,
        behind: Option<Entry>,
    ) -> Result<Option<Entry>, Error> {
        let page = Page { after: behind, ..Page::first(FORGOTTEN_AT_ONCE) };
        let entries = self.store.range(space, &Index::new(index), &Bounds::All, &page).await?;
        let found: Vec<DocumentKey> = entries.iter().map(|entry| DocumentKey::new(keys::WEBHOOK, &entry.id)).collect();
        if found.is_empty() {
            return Ok(None);
        }
        for (key, document) in found.iter().zip(self.store.get(space, &found).await?) {
            if document.as_ref().is_some_and(|document| without_person(document, person).is_some()) {
                self.forget_in_delivery(space, key, person).await?;
            }
        }
        let full = entries.len() == FORGOTTEN_AT_ONCE;
        Ok(entries.into_iter().last().filter(|_| full))
    }

    async fn forget_in_delivery(&self, space: &Space, key: &DocumentKey, person: ResourceId) -> Result<(), Error> {
        retrying!(self, {
            let found = self.store.get(space, std::slice::from_ref(key)).await?.pop().flatten();
            let Some(document) = found else { return Ok(Some(())) };
            let Some(delivery) = without_person(&document, person) else { return Ok(Some(())) };
            let now = self.store.now();
            let mut batch = Batch::new(entropy::commit_id(now));
            batch.checks.push(Check::Revision { key: key.clone(), revision: document.revision });
            put(&mut batch, &delivery, document.revision + 1, now);
            Ok(self.committed(space, &batch).await?.then_some(()))
        })
    }
}

/// A delivery as it is to be, when it says something personal of this person.
fn without_person(document: &Document, person: ResourceId) -> Option<Delivery> {
    let mut delivery = match read_delivery(&document.body) {
        Ok(delivery) => delivery,
        // Reconciliation tells of it; whose it is, nobody can say.
        Err(error) => {
            tracing::warn!(%error, "a delivery is passed over while somebody is erased");
            return None;
        }
    };
    let is_theirs = delivery.about() == (Kind::User, person);
    let Content::Token { security_event } = &mut delivery.content else { return None };
    if !is_theirs || !security_event.is_personal() {
        return None;
    }
    security_event.forget();
    Some(delivery)
}

/// So many deliveries are looked at by one slice of an erasure.
const FORGOTTEN_AT_ONCE: usize = 200;
