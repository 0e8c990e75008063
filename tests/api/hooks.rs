//! Bounces that a mail service reports by `/hooks/mail`.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use rstest::rstest;
use serde_json::{Value, json};
use sha2::Sha256;

use crate::daemon::client::Reply;
use crate::daemon::{Daemon, Store};

const SECRET: &[u8] = b"thirty-two octets of a secret!!!";

fn daemon(store: Store) -> Daemon {
    let secret = format!("whsec_{}", STANDARD.encode(SECRET));
    Daemon::start(store, &[("USHERD_MAIL__HOOK_SECRET", &secret)])
}

/// Seconds since 1970, by the clock of the machine, which is that of either store.
#[expect(clippy::disallowed_methods, reason = "the mail service has a clock of its own")]
fn now() -> u64 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs()
}

/// The report as a mail service signs it (Standard Webhooks: `id.timestamp.body`).
fn report(daemon: &Daemon, id: &str, timestamp: u64, body: &Value, secret: &[u8]) -> Reply {
    let body = body.to_string();
    let mut mac = Hmac::<Sha256>::new_from_slice(secret).unwrap();
    mac.update(format!("{id}.{timestamp}.{body}").as_bytes());
    let signature = format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes()));
    daemon
        .request("POST", "/hooks/mail")
        .header("webhook-id", id)
        .header("webhook-timestamp", &timestamp.to_string())
        .header("webhook-signature", &signature)
        .json(&serde_json::from_str(&body).unwrap())
        .send()
}

fn bounce(message_id: &str) -> Value {
    json!({ "event": "bounced", "messageId": message_id, "permanent": true })
}

#[rstest]
fn a_reported_bounce_counts_once_and_only_when_it_is_signed_in_time(
    #[values(Store::Embedded, Store::Redis)] store: Store,
) {
    let daemon = daemon(store);
    let id = daemon.create_user("ada@example.org");
    let mail = daemon.mail("ada@example.org", 1);
    daemon.settle();
    let body = bounce(&mail.message_id);
    let result = |reply: &Reply| (reply.status, reply.json()["result"].as_str().unwrap().to_owned());

    let forged = report(&daemon, "r1", now(), &body, b"another secret of 32 octets !!!!");
    assert_eq!(result(&forged), (401, "unauthorized".to_owned()));
    let stale = report(&daemon, "r1", now() - 301, &body, SECRET);
    assert_eq!(result(&stale), (401, "unauthorized".to_owned()));
    let early = report(&daemon, "r1", now() + 3_600, &body, SECRET);
    assert_eq!(result(&early), (401, "unauthorized".to_owned()));
    let soft = json!({ "event": "bounced", "messageId": mail.message_id, "permanent": false });
    assert_eq!(result(&report(&daemon, "r2", now(), &soft, SECRET)), (200, "ignored".to_owned()));
    let opened = json!({ "event": "opened", "messageId": mail.message_id });
    assert_eq!(result(&report(&daemon, "r3", now(), &opened, SECRET)), (200, "ignored".to_owned()));
    let foreign = bounce("<0193a5f0-0000-7000-8000-000000000001@elsewhere.example>");
    assert_eq!(result(&report(&daemon, "r4", now(), &foreign, SECRET)), (200, "ignored".to_owned()));
    let elsewhere = bounce(&mail.message_id.replace(".default@", ".nowhere@"));
    assert_eq!(result(&report(&daemon, "r5", now(), &elsewhere, SECRET)), (200, "ignored".to_owned()));
    assert_eq!(result(&report(&daemon, "r6", now(), &json!({ "event": 1 }), SECRET)), (400, "malformed".to_owned()));
    assert_eq!(daemon.status(&id), "Pending");

    assert_eq!(result(&report(&daemon, "r1", now(), &body, SECRET)), (200, "recorded".to_owned()));
    assert_eq!(daemon.status(&id), "Pending bounced");
    assert_eq!(result(&report(&daemon, "r1", now(), &body, SECRET)), (200, "repeated".to_owned()));
    assert!(!daemon.logs().contains(&STANDARD.encode(SECRET)));
}

#[test]
fn without_a_secret_nobody_reports() {
    let daemon = Daemon::start(Store::Embedded, &[]);
    assert_eq!(report(&daemon, "r1", now(), &bounce("<a@b>"), SECRET).status, 404);
}
