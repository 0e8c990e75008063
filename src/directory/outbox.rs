//! What waits to go out. A letter is put by the batch that makes it necessary and taken away by the batch that records
//! its fate, so no crash can lose one; a repeat carries the same Message-ID and the same link.

use serde::{Deserialize, Serialize};

use crate::domain::ids::{OutboxId, ResourceId};
use crate::domain::lifecycle::Mail;
use crate::domain::names::EmailAddress;
use crate::domain::time::Timestamp;
use crate::domain::token::Generation;
use crate::domain::token::keyring::KeyId;

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
}

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
            | LetterKind::SignInCode => false,
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
