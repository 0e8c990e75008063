//! Which attributes a reply carries: `attributes`, `excludedAttributes` (RFC 7644 §3.4.2.5, §3.9) and the `returned`
//! characteristic.

use serde_json::{Map, Value};

use super::error::ScimError;
use super::name::{AttrPath, Resolved};
use super::schema::{Attribute, ResourceType, Returned, SchemaTable, Storage};

/// An attribute, a sub-attribute of one, or all of an extension, by canonical names.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Choice {
    urn: Option<String>,
    /// `None`: everything under the URN.
    name: Option<String>,
    sub: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Mode {
    /// What is returned by default.
    Default,
    /// These, and what is always returned. `None` of a URN with `None` of a name is the whole core schema.
    Only(Vec<Choice>),
    /// The default without these.
    Except(Vec<Choice>),
}

/// Cuts a resource down to what was asked for. Made once per request, applied to every resource of the reply.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Projection {
    mode: Mode,
    /// `returned: always`, beside `id` and `schemas`.
    always: Vec<Choice>,
    /// Not returned unless asked for (`request`), or not at all (`never`).
    request: Vec<Choice>,
    never: Vec<Choice>,
    /// Whether documents hold anything of the last two.
    hides: bool,
}

impl Projection {
    /// Takes the two comma-separated parameters. Names that the type does not have are passed over; both parameters at
    /// once are `invalidValue` (they exclude each other).
    pub fn parse(
        attributes: Option<&str>,
        excluded: Option<&str>,
        table: &SchemaTable,
        kind: &ResourceType,
    ) -> Result<Projection, ScimError> {
        let list = |text: Option<&str>| -> Vec<String> {
            text.unwrap_or_default()
                .split(',')
                .map(str::trim)
                .filter(|name| !name.is_empty())
                .map(str::to_owned)
                .collect()
        };
        Self::of(&list(attributes), &list(excluded), table, kind)
    }

    /// The same from the lists of a search request (RFC 7644 §3.4.3).
    pub fn of(
        attributes: &[String],
        excluded: &[String],
        table: &SchemaTable,
        kind: &ResourceType,
    ) -> Result<Projection, ScimError> {
        let chosen = |names: &[String]| names.iter().filter_map(|name| choose(name, table, kind)).collect();
        let mode = match (attributes.is_empty(), excluded.is_empty()) {
            (true, true) => Mode::Default,
            (false, true) => Mode::Only(chosen(attributes)),
            (true, false) => Mode::Except(chosen(excluded)),
            (false, false) => {
                return Err(ScimError::invalid_value("`attributes` and `excludedAttributes` exclude each other"));
            }
        };
        let mut projection =
            Projection { mode, always: Vec::new(), request: Vec::new(), never: Vec::new(), hides: false };
        projection.characteristics(None, table.common_attributes());
        projection.characteristics(None, table.core_attributes(kind));
        for schema in table.extension_schemas(kind) {
            projection.characteristics(Some(&schema.id), &schema.attributes);
        }
        Ok(projection)
    }

    fn characteristics(&mut self, urn: Option<&str>, attributes: &[Attribute]) {
        for attribute in attributes {
            self.characteristic(urn, attribute, None);
            for sub in &attribute.sub_attributes {
                self.characteristic(urn, attribute, Some(sub));
            }
        }
    }

    fn characteristic(&mut self, urn: Option<&str>, attribute: &Attribute, sub: Option<&Attribute>) {
        let list = match sub.unwrap_or(attribute).returned {
            Returned::Default => return,
            Returned::Always => &mut self.always,
            Returned::Request => &mut self.request,
            Returned::Never => &mut self.never,
        };
        let hidden = sub.unwrap_or(attribute).returned != Returned::Always;
        self.hides |= hidden && attribute.storage == Storage::Document;
        list.push(Choice {
            urn: urn.map(str::to_owned),
            name: Some(attribute.name.clone()),
            sub: sub.map(|sub| sub.name.clone()),
        });
    }

    /// Whether neither parameter was given.
    pub fn is_default(&self) -> bool {
        self.mode == Mode::Default
    }

    /// Whether `attributes` was given: a PATCH must then answer with a body (RFC 7644 §3.5.2).
    pub fn is_explicit(&self) -> bool {
        matches!(self.mode, Mode::Only(_))
    }

    /// Whether a stored document can go out as it is.
    pub fn is_identity(&self) -> bool {
        self.is_default() && !self.hides
    }

    /// Whether the reply carries this attribute of the core schema or of every resource, or a part of it. What nobody
    /// will read need not be fetched.
    pub fn wants(&self, name: &str) -> bool {
        self.wants_of(None, name)
    }

    /// As [`Projection::wants`], of the extension with this URN.
    pub fn wants_of(&self, urn: Option<&str>, name: &str) -> bool {
        let about = |choice: &&Choice| {
            let of = match (choice.urn.as_deref(), urn) {
                (Some(one), Some(other)) => one.eq_ignore_ascii_case(other),
                (one, other) => one == other,
            };
            of && choice.name.as_deref().is_none_or(|chosen| chosen.eq_ignore_ascii_case(name))
        };
        let whole = |choice: &Choice| choice.sub.is_none();
        let is = |list: &[Choice]| list.iter().filter(about).any(whole);
        if is(&self.never) {
            return false;
        }
        is(&self.always)
            || match &self.mode {
                Mode::Default => !is(&self.request),
                Mode::Only(chosen) => chosen.iter().any(|choice| about(&choice)),
                Mode::Except(chosen) => !is(chosen) && !is(&self.request),
            }
    }

    /// Whether `attributes` names this sub-attribute itself.
    pub fn asks_for(&self, name: &str, sub: &str) -> bool {
        let is = |found: &Option<String>, name: &str| found.as_deref().is_some_and(|it| it.eq_ignore_ascii_case(name));
        let named = |choice: &Choice| choice.urn.is_none() && is(&choice.name, name) && is(&choice.sub, sub);
        matches!(&self.mode, Mode::Only(chosen) if chosen.iter().any(named))
    }

    /// Removes what does not go out.
    pub fn apply(&self, resource: &mut Map<String, Value>) {
        match &self.mode {
            Mode::Default => self.request.iter().for_each(|choice| remove(resource, choice)),
            Mode::Except(chosen) => {
                let protected = |choice: &&Choice| !self.always.contains(choice);
                self.request.iter().for_each(|choice| remove(resource, choice));
                chosen.iter().filter(protected).for_each(|choice| remove(resource, choice));
            }
            Mode::Only(chosen) => {
                let full = std::mem::take(resource);
                for choice in self.always.iter().filter(|choice| choice.sub.is_none()).chain(chosen) {
                    keep(&full, resource, choice);
                }
                // A sub-attribute that is always returned comes with its attribute.
                for choice in self.always.iter().filter(|choice| choice.sub.is_some()) {
                    if present(resource, choice) {
                        keep(&full, resource, choice);
                    }
                }
                for choice in self.request.iter().filter(|choice| !asked_for(choice, chosen)) {
                    remove(resource, choice);
                }
            }
        }
        self.never.iter().for_each(|choice| remove(resource, choice));
    }
}

/// Whether the names of `attributes` include this choice itself, not merely something that contains it.
fn asked_for(choice: &Choice, chosen: &[Choice]) -> bool {
    chosen.contains(choice)
}

fn choose(name: &str, table: &SchemaTable, kind: &ResourceType) -> Option<Choice> {
    Some(match AttrPath::parse(name)?.resolve(table, kind)? {
        Resolved::Core => Choice { urn: None, name: None, sub: None },
        Resolved::Extension(schema) => Choice { urn: Some(schema.id.clone()), name: None, sub: None },
        Resolved::Attribute(place) => Choice {
            urn: place.urn.map(str::to_owned),
            name: Some(place.attribute.name.clone()),
            sub: place.sub.map(|sub| sub.name.clone()),
        },
    })
}

fn present(resource: &Map<String, Value>, choice: &Choice) -> bool {
    let holder = match &choice.urn {
        Some(urn) => resource.get(urn).and_then(Value::as_object),
        None => Some(resource),
    };
    match (holder, &choice.name) {
        (Some(holder), Some(name)) => holder.contains_key(name),
        (Some(_), None) => true,
        (None, _) => false,
    }
}

fn remove(resource: &mut Map<String, Value>, choice: &Choice) {
    let Some(name) = &choice.name else {
        match &choice.urn {
            Some(urn) => {
                resource.shift_remove(urn);
            }
            // The whole core schema: everything but extensions and what is always returned.
            None => resource.retain(|key, _| key.contains(':') || matches!(key.as_str(), "id" | "schemas" | "meta")),
        }
        return;
    };
    match &choice.urn {
        None => remove_from(resource, name, choice.sub.as_deref()),
        Some(urn) => {
            let Some(Value::Object(holder)) = resource.get_mut(urn) else { return };
            remove_from(holder, name, choice.sub.as_deref());
            if holder.is_empty() {
                resource.shift_remove(urn);
            }
        }
    }
}

fn remove_from(holder: &mut Map<String, Value>, name: &str, sub: Option<&str>) {
    let Some(sub) = sub else {
        holder.shift_remove(name);
        return;
    };
    let empty = match holder.get_mut(name) {
        Some(Value::Object(object)) => {
            object.shift_remove(sub);
            object.is_empty()
        }
        Some(Value::Array(items)) => {
            for object in items.iter_mut().filter_map(Value::as_object_mut) {
                object.shift_remove(sub);
            }
            items.retain(|item| item.as_object().is_none_or(|object| !object.is_empty()));
            items.is_empty()
        }
        Some(_) | None => false,
    };
    if empty {
        holder.shift_remove(name);
    }
}

/// Copies a choice from the full resource.
fn keep(full: &Map<String, Value>, out: &mut Map<String, Value>, choice: &Choice) {
    let (from, into) = match &choice.urn {
        None => (full, &mut *out),
        Some(urn) => {
            let Some(from) = full.get(urn).and_then(Value::as_object) else { return };
            if choice.name.as_ref().is_some_and(|name| !from.contains_key(name)) {
                return;
            }
            let entry = out.entry(urn.clone()).or_insert_with(|| Map::new().into());
            let Value::Object(into) = entry else { return };
            (from, into)
        }
    };
    match (&choice.name, &choice.sub) {
        (None, _) => {
            let nested = choice.urn.is_some();
            let whole = from.iter().filter(|(key, _)| nested || !key.contains(':'));
            into.extend(whole.map(|(key, value)| (key.clone(), value.clone())));
        }
        (Some(name), None) => {
            if let Some(value) = from.get(name) {
                into.insert(name.clone(), value.clone());
            }
        }
        (Some(name), Some(sub)) => keep_sub(from, into, name, sub),
    }
}

fn keep_sub(from: &Map<String, Value>, into: &mut Map<String, Value>, name: &str, sub: &str) {
    match from.get(name) {
        Some(Value::Object(object)) => {
            let Some(value) = object.get(sub) else { return };
            let entry = into.entry(name.to_owned()).or_insert_with(|| Map::new().into());
            entry[sub] = value.clone();
        }
        Some(Value::Array(items)) => {
            // Elements keep their places while further sub-attributes are added to them.
            let blank = || Value::Array(vec![Value::Object(Map::new()); items.len()]);
            let entry = into.entry(name.to_owned()).or_insert_with(blank);
            let Value::Array(kept) = entry else { return };
            for (kept, item) in kept.iter_mut().zip(items) {
                if let Some(value) = item.get(sub) {
                    kept[sub] = value.clone();
                }
            }
        }
        Some(_) | None => {}
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::scim::table::{ENTERPRISE_USER_URN, fixture};

    fn project(attributes: Option<&str>, excluded: Option<&str>, kind: &str, resource: Value) -> Value {
        let table = SchemaTable::builtin();
        let kind = table.resource_type(kind).expect("a built-in type");
        let projection = Projection::parse(attributes, excluded, &table, kind).expect("good parameters");
        let Value::Object(mut resource) = resource else { panic!("a resource is an object") };
        projection.apply(&mut resource);
        Value::Object(resource)
    }

    fn user() -> Value {
        fixture("samples/rfc7643-8.3-enterprise_user.json")
    }

    #[test]
    fn the_partial_response_of_the_rfc_carries_what_was_asked_for_and_what_is_always_returned() {
        let full = fixture("samples/rfc7644-3.4.1-user-known-resource.json");
        let partial = project(Some("userName"), None, "User", full.clone());
        assert_eq!(
            partial,
            json!({"schemas": full["schemas"], "id": "2819c223-7f76-453a-919d-413861904646", "userName": "bjensen"})
        );
    }

    #[test]
    fn sub_attributes_and_urns_are_chosen() {
        let manager = format!("{ENTERPRISE_USER_URN}:manager.displayName");
        let out =
            project(Some(&format!("NAME.givenname, emails.value,emails.type,{manager},nothing")), None, "User", user());
        assert_eq!(out["name"], json!({"givenName": "Barbara"}));
        assert_eq!(
            out["emails"],
            json!([{"value": "bjensen@example.com", "type": "work"}, {"value": "babs@jensen.org", "type": "home"}])
        );
        assert_eq!(out[ENTERPRISE_USER_URN], json!({"manager": {"displayName": "John Smith"}}));
        assert_eq!(out.as_object().map(Map::len), Some(5));
        let out = project(Some(ENTERPRISE_USER_URN), None, "User", user());
        assert_eq!(out[ENTERPRISE_USER_URN], user()[ENTERPRISE_USER_URN]);
        assert_eq!(out.as_object().map(Map::len), Some(3));
    }

    #[test]
    fn excluded_attributes_never_take_what_is_always_returned() {
        let out = project(None, Some("id,schemas,emails.type,groups,password,meta"), "User", user());
        assert_eq!(out["id"], user()["id"]);
        assert_eq!(out["schemas"], user()["schemas"]);
        assert_eq!(out["emails"][1], json!({"value": "babs@jensen.org"}));
        assert_eq!(out.get("groups"), None);
        assert_eq!(out.get("meta"), None);
        let out = project(None, Some(ENTERPRISE_USER_URN), "User", user());
        assert_eq!(out.get(ENTERPRISE_USER_URN), None);
    }

    #[test]
    fn what_is_never_returned_is_never_returned() {
        for attributes in [None, Some("password"), Some("urn:ietf:params:scim:schemas:core:2.0:User")] {
            assert_eq!(project(attributes, None, "User", user()).get("password"), None);
        }
    }

    #[test]
    fn what_is_returned_on_request_is_returned_only_then() {
        let hr = "urn:example:params:scim:schemas:hr:2.0:User";
        let example = include_str!("../../config/schemas/example-hr.json");
        let table = SchemaTable::builtin().extended([("hr", example)]).expect("the example is good");
        let kind = table.resource_type("User").expect("a built-in type");
        let level = |attributes: Option<&str>| {
            let mut user = Map::from_iter([(hr.to_owned(), json!({"level": 3, "badgeNumber": "7"}))]);
            Projection::parse(attributes, None, &table, kind).expect("good parameters").apply(&mut user);
            user.get(hr).and_then(|extension| extension.get("level")).cloned()
        };
        assert_eq!(level(None), None);
        assert_eq!(level(Some(hr)), None);
        assert_eq!(level(Some(&format!("{hr}:level"))), Some(json!(3)));
    }

    #[test]
    fn detached_attributes_are_fetched_only_when_wanted() {
        let table = SchemaTable::builtin();
        let wants = |attributes: Option<&str>, excluded: Option<&str>| {
            let kind = table.resource_type("Group").expect("a built-in type");
            Projection::parse(attributes, excluded, &table, kind).expect("good parameters").wants("members")
        };
        assert!(wants(None, None));
        assert!(!wants(None, Some("Members")));
        assert!(wants(None, Some("members.display")));
        assert!(!wants(Some("displayName"), None));
        assert!(wants(Some("members.value"), None));
        assert!(wants(Some("urn:ietf:params:scim:schemas:core:2.0:Group:members"), None));
        let kind = table.resource_type("Group").expect("a built-in type");
        assert!(Projection::parse(Some("id"), Some("members"), &table, kind).is_err());
        assert!(Projection::parse(Some(""), None, &table, kind).is_ok_and(|projection| projection.is_default()));
    }
}
