//! What a schema, an attribute and a resource type are (RFC 7643 §2, §6, §7).

use serde_json::{Map, Value, json};

use crate::domain::names::fold;

macro_rules! keywords {
    ($(#[$doc:meta])* $name:ident { $($(#[$vdoc:meta])* $variant:ident = $word:literal,)* }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum $name { $($(#[$vdoc])* $variant,)* }

        impl $name {
            /// Every keyword, as the RFC spells it.
            pub const WORDS: &'static [&'static str] = &[$($word,)*];

            pub const fn as_str(self) -> &'static str {
                match self { $($name::$variant => $word,)* }
            }

            pub fn named(word: &str) -> Option<Self> {
                match word { $($word => Some($name::$variant),)* _ => None }
            }
        }
    };
}

keywords! {
    /// Data types (RFC 7643 §2.3).
    Type {
        String = "string",
        Boolean = "boolean",
        Decimal = "decimal",
        Integer = "integer",
        DateTime = "dateTime",
        Binary = "binary",
        Reference = "reference",
        Complex = "complex",
    }
}
keywords! {
    /// When a client may write it (RFC 7643 §7).
    Mutability {
        ReadWrite = "readWrite",
        ReadOnly = "readOnly",
        Immutable = "immutable",
        WriteOnly = "writeOnly",
    }
}
keywords! {
    /// When a reply carries it (RFC 7643 §7).
    Returned {
        Default = "default",
        Always = "always",
        Never = "never",
        Request = "request",
    }
}
keywords! {
    /// Within what a value stands alone (RFC 7643 §7).
    Uniqueness {
        None = "none",
        Server = "server",
        Global = "global",
    }
}
keywords! {
    /// Where usherd keeps the values of an attribute; not part of the published schema.
    Storage {
        /// In the document.
        Document = "document",
        /// As index entries beside it (memberships).
        Detached = "detached",
        /// Nowhere: the value is dropped, and the attribute is not published.
        Discarded = "discarded",
    }
}

/// An attribute or sub-attribute with its characteristics (RFC 7643 §2.2).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attribute {
    pub name: String,
    pub kind: Type,
    pub multi_valued: bool,
    pub description: String,
    pub required: bool,
    /// Suggestions, not a closed set (RFC 7643 §2.2).
    pub canonical_values: Vec<String>,
    pub case_exact: bool,
    pub mutability: Mutability,
    pub returned: Returned,
    pub uniqueness: Uniqueness,
    pub reference_types: Vec<String>,
    /// Empty unless the type is complex.
    pub sub_attributes: Vec<Attribute>,
    pub storage: Storage,
}

impl Attribute {
    /// The sub-attribute of this name, in any case.
    pub fn sub(&self, name: &str) -> Option<&Attribute> {
        self.sub_attributes.iter().find(|sub| sub.name.eq_ignore_ascii_case(name))
    }

    /// The sub-attribute that a complex attribute means when it is compared with a plain value (RFC 7643 §2.4).
    pub fn default_sub(&self) -> Option<&Attribute> {
        self.sub("value")
    }

    pub fn is_complex(&self) -> bool {
        self.kind == Type::Complex
    }

    /// Whether a client can never change it.
    pub fn is_read_only(&self) -> bool {
        self.mutability == Mutability::ReadOnly
    }

    pub fn is_detached(&self) -> bool {
        self.storage == Storage::Detached
    }

    /// The key under which a value of it stands alone: two values with one key are the same to a client (RFC 7643 §7,
    /// `uniqueness` and `caseExact`). `None` where it need not stand alone.
    pub fn unique_key(&self, value: &Value) -> Option<String> {
        if self.uniqueness == Uniqueness::None {
            return None;
        }
        let key = match value {
            Value::String(text) if self.case_exact => text.replace('\0', ""),
            Value::String(text) => fold(text).replace('\0', ""),
            Value::Number(number) => number.to_string(),
            Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => return None,
        };
        Some(key)
    }

    /// As `/Schemas` publishes it: no nulls, every characteristic spelled out.
    pub fn to_json(&self) -> Value {
        let mut out = Map::new();
        out.insert("name".into(), self.name.as_str().into());
        out.insert("type".into(), self.kind.as_str().into());
        out.insert("multiValued".into(), self.multi_valued.into());
        out.insert("description".into(), self.description.as_str().into());
        out.insert("required".into(), self.required.into());
        if !self.canonical_values.is_empty() {
            out.insert("canonicalValues".into(), json!(self.canonical_values));
        }
        out.insert("caseExact".into(), self.case_exact.into());
        out.insert("mutability".into(), self.mutability.as_str().into());
        out.insert("returned".into(), self.returned.as_str().into());
        out.insert("uniqueness".into(), self.uniqueness.as_str().into());
        if !self.reference_types.is_empty() {
            out.insert("referenceTypes".into(), json!(self.reference_types));
        }
        if !self.sub_attributes.is_empty() {
            let subs: Vec<Value> = self.sub_attributes.iter().map(Attribute::to_json).collect();
            out.insert("subAttributes".into(), subs.into());
        }
        Value::Object(out)
    }
}

/// A schema: the attributes under one URN.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Schema {
    /// The URN.
    pub id: String,
    pub name: String,
    pub description: String,
    pub attributes: Vec<Attribute>,
}

impl Schema {
    /// The attribute of this name, in any case.
    pub fn attribute(&self, name: &str) -> Option<&Attribute> {
        self.attributes.iter().find(|attribute| attribute.name.eq_ignore_ascii_case(name))
    }
}

/// An extension of a resource type.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExtensionRef {
    pub schema: String,
    pub required: bool,
}

/// A kind of resource: where it is found and which schemas it has (RFC 7643 §6).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResourceType {
    /// `User`; also its id under `/ResourceTypes`.
    pub name: String,
    /// `/Users`
    pub endpoint: String,
    pub description: String,
    /// The URN of the core schema.
    pub schema: String,
    pub extensions: Vec<ExtensionRef>,
    /// Whether the operator defined it: a type of which the code knows nothing but what the table says.
    pub is_own: bool,
}

impl ResourceType {
    /// The URN of one of this type's extensions, as the table spells it, from a URN in any case.
    pub fn extension(&self, urn: &str) -> Option<&str> {
        self.extensions.iter().map(|extension| extension.schema.as_str()).find(|known| known.eq_ignore_ascii_case(urn))
    }
}

/// Everything that the engine knows about resources.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SchemaTable {
    pub(super) schemas: Vec<Schema>,
    pub(super) resource_types: Vec<ResourceType>,
    /// `id`, `externalId`, `meta` and `schemas`, which every resource has (RFC 7643 §3.1).
    pub(super) common: Schema,
}

impl SchemaTable {
    pub fn schemas(&self) -> &[Schema] {
        &self.schemas
    }

    pub fn resource_types(&self) -> &[ResourceType] {
        &self.resource_types
    }

    /// The schema of this URN, in any case.
    pub fn schema(&self, urn: &str) -> Option<&Schema> {
        self.schemas.iter().find(|schema| schema.id.eq_ignore_ascii_case(urn))
    }

    /// The resource type of this name (`User`), in any case.
    pub fn resource_type(&self, name: &str) -> Option<&ResourceType> {
        self.resource_types.iter().find(|kind| kind.name.eq_ignore_ascii_case(name))
    }

    /// The resource type at this endpoint (`Users` or `/Users`), in any case.
    pub fn resource_type_at(&self, endpoint: &str) -> Option<&ResourceType> {
        let endpoint = endpoint.trim_start_matches('/');
        self.resource_types.iter().find(|kind| kind.endpoint.trim_start_matches('/').eq_ignore_ascii_case(endpoint))
    }

    /// The common attribute of this name, in any case.
    pub fn common(&self, name: &str) -> Option<&Attribute> {
        self.common.attribute(name)
    }

    pub fn common_attributes(&self) -> &[Attribute] {
        &self.common.attributes
    }

    /// The attributes of the core schema of a type.
    pub fn core_attributes<'t>(&'t self, kind: &ResourceType) -> &'t [Attribute] {
        self.schema(&kind.schema).map_or(&[], |schema| &schema.attributes)
    }

    /// The attribute of the core schema of a type, in any case.
    pub fn core_attribute<'t>(&'t self, kind: &ResourceType, name: &str) -> Option<&'t Attribute> {
        self.schema(&kind.schema).and_then(|schema| schema.attribute(name))
    }

    /// The extension schemas of a type, in the order of its declaration.
    pub fn extension_schemas<'t>(&'t self, kind: &'t ResourceType) -> impl Iterator<Item = &'t Schema> {
        kind.extensions.iter().filter_map(|extension| self.schema(&extension.schema))
    }

    /// The attribute whose values the type keeps beside the document and lets clients write (`Group.members`).
    pub fn writable_detached<'t>(&'t self, kind: &ResourceType) -> Option<&'t Attribute> {
        self.core_attributes(kind).iter().find(|attribute| attribute.is_detached() && !attribute.is_read_only())
    }
}
