//! The kinds of SCIM resources: what differs between them besides their schema.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::domain::secrets::Scope;
use crate::scim::{ResourceType, SchemaTable};
use crate::store::{DocumentKey, interned};

/// A kind of resource. The name of its document, of its indexes and of its unique keys begin with the same word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    User,
    Group,
    Organization,
    Project,
    License,
    /// Of the operator's own. Nothing stored names it but the word of its keys.
    #[serde(skip)]
    Own(Own),
}

/// A resource type that the operator defined (`scim.schemas_dir`): only the table knows more of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Own {
    word: &'static str,
    resource_type: &'static str,
    endpoint: &'static str,
}

/// Before the word of an operator's own type, so that it is none of usherd's, also of those to come.
const OWN: &str = "x-";

impl Kind {
    pub const BUILT_IN: [Kind; 5] = [Kind::User, Kind::Group, Kind::Organization, Kind::Project, Kind::License];

    /// The kind of a resource type of the table.
    pub fn of(resource_type: &ResourceType) -> Kind {
        let built_in = Kind::BUILT_IN.into_iter().find(|kind| kind.resource_type() == resource_type.name);
        built_in.unwrap_or_else(|| {
            Kind::Own(Own {
                word: interned(&format!("{OWN}{}", resource_type.name.to_ascii_lowercase())),
                resource_type: interned(&resource_type.name),
                endpoint: interned(resource_type.endpoint.trim_start_matches('/')),
            })
        })
    }

    /// The kind whose documents have this word in their keys; `None` for other documents, and for an operator's type
    /// that is configured no more.
    pub fn of_word(word: &str, schemas: &SchemaTable) -> Option<Kind> {
        schemas.resource_types().iter().map(Kind::of).find(|kind| kind.as_str() == word)
    }

    /// The word in keys and audit events.
    pub const fn as_str(self) -> &'static str {
        match self {
            Kind::User => "user",
            Kind::Group => "group",
            Kind::Organization => "organization",
            Kind::Project => "project",
            Kind::License => "license",
            Kind::Own(own) => own.word,
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
            Kind::Own(own) => own.resource_type,
        }
    }

    pub const fn endpoint(self) -> &'static str {
        match self {
            Kind::User => "Users",
            Kind::Group => "Groups",
            Kind::Organization => "Organizations",
            Kind::Project => "Projects",
            Kind::License => "Licenses",
            Kind::Own(own) => own.endpoint,
        }
    }

    /// What a token needs to see and to change them.
    pub const fn scope(self) -> Scope {
        match self {
            Kind::User => Scope::Users,
            Kind::Group => Scope::Groups,
            Kind::Organization | Kind::Project | Kind::License | Kind::Own(_) => Scope::Resources,
        }
    }

    /// Whether other documents refer to such a resource, so that they have to be told when it goes.
    pub const fn is_referred_to(self) -> bool {
        match self {
            Kind::User | Kind::Group | Kind::Organization | Kind::Project | Kind::License => true,
            Kind::Own(_) => false,
        }
    }

    /// Its resource type in the table that it was made of, which is that of the running configuration.
    pub fn type_in(self, schemas: &SchemaTable) -> &ResourceType {
        schemas.resource_type(self.resource_type()).expect("a kind is built in or made of a type of the table")
    }

    pub fn key(self, id: impl fmt::Display) -> DocumentKey {
        DocumentKey::new(self.as_str(), id)
    }
}

/// In sentences.
impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Kind::Own(own) => f.write_str(own.resource_type),
            Kind::User | Kind::Group | Kind::Organization | Kind::Project | Kind::License => f.write_str(self.as_str()),
        }
    }
}

/// Whether a document kind, an index or a unique key is that of an operator's own type, configured or not.
pub fn is_own(word: &str) -> bool {
    word.starts_with(OWN)
}

/// The document kind by which an index or unique key of [`is_own`] begins.
pub fn own_word(name: &str) -> &'static str {
    interned(name.split('.').next().unwrap_or(name))
}
