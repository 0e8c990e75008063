//! What an admin does to several people of the directory at once: which act, for whom, and what became of each.
//!
//! The people stand in the address of the dialog, so that it can be loaded again and survives a proof of who one is.

use std::collections::BTreeMap;

use askama::Template;
use axum::extract::{Path, Request, State};
use axum::http::StatusCode;
use axum::http::request::Parts;
use axum::response::Response;

use super::dialog::{Choice, Dialog, Field, Picked};
use super::format;
use super::frame::Frame;
use super::gate::{Away, Desk, answer};
use super::users::back_to_list;
use crate::directory::assignments::Wishes;
use crate::directory::invitations::Action;
use crate::directory::kind::Kind;
use crate::directory::many::{Deed, Row};
use crate::directory::record::UserRecord;
use crate::http::form::Fields;
use crate::http::pages::Page;
use crate::http::service::Service;

/// As many as the longest page of the directory has.
const MAX_PICKED: usize = 100;

/// What can be done to several people.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Act {
    Resend,
    Revoke,
    Deactivate,
    Organization,
    License,
}

impl Act {
    pub const ALL: [Act; 5] = [Act::Resend, Act::Revoke, Act::Deactivate, Act::Organization, Act::License];

    fn of(fields: &Fields) -> Option<Self> {
        Act::ALL.into_iter().find(|act| act.as_str() == fields.get("act"))
    }

    /// As an address has it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Act::Resend => "resend",
            Act::Revoke => "revoke",
            Act::Deactivate => "deactivate",
            Act::Organization => "organization",
            Act::License => "license",
        }
    }

    /// What leads to the dialog.
    pub const fn words(self) -> &'static str {
        match self {
            Act::Resend => "Resend invitation",
            Act::Revoke => "Revoke invitation",
            Act::Deactivate => "Deactivate",
            Act::Organization => "Change Organization",
            Act::License => "Assign license",
        }
    }

    const fn title(self) -> &'static str {
        match self {
            Act::Resend => "Resend Invitations",
            Act::Revoke => "Revoke Invitations",
            Act::Deactivate => "Deactivate Users From Account",
            Act::Organization => "Change Organization",
            Act::License => "Assign License",
        }
    }

    /// The words on the dialog's button.
    const fn submit(self) -> &'static str {
        match self {
            Act::Resend => "Resend invitations",
            Act::Revoke => "Revoke",
            Act::Deactivate => "Deactivate",
            Act::Organization => "Save",
            Act::License => "Assign",
        }
    }

    const fn is_destructive(self) -> bool {
        match self {
            Act::Revoke | Act::Deactivate => true,
            Act::Resend | Act::Organization | Act::License => false,
        }
    }

    /// What it means for those who were picked.
    const fn meaning(self) -> &'static [&'static str] {
        match self {
            Act::Resend => &[
                "Each gets a new mail, and links that were sent before stop working. Who is Inactive can come back by it.",
            ],
            Act::Revoke => &["Their invitations end, and the links stop working now."],
            Act::Deactivate => &[
                "They become Inactive and lose access at once, in every open session.",
                "Their accounts stay in the system. You can restore access anytime by re-inviting them.",
            ],
            Act::Organization => &["They leave the organization that they belong to now."],
            Act::License => {
                &["It comes on top of the licenses they have, and takes a seat for each who is invited or Active."]
            }
        }
    }

    /// What a row says when it is done.
    const fn done(self) -> &'static str {
        match self {
            Act::Resend => "Invitation sent",
            Act::Revoke => "Invitation revoked",
            Act::Deactivate => "Inactive now",
            Act::Organization => "Organization changed",
            Act::License => "License assigned",
        }
    }

    /// What of the form says how; `Err` with what to mend.
    fn deed(self, fields: &Fields) -> Result<Deed, &'static str> {
        match self {
            Act::Resend => Ok(Deed::Act(Action::Resend)),
            Act::Revoke => Ok(Deed::Act(Action::Revoke)),
            Act::Deactivate => Ok(Deed::Act(Action::Deactivate)),
            Act::Organization => {
                let chosen = Some(fields.get("organization").to_owned()).filter(|id| !id.is_empty());
                Ok(Deed::Assign(Wishes { organization: Some(chosen), ..Wishes::default() }))
            }
            Act::License => match fields.get("license") {
                "" => Err("Choose a license."),
                id => Ok(Deed::Assign(Wishes { further_licenses: vec![id.to_owned()], ..Wishes::default() })),
            },
        }
    }
}

/// Those who were picked, each once.
struct Pick {
    act: Act,
    ids: Vec<String>,
    /// Those of them who are there.
    people: BTreeMap<String, UserRecord>,
    back: String,
}

impl Pick {
    /// Reads which act and whom. A bad address leads back to the directory.
    async fn of(desk: &Desk, fields: &Fields) -> Result<Self, Away> {
        let back = back_to_list(desk, fields.get("back"));
        let Some(act) = Act::of(fields) else {
            return Err(desk.done(&back, "Choose what to do with the people you select.").into());
        };
        let mut ids: Vec<String> = Vec::new();
        for id in fields.all("user") {
            if !ids.contains(&id) && ids.len() <= MAX_PICKED {
                ids.push(id);
            }
        }
        let asked = if ids.len() > MAX_PICKED { &[] } else { ids.as_slice() };
        let found = desk.service.directory.user_records(&desk.context, asked).await;
        let found = found.map_err(|error| desk.failed(&error))?;
        let people = found.into_iter().map(|record| (record.user.id.to_string(), record)).collect();
        Ok(Pick { act, ids, people, back })
    }

    /// Why there is nothing to confirm.
    fn problem(&self) -> Option<String> {
        match self.ids.len() {
            0 => Some("Nobody is selected. Go back and tick the boxes of the people this is for.".to_owned()),
            count if count > MAX_PICKED => {
                Some(format!("These are more than {MAX_PICKED} people. Select at most {MAX_PICKED} at once."))
            }
            _ if self.people.is_empty() => Some("Nobody of those who were selected is there any more.".to_owned()),
            _ => None,
        }
    }

    fn dialog(&self, desk: &Desk, offered: Vec<Field>) -> Dialog {
        let problem = self.problem();
        let is_possible = problem.is_none();
        let lead = match problem {
            Some(problem) => vec![problem],
            None => self.act.meaning().iter().map(|sentence| (*sentence).to_owned()).collect(),
        };
        let mut fields = offered;
        if is_possible {
            fields.push(Field::People {
                count: counted(self.people.len()),
                people: self.ids.iter().filter_map(|id| self.people.get(id)).map(|it| picked(desk, it)).collect(),
                hidden: vec![("act", self.act.as_str().to_owned()), ("back", desk_query(&self.back))],
            });
        } else {
            fields.clear();
        }
        Dialog {
            title: self.act.title(),
            lead,
            fields,
            submit: is_possible.then_some(self.act.submit()),
            destructive: self.act.is_destructive() && is_possible,
            action: desk.path("/users/many"),
            back: self.back.clone(),
        }
    }

    async fn offered(&self, desk: &Desk, fields: &Fields) -> Result<Vec<Field>, Away> {
        Ok(match self.act {
            Act::Resend | Act::Revoke | Act::Deactivate => Vec::new(),
            Act::Organization => {
                let chosen = fields.get("organization");
                let text = "No organization".to_owned();
                let none = Choice { value: String::new(), text, hint: String::new(), chosen: chosen.is_empty() };
                let offered = desk.choices(Kind::Organization, |id| id.to_string() == chosen).await?;
                let options = [none].into_iter().chain(offered).collect();
                vec![Field::Choice { name: "organization", label: "Organization", options }]
            }
            Act::License => {
                let options = desk.choices(Kind::License, |id| id.to_string() == fields.get("license")).await?;
                vec![Field::Choice { name: "license", label: "License", options }]
            }
        })
    }
}

fn counted(count: usize) -> String {
    if count == 1 { "1 person".to_owned() } else { format!("{count} people") }
}

/// The query of a way back.
fn desk_query(back: &str) -> String {
    back.split_once('?').map(|(_, query)| format!("?{query}")).unwrap_or_default()
}

fn picked(desk: &Desk, record: &UserRecord) -> Picked {
    let name = format::name(record);
    let address = record.user.sign_in_address.as_ref().map(|address| address.as_str().to_owned());
    Picked {
        id: record.user.id.to_string(),
        address: address.filter(|address| *address != name).unwrap_or_default(),
        status: format::badge(record, desk.context.now).word,
        name,
    }
}

/// What became of one person.
struct Line {
    name: String,
    href: Option<String>,
    done: bool,
    words: &'static str,
    why: String,
    code: &'static str,
}

#[derive(Template)]
#[template(path = "console/many.html")]
struct ManyTemplate {
    frame: Frame,
    title: &'static str,
    lines: Vec<Line>,
    done: usize,
    back: String,
}

/// `GET /admin/{account}/users/many`: the dialog.
pub(super) async fn ask(State(service): State<Service>, Path(account): Path<String>, head: Parts) -> Response {
    answer(try_ask(&service, &account, &head).await)
}

async fn try_ask(service: &Service, account: &str, head: &Parts) -> Result<Response, Away> {
    let desk = Desk::enter(service, account, head).await?;
    let pick = Pick::of(&desk, &desk.query).await?;
    let offered = pick.offered(&desk, &desk.query).await?;
    Ok(pick.dialog(&desk, offered).show(&desk))
}

/// `POST /admin/{account}/users/many`: does it. Not followed by a redirect, since the results are nowhere else; whoever
/// sends it again does nothing twice.
pub(super) async fn act(State(service): State<Service>, Path(account): Path<String>, request: Request) -> Response {
    answer(try_act(&service, &account, request).await)
}

async fn try_act(service: &Service, account: &str, request: Request) -> Result<Response, Away> {
    let (desk, fields) = Desk::enter_with_form(service, account, request).await?;
    let pick = Pick::of(&desk, &fields).await?;
    let dialog = pick.dialog(&desk, pick.offered(&desk, &fields).await?);
    if let Some(problem) = pick.problem() {
        return Ok(dialog.refuse(&desk, StatusCode::UNPROCESSABLE_ENTITY, &problem));
    }
    let deed = match pick.act.deed(&fields) {
        Ok(deed) => deed,
        Err(problem) => return Ok(dialog.refuse(&desk, StatusCode::UNPROCESSABLE_ENTITY, problem)),
    };
    if pick.act == Act::Deactivate {
        desk.require_proof(&dialog.action, &fields)?;
    }
    let rows = service.directory.do_to_many(&desk.request, &pick.ids, &deed).await;
    let rows = rows.map_err(|error| desk.failed(&error))?;
    let template = ManyTemplate {
        frame: desk.frame("users"),
        title: pick.act.title(),
        done: rows.iter().filter(|row| matches!(row, Row::Done(_))).count(),
        lines: pick.ids.iter().zip(&rows).map(|(id, row)| line(&desk, &pick, id, row)).collect(),
        back: pick.back,
    };
    Ok(desk.page(Page::render(StatusCode::OK, &template)))
}

fn line(desk: &Desk, pick: &Pick, id: &str, row: &Row) -> Line {
    let name = pick.people.get(id).map_or_else(|| "Somebody who is not there any more".to_owned(), format::name);
    let page = desk.path(&format!("/users/{id}"));
    match row {
        Row::Done(record) => Line {
            name,
            // Whoever nobody manages is gone with the invitation.
            href: record.exists().then_some(page),
            done: true,
            words: pick.act.done(),
            why: String::new(),
            code: "",
        },
        Row::Refused { code, message } => Line {
            name,
            href: pick.people.contains_key(id).then_some(page),
            done: false,
            words: "Not done",
            why: format::sentence(message),
            code,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_act_is_found_by_the_word_in_its_address() {
        let fields = |query: &str| Fields::of_query(&format!("/many?{query}").parse().unwrap());
        for act in Act::ALL {
            assert_eq!(Act::of(&fields(&format!("act={}", act.as_str()))), Some(act));
        }
        assert_eq!(Act::of(&fields("act=erase")), None);
        assert_eq!(Act::of(&fields("")), None);
    }

    #[test]
    fn a_license_has_to_be_chosen_and_an_organization_may_be_none() {
        let fields = Fields::of_query(&"/many?organization=".parse().unwrap());
        assert!(Act::License.deed(&fields).is_err());
        let leaves = Wishes { organization: Some(None), ..Wishes::default() };
        assert_eq!(Act::Organization.deed(&fields), Ok(Deed::Assign(leaves)));
    }
}
