//! The console: what Account Admins do in a browser. Every page works without a script; a script only spares reloads.
//!
//! One request: `gate` finds the session and asks the directory whether its user is an Active Account Admin at this
//! moment; a POST must come from a page of ours and carry its token. Then a handler reads, or changes something and
//! sends the browser on (303), so that reloading repeats nothing. A refusal shows the same form again with the sentence
//! of the refusal.

mod attention;
mod audit;
mod csv;
mod dialog;
mod dialogs;
pub mod format;
mod frame;
mod gate;
mod groups;
mod jobs;
mod outbox;
mod proof;
mod provisioning;
mod settings;
mod sign_in;
mod things;
mod user;
mod users;

use axum::Router;
use axum::routing::{get, post};

use super::service::Service;

pub use frame::SECTIONS;
pub use sign_in::SIGN_IN;

pub fn router() -> Router<Service> {
    Router::new()
        .route("/admin", get(sign_in::front_door))
        .route(SIGN_IN, get(sign_in::show).post(sign_in::ask))
        .route(sign_in::CODE, get(sign_in::show_code).post(sign_in::enter))
        .route(sign_in::SIGN_OUT, post(sign_in::sign_out))
        .route("/admin/{account}", get(users::organization))
        .route("/admin/{account}/prove", get(proof::show).post(proof::prove))
        .route("/admin/{account}/users", get(users::show))
        .route("/admin/{account}/users/{user}", get(user::show))
        .route("/admin/{account}/users/{user}/resend", get(dialogs::ask_resend).post(dialogs::resend))
        .route("/admin/{account}/users/{user}/link", post(dialogs::copy_link))
        .route("/admin/{account}/users/{user}/revoke", get(dialogs::ask_revoke).post(dialogs::revoke))
        .route("/admin/{account}/users/{user}/deactivate", get(dialogs::ask_deactivate).post(dialogs::deactivate))
        .route("/admin/{account}/users/{user}/role", get(dialogs::ask_role).post(dialogs::set_role))
        .route(
            "/admin/{account}/users/{user}/organization",
            get(dialogs::ask_organization).post(dialogs::set_organization),
        )
        .route("/admin/{account}/users/{user}/licenses", get(dialogs::ask_licenses).post(dialogs::set_licenses))
        .route("/admin/{account}/users/{user}/projects", get(dialogs::ask_project).post(dialogs::add_project))
        .route(
            "/admin/{account}/users/{user}/projects/{project}",
            get(dialogs::ask_project_role).post(dialogs::set_project_role),
        )
        .route(
            "/admin/{account}/users/{user}/projects/{project}/remove",
            get(dialogs::ask_remove_project).post(dialogs::remove_project),
        )
        .merge(provisioning::router())
        .merge(groups::router())
        .route("/admin/{account}/outbox", get(outbox::show))
        .route("/admin/{account}/outbox/{letter}", get(outbox::preview))
        .route("/admin/{account}/outbox/{letter}/retry", post(outbox::retry))
        .route("/admin/{account}/audit", get(audit::show))
        .route("/admin/{account}/audit/export", get(audit::export))
        .route("/admin/{account}/jobs", get(jobs::show))
        .route("/admin/{account}/jobs/{job}", post(jobs::run))
        .route("/admin/{account}/settings", get(settings::show).post(settings::save))
        .route("/admin/{account}/{things}", get(things::list))
        .route("/admin/{account}/{things}/{thing}", get(things::ask_edit).post(things::edit))
        .route("/admin/{account}/{things}/{thing}/delete", get(things::ask_delete).post(things::delete))
}
