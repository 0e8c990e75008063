//! Sessions of the console: begun by a mailed code or an accepted invitation, ended by sign-out, by time, and by
//! whatever takes the person's access away.
//!
//! All sessions of a user are one document, so that a change of the user ends them with one blind write. What a session
//! allows is never kept: every request reads session, status and role anew ([`super::request`]).

use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};

use super::audit::AuditEvent;
use super::error::Error;
use super::request::Request;
use super::{Directory, entropy, keys};
use crate::domain::ids::{AccountId, ResourceId};
use crate::domain::secrets::{Scope, TokenHash};
use crate::domain::time::Timestamp;
use crate::store::{Batch, Document, Space};

/// A session that was not used for so long is over.
pub const IDLE: Duration = Duration::from_secs(30 * 60);
/// No session lives longer than this.
pub const ABSOLUTE: Duration = Duration::from_secs(12 * 60 * 60);
/// When a session was used last is written at most this often.
const SEEN_EVERY: Duration = Duration::from_secs(60);
/// A user has at most so many sessions; a new one ends the oldest.
const MAX_SESSIONS: usize = 8;

/// What the browser keeps: account, user and 256 random bits. Only the hash of those bits is stored.
#[derive(Clone, PartialEq, Eq)]
pub struct SessionToken {
    pub account: AccountId,
    pub user: ResourceId,
    secret: String,
}

impl SessionToken {
    fn new(account: &AccountId, user: ResourceId) -> Self {
        let secret = URL_SAFE_NO_PAD.encode(entropy::secret());
        SessionToken { account: account.clone(), user, secret }
    }

    /// Reads the value of a cookie; `None` when it is none of ours.
    pub fn parse(text: &str) -> Option<Self> {
        let mut parts = text.splitn(3, '.');
        let (account, user, secret) = (parts.next()?, parts.next()?, parts.next()?);
        let is_secret = URL_SAFE_NO_PAD.decode(secret).is_ok_and(|octets| octets.len() == 32);
        is_secret.then_some(())?;
        Some(SessionToken { account: account.parse().ok()?, user: user.parse().ok()?, secret: secret.to_owned() })
    }

    /// The value of the cookie.
    pub fn expose(&self) -> String {
        format!("{}.{}.{}", self.account, self.user, self.secret)
    }

    pub fn hash(&self) -> TokenHash {
        TokenHash::of(&self.secret)
    }

    /// A request by this session.
    pub fn request(&self, request_id: Option<String>) -> Request {
        Request::by_session(self.account.clone(), self.user, self.hash(), request_id)
    }
}

impl std::fmt::Debug for SessionToken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "SessionToken({} {} …)", self.account, self.user)
    }
}

/// One session, as stored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Session {
    pub hash: TokenHash,
    pub began: Timestamp,
    pub seen: Timestamp,
    /// When the person typed a mailed code last, or proved themselves to the issuer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub proven: Option<Timestamp>,
    /// Begun on an issuer's word, which may rest on a sign-in of hours ago: that it began proves nothing.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub by_issuer: bool,
}

impl Session {
    /// By which an admin names it; nobody gets in by that.
    pub fn id(&self) -> String {
        self.hash.to_string().chars().take(16).collect()
    }

    fn is_alive(&self, now: Timestamp) -> bool {
        now.since(self.seen) < IDLE && now.since(self.began) < ABSOLUTE
    }

    /// When the person proved last who they are: by signing in, or again.
    pub fn proven_at(&self) -> Option<Timestamp> {
        let began = (!self.by_issuer).then_some(self.began);
        began.into_iter().chain(self.proven).max()
    }
}

/// The sessions of one user.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Sessions(Vec<Session>);

impl Sessions {
    pub(super) fn read(document: &Document) -> Result<Self, Error> {
        serde_json::from_slice(&document.body).map_err(|error| Error::damaged("sessions", error))
    }

    pub(super) fn living(&self, hash: &TokenHash, now: Timestamp) -> Option<&Session> {
        self.0.iter().find(|session| session.hash == *hash && session.is_alive(now))
    }

    /// Begins one; those that are over go.
    pub(super) fn begin(&mut self, hash: TokenHash, now: Timestamp) {
        self.add(Session { hash, began: now, seen: now, proven: None, by_issuer: false });
    }

    fn add(&mut self, session: Session) {
        let now = session.began;
        self.0.retain(|session| session.is_alive(now));
        let surplus = (self.0.len() + 1).saturating_sub(MAX_SESSIONS);
        self.0.drain(..surplus);
        self.0.push(session);
    }

    fn end(&mut self, hash: &TokenHash) {
        self.0.retain(|session| session.hash != *hash);
    }

    fn touch(&mut self, hash: &TokenHash, now: Timestamp) {
        if let Some(session) = self.find(hash) {
            session.seen = now;
        }
    }

    fn prove(&mut self, hash: &TokenHash, now: Timestamp) {
        if let Some(session) = self.find(hash) {
            session.proven = Some(now);
        }
    }

    fn find(&mut self, hash: &TokenHash) -> Option<&mut Session> {
        self.0.iter_mut().find(|session| session.hash == *hash)
    }

    pub(super) fn living_ones(&self, now: Timestamp) -> impl Iterator<Item = &Session> {
        self.0.iter().filter(move |session| session.is_alive(now))
    }
}

/// What takes this much trust needs a proof that is no older: granting Account Admin, making tokens, erasing, releasing
/// from the identity provider, and whatever deactivates many at once (console: Security).
pub const PROOF: Duration = Duration::from_secs(5 * 60);

/// Writes the sessions of a user, over what `document` held before.
pub(super) fn put_sessions(
    batch: &mut Batch,
    user: ResourceId,
    document: Option<&Document>,
    sessions: &Sessions,
    now: Timestamp,
) {
    let body = serde_json::to_vec(sessions).expect("sessions have only string keys");
    batch.replace(keys::sessions(user), document, now, body);
}

impl Directory {
    /// Begins a session of somebody who has just proven who they are.
    ///
    /// # Errors
    /// Of the store.
    pub async fn begin_session(&self, account: &AccountId, user: ResourceId) -> Result<SessionToken, Error> {
        let token = SessionToken::new(account, user);
        self.change_sessions(&token, |sessions, now| sessions.begin(token.hash(), now)).await?;
        Ok(token)
    }

    /// Begins a session of somebody who proved themselves to an issuer at `authenticated`, or who knows when.
    pub(super) async fn begin_session_by_issuer(
        &self,
        account: &AccountId,
        user: ResourceId,
        authenticated: Option<Timestamp>,
    ) -> Result<SessionToken, Error> {
        let token = SessionToken::new(account, user);
        let hash = token.hash();
        let session = |now| Session { hash, began: now, seen: now, proven: authenticated, by_issuer: true };
        self.change_sessions(&token, |sessions, now| sessions.add(session(now))).await?;
        Ok(token)
    }

    /// Ends this session.
    ///
    /// # Errors
    /// Of the store.
    pub async fn end_session(&self, token: &SessionToken) -> Result<(), Error> {
        self.change_sessions(token, |sessions, _| sessions.end(&token.hash())).await
    }

    /// Ends one session of a user for an admin, by [`Session::id`]. One that is over is none to end.
    ///
    /// # Errors
    /// [`Error::Unauthorized`], [`Error::MissingScope`]; of the store.
    pub async fn end_one_session(&self, request: &Request, user: ResourceId, session: &str) -> Result<(), Error> {
        let key = keys::sessions(user);
        retrying!(self, {
            let (context, documents) = self.open_to_write(request, std::slice::from_ref(&key)).await?;
            context.require(Scope::Users)?;
            let document = documents.into_iter().next().flatten();
            let before = document.as_ref().map(Sessions::read).transpose()?.unwrap_or_default();
            let mut after = before.clone();
            after.0.retain(|kept| kept.id() != session);
            if after == before {
                return Ok(Some(()));
            }
            let mut batch = context.batch(entropy::commit_id(context.now));
            put_sessions(&mut batch, user, document.as_ref(), &after, context.now);
            let event = AuditEvent::new(context.now, context.actor.clone(), "session.ended_by_admin");
            batch.writes.push(AuditEvent { user: Some(user), ..event }.write());
            Ok(self.committed(&context.space, &batch).await?.then_some(()))
        })
    }

    /// Notes that a session was used, unless that was noted within the last minute.
    ///
    /// # Errors
    /// Of the store.
    pub async fn touch_session(&self, token: &SessionToken, seen: Timestamp) -> Result<(), Error> {
        if self.store.now().since(seen) < SEEN_EVERY {
            return Ok(());
        }
        self.change_sessions(token, |sessions, now| sessions.touch(&token.hash(), now)).await
    }

    /// Notes that whoever has this session has just proven again who they are.
    ///
    /// # Errors
    /// Of the store.
    pub(super) async fn prove_session(&self, token: &SessionToken) -> Result<(), Error> {
        self.change_sessions(token, |sessions, now| sessions.prove(&token.hash(), now)).await
    }

    async fn change_sessions(
        &self,
        token: &SessionToken,
        change: impl Fn(&mut Sessions, Timestamp),
    ) -> Result<(), Error> {
        let space = Space::Account(token.account.clone());
        retrying!(self, {
            let now = self.store.now();
            let document = self.store.get(&space, &[keys::sessions(token.user)]).await?.pop().flatten();
            let before = document.as_ref().map(Sessions::read).transpose()?.unwrap_or_default();
            let mut after = before.clone();
            change(&mut after, now);
            if after == before {
                return Ok(Some(()));
            }
            let mut batch = Batch::new(entropy::commit_id(now));
            put_sessions(&mut batch, token.user, document.as_ref(), &after, now);
            Ok(self.committed(&space, &batch).await?.then_some(()))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    fn begun() -> (Sessions, TokenHash, Timestamp) {
        let mut sessions = Sessions::default();
        let (hash, now) = (TokenHash::of("one"), Timestamp::from_millis(1_795_426_200_000));
        sessions.begin(hash, now);
        (sessions, hash, now)
    }

    #[test]
    fn a_session_that_rests_for_thirty_minutes_is_over() {
        let (mut sessions, hash, now) = begun();
        assert!(sessions.living(&hash, now + MINUTE * 29).is_some());
        assert!(sessions.living(&hash, now + MINUTE * 30).is_none());
        sessions.touch(&hash, now + MINUTE * 29);
        assert!(sessions.living(&hash, now + MINUTE * 58).is_some());
    }

    #[test]
    fn a_session_ends_after_twelve_hours_however_busy_it_is() {
        let (mut sessions, hash, now) = begun();
        sessions.touch(&hash, now + MINUTE * 719);
        assert!(sessions.living(&hash, now + MINUTE * 719).is_some());
        assert!(sessions.living(&hash, now + MINUTE * 720).is_none());
    }

    #[test]
    fn signing_in_is_a_proof_and_a_later_one_counts_from_then() {
        let (mut sessions, hash, now) = begun();
        assert_eq!(sessions.living(&hash, now).unwrap().proven_at(), Some(now));
        sessions.touch(&hash, now + MINUTE * 6);
        assert_eq!(sessions.living(&hash, now + MINUTE * 6).unwrap().proven_at(), Some(now), "using it proves nothing");
        sessions.prove(&hash, now + MINUTE * 7);
        assert_eq!(sessions.living(&hash, now + MINUTE * 7).unwrap().proven_at(), Some(now + MINUTE * 7));
    }

    #[test]
    fn an_issuer_s_word_proves_no_more_than_it_says() {
        let (mut sessions, _, now) = begun();
        let hash = TokenHash::of("by an issuer");
        let session = |proven| Session { hash, began: now, seen: now, proven, by_issuer: true };
        sessions.add(session(None));
        assert_eq!(sessions.living(&hash, now).unwrap().proven_at(), None);
        sessions.end(&hash);
        sessions.add(session(Some(now - MINUTE * 60)));
        assert_eq!(sessions.living(&hash, now).unwrap().proven_at(), Some(now - MINUTE * 60));
        sessions.prove(&hash, now + MINUTE);
        assert_eq!(sessions.living(&hash, now).unwrap().proven_at(), Some(now + MINUTE));
    }

    #[test]
    fn an_ended_session_and_the_oldest_of_too_many_are_gone() {
        let (mut sessions, first, now) = begun();
        for number in 0..8 {
            sessions.begin(TokenHash::of(&format!("{number}")), now);
        }
        assert!(sessions.living(&first, now).is_none());
        let last = TokenHash::of("7");
        assert!(sessions.living(&last, now).is_some());
        sessions.end(&last);
        assert!(sessions.living(&last, now).is_none());
    }

    #[test]
    fn a_cookie_is_read_back_and_a_mangled_one_is_none() {
        let user = entropy::resource_id(Timestamp::EPOCH);
        let token = SessionToken::new(&"default".parse().unwrap(), user);
        assert_eq!(SessionToken::parse(&token.expose()), Some(token.clone()));
        assert_eq!(SessionToken::parse(&token.expose()[1..]).map(|it| it.account.to_string()), Some("efault".into()));
        for wrong in ["", "default", "default.x.y", &token.expose()[..60]] {
            assert_eq!(SessionToken::parse(wrong), None, "{wrong}");
        }
        assert!(!format!("{token:?}").contains(&token.secret));
    }
}
