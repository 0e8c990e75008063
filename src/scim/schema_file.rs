//! Reads schemas from JSON: those of the built-in table and the operator's own ([`super::operator`]).
//!
//! The form is the schema document of RFC 7643 §7 with the defaults of that section, so that a line of data says only
//! what is special. All mistakes of a file are reported at once, each with its place.

use std::fmt;

use serde_json::{Map, Value};

use super::schema::{Attribute, Mutability, Returned, Schema, Storage, Type, Uniqueness};

/// One mistake in a schema file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{file}: {place}: {message}")]
pub struct SchemaProblem {
    /// The name of the file, as the caller gave it.
    pub file: String,
    /// A JSON pointer, `/attributes/2/type`; `/` for the whole file.
    pub place: String,
    pub message: String,
}

/// Reads one file and collects what is wrong with it.
pub(super) struct Reader<'a> {
    pub file: &'a str,
    pub problems: &'a mut Vec<SchemaProblem>,
    pub purpose: Purpose,
}

/// What a schema is for, which decides what it may promise.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose {
    /// Built in: says where values are kept, and that they are unique, since code answers for both.
    Builtin,
    /// An operator's extension of a resource type.
    Extension,
    /// The core schema of an operator's own resource type, whose unique values have keys in the store.
    Core,
}

const ATTRIBUTE_KEYS: [&str; 12] = [
    "name",
    "type",
    "multiValued",
    "description",
    "required",
    "canonicalValues",
    "caseExact",
    "mutability",
    "returned",
    "uniqueness",
    "referenceTypes",
    "subAttributes",
];

/// What [`super::schema::Attribute::unique_key`] makes a key of.
const UNIQUE_TYPES: [Type; 3] = [Type::String, Type::Reference, Type::Integer];

impl Reader<'_> {
    pub fn problem(&mut self, place: &str, message: impl fmt::Display) {
        let place = if place.is_empty() { "/" } else { place };
        self.problems.push(SchemaProblem {
            file: self.file.to_owned(),
            place: place.to_owned(),
            message: message.to_string(),
        });
    }

    /// `None` when the schema has no usable URN; other mistakes are reported and patched over.
    pub fn schema(&mut self, object: &Map<String, Value>) -> Option<Schema> {
        let id = self.text(object, "", "id")?;
        let named = super::name::AttrPath::parse(&id).is_some_and(|path| path.urn.is_some());
        if !named || !id.to_ascii_lowercase().starts_with("urn:") {
            self.problem("/id", "a schema id is a URN such as urn:example:params:scim:schemas:hr:2.0:User");
        }
        let name = self.text(object, "", "name").unwrap_or_default();
        let description = self.optional_text(object, "", "description").unwrap_or_default();
        let attributes = self.attributes(object, "", "attributes", false);
        if attributes.is_empty() {
            self.problem("/attributes", "a schema has at least one attribute");
        }
        Some(Schema { id, name, description, attributes })
    }

    fn attributes(&mut self, object: &Map<String, Value>, place: &str, key: &str, nested: bool) -> Vec<Attribute> {
        let place = format!("{place}/{key}");
        let items = match object.get(key) {
            None => return Vec::new(),
            Some(Value::Array(items)) => items,
            Some(_) => {
                self.problem(&place, "a list of attributes is due");
                return Vec::new();
            }
        };
        let mut attributes: Vec<Attribute> = Vec::with_capacity(items.len());
        for (i, item) in items.iter().enumerate() {
            let place = format!("{place}/{i}");
            let Some(object) = item.as_object() else {
                self.problem(&place, "an attribute is a JSON object");
                continue;
            };
            let Some(attribute) = self.attribute(object, &place, nested) else { continue };
            if attributes.iter().any(|other| other.name.eq_ignore_ascii_case(&attribute.name)) {
                self.problem(
                    &format!("{place}/name"),
                    format_args!("`{}` is there twice (case does not matter)", attribute.name),
                );
            }
            attributes.push(attribute);
        }
        attributes
    }

    fn attribute(&mut self, object: &Map<String, Value>, place: &str, nested: bool) -> Option<Attribute> {
        let extra: &[&str] = if self.purpose == Purpose::Builtin { &["storage"] } else { &[] };
        let known: Vec<&str> = ATTRIBUTE_KEYS.iter().chain(extra).copied().collect();
        self.refuse_unknown(object, place, &known);
        let name = self.text(object, place, "name")?;
        if !super::name::AttrPath::parse(&name).is_some_and(|path| path.urn.is_none() && path.sub.is_none()) {
            self.problem(
                &format!("{place}/name"),
                format_args!("`{name}` is no attribute name: a letter, then letters, digits, `-` and `_`"),
            );
        }
        let attribute = Attribute {
            kind: self.keyword(object, place, "type", Type::String, Type::named, Type::WORDS),
            multi_valued: self.flag(object, place, "multiValued", false),
            description: self.optional_text(object, place, "description").unwrap_or_default(),
            required: self.flag(object, place, "required", false),
            canonical_values: self.texts(object, place, "canonicalValues"),
            case_exact: self.flag(object, place, "caseExact", false),
            mutability: self.keyword(
                object,
                place,
                "mutability",
                Mutability::ReadWrite,
                Mutability::named,
                Mutability::WORDS,
            ),
            returned: self.keyword(object, place, "returned", Returned::Default, Returned::named, Returned::WORDS),
            uniqueness: self.keyword(
                object,
                place,
                "uniqueness",
                Uniqueness::None,
                Uniqueness::named,
                Uniqueness::WORDS,
            ),
            reference_types: self.texts(object, place, "referenceTypes"),
            sub_attributes: self.attributes(object, place, "subAttributes", true),
            storage: self.keyword(object, place, "storage", Storage::Document, Storage::named, Storage::WORDS),
            name,
        };
        self.consistent(&attribute, place, nested);
        Some(attribute)
    }

    /// Combinations that RFC 7643 §2.2, §2.3.8 and §7 exclude, or that this server could not keep.
    fn consistent(&mut self, attribute: &Attribute, place: &str, nested: bool) {
        let complex = attribute.is_complex();
        if complex && nested {
            self.problem(&format!("{place}/type"), "a sub-attribute cannot be complex itself");
        }
        if complex && attribute.sub_attributes.is_empty() {
            self.problem(&format!("{place}/subAttributes"), "a complex attribute needs sub-attributes");
        }
        if !complex && !attribute.sub_attributes.is_empty() {
            self.problem(&format!("{place}/subAttributes"), "only a complex attribute has sub-attributes");
        }
        if attribute.kind == Type::Reference && attribute.reference_types.is_empty() {
            self.problem(
                &format!("{place}/referenceTypes"),
                "say what it refers to: a resource type, `external` or `uri`",
            );
        }
        if attribute.mutability == Mutability::WriteOnly && attribute.returned != Returned::Never {
            self.problem(&format!("{place}/returned"), "what is writeOnly is returned `never`");
        }
        if attribute.required && attribute.mutability == Mutability::ReadOnly && self.purpose != Purpose::Builtin {
            self.problem(
                &format!("{place}/required"),
                "nobody could supply an attribute that is readOnly and required",
            );
        }
        if attribute.uniqueness != Uniqueness::None
            && let Some(why) = self.cannot_be_unique(attribute, nested)
        {
            self.problem(&format!("{place}/uniqueness"), why);
        }
    }

    fn cannot_be_unique(&self, attribute: &Attribute, nested: bool) -> Option<&'static str> {
        match self.purpose {
            Purpose::Builtin => None,
            Purpose::Extension => Some("uniqueness of extension attributes is not enforced: say `none`"),
            Purpose::Core if attribute.uniqueness == Uniqueness::Global => {
                Some("values are kept apart within an account, not in the world: say `server`")
            }
            Purpose::Core if nested || attribute.multi_valued || !UNIQUE_TYPES.contains(&attribute.kind) => {
                Some("only a single string, reference or integer of the resource itself can be unique: say `none`")
            }
            Purpose::Core => None,
        }
    }

    pub fn refuse_unknown(&mut self, object: &Map<String, Value>, place: &str, known: &[&str]) {
        for key in object.keys().filter(|key| !known.contains(&key.as_str())) {
            self.problem(&format!("{place}/{key}"), format_args!("unknown key; known are {}", known.join(", ")));
        }
    }

    pub fn text(&mut self, object: &Map<String, Value>, place: &str, key: &str) -> Option<String> {
        let text = self.optional_text(object, place, key).filter(|text| !text.is_empty());
        if text.is_none() && object.get(key).is_none_or(Value::is_string) {
            self.problem(&format!("{place}/{key}"), "missing");
        }
        text
    }

    pub fn optional_text(&mut self, object: &Map<String, Value>, place: &str, key: &str) -> Option<String> {
        match object.get(key) {
            None => None,
            Some(Value::String(text)) => Some(text.clone()),
            Some(_) => {
                self.problem(&format!("{place}/{key}"), "a text is due");
                None
            }
        }
    }

    pub fn texts(&mut self, object: &Map<String, Value>, place: &str, key: &str) -> Vec<String> {
        let strings = match object.get(key) {
            None => Some(Vec::new()),
            Some(Value::Array(items)) => items.iter().map(|item| item.as_str().map(str::to_owned)).collect(),
            Some(_) => None,
        };
        strings.unwrap_or_else(|| {
            self.problem(&format!("{place}/{key}"), "a list of texts is due");
            Vec::new()
        })
    }

    pub fn flag(&mut self, object: &Map<String, Value>, place: &str, key: &str, default: bool) -> bool {
        match object.get(key) {
            None => default,
            Some(Value::Bool(flag)) => *flag,
            Some(_) => {
                self.problem(&format!("{place}/{key}"), "true or false is due");
                default
            }
        }
    }

    fn keyword<T: Copy>(
        &mut self,
        object: &Map<String, Value>,
        place: &str,
        key: &str,
        default: T,
        named: fn(&str) -> Option<T>,
        words: &[&str],
    ) -> T {
        let Some(value) = object.get(key) else { return default };
        value.as_str().and_then(named).unwrap_or_else(|| {
            self.problem(&format!("{place}/{key}"), format_args!("one of {} is due", words.join(", ")));
            default
        })
    }
}
