//! One client: its card, and what an admin decides about it: pause, first sync hold, brake.

use axum::extract::{Path, Request, State};
use axum::http::request::Parts;
use axum::response::Response;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

use super::super::dialog::Dialog;
use super::super::format;
use super::super::gate::{Away, Desk, answer, sentence};
use super::tokens::TokenRow;
use crate::directory::Error;
use crate::directory::brake::BrakeDecision;
use crate::directory::clients::{BrakeState, ClientSummary};
use crate::directory::hold::{Deciding, Decision};
use crate::directory::tokens::Token;
use crate::domain::lifecycle::Refusal;
use crate::domain::time::Timestamp;
use crate::http::service::Service;

type OfOne = Path<(String, String, String)>;

/// A client as its card shows it.
pub struct Client {
    pub name: String,
    pub managed: u64,
    pub last_used: Option<String>,
    pub refused: u64,
    /// Its refused requests.
    pub refused_href: String,
    pub tokens: Vec<TokenRow>,
    pub paused_since: Option<String>,
    pub held: u64,
    /// The first who are held: name and page.
    pub sample: Vec<(String, String)>,
    pub brake: Option<Brake>,
    /// Path of its actions.
    pub href: String,
}

/// The brake of a client, in words.
pub struct Brake {
    pub words: String,
    pub on: bool,
    pub rejected: bool,
}

impl Client {
    pub fn of(desk: &Desk, client: &ClientSummary, refused: u64) -> Self {
        let name = client.name.as_str();
        let query = url::form_urlencoded::Serializer::new(String::new())
            .append_pair("client", name)
            .append_pair("refused", "yes")
            .finish();
        let person = |record: &crate::directory::record::UserRecord| {
            (format::name(record), desk.path(&format!("/users/{}", record.user.id)))
        };
        Client {
            name: name.to_owned(),
            managed: client.managed,
            last_used: client.last_used.map(format::instant),
            refused,
            refused_href: desk.path(&format!("/provisioning/story?{query}")),
            tokens: shown_tokens(client, desk.context.now).map(|token| TokenRow::of(desk, token)).collect(),
            paused_since: client.paused.as_ref().map(|paused| format::instant(paused.at)),
            held: client.held,
            sample: client.sample.iter().map(person).collect(),
            brake: client.brake.as_ref().and_then(|brake| Brake::of(desk, brake)),
            href: desk.path(&format!("/provisioning/clients/{}", utf8_percent_encode(name, NON_ALPHANUMERIC))),
        }
    }

    /// Whether all of its invitations are shown as the sample.
    pub fn sample_is_all(&self) -> bool {
        u64::try_from(self.sample.len()).unwrap_or(u64::MAX) >= self.held
    }
}

/// Those that work, and the last few that did: years of rotation would make a long page.
fn shown_tokens(client: &ClientSummary, now: Timestamp) -> impl Iterator<Item = &Token> {
    const ENDED: usize = 3;
    let tokens = client.tokens.iter().map(|summary| &summary.token).rev();
    let mut ended = 0;
    tokens.filter(move |token| {
        ended += usize::from(!token.is_alive(now));
        token.is_alive(now) || ended <= ENDED
    })
}

impl Brake {
    fn of(desk: &Desk, state: &BrakeState) -> Option<Self> {
        match state {
            BrakeState::Engaged { since, lost } => Some(Brake {
                words: format!(
                    "{lost} people lost access through this client within 10 minutes. Since {} one person a minute \
                     still does; all others keep their access until you decide.",
                    format::instant(*since)
                ),
                on: true,
                rejected: false,
            }),
            BrakeState::Rejected { since, .. } => Some(Brake {
                words: format!(
                    "The brake has been on since {}, and an admin said no: nobody loses access through this client \
                     until it is resumed.",
                    format::instant(*since)
                ),
                on: true,
                rejected: true,
            }),
            BrakeState::Released { until, .. } if *until > desk.context.now => Some(Brake {
                words: format!("An admin said yes: until {} nothing is held up.", format::instant(*until)),
                on: false,
                rejected: false,
            }),
            BrakeState::Released { .. } => None,
        }
    }
}

/// What can be decided about a client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Act {
    Pause,
    Resume,
    Held(Decision),
    Brake(BrakeDecision),
}

impl Act {
    /// The last segment of its address.
    fn named(segment: &str) -> Option<Self> {
        Some(match segment {
            "pause" => Act::Pause,
            "resume" => Act::Resume,
            "send" => Act::Held(Decision::Send),
            "admit" => Act::Held(Decision::Admit),
            "drop" => Act::Held(Decision::Drop),
            "let-pass" => Act::Brake(BrakeDecision::Resume),
            "reject" => Act::Brake(BrakeDecision::Reject),
            _ => return None,
        })
    }

    const fn title(self) -> &'static str {
        match self {
            Act::Pause => "Pause Client",
            Act::Resume => "Resume Client",
            Act::Held(Decision::Send) => "Send Held Invitations",
            Act::Held(Decision::Admit) => "Admit Without Invitation",
            Act::Held(Decision::Drop) => "Drop Held Invitations",
            Act::Brake(BrakeDecision::Resume) => "Resume After the Brake",
            Act::Brake(BrakeDecision::Reject) => "Reject the Deactivations",
        }
    }

    const fn submit(self) -> &'static str {
        match self {
            Act::Pause => "Pause",
            Act::Resume | Act::Brake(BrakeDecision::Resume) => "Resume",
            Act::Held(Decision::Send) => "Send",
            Act::Held(Decision::Admit) => "Admit",
            Act::Held(Decision::Drop) => "Drop",
            Act::Brake(BrakeDecision::Reject) => "Reject",
        }
    }

    /// Whether somebody loses something by it.
    const fn is_destructive(self) -> bool {
        match self {
            Act::Pause | Act::Held(Decision::Drop) | Act::Brake(BrakeDecision::Resume) => true,
            Act::Resume | Act::Held(Decision::Send | Decision::Admit) | Act::Brake(BrakeDecision::Reject) => false,
        }
    }

    fn lead(self, client: &ClientSummary) -> Vec<String> {
        let (name, held) = (client.name.as_str(), people(client.held));
        match self {
            Act::Pause => vec![
                format!(
                    "From now on nothing that {name} sends is written; it is told to come back later. Reading goes on."
                ),
                "Nobody loses access by that, and nobody new comes in.".to_owned(),
            ],
            Act::Resume => {
                vec![format!("{name} writes again. Most providers repeat by themselves what failed meanwhile.")]
            }
            Act::Held(Decision::Send) => vec![format!("The invitations of {held} go out now.")],
            Act::Held(Decision::Admit) => {
                vec![format!("{held} become Active at once, without a mail and without accepting anything.")]
            }
            Act::Held(Decision::Drop) => {
                vec![format!("The invitations of {held} are revoked: they become Inactive and are mailed nothing.")]
            }
            Act::Brake(BrakeDecision::Resume) => vec![
                format!("For an hour nothing holds up the deactivations that {name} sends. They were meant."),
                "What was refused comes again with the provider's next cycle, or when it is retried there.".to_owned(),
            ],
            Act::Brake(BrakeDecision::Reject) => {
                vec![format!("Nobody loses access through {name} any more, until an admin resumes it.")]
            }
        }
    }

    async fn carry_out(self, desk: &Desk, client: &ClientSummary) -> Result<String, Error> {
        let (directory, request, name) = (&desk.service.directory, &desk.request, &client.name);
        Ok(match self {
            Act::Pause => {
                directory.pause_client(request, name).await?;
                format!("{name} is paused.")
            }
            Act::Resume => {
                directory.resume_client(request, name).await?;
                format!("{name} writes again.")
            }
            Act::Held(decision) => {
                let Deciding { held, goes_on } = directory.decide_held(request, name, decision).await?;
                let done = if goes_on { "being decided; this goes on by itself" } else { "decided" };
                format!("{} of {name}: {done}.", people(held))
            }
            Act::Brake(decision) => {
                directory.decide_brake(request, name, decision).await?;
                match decision {
                    BrakeDecision::Resume => format!("The brake of {name} lets everything pass for an hour."),
                    BrakeDecision::Reject => format!("Nobody loses access through {name} any more."),
                }
            }
        })
    }
}

fn people(count: u64) -> String {
    if count == 1 { "1 person".to_owned() } else { format!("{count} people") }
}

/// A client, and what is to be decided about it.
async fn asked(desk: &Desk, client: &str, act: &str) -> Result<(ClientSummary, Act), Away> {
    let gone = || desk.failed(&Refusal::NotFound.into());
    let act = Act::named(act).ok_or_else(gone)?;
    let clients = desk.service.directory.clients(&desk.context).await.map_err(|error| desk.failed(&error))?;
    let client = clients.into_iter().find(|found| found.name.as_str() == client).ok_or_else(gone)?;
    Ok((client, act))
}

fn dialog(desk: &Desk, client: &ClientSummary, act: Act, segment: &str) -> Dialog {
    let name = utf8_percent_encode(client.name.as_str(), NON_ALPHANUMERIC);
    Dialog {
        title: act.title(),
        lead: act.lead(client),
        fields: Vec::new(),
        submit: Some(act.submit()),
        destructive: act.is_destructive(),
        action: desk.path(&format!("/provisioning/clients/{name}/{segment}")),
        back: desk.path("/provisioning"),
    }
}

/// `GET …/provisioning/clients/{client}/{act}`.
pub(super) async fn ask(State(service): State<Service>, path: OfOne, head: Parts) -> Response {
    answer(try_ask(&service, path, &head).await)
}

async fn try_ask(service: &Service, Path((account, client, act)): OfOne, head: &Parts) -> Result<Response, Away> {
    let desk = Desk::enter(service, &account, head).await?;
    let (client, decided) = asked(&desk, &client, &act).await?;
    Ok(dialog(&desk, &client, decided, &act).show(&desk))
}

/// `POST …/provisioning/clients/{client}/{act}`.
pub(super) async fn decide(State(service): State<Service>, path: OfOne, request: Request) -> Response {
    answer(try_decide(&service, path, request).await)
}

async fn try_decide(
    service: &Service,
    Path((account, client, act)): OfOne,
    request: Request,
) -> Result<Response, Away> {
    let (desk, _) = Desk::enter_with_form(service, &account, request).await?;
    let (client, decided) = asked(&desk, &client, &act).await?;
    match decided.carry_out(&desk, &client).await {
        Ok(note) => Ok(desk.done(&desk.path("/provisioning"), &note)),
        Err(error) => match sentence(&error) {
            Some((status, words)) => Ok(dialog(&desk, &client, decided, &act).refuse(&desk, status, &words)),
            None => Err(desk.failed(&error)),
        },
    }
}
