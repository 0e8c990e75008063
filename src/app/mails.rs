//! The commands about mails: one to test the relay, and those that were given up.

use super::command::{CommandError, Output, Tools, said};
use crate::directory::accounts::by_operator;
use crate::directory::{Error, entropy};
use crate::domain::ids::{AccountId, OutboxId};
use crate::domain::names::EmailAddress;
use crate::jobs::mail::{self, Addressee};

/// So many dead letters are listed, or tried again, at once.
const MAX_DEAD: usize = 1_000;

pub(super) async fn dead(tools: &Tools<'_>, account: &AccountId) -> Result<Output, CommandError> {
    let dead = tools.directory.dead_letters(&by_operator(account), MAX_DEAD).await?;
    let lines = dead.iter().map(|letter| {
        let given_up = letter.dead.map(|at| at.to_string()).unwrap_or_default();
        let reply = letter.last_reply.as_deref().unwrap_or_default();
        format!("{}\t{}\t{}\t{given_up}\t{reply}", letter.id, letter.kind.as_str(), letter.to.masked())
    });
    Ok(Output { result: lines.collect::<Vec<_>>().join("\n"), words: String::new() })
}

/// Tries these dead letters again, or all; one that is refused keeps no other from its try.
pub(super) async fn retry(
    tools: &Tools<'_>,
    account: &AccountId,
    letters: &[OutboxId],
) -> Result<Output, CommandError> {
    let request = by_operator(account);
    let letters = match letters {
        [] => tools.directory.dead_letters(&request, MAX_DEAD).await?.iter().map(|letter| letter.id).collect(),
        named => named.to_vec(),
    };
    let (mut tried, mut refused) = (0, Vec::new());
    for id in letters {
        match tools.directory.revive_letter(&request, id).await {
            Ok(()) => tried += 1,
            Err(error @ (Error::Refused(_) | Error::NotFound(_))) => refused.push(format!("{id}: {error}")),
            Err(error) => return Err(error.into()),
        }
    }
    if refused.is_empty() {
        return Ok(said(format!("{tried} mails are tried again.")));
    }
    Err(CommandError::Failed(format!("{tried} mails are tried again; these are not:\n{}", refused.join("\n"))))
}

pub(super) async fn test(
    tools: &Tools<'_>,
    address: &EmailAddress,
    locale: Option<&str>,
) -> Result<Output, CommandError> {
    let now = tools.directory.store().now();
    let context = mail::Context {
        account_name: "usherd",
        recipient_name: None,
        preferred_language: locale,
        zone: &tools.settings.jobs.time_zone,
        now,
    };
    let id = entropy::outbox_id(now).to_string();
    let addressee = Addressee { address: address.as_str(), name: None, id: &id, date: now };
    let failed =
        |failure: mail::SendFailure| CommandError::Failed(format!("the mail was not accepted: {}", failure.text()));
    let message = tools.mailer.compose(&mail::Mail::Test, &context, &addressee).map_err(failed)?;
    let accepted = tools.mailer.transport().send(&message).await.map_err(failed)?;
    Ok(said(format!("The mail to {address} was accepted: {}", accepted.reply)))
}
