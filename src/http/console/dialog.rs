//! One dialog: a page of its own, or a part that the console's script shows over the page at hand. Same words, same
//! form, same answer.

use askama::Template;
use axum::http::StatusCode;
use axum::response::Response;

use super::frame::Frame;
use super::gate::Desk;
use crate::http::pages::Page;

/// What a dialog asks.
#[derive(Debug, Clone)]
pub struct Dialog {
    /// Its title, in the guide's words.
    pub title: &'static str,
    /// What it is about, sentence by sentence.
    pub lead: Vec<String>,
    pub fields: Vec<Field>,
    /// The words on the button; `None` when there is only something to read.
    pub submit: Option<&'static str>,
    /// Takes something away: then Cancel comes first.
    pub destructive: bool,
    /// Where the form posts to.
    pub action: String,
    /// Where Cancel leads.
    pub back: String,
}

#[derive(Debug, Clone)]
pub enum Field {
    Choice {
        name: &'static str,
        label: &'static str,
        options: Vec<Choice>,
    },
    Boxes {
        name: &'static str,
        legend: &'static str,
        options: Vec<Choice>,
    },
    Text {
        name: &'static str,
        label: &'static str,
        hint: &'static str,
        value: String,
        numeric: bool,
    },
    /// A text that may be long, such as an address.
    Long {
        name: &'static str,
        label: &'static str,
        hint: &'static str,
        value: String,
    },
    Link {
        label: &'static str,
        value: String,
    },
    /// Whom it is about, when they are several, and what else the form carries along.
    People {
        count: String,
        people: Vec<Picked>,
        hidden: Vec<(&'static str, String)>,
    },
}

/// One of several people.
#[derive(Debug, Clone)]
pub struct Picked {
    pub id: String,
    pub name: String,
    /// Empty where the name says it.
    pub address: String,
    pub status: &'static str,
}

/// One option of a field.
#[derive(Debug, Clone)]
pub struct Choice {
    pub value: String,
    pub text: String,
    pub hint: String,
    pub chosen: bool,
}

impl Field {
    /// The element's id, to which an error summary links.
    pub fn id(&self) -> &'static str {
        match self {
            Field::Choice { name, .. }
            | Field::Boxes { name, .. }
            | Field::Text { name, .. }
            | Field::Long { name, .. } => name,
            Field::Link { .. } => "link",
            Field::People { .. } => "people",
        }
    }
}

#[derive(Template)]
#[template(path = "console/dialog_page.html")]
struct DialogPage<'a> {
    frame: Frame,
    dialog: &'a Dialog,
    problem: Option<&'a str>,
    csrf: String,
}

#[derive(Template)]
#[template(path = "console/dialog_part.html")]
struct DialogPart<'a> {
    dialog: &'a Dialog,
    problem: Option<&'a str>,
    csrf: String,
}

impl Dialog {
    /// The field that an error summary leads to.
    pub fn first_field(&self) -> Option<&'static str> {
        self.fields.first().map(Field::id)
    }

    /// The dialog, asked for the first time.
    pub(super) fn show(&self, desk: &Desk) -> Response {
        self.answer(desk, StatusCode::OK, None)
    }

    /// The dialog again, with what was wrong.
    pub(super) fn refuse(&self, desk: &Desk, status: StatusCode, problem: &str) -> Response {
        self.answer(desk, status, Some(problem))
    }

    fn answer(&self, desk: &Desk, status: StatusCode, problem: Option<&str>) -> Response {
        let csrf = desk.csrf();
        if desk.partial {
            desk.page(Page::render(status, &DialogPart { dialog: self, problem, csrf }))
        } else {
            let frame = desk.frame(Frame::section_of(&self.action));
            desk.page(Page::render(status, &DialogPage { frame, dialog: self, problem, csrf }))
        }
    }
}
