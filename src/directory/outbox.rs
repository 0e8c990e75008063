//! What waits to go out. A letter is put by the batch that makes it necessary and taken away by the batch that records
//! its fate, so no crash can lose one; a repeat carries the same Message-ID and the same link.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::bulletins::Bulletin;
use super::change::{move_letter, put_letter, remove_letter};
use super::error::{Error, readable};
use super::request::Request;
use super::{Directory, keys};
use crate::domain::ids::{AccountId, OutboxId, ResourceId};
use crate::domain::lifecycle::Mail;
use crate::domain::names::EmailAddress;
use crate::domain::secrets::Scope;
use crate::domain::time::Timestamp;
use crate::domain::token::Generation;
use crate::domain::token::keyring::KeyId;
use crate::store::{Bounds, Check, Claim, Index, Owner, Page, Space, Write};

/// One mail to send. It holds no link and no text: both are made when it goes out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Letter {
    pub id: OutboxId,
    pub kind: LetterKind,
    pub user: ResourceId,
    /// The generation whose link it carries; a letter of a superseded one is dropped.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub generation: Option<Generation>,
    /// The key that signed what the letter carries, where the user's record does not tell.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kid: Option<KeyId>,
    pub to: EmailAddress,
    pub created: Timestamp,
    /// How often the relay was tried.
    #[serde(default)]
    pub attempts: u32,
    /// What the relay said last, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_reply: Option<String>,
    /// When no attempt was left: it stands among the dead letters until somebody tries again, or [`DEAD_FOR`] is over.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dead: Option<Timestamp>,
    /// What a [`LetterKind::Bulletin`] says.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bulletin: Option<Bulletin>,
}

/// How long a dead letter is kept.
pub const DEAD_FOR: Duration = Duration::from_secs(30 * 24 * 60 * 60);

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LetterKind {
    Invitation,
    Reminder,
    Welcome,
    ConfirmAddress,
    AddressNotice,
    LinkUsedNotice,
    /// `generation` is the nonce that the code is made from.
    SignInCode,
    /// An alert or a digest, to an Account Admin.
    Bulletin,
}

impl LetterKind {
    pub const fn as_str(self) -> &'static str {
        match self {
            LetterKind::Invitation => "invitation",
            LetterKind::Reminder => "reminder",
            LetterKind::Welcome => "welcome",
            LetterKind::ConfirmAddress => "confirm_address",
            LetterKind::AddressNotice => "address_notice",
            LetterKind::LinkUsedNotice => "link_used_notice",
            LetterKind::SignInCode => "sign_in_code",
            LetterKind::Bulletin => "bulletin",
        }
    }

    /// Whether somebody sits before a screen and waits for it.
    pub const fn is_awaited(self) -> bool {
        match self {
            LetterKind::SignInCode | LetterKind::ConfirmAddress => true,
            LetterKind::Invitation
            | LetterKind::Reminder
            | LetterKind::Welcome
            | LetterKind::AddressNotice
            | LetterKind::LinkUsedNotice
            | LetterKind::Bulletin => false,
        }
    }

    /// Whether it carries the invitation link, and so dies with its generation.
    pub const fn carries_invitation(self) -> bool {
        match self {
            LetterKind::Invitation | LetterKind::Reminder => true,
            LetterKind::Welcome
            | LetterKind::ConfirmAddress
            | LetterKind::AddressNotice
            | LetterKind::LinkUsedNotice
            | LetterKind::SignInCode
            | LetterKind::Bulletin => false,
        }
    }
}

impl From<Mail> for LetterKind {
    fn from(mail: Mail) -> Self {
        match mail {
            Mail::Invitation => LetterKind::Invitation,
            Mail::Reminder => LetterKind::Reminder,
            Mail::Welcome => LetterKind::Welcome,
            Mail::ConfirmAddress => LetterKind::ConfirmAddress,
            Mail::AddressNotice => LetterKind::AddressNotice,
            Mail::LinkUsedNotice => LetterKind::LinkUsedNotice,
        }
    }
}

impl Directory {
    /// The dead letters of an account, the oldest first, up to `limit`.
    ///
    /// # Errors
    /// Of the store.
    pub async fn dead_letters(&self, request: &Request, limit: usize) -> Result<Vec<Letter>, Error> {
        let (context, _) = self.open(request, &[]).await?;
        context.require(Scope::Invitations)?;
        let index = Index::new(keys::DEAD);
        let entries = self.store.range(&context.space, &index, &Bounds::All, &Page::first(limit)).await?;
        let ids: Vec<OutboxId> = entries.iter().filter_map(|entry| entry.id.parse().ok()).collect();
        let wanted: Vec<_> = ids.into_iter().map(keys::outbox).collect();
        let found = wanted.iter().zip(self.store.get(&context.space, &wanted).await?);
        let read = found.filter_map(|(key, document)| Some((key, read_letter(&document?.body))));
        Ok(read.filter_map(|(key, letter)| readable(key.kind, &key.id, letter)).collect())
    }

    /// Tries a dead letter again. One that carried an invitation link comes as a new invitation, since that link died
    /// with it; any other goes back into the queue as it is.
    ///
    /// # Errors
    /// [`Error::NotFound`]; for an invitation the refusals of a resend (lifecycle: "resend invitation").
    pub async fn revive_letter(&self, request: &Request, id: OutboxId) -> Result<(), Error> {
        let invited = retrying!(self, {
            let (context, documents) = self.open(request, &[keys::outbox(id)]).await?;
            context.require(Scope::Invitations)?;
            let unknown = || Error::NotFound(format!("there is no dead letter {id}"));
            let document = documents.into_iter().next().flatten().ok_or_else(unknown)?;
            let mut letter = read_letter(&document.body)?;
            if letter.dead.take().is_none() {
                return Err(unknown());
            }
            if letter.kind.carries_invitation() {
                return Ok(Some(Some(letter)));
            }
            letter.attempts = 0;
            let mut batch = context.batch(super::entropy::commit_id(context.now));
            batch.checks.push(Check::Revision { key: keys::outbox(id), revision: document.revision });
            put_letter(&mut batch, &letter, document.revision + 1, context.now);
            move_letter(&mut batch, id, keys::DEAD, keys::QUEUE);
            batch.writes.push(Write::TimerSet { owner: keys::outbox_timer(id), due: context.now });
            Ok(self.committed(&context.space, &batch).await?.then_some(None))
        })?;
        let Some(letter) = invited else { return Ok(()) };
        self.act(request, &letter.user.to_string(), &super::invitations::Action::Resend).await?;
        // A crash between the two leaves a dead letter beside the new invitation: one more try is one more mail.
        let mut batch = crate::store::Batch::new(super::entropy::commit_id(self.store.now()));
        remove_letter(&mut batch, id);
        self.committed(&Space::Account(request.account.clone()), &batch).await.map(|_| ())
    }

    /// Those of these claimed letters that somebody waits for before a screen.
    ///
    /// # Errors
    /// Of the store.
    pub async fn awaited_letters(&self, account: &AccountId, claims: &[Claim]) -> Result<Vec<Owner>, Error> {
        let owners: Vec<Owner> = claims.iter().map(|claim| claim.owner.clone()).collect();
        let found = self.store.get(&Space::Account(account.clone()), &owners).await?;
        let awaited = owners.into_iter().zip(found).filter(|(_, document)| {
            let letter = document.as_ref().and_then(|document| read_letter(&document.body).ok());
            letter.is_some_and(|letter| letter.kind.is_awaited())
        });
        Ok(awaited.map(|(owner, _)| owner).collect())
    }
}

pub(super) fn read_letter(body: &[u8]) -> Result<Letter, Error> {
    serde_json::from_slice(body).map_err(|error| Error::damaged("outbox entry", error))
}
