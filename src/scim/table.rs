//! The built-in schemas and resource types. The schemas are data beside this file, one attribute a line.

use std::sync::LazyLock;

use super::schema::{ExtensionRef, ResourceType, Schema, SchemaTable};
use super::schema_file::{Purpose, Reader};

pub const USER_URN: &str = "urn:ietf:params:scim:schemas:core:2.0:User";
pub const GROUP_URN: &str = "urn:ietf:params:scim:schemas:core:2.0:Group";
pub const ENTERPRISE_USER_URN: &str = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User";
/// Fixed by the design: scripts and integrations spell it out.
pub const USHERD_USER_URN: &str = "urn:ietf:params:scim:schemas:extension:usherd:2.0:User";
/// The project roles that a group carries.
pub const USHERD_GROUP_URN: &str = "urn:ietf:params:scim:schemas:extension:usherd:2.0:Group";
pub const ORGANIZATION_URN: &str = "urn:ietf:params:scim:schemas:usherd:2.0:Organization";
pub const PROJECT_URN: &str = "urn:ietf:params:scim:schemas:usherd:2.0:Project";
pub const LICENSE_URN: &str = "urn:ietf:params:scim:schemas:usherd:2.0:License";

const SCHEMAS: [(&str, &str); 8] = [
    ("user.json", include_str!("table/user.json")),
    ("enterprise_user.json", include_str!("table/enterprise_user.json")),
    ("usherd_user.json", include_str!("table/usherd_user.json")),
    ("group.json", include_str!("table/group.json")),
    ("usherd_group.json", include_str!("table/usherd_group.json")),
    ("organization.json", include_str!("table/organization.json")),
    ("project.json", include_str!("table/project.json")),
    ("license.json", include_str!("table/license.json")),
];

static BUILTIN: LazyLock<SchemaTable> = LazyLock::new(|| SchemaTable {
    schemas: SCHEMAS.iter().map(|(file, text)| builtin_schema(file, text)).collect(),
    resource_types: vec![
        ResourceType {
            extensions: [ENTERPRISE_USER_URN, USHERD_USER_URN]
                .map(|urn| ExtensionRef { schema: urn.to_owned(), required: false })
                .into(),
            ..resource_type("User", "/Users", "People who use or are invited to use the workspace", USER_URN)
        },
        ResourceType {
            extensions: vec![ExtensionRef { schema: USHERD_GROUP_URN.to_owned(), required: false }],
            ..resource_type("Group", "/Groups", "Groups of people and of other groups", GROUP_URN)
        },
        resource_type("Organization", "/Organizations", "Organizations that users belong to", ORGANIZATION_URN),
        resource_type("Project", "/Projects", "Projects that users join", PROJECT_URN),
        resource_type("License", "/Licenses", "Licenses that users hold", LICENSE_URN),
    ],
    common: builtin_schema("common.json", include_str!("table/common.json")),
});

fn resource_type(name: &str, endpoint: &str, description: &str, schema: &str) -> ResourceType {
    ResourceType {
        name: name.to_owned(),
        endpoint: endpoint.to_owned(),
        description: description.to_owned(),
        schema: schema.to_owned(),
        extensions: Vec::new(),
        is_own: false,
    }
}

fn builtin_schema(file: &str, text: &str) -> Schema {
    let value: serde_json::Value = serde_json::from_str(text).expect("the compiled-in schemas are JSON");
    let object = value.as_object().expect("a compiled-in schema is an object");
    let mut problems = Vec::new();
    let schema = Reader { file, problems: &mut problems, purpose: Purpose::Builtin }.schema(object);
    assert!(problems.is_empty(), "the compiled-in schemas are good: {problems:?}");
    schema.expect("a schema without problems")
}

impl SchemaTable {
    /// User with the enterprise and the usherd extension, Group with the latter, Organization, Project, License.
    pub fn builtin() -> SchemaTable {
        BUILTIN.clone()
    }
}

/// A document of `tests/fixtures/rfc`.
#[cfg(test)]
pub(crate) fn fixture(path: &str) -> serde_json::Value {
    let path = format!("{}/tests/fixtures/rfc/{path}", env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"));
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{path}: {error}"))
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;
    use crate::scim::schema::{Attribute, Storage};

    /// Where the machine-readable schema and the printed RFC differ, the RFC wins: RFC 7643 §8.7.1 has
    /// `"required": false` and `"caseExact": false` for both. The name of a member costs a document each, so it is
    /// returned on request.
    const LEDGER: [(&str, &str); 4] = [
        ("manager.value", "required"),
        ("manager.value", "caseExact"),
        ("manager.$ref", "required"),
        ("members.display", "returned"),
    ];

    fn compare(label: &str, ours: &Attribute, theirs: &Value, ledger: &mut Vec<(String, &'static str)>) {
        let published = ours.to_json();
        let plain = [
            ("type", Value::from("string")),
            ("multiValued", Value::from(false)),
            ("required", Value::from(false)),
            ("canonicalValues", Value::Null),
            ("caseExact", Value::from(false)),
            ("mutability", Value::from("readWrite")),
            ("returned", Value::from("default")),
            ("uniqueness", Value::from("none")),
            ("referenceTypes", Value::Null),
        ];
        for (key, default) in plain {
            let expected = theirs.get(key).filter(|value| !value.is_null()).unwrap_or(&default);
            if published.get(key).unwrap_or(&Value::Null) != expected {
                ledger.push((label.to_owned(), key));
            }
        }
        let names = |list: &Value| -> Vec<String> {
            let items = list["subAttributes"].as_array().cloned().unwrap_or_default();
            items.iter().map(|sub| sub["name"].as_str().unwrap_or_default().to_owned()).collect()
        };
        assert_eq!(names(&published), names(theirs), "{label}");
        for (ours, theirs) in ours.sub_attributes.iter().zip(theirs["subAttributes"].as_array().into_iter().flatten()) {
            compare(&format!("{label}.{}", ours.name), ours, theirs, ledger);
        }
    }

    #[test]
    fn the_characteristics_are_those_of_rfc_7643() {
        let table = SchemaTable::builtin();
        let mut differences = Vec::new();
        for file in ["user", "enterprise_user", "group"] {
            let theirs = fixture(&format!("schemas/rfc7643-8.7.1-schema-{file}.json"));
            let ours = table.schema(theirs["id"].as_str().expect("an id")).expect("in the table");
            assert_eq!(theirs["name"], ours.name.as_str());
            let listed = theirs["attributes"].as_array().expect("attributes");
            assert_eq!(listed.len(), ours.attributes.len());
            for attribute in listed {
                let name = attribute["name"].as_str().expect("a name");
                compare(name, ours.attribute(name).expect("in the table"), attribute, &mut differences);
            }
        }
        let differences: Vec<(&str, &str)> = differences.iter().map(|(label, key)| (label.as_str(), *key)).collect();
        assert_eq!(differences, LEDGER);
    }

    #[test]
    fn descriptions_are_in_our_own_words_and_never_missing() {
        fn check(attribute: &Attribute) {
            assert!(!attribute.description.is_empty(), "{}", attribute.name);
            attribute.sub_attributes.iter().for_each(check);
        }
        for schema in SchemaTable::builtin().schemas() {
            assert!(!schema.description.is_empty(), "{}", schema.id);
            schema.attributes.iter().for_each(check);
        }
    }

    #[test]
    fn types_are_found_by_name_and_endpoint_in_any_case() {
        let table = SchemaTable::builtin();
        assert_eq!(table.resource_type("user").map(|kind| kind.endpoint.as_str()), Some("/Users"));
        assert_eq!(table.resource_type_at("GROUPS").map(|kind| kind.name.as_str()), Some("Group"));
        assert_eq!(table.resource_type_at("/Licenses").map(|kind| kind.name.as_str()), Some("License"));
        assert_eq!(table.resource_type_at("Robots"), None);
        for kind in table.resource_types() {
            assert!(table.schema(&kind.schema).is_some(), "{}", kind.name);
            assert_eq!(table.extension_schemas(kind).count(), kind.extensions.len());
        }
    }

    #[test]
    fn memberships_are_kept_beside_the_documents() {
        let table = SchemaTable::builtin();
        let group = table.resource_type("Group").expect("a built-in type");
        let user = table.resource_type("User").expect("a built-in type");
        assert_eq!(table.writable_detached(group).map(|found| found.name.as_str()), Some("members"));
        assert_eq!(table.writable_detached(user), None);
        let groups = table.schema(USER_URN).and_then(|schema| schema.attribute("groups")).expect("in the schema");
        assert_eq!((groups.storage, groups.is_read_only()), (Storage::Detached, true));
    }
}
