//! What waits for an admin, in sentences, each with the page where to act.

use super::format;
use super::gate::Desk;
use crate::directory::Error;
use crate::directory::attention::Matter;
use crate::domain::text::safe_name;

/// One sentence and where it leads.
pub struct Item {
    pub words: String,
    pub href: String,
}

/// The most urgent first.
pub(super) async fn items(desk: &Desk) -> Result<Vec<Item>, Error> {
    let matters = desk.service.directory.attention(&desk.context).await?;
    Ok(matters.iter().map(|matter| item(desk, matter)).collect())
}

fn item(desk: &Desk, matter: &Matter) -> Item {
    let (words, path) = match matter {
        Matter::Braked { client } => (format!("The brake holds up the deactivations of {client}."), "/provisioning"),
        Matter::Held { client, people: 1 } => {
            (format!("1 invitation of {client} waits for a decision."), "/provisioning")
        }
        Matter::Held { client, people } => {
            (format!("{people} invitations of {client} wait for a decision."), "/provisioning")
        }
        Matter::Paused { client } => {
            (format!("{client} is paused: nothing that it sends is written."), "/provisioning")
        }
        Matter::MailRefused { since } => {
            (format!("No mail has gone out since {}: the mail server refuses.", format::instant(*since)), "/outbox")
        }
        Matter::GivenUp { mails: 1 } => ("1 mail could not be sent and is tried no more.".to_owned(), "/outbox"),
        Matter::GivenUp { mails } => (format!("{mails} mails could not be sent and are tried no more."), "/outbox"),
        Matter::TokenExpiring { client, at } => {
            (format!("The token of {client} ends on {}: rotate it.", format::day(*at)), "/provisioning")
        }
        Matter::OverQuota { license, used, seats } => {
            (format!("{} has {used} seats taken, of {seats}.", safe_name(license)), "/licenses")
        }
        Matter::Unwanted { people: 1 } => {
            ("1 person is Inactive here while their provider says active.".to_owned(), "/users?status=inactive")
        }
        Matter::Unwanted { people } => {
            (format!("{people} people are Inactive here while their provider says active."), "/users?status=inactive")
        }
    };
    Item { words, href: desk.path(path) }
}
