//! One operation on one attribute of a document: which shape of path and attribute it meets, and what it does to
//! attributes with one value. Those with several are in `values`.

use serde_json::{Map, Value};

use super::Op;
use crate::scim::coerce::{Coercion, MAX_VALUES, one_primary, too_many};
use crate::scim::error::ScimError;
use crate::scim::filter::Filter;
use crate::scim::name::Place;
use crate::scim::profile::Tolerance;
use crate::scim::schema::Attribute;
use crate::scim::value::{is_unassigned, same};

/// Applies the operation to `holder`, the object in which the attribute stands.
pub(super) fn apply(
    coercion: &mut Coercion<'_>,
    op: Op,
    place: &Place<'_>,
    filter: Option<&Filter>,
    value: Option<Value>,
    holder: &mut Map<String, Value>,
) -> Result<(), ScimError> {
    let label = place.qualified();
    let mut edit = Edit { coercion, label: &label, attribute: place.attribute };
    if place.attribute.multi_valued {
        let mut items = match holder.shift_remove(&place.attribute.name) {
            Some(Value::Array(items)) => items,
            Some(single) => vec![single],
            None => Vec::new(),
        };
        match (filter, place.sub) {
            (None, None) => edit.list(op, value, &mut items)?,
            (Some(filter), None) => edit.selected(op, filter, value, &mut items)?,
            (filter, Some(sub)) => edit.selected_sub(op, filter, sub, value, &mut items)?,
        }
        if items.len() > MAX_VALUES {
            return Err(too_many(&label));
        }
        one_primary(&label, &items)?;
        if !items.is_empty() {
            holder.insert(place.attribute.name.clone(), Value::Array(items));
        }
        return Ok(());
    }
    match place.sub {
        None if place.attribute.is_complex() => edit.complex(op, value, holder),
        None => edit.plain(op, value, holder),
        Some(sub) => edit.sub(op, sub, value, holder),
    }
}

/// `remove` with a value: tolerated or refused, but never taken for "remove all".
pub(super) fn permit_remove_with_values(label: &str, coercion: &mut Coercion<'_>) -> Result<(), ScimError> {
    if coercion.tolerates(Tolerance::RemoveWithValues) {
        return Ok(());
    }
    Err(ScimError::invalid_value(format!(
        "`remove` takes no `value`: select in the path, as in {label}[value eq \"…\"]"
    )))
}

/// `add` takes one value of a multi-valued attribute as well as a list (RFC 7644 §3.5.2.1).
pub(super) fn listed(value: Value) -> Value {
    match value {
        Value::Object(object) => Value::Array(vec![Value::Object(object)]),
        other => other,
    }
}

/// How many tests a filter makes of each value.
pub(super) fn terms(filter: &Filter) -> usize {
    match filter {
        Filter::And(sides) | Filter::Or(sides) => sides.iter().map(terms).sum(),
        Filter::Not(inner) | Filter::ValuePath(_, inner) => terms(inner),
        Filter::Present(_) | Filter::Compare(..) => 1,
    }
}

pub(super) struct Edit<'e, 'p> {
    pub coercion: &'e mut Coercion<'p>,
    pub label: &'e str,
    pub attribute: &'e Attribute,
}

impl Edit<'_, '_> {
    fn plain(&mut self, op: Op, value: Option<Value>, holder: &mut Map<String, Value>) -> Result<(), ScimError> {
        let value = match op {
            Op::Remove => None,
            Op::Add | Op::Replace => self.coercion.whole(self.label, self.attribute, value.unwrap_or(Value::Null))?,
        };
        put(holder, &self.attribute.name, value);
        Ok(())
    }

    /// Sub-attributes that the value does not name are left alone (RFC 7644 §3.5.2.3).
    fn complex(&mut self, op: Op, value: Option<Value>, holder: &mut Map<String, Value>) -> Result<(), ScimError> {
        let value = value.filter(|value| op != Op::Remove && !self.clears(value));
        let Some(value) = value else {
            holder.shift_remove(&self.attribute.name);
            return Ok(());
        };
        let mut whole = take_object(holder, &self.attribute.name);
        if op == Op::Replace && !self.coercion.profile.tolerates(Tolerance::ReplaceMerges) {
            whole.clear();
        }
        self.merge(&mut whole, value)?;
        put_object(holder, &self.attribute.name, whole);
        Ok(())
    }

    /// One sub-attribute of a single complex attribute.
    fn sub(
        &mut self,
        op: Op,
        sub: &Attribute,
        value: Option<Value>,
        holder: &mut Map<String, Value>,
    ) -> Result<(), ScimError> {
        let value = self.sub_value(op, sub, value)?;
        let mut whole = take_object(holder, &self.attribute.name);
        self.set_sub(&mut whole, sub, value);
        put_object(holder, &self.attribute.name, whole);
        Ok(())
    }

    pub fn sub_value(&mut self, op: Op, sub: &Attribute, value: Option<Value>) -> Result<Option<Value>, ScimError> {
        match op {
            Op::Remove => Ok(None),
            Op::Add | Op::Replace => {
                let label = format!("{}.{}", self.label, sub.name);
                let value = self.coercion.unpacked_value(self.attribute, sub, value.unwrap_or(Value::Null));
                self.coercion.whole(&label, sub, value)
            }
        }
    }

    /// Whether the value unassigns what it is set to.
    pub fn clears(&mut self, value: &Value) -> bool {
        is_unassigned(value) || (value.as_str() == Some("") && self.coercion.tolerates(Tolerance::EmptyClears))
    }

    /// Sets the sub-attributes that `value` names.
    pub fn merge(&mut self, whole: &mut Map<String, Value>, value: Value) -> Result<(), ScimError> {
        let object = self.coercion.object(self.label, self.attribute, value)?;
        let attribute = self.attribute;
        let (mut cleared, mut given) = (false, false);
        let subs = self.coercion.subs(self.label, attribute, object)?;
        // `value` first: what it displaces must not displace its companions.
        let (values, others): (Vec<_>, Vec<_>) =
            subs.into_iter().partition(|(sub, _)| sub.name.eq_ignore_ascii_case("value"));
        for (sub, value) in values.into_iter().chain(others) {
            cleared |= value.is_none() && is_default(attribute, sub);
            given |= value.is_some();
            self.set_sub(whole, sub, value);
        }
        if cleared && !given {
            // `"manager": {"value": ""}`: without its value nothing of it means anything.
            whole.clear();
        }
        Ok(())
    }

    /// Sets or removes one sub-attribute. When `value` moves to something else, what was derived from the old one
    /// (its `$ref`, its read-only name) goes.
    pub fn set_sub(&mut self, whole: &mut Map<String, Value>, sub: &Attribute, value: Option<Value>) {
        if is_default(self.attribute, sub) {
            let moved = match (whole.get(&sub.name), &value) {
                (Some(old), Some(new)) => !same(sub, old, new),
                (Some(_), None) => {
                    whole.clear();
                    return;
                }
                (None, _) => false,
            };
            if moved {
                let derived = |name: &String| {
                    name.eq_ignore_ascii_case("$ref") || self.attribute.sub(name).is_some_and(Attribute::is_read_only)
                };
                whole.retain(|name, _| !derived(name));
            }
        }
        put(whole, &sub.name, value);
    }
}

fn is_default(attribute: &Attribute, sub: &Attribute) -> bool {
    attribute.default_sub().is_some_and(|default| default.name == sub.name)
}

fn put(holder: &mut Map<String, Value>, name: &str, value: Option<Value>) {
    match value {
        Some(value) => holder.insert(name.to_owned(), value),
        None => holder.shift_remove(name),
    };
}

fn take_object(holder: &mut Map<String, Value>, name: &str) -> Map<String, Value> {
    match holder.get_mut(name).map(Value::take) {
        Some(Value::Object(object)) => object,
        Some(_) | None => Map::new(),
    }
}

fn put_object(holder: &mut Map<String, Value>, name: &str, object: Map<String, Value>) {
    put(holder, name, (!object.is_empty()).then_some(Value::Object(object)));
}
