//! Who asks, and what they may: loaded from the store with the data, at every request.

use super::account::Account;
use super::audit::{Actor, Door};
use super::error::Error;
use super::notes::Notes;
use super::record::UserRecord;
use super::sessions::{PROOF, Sessions};
use super::tokens::{Token, read_token};
use super::{Directory, keys};
use crate::domain::ids::{AccountId, ResourceId, TokenId};
use crate::domain::lifecycle::Provider;
use crate::domain::names::{ClientName, EmailAddress};
use crate::domain::secrets::{Scope, TokenHash};
use crate::domain::time::Timestamp;
use crate::domain::user::State;
use crate::store::{Batch, Check, Document, DocumentKey, Space};

/// One request to a use case.
#[derive(Debug, Clone)]
pub struct Request {
    pub account: AccountId,
    pub access: Access,
    /// By which the request is found in logs and in the audit.
    pub id: Option<String>,
    /// What is noticed on the way, for the story.
    pub notes: Notes,
}

/// By what right.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Access {
    /// A provisioning token, through SCIM or the API; its rights are read at each request. Where an access token of an
    /// issuer speaks for it, it does so until `ends`.
    Token { id: TokenId, door: Door, ends: Option<Timestamp> },
    /// Somebody who is signed in; session, status and role are read at each request.
    Session { user: ResourceId, hash: TokenHash },
    /// Somebody whose right was decided before: the command line, a verified link, a timer.
    Trusted { actor: Actor },
}

/// A request with what the store says about it now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Context {
    pub account: Account,
    pub space: Space,
    pub now: Timestamp,
    pub actor: Actor,
    /// The token that asks; `None` for trusted access.
    pub token: Option<Token>,
    /// The Account Admin who asks by a session.
    pub admin: Option<SignedIn>,
    /// The revisions that the rights were read at: a batch checks them, so that they still hold when it commits.
    guards: Vec<Check>,
}

/// Who asks by a session, as stored at this moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignedIn {
    pub user: ResourceId,
    pub name: String,
    pub role: String,
    /// When the session was used last, to the minute.
    pub seen: Timestamp,
    /// When they proved last who they are; `None` where an issuer let them in and does not say when it asked them.
    pub proven: Option<Timestamp>,
    /// Whether they proved in this session that the address is theirs, by a mailed code or to the issuer; others begin
    /// by an accepted link.
    pub by_code: bool,
    /// Where their codes are mailed.
    pub address: Option<EmailAddress>,
}

impl SignedIn {
    /// Whether they have proven lately who they are, as [`PROOF`] wants it.
    pub fn is_proven(&self, now: Timestamp) -> bool {
        self.proven.is_some_and(|at| now.since(at) < PROOF)
    }
}

impl Request {
    /// By a session of the console.
    pub fn by_session(account: AccountId, user: ResourceId, hash: TokenHash, request_id: Option<String>) -> Self {
        Request { account, access: Access::Session { user, hash }, id: request_id, notes: Notes::default() }
    }

    /// The user whose session asks.
    pub fn signed_in(&self) -> Option<ResourceId> {
        match self.access {
            Access::Session { user, .. } => Some(user),
            Access::Token { .. } | Access::Trusted { .. } => None,
        }
    }

    /// By a token.
    pub fn by_token(account: AccountId, id: TokenId, door: Door, request_id: Option<String>) -> Self {
        Request { account, access: Access::Token { id, door, ends: None }, id: request_id, notes: Notes::default() }
    }

    /// With rights that end then, if they are by a token.
    #[must_use]
    pub fn until(mut self, when: Option<Timestamp>) -> Self {
        if let Access::Token { ends, .. } = &mut self.access {
            *ends = when;
        }
        self
    }

    /// By somebody who was let through already.
    pub fn trusted(account: AccountId, actor: Actor) -> Self {
        Request { account, id: actor.request_id.clone(), access: Access::Trusted { actor }, notes: Notes::default() }
    }
}

impl Context {
    /// # Errors
    /// [`Error::MissingScope`] when the token lacks `scope`. Trusted access has all.
    pub fn require(&self, scope: Scope) -> Result<(), Error> {
        if self.allows(scope) { Ok(()) } else { Err(Error::MissingScope(scope)) }
    }

    pub fn allows(&self, scope: Scope) -> bool {
        self.token.as_ref().is_none_or(|token| token.scopes.contains(scope))
    }

    /// The token as the lifecycle sees a SCIM client.
    ///
    /// # Errors
    /// [`Error::Unauthorized`] for a request without a token: only clients provision.
    pub fn provider(&self) -> Result<Provider, Error> {
        let token = self.token.as_ref().ok_or(Error::Unauthorized)?;
        Ok(Provider {
            client: token.client.clone(),
            takeover: token.scopes.contains(Scope::UsersTakeover),
            roles_write: token.scopes.contains(Scope::RolesWrite),
        })
    }

    /// What holds a client back is for somebody else to decide: an admin, or another client that mails people itself.
    ///
    /// # Errors
    /// [`Error::Invalid`] when the token that asks is of `client`, or a test token.
    pub fn is_no_party(&self, client: Option<&ClientName>) -> Result<(), Error> {
        let is_party = |token: &Token| token.test || Some(&token.client) == client;
        if self.token.as_ref().is_some_and(is_party) {
            return Err(Error::Invalid("a client does not decide about itself; ask an Account Admin".to_owned()));
        }
        Ok(())
    }

    /// The revision of the account's settings that this request was read with.
    pub fn account_revision(&self) -> u64 {
        let found = self.guards.iter().find_map(|check| match check {
            Check::Revision { key, revision } if *key == keys::settings() => Some(*revision),
            _ => None,
        });
        found.expect("every request is read with its account")
    }

    /// A batch that holds only while the rights of this request do.
    pub fn batch(&self, commit: crate::domain::ids::CommitId) -> Batch {
        let mut batch = Batch::new(commit);
        batch.checks.clone_from(&self.guards);
        batch
    }
}

impl Directory {
    /// Loads the rights of a request together with the documents it is about, in one trip.
    ///
    /// # Errors
    /// [`Error::Unauthorized`] when the token is not alive, [`Error::NotFound`] when the account is gone.
    pub async fn open(
        &self,
        request: &Request,
        wanted: &[DocumentKey],
    ) -> Result<(Context, Vec<Option<Document>>), Error> {
        let space = Space::Account(request.account.clone());
        let mut all = Vec::with_capacity(wanted.len() + 2);
        all.push(keys::settings());
        match &request.access {
            Access::Token { id, .. } => all.push(keys::token(*id)),
            Access::Session { user, .. } => all.extend([keys::user(*user), keys::sessions(*user)]),
            Access::Trusted { .. } => {}
        }
        let guards_end = all.len();
        all.extend_from_slice(wanted);

        let mut documents = self.store.get(&space, &all).await?;
        let rest = documents.split_off(guards_end.min(documents.len()));
        let context = self.context(request, space, &all[..guards_end], &documents)?;
        Ok((context, rest))
    }

    fn context(
        &self,
        request: &Request,
        space: Space,
        guard_keys: &[DocumentKey],
        documents: &[Option<Document>],
    ) -> Result<Context, Error> {
        let now = self.store.now();
        let settings = documents.first().and_then(Option::as_ref);
        let mut admin = None;
        let (actor, token) = match &request.access {
            Access::Trusted { actor } => (actor.clone(), None),
            Access::Session { user, hash } => {
                let [_, person, sessions] = documents else { return Err(Error::Unauthorized) };
                let signed_in = signed_in(person.as_ref(), sessions.as_ref(), hash, now)?;
                let actor = Actor { channel: Door::Console, name: user.to_string(), request_id: request.id.clone() };
                admin = Some(signed_in);
                (actor, None)
            }
            Access::Token { door, ends, .. } => {
                if ends.is_some_and(|ends| ends <= now) {
                    return Err(Error::Unauthorized);
                }
                let document = documents.get(1).and_then(Option::as_ref).ok_or(Error::Unauthorized)?;
                let token = read_token(&document.body)?;
                if !token.is_alive(now) {
                    return Err(Error::Unauthorized);
                }
                self.uses.note(&request.account, token.id, now);
                let actor = Actor { channel: *door, name: token.client.to_string(), request_id: request.id.clone() };
                (actor, Some(token))
            }
        };
        let settings = settings.ok_or_else(|| Error::NotFound(format!("there is no account {}", request.account)))?;
        let account: Account =
            serde_json::from_slice(&settings.body).map_err(|error| Error::damaged("account settings", error))?;
        let guards = guard_keys
            .iter()
            .zip(documents.iter().flatten())
            .map(|(key, document)| match key.kind {
                // A session is written whenever it is used; that it exists is enough.
                keys::SESSION => Check::Exists { key: key.clone() },
                _ => Check::Revision { key: key.clone(), revision: document.revision },
            })
            .collect();
        Ok(Context { account, space, now, actor, token, admin, guards })
    }
}

/// Rights by a session: it must be alive, and its user an Account Admin now, whatever they were when they signed in.
fn signed_in(
    person: Option<&Document>,
    sessions: Option<&Document>,
    hash: &TokenHash,
    now: Timestamp,
) -> Result<SignedIn, Error> {
    let (person, sessions) = person.zip(sessions).ok_or(Error::Unauthorized)?;
    let sessions = Sessions::read(sessions)?;
    let session = sessions.living(hash, now).ok_or(Error::Unauthorized)?;
    let record = UserRecord::decode(person)?;
    match record.user.state() {
        State::A => {}
        State::N | State::PL | State::PX | State::RL | State::I | State::T => return Err(Error::Unauthorized),
    }
    if !record.user.is_effective_admin() {
        return Err(Error::NotAccountAdmin);
    }
    let role = record.user.account_role.clone();
    let address = record.user.sign_in_address.clone();
    let (seen, proven, by_code) = (session.seen, session.proven_at(), session.proven.is_some());
    Ok(SignedIn { user: record.user.id, name: record.display_name(), role, seen, proven, by_code, address })
}
