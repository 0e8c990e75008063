//! Plays the requests of one client, and holds the answers against what it needs.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::daemon::client::Reply;
use crate::daemon::{Daemon, Store};

/// A client's file.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Replay {
    pub client: String,
    /// Of its token.
    pub profile: String,
    scopes: Vec<String>,
    /// Where its requests are known from.
    #[serde(rename = "source")]
    _source: String,
    /// So many further users are there before it begins: `${p0}`, `${p1}` …
    #[serde(default)]
    people: usize,
    steps: Vec<Step>,
}

/// One request, or what a person does in between. Texts may hold `${name}` of what an earlier step kept.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Step {
    does: String,
    /// Method and path below `/scim/v2`; of an admin, below `/api/v1`.
    send: Option<String>,
    /// Whoever has this address opens the newest invitation and accepts.
    accepts: Option<String>,
    #[serde(default)]
    by: By,
    body: Option<Value>,
    content_type: Option<String>,
    #[serde(default)]
    status: u16,
    /// What the answer has to say, by JSON pointer; `*` stands for every item of a list, `null` for nothing there.
    #[serde(default)]
    expect: BTreeMap<String, Value>,
    /// What later steps need: a JSON pointer or the name of a header.
    #[serde(default)]
    keep: BTreeMap<String, String>,
}

#[derive(Deserialize, Default, Clone, Copy, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
enum By {
    #[default]
    Client,
    Admin,
}

impl Replay {
    pub fn steps(&self) -> usize {
        self.steps.len()
    }

    /// The steps that went wrong.
    pub fn run(&self, store: Store) -> Vec<String> {
        let daemon = Daemon::start(store, &[]);
        let named = ["token", "create", "--account", "default", "--name", "client", "--profile", &self.profile];
        let scopes: Vec<&str> = self.scopes.iter().flat_map(|scope| ["--scope", scope]).collect();
        let made = daemon.cli(&[&named[..], &scopes].concat());
        assert_eq!(made.code, 0, "{}", made.stderr);
        let mut play = Play { daemon: &daemon, token: made.stdout.trim().to_owned(), kept: BTreeMap::new() };
        for i in 0..self.people {
            let body = json!({ "userName": format!("p{i}@example.org"), "externalId": format!("person-{i}") });
            let reply = daemon.request("POST", "/scim/v2/Users").bearer(&play.token).json(&body).send();
            assert_eq!(reply.status, 201, "{}", reply.text());
            play.kept.insert(format!("p{i}"), reply.json()["id"].as_str().unwrap().to_owned());
        }
        let play = &mut play;
        let wrong = |step: &Step, what: Vec<String>| format!("{}: {}", step.does, what.join("; "));
        self.steps
            .iter()
            .filter_map(|step| Some(play.step(step)).filter(|what| !what.is_empty()).map(|what| wrong(step, what)))
            .collect()
    }
}

struct Play<'d> {
    daemon: &'d Daemon,
    token: String,
    kept: BTreeMap<String, String>,
}

impl Play<'_> {
    /// What is wrong with the answer; nothing, when all is well.
    fn step(&mut self, step: &Step) -> Vec<String> {
        if let Some(address) = &step.accepts {
            let link = self.daemon.mails_to(address).len().max(1);
            let link = self.daemon.mail(address, link).link();
            let page = self.daemon.browser().open_and_accept(&link, address);
            return if page.status == 200 { Vec::new() } else { vec![format!("{}: {}", page.status, page.text())] };
        }
        let (method, path) = step.send.as_deref().unwrap().split_once(' ').unwrap();
        let path = self.filled(path).replace(' ', "%20").replace('"', "%22");
        let request = match step.by {
            By::Client => self.daemon.request(method, &format!("/scim/v2{path}")).bearer(&self.token),
            By::Admin => self.daemon.api(method, &path),
        };
        let reply = match &step.body {
            Some(body) => {
                let kind = step.content_type.as_deref().unwrap_or("application/scim+json");
                request.header("content-type", kind).body(&self.filled_in(body).to_string()).send()
            }
            None => request.send(),
        };
        let mut wrong = Vec::new();
        if reply.status != step.status {
            return vec![format!("{} instead of {}: {}", reply.status, step.status, reply.text())];
        }
        if step.by == By::Client {
            wrong.extend(misshapen(method, path.contains("attributes="), &reply));
        }
        let body = if reply.body.is_empty() { Value::Null } else { reply.json() };
        for (pointer, expected) in &step.expect {
            let (expected, found) = (self.filled_in(expected), at(&body, pointer));
            if found != expected {
                wrong.push(format!("{pointer} is {found} instead of {expected}"));
            }
        }
        for (name, from) in &step.keep {
            let value = if from.starts_with('/') { at(&body, from) } else { reply.header(from).into() };
            match value.as_str().filter(|text| !text.is_empty()) {
                Some(text) => drop(self.kept.insert(name.clone(), text.to_owned())),
                None => wrong.push(format!("nothing to keep at {from}")),
            }
        }
        wrong
    }

    /// A name that was never kept stays as it is, and the answer will not do.
    fn filled(&self, text: &str) -> String {
        self.kept.iter().fold(text.to_owned(), |text, (name, value)| text.replace(&format!("${{{name}}}"), value))
    }

    fn filled_in(&self, value: &Value) -> Value {
        match value {
            Value::String(text) => self.filled(text).into(),
            Value::Array(items) => items.iter().map(|item| self.filled_in(item)).collect(),
            Value::Object(object) => object.iter().map(|(name, value)| (name.clone(), self.filled_in(value))).collect(),
            Value::Null | Value::Bool(_) | Value::Number(_) => value.clone(),
        }
    }
}

/// What a pointer leads to; `null` when it leads nowhere.
fn at(value: &Value, pointer: &str) -> Value {
    match pointer.split_once("/*") {
        Some((list, rest)) => {
            let items = value.pointer(list).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
            items.iter().map(|item| at(item, rest)).collect()
        }
        None => value.pointer(pointer).cloned().unwrap_or_default(),
    }
}

/// What no client takes, whatever it asked.
fn misshapen(method: &str, is_partial: bool, reply: &Reply) -> Vec<String> {
    let mut wrong = Vec::new();
    if reply.status == 204 {
        wrong.extend((!reply.body.is_empty()).then(|| "204 with a body".to_owned()));
        return wrong;
    }
    if reply.header("content-type") != "application/scim+json" {
        wrong.push(format!("Content-Type {:?}", reply.header("content-type")));
    }
    let body = reply.json();
    if has_null(&body) {
        wrong.push("a null in the answer".to_owned());
    }
    let schemas = body["schemas"].as_array().map(Vec::as_slice).unwrap_or_default();
    let says = |urn: &str| schemas.iter().any(|schema| schema == urn);
    if schemas.is_empty() {
        wrong.push("no schemas".to_owned());
    }
    if reply.status >= 400 {
        let status = reply.status.to_string();
        let is_error = says("urn:ietf:params:scim:api:messages:2.0:Error") && body["status"].as_str() == Some(&status);
        wrong.extend((!is_error).then(|| format!("no SCIM error: {body}")));
    } else if says("urn:ietf:params:scim:api:messages:2.0:ListResponse") {
        let counts = ["totalResults", "startIndex", "itemsPerPage"];
        let whole = counts.iter().all(|name| body[name].is_u64());
        wrong.extend((!whole).then(|| format!("a list without whole numbers: {body}")));
        let items = body["Resources"].as_array().cloned().unwrap_or_default();
        wrong.extend(
            (u64::try_from(items.len()).ok() != body["itemsPerPage"].as_u64()).then(|| "itemsPerPage".to_owned()),
        );
    } else if body["meta"]["resourceType"] != "ServiceProviderConfig" && !is_partial {
        let location = body["meta"]["location"].as_str().unwrap_or_default();
        let is_addressed = body["id"].is_string() && !location.is_empty();
        wrong.extend((!is_addressed).then(|| format!("no id or location: {body}")));
        let leads_there = reply.header("location") == location && !reply.header("etag").is_empty();
        wrong.extend((method == "POST" && !leads_there).then(|| "Location or ETag".to_owned()));
    }
    wrong
}

fn has_null(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Array(items) => items.iter().any(has_null),
        Value::Object(object) => has_null_within(object),
        Value::Bool(_) | Value::Number(_) | Value::String(_) => false,
    }
}

fn has_null_within(object: &Map<String, Value>) -> bool {
    object.values().any(has_null)
}
