//! What happens, as it happens: `GET /api/v1/events`, as a program listens to it.

use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use rstest::rstest;
use serde_json::Value;

use crate::api_error;
use crate::daemon::browser::{Browser, form_token};
use crate::daemon::client::Request;
use crate::daemon::{Daemon, Store};
use crate::redis_server::eventually;

/// Far above a sign of life.
const PATIENCE: Duration = Duration::from_secs(60);

/// A connection that listens.
pub struct Listener {
    connection: BufReader<TcpStream>,
    pub head: String,
    /// What arrived and is not read yet.
    text: String,
    /// Whether the stream ended as HTTP wants it, once it has ended.
    pub ended_in_order: bool,
}

/// One event.
#[derive(Debug, Clone, PartialEq)]
pub struct Event {
    pub id: String,
    pub name: String,
    pub data: Value,
}

impl Listener {
    pub fn open(port: u16, path: &str, headers: &[(&str, &str)]) -> Self {
        let mut connection = TcpStream::connect(("127.0.0.1", port)).unwrap();
        connection.set_read_timeout(Some(PATIENCE)).unwrap();
        let headers: String = headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
        let head = format!("GET {path} HTTP/1.1\r\nhost: 127.0.0.1:{port}\r\n{headers}\r\n");
        connection.write_all(head.as_bytes()).unwrap();
        let mut listener = Listener {
            connection: BufReader::new(connection),
            head: String::new(),
            text: String::new(),
            ended_in_order: false,
        };
        while !listener.head.ends_with("\r\n\r\n") {
            let read = listener.connection.read_line(&mut listener.head).unwrap();
            assert_ne!(read, 0, "no answer: {}", listener.head);
        }
        listener.head.make_ascii_lowercase();
        listener
    }

    fn to_api(daemon: &Daemon, query: &str, token: &str, more: &[(&str, &str)]) -> Self {
        let bearer = format!("Bearer {token}");
        let headers: Vec<(&str, &str)> =
            [("authorization", &*bearer)].into_iter().chain(more.iter().copied()).collect();
        let listener = Self::open(daemon.port, &format!("/api/v1/events{query}"), &headers);
        assert!(listener.head.starts_with("http/1.1 200"), "{}", listener.head);
        listener
    }

    /// One chunk more (RFC 9112 §7.1), or `None` at the end.
    fn chunk(&mut self) -> Option<()> {
        let mut size = String::new();
        match self.connection.read_line(&mut size) {
            Ok(0) => return None,
            Err(error) if error.kind() == ErrorKind::ConnectionReset => return None,
            Ok(_) => {}
            Err(error) => panic!("nothing came for a minute: {error}"),
        }
        let size = usize::from_str_radix(size.trim(), 16).unwrap();
        let mut bytes = vec![0; size + 2];
        self.connection.read_exact(&mut bytes).unwrap();
        self.text += std::str::from_utf8(&bytes[..size]).unwrap();
        self.ended_in_order = size == 0;
        (size > 0).then_some(())
    }

    /// What stands up to the next empty line; `None` at the end of the stream.
    pub fn block(&mut self) -> Option<String> {
        loop {
            if let Some((block, rest)) = self.text.split_once("\n\n") {
                let (block, rest) = (block.to_owned(), rest.to_owned());
                self.text = rest;
                return Some(block);
            }
            self.chunk()?;
        }
    }

    /// The next event; `None` at the end of the stream.
    pub fn event(&mut self) -> Option<Event> {
        loop {
            let block = self.block()?;
            let field = |name: &str| {
                block.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": ").map(str::to_owned))
            };
            if let Some(data) = field("data") {
                let data = serde_json::from_str(&data).unwrap();
                return Some(Event { id: field("id").unwrap(), name: field("event").unwrap(), data });
            }
        }
    }

    /// The next event of this name.
    pub fn named(&mut self, name: &str) -> Event {
        loop {
            let event = self.event().unwrap_or_else(|| panic!("the stream ended without {name}"));
            if event.name == name {
                return event;
            }
        }
    }

    /// Waits for the end, whatever is told until then.
    pub fn wait_for_the_end(&mut self) {
        // A stream that goes on says so every few seconds, so the time limit of a read does not end it.
        let until = tokio::time::Instant::now() + PATIENCE;
        while self.block().is_some() {
            assert!(tokio::time::Instant::now() < until, "it goes on");
        }
    }
}

/// The id and the secret of a token.
fn token(daemon: &Daemon, scope: &str) -> (String, String) {
    let made = daemon.cli(&["token", "create", "--account", "default", "--name", "listener", "--scope", scope]);
    assert_eq!(made.code, 0, "{}", made.stderr);
    let id = made.stderr.split("Token ").nth(1).unwrap().split(' ').next().unwrap().to_owned();
    (id, made.stdout.trim().to_owned())
}

#[rstest]
fn what_happens_is_told_at_once_and_who_comes_back_misses_nothing(
    #[values(Store::Embedded, Store::Redis)] store: Store,
) {
    let daemon = Daemon::start(store, &[]);
    let (_, secret) = token(&daemon, "audit");
    daemon.create_user("before@example.com");
    let mut listener = Listener::to_api(&daemon, "", &secret, &[]);
    assert!(listener.head.contains("content-type: text/event-stream\r\n"), "{}", listener.head);
    assert!(listener.head.contains("cache-control: no-store\r\n"), "{}", listener.head);
    assert_eq!(listener.block().unwrap(), "retry: 2000");
    let ada = daemon.create_user("ada@example.com");
    // The mail to whom was there before may go out at any moment, but they were made before.
    let told = listener.named("user.provisioned");
    assert_eq!(told.data["user"], ada.as_str(), "{told:?}");
    assert_eq!(told.data["channel"], "scim");
    let audit = daemon.request("GET", "/api/v1/audit?limit=200").bearer(&secret).send().json();
    let audited = audit["events"].as_array().unwrap().iter().find(|event| event["id"] == told.id.as_str());
    assert_eq!(audited, Some(&told.data), "an event is what the audit shows");
    assert!(!told.data.to_string().contains("example.com"), "{told:?}");
    drop(listener);

    let grace = daemon.create_user("grace@example.com");
    let mut again = Listener::to_api(&daemon, "", &secret, &[("last-event-id", &told.id)]);
    assert_eq!(again.named("user.provisioned").data["user"], grace.as_str());
    let hopper = daemon.create_user("hopper@example.com");
    assert_eq!(again.named("user.provisioned").data["user"], hopper.as_str());
    // Another client pages through the audit first, and goes on here where it ended.
    let mut behind = Listener::to_api(&daemon, &format!("?after={}", told.id), &secret, &[]);
    assert_eq!(behind.named("user.provisioned").data["user"], grace.as_str());
}

#[rstest]
fn a_stream_is_narrowed_to_kinds_and_ends_when_it_was_asked_to(#[values(Store::Embedded, Store::Redis)] store: Store) {
    let daemon = Daemon::start(store, &[]);
    let (_, secret) = token(&daemon, "audit");
    // More than is read at once.
    for number in 0..60 {
        daemon.create_user(&format!("guest{number}@example.com"));
    }
    daemon.settle();
    let made = daemon.post("/Groups", &serde_json::json!({ "displayName": "Ushers" }));
    assert_eq!(made.status, 201, "{}", made.text());
    let all = |query: &str| {
        let mut listener = Listener::to_api(&daemon, query, &secret, &[]);
        let told: Vec<Event> = std::iter::from_fn(|| listener.event()).collect();
        assert!(listener.ended_in_order);
        told
    };
    let everything = all("?after=0-0&seconds=0");
    assert!(everything.len() > 100, "{}", everything.len());
    let in_order = everything.iter().map(|event| {
        let (millis, sequence) = event.id.split_once('-').unwrap();
        (millis.parse::<u64>().unwrap(), sequence.parse::<u64>().unwrap())
    });
    assert!(in_order.is_sorted_by(|one, next| one < next), "each once, in their order");
    let groups = all("?after=0-0&seconds=0&kind=group.");
    assert_eq!(groups.iter().map(|event| &*event.name).collect::<Vec<_>>(), ["group.created"]);
    let provisioned = all("?after=0-0&seconds=0&kind=group.,user.provisioned");
    assert_eq!(provisioned.len(), 61);
    assert!(all("?seconds=0").is_empty(), "nothing has happened since");
    // Who heard something of another store, whose clock was ahead, hears what happens from now on.
    assert!(all("?after=99999999999999-0&seconds=0").is_empty());
}

#[test]
fn what_cannot_be_is_refused_and_says_what_to_do() {
    let daemon = Daemon::start(Store::Embedded, &[]);
    let (_, secret) = token(&daemon, "audit");
    let (_, other) = token(&daemon, "users");
    let ask = |query: &str, secret: &str| -> Request {
        daemon.request("GET", &format!("/api/v1/events{query}")).bearer(secret)
    };
    api_error(&ask("", "usp_nonsense").send(), 401, "unauthorized");
    api_error(&ask("", &other).send(), 403, "missing_scope");
    api_error(&ask("?after=nonsense", &other).send(), 403, "missing_scope");
    for query in ["?after=yesterday", "?after=1-", "?after=-1-1", "?kind=Users", "?seconds=3601", "?seconds=-1", "?x=1"]
    {
        api_error(&ask(query, &secret).send(), 400, "invalid");
    }
    let refused = ask("", &secret).header("last-event-id", "the one before").send();
    api_error(&refused, 400, "invalid");
    assert!(refused.text().contains("Last-Event-ID"), "{}", refused.text());
}

#[rstest]
fn a_token_that_is_revoked_hears_nothing_more(#[values(Store::Embedded, Store::Redis)] store: Store) {
    let daemon = Daemon::start(store, &[]);
    let (id, secret) = token(&daemon, "audit");
    let mut listener = Listener::to_api(&daemon, "", &secret, &[]);
    daemon.create_user("ada@example.com");
    listener.named("user.provisioned");
    let revoked = daemon.cli(&["token", "revoke", "--account", "default", &id]);
    assert_eq!(revoked.code, 0, "{}", revoked.stderr);
    daemon.create_user("grace@example.com");
    let told: Vec<Event> = std::iter::from_fn(|| listener.event()).collect();
    // The mail to ada may have gone out before.
    assert!(told.iter().all(|event| event.name.starts_with("mail.")), "{told:?}");
    assert!(listener.ended_in_order);
    api_error(&daemon.request("GET", "/api/v1/events").bearer(&secret).send(), 401, "unauthorized");
}

#[test]
fn what_one_replica_does_is_told_by_the_other_and_so_is_the_end_of_a_token() {
    let daemon = Daemon::start(Store::Redis, &[]);
    let other = daemon.replica("other", &[]);
    let (id, secret) = token(&daemon, "audit");
    let mut listener = Listener::to_api(&other, "", &secret, &[]);
    let ada = daemon.create_user("ada@example.com");
    assert_eq!(listener.named("user.provisioned").data["user"], ada.as_str());
    let grace = other.create_user("grace@example.com");
    let told = listener.named("user.provisioned");
    assert_eq!(told.data["user"], grace.as_str());
    // Replicas number events alike, so one goes on where the other ended.
    let hopper = daemon.create_user("hopper@example.com");
    let mut here = Listener::to_api(&daemon, "", &secret, &[("last-event-id", &told.id)]);
    assert_eq!(here.named("user.provisioned").data["user"], hopper.as_str());
    let (_, revoker) = token(&daemon, "users,tokens,audit");
    let revoked = daemon.request("DELETE", &format!("/api/v1/tokens/{id}")).bearer(&revoker).send();
    assert_eq!(revoked.status, 200, "{}", revoked.text());
    here.wait_for_the_end();
    listener.wait_for_the_end();
}

#[test]
fn one_token_has_eight_streams_which_cost_the_store_no_more_than_one() {
    let daemon = Daemon::start(Store::Embedded, &[]);
    let (_, secret) = token(&daemon, "audit");
    let mut listeners: Vec<Listener> = (0..8).map(|_| Listener::to_api(&daemon, "", &secret, &[])).collect();
    let refused = daemon.request("GET", "/api/v1/events").bearer(&secret).send();
    api_error(&refused, 429, "too_many_streams");
    assert_eq!(refused.header("retry-after"), "10");
    assert!(daemon.ops("/metrics").text().contains("usherd_http_streams 8\n"));
    daemon.create_user("ada@example.com");
    for listener in &mut listeners {
        listener.named("mail.accepted");
    }
    let reads = || {
        let text = daemon.ops("/metrics").text();
        let line = "usherd_store_call_duration_seconds_count{call=\"events\",outcome=\"ok\"} ";
        text.lines().find_map(|sample| sample.strip_prefix(line)?.parse::<u64>().ok()).unwrap()
    };
    // Until there is a sign of life, after five seconds. One who looks does so once a second, and eight would do so
    // eight times.
    let (before, since) = (reads(), tokio::time::Instant::now());
    while !listeners[0].block().unwrap().starts_with(": here") {}
    let (looks, seconds) = (reads() - before, since.elapsed().as_secs());
    assert!(looks <= 3 + 2 * seconds, "{looks} looks in {seconds} s");
    listeners.pop();
    eventually(|| {
        let freed = daemon.request("GET", "/api/v1/events?seconds=0").bearer(&secret).send();
        (freed.status == 200).then_some(())
    });
}

#[test]
fn a_stream_goes_on_in_the_lead_time_of_a_shutdown_and_does_not_hold_it_up() {
    let mut daemon = Daemon::start(Store::Embedded, &[("USHERD_HTTP__DRAIN_LEAD", "10s")]);
    let (_, secret) = token(&daemon, "audit");
    let mut listener = Listener::to_api(&daemon, "", &secret, &[]);
    listener.block().unwrap();
    daemon.signal("-TERM");
    let ada = daemon.create_user("ada@example.com");
    assert_eq!(listener.named("user.provisioned").data["user"], ada.as_str());
    listener.wait_for_the_end();
    assert!(listener.ended_in_order, "a stream ends as an answer does, not as a broken connection");
    assert_eq!(daemon.ended(), 0);
    let logs = daemon.logs();
    assert!(!logs.contains("drain deadline") && !logs.contains("did not end in time"), "{logs}");
}

/// A stream of the console, as the script of a page opens it.
fn console(daemon: &Daemon, browser: &Browser<'_>, query: &str) -> Listener {
    let listener =
        Listener::open(daemon.port, &format!("/admin/default/live{query}"), &[("cookie", &browser.cookies())]);
    assert!(listener.head.starts_with("http/1.1 200"), "{}", listener.head);
    listener
}

#[rstest]
fn a_page_is_told_that_something_changed_until_its_admin_is_none(
    #[values(Store::Embedded, Store::Redis)] store: Store,
) {
    let daemon = Daemon::start(store, &[("USHERD_BOOTSTRAP__ADMIN_EMAIL", "boss@example.com")]);
    let mut browser = daemon.browser();
    assert_eq!(browser.open_and_accept(&daemon.admin_link(), "boss@example.com").status, 200);
    let page = browser.open("/admin/default/users").text();
    let as_of = page.split("data-after=\"").nth(1).unwrap().split('"').next().unwrap().to_owned();
    // Between the page and its stream.
    daemon.create_user("ada@example.com");
    let mut listener = console(&daemon, &browser, &format!("?after={as_of}"));
    let told = listener.event().unwrap();
    assert_eq!(told.name, "changed");
    assert!(told.data.is_u64(), "how much, and nothing of what: {told:?}");
    let second = console(&daemon, &browser, "");
    drop(second);
    let done = daemon.cli(&["admin", "grant", "--account", "default", "--user", "ada@example.com"]);
    assert_eq!(done.code, 0, "{}", done.stderr);
    let boss = daemon.get("/Users?filter=userName+eq+%22boss@example.com%22").json();
    let id = boss["Resources"][0]["id"].as_str().unwrap();
    let removed = daemon.scim("DELETE", &format!("/Users/{id}")).send();
    assert_eq!(removed.status, 204, "{}", removed.text());
    listener.wait_for_the_end();
    assert!(listener.ended_in_order);
    let cookies = browser.cookies();
    let again = Listener::open(daemon.port, "/admin/default/live", &[("cookie", &cookies)]);
    assert!(again.head.starts_with("http/1.1 303"), "{}", again.head);
}

#[test]
fn a_page_that_looks_for_news_by_itself_keeps_nobody_signed_in_and_no_word_from_them() {
    let daemon = Daemon::start(Store::Embedded, &[("USHERD_BOOTSTRAP__ADMIN_EMAIL", "boss@example.com")]);
    let mut browser = daemon.browser();
    assert_eq!(browser.open_and_accept(&daemon.admin_link(), "boss@example.com").status, 200);
    let csrf = form_token(&browser.open("/admin/default/jobs"));
    assert_eq!(browser.submit("/admin/default/jobs/retention", &[("csrf", &csrf)]).status, 303);
    let by_itself = daemon.request("GET", "/admin/default/jobs").header("usherd-live", "1");
    let page = browser.send(by_itself);
    assert_eq!(page.status, 200);
    assert!(!page.text().contains("The job runs now."), "{}", page.text());
    assert!(browser.open("/admin/default/jobs").text().contains("The job runs now."));
}
