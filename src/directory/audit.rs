//! Audit events: who changed what about whom, through which door. They name attributes, never values, and never hold
//! a secret.

use serde::{Deserialize, Serialize};

use crate::domain::ids::ResourceId;
use crate::domain::names::ClientName;
use crate::domain::time::Timestamp;
use crate::store::{Batch, Write};

/// Who acts, and through which door.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Actor {
    pub channel: Door,
    /// The client of a token, the id of a user, or the job.
    pub name: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_id: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Door {
    Scim,
    Api,
    Console,
    Cli,
    Invitee,
    System,
}

impl AuditEvent {
    /// An event about the account, or one of its clients.
    pub fn new(at: Timestamp, actor: Actor, event: &str) -> Self {
        AuditEvent {
            at,
            actor,
            event: event.to_owned(),
            user: None,
            client: None,
            resource: None,
            revision: None,
            before: None,
            after: None,
            attributes: Vec::new(),
            alerts: Vec::new(),
            notes: Vec::new(),
            refused: None,
            times: 1,
        }
    }

    /// Whether it tells of a change of a user that was made.
    fn is_transition(&self) -> bool {
        self.user.is_some() && self.revision.is_some() && self.refused.is_none()
    }

    /// The write that adds it to the stream.
    pub fn write(&self) -> Write {
        Write::EventAppend { body: serde_json::to_vec(self).expect("an event has only string keys").into() }
    }
}

impl Door {
    pub const fn as_str(self) -> &'static str {
        match self {
            Door::Scim => "scim",
            Door::Api => "api",
            Door::Console => "console",
            Door::Cli => "cli",
            Door::Invitee => "invitee",
            Door::System => "system",
        }
    }
}

impl Actor {
    pub fn new(channel: Door, name: impl Into<String>) -> Self {
        Actor { channel, name: name.into(), request_id: None }
    }
}

/// One entry of an account's audit stream.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditEvent {
    pub at: Timestamp,
    #[serde(flatten)]
    pub actor: Actor,
    /// `user.provisioned`, `user.accepted` …
    pub event: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<ResourceId>,
    /// The client that it is about, where that is no user.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client: Option<ClientName>,
    /// The group, organization, project or license that it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resource: Option<ResourceId>,
    /// The revision that this event made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub revision: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<String>,
    /// The names of the attributes that changed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub attributes: Vec<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub alerts: Vec<String>,
    /// What the digest tells of an invitation: it expired, bounced, was declined.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
    /// The code of the refusal, when the attempt was refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refused: Option<String>,
    /// How often that was attempted, when it was refused and repeated.
    #[serde(default = "once", skip_serializing_if = "is_once")]
    pub times: u64,
}

/// The changes of users that a batch tells the audit of, by name.
pub(super) fn transitions(batch: &Batch) -> impl Iterator<Item = String> {
    let told = batch.writes.iter().filter_map(|write| match write {
        Write::EventAppend { body } => serde_json::from_slice::<AuditEvent>(body).ok(),
        _ => None,
    });
    told.filter(AuditEvent::is_transition).map(|told| told.event)
}

const fn once() -> u64 {
    1
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands over a reference")]
const fn is_once(times: &u64) -> bool {
    *times == 1
}
