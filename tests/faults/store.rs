//! A Redis that is absent, silent, read-only, full, emptied, or not to be trusted.

use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::daemon::client::{Reply, Request};
use crate::daemon::{Daemon, Store, user};
use crate::redis_server::{RedisServer, eventually};

/// What a client reads while the store is away: a SCIM error, and when to come back.
fn assert_unavailable(reply: &Reply) {
    assert_eq!(reply.status, 503, "{}", reply.text());
    assert!(reply.header("retry-after").parse::<u32>().is_ok(), "no Retry-After");
    assert_eq!(reply.header("content-type"), "application/scim+json");
    let body = reply.json();
    assert_eq!(body["schemas"][0], "urn:ietf:params:scim:api:messages:2.0:Error");
    assert_eq!(body["status"], "503");
}

/// Waits until `/readyz` is 503 for a reason with these words in it.
fn unready(daemon: &Daemon, words: &[&str]) {
    eventually(|| {
        let reply = daemon.ops("/readyz");
        let reason = reply.json()["reason"].as_str().map(str::to_owned).filter(|_| reply.status == 503)?;
        words.iter().all(|word| reason.contains(word)).then_some(())
    });
}

fn ready_again(daemon: &Daemon) {
    eventually(|| (daemon.ops("/readyz").status == 200).then_some(()));
}

#[test]
fn a_redis_that_is_absent_at_the_start_is_waited_for() {
    let mut redis = RedisServer::start();
    redis.kill();
    let mut daemon = Daemon::prepare(Some(Arc::new(redis)), &[]);
    daemon.run();
    let live = eventually(|| Request::new(daemon.ops_port, "GET", "/livez").try_send());
    assert_eq!(live.status, 200);
    unready(&daemon, &["there is no Redis at"]);
    assert_eq!(daemon.ops("/startupz").status, 503);
    assert_unavailable(&daemon.request("GET", "/scim/v2/Users").bearer("whatever").send());
    assert_eq!(daemon.ops("/livez").status, 200);

    daemon.redis_mut().restart();
    let back = Instant::now();
    assert!(daemon.wait_until_ready().is_ok(), "{}", daemon.stderr());
    println!("ready {:?} after Redis", back.elapsed());
    assert!(daemon.stdout().contains("usp_"), "the first start went on where it had stopped");
}

#[test]
fn a_redis_that_falls_silent_costs_each_request_no_more_than_its_deadline() {
    let daemon = Daemon::start(
        Store::Redis,
        &[("USHERD_STORE__DEADLINE", "5s"), ("USHERD_HTTP__REQUEST_DEADLINE", "10s"), ("USHERD_LIMITS__SCIM", "off")],
    );
    daemon.create_user("before@example.com");
    daemon.redis().signal("-STOP");
    let (port, token) = (daemon.port, daemon.token().to_owned());
    let asking: Vec<_> = (0..16)
        .map(|number| {
            let token = token.clone();
            thread::spawn(move || {
                let started = Instant::now();
                let reply = if number % 2 == 0 {
                    Request::new(port, "GET", "/scim/v2/Users").bearer(&token).send()
                } else {
                    let body = user(&format!("during-{number}@example.com"));
                    Request::new(port, "POST", "/scim/v2/Users").bearer(&token).json(&body).send()
                };
                (reply, started.elapsed())
            })
        })
        .collect();
    let mut slowest = Duration::ZERO;
    for asked in asking {
        let (reply, took) = asked.join().unwrap();
        assert_unavailable(&reply);
        slowest = slowest.max(took);
    }
    // The Redis never answers, and the machine has other things to do.
    assert!(slowest < Duration::from_secs(30), "{slowest:?}");
    unready(&daemon, &["did not answer"]);
    assert_eq!(daemon.ops("/livez").status, 200);

    daemon.redis().signal("-CONT");
    let back = Instant::now();
    eventually(|| (daemon.get("/Users").status == 200).then_some(()));
    println!("slowest answer {slowest:?}, first 200 {:?} after Redis went on", back.elapsed());
    // What nobody was told of was done or not; asked again, it is there once.
    for number in (1..16).step_by(2) {
        let person = user(&format!("during-{number}@example.com"));
        let status = eventually(|| Some(daemon.post("/Users", &person).status).filter(|status| *status != 503));
        assert!(status == 201 || status == 409, "{status}");
    }
    assert_eq!(daemon.get("/Users").json()["totalResults"], 1 + 1 + 8);
    ready_again(&daemon);
}

#[test]
fn a_redis_that_became_a_replica_is_read_from_by_nobody_until_it_is_a_primary_again() {
    let daemon = Daemon::start(Store::Redis, &[]);
    daemon.create_user("before@example.com");
    let other = RedisServer::with(&["--replicaof", "127.0.0.1", &daemon.redis().port.to_string()]);
    eventually(|| other.ask("INFO replication").contains("master_link_status:up").then_some(()));
    other.ask("REPLICAOF NO ONE");
    daemon.redis().ask(&format!("REPLICAOF 127.0.0.1 {}", other.port));
    unready(&daemon, &["read-only replica"]);
    assert_unavailable(&daemon.post("/Users", &user("during@example.com")));
    daemon.redis().ask("REPLICAOF NO ONE");
    ready_again(&daemon);
    daemon.create_user("during@example.com");
}

#[test]
fn a_full_redis_refuses_writes_whole_and_answers_reads() {
    let daemon = Daemon::start(Store::Redis, &[]);
    let id = daemon.create_user("before@example.com");
    daemon.mail("before@example.com", 1);
    eventually(|| (daemon.redis().ask("HLEN usherd:{default}:claims") == ":0\r\n").then_some(()));
    daemon.redis().ask("CONFIG SET maxmemory 1mb");
    let keys = daemon.redis().ask("DBSIZE");
    for _ in 0..5 {
        assert_unavailable(&daemon.post("/Users", &user("during@example.com")));
        let removed = daemon.delete(&format!("/Users/{id}"));
        assert_unavailable(&removed);
    }
    assert_eq!(daemon.status(&id), "Pending");
    assert_eq!(daemon.redis().ask("DBSIZE"), keys, "something was half-written");
    unready(&daemon, &["maxmemory"]);
    assert_eq!(daemon.get("/Users").json()["totalResults"], 2, "reads go on");

    daemon.redis().ask("CONFIG SET maxmemory 0");
    ready_again(&daemon);
    daemon.create_user("during@example.com");
    daemon.mail("during@example.com", 1);
    assert_eq!(daemon.get("/Users").json()["totalResults"], 3);
}

#[test]
fn a_redis_that_is_emptied_under_the_daemon_is_not_written() {
    let daemon = Daemon::start(Store::Redis, &[]);
    daemon.create_user("before@example.com");
    daemon.redis().ask("FLUSHALL");
    unready(&daemon, &["no installation marker", "usherd init"]);
    assert_unavailable(&daemon.post("/Users", &user("during@example.com")));
    assert_unavailable(&daemon.get("/Users"));
    let keys = daemon.redis().ask("KEYS *");
    assert_eq!(keys, "*0\r\n", "nothing was written to the empty store");
}

#[test]
fn an_empty_redis_is_not_bootstrapped_where_an_installation_is_configured() {
    let redis = Arc::new(RedisServer::start());
    let mut daemon = Daemon::prepare(Some(redis), &[("USHERD_STORE__INSTALLATION", "production-1")]);
    daemon.run();
    eventually(|| Request::new(daemon.ops_port, "GET", "/livez").try_send());
    unready(&daemon, &["production-1", "usherd init"]);
    assert_eq!(daemon.redis().ask("DBSIZE"), ":0\r\n");
    let marked = daemon.cli(&["init"]);
    assert_eq!(marked.code, 0, "{}", marked.stderr);
    assert!(daemon.wait_until_ready().is_ok(), "{}", daemon.stderr());

    assert_eq!(daemon.stop(), 0);
    daemon.set("USHERD_STORE__INSTALLATION", "production-2");
    let keys = daemon.redis().ask("DBSIZE");
    daemon.run();
    eventually(|| Request::new(daemon.ops_port, "GET", "/livez").try_send());
    unready(&daemon, &["production-1", "production-2"]);
    assert_unavailable(&daemon.request("GET", "/scim/v2/Users").bearer("whatever").send());
    assert_eq!(daemon.redis().ask("DBSIZE"), keys);
}

#[test]
fn a_redis_that_may_evict_keys_is_refused_with_what_to_do() {
    let redis = Arc::new(RedisServer::with(&["--maxmemory-policy", "allkeys-lru"]));
    let mut daemon = Daemon::prepare(Some(redis), &[]);
    daemon.run();
    assert_eq!(daemon.ended(), 1);
    let words = daemon.stderr();
    assert!(words.contains("allkeys-lru") && words.contains("CONFIG SET maxmemory-policy noeviction"), "{words}");
}

#[test]
fn forgotten_scripts_are_loaded_again() {
    let daemon = Daemon::start(Store::Redis, &[]);
    for number in 0..3 {
        assert_eq!(daemon.redis().ask("SCRIPT FLUSH"), "+OK\r\n");
        let address = format!("person-{number}@example.com");
        daemon.create_user(&address);
        daemon.mail(&address, 1);
    }
}

#[test]
fn a_redis_that_lost_its_volume_is_not_filled_anew() {
    let mut daemon = Daemon::start(Store::Redis, &[]);
    daemon.create_user("before@example.com");
    daemon.redis_mut().kill();
    daemon.redis_mut().lose_volume();
    daemon.redis_mut().restart();
    unready(&daemon, &["marker", "its data was lost"]);
    let reply = daemon.get("/Users");
    assert_unavailable(&reply);
    assert_ne!(reply.json(), Value::Null);
    assert_eq!(daemon.redis().ask("DBSIZE"), ":0\r\n");
}
