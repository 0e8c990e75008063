use rstest::rstest;
use serde_json::{Value, json};

use super::*;
use crate::scim::schema::Mutability;

const EXAMPLE: &str = include_str!("../../../config/schemas/example-hr.json");

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

const DEVICE: &str = include_str!("../../../config/schemas/example-device.json");

#[test]
fn the_example_type_is_one_like_the_built_in_ones() {
    let table =
        SchemaTable::builtin().extended([("device.json", DEVICE), ("hr.json", EXAMPLE)]).expect("both are good");
    let device = table.resource_type_at("devices").expect("defined");
    assert_eq!((device.name.as_str(), device.endpoint.as_str(), device.is_own), ("Device", "/Devices", true));
    let serial = table.core_attribute(device, "SERIALNUMBER").expect("in its core schema");
    assert_eq!(serial.unique_key(&json!("C02-a")), Some("C02-a".to_owned()), "caseExact");
    assert!(!table.resource_type("User").expect("built in").is_own);
}

fn device() -> Value {
    json!({
        "id": "urn:example:params:scim:schemas:2.0:Device", "name": "Device",
        "resourceType": { "name": "Device", "endpoint": "/Devices" },
        "attributes": [{ "name": "serial", "uniqueness": "server" }],
    })
}

#[test]
fn types_and_extensions_find_each_other_in_any_order_of_their_files() {
    let extension = json!({ "id": "urn:example:care:2.0:Device", "name": "Care", "extends": ["device"],
        "attributes": [{ "name": "until", "type": "dateTime" }] });
    let shared = json!({ "id": "urn:example:asset:2.0:Asset", "name": "Asset",
        "attributes": [{ "name": "owner", "type": "reference", "referenceTypes": ["User", "Device"], "required": true }] });
    let mut device = device();
    device["resourceType"]["schemaExtensions"] = json!([{ "schema": "URN:example:asset:2.0:asset", "required": true }]);
    let files = [("a.json", extension.to_string()), ("b.json", shared.to_string()), ("c.json", device.to_string())];
    let table = SchemaTable::builtin().extended(files.iter().map(|(name, text)| (*name, text.as_str())));
    let table = table.expect("all are good");
    let device = table.resource_type("Device").expect("defined");
    let extensions: Vec<_> = device.extensions.iter().map(|it| (it.schema.as_str(), it.required)).collect();
    assert_eq!(extensions, [("urn:example:care:2.0:Device", false), ("urn:example:asset:2.0:Asset", true)]);
}

#[rstest]
#[case("/resourceType/name", json!("user"), "already")]
#[case("/resourceType/name", json!("Schema"), "already")]
#[case("/resourceType/name", json!("2nd"), "a letter")]
#[case("/resourceType/name", json!("Très"), "a letter")]
#[case("/resourceType/name", json!(""), "missing")]
#[case("/resourceType/name", json!(7), "a text is due")]
#[case("/resourceType/endpoint", json!("/Users"), "already")]
#[case("/resourceType/endpoint", json!("/bulk"), "already")]
#[case("/resourceType/endpoint", json!("Me"), "already")]
#[case("/resourceType/endpoint", json!("/Devices/All"), "one segment")]
#[case("/resourceType/endpoint", json!("//Devices"), "one segment")]
#[case("/resourceType/endpoint", json!("/.search"), "one segment")]
#[case("/resourceType/endpoint", json!("/Dev%20ices"), "one segment")]
#[case("/resourceType/colour", json!("red"), "unknown key")]
#[case("/resourceType/schemaExtensions", json!({}), "a list")]
#[case("/resourceType/schemaExtensions/0", json!("urn:x"), "an object")]
#[case("/resourceType/schemaExtensions/0/schema", json!("urn:example:none:2.0:None"), "no such schema")]
#[case("/resourceType/schemaExtensions/0/schema", json!(crate::scim::table::GROUP_URN), "no extension")]
#[case("/resourceType/schemaExtensions/0/schema", json!(USHERD_USER_URN), "no extension")]
#[case("/resourceType", json!("Device"), "an object")]
#[case("/extends", json!(["User"]), "extends no other")]
#[case("/required", json!(true), "extends no other")]
#[case("/attributes/0/name", json!("externalid"), "reserved")]
#[case("/attributes/0/type", json!("text"), "one of string")]
#[case("/attributes/0/uniqueness", json!("global"), "say `server`")]
#[case("/attributes/0/uniqueness", json!("always"), "one of none")]
#[case("/attributes/0/multiValued", json!(true), "only a single string")]
#[case("/attributes/0/type", json!("boolean"), "only a single string")]
#[case("/attributes/0/referenceTypes", json!(["Robot"]), "neither a resource type")]
fn a_definition_that_cannot_be_is_refused_with_its_place(
    #[case] place: &str,
    #[case] value: Value,
    #[case] message: &str,
) {
    let mut device = device();
    let (mut at, mut parts) = (&mut device, place.split('/').skip(1).peekable());
    while let Some(part) = parts.next() {
        at = match (part.parse::<usize>(), parts.peek()) {
            (Ok(index), _) => {
                if at.is_null() {
                    *at = json!([null]);
                }
                &mut at[index]
            }
            (Err(_), _) => &mut at[part],
        };
    }
    *at = value;
    let problems = SchemaTable::builtin().extended([("device.json", device.to_string().as_str())]).expect_err(place);
    let told = problems.iter().any(|problem| {
        // What is wrong with a combination is told where it would be mended.
        let parent = place.rsplit_once('/').map_or("", |(parent, _)| parent);
        problem.place.starts_with(parent) && problem.message.contains(message)
    });
    assert!(told, "{problems:#?}");
}

#[test]
fn two_types_keep_apart_in_name_endpoint_and_schema() {
    let (one, mut other) = (device(), device());
    other["resourceType"]["name"] = json!("DEVICE");
    other["resourceType"]["endpoint"] = json!("devices");
    let files = [("one.json", one.to_string()), ("other.json", other.to_string())];
    let table = SchemaTable::builtin().extended(files.iter().map(|(name, text)| (*name, text.as_str())));
    let problems: Vec<String> = table.expect_err("they collide").iter().map(ToString::to_string).collect();
    assert_eq!(problems.len(), 3, "{problems:#?}");
    for place in ["other.json: /id: ", "other.json: /resourceType/name: ", "other.json: /resourceType/endpoint: "] {
        assert!(problems.iter().any(|problem| problem.starts_with(place)), "{place}: {problems:#?}");
    }
}

#[test]
fn a_schema_that_nothing_uses_is_a_mistake() {
    let alone = json!({ "id": "urn:example:alone:2.0:A", "name": "A", "attributes": [{ "name": "a" }] });
    let problems = SchemaTable::builtin().extended([("alone.json", alone.to_string().as_str())]).expect_err("unused");
    assert_eq!((problems.len(), problems[0].place.as_str()), (1, "/extends"), "{problems:#?}");
}
