//! The keyspace, said once: which documents, unique keys, indexes and counters there are. How a backend spells them
//! is in `store`.
//!
//! In the space of an account:
//!
//! | document | id | body | state |
//! |---|---|---|---|
//! | `settings` | `account` | [`super::account::Account`] | – |
//! | `user` | resource id | SCIM User without groups and meta | [`super::record`] |
//! | `organization`, `project`, `license` | resource id | SCIM resource without meta | index entries |
//! | `token` | token id | [`super::tokens::Token`] | – |
//! | `token-use` | token id | when it was used last | – |
//! | `outbox` | outbox id | [`super::outbox::Letter`] | – |
//! | `session` | user id | [`super::sessions::Sessions`] of that user | – |
//! | `sign-in` | user id | [`super::sign_in::Codes`] mailed to that user | – |
//!
//! In the space of the installation: `signing-keys`/`fingerprints`, the index [`ACCOUNTS`], the unique key [`TOKEN_HASH`].

use crate::domain::ids::{OutboxId, ResourceId, TokenId};
use crate::store::{DocumentKey, Owner};

/// Raised when the index entries of a document change; reconciliation re-indexes older ones.
pub const INDEX_VERSION: u32 = 1;

pub const SETTINGS: &str = "settings";
pub const USER: &str = "user";
pub const TOKEN: &str = "token";
pub const TOKEN_USE: &str = "token-use";
pub const OUTBOX: &str = "outbox";
pub const SESSION: &str = "session";
pub const SIGN_IN: &str = "sign-in";
pub const SIGNING_KEYS: &str = "signing-keys";

/// Unique: folded userName → user (G8).
pub const USER_NAME: &str = "user.userName";
/// Unique: client + externalId → user (G8).
pub const EXTERNAL_ID: &str = "user.externalId";
/// Unique: folded sign-in address → user (G8).
pub const ADDRESS: &str = "user.address";
/// Unique, in the space of the installation: hash of a provisioning token → account and token id. Never changes.
pub const TOKEN_HASH: &str = "token.hash";

/// All users, in the order they were made.
pub const USERS: &str = "user";
/// Users by folded userName.
pub const USERS_BY_NAME: &str = "user.name";
/// Users by every folded e-mail of the profile, and the sign-in address.
pub const USERS_BY_EMAIL: &str = "user.email";
pub const USERS_BY_EXTERNAL_ID: &str = "user.external";
/// Users by `meta.lastModified`.
pub const USERS_BY_MODIFIED: &str = "user.modified";
/// Effective Account Admins.
pub const ADMINS: &str = "user.admin";
/// Users by the words of name, mail and id: the search of the console.
pub const USERS_BY_WORD: &str = "user.word";
/// Users by the folded name that people see.
pub const USERS_BY_SHOWN_NAME: &str = "user.shown";
/// The accounts of the installation, by id.
pub const ACCOUNTS: &str = "account";
/// The tokens of an account.
pub const TOKENS: &str = "token";
/// What waits to go out.
pub const QUEUE: &str = "outbox";

/// Counter: effective Account Admins (G1).
pub const ADMIN_COUNT: &str = "admins";

/// The users of one status, in the order they were made.
pub fn users_by_status(status: crate::domain::user::Status) -> String {
    format!("user.status.{}", status.as_str())
}

/// The users of one status by the folded name that people see.
pub fn users_by_status_and_shown_name(status: crate::domain::user::Status) -> String {
    format!("{USERS_BY_SHOWN_NAME}.{}", status.as_str())
}

/// The resources of one kind by folded name.
pub fn resources_by_name(kind: &str) -> String {
    format!("{kind}.name")
}

/// The counter of the seats of a license that are reserved or claimed.
pub fn seats(license: ResourceId) -> String {
    format!("seats.{license}")
}

pub fn settings() -> DocumentKey {
    DocumentKey::new(SETTINGS, "account")
}

pub fn user(id: ResourceId) -> DocumentKey {
    DocumentKey::new(USER, id)
}

pub fn token(id: TokenId) -> DocumentKey {
    DocumentKey::new(TOKEN, id)
}

pub fn token_use(id: TokenId) -> DocumentKey {
    DocumentKey::new(TOKEN_USE, id)
}

pub fn outbox(id: OutboxId) -> DocumentKey {
    DocumentKey::new(OUTBOX, id)
}

/// All sessions of a user: one document, so that ending them is one blind write.
pub fn sessions(user: ResourceId) -> DocumentKey {
    DocumentKey::new(SESSION, user)
}

/// The one-time codes that were mailed to a user.
pub fn sign_in(user: ResourceId) -> DocumentKey {
    DocumentKey::new(SIGN_IN, user)
}

pub fn signing_keys() -> DocumentKey {
    DocumentKey::new(SIGNING_KEYS, "fingerprints")
}

pub fn user_timer(id: ResourceId) -> Owner {
    user(id)
}

pub fn outbox_timer(id: OutboxId) -> Owner {
    outbox(id)
}

/// The key of [`EXTERNAL_ID`]: an externalId belongs to the client that gave it.
pub fn external_id(client: &str, external_id: &str) -> String {
    format!("{client}\u{1f}{external_id}")
}
