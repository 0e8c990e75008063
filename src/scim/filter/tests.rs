use proptest::prelude::*;
use serde_json::{Map, Value, json};

use super::*;
use crate::scim::error::{ScimError, ScimType};
use crate::scim::name::AttrPath;
use crate::scim::profile::{Applied, Profile, Tolerance};
use crate::scim::schema::SchemaTable;
use crate::scim::table::{ENTERPRISE_USER_URN, fixture};

fn parse(text: &str) -> Filter {
    Filter::parse(text, &Profile::RFC_STRICT).unwrap_or_else(|error| panic!("{text}: {error}"))
}

fn enterprise_user() -> Map<String, Value> {
    match fixture("samples/rfc7643-8.3-enterprise_user.json") {
        Value::Object(user) => user,
        _ => panic!("a user is an object"),
    }
}

fn matches(text: &str, document: &Map<String, Value>) -> bool {
    let table = SchemaTable::builtin();
    let user = table.resource_type("User").expect("a built-in type");
    let filter = Filter::parse(text, &Profile::LENIENT).unwrap_or_else(|error| panic!("{text}: {error}"));
    filter.matches(&table, user, document)
}

fn check(text: &str, profile: &Profile) -> Result<(), ScimType> {
    let table = SchemaTable::builtin();
    let user = table.resource_type("User").expect("a built-in type");
    let checked = Filter::parse(text, profile).and_then(|filter| filter.check(&table, user, profile));
    checked.map_err(|error: ScimError| error.scim_type.expect("a keyword"))
}

#[test]
fn the_example_filters_of_the_rfc_have_the_expected_answer_for_its_example_user() {
    let user = enterprise_user();
    for (filter, expected) in [
        (r#"userName eq "bjensen""#, false),
        (r#"userName Eq "BJENSEN@example.com""#, true),
        (r#"name.familyName co "O'Malley""#, false),
        (r#"userName sw "J""#, false),
        (r#"urn:ietf:params:scim:schemas:core:2.0:User:userName sw "B""#, true),
        ("title pr", true),
        (r#"meta.lastModified gt "2011-05-13T04:42:34Z""#, false),
        (r#"meta.lastModified ge "2011-05-13T04:42:34Z""#, true),
        (r#"meta.lastModified lt "2011-05-13T04:42:34Z""#, false),
        (r#"meta.lastModified le "2011-05-13T06:42:34+02:00""#, true),
        (r#"title pr and userType eq "Employee""#, true),
        (r#"title pr or userType eq "Intern""#, true),
        (r#"schemas eq "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User""#, true),
        (r#"userType eq "Employee" and (emails co "example.com" or emails.value co "example.org")"#, true),
        (r#"userType ne "Employee" and not (emails co "example.com" or emails.value co "example.org")"#, false),
        (r#"userType eq "Employee" and (emails.type eq "work")"#, true),
        (r#"userType eq "Employee" and emails[type eq "work" and value co "@example.com"]"#, true),
        (r#"emails[type eq "work" and value co "@example.com"] or ims[type eq "xmpp" and value co "@foo.com"]"#, true),
        (r#"emails[type eq "home" and value co "@example.com"]"#, false),
    ] {
        assert_eq!(matches(filter, &user), expected, "{filter}");
        assert_eq!(check(filter, &Profile::RFC_STRICT), Ok(()), "{filter}");
    }
}

#[test]
fn not_binds_before_and_and_and_before_or() {
    let a = || Filter::Present(AttrPath::simple("a"));
    let b = || Filter::Present(AttrPath::simple("b"));
    let c = || Filter::Present(AttrPath::simple("c"));
    assert_eq!(parse("a pr or b pr and c pr"), Filter::Or(vec![a(), Filter::And(vec![b(), c()])]));
    assert_eq!(parse("a pr and b pr or c pr"), Filter::Or(vec![Filter::And(vec![a(), b()]), c()]));
    assert_eq!(parse("not (a pr) and b pr"), Filter::And(vec![Filter::Not(Box::new(a())), b()]));
    assert_eq!(
        parse("NOT(a pr or b pr) OR c pr"),
        Filter::Or(vec![Filter::Not(Box::new(Filter::Or(vec![a(), b()]))), c()])
    );
    assert_eq!(parse("(a pr or b pr) and c pr"), Filter::And(vec![Filter::Or(vec![a(), b()]), c()]));
    assert_eq!(parse("a pr and b pr and c pr"), Filter::And(vec![a(), b(), c()]));
}

#[test]
fn values_are_compared_by_the_type_of_the_attribute() {
    let user = enterprise_user();
    for (filter, expected) in [
        ("active eq true", true),
        (r#"active eq "True""#, true),
        ("active ne false", true),
        ("active eq null", false),
        ("nickName ne null", true),
        ("profileUrl pr", true),
        ("entitlements pr", false),
        ("entitlements eq null", true),
        (r#"entitlements.value ne "x""#, true),
        (r#"externalId eq "701984""#, true),
        ("externalId eq 701984", true),
        (r#"groups.value eq "e9e30dba-f08f-4109-8486-d5c6a331660a""#, true),
        (r#"groups eq "e9e30dba-f08f-4109-8486-d5c6a331660a""#, true),
        (r#"groups.$ref ew "/71ddacd2-a8e7-49b8-a5db-ae50d0a5bfd7""#, true),
        ("emails.primary eq true", true),
        (r#"emails.type ne "work""#, true),
        (r#"name.givenName gt "Aaron" and name.givenName lt "barbarab""#, true),
        (r#"unknown eq "x""#, false),
        (r#"unknown ne "x""#, true),
        (r#"employeeNumber eq "701984""#, true),
        (r#"manager eq "26118915-6090-4610-87e4-49d8ca9f808d""#, true),
        (r#"id eq "2819c223-7f76-453a-919d-413861904646" and manager eq "nobody""#, false),
    ] {
        assert_eq!(matches(filter, &user), expected, "{filter}");
    }
    let manager = format!(r#"{ENTERPRISE_USER_URN}:manager.value eq "26118915-6090-4610-87e4-49d8ca9f808d""#);
    assert!(matches(&manager, &user));
    assert!(matches(&format!(r#"{ENTERPRISE_USER_URN}:manager[displayName sw "john"]"#), &user));
}

#[test]
fn schemas_of_a_stored_document_follow_from_its_extensions() {
    let mut user = enterprise_user();
    user.remove("schemas");
    assert!(matches(&format!(r#"schemas eq "{ENTERPRISE_USER_URN}""#), &user));
    user.remove(ENTERPRISE_USER_URN);
    assert!(!matches(&format!(r#"schemas eq "{ENTERPRISE_USER_URN}""#), &user));
    assert!(matches(r#"schemas eq "urn:ietf:params:scim:schemas:core:2.0:user""#, &user));
}

#[test]
fn comparisons_that_mean_nothing_are_invalid_filters() {
    for filter in [
        "active gt true",
        r#"x509Certificates.value lt "TWE=""#,
        r#"name eq "x""#,
        r#"addresses eq "x""#,
        r#"active eq "maybe""#,
        r#"meta.created gt "yesterday""#,
        r#"userName[type eq "work"]"#,
        r#"emails[nose eq "x"]"#,
    ] {
        assert_eq!(check(filter, &Profile::LENIENT), Err(ScimType::InvalidFilter), "{filter}");
    }
    assert_eq!(check(r#"favouriteColour eq "x""#, &Profile::LENIENT), Ok(()));
    assert_eq!(check(r#"favouriteColour eq "x""#, &Profile::INTEROP), Err(ScimType::InvalidFilter));
}

#[test]
fn what_clients_write_beyond_the_grammar_is_a_tolerance() {
    let cases = [
        ("externalId eq jyoung", r#"externalId eq "jyoung""#, Tolerance::UnquotedFilterValues),
        ("userName eq b.o'hara@example.com", r#"userName eq "b.o'hara@example.com""#, Tolerance::UnquotedFilterValues),
        ("externalId eq 007", r#"externalId eq "007""#, Tolerance::UnquotedFilterValues),
        ("userName eq 'a \\'b\\''", r#"userName eq "a 'b'""#, Tolerance::SingleQuotedFilterValues),
        (
            r#"emails[type eq "work"].value eq "x""#,
            r#"emails[type eq "work" and value eq "x"]"#,
            Tolerance::ValuePathComparison,
        ),
        (
            r#"emails[type eq "work" and primary eq true].value sw "x" or title pr"#,
            r#"emails[type eq "work" and primary eq true and value sw "x"] or title pr"#,
            Tolerance::ValuePathComparison,
        ),
    ];
    for (sent, meant, tolerance) in cases {
        let mut applied = Applied::new();
        let filter = Filter::parse_noting(sent, &Profile::ENTRA, &mut applied).expect(sent);
        assert_eq!(filter, parse(meant));
        assert_eq!(applied, Applied::from([tolerance]));
        let strict = Filter::parse(sent, &Profile::RFC_STRICT).expect_err(sent);
        assert_eq!(strict.scim_type, Some(ScimType::InvalidFilter));
    }
}

#[test]
fn errors_name_the_byte() {
    for (filter, at) in [
        ("", 0),
        ("userName", 8),
        ("userName regex \"x\"", 9),
        ("userName eq", 11),
        ("userName eq \"x", 12),
        ("(userName pr", 12),
        ("userName pr)", 11),
        ("userName pr title pr", 12),
        ("ünïcode pr", 0),
        ("title pr and", 12),
        ("emails[type eq \"work\"", 21),
        ("emails[ims[type pr]]", 7),
        ("not title pr", 4),
    ] {
        let error = Filter::parse(filter, &Profile::LENIENT).expect_err(filter);
        assert_eq!(error.scim_type, Some(ScimType::InvalidFilter), "{filter}");
        assert!(error.detail.starts_with(&format!("at byte {at}: ")), "{filter}: {}", error.detail);
    }
}

#[test]
fn depth_and_length_are_bounded_and_long_chains_are_not_deep() {
    let nested = |depth: usize| format!("{}a pr{}", "(".repeat(depth), ")".repeat(depth));
    assert!(Filter::parse(&nested(FilterBounds::DEFAULT.depth), &Profile::LENIENT).is_ok());
    assert!(Filter::parse(&nested(FilterBounds::DEFAULT.depth + 1), &Profile::LENIENT).is_err());
    assert!(Filter::parse(&"not (".repeat(1_500), &Profile::LENIENT).is_err());
    let bounds = FilterBounds { depth: 1, length: 20 };
    let narrow = Profile::LENIENT.with_filters(bounds);
    assert!(Filter::parse(&nested(1), &narrow).is_ok());
    assert!(Filter::parse(&nested(2), &narrow).is_err());
    assert!(Filter::parse("displayName eq \"Staff\"", &narrow).is_err());
    let chain = vec!["a pr"; 900].join(" or ");
    assert!(Filter::parse(&chain, &Profile::LENIENT).is_ok());
    assert!(
        Filter::parse(&format!("a eq \"{}\"", "x".repeat(FilterBounds::DEFAULT.length)), &Profile::LENIENT).is_err()
    );
}

fn attr_path() -> impl Strategy<Value = AttrPath> {
    let name = "[a-zA-Z$][a-zA-Z0-9_-]{0,8}".prop_filter("a keyword", |name| !name.eq_ignore_ascii_case("not"));
    let sub = "[a-zA-Z$][a-zA-Z0-9_-]{0,8}";
    let urn = proptest::option::of(Just(ENTERPRISE_USER_URN.to_owned()));
    (urn, name, proptest::option::of(sub)).prop_map(|(urn, name, sub)| AttrPath { urn, name, sub })
}

fn leaf() -> impl Strategy<Value = Filter> {
    let literal = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<String>().prop_map(Value::from),
    ];
    prop_oneof![
        attr_path().prop_map(Filter::Present),
        (attr_path(), proptest::sample::select(Operator::ALL.to_vec()), literal)
            .prop_map(|(path, operator, value)| Filter::Compare(path, operator, value)),
    ]
}

fn filter() -> impl Strategy<Value = Filter> {
    let bracketed = (attr_path(), leaf()).prop_map(|(path, inner)| Filter::ValuePath(path, Box::new(inner)));
    prop_oneof![leaf(), bracketed].prop_recursive(5, 40, 4, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 2..4).prop_map(Filter::And),
            proptest::collection::vec(inner.clone(), 2..4).prop_map(Filter::Or),
            inner.prop_map(|inner| Filter::Not(Box::new(inner))),
        ]
    })
}

proptest! {
    #[test]
    fn a_printed_filter_is_read_back_as_the_same_filter(filter in filter()) {
        let text = filter.to_string();
        prop_assume!(text.len() <= FilterBounds::DEFAULT.length);
        prop_assert_eq!(Filter::parse(&text, &Profile::RFC_STRICT).expect(&text), filter);
    }

    #[test]
    fn no_text_makes_the_parser_or_the_evaluation_panic(text in any::<String>()) {
        if let Ok(filter) = Filter::parse(&text, &Profile::ENTRA) {
            let table = SchemaTable::builtin();
            let user = table.resource_type("User").expect("a built-in type");
            filter.matches(&table, user, &Map::new());
        }
    }

    #[test]
    fn no_text_near_the_grammar_makes_the_parser_panic(
        text in r#"([a-z.:$]{0,5}|\[|\]|\(|\)|"|'|\\| |eq |pr |and |or |not |true|null|-?[0-9.e]{1,3}|é){0,20}"#,
    ) {
        for profile in Profile::ALL {
            let parsed = Filter::parse(&text, &profile);
            if let Err(error) = parsed {
                prop_assert_eq!(error.scim_type, Some(ScimType::InvalidFilter));
            }
        }
    }
}

#[test]
fn conjuncts_are_the_sides_of_and() {
    assert_eq!(parse("a pr and b pr").conjuncts().len(), 2);
    assert_eq!(parse("a pr or b pr").conjuncts().len(), 1);
    assert_eq!(json!(parse("a pr").conjuncts().len()), json!(1));
}
