use serde_json::{Value, json};

use super::*;
use crate::scim::ScimError;
use crate::scim::table::fixture;

const BASE: &str = "https://example.com/v2";

fn run(operations: &Value) -> Run {
    let body = json!({ "schemas": [BULK_REQUEST_URN], "Operations": operations });
    Run::of(BulkRequest::read(body, 1_000).expect("a bulk request"), BASE)
}

fn sample(name: &str) -> Run {
    Run::of(BulkRequest::read(fixture(&format!("samples/{name}.json")), 1_000).expect("a bulk request"), BASE)
}

/// Carries everything out; what is made gets the ids 1, 2, …. The requests come back as lines.
fn carried_out(run: &mut Run, fails: &dyn Fn(&Task) -> bool) -> Vec<String> {
    let mut made = 0;
    let mut seen = Vec::new();
    while let Some(task) = run.next_task() {
        let data = task.data.as_ref().map(|data| format!(" {data}")).unwrap_or_default();
        seen.push(format!("{} {}{data}", task.method.as_str(), task.path));
        if fails(&task) {
            run.report(Outcome::Failed(ScimError::invalid_value("no")));
            continue;
        }
        let location = match task.method {
            Method::Post => {
                made += 1;
                Some(format!("{BASE}{}/{made}", task.path))
            }
            // A resource is where it is, whatever was asked of it besides.
            Method::Put | Method::Patch => Some(format!("{BASE}{}", task.path.split('?').next().unwrap())),
            Method::Delete => None,
        };
        let status = if task.method == Method::Post { 201 } else { 200 };
        run.report(Outcome::Done { status, location, version: Some("W/\"1\"".into()) });
    }
    seen
}

fn all_well(_: &Task) -> bool {
    false
}

fn statuses(run: &Run) -> Vec<String> {
    let response = run.response();
    let rows = response["Operations"].as_array().expect("a list").clone();
    rows.iter().map(|row| row["status"].as_str().expect("a string").to_owned()).collect()
}

/// A POST of a group with these members.
fn group(bulk_id: &str, members: &[&str]) -> Value {
    let members: Vec<Value> = members.iter().map(|member| json!({ "value": member })).collect();
    json!({ "method": "POST", "path": "/Groups", "bulkId": bulk_id, "data": { "displayName": bulk_id, "members": members } })
}

#[test]
fn the_examples_of_the_rfc_refer_to_what_was_made_before() {
    let mut temporary = sample("rfc7644-3.7.2-bulk_request-temporary_identifier");
    let seen = carried_out(&mut temporary, &all_well);
    assert!(seen[0].starts_with("POST /Users {"), "{seen:?}");
    assert!(seen[1].contains(r#""members":[{"type":"User","value":"1"}]"#), "{seen:?}");
    let mut theirs = fixture("samples/rfc7644-3.7.2-bulk_response-temporary_identifier.json");
    for (row, path) in theirs["Operations"].as_array_mut().expect("rows").iter_mut().zip(["Users/1", "Groups/2"]) {
        row["location"] = format!("{BASE}/{path}").into();
        row["version"] = "W/\"1\"".into();
    }
    assert_eq!(temporary.response(), theirs);

    let seen = carried_out(&mut sample("rfc7644-3.7.2-bulk_request-enterprise_user"), &all_well);
    assert!(seen[1].contains(r#""manager":{"value":"1"}"#), "in an extension, too: {seen:?}");
}

#[test]
fn a_circle_is_made_without_what_is_not_there_and_completed_at_once() {
    let mut circle = sample("rfc7644-3.7.1-bulk_request-circular_conflict");
    let seen = carried_out(&mut circle, &all_well);
    let [second, first, completion] = seen.as_slice() else { panic!("{seen:#?}") };
    // What the first refers to goes before it, and lacks the first.
    assert!(second.contains("Group B") && second.contains(r#""members":[]"#), "{second}");
    assert!(first.contains("Group A") && first.contains(r#""value":"1""#), "{first}");
    assert!(completion.starts_with("PATCH /Groups/1 "), "{completion}");
    let added = r#""Operations":[{"op":"add","path":"members","value":[{"type":"Group","value":"2"}]}]"#;
    assert!(completion.contains(added), "{completion}");
    assert_eq!(statuses(&circle), ["201", "201"]);
}

#[test]
fn somebody_may_be_their_own_manager() {
    let urn = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User";
    let boss = json!({ "userName": "boss", urn: { "department": "All", "manager": { "value": "bulkId:boss" } } });
    let mut own = run(&json!([{ "method": "POST", "path": "/Users", "bulkId": "boss", "data": boss }]));
    let seen = carried_out(&mut own, &all_well);
    assert_eq!(seen[0], format!(r#"POST /Users {{"userName":"boss","{urn}":{{"department":"All"}}}}"#));
    assert!(seen[1].contains(&format!(r#"{{"op":"add","path":"{urn}:manager","value":{{"value":"1"}}}}"#)), "{seen:?}");
}

#[test]
fn references_stand_in_paths_and_filters_and_uris_and_may_come_first() {
    let operations = json!([
        { "method": "PATCH", "path": "/Groups/bulkId:g?attributes=id", "data": { "Operations": [
            { "op": "remove", "path": "members[value eq \"bulkId:u\"]" },
            { "op": "add", "path": "members", "value": { "value": "bulkId:u", "$ref": "../Users/bulkId:u" } },
        ] } },
        { "method": "DELETE", "path": "Users/bulkId:u" },
        group("g", &[]),
        { "method": "POST", "path": "/Users", "bulkId": "u", "data": { "userName": "u", "title": "not bulkId:u" } },
    ]);
    let mut all = run(&operations);
    let seen = carried_out(&mut all, &all_well);
    assert!(seen[0].starts_with("POST /Groups") && seen[1].starts_with("POST /Users"), "{seen:?}");
    assert!(seen[1].contains("not bulkId:u"), "no reference: {}", seen[1]);
    assert!(seen[2].starts_with("PATCH /Groups/1?attributes=id "), "{}", seen[2]);
    assert!(seen[2].contains(r#"members[value eq \"2\"]"#), "{}", seen[2]);
    assert!(seen[2].contains(r#"{"value":"2","$ref":"../Users/2"}"#), "{}", seen[2]);
    assert_eq!(seen[3], "DELETE /Users/2");
    let rows = all.response()["Operations"].clone();
    assert_eq!(rows[0]["location"], format!("{BASE}/Groups/1"), "in the order in which they came: {rows}");
    assert_eq!(rows[1]["location"], format!("{BASE}/Users/2"));
    assert_eq!((&rows[2]["bulkId"], &rows[3]["bulkId"]), (&json!("g"), &json!("u")));
}

#[test]
fn what_refers_to_what_was_not_made_is_a_conflict() {
    let mut all =
        run(&json!([group("a", &[]), group("b", &["bulkId:a"]), group("c", &["bulkId:nobody"]), group("d", &[])]));
    let seen = carried_out(&mut all, &|task| task.data.as_ref().is_some_and(|data| data["displayName"] == "a"));
    assert_eq!(seen.len(), 2, "{seen:?}");
    assert_eq!(statuses(&all), ["400", "409", "400", "201"]);
    let rows = all.response()["Operations"].clone();
    assert_eq!(rows[2]["response"]["scimType"], "invalidValue");
    assert!(rows[1].get("location").is_none(), "a POST that failed: {rows}");
}

#[test]
fn half_a_circle_is_told_with_its_place() {
    let mut circle = run(&json!([group("a", &["bulkId:b"]), group("b", &["bulkId:a"])]));
    carried_out(&mut circle, &|task| task.data.as_ref().is_some_and(|data| data["displayName"] == "a"));
    assert_eq!(statuses(&circle), ["400", "409"]);
    let rows = circle.response()["Operations"].clone();
    assert_eq!(rows[1]["location"], format!("{BASE}/Groups/1"), "it is there: {rows}");
    let detail = rows[1]["response"]["detail"].as_str().expect("a detail");
    assert!(detail.starts_with("the resource was made, but without all that it refers to"), "{detail}");
}

#[test]
fn after_so_many_errors_nothing_more_is_done() {
    let body = json!({ "schemas": [BULK_REQUEST_URN], "failOnErrors": 2,
        "Operations": [group("a", &[]), { "method": "GET", "path": "/Users" }, 7, group("d", &[])] });
    let mut stopped = Run::of(BulkRequest::read(body, 10).expect("a bulk request"), BASE);
    assert_eq!(carried_out(&mut stopped, &all_well).len(), 1);
    assert_eq!(statuses(&stopped), ["201", "400", "400"]);
    // The first operation of this example fails, and one error is what the client puts up with.
    let mut theirs = sample("rfc7644-3.7.3-bulk_request-multiple_operations");
    carried_out(&mut theirs, &|_| true);
    assert_eq!(statuses(&theirs), ["400"]);
}

#[test]
fn what_is_still_due_can_be_given_up() {
    let mut all = run(&json!([group("a", &["bulkId:a"]), group("b", &[])]));
    let first = all.next_task().expect("the first");
    let location = Some(format!("{BASE}{}/1", first.path));
    all.report(Outcome::Done { status: 201, location, version: None });
    all.abandon(&ScimError::plain(503, "the time is over"));
    assert_eq!(all.next_task(), None);
    assert_eq!(statuses(&all), ["503", "503"]);
    assert_eq!(all.response()["Operations"][0]["location"], format!("{BASE}/Groups/1"), "it was made");
}

#[test]
fn the_patch_of_the_example_is_wrapped_into_a_message() {
    let mut theirs = sample("rfc7644-3.7.3-bulk_request-multiple_operations");
    let seen = carried_out(&mut theirs, &all_well);
    assert!(seen[2].contains("urn:ietf:params:scim:api:messages:2.0:PatchOp"), "{}", seen[2]);
    assert_eq!(statuses(&theirs), ["201", "200", "200", "200"]);
}

#[test]
fn a_chain_as_long_as_a_request_is_followed_to_its_end() {
    let last = 9_999;
    let chain: Vec<Value> = (0..=last)
        .map(|number| match number {
            number if number == last => group(&number.to_string(), &[]),
            number => group(&number.to_string(), &[&format!("bulkId:{}", number + 1)]),
        })
        .collect();
    let body = json!({ "schemas": [BULK_REQUEST_URN], "Operations": chain });
    let mut chain = Run::of(BulkRequest::read(body, 10_000).expect("a bulk request"), BASE);
    let first = chain.next_task().expect("the first").data.expect("a body");
    assert_eq!(first["displayName"], "9999");
    chain.report(Outcome::Done { status: 201, location: None, version: None });
}

#[test]
fn what_is_no_bulk_request_is_refused_as_a_whole() {
    let good = json!([group("a", &[])]);
    for (body, status, scim_type) in [
        (json!([]), 400, Some("invalidSyntax")),
        (json!({ "Operations": {} }), 400, Some("invalidSyntax")),
        (json!({ "schemas": ["urn:x"], "Operations": good }), 400, Some("invalidSyntax")),
        (json!({ "schemas": [BULK_REQUEST_URN] }), 400, Some("invalidValue")),
        (json!({ "Operations": [] }), 400, Some("invalidValue")),
        (json!({ "failOnErrors": 0, "Operations": good }), 400, Some("invalidValue")),
        (json!({ "failOnErrors": "1", "Operations": good }), 400, Some("invalidValue")),
        (json!({ "Operations": [1, 2, 3] }), 413, None),
    ] {
        let error = BulkRequest::read(body.clone(), 2).expect_err("no bulk request");
        assert_eq!((error.status, error.scim_type.map(|word| word.as_str())), (status, scim_type), "{body}");
        assert!(status != 413 || error.detail.contains("maxOperations is 2"), "{}", error.detail);
    }
    assert!(BulkRequest::read(json!({ "operations": good, "failonerrors": 1 }), 2).is_ok(), "names in any case");
}

#[test]
fn an_operation_that_makes_no_sense_is_its_own_mistake() {
    let data = json!({ "displayName": "x" });
    let mut all = run(&json!([
        "what", {}, { "method": 1 }, { "method": "POST", "path": "/Groups", "data": data },
        { "method": "POST", "bulkId": "b", "data": data }, { "method": "PUT", "path": "/Groups/1" },
        { "method": "POST", "path": "/Groups", "bulkId": 5, "data": data },
        { "method": "PATCH", "path": "/Groups/1", "version": 3, "data": {} },
        group("twice", &[]), group("twice", &[]), group("once", &[]), group("after", &["bulkId:twice"]),
    ]));
    let seen = carried_out(&mut all, &all_well);
    assert_eq!(seen.len(), 1, "{seen:?}");
    let rows = all.response()["Operations"].clone();
    let theirs = fixture("samples/rfc7644-3.7.3-bulk_response-error_invalid_syntax.json");
    for number in 0..8 {
        assert_eq!(rows[number]["status"], theirs["Operations"][0]["status"], "{number}");
        assert_eq!(rows[number]["response"]["scimType"], "invalidSyntax", "{number}");
    }
    assert_eq!(rows[4]["bulkId"], "b", "repeated where it can be read");
    for number in [8, 9] {
        assert_eq!(rows[number]["response"]["scimType"], "invalidValue", "{number}");
    }
    assert_eq!((&rows[10]["status"], &rows[11]["status"]), (&json!("201"), &json!("409")));
}
