//! The identity of a mail, as it stands in its Message-ID: which mail, to whom, in which account. A mail service that
//! reports a bounce weeks later names it, and nothing has to be kept of mails that went well.

use std::fmt;
use std::str::FromStr;

use super::ids::{AccountId, OutboxId, ResourceId};

/// `<outbox id.user id.account@host>` (RFC 5322 §3.6.4). The same for all attempts at one mail.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MailIdentity {
    pub mail: OutboxId,
    pub user: ResourceId,
    pub account: AccountId,
}

/// A text that is not the Message-ID of a mail to a user.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not the Message-ID of a mail of this service")]
pub struct NotOurs;

impl fmt::Display for MailIdentity {
    /// The left side.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}.{}", self.mail, self.user, self.account)
    }
}

impl FromStr for MailIdentity {
    type Err = NotOurs;

    /// With or without angle brackets; what stands behind the @ is not looked at, since a public URL may change.
    fn from_str(text: &str) -> Result<Self, NotOurs> {
        let text = text.trim();
        let bare = text.strip_prefix('<').and_then(|text| text.strip_suffix('>')).unwrap_or(text);
        let (left, _) = bare.rsplit_once('@').ok_or(NotOurs)?;
        let mut parts = left.splitn(3, '.');
        let (mail, user, account) = (parts.next(), parts.next(), parts.next());
        let identity = || {
            Some(MailIdentity { mail: mail?.parse().ok()?, user: user?.parse().ok()?, account: account?.parse().ok()? })
        };
        identity().ok_or(NotOurs)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "0193a5f0-0000-7000-8000-000000000001.0193a5f0-0000-7000-8000-000000000002.acme-eu";

    #[test]
    fn an_identity_is_read_back_with_and_without_brackets() {
        for text in [format!("<{ID}@users.example.com>"), format!(" {ID}@other.example ")] {
            assert_eq!(text.parse::<MailIdentity>().map(|identity| identity.to_string()), Ok(ID.to_owned()), "{text}");
        }
    }

    #[test]
    fn anything_else_is_none_of_ours() {
        for text in ["", "<>", "<abc@example.com>", ID, "<0193a5f0-0000-7000-8000-000000000001@example.com>"] {
            assert_eq!(text.parse::<MailIdentity>(), Err(NotOurs), "{text}");
        }
    }
}
