//! The console: what Account Admins do in a browser. Every page works without a script; a script only spares reloads.
//!
//! One request: `gate` finds the session and asks the directory whether its user is an Active Account Admin at this
//! moment; a POST must come from a page of ours and carry its token. Then a handler reads, or changes something and
//! sends the browser on (303), so that reloading repeats nothing. A refusal shows the same form again with the sentence
//! of the refusal.

mod accounts;
mod attention;
mod audit;
pub mod charts;
mod choices;
mod csv;
mod dialog;
mod dialogs;
pub mod format;
mod frame;
mod gate;
mod groups;
mod jobs;
mod live;
mod newcomers;
mod openid;
mod organization;
mod outbox;
mod proof;
mod provisioning;
mod roster;
mod settings;
mod sign_in;
mod things;
mod user;
mod users;
mod webhooks;

use axum::Router;
use axum::routing::{get, post};
use tower_http::compression::CompressionLayer;

use super::service::Service;

pub use frame::SECTIONS;
pub use openid::BEGIN as OPENID;
pub use roster::MAX_PEOPLE;
pub use sign_in::SIGN_IN;

pub fn router() -> Router<Service> {
    Router::new()
        .route("/admin", get(sign_in::front_door))
        .route(SIGN_IN, get(sign_in::show).post(sign_in::ask))
        .route(sign_in::CODE, get(sign_in::show_code).post(sign_in::enter))
        .route(openid::BEGIN, get(openid::begin))
        .route(openid::CALLBACK, get(openid::callback))
        .route(sign_in::SIGN_OUT, post(sign_in::sign_out))
        .route("/admin/{account}", get(organization::show))
        .route("/admin/{account}/prove", get(proof::show).post(proof::prove))
        .route("/admin/{account}/prove/openid", get(openid::prove))
        .route("/admin/{account}/accounts", get(accounts::show).post(accounts::choose))
        // A hundred people are a large page. What compression could tell of a page by its length is no secret here: the
        // form's token is another one each time (`form::token`).
        .route("/admin/{account}/users", get(users::show).layer(CompressionLayer::new()))
        .route("/admin/{account}/users/new", get(newcomers::show).post(newcomers::add))
        .route("/admin/{account}/users/{user}", get(user::show))
        .merge(dialogs::router())
        .merge(provisioning::router())
        .merge(groups::router())
        .merge(webhooks::router())
        .route("/admin/{account}/outbox", get(outbox::show))
        .route("/admin/{account}/outbox/{letter}", get(outbox::preview))
        .route("/admin/{account}/outbox/{letter}/retry", post(outbox::retry))
        .route("/admin/{account}/audit", get(audit::show))
        .route("/admin/{account}/audit/export", get(audit::export))
        .route("/admin/{account}/live", get(live::stream))
        .route("/admin/{account}/jobs", get(jobs::show))
        .route("/admin/{account}/jobs/{job}", post(jobs::run))
        .route("/admin/{account}/settings", get(settings::show).post(settings::save))
        .route("/admin/{account}/{things}", get(things::list))
        .route("/admin/{account}/{things}/{thing}", get(things::ask_edit).post(things::edit))
        .route("/admin/{account}/{things}/{thing}/delete", get(things::ask_delete).post(things::delete))
}
