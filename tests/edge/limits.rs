//! Slow and numerous connections.

use std::time::Duration;

use tokio::io::AsyncReadExt as _;
use usherd::http::serve::ServeSettings;

use crate::support::{Server, get_path, soon};

#[tokio::test]
async fn a_half_sent_header_is_cut_off_while_others_are_served() {
    let settings = ServeSettings { header_timeout: Duration::from_secs(5), ..ServeSettings::default() };
    let server = Server::start(settings).await;
    let mut slow = server.connect().await;
    slow.send("GET /hello HTTP/1.1\r\nHost: people").await;
    let mut silent = server.connect().await;
    assert!(server.ask(&get_path("/hello")).await.ends_with("hello"));
    assert_eq!(slow.closed().await, "");
    assert_eq!(silent.closed().await, "");
}

#[tokio::test]
async fn an_idle_connection_outlives_the_header_timeout() {
    let settings = ServeSettings {
        header_timeout: Duration::from_secs(3),
        idle_timeout: Duration::from_secs(600),
        ..ServeSettings::default()
    };
    let server = Server::start(settings).await;
    let mut kept = server.connect().await;
    kept.send(&get_path("/hello")).await;
    assert!(kept.answer().await.ends_with("hello"));
    // Another connection's cut-off is the proof that the header timeout has passed.
    let mut silent = server.connect().await;
    silent.closed().await;
    kept.send(&get_path("/hello")).await;
    assert!(kept.answer().await.ends_with("hello"));
}

#[tokio::test]
async fn an_idle_connection_ends_with_its_own_timeout() {
    let settings = ServeSettings {
        header_timeout: Duration::from_secs(600),
        idle_timeout: Duration::from_secs(1),
        ..ServeSettings::default()
    };
    let server = Server::start(settings).await;
    let mut kept = server.connect().await;
    kept.send(&get_path("/hello")).await;
    assert!(kept.answer().await.ends_with("hello"));
    assert_eq!(kept.closed().await, "");
}

#[tokio::test]
async fn an_endless_answer_ends_with_a_client_that_does_not_read_it() {
    let settings = ServeSettings { write_timeout: Duration::from_secs(5), ..ServeSettings::default() };
    let server = Server::start(settings).await;
    let mut reader = server.connect().await;
    reader.send(&get_path("/endless")).await;
    let mut deaf = server.connect().await;
    deaf.send(&get_path("/endless")).await;
    let mut buffer = vec![0; 64 * 1024];
    let read = async {
        while reader.stream.read(&mut buffer).await.unwrap() > 0 {}
        unreachable!("the one that reads was cut off")
    };
    tokio::select! {
        () = soon("the end of the answer that nobody reads", server.gate.ended.notified()) => {}
        () = read => {}
    }
}

#[tokio::test]
async fn at_the_limit_an_idle_connection_makes_room() {
    let server = Server::start(ServeSettings { max_connections: 1, ..ServeSettings::default() }).await;
    let mut first = server.connect().await;
    first.send(&get_path("/hello")).await;
    assert!(first.answer().await.ends_with("hello"));
    assert!(server.ask(&get_path("/hello")).await.ends_with("hello"));
    assert_eq!(first.closed().await, "");
}

#[tokio::test]
async fn at_the_limit_a_new_connection_waits_for_one_in_flight() {
    let server = Server::start(ServeSettings { max_connections: 1, ..ServeSettings::default() }).await;
    let mut first = server.connect().await;
    first.send(&get_path("/gate")).await;
    server.gate.arrival().await;
    let mut second = server.connect().await;
    second.send(&get_path("/hello")).await;
    // One connection at a time: while the first is in flight, the gauge stays at one.
    assert!(server.metrics.encode().contains("\nusherd_http_connections 1\n"));
    server.gate.release.notify_one();
    let released = first.answer().await;
    assert!(released.ends_with("released"), "{released}");
    assert!(second.answer().await.ends_with("hello"));
    assert_eq!(first.closed().await, "");
}
