//! The pages that tell one thing, and offer at most one next step.

use std::time::Duration;

use askama::Template;
use axum::http::StatusCode;

use super::{Page, strong, with_markup};
use crate::domain::words::Words;

/// What a page tells. The words are those of the reader's language (`config/locales`, sections `page_…`).
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
pub fn notice(words: &Words, account: Option<&str>, notice: Notice<'_>) -> Page {
    let frame = notice.frame();
    let page = Page::render(frame.status, &NoticeTemplate { words, account, notice, frame });
    Page { retry_after: notice.retry_after(), ..page }
}

/// What the words of a notice have around them.
struct Frame {
    status: StatusCode,
    /// The key of the heading.
    heading: &'static str,
    /// The key of one or two words beside the icon.
    state: &'static str,
    icon: &'static str,
    tone: &'static str,
    /// The reader's seat in the plan: offered, taken, lapsed or none.
    seat: &'static str,
}

macro_rules! frame {
    ($status:expr, $section:literal, $icon:literal, $tone:literal, $seat:literal) => {
        Frame {
            status: $status,
            heading: concat!($section, ".heading"),
            state: concat!($section, ".state"),
            icon: $icon,
            tone: $tone,
            seat: $seat,
        }
    };
}

impl Notice<'_> {
    fn frame(&self) -> Frame {
        let gone = StatusCode::GONE;
        let busy = StatusCode::TOO_MANY_REQUESTS;
        match self {
            Notice::Accepted { .. } => frame!(StatusCode::OK, "page_accepted", "check", "good", "taken"),
            Notice::Confirm { .. } => frame!(StatusCode::OK, "page_confirm", "mail", "calm", "offered"),
            Notice::Confirmed => frame!(StatusCode::OK, "page_confirmed", "check", "good", "taken"),
            Notice::RoleNeeded { .. } => frame!(StatusCode::FORBIDDEN, "page_role_needed", "alert", "bad", "none"),
            Notice::AlreadyAccepted { .. } => {
                frame!(StatusCode::CONFLICT, "page_already_accepted", "check", "good", "taken")
            }
            Notice::Expired { .. } => frame!(gone, "page_expired", "clock", "calm", "lapsed"),
            Notice::Superseded => frame!(gone, "page_superseded", "mail", "calm", "lapsed"),
            Notice::NotValid => frame!(gone, "page_not_valid", "cross", "calm", "none"),
            Notice::Declined => frame!(StatusCode::OK, "page_declined", "cross", "calm", "none"),
            Notice::NewLinkRequested => frame!(StatusCode::OK, "page_new_link", "mail", "calm", "offered"),
            Notice::Throttled { .. } => frame!(busy, "page_throttled", "clock", "bad", "none"),
            Notice::TooManyTries { .. } => frame!(busy, "page_too_many_tries", "clock", "bad", "none"),
            Notice::Failed { status, .. } => Frame {
                heading: heading_of(*status),
                state: state_of(*status),
                ..frame!(*status, "page_failed", "alert", "bad", "none")
            },
        }
    }

    fn retry_after(&self) -> Option<u64> {
        match self {
            Notice::Throttled { wait } | Notice::TooManyTries { wait } => Some(wait.as_secs().max(1)),
            Notice::Accepted { .. }
            | Notice::Confirm { .. }
            | Notice::Confirmed
            | Notice::RoleNeeded { .. }
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
        StatusCode::NOT_FOUND => "page_failed.heading_not_found",
        StatusCode::METHOD_NOT_ALLOWED => "page_failed.heading_method",
        StatusCode::MISDIRECTED_REQUEST => "page_failed.heading_host",
        StatusCode::FORBIDDEN => "page_failed.heading_forbidden",
        StatusCode::SERVICE_UNAVAILABLE => "page_failed.heading_unavailable",
        status if status.is_server_error() => "page_failed.heading_broken",
        _ => "page_failed.heading",
    }
}

fn state_of(status: StatusCode) -> &'static str {
    match status {
        StatusCode::NOT_FOUND => "page_failed.state_not_found",
        status if status.is_server_error() => "page_failed.state_broken",
        _ => "page_failed.state",
    }
}

#[derive(Template)]
#[template(path = "notice.html")]
struct NoticeTemplate<'a> {
    words: &'a Words,
    account: Option<&'a str>,
    notice: Notice<'a>,
    frame: Frame,
}

impl NoticeTemplate<'_> {
    /// A text that may name the account.
    fn told(&self, key: &str) -> String {
        let account = self.account.unwrap_or_else(|| self.words.text("page.the_service"));
        self.words.told(key, &[("account", account)])
    }

    /// Who is needed, in bold.
    fn role_needed(&self) -> String {
        with_markup(&self.told("page_role_needed.lead"), &[("role", strong("Account Admin"))])
    }

    fn wait(&self, key: &str, wait: &Duration) -> String {
        self.words.told(key, &[("wait", &self.words.wait(*wait))])
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
        let page = notice(Words::english(), Some("Acme"), what);
        assert_eq!(page.status.as_u16(), status);
        assert!(page.html.contains(words), "{words} in\n{}", page.html);
        assert!(page.html.contains("<html lang=\"en\" dir=\"ltr\">"));
        assert!(!page.html.contains("style=\""), "the content security policy forbids inline styles");
    }

    #[test]
    fn a_failure_names_its_reference_and_no_account_when_none_is_known() {
        let failed = Notice::Failed {
            status: StatusCode::INTERNAL_SERVER_ERROR,
            detail: "It broke.",
            reference: Some("0193a5f0-0000-7000-8000-000000000001"),
        };
        let page = notice(Words::english(), None, failed);
        assert!(page.html.contains("Something went wrong"));
        assert!(page.html.contains("<code>0193a5f0-0000-7000-8000-000000000001</code>"));
        assert!(page.html.contains("<title>Something went wrong</title>"));
    }

    #[test]
    fn throttled_people_are_told_the_same_as_their_browsers() {
        let page = notice(Words::english(), None, Notice::Throttled { wait: Duration::from_secs(40) });
        assert_eq!(page.retry_after, Some(40));
    }

    #[test]
    fn every_notice_is_told_in_every_language() {
        let wait = Duration::from_secs(40);
        let failed = |status| Notice::Failed { status, detail: "It broke.", reference: Some("0193a5f0") };
        let notices = [
            Notice::Accepted { continue_to: Some("/s"), console: Some("/admin/acme") },
            Notice::Accepted { continue_to: None, console: None },
            Notice::Confirm { csrf: "c" },
            Notice::Confirmed,
            Notice::RoleNeeded { sign_in: "/s" },
            Notice::AlreadyAccepted { sign_in: None },
            Notice::AlreadyAccepted { sign_in: Some("/s") },
            Notice::Expired { csrf: "c" },
            Notice::Superseded,
            Notice::NotValid,
            Notice::Declined,
            Notice::NewLinkRequested,
            Notice::Throttled { wait },
            Notice::TooManyTries { wait },
            failed(StatusCode::NOT_FOUND),
            failed(StatusCode::METHOD_NOT_ALLOWED),
            failed(StatusCode::MISDIRECTED_REQUEST),
            failed(StatusCode::FORBIDDEN),
            failed(StatusCode::SERVICE_UNAVAILABLE),
            failed(StatusCode::INTERNAL_SERVER_ERROR),
            failed(StatusCode::BAD_REQUEST),
        ];
        for words in crate::domain::words::Languages::built_in().iter() {
            for what in notices {
                let html = notice(words, Some("Acme & Co"), what).html;
                assert!(html.contains(&format!("<html lang=\"{}\" dir=\"ltr\">", words.tag())));
                let shown = html.split("<main").nth(1).unwrap();
                assert!(!shown.contains("page_") && !shown.contains("page."), "a text is missing: {shown}");
                assert!(!shown.contains('{') && !shown.contains("Acme & Co"), "{shown}");
            }
        }
    }

    #[test]
    fn a_reader_of_japanese_is_told_in_japanese() {
        let words = crate::domain::words::Languages::built_in().best(["ja"]).clone();
        let page = notice(&words, Some("Acme"), Notice::Throttled { wait: Duration::from_secs(61) });
        assert!(page.html.contains("2 分"), "{}", page.html);
    }
}
