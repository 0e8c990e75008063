//! The dialog that makes a stream of security event tokens. Streams stand among the webhooks, and are rotated, sent
//! again and removed as those are (`webhooks`).

use axum::extract::{Path, Request, State};
use axum::http::request::Parts;
use axum::response::Response;

use super::dialog::{Choice, Dialog, Field};
use super::gate::{Away, Desk, answer};
use super::webhooks::{poll_address, refused};
use crate::directory::Error;
use crate::directory::webhooks::Stream;
use crate::domain::ids::EndpointId;
use crate::domain::security_event::{Audience, Form};
use crate::domain::webhook::HookUrl;
use crate::http::form::Fields;
use crate::http::jwks;
use crate::http::service::Service;

const NEW: &str = "/webhooks/new-stream";
const FULL: &str = "full";
const BEARER: &str = "bearer";

/// What is typed into the form.
#[derive(Default)]
struct Typed {
    url: String,
    form: String,
    audience: String,
    bearer: bool,
}

impl Typed {
    fn of(fields: &Fields) -> Self {
        Typed {
            url: fields.get("url").to_owned(),
            form: fields.get("form").to_owned(),
            audience: fields.get("audience").to_owned(),
            bearer: fields.get("along") == BEARER,
        }
    }

    fn parse(&self, allow_private: bool) -> Result<(Option<HookUrl>, Stream), Error> {
        let invalid = |error: &dyn std::fmt::Display| Error::Invalid(error.to_string());
        let url = match self.url.as_str() {
            "" => None,
            url => Some(url.parse::<HookUrl>().map_err(|error| invalid(&error))?),
        };
        if let Some(url) = &url {
            url.check_scheme(allow_private).map_err(|error| invalid(&error))?;
        }
        let audience = match self.audience.as_str() {
            "" => None,
            audience => Some(audience.parse::<Audience>().map_err(|error| invalid(&error))?),
        };
        let form = if self.form == FULL { Form::Full } else { Form::Notice };
        Ok((url, Stream { form, audience, bearer: self.bearer }))
    }
}

fn dialog(desk: &Desk, typed: &Typed) -> Dialog {
    let form = |value: &str, text: &str, hint: &str| Choice {
        value: value.to_owned(),
        text: text.to_owned(),
        hint: hint.to_owned(),
        chosen: typed.form == value,
    };
    Dialog {
        title: "Add Stream",
        lead: vec![
            "A receiver hears of every change of users, groups, organizations, projects and licenses by security event \
             tokens (RFC 9967), which are signed."
                .to_owned(),
        ],
        fields: vec![
            Field::Long {
                name: "url",
                label: "Address",
                hint: "Where the receiver listens, such as https://app.example.com/events. Leave it empty for a receiver \
                       that fetches.",
                value: typed.url.clone(),
            },
            Field::Choice {
                name: "form",
                label: "It is told",
                options: vec![
                    form("notice", "What changed", "The names of the attributes. Whoever wants values asks for them."),
                    form(FULL, "The values, too", "Personal data leaves with every change."),
                ],
            },
            Field::Long {
                name: "audience",
                label: "Audience",
                hint: "What the receiver expects in `aud`. Leave it empty for the address of the stream.",
                value: typed.audience.clone(),
            },
            Field::Boxes {
                name: "along",
                legend: "Along with it goes",
                options: vec![Choice {
                    value: BEARER.to_owned(),
                    text: "a bearer token, for a receiver with an address".to_owned(),
                    hint: "Shown once, on the next page.".to_owned(),
                    chosen: typed.bearer,
                }],
            },
        ],
        submit: Some("Add"),
        destructive: false,
        action: desk.path(NEW),
        back: desk.path("/webhooks"),
    }
}

/// `GET …/webhooks/new-stream`.
pub(super) async fn ask(State(service): State<Service>, Path(account): Path<String>, head: Parts) -> Response {
    let asked = Desk::enter(&service, &account, &head).await;
    // After a proof, what was chosen before it.
    answer(asked.map(|desk| dialog(&desk, &Typed::of(&desk.query)).show(&desk)))
}

/// `POST …/webhooks/new-stream`.
pub(super) async fn make(State(service): State<Service>, Path(account): Path<String>, request: Request) -> Response {
    answer(try_make(&service, &account, request).await)
}

async fn try_make(service: &Service, account: &str, request: Request) -> Result<Response, Away> {
    let (desk, fields) = Desk::enter_with_form(service, account, request).await?;
    let typed = Typed::of(&fields);
    let made = match typed.parse(service.settings.private_webhooks) {
        Ok((url, stream)) => {
            desk.require_proof(&desk.path(NEW), &fields)?;
            let made = service.directory.add_stream(&desk.request, url.as_ref(), &stream).await;
            made.map(|(id, bearer)| made_dialog(service, &desk, id, url.is_some(), bearer))
        }
        Err(error) => Err(error),
    };
    match made {
        Ok(dialog) => Ok(dialog.show(&desk)),
        Err(error) => refused(&desk, &dialog(&desk, &typed), &error),
    }
}

/// What the receiver is to be given.
fn made_dialog(service: &Service, desk: &Desk, id: EndpointId, pushed: bool, bearer: Option<String>) -> Dialog {
    let keys = format!("{}{}", service.directory.settings().public_url, jwks::PATH);
    let mut lead = vec![format!("The receiver checks tokens with the keys at {keys}.")];
    let field = match (pushed, bearer) {
        (_, Some(bearer)) => {
            lead.push("Copy its bearer token now: it is not kept here and cannot be shown again.".to_owned());
            Field::Link { label: "Bearer token", value: bearer }
        }
        (false, None) => {
            lead.push("It fetches from here, with a provisioning token that has the scope audit.".to_owned());
            Field::Link { label: "Address", value: poll_address(service, id) }
        }
        (true, None) => Field::Link { label: "Keys", value: keys },
    };
    Dialog {
        title: "The Stream Is Made",
        lead,
        fields: vec![field],
        submit: None,
        destructive: false,
        action: desk.path("/webhooks"),
        back: desk.path("/webhooks"),
    }
}
