//! How each event of the matrix comes about: which face it has, and what goes through it.

use std::fmt;

use serde_json::{Value, json};
use usherd::directory::timers::Fate;
use usherd::domain::secrets::Scope;

use super::scene::{Scene, USHERD, patch};
use crate::house::{DAY, MINUTE, drain};
use crate::issuer::CLIENT_ID;
use crate::matrix::{Case, State};
use crate::requests::Reply;
use crate::situation::{NEW_ADDRESS, NEW_USER_NAME};

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Face {
    Scim,
    Api,
    Console,
    InviteePages,
    /// The console's sign-in page and an issuer of OpenID Connect.
    SignIn,
    /// Time passes, and the worker acts on what is due.
    Timer,
    /// The worker and the relay.
    Mail,
    /// `/hooks/mail`.
    Hook,
    /// No face brings it about in this state: a mail that a worker was sending when everything changed.
    Directory,
}

impl fmt::Display for Face {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Face::Scim => "SCIM",
            Face::Api => "API",
            Face::Console => "console",
            Face::InviteePages => "invitee pages",
            Face::SignIn => "sign-in page",
            Face::Timer => "timer",
            Face::Mail => "mail worker",
            Face::Hook => "/hooks/mail",
            Face::Directory => "directory layer",
        })
    }
}

/// What came back.
pub struct Fired {
    pub face: Face,
    pub reply: Option<Reply>,
    /// What was deleted that people are assigned to.
    pub deleted: Option<(&'static str, String)>,
}

impl Fired {
    fn by(face: Face, reply: Reply) -> Self {
        Fired { face, reply: Some(reply), deleted: None }
    }

    const fn unanswered(face: Face) -> Self {
        Fired { face, reply: None, deleted: None }
    }
}

/// Why a case cannot be brought about from outside, although its cell can.
pub fn beyond_reach(case: &Case) -> Option<&'static str> {
    let given = &case.given;
    if case.event == "oidc_sign_in" && given.reason.as_deref() == Some("no_address") {
        return Some("nobody is known by an address");
    }
    if case.event == "address_change" && given.by.as_deref() == Some("admin") {
        return Some("admins change no address in this release");
    }
    if given.actor_role.is_some() {
        return Some("nobody but Account Admins gets into the console, and tokens have no role");
    }
    if case.event == "invite" {
        if given.address_taken == Some(true) {
            return Some("an invitation to the address of somebody is an invitation of that somebody");
        }
        if given.reason.as_deref() == Some("no_address") {
            return Some("an invitation names an address");
        }
        if given.policy_hold.as_deref() == Some("start_date") {
            return Some("an admin's invitation names no first day of work");
        }
    }
    if is_in_flight(case) && given.reason.as_deref() == Some("no_address") {
        return Some("no mail was ever written");
    }
    None
}

/// Whether a provider has to manage the person, although the matrix leaves it open: for SCIM writes that it does not
/// call so, and for somebody lapsed whom retention would take before the time of a tombstone is over.
pub fn needs_a_provider(case: &Case) -> bool {
    let by_scim = case.event == "assign" && case.given.by.as_deref() == Some("scim");
    let outlives = case.event == "tombstone_due" && case.state == State::PX;
    ["address_change", "user_name_change"].contains(&case.event.as_str()) || by_scim || outlives
}

/// Whether the relay answers "later" until nobody tries any more.
pub fn goes_through_the_relay(case: &Case) -> bool {
    case.event == "retries_exhausted" && [State::PL, State::RL, State::A].contains(&case.state)
}

/// Whether the event tells of a mail that was on its way when the state was reached.
pub fn is_in_flight(case: &Case) -> bool {
    match case.event.as_str() {
        "relay_accepted" => !matches!(case.state, State::PL | State::RL),
        "retries_exhausted" => !goes_through_the_relay(case),
        _ => false,
    }
}

/// Whether somebody who is not there any more is what the event is about.
pub fn is_about_a_past(case: &Case) -> bool {
    let links = ["open_link", "accept_current", "accept_stale", "decline", "new_link"];
    let mails = ["relay_accepted", "hard_bounce", "retries_exhausted"];
    links.contains(&case.event.as_str()) || mails.contains(&case.event.as_str())
}

/// Whether time passes for a timer that somebody with a live invitation does not have.
pub fn waits_for_another_timer(case: &Case) -> bool {
    ["hold_due", "renewal_due", "retention_due", "tombstone_due"].contains(&case.event.as_str())
}

/// How many days the account keeps what lapsed and who was deleted: so few, where the invitation must outlive it.
pub fn keeps_short(case: &Case) -> bool {
    ["retention_due", "tombstone_due"].contains(&case.event.as_str()) && matches!(case.state, State::PL | State::RL)
}

/// Brings the event about.
pub async fn fire(scene: &mut Scene<'_>) -> Fired {
    let case = scene.case;
    let given = &case.given;
    match case.event.as_str() {
        "scim_post_true" | "scim_post_false" => {
            let active = case.event == "scim_post_true";
            let is_new = matches!(case.state, State::N | State::T);
            let mut body = if is_new { scene.whole_body(active) } else { scene.body(Some(active)) };
            if given.policy_hold.as_deref() == Some("start_date") && !is_new {
                body[USHERD] = json!({ "employmentStartDate": scene.in_days(3) });
            }
            Fired::by(Face::Scim, scim(scene, "POST", "", &body).await)
        }
        "scim_active_true_edge" => Fired::by(Face::Scim, switched(scene, true).await),
        "scim_active_false" => Fired::by(Face::Scim, switched(scene, false).await),
        "scim_active_true_no_edge" => {
            let body = scene.body(Some(true));
            Fired::by(Face::Scim, on_user(scene, "PUT", &body).await)
        }
        "scim_put_without_active" => {
            let body = scene.body(None);
            Fired::by(Face::Scim, on_user(scene, "PUT", &body).await)
        }
        "scim_profile_only" => {
            let body = patch(json!([{ "op": "replace", "path": "title", "value": "Countess" }]));
            Fired::by(Face::Scim, on_user(scene, "PATCH", &body).await)
        }
        "scim_delete" => Fired::by(Face::Scim, on_user(scene, "DELETE", &Value::Null).await),
        "address_change" => {
            let emails = json!([{ "value": NEW_ADDRESS, "type": "work", "primary": true }]);
            let body = patch(json!([{ "op": "replace", "path": "emails", "value": emails }]));
            Fired::by(Face::Scim, on_user(scene, "PATCH", &body).await)
        }
        "user_name_change" => {
            let body = patch(json!([{ "op": "replace", "path": "userName", "value": NEW_USER_NAME }]));
            Fired::by(Face::Scim, on_user(scene, "PATCH", &body).await)
        }
        "assign" if given.by.as_deref() == Some("scim") => {
            let path = format!("{USHERD}:accountRole");
            let body = patch(json!([{ "op": "replace", "path": path, "value": "Account Admin" }]));
            Fired::by(Face::Scim, on_user(scene, "PATCH", &body).await)
        }
        "assign" => {
            let body = match given.change.as_deref() {
                Some("project") | None => json!({ "projects": [] }),
                Some("organization") => json!({ "organization": null }),
                Some("license") => json!({ "licenses": ["Other"] }),
                Some("to_account_admin") => json!({ "accountRole": "Account Admin" }),
                Some("to_user") => json!({ "accountRole": "User" }),
                Some(other) => panic!("change {other}"),
            };
            Fired::by(Face::Api, api(scene, "PATCH", "", &body).await)
        }
        "invite" => {
            let mut body = json!({ "email": scene.address, "reactivate": given.flag == Some(true) });
            if matches!(case.state, State::N | State::T) {
                body["organization"] = "Research".into();
                body["licenses"] = json!(["Seat"]);
                body["projects"] = json!([{ "project": "Apollo", "role": "Tester" }]);
            }
            let token = scene.script().await;
            Fired::by(Face::Api, scene.faces.json(&token, "POST", "/api/v1/users", &body).await)
        }
        "deactivate" if given.actor_is_user == Some(true) => Fired::by(Face::Console, deactivate_oneself(scene).await),
        "resend" | "revoke" | "release" | "deactivate" | "erase" => {
            Fired::by(Face::Api, api(scene, "POST", &case.event, &Value::Null).await)
        }
        "copy_link" => Fired::by(Face::Api, api(scene, "POST", "copy-link", &Value::Null).await),
        "hold_send" | "hold_admit" | "hold_drop" => {
            let action = format!("held/{}", case.event.strip_prefix("hold_").unwrap());
            Fired::by(Face::Api, api(scene, "POST", &action, &Value::Null).await)
        }
        "open_link" => {
            let path = format!("/i/{}", scene.link_or_guess());
            Fired::by(Face::InviteePages, scene.faces.open(&path).await)
        }
        "accept_current" | "accept_stale" => {
            let address = if given.address_typed == Some(false) { "eve@example.com" } else { scene.address };
            Fired::by(Face::InviteePages, scene.accept(&scene.link_or_guess(), address).await)
        }
        "oidc_sign_in" => Fired::by(Face::SignIn, sign_in_with_openid(scene).await),
        "decline" => Fired::by(Face::InviteePages, scene.decline().await),
        "new_link" => {
            Fired::by(Face::InviteePages, scene.post_form("/accept/new-link", &scene.link_or_guess(), &[]).await)
        }
        "hold_due" => passed(scene, 4).await,
        "renewal_due" => passed(scene, 1).await,
        "expiry_due" => {
            match scene.first_expiry {
                Some(at) => {
                    let span = at.since(scene.now()) + std::time::Duration::from_secs(2);
                    scene.house.opened.store.advance(span);
                }
                None => scene.house.opened.store.advance(8 * DAY),
            }
            drain(scene.still).await;
            Fired::unanswered(Face::Timer)
        }
        "reminder_due" => {
            if given.hours_left.is_none() {
                scene.house.opened.store.advance(2 * DAY);
            }
            drain(scene.still).await;
            Fired::unanswered(Face::Timer)
        }
        "retention_due" => passed(scene, if keeps_short(case) { 3 } else { 91 }).await,
        "tombstone_due" => passed(scene, if keeps_short(case) { 3 } else { 401 }).await,
        "relay_accepted" if is_in_flight(case) => settled(scene, &Fate::Accepted { reply: "250 OK".to_owned() }).await,
        "relay_accepted" => {
            scene.house.work().await;
            Fired::unanswered(Face::Mail)
        }
        "retries_exhausted" if is_in_flight(case) => {
            settled(scene, &Fate::GivenUp { reply: "451 later".to_owned() }).await
        }
        "retries_exhausted" => {
            // Back-offs of 1 m, 5 m, 15 m, 1 h, 3 h and 6 h.
            scene.house.work().await;
            for minutes in [1, 5, 15, 60, 180, 360] {
                scene.house.opened.store.advance(MINUTE * minutes * 5 / 4);
                scene.house.work().await;
            }
            Fired::unanswered(Face::Mail)
        }
        "hard_bounce" => Fired::by(Face::Hook, scene.report_bounce().await),
        "quota_lowered" => {
            scene.seats(0).await;
            drain(scene.still).await;
            Fired::unanswered(Face::Scim)
        }
        other => panic!("no event {other}"),
    }
}

/// Deletes one of the things that somebody is assigned to.
pub async fn delete(scene: &mut Scene<'_>, kind: &'static str) -> Fired {
    let (path, name) = match kind {
        "organization" => ("Organizations", "Research"),
        "project" => ("Projects", "Apollo"),
        _ => ("Licenses", "Seat"),
    };
    let dump = scene.house.opened.store.dump(&scene.space()).await.unwrap();
    let id = scene.resource(&dump, kind, name);
    let token = scene.token("furnisher", &Scope::ALL, false).await;
    let reply = scene.faces.json(&token, "DELETE", &format!("/scim/v2/{path}/{id}"), &Value::Null).await;
    assert_eq!(reply.status, 204, "{}", reply.text);
    drain(scene.still).await;
    Fired { face: Face::Scim, reply: None, deleted: Some((kind, id)) }
}

async fn passed(scene: &Scene<'_>, days: u32) -> Fired {
    scene.house.opened.store.advance(DAY * days);
    drain(scene.still).await;
    Fired::unanswered(Face::Timer)
}

async fn settled(scene: &mut Scene<'_>, fate: &Fate) -> Fired {
    let due = scene.on_its_way.take().unwrap_or_else(|| panic!("{}: no mail is on its way", scene.case.name));
    scene.directory().settle(&due, fate).await.unwrap();
    Fired::unanswered(Face::Directory)
}

async fn scim(scene: &Scene<'_>, method: &str, rest: &str, body: &Value) -> Reply {
    let token = scene.provider().await;
    scene.faces.json(&token, method, &format!("/scim/v2/Users{rest}"), body).await
}

fn id(scene: &Scene<'_>) -> String {
    scene.id.clone().unwrap_or_else(|| "0193a5f0-0000-7000-8000-000000000001".to_owned())
}

async fn on_user(scene: &Scene<'_>, method: &str, body: &Value) -> Reply {
    scim(scene, method, &format!("/{}", id(scene)), body).await
}

async fn switched(scene: &Scene<'_>, active: bool) -> Reply {
    on_user(scene, "PATCH", &patch(json!([{ "op": "replace", "path": "active", "value": active }]))).await
}

async fn api(scene: &Scene<'_>, method: &str, action: &str, body: &Value) -> Reply {
    let token = scene.script().await;
    let path = format!("/api/v1/users/{}/{action}", id(scene));
    scene.faces.json(&token, method, path.trim_end_matches('/'), body).await
}

/// To the issuer and back, as the person of the scene.
async fn sign_in_with_openid(scene: &Scene<'_>) -> Reply {
    let (issuer, key) = scene.issuer;
    let sent = scene.faces.visit(&format!("/admin/sign-in/openid?account={}", scene.account), "").await;
    assert_eq!(sent.status, 303, "{}", sent.text);
    let seconds = scene.now().as_millis() / 1_000;
    let claims = |nonce: &str| {
        json!({
            "iss": issuer.url(), "sub": "7", "aud": CLIENT_ID, "iat": seconds, "exp": seconds + 300, "nonce": nonce,
            "email": scene.address, "email_verified": scene.case.given.address_verified != Some(false),
        })
    };
    let query = issuer.signs_in(key, sent.header("location"), claims);
    let cookie = format!("__Host-usherd-openid={}", sent.cookie("__Host-usherd-openid").unwrap());
    scene.faces.visit(&format!("/admin/sign-in/openid/callback?{query}"), &cookie).await
}

/// The dialog of the console, as whoever is signed in.
async fn deactivate_oneself(scene: &Scene<'_>) -> Reply {
    let cookie = format!("__Host-usherd-session={}", scene.admin_cookie.as_ref().unwrap());
    let path = format!("/admin/{}/users/{}/deactivate", scene.account, id(scene));
    let dialog = scene.faces.send("GET", &path, &[("cookie", &cookie)], String::new()).await;
    let csrf = dialog.text.split("name=\"csrf\" value=\"").nth(1).and_then(|rest| rest.split('"').next());
    let csrf = csrf.unwrap_or_else(|| panic!("{} {}", dialog.status, dialog.text)).to_owned();
    scene.faces.submit(&path, &cookie, &[("csrf", &csrf)]).await
}
