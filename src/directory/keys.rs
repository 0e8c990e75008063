//! The keyspace, said once: which documents, unique keys, indexes and counters there are. How a backend spells them
//! is in `store`.
//!
//! In the space of an account:
//!
//! | document | id | body | state |
//! |---|---|---|---|
//! | `settings` | `account` | [`super::account::Account`], with what was decided about its clients | – |
//! | `user` | resource id | SCIM User without groups and meta | [`super::record`] |
//! | `group`, `organization`, `project`, `license` | resource id | SCIM resource without members and meta | [`super::resources`] |
//! | `membership` | task id | [`super::tasks::Task`] | – |
//! | `membership-part` | task id + number | [`super::tasks::Part`] | – |
//! | `token` | token id | [`super::tokens::Token`] | – |
//! | `token-use` | token id | [`super::uses::Use`]: when it was used last | – |
//! | `outbox` | outbox id | [`super::outbox::Letter`] | – |
//! | `webhook` | endpoint id + outbox id | [`super::deliveries::Delivery`] | – |
//! | `session` | user id | [`super::sessions::Sessions`] of that user | – |
//! | `sign-in` | user id | [`super::sign_in::Codes`] mailed to that user | – |
//! | `story` | chunk id | [`super::story::Line`]s of requests answered at about the same time | – |
//! | `story-body` | chunk id | what came with each of these requests | – |
//! | `alerts` | `state` | what the Account Admins were told ([`super::bulletins`]); its timer mails them | – |
//! | `report` | id of a mail service's report | the mail that it was about; forgotten after a quarter of an hour | – |
//! | `job` | name of the job | when it ran last | – |
//! | `census` | `days` | [`super::census::Day`]s | – |
//!
//! In the space of the installation: `signing-keys`/`fingerprints`, `mail-queue`/`state`
//! ([`super::mail_queue::MailQueue`]), `import`/`state`, the index [`ACCOUNTS`], the unique keys [`TOKEN_HASH`] and [`TOKEN_ISSUED`]. In every
//! space that an import wrote to: `import`/`progress`, until `usherd resume`.

use super::kind::Kind;
use crate::domain::ids::{EndpointId, OutboxId, ResourceId, TokenId};
use crate::store::{DocumentKey, Entry, Index, Item, Owner};

/// Raised when the index entries of a document change; reconciliation re-indexes older ones.
pub const INDEX_VERSION: u32 = 3;

pub const SETTINGS: &str = "settings";
pub const USER: &str = "user";
pub const TOKEN: &str = "token";
pub const TOKEN_USE: &str = "token-use";
pub const OUTBOX: &str = "outbox";
/// What waits to go to an endpoint; its timer sends it.
pub const WEBHOOK: &str = "webhook";
pub const SESSION: &str = "session";
pub const SIGN_IN: &str = "sign-in";
/// Work that takes more than one commit; its timer finishes what a crash left.
pub const TASK: &str = "membership";
pub const TASK_PART: &str = "membership-part";
pub const JOB: &str = "job";
/// How many people there were.
pub const CENSUS: &str = "census";
/// A bounce that a mail service reported.
pub const REPORT: &str = "report";
/// What the Account Admins were told.
pub const ALERTS: &str = "alerts";
/// The lines of the story; also the index of its chunks, in the order they were written, and the counter of lines.
pub const STORY: &str = "story";
pub const STORY_BODIES: &str = "story-body";
/// The refused requests of the story, by client.
pub const STORY_REFUSED: &str = "story.refused";
pub const SIGNING_KEYS: &str = "signing-keys";
/// How fast mails go out, and whether they wait.
pub const MAIL_QUEUE: &str = "mail-queue";
/// What an import leaves of itself until it is resumed from.
pub const IMPORT: &str = "import";

/// Unique: folded userName → user (G8).
pub const USER_NAME: &str = "user.userName";
/// Unique: client + externalId → user (G8).
pub const EXTERNAL_ID: &str = "user.externalId";
/// Unique: folded sign-in address → user (G8).
pub const ADDRESS: &str = "user.address";
/// Unique: folded displayName → resource. Groups may share one.
pub const ORGANIZATION_NAME: &str = "organization.displayName";
pub const PROJECT_NAME: &str = "project.displayName";
pub const LICENSE_NAME: &str = "license.displayName";
/// Unique, in the space of the installation: hash of a provisioning token → account and token id. Never changes.
pub const TOKEN_HASH: &str = "token.hash";
/// Unique, in the space of the installation: hash of a client of an issuer ([`crate::domain::secrets::IssuedTo`]) →
/// account and token id. Apart from [`TOKEN_HASH`], so that nobody's secret can be somebody's name.
pub const TOKEN_ISSUED: &str = "token.issued";

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
/// Inactive users whom their provider says to be active.
pub const USERS_KEPT_OUT: &str = "user.kept-out";
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
/// What was given up, until somebody tries again or a month is over.
pub const DEAD: &str = "outbox.dead";

/// Webhooks that were given up, until somebody tries again or a month is over.
pub const DEAD_WEBHOOKS: &str = "webhook.dead";

/// Counters: mails that the mail server took, and that it refused for good.
pub const MAILS_SENT: &str = "mails.sent";
pub const MAILS_BOUNCED: &str = "mails.bounced";

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

/// The users of one account role, in the order they were made.
pub fn users_by_role(role: &str) -> String {
    format!("user.role.{role}")
}

/// All resources of one kind, in the order they were made. Tombstones of users do not stand here.
pub fn all(kind: Kind) -> Index {
    Index::new(kind.as_str())
}

/// The resources of one kind by folded name: displayName, of users the userName.
pub fn by_name(kind: Kind) -> String {
    format!("{kind}.name")
}

pub fn by_external_id(kind: Kind) -> String {
    format!("{kind}.external")
}

/// The entry of a resource in [`all`].
pub fn listed(id: ResourceId) -> Entry {
    Entry { key: String::new(), id: id.to_string() }
}

/// The members of a group: the key is the member, the id is its kind (`User`, `Group`), so that one member is found
/// without a walk.
pub fn members(group: ResourceId) -> Index {
    Index::new(format_args!("member:{group}"))
}

/// The groups that a user or a group is a direct member of, as [`listed`] entries.
pub fn groups_of(member: ResourceId) -> Index {
    Index::new(format_args!("group-of:{member}"))
}

/// The users that an organization, project or license is assigned to.
pub fn assigned(resource: ResourceId) -> String {
    format!("assigned:{resource}")
}

pub fn task(id: ResourceId) -> DocumentKey {
    DocumentKey::new(TASK, id)
}

pub fn task_part(id: ResourceId, number: usize) -> DocumentKey {
    DocumentKey::new(TASK_PART, format_args!("{id}.{number}"))
}

/// The store wants the names of unique keys as the constants they are; a stored document names them as text.
pub fn unique_name(name: &str) -> &'static str {
    [USER_NAME, EXTERNAL_ID, ORGANIZATION_NAME, PROJECT_NAME, LICENSE_NAME]
        .into_iter()
        .find(|known| *known == name)
        .unwrap_or(ADDRESS)
}

/// The users that a client manages, in the order they were made.
pub fn managed(client: &str) -> String {
    format!("managed:{client}")
}

/// Those of them whose invitation waits for an admin's decision.
pub fn held(client: &str) -> String {
    format!("held:{client}")
}

/// The tally (`tally`) of the people who lost access through a client (G9).
pub fn losses(client: &str) -> String {
    format!("losses.{client}")
}

/// The counter that holds when somebody last lost access through a client whose brake is on, in milliseconds.
pub fn last_loss(client: &str) -> String {
    format!("last-loss.{client}")
}

/// The tally of the invitations that a client's provisioning caused (first sync hold).
pub fn invitations(client: &str) -> String {
    format!("invitations.{client}")
}

/// The tally of the invitations that an admin or a token asked for once more (G4).
pub fn resends(inviter: &str) -> String {
    format!("resends.{inviter}")
}

/// The tally of the first invitations that people of the account asked for (G4).
pub const FIRST_INVITATIONS: &str = "first-invitations";

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

/// Begins with the endpoint, so that whoever claims its timer knows it without a read.
pub fn webhook(endpoint: EndpointId, id: OutboxId) -> DocumentKey {
    DocumentKey::new(WEBHOOK, format_args!("{endpoint}.{id}"))
}

/// All sessions of a user: one document, so that ending them is one blind write.
pub fn sessions(user: ResourceId) -> DocumentKey {
    DocumentKey::new(SESSION, user)
}

/// The one-time codes that were mailed to a user.
pub fn sign_in(user: ResourceId) -> DocumentKey {
    DocumentKey::new(SIGN_IN, user)
}

pub fn story(chunk: &str) -> DocumentKey {
    DocumentKey::new(STORY, chunk)
}

pub fn story_bodies(chunk: &str) -> DocumentKey {
    DocumentKey::new(STORY_BODIES, chunk)
}

pub fn job(name: &str) -> DocumentKey {
    DocumentKey::new(JOB, name)
}

pub fn census() -> DocumentKey {
    DocumentKey::new(CENSUS, "days")
}

pub fn alerts() -> DocumentKey {
    DocumentKey::new(ALERTS, "state")
}

/// A report of a mail service that was recorded, while it could be repeated.
pub fn report(id: &str) -> DocumentKey {
    DocumentKey::new(REPORT, id)
}

pub fn mail_queue() -> DocumentKey {
    DocumentKey::new(MAIL_QUEUE, "state")
}

pub fn signing_keys() -> DocumentKey {
    DocumentKey::new(SIGNING_KEYS, "fingerprints")
}

/// [`super::transfer::ImportState`].
pub fn import_state() -> DocumentKey {
    DocumentKey::new(IMPORT, "state")
}

/// Its revision is how many batches of the import this space has.
pub fn import_progress() -> DocumentKey {
    DocumentKey::new(IMPORT, "progress")
}

/// Whether this is no content of the installation but a trace of an import.
pub fn is_of_an_import(item: &Item) -> bool {
    matches!(item, Item::Document { kind, .. } if kind == IMPORT)
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
