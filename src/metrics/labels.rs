//! What the labels of the metrics can say, and in which words.

use prometheus_client::encoding::{EncodeLabelValue, LabelValueEncoder};

/// The face of the service that a request asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RouteClass {
    Scim,
    Api,
    Invitee,
    Console,
    Hooks,
    Assets,
    Other,
}

impl RouteClass {
    /// By the first segment of `path`.
    pub fn of(path: &str) -> Self {
        match path.split('/').nth(1).unwrap_or_default() {
            "scim" => RouteClass::Scim,
            "api" => RouteClass::Api,
            "i" | "accept" | "decline" => RouteClass::Invitee,
            "admin" => RouteClass::Console,
            "hooks" => RouteClass::Hooks,
            "assets" => RouteClass::Assets,
            _ => RouteClass::Other,
        }
    }
}

/// How a call of the store ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum StoreOutcome {
    Ok,
    /// A check of a batch failed; the use case loads again.
    Conflict,
    /// The store could not be reached, refused, or did not answer in time.
    Unavailable,
    /// What is stored, or what was to be stored, is wrong: a fault to report.
    Failed,
}

/// How one attempt to send a mail ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum MailOutcome {
    Sent,
    /// Tried again later.
    Deferred,
    /// The recipient was refused for good.
    Bounced,
    /// Given up after the last attempt.
    Failed,
    /// Its invitation was gone before it was sent.
    Dropped,
}

/// How one attempt to send a webhook ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum WebhookOutcome {
    Taken,
    /// Tried again later.
    Deferred,
    /// Given up after the last attempt.
    Failed,
    /// The endpoint answered 410 and is disabled.
    Gone,
}

/// Which limit was hit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum LimitKind {
    Token,
    Address,
    SignIn,
    /// Open streams of events.
    Streams,
}

/// Writes an enum as a label: the words that dashboards rely on, apart from the names in the code.
macro_rules! label_values {
    ($kind:ident { $($variant:ident => $text:literal),+ $(,)? }) => {
        impl EncodeLabelValue for $kind {
            fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> Result<(), std::fmt::Error> {
                let text = match self {
                    $($kind::$variant => $text,)+
                };
                text.encode(encoder)
            }
        }
    };
}

label_values!(RouteClass {
    Scim => "scim",
    Api => "api",
    Invitee => "invitee",
    Console => "console",
    Hooks => "hooks",
    Assets => "assets",
    Other => "other",
});
label_values!(StoreOutcome { Ok => "ok", Conflict => "conflict", Unavailable => "unavailable", Failed => "failed" });
label_values!(MailOutcome {
    Sent => "sent",
    Deferred => "deferred",
    Bounced => "bounced",
    Failed => "failed",
    Dropped => "dropped",
});
label_values!(WebhookOutcome { Taken => "taken", Deferred => "deferred", Failed => "failed", Gone => "gone" });
label_values!(LimitKind { Token => "token", Address => "address", SignIn => "sign_in", Streams => "streams" });
