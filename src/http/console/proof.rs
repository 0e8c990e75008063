//! Proving once more who one is, before something that takes more trust than an open session: a code is mailed and
//! typed, and the browser goes back to the dialog that it came from, with what was chosen there.

use askama::Template;
use axum::extract::{Path, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderName, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Redirect, Response};
use url::form_urlencoded;

use super::frame::Frame;
use super::gate::{self, Away, Desk, answer};
use super::sign_in::{admit, remember_asking, remembered_asking};
use crate::directory::sign_in::Asking;
use crate::http::form::Fields;
use crate::http::pages::Page;
use crate::http::service::Service;

/// What is chosen in a dialog comes back with its address, as do a hundred people; of more than this, only the dialog
/// does.
const MAX_NEXT: usize = 6_000;

/// How far somebody has come who proves who they are in the form that needs it: one that is too large to come back to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Proof {
    /// Not needed, or done lately.
    Given,
    Needed,
    /// A code is on its way.
    Asked,
}

/// See [`Desk::prove_here`].
#[derive(Debug)]
pub(super) struct Proving {
    pub proof: Proof,
    /// Why no code was mailed, or none taken.
    pub problem: Option<&'static str>,
    /// The code that was asked for just now, for the browser to keep.
    pub asked: Option<Asking>,
}

impl Proving {
    pub fn is_given(&self) -> bool {
        self.proof == Proof::Given
    }
}

#[derive(Template)]
#[template(path = "console/proof.html")]
struct ProofTemplate {
    frame: Frame,
    csrf: String,
    /// Where the code goes.
    address: String,
    /// Whether a code is on its way.
    asked: bool,
    next: String,
    /// The issuer by which they may prove it instead, and the way there.
    openid: Option<(String, String)>,
    problem: Option<&'static str>,
}

impl Desk {
    /// Lets the handler go on when its admin has proven within the last five minutes who they are; else they prove it
    /// first and come back to `dialog`, a path of this account's console, with the fields of the form.
    pub(super) fn require_proof(&self, dialog: &str, fields: &Fields) -> Result<(), Away> {
        if self.admin.is_proven(self.context.now) {
            return Ok(());
        }
        Err(self.prove_first(dialog, fields))
    }

    /// Sends the browser to the proof, and from there to `dialog`.
    pub(super) fn prove_first(&self, dialog: &str, fields: &Fields) -> Away {
        let chosen = format!("{dialog}?{}", fields.to_query());
        let next = if chosen.len() > MAX_NEXT { dialog } else { &chosen };
        let query = form_urlencoded::Serializer::new(String::new()).append_pair("next", next).finish();
        let path = format!("{}?{query}", self.path("/prove"));
        match HeaderValue::from_str(&path) {
            // The console's script is told to load the page.
            Ok(target) if self.partial => {
                (StatusCode::NO_CONTENT, [(HeaderName::from_static("hx-redirect"), target)]).into()
            }
            _ => Redirect::to(&path).into(),
        }
    }

    /// Mails a code to who sits here; `Err` with what they can do when that is not possible.
    pub(super) async fn mail_code(&self) -> Result<Result<Asking, &'static str>, Away> {
        let Some(address) = self.admin.address.clone() else {
            return Ok(Err("You have no address that a code could be mailed to. Add one to your details first."));
        };
        admit(&self.service, &self.asked, &address)?;
        let request_id = self.asked.request_id.as_deref();
        let asked = self.service.directory.ask_code(&self.token.account, &address, request_id).await;
        asked.map(Ok).map_err(|error| gate::failed(&self.asked, &error).into())
    }

    /// Takes the code that was typed; `Err` when it proves nothing.
    pub(super) async fn take_code(&self, asking: &Asking, code: &str) -> Result<Result<(), &'static str>, Away> {
        admit(&self.service, &self.asked, &asking.address)?;
        let request_id = self.asked.request_id.as_deref();
        let proven = self.service.directory.prove(&self.token, asking, code, request_id).await;
        match proven.map_err(|error| Away::from(gate::failed(&self.asked, &error)))? {
            true => Ok(Ok(())),
            false => Ok(Err("This code is not right, or it is too old. After five wrong tries a code is worthless.")),
        }
    }

    /// Proves in the form itself who one is, when that is `needed`: the step `code` mails a code, the step `act` takes the
    /// one that was typed.
    pub(super) async fn prove_here(
        &self,
        asking: Option<&Asking>,
        fields: &Fields,
        act: &str,
        needed: bool,
    ) -> Result<Proving, Away> {
        let proving = |proof, problem| Proving { proof, problem, asked: None };
        if !needed || self.admin.is_proven(self.context.now) {
            return Ok(proving(Proof::Given, None));
        }
        let step = fields.get("step");
        if step == "code" {
            return Ok(match self.mail_code().await? {
                Ok(asked) => Proving { asked: Some(asked), ..proving(Proof::Asked, None) },
                Err(problem) => proving(Proof::Needed, Some(problem)),
            });
        }
        if step != act {
            return Ok(proving(Proof::Needed, None));
        }
        let taken = match asking {
            Some(asking) => self.take_code(asking, fields.get("code")).await?,
            None => Err("Let a code be mailed to you first."),
        };
        Ok(match taken {
            Ok(()) => proving(Proof::Given, None),
            Err(problem) => proving(Proof::Asked, Some(problem)),
        })
    }

    /// Where to go on: a page of this account's console and of no other place.
    pub(super) fn next(&self, fields: &Fields) -> String {
        let next = fields.get("next");
        let inside = next.strip_prefix(&self.path("/"));
        let is_ours = inside.is_some_and(|rest| rest.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'\\'));
        if is_ours { next.to_owned() } else { self.path("/users") }
    }

    fn proof_page(&self, asked: bool, next: String, problem: Option<&'static str>) -> Response {
        let status = if problem.is_some() { StatusCode::UNPROCESSABLE_ENTITY } else { StatusCode::OK };
        let address = self.admin.address.as_ref().map(|address| address.as_str().to_owned()).unwrap_or_default();
        let (frame, csrf) = (self.frame("users"), self.csrf());
        let openid = self.service.openid.as_ref().map(|issuer| {
            let query = form_urlencoded::Serializer::new(String::new()).append_pair("next", &next).finish();
            (issuer.name().to_owned(), format!("{}?{query}", self.path("/prove/openid")))
        });
        self.page(Page::render(status, &ProofTemplate { frame, csrf, address, asked, next, openid, problem }))
    }
}

/// `GET /admin/{account}/prove`.
pub(super) async fn show(State(service): State<Service>, Path(account): Path<String>, head: Parts) -> Response {
    let desk = Desk::enter(&service, &account, &head).await;
    answer(desk.map(|desk| desk.proof_page(false, desk.next(&desk.query), None)))
}

/// `POST /admin/{account}/prove`: mails a code, or takes the one that was typed.
pub(super) async fn prove(State(service): State<Service>, Path(account): Path<String>, request: Request) -> Response {
    answer(try_prove(&service, &account, request).await)
}

async fn try_prove(service: &Service, account: &str, request: Request) -> Result<Response, Away> {
    let asking = remembered_asking(service, request.headers());
    let (desk, fields) = Desk::enter_with_form(service, account, request).await?;
    let next = desk.next(&fields);
    let asking = match asking {
        Some(asking) if fields.get("step") == "code" => asking,
        _ => {
            return match desk.mail_code().await? {
                Ok(asking) => Ok(remember_asking(service, asking, desk.proof_page(true, next, None))),
                Err(problem) => Ok(desk.proof_page(false, next, Some(problem))),
            };
        }
    };
    match desk.take_code(&asking, fields.get("code")).await? {
        Ok(()) => Ok(Redirect::to(&next).into_response()),
        Err(problem) => Ok(desk.proof_page(true, next, Some(problem))),
    }
}
