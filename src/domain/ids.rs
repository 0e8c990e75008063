//! Identifiers: opaque, checked once where they enter, ordered as they were made.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::time::Timestamp;

/// Why a text is no account id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "an account id is 1 to 40 lower-case letters, digits and single hyphens, begins with a letter, and is none of \
     the reserved words ({})",
    AccountId::RESERVED.join(", ")
)]
pub struct InvalidAccountId;

/// The slug of a tenant. It stands in URLs and, as the hash tag, in every Redis key of the account.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct AccountId(String);

impl AccountId {
    /// Words that mean something else in a console URL (`/admin/sign-in`).
    pub const RESERVED: [&'static str; 8] =
        ["accounts", "api", "assets", "choose", "new", "sign-in", "sign-out", "static"];

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for AccountId {
    type Err = InvalidAccountId;

    fn from_str(text: &str) -> Result<Self, InvalidAccountId> {
        let well_formed = (1..=40).contains(&text.len())
            && text.starts_with(|c: char| c.is_ascii_lowercase())
            && !text.ends_with('-')
            && !text.contains("--")
            && text.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-');
        if well_formed && !Self::RESERVED.contains(&text) {
            Ok(AccountId(text.to_owned()))
        } else {
            Err(InvalidAccountId)
        }
    }
}

impl TryFrom<String> for AccountId {
    type Error = InvalidAccountId;

    fn try_from(text: String) -> Result<Self, InvalidAccountId> {
        text.parse()
    }
}

impl From<AccountId> for String {
    fn from(id: AccountId) -> String {
        id.0
    }
}

impl fmt::Display for AccountId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A text that is not a UUID.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not an id of this service")]
pub struct InvalidId;

/// Declares a newtype over a UUID of version 7: unique, never reused, and ordered by the time it was made, which is
/// the order of unsorted lists (design: "Queries").
macro_rules! uuid_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(Uuid);

        impl $name {
            pub const fn from_uuid(uuid: Uuid) -> Self {
                $name(uuid)
            }

            pub const fn as_uuid(self) -> Uuid {
                self.0
            }
        }

        impl FromStr for $name {
            type Err = InvalidId;

            /// Takes the hyphenated lower-case form only, since SCIM ids are case-exact (RFC 7643 §3.1).
            fn from_str(text: &str) -> Result<Self, InvalidId> {
                let uuid = Uuid::try_parse(text).map_err(|_| InvalidId)?;
                if uuid.as_hyphenated().to_string() == text { Ok($name(uuid)) } else { Err(InvalidId) }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.as_hyphenated().fmt(f)
            }
        }
    };
}

uuid_id! {
    /// A resource: user, group, organization, project, license. The SCIM `id`.
    ResourceId
}
uuid_id! {
    /// A provisioning token (its record, not its secret).
    TokenId
}
uuid_id! {
    /// One commit of the store: a repeated batch is recognised by it.
    CommitId
}
uuid_id! {
    /// One mail or webhook that must go out.
    OutboxId
}
uuid_id! {
    /// Where webhooks of an account go.
    EndpointId
}

impl OutboxId {
    /// When it was put into the outbox: its id is made of that instant (RFC 9562 §5.7).
    pub fn made_at(self) -> Timestamp {
        let millis = self.0.as_u128() >> 80;
        Timestamp::from_millis(i64::try_from(millis).unwrap_or(0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn account_ids_are_slugs_and_not_reserved_words() {
        for good in ["default", "a", "acme-eu-2"] {
            assert_eq!(good.parse::<AccountId>().map(String::from).as_deref(), Ok(good));
        }
        for bad in ["", "Acme", "2acme", "acme-", "a--b", "a_b", "sign-in", "ümlaut", &"a".repeat(41)] {
            assert_eq!(bad.parse::<AccountId>(), Err(InvalidAccountId), "{bad}");
        }
    }

    #[test]
    fn an_id_is_read_only_in_the_form_it_was_given_out() {
        let id = "0193a5f0-0000-7000-8000-000000000001";
        assert_eq!(id.parse::<ResourceId>().map(|id| id.to_string()).as_deref(), Ok(id));
        assert_eq!(id.replace('-', "").parse::<ResourceId>(), Err(InvalidId));
        assert_eq!("0193A5F0-0000-7000-8000-000000000001".parse::<ResourceId>(), Err(InvalidId));
    }
}
