//! Why a mail was not sent, and what that means for the queue: pure decisions over what the relay answered and how far
//! the conversation had come.

use super::smtp::Phase;

/// What becomes of a mail that was not accepted. The worker decides by the variant alone; `text` is for the outbox page
/// and the log, one line, without secrets.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SendFailure {
    /// Not now: no connection, no answer before anything was sent, or a 4xx reply. Back off and try again.
    #[error("temporary failure: {text}")]
    Temporary { code: Option<u16>, text: String },
    /// The relay asks for less: slow the whole queue down, this mail is not at fault. It is tried again.
    #[error("the relay is throttling: {text}")]
    Throttled { code: u16, text: String },
    /// This recipient will not take mail: a hard bounce (lifecycle: "hard bounce"). Never tried again.
    #[error("the recipient was refused: {text}")]
    RecipientRefused { code: Option<u16>, text: String },
    /// Something an operator has to mend (credentials, sender, TLS, relay rights): every other mail would fail alike.
    /// Pause the queue and alert.
    #[error("the mail relay refuses to work for us: {text}")]
    /// `of_mail`: the answer came when this mail's recipient or content was on the table, so it may be about that alone.
    Configuration { code: Option<u16>, text: String, of_mail: bool },
    /// The message had been handed over when the connection broke: it may have been delivered. Repeat a bounded number
    /// of times, with the same Message-ID and the same link.
    #[error("the outcome is unknown: {text}")]
    Unknown { text: String },
}

impl SendFailure {
    /// The reply code of the relay, when there was a reply.
    pub const fn code(&self) -> Option<u16> {
        match self {
            SendFailure::Temporary { code, .. }
            | SendFailure::RecipientRefused { code, .. }
            | SendFailure::Configuration { code, .. } => *code,
            SendFailure::Throttled { code, .. } => Some(*code),
            SendFailure::Unknown { .. } => None,
        }
    }

    /// What the relay said, or what went wrong, in one line.
    pub fn text(&self) -> &str {
        match self {
            SendFailure::Temporary { text, .. }
            | SendFailure::Throttled { text, .. }
            | SendFailure::RecipientRefused { text, .. }
            | SendFailure::Configuration { text, .. }
            | SendFailure::Unknown { text } => text,
        }
    }
}

/// A reply with a code of 400 or more (RFC 5321 §4.2.1).
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Refusal {
    pub code: u16,
    pub text: String,
}

/// An enhanced status code (RFC 3463): class, subject, detail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Enhanced {
    class: u8,
    subject: u16,
    detail: u16,
}

impl Enhanced {
    /// The code at the beginning of a reply text, if its class agrees with the reply code (RFC 2034 §4).
    fn of(refusal: &Refusal) -> Option<Self> {
        let word = refusal.text.split_whitespace().next()?;
        let mut parts = word.splitn(3, '.').map(str::parse::<u16>);
        let (class, subject, detail) = (parts.next()?.ok()?, parts.next()?.ok()?, parts.next()?.ok()?);
        let class = u8::try_from(class).ok().filter(|&class| u16::from(class) == refusal.code / 100)?;
        Some(Enhanced { class, subject, detail })
    }

    /// X.1.0 to X.1.6 and X.1.9 ff. speak of the destination address, X.1.7 and X.1.8 of the sender's; X.2.x of the
    /// destination mailbox (RFC 3463 §3.2, §3.3).
    const fn recipient(self) -> bool {
        match self.subject {
            1 => !matches!(self.detail, 7 | 8),
            2 => true,
            _ => false,
        }
    }

    /// X.7.x: security or policy (RFC 3463 §3.8), which relays also use for rates and reputation.
    const fn policy(self) -> bool {
        self.subject == 7
    }
}

/// What a refusal means, given the command that it answers.
pub(super) fn refused(phase: Phase, refusal: Refusal) -> SendFailure {
    let enhanced = Enhanced::of(&refusal);
    let Refusal { code, text } = refusal;
    match code {
        421 | 454 => SendFailure::Throttled { code, text },
        // Before a recipient is named, policy is about us (rate, reputation); after that it is about this mail, and
        // mostly greylisting.
        400..=499 if enhanced.is_some_and(Enhanced::policy) && phase < Phase::Recipient => {
            SendFailure::Throttled { code, text }
        }
        400..=499 => SendFailure::Temporary { code: Some(code), text },
        _ if recipient_at_fault(phase, code, enhanced, &text) => {
            SendFailure::RecipientRefused { code: Some(code), text }
        }
        _ => SendFailure::Configuration { code: Some(code), text, of_mail: phase >= Phase::Recipient },
    }
}

/// Whether a permanent refusal is about the recipient alone.
///
/// An answer to RCPT is, with exceptions that would bounce the whole queue for a mistake of ours: syntax, sequence and
/// authentication codes (500 to 504 and 530 ff.), a complaint about the sender (X.1.7, X.1.8), `554 5.7.1`, with which
/// Postfix denies relaying and blocks clients, and whatever says in words that it does not relay or does not take the
/// sender's address: Exchange, Exim and Sendmail deny relaying by 550, with and without `5.7.x`. Any other `550 5.7.x`
/// is how hosted mailboxes refuse strangers, hence the recipient's.
fn recipient_at_fault(phase: Phase, code: u16, enhanced: Option<Enhanced>, text: &str) -> bool {
    match (phase, enhanced) {
        (Phase::Recipient | Phase::Data | Phase::Content, Some(enhanced)) if enhanced.recipient() => true,
        (Phase::Recipient, Some(Enhanced { subject: 1, .. })) => false,
        (Phase::Recipient, Some(enhanced)) if enhanced.policy() && code == 554 => false,
        (Phase::Recipient, _) if speaks_of_us(text) => false,
        (Phase::Recipient, _) => !matches!(code, 500..=504 | 530..=538),
        (
            Phase::Connect | Phase::StartTls | Phase::Authentication | Phase::Sender | Phase::Data | Phase::Content,
            _,
        ) => false,
    }
}

/// Whether a refusal is about whoever sends, in the words of the usual servers.
fn speaks_of_us(text: &str) -> bool {
    let text = text.to_ascii_lowercase();
    ["relay", "sender address"].iter().any(|words| text.contains(words))
}

/// What a broken or silent connection means: nothing was handed over before the content was sent.
pub(super) fn broken(phase: Phase, text: String) -> SendFailure {
    match phase {
        Phase::Connect | Phase::StartTls | Phase::Authentication | Phase::Sender | Phase::Recipient | Phase::Data => {
            SendFailure::Temporary { code: None, text }
        }
        Phase::Content => SendFailure::Unknown { text },
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    fn verdict(phase: Phase, code: u16, text: &str) -> &'static str {
        match refused(phase, Refusal { code, text: text.to_owned() }) {
            SendFailure::Temporary { .. } => "temporary",
            SendFailure::Throttled { .. } => "throttled",
            SendFailure::RecipientRefused { .. } => "recipient",
            SendFailure::Configuration { .. } => "configuration",
            SendFailure::Unknown { .. } => "unknown",
        }
    }

    #[rstest]
    #[case::unknown_mailbox(Phase::Recipient, 550, "5.1.1 <ada@example.org>: User unknown", "recipient")]
    #[case::unknown_mailbox_without_enhanced_code(Phase::Recipient, 550, "no such user here", "recipient")]
    #[case::bad_address_syntax(Phase::Recipient, 501, "5.1.3 Bad recipient address syntax", "recipient")]
    #[case::mailbox_full(Phase::Recipient, 552, "5.2.2 Mailbox full", "recipient")]
    #[case::closed_group(Phase::Recipient, 550, "5.7.133 sender not authenticated for group", "recipient")]
    #[case::mailbox_unknown_only_after_data(Phase::Content, 550, "5.1.1 unknown user", "recipient")]
    #[case::relaying_denied(Phase::Recipient, 554, "5.7.1 <a@b.c>: Relay access denied", "configuration")]
    #[case::relaying_denied_by_microsoft(
        Phase::Recipient,
        550,
        "5.7.64 TenantAttribution; Relay Access Denied",
        "configuration"
    )]
    #[case::relaying_denied_by_exchange(
        Phase::Recipient,
        550,
        "5.7.54 SMTP; Unable to relay recipient",
        "configuration"
    )]
    #[case::relaying_denied_by_exim(Phase::Recipient, 550, "relay not permitted", "configuration")]
    #[case::sender_of_somebody_else(
        Phase::Recipient,
        553,
        "5.7.1 <a@b.c>: Sender address rejected: not owned by user",
        "configuration"
    )]
    #[case::unknown_at_a_relay(Phase::Recipient, 550, "5.1.1 unknown in relay recipient table", "recipient")]
    #[case::authentication_required(Phase::Recipient, 530, "5.7.0 Must authenticate first", "configuration")]
    #[case::bad_sequence(Phase::Recipient, 503, "MAIL first", "configuration")]
    #[case::sender_rejected_at_recipient(Phase::Recipient, 550, "5.1.8 Sender address rejected", "configuration")]
    #[case::sender_rejected(Phase::Sender, 550, "5.1.1 Sender rejected", "configuration")]
    #[case::wrong_password(Phase::Authentication, 535, "5.7.8 Authentication failed", "configuration")]
    #[case::no_service(Phase::Connect, 554, "No SMTP service here", "configuration")]
    #[case::spam(Phase::Content, 550, "5.7.26 unauthenticated mail is not accepted", "configuration")]
    #[case::greylisted_by_policy(Phase::Recipient, 451, "4.7.1 Greylisting in action", "temporary")]
    #[case::greylisted(Phase::Recipient, 450, "4.2.0 Try again later", "temporary")]
    #[case::local_error(Phase::Content, 451, "4.3.0 queue file write error", "temporary")]
    #[case::service_closing(Phase::Recipient, 421, "4.3.2 shutting down", "throttled")]
    #[case::authentication_busy(Phase::Authentication, 454, "4.7.0 Temporary failure", "throttled")]
    #[case::rate(Phase::Sender, 450, "4.7.28 unusual rate", "throttled")]
    fn a_reply_is_judged_by_the_command_it_answers(
        #[case] phase: Phase,
        #[case] code: u16,
        #[case] text: &str,
        #[case] expected: &str,
    ) {
        assert_eq!(verdict(phase, code, text), expected);
    }

    #[test]
    fn an_enhanced_code_counts_only_when_it_agrees_with_the_reply_code() {
        assert_eq!(verdict(Phase::Content, 550, "4.1.1 odd"), "configuration");
        assert_eq!(verdict(Phase::Recipient, 450, "5.1.1 odd"), "temporary");
    }

    #[test]
    fn a_broken_connection_leaves_the_outcome_open_only_once_content_was_sent() {
        let text = "connection closed".to_owned();
        assert!(matches!(broken(Phase::Data, text.clone()), SendFailure::Temporary { code: None, .. }));
        assert!(matches!(broken(Phase::Content, text), SendFailure::Unknown { .. }));
    }
}
