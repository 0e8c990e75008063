//! The kinds of SCIM resources: what differs between them besides their schema.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::domain::secrets::Scope;
use crate::store::DocumentKey;

/// A kind of resource. The name of its document, of its indexes and of its unique keys begin with the same word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    User,
    Group,
    Organization,
    Project,
    License,
}

impl Kind {
    pub const ALL: [Kind; 5] = [Kind::User, Kind::Group, Kind::Organization, Kind::Project, Kind::License];

    /// The word in keys, audit events and sentences.
    pub const fn as_str(self) -> &'static str {
        match self {
            Kind::User => "user",
            Kind::Group => "group",
            Kind::Organization => "organization",
            Kind::Project => "project",
            Kind::License => "license",
        }
    }

    /// The name of the SCIM resource type.
    pub const fn resource_type(self) -> &'static str {
        match self {
            Kind::User => "User",
            Kind::Group => "Group",
            Kind::Organization => "Organization",
            Kind::Project => "Project",
            Kind::License => "License",
        }
    }

    pub const fn endpoint(self) -> &'static str {
        match self {
            Kind::User => "Users",
            Kind::Group => "Groups",
            Kind::Organization => "Organizations",
            Kind::Project => "Projects",
            Kind::License => "Licenses",
        }
    }

    /// What a token needs to see and to change them.
    pub const fn scope(self) -> Scope {
        match self {
            Kind::User => Scope::Users,
            Kind::Group => Scope::Groups,
            Kind::Organization | Kind::Project | Kind::License => Scope::Resources,
        }
    }

    /// The kind of the resource type of this name, as the schema table spells it.
    pub fn named(resource_type: &str) -> Option<Kind> {
        Kind::ALL.into_iter().find(|kind| kind.resource_type() == resource_type)
    }

    pub fn key(self, id: impl fmt::Display) -> DocumentKey {
        DocumentKey::new(self.as_str(), id)
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
