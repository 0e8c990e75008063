//! The dialogs of one user, in the guide's words: what each asks, and what its button does.

mod assigning;
mod inviting;
mod leaving;
mod profile;

use axum::Router;
use axum::extract::{Path, Request};
use axum::http::request::Parts;
use axum::response::Response;

use super::dialog::Dialog;
use super::format;
use super::gate::{Away, Desk, sentence};
use crate::directory::Error;
use crate::directory::record::UserRecord;
use crate::http::form::Fields;
use crate::http::service::Service;

/// Below `/admin/{account}/users/{user}`.
pub(super) fn router() -> Router<Service> {
    assigning::router().merge(inviting::router()).merge(leaving::router()).merge(profile::router())
}

type Of = Path<(String, String)>;
type OfPart = Path<(String, String, String)>;

/// The person a dialog is about.
struct Person {
    desk: Desk,
    record: UserRecord,
    name: String,
    /// Their page.
    page: String,
}

impl Person {
    async fn of(desk: Desk, user: &str) -> Result<Self, Away> {
        let found = desk.service.directory.user_record(&desk.context, user).await;
        let record = found.map_err(|error| desk.failed(&error))?;
        let page = desk.path(&format!("/users/{}", record.user.id));
        Ok(Person { name: format::name(&record), desk, record, page })
    }

    async fn enter(service: &Service, account: &str, user: &str, head: &Parts) -> Result<Self, Away> {
        Self::of(Desk::enter(service, account, head).await?, user).await
    }

    async fn enter_with_form(
        service: &Service,
        account: &str,
        user: &str,
        request: Request,
    ) -> Result<(Self, Fields), Away> {
        let (desk, fields) = Desk::enter_with_form(service, account, request).await?;
        Ok((Self::of(desk, user).await?, fields))
    }

    fn id(&self) -> String {
        self.record.user.id.to_string()
    }

    fn dialog(&self, title: &'static str, submit: &'static str, action: &str) -> Dialog {
        Dialog {
            title,
            lead: Vec::new(),
            fields: Vec::new(),
            submit: Some(submit),
            destructive: false,
            action: format!("{}{action}", self.page),
            back: self.page.clone(),
        }
    }

    /// Sends the browser on when it worked, and shows the dialog again with the reason when it did not.
    fn settle(
        &self,
        outcome: Result<UserRecord, Error>,
        dialog: &Dialog,
        back: &str,
        note: &str,
    ) -> Result<Response, Away> {
        match outcome {
            Ok(_) => Ok(self.desk.done(back, note)),
            Err(error) => self.refused(&error, dialog),
        }
    }

    fn refused(&self, error: &Error, dialog: &Dialog) -> Result<Response, Away> {
        match sentence(error) {
            Some((status, words)) => Ok(dialog.refuse(&self.desk, status, &words)),
            None => Err(self.desk.failed(error)),
        }
    }
}
