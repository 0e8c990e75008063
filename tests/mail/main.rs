//! Mail against a real SMTP server and real files: what arrives, and what each kind of failure is taken for.

#[path = "../support/smtp/mod.rs"]
mod smtp;

mod delivery;
mod failures;
mod files;
mod names;

use std::path::Path;
use std::sync::LazyLock;
use std::time::Duration;

use jiff::tz::TimeZone;
use usherd::domain::time::Timestamp;
use usherd::jobs::mail::{Accepted, Addressee, Context, Invitation, Mail, Mailer, SendFailure, Settings};

const LINK: &str =
    "https://usherd.example.org/i/usi_AbC-_1234567890abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";
const ID: &str = "0193a5f0-0000-7000-8000-000000000001";

static UTC: TimeZone = TimeZone::UTC;
static NOW: LazyLock<Timestamp> = LazyLock::new(|| Timestamp::parse("2026-11-23T09:30:00Z").expect("an instant"));

fn settings(url: Option<&str>, directory: &Path) -> Settings {
    Settings {
        url: url.map(|url| url.parse().expect("a relay URL")),
        from: "Example Workspace <no-reply@usherd.example.org>".parse().expect("a mailbox"),
        templates_dir: None,
        timeout: Duration::from_secs(20),
        directory: directory.to_owned(),
        message_id_domain: "usherd.example.org".to_owned(),
    }
}

fn mailer(url: &str) -> Mailer {
    Mailer::new(&settings(Some(url), Path::new("unused"))).expect("a mailer")
}

fn context() -> Context<'static> {
    Context { account_name: "Acme", recipient_name: None, preferred_language: None, zone: &UTC, now: *NOW }
}

fn invitation() -> Mail {
    Mail::Invitation(Invitation {
        link: LINK.to_owned(),
        expires_at: *NOW + Duration::from_secs(7 * 86_400),
        inviter: Some("Grace Hopper".to_owned()),
        replaces_earlier: false,
    })
}

fn addressee(address: &str) -> Addressee<'_> {
    Addressee { address, name: None, id: ID, date: *NOW }
}

/// Composes and sends one invitation.
async fn send(mailer: &Mailer, address: &str) -> Result<Accepted, SendFailure> {
    let message = mailer.compose(&invitation(), &context(), &addressee(address))?;
    mailer.transport().send(&message).await
}
