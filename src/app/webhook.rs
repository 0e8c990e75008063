//! The commands about webhooks.

use std::fmt::Write as _;

use super::command::{CommandError, Output, Tools, said};
use crate::cli::WebhookCommand;
use crate::directory::Directory;
use crate::directory::accounts::by_operator;
use crate::domain::ids::AccountId;
use crate::domain::webhook::{HookUrl, UserEvent};

/// So many dead ones are listed.
const MAX_DEAD: usize = 1_000;

pub(super) async fn run(tools: &Tools<'_>, command: &WebhookCommand) -> Result<Output, CommandError> {
    let directory = tools.directory;
    match command {
        WebhookCommand::Add { account, url, events } => add(tools, account, url, events).await,
        WebhookCommand::List { account } => list(directory, account).await,
        WebhookCommand::Remove { account, id } => {
            directory.remove_webhook(&by_operator(account), *id).await?;
            Ok(said(format!("Webhook {id} is removed; what waited to go there is dropped.")))
        }
        WebhookCommand::Rotate { account, id } => {
            let secret = directory.rotate_webhook(&by_operator(account), *id).await?;
            let words = format!(
                "The new secret of webhook {id}; the old one signs as well for another day. It is shown this once:"
            );
            Ok(Output { result: secret.expose(), words })
        }
        WebhookCommand::Dead { account } => dead(directory, account).await,
        WebhookCommand::Redrive { account, id } => {
            let sent = directory.redrive_webhook(&by_operator(account), *id).await?;
            Ok(said(format!("Webhook {id} is enabled; {sent} that were given up are sent again.")))
        }
    }
}

async fn add(
    tools: &Tools<'_>,
    account: &AccountId,
    url: &HookUrl,
    events: &[UserEvent],
) -> Result<Output, CommandError> {
    url.check_scheme(tools.settings.webhooks.allow_private).map_err(|error| CommandError::Failed(error.to_string()))?;
    let events = if events.is_empty() { &UserEvent::ALL } else { events };
    let (id, secret) =
        tools.directory.add_webhook(&by_operator(account), url, &events.iter().copied().collect()).await?;
    let words = format!("Webhook {id} tells {}. Its secret is shown this once:", in_words(events));
    Ok(Output { result: secret.expose(), words })
}

async fn list(directory: &Directory, account: &AccountId) -> Result<Output, CommandError> {
    let mut result = String::new();
    for (id, endpoint) in directory.account(account).await?.webhooks {
        let events: Vec<UserEvent> = endpoint.events.into_iter().collect();
        write!(result, "{id}\t{}\t{}", endpoint.url, in_words(&events)).expect("writing to memory");
        if let Some(since) = endpoint.disabled {
            write!(result, "\tdisabled {since}").expect("writing to memory");
        }
        if endpoint.secret.kid != *directory.keys().current() {
            result.push_str("\tsecret of a retired key: rotate it");
        }
        result.push('\n');
    }
    Ok(Output { result: result.trim_end().to_owned(), words: String::new() })
}

async fn dead(directory: &Directory, account: &AccountId) -> Result<Output, CommandError> {
    let dead = directory.dead_deliveries(&by_operator(account), MAX_DEAD).await?;
    let lines = dead.iter().map(|delivery| {
        let given_up = delivery.dead.map(|at| at.to_string()).unwrap_or_default();
        let reply = delivery.last_reply.as_deref().unwrap_or_default();
        let (id, endpoint, event, user) = (delivery.id, delivery.endpoint, delivery.event, delivery.user);
        format!("{id}\t{endpoint}\t{event}\t{user}\t{given_up}\t{reply}")
    });
    Ok(Output { result: lines.collect::<Vec<_>>().join("\n"), words: String::new() })
}

fn in_words(events: &[UserEvent]) -> String {
    events.iter().map(|event| event.as_str()).collect::<Vec<_>>().join(", ")
}
