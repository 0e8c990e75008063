use std::sync::LazyLock;

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::scim::error::ScimType;
use crate::scim::members::Member;
use crate::scim::resource::tests::any_json;
use crate::scim::resource::{Purpose, read};
use crate::scim::table::{ENTERPRISE_USER_URN as ENTERPRISE, USER_URN, USHERD_USER_URN as USHERD, fixture};

/// The document that a resource of the RFC is stored as.
fn stored(kind: &str, sample: &str) -> Map<String, Value> {
    let table = SchemaTable::builtin();
    let kind = table.resource_type(kind).expect("a built-in type");
    read(&table, kind, &Profile::LENIENT, fixture(sample), Purpose::Create).expect("an example of the RFC").attributes
}

fn full_user() -> Map<String, Value> {
    stored("User", "samples/rfc7643-8.3-enterprise_user.json")
}

fn try_patch(kind: &str, profile: &Profile, current: &Map<String, Value>, body: Value) -> Result<Patched, ScimError> {
    static TABLE: LazyLock<SchemaTable> = LazyLock::new(SchemaTable::builtin);
    apply(&TABLE, TABLE.resource_type(kind).expect("a built-in type"), profile, current, body)
}

fn body(operations: Value) -> Value {
    json!({"schemas": [PATCH_OP_URN], "Operations": operations})
}

/// Applies one operation to the full user.
fn patch_user(profile: &Profile, operation: Value) -> Result<Patched, ScimType> {
    try_patch("User", profile, &full_user(), body(json!([operation]))).map_err(|e| e.scim_type.expect("a keyword"))
}

fn lenient(operation: Value) -> Patched {
    patch_user(&Profile::LENIENT, operation.clone()).unwrap_or_else(|error| panic!("{operation}: {error}"))
}

fn strict(operation: Value) -> Patched {
    let patched = patch_user(&Profile::RFC_STRICT, operation.clone());
    let patched = patched.unwrap_or_else(|error| panic!("{operation}: {error}"));
    let granted = Applied::from([Tolerance::PathlessOperations, Tolerance::RemoveWithoutMatch]);
    assert!(patched.applied.is_subset(&granted), "{:?}", patched.applied);
    patched
}

fn group(profile: &Profile, operations: Value) -> Vec<MemberChange> {
    let current = stored("Group", "samples/rfc7643-8.4-group.json");
    let patched = try_patch("Group", profile, &current, body(operations)).expect("good operations");
    assert!(!patched.changed);
    patched.members
}

fn members(ids: &[&str]) -> Vec<Member> {
    ids.iter().map(|id| Member::of(*id)).collect()
}

/// Applies an example of the RFC in the strict profile.
fn sample(kind: &str, sample_name: &str) -> Patched {
    let current = match kind {
        "User" => full_user(),
        _ => stored("Group", "samples/rfc7643-8.4-group.json"),
    };
    let body = fixture(&format!("samples/rfc7644-3.5.2.{sample_name}.json"));
    try_patch(kind, &Profile::RFC_STRICT, &current, body).expect("an example of the RFC")
}

#[test]
fn the_add_examples_of_the_rfc_do_what_its_text_says() {
    let patched = sample("User", "1-patch_op-add_emails");
    assert_eq!(patched.attributes, full_user(), "both were there already");
    assert!(!patched.changed);
    let mut without = full_user();
    without.remove("nickName");
    without.insert("emails".into(), json!([{"value": "bjensen@example.com", "type": "work", "primary": true}]));
    let add = fixture("samples/rfc7644-3.5.2.1-patch_op-add_emails.json");
    let patched = try_patch("User", &Profile::RFC_STRICT, &without, add).expect("an example of the RFC");
    assert!(patched.changed);
    assert_eq!(patched.attributes["nickName"], "Babs");
    assert_eq!(patched.attributes["emails"], full_user()["emails"]);

    let babs = Member { display: Some("Babs Jensen".into()), ..Member::of("2819c223-7f76-453a-919d-413861904646") };
    assert_eq!(sample("Group", "1-patch_op-add_members").members, [MemberChange::Add(vec![babs])]);
}

#[test]
fn the_remove_examples_of_the_rfc_do_what_its_text_says() {
    assert_eq!(sample("Group", "2-patch_op-remove_all_members").members, [MemberChange::RemoveAll]);
    assert_eq!(
        sample("Group", "2-patch_op-remove_one_member").members,
        [MemberChange::Remove(vec!["2819c223-7f76-...413861904646".into()])]
    );
    let james = Member { display: Some("James Smith".into()), ..Member::of("08e1d05d...473d93df9210") };
    assert_eq!(
        sample("Group", "2-patch_op-remove_and_add_one_member").members,
        [MemberChange::Remove(vec!["2819c223...919d-413861904646".into()]), MemberChange::Add(vec![james])]
    );
    let patched = sample("User", "2-patch_op-remove_multi_complex_value");
    assert_eq!(patched.attributes["emails"], json!([{"value": "babs@jensen.org", "type": "home"}]));
}

#[test]
fn the_replace_examples_of_the_rfc_do_what_its_text_says() {
    let babs = Member { display: Some("Babs Jensen".into()), ..Member::of("2819c223-7f76-453a-919d-413861904646") };
    let james = Member { display: Some("James Smith".into()), ..Member::of("08e1d05d-121c-4561-8b96-473d93df9210") };
    assert_eq!(
        sample("Group", "3-patch_op-replace_all_members").members,
        [MemberChange::ReplaceAll(vec![babs, james])]
    );

    let patched = sample("User", "3-patch_op-replace_all_email_values");
    assert_eq!(patched.attributes, full_user());
    assert!(!patched.changed);

    let patched = sample("User", "3-patch_op-replace_street_address");
    let mut expected = full_user();
    expected["addresses"][0]["streetAddress"] = "1010 Broadway Ave".into();
    assert_eq!(patched.attributes, expected);

    let patched = sample("User", "3-patch_op-replace_user_work_address");
    let sent = fixture("samples/rfc7644-3.5.2.3-patch_op-replace_user_work_address.json");
    let mut expected = full_user();
    expected["addresses"][0] = sent["Operations"][0]["value"].clone();
    assert_eq!(patched.attributes, expected);
    assert_eq!(patched.named, BTreeSet::from(["addresses".to_owned()]));
}

#[test]
fn add_replaces_single_values_merges_complex_ones_and_appends_to_lists() {
    assert_eq!(strict(json!({"op": "add", "path": "title", "value": "Boss"})).attributes["title"], "Boss");
    let name = strict(json!({"op": "add", "path": "name", "value": {"givenName": "Babs"}})).attributes["name"].clone();
    assert_eq!((&name["givenName"], &name["familyName"]), (&json!("Babs"), &json!("Jensen")));
    let added = strict(json!({"op": "add", "path": "emails", "value": {"value": "c@x", "type": "other"}}));
    assert_eq!(added.attributes["emails"].as_array().map(Vec::len), Some(3));
    let added = strict(json!({"op": "add", "path": "name.honorificPrefix", "value": "Dr."}));
    assert_eq!(added.attributes["name"]["honorificPrefix"], "Dr.");
    let added = strict(json!({"op": "add", "path": "emails[type eq \"home\"]", "value": {"display": "Home"}}));
    assert_eq!(added.attributes["emails"][1], json!({"value": "babs@jensen.org", "type": "home", "display": "Home"}));
}

#[test]
fn adding_what_is_there_changes_nothing() {
    for operation in [
        json!({"op": "add", "path": "title", "value": "Tour Guide"}),
        json!({"op": "add", "path": "emails", "value": [{"value": "BABS@jensen.org", "type": "home"}]}),
        json!({"op": "add", "path": "emails", "value": [{"value": "babs@jensen.org"}]}),
        json!({"op": "add", "path": "name", "value": {"givenName": "Barbara"}}),
        json!({"op": "replace", "path": "active", "value": true}),
        json!({"op": "add", "path": "addresses", "value": [{"type": "home", "postalCode": "91608"}]}),
        json!({"op": "add", "path": "schemas", "value": [ENTERPRISE]}),
        json!({"op": "remove", "path": "ims[type eq \"xmpp\"]"}),
        json!({"op": "remove", "path": "entitlements"}),
    ] {
        let patched = strict(operation.clone());
        assert!(!patched.changed, "{operation}");
    }
    let pair = strict(
        json!({"op": "add", "path": "emails", "value": [{"value": "babs@jensen.org", "type": "home", "display": "B"}]}),
    );
    assert_eq!(pair.attributes["emails"][1], json!({"value": "babs@jensen.org", "type": "home", "display": "B"}));
    assert_eq!(pair.attributes["emails"].as_array().map(Vec::len), Some(2));
}

#[test]
fn remove_unassigns_values_sub_attributes_and_whole_extensions() {
    assert_eq!(strict(json!({"op": "remove", "path": "title"})).attributes.get("title"), None);
    assert_eq!(strict(json!({"op": "remove", "path": "emails"})).attributes.get("emails"), None);
    assert_eq!(strict(json!({"op": "remove", "path": "name.middleName"})).attributes["name"].get("middleName"), None);
    let removed = strict(json!({"op": "remove", "path": "addresses[type eq \"work\"].country"}));
    assert_eq!(removed.attributes["addresses"][0].get("country"), None);
    assert_eq!(removed.attributes["addresses"][1]["country"], "USA");
    let removed = strict(json!({"op": "remove", "path": "phoneNumbers[value pr]"}));
    assert_eq!(removed.attributes.get("phoneNumbers"), None);
    let removed = strict(json!({"op": "remove", "path": ENTERPRISE}));
    assert_eq!(removed.attributes.get(ENTERPRISE), None);
    let removed = strict(json!({"op": "remove", "path": "emails[type eq \"home\"].value"}));
    assert_eq!(removed.attributes["emails"].as_array().map(Vec::len), Some(1), "an address without a value is none");
}

#[test]
fn replace_sets_all_matches_merges_complex_values_and_adds_what_is_missing() {
    let replaced = strict(json!({"op": "replace", "path": "addresses[country eq \"usa\"].country", "value": "US"}));
    assert_eq!(
        (&replaced.attributes["addresses"][0]["country"], &replaced.attributes["addresses"][1]["country"]),
        (&json!("US"), &json!("US"))
    );
    let replaced = strict(json!({"op": "replace", "path": "name", "value": {"familyName": "Smith"}}));
    assert_eq!(replaced.attributes["name"]["givenName"], "Barbara");
    assert_eq!(replaced.attributes["name"]["familyName"], "Smith");
    let replaced = strict(json!({"op": "replace", "path": "entitlements", "value": [{"value": "x"}]}));
    assert_eq!(replaced.attributes["entitlements"], json!([{"value": "x"}]));
    let replaced = strict(json!({"op": "replace", "path": "emails", "value": []}));
    assert_eq!(replaced.attributes.get("emails"), None);
    let replaced = strict(json!({"op": "replace", "path": format!("{ENTERPRISE}:department"), "value": "IT"}));
    assert_eq!(replaced.attributes[ENTERPRISE]["department"], "IT");
    assert_eq!(replaced.named, BTreeSet::from([format!("{ENTERPRISE}:department")]));
}

#[test]
fn a_new_primary_value_demotes_the_old_one() {
    for operation in [
        json!({"op": "replace", "path": "emails[type eq \"home\"].primary", "value": true}),
        json!({"op": "add", "path": "emails[type eq \"home\"]", "value": {"primary": true}}),
        json!({"op": "add", "path": "emails", "value": [{"value": "babs@jensen.org", "type": "home", "primary": true}]}),
    ] {
        let patched = strict(operation.clone());
        assert_eq!(patched.attributes["emails"][0]["primary"], json!(false), "{operation}");
        assert_eq!(patched.attributes["emails"][1]["primary"], json!(true), "{operation}");
    }
    let both = json!({"op": "replace", "path": "emails.primary", "value": true});
    assert_eq!(patch_user(&Profile::LENIENT, both), Err(ScimType::InvalidValue));
}

#[test]
fn a_reference_that_moves_loses_what_described_the_old_one() {
    let mut current = full_user();
    current[ENTERPRISE]["manager"]["displayName"] = "John Smith".into();
    let path = format!("{ENTERPRISE}:manager");
    let operation = body(json!([{"op": "replace", "path": path, "value": {"value": "271"}}]));
    let patched = try_patch("User", &Profile::RFC_STRICT, &current, operation).expect("good");
    assert_eq!(patched.attributes[ENTERPRISE]["manager"], json!({"value": "271"}));
    let operation = body(json!([{"op": "replace", "path": path, "value": {"$ref": "../Users/9", "value": "9"}}]));
    let patched = try_patch("User", &Profile::RFC_STRICT, &current, operation).expect("good");
    assert_eq!(patched.attributes[ENTERPRISE]["manager"], json!({"value": "9", "$ref": "../Users/9"}));
}

#[test]
fn every_refusal_has_its_keyword() {
    for (operation, expected) in [
        (json!({"op": "remove"}), ScimType::NoTarget),
        (json!({"op": "remove", "path": "userName"}), ScimType::Mutability),
        (json!({"op": "replace", "path": "userName", "value": null}), ScimType::Mutability),
        (json!({"op": "replace", "path": "id", "value": "x"}), ScimType::Mutability),
        (json!({"op": "replace", "path": "meta.created", "value": "x"}), ScimType::Mutability),
        (json!({"op": "add", "path": "groups", "value": [{"value": "x"}]}), ScimType::Mutability),
        (json!({"op": "remove", "path": "groups[value eq \"x\"]"}), ScimType::Mutability),
        (json!({"op": "replace", "path": format!("{USHERD}:status"), "value": "Active"}), ScimType::Mutability),
        (json!({"op": "remove", "path": USER_URN}), ScimType::Mutability),
        (json!({"op": "remove", "path": "schemas"}), ScimType::Mutability),
        (
            json!({"op": "replace", "path": format!("{ENTERPRISE}:manager.displayName"), "value": "x"}),
            ScimType::Mutability,
        ),
        (json!({"op": "replace", "path": "emails[type eq \"other\"].value", "value": "x"}), ScimType::NoTarget),
        (json!({"op": "replace", "path": "emails[type eq \"other\"]", "value": {"value": "x"}}), ScimType::NoTarget),
        (json!({"op": "replace", "path": "favouriteColour", "value": "x"}), ScimType::InvalidPath),
        (json!({"op": "replace", "path": "urn:example:none:User:x", "value": "x"}), ScimType::InvalidPath),
        (json!({"op": "replace", "path": "emails[", "value": "x"}), ScimType::InvalidFilter),
        (json!({"op": "replace", "path": 7, "value": "x"}), ScimType::InvalidPath),
        (json!({"op": "replace", "path": "emails[primary gt true]", "value": "x"}), ScimType::InvalidFilter),
        (json!({"op": "replace", "path": "active", "value": "maybe"}), ScimType::InvalidValue),
        (json!({"op": "replace", "path": "title"}), ScimType::InvalidValue),
        (json!({"op": "replace", "value": "x"}), ScimType::InvalidValue),
        (json!({"op": "move", "path": "title"}), ScimType::InvalidSyntax),
        (json!({"path": "title", "value": "x"}), ScimType::InvalidSyntax),
        (json!("x"), ScimType::InvalidSyntax),
        (
            json!({"op": "add", "path": format!("{USHERD}:licenses"), "value": [{"display": "x"}]}),
            ScimType::InvalidValue,
        ),
        (
            json!({"op": "remove", "path": format!("{USHERD}:licenses[value eq \"x\"].value"), "value": null}),
            ScimType::NoTarget,
        ),
    ] {
        let profile = Profile::LENIENT.with(Tolerance::RemoveWithoutMatch, false);
        assert_eq!(patch_user(&profile, operation.clone()), Err(expected), "{operation}");
    }
}

#[test]
fn the_envelope_is_checked() {
    let refused = |profile: &Profile, body: Value| {
        try_patch("User", profile, &full_user(), body).expect_err("a bad envelope").scim_type
    };
    for bad in [json!([]), json!({}), json!({"Operations": "x"}), json!({"schemas": [PATCH_OP_URN]})] {
        assert_eq!(refused(&Profile::LENIENT, bad), Some(ScimType::InvalidSyntax));
    }
    assert_eq!(refused(&Profile::RFC_STRICT, body(json!([]))), Some(ScimType::InvalidSyntax));
    let nameless = json!({"Operations": [{"op": "remove", "path": "title"}]});
    assert_eq!(refused(&Profile::RFC_STRICT, nameless.clone()), Some(ScimType::InvalidSyntax));
    let patched = try_patch("User", &Profile::LENIENT, &full_user(), nameless).expect("tolerated");
    assert_eq!(patched.applied, Applied::from([Tolerance::MissingSchemas]));
    let pathless = body(json!([{"op": "replace", "value": {"title": "x"}}]));
    assert_eq!(refused(&Profile::INTEROP, pathless), Some(ScimType::InvalidSyntax));
}

#[test]
fn entras_validator_sends_no_operation_and_changes_nothing() {
    let patched = try_patch("User", &Profile::ENTRA, &full_user(), body(json!([]))).expect("tolerated");
    assert!(!patched.changed);
    assert_eq!(patched.applied, Applied::from([Tolerance::EmptyOperations]));
}

#[test]
fn entra_disables_with_a_capital_letter_and_a_string() {
    let patched = lenient(json!({"op": "Replace", "path": "active", "value": "False"}));
    assert_eq!(patched.attributes["active"], json!(false));
    assert_eq!(patched.named, BTreeSet::from(["active".to_owned()]));
    assert_eq!(patched.applied, Applied::from([Tolerance::OperatorCase, Tolerance::BooleanStrings]));
    let refused = patch_user(&Profile::RFC_STRICT, json!({"op": "replace", "path": "active", "value": "False"}));
    assert_eq!(refused, Err(ScimType::InvalidValue));
    let refused = patch_user(&Profile::RFC_STRICT, json!({"op": "Replace", "path": "active", "value": false}));
    assert_eq!(refused, Err(ScimType::InvalidSyntax));
}

#[test]
fn entra_with_its_flag_replaces_without_path_by_dotted_and_flat_keys() {
    let patched = lenient(json!({"op": "replace", "value": {
        "displayName": "K", "name.givenName": "K", "name.familyName": "B",
        format!("{ENTERPRISE}:employeeNumber"): "A", "emails[type eq \"work\"].value": "k@x",
        format!("{ENTERPRISE}:manager"): "271",
    }}));
    let name = &patched.attributes["name"];
    assert_eq!(
        (&name["givenName"], &name["familyName"], &name["middleName"]),
        (&json!("K"), &json!("B"), &json!("Jane"))
    );
    assert_eq!(patched.attributes[ENTERPRISE]["employeeNumber"], "A");
    assert_eq!(patched.attributes[ENTERPRISE]["manager"], json!({"value": "271"}));
    assert_eq!(patched.attributes["emails"][0], json!({"value": "k@x", "type": "work", "primary": true}));
    assert!(patched.applied.contains(&Tolerance::DottedKeys));
}

#[test]
fn entra_adds_to_an_address_that_is_not_there_yet() {
    let mut current = full_user();
    current.remove("emails");
    let operations = json!([
        {"op": "Add", "path": "emails[type eq \"work\"].value", "value": "new@x"},
        {"op": "Add", "path": "emails[type eq \"work\"].primary", "value": "true"},
    ]);
    let patched = try_patch("User", &Profile::LENIENT, &current, body(operations)).expect("good");
    assert_eq!(patched.attributes["emails"], json!([{"type": "work", "value": "new@x", "primary": true}]));
    assert!(patched.applied.contains(&Tolerance::AddCreatesElement));

    let replace = json!({"op": "Replace", "path": "emails[type eq \"other\"].value", "value": "new@x"});
    let patched = patch_user(&Profile::ENTRA, replace.clone()).expect("good");
    assert_eq!(patched.attributes["emails"][2], json!({"type": "other", "value": "new@x"}));
    assert_eq!(patch_user(&Profile::LENIENT, replace), Err(ScimType::NoTarget));
    let vague = json!({"op": "Add", "path": "emails[not (type eq \"work\" or type eq \"home\")].value", "value": "x"});
    assert_eq!(patch_user(&Profile::ENTRA, vague), Err(ScimType::NoTarget));
}

#[test]
fn entra_sends_the_manager_as_a_string_as_a_list_and_empty() {
    let path = format!("{ENTERPRISE}:manager");
    let patched = lenient(json!({"op": "Add", "path": path, "value": "271"}));
    assert_eq!(patched.attributes[ENTERPRISE]["manager"], json!({"value": "271"}));
    let list = json!([{"$ref": "http://x/scim/Users/10263", "value": "10263"}]);
    let patched = lenient(json!({"op": "Replace", "path": "manager", "value": list}));
    assert_eq!(
        patched.attributes[ENTERPRISE]["manager"],
        json!({"value": "10263", "$ref": "http://x/scim/Users/10263"})
    );
    for cleared in [json!(""), json!(null), json!({"value": ""}), json!([])] {
        let patched = lenient(json!({"op": "Replace", "path": path, "value": cleared}));
        assert_eq!(patched.attributes[ENTERPRISE].get("manager"), None, "{cleared}");
    }
}

#[test]
fn entra_clears_an_address_by_an_empty_value() {
    for operation in [
        json!({"op": "Replace", "path": "emails[type eq \"home\"].value", "value": ""}),
        json!({"op": "Remove", "path": "emails[type eq \"home\"].value"}),
        json!({"op": "Replace", "path": "emails[type eq \"home\"]", "value": null}),
    ] {
        let patched = lenient(operation.clone());
        assert_eq!(patched.attributes["emails"].as_array().map(Vec::len), Some(1), "{operation}");
    }
}

#[test]
fn entra_packs_app_roles_into_strings() {
    let packed = r#"{"id":"18d14569","value":"Admin","displayName":"Admin"}"#;
    let patched = lenient(json!({"op": "Add", "path": "roles", "value": [{"value": packed}]}));
    assert_eq!(patched.attributes["roles"], json!([{"value": "Admin", "display": "Admin"}]));
    let path = "roles[primary eq \"True\"].value";
    let patched = lenient(json!({"op": "Add", "path": path, "value": packed}));
    assert_eq!(patched.attributes["roles"], json!([{"primary": true, "value": "Admin"}]));
}

#[test]
fn a_replaced_value_keeps_the_type_that_selected_it_unless_strict() {
    let operation = json!({"op": "replace", "path": "emails[type eq \"work\"]", "value": {"value": "n@x"}});
    assert_eq!(lenient(operation.clone()).attributes["emails"][0], json!({"type": "work", "value": "n@x"}));
    assert_eq!(strict(operation).attributes["emails"][0], json!({"value": "n@x"}));
}

#[test]
fn values_in_a_remove_select_and_never_remove_everything() {
    let operation = json!({"op": "remove", "path": "emails", "value": [{"value": "babs@jensen.org"}]});
    assert_eq!(lenient(operation.clone()).attributes["emails"].as_array().map(Vec::len), Some(1));
    assert_eq!(patch_user(&Profile::RFC_STRICT, operation), Err(ScimType::InvalidValue));
    for nobody in [json!([]), json!([{"value": "nobody@x"}]), json!([{}])] {
        assert!(!lenient(json!({"op": "remove", "path": "emails", "value": nobody})).changed);
    }
}

#[test]
fn entra_and_jumpcloud_remove_members_by_value() {
    let operation =
        json!([{"op": "Remove", "path": "members", "value": [{"$ref": null, "value": "u1"}, {"value": "u2"}]}]);
    assert_eq!(group(&Profile::ENTRA, operation), [MemberChange::Remove(vec!["u1".into(), "u2".into()])]);
    assert_eq!(group(&Profile::ENTRA, json!([{"op": "Remove", "path": "members", "value": []}])), []);
    assert_eq!(
        group(&Profile::ENTRA, json!([{"op": "Replace", "path": "members", "value": null}])),
        [MemberChange::RemoveAll]
    );
}

#[test]
fn okta_pushes_a_group_name_with_its_id_and_an_empty_list() {
    let current = stored("Group", "samples/rfc7643-8.4-group.json");
    let rename = body(json!([{"op": "replace", "value": {"id": "abf4dd94", "displayName": "Test SCIMv2"}}]));
    let patched = try_patch("Group", &Profile::OKTA, &current, rename.clone()).expect("good");
    assert_eq!(Value::Object(patched.attributes), json!({"displayName": "Test SCIMv2"}));
    assert!(patched.applied.contains(&Tolerance::ReadOnlyIgnored));
    let refused = try_patch("Group", &Profile::RFC_STRICT, &current, rename).expect_err("id is readOnly");
    assert_eq!(refused.scim_type, Some(ScimType::Mutability));
    let empty = json!([{"op": "replace", "path": "members", "value": []}]);
    assert_eq!(group(&Profile::OKTA, empty), [MemberChange::RemoveAll]);
    let push = json!([{"op": "remove", "path": "members[value eq \"a\"]"}, {"op": "add", "path": "members", "value": [{"value": "b", "display": "b@x"}]}]);
    let b = Member { display: Some("b@x".into()), ..Member::of("b") };
    assert_eq!(group(&Profile::OKTA, push), [MemberChange::Remove(vec!["a".into()]), MemberChange::Add(vec![b])]);
}

#[test]
fn okta_deactivates_without_path() {
    let patched = patch_user(&Profile::OKTA, json!({"op": "replace", "value": {"active": false}})).expect("good");
    assert_eq!(patched.attributes["active"], json!(false));
    assert_eq!(patched.named, BTreeSet::from(["active".to_owned()]));
    let patched = patch_user(&Profile::OKTA, json!({"op": "replace", "value": {"password": "p"}})).expect("good");
    assert!(!patched.changed && patched.applied.contains(&Tolerance::PasswordDropped));
}

#[test]
fn authentik_replaces_a_whole_group_and_changes_members_one_by_one() {
    let current = stored("Group", "samples/rfc7643-8.4-group.json");
    let whole = body(json!([{"op": "replace", "path": null, "value": {
        "id": "1", "schemas": ["urn:ietf:params:scim:schemas:core:2.0:Group"], "externalId": "uid", "displayName": "G",
    }}]));
    let patched = try_patch("Group", &Profile::LENIENT, &current, whole).expect("good");
    assert_eq!(Value::Object(patched.attributes), json!({"displayName": "G", "externalId": "uid"}));
    let one_by_one = json!([
        {"op": "add", "path": "members", "value": [{"value": "a"}]},
        {"op": "add", "path": "members", "value": [{"value": "b"}]},
        {"op": "remove", "path": "members", "value": [{"value": "c"}]},
    ]);
    assert_eq!(
        group(&Profile::LENIENT, one_by_one),
        [MemberChange::Add(members(&["a", "b"])), MemberChange::Remove(vec!["c".into()])]
    );
}

#[test]
fn members_are_selected_by_id_alone_and_never_changed() {
    let current = stored("Group", "samples/rfc7643-8.4-group.json");
    let refused = |profile: &Profile, operation: Value| {
        try_patch("Group", profile, &current, body(json!([operation]))).expect_err("refused").scim_type
    };
    let several = json!([{"op": "remove", "path": "members[value eq \"a\" or $ref eq \"https://x/Users/b\"]"}]);
    assert_eq!(group(&Profile::RFC_STRICT, several), [MemberChange::Remove(vec!["a".into(), "b".into()])]);
    let selected = json!([{"op": "add", "path": "members[value eq \"a\"]", "value": {"display": "A"}}]);
    assert_eq!(group(&Profile::LENIENT, selected), [MemberChange::Add(members(&["a"]))]);
    for (operation, expected) in [
        (json!({"op": "remove", "path": "members[display eq \"a\"]"}), ScimType::InvalidFilter),
        (json!({"op": "replace", "path": "members[value eq \"a\"].display", "value": "x"}), ScimType::Mutability),
        (json!({"op": "replace", "path": "members[value eq \"a\"]", "value": {"value": "b"}}), ScimType::Mutability),
        (json!({"op": "add", "path": "members", "value": [{"display": "nameless"}]}), ScimType::InvalidValue),
        (json!({"op": "add", "path": "members", "value": 7}), ScimType::InvalidValue),
        (json!({"op": "remove", "path": "displayName"}), ScimType::Mutability),
    ] {
        assert_eq!(refused(&Profile::LENIENT, operation.clone()), Some(expected), "{operation}");
    }
}

#[test]
fn core_attributes_are_reached_by_their_urn_and_extensions_by_a_nested_object() {
    let patched = strict(json!({"op": "replace", "path": format!("{USER_URN}:active"), "value": false}));
    assert_eq!(patched.attributes["active"], json!(false));
    let patched =
        strict(json!({"op": "add", "value": {USHERD: {"accountRole": "System Admin"}, ENTERPRISE: {"division": "D"}}}));
    assert_eq!(patched.attributes[USHERD], json!({"accountRole": "System Admin"}));
    assert_eq!(patched.attributes[ENTERPRISE]["costCenter"], "4130");
    assert_eq!(patched.named, BTreeSet::from([format!("{USHERD}:accountRole"), format!("{ENTERPRISE}:division")]));
    let patched = strict(json!({"op": "replace", "path": ENTERPRISE, "value": {"division": "E"}}));
    assert_eq!(patched.attributes[ENTERPRISE]["division"], "E");
}

#[test]
fn removing_the_usherd_extension_leaves_its_read_only_attributes_or_is_refused() {
    let mut current = full_user();
    current.insert(USHERD.into(), json!({"status": "Active", "accountRole": "User"}));
    let remove = body(json!([{"op": "remove", "path": USHERD}]));
    let patched = try_patch("User", &Profile::LENIENT, &current, remove.clone()).expect("tolerated");
    assert_eq!(patched.attributes[USHERD], json!({"status": "Active"}));
    assert_eq!(patched.named, BTreeSet::from([format!("{USHERD}:accountRole")]));
    let refused = try_patch("User", &Profile::RFC_STRICT, &current, remove).expect_err("has readOnly attributes");
    assert_eq!(refused.scim_type, Some(ScimType::Mutability));
}

#[test]
fn the_interoperability_profile_replaces_complex_values_and_selects_one_value() {
    let interop = |operation: Value| patch_user(&Profile::INTEROP, operation);
    let replaced = interop(json!({"op": "replace", "path": "name", "value": {"familyName": "Smith"}})).expect("good");
    assert_eq!(replaced.attributes["name"], json!({"familyName": "Smith"}));
    let several = json!({"op": "replace", "path": "addresses[locality eq \"Hollywood\"].country", "value": "US"});
    assert_eq!(interop(several), Err(ScimType::InvalidFilter));
    let whole = json!({"op": "replace", "path": "emails[type eq \"work\"]", "value": {"value": "x"}});
    assert_eq!(interop(whole), Err(ScimType::InvalidPath));
    let member = json!([{"op": "remove", "path": "members[value eq \"a\"]"}]);
    assert_eq!(group(&Profile::INTEROP, member), [MemberChange::Remove(vec!["a".into()])]);
}

#[test]
fn later_operations_see_what_earlier_ones_did_and_an_error_undoes_all() {
    let operations = json!([
        {"op": "replace", "path": "title", "value": "A"},
        {"op": "add", "path": "emails", "value": [{"value": "c@x", "type": "other"}]},
        {"op": "replace", "path": "emails[type eq \"other\"].value", "value": "d@x"},
    ]);
    let patched = try_patch("User", &Profile::RFC_STRICT, &full_user(), body(operations.clone())).expect("good");
    assert_eq!(patched.attributes["emails"][2]["value"], "d@x");
    let mut failing = operations.as_array().expect("a list").clone();
    failing.push(json!({"op": "replace", "path": "nothing", "value": 1}));
    let current = full_user();
    assert!(try_patch("User", &Profile::RFC_STRICT, &current, body(failing.into())).is_err());
    assert_eq!(current, full_user());
}

#[test]
fn unknown_attributes_in_a_value_are_counted_or_refused() {
    let operation = json!({"op": "replace", "value": {"colour": "red", "urn:example:x": {"y": 1}, "title": "T"}});
    let patched = lenient(operation.clone());
    assert_eq!(patched.ignored, ["colour", "urn:example:x"]);
    assert_eq!(patched.attributes["title"], "T");
    assert_eq!(patch_user(&Profile::RFC_STRICT, operation), Err(ScimType::InvalidSyntax));
}

#[test]
fn immutable_attributes_are_set_once() {
    let urn = "urn:example:params:scim:schemas:hr:2.0:User";
    let example = include_str!("../../../config/schemas/example-hr.json");
    let table = SchemaTable::builtin().extended([("hr", example)]).expect("the example is good");
    let kind = table.resource_type("User").expect("a built-in type");
    let patch = |current: Value, operation: Value| {
        let Value::Object(current) = current else { panic!("a document is an object") };
        apply(&table, kind, &Profile::RFC_STRICT, &current, body(json!([operation])))
            .map(|patched| Value::Object(patched.attributes))
            .map_err(|error| error.scim_type)
    };
    let set = |value: &str| json!({"op": "add", "path": format!("{urn}:badgeNumber"), "value": value});
    let with = |badge: &str| json!({"userName": "a", urn: {"badgeNumber": badge}});
    assert_eq!(patch(json!({"userName": "a"}), set("7")), Ok(with("7")));
    assert_eq!(patch(with("7"), set("7")), Ok(with("7")));
    assert_eq!(patch(with("7"), set("8")), Err(Some(ScimType::Mutability)));
    let remove = json!({"op": "remove", "path": format!("{urn}:badgeNumber")});
    assert_eq!(patch(with("7"), remove), Err(Some(ScimType::Mutability)));
    let skills = |list: Value| json!({"userName": "a", urn: {"skills": list}});
    let path = format!("{urn}:skills[value eq \"rust\"]");
    assert_eq!(patch(skills(json!(["Rust", "go"])), json!({"op": "remove", "path": path})), Ok(skills(json!(["go"]))));
    assert_eq!(
        patch(skills(json!(["rust"])), json!({"op": "replace", "path": path, "value": "c"})),
        Ok(skills(json!(["c"])))
    );
    let room = json!({"op": "add", "path": format!("{urn}:rooms"), "value": [{"number": 3}]});
    assert_eq!(patch(json!({"userName": "a"}), room), Err(Some(ScimType::InvalidValue)));
}

#[test]
fn a_patch_that_would_keep_a_processor_busy_is_refused() {
    let many: Vec<Value> = (0..900).map(|i| json!({"value": format!("v{i}")})).collect();
    let operations = vec![json!({"op": "add", "path": "entitlements", "value": many}); 20];
    let refused = try_patch("User", &Profile::LENIENT, &full_user(), body(operations.into())).expect_err("too much");
    assert_eq!(refused.scim_type, Some(ScimType::InvalidValue));
    let one_by_one: Vec<Value> =
        (0..900).map(|i| json!({"op": "add", "path": "entitlements", "value": [{"value": format!("v{i}")}]})).collect();
    let patched = try_patch("User", &Profile::LENIENT, &full_user(), body(one_by_one.into())).expect("fits");
    assert_eq!(patched.attributes["entitlements"].as_array().map(Vec::len), Some(900));
}

fn any_operation() -> impl Strategy<Value = Value> {
    let path = proptest::sample::select(vec![
        "title".to_owned(),
        "name".into(),
        "name.givenName".into(),
        "emails".into(),
        "emails.value".into(),
        "active".into(),
        "emails[type eq \"work\"]".into(),
        "emails[type eq \"work\"].value".into(),
        "emails[primary eq true].primary".into(),
        "addresses[not (type eq \"home\")].country".into(),
        "manager".into(),
        "manager.value".into(),
        "groups".into(),
        "externalId".into(),
        "schemas".into(),
        "password".into(),
        ENTERPRISE.into(),
        USHERD.into(),
        USER_URN.into(),
        format!("{USHERD}:projects[value eq \"p\"].role"),
        format!("{USHERD}:licenses"),
        "x509Certificates".into(),
    ]);
    let path =
        prop_oneof![4 => path.prop_map(Value::from), 1 => ".{0,12}".prop_map(Value::from), 1 => Just(Value::Null)];
    let op = proptest::sample::select(vec!["add", "remove", "replace", "Add", "Replace"]);
    (op, path, any_json()).prop_map(|(op, path, value)| json!({"op": op, "path": path, "value": value}))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn no_body_panics(body in any_json()) {
        let current = full_user();
        for profile in Profile::ALL {
            if let Err(error) = try_patch("User", &profile, &current, body.clone()) {
                prop_assert_eq!(error.status, 400);
            }
        }
    }

    #[test]
    fn operations_either_fail_with_400_or_leave_a_document_that_reads_as_itself(
        operations in proptest::collection::vec(any_operation(), 1..5),
    ) {
        let table = SchemaTable::builtin();
        let kind = table.resource_type("User").expect("a built-in type");
        for profile in [Profile::LENIENT, Profile::RFC_STRICT, Profile::ENTRA] {
            let current = full_user();
            match try_patch("User", &profile, &current, body(operations.clone().into())) {
                Err(error) => prop_assert_eq!(error.status, 400),
                Ok(patched) => {
                    prop_assert_eq!(patched.changed, patched.attributes != current);
                    let mut again = patched.attributes.clone();
                    again.insert("schemas".into(), json!([USER_URN]));
                    // A text that looks like JSON is unpacked when a client sends it, which a second reading is not.
                    let reader = profile.with(Tolerance::JsonInString, false);
                    let again = read(&table, kind, &reader, again.into(), Purpose::Replace).expect("a valid document");
                    prop_assert_eq!(again.attributes, patched.attributes);
                }
            }
        }
    }
}
