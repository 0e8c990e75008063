//! What an event left behind: the difference between two dumps of the account, in the words of the matrix.

use std::collections::BTreeMap;

use usherd::directory::audit::AuditEvent;
use usherd::directory::outbox::{Letter, LetterKind};
use usherd::directory::record::UserRecord;
use usherd::domain::lifecycle::Mail;
use usherd::domain::user::User;
use usherd::store::{Document, Dump};

use crate::run::Observed;

/// What is told of the client and not of the person: the first sync hold and the brake.
const OF_CLIENTS: [&str; 2] = ["InvitationsHeld", "Brake"];

/// Everybody of the account, by id.
pub fn people(dump: &Dump) -> BTreeMap<String, UserRecord> {
    let users = dump.documents.iter().filter(|((kind, _), _)| kind == "user");
    users.map(|((_, id), document)| (id.clone(), UserRecord::decode(document).unwrap())).collect()
}

/// What happened between the two to this person, who is now `after`.
pub fn observed(before: &Dump, after: &Dump, id: &str, user: User) -> Observed {
    let told: Vec<AuditEvent> =
        after.events[before.events.len()..].iter().map(|body| serde_json::from_slice(body).unwrap()).collect();
    let sessions = |dump: &Dump| dump.documents.contains_key(&("session".to_owned(), id.to_owned()));
    Observed {
        user,
        mails: new_letters(before, after, id).iter().filter_map(mail).collect(),
        end_sessions: sessions(before) && !sessions(after),
        note: told.iter().any(|event| !event.notes.is_empty()),
        alerts: told
            .iter()
            .flat_map(|event| event.alerts.iter().cloned())
            .filter(|alert| !OF_CLIENTS.contains(&&**alert))
            .collect(),
    }
}

/// The letters to this person that were not there before, and those that are gone from the outbox as sent.
fn new_letters(before: &Dump, after: &Dump, id: &str) -> Vec<Letter> {
    let is_new = |((kind, letter), _): &(&(String, String), &Document)| {
        kind == "outbox" && !before.documents.contains_key(&("outbox".to_owned(), letter.clone()))
    };
    let letters = after.documents.iter().filter(is_new);
    let letters = letters.map(|(_, document)| serde_json::from_slice::<Letter>(&document.body).unwrap());
    letters.filter(|letter| letter.user.to_string() == id).collect()
}

fn mail(letter: &Letter) -> Option<Mail> {
    Some(match letter.kind {
        LetterKind::Invitation => Mail::Invitation,
        LetterKind::Reminder => Mail::Reminder,
        LetterKind::Welcome => Mail::Welcome,
        LetterKind::ConfirmAddress => Mail::ConfirmAddress,
        LetterKind::AddressNotice => Mail::AddressNotice,
        LetterKind::LinkUsedNotice => Mail::LinkUsedNotice,
        LetterKind::SignInCode | LetterKind::Bulletin => return None,
    })
}
