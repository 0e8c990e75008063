//! What a shutdown does to those who are connected, and the probes that announce it.

use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use usherd::http::ops::{HealthcheckError, Ops, Readiness, Watchdog, healthcheck, router};
use usherd::http::serve::{Drained, ServeSettings, serve};
use usherd::metrics::Metrics;

use crate::support::{PATIENCE, Server, get_path};

#[tokio::test]
async fn a_request_in_flight_is_finished_and_idle_connections_are_closed() {
    let server = Server::start(ServeSettings::default()).await;
    let mut idle = server.connect().await;
    idle.send(&get_path("/hello")).await;
    idle.answer().await;
    let mut fresh = server.connect().await;
    let mut busy = server.connect().await;
    busy.send(&get_path("/gate")).await;
    server.gate.arrival().await;

    server.shutdown.cancel();
    assert_eq!(idle.closed().await, "");
    assert_eq!(fresh.closed().await, "");
    assert!(TcpStream::connect(server.address).await.is_err(), "the listener is closed");
    assert!(!server.has_ended());
    server.gate.release.notify_one();
    let answer = busy.answer().await;
    assert!(answer.ends_with("released"), "{answer}");
    assert!(answer.contains("\r\nconnection: close\r\n"), "{answer}");
    busy.closed().await;
    assert_eq!(server.ended().await, Drained::Clean);
}

#[tokio::test]
async fn during_the_lead_time_everything_is_served_and_told_to_move_on() {
    let settings = ServeSettings { drain_lead: PATIENCE * 2, ..ServeSettings::default() };
    let server = Server::start(settings).await;
    server.shutdown.cancel();
    let answer = server.ask(&get_path("/hello")).await;
    assert!(answer.ends_with("hello"), "{answer}");
    assert!(answer.contains("\r\nconnection: close\r\n"), "{answer}");
    server.abort.cancel();
    server.ended().await;
}

#[tokio::test]
async fn what_is_stuck_is_dropped_at_the_deadline() {
    let settings = ServeSettings { drain_deadline: Duration::from_millis(100), ..ServeSettings::default() };
    let server = Server::start(settings).await;
    let mut stuck = server.connect().await;
    stuck.send(&get_path("/gate")).await;
    server.gate.arrival().await;
    server.shutdown.cancel();
    assert_eq!(stuck.closed().await, "");
    assert_eq!(server.ended().await, Drained::Aborted(1));
}

#[tokio::test]
async fn a_second_signal_drops_at_once_what_the_first_waits_for() {
    let settings = ServeSettings { drain_deadline: PATIENCE * 2, ..ServeSettings::default() };
    let server = Server::start(settings).await;
    let mut stuck = server.connect().await;
    stuck.send(&get_path("/gate")).await;
    server.gate.arrival().await;
    server.shutdown.cancel();
    server.abort.cancel();
    assert_eq!(stuck.closed().await, "");
    assert_eq!(server.ended().await, Drained::Aborted(1));
}

#[tokio::test]
async fn the_healthcheck_says_what_readyz_says() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let metrics = Arc::new(Metrics::new());
    let shutdown = CancellationToken::new();
    let readiness = Arc::new(Readiness::new(shutdown.clone(), Arc::clone(&metrics)));
    let ops =
        Ops { readiness: Arc::clone(&readiness), watchdog: Arc::new(Watchdog::new()), metrics: Arc::clone(&metrics) };
    let stop = CancellationToken::new();
    let serving = tokio::spawn({
        let (stop, metrics) = (stop.clone(), Arc::clone(&metrics));
        let settings = ServeSettings::default();
        async move { serve(listener, router(ops), &settings, stop.clone(), stop, TaskTracker::new(), metrics).await }
    });

    let starting = healthcheck(address).await.unwrap_err();
    assert_eq!(starting.to_string(), r#"not ready (503 Service Unavailable): {"ready":false,"reason":"starting"}"#);
    readiness.started();
    readiness.observe(Ok(()));
    healthcheck(address).await.unwrap();
    shutdown.cancel();
    let draining = healthcheck(address).await.unwrap_err();
    assert!(draining.to_string().contains("draining"), "{draining}");
    stop.cancel();
    serving.await.unwrap();
    assert!(matches!(healthcheck(address).await, Err(HealthcheckError::NoAnswer { .. })));
}
