//! The end in order and the end at once. A test waits a minute for an end, and what would hold it up takes longer.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use rstest::rstest;

use crate::daemon::client::Request;
use crate::daemon::{Daemon, Store, user};
use crate::redis_server::{PATIENCE, RedisServer, eventually};

/// A request whose head was read and whose body is waited for.
struct HalfSent {
    stream: TcpStream,
    rest: Vec<u8>,
}

impl HalfSent {
    fn create(daemon: &Daemon, address: &str) -> Self {
        let body = user(address).to_string().into_bytes();
        let (first, rest) = body.split_at(body.len() / 2);
        let mut stream = TcpStream::connect(("127.0.0.1", daemon.port)).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let head = format!(
            "POST /scim/v2/Users HTTP/1.1\r\nHost: 127.0.0.1:{}\r\nAuthorization: Bearer {}\r\n\
             Content-Type: application/scim+json\r\nContent-Length: {}\r\nExpect: 100-continue\r\n\r\n",
            daemon.port,
            daemon.token(),
            body.len()
        );
        stream.write_all(head.as_bytes()).unwrap();
        let mut asked_for_more = [0; b"HTTP/1.1 100 Continue\r\n\r\n".len()];
        stream.read_exact(&mut asked_for_more).unwrap();
        assert_eq!(&asked_for_more, b"HTTP/1.1 100 Continue\r\n\r\n");
        stream.write_all(first).unwrap();
        HalfSent { stream, rest: rest.to_vec() }
    }

    /// Sends the rest; the status line.
    fn finish(mut self) -> String {
        self.stream.write_all(&self.rest).unwrap();
        let mut answer = String::new();
        self.stream.read_to_string(&mut answer).unwrap();
        answer.lines().next().unwrap_or_default().to_owned()
    }
}

/// What an end in order never waits for, in these tests: only requests that are still running.
const DEADLINE: (&str, &str) = ("USHERD_HTTP__DRAIN_DEADLINE", "5m");
/// And those are waited for as long.
const REQUESTS: (&str, &str) = ("USHERD_HTTP__REQUEST_DEADLINE", "5m");

#[rstest]
fn a_signal_under_load_fails_no_request(#[values(Store::Embedded, Store::Redis)] store: Store) {
    let lead = Duration::from_secs(10);
    let mut daemon =
        Daemon::start(store, &[("USHERD_HTTP__DRAIN_LEAD", "10s"), ("USHERD_LIMITS__SCIM", "off"), DEADLINE, REQUESTS]);
    let (drained, answered) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let clients: Vec<_> = (0..6)
        .map(|client| {
            let (port, token) = (daemon.port, daemon.token().to_owned());
            let (drained, answered) = (Arc::clone(&drained), Arc::clone(&answered));
            thread::spawn(move || {
                let mut statuses = Vec::new();
                while !drained.load(Ordering::Relaxed) {
                    let body = user(&format!("person-{client}-{}@example.com", statuses.len()));
                    let request = Request::new(port, "POST", "/scim/v2/Users").bearer(&token).json(&body);
                    statuses.push(request.try_send().map(|reply| reply.status));
                    answered.fetch_add(1, Ordering::Relaxed);
                }
                statuses
            })
        })
        .collect();
    // So many more are answered from now on.
    let wait_for = |more: usize| {
        let enough = answered.load(Ordering::Relaxed) + more;
        eventually(|| (answered.load(Ordering::Relaxed) >= enough).then_some(()));
    };
    let slow = HalfSent::create(&daemon, "slow@example.com");
    wait_for(20);
    let told = Instant::now();
    daemon.signal("-TERM");
    // Readiness turns first; a load balancer then takes its time to notice.
    let verdict = eventually(|| Some(daemon.ops("/readyz")).filter(|reply| reply.status == 503));
    let unready_after = told.elapsed();
    assert!(verdict.text().contains("draining"), "{}", verdict.text());
    wait_for(20);
    drained.store(true, Ordering::Relaxed);
    let mut created = 0;
    for client in clients {
        for status in client.join().unwrap() {
            assert_eq!(status, Some(201), "a request failed while draining");
            created += 1;
        }
    }
    // The listener closes after the lead, and what is in flight is still finished.
    eventually(|| TcpStream::connect(("127.0.0.1", daemon.port)).is_err().then_some(()));
    let closed_after = told.elapsed();
    assert!(closed_after >= lead, "the lead was cut short: {closed_after:?}");
    assert_eq!(slow.finish(), "HTTP/1.1 201 Created");
    assert_eq!(daemon.ended(), 0, "{}", daemon.stderr());
    println!(
        "{created} requests, unready after {unready_after:?}, closed after {closed_after:?}, ended after {:?}",
        told.elapsed()
    );

    daemon.restart();
    assert_eq!(daemon.get("/Users?count=0").json()["totalResults"], created + 2);
}

#[rstest]
fn a_second_signal_ends_at_once(#[values(Store::Embedded, Store::Redis)] store: Store) {
    let mut daemon = Daemon::start(store, &[DEADLINE, REQUESTS]);
    let _held = HalfSent::create(&daemon, "slow@example.com");
    daemon.signal("-TERM");
    eventually(|| daemon.stderr().contains("draining").then_some(()));
    let told = Instant::now();
    daemon.signal("-TERM");
    assert_eq!(daemon.ended(), 0, "{}", daemon.stderr());
    println!("ended {:?} after the second signal", told.elapsed());
}

#[test]
fn a_client_that_never_finishes_holds_the_end_up_until_the_deadline_only() {
    let mut daemon = Daemon::start(Store::Embedded, &[("USHERD_HTTP__DRAIN_DEADLINE", "1s"), REQUESTS]);
    let _held = HalfSent::create(&daemon, "slow@example.com");
    let told = Instant::now();
    assert_eq!(daemon.stop(), 0, "{}", daemon.stderr());
    assert!(told.elapsed() >= Duration::from_secs(1), "{:?}", told.elapsed());
}

#[rstest]
fn an_idle_daemon_starts_and_ends_at_once(#[values(Store::Embedded, Store::Redis)] store: Store) {
    let first = Instant::now();
    let mut daemon = Daemon::start(store, &[DEADLINE]);
    let first = first.elapsed();
    let told = Instant::now();
    assert_eq!(daemon.stop(), 0, "{}", daemon.stderr());
    let ended = told.elapsed();
    let again = Instant::now();
    daemon.restart();
    let again = again.elapsed();
    daemon.create_user("ada@example.com");
    daemon.kill9();
    let repaired = Instant::now();
    daemon.restart();
    println!(
        "{store:?}: first start to ready {first:?}, second {again:?}, after kill -9 {:?}; idle end {ended:?}",
        repaired.elapsed()
    );
}

#[test]
fn a_daemon_that_waits_for_its_store_ends_in_order() {
    let mut redis = RedisServer::start();
    redis.kill();
    let mut daemon = Daemon::prepare(Some(Arc::new(redis)), &[]);
    daemon.run();
    eventually(|| Request::new(daemon.ops_port, "GET", "/livez").try_send());
    assert_eq!(daemon.stop(), 0, "{}", daemon.stderr());
}

#[test]
fn mails_on_their_way_are_finished_and_the_others_given_back() {
    let relay = crate::smtp::SmtpServer::start(&[]);
    let mut daemon = Daemon::start(
        Store::Redis,
        &[
            ("USHERD_MAIL__URL", &relay.url("smtp", "")),
            ("USHERD_MAIL__FROM", "usherd <no-reply@usherd.example.org>"),
            ("USHERD_MAIL__TIMEOUT", "1s"),
        ],
    );
    for number in 0..20 {
        daemon.create_user(&format!("stall@n{number}.example.org"));
    }
    assert_eq!(daemon.stop(), 0, "{}", daemon.stderr());
    assert_eq!(daemon.redis().ask("HLEN usherd:{default}:claims"), ":0\r\n", "a claim was left behind");
}
