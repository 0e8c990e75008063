use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::scim::error::ScimType;
use crate::scim::members::Member;
use crate::scim::table::{ENTERPRISE_USER_URN, GROUP_URN, USER_URN, USHERD_USER_URN, fixture};

fn read_as(kind: &str, profile: &Profile, body: Value) -> Result<Received, ScimError> {
    let table = SchemaTable::builtin();
    let kind = table.resource_type(kind).expect("a built-in type");
    read(&table, kind, profile, body, Purpose::Replace)
}

fn user(body: Value) -> Received {
    read_as("User", &Profile::LENIENT, body).expect("a good body")
}

fn refusal(profile: &Profile, body: Value) -> Option<ScimType> {
    read_as("User", profile, body).expect_err("a bad body").scim_type
}

fn set(names: &[&str]) -> BTreeSet<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

#[test]
fn the_enterprise_user_of_the_rfc_is_read_without_what_clients_cannot_write() {
    let body = fixture("samples/rfc7643-8.3-enterprise_user.json");
    let received = user(body.clone());
    assert_eq!(received.carried, set(&[USER_URN, ENTERPRISE_USER_URN]));
    for read_only in ["id", "meta", "groups", "schemas", "password"] {
        assert_eq!(received.attributes.get(read_only), None, "{read_only}");
        assert!(!received.named.contains(read_only), "{read_only}");
    }
    for kept in ["userName", "externalId", "name", "emails", "addresses", "x509Certificates", "active"] {
        assert_eq!(received.attributes.get(kept), Some(&body[kept]), "{kept}");
        assert!(received.named.contains(kept), "{kept}");
    }
    assert_eq!(
        received.attributes[ENTERPRISE_USER_URN]["manager"],
        json!({
            "value": "26118915-6090-4610-87e4-49d8ca9f808d",
            "$ref": "https://example.com/v2/Users/26118915-6090-4610-87e4-49d8ca9f808d",
        })
    );
    assert!(received.named.contains(&format!("{ENTERPRISE_USER_URN}:costCenter")));
    assert_eq!(received.applied, Applied::from([Tolerance::PasswordDropped]));
    assert_eq!(received.ignored, Vec::<String>::new());
}

#[test]
fn the_put_request_of_the_rfc_is_read_by_the_strict_profile_and_names_what_it_unassigns() {
    let received = read_as("User", &Profile::RFC_STRICT, fixture("samples/rfc7644-3.5.1-user-put_request.json"));
    let received = received.expect("an example of the RFC");
    assert_eq!(received.attributes.get("roles"), None);
    assert_eq!(received.named, set(&["userName", "externalId", "name", "roles", "emails"]));
    assert_eq!(received.applied, Applied::new());
}

#[test]
fn the_group_of_the_rfc_yields_its_members_as_a_change() {
    let received = read_as("Group", &Profile::RFC_STRICT, fixture("samples/rfc7643-8.4-group.json")).expect("good");
    assert_eq!(Value::Object(received.attributes), json!({"displayName": "Tour Guides"}));
    let member = |value: &str, display: &str| Member { display: Some(display.into()), ..Member::of(value) };
    assert_eq!(
        received.members,
        [MemberChange::ReplaceAll(vec![
            member("2819c223-7f76-453a-919d-413861904646", "Babs Jensen"),
            member("902c246b-6245-4190-8e05-00816be7344a", "Mandy Pepperidge"),
        ])]
    );
    assert!(received.named.contains("members"));
}

#[test]
fn an_omitted_active_is_visible_as_such() {
    let received = user(json!({"userName": "a"}));
    assert!(!received.named.contains("active"));
    assert_eq!(received.attributes.get("active"), None);
    let received = user(json!({"userName": "a", "active": null}));
    assert!(received.named.contains("active"));
    assert_eq!(received.attributes.get("active"), None);
}

#[test]
fn names_are_brought_into_their_canonical_case() {
    let received = user(json!({
        "USERNAME": "a", "Name": {"GIVENNAME": "A"}, "emails": [{"Value": "a@x", "TYPE": "work"}],
        ENTERPRISE_USER_URN.to_uppercase(): {"DEPARTMENT": "D"},
    }));
    assert_eq!(
        Value::Object(received.attributes),
        json!({
            "userName": "a", "name": {"givenName": "A"}, "emails": [{"value": "a@x", "type": "work"}],
            ENTERPRISE_USER_URN: {"department": "D"},
        })
    );
}

#[test]
fn an_entra_create_with_nulls_and_a_malformed_urn_is_read() {
    let received = user(json!({
        "schemas": [USER_URN, "urn:ietf:params:scim:schemas:extension:enterprise:2.0User"],
        "externalId": "jyoung", "userName": "jyoung@testuser.com", "active": "True", "addresses": null,
        "displayName": "Joy Young", "emails": [{"type": "work", "value": "j@x", "primary": "true"}],
        "meta": {"resourceType": "User"}, "name": {"familyName": "Young", "givenName": "Joy"},
        "phoneNumbers": null, "preferredLanguage": null, "title": null, "department": null, "manager": null,
        "roles": [],
    }));
    assert_eq!(received.attributes["active"], json!(true));
    assert_eq!(received.attributes["emails"], json!([{"type": "work", "value": "j@x", "primary": true}]));
    assert_eq!(received.attributes.get(ENTERPRISE_USER_URN), None);
    assert_eq!(received.carried, set(&[USER_URN]));
    assert!(received.named.contains(&format!("{ENTERPRISE_USER_URN}:manager")));
    assert_eq!(received.ignored, ["urn:ietf:params:scim:schemas:extension:enterprise:2.0User"]);
    assert_eq!(
        received.applied,
        Applied::from([Tolerance::BooleanStrings, Tolerance::ForeignSchemas, Tolerance::UnqualifiedExtension])
    );
}

#[test]
fn the_group_that_entra_creates_with_a_foreign_schema_is_read() {
    let foreign = "http://schemas.microsoft.com/2006/11/ResourceManagement/ADSCIM/2.0/Group";
    let body = json!({
        "schemas": [GROUP_URN, foreign], "externalId": "8aa1a0c0", "displayName": "displayName",
        "meta": {"resourceType": "Group"},
    });
    let received = read_as("Group", &Profile::ENTRA, body.clone()).expect("a body that Entra ID sends");
    assert_eq!(received.members, []);
    let refused = read_as("Group", &Profile::INTEROP, body).expect_err("a foreign schema");
    assert_eq!(refused.scim_type, Some(ScimType::InvalidSyntax));
}

#[test]
fn an_okta_create_with_a_password_and_empty_groups_is_read() {
    let received = read_as(
        "User",
        &Profile::OKTA,
        json!({
            "schemas": [USER_URN], "userName": "test.user@okta.local", "name": {"givenName": "Test", "familyName": "User"},
            "emails": [{"primary": true, "value": "test.user@okta.local", "type": "work"}], "displayName": "Test User",
            "locale": "en-US", "externalId": "00ujl29u0le5T6Aj10h7", "groups": [], "password": "1mz050nq", "active": true,
        }),
    );
    let received = received.expect("a body that Okta sends");
    assert!(!Value::Object(received.attributes).to_string().contains("1mz050nq"));
    assert_eq!(received.applied, Applied::from([Tolerance::PasswordDropped]));
    assert_eq!(
        refusal(&Profile::RFC_STRICT, json!({"schemas": [USER_URN], "userName": "a", "password": "p"})),
        Some(ScimType::InvalidValue)
    );
}

#[test]
fn onelogin_sends_one_object_where_a_list_is_due() {
    let received =
        user(json!({"userName": "a", "emails": {"value": "a@x", "type": "work"}, "displayName": [{"value": "A"}]}));
    assert_eq!(received.attributes["emails"], json!([{"value": "a@x", "type": "work"}]));
    assert_eq!(received.attributes["displayName"], json!("A"));
    assert!(received.applied.is_superset(&Applied::from([Tolerance::SingleForList, Tolerance::ListForSingle])));
    let strict = json!({"schemas": [USER_URN], "userName": "a", "emails": {"value": "a@x"}});
    assert_eq!(refusal(&Profile::RFC_STRICT, strict), Some(ScimType::InvalidValue));
}

#[test]
fn a_jumpcloud_put_with_null_emails_names_them_and_carries_only_the_core_schema() {
    let received = user(json!({
        "schemas": [USER_URN], "userName": "a", "active": true, "emails": null, "addresses": [], "phoneNumbers": [],
    }));
    assert_eq!(received.carried, set(&[USER_URN]));
    assert_eq!(received.named, set(&["userName", "active", "emails", "addresses", "phoneNumbers"]));
}

#[test]
fn app_roles_are_unpacked_from_the_string_in_which_entra_sends_them() {
    let packed = r#"{"id":"18d14569-c3bd-439b-9a66-3a2aee01d14f","value":"Admin","displayName":"Admin role"}"#;
    let received = user(
        json!({"userName": "a", "roles": [{"primary": false, "type": "WindowsAzureActiveDirectoryRole", "value": packed}]}),
    );
    assert_eq!(
        received.attributes["roles"],
        json!([{"primary": false, "type": "WindowsAzureActiveDirectoryRole", "value": "Admin", "display": "Admin role"}])
    );
    assert!(received.applied.contains(&Tolerance::JsonInString));
}

#[test]
fn the_usherd_extension_is_read_without_its_read_only_attributes() {
    let received = user(json!({
        "userName": "a",
        USHERD_USER_URN: {
            "status": "Active", "statusReason": "x", "invitation": {"state": "live"}, "accountRole": "System Admin",
            "organization": "o1", "projects": [{"value": "p1", "role": "Viewer", "display": "P"}],
            "licenses": ["l1", {"value": "l2"}], "employmentStartDate": "2026-01-05",
        },
    }));
    assert_eq!(
        received.attributes[USHERD_USER_URN],
        json!({
            "accountRole": "System Admin", "organization": {"value": "o1"},
            "projects": [{"value": "p1", "role": "Viewer"}], "licenses": [{"value": "l1"}, {"value": "l2"}],
            "employmentStartDate": "2026-01-05T00:00:00Z",
        })
    );
    assert!(!received.named.iter().any(|name| name.ends_with("status") || name.ends_with("invitation")));
    assert!(received.applied.contains(&Tolerance::DateOnly));
    let nameless = json!({"userName": "a", USHERD_USER_URN: {"organization": {"display": "Acme"}}});
    assert_eq!(refusal(&Profile::LENIENT, nameless), Some(ScimType::InvalidValue));
}

#[test]
fn dotted_and_flat_keys_reach_their_attributes() {
    let received = user(json!({
        "userName": "a", "name.givenName": "G", format!("{ENTERPRISE_USER_URN}:department"): "D",
        format!("{ENTERPRISE_USER_URN}:manager.value"): "m", format!("{USER_URN}:title"): "T",
    }));
    assert_eq!(received.attributes["name"], json!({"givenName": "G"}));
    assert_eq!(received.attributes[ENTERPRISE_USER_URN], json!({"department": "D", "manager": {"value": "m"}}));
    assert_eq!(received.attributes["title"], json!("T"));
    assert_eq!(received.carried, set(&[USER_URN, ENTERPRISE_USER_URN]));
}

#[test]
fn unknown_attributes_are_counted_or_refused_by_profile() {
    let body = json!({
        "schemas": [USER_URN], "userName": "a", "colour": "red", "name": {"nose": "big"},
        "urn:example:other": {"x": 1}, ENTERPRISE_USER_URN: {"shoes": 42},
    });
    let received = user(body.clone());
    let shoes = format!("{ENTERPRISE_USER_URN}:shoes");
    assert_eq!(received.ignored, ["colour", "name.nose", "urn:example:other", shoes.as_str()]);
    assert_eq!(refusal(&Profile::RFC_STRICT, body.clone()), Some(ScimType::InvalidSyntax));
    assert_eq!(refusal(&Profile::INTEROP, body), Some(ScimType::InvalidSyntax));
}

#[test]
fn bodies_that_are_wrong_in_every_profile() {
    for (body, expected) in [
        (json!([]), ScimType::InvalidSyntax),
        (json!("x"), ScimType::InvalidSyntax),
        (json!({}), ScimType::InvalidValue),
        (json!({"userName": ""}), ScimType::InvalidValue),
        (json!({"userName": {"a": 1}}), ScimType::InvalidValue),
        (json!({"userName": "a", "active": "maybe"}), ScimType::InvalidValue),
        (json!({"userName": "a", "active": 1}), ScimType::InvalidValue),
        (json!({"userName": "a", "name": 3.5, "emails": [["a"]]}), ScimType::InvalidValue),
        (
            json!({"userName": "a", "emails": [{"value": "a", "primary": true}, {"value": "b", "primary": true}]}),
            ScimType::InvalidValue,
        ),
        (json!({"userName": "a", "x509Certificates": [{"value": "no base64!"}]}), ScimType::InvalidValue),
        (json!({"userName": "a", USHERD_USER_URN: {"employmentStartDate": "soon"}}), ScimType::InvalidValue),
        (json!({"userName": "a", ENTERPRISE_USER_URN: "x"}), ScimType::InvalidValue),
        (json!({"userName": "a", "schemas": [7]}), ScimType::InvalidSyntax),
        (json!({"userName": "a", "emails": vec![json!({"value": "x"}); 1_001]}), ScimType::InvalidValue),
    ] {
        assert_eq!(refusal(&Profile::LENIENT, body.clone()), Some(expected), "{body}");
    }
}

#[test]
fn the_strict_profile_wants_schemas_and_keeps_empty_strings() {
    assert_eq!(refusal(&Profile::RFC_STRICT, json!({"userName": "a"})), Some(ScimType::InvalidSyntax));
    let received = read_as("User", &Profile::RFC_STRICT, json!({"schemas": [USER_URN], "userName": "a", "title": ""}));
    assert_eq!(received.expect("good").attributes.get("title"), Some(&json!("")));
    assert_eq!(user(json!({"userName": "a", "title": ""})).attributes.get("title"), None);
    assert!(user(json!({"userName": "a"})).applied.contains(&Tolerance::MissingSchemas));
}

#[test]
fn values_of_clients_never_stand_in_error_details() {
    let error = read_as("User", &Profile::LENIENT, json!({"userName": "a", "active": "s3cret"})).expect_err("bad");
    assert!(!error.detail.contains("s3cret"), "{}", error.detail);
}

#[test]
fn an_immutable_value_outlives_a_put_and_cannot_change() {
    let urn = "urn:example:params:scim:schemas:hr:2.0:User";
    let example = include_str!("../../../config/schemas/example-hr.json");
    let table = SchemaTable::builtin().extended([("hr", example)]).expect("the example is good");
    let kind = table.resource_type("User").expect("a built-in type");
    let document = |badge: Option<&str>| {
        let Value::Object(document) = json!({"userName": "a", urn: {"badgeNumber": badge, "level": 1}}) else {
            panic!()
        };
        document
    };
    let put = |badge: Option<&str>| {
        let mut new = document(badge);
        prune(&mut new);
        keep_immutable(&table, kind, &document(Some("7")), &mut new).map(|()| new[urn]["badgeNumber"].clone())
    };
    assert_eq!(put(Some("7")), Ok(json!("7")));
    assert_eq!(put(None), Ok(json!("7")));
    assert_eq!(put(Some("8")).map_err(|error| error.scim_type), Err(Some(ScimType::Mutability)));
}

pub(crate) fn any_json() -> impl Strategy<Value = Value> {
    let key = prop_oneof![
        proptest::sample::select(vec![
            "schemas",
            "userName",
            "name",
            "givenName",
            "emails",
            "value",
            "type",
            "primary",
            "active",
            "members",
            "$ref",
            "manager",
            "op",
            "path",
            "Operations",
            "name.givenName",
            "emails[type eq \"work\"].value",
            "password",
            "id",
            ENTERPRISE_USER_URN,
            USHERD_USER_URN,
            "licenses",
            "displayName",
            "x509Certificates",
        ])
        .prop_map(str::to_owned),
        ".{0,6}",
    ];
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        ".{0,8}".prop_map(Value::from),
        proptest::sample::select(vec![
            "",
            "work",
            "true",
            "add",
            "remove",
            "replace",
            "members",
            "2026-01-05",
            "{\"value\":\"x\"}"
        ])
        .prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 40, 6, move |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
            proptest::collection::vec((key.clone(), inner), 0..6)
                .prop_map(|pairs| Value::Object(pairs.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn no_body_panics_and_what_is_read_can_be_read_again(body in any_json()) {
        let table = SchemaTable::builtin();
        for kind in table.resource_types() {
            for profile in Profile::ALL {
                let Ok(received) = read(&table, kind, &profile, body.clone(), Purpose::Create) else { continue };
                let mut again = received.attributes.clone();
                again.insert("schemas".into(), json!(schemas_of(kind, &received.attributes)));
                // A text that looks like JSON is unpacked when a client sends it, which a second reading is not.
                let reader = profile.with(Tolerance::JsonInString, false);
                let again = read(&table, kind, &reader, Value::Object(again), Purpose::Create).expect("what was read");
                prop_assert_eq!(again.attributes, received.attributes);
            }
        }
    }

    #[test]
    fn no_user_near_the_schema_panics(name in any_json(), emails in any_json(), extension in any_json()) {
        let body = json!({"userName": "a", "name": name, "emails": emails, USHERD_USER_URN: extension});
        if let Err(error) = read_as("User", &Profile::ENTRA, body) {
            prop_assert_eq!(error.status, 400);
        }
    }
}
