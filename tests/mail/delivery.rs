//! What arrives when all goes well.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use tokio::task::JoinSet;
use usherd::jobs::mail::{Invitation, Mail};

use crate::smtp::{SmtpServer, header};
use crate::{ID, LINK, NOW, addressee, context, invitation, mailer, send};

#[tokio::test]
async fn an_invitation_arrives_whole_with_the_headers_that_keep_machines_quiet() {
    let server = SmtpServer::start(&[]);
    let mailer = mailer(&server.url("smtp", ""));
    let accepted = send(&mailer, "ada@example.org").await.expect("accepted");
    assert_eq!(accepted.reply, "250 2.0.0 OK queued as 1");

    let record = server.message();
    assert_eq!(record["from"], "no-reply@usherd.example.org");
    assert_eq!(record["to"], json!(["ada@example.org"]));
    assert_eq!(record["host_name"], "usherd.example.org");
    assert_eq!(record["encrypted"], false);

    let message = &record["message"];
    assert_eq!(message["defects"], json!([]));
    assert_eq!(message["bare_newlines"], 0);
    assert_eq!(message["structure"], json!(["multipart/alternative", "text/plain", "text/html"]));
    for (name, value) in [
        ("From", "Example Workspace <no-reply@usherd.example.org>"),
        ("To", "ada@example.org"),
        ("Subject", "You are invited"),
        ("Date", "Mon, 23 Nov 2026 09:30:00 +0000"),
        ("Message-ID", &format!("<{ID}@usherd.example.org>")),
        ("Auto-Submitted", "auto-generated"),
        ("X-Auto-Response-Suppress", "All"),
        ("MIME-Version", "1.0"),
        ("Content-Language", "en"),
    ] {
        assert_eq!(header(message, name), [value], "{name}");
    }
    for absent in ["List-Unsubscribe", "List-Unsubscribe-Post", "Bcc", "Return-Path", "User-Agent"] {
        assert!(header(message, absent).is_empty(), "{absent}");
    }
    assert!(message["text"].as_str().expect("text").contains(&format!("\n{LINK}\n")));
    assert!(message["html"].as_str().expect("html").contains(&format!("href=\"{LINK}\"")));
}

#[tokio::test]
async fn a_reminder_can_be_unsubscribed_with_one_click() {
    let server = SmtpServer::start(&[]);
    let mailer = mailer(&server.url("smtp", ""));
    let mail = Mail::Reminder {
        invitation: Invitation {
            link: LINK.to_owned(),
            expires_at: *NOW + Duration::from_secs(86_400),
            inviter: None,
            replaces_earlier: false,
        },
        unsubscribe: "https://usherd.example.org/mute/abc".to_owned(),
    };
    let message = mailer.compose(&mail, &context(), &addressee("ada@example.org")).expect("composed");
    mailer.transport().send(&message).await.expect("accepted");
    let record = server.message();
    assert_eq!(header(&record["message"], "List-Unsubscribe"), ["<https://usherd.example.org/mute/abc>"]);
    assert_eq!(header(&record["message"], "List-Unsubscribe-Post"), ["List-Unsubscribe=One-Click"]);
}

#[tokio::test]
async fn starttls_and_a_password_protect_the_way_to_the_relay() {
    let server = SmtpServer::start(&["--tls", "starttls", "--auth", "ada@example.org:p@ss/w#rd"]);
    let mailer = mailer(&server.url("smtp+starttls", "ada%40example.org:p%40ss%2Fw%23rd"));
    send(&mailer, "bob@example.org").await.expect("accepted");
    let record = server.message();
    assert_eq!((&record["encrypted"], &record["user"]), (&json!(true), &json!("ada@example.org")));
}

#[tokio::test]
async fn implicit_tls_works_too() {
    let server = SmtpServer::start(&["--tls", "implicit"]);
    let mailer = mailer(&server.url("smtps", ""));
    send(&mailer, "bob@example.org").await.expect("accepted");
    assert_eq!(server.message()["encrypted"], true);
}

#[tokio::test]
async fn mails_in_a_row_share_a_connection_and_a_dead_one_costs_nothing() {
    let server = SmtpServer::start(&[]);
    let mailer = mailer(&server.url("smtp", ""));
    send(&mailer, "ada@example.org").await.expect("first");
    send(&mailer, "hang-up@example.org").await.expect("second");
    send(&mailer, "bob@example.org").await.expect("third, over a new connection");
    let connections: Vec<_> = server.messages().iter().map(|record| record["connection"].clone()).collect();
    assert_eq!(connections, [1, 1, 2]);
}

#[tokio::test]
async fn many_mails_at_once_arrive_each_once() {
    let server = SmtpServer::start(&[]);
    let mailer = Arc::new(mailer(&server.url("smtp", "")));
    let mut sending = JoinSet::new();
    for n in 0..20 {
        let mailer = Arc::clone(&mailer);
        sending.spawn(async move { send(&mailer, &format!("person-{n}@example.org")).await });
    }
    let accepted = sending.join_all().await;
    assert!(accepted.iter().all(Result::is_ok), "{accepted:?}");
    let messages = server.messages();
    let recipients: BTreeSet<_> = messages.iter().map(|record| record["to"][0].as_str().expect("one")).collect();
    assert_eq!((messages.len(), recipients.len()), (20, 20));
    mailer.transport().close_idle().await;
}

#[tokio::test]
async fn an_address_outside_ascii_goes_to_a_relay_that_understands_it() {
    let server = SmtpServer::start(&[]);
    let mailer = mailer(&server.url("smtp", ""));
    send(&mailer, "jösé@bücher.example").await.expect("accepted");
    let record = server.message();
    assert_eq!(record["to"], json!(["jösé@xn--bcher-kva.example"]));
    assert!(record["options"].as_array().expect("options").contains(&json!("SMTPUTF8")));
    assert_eq!(record["message"]["to_address"], "jösé@xn--bcher-kva.example");
}

#[test]
fn a_repeated_message_is_the_same_byte_for_byte() {
    let mailer = mailer("smtp://relay.invalid");
    let compose = || mailer.compose(&invitation(), &context(), &addressee("ada@example.org")).expect("composed");
    assert_eq!(compose().formatted(), compose().formatted());
}

#[tokio::test]
async fn a_check_signs_in_without_sending() {
    let server = SmtpServer::start(&["--tls", "starttls", "--auth", "ada:secret"]);
    let mailer = mailer(&server.url("smtp+starttls", "ada:secret"));
    let found = mailer.transport().check().await.expect("works");
    let expected = format!("smtp+starttls://ada@127.0.0.1:{} answers as relay.test, encrypted, signed in", server.port);
    assert_eq!(found, expected);
    assert!(server.messages().is_empty());
}
