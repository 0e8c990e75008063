//! Provisioning clients: what each manages and holds, its pause, its brake, and what becomes of whom it holds.

use axum::Json;
use axum::http::Method;
use schemars::JsonSchema;
use serde::Serialize;

use super::operation::{Answer, Call, Operation};
use super::users;
use super::views::UserView;
use crate::directory::Error;
use crate::directory::brake::BrakeDecision;
use crate::directory::clients::{BrakeState, ClientSummary};
use crate::directory::hold::Decision;
use crate::domain::names::ClientName;
use crate::domain::secrets::Scope;
use crate::domain::time::Timestamp;

const TOKENS: &[Scope] = &[Scope::Tokens];

pub fn operations() -> Vec<Operation> {
    let mut operations = vec![
        Operation::new(
            (Method::GET, "/clients"),
            "listClients",
            "All clients, with how many users each manages and holds",
            TOKENS,
            list,
        ),
        Operation::new(
            (Method::POST, "/clients/{name}/pause"),
            "pauseClient",
            "Let a client write nothing more; it goes on reading",
            TOKENS,
            |call: Call| async move {
                let client = client(&call)?;
                call.directory().pause_client(&call.caller, &client).await.map(Answer::of)
            },
        ),
        Operation::new(
            (Method::POST, "/clients/{name}/resume"),
            "resumeClient",
            "Let a paused client write again",
            TOKENS,
            |call: Call| async move {
                let client = client(&call)?;
                call.directory().resume_client(&call.caller, &client).await.map(Answer::of)
            },
        ),
    ];
    for (word, id, summary, decision) in [
        ("resume", "resumeBrake", "The losses were meant: nothing is held up for an hour", BrakeDecision::Resume),
        ("reject", "rejectBrake", "They were not: nobody loses access through this client", BrakeDecision::Reject),
    ] {
        let path = format!("/clients/{{name}}/brake/{word}");
        operations.push(Operation::new((Method::POST, &path), id, summary, TOKENS, move |call: Call| async move {
            let client = client(&call)?;
            call.directory().decide_brake(&call.caller, &client, decision).await.map(Answer::of)
        }));
    }
    operations.extend([Decision::Send, Decision::Admit, Decision::Drop].into_iter().flat_map(held));
    operations
}

/// One decision: on everybody whom a client holds, and on one user.
fn held(decision: Decision) -> [Operation; 2] {
    type Scopes = &'static [Scope];
    let (word, name, summary, scope, both): (_, _, _, Scopes, Scopes) = match decision {
        Decision::Send => {
            ("send", "Send", "the invitation goes out", &[Scope::Invitations], &[Scope::Tokens, Scope::Invitations])
        }
        Decision::Admit => ("admit", "Admit", "Active without a mail", &[Scope::Users], &[Scope::Tokens, Scope::Users]),
        Decision::Drop => (
            "drop",
            "Drop",
            "as if the invitation were revoked",
            &[Scope::Invitations],
            &[Scope::Tokens, Scope::Invitations],
        ),
    };
    let of_client = format!("/clients/{{name}}/held/{word}");
    let of_user = format!("/users/{{id}}/held/{word}");
    let (all_id, one_id) = (format!("{word}AllHeld"), format!("{word}Held"));
    let all = format!("{name} everybody whom the client holds: {summary}");
    let one = format!("{name} a held user: {summary}");
    [
        Operation::new((Method::POST, &of_client), &all_id, &all, both, move |call| decide_all(call, decision)),
        Operation::new((Method::POST, &of_user), &one_id, &one, scope, move |call| decide_one(call, decision)),
    ]
}

fn client(call: &Call) -> Result<ClientName, Error> {
    let name = call.path("name");
    ClientName::parse(name).map_err(|_| Error::NotFound(format!("there is no client {name}")))
}

#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "Clients")]
pub struct ClientsView {
    clients: Vec<ClientView>,
}

#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "Client")]
pub struct ClientView {
    name: String,
    /// How many users it manages.
    managed: u64,
    /// How many of them wait for a decision.
    held: u64,
    /// The userNames of the first of those.
    held_sample: Vec<String>,
    /// Since when it is paused.
    paused_at: Option<String>,
    /// Of the mass-deprovision brake.
    brake: BrakeView,
    /// To the minute.
    last_used: Option<String>,
}

#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "Brake")]
enum BrakeView {
    /// It lets everything pass.
    Off,
    /// One person a minute loses access, until an admin decides.
    Engaged,
    /// Nobody loses access, until an admin resumes it.
    Rejected,
    /// Nothing is held up for an hour.
    Released,
}

impl ClientView {
    fn of(client: ClientSummary) -> Self {
        ClientView {
            name: client.name.to_string(),
            managed: client.managed,
            held: client.held,
            held_sample: client.sample.iter().map(|record| record.user.user_name.as_str().to_owned()).collect(),
            paused_at: client.paused.map(|decided| decided.at.to_string()),
            brake: match client.brake {
                None => BrakeView::Off,
                Some(BrakeState::Engaged { .. }) => BrakeView::Engaged,
                Some(BrakeState::Rejected { .. }) => BrakeView::Rejected,
                Some(BrakeState::Released { .. }) => BrakeView::Released,
            },
            last_used: client.last_used.as_ref().map(Timestamp::to_string),
        }
    }
}

async fn list(call: Call) -> Result<Answer<Json<ClientsView>>, Error> {
    let (context, _) = call.directory().open(&call.caller, &[]).await?;
    let clients = call.directory().clients(&context).await?;
    Ok(Answer::of(Json(ClientsView { clients: clients.into_iter().map(ClientView::of).collect() })))
}

#[derive(Debug, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
#[schemars(rename = "Decided")]
pub struct DecidedView {
    /// How many were held when it was decided.
    held: u64,
    /// Whether it goes on in the background.
    goes_on: bool,
}

async fn decide_all(call: Call, decision: Decision) -> Result<Answer<Json<DecidedView>>, Error> {
    let client = client(&call)?;
    let left = call.directory().decide_held(&call.caller, &client, decision).await?;
    Ok(Answer::of(Json(DecidedView { held: left.held, goes_on: left.goes_on })))
}

async fn decide_one(call: Call, decision: Decision) -> Result<Answer<Json<UserView>>, Error> {
    let record = call.directory().decide_held_user(&call.caller, call.path("id"), decision).await?;
    Ok(users::answer(&record))
}
