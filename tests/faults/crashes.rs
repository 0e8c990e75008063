//! Kill -9 at any moment loses nothing that was acknowledged, and mails nobody twice in two ways.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::daemon::client::Request;
use crate::daemon::{Daemon, Store, mails, patch, user};
use crate::random::Random;
use crate::smtp::{SmtpServer, header};

const CLIENTS: usize = 4;
/// Short, since a claim outlives its claimant by two of these and 15 s.
const MAIL_TIMEOUT: &str = "3s";

fn is_long() -> bool {
    std::env::var_os("USHERD_TEST_LONG").is_some()
}

fn cycles() -> u32 {
    if is_long() { 300 } else { 25 }
}

/// That lease, and a first back-off of mails that met a relay which was busy for longer than the timeout; among very
/// many mails, a second one.
fn mail_patience() -> Duration {
    Duration::from_secs(if is_long() { 600 } else { 300 })
}

#[test]
fn killing_the_daemon_on_the_embedded_store_loses_nothing() {
    survives(Store::Embedded, None, &[Victim::Daemon]);
}

#[test]
fn killing_the_daemon_on_redis_loses_nothing_and_repeats_a_mail_only_as_the_same_one() {
    survives(Store::Redis, Some(SmtpServer::start(&[])), &[Victim::Daemon]);
}

#[test]
fn killing_redis_and_the_daemon_in_turns_loses_nothing() {
    survives(Store::Redis, Some(SmtpServer::start(&[])), &[Victim::Redis, Victim::Daemon, Victim::Redis]);
}

#[derive(Clone, Copy)]
enum Victim {
    Daemon,
    Redis,
}

/// What a client knows of one user that it wanted.
#[derive(Debug, Default)]
struct Wanted {
    address: String,
    /// Acknowledged with this id.
    id: Option<String>,
    /// The last acknowledged displayName, and those that were tried since and not refused.
    name: Option<String>,
    maybe: BTreeSet<String>,
}

/// How often something was asked, and how often nobody said whether it was done.
#[derive(Debug, Default, Clone, Copy)]
struct Asked {
    total: usize,
    unknown: usize,
}

fn survives(store: Store, relay: Option<SmtpServer>, victims: &[Victim]) {
    let url = relay.as_ref().map_or(String::new(), |relay| relay.url("smtp", ""));
    let mut daemon = Daemon::start(
        store,
        &[
            ("USHERD_MAIL__URL", &url),
            ("USHERD_MAIL__FROM", "usherd <no-reply@usherd.example.org>"),
            ("USHERD_MAIL__TIMEOUT", MAIL_TIMEOUT),
            ("USHERD_MAIL__RATE", "off"),
            ("USHERD_LIMITS__SCIM", "off"),
            ("USHERD_LIMITS__IP", "off"),
            ("USHERD_PROVISIONING__HOLD_ABOVE", "off"),
            ("USHERD_PROVISIONING__BRAKE__ENABLED", "false"),
        ],
    );
    let mut random = Random::seeded();
    let stop = Arc::new(AtomicBool::new(false));
    let clients: Vec<_> = (0..CLIENTS).map(|number| client(number, &daemon, &stop)).collect();
    let mut ready_after = Vec::new();
    for victim in victims.iter().cycle().take(cycles() as usize) {
        thread::sleep(Duration::from_millis(50 + random.below(500)));
        let killed = Instant::now();
        match victim {
            Victim::Daemon => {
                daemon.kill9();
                daemon.restart();
            }
            Victim::Redis => {
                daemon.redis_mut().kill();
                daemon.redis_mut().restart();
            }
        }
        ready_after.push(killed.elapsed());
    }
    // Everybody gets their last answers from a daemon that lives.
    stop.store(true, Ordering::Relaxed);
    let (mut wanted, mut asked) = (Vec::new(), Asked::default());
    for client in clients {
        let (users, counts) = client.join().unwrap();
        wanted.extend(users);
        asked = Asked { total: asked.total + counts.total, unknown: asked.unknown + counts.unknown };
    }
    ready_after.sort();
    println!(
        "{} kills, {} users, {} of {} requests without an answer; back after {:?} (median), {:?} (longest)",
        ready_after.len(),
        wanted.len(),
        asked.unknown,
        asked.total,
        ready_after[ready_after.len() / 2],
        ready_after[ready_after.len() - 1],
    );
    assert!(wanted.len() > CLIENTS * 5, "hardly anything happened");

    let mut found = all_users(&daemon);
    // The first admin has a printed link and no mail.
    found.remove("admin");
    check_users(&wanted, &found);
    let outbox = Outbox { relay, files: daemon.data().join("mail") };
    check_mails(&found, &outbox);
    daemon.assert_consistent("default");
}

/// Creates users one after the other and renames each twice, repeating what got no answer, as identity providers do.
fn client(number: usize, daemon: &Daemon, stop: &Arc<AtomicBool>) -> JoinHandle<(Vec<Wanted>, Asked)> {
    let (port, token, stop) = (daemon.port, daemon.token().to_owned(), Arc::clone(stop));
    thread::spawn(move || {
        let mut asked = Asked::default();
        let mut send = |method: &str, path: &str, body: &Value| {
            let request = Request::new(port, method, &format!("/scim/v2{path}")).bearer(&token).json(body);
            let reply = request.try_send().filter(|reply| reply.status < 500);
            asked.total += 1;
            asked.unknown += usize::from(reply.is_none());
            reply
        };
        let mut users = Vec::new();
        for turn in 0.. {
            if stop.load(Ordering::Relaxed) {
                break;
            }
            let mut wanted = Wanted { address: format!("person-{number}-{turn}@example.com"), ..Wanted::default() };
            let reply = until_answered(|| send("POST", "/Users", &user(&wanted.address)));
            match reply.status {
                201 => wanted.id = Some(reply.json()["id"].as_str().unwrap().to_owned()),
                // An attempt before, whose answer was lost, has made it.
                409 => {
                    let path = format!("/Users?filter=userName+eq+%22{}%22", wanted.address);
                    let listed = until_answered(|| send("GET", &path, &Value::Null)).json();
                    wanted.id = Some(listed["Resources"][0]["id"].as_str().expect("it exists").to_owned());
                }
                status => panic!("{status}: {}", reply.text()),
            }
            let path = format!("/Users/{}", wanted.id.as_ref().unwrap());
            for name in ["first", "second"] {
                let renamed = patch(json!([{ "op": "replace", "path": "displayName", "value": name }]));
                wanted.maybe.insert(name.to_owned());
                if let Some(reply) = send("PATCH", &path, &renamed) {
                    assert_eq!(reply.status, 200, "{}", reply.text());
                    wanted.name = Some(name.to_owned());
                    wanted.maybe.clear();
                }
            }
            users.push(wanted);
            thread::sleep(Duration::from_millis(10));
        }
        (users, asked)
    })
}

fn until_answered<T>(mut ask: impl FnMut() -> Option<T>) -> T {
    let started = Instant::now();
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(started.elapsed() < Duration::from_secs(30), "no answer for half a minute");
        thread::sleep(Duration::from_millis(100));
    }
}

/// By userName.
fn all_users(daemon: &Daemon) -> BTreeMap<String, Value> {
    let mut found = BTreeMap::new();
    loop {
        let page = daemon.get(&format!("/Users?count=500&startIndex={}", found.len() + 1)).json();
        let resources = page["Resources"].as_array().cloned().unwrap_or_default();
        for resource in &resources {
            let name = resource["userName"].as_str().unwrap().to_owned();
            assert!(found.insert(name.clone(), resource.clone()).is_none(), "{name} is there twice");
        }
        if resources.is_empty() {
            assert_eq!(page["totalResults"], found.len());
            return found;
        }
    }
}

fn check_users(wanted: &[Wanted], found: &BTreeMap<String, Value>) {
    for wanted in wanted {
        let user =
            found.get(&wanted.address).unwrap_or_else(|| panic!("{} was acknowledged and is lost", wanted.address));
        assert_eq!(user["id"].as_str(), wanted.id.as_deref(), "{}", wanted.address);
        let name = user["displayName"].as_str();
        let known = name == wanted.name.as_deref() || name.is_some_and(|name| wanted.maybe.contains(name));
        assert!(known, "{}: {name:?} instead of {:?} or one of {:?}", wanted.address, wanted.name, wanted.maybe);
    }
    let asked_for: BTreeSet<&str> = wanted.iter().map(|wanted| wanted.address.as_str()).collect();
    for name in found.keys() {
        assert!(asked_for.contains(name.as_str()), "nobody asked for {name}");
    }
}

/// Where the mails went.
struct Outbox {
    relay: Option<SmtpServer>,
    files: PathBuf,
}

impl Outbox {
    /// Recipient, Message-ID and link of every copy.
    fn copies(&self) -> Vec<(String, String, String)> {
        let Some(relay) = &self.relay else {
            let mails = mails::read_all(&self.files).into_iter();
            return mails.map(|mail| (mail.to.clone(), mail.message_id.clone(), mail.link())).collect();
        };
        let messages = relay.messages().into_iter();
        messages
            .map(|record| {
                let message = &record["message"];
                let to = record["to"][0].as_str().unwrap().to_owned();
                let link = mails::link_in(message["text"].as_str().unwrap()).unwrap();
                (to, header(message, "Message-ID")[0].to_owned(), link)
            })
            .collect()
    }
}

/// Each user who exists has got exactly one mail, perhaps in several copies; nobody else got any.
fn check_mails(found: &BTreeMap<String, Value>, outbox: &Outbox) {
    let started = Instant::now();
    let copies = loop {
        let copies = outbox.copies();
        let reached: BTreeSet<&str> = copies.iter().map(|(to, _, _)| to.as_str()).collect();
        let missing: Vec<&String> = found.keys().filter(|name| !reached.contains(name.as_str())).collect();
        if missing.is_empty() {
            break copies;
        }
        assert!(started.elapsed() < mail_patience(), "no mail for {missing:?}");
        thread::sleep(Duration::from_millis(200));
    };
    let mut mails: BTreeMap<&str, BTreeSet<(&str, &str)>> = BTreeMap::new();
    for (to, id, link) in &copies {
        assert!(found.contains_key(to), "a mail went to {to}, who does not exist");
        mails.entry(to).or_default().insert((id, link));
    }
    for (to, mails) in &mails {
        assert_eq!(mails.len(), 1, "{to} got different mails: {mails:?}");
    }
    println!("{} mails in {} copies, the last {:?} after the last crash", mails.len(), copies.len(), started.elapsed());
}
