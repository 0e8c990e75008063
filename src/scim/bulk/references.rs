//! References to resources that the same request makes: `bulkId:x` for the resource of the POST whose bulkId is `x`
//! (RFC 7644 §3.7.2).
//!
//! A reference stands where an id would: as a whole value anywhere in the body, at the end of a `$ref`, in a value that
//! the `path` of a PATCH compares with, and as a segment of the path of an operation.

use std::collections::BTreeSet;

use serde_json::{Map, Value, json};

const PREFIX: &str = "bulkId:";

/// The bulkIds that an operation refers to.
pub(super) fn referred_to(path: &str, data: Option<&Value>) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    let mut note = |id: &str| {
        found.insert(id.to_owned());
        None
    };
    drop(replaced_in_path(path, &mut note));
    if let Some(data) = data {
        drop(replaced(data, &mut note));
    }
    found
}

/// The body with ids in place of references; `id_of` keeps those for which it has none.
pub(super) fn replaced(data: &Value, id_of: &mut dyn FnMut(&str) -> Option<String>) -> Value {
    match data {
        Value::String(text) => text.strip_prefix(PREFIX).and_then(id_of).map_or_else(|| data.clone(), Value::String),
        Value::Array(items) => items.iter().map(|item| replaced(item, id_of)).collect(),
        Value::Object(object) => {
            let member = |(name, value): (&String, &Value)| {
                let value = match value {
                    Value::String(text) if name.eq_ignore_ascii_case("$ref") => replaced_in_path(text, id_of).into(),
                    Value::String(text) if name.eq_ignore_ascii_case("path") => replaced_in_filter(text, id_of).into(),
                    value => replaced(value, id_of),
                };
                (name.clone(), value)
            };
            Value::Object(object.iter().map(member).collect())
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => data.clone(),
    }
}

/// `/Groups/bulkId:x`, also with a query behind it.
pub(super) fn replaced_in_path(path: &str, id_of: &mut dyn FnMut(&str) -> Option<String>) -> String {
    let (path, query) = match path.split_once('?') {
        Some((path, query)) => (path, format!("?{query}")),
        None => (path, String::new()),
    };
    let mut segment = |segment: &str| {
        let id = segment.strip_prefix(PREFIX).and_then(&mut *id_of);
        id.unwrap_or_else(|| segment.to_owned())
    };
    let segments: Vec<String> = path.split('/').map(&mut segment).collect();
    segments.join("/") + &query
}

/// `members[value eq "bulkId:x"]`.
fn replaced_in_filter(path: &str, id_of: &mut dyn FnMut(&str) -> Option<String>) -> String {
    let mut quoted = |text: &str| {
        let id = text.strip_prefix(PREFIX).and_then(&mut *id_of);
        id.unwrap_or_else(|| text.to_owned())
    };
    path.split('"').map(&mut quoted).collect::<Vec<_>>().join("\"")
}

/// A body without the attributes, or the values of multi-valued ones, that refer to any of `absent`; and the PATCH
/// operations that add these.
pub(super) fn without(data: &Value, absent: &BTreeSet<String>) -> (Value, Vec<Value>) {
    let Value::Object(body) = data else { return (data.clone(), Vec::new()) };
    let mut later = Vec::new();
    let mut rest = Map::new();
    for (name, value) in body {
        // What stands under a URN are the attributes of an extension.
        let kept = match value {
            Value::Object(extension) if name.contains(':') => {
                let kept = extension.iter().filter_map(|(inner, value)| {
                    let kept = attribute_without(&format!("{name}:{inner}"), value, absent, &mut later)?;
                    Some((inner.clone(), kept))
                });
                Some(Value::Object(kept.collect()))
            }
            value => attribute_without(name, value, absent, &mut later),
        };
        rest.extend(kept.map(|kept| (name.clone(), kept)));
    }
    (Value::Object(rest), later)
}

fn attribute_without(path: &str, value: &Value, absent: &BTreeSet<String>, later: &mut Vec<Value>) -> Option<Value> {
    let refers = |value: &&Value| !referred_to("", Some(value)).is_disjoint(absent);
    let (put_off, kept) = match value {
        Value::Array(items) => {
            let (put_off, kept): (Vec<&Value>, Vec<&Value>) = items.iter().partition(refers);
            (put_off.into_iter().cloned().collect(), Some(kept.into_iter().cloned().collect()))
        }
        value if refers(&value) => (vec![value.clone()], None),
        value => (Vec::new(), Some(value.clone())),
    };
    match (put_off.as_slice(), value) {
        ([], _) => {}
        (put_off, Value::Array(_)) => later.push(json!({ "op": "add", "path": path, "value": put_off })),
        ([single, ..], _) => later.push(json!({ "op": "add", "path": path, "value": single })),
    }
    kept
}
