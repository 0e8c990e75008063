//! The order of a list (RFC 7644 §3.4.2.3).

use std::cmp::Ordering;

use serde_json::{Map, Value};

use super::coerce::is_primary;
use super::error::ScimError;
use super::name::{AttrPath, Resolved};
use super::schema::{Attribute, ResourceType, SchemaTable};
use super::value::Scalar;

/// `sortBy` and `sortOrder`, looked up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sort {
    urn: Option<String>,
    attribute: Attribute,
    sub: Option<Attribute>,
    pub descending: bool,
}

/// What a document is sorted by; taken once per document. The default is that of a document without a value.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct SortKey(Option<Scalar<'static>>);

impl Sort {
    /// `None` without `sortBy`. `invalidValue` for an attribute that the type does not have, a complex one without its
    /// sub-attribute, or an order that is neither `ascending` nor `descending`.
    pub fn parse(
        by: Option<&str>,
        order: Option<&str>,
        table: &SchemaTable,
        kind: &ResourceType,
    ) -> Result<Option<Sort>, ScimError> {
        let descending = match order.map(str::trim).filter(|order| !order.is_empty()) {
            None => false,
            Some(order) if order.eq_ignore_ascii_case("ascending") => false,
            Some(order) if order.eq_ignore_ascii_case("descending") => true,
            Some(_) => return Err(ScimError::invalid_value("`sortOrder` is ascending or descending")),
        };
        let Some(by) = by.map(str::trim).filter(|by| !by.is_empty()) else { return Ok(None) };
        let place = AttrPath::parse(by).and_then(|path| path.resolve(table, kind)).and_then(Resolved::place);
        let Some(place) = place else {
            return Err(ScimError::invalid_value(format!("`sortBy`: {} has no such attribute", kind.name)));
        };
        let sub = match (place.sub, place.attribute.is_complex()) {
            (None, true) => Some(place.attribute.default_sub().ok_or_else(|| {
                ScimError::invalid_value(format!("`sortBy`: `{}` is complex: name a sub-attribute", place.qualified()))
            })?),
            (sub, _) => sub,
        };
        Ok(Some(Sort {
            urn: place.urn.map(str::to_owned),
            attribute: place.attribute.clone(),
            sub: sub.cloned(),
            descending,
        }))
    }

    /// The attribute, by its canonical name, so that an index can answer (`userName`, `meta.created`).
    pub fn name(&self) -> String {
        let whole = super::name::qualified(self.urn.as_deref(), &self.attribute.name);
        match &self.sub {
            Some(sub) => format!("{whole}.{}", sub.name),
            None => whole,
        }
    }

    /// Whether keys of both can be compared: the attributes of two resource types that share a name may differ in type.
    pub fn compares_with(&self, other: &Sort) -> bool {
        let compared = |sort: &Sort| {
            let attribute = sort.sub.as_ref().unwrap_or(&sort.attribute);
            (attribute.kind, attribute.case_exact)
        };
        compared(self) == compared(other)
    }

    /// The value that decides: of a multi-valued attribute the primary one, else the first.
    pub fn key(&self, document: &Map<String, Value>) -> SortKey {
        let holder = match &self.urn {
            Some(urn) => document.get(urn).and_then(Value::as_object),
            None => Some(document),
        };
        let value = holder.and_then(|holder| holder.get(&self.attribute.name));
        let value = match value {
            Some(Value::Array(items)) => items.iter().find(|item| is_primary(item)).or_else(|| items.first()),
            single => single,
        };
        let (attribute, value) = match &self.sub {
            Some(sub) => (sub, value.and_then(|value| value.get(&sub.name))),
            None => (&self.attribute, value),
        };
        SortKey(value.and_then(|value| Scalar::of(attribute, value)).map(Scalar::into_owned))
    }

    /// Documents without a value come last when ascending and first when descending.
    pub fn compare(&self, a: &SortKey, b: &SortKey) -> Ordering {
        let ascending = match (&a.0, &b.0) {
            (Some(a), Some(b)) => a.order(b).unwrap_or(Ordering::Equal),
            (Some(_), None) => Ordering::Less,
            (None, Some(_)) => Ordering::Greater,
            (None, None) => Ordering::Equal,
        };
        if self.descending { ascending.reverse() } else { ascending }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn sorted(by: &str, order: Option<&str>, documents: &[Value]) -> Vec<String> {
        let table = SchemaTable::builtin();
        let user = table.resource_type("User").expect("a built-in type");
        let sort = Sort::parse(Some(by), order, &table, user).expect("good parameters").expect("a sort");
        let mut keyed: Vec<(SortKey, &Value)> =
            documents.iter().map(|document| (sort.key(document.as_object().expect("an object")), document)).collect();
        keyed.sort_by(|(a, _), (b, _)| sort.compare(a, b));
        keyed.iter().map(|(_, document)| document["id"].as_str().expect("an id").to_owned()).collect()
    }

    #[test]
    fn texts_are_sorted_without_case_unless_they_are_case_exact() {
        let documents = [
            json!({"id": "1", "userName": "b", "externalId": "b"}),
            json!({"id": "2", "userName": "A", "externalId": "a"}),
            json!({"id": "3", "userName": "C", "externalId": "C"}),
        ];
        assert_eq!(sorted("userName", None, &documents), ["2", "1", "3"]);
        assert_eq!(sorted("USERNAME", Some("Descending"), &documents), ["3", "1", "2"]);
        assert_eq!(sorted("externalId", Some("ascending"), &documents), ["3", "2", "1"]);
    }

    #[test]
    fn the_primary_value_decides_else_the_first_and_missing_values_come_last_ascending() {
        let documents = [
            json!({"id": "none"}),
            json!({"id": "primary", "emails": [{"value": "z@x"}, {"value": "a@x", "primary": true}]}),
            json!({"id": "first", "emails": [{"value": "b@x"}, {"value": "a@x"}]}),
        ];
        assert_eq!(sorted("emails", None, &documents), ["primary", "first", "none"]);
        assert_eq!(sorted("emails.value", Some("descending"), &documents), ["none", "first", "primary"]);
    }

    #[test]
    fn instants_and_booleans_are_sorted_by_their_type() {
        let documents = [
            json!({"id": "late", "meta": {"created": "2026-01-01T00:30:00+01:00"}, "active": true}),
            json!({"id": "later", "meta": {"created": "2025-12-31T23:45:00Z"}, "active": false}),
        ];
        assert_eq!(sorted("meta.created", None, &documents), ["late", "later"]);
        assert_eq!(sorted("active", None, &documents), ["later", "late"]);
    }

    #[test]
    fn parameters_that_mean_nothing_are_invalid_values() {
        let table = SchemaTable::builtin();
        let user = table.resource_type("User").expect("a built-in type");
        for (by, order) in [("userName", Some("up")), ("nose", None), ("name", None), ("a b", None)] {
            let error = Sort::parse(Some(by), order, &table, user).expect_err(by);
            assert_eq!(error.scim_type, Some(crate::scim::ScimType::InvalidValue));
        }
        assert_eq!(Sort::parse(None, None, &table, user), Ok(None));
    }
}
