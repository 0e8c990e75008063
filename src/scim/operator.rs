//! What an operator adds to the table: extensions of resource types, and resource types of their own.
//!
//! Each file is a schema document ([`super::schema_file`]). With `"extends": ["User"]` it is an extension of these types,
//! and `"required": true` says that every such resource must have it. With `"resourceType"` it is the core schema of a
//! new type, which says where its resources are found:
//!
//! ```json
//! "resourceType": { "name": "Device", "endpoint": "/Devices", "schemaExtensions": [{ "schema": "urn:…", "required": false }] }
//! ```
//!
//! All files are read before anything is connected, so that the order of their names does not matter, and every mistake
//! of every file is reported at once.

#[cfg(test)]
mod tests;

use serde_json::{Map, Value};

use super::schema::{ExtensionRef, ResourceType, Schema, SchemaTable};
use super::schema_file::{Purpose, Reader, SchemaProblem};
use super::table::{USHERD_GROUP_URN, USHERD_USER_URN};

/// What stands at the endpoints that are no resource types, and the endpoints of RFC 7644 §3.2 that clients know.
const RESERVED_ENDPOINTS: [&str; 6] =
    ["ServiceProviderConfig", "ServiceProviderConfigs", "Schemas", "ResourceTypes", "Me", "Bulk"];
/// The names of what is no resource type of its own but has a `meta.resourceType` (RFC 7643 §5 to §7).
const RESERVED_NAMES: [&str; 3] = ["ServiceProviderConfig", "Schema", "ResourceType"];
/// The name is a part of keys in the store.
const MAX_NAME: usize = 64;

impl SchemaTable {
    /// The table with what the operator adds.
    ///
    /// `files` are names (for messages) and texts.
    ///
    /// # Errors
    /// Every problem of every file.
    pub fn extended<'a>(
        mut self,
        files: impl IntoIterator<Item = (&'a str, &'a str)>,
    ) -> Result<SchemaTable, Vec<SchemaProblem>> {
        let mut problems = Vec::new();
        let mut added = Vec::new();
        for (file, text) in files {
            let mut reader = Reader { file, problems: &mut problems, purpose: Purpose::Extension };
            added.extend(Added::read(&mut reader, text).map(|added| (file, added)));
        }
        for (file, added) in &added {
            let mut reader = Reader { file, problems: &mut problems, purpose: Purpose::Extension };
            self.add_schema(&mut reader, added);
        }
        for (file, added) in &added {
            let mut reader = Reader { file, problems: &mut problems, purpose: Purpose::Extension };
            self.connect(&mut reader, added);
        }
        for (file, added) in &added {
            let is_used = self.resource_types.iter().any(|kind| kind.extension(&added.schema.id).is_some());
            if !is_used && added.extends.is_empty() && added.defines.is_none() {
                let message = "say what it extends, as in [\"User\"], or what `resourceType` it is the schema of, or name \
                               it in the `schemaExtensions` of one";
                Reader { file, problems: &mut problems, purpose: Purpose::Extension }.problem("/extends", message);
            }
        }
        if problems.is_empty() { Ok(self) } else { Err(problems) }
    }

    /// Takes in the schema and its type, if it is that of one. What is wrong is taken in, too, so that nothing that
    /// refers to it is reported as well.
    fn add_schema(&mut self, reader: &mut Reader<'_>, added: &Added) {
        if self.schema(&added.schema.id).is_some() {
            reader.problem("/id", format_args!("the schema {} exists already", added.schema.id));
        }
        if let Some(kind) = &added.defines {
            if self.resource_type(&kind.name).is_some() || is_among(&RESERVED_NAMES, &kind.name) {
                reader.problem(
                    "/resourceType/name",
                    format_args!("there is a resource type `{}` already (case does not matter)", kind.name),
                );
            }
            let endpoint = kind.endpoint.trim_start_matches('/');
            if self.resource_type_at(endpoint).is_some() || is_among(&RESERVED_ENDPOINTS, endpoint) {
                reader.problem(
                    "/resourceType/endpoint",
                    format_args!("something else is at `/{endpoint}` already (case does not matter)"),
                );
            }
            for (i, attribute) in added.schema.attributes.iter().enumerate() {
                if self.common(&attribute.name).is_some() {
                    reader.problem(
                        &format!("/attributes/{i}/name"),
                        format_args!("`{}` is reserved: every resource has it (RFC 7643 §3.1)", attribute.name),
                    );
                }
            }
            self.resource_types.push(kind.clone());
        }
        self.schemas.push(added.schema.clone());
    }

    /// Resolves what a file says about others.
    fn connect(&mut self, reader: &mut Reader<'_>, added: &Added) {
        for (i, name) in added.extends.iter().enumerate() {
            self.extend(reader, &format!("/extends/{i}"), name, &added.schema.id, added.required);
        }
        if added.required && !has_required(&added.schema) {
            reader.problem("/required", "a required extension has at least one required attribute");
        }
        for (i, (urn, required)) in added.extensions.iter().enumerate() {
            let place = format!("/resourceType/schemaExtensions/{i}");
            let name = added.defines.as_ref().map_or("", |kind| kind.name.as_str());
            match self.schema(urn) {
                None => {
                    let message = "there is no such schema; it is an extension of usherd or of another file here";
                    reader.problem(&format!("{place}/schema"), message);
                }
                Some(schema) if is_among(&[USHERD_USER_URN, USHERD_GROUP_URN], urn) || self.is_core(&schema.id) => {
                    let message = "this is no extension: it belongs to the resource type that it is made for";
                    reader.problem(&format!("{place}/schema"), message);
                }
                Some(schema) => {
                    if *required && !has_required(schema) {
                        let message = "a required extension has at least one required attribute";
                        reader.problem(&format!("{place}/required"), message);
                    }
                    let id = schema.id.clone();
                    self.extend(reader, &format!("{place}/schema"), name, &id, *required);
                }
            }
        }
        for (i, attribute) in added.schema.attributes.iter().enumerate() {
            let place = format!("/attributes/{i}");
            self.check_references(reader, &place, &attribute.reference_types);
            for (j, sub) in attribute.sub_attributes.iter().enumerate() {
                self.check_references(reader, &format!("{place}/subAttributes/{j}"), &sub.reference_types);
            }
        }
    }

    fn extend(&mut self, reader: &mut Reader<'_>, place: &str, name: &str, urn: &str, required: bool) {
        let known: Vec<&str> = self.resource_types.iter().map(|kind| kind.name.as_str()).collect();
        let known = known.join(", ");
        match self.resource_types.iter_mut().find(|kind| kind.name.eq_ignore_ascii_case(name)) {
            None => reader.problem(place, format_args!("no resource type `{name}`; there are {known}")),
            Some(kind) if kind.extension(urn).is_some() => {
                reader.problem(place, format_args!("{} has the extension {urn} already", kind.name));
            }
            Some(kind) => kind.extensions.push(ExtensionRef { schema: urn.to_owned(), required }),
        }
    }

    fn is_core(&self, urn: &str) -> bool {
        self.resource_types.iter().any(|kind| kind.schema == urn)
    }

    fn check_references(&self, reader: &mut Reader<'_>, place: &str, types: &[String]) {
        for (i, name) in types.iter().enumerate() {
            let is_known = matches!(name.as_str(), "external" | "uri")
                || self.resource_types.iter().any(|kind| kind.name == *name);
            if !is_known {
                reader.problem(
                    &format!("{place}/referenceTypes/{i}"),
                    format_args!("`{name}` is neither a resource type nor `external` nor `uri`"),
                );
            }
        }
    }
}

/// What one file says, before it is connected with the others.
struct Added {
    schema: Schema,
    extends: Vec<String>,
    required: bool,
    defines: Option<ResourceType>,
    /// The `schemaExtensions` of the type that it defines: URN, and whether required.
    extensions: Vec<(String, bool)>,
}

impl Added {
    fn read(reader: &mut Reader<'_>, text: &str) -> Option<Self> {
        let value = match serde_json::from_str::<Value>(text) {
            Ok(value) => value,
            Err(error) => {
                reader.problem("", format_args!("not JSON: {error}"));
                return None;
            }
        };
        let Some(object) = value.as_object() else {
            reader.problem("", "a schema file holds one JSON object");
            return None;
        };
        reader.refuse_unknown(
            object,
            "",
            &["schemas", "id", "name", "description", "attributes", "meta", "extends", "required", "resourceType"],
        );
        if object.contains_key("resourceType") {
            reader.purpose = Purpose::Core;
            for key in ["extends", "required"].into_iter().filter(|key| object.contains_key(*key)) {
                reader.problem(&format!("/{key}"), "the schema of a resource type extends no other");
            }
        }
        let schema = reader.schema(object);
        let (extends, required) = match reader.purpose {
            Purpose::Core => (Vec::new(), false),
            Purpose::Builtin | Purpose::Extension => {
                (reader.texts(object, "", "extends"), reader.flag(object, "", "required", false))
            }
        };
        let mut extensions = Vec::new();
        let defines = match object.get("resourceType") {
            None => None,
            Some(Value::Object(kind)) => {
                extensions = extensions_of(reader, kind);
                Some(resource_type(reader, kind, schema.as_ref()))
            }
            Some(_) => {
                reader.problem("/resourceType", "an object with `name` and `endpoint` is due");
                None
            }
        };
        Some(Added { schema: schema?, extends, required, defines: defines.flatten(), extensions })
    }
}

const PLACE: &str = "/resourceType";

/// `None` when it has no name or no endpoint; what they are otherwise is reported and taken.
fn resource_type(
    reader: &mut Reader<'_>,
    object: &Map<String, Value>,
    schema: Option<&Schema>,
) -> Option<ResourceType> {
    reader.refuse_unknown(object, PLACE, &["name", "endpoint", "description", "schemaExtensions"]);
    let name = reader.text(object, PLACE, "name");
    if name.as_deref().is_some_and(|name| !is_word(name)) {
        let message = "a letter, then letters, digits, `-` and `_`, 64 at most";
        reader.problem(&format!("{PLACE}/name"), message);
    }
    let endpoint = reader.text(object, PLACE, "endpoint");
    let endpoint = endpoint.map(|text| text.strip_prefix('/').map_or_else(|| text.clone(), str::to_owned));
    if endpoint.as_deref().is_some_and(|endpoint| !is_word(endpoint)) {
        let message =
            "one segment of a path is due, as in /Devices: a letter, then letters, digits, `-` and `_`, 64 at most";
        reader.problem(&format!("{PLACE}/endpoint"), message);
    }
    let description = reader.optional_text(object, PLACE, "description");
    let schema = schema?;
    Some(ResourceType {
        name: name?,
        endpoint: format!("/{}", endpoint?),
        description: description.unwrap_or_else(|| schema.description.clone()),
        schema: schema.id.clone(),
        extensions: Vec::new(),
        is_own: true,
    })
}

fn extensions_of(reader: &mut Reader<'_>, object: &Map<String, Value>) -> Vec<(String, bool)> {
    let place = format!("{PLACE}/schemaExtensions");
    let items = match object.get("schemaExtensions") {
        None => return Vec::new(),
        Some(Value::Array(items)) => items,
        Some(_) => {
            reader.problem(&place, "a list of objects with `schema` and `required` is due");
            return Vec::new();
        }
    };
    let mut extensions = Vec::with_capacity(items.len());
    for (i, item) in items.iter().enumerate() {
        let place = format!("{place}/{i}");
        let Some(object) = item.as_object() else {
            reader.problem(&place, "an object with `schema` and `required` is due");
            continue;
        };
        reader.refuse_unknown(object, &place, &["schema", "required"]);
        let required = reader.flag(object, &place, "required", false);
        extensions.extend(reader.text(object, &place, "schema").map(|urn| (urn, required)));
    }
    extensions
}

fn is_word(text: &str) -> bool {
    let rest_is_fine = text.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_'));
    text.len() <= MAX_NAME && text.starts_with(|c: char| c.is_ascii_alphabetic()) && rest_is_fine
}

fn is_among(words: &[&str], word: &str) -> bool {
    words.iter().any(|known| known.eq_ignore_ascii_case(word))
}

fn has_required(schema: &Schema) -> bool {
    schema.attributes.iter().any(|attribute| attribute.required)
}
