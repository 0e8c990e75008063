//! The dialogs of tokens: make one, rotate one, revoke one. A secret is shown once, in the answer to the form.

use axum::extract::{Path, Request, State};
use axum::http::request::Parts;
use axum::response::Response;

use super::super::dialog::{Choice, Dialog, Field};
use super::super::format;
use super::super::gate::{Away, Desk, answer, sentence};
use crate::directory::Error;
use crate::directory::tokens::{NewToken, Token};
use crate::domain::ids::TokenId;
use crate::domain::lifecycle::Refusal;
use crate::domain::names::ClientName;
use crate::domain::secrets::{ProvisioningToken, Scope, Scopes};
use crate::domain::time::DAY;
use crate::http::form::Fields;
use crate::http::service::Service;
use crate::scim::Profile;

type OfOne = Path<(String, String)>;

/// Days, and what they are called.
const LIFETIMES: [(u32, &str); 4] = [(90, "90 days"), (180, "180 days"), (365, "a year"), (0, "no end")];
/// Hours in which the old token goes on working.
const OVERLAPS: [(u32, &str); 4] = [(24, "a day"), (168, "a week"), (1, "an hour"), (0, "not at all")];
/// What an identity provider needs, and no more.
const USUAL: [Scope; 3] = [Scope::Users, Scope::Groups, Scope::Invitations];

/// A token as a row of its client's card.
pub struct TokenRow {
    pub href: String,
    pub name: String,
    pub made: String,
    /// Word, icon and tone of a badge.
    pub state: (&'static str, &'static str, &'static str),
    pub until: Option<String>,
    pub scopes: String,
    pub profile: String,
    pub test: bool,
    pub alive: bool,
    /// Whose access tokens speak for it: there is no secret to rotate.
    pub issued_to: Option<String>,
}

impl TokenRow {
    pub fn of(desk: &Desk, token: &Token) -> Self {
        let now = desk.context.now;
        let ended = token.expires_at.is_some_and(|at| at <= now);
        let (state, until) = match (token.revoked_at, token.expires_at) {
            (Some(at), _) => (("Revoked", "cross", "calm"), Some(format::instant(at))),
            (None, Some(at)) if ended => (("Expired", "alert", "waiting"), Some(format::instant(at))),
            (None, Some(at)) => (("Working", "check", "good"), Some(format!("until {}", format::instant(at)))),
            (None, None) => (("Working", "check", "good"), None),
        };
        TokenRow {
            href: desk.path(&format!("/provisioning/tokens/{}", token.id)),
            name: name_of(token),
            made: format::instant(token.created),
            state,
            until,
            scopes: token.scopes.to_string(),
            profile: token.profile.clone(),
            test: token.test,
            alive: token.is_alive(now),
            issued_to: token.issued_to.as_ref().map(ToString::to_string),
        }
    }
}

/// What is typed into the form of a new token.
struct Typed {
    client: String,
    profile: String,
    scopes: Vec<String>,
    days: String,
    test: bool,
}

impl Typed {
    fn of(fields: &Fields) -> Self {
        Typed {
            client: fields.get("client").to_owned(),
            profile: fields.get("profile").to_owned(),
            scopes: fields.all("scope"),
            days: fields.get("days").to_owned(),
            test: fields.get("test") == "yes",
        }
    }

    /// An empty form, for which a setup guide names the client and the profile; or, after a proof, what was chosen before
    /// it.
    fn proposed(query: &Fields) -> Self {
        if !query.get("days").is_empty() {
            return Typed::of(query);
        }
        let scopes = USUAL.iter().map(ToString::to_string).collect();
        Typed { scopes, days: "180".to_owned(), test: false, ..Typed::of(query) }
    }

    fn parse(&self) -> Result<NewToken, Error> {
        let invalid = |error: &dyn std::fmt::Display| Error::Invalid(error.to_string());
        if self.client.is_empty() {
            return Err(Error::Invalid("type a name for the client, such as okta".to_owned()));
        }
        let scopes = self.scopes.iter().map(|scope| scope.parse::<Scope>()).collect::<Result<Scopes, _>>();
        let scopes = scopes.map_err(|error| invalid(&error))?;
        if self.scopes.is_empty() {
            return Err(Error::Invalid("choose what the token may do".to_owned()));
        }
        let profile =
            Profile::named(&self.profile).ok_or_else(|| Error::Invalid("choose one of the profiles".to_owned()))?;
        Ok(NewToken {
            client: ClientName::parse(&self.client).map_err(|error| invalid(&error))?,
            scopes,
            profile: profile.name().to_owned(),
            test: self.test,
            expires: offered(&LIFETIMES, &self.days)?.map(|days| days * DAY),
        })
    }
}

/// The number that was chosen of those that were offered; `None` for 0.
fn offered(choices: &[(u32, &str)], chosen: &str) -> Result<Option<u32>, Error> {
    let found = choices.iter().find(|(number, _)| number.to_string() == chosen);
    let (number, _) = found.ok_or_else(|| Error::Invalid("choose one of the times".to_owned()))?;
    Ok(Some(*number).filter(|number| *number > 0))
}

fn choices(offered: &[(u32, &str)], chosen: &str) -> Vec<Choice> {
    let choice = |(number, words): &(u32, &str)| Choice {
        value: number.to_string(),
        text: (*words).to_owned(),
        hint: String::new(),
        chosen: number.to_string() == chosen,
    };
    offered.iter().map(choice).collect()
}

fn new_dialog(desk: &Desk, typed: &Typed) -> Dialog {
    let profile = |profile: &Profile| Choice {
        value: profile.name().to_owned(),
        text: profile.name().to_owned(),
        hint: profile.meaning().to_owned(),
        chosen: profile.name() == typed.profile,
    };
    let scope = |scope: Scope| Choice {
        value: scope.to_string(),
        text: format!("{scope}: {}", scope.meaning()),
        hint: String::new(),
        chosen: typed.scopes.contains(&scope.to_string()),
    };
    let test = Choice {
        value: "yes".to_owned(),
        text: "mail nobody; hold invitations until an admin has looked at them".to_owned(),
        hint: String::new(),
        chosen: typed.test,
    };
    Dialog {
        title: "Add Token",
        lead: vec!["With it an identity provider signs in. It is shown once, on the next page.".to_owned()],
        fields: vec![
            Field::Text {
                name: "client",
                label: "Client",
                hint: "What one client creates, it manages. A token of the same name continues it.",
                value: typed.client.clone(),
                numeric: false,
            },
            Field::Choice { name: "profile", label: "Profile", options: Profile::ALL.iter().map(profile).collect() },
            Field::Boxes { name: "scope", legend: "It may", options: Scope::ALL.map(scope).into() },
            Field::Choice { name: "days", label: "It works for", options: choices(&LIFETIMES, &typed.days) },
            Field::Boxes { name: "test", legend: "Test mode", options: vec![test] },
        ],
        submit: Some("Make token"),
        destructive: false,
        action: desk.path("/provisioning/tokens/new"),
        back: desk.path("/provisioning"),
    }
}

/// `GET …/provisioning/tokens/new`.
pub(super) async fn ask_new(State(service): State<Service>, Path(account): Path<String>, head: Parts) -> Response {
    let asked = Desk::enter(&service, &account, &head).await;
    answer(asked.map(|desk| new_dialog(&desk, &Typed::proposed(&desk.query)).show(&desk)))
}

/// `POST …/provisioning/tokens/new`.
pub(super) async fn make(State(service): State<Service>, Path(account): Path<String>, request: Request) -> Response {
    answer(try_make(&service, &account, request).await)
}

async fn try_make(service: &Service, account: &str, request: Request) -> Result<Response, Away> {
    let (desk, fields) = Desk::enter_with_form(service, account, request).await?;
    let typed = Typed::of(&fields);
    let made = match typed.parse() {
        Ok(new) => {
            desk.require_proof(&desk.path("/provisioning/tokens/new"), &fields)?;
            service.directory.make_token(&desk.request, new).await
        }
        Err(error) => Err(error),
    };
    match made {
        Ok((token, secret)) => Ok(once(&desk, &token, &secret)),
        Err(error) => refused(&desk, &new_dialog(&desk, &typed), &error),
    }
}

/// The page with the secret.
fn once(desk: &Desk, token: &Token, secret: &ProvisioningToken) -> Response {
    let lead = vec![
        format!(
            "This is the new token of {}. Copy it now: it is not kept here and cannot be shown again.",
            token.client
        ),
        format!("The SCIM base URL is {}.", super::base_url(&desk.service)),
    ];
    let dialog = Dialog {
        title: "Copy the Token",
        lead,
        fields: vec![Field::Link { label: "Token", value: secret.expose().to_owned() }],
        submit: None,
        destructive: false,
        action: desk.path("/provisioning"),
        back: desk.path("/provisioning"),
    };
    dialog.show(desk)
}

fn refused(desk: &Desk, dialog: &Dialog, error: &Error) -> Result<Response, Away> {
    match sentence(error) {
        Some((status, words)) => Ok(dialog.refuse(desk, status, &words)),
        None => Err(desk.failed(error)),
    }
}

/// What tells a token from others of its client.
pub(super) fn name_of(token: &Token) -> String {
    format!("{} of {}", token.client, format::day(token.created))
}

async fn one(desk: &Desk, id: &str) -> Result<Token, Away> {
    let gone = || desk.failed(&Refusal::NotFound.into());
    let id: TokenId = id.parse().map_err(|_| gone())?;
    let tokens = desk.service.directory.tokens(&desk.request).await;
    let tokens = tokens.map_err(|error| desk.failed(&error))?;
    tokens.into_iter().find(|token| token.id == id).ok_or_else(gone)
}

fn rotate_dialog(desk: &Desk, token: &Token, hours: &str, days: &str) -> Dialog {
    let back = desk.path("/provisioning");
    let moot = match token.issued_to {
        Some(_) => Some(ISSUED),
        None => (!token.is_alive(desk.context.now)).then_some(ENDED),
    };
    if let Some(why) = moot {
        return Dialog {
            fields: Vec::new(),
            submit: None,
            lead: vec![why.to_owned()],
            ..dialog(desk, token, "rotate")
        };
    }
    Dialog {
        lead: vec![format!(
            "A second token with the same rights is made for {}. Put it into the client before the old one ends.",
            token.client
        )],
        fields: vec![
            Field::Choice { name: "hours", label: "The old token goes on for", options: choices(&OVERLAPS, hours) },
            Field::Choice { name: "days", label: "The new one works for", options: choices(&LIFETIMES, days) },
        ],
        back,
        ..dialog(desk, token, "rotate")
    }
}

const ISSUED: &str =
    "Its issuer makes the tokens of this client and renews them by itself. There is nothing to rotate here.";
const ENDED: &str = "This token has ended. Make a new one for the same client instead.";

fn dialog(desk: &Desk, token: &Token, act: &str) -> Dialog {
    Dialog {
        title: "Rotate Token",
        lead: Vec::new(),
        fields: Vec::new(),
        submit: Some("Rotate"),
        destructive: false,
        action: desk.path(&format!("/provisioning/tokens/{}/{act}", token.id)),
        back: desk.path("/provisioning"),
    }
}

/// `GET …/provisioning/tokens/{token}/rotate`.
pub(super) async fn ask_rotate(State(service): State<Service>, path: OfOne, head: Parts) -> Response {
    let dialog = |desk: &Desk, token: &Token| {
        // After a proof, what was chosen before it.
        let chosen = |name, usual| Some(desk.query.get(name)).filter(|it| !it.is_empty()).unwrap_or(usual);
        rotate_dialog(desk, token, chosen("hours", "24"), chosen("days", "180"))
    };
    answer(try_ask(&service, path, &head, dialog).await)
}

async fn try_ask(
    service: &Service,
    Path((account, id)): OfOne,
    head: &Parts,
    dialog: impl Fn(&Desk, &Token) -> Dialog,
) -> Result<Response, Away> {
    let desk = Desk::enter(service, &account, head).await?;
    let token = one(&desk, &id).await?;
    Ok(dialog(&desk, &token).show(&desk))
}

/// `POST …/provisioning/tokens/{token}/rotate`.
pub(super) async fn rotate(State(service): State<Service>, path: OfOne, request: Request) -> Response {
    answer(try_rotate(&service, path, request).await)
}

async fn try_rotate(service: &Service, Path((account, id)): OfOne, request: Request) -> Result<Response, Away> {
    let (desk, fields) = Desk::enter_with_form(service, &account, request).await?;
    let token = one(&desk, &id).await?;
    let (hours, days) = (fields.get("hours"), fields.get("days"));
    let dialog = rotate_dialog(&desk, &token, hours, days);
    let times = offered(&OVERLAPS, hours).and_then(|hours| Ok((hours, offered(&LIFETIMES, days)?)));
    let rotated = match times {
        Ok((hours, days)) => {
            desk.require_proof(&desk.path(&format!("/provisioning/tokens/{}/rotate", token.id)), &fields)?;
            let overlap = hours.unwrap_or(0) * (DAY / 24);
            let expires = days.map(|days| days * DAY);
            service.directory.renew_token(&desk.request, token.id, overlap, expires).await
        }
        Err(error) => Err(error),
    };
    match rotated {
        Ok((token, secret)) => Ok(once(&desk, &token, &secret)),
        Err(error) => refused(&desk, &dialog, &error),
    }
}

fn revoke_dialog(desk: &Desk, token: &Token) -> Dialog {
    let last = format!(
        "The token {} is worthless at once. Whatever {} sends with it is refused until it has another one.",
        name_of(token),
        token.client
    );
    Dialog {
        title: "Revoke Token",
        lead: vec![last, "Nobody loses access by that.".to_owned()],
        submit: Some("Revoke"),
        destructive: true,
        ..dialog(desk, token, "revoke")
    }
}

/// `GET …/provisioning/tokens/{token}/revoke`.
pub(super) async fn ask_revoke(State(service): State<Service>, path: OfOne, head: Parts) -> Response {
    answer(try_ask(&service, path, &head, revoke_dialog).await)
}

/// `POST …/provisioning/tokens/{token}/revoke`.
pub(super) async fn revoke(State(service): State<Service>, path: OfOne, request: Request) -> Response {
    answer(try_revoke(&service, path, request).await)
}

async fn try_revoke(service: &Service, Path((account, id)): OfOne, request: Request) -> Result<Response, Away> {
    let (desk, _) = Desk::enter_with_form(service, &account, request).await?;
    let token = one(&desk, &id).await?;
    let dialog = revoke_dialog(&desk, &token);
    match service.directory.end_token(&desk.request, token.id).await {
        Ok(token) => Ok(desk.done(&dialog.back, &format!("The token {} is revoked.", name_of(&token)))),
        Err(error) => refused(&desk, &dialog, &error),
    }
}
