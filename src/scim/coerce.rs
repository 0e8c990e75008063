//! Brings what a client sent into the form that the schema demands, or says why it cannot.
//!
//! The one place where a value is checked against its attribute's type; bodies and PATCH operations both come here.

use serde_json::{Map, Value};

use super::error::ScimError;
use super::profile::{Applied, Profile, Tolerance};
use super::schema::{Attribute, Storage, Type};
use super::value::{boolean, instant, integer, is_base64, midnight};

/// More values than this in one attribute are refused: every PATCH operation walks them. Memberships are not values of
/// a document and have no such bound.
pub const MAX_VALUES: usize = 1_000;

/// Reads values under a profile and remembers what it let pass.
#[derive(Debug)]
pub struct Coercion<'p> {
    pub profile: &'p Profile,
    pub applied: Applied,
    /// What was left out because the schema does not know it.
    pub ignored: Vec<String>,
}

type Coerced = Result<Option<Value>, ScimError>;

impl<'p> Coercion<'p> {
    pub fn new(profile: &'p Profile) -> Self {
        Coercion { profile, applied: Applied::new(), ignored: Vec::new() }
    }

    /// Whether the profile tolerates it; noted when it does.
    pub fn tolerates(&mut self, tolerance: Tolerance) -> bool {
        self.profile.applies(tolerance, &mut self.applied)
    }

    /// Leaves out what the schema does not know, or refuses it (section "unknown attributes" of the decisions).
    pub fn unknown(&mut self, label: &str) -> Result<(), ScimError> {
        self.leave_out(label, Tolerance::UnknownAttributes)
    }

    /// The same for a URN that this server does not know.
    pub fn foreign(&mut self, label: &str) -> Result<(), ScimError> {
        self.leave_out(label, Tolerance::ForeignSchemas)
    }

    fn leave_out(&mut self, label: &str, tolerance: Tolerance) -> Result<(), ScimError> {
        if self.tolerates(tolerance) {
            self.ignored.push(label.to_owned());
            return Ok(());
        }
        Err(ScimError::invalid_syntax(format!("`{label}` is not in the schemas of this resource; see /Schemas")))
    }

    /// A value for an attribute that is thrown away (`password`).
    pub fn discard(&mut self, attribute: &Attribute) -> Result<(), ScimError> {
        debug_assert_eq!(attribute.storage, Storage::Discarded);
        if self.tolerates(Tolerance::PasswordDropped) {
            return Ok(());
        }
        Err(ScimError::invalid_value(format!("`{}` is not kept here; leave it out", attribute.name)))
    }

    /// The value of a whole attribute; `None` when it says that the attribute has no value.
    pub fn whole(&mut self, label: &str, attribute: &Attribute, value: Value) -> Coerced {
        if !attribute.multi_valued {
            return self.single(label, attribute, value);
        }
        let items = self.list(label, attribute, value)?;
        Ok((!items.is_empty()).then_some(Value::Array(items)))
    }

    /// The values of a multi-valued attribute.
    pub fn list(&mut self, label: &str, attribute: &Attribute, value: Value) -> Result<Vec<Value>, ScimError> {
        let given = match value {
            Value::Null => return Ok(Vec::new()),
            Value::Array(items) => items,
            Value::String(text) if text.is_empty() && self.tolerates(Tolerance::EmptyClears) => return Ok(Vec::new()),
            single if self.tolerates(Tolerance::SingleForList) => vec![single],
            other => return Err(wrong_type(label, "a list", &other)),
        };
        let mut items = Vec::with_capacity(given.len().min(MAX_VALUES));
        for item in given {
            items.extend(self.element(label, attribute, item)?);
            if items.len() > MAX_VALUES {
                return Err(too_many(label));
            }
        }
        one_primary(label, &items)?;
        Ok(items)
    }

    fn single(&mut self, label: &str, attribute: &Attribute, value: Value) -> Coerced {
        let Value::Array(mut items) = value else { return self.element(label, attribute, value) };
        match (items.pop(), items.is_empty()) {
            (None, _) => Ok(None),
            (Some(item), true) if self.tolerates(Tolerance::ListForSingle) => match item {
                // `"displayName": [{"value": "Babs"}]`
                Value::Object(mut wrapped) if !attribute.is_complex() => {
                    let inner = wrapped.remove("value").unwrap_or(Value::Object(wrapped));
                    self.element(label, attribute, inner)
                }
                item => self.element(label, attribute, item),
            },
            (Some(item), _) => Err(wrong_type(label, "one value", &Value::Array(vec![item]))),
        }
    }

    /// One value of the attribute.
    pub fn element(&mut self, label: &str, attribute: &Attribute, value: Value) -> Coerced {
        match value {
            Value::Null => Ok(None),
            Value::String(text) if text.is_empty() && self.tolerates(Tolerance::EmptyClears) => Ok(None),
            value if attribute.is_complex() => {
                let object = self.object(label, attribute, value)?;
                let mut out = Map::new();
                for (sub, value) in self.subs(label, attribute, object)? {
                    if let Some(value) = value {
                        out.insert(sub.name.clone(), value);
                    }
                }
                require_subs(label, attribute, &out)?;
                Ok((!out.is_empty()).then_some(Value::Object(out)))
            }
            value => self.plain(label, attribute, value).map(Some),
        }
    }

    /// The JSON object of a complex value, from one of the shapes that clients send.
    pub fn object(
        &mut self,
        label: &str,
        attribute: &Attribute,
        value: Value,
    ) -> Result<Map<String, Value>, ScimError> {
        match value {
            Value::Object(object) => Ok(self.unpacked(attribute, object)),
            Value::Array(mut items) if items.len() == 1 && self.tolerates(Tolerance::ListForSingle) => {
                match items.pop() {
                    Some(Value::Array(_)) | None => Err(wrong_type(label, "an object", &Value::Array(items))),
                    Some(item) => self.object(label, attribute, item),
                }
            }
            Value::String(text) if is_json_object(&text) && self.tolerates(Tolerance::JsonInString) => {
                Ok(json_object(&text).unwrap_or_default())
            }
            value @ (Value::String(_) | Value::Number(_) | Value::Bool(_))
                if attribute.default_sub().is_some() && self.tolerates(Tolerance::ScalarForComplex) =>
            {
                Ok(Map::from_iter([("value".to_owned(), value)]))
            }
            other => Err(wrong_type(label, "an object", &other)),
        }
    }

    /// Entra ID's app role assignments: the object stands as text in `value` of itself.
    fn unpacked(&mut self, attribute: &Attribute, mut object: Map<String, Value>) -> Map<String, Value> {
        let Some(sub) = attribute.default_sub() else { return object };
        let packed = object.get(&sub.name).and_then(|value| packed_object(sub, value));
        let Some(inner) = packed.filter(|_| self.tolerates(Tolerance::JsonInString)) else { return object };
        for (key, value) in inner {
            // Its `id` is the role's in Entra ID and means nothing here.
            let key = if key == "displayName" { "display".to_owned() } else { key };
            if attribute.sub(&key).is_some() {
                object.insert(key, value);
            }
        }
        object
    }

    /// The same where a PATCH sets `value` alone: what is packed there besides is left out.
    pub fn unpacked_value(&mut self, attribute: &Attribute, sub: &Attribute, value: Value) -> Value {
        let packed = packed_object(sub, &value).filter(|_| attribute.default_sub() == Some(sub));
        match packed.filter(|_| self.tolerates(Tolerance::JsonInString)) {
            Some(mut inner) => inner.remove("value").unwrap_or(value),
            None => value,
        }
    }

    /// The sub-attributes that an object names, with `None` for those it unassigns. Read-only ones are dropped, as
    /// RFC 7644 §3.3 has it: its own examples send `members.display`.
    pub fn subs<'t>(
        &mut self,
        label: &str,
        attribute: &'t Attribute,
        object: Map<String, Value>,
    ) -> Result<Vec<(&'t Attribute, Option<Value>)>, ScimError> {
        let mut subs = Vec::with_capacity(object.len());
        for (key, value) in object {
            match attribute.sub(&key) {
                None => self.unknown(&format!("{label}.{key}"))?,
                Some(sub) if sub.is_read_only() => {}
                Some(sub) => {
                    let value = self.whole(&format!("{label}.{}", sub.name), sub, value)?;
                    subs.push((sub, value));
                }
            }
        }
        Ok(subs)
    }

    fn plain(&mut self, label: &str, attribute: &Attribute, value: Value) -> Result<Value, ScimError> {
        let (due, coerced) = match attribute.kind {
            Type::String => ("a string", self.string(&value)),
            Type::Reference => ("a URI as a string", value.is_string().then(|| value.clone())),
            Type::Boolean => ("true or false", self.boolean(&value)),
            Type::Integer => ("a whole number", self.number(&value, |value| integer(value).is_some())),
            Type::Decimal => ("a number", self.number(&value, Value::is_number)),
            Type::DateTime => ("a dateTime such as 2026-01-05T08:00:00Z", self.date_time(&value)),
            Type::Binary => ("base64", value.as_str().is_some_and(is_base64).then(|| value.clone())),
            Type::Complex => ("an object", None),
        };
        coerced.ok_or_else(|| wrong_type(label, due, &value))
    }

    fn string(&mut self, value: &Value) -> Option<Value> {
        match value {
            Value::String(_) => Some(value.clone()),
            Value::Number(number) => {
                self.tolerates(Tolerance::ScalarAsString).then(|| Value::String(number.to_string()))
            }
            Value::Bool(flag) => self.tolerates(Tolerance::ScalarAsString).then(|| Value::String(flag.to_string())),
            Value::Null | Value::Array(_) | Value::Object(_) => None,
        }
    }

    fn boolean(&mut self, value: &Value) -> Option<Value> {
        match value {
            Value::Bool(_) => Some(value.clone()),
            Value::String(text) => {
                let flag = boolean(text)?;
                self.tolerates(Tolerance::BooleanStrings).then_some(Value::Bool(flag))
            }
            Value::Null | Value::Number(_) | Value::Array(_) | Value::Object(_) => None,
        }
    }

    fn number(&mut self, value: &Value, fits: fn(&Value) -> bool) -> Option<Value> {
        if fits(value) {
            return Some(value.clone());
        }
        let number: Value = serde_json::from_str(value.as_str()?.trim()).ok().filter(fits)?;
        self.tolerates(Tolerance::NumberStrings).then_some(number)
    }

    fn date_time(&mut self, value: &Value) -> Option<Value> {
        let text = value.as_str()?;
        if instant(text).is_some() {
            return Some(value.clone());
        }
        let midnight = midnight(text)?;
        self.tolerates(Tolerance::DateOnly).then(|| Value::String(midnight.to_string()))
    }
}

/// At most one value is the primary one (RFC 7643 §2.4).
pub fn one_primary(label: &str, items: &[Value]) -> Result<(), ScimError> {
    if items.iter().filter(|item| is_primary(item)).count() > 1 {
        return Err(ScimError::invalid_value(format!("only one value of `{label}` can be primary")));
    }
    Ok(())
}

/// Whether this value of a multi-valued attribute is marked as the primary one.
pub fn is_primary(item: &Value) -> bool {
    item.get("primary").and_then(Value::as_bool).unwrap_or(false)
}

/// A complex value has the sub-attributes that its schema requires.
pub fn require_subs(label: &str, attribute: &Attribute, object: &Map<String, Value>) -> Result<(), ScimError> {
    let missing = attribute.sub_attributes.iter().find(|sub| sub.required && !object.contains_key(&sub.name));
    match missing {
        Some(sub) => Err(ScimError::invalid_value(format!("`{label}.{}` is required", sub.name))),
        None => Ok(()),
    }
}

pub fn too_many(label: &str) -> ScimError {
    ScimError::invalid_value(format!("`{label}` takes at most {MAX_VALUES} values"))
}

/// An object with a `value` of its own, as text where a plain value is due.
fn packed_object(sub: &Attribute, value: &Value) -> Option<Map<String, Value>> {
    let text = value.as_str().filter(|_| sub.kind == Type::String)?;
    json_object(text).filter(|inner| inner.contains_key("value"))
}

fn is_json_object(text: &str) -> bool {
    text.starts_with('{') && json_object(text).is_some()
}

fn json_object(text: &str) -> Option<Map<String, Value>> {
    if !text.trim_start().starts_with('{') {
        return None;
    }
    serde_json::from_str(text).ok()
}

fn wrong_type(label: &str, due: &str, got: &Value) -> ScimError {
    let got = match got {
        Value::Null => "null",
        Value::Bool(_) => "a boolean",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    };
    // The value itself is left out: details are logged, and values are personal data.
    ScimError::invalid_value(format!("`{label}` takes {due}, not {got}"))
}
