//! One person of an export against one user here.

use serde_json::{Map, Value};

use super::Compared;
use crate::directory::error::Error;
use crate::directory::record::UserRecord;
use crate::domain::names::{ClientName, UserName};
use crate::scim::resource::{self, Purpose};
use crate::scim::{Profile, ResourceType, SchemaTable, ScimError};

/// A person as the export has them.
pub(super) struct Wanted {
    pub user_name: UserName,
    pub external_id: Option<String>,
    pub active: Option<bool>,
    /// The others.
    attributes: Map<String, Value>,
}

impl Wanted {
    /// # Errors
    /// [`ScimError`] for what the protocol would refuse.
    pub fn read(table: &SchemaTable, kind: &ResourceType, profile: &Profile, body: Value) -> Result<Self, Error> {
        let mut attributes = resource::read(table, kind, profile, body, Purpose::Create)?.attributes;
        let name = attributes.remove("userName");
        let name = name.as_ref().and_then(Value::as_str).unwrap_or_default();
        let user_name =
            UserName::parse(name).map_err(|error| ScimError::invalid_value(format!("userName: {error}")))?;
        let external_id = attributes.remove("externalId").and_then(|id| id.as_str().map(str::to_owned));
        let active = attributes.remove("active").and_then(|active| active.as_bool());
        Ok(Wanted { user_name, external_id, active, attributes })
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Verdict {
    Create,
    /// These attributes.
    Change(Vec<String>),
    Deactivate,
    Unchanged,
    /// Inactive there, and nobody here.
    UnknownHere,
    /// Another client's, which this one must not change.
    ManagedBy(ClientName),
}

impl Verdict {
    pub fn of(wanted: &Wanted, record: Option<&UserRecord>, client: &ClientName) -> Self {
        let Some(record) = record else {
            return if wanted.active == Some(false) { Verdict::UnknownHere } else { Verdict::Create };
        };
        let user = &record.user;
        if let Some(owner) = user.provisioned_by.as_ref().filter(|owner| *owner != client) {
            return Verdict::ManagedBy(owner.clone());
        }
        if wanted.active == Some(false) && user.scim_active() {
            return Verdict::Deactivate;
        }
        let stored = record.attributes();
        let covered = |name: &String, value: &Value| stored.get(name).is_some_and(|stored| covers(stored, value));
        let mut changed: Vec<String> = wanted
            .attributes
            .iter()
            .filter(|(name, value)| !covered(name, value))
            .map(|(name, _)| name.clone())
            .collect();
        if wanted.user_name != user.user_name {
            changed.push("userName".to_owned());
        }
        if wanted.external_id.is_some() && wanted.external_id != user.external_id {
            changed.push("externalId".to_owned());
        }
        // `active` counts only when it changes (lifecycle); said again, it restores nobody.
        if wanted.active.is_some() && wanted.active != user.idp_active {
            changed.push("active".to_owned());
        }
        if changed.is_empty() { Verdict::Unchanged } else { Verdict::Change(changed) }
    }

    pub fn count(&self, compared: &mut Compared) {
        match self {
            Verdict::Create => compared.created += 1,
            Verdict::Change(_) => compared.changed += 1,
            Verdict::Deactivate => compared.deactivated += 1,
            Verdict::UnknownHere => compared.unknown_here += 1,
            Verdict::ManagedBy(_) => compared.refused += 1,
            Verdict::Unchanged => {}
        }
    }

    /// What is printed: tabs between what is or was done, to whom, and why.
    pub fn line(&self, wanted: &Wanted, applied: bool) -> Option<String> {
        let (done, to_do, why) = match self {
            Verdict::Create => ("created", "create", String::new()),
            Verdict::Change(names) => ("changed", "change", names.join(", ")),
            Verdict::Deactivate => ("deactivated", "deactivate", String::new()),
            Verdict::UnknownHere => ("unknown here", "unknown here", "inactive there: nothing to do".to_owned()),
            Verdict::ManagedBy(owner) => ("skipped", "skip", format!("managed by {owner}")),
            Verdict::Unchanged => return None,
        };
        let verb = if applied { done } else { to_do };
        Some(format!("{verb}\t{}\t{why}", wanted.user_name.as_str()).trim_end().to_owned())
    }
}

/// Whether what is stored has all that is wanted. An export names less of a value than a provider sends.
fn covers(stored: &Value, wanted: &Value) -> bool {
    match (stored, wanted) {
        (Value::Object(stored), Value::Object(wanted)) => {
            wanted.iter().all(|(key, value)| stored.get(key).is_some_and(|stored| covers(stored, value)))
        }
        (Value::Array(stored), Value::Array(wanted)) => {
            wanted.iter().all(|value| stored.iter().any(|stored| covers(stored, value)))
        }
        _ => stored == wanted,
    }
}
