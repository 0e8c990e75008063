//! Instants, names and states in words for people.

use std::time::Duration;

use serde_json::Value;
use url::Url;

use crate::directory::record::UserRecord;
use crate::domain::text::safe_name;
use crate::domain::time::Timestamp;
use crate::domain::user::{InvitationState, Lapse, Origin, Side, Standing, Status};

const MINUTE: u64 = 60;
const HOUR: u64 = 60 * MINUTE;
const DAY: u64 = 24 * HOUR;

/// `23 Nov 2026, 09:30 UTC`.
pub fn instant(at: Timestamp) -> String {
    at.to_jiff().strftime("%-d %b %Y, %H:%M UTC").to_string()
}

/// `23 Nov 2026`.
pub fn day(at: Timestamp) -> String {
    at.to_jiff().strftime("%-d %b %Y").to_string()
}

/// `45 min`, `3 h`, `2 d`; rounded up, so that nothing is over before it is.
pub fn span(span: Duration) -> String {
    let seconds = span.as_secs().max(1);
    match seconds {
        0..HOUR => format!("{} min", seconds.div_ceil(MINUTE)),
        HOUR..DAY => format!("{} h", seconds.div_ceil(HOUR)),
        _ => format!("{} d", seconds.div_ceil(DAY)),
    }
}

/// A text of the inside as a sentence: a capital and a full stop.
pub fn sentence(text: &str) -> String {
    let mut characters = text.chars();
    let first: String = characters.next().map(|c| c.to_uppercase().collect()).unwrap_or_default();
    let stop = if text.ends_with(['.', '!', '?']) { "" } else { "." };
    format!("{first}{}{stop}", characters.as_str())
}

/// A name that may be shown; never empty.
pub fn name(record: &UserRecord) -> String {
    let name = safe_name(&record.display_name());
    if name.is_empty() { record.user.user_name.as_str().to_owned() } else { name }
}

/// A text in pieces, each of which ends where a line of an address may: behind `@`, `.`, `-` and `_`. A text without `@`
/// is one piece, since its spaces are enough.
pub fn pieces(text: &str) -> Vec<&str> {
    match text.contains('@') {
        true => text.split_inclusive(['@', '.', '-', '_']).collect(),
        false => vec![text],
    }
}

/// Up to two letters for who has no picture.
pub fn initials(name: &str) -> String {
    let base = name.split('@').next().unwrap_or(name);
    let words: Vec<&str> = base.split(|c: char| !c.is_alphanumeric()).filter(|word| !word.is_empty()).collect();
    let first = words.first().and_then(|word| word.chars().next());
    let last = words.last().filter(|_| words.len() > 1).and_then(|word| word.chars().next());
    first.into_iter().chain(last).flat_map(char::to_uppercase).collect()
}

/// A picture that came as a data URL, or lies on one of `hosts`; it is the browser that fetches it, never this service.
pub fn picture(record: &UserRecord, hosts: &[String]) -> Option<String> {
    const MAX_BYTES: usize = 32 * 1024;
    const KINDS: [&str; 4] =
        ["data:image/png;base64,", "data:image/jpeg;base64,", "data:image/webp;base64,", "data:image/gif;base64,"];
    let photos = record.profile.get("photos").and_then(Value::as_array)?;
    let mut urls = photos.iter().filter_map(|photo| photo.get("value").and_then(Value::as_str));
    let is_inline = |url: &str| url.len() <= MAX_BYTES && KINDS.iter().any(|kind| url.starts_with(kind));
    urls.find(|url| is_inline(url) || lies_on(url, hosts)).map(str::to_owned)
}

/// Whether a picture is at an https address of one of these hosts, as a browser reads it.
fn lies_on(url: &str, hosts: &[String]) -> bool {
    let Ok(url) = Url::parse(url) else { return false };
    let bare = url.username().is_empty() && url.password().is_none();
    let host = match (url.host_str(), url.port()) {
        (Some(host), Some(port)) => format!("{host}:{port}"),
        (Some(host), None) => host.to_owned(),
        (None, _) => return false,
    };
    url.scheme() == "https" && bare && hosts.contains(&host)
}

/// A status as a badge: words, icon and tone, never colour alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Badge {
    pub word: &'static str,
    pub icon: &'static str,
    pub tone: &'static str,
    /// Why, or until when.
    pub reason: Option<String>,
    /// The guide's definition.
    pub definition: &'static str,
}

pub const PENDING: &str = "An invitation has been sent, but the user has not accepted yet. If the link expires, a new \
                           one should be sent.";
pub const ACTIVE: &str = "The invitation has been accepted. The user can use the workspace according to the assigned \
                          role and permissions.";
pub const INACTIVE: &str = "The user has been removed from the account and cannot access the workspace. Access can be \
                            restored by sending a new invitation; after acceptance, the status changes to Active.";

pub fn badge(record: &UserRecord, now: Timestamp) -> Badge {
    match record.user.status() {
        Some(Status::Pending) => Badge {
            word: "Pending",
            icon: "clock",
            tone: "waiting",
            reason: pending_reason(record, now),
            definition: PENDING,
        },
        Some(Status::Active) => Badge {
            word: "Active",
            icon: "check",
            tone: "good",
            reason: record.user.undeliverable.then(|| "mail bounces".to_owned()),
            definition: ACTIVE,
        },
        Some(Status::Inactive) | None => Badge {
            word: "Inactive",
            icon: "cross",
            tone: "calm",
            reason: inactive_reason(record),
            definition: INACTIVE,
        },
    }
}

fn pending_reason(record: &UserRecord, now: Timestamp) -> Option<String> {
    let Standing::Pending { origin, invitation } = &record.user.standing else { return None };
    Some(match (&invitation.state, origin) {
        (InvitationState::Live { expires_at }, _) if *expires_at <= now => "expired".to_owned(),
        (InvitationState::Live { expires_at }, Origin::First) => format!("expires in {}", span(expires_at.since(now))),
        (InvitationState::Live { expires_at }, Origin::Reinvite) => {
            format!("re-invited, expires in {}", span(expires_at.since(now)))
        }
        (InvitationState::Lapsed { reason, until, .. }, _) => match (reason, until) {
            (Lapse::Held, Some(until)) => format!("held until {}", day(*until)),
            (Lapse::Held, None) => "held".to_owned(),
            (Lapse::Expired, _) => "expired".to_owned(),
            (Lapse::Bounced, _) => "bounced".to_owned(),
            (Lapse::SendFailed, _) => "could not be sent".to_owned(),
            (Lapse::Declined, _) => "declined".to_owned(),
            (Lapse::NoAddress, _) => "no address".to_owned(),
        },
    })
}

fn inactive_reason(record: &UserRecord) -> Option<String> {
    if record.user.provider_says_active() {
        return Some("provider says active".to_owned());
    }
    record.user.holds().first().map(|hold| match hold.side {
        Side::Idp => "by the identity provider".to_owned(),
        Side::Admin => "by an admin".to_owned(),
        Side::System => "invitation lapsed".to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_span_is_rounded_up_to_its_unit() {
        let words = |seconds| span(Duration::from_secs(seconds));
        assert_eq!([words(0), words(61), words(3_600), words(90_000)], ["1 min", "2 min", "1 h", "2 d"]);
    }

    #[test]
    fn initials_are_those_of_the_first_and_the_last_word() {
        assert_eq!(initials("Ada Lovelace"), "AL");
        assert_eq!(initials("ada.lovelace@example.com"), "AL");
        assert_eq!(initials("plato"), "P");
        assert_eq!(initials("…"), "");
    }

    #[test]
    fn an_address_breaks_behind_its_parts_and_a_name_nowhere_but_at_spaces() {
        assert_eq!(pieces("ada.k@mail.example"), ["ada.", "k@", "mail.", "example"]);
        assert_eq!(pieces("J. Berners-Lee"), ["J. Berners-Lee"]);
    }

    #[test]
    fn a_refusal_becomes_a_sentence() {
        assert_eq!(sentence("the user is Active already"), "The user is Active already.");
        assert_eq!(sentence("Done."), "Done.");
    }
}
