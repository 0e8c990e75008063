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
use crate::http::form::Fields;
use crate::http::pages::Page;
use crate::http::service::Service;

/// What is chosen in a dialog comes back with its address; of more than this, only the dialog does.
const MAX_NEXT: usize = 2_000;

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
    let Some(address) = desk.admin.address.clone() else {
        let problem = "You have no address that a code could be mailed to. Add one to your details first.";
        return Ok(desk.proof_page(false, next, Some(problem)));
    };
    admit(service, &desk.asked, &address)?;
    let request_id = desk.asked.request_id.as_deref();
    let failed = |error| Away::from(gate::failed(&desk.asked, &error));
    let asking = match asking {
        Some(asking) if fields.get("step") == "code" => asking,
        _ => {
            let asking = service.directory.ask_code(&desk.token.account, &address, request_id).await.map_err(failed)?;
            return Ok(remember_asking(service, asking, desk.proof_page(true, next, None)));
        }
    };
    if service.directory.prove(&desk.token, &asking, fields.get("code"), request_id).await.map_err(failed)? {
        return Ok(Redirect::to(&next).into_response());
    }
    let problem = "This code is not right, or it is too old. After five wrong tries a code is worthless.";
    Ok(desk.proof_page(true, next, Some(problem)))
}
