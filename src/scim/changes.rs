//! What differs between two documents of one resource, as a PATCH would say it (RFC 7644 §3.5.2): for events, which
//! name what changed (RFC 9967 §2.2).

use serde_json::{Map, Value, json};

/// An attribute that is not the same in two documents.
#[derive(Debug, Clone, PartialEq)]
pub struct Changed {
    /// In the syntax of PATCH: `userName`, `name.familyName`,
    /// `urn:ietf:params:scim:schemas:extension:enterprise:2.0:User:department`.
    pub path: String,
    /// As it is now; `None` when it is gone.
    pub value: Option<Value>,
}

/// The URN of a PATCH body (RFC 7644 §3.5.2).
const PATCH_OP: &str = "urn:ietf:params:scim:api:messages:2.0:PatchOp";

/// The attributes that differ, in the order of `after`; those that are gone come last. Of a complex attribute that
/// stays, the sub-attributes are named; of one with several values, the attribute as a whole.
pub fn changes(before: &Map<String, Value>, after: &Map<String, Value>) -> Vec<Changed> {
    let mut found = Vec::new();
    compare("", before, after, &mut found);
    found
}

fn compare(prefix: &str, before: &Map<String, Value>, after: &Map<String, Value>, found: &mut Vec<Changed>) {
    let nothing = Map::new();
    // What a reply says of itself is no attribute that somebody changed.
    let is_attribute = |name: &str| !prefix.is_empty() || !matches!(name, "schemas" | "id" | "meta");
    for (name, is) in after.iter().filter(|(name, _)| is_attribute(name)) {
        let path = || format!("{prefix}{name}");
        match (before.get(name), is) {
            (Some(was), is) if was == is => {}
            (Some(Value::Object(was)), Value::Object(is)) => compare(&inside(prefix, name), was, is, found),
            // An extension is no attribute: it has attributes.
            (_, Value::Object(is)) if is_extension(name) => compare(&inside(prefix, name), &nothing, is, found),
            (_, is) => found.push(Changed { path: path(), value: Some(is.clone()) }),
        }
    }
    for (name, was) in before.iter().filter(|(name, _)| is_attribute(name) && !after.contains_key(*name)) {
        match was {
            Value::Object(was) if is_extension(name) => compare(&inside(prefix, name), was, &nothing, found),
            _ => found.push(Changed { path: format!("{prefix}{name}"), value: None }),
        }
    }
}

/// What comes before the names of sub-attributes, or of an extension's attributes.
fn inside(prefix: &str, name: &str) -> String {
    format!("{prefix}{name}{}", if is_extension(name) { ':' } else { '.' })
}

/// Only names of schemas hold a colon.
fn is_extension(name: &str) -> bool {
    name.contains(':')
}

/// The PATCH that makes these changes.
pub fn patch_op(changes: &[Changed]) -> Value {
    let operations = changes.iter().map(|Changed { path, value }| match value {
        Some(value) => json!({ "op": "replace", "path": path, "value": value }),
        None => json!({ "op": "remove", "path": path }),
    });
    json!({ "schemas": [PATCH_OP], "Operations": operations.collect::<Vec<_>>() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scim::{Profile, SchemaTable, patch};

    const ENTERPRISE: &str = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User";

    fn object(value: Value) -> Map<String, Value> {
        match value {
            Value::Object(map) => map,
            other => panic!("{other} is no object"),
        }
    }

    fn ada() -> Map<String, Value> {
        object(json!({
            "schemas": ["urn:ietf:params:scim:schemas:core:2.0:User"],
            "id": "2819c223-7f76-453a-919d-413861904646",
            "userName": "ada",
            "title": "Countess",
            "name": { "givenName": "Ada", "familyName": "Byron" },
            "emails": [{ "value": "ada@example.com" }],
            ENTERPRISE: { "department": "Engines", "costCenter": "1" },
        }))
    }

    fn paths(before: &Map<String, Value>, after: &Map<String, Value>) -> Vec<String> {
        changes(before, after).into_iter().map(|changed| changed.path).collect()
    }

    #[test]
    fn a_new_resource_names_all_it_has() {
        let expected = ["userName", "title", "name", "emails"].map(str::to_owned).into_iter();
        let expected = expected.chain(["department", "costCenter"].map(|name| format!("{ENTERPRISE}:{name}")));
        assert_eq!(paths(&Map::new(), &ada()), expected.collect::<Vec<_>>());
        assert_eq!(paths(&ada(), &ada()), Vec::<String>::new());
    }

    #[test]
    fn a_change_names_what_is_other_new_or_gone() {
        let mut after = ada();
        after["name"]["familyName"] = "Lovelace".into();
        after["emails"] = json!([{ "value": "ada@example.org" }]);
        after[ENTERPRISE] = json!({ "department": "Engines", "division": "North" });
        after.shift_remove("title");
        after.insert("nickName".to_owned(), "Enchantress".into());
        let expected = [
            "name.familyName".to_owned(),
            "emails".to_owned(),
            format!("{ENTERPRISE}:division"),
            format!("{ENTERPRISE}:costCenter"),
            "nickName".to_owned(),
            "title".to_owned(),
        ];
        assert_eq!(paths(&ada(), &after), expected);
    }

    #[test]
    fn the_patch_makes_of_what_was_what_is() {
        let table = SchemaTable::builtin();
        let kind = table.resource_type("User").unwrap();
        let mut before = ada();
        before.remove("schemas");
        before.remove("id");
        let mut after = before.clone();
        after["name"]["familyName"] = "Lovelace".into();
        after.shift_remove(ENTERPRISE);
        after.shift_remove("title");
        after.insert("nickName".to_owned(), "Enchantress".into());
        let profile = Profile::named("rfc-strict").unwrap();
        let patch = patch_op(&changes(&before, &after));
        let patched = patch::apply(&table, kind, &profile, &before, patch).unwrap();
        assert_eq!(Value::Object(patched.attributes), Value::Object(after));
    }
}
