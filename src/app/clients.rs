//! The commands about clients: pauses, held invitations, and the brake.

use std::fmt::Write as _;

use super::command::{CommandError, Output, Tools, said};
use crate::cli::{BrakeCommand, ClientCommand};
use crate::directory::accounts::by_operator;
use crate::directory::brake::BrakeDecision;
use crate::directory::clients::{BrakeState, ClientSummary};
use crate::directory::hold::Deciding;
use crate::domain::names::ClientName;
use crate::domain::time::Timestamp;

pub(super) async fn client(tools: &Tools<'_>, command: &ClientCommand) -> Result<Output, CommandError> {
    let directory = tools.directory;
    match command {
        ClientCommand::List { account } => {
            let (context, _) = directory.open(&by_operator(account), &[]).await?;
            let clients = directory.clients(&context).await?;
            let lines = clients.iter().map(|client| describe(client, context.now));
            Ok(Output { result: lines.collect::<Vec<_>>().join("\n"), words: String::new() })
        }
        ClientCommand::Pause { account, name } => {
            directory.pause_client(&by_operator(account), name).await?;
            Ok(said(format!("The client {name} is paused: it reads, and writes nothing.")))
        }
        ClientCommand::Resume { account, name } => {
            directory.resume_client(&by_operator(account), name).await?;
            Ok(said(format!("The client {name} is not paused.")))
        }
        ClientCommand::Held { account, name, decision } => {
            let Deciding { held, goes_on } = directory.decide_held(&by_operator(account), name, *decision).await?;
            let progress = if goes_on { "is being carried out in the background" } else { "is carried out" };
            Ok(said(format!("The decision on {held} held invitations of the client {name} {progress}.")))
        }
    }
}

/// A line of `client list`.
fn describe(client: &ClientSummary, now: Timestamp) -> String {
    let at = |at: Option<Timestamp>| at.map_or_else(|| "never".to_owned(), |at| at.to_string());
    let living = client.tokens.iter().filter(|summary| summary.token.is_alive(now)).count();
    let mut line = format!(
        "{}\ttokens {living}\tusers {}\theld {}\tlast used {}",
        client.name,
        client.managed,
        client.held,
        at(client.last_used)
    );
    if let Some(paused) = &client.paused {
        write!(line, "\tpaused {}", paused.at).expect("writing to memory");
    }
    match &client.brake {
        Some(BrakeState::Engaged { since, .. }) => write!(line, "\tbraked {since}"),
        Some(BrakeState::Rejected { since, .. }) => write!(line, "\tbraked {since}, rejected"),
        Some(BrakeState::Released { until, .. }) if *until > now => write!(line, "\tunbraked until {until}"),
        Some(BrakeState::Released { .. }) | None => Ok(()),
    }
    .expect("writing to memory");
    line
}

pub(super) async fn brake(tools: &Tools<'_>, command: &BrakeCommand) -> Result<Output, CommandError> {
    let directory = tools.directory;
    match command {
        BrakeCommand::Resume { account, client: Some(client) } => {
            directory.decide_brake(&by_operator(account), client, BrakeDecision::Resume).await?;
            Ok(said(format!("The client {client} goes on; nothing is held up for an hour.")))
        }
        BrakeCommand::Resume { account, client: None } => {
            let resumed = directory.resume_brakes(&by_operator(account)).await?;
            let names = resumed.iter().map(ClientName::as_str).collect::<Vec<_>>().join(", ");
            Ok(said(match names.as_str() {
                "" => format!("No brake is on in account {account}."),
                names => format!("These clients go on, and nothing is held up for an hour: {names}."),
            }))
        }
        BrakeCommand::Reject { account, client } => {
            directory.decide_brake(&by_operator(account), client, BrakeDecision::Reject).await?;
            Ok(said(format!("Nobody loses access through the client {client} until its brake is resumed.")))
        }
    }
}
