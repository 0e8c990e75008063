//! Operations on attributes with several values: all of them, those that a filter selects, or a sub-attribute of these.

use serde_json::{Map, Value};

use super::Op;
use super::edit::{Edit, listed, permit_remove_with_values};
use crate::scim::coerce::is_primary;
use crate::scim::error::ScimError;
use crate::scim::filter::{Filter, Operator};
use crate::scim::profile::Tolerance;
use crate::scim::schema::{Attribute, Mutability};
use crate::scim::value::{contains, is_unassigned, same};

impl Edit<'_, '_> {
    /// The values of a multi-valued attribute, all of them.
    pub fn list(&mut self, op: Op, value: Option<Value>, items: &mut Vec<Value>) -> Result<(), ScimError> {
        match (op, value) {
            (Op::Add, value) => {
                let value = listed(value.unwrap_or(Value::Null));
                let given = self.coercion.list(self.label, self.attribute, value)?;
                let touched: Vec<usize> = given.into_iter().map(|item| self.append(items, item)).collect();
                demote_others(items, &touched);
            }
            (Op::Replace, value) => {
                *items = self.coercion.list(self.label, self.attribute, value.unwrap_or(Value::Null))?;
            }
            (Op::Remove, None | Some(Value::Null)) => items.clear(),
            (Op::Remove, Some(value)) => {
                permit_remove_with_values(self.label, self.coercion)?;
                let given = match value {
                    Value::Array(given) => given,
                    single => vec![single],
                };
                let before = items.len();
                items.retain(|item| !given.iter().any(|given| self.is_meant(item, given)));
                if before == items.len() && !given.is_empty() {
                    self.nothing_matched()?;
                }
            }
        }
        Ok(())
    }

    /// The values that a filter selects.
    pub fn selected(
        &mut self,
        op: Op,
        filter: &Filter,
        value: Option<Value>,
        items: &mut Vec<Value>,
    ) -> Result<(), ScimError> {
        let mut matches = self.matching(filter, items)?;
        let value = value.filter(|value| op != Op::Remove && !self.clears(value));
        let Some(value) = value else {
            return match op {
                Op::Add => Ok(()),
                Op::Remove | Op::Replace => self.drop_at(&matches, items),
            };
        };
        if matches.is_empty() {
            let mut made = self.begin_from(op, filter)?;
            if self.attribute.is_complex() {
                self.merge(&mut made, value)?;
                items.push(Value::Object(made));
            } else {
                items.extend(self.coercion.element(self.label, self.attribute, value)?);
            }
            matches.push(items.len() - 1);
        } else if !self.attribute.is_complex() {
            let new = self.coercion.element(self.label, self.attribute, value)?;
            for (at, new) in matches.iter().zip(new.into_iter().cycle()) {
                items[*at] = new;
            }
        } else {
            for at in &matches {
                let mut whole = match (op, items[*at].take()) {
                    (Op::Add, Value::Object(whole)) => whole,
                    (Op::Replace | Op::Remove | Op::Add, _) => self.kept_selector(filter),
                };
                self.merge(&mut whole, value.clone())?;
                items[*at] = Value::Object(whole);
            }
        }
        self.tidy(items, &matches);
        Ok(())
    }

    /// One sub-attribute of the values that a filter selects, or of all values.
    pub fn selected_sub(
        &mut self,
        op: Op,
        filter: Option<&Filter>,
        sub: &Attribute,
        value: Option<Value>,
        items: &mut Vec<Value>,
    ) -> Result<(), ScimError> {
        let value = self.sub_value(op, sub, value)?;
        let mut matches = match filter {
            Some(filter) => self.matching(filter, items)?,
            None => (0..items.len()).collect(),
        };
        if matches.is_empty() {
            if value.is_none() {
                return if filter.is_some() { self.nothing_matched() } else { Ok(()) };
            }
            let made = match filter {
                Some(filter) => self.begin_from(op, filter)?,
                None => Map::new(),
            };
            items.push(Value::Object(made));
            matches.push(items.len() - 1);
        }
        for at in &matches {
            let mut whole = match items[*at].take() {
                Value::Object(whole) => whole,
                _ => Map::new(),
            };
            if sub.mutability == Mutability::Immutable
                && whole.get(&sub.name).is_some_and(|old| value.as_ref().is_none_or(|new| !same(sub, old, new)))
            {
                return Err(ScimError::mutability(format!("`{}.{}` is immutable", self.label, sub.name)));
            }
            self.set_sub(&mut whole, sub, value.clone());
            items[*at] = Value::Object(whole);
        }
        self.tidy(items, &matches);
        Ok(())
    }

    fn matching(&self, filter: &Filter, items: &[Value]) -> Result<Vec<usize>, ScimError> {
        let matches = items.iter().enumerate().filter(|(_, item)| filter.matches_value(self.attribute, item));
        let matches: Vec<usize> = matches.map(|(at, _)| at).collect();
        if matches.len() > 1 && !self.coercion.profile.tolerates(Tolerance::SeveralMatches) {
            return Err(ScimError::invalid_filter(format!("`{}[{filter}]` selects several values", self.label)));
        }
        Ok(matches)
    }

    /// A removal that had nothing to remove.
    fn nothing_matched(&mut self) -> Result<(), ScimError> {
        if self.coercion.tolerates(Tolerance::RemoveWithoutMatch) {
            return Ok(());
        }
        Err(ScimError::no_target(format!("no value of `{}` is selected", self.label)))
    }

    fn drop_at(&mut self, matches: &[usize], items: &mut Vec<Value>) -> Result<(), ScimError> {
        if matches.is_empty() {
            return self.nothing_matched();
        }
        let mut at = 0;
        items.retain(|_| {
            let drop = matches.binary_search(&at).is_ok();
            at += 1;
            !drop
        });
        Ok(())
    }

    /// Adds a value unless it is there already; where it ended up. One with the same `value` and `type` is the same
    /// value, and takes over what the new one says besides (RFC 7643 §2.4 wants no such pair twice).
    fn append(&mut self, items: &mut Vec<Value>, item: Value) -> usize {
        let attribute = self.attribute;
        let found = items.iter().position(|old| match (old, &item) {
            (Value::Object(old), Value::Object(new)) => same_pair(attribute, old, new) || contains(attribute, old, new),
            (old, new) => same(attribute, old, new),
        });
        match (found, item) {
            (Some(at), Value::Object(new)) => {
                if let Value::Object(old) = &mut items[at]
                    && !contains(attribute, old, &new)
                {
                    old.extend(new);
                }
                at
            }
            (Some(at), _) => at,
            (None, item) => {
                items.push(item);
                items.len() - 1
            }
        }
    }

    /// Whether a value in a `remove` means this one: by `value` where it has one, else by all that it names.
    fn is_meant(&self, item: &Value, given: &Value) -> bool {
        let attribute = self.attribute;
        match (item, given) {
            (Value::Object(item), Value::Object(given)) => {
                let value = given.iter().find(|(key, _)| key.eq_ignore_ascii_case("value"));
                match (value, attribute.default_sub()) {
                    (Some((_, value)), Some(sub)) if !is_unassigned(value) => {
                        item.get(&sub.name).is_some_and(|old| same(sub, old, value))
                            && given.get("type").filter(|kind| !kind.is_null()).is_none_or(|kind| {
                                attribute
                                    .sub("type")
                                    .is_none_or(|sub| item.get(&sub.name).is_some_and(|old| same(sub, old, kind)))
                            })
                    }
                    _ => !given.is_empty() && contains(attribute, item, given),
                }
            }
            (Value::Object(item), given) => {
                attribute.default_sub().is_some_and(|sub| item.get(&sub.name).is_some_and(|old| same(sub, old, given)))
            }
            (item, given) => same(attribute, item, given),
        }
    }

    /// The beginning of a value that nothing matched, from the filter's `eq` terms: `{"type": "work"}`.
    fn begin_from(&mut self, op: Op, filter: &Filter) -> Result<Map<String, Value>, ScimError> {
        let tolerance = match op {
            Op::Add | Op::Remove => Tolerance::AddCreatesElement,
            Op::Replace => Tolerance::ReplaceCreatesElement,
        };
        let made = self.selector(filter);
        if (made.is_empty() && self.attribute.is_complex()) || !self.coercion.tolerates(tolerance) {
            return Err(ScimError::no_target(format!("no value of `{}` is selected by {filter}", self.label)));
        }
        Ok(made)
    }

    /// What a replaced value keeps of the one before.
    fn kept_selector(&mut self, filter: &Filter) -> Map<String, Value> {
        if self.coercion.profile.tolerates(Tolerance::SelectorKept) { self.selector(filter) } else { Map::new() }
    }

    fn selector(&mut self, filter: &Filter) -> Map<String, Value> {
        let mut made = Map::new();
        for term in filter.conjuncts() {
            let Filter::Compare(path, Operator::Eq, literal) = term else { continue };
            let Some(sub) = self.attribute.sub(&path.name).filter(|sub| !sub.is_read_only()) else { continue };
            if let Ok(Some(value)) = self.coercion.element(self.label, sub, literal.clone()) {
                made.insert(sub.name.clone(), value);
            }
        }
        made
    }

    /// The last touched primary value demotes the others; values that lost everything go.
    fn tidy(&mut self, items: &mut Vec<Value>, touched: &[usize]) {
        demote_others(items, touched);
        items.retain(|item| !is_unassigned(item));
    }
}

/// Setting `primary` on one value resets it on the others (RFC 7644 §3.5.2).
fn demote_others(items: &mut [Value], touched: &[usize]) {
    if !touched.iter().any(|at| is_primary(&items[*at])) {
        return;
    }
    for (at, item) in items.iter_mut().enumerate() {
        if !touched.contains(&at) && is_primary(item) {
            item["primary"] = Value::Bool(false);
        }
    }
}

fn same_pair(attribute: &Attribute, old: &Map<String, Value>, new: &Map<String, Value>) -> bool {
    let equal = |name: &str| match (attribute.sub(name), old.get(name), new.get(name)) {
        (Some(sub), Some(old), Some(new)) => same(sub, old, new),
        (_, None, None) => name != "value",
        (_, Some(_), _) | (_, None, Some(_)) => false,
    };
    equal("value") && equal("type")
}
