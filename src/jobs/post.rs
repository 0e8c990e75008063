//! From a due letter to the message that goes out: the link is derived here and nowhere else.

use std::time::Duration;

use jiff::tz::TimeZone;

use super::mail::{
    Addressee, Alert, AlertLine, Context, Invitation, Mail, Mailer, Rendered, SendFailure, TemplateError,
};
use crate::directory::bulletins::Bulletin;
use crate::directory::outbox::LetterKind;
use crate::directory::sign_in::CODE_LIFETIME;
use crate::directory::timers::Contents;
use crate::directory::{Directory, Error};
use crate::domain::message_id::MailIdentity;
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
    due: &Contents,
    zone: &TimeZone,
) -> Result<Result<lettre::Message, SendFailure>, Error> {
    let mail = mail_of(directory, due)?;
    let name = due.record.display_name();
    let context = context(due, &name, zone);
    let identity = MailIdentity { mail: due.letter.id, user: due.letter.user, account: due.account.clone() };
    let identity = identity.to_string();
    let addressee = Addressee {
        address: due.letter.to.as_str(),
        name: context.recipient_name,
        id: &identity,
        date: due.letter.created,
    };
    Ok(mailer.compose(&mail, &context, &addressee))
}

/// What a letter says, for somebody whom it is not for: links and codes are masked before a word of it is written.
///
/// # Errors
/// As [`compose`].
pub fn preview(
    directory: &Directory,
    mailer: &Mailer,
    letter: &Contents,
    zone: &TimeZone,
) -> Result<Result<Rendered, TemplateError>, Error> {
    let mail = mail_of(directory, letter)?.masked();
    let name = letter.record.display_name();
    Ok(mailer.templates().render(&mail, &context(letter, &name, zone)))
}

fn context<'a>(due: &'a Contents, name: &'a str, zone: &'a TimeZone) -> Context<'a> {
    Context {
        account_name: &due.account_name,
        recipient_name: Some(name).filter(|name| !name.contains('@')),
        preferred_language: due.record.language(),
        zone,
        now: due.letter.created,
    }
}

fn mail_of(directory: &Directory, due: &Contents) -> Result<Mail, Error> {
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
        LetterKind::Bulletin => bulletin(directory, due, due.letter.bulletin.as_ref()),
        LetterKind::LinkUsedNotice => Mail::CopiedLinkNotice { accepted_at: due.letter.created },
    })
}

fn invitation(directory: &Directory, due: &Contents) -> Result<Invitation, Error> {
    let invitation = due.record.user.invitation();
    Ok(Invitation {
        link: directory.link(&due.account, &due.record.user, Channel::Mail)?,
        expires_at: invitation.and_then(|invitation| invitation.expires_at()).unwrap_or(due.letter.created),
        inviter: None,
        replaces_earlier: invitation.is_some_and(|invitation| invitation.sends > 1),
    })
}

/// What the Account Admins are told, with the names that people have now.
fn bulletin(directory: &Directory, due: &Contents, bulletin: Option<&Bulletin>) -> Mail {
    let empty = Bulletin::default();
    let bulletin = bulletin.unwrap_or(&empty);
    let (alert, page) = match bulletin.urgent.as_deref() {
        Some("LastAdminGone") => (Alert::LastAdminLost, "users"),
        Some("Brake") => (Alert::Brake, "provisioning"),
        Some("InvitationsHeld") => (Alert::InvitationsHeld, "provisioning"),
        Some("TokenExpiring") => (Alert::TokenExpiring, "provisioning"),
        Some(_) | None => (Alert::Digest, "users"),
    };
    let mut lines = Vec::new();
    for (what, line) in &bulletin.lines {
        let people = line.users.iter().filter_map(|user| due.named.get(user).cloned());
        let who: Vec<String> = people.chain(line.clients.iter().cloned()).collect();
        let what = if alert == Alert::Digest {
            words_of(what)
        } else if line.users.is_empty() {
            "client"
        } else {
            "people"
        };
        if alert == Alert::Digest || !who.is_empty() {
            lines.push(AlertLine::Told { what, count: line.count, who });
        }
    }
    lines.extend(bulletin.paused.map(|(since, ended)| AlertLine::Paused { since, ended }));
    let link = format!("{}/admin/{}/{page}", directory.settings().public_url, due.account);
    Mail::AdminAlert { alert, lines, link: Some(link) }
}

/// The words for an alert or a note of the audit; a newer replica may have put one that is not known here.
fn words_of(what: &str) -> &'static str {
    match what {
        "Expired" => "expired",
        "Declined" => "declined",
        "Bounced" => "bounced",
        "SendFailed" => "send_failed",
        "AssignmentDropped" => "assignment_dropped",
        "ProviderSaysActive" => "provider_says_active",
        "LicenseShortfall" => "license_shortfall",
        "OverQuota" => "over_quota",
        "WebhookGone" => "webhook_gone",
        "AdminAdoptionRefused" => "admin_adoption_refused",
        _ => "other",
    }
}
