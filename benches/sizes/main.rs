//! What a hundred times or ten thousand times as much costs: the same request to a small and to a large one, in turns.
//!
//! `cargo bench --bench sizes` makes two daemons on each store, with a thousand and with a hundred thousand users, and
//! prints a table of the ratios of the times.

#![expect(clippy::unwrap_used, reason = "a benchmark fails by panicking")]
#![expect(clippy::print_stdout, reason = "the figures are what this is run for")]

#[path = "../../tests/support/daemon/mod.rs"]
#[expect(dead_code, reason = "what only the tests need")]
mod daemon;
#[path = "../support/figures.rs"]
mod figures;
#[path = "../support/load.rs"]
#[expect(dead_code, reason = "what only the other benchmark needs")]
mod load;
#[path = "../../tests/support/redis_server.rs"]
#[expect(dead_code, reason = "what only the tests need")]
mod redis_server;

use daemon::{Daemon, Store, patch, user};
use figures::Figure;
use load::{Clients, Connection};
use serde_json::{Value, json};
use tokio::time::Instant;

const FEW: usize = 1_000;
const MANY: usize = 100_000;
/// Turns of each side, for each row.
const ROUNDS: usize = 300;
const ADMIN: &str = "boss@example.com";
/// Connections that make the users.
const MAKERS: usize = 16;

const SETTINGS: [(&str, &str); 5] = [
    ("USHERD_BOOTSTRAP__ADMIN_EMAIL", ADMIN),
    ("USHERD_PROVISIONING__ADMIT", "silent"),
    ("USHERD_LIMITS__SCIM", "off"),
    // For the one group that is made with all its members in one request.
    ("USHERD_STORE__DEADLINE", "60s"),
    ("USHERD_HTTP__REQUEST_DEADLINE", "60s"),
];

fn main() {
    println!("| request | small and large | Redis | embedded |");
    println!("|---|---|---|---|");
    let on = [Store::Redis, Store::Embedded].map(measure);
    let [redis, embedded] = on;
    for ((what, sizes, redis), (.., embedded)) in redis.into_iter().zip(embedded) {
        println!("| {what} | {sizes} | {redis} | {embedded} |");
    }
}

type Row = (&'static str, &'static str, Figure);

fn measure(store: Store) -> Vec<Row> {
    let [few, many] = [FEW, MANY].map(|count| House::with(store, count));
    let mut rows = Vec::new();
    let houses = [&few, &many];
    let mut ports = houses.map(|house| Connection::open(house.daemon.port));
    let mut row = |what, request: &dyn Fn(&House, usize) -> Vec<u8>| {
        let requests = houses.map(|house| (0..=ROUNDS).map(|round| [request(house, round)]).collect::<Vec<_>>());
        rows.push((what, USERS, in_turns(&mut ports, |side, round| &requests[side][round])));
    };
    let get = |house: &House, path: &str| house.scim("GET", &format!("/scim/v2{path}"), "");
    row("GET one user", &|house, round| get(house, &format!("/Users/{}", house.ids[round * 7 % FEW])));
    row("filter `userName eq`", &|house, round| {
        get(house, &format!("/Users?filter=userName%20eq%20%22person{}%40example.com%22", round * 7 % FEW))
    });
    row("list of 100, first page", &|house, _| get(house, "/Users?count=100"));
    row("list of 100, last page", &|house, _| {
        get(house, &format!("/Users?count=100&startIndex={}", house.ids.len() - 99))
    });
    row("create a user", &|house, round| {
        let body = user(&format!("later{round:06}@example.com")).to_string();
        house.scim("POST", "/scim/v2/Users", &body)
    });
    row("console: directory", &|house, _| house.page(""));
    row("console: directory, active, by date", &|house, _| house.page("?status=active&sort=-added"));
    row("console: directory, by name, third page", &|house, _| house.page("?sort=-name&page=3"));
    row("console: directory, search for one person", &|house, round| {
        house.page(&format!("?q=person{}%40example.com", 100 + round % 800))
    });

    // Last: whoever is in a group costs another look at the store.
    let groups = [&many.ids[..10], &many.ids[..MANY]].map(|members| many.group(members));
    let newcomer = many.newcomer();
    let change = |group: &String, operation: Value| {
        let path = format!("/scim/v2/Groups/{group}?excludedAttributes=members");
        many.scim("PATCH", &path, &patch(json!([operation])).to_string())
    };
    let join = |group| change(group, json!({ "op": "add", "path": "members", "value": [{ "value": newcomer }] }));
    let leave = |group| change(group, json!({ "op": "remove", "path": format!("members[value eq \"{newcomer}\"]") }));
    let mut ports = [many.daemon.port; 2].map(Connection::open);
    let pairs = groups.each_ref().map(|group| [join(group), leave(group)]);
    rows.push(("group: add and remove one member", GROUPS, in_turns(&mut ports, |side, _| &pairs[side][..])));
    rows
}

const GROUPS: &str = "10 and 100 000 members";
const USERS: &str = "1 000 and 100 000 users";

/// Asks small and large in turns; how much longer the large one takes.
fn in_turns<'a, R>(ports: &mut [Connection; 2], requests: impl Fn(usize, usize) -> &'a [R]) -> Figure
where
    R: AsRef<[u8]> + 'a,
{
    let mut times: [Vec<f64>; 2] = Default::default();
    for round in 0..=ROUNDS {
        for (side, (port, times)) in ports.iter_mut().zip(&mut times).enumerate() {
            let begun = Instant::now();
            for request in requests(side, round) {
                port.ask(request.as_ref());
            }
            // The first turn fills caches.
            if round > 0 {
                times.push(begun.elapsed().as_secs_f64());
            }
        }
    }
    Figure::of_ratios(&times[1], &times[0])
}

/// A daemon with many people, and an admin who is signed in.
struct House {
    daemon: Daemon,
    /// Of the users, in the order in which they were made.
    ids: Vec<String>,
    cookies: String,
}

impl House {
    fn with(store: Store, count: usize) -> Self {
        let daemon = Daemon::start(store, &SETTINGS);
        let mut house = House { daemon, ids: Vec::new(), cookies: String::new() };
        Clients::connect(house.daemon.port, MAKERS).ask_times(count.div_ceil(MAKERS), &|turn| {
            let number = turn.number * MAKERS + turn.connection;
            let body = user(&format!("person{number}@example.com")).to_string();
            house.scim("POST", "/scim/v2/Users", &body)
        });
        house.ids = house.all_ids(count);
        let mut browser = house.daemon.browser();
        assert_eq!(browser.open_and_accept(&house.daemon.admin_link(), ADMIN).status, 200);
        house.cookies = browser.cookies();
        house
    }

    fn all_ids(&self, count: usize) -> Vec<String> {
        let mut connection = Connection::open(self.daemon.port);
        let pages = (1..=count).step_by(1_000).map(|start| {
            let path = format!("/scim/v2/Users?count=1000&attributes=id&startIndex={start}");
            let page: Value = serde_json::from_slice(&connection.ask(&self.scim("GET", &path, "")).body).unwrap();
            let users = page["Resources"].as_array().unwrap().iter();
            users.map(|user| user["id"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
        });
        let ids: Vec<String> = pages.flatten().take(count).collect();
        assert_eq!(ids.len(), count);
        ids
    }

    fn group(&self, members: &[String]) -> String {
        let members: Vec<Value> = members.iter().map(|id| json!({ "value": id })).collect();
        let reply = self.daemon.post("/Groups", &json!({ "displayName": "Staff", "members": members }));
        assert_eq!(reply.status, 201, "{}", reply.text());
        reply.json()["id"].as_str().unwrap().to_owned()
    }

    fn newcomer(&self) -> String {
        self.daemon.create_user("newcomer@example.com")
    }

    fn scim(&self, method: &str, path: &str, body: &str) -> Vec<u8> {
        let token = self.daemon.token();
        let headers = format!("authorization: Bearer {token}\r\ncontent-type: application/scim+json\r\n");
        load::request(method, path, self.daemon.port, &headers, body)
    }

    fn page(&self, query: &str) -> Vec<u8> {
        let headers = format!("cookie: {}\r\naccept: text/html\r\n", self.cookies);
        load::request("GET", &format!("/admin/default/users{query}"), self.daemon.port, &headers, "")
    }
}
