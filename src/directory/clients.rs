//! The clients that provision: what each manages, what of it is held, and what admins have decided about it. A client
//! is the tokens of one account with the same name.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::account::Account;
use super::audit::AuditEvent;
use super::error::Error;
use super::record::UserRecord;
use super::request::{Context, Request};
use super::tokens::TokenSummary;
use super::{Directory, entropy, keys};
use crate::domain::lifecycle::Alert;
use crate::domain::names::ClientName;
use crate::domain::secrets::Scope;
use crate::domain::time::Timestamp;
use crate::store::{Batch, Bounds, Index, Page};

/// What was decided about a client. It outlives tokens, since a rotated token is the same client.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct ClientState {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub paused: Option<Decided>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub brake: Option<BrakeState>,
}

/// Who decided, and when.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Decided {
    /// As [`super::Actor::name`].
    pub by: String,
    pub at: Timestamp,
}

/// The mass-deprovision brake (G9) of one client, once it had to act.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum BrakeState {
    /// One person a minute loses access, until an admin decides. `lost` had lost it before.
    Engaged { since: Timestamp, lost: u64 },
    /// An admin said no: nobody loses access through this client, until one resumes it.
    Rejected { since: Timestamp, decided: Decided },
    /// An admin said yes: nothing is held up until then.
    Released { until: Timestamp, decided: Decided },
}

impl BrakeState {
    /// Since when the brake has been on; `None` while it lets everything pass.
    pub fn braked_since(&self) -> Option<Timestamp> {
        match self {
            BrakeState::Engaged { since, .. } | BrakeState::Rejected { since, .. } => Some(*since),
            BrakeState::Released { .. } => None,
        }
    }
}

/// One client, as Provisioning shows it.
#[derive(Debug, Clone, PartialEq)]
pub struct ClientSummary {
    pub name: ClientName,
    /// All that were ever made, with those that work no more.
    pub tokens: Vec<TokenSummary>,
    /// How many users it manages.
    pub managed: u64,
    /// How many of them wait for a decision.
    pub held: u64,
    /// The first of those.
    pub sample: Vec<UserRecord>,
    pub paused: Option<Decided>,
    pub brake: Option<BrakeState>,
    /// When one of its tokens was used last, to the minute.
    pub last_used: Option<Timestamp>,
}

/// How long a paused client is asked to wait before it tries again.
const PAUSE_RETRY: Duration = Duration::from_secs(300);
/// So many held users are shown as a sample.
const SAMPLE: usize = 10;

impl Context {
    /// # Errors
    /// [`Error::Paused`] when the client that asks is.
    pub(super) fn may_write(&self) -> Result<(), Error> {
        let Some(token) = &self.token else { return Ok(()) };
        match self.account.clients.get(&token.client).and_then(|state| state.paused.as_ref()) {
            Some(_) => Err(Error::Paused { client: token.client.clone(), retry_after: PAUSE_RETRY }),
            None => Ok(()),
        }
    }
}

impl Directory {
    /// As [`Directory::open`], for a request that writes.
    ///
    /// # Errors
    /// As there; [`Error::Paused`].
    pub(super) async fn open_to_write(
        &self,
        request: &Request,
        wanted: &[crate::store::DocumentKey],
    ) -> Result<(Context, Vec<Option<crate::store::Document>>), Error> {
        let (context, documents) = self.open(request, wanted).await?;
        context.may_write()?;
        Ok((context, documents))
    }

    /// All clients of the account, by name: those with a token, and those about which something is decided.
    ///
    /// # Errors
    /// [`Error::MissingScope`] without `tokens`; of the store.
    pub async fn clients(&self, context: &Context) -> Result<Vec<ClientSummary>, Error> {
        context.require(Scope::Tokens)?;
        let mut tokens: BTreeMap<ClientName, Vec<TokenSummary>> = BTreeMap::new();
        for summary in self.token_summaries(&context.account.id).await? {
            tokens.entry(summary.token.client.clone()).or_default().push(summary);
        }
        let names: BTreeSet<ClientName> = tokens.keys().chain(context.account.clients.keys()).cloned().collect();
        let mut clients = Vec::with_capacity(names.len());
        for name in names {
            let tokens = tokens.remove(&name).unwrap_or_default();
            clients.push(self.client_summary(context, name, tokens).await?);
        }
        Ok(clients)
    }

    async fn client_summary(
        &self,
        context: &Context,
        name: ClientName,
        tokens: Vec<TokenSummary>,
    ) -> Result<ClientSummary, Error> {
        let (space, held) = (&context.space, Index::new(keys::held(name.as_str())));
        let managed = self.store.count(space, &Index::new(keys::managed(name.as_str())), &Bounds::All).await?;
        let waiting = self.store.count(space, &held, &Bounds::All).await?;
        let sample = match waiting {
            0 => Vec::new(),
            _ => self.store.range(space, &held, &Bounds::All, &Page::first(SAMPLE)).await?,
        };
        let sample = self.records(context, sample.into_iter().map(|entry| entry.id)).await?;
        let state = context.account.clients.get(&name).cloned().unwrap_or_default();
        let last_used = tokens.iter().filter_map(|summary| summary.last_used).max();
        let (paused, brake) = (state.paused, state.brake);
        Ok(ClientSummary { name, tokens, managed, held: waiting, sample, paused, brake, last_used })
    }

    /// Lets a client write nothing more, from this commit on; it goes on reading. Pausing a paused client changes
    /// nothing.
    ///
    /// # Errors
    /// [`Error::NotFound`] for an unknown client, [`Error::MissingScope`] without `tokens`.
    pub async fn pause_client(&self, request: &Request, client: &ClientName) -> Result<(), Error> {
        self.decide_on(request, client, "client.paused", |state, decided| {
            if state.paused.is_none() {
                state.paused = Some(decided);
            }
        })
        .await
    }

    /// Lets a paused client write again.
    ///
    /// # Errors
    /// As [`Directory::pause_client`].
    pub async fn resume_client(&self, request: &Request, client: &ClientName) -> Result<(), Error> {
        self.decide_on(request, client, "client.resumed", |state, _| state.paused = None).await
    }

    async fn decide_on(
        &self,
        request: &Request,
        client: &ClientName,
        what: &str,
        decide: impl Fn(&mut ClientState, Decided) + Sync,
    ) -> Result<(), Error> {
        retrying!(self, {
            let (context, account) = self.open_for_decision(request, client).await?;
            let mut after = account.clone();
            let decided = Decided { by: context.actor.name.clone(), at: context.now };
            decide(after.client_mut(client), decided);
            let mut batch = context.batch(entropy::commit_id(context.now));
            if !self.plan_client(&context, after, client, what, &[], &mut batch) {
                return Ok(Some(()));
            }
            Ok(self.committed(&context.space, &batch).await?.then_some(()))
        })
    }

    /// The account, for a decision on one of its clients.
    pub(super) async fn open_for_decision(
        &self,
        request: &Request,
        client: &ClientName,
    ) -> Result<(Context, Account), Error> {
        let (context, _) = self.open_to_write(request, &[]).await?;
        context.require(Scope::Tokens)?;
        context.is_no_party(Some(client))?;
        let account = context.account.clone();
        let known = account.clients.contains_key(client)
            || self.list_tokens(&account.id).await?.iter().any(|token| token.client == *client);
        if known { Ok((context, account)) } else { Err(Error::NotFound(format!("there is no client {client}"))) }
    }

    /// Puts the account as it becomes and says so in the audit; whether that changes anything. The guards of `batch`
    /// check that the account is still the one that was read.
    pub(super) fn plan_client(
        &self,
        context: &Context,
        mut after: Account,
        client: &ClientName,
        what: &str,
        alerts: &[Alert],
        batch: &mut Batch,
    ) -> bool {
        after.tidy();
        if after == context.account {
            return false;
        }
        let alerts = alerts.iter().map(|alert| format!("{alert:?}")).collect();
        let event = AuditEvent {
            client: Some(client.clone()),
            alerts,
            ..AuditEvent::new(context.now, context.actor.clone(), what)
        };
        context.plan_account(&after, &event, batch);
        true
    }
}
