//! Reads the body of a POST or PUT (RFC 7644 §3.3, §3.5.1) into a document.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use super::coerce::{Coercion, require_subs};
use super::error::ScimError;
use super::members::{MemberChange, MemberChanges, read_members};
use super::name::{AttrPath, Place, Resolved, qualified};
use super::profile::{Applied, Profile, Tolerance};
use super::schema::{Attribute, Mutability, ResourceType, Schema, SchemaTable, Storage};
use super::value::{is_unassigned, same};

/// What the body is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    Create,
    Replace,
}

/// A body as the server understands it.
#[derive(Debug, Clone, PartialEq)]
pub struct Received {
    /// Canonical names, extensions under their URN; no read-only attributes, no `schemas`.
    pub attributes: Map<String, Value>,
    /// The URNs of the schemas that the body declares or has attributes of; always the core schema.
    pub carried: BTreeSet<String>,
    /// Canonical qualified names of the writable attributes that the body names, even to say that they have no value.
    pub named: BTreeSet<String>,
    /// What was left out because the schema does not know it.
    pub ignored: Vec<String>,
    pub applied: Applied,
    /// What the body says about memberships.
    pub members: Vec<MemberChange>,
}

/// Reads a body.
///
/// Read-only attributes (`id`, `meta`, `groups` …) are dropped (RFC 7644 §3.3); an attribute without a value is absent
/// from the result. `active` gets no default: whether the body named it is in [`Received::named`].
pub fn read(
    table: &SchemaTable,
    kind: &ResourceType,
    profile: &Profile,
    body: Value,
    purpose: Purpose,
) -> Result<Received, ScimError> {
    let Value::Object(body) = body else {
        return Err(ScimError::invalid_syntax("the body is a JSON object"));
    };
    let mut reading = Reading {
        table,
        kind,
        purpose,
        coercion: Coercion::new(profile),
        attributes: Map::new(),
        carried: BTreeSet::from([kind.schema.clone()]),
        named: BTreeSet::new(),
        members: MemberChanges::default(),
    };
    let declared = body.iter().find(|(key, _)| key.eq_ignore_ascii_case("schemas")).map(|(_, value)| value);
    reading.schemas(declared)?;
    for (key, value) in body {
        reading.entry(&key, value)?;
    }
    reading.finish()
}

struct Reading<'a> {
    table: &'a SchemaTable,
    kind: &'a ResourceType,
    purpose: Purpose,
    coercion: Coercion<'a>,
    attributes: Map<String, Value>,
    carried: BTreeSet<String>,
    named: BTreeSet<String>,
    members: MemberChanges,
}

impl<'a> Reading<'a> {
    fn schemas(&mut self, declared: Option<&Value>) -> Result<(), ScimError> {
        let core = declare(self.kind, declared, &mut self.coercion, &mut self.carried)?;
        if !core && !self.coercion.tolerates(Tolerance::MissingSchemas) {
            return Err(ScimError::invalid_syntax(format!("`schemas` has to name {}", self.kind.schema)));
        }
        Ok(())
    }

    fn entry(&mut self, key: &str, value: Value) -> Result<(), ScimError> {
        match Key::of(key, self.table, self.kind, &mut self.coercion) {
            Key::Schemas => Ok(()),
            Key::Attribute(place) => {
                // Beside the core attributes (`"manager": null`) it does not speak for its whole schema.
                if let Some(urn) = place.urn.filter(|_| key.contains(':')) {
                    self.carried.insert(urn.to_owned());
                }
                self.attribute(place, value)
            }
            Key::Schema(None) => self.nested(None, key, value),
            Key::Schema(Some(schema)) => {
                self.carried.insert(schema.id.clone());
                self.nested(Some(schema), key, value)
            }
            Key::Foreign => self.coercion.foreign(key),
            Key::Unknown => self.coercion.unknown(key),
        }
    }

    /// The attributes under the URN of a schema.
    fn nested(&mut self, schema: Option<&'a Schema>, label: &str, value: Value) -> Result<(), ScimError> {
        if is_unassigned(&value) {
            return Ok(());
        }
        let Value::Object(entries) = value else {
            return Err(ScimError::invalid_value(format!(
                "`{label}` takes an object with the attributes of that schema"
            )));
        };
        for (key, value) in entries {
            match Key::within(&key, schema, self.table, self.kind, &mut self.coercion) {
                Some(place) => self.attribute(place, value)?,
                None => self.coercion.unknown(&format!("{label}:{key}"))?,
            }
        }
        Ok(())
    }

    fn attribute(&mut self, place: Place<'a>, value: Value) -> Result<(), ScimError> {
        if place.attribute.is_read_only() || place.sub.is_some_and(Attribute::is_read_only) {
            return Ok(());
        }
        match place.attribute.storage {
            Storage::Discarded if is_unassigned(&value) => return Ok(()),
            Storage::Discarded => return self.coercion.discard(place.attribute),
            Storage::Detached => {
                self.named.insert(place.qualified());
                let members = read_members(&place.attribute.name, value, &mut self.coercion)?;
                match (self.purpose, members.is_empty()) {
                    (Purpose::Create, true) => {}
                    (Purpose::Create | Purpose::Replace, _) => self.members.replace_all(members),
                }
                return Ok(());
            }
            Storage::Document => {}
        }
        let name = place.qualified();
        let container = match place.urn {
            Some(urn) => container(&mut self.attributes, urn),
            None => &mut self.attributes,
        };
        match place.sub {
            None => match self.coercion.whole(&name, place.attribute, value)? {
                Some(value) => container.insert(place.attribute.name.clone(), value),
                None => container.remove(&place.attribute.name),
            },
            Some(sub) => {
                let value = self.coercion.whole(&place.label(), sub, value)?;
                let whole = container.entry(place.attribute.name.clone()).or_insert_with(|| Map::new().into());
                whole.as_object_mut().and_then(|whole| match value {
                    Some(value) => whole.insert(sub.name.clone(), value),
                    None => whole.remove(&sub.name),
                })
            }
        };
        self.named.insert(name);
        Ok(())
    }

    fn finish(mut self) -> Result<Received, ScimError> {
        prune(&mut self.attributes);
        check_complete(self.table, self.kind, &self.attributes)?;
        Ok(Received {
            attributes: self.attributes,
            carried: self.carried,
            named: self.named,
            ignored: self.coercion.ignored,
            applied: self.coercion.applied,
            members: self.members.finish(),
        })
    }
}

/// Notes the known URNs of a `schemas` attribute. Whether it names the core schema.
fn declare(
    kind: &ResourceType,
    declared: Option<&Value>,
    coercion: &mut Coercion<'_>,
    carried: &mut BTreeSet<String>,
) -> Result<bool, ScimError> {
    let Some(urns) = declared.and_then(Value::as_array) else {
        return Ok(declared.and_then(Value::as_str).is_some_and(|urn| urn.eq_ignore_ascii_case(&kind.schema)));
    };
    let mut core = false;
    for urn in urns {
        let Some(urn) = urn.as_str() else {
            return Err(ScimError::invalid_syntax("`schemas` is a list of URNs"));
        };
        if urn.eq_ignore_ascii_case(&kind.schema) {
            core = true;
        } else if let Some(known) = kind.extension(urn) {
            carried.insert(known.to_owned());
        } else {
            coercion.foreign(urn)?;
        }
    }
    Ok(core)
}

/// What a key of a body, or of the value of a PATCH without path, stands for.
pub(super) enum Key<'t> {
    Schemas,
    Attribute(Place<'t>),
    /// The URN of an extension, or (`None`) of the core schema, with its attributes beneath.
    Schema(Option<&'t Schema>),
    /// A URN that the type does not have.
    Foreign,
    Unknown,
}

impl<'t> Key<'t> {
    pub fn of(key: &str, table: &'t SchemaTable, kind: &'t ResourceType, coercion: &mut Coercion<'_>) -> Key<'t> {
        if key.eq_ignore_ascii_case("schemas") {
            return Key::Schemas;
        }
        if key.eq_ignore_ascii_case(&kind.schema) {
            return Key::Schema(None);
        }
        if let Some(schema) = kind.extension(key).and_then(|urn| table.schema(urn)) {
            return Key::Schema(Some(schema));
        }
        let path = AttrPath::parse(key);
        let place = path.as_ref().and_then(|path| path.resolve(table, kind)).and_then(Resolved::place);
        let missing = if key.contains(':') { Key::Foreign } else { Key::Unknown };
        let (Some(path), Some(place)) = (path, place) else { return missing };
        let needed = match (path.urn.is_some() || path.sub.is_some(), place.urn) {
            (true, _) => Some(Tolerance::DottedKeys),
            (false, Some(_)) => Some(Tolerance::UnqualifiedExtension),
            (false, None) => None,
        };
        // `emails.value` in a body names no particular one of the values.
        let ambiguous = place.sub.is_some() && place.attribute.multi_valued;
        if ambiguous || needed.is_some_and(|needed| !coercion.tolerates(needed)) {
            return Key::Unknown;
        }
        Key::Attribute(place)
    }

    /// A key beneath the URN of a schema.
    pub fn within(
        key: &str,
        schema: Option<&'t Schema>,
        table: &'t SchemaTable,
        kind: &'t ResourceType,
        coercion: &mut Coercion<'_>,
    ) -> Option<Place<'t>> {
        let urn = schema.map_or(kind.schema.as_str(), |schema| &schema.id);
        let place = AttrPath::parse(&format!("{urn}:{key}"))?.resolve(table, kind)?.place()?;
        let plain = place.sub.is_none();
        (plain || (!place.attribute.multi_valued && coercion.tolerates(Tolerance::DottedKeys))).then_some(place)
    }
}

/// The object under an extension's URN, made when missing.
pub(super) fn container<'d>(document: &'d mut Map<String, Value>, urn: &str) -> &'d mut Map<String, Value> {
    let value = document.entry(urn.to_owned()).or_insert_with(|| Map::new().into());
    if !value.is_object() {
        *value = Map::new().into();
    }
    match value {
        Value::Object(object) => object,
        _ => unreachable!("made an object above"),
    }
}

/// Drops attributes and extensions that have lost every value: they are unassigned (RFC 7643 §2.5).
pub(super) fn prune(document: &mut Map<String, Value>) {
    for value in document.values_mut() {
        if let Value::Object(inner) = value {
            inner.retain(|_, value| !is_unassigned(value));
        }
    }
    document.retain(|_, value| !is_unassigned(value));
}

/// The first required attribute that is missing, by its qualified name. An extension's required attributes are due
/// only where the extension is there or the type demands it.
pub(super) fn missing_required(
    table: &SchemaTable,
    kind: &ResourceType,
    document: &Map<String, Value>,
) -> Option<String> {
    let absent = |urn: Option<&str>, attributes: &[Attribute], holder: Option<&Map<String, Value>>| {
        attributes
            .iter()
            .filter(|attribute| {
                attribute.required && !attribute.is_read_only() && attribute.storage == Storage::Document
            })
            .find(|attribute| holder.is_none_or(|holder| !holder.contains_key(&attribute.name)))
            .map(|attribute| qualified(urn, &attribute.name))
    };
    absent(None, table.core_attributes(kind), Some(document)).or_else(|| {
        kind.extensions.iter().find_map(|extension| {
            let schema = table.schema(&extension.schema)?;
            let holder = document.get(&schema.id).and_then(Value::as_object);
            if holder.is_none() && !extension.required {
                return None;
            }
            absent(Some(&schema.id), &schema.attributes, holder)
        })
    })
}

fn check_complete(table: &SchemaTable, kind: &ResourceType, document: &Map<String, Value>) -> Result<(), ScimError> {
    if let Some(name) = missing_required(table, kind, document) {
        return Err(ScimError::invalid_value(format!("`{name}` is required")));
    }
    check_subs(None, table.core_attributes(kind), document)?;
    for schema in table.extension_schemas(kind) {
        if let Some(holder) = document.get(&schema.id).and_then(Value::as_object) {
            check_subs(Some(&schema.id), &schema.attributes, holder)?;
        }
    }
    Ok(())
}

/// Every complex value has the sub-attributes that its schema requires.
pub(super) fn check_subs(
    urn: Option<&str>,
    attributes: &[Attribute],
    holder: &Map<String, Value>,
) -> Result<(), ScimError> {
    for attribute in attributes.iter().filter(|attribute| attribute.sub_attributes.iter().any(|sub| sub.required)) {
        let values = match holder.get(&attribute.name) {
            Some(Value::Array(items)) => items.as_slice(),
            Some(single) => std::slice::from_ref(single),
            None => &[],
        };
        for object in values.iter().filter_map(Value::as_object) {
            require_subs(&qualified(urn, &attribute.name), attribute, object)?;
        }
    }
    Ok(())
}

/// The URNs of the schemas that a document uses: the core one, then the extensions in their order.
pub fn schemas_of(kind: &ResourceType, document: &Map<String, Value>) -> Vec<String> {
    let used = kind
        .extensions
        .iter()
        .map(|extension| &extension.schema)
        .filter(|urn| document.get(urn.as_str()).is_some_and(|value| !is_unassigned(value)));
    std::iter::once(&kind.schema).chain(used).cloned().collect()
}

/// What a PUT does to immutable attributes (RFC 7644 §3.5.1): a value that is there stays, and another one in the body
/// is refused with `mutability`.
pub fn keep_immutable(
    table: &SchemaTable,
    kind: &ResourceType,
    current: &Map<String, Value>,
    new: &mut Map<String, Value>,
) -> Result<(), ScimError> {
    let core = table.core_attributes(kind).iter().map(|attribute| (None, attribute));
    let extensions = table.extension_schemas(kind);
    let extended =
        extensions.flat_map(|schema| schema.attributes.iter().map(|found| (Some(schema.id.as_str()), found)));
    for (urn, attribute) in core.chain(extended) {
        if attribute.mutability != Mutability::Immutable || attribute.storage != Storage::Document {
            continue;
        }
        let place = Place { urn, attribute, sub: None };
        let Some(old) = place.value(current) else { continue };
        match place.value(new) {
            Some(value) if same(attribute, old, value) => {}
            Some(_) => return Err(immutable(&place)),
            None => {
                let holder = match urn {
                    Some(urn) => container(new, urn),
                    None => &mut *new,
                };
                holder.insert(attribute.name.clone(), old.clone());
            }
        }
    }
    Ok(())
}

pub(super) fn immutable(place: &Place<'_>) -> ScimError {
    ScimError::mutability(format!("`{}` is immutable and has a value already", place.label()))
}

#[cfg(test)]
pub(super) mod tests;
