//! What a refusal, a silence or a broken connection is taken for.

use std::path::Path;
use std::time::Duration;

use usherd::jobs::mail::{MailError, Mailer, SendFailure, SetupError};

use crate::smtp::SmtpServer;
use crate::{mailer, send, settings};

async fn failure(mailer: &Mailer, address: &str) -> SendFailure {
    send(mailer, address).await.expect_err(address)
}

#[tokio::test]
async fn each_answer_is_taken_for_what_it_is() {
    let server = SmtpServer::start(&[]);
    let mailer = mailer(&server.url("smtp", ""));
    let refused = |code: u16, text: &str| (Some(code), text.to_owned());
    let said = |failure: &SendFailure| (failure.code(), failure.text().to_owned());

    let bounce = failure(&mailer, "bounce-550@example.org").await;
    assert!(matches!(bounce, SendFailure::RecipientRefused { .. }), "{bounce:?}");
    assert_eq!(said(&bounce), refused(550, "5.1.1 <bounce-550@example.org>: no such user"));

    let relay = failure(&mailer, "relay-554@example.org").await;
    assert!(matches!(relay, SendFailure::Configuration { .. }), "{relay:?}");
    assert_eq!(said(&relay), refused(554, "5.7.1 <relay-554@example.org>: Relay access denied"));

    let greylisted = failure(&mailer, "defer-451@example.org").await;
    assert!(matches!(greylisted, SendFailure::Temporary { code: Some(451), .. }), "{greylisted:?}");

    let closing = failure(&mailer, "defer-421@example.org").await;
    assert!(matches!(closing, SendFailure::Throttled { code: 421, .. }), "{closing:?}");

    let content = failure(&mailer, "reject-after-data@example.org").await;
    assert!(matches!(content, SendFailure::Configuration { code: Some(554), .. }), "{content:?}");

    send(&mailer, "ada@example.org").await.expect("and the next mail goes through");
}

#[tokio::test]
async fn a_refused_sender_pauses_and_a_limited_one_slows_the_queue() {
    let server = SmtpServer::start(&[]);
    let from = |address: &str| {
        let mut settings = settings(Some(&server.url("smtp", "")), Path::new("unused"));
        settings.from = address.parse().expect("a mailbox");
        Mailer::new(&settings).expect("a mailer")
    };
    let refused = failure(&from("refuse-550@example.org"), "ada@example.org").await;
    assert!(matches!(refused, SendFailure::Configuration { code: Some(550), .. }), "{refused:?}");
    let limited = failure(&from("defer-450@example.org"), "ada@example.org").await;
    assert!(matches!(limited, SendFailure::Throttled { code: 450, .. }), "{limited:?}");
}

#[tokio::test]
async fn only_a_connection_lost_after_the_content_leaves_the_outcome_open() {
    let server = SmtpServer::start(&[]);
    let mailer = mailer(&server.url("smtp", ""));
    let before = failure(&mailer, "drop-at-data@example.org").await;
    assert!(matches!(before, SendFailure::Temporary { code: None, .. }), "{before:?}");
    assert!(server.messages().is_empty());

    let after = failure(&mailer, "drop-after-data@example.org").await;
    assert!(matches!(after, SendFailure::Unknown { .. }), "{after:?}");
    assert_eq!(server.message()["acknowledged"], false);
}

#[tokio::test]
async fn silence_ends_with_the_time_limit() {
    let server = SmtpServer::start(&[]);
    let mut settings = settings(Some(&server.url("smtp", "")), Path::new("unused"));
    settings.timeout = Duration::from_secs(5);
    let mailer = Mailer::new(&settings).expect("a mailer");
    let before = failure(&mailer, "stall@example.org").await;
    assert_eq!(before, SendFailure::Temporary { code: None, text: "no answer in 5s".to_owned() });
    let after = failure(&mailer, "stall-after-data@example.org").await;
    assert_eq!(after, SendFailure::Unknown { text: "no answer in 5s".to_owned() });
}

#[tokio::test]
async fn a_relay_that_is_not_there_is_a_temporary_failure() {
    let server = SmtpServer::start(&[]);
    let url = server.url("smtp", "");
    drop(server);
    let gone = failure(&mailer(&url), "ada@example.org").await;
    assert!(matches!(gone, SendFailure::Temporary { code: None, .. }), "{gone:?}");
    let unknown = failure(&mailer("smtp://relay.invalid"), "ada@example.org").await;
    assert!(matches!(unknown, SendFailure::Temporary { code: None, .. }), "{unknown:?}");
}

#[tokio::test]
async fn a_wrong_password_is_for_an_operator_and_is_not_repeated() {
    let server = SmtpServer::start(&["--auth", "ada:secret"]);
    let mailer = mailer(&server.url("smtp", "ada:wr0ng-passw0rd"));
    let refused = failure(&mailer, "bob@example.org").await;
    assert!(matches!(refused, SendFailure::Configuration { code: Some(535), .. }), "{refused:?}");
    assert!(!format!("{refused:?} {mailer:?}").contains("wr0ng"));
    let check = mailer.transport().check().await.expect_err("the check sees it as well");
    assert!(matches!(check, SendFailure::Configuration { code: Some(535), .. }), "{check:?}");
}

#[tokio::test]
async fn a_relay_that_wants_a_password_and_gets_none_is_for_an_operator() {
    let server = SmtpServer::start(&["--auth", "ada:secret"]);
    let refused = failure(&mailer(&server.url("smtp", "")), "bob@example.org").await;
    assert!(matches!(refused, SendFailure::Configuration { code: Some(530), .. }), "{refused:?}");
}

#[tokio::test]
async fn no_mail_and_no_password_goes_to_a_relay_that_proves_nothing() {
    let server = SmtpServer::start(&["--tls", "starttls"]);
    let untrusted = mailer(&format!("smtp+starttls://127.0.0.1:{}", server.port));
    let refused = failure(&untrusted, "ada@example.org").await;
    assert!(matches!(refused, SendFailure::Configuration { code: None, .. }), "{refused:?}");
    assert!(refused.text().contains("certificate"), "{refused}");

    let plain = SmtpServer::start(&[]);
    let downgraded = mailer(&format!("smtp+starttls://127.0.0.1:{}", plain.port));
    let refused = failure(&downgraded, "ada@example.org").await;
    assert!(matches!(refused, SendFailure::Configuration { code: None, .. }), "{refused:?}");
    let implicit = failure(&mailer(&format!("smtps://127.0.0.1:{}", plain.port)), "ada@example.org").await;
    assert!(matches!(implicit, SendFailure::Configuration { code: None, .. }), "{implicit:?}");
    assert!(server.messages().is_empty() && plain.messages().is_empty());
}

#[tokio::test]
async fn an_address_that_no_relay_or_not_this_relay_can_take_bounces() {
    let server = SmtpServer::start(&["--no-smtputf8"]);
    let mailer = mailer(&server.url("smtp", ""));
    let refused = failure(&mailer, "jösé@example.org").await;
    assert!(matches!(refused, SendFailure::RecipientRefused { code: None, .. }), "{refused:?}");
    for address in ["", "ada", "ada@", "@example.org", "ada@example.org\r\nDATA", "\"a\r\nb\"@example.org", "a b@c.d"] {
        let refused = failure(&mailer, address).await;
        assert!(matches!(refused, SendFailure::RecipientRefused { code: None, .. }), "{address:?}: {refused:?}");
    }
    send(&mailer, "josé@bücher.example").await.expect_err("the user is outside ASCII");
    send(&mailer, "jose@bücher.example").await.expect("a domain is written in ASCII");
}

#[test]
fn a_ca_file_without_a_certificate_is_named_at_start() {
    let file = tempfile::NamedTempFile::new().expect("a file");
    let url = format!("smtps://relay.example.org?tls_ca_file={}", file.path().display());
    let error = Mailer::new(&settings(Some(&url), Path::new("unused"))).expect_err("empty");
    assert!(matches!(error, MailError::Setup(SetupError::CaFile { .. })), "{error:?}");
    assert!(error.to_string().contains("no PEM certificate"), "{error}");
}

#[tokio::test]
async fn neither_password_nor_link_reaches_the_log_at_any_level() {
    use tracing::instrument::WithSubscriber as _;
    let server = SmtpServer::start(&["--auth", "ada:s3cret-password"]);
    let mailer = mailer(&server.url("smtp", "ada:s3cret-password"));
    let log = tempfile::NamedTempFile::new().expect("a file");
    let everything = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::TRACE)
        .with_writer(std::sync::Mutex::new(log.reopen().expect("the file")))
        .finish();
    async {
        tracing::info!("the log works");
        send(&mailer, "bob@example.org").await.expect("accepted");
        failure(&mailer, "bounce-550@example.org").await;
        mailer.transport().close_idle().await;
    }
    .with_subscriber(everything)
    .await;
    let logged = std::fs::read_to_string(log.path()).expect("the log");
    assert!(logged.contains("the log works"));
    // `ada\0…` as AUTH PLAIN sends it, and the link.
    for secret in ["s3cret", "AGFkYQBzM2NyZXQtcGFzc3dvcmQ", "usi_"] {
        assert!(!logged.contains(secret), "{secret} in:\n{logged}");
    }
}
