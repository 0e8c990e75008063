//! What is asked, about whom.

use serde_json::json;

use crate::daemon::{Daemon, patch, user};
use crate::load::{self, Turn};

/// Clients that ask at once.
pub const CONNECTIONS: usize = 16;
/// Users that are there before. Those of the second half are left to the bare server, which writes nonsense into them.
const USERS: usize = 1_024;
const HALF: usize = USERS / 2;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Workload {
    Get,
    Filter,
    List,
    Patch,
    Member,
    Create,
}

/// Whose users a request is about, so that nobody stumbles over another's writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    Usherd,
    Bare,
    Recorded,
}

/// What there is in a store.
pub struct Scene {
    token: String,
    /// Ids, in the order of their userNames.
    users: Vec<String>,
    group: String,
}

/// A request before it has a server.
pub struct Ask {
    /// Which script the bare server follows.
    pub script: &'static str,
    /// An id or a name, of the same length for all requests of one script.
    pub subject: String,
    method: &'static str,
    path: String,
    body: String,
}

impl Workload {
    /// In an order in which what one writes does not change what the next one reads.
    pub const ALL: [Workload; 6] =
        [Workload::Get, Workload::Filter, Workload::List, Workload::Patch, Workload::Member, Workload::Create];

    pub fn name(self) -> &'static str {
        match self {
            Workload::Get => "get",
            Workload::Filter => "filter",
            Workload::List => "list",
            Workload::Patch => "patch",
            Workload::Member => "member",
            Workload::Create => "create",
        }
    }

    pub fn title(self) -> &'static str {
        match self {
            Workload::Get => "GET one user",
            Workload::Filter => "filter `userName eq`",
            Workload::List => "list of 100",
            Workload::Patch => "PATCH one attribute",
            Workload::Member => "group: add or remove one member",
            Workload::Create => "create a user",
        }
    }

    /// The scripts that its requests need, one after the other.
    pub fn scripts(self) -> &'static [&'static str] {
        match self {
            Workload::Get => &["get"],
            Workload::Filter => &["filter"],
            Workload::List => &["list"],
            Workload::Patch => &["patch"],
            Workload::Member => &["join", "leave"],
            Workload::Create => &["create"],
        }
    }

    pub fn ask(self, scene: &Scene, side: Side, turn: Turn) -> Ask {
        let Turn { connection, number } = turn;
        let anybody = (number * CONNECTIONS + connection) * 7 % HALF;
        let own = match side {
            Side::Usherd => (number * CONNECTIONS + connection) % HALF,
            Side::Bare => HALF + (number * CONNECTIONS + connection) % (HALF - CONNECTIONS),
            Side::Recorded => USERS - 1,
        };
        match self {
            Workload::Get => Ask::of("get", "GET", &scene.users[anybody], format!("/Users/{}", scene.users[anybody])),
            Workload::Filter => {
                let name = name(anybody);
                let path = format!("/Users?filter=userName%20eq%20%22{name}%40example.com%22");
                Ask::of("filter", "GET", &name, path)
            }
            Workload::List => Ask::of("list", "GET", "", "/Users?startIndex=1&count=100".to_owned()),
            Workload::Patch => {
                let id = &scene.users[own];
                let operation = json!([{ "op": "replace", "path": "title", "value": format!("Title {number:09}") }]);
                Ask::of("patch", "PATCH", id, format!("/Users/{id}")).with(patch(operation).to_string())
            }
            Workload::Member => {
                let member = &scene.users[match side {
                    Side::Usherd => connection,
                    Side::Bare => HALF + connection,
                    Side::Recorded => USERS - 1,
                }];
                let (script, operation) = match number % 2 {
                    0 => ("join", json!({ "op": "add", "path": "members", "value": [{ "value": member }] })),
                    _ => ("leave", json!({ "op": "remove", "path": format!("members[value eq \"{member}\"]") })),
                };
                let path = format!("/Groups/{}?excludedAttributes=members", scene.group);
                Ask::of(script, "PATCH", member, path).with(patch(json!([operation])).to_string())
            }
            Workload::Create => {
                let side = match side {
                    Side::Usherd => "usherd",
                    Side::Bare => "nobody",
                    Side::Recorded => "record",
                };
                let name = format!("{side}{connection:02}{number:09}");
                let body = user(&format!("{name}@example.com")).to_string();
                Ask::of("create", "POST", &name, "/Users".to_owned()).with(body)
            }
        }
    }
}

/// The local part of the address of a user.
fn name(number: usize) -> String {
    format!("person{number:06}")
}

impl Scene {
    /// Makes users, and a group with ten of them.
    pub fn set(daemon: &Daemon) -> Self {
        let users: Vec<String> =
            (0..USERS).map(|number| daemon.create_user(&format!("{}@example.com", name(number)))).collect();
        let members: Vec<_> = users[100..110].iter().map(|id| json!({ "value": id })).collect();
        let group = daemon.post("/Groups", &json!({ "displayName": "Staff", "members": members }));
        assert_eq!(group.status, 201, "{}", group.text());
        let group = group.json()["id"].as_str().unwrap().to_owned();
        Scene { token: daemon.token().to_owned(), users, group }
    }

    /// The request as it goes to a server that serves this scene on this port.
    pub fn wire(&self, port: u16, ask: &Ask) -> Vec<u8> {
        let Ask { script, subject, method, path, body } = ask;
        let headers = format!(
            "authorization: Bearer {}\r\ncontent-type: application/scim+json\r\nx-replay: {script}/{subject}\r\n",
            self.token
        );
        load::request(method, &format!("/scim/v2{path}"), port, &headers, body)
    }
}

impl Ask {
    fn of(script: &'static str, method: &'static str, subject: &str, path: String) -> Self {
        Ask { script, subject: subject.to_owned(), method, path, body: String::new() }
    }

    fn with(self, body: String) -> Self {
        Ask { body, ..self }
    }
}
