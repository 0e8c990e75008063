//! The commands about webhooks and streams of security event tokens.

use std::fmt::Write as _;

use super::command::{CommandError, Output, Tools, said};
use crate::cli::WebhookCommand;
use crate::directory::Directory;
use crate::directory::accounts::by_operator;
use crate::directory::webhooks::{Endpoint, Stream, Tells};
use crate::domain::ids::AccountId;
use crate::domain::security_event::{Audience, Form};
use crate::domain::webhook::{HookUrl, UserEvent};
use crate::http::jwks;

/// So many dead ones are listed.
const MAX_DEAD: usize = 1_000;

pub(super) async fn run(tools: &Tools<'_>, command: &WebhookCommand) -> Result<Output, CommandError> {
    let directory = tools.directory;
    match command {
        WebhookCommand::Add { account, url, events } => add(tools, account, url, events).await,
        WebhookCommand::AddStream { account, url, full, audience, bearer } => {
            let form = if *full { Form::Full } else { Form::Notice };
            let stream = Stream { form, audience: audience.clone(), bearer: *bearer };
            add_stream(tools, account, url.as_ref(), &stream).await
        }
        WebhookCommand::List { account } => list(directory, account).await,
        WebhookCommand::Remove { account, id } => {
            directory.remove_webhook(&by_operator(account), *id).await?;
            Ok(said(format!("Webhook {id} is removed; what waited to go there is dropped.")))
        }
        WebhookCommand::Rotate { account, id } => {
            let secret = directory.rotate_webhook(&by_operator(account), *id).await?;
            let endpoints = directory.account(account).await?.webhooks;
            let overlap = match endpoints.get(id).and_then(Endpoint::stream) {
                Some(_) => "it is sent from now on",
                None => "the old one signs as well for another day",
            };
            Ok(Output { result: secret, words: format!("The new secret of {id}; {overlap}. It is shown this once:") })
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

async fn add_stream(
    tools: &Tools<'_>,
    account: &AccountId,
    url: Option<&HookUrl>,
    stream: &Stream,
) -> Result<Output, CommandError> {
    if let Some(url) = url {
        let allowed = url.check_scheme(tools.settings.webhooks.allow_private);
        allowed.map_err(|error| CommandError::Failed(error.to_string()))?;
    }
    let directory = tools.directory;
    let (id, bearer) = directory.add_stream(&by_operator(account), url, stream).await?;
    let keys = format!("{}{}", directory.settings().public_url, jwks::PATH);
    let address = directory.stream_address(id);
    let audience = stream.audience.as_ref().map_or(&*address, Audience::as_str);
    let words =
        format!("Stream {id} tells every change, for {audience}. Its tokens are checked with the keys at {keys}.");
    Ok(match (url, bearer) {
        (None, _) => Output {
            result: format!("{address}/poll"),
            words: format!("{words}\nThey are fetched with a token of the scope audit, from:"),
        },
        (Some(_), Some(bearer)) => {
            Output { result: bearer, words: format!("{words}\nThis bearer token goes along. It is shown this once:") }
        }
        (Some(_), None) => said(words),
    })
}

async fn list(directory: &Directory, account: &AccountId) -> Result<Output, CommandError> {
    let mut result = String::new();
    for (id, endpoint) in directory.account(account).await?.webhooks {
        let url = endpoint.url.as_ref().map_or_else(|| "fetched".to_owned(), HookUrl::to_string);
        write!(result, "{id}\t{url}\t{}", told(&endpoint)).expect("writing to memory");
        if let Some(since) = endpoint.disabled {
            write!(result, "\tdisabled {since}").expect("writing to memory");
        }
        if endpoint.has_secret() && endpoint.secret.kid != *directory.keys().current() {
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
        let (id, endpoint, event, (_, about)) = (delivery.id, delivery.endpoint, delivery.event(), delivery.about());
        format!("{id}\t{endpoint}\t{event}\t{about}\t{given_up}\t{reply}")
    });
    Ok(Output { result: lines.collect::<Vec<_>>().join("\n"), words: String::new() })
}

/// What an endpoint is told, in a word or two.
fn told(endpoint: &Endpoint) -> String {
    match &endpoint.tells {
        Tells::Webhooks(events) => in_words(&events.iter().copied().collect::<Vec<_>>()),
        Tells::Tokens(Stream { form: Form::Notice, .. }) => "security event tokens, notices".to_owned(),
        Tells::Tokens(Stream { form: Form::Full, .. }) => "security event tokens, full".to_owned(),
    }
}

fn in_words(events: &[UserEvent]) -> String {
    events.iter().map(|event| event.as_str()).collect::<Vec<_>>().join(", ")
}
