//! Requests at a steady pace, and how long each takes.

use std::time::{Duration, Instant};

use axum::body::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio_util::sync::CancellationToken;

use crate::fill::Person;

/// Each connection asks so often.
const EVERY: Duration = Duration::from_millis(10);
/// One of so many requests is a PATCH, all others are GETs.
const WRITES: usize = 10;

/// One answered request.
#[derive(Debug, Clone, Copy)]
pub struct Answer {
    pub began: Instant,
    pub took: Duration,
}

/// Asks for one person after the other on one connection, until `stop`.
pub async fn ask(port: u16, token: String, people: Vec<Person>, stop: CancellationToken) -> Vec<Answer> {
    let stream = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    stream.set_nodelay(true).unwrap();
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.unwrap();
    tokio::spawn(connection);
    let mut answers = Vec::new();
    let mut pace = tokio::time::interval(EVERY);
    pace.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    for (number, person) in people.iter().cycle().enumerate() {
        if stop.run_until_cancelled(pace.tick()).await.is_none() {
            break;
        }
        let (method, body) = if number % WRITES == 0 { ("PATCH", title(number)) } else { ("GET", String::new()) };
        let request = hyper::Request::builder()
            .method(method)
            .uri(format!("/scim/v2/Users/{}", person.id))
            .header("host", format!("127.0.0.1:{port}"))
            .header("authorization", format!("Bearer {token}"))
            .header("content-type", "application/scim+json")
            .body(Full::new(Bytes::from(body)))
            .unwrap();
        let began = Instant::now();
        let response = sender.send_request(request).await.unwrap();
        assert_eq!(response.status(), 200);
        response.into_body().collect().await.unwrap();
        answers.push(Answer { began, took: began.elapsed() });
    }
    answers
}

fn title(number: usize) -> String {
    crate::daemon::patch(serde_json::json!([{ "op": "replace", "path": "title", "value": number.to_string() }]))
        .to_string()
}

/// The time within which so many of a hundred were answered, in milliseconds.
pub fn percentile(answers: &[Answer], share: f64) -> f64 {
    let mut took: Vec<Duration> = answers.iter().map(|answer| answer.took).collect();
    took.sort_unstable();
    let at = (took.len() as f64 * share / 100.0) as usize;
    took.get(at.min(took.len().saturating_sub(1))).map_or(0.0, |took| took.as_secs_f64() * 1_000.0)
}
