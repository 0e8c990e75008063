//! Changes to memberships, which are index entries of the store and not part of a group's document.

use std::collections::HashSet;

use serde_json::{Map, Value};

use super::coerce::Coercion;
use super::error::ScimError;
use super::filter::{Filter, Operator};
use super::profile::Tolerance;

/// Someone or something in a group, as the client named it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// The id of the resource, from `value` or else from the end of `$ref`.
    pub value: String,
    /// `User` or `Group`, when the client said so; nobody vouches for it.
    pub kind: Option<String>,
    pub display: Option<String>,
}

impl Member {
    pub fn of(value: impl Into<String>) -> Self {
        Member { value: value.into(), kind: None, display: None }
    }
}

/// One step of a change. Steps are applied in their order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MemberChange {
    /// Who is a member already stays one.
    Add(Vec<Member>),
    /// Ids; who is no member is passed over.
    Remove(Vec<String>),
    RemoveAll,
    /// Exactly these, so that only the difference need be written.
    ReplaceAll(Vec<Member>),
}

/// Collects steps and joins neighbours, so that a client that sends one operation per member causes one step, and
/// "remove all, then add" (RFC 7644 §3.5.2.2) becomes a replacement.
#[derive(Debug, Default)]
pub struct MemberChanges(Vec<MemberChange>);

impl MemberChanges {
    pub fn add(&mut self, members: Vec<Member>) {
        if members.is_empty() {
            return;
        }
        match self.0.last_mut() {
            Some(MemberChange::Add(last) | MemberChange::ReplaceAll(last)) => last.extend(members),
            Some(MemberChange::RemoveAll) => self.replace_all(members),
            Some(MemberChange::Remove(_)) | None => self.0.push(MemberChange::Add(members)),
        }
    }

    pub fn remove(&mut self, ids: Vec<String>) {
        if ids.is_empty() {
            return;
        }
        match self.0.last_mut() {
            Some(MemberChange::Remove(last)) => last.extend(ids),
            Some(MemberChange::RemoveAll) => {}
            Some(MemberChange::Add(_) | MemberChange::ReplaceAll(_)) | None => self.0.push(MemberChange::Remove(ids)),
        }
    }

    /// Forgets earlier steps: nothing of them would remain.
    pub fn replace_all(&mut self, members: Vec<Member>) {
        let step = if members.is_empty() { MemberChange::RemoveAll } else { MemberChange::ReplaceAll(members) };
        self.0 = vec![step];
    }

    /// The steps, each naming a member once.
    pub fn finish(mut self) -> Vec<MemberChange> {
        for step in &mut self.0 {
            match step {
                MemberChange::Add(members) | MemberChange::ReplaceAll(members) => {
                    let mut seen = HashSet::new();
                    members.retain(|member| seen.insert(member.value.clone()));
                }
                MemberChange::Remove(ids) => {
                    let mut seen = HashSet::new();
                    ids.retain(|id| seen.insert(id.clone()));
                }
                MemberChange::RemoveAll => {}
            }
        }
        self.0
    }
}

/// The members that a value names: a list of objects, or (tolerated) one object, or plain ids.
pub fn read_members(label: &str, value: Value, coercion: &mut Coercion<'_>) -> Result<Vec<Member>, ScimError> {
    let items = match value {
        Value::Null => return Ok(Vec::new()),
        Value::Array(items) => items,
        Value::String(text) if text.is_empty() && coercion.tolerates(Tolerance::EmptyClears) => return Ok(Vec::new()),
        single @ (Value::Object(_) | Value::String(_)) if coercion.tolerates(Tolerance::SingleForList) => vec![single],
        _ => return Err(ScimError::invalid_value(format!("`{label}` takes a list of objects with `value`"))),
    };
    items.into_iter().map(|item| read_member(label, item, coercion)).collect()
}

fn read_member(label: &str, item: Value, coercion: &mut Coercion<'_>) -> Result<Member, ScimError> {
    match item {
        Value::Object(object) => {
            let value = text(&object, "value").or_else(|| text(&object, "$ref").and_then(|uri| id_of(&uri)));
            let value = value.ok_or_else(|| {
                ScimError::invalid_value(format!("every value of `{label}` needs a `value` with the member's id"))
            })?;
            Ok(Member { value, kind: text(&object, "type"), display: text(&object, "display") })
        }
        Value::String(id) if !id.is_empty() && coercion.tolerates(Tolerance::ScalarForComplex) => Ok(Member::of(id)),
        _ => Err(ScimError::invalid_value(format!("`{label}` takes a list of objects with `value`"))),
    }
}

fn text(object: &Map<String, Value>, key: &str) -> Option<String> {
    let (_, value) = object.iter().find(|(name, _)| name.eq_ignore_ascii_case(key))?;
    value.as_str().filter(|text| !text.is_empty()).map(str::to_owned)
}

/// The id at the end of a resource's URI.
fn id_of(uri: &str) -> Option<String> {
    let id = uri.trim_end_matches('/').rsplit('/').next()?;
    (!id.is_empty()).then(|| id.to_owned())
}

/// The ids that a value filter selects: `value eq "x"`, `$ref eq "…/x"`, and several of them joined by `or`.
///
/// Anything else would need the members themselves, which may be a hundred thousand and are not at hand here.
pub fn selected_ids(label: &str, filter: &Filter) -> Result<Vec<String>, ScimError> {
    match filter {
        Filter::Compare(path, Operator::Eq, Value::String(text)) if path.urn.is_none() && path.sub.is_none() => {
            let id = if path.name.eq_ignore_ascii_case("value") {
                Some(text.clone())
            } else if path.name.eq_ignore_ascii_case("$ref") {
                id_of(text)
            } else {
                None
            };
            id.map(|id| vec![id]).ok_or_else(|| unsupported(label))
        }
        Filter::Or(sides) => {
            let mut ids = Vec::new();
            for side in sides {
                ids.extend(selected_ids(label, side)?);
            }
            Ok(ids)
        }
        Filter::Compare(..) | Filter::Present(_) | Filter::ValuePath(..) | Filter::And(_) | Filter::Not(_) => {
            Err(unsupported(label))
        }
    }
}

fn unsupported(label: &str) -> ScimError {
    ScimError::invalid_filter(format!("values of `{label}` are selected by id: {label}[value eq \"…\"]"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn members(ids: &[&str]) -> Vec<Member> {
        ids.iter().map(|id| Member::of(*id)).collect()
    }

    #[test]
    fn one_operation_per_member_becomes_one_step() {
        let mut changes = MemberChanges::default();
        changes.add(members(&["a"]));
        changes.add(members(&["b", "a"]));
        changes.remove(vec!["c".into()]);
        changes.remove(vec!["d".into(), "c".into()]);
        changes.add(members(&["c"]));
        assert_eq!(
            changes.finish(),
            [
                MemberChange::Add(members(&["a", "b"])),
                MemberChange::Remove(vec!["c".into(), "d".into()]),
                MemberChange::Add(members(&["c"])),
            ]
        );
    }

    #[test]
    fn removing_all_and_adding_is_a_replacement_and_forgets_what_was_before() {
        let mut changes = MemberChanges::default();
        changes.add(members(&["gone"]));
        changes.replace_all(Vec::new());
        changes.remove(vec!["nobody".into()]);
        changes.add(members(&["a"]));
        changes.add(members(&["b"]));
        assert_eq!(changes.finish(), [MemberChange::ReplaceAll(members(&["a", "b"]))]);
    }
}
