//! From a due letter to the message that goes out: the link is derived here and nowhere else.

use std::time::Duration;

use jiff::tz::TimeZone;
use serde_json::Value;

use super::mail::{Addressee, Context, Invitation, Mail, Mailer, SendFailure};
use crate::directory::outbox::LetterKind;
use crate::directory::sign_in::CODE_LIFETIME;
use crate::directory::timers::DueLetter;
use crate::directory::{Directory, Error};
use crate::domain::token::Channel;

/// How long the link that confirms an address is offered, when the account says nothing else.
const CONFIRMATION: Duration = Duration::from_secs(7 * 24 * 60 * 60);

/// Writes the message of a letter. The same letter gives the same message, byte for byte, so that a repeat after a
/// crash is recognised by its Message-ID and holds the same link.
///
/// # Errors
/// The outer one is ours: a link that cannot be derived. The inner one is the mail's: an address that is none.
pub fn compose(
    directory: &Directory,
    mailer: &Mailer,
    due: &DueLetter,
    zone: &TimeZone,
) -> Result<Result<lettre::Message, SendFailure>, Error> {
    let mail = mail_of(directory, due)?;
    let name = due.record.display_name();
    let language = ["preferredLanguage", "locale"]
        .into_iter()
        .find_map(|attribute| due.record.profile.get(attribute).and_then(Value::as_str));
    let context = Context {
        account_name: &due.account_name,
        recipient_name: Some(&name).filter(|name| !name.contains('@')).map(String::as_str),
        preferred_language: language,
        zone,
        now: due.letter.created,
    };
    let addressee = Addressee {
        address: due.letter.to.as_str(),
        name: context.recipient_name,
        id: due.letter.id,
        date: due.letter.created,
    };
    Ok(mailer.compose(&mail, &context, &addressee))
}

fn mail_of(directory: &Directory, due: &DueLetter) -> Result<Mail, Error> {
    let user = &due.record.user;
    Ok(match due.letter.kind {
        LetterKind::Invitation => Mail::Invitation(invitation(directory, due)?),
        LetterKind::Reminder => {
            let invitation = invitation(directory, due)?;
            let unsubscribe = format!("{}/mute", invitation.link);
            Mail::Reminder { invitation, unsubscribe }
        }
        LetterKind::Welcome => Mail::Welcome { link: None },
        LetterKind::ConfirmAddress => Mail::AddressConfirmation {
            link: directory.confirmation_link(&due.account, user)?,
            expires_at: due.letter.created + CONFIRMATION,
        },
        LetterKind::AddressNotice => Mail::AddressNotice {
            address: user.unconfirmed_address.as_ref().map(|it| it.address.masked()).unwrap_or_default(),
        },
        LetterKind::SignInCode => Mail::SignInCode {
            code: directory.code_of(&due.account, &due.letter)?.to_string(),
            expires_at: due.letter.created + CODE_LIFETIME,
        },
        LetterKind::LinkUsedNotice => Mail::CopiedLinkNotice { accepted_at: due.letter.created },
    })
}

fn invitation(directory: &Directory, due: &DueLetter) -> Result<Invitation, Error> {
    let invitation = due.record.user.invitation();
    Ok(Invitation {
        link: directory.link(&due.account, &due.record.user, Channel::Mail)?,
        expires_at: invitation.and_then(|invitation| invitation.expires_at()).unwrap_or(due.letter.created),
        inviter: None,
        replaces_earlier: invitation.is_some_and(|invitation| invitation.sends > 1),
    })
}
