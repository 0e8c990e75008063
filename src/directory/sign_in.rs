//! Signing in by a one-time code that is mailed.
//!
//! The code is stored nowhere: it follows from the signing keys and a nonce, so that the mailer and whoever checks it
//! arrive at the same digits. Each request for a code has its own nonce, which the browser that asked keeps: tries of
//! somebody else do not use up one's own.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use subtle::ConstantTimeEq;

use super::audit::{Actor, AuditEvent, Door};
use super::change::put_letter;
use super::error::Error;
use super::outbox::{Letter, LetterKind};
use super::record::UserRecord;
use super::request::{Context, Request};
use super::sessions::SessionToken;
use super::{Directory, entropy, keys};
use crate::domain::ids::{AccountId, ResourceId};
use crate::domain::lifecycle::Event;
use crate::domain::names::EmailAddress;
use crate::domain::secrets::Scope;
use crate::domain::time::Timestamp;
use crate::domain::token::Generation;
use crate::domain::token::keyring::{KeyId, Label};
use crate::domain::user::State;
use crate::store::{Batch, Check, Document, Write};

/// How long a mailed code works.
pub const CODE_LIFETIME: Duration = Duration::from_secs(10 * 60);
/// After so many wrong tries a code is worthless.
const MAX_TRIES: u8 = 5;
/// At most so many codes are mailed to one user within [`CODES_WITHIN`].
const MAX_CODES: usize = 10;
const CODES_WITHIN: Duration = Duration::from_secs(60 * 60);

/// Eight digits.
#[derive(Clone, Copy)]
pub struct Code(u32);

impl Code {
    const COUNT: u64 = 100_000_000;

    fn of(tag: &[u8; 32]) -> Self {
        let mut octets = [0; 8];
        octets.copy_from_slice(&tag[..8]);
        let digits = u64::from_be_bytes(octets) % Self::COUNT;
        Code(u32::try_from(digits).unwrap_or_default())
    }

    /// Whether this is what was typed, spaces aside. Takes the same time wherever two differ.
    fn is(self, typed: &str) -> bool {
        let digits: String = typed.chars().filter(|c| !c.is_whitespace() && *c != '-').collect();
        format!("{:08}", self.0).as_bytes().ct_eq(digits.as_bytes()).into()
    }
}

/// `4829 1507`, as it is mailed.
impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04} {:04}", self.0 / 10_000, self.0 % 10_000)
    }
}

impl fmt::Debug for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Code(…)")
    }
}

/// What the browser that asked for a code keeps. The same for addresses that nobody has.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Asking {
    pub account: AccountId,
    pub address: EmailAddress,
    pub nonce: Generation,
}

/// One code that was mailed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Mailed {
    nonce: Generation,
    kid: KeyId,
    at: Timestamp,
    /// Wrong ones so far.
    tries: u8,
    #[serde(default)]
    used: bool,
}

/// The codes that were mailed to one user lately, the oldest first.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Codes(Vec<Mailed>);

impl Codes {
    fn read(document: Option<&Document>) -> Result<Self, Error> {
        let codes = document.map(|document| serde_json::from_slice(&document.body));
        Ok(codes.transpose().map_err(|error| Error::damaged("sign-in codes", error))?.unwrap_or_default())
    }

    /// Takes note of a code that is to be mailed; `false` when there were too many.
    fn add(&mut self, nonce: Generation, kid: &KeyId, now: Timestamp) -> bool {
        self.0.retain(|mailed| now.since(mailed.at) < CODES_WITHIN);
        let fits = self.0.len() < MAX_CODES;
        if fits {
            self.0.push(Mailed { nonce, kid: kid.clone(), at: now, tries: 0, used: false });
        }
        fits
    }

    fn open(&mut self, nonce: Generation, now: Timestamp) -> Option<&mut Mailed> {
        self.0.iter_mut().find(|mailed| {
            mailed.nonce == nonce && !mailed.used && mailed.tries < MAX_TRIES && now.since(mailed.at) < CODE_LIFETIME
        })
    }

    fn put(&self, batch: &mut Batch, user: ResourceId, document: Option<&Document>, now: Timestamp) {
        let body = serde_json::to_vec(self).expect("codes have only string keys");
        batch.replace(keys::sign_in(user), document, now, body);
    }
}

impl Directory {
    /// Mails a code to an Active user of this address. The answer is the same for everybody else, and for one to whom
    /// too many were mailed.
    ///
    /// # Errors
    /// Of the store.
    pub async fn ask_code(
        &self,
        account: &AccountId,
        address: &EmailAddress,
        request_id: Option<&str>,
    ) -> Result<Asking, Error> {
        let asking = Asking { account: account.clone(), address: address.clone(), nonce: entropy::generation() };
        let request = visitor(account, request_id);
        let done: Result<(), Error> = retrying!(self, {
            let (context, _) = match self.open(&request, &[]).await {
                Err(Error::NotFound(_)) => return Ok(Some(())),
                opened => opened?,
            };
            let Some(record) = self.one_who_signs_in(&context, address).await? else { return Ok(Some(())) };
            let user = record.user.id;
            let document = self.store.get(&context.space, &[keys::sign_in(user)]).await?.pop().flatten();
            let mut codes = Codes::read(document.as_ref())?;
            let kid = self.keys.current().clone();
            if !codes.add(asking.nonce, &kid, context.now) {
                tracing::warn!(%user, "too many sign-in codes asked for; none was mailed");
                return Ok(Some(()));
            }
            let mut batch = context.batch(entropy::commit_id(context.now));
            codes.put(&mut batch, user, document.as_ref(), context.now);
            let letter = Letter {
                id: entropy::outbox_id(context.now),
                kind: LetterKind::SignInCode,
                user,
                generation: Some(asking.nonce),
                kid: Some(kid),
                to: address.clone(),
                created: context.now,
                attempts: 0,
                last_reply: None,
                dead: None,
                bulletin: None,
            };
            put_letter(&mut batch, &letter, 1, context.now);
            batch.writes.push(Write::TimerSet { owner: keys::outbox_timer(letter.id), due: context.now });
            batch.writes.push(audited(&context, "session.code_asked", user));
            let done = self.committed(&context.space, &batch).await?;
            Ok(done.then_some(()))
        });
        done.map(|()| asking)
    }

    /// Begins a session when the code is right, alive and not used before. `None` says no more than that it is not: a
    /// stranger learns nothing. A try is recorded before it is answered.
    ///
    /// # Errors
    /// Of the store.
    pub async fn enter_code(
        &self,
        asking: &Asking,
        typed: &str,
        request_id: Option<&str>,
    ) -> Result<Option<(SessionToken, UserRecord)>, Error> {
        let request = visitor(&asking.account, request_id);
        let Some(mut record) = self.try_code(&request, asking, typed, "session.signed_in").await? else {
            return Ok(None);
        };
        let user = record.user.id;
        if record.user.link_only {
            let id = user.to_string();
            record = self.on_user(&request, &id, "user.mailbox_proven", Scope::Users, |_| Event::MailboxProven).await?;
        }
        let session = self.begin_session(&asking.account, user).await?;
        self.prove_session(&session).await?;
        Ok(Some((session, record)))
    }

    /// Proves once more who has this session, by a code that was mailed to its user. `false` for a code that is not
    /// right, as in [`Directory::enter_code`].
    ///
    /// # Errors
    /// Of the store.
    pub async fn prove(
        &self,
        session: &SessionToken,
        asking: &Asking,
        typed: &str,
        request_id: Option<&str>,
    ) -> Result<bool, Error> {
        let request = visitor(&asking.account, request_id);
        let proven = self.try_code(&request, asking, typed, "session.proven").await?;
        let is_theirs = |record: &UserRecord| record.user.id == session.user && asking.account == session.account;
        if !proven.as_ref().is_some_and(is_theirs) {
            return Ok(false);
        }
        self.prove_session(session).await?;
        Ok(true)
    }

    /// Tries a code: whose it is when it is right, which uses it up. `right` is what the audit then says.
    async fn try_code(
        &self,
        request: &Request,
        asking: &Asking,
        typed: &str,
        right: &str,
    ) -> Result<Option<UserRecord>, Error> {
        retrying!(self, {
            let (context, _) = match self.open(request, &[]).await {
                Err(Error::NotFound(_)) => return Ok(Some(None)),
                opened => opened?,
            };
            let Some(record) = self.one_who_signs_in(&context, &asking.address).await? else { return Ok(Some(None)) };
            let user = record.user.id;
            let document = self.store.get(&context.space, &[keys::sign_in(user)]).await?.pop().flatten();
            let mut codes = Codes::read(document.as_ref())?;
            let Some(mailed) = codes.open(asking.nonce, context.now) else { return Ok(Some(None)) };
            let is_right = self.code(&asking.account, user, mailed.nonce, &mailed.kid)?.is(typed);
            let what = if is_right {
                mailed.used = true;
                right
            } else {
                mailed.tries += 1;
                "session.code_wrong"
            };
            let mut batch = context.batch(entropy::commit_id(context.now));
            // The person must be Active still when the try counts.
            batch.checks.push(Check::Revision { key: keys::user(user), revision: record.revision });
            codes.put(&mut batch, user, document.as_ref(), context.now);
            batch.writes.push(audited(&context, what, user));
            Ok(self.committed(&context.space, &batch).await?.then_some(is_right.then_some(record)))
        })
    }

    /// The code that a letter carries.
    ///
    /// # Errors
    /// [`Error::Internal`] when its key is gone.
    pub fn code_of(&self, account: &AccountId, letter: &Letter) -> Result<Code, Error> {
        match (letter.generation, &letter.kid) {
            (Some(nonce), Some(kid)) => self.code(account, letter.user, nonce, kid),
            _ => Err(Error::damaged("sign-in letter", "it names no nonce and key")),
        }
    }

    fn code(&self, account: &AccountId, user: ResourceId, nonce: Generation, kid: &KeyId) -> Result<Code, Error> {
        let fields = [self.installation.clone(), account.to_string(), user.to_string(), nonce.to_string()];
        let tag = self.keys.mac(kid, Label::SIGN_IN_CODE, &fields, self.store.now());
        tag.map(|tag| Code::of(tag.as_bytes())).map_err(|error| Error::Internal(error.to_string()))
    }

    pub(super) async fn one_who_signs_in(
        &self,
        context: &Context,
        address: &EmailAddress,
    ) -> Result<Option<UserRecord>, Error> {
        let found = self.find_by_sign_in_address(context, address).await?;
        Ok(found.filter(|record| record.user.state() == State::A))
    }
}

pub(super) fn visitor(account: &AccountId, request_id: Option<&str>) -> Request {
    let request_id = request_id.map(str::to_owned);
    Request::trusted(account.clone(), Actor { channel: Door::Console, name: "sign-in".to_owned(), request_id })
}

pub(super) fn audited(context: &Context, what: &str, user: ResourceId) -> Write {
    let actor = Actor { name: user.to_string(), ..context.actor.clone() };
    AuditEvent { user: Some(user), ..AuditEvent::new(context.now, actor, what) }.write()
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    fn nonce(number: u64) -> Generation {
        Generation::from_random(number)
    }

    fn mailed() -> (Codes, Timestamp) {
        let (mut codes, now) = (Codes::default(), Timestamp::from_millis(1_795_426_200_000));
        assert!(codes.add(nonce(1), &"k1".parse().unwrap(), now));
        (codes, now)
    }

    #[test]
    fn a_code_is_eight_digits_and_may_be_typed_with_a_space() {
        let mut tag = [0; 32];
        tag[6..8].copy_from_slice(&[1, 2]);
        let code = Code::of(&tag);
        assert_eq!(code.to_string(), "0000 0258");
        assert!(code.is("0000 0258") && code.is(" 00000258 ") && code.is("0000-0258"));
        assert!(!code.is("258") && !code.is("00000259") && !code.is(""));
        assert_eq!(format!("{code:?}"), "Code(…)");
    }

    #[test]
    fn a_code_works_for_ten_minutes() {
        let (mut codes, now) = mailed();
        assert!(codes.open(nonce(1), now + MINUTE * 10 - Duration::from_millis(1)).is_some());
        assert!(codes.open(nonce(1), now + MINUTE * 10).is_none());
        assert!(codes.open(nonce(2), now).is_none(), "another browser's");
    }

    #[test]
    fn after_five_wrong_tries_or_one_right_one_a_code_is_worthless() {
        let (mut codes, now) = mailed();
        for _ in 0..5 {
            codes.open(nonce(1), now).unwrap().tries += 1;
        }
        assert!(codes.open(nonce(1), now).is_none());
        codes.add(nonce(2), &"k1".parse().unwrap(), now);
        codes.open(nonce(2), now).unwrap().used = true;
        assert!(codes.open(nonce(2), now).is_none());
    }

    #[test]
    fn ten_codes_an_hour_are_mailed_and_no_more() {
        let (mut codes, now) = mailed();
        let kid = "k1".parse().unwrap();
        for number in 2..=10 {
            assert!(codes.add(nonce(number), &kid, now));
        }
        assert!(!codes.add(nonce(11), &kid, now + MINUTE * 59));
        assert!(codes.add(nonce(12), &kid, now + MINUTE * 60));
    }
}
