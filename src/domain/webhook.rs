//! Webhooks: where they go, what they tell, and how they are signed.

use std::fmt;
use std::str::FromStr;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use hmac::{Hmac, KeyInit, Mac};
use serde::{Deserialize, Serialize};
use sha2::Sha256;
use url::Url;

use super::token::keyring::{TAG_OCTETS, Tag};
use super::user::{Invitation, Standing, Status, User};

/// What happened to a user, as an application is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum UserEvent {
    #[serde(rename = "user.invited")]
    Invited,
    #[serde(rename = "user.activated")]
    Activated,
    #[serde(rename = "user.deactivated")]
    Deactivated,
    #[serde(rename = "user.deleted")]
    Deleted,
    #[serde(rename = "user.erased")]
    Erased,
    #[serde(rename = "user.role_changed")]
    RoleChanged,
}

/// A text that names no event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("no such event")]
pub struct UnknownEvent;

impl UserEvent {
    pub const ALL: [UserEvent; 6] = [
        UserEvent::Invited,
        UserEvent::Activated,
        UserEvent::Deactivated,
        UserEvent::Deleted,
        UserEvent::Erased,
        UserEvent::RoleChanged,
    ];

    pub const fn as_str(self) -> &'static str {
        match self {
            UserEvent::Invited => "user.invited",
            UserEvent::Activated => "user.activated",
            UserEvent::Deactivated => "user.deactivated",
            UserEvent::Deleted => "user.deleted",
            UserEvent::Erased => "user.erased",
            UserEvent::RoleChanged => "user.role_changed",
        }
    }

    /// For the help.
    pub const fn meaning(self) -> &'static str {
        match self {
            UserEvent::Invited => "A link that lets them in works from now on",
            UserEvent::Activated => "They may enter",
            UserEvent::Deactivated => "They may not enter any more, or never did and will not",
            UserEvent::Deleted => "They are gone",
            UserEvent::Erased => "Nothing personal of them is kept any more",
            UserEvent::RoleChanged => "They have another account role, or other projects or roles in them",
        }
    }

    /// What a change of a user is told as. Several things may have happened at once.
    pub fn between(before: &User, after: &User) -> Vec<UserEvent> {
        let has_link = |user: &User| user.invitation().is_some_and(Invitation::is_live);
        let is_known = |user: &User| !matches!(user.standing, Standing::Unborn);
        let (was, is) = (before.status(), after.status());
        let happened = |event: UserEvent| match event {
            UserEvent::Invited => has_link(after) && !has_link(before),
            UserEvent::Activated => is == Some(Status::Active) && was != is,
            UserEvent::Deactivated => is_deactivation(was, is),
            UserEvent::Deleted => was.is_some() && is.is_none(),
            UserEvent::Erased => is_known(before) && !is_known(after),
            UserEvent::RoleChanged => {
                was.is_some()
                    && is.is_some()
                    && (before.account_role != after.account_role || before.projects != after.projects)
            }
        };
        Self::ALL.into_iter().filter(|event| happened(*event)).collect()
    }
}

/// Whether somebody who could enter, or was to, may not any more.
pub(super) const fn is_deactivation(was: Option<Status>, is: Option<Status>) -> bool {
    match (was, is) {
        (Some(Status::Active), Some(Status::Pending)) => true,
        (Some(Status::Active | Status::Pending), Some(Status::Inactive)) => true,
        (Some(_) | None, Some(_) | None) => false,
    }
}

impl FromStr for UserEvent {
    type Err = UnknownEvent;

    fn from_str(text: &str) -> Result<Self, UnknownEvent> {
        Self::ALL.into_iter().find(|event| event.as_str() == text).ok_or(UnknownEvent)
    }
}

impl fmt::Display for UserEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Why a text is no address of a webhook.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "not the address of a webhook: write https://host/path, without a password and a fragment, {} characters at the most",
    HookUrl::MAX_CHARS
)]
pub struct InvalidHookUrl;

/// Why an address of a webhook is not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a webhook goes over https; http is for intranets, with webhooks.allow_private")]
pub struct NotHttps;

/// Where webhooks of one endpoint go. It may hold a secret in its path, so it stands in no log.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct HookUrl(Url);

impl HookUrl {
    pub const MAX_CHARS: usize = 1_000;

    pub fn as_url(&self) -> &Url {
        &self.0
    }

    pub fn is_https(&self) -> bool {
        self.0.scheme() == "https"
    }

    /// # Errors
    /// When it is http and `allow_private` (`webhooks.allow_private`) is not set.
    pub fn check_scheme(&self, allow_private: bool) -> Result<(), NotHttps> {
        if self.is_https() || allow_private { Ok(()) } else { Err(NotHttps) }
    }
}

impl FromStr for HookUrl {
    type Err = InvalidHookUrl;

    fn from_str(text: &str) -> Result<Self, InvalidHookUrl> {
        let url = Url::parse(text).map_err(|_| InvalidHookUrl)?;
        let is_bare = url.username().is_empty() && url.password().is_none() && url.fragment().is_none();
        let fits = text.len() <= Self::MAX_CHARS && matches!(url.scheme(), "http" | "https") && url.has_host();
        if is_bare && fits { Ok(HookUrl(url)) } else { Err(InvalidHookUrl) }
    }
}

impl TryFrom<String> for HookUrl {
    type Error = InvalidHookUrl;

    fn try_from(text: String) -> Result<Self, InvalidHookUrl> {
        text.parse()
    }
}

impl From<HookUrl> for String {
    fn from(url: HookUrl) -> String {
        url.0.into()
    }
}

impl fmt::Display for HookUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Shows the host only.
impl fmt::Debug for HookUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "HookUrl({})", self.0.host_str().unwrap_or_default())
    }
}

/// What an endpoint and usherd share. It is derived whenever it is needed and never stored.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct HookKey([u8; TAG_OCTETS]);

impl HookKey {
    pub const fn of(tag: &Tag) -> Self {
        HookKey(*tag.as_bytes())
    }

    /// As its owner keeps it, to be shown once: `whsec_` and base64 (Standard Webhooks, "Signature scheme").
    pub fn expose(&self) -> String {
        format!("whsec_{}", STANDARD.encode(self.0))
    }

    /// As the bearer token that goes along with security event tokens, to be shown once as well.
    pub fn bearer(&self) -> String {
        format!("usb_{}", URL_SAFE_NO_PAD.encode(self.0))
    }

    /// One entry of `webhook-signature`: `v1,` and the base64 of HMAC-SHA256 over `id.timestamp.body` (Standard
    /// Webhooks, "Signature scheme"). `timestamp` is in seconds.
    pub fn sign(&self, id: &str, timestamp: i64, body: &[u8]) -> String {
        signature(&self.0, id, timestamp, body)
    }
}

fn signature(key: &[u8], id: &str, timestamp: i64, body: &[u8]) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes keys of any length");
    mac.update(format!("{id}.{timestamp}.").as_bytes());
    mac.update(body);
    format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_of_the_web_and_holds_no_password() {
        for good in ["https://app.example.com/hooks/usherd?tenant=1", "http://[fd00::1]:8080/"] {
            assert!(good.parse::<HookUrl>().is_ok(), "{good}");
        }
        let long = format!("https://app.example.com/{}", "a".repeat(1_000));
        for bad in ["", "app.example.com", "ftp://a.example", "https://u:p@a.example/", "https://a.example/#x", &long] {
            assert_eq!(bad.parse::<HookUrl>(), Err(InvalidHookUrl), "{bad}");
        }
    }

    #[test]
    fn an_address_is_not_shown_whole_where_it_could_get_into_a_log() {
        let url: HookUrl = "https://hooks.example.com/T0/secret".parse().unwrap();
        assert_eq!(format!("{url:?}"), "HookUrl(hooks.example.com)");
    }

    /// The secret, the message and the signature stand so in the specification of Standard Webhooks.
    #[test]
    fn a_signature_is_that_of_standard_webhooks() {
        let secret = STANDARD.decode("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap();
        let signed = signature(&secret, "msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, b"{\"test\": 2432232314}");
        assert_eq!(signed, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    }

    #[test]
    fn every_event_is_read_by_its_name() {
        for event in UserEvent::ALL {
            assert_eq!(event.as_str().parse(), Ok(event));
            assert_eq!(serde_json::to_value(event).unwrap(), event.as_str());
        }
        assert_eq!("user.updated".parse::<UserEvent>(), Err(UnknownEvent));
    }
}
