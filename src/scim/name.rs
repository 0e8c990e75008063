//! Attribute notation: `urn:…:User:name.givenName` (RFC 7644 §3.10), and what it means for a resource type.

use std::fmt;

use super::schema::{Attribute, ResourceType, Schema, SchemaTable};

/// An attribute as a client wrote it, not yet looked up.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct AttrPath {
    /// The schema URN in front of the name, without the colon that ends it.
    pub urn: Option<String>,
    pub name: String,
    pub sub: Option<String>,
}

impl AttrPath {
    /// Takes `name`, `name.sub` and either behind a URN. `None` when a part is no attribute name.
    ///
    /// The URN ends at the last colon, so that its own dots (`2.0`) are never taken for a sub-attribute. A name may
    /// begin with `$`, since `$ref` is one although the grammar of filters lacks the sign.
    pub fn parse(text: &str) -> Option<AttrPath> {
        let (urn, local) = match text.rsplit_once(':') {
            Some((urn, local)) => (Some(urn), local),
            None => (None, text),
        };
        let (name, sub) = match local.split_once('.') {
            Some((name, sub)) => (name, Some(sub)),
            None => (local, None),
        };
        let named =
            urn.is_none_or(is_urn) && is_name(name, urn.is_some()) && sub.is_none_or(|sub| is_name(sub, urn.is_some()));
        named.then(|| AttrPath { urn: urn.map(str::to_owned), name: name.to_owned(), sub: sub.map(str::to_owned) })
    }

    /// The attribute `name` without URN and sub-attribute.
    pub fn simple(name: impl Into<String>) -> AttrPath {
        AttrPath { urn: None, name: name.into(), sub: None }
    }

    /// Whether the text names `name` without sub-attribute, in any case, with or without the URN of the core schema.
    pub fn is_core(&self, kind: &ResourceType, name: &str, sub: Option<&str>) -> bool {
        self.urn.as_deref().is_none_or(|urn| urn.eq_ignore_ascii_case(&kind.schema))
            && self.name.eq_ignore_ascii_case(name)
            && match (self.sub.as_deref(), sub) {
                (None, None) => true,
                (Some(a), Some(b)) => a.eq_ignore_ascii_case(b),
                (None, Some(_)) | (Some(_), None) => false,
            }
    }

    /// Looks the text up. `None` when the type has no such attribute.
    ///
    /// An unqualified name means the core schema, then the common attributes, then the extensions in their order
    /// (clients write `manager eq "…"`; RFC 7644 §3.10 only recommends the URN).
    pub fn resolve<'t>(&self, table: &'t SchemaTable, kind: &'t ResourceType) -> Option<Resolved<'t>> {
        let Some(urn) = &self.urn else {
            if let Some(found) = self.in_core(table, kind) {
                return Some(found);
            }
            return table.extension_schemas(kind).find_map(|schema| self.in_extension(schema));
        };
        if urn.eq_ignore_ascii_case(&kind.schema) {
            return self.in_core(table, kind);
        }
        if let Some(schema) = table.extension_schemas(kind).find(|schema| schema.id.eq_ignore_ascii_case(urn)) {
            return self.in_extension(schema);
        }
        let whole = self.to_string();
        if whole.eq_ignore_ascii_case(&kind.schema) {
            return Some(Resolved::Core);
        }
        table.extension_schemas(kind).find(|schema| schema.id.eq_ignore_ascii_case(&whole)).map(Resolved::Extension)
    }

    fn in_core<'t>(&self, table: &'t SchemaTable, kind: &ResourceType) -> Option<Resolved<'t>> {
        let core = table.core_attributes(kind).iter().find(|found| found.name.eq_ignore_ascii_case(&self.name));
        self.on(None, core.or_else(|| table.common(&self.name))?)
    }

    fn in_extension<'t>(&self, schema: &'t Schema) -> Option<Resolved<'t>> {
        self.on(Some(&schema.id), schema.attribute(&self.name)?)
    }

    fn on<'t>(&self, urn: Option<&'t str>, attribute: &'t Attribute) -> Option<Resolved<'t>> {
        let sub = match &self.sub {
            Some(name) => Some(attribute.sub(name)?),
            None => None,
        };
        Some(Resolved::Attribute(Place { urn, attribute, sub }))
    }
}

fn is_urn(text: &str) -> bool {
    text.contains(':') && !text.contains(|c: char| c.is_whitespace() || c.is_control() || "[]()\"".contains(c))
}

/// ATTRNAME of RFC 7644 §3.4.2.2, with `$`. Behind a colon it may begin with a digit, since a URN that names a whole
/// extension splits there too (`…:hr:2.0`).
fn is_name(text: &str, behind_colon: bool) -> bool {
    text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '$' || (behind_colon && c.is_ascii_alphanumeric()))
        && text.chars().all(|c| c.is_ascii_alphanumeric() || "-_$".contains(c))
}

impl fmt::Display for AttrPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(urn) = &self.urn {
            write!(f, "{urn}:")?;
        }
        f.write_str(&self.name)?;
        match &self.sub {
            Some(sub) => write!(f, ".{sub}"),
            None => Ok(()),
        }
    }
}

/// What an [`AttrPath`] means for a resource type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Resolved<'t> {
    Attribute(Place<'t>),
    /// The URN of an extension alone: all of its attributes.
    Extension(&'t Schema),
    /// The URN of the core schema alone.
    Core,
}

impl<'t> Resolved<'t> {
    /// The attribute, unless the text named a whole schema.
    pub fn place(self) -> Option<Place<'t>> {
        match self {
            Resolved::Attribute(place) => Some(place),
            Resolved::Extension(_) | Resolved::Core => None,
        }
    }
}

/// An attribute of a resource type and where a document keeps it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place<'t> {
    /// The extension under whose URN the attribute stands; `None` at the top of the document.
    pub urn: Option<&'t str>,
    pub attribute: &'t Attribute,
    pub sub: Option<&'t Attribute>,
}

impl<'t> Place<'t> {
    /// The canonical name without sub-attribute: `active`, `urn:…:User:accountRole`.
    pub fn qualified(&self) -> String {
        qualified(self.urn, &self.attribute.name)
    }

    /// The canonical name with the sub-attribute, for messages.
    pub fn label(&self) -> String {
        match self.sub {
            Some(sub) => format!("{}.{}", self.qualified(), sub.name),
            None => self.qualified(),
        }
    }

    /// The attribute's value in a document.
    pub fn value<'d>(&self, document: &'d serde_json::Map<String, serde_json::Value>) -> Option<&'d serde_json::Value> {
        match self.urn {
            Some(urn) => document.get(urn)?.as_object()?.get(&self.attribute.name),
            None => document.get(&self.attribute.name),
        }
    }
}

/// The canonical name of an attribute of the core schema (`None`) or of an extension.
pub fn qualified(urn: Option<&str>, name: &str) -> String {
    match urn {
        Some(urn) => format!("{urn}:{name}"),
        None => name.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scim::table::{ENTERPRISE_USER_URN, USER_URN};

    fn resolve(text: &str) -> Option<String> {
        let table = SchemaTable::builtin();
        let user = table.resource_type("user").expect("a built-in type");
        match AttrPath::parse(text)?.resolve(&table, user)? {
            Resolved::Attribute(place) => Some(place.label()),
            Resolved::Extension(schema) => Some(format!("<{}>", schema.id)),
            Resolved::Core => Some("<core>".to_owned()),
        }
    }

    #[test]
    fn names_are_found_in_any_case_with_and_without_their_urn() {
        assert_eq!(resolve("USERNAME").as_deref(), Some("userName"));
        assert_eq!(resolve(&format!("{USER_URN}:name.givenname")).as_deref(), Some("name.givenName"));
        assert_eq!(resolve("meta.lastmodified").as_deref(), Some("meta.lastModified"));
        assert_eq!(resolve("externalid").as_deref(), Some("externalId"));
        assert_eq!(resolve("groups.$REF").as_deref(), Some("groups.$ref"));
        let manager = format!("{ENTERPRISE_USER_URN}:manager.value");
        assert_eq!(resolve(&manager.to_uppercase()).as_deref(), Some(manager.as_str()));
        assert_eq!(resolve("manager.value").as_deref(), Some(manager.as_str()));
    }

    #[test]
    fn a_urn_alone_names_all_of_its_attributes() {
        assert_eq!(resolve(ENTERPRISE_USER_URN), Some(format!("<{ENTERPRISE_USER_URN}>")));
        assert_eq!(resolve(USER_URN).as_deref(), Some("<core>"));
    }

    #[test]
    fn unknown_attributes_and_malformed_names_are_not_found() {
        for text in
            ["favouriteColour", "name.nose", "urn:example:none:name", &format!("{ENTERPRISE_USER_URN}:userName")]
        {
            assert!(AttrPath::parse(text).is_some(), "{text}");
            assert_eq!(resolve(text), None, "{text}");
        }
        for text in ["", ".", "a.", ".b", "a.b.c", "1a", "a b", "urn:", "x:y", "a[0]", "emails.", "ä"] {
            assert_eq!(AttrPath::parse(text), None, "{text}");
        }
    }
}
