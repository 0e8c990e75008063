//! Several daemons on one Redis do each thing once.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Barrier};
use std::thread;
use std::time::Instant;

use usherd::domain::time::Timestamp;
use usherd::domain::token::keyring::KeyRing;

use crate::daemon::client::Request;
use crate::daemon::{Daemon, Store, user};
use crate::redis_server::{PATIENCE, RedisServer, eventually, eventually_within};
use crate::smtp::{SmtpServer, header};

const TOKEN: &str = "a-token-of-twenty-characters-and-more";

/// A keys file for several replicas.
fn keys(directory: &Path) -> PathBuf {
    let path = directory.join("keys.toml");
    let now = Timestamp::parse("2026-11-23T09:30:00Z").unwrap();
    std::fs::write(&path, KeyRing::generate([7; 32], now).to_file()).unwrap();
    path
}

/// Three daemons with directories of their own, started at the same moment and ready.
fn three(redis: &Arc<RedisServer>, keys: &Path, overrides: &[(&str, &str)]) -> Vec<Daemon> {
    let mut overrides = overrides.to_vec();
    overrides.push(("USHERD_SECRETS__KEYS_FILE", keys.to_str().unwrap()));
    let mut daemons: Vec<_> = (0..3).map(|_| Daemon::prepare(Some(Arc::clone(redis)), &overrides)).collect();
    daemons.iter_mut().for_each(Daemon::run);
    for daemon in &mut daemons {
        if let Err(ended) = daemon.wait_until_ready() {
            panic!("a replica ended with {ended}:\n{}", daemon.stderr());
        }
    }
    daemons
}

#[test]
fn replicas_that_start_at_the_same_moment_make_one_account_with_one_token_and_one_admin() {
    let directory = tempfile::tempdir().unwrap();
    let keys = keys(directory.path());
    for _ in 0..4 {
        let (redis, relay) = (Arc::new(RedisServer::start()), SmtpServer::start(&[]));
        let daemons = three(
            &redis,
            &keys,
            &[
                ("USHERD_BOOTSTRAP__SCIM_TOKEN", TOKEN),
                ("USHERD_BOOTSTRAP__ADMIN_EMAIL", "ada@example.com"),
                ("USHERD_MAIL__URL", &relay.url("smtp", "")),
                ("USHERD_MAIL__FROM", "usherd <no-reply@usherd.example.org>"),
            ],
        );
        let accounts = daemons[0].cli(&["account", "list"]);
        assert_eq!((accounts.code, accounts.stdout.lines().count()), (0, 1), "{}", accounts.stdout);
        let tokens = daemons[1].cli(&["token", "list", "--account", "default"]);
        assert_eq!(tokens.stdout.lines().count(), 1, "{}", tokens.stdout);
        for daemon in &daemons {
            let reply = daemon.request("GET", "/scim/v2/Users").bearer(TOKEN).send();
            assert_eq!(reply.json()["totalResults"], 1, "{}", reply.text());
        }
        eventually(|| (!relay.messages().is_empty()).then_some(()));
        assert_eq!(relay.messages().len(), 1);
    }
}

#[test]
fn of_replicas_that_start_at_the_same_moment_one_prints_the_token() {
    let directory = tempfile::tempdir().unwrap();
    let redis = Arc::new(RedisServer::start());
    let daemons = three(&redis, &keys(directory.path()), &[]);
    let banners = daemons.iter().filter(|daemon| daemon.stdout().contains("usp_")).count();
    assert_eq!(banners, 1);
    let tokens = daemons[0].cli(&["token", "list", "--account", "default"]);
    assert_eq!(tokens.stdout.lines().count(), 1, "{}", tokens.stdout);
}

#[test]
fn a_replica_with_other_keys_refuses_to_start() {
    let first = Daemon::start(Store::Redis, &[]);
    let redis = format!("redis://127.0.0.1:{}", first.redis().port);
    let mut stranger = Daemon::prepare(None, &[("USHERD_STORE__URL", &redis)]);
    stranger.run();
    assert_eq!(stranger.ended(), 1);
    let words = stranger.stderr();
    assert!(words.contains("signing keys") && words.contains("secrets.keys_file"), "{words}");
    assert_eq!(first.get("/Users").status, 200);
}

#[test]
fn each_mail_each_expiry_and_each_renewal_happens_once() {
    let (redis, relay) = (Arc::new(RedisServer::start()), SmtpServer::start(&[]));
    let directory = tempfile::tempdir().unwrap();
    let daemons = three(
        &redis,
        &keys(directory.path()),
        &[
            ("USHERD_BOOTSTRAP__SCIM_TOKEN", TOKEN),
            ("USHERD_BOOTSTRAP__ADMIN_EMAIL", "ada@example.com"),
            ("USHERD_MAIL__URL", &relay.url("smtp", "")),
            ("USHERD_MAIL__FROM", "usherd <no-reply@usherd.example.org>"),
            ("USHERD_MAIL__RATE", "off"),
            ("USHERD_INVITATIONS__TTL", "15s"),
            ("USHERD_INVITATIONS__MAX_RENEWALS", "2"),
            ("USHERD_JOBS__EXPIRE", "* * * * * *"),
            ("USHERD_JOBS__RENEW", "* * * * * *"),
        ],
    );
    const PEOPLE: usize = 30;
    for number in 0..PEOPLE {
        let daemon = &daemons[number % daemons.len()];
        let body = user(&format!("person-{number}@example.com"));
        assert_eq!(daemon.request("POST", "/scim/v2/Users").bearer(TOKEN).json(&body).send().status, 201);
    }
    // The admin is invited and renewed like everybody else.
    let people = PEOPLE + 1;
    let is_over = || (expired(&daemons[0]) == people && relay.messages().len() >= 3 * people).then_some(());
    eventually_within(PATIENCE * 3, is_over);
    let mut copies: BTreeMap<(String, String), usize> = BTreeMap::new();
    for record in relay.messages() {
        let to = record["to"][0].as_str().unwrap().to_owned();
        *copies.entry((to, header(&record["message"], "Message-ID")[0].to_owned())).or_default() += 1;
    }
    assert!(copies.values().all(|count| *count == 1), "sent twice: {copies:?}");
    assert_eq!(copies.len(), 3 * people, "one mail for each of three generations");
    for (event, wanted) in [("user.invitation_expired", 3 * people), ("user.invitation_renewed", 2 * people)] {
        let counts = || daemons.iter().map(|daemon| transitions(daemon, event)).collect::<Vec<usize>>();
        // A replica counts what it has written as soon as it hears that it is.
        eventually(|| (counts().iter().sum::<usize>() >= wanted).then_some(()));
        println!("{event}: {:?}", counts());
        assert_eq!(counts().iter().sum::<usize>(), wanted, "{event}");
    }
}

#[test]
fn what_a_replica_that_fell_asleep_had_claimed_is_done_by_another_and_not_again_when_it_wakes() {
    let (redis, relay) = (Arc::new(RedisServer::start()), SmtpServer::start(&[]));
    let directory = tempfile::tempdir().unwrap();
    let daemons = three(
        &redis,
        &keys(directory.path()),
        &[
            ("USHERD_BOOTSTRAP__SCIM_TOKEN", TOKEN),
            ("USHERD_BOOTSTRAP__ADMIN_EMAIL", "ada@example.com"),
            ("USHERD_MAIL__URL", &relay.url("smtp", "")),
            ("USHERD_MAIL__FROM", "usherd <no-reply@usherd.example.org>"),
            ("USHERD_MAIL__RATE", "off"),
            // A claim lasts two of these and 15 s.
            ("USHERD_MAIL__TIMEOUT", "5s"),
            ("USHERD_INVITATIONS__MAX_RENEWALS", "0"),
        ],
    );
    let sleeper = &daemons[0];
    let mut people = 1;
    // Until it falls asleep with mails in its hands.
    let claimed = || redis.ask("HLEN usherd:{default}:claims").trim_start_matches(':').trim().parse::<usize>().unwrap();
    let asleep = loop {
        let body = user(&format!("person-{people}@example.com"));
        assert_eq!(sleeper.request("POST", "/scim/v2/Users").bearer(TOKEN).json(&body).send().status, 201);
        people += 1;
        sleeper.signal("-STOP");
        if claimed() > 0 {
            break Instant::now();
        }
        sleeper.signal("-CONT");
        assert!(people < 500, "it never holds a claim");
    };
    let done = |people: usize| {
        let reached: BTreeSet<String> =
            relay.messages().iter().map(|record| record["to"][0].as_str().unwrap().to_owned()).collect();
        (reached.len() == people && claimed() == 0).then_some(())
    };
    // When the claims have ended, and a letter may have been deferred once besides.
    eventually_within(PATIENCE * 3, || done(people));
    println!("{people} people, all reached {:?} after it fell asleep", asleep.elapsed());
    sleeper.signal("-CONT");
    // It answers, and has had its turn with whatever it held.
    eventually(|| (sleeper.ops("/readyz").status == 200).then_some(()));
    let body = user("late@example.com");
    assert_eq!(sleeper.request("POST", "/scim/v2/Users").bearer(TOKEN).json(&body).send().status, 201);
    people += 1;
    eventually(|| done(people));
    let mut mails: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for record in relay.messages() {
        let to = record["to"][0].as_str().unwrap().to_owned();
        mails.entry(to).or_default().insert(header(&record["message"], "Message-ID")[0].to_owned());
    }
    assert!(mails.values().all(|ids| ids.len() == 1), "{mails:?}");
    let copies = relay.messages().len();
    assert!(copies <= people + 8, "{copies} copies for {people} people");
}

/// How many people are Pending with an expired invitation and nothing left to renew it.
fn expired(daemon: &Daemon) -> usize {
    let listed = daemon.request("GET", "/scim/v2/Users?count=200").bearer(TOKEN).send().json();
    let people = listed["Resources"].as_array().unwrap().iter();
    people.filter(|person| person[crate::daemon::USHERD]["statusReason"] == "expired").count()
}

fn transitions(daemon: &Daemon, event: &str) -> usize {
    let metrics = daemon.ops("/metrics").text();
    let line = metrics.lines().find(|line| line.contains(&format!("event=\"{event}\"")));
    line.and_then(|line| line.rsplit(' ').next()).map_or(0, |count| count.parse().unwrap())
}

#[test]
fn of_parallel_creates_of_one_user_name_exactly_one_succeeds() {
    let directory = tempfile::tempdir().unwrap();
    let redis = Arc::new(RedisServer::start());
    let daemons = three(
        &redis,
        &keys(directory.path()),
        &[("USHERD_BOOTSTRAP__SCIM_TOKEN", TOKEN), ("USHERD_BOOTSTRAP__ADMIN_EMAIL", "ada@example.com")],
    );
    for round in 0..20 {
        let barrier = Arc::new(Barrier::new(6));
        let creating: Vec<_> = (0..6)
            .map(|client| {
                let (port, barrier) = (daemons[client % 3].port, Arc::clone(&barrier));
                thread::spawn(move || {
                    let body = user(&format!("Twin-{round}@example.com"));
                    barrier.wait();
                    Request::new(port, "POST", "/scim/v2/Users").bearer(TOKEN).json(&body).send().status
                })
            })
            .collect();
        let mut statuses: Vec<u16> = creating.into_iter().map(|client| client.join().unwrap()).collect();
        statuses.sort_unstable();
        assert_eq!(statuses, [201, 409, 409, 409, 409, 409]);
    }
    let listed = daemons[0].request("GET", "/scim/v2/Users?count=0").bearer(TOKEN).send().json();
    assert_eq!(listed["totalResults"], 21);
}
