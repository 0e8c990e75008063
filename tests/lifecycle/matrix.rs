//! Reads `matrix.toml`, whose header explains the format, into one [`Case`] per branch of a cell.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
pub enum State {
    N,
    PL,
    PX,
    RL,
    A,
    I,
    T,
}

impl State {
    pub const ALL: [State; 7] = [State::N, State::PL, State::PX, State::RL, State::A, State::I, State::T];
}

/// One branch of a cell, with lists of reasons, `always`, `INV` and `CLR` written out.
#[derive(Debug, Clone)]
pub struct Case {
    /// `event/id`, and `event/id/reason` where the case stands for several reasons.
    pub name: String,
    pub event: String,
    pub row: String,
    pub state: State,
    pub given: Given,
    pub expect: Expect,
}

/// What of the situation is named. The header says what holds where nothing is.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Given {
    pub accepted_minutes_ago: Option<u64>,
    pub actor_is_user: Option<bool>,
    pub actor_role: Option<String>,
    pub address_taken: Option<bool>,
    pub address_typed: Option<bool>,
    pub address_verified: Option<bool>,
    pub admit: Option<String>,
    pub brake: Option<String>,
    pub by: Option<String>,
    pub change: Option<String>,
    pub channel: Option<String>,
    pub cooldown: Option<String>,
    pub expired: Option<bool>,
    pub first_delivery: Option<bool>,
    pub flag: Option<bool>,
    pub generation: Option<String>,
    pub has_address: Option<bool>,
    pub holds: Option<Vec<String>>,
    pub hours_left: Option<u64>,
    pub idp_active: Option<String>,
    pub last_admin: Option<bool>,
    pub managed: Option<bool>,
    pub muted: Option<bool>,
    pub origin: Option<String>,
    pub other_client: Option<bool>,
    pub policy_hold: Option<String>,
    #[serde(rename = "reason", default, deserialize_with = "one_or_many")]
    reasons: Vec<String>,
    /// One reason, after the list was written out.
    #[serde(skip)]
    pub reason: Option<String>,
    pub renewals_left: Option<u32>,
    pub role: Option<String>,
    pub roles_write: Option<bool>,
    pub seats_free: Option<bool>,
    pub shortfall: Option<bool>,
    pub takeover: Option<bool>,
    pub user_name_taken: Option<bool>,
}

/// What comes out. `None` stays as it was.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Expect {
    pub state: Option<State>,
    #[serde(default)]
    pub effects: BTreeSet<String>,
    pub refusal: Option<String>,
    #[serde(default)]
    pub drop: bool,
    pub accepted: Option<bool>,
    pub dropped_assignment: Option<bool>,
    pub due: Option<bool>,
    pub holds: Option<Vec<String>>,
    pub http: Option<u16>,
    pub idp_active: Option<String>,
    pub listed: Option<bool>,
    pub mailbox_proven: Option<bool>,
    pub mailed: Option<bool>,
    pub managed: Option<bool>,
    pub moved: Option<bool>,
    pub new_id: Option<bool>,
    pub origin: Option<String>,
    pub page: Option<String>,
    pub reason: Option<String>,
    pub role: Option<String>,
    pub sent: Option<bool>,
    pub session: Option<bool>,
    pub shortfall: Option<bool>,
    pub undeliverable: Option<bool>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Table {
    row: String,
    #[serde(default)]
    always: Always,
    cases: Vec<Line>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Always {
    managed: Option<bool>,
    idp_active: Option<String>,
    http: Option<u16>,
    page: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    id: String,
    state: State,
    #[serde(default)]
    given: Given,
    expect: Expect,
}

/// All cases of the matrix.
pub fn cases() -> Vec<Case> {
    let tables: BTreeMap<String, Table> = toml::from_str(include_str!("matrix.toml")).expect("the matrix is readable");
    tables.into_iter().flat_map(|(event, table)| cases_of(&event, table)).collect()
}

fn cases_of(event: &str, table: Table) -> Vec<Case> {
    let Table { row, always, cases } = table;
    cases.into_iter().flat_map(|line| cases_of_line(event, &row, &always, line)).collect()
}

fn cases_of_line(event: &str, row: &str, always: &Always, line: Line) -> Vec<Case> {
    let Line { id, state, given, mut expect } = line;
    if expect.state.is_some() {
        expect.managed = expect.managed.or(always.managed);
        expect.idp_active = expect.idp_active.or_else(|| always.idp_active.clone());
        expect.http = expect.http.or(always.http);
        expect.page = expect.page.or_else(|| always.page.clone());
    }
    expect.effects = expect.effects.iter().flat_map(|effect| written_out(effect)).map(str::to_owned).collect();
    let case = |name: String, reason: Option<String>| Case {
        name,
        event: event.to_owned(),
        row: row.to_owned(),
        state,
        given: Given { reason, ..given.clone() },
        expect: expect.clone(),
    };
    match given.reasons.as_slice() {
        [] => vec![case(format!("{event}/{id}"), None)],
        [one] => vec![case(format!("{event}/{id}"), Some(one.clone()))],
        many => many.iter().map(|reason| case(format!("{event}/{id}/{reason}"), Some(reason.clone()))).collect(),
    }
}

fn written_out(effect: &str) -> Vec<&str> {
    match effect {
        "INV" => vec!["+tok", "+mail", "+lic", "+tmr"],
        "CLR" => vec!["-tok", "-mail", "-tmr"],
        plain => vec![plain],
    }
}

fn one_or_many<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum OneOrMany {
        One(String),
        Many(Vec<String>),
    }
    Ok(match OneOrMany::deserialize(deserializer)? {
        OneOrMany::One(one) => vec![one],
        OneOrMany::Many(many) => many,
    })
}
