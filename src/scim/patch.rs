//! Applies a PATCH to a document (RFC 7644 §3.5.2): all of it or, on any error, none of it.

mod edit;
#[cfg(test)]
mod tests;
mod values;

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use super::coerce::Coercion;
use super::error::ScimError;
use super::filter::Filter;
use super::members::{MemberChange, MemberChanges, read_members, selected_ids};
use super::name::Place;
use super::path::{PatchPath, Target};
use super::profile::{Applied, Profile, Tolerance};
use super::resource::{Key, check_subs, container, immutable, prune};
use super::schema::{Attribute, Mutability, ResourceType, Schema, SchemaTable, Storage};
use super::value::{is_unassigned, same};

/// The URN of a PATCH body.
pub const PATCH_OP_URN: &str = "urn:ietf:params:scim:api:messages:2.0:PatchOp";

/// Steps that one PATCH may take: values visited by its filters and duplicate checks. A thousand operations on an
/// attribute with a thousand values fit; a body made to keep a processor busy does not.
const MAX_WORK: usize = 4_000_000;

/// What a PATCH made of a document.
#[derive(Debug, Clone, PartialEq)]
pub struct Patched {
    pub attributes: Map<String, Value>,
    /// Whether the document differs from what it was. Says nothing about memberships.
    pub changed: bool,
    /// Canonical qualified names of the writable attributes that the operations name.
    pub named: BTreeSet<String>,
    /// What was left out because the schema does not know it.
    pub ignored: Vec<String>,
    pub applied: Applied,
    pub members: Vec<MemberChange>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Op {
    Add,
    Remove,
    Replace,
}

struct Operation {
    op: Op,
    path: Option<String>,
    /// `None` when there is none; `null` is a value.
    value: Option<Value>,
}

/// Applies the operations of `body` to `current` in their order.
pub fn apply(
    table: &SchemaTable,
    kind: &ResourceType,
    profile: &Profile,
    current: &Map<String, Value>,
    body: Value,
) -> Result<Patched, ScimError> {
    let mut editor = Editor {
        table,
        kind,
        coercion: Coercion::new(profile),
        document: current.clone(),
        named: BTreeSet::new(),
        members: MemberChanges::default(),
        work: 0,
    };
    for operation in operations(body, &mut editor.coercion)? {
        let operation = read_operation(operation, &mut editor.coercion)?;
        editor.run(operation)?;
    }
    editor.finish(current)
}

/// The operations of an envelope.
fn operations(body: Value, coercion: &mut Coercion<'_>) -> Result<Vec<Value>, ScimError> {
    let Value::Object(body) = body else {
        return Err(ScimError::invalid_syntax("the body is a JSON object"));
    };
    let mut declared = false;
    let mut operations = None;
    for (key, value) in body {
        if key.eq_ignore_ascii_case("schemas") {
            let urns = value.as_array().map_or(std::slice::from_ref(&value), Vec::as_slice);
            declared = urns.iter().any(|urn| urn.as_str().is_some_and(|urn| urn.eq_ignore_ascii_case(PATCH_OP_URN)));
        } else if key.eq_ignore_ascii_case("Operations") {
            operations = Some(value);
        }
    }
    if !declared && !coercion.tolerates(Tolerance::MissingSchemas) {
        return Err(ScimError::invalid_syntax(format!("`schemas` has to name {PATCH_OP_URN}")));
    }
    match operations {
        Some(Value::Array(operations)) if operations.is_empty() && !coercion.tolerates(Tolerance::EmptyOperations) => {
            Err(ScimError::invalid_syntax("`Operations` has at least one operation"))
        }
        Some(Value::Array(operations)) => Ok(operations),
        Some(operation @ Value::Object(_)) if coercion.tolerates(Tolerance::SingleForList) => Ok(vec![operation]),
        Some(_) | None => Err(ScimError::invalid_syntax("a PATCH has a list `Operations`")),
    }
}

fn read_operation(operation: Value, coercion: &mut Coercion<'_>) -> Result<Operation, ScimError> {
    let Value::Object(entries) = operation else {
        return Err(ScimError::invalid_syntax("an operation is a JSON object with `op`, `path` and `value`"));
    };
    let (mut op, mut path, mut value) = (None, None, None);
    for (key, entry) in entries {
        match key.to_ascii_lowercase().as_str() {
            "op" => op = entry.as_str().map(str::to_owned),
            "path" => path = Some(entry),
            "value" => value = Some(entry),
            _ => {}
        }
    }
    let word = op.ok_or_else(|| ScimError::invalid_syntax("an operation has an `op`: add, remove or replace"))?;
    let lower = word.to_ascii_lowercase();
    let op = match lower.as_str() {
        "add" => Op::Add,
        "remove" => Op::Remove,
        "replace" => Op::Replace,
        _ => return Err(ScimError::invalid_syntax("`op` is one of add, remove and replace")),
    };
    if lower != word && !coercion.tolerates(Tolerance::OperatorCase) {
        return Err(ScimError::invalid_syntax(format!("`op` is written `{lower}`")));
    }
    let path = match path {
        None | Some(Value::Null) => None,
        Some(Value::String(text)) if text.is_empty() && coercion.tolerates(Tolerance::EmptyClears) => None,
        Some(Value::String(text)) => Some(text),
        Some(_) => return Err(ScimError::invalid_path("`path` is a string")),
    };
    if value.is_none() && op != Op::Remove {
        return Err(ScimError::invalid_value(format!("`{lower}` needs a `value`")));
    }
    Ok(Operation { op, path, value })
}

struct Editor<'a> {
    table: &'a SchemaTable,
    kind: &'a ResourceType,
    coercion: Coercion<'a>,
    document: Map<String, Value>,
    named: BTreeSet<String>,
    members: MemberChanges,
    work: usize,
}

/// Whether the client pointed at the attribute with a path, or merely had it in a value.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Named {
    ByPath,
    InValue,
}

impl<'a> Editor<'a> {
    fn run(&mut self, operation: Operation) -> Result<(), ScimError> {
        let Operation { op, path, value } = operation;
        let Some(path) = path else { return self.pathless(op, value) };
        self.spend(path.len() / 16)?;
        let path = PatchPath::parse(&path, self.coercion.profile, &mut self.coercion.applied)?;
        if path.filter.is_none() && path.attribute.is_core(self.kind, "schemas", None) {
            return match op {
                // The URNs follow from the attributes that are there.
                Op::Add | Op::Replace => Ok(()),
                Op::Remove => Err(ScimError::mutability("`schemas` follows from the attributes: remove those")),
            };
        }
        match path.resolve(self.table, self.kind)? {
            Target::Attribute { place, filter: Some(filter) } => {
                let whole = place.sub.is_none() && place.attribute.storage == Storage::Document;
                if whole && !self.coercion.profile.tolerates(Tolerance::WholeValuePaths) {
                    let message = format!("name a sub-attribute behind `{}[…]`", place.qualified());
                    return Err(ScimError::invalid_path(message));
                }
                self.change(op, place, Some(&filter), value, Named::ByPath)
            }
            Target::Attribute { place, filter: None } => self.change(op, place, None, value, Named::ByPath),
            Target::Schema(schema) => self.schema(op, schema, value),
        }
    }

    fn pathless(&mut self, op: Op, value: Option<Value>) -> Result<(), ScimError> {
        if op == Op::Remove {
            return Err(ScimError::no_target("`remove` needs a `path`"));
        }
        if !self.coercion.tolerates(Tolerance::PathlessOperations) {
            return Err(ScimError::invalid_syntax("an operation needs a `path`"));
        }
        let Some(Value::Object(entries)) = value else {
            return Err(ScimError::invalid_value("without a `path`, `value` is an object with attributes"));
        };
        for (key, value) in entries {
            self.entry(op, &key, value)?;
        }
        Ok(())
    }

    fn entry(&mut self, op: Op, key: &str, value: Value) -> Result<(), ScimError> {
        match Key::of(key, self.table, self.kind, &mut self.coercion) {
            Key::Schemas => Ok(()),
            Key::Attribute(place) => self.change(op, place, None, Some(value), Named::InValue),
            Key::Schema(schema) => self.schema(op, schema, Some(value)),
            Key::Foreign | Key::Unknown if key.contains('[') && self.coercion.tolerates(Tolerance::DottedKeys) => {
                let path = PatchPath::parse(key, self.coercion.profile, &mut self.coercion.applied)?;
                match path.resolve(self.table, self.kind)? {
                    Target::Attribute { place, filter } => {
                        self.change(op, place, filter.as_ref(), Some(value), Named::InValue)
                    }
                    Target::Schema(schema) => self.schema(op, schema, Some(value)),
                }
            }
            Key::Foreign => self.coercion.foreign(key),
            Key::Unknown => self.coercion.unknown(key),
        }
    }

    /// An operation on everything under a URN.
    fn schema(&mut self, op: Op, schema: Option<&'a Schema>, value: Option<Value>) -> Result<(), ScimError> {
        let urn = schema.map_or(self.kind.schema.as_str(), |schema| &schema.id);
        let clears = op == Op::Remove || value.as_ref().is_none_or(is_unassigned);
        if !clears {
            let Some(Value::Object(entries)) = value else {
                return Err(ScimError::invalid_value(format!(
                    "`{urn}` takes an object with the attributes of that schema"
                )));
            };
            for (key, value) in entries {
                match Key::within(&key, schema, self.table, self.kind, &mut self.coercion) {
                    Some(place) => self.change(op, place, None, Some(value), Named::InValue)?,
                    None => self.coercion.unknown(&format!("{urn}:{key}"))?,
                }
            }
            return Ok(());
        }
        if op == Op::Add {
            return Ok(());
        }
        let removable = schema.filter(|schema| {
            !schema.attributes.iter().any(Attribute::is_read_only)
                || self.coercion.tolerates(Tolerance::ReadOnlyIgnored)
        });
        let Some(schema) = removable else {
            return Err(ScimError::mutability(format!("`{urn}` cannot be removed as a whole")));
        };
        for attribute in schema.attributes.iter().filter(|attribute| !attribute.is_read_only()) {
            let place = Place { urn: Some(&schema.id), attribute, sub: None };
            if place.value(&self.document).is_some() {
                self.change(Op::Remove, place, None, None, Named::ByPath)?;
            }
        }
        Ok(())
    }

    fn change(
        &mut self,
        op: Op,
        place: Place<'a>,
        filter: Option<&Filter>,
        value: Option<Value>,
        named: Named,
    ) -> Result<(), ScimError> {
        if place.attribute.is_read_only() || place.sub.is_some_and(Attribute::is_read_only) {
            if named == Named::InValue && self.coercion.tolerates(Tolerance::ReadOnlyIgnored) {
                return Ok(());
            }
            return Err(ScimError::mutability(format!("`{}` is readOnly", place.label())));
        }
        match place.attribute.storage {
            Storage::Discarded if value.as_ref().is_none_or(is_unassigned) => Ok(()),
            Storage::Discarded => self.coercion.discard(place.attribute),
            Storage::Detached => self.membership(op, place, filter, value),
            Storage::Document => self.edit(op, place, filter, value),
        }
    }

    fn membership(
        &mut self,
        op: Op,
        place: Place<'a>,
        filter: Option<&Filter>,
        value: Option<Value>,
    ) -> Result<(), ScimError> {
        let label = &place.attribute.name;
        if place.sub.is_some() {
            return Err(ScimError::mutability(format!(
                "`{}` cannot be changed, only added and removed",
                place.label()
            )));
        }
        match (op, filter) {
            (Op::Add, None) => {
                let value = edit::listed(value.unwrap_or(Value::Null));
                self.members.add(read_members(label, value, &mut self.coercion)?);
            }
            (Op::Replace, None) => {
                let members = read_members(label, value.unwrap_or(Value::Null), &mut self.coercion)?;
                self.members.replace_all(members);
            }
            (Op::Remove, None) => match value {
                None | Some(Value::Null) => self.members.replace_all(Vec::new()),
                Some(value) => {
                    edit::permit_remove_with_values(label, &mut self.coercion)?;
                    let members = read_members(label, value, &mut self.coercion)?;
                    self.members.remove(members.into_iter().map(|member| member.value).collect());
                }
            },
            (Op::Remove, Some(filter)) => self.members.remove(selected_ids(label, filter)?),
            (Op::Add, Some(filter)) => {
                let ids = selected_ids(label, filter)?;
                if !self.coercion.tolerates(Tolerance::AddCreatesElement) {
                    return Err(ScimError::no_target(format!("add to `{label}` without a filter")));
                }
                self.members.add(ids.into_iter().map(super::members::Member::of).collect());
            }
            (Op::Replace, Some(_)) => {
                return Err(ScimError::mutability(format!("values of `{label}` are added and removed, never changed")));
            }
        }
        self.named.insert(place.qualified());
        Ok(())
    }

    fn edit(
        &mut self,
        op: Op,
        place: Place<'a>,
        filter: Option<&Filter>,
        value: Option<Value>,
    ) -> Result<(), ScimError> {
        let length = |value: Option<&Value>| value.and_then(Value::as_array).map_or(1, Vec::len);
        let before = place.value(&self.document).cloned();
        self.spend(length(before.as_ref()) * (1 + filter.map_or(0, edit::terms) + length(value.as_ref())))?;
        let holder = match place.urn {
            Some(urn) => container(&mut self.document, urn),
            None => &mut self.document,
        };
        edit::apply(&mut self.coercion, op, &place, filter, value, holder)?;
        let after = holder.get(&place.attribute.name);
        if place.attribute.required && after.is_none() && before.is_some() {
            return Err(ScimError::mutability(format!("`{}` is required", place.qualified())));
        }
        check_immutable(&place, before.as_ref(), after)?;
        self.named.insert(place.qualified());
        Ok(())
    }

    fn spend(&mut self, steps: usize) -> Result<(), ScimError> {
        self.work = self.work.saturating_add(1 + steps);
        if self.work > MAX_WORK {
            return Err(ScimError::invalid_value("this PATCH does too much at once; send it in parts"));
        }
        Ok(())
    }

    fn finish(mut self, current: &Map<String, Value>) -> Result<Patched, ScimError> {
        prune(&mut self.document);
        if self.document != *current {
            self.check_touched()?;
        }
        Ok(Patched {
            changed: self.document != *current,
            attributes: self.document,
            named: self.named,
            ignored: self.coercion.ignored,
            applied: self.coercion.applied,
            members: self.members.finish(),
        })
    }

    /// Complex values have what their schema requires, now that every operation has run: a client may set their
    /// sub-attributes one by one. So has an extension that this PATCH began.
    fn check_touched(&self) -> Result<(), ScimError> {
        check_subs(None, self.table.core_attributes(self.kind), &self.document)?;
        for schema in self.table.extension_schemas(self.kind) {
            let Some(holder) = self.document.get(&schema.id).and_then(Value::as_object) else { continue };
            if !self.named.iter().any(|name| name.starts_with(&schema.id)) {
                continue;
            }
            check_subs(Some(&schema.id), &schema.attributes, holder)?;
            let missing = schema.attributes.iter().find(|attribute| {
                attribute.required && !attribute.is_read_only() && !holder.contains_key(&attribute.name)
            });
            if let Some(attribute) = missing {
                return Err(ScimError::invalid_value(format!("`{}:{}` is required", schema.id, attribute.name)));
            }
        }
        Ok(())
    }
}

/// An immutable value may be given once and never changed (RFC 7644 §3.5.2).
fn check_immutable(place: &Place<'_>, before: Option<&Value>, after: Option<&Value>) -> Result<(), ScimError> {
    let Some(before) = before else { return Ok(()) };
    let attribute = place.attribute;
    if attribute.mutability == Mutability::Immutable && !after.is_some_and(|after| same(attribute, before, after)) {
        return Err(immutable(place));
    }
    let Some(old) = before.as_object() else { return Ok(()) };
    for sub in attribute.sub_attributes.iter().filter(|sub| sub.mutability == Mutability::Immutable) {
        let new = after.and_then(|after| after.get(&sub.name));
        // Removing the whole value takes its immutable parts along.
        if let (Some(old), Some(_)) = (old.get(&sub.name), after)
            && !new.is_some_and(|new| same(sub, old, new))
        {
            return Err(immutable(&Place { sub: Some(sub), ..*place }));
        }
    }
    Ok(())
}
