//! Reads schemas from JSON: the built-in table and the operator's own extensions.
//!
//! The form is the schema document of RFC 7643 §7 with the defaults of that section, so that a line of data says only
//! what is special. An operator's file adds `"extends": ["User"]` and, if every such resource must have it,
//! `"required": true`. All mistakes of a file are reported at once, each with its place.

use std::fmt;

use serde_json::{Map, Value};

use super::schema::{Attribute, ExtensionRef, Mutability, Returned, Schema, SchemaTable, Storage, Type, Uniqueness};

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

impl SchemaTable {
    /// The table with the operator's extensions added.
    ///
    /// `files` are names (for messages) and texts. Either every file is good, or every problem of every file is
    /// returned.
    pub fn extended<'a>(
        mut self,
        files: impl IntoIterator<Item = (&'a str, &'a str)>,
    ) -> Result<SchemaTable, Vec<SchemaProblem>> {
        let mut problems = Vec::new();
        for (file, text) in files {
            let mut reader = Reader { file, problems: &mut problems, builtin: false };
            if let Some(extension) = reader.extension(text, &self) {
                for name in &extension.extends {
                    if let Some(kind) = self.resource_types.iter_mut().find(|kind| kind.name.eq_ignore_ascii_case(name))
                    {
                        let schema = extension.schema.id.clone();
                        kind.extensions.push(ExtensionRef { schema, required: extension.required });
                    }
                }
                self.schemas.push(extension.schema);
            }
        }
        if problems.is_empty() { Ok(self) } else { Err(problems) }
    }
}

struct Extension {
    schema: Schema,
    extends: Vec<String>,
    required: bool,
}

/// Reads one file and collects what is wrong with it.
pub(super) struct Reader<'a> {
    pub file: &'a str,
    pub problems: &'a mut Vec<SchemaProblem>,
    /// Built-in schemas may say where values are kept, and that they are unique, since code answers for both.
    pub builtin: bool,
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

impl Reader<'_> {
    fn problem(&mut self, place: &str, message: impl fmt::Display) {
        let place = if place.is_empty() { "/" } else { place };
        self.problems.push(SchemaProblem {
            file: self.file.to_owned(),
            place: place.to_owned(),
            message: message.to_string(),
        });
    }

    fn extension(&mut self, text: &str, table: &SchemaTable) -> Option<Extension> {
        let before = self.problems.len();
        let value = match serde_json::from_str::<Value>(text) {
            Ok(value) => value,
            Err(error) => {
                self.problem("", format_args!("not JSON: {error}"));
                return None;
            }
        };
        let Some(object) = value.as_object() else {
            self.problem("", "a schema file holds one JSON object");
            return None;
        };
        self.refuse_unknown(
            object,
            "",
            &["schemas", "id", "name", "description", "attributes", "meta", "extends", "required"],
        );
        let schema = self.schema(object)?;
        if table.schema(&schema.id).is_some() {
            self.problem("/id", format_args!("the schema {} exists already", schema.id));
        }
        let extends = self.extends(object, table);
        let required = self.flag(object, "", "required", false);
        if required && !schema.attributes.iter().any(|attribute| attribute.required) {
            self.problem("/required", "a required extension has at least one required attribute");
        }
        (self.problems.len() == before).then_some(Extension { schema, extends, required })
    }

    fn extends(&mut self, object: &Map<String, Value>, table: &SchemaTable) -> Vec<String> {
        let extends = self.texts(object, "", "extends");
        if extends.is_empty() {
            self.problem("/extends", "name at least one resource type, as in [\"User\"]");
        }
        for (i, name) in extends.iter().enumerate() {
            if table.resource_type(name).is_none() {
                let known: Vec<&str> = table.resource_types.iter().map(|kind| kind.name.as_str()).collect();
                self.problem(
                    &format!("/extends/{i}"),
                    format_args!("no resource type `{name}`; there are {}", known.join(", ")),
                );
            }
        }
        extends
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
        let extra: &[&str] = if self.builtin { &["storage"] } else { &[] };
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
        if attribute.required && attribute.mutability == Mutability::ReadOnly && !self.builtin {
            self.problem(
                &format!("{place}/required"),
                "nobody could supply an attribute that is readOnly and required",
            );
        }
        if attribute.uniqueness != Uniqueness::None && !self.builtin {
            self.problem(
                &format!("{place}/uniqueness"),
                "uniqueness of extension attributes is not enforced: say `none`",
            );
        }
    }

    fn refuse_unknown(&mut self, object: &Map<String, Value>, place: &str, known: &[&str]) {
        for key in object.keys().filter(|key| !known.contains(&key.as_str())) {
            self.problem(&format!("{place}/{key}"), format_args!("unknown key; known are {}", known.join(", ")));
        }
    }

    fn text(&mut self, object: &Map<String, Value>, place: &str, key: &str) -> Option<String> {
        let text = self.optional_text(object, place, key).filter(|text| !text.is_empty());
        if text.is_none() && object.get(key).is_none_or(Value::is_string) {
            self.problem(&format!("{place}/{key}"), "missing");
        }
        text
    }

    fn optional_text(&mut self, object: &Map<String, Value>, place: &str, key: &str) -> Option<String> {
        match object.get(key) {
            None => None,
            Some(Value::String(text)) => Some(text.clone()),
            Some(_) => {
                self.problem(&format!("{place}/{key}"), "a text is due");
                None
            }
        }
    }

    fn texts(&mut self, object: &Map<String, Value>, place: &str, key: &str) -> Vec<String> {
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

    fn flag(&mut self, object: &Map<String, Value>, place: &str, key: &str, default: bool) -> bool {
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

#[cfg(test)]
mod tests {
    use super::*;

    const EXAMPLE: &str = include_str!("../../config/schemas/example-hr.json");

    #[test]
    fn the_example_extension_is_loaded_and_its_attributes_are_found() {
        let table = SchemaTable::builtin().extended([("example-hr.json", EXAMPLE)]).expect("the example is good");
        let user = table.resource_type("User").expect("a built-in type");
        let urn = user.extension("URN:EXAMPLE:PARAMS:SCIM:SCHEMAS:HR:2.0:USER").expect("declared");
        let schema = table.schema(urn).expect("loaded");
        assert_eq!(schema.attribute("BADGENUMBER").map(|found| found.mutability), Some(Mutability::Immutable));
        assert_eq!(schema.attribute("rooms").map(|found| found.multi_valued), Some(true));
    }

    #[test]
    fn every_mistake_of_every_file_is_reported_with_its_place() {
        let bad = r#"{"id": "hr", "name": "HR", "colour": 1, "extends": ["User", "Robot"], "attributes": [
            {"name": "1st", "type": "text"},
            {"name": "a", "type": "complex"},
            {"name": "A", "uniqueness": "server"},
            {"name": "link", "type": "reference"},
            {"name": "c", "type": "complex", "subAttributes": [{"name": "d", "type": "complex", "subAttributes": [{"name": "e"}]}]},
            {"type": "string"}
        ]}"#;
        let problems = SchemaTable::builtin()
            .extended([("bad.json", bad), ("worse.json", "{"), ("list.json", "[]")])
            .expect_err("nothing of this is good");
        let places: Vec<(&str, &str)> = problems.iter().map(|p| (p.file.as_str(), p.place.as_str())).collect();
        for expected in [
            ("bad.json", "/colour"),
            ("bad.json", "/id"),
            ("bad.json", "/extends/1"),
            ("bad.json", "/attributes/0/name"),
            ("bad.json", "/attributes/0/type"),
            ("bad.json", "/attributes/1/subAttributes"),
            ("bad.json", "/attributes/2/name"),
            ("bad.json", "/attributes/2/uniqueness"),
            ("bad.json", "/attributes/3/referenceTypes"),
            ("bad.json", "/attributes/4/subAttributes/0/type"),
            ("bad.json", "/attributes/5/name"),
            ("worse.json", "/"),
            ("list.json", "/"),
        ] {
            assert!(places.contains(&expected), "{expected:?} in {places:?}");
        }
    }

    #[test]
    fn a_schema_of_the_table_cannot_be_replaced() {
        let taken = EXAMPLE.replace("urn:example:params:scim:schemas:hr:2.0:User", crate::scim::table::USER_URN);
        let problems = SchemaTable::builtin().extended([("taken.json", taken.as_str())]).expect_err("taken");
        assert_eq!(problems[0].place, "/id");
    }
}
