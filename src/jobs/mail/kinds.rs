//! The kinds of mail, and what each of them says.

use std::time::Duration;

use minijinja::value::Value;

use super::templates::Context;
use crate::domain::text::{safe_line, safe_name};
use crate::domain::time::{DAY, Timestamp};
use crate::domain::words::Words;

/// The lines of an alert, and their length, that one mail carries.
const MAX_LINES: usize = 50;
const MAX_LINE: usize = 300;

/// One mail. Names are given as they are stored; rendering makes them safe.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Mail {
    /// Come in: first, renewed or asked for again.
    Invitation(Invitation),
    /// The same link once more, before it expires. `unsubscribe` is the one-click URL that mutes further ones.
    Reminder { invitation: Invitation, unsubscribe: String },
    /// Policy `notify`: access was given without an invitation. Holds no token; `link` is where to sign in.
    Welcome { link: Option<String> },
    /// To a new address: is it yours?
    AddressConfirmation { link: String, expires_at: Timestamp },
    /// To the old address: a change was asked for. `address` is the new one, masked.
    AddressNotice { address: String },
    /// A one-time code.
    SignInCode { code: String, expires_at: Timestamp },
    /// To the invited address: somebody accepted with a copied link.
    CopiedLinkNotice { accepted_at: Timestamp },
    /// To the invited address: the link that the command line printed was used.
    AdminLinkAccepted { accepted_at: Timestamp },
    /// To the Account Admins. `lines` are details, one per line; `link` leads to the page where to act.
    AdminAlert { alert: Alert, lines: Vec<AlertLine>, link: Option<String> },
    /// `usherd mail test`.
    Test,
}

/// One line of an alert or a digest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AlertLine {
    /// A thing that happened: `what` names the words (`alert.line_<what>`), `who` the people or clients.
    Told { what: &'static str, count: u32, who: Vec<String> },
    /// Outgoing mail was paused.
    Paused { since: Timestamp, ended: Timestamp },
}

impl AlertLine {
    fn text(&self, context: &Context<'_>, words: &Words) -> String {
        match self {
            AlertLine::Told { what, count, who } => {
                let names: Vec<String> =
                    who.iter().map(|name| safe_name(name)).filter(|name| !name.is_empty()).collect();
                let left = usize::try_from(*count).unwrap_or(usize::MAX).saturating_sub(names.len());
                let others = words.told("alert.others", &[("count", &left.to_string())]);
                let who: Vec<String> = names.into_iter().chain((left > 0).then_some(others)).collect();
                let values = [("count", &*count.to_string()), ("who", &*who.join(", "))];
                words.told(&format!("alert.line_{what}"), &values)
            }
            AlertLine::Paused { since, ended } => words.told(
                "alert.line_paused",
                &[("since", &words.date(*since, context.zone)), ("ended", &words.date(*ended, context.zone))],
            ),
        }
    }
}

/// What an invitation and its reminder say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Invitation {
    pub link: String,
    pub expires_at: Timestamp,
    /// Who invites, when a person did.
    pub inviter: Option<String>,
    /// An earlier link was mailed and works no more.
    pub replaces_earlier: bool,
}

/// What an alert is about; its subject and explanation are fixed texts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Alert {
    /// G1: the last Active Account Admin lost access.
    LastAdminLost,
    /// G9: a client deactivates too many at once.
    Brake,
    /// More first invitations than `provisioning.hold_above` wait for a decision.
    InvitationsHeld,
    /// No seat was free.
    LicenseShortfall,
    /// A provider reactivates somebody whom an administrator deactivated, or touches an Account Admin without the scope.
    ProviderConflict,
    /// A mail could not be delivered after all attempts.
    SendFailed,
    /// The relay refuses us; the queue is paused.
    MailPaused,
    /// A provisioning token expires soon.
    TokenExpiring,
    /// What became of invitations lately.
    Digest,
}

/// What stands in place of a secret.
const MASK: &str = "********";

/// The server alone: a token may stand anywhere behind it.
fn masked_link(link: &str) -> String {
    let origin = url::Url::parse(link).map(|url| url.origin().ascii_serialization()).unwrap_or_default();
    format!("{origin}/{MASK}")
}

impl Alert {
    pub const ALL: [Alert; 9] = [
        Alert::LastAdminLost,
        Alert::Brake,
        Alert::InvitationsHeld,
        Alert::LicenseShortfall,
        Alert::ProviderConflict,
        Alert::SendFailed,
        Alert::MailPaused,
        Alert::TokenExpiring,
        Alert::Digest,
    ];

    /// Its place in the strings: `alert.<key>_subject`, `alert.<key>_body`.
    const fn key(self) -> &'static str {
        match self {
            Alert::LastAdminLost => "last_admin_lost",
            Alert::Brake => "brake",
            Alert::InvitationsHeld => "invitations_held",
            Alert::LicenseShortfall => "license_shortfall",
            Alert::ProviderConflict => "provider_conflict",
            Alert::SendFailed => "send_failed",
            Alert::MailPaused => "mail_paused",
            Alert::TokenExpiring => "token_expiring",
            Alert::Digest => "digest",
        }
    }
}

impl Mail {
    /// The names of all templates, as files are named.
    pub const TEMPLATES: [&'static str; 10] = [
        "invitation",
        "reminder",
        "welcome",
        "address_confirmation",
        "address_notice",
        "sign_in_code",
        "copied_link_notice",
        "admin_link_accepted",
        "alert",
        "test",
    ];

    /// The name of its template.
    pub const fn template(&self) -> &'static str {
        match self {
            Mail::Invitation(_) => "invitation",
            Mail::Reminder { .. } => "reminder",
            Mail::Welcome { .. } => "welcome",
            Mail::AddressConfirmation { .. } => "address_confirmation",
            Mail::AddressNotice { .. } => "address_notice",
            Mail::SignInCode { .. } => "sign_in_code",
            Mail::CopiedLinkNotice { .. } => "copied_link_notice",
            Mail::AdminLinkAccepted { .. } => "admin_link_accepted",
            Mail::AdminAlert { .. } => "alert",
            Mail::Test => "test",
        }
    }

    /// The same mail for somebody whom it is not for: every link leads nowhere, and a code is none.
    #[must_use]
    pub fn masked(self) -> Mail {
        let invitation = |invitation: Invitation| Invitation { link: masked_link(&invitation.link), ..invitation };
        match self {
            Mail::Invitation(it) => Mail::Invitation(invitation(it)),
            Mail::Reminder { invitation: it, unsubscribe } => {
                Mail::Reminder { invitation: invitation(it), unsubscribe: masked_link(&unsubscribe) }
            }
            Mail::Welcome { link } => Mail::Welcome { link: link.as_deref().map(masked_link) },
            Mail::AddressConfirmation { link, expires_at } => {
                Mail::AddressConfirmation { link: masked_link(&link), expires_at }
            }
            Mail::SignInCode { code: _, expires_at } => Mail::SignInCode { code: MASK.to_owned(), expires_at },
            Mail::AdminAlert { alert, lines, link } => {
                Mail::AdminAlert { alert, lines, link: link.as_deref().map(masked_link) }
            }
            Mail::AddressNotice { .. }
            | Mail::CopiedLinkNotice { .. }
            | Mail::AdminLinkAccepted { .. }
            | Mail::Test => self,
        }
    }

    /// The key of its subject among the words.
    pub(super) fn subject_key(&self) -> String {
        match self {
            Mail::AdminAlert { alert, .. } => format!("alert.{}_subject", alert.key()),
            other => format!("{}.subject", other.template()),
        }
    }

    /// What the reader must be able to find in text and HTML, or the mail is useless.
    pub(super) fn essential(&self) -> Option<&str> {
        match self {
            Mail::Invitation(invitation) | Mail::Reminder { invitation, .. } => Some(&invitation.link),
            Mail::AddressConfirmation { link, .. } => Some(link),
            Mail::SignInCode { code, .. } => Some(code),
            Mail::Welcome { .. }
            | Mail::AddressNotice { .. }
            | Mail::CopiedLinkNotice { .. }
            | Mail::AdminLinkAccepted { .. }
            | Mail::AdminAlert { .. }
            | Mail::Test => None,
        }
    }

    pub(super) fn unsubscribe(&self) -> Option<&str> {
        match self {
            Mail::Reminder { unsubscribe, .. } => Some(unsubscribe),
            Mail::Invitation(_)
            | Mail::Welcome { .. }
            | Mail::AddressConfirmation { .. }
            | Mail::AddressNotice { .. }
            | Mail::SignInCode { .. }
            | Mail::CopiedLinkNotice { .. }
            | Mail::AdminLinkAccepted { .. }
            | Mail::AdminAlert { .. }
            | Mail::Test => None,
        }
    }

    /// The values that its template may use, besides those that every template has.
    pub(super) fn values(&self, context: &Context<'_>, words: &Words) -> Vec<(&'static str, Value)> {
        let until = |instant: Timestamp| {
            [
                ("expires_in", Value::from(words.span(instant.since(context.now)))),
                ("expires_on", Value::from(words.date(instant, context.zone))),
            ]
        };
        match self {
            Mail::Invitation(invitation) => invitation_values(invitation, until(invitation.expires_at)),
            Mail::Reminder { invitation, unsubscribe } => {
                let mut values = invitation_values(invitation, until(invitation.expires_at));
                values.push(("unsubscribe", url(unsubscribe)));
                values
            }
            Mail::Welcome { link } => vec![("link", optional_url(link.as_deref()))],
            Mail::AddressConfirmation { link, expires_at } => {
                [("link", url(link))].into_iter().chain(until(*expires_at)).collect()
            }
            Mail::AddressNotice { address } => vec![("address", Value::from(safe_line(address, MAX_LINE)))],
            Mail::SignInCode { code, expires_at } => {
                [("code", Value::from(safe_line(code, MAX_LINE)))].into_iter().chain(until(*expires_at)).collect()
            }
            Mail::CopiedLinkNotice { accepted_at } | Mail::AdminLinkAccepted { accepted_at } => {
                vec![("accepted_on", Value::from(words.date(*accepted_at, context.zone)))]
            }
            Mail::AdminAlert { alert, lines, link } => vec![
                ("explanation", Value::from(words.text(&format!("alert.{}_body", alert.key())).to_owned())),
                (
                    "lines",
                    lines
                        .iter()
                        .take(MAX_LINES)
                        .map(|line| Value::from(safe_line(&line.text(context, words), MAX_LINE)))
                        .collect(),
                ),
                ("more_lines", Value::from(lines.len().saturating_sub(MAX_LINES))),
                ("link", optional_url(link.as_deref())),
            ],
            Mail::Test => Vec::new(),
        }
    }

    /// One or more mails of each kind, with every optional part given and left out: what templates are tried with.
    pub(super) fn samples(now: Timestamp) -> Vec<Mail> {
        let link = "https://usherd.example/i/usi_c2FtcGxl".to_owned();
        let invitation = Invitation {
            link: link.clone(),
            expires_at: now + 7 * DAY,
            inviter: Some("Grace Hopper".to_owned()),
            replaces_earlier: true,
        };
        let plain = Invitation { inviter: None, replaces_earlier: false, ..invitation.clone() };
        let unsubscribe = "https://usherd.example/mute/c2FtcGxl".to_owned();
        let alerts = Alert::ALL.map(|alert| Mail::AdminAlert {
            alert,
            lines: vec![
                AlertLine::Told {
                    what: "expired",
                    count: 3,
                    who: vec!["Ada Lovelace".to_owned(), "Alan Turing".to_owned()],
                },
                AlertLine::Paused { since: now, ended: now + DAY },
            ],
            link: Some("https://usherd.example/admin/default/provisioning".to_owned()),
        });
        let mut samples = vec![
            Mail::Invitation(invitation.clone()),
            Mail::Invitation(plain),
            Mail::Reminder { invitation: Invitation { expires_at: now + DAY, ..invitation }, unsubscribe },
            Mail::Welcome { link: Some("https://work.example/".to_owned()) },
            Mail::Welcome { link: None },
            Mail::AddressConfirmation { link, expires_at: now + DAY },
            Mail::AddressNotice { address: "a***@example.org".to_owned() },
            Mail::SignInCode { code: "482 915".to_owned(), expires_at: now + Duration::from_secs(600) },
            Mail::CopiedLinkNotice { accepted_at: now },
            Mail::AdminLinkAccepted { accepted_at: now },
            Mail::AdminAlert { alert: Alert::Digest, lines: Vec::new(), link: None },
            Mail::Test,
        ];
        samples.extend(alerts);
        samples
    }
}

fn invitation_values(invitation: &Invitation, until: [(&'static str, Value); 2]) -> Vec<(&'static str, Value)> {
    let inviter = invitation.inviter.as_deref().map(safe_name).filter(|name| !name.is_empty());
    [
        ("link", url(&invitation.link)),
        ("inviter", Value::from(inviter)),
        ("replaces_earlier", Value::from(invitation.replaces_earlier)),
    ]
    .into_iter()
    .chain(until)
    .collect()
}

/// A URL made of characters that HTML leaves alone stays readable in the HTML source; any other is escaped there like
/// every text.
fn url(text: &str) -> Value {
    let harmless = |b: u8| b.is_ascii_alphanumeric() || b"-._~:/?=%".contains(&b);
    if text.bytes().all(harmless) { Value::from_safe_string(text.to_owned()) } else { Value::from(text) }
}

fn optional_url(text: Option<&str>) -> Value {
    text.map_or(Value::from(()), url)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_masked_mail_of_any_kind_holds_no_link_and_no_code() {
        let secrets = |mail: &Mail| {
            let told = format!("{mail:?}");
            ["usi_", "/mute/", "/confirm", "/i/"].into_iter().find(|secret| told.contains(secret))
        };
        let samples = Mail::samples(Timestamp::from_millis(1_795_426_200_000));
        assert!(samples.iter().any(|mail| secrets(mail).is_some()), "there is something to mask");
        for mail in samples {
            let code = match &mail {
                Mail::SignInCode { code, .. } => Some(code.clone()),
                _ => None,
            };
            let masked = mail.masked();
            assert_eq!(secrets(&masked), None, "{masked:?}");
            assert!(code.is_none_or(|code| !format!("{masked:?}").contains(&code)), "{masked:?}");
        }
        assert_eq!(masked_link("https://u.example:8443/base/i/usi_abc/mute?x=1"), "https://u.example:8443/********");
    }
}
