//! What waits for an Account Admin: read from counters, indexes and the documents that every request reads anyway, so
//! that asking costs the same in an account of ten people and of a hundred thousand.

use std::time::Duration;

use super::clients::ClientSummary;
use super::error::Error;
use super::kind::Kind;
use super::mail_queue::{MailQueue, PauseCause};
use super::request::Context;
use super::{Directory, keys};
use crate::domain::names::ClientName;
use crate::domain::roles::LicenseKind;
use crate::domain::secrets::Scope;
use crate::domain::time::Timestamp;
use crate::store::{Bounds, Index};

/// A token that ends within this span should be rotated.
const SOON: Duration = Duration::from_secs(14 * 86_400);

/// One thing that waits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Matter {
    /// G9: people lose access one a minute, or not at all, until an admin decides.
    Braked {
        client: ClientName,
    },
    /// Invitations that no mail goes out for until an admin decides.
    Held {
        client: ClientName,
        people: u64,
    },
    Paused {
        client: ClientName,
    },
    /// Nothing goes out: the mail server refuses this service.
    MailRefused {
        since: Timestamp,
    },
    /// Mails that nobody tries any more.
    GivenUp {
        mails: u64,
    },
    /// The last token of a client that works ends soon.
    TokenExpiring {
        client: ClientName,
        at: Timestamp,
    },
    /// More seats are taken than the license has.
    OverQuota {
        license: String,
        used: u64,
        seats: u64,
    },
    /// The provider says active, and something here keeps the person out.
    Unwanted {
        people: u64,
    },
}

impl Directory {
    /// What waits, the most urgent first.
    ///
    /// # Errors
    /// [`Error::MissingScope`]; of the store.
    pub async fn attention(&self, context: &Context) -> Result<Vec<Matter>, Error> {
        context.require(Scope::Users)?;
        let count = async |index: &str| self.store.count(&context.space, &Index::new(index), &Bounds::All).await;
        let mut matters: Vec<Matter> = Vec::new();
        let clients = self.clients(context).await?;
        matters.extend(clients.iter().flat_map(|client| of_client(client, context.now)));
        matters.extend(of_mail(&self.mail_queue().await?));
        let (given_up, kept_out) = (count(keys::DEAD).await?, count(keys::USERS_KEPT_OUT).await?);
        matters.extend((given_up > 0).then_some(Matter::GivenUp { mails: given_up }));
        matters.extend((kept_out > 0).then_some(Matter::Unwanted { people: kept_out }));
        let licenses = self.resources_by_name(context, Kind::License).await?;
        let used = self.seats_used(context, &licenses).await?;
        for (license, used) in licenses.iter().zip(used) {
            let Some(terms) = license.terms().filter(|terms| terms.kind == LicenseKind::PerUser) else { continue };
            if let Some(seats) = terms.seats.filter(|seats| used > *seats) {
                matters.push(Matter::OverQuota { license: license.name().to_owned(), used, seats });
            }
        }
        matters.sort_by_key(Matter::rank);
        Ok(matters)
    }
}

impl Matter {
    /// Where people may be losing access, or nobody can come in, comes first.
    const fn rank(&self) -> u8 {
        match self {
            Matter::Braked { .. } => 0,
            Matter::MailRefused { .. } => 1,
            Matter::Held { .. } => 2,
            Matter::Unwanted { .. } => 3,
            Matter::Paused { .. } => 4,
            Matter::TokenExpiring { .. } => 5,
            Matter::GivenUp { .. } => 6,
            Matter::OverQuota { .. } => 7,
        }
    }
}

fn of_mail(queue: &MailQueue) -> Option<Matter> {
    let pause = queue.pause.as_ref().filter(|pause| pause.cause == PauseCause::Refused)?;
    Some(Matter::MailRefused { since: pause.since })
}

fn of_client(client: &ClientSummary, now: Timestamp) -> Vec<Matter> {
    let name = || client.name.clone();
    let braked = client.brake.as_ref().and_then(|brake| brake.braked_since());
    let living = client.tokens.iter().map(|summary| &summary.token).filter(|token| token.is_alive(now));
    // A client with another token that goes on loses nothing.
    let ends = living.map(|token| token.expires_at.unwrap_or(Timestamp::MAX)).max();
    let ends = ends.filter(|ends| *ends < now + SOON);
    [
        braked.map(|_| Matter::Braked { client: name() }),
        (client.held > 0).then(|| Matter::Held { client: name(), people: client.held }),
        client.paused.as_ref().map(|_| Matter::Paused { client: name() }),
        ends.map(|at| Matter::TokenExpiring { client: name(), at }),
    ]
    .into_iter()
    .flatten()
    .collect()
}
