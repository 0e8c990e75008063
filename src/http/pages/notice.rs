//! The pages that tell one thing, and offer at most one next step.

use std::time::Duration;

use askama::Template;
use axum::http::StatusCode;

use super::Page;

/// What a page tells. The words stand in `notice.html`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Notice<'a> {
    /// The invitation was accepted just now; `continue_to` is the configured address to go on to.
    Accepted {
        continue_to: Option<&'a str>,
        /// The console, for somebody who administers the account and is signed in now.
        console: Option<&'a str>,
    },
    /// A new address is to be confirmed by a click.
    Confirm {
        csrf: &'a str,
    },
    /// It was.
    Confirmed,
    /// Signed in, but not as an Account Admin.
    RoleNeeded {
        sign_in: &'a str,
    },
    /// The issuer's word let nobody in; `detail` is a sentence for the reader, `reference` the request id.
    NotSignedIn {
        status: StatusCode,
        detail: &'a str,
        sign_in: &'a str,
        reference: Option<&'a str>,
    },
    /// The link was used before; `sign_in` is where to sign in instead.
    AlreadyAccepted {
        sign_in: Option<&'a str>,
    },
    /// The link is right but too old.
    Expired {
        csrf: &'a str,
    },
    /// A newer invitation was sent.
    Superseded,
    /// Forged, withdrawn, mangled: the same for all, so that nothing can be learned from it.
    NotValid,
    Declined,
    /// The same whether a mail was sent or not.
    NewLinkRequested,
    /// The client asked too often.
    Throttled {
        wait: Duration,
    },
    /// Too many wrong addresses for one invitation.
    TooManyTries {
        wait: Duration,
    },
    /// Anything else; `detail` is a sentence for the reader, `reference` the request id.
    Failed {
        status: StatusCode,
        detail: &'a str,
        reference: Option<&'a str>,
    },
}

/// The page of `notice`. `account` is the account's display name, where the link told which it is.
pub fn notice(account: Option<&str>, notice: Notice<'_>) -> Page {
    let frame = notice.frame();
    let page = Page::render(frame.status, &NoticeTemplate { account, notice, frame });
    Page { retry_after: notice.retry_after(), ..page }
}

/// What the words of a notice have around them.
struct Frame {
    status: StatusCode,
    heading: &'static str,
    /// One or two words beside the icon.
    state: &'static str,
    icon: &'static str,
    tone: &'static str,
    /// The reader's seat in the plan: offered, taken, lapsed or none.
    seat: &'static str,
}

impl Notice<'_> {
    fn frame(&self) -> Frame {
        let frame = |status, heading, state, icon, tone, seat| Frame { status, heading, state, icon, tone, seat };
        let gone = StatusCode::GONE;
        let busy = StatusCode::TOO_MANY_REQUESTS;
        match self {
            Notice::Accepted { .. } => frame(StatusCode::OK, "Welcome", "Accepted", "check", "good", "taken"),
            Notice::Confirm { .. } => {
                frame(StatusCode::OK, "Is this your address?", "One more step", "mail", "calm", "offered")
            }
            Notice::Confirmed => {
                frame(StatusCode::OK, "Your address is confirmed", "Confirmed", "check", "good", "taken")
            }
            Notice::RoleNeeded { .. } => {
                frame(StatusCode::FORBIDDEN, "You need the Account Admin role", "Refused", "alert", "bad", "none")
            }
            Notice::NotSignedIn { status, .. } => {
                frame(*status, "You are not signed in", "That did not work", "alert", "bad", "none")
            }
            Notice::AlreadyAccepted { .. } => {
                frame(StatusCode::CONFLICT, "You have already accepted", "Accepted", "check", "good", "taken")
            }
            Notice::Expired { .. } => frame(gone, "This invitation has expired", "Expired", "clock", "calm", "lapsed"),
            Notice::Superseded => frame(gone, "A newer invitation was sent", "Replaced", "mail", "calm", "lapsed"),
            Notice::NotValid => frame(gone, "This link does not work", "Not valid", "cross", "calm", "none"),
            Notice::Declined => {
                frame(StatusCode::OK, "You have declined the invitation", "Declined", "cross", "calm", "none")
            }
            Notice::NewLinkRequested => {
                frame(StatusCode::OK, "Check your mail", "Requested", "mail", "calm", "offered")
            }
            Notice::Throttled { .. } => {
                frame(busy, "Please wait a moment", "Too many requests", "clock", "bad", "none")
            }
            Notice::TooManyTries { .. } => frame(busy, "Please wait a while", "Too many tries", "clock", "bad", "none"),
            Notice::Failed { status, .. } => {
                frame(*status, heading_of(*status), state_of(*status), "alert", "bad", "none")
            }
        }
    }

    fn retry_after(&self) -> Option<u64> {
        match self {
            Notice::Throttled { wait } | Notice::TooManyTries { wait } => Some(wait.as_secs().max(1)),
            Notice::Accepted { .. }
            | Notice::Confirm { .. }
            | Notice::Confirmed
            | Notice::RoleNeeded { .. }
            | Notice::NotSignedIn { .. }
            | Notice::AlreadyAccepted { .. }
            | Notice::Expired { .. }
            | Notice::Superseded
            | Notice::NotValid
            | Notice::Declined
            | Notice::NewLinkRequested
            | Notice::Failed { .. } => None,
        }
    }
}

fn heading_of(status: StatusCode) -> &'static str {
    match status {
        StatusCode::NOT_FOUND => "There is no such page",
        StatusCode::METHOD_NOT_ALLOWED => "This cannot be done here",
        StatusCode::MISDIRECTED_REQUEST => "Nothing is served under this name",
        StatusCode::FORBIDDEN => "This is not allowed",
        StatusCode::SERVICE_UNAVAILABLE => "Not available right now",
        status if status.is_server_error() => "Something went wrong",
        _ => "This did not work",
    }
}

fn state_of(status: StatusCode) -> &'static str {
    match status {
        StatusCode::NOT_FOUND => "Not found",
        status if status.is_server_error() => "Our fault",
        _ => "Refused",
    }
}

/// A wait for people: `40 seconds`, `1 minute`, `2 hours`; rounded up.
fn wait_in_words(wait: Duration) -> String {
    let seconds = wait.as_secs().max(1);
    let (count, unit) = match seconds {
        0..=59 => (seconds, "second"),
        60..=3599 => (seconds.div_ceil(60), "minute"),
        _ => (seconds.div_ceil(3600), "hour"),
    };
    if count == 1 { format!("1 {unit}") } else { format!("{count} {unit}s") }
}

#[derive(Template)]
#[template(path = "notice.html")]
struct NoticeTemplate<'a> {
    account: Option<&'a str>,
    notice: Notice<'a>,
    frame: Frame,
}

impl NoticeTemplate<'_> {
    fn the_account(&self) -> &str {
        self.account.unwrap_or("the service")
    }

    fn in_words(&self, wait: &Duration) -> String {
        wait_in_words(*wait)
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    /// Statuses from the lifecycle's table of invitee events.
    #[rstest]
    #[case::accepted(Notice::Accepted { continue_to: None, console: None }, 200, "Welcome")]
    #[case::admin(Notice::Accepted { continue_to: None, console: Some("/admin/acme") }, 200, "href=\"/admin/acme\"")]
    #[case::confirm(Notice::Confirm { csrf: "c" }, 200, "Confirm address")]
    #[case::confirmed(Notice::Confirmed, 200, "Your address is confirmed")]
    #[case::role_needed(Notice::RoleNeeded { sign_in: "/s" }, 403, "You need the Account Admin role")]
    #[case::already_accepted(Notice::AlreadyAccepted { sign_in: None }, 409, "already accepted")]
    #[case::expired(Notice::Expired { csrf: "c" }, 410, "Send me a new link")]
    #[case::superseded(Notice::Superseded, 410, "A newer invitation was sent")]
    #[case::not_valid(Notice::NotValid, 410, "This link does not work")]
    #[case::declined(Notice::Declined, 200, "declined the invitation")]
    #[case::new_link_requested(Notice::NewLinkRequested, 200, "Check your mail")]
    #[case::throttled(Notice::Throttled { wait: Duration::from_secs(40) }, 429, "try again in 40 seconds")]
    #[case::too_many_tries(Notice::TooManyTries { wait: Duration::from_secs(61) }, 429, "try again in 2 minutes")]
    fn each_notice_has_its_status_and_words(#[case] what: Notice<'_>, #[case] status: u16, #[case] words: &str) {
        let page = notice(Some("Acme"), what);
        assert_eq!(page.status.as_u16(), status);
        assert!(page.html.contains(words), "{words} in\n{}", page.html);
        assert!(page.html.contains("<html lang=\"en\">"));
        assert!(!page.html.contains("style=\""), "the content security policy forbids inline styles");
    }

    #[test]
    fn a_failure_names_its_reference_and_no_account_when_none_is_known() {
        let failed = Notice::Failed {
            status: StatusCode::INTERNAL_SERVER_ERROR,
            detail: "It broke.",
            reference: Some("0193a5f0-0000-7000-8000-000000000001"),
        };
        let page = notice(None, failed);
        assert!(page.html.contains("Something went wrong"));
        assert!(page.html.contains("<code>0193a5f0-0000-7000-8000-000000000001</code>"));
        assert!(page.html.contains("<title>Something went wrong</title>"));
    }

    #[test]
    fn throttled_people_are_told_the_same_as_their_browsers() {
        let page = notice(None, Notice::Throttled { wait: Duration::from_secs(40) });
        assert_eq!(page.retry_after, Some(40));
        assert_eq!(wait_in_words(Duration::from_millis(300)), "1 second");
        assert_eq!(wait_in_words(Duration::from_secs(3600)), "1 hour");
    }
}
