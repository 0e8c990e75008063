//! Project roles that a group carries.

use rstest::rstest;
use serde_json::{Value, json};

use crate::daemon::browser::form_token;
use crate::daemon::client::Reply;
use crate::daemon::{Daemon, Store, USHERD, patch, set_active, user};
use crate::redis_server::eventually;
use crate::{SILENT, create_group, found, people, scim_error};

const GROUP: &str = "urn:ietf:params:scim:schemas:extension:usherd:2.0:Group";

fn project(daemon: &Daemon, name: &str) -> String {
    let made = daemon.post("/Projects", &json!({ "displayName": name }));
    assert_eq!(made.status, 201, "{}", made.text());
    made.json()["id"].as_str().unwrap().to_owned()
}

#[track_caller]
fn grant(daemon: &Daemon, group: &str, project: &str, role: &str) {
    let body = json!({ "role": role });
    let reply = daemon.api("PUT", &format!("/groups/{group}/projects/{project}")).json(&body).send();
    assert_eq!(reply.status, 200, "{}", reply.text());
}

fn access(daemon: &Daemon, person: &str) -> Reply {
    daemon.api("GET", &format!("/access/{person}")).send()
}

/// Project and role, as a workspace is told.
#[track_caller]
fn roles(daemon: &Daemon, person: &str) -> Vec<(String, String)> {
    let reply = access(daemon, person);
    assert_eq!(reply.status, 200, "{}", reply.text());
    let body = reply.json();
    let projects = body["projects"].as_array().cloned().unwrap_or_default();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    projects.iter().map(|project| (text(&project["name"]), text(&project["role"]["name"]))).collect()
}

fn one(project: &str, role: &str) -> Vec<(String, String)> {
    vec![(project.to_owned(), role.to_owned())]
}

fn nothing() -> Vec<(String, String)> {
    Vec::new()
}

#[rstest]
fn whoever_is_in_the_group_or_in_one_within_it_has_the_role(#[values(Store::Embedded, Store::Redis)] store: Store) {
    let daemon = Daemon::start(store, &[SILENT]);
    let ids = people(&daemon, 3);
    let team = create_group(&daemon, "Team", &[&ids[0]]);
    let department = create_group(&daemon, "Department", &[&team, &ids[1]]);
    let apollo = project(&daemon, "Apollo");
    let untouched = daemon.get(&format!("/Users/{}", ids[0])).json()["meta"]["version"].clone();
    let before = access(&daemon, &ids[0]).header("etag").to_owned();

    let set = patch(json!([{ "op": "add", "path": format!("{GROUP}:projects"),
        "value": [{ "value": apollo, "role": "viewer" }] }]));
    let changed = daemon.patch(&format!("/Groups/{department}"), &set);
    assert_eq!(changed.status, 200, "{}", changed.text());
    let carried = json!({ "projects": [{ "value": apollo, "display": "Apollo", "role": "Viewer" }] });
    assert_eq!(changed.json()[GROUP], carried);
    assert_eq!(changed.json()["schemas"][1], GROUP);

    assert_eq!(
        [0, 1, 2].map(|i| roles(&daemon, &ids[i])),
        [one("Apollo", "Viewer"), one("Apollo", "Viewer"), nothing()]
    );
    let told = access(&daemon, &ids[0]);
    assert_eq!(
        told.json()["projects"][0],
        json!({ "id": apollo, "name": "Apollo",
        "role": { "name": "Viewer", "permissions": ["project:read"] } })
    );
    let shown = daemon.get(&format!("/Users/{}", ids[0])).json();
    let indirect = json!([{ "value": apollo, "display": "Apollo", "role": "Viewer", "type": "indirect" }]);
    assert_eq!(shown[USHERD]["projects"], indirect);
    assert_eq!(shown["meta"]["version"], untouched, "the version of a user is that of the document");
    let listed = daemon.get("/Users?sortBy=userName&attributes=userName,groups").json();
    assert!(listed["Resources"].as_array().unwrap().iter().all(|user| user.get(USHERD).is_none()), "{listed}");
    let listed = daemon.get(&format!("/Users?filter=id%20eq%20%22{}%22&excludedAttributes=groups", ids[1])).json();
    assert_eq!(listed["Resources"][0][USHERD]["projects"], indirect);
    assert!(listed["Resources"][0].get("groups").is_none());
    assert_eq!(found(&daemon, "Users", &format!("{USHERD}:projects.value eq \"{apollo}\"")), ids[..2]);
    assert_eq!(found(&daemon, "Users", &format!("{USHERD}:projects[type eq \"direct\"]")), [] as [String; 0]);
    let detail = daemon.api("GET", &format!("/users/{}", ids[0])).send().json();
    assert_eq!(
        detail["projects"],
        json!([{ "id": apollo, "name": "Apollo", "role": "Viewer",
        "through": { "id": department, "name": "Department" } }])
    );

    let tag = told.header("etag").to_owned();
    assert_ne!(tag, before);
    let ask = |tag: &str| daemon.api("GET", &format!("/access/{}", ids[0])).header("if-none-match", tag).send().status;
    assert_eq!((ask(&tag), ask(&before)), (304, 200));
    grant(&daemon, &department, &apollo, "Tester");
    assert_eq!((ask(&tag), roles(&daemon, &ids[0])), (200, one("Apollo", "Tester")));

    let leave = patch(json!([{ "op": "remove", "path": format!("members[value eq \"{team}\"]") }]));
    assert_eq!(daemon.patch(&format!("/Groups/{department}"), &leave).status, 200);
    assert_eq!([0, 1].map(|i| roles(&daemon, &ids[i])), [nothing(), one("Apollo", "Tester")]);
    let taken = daemon.api("DELETE", &format!("/groups/{department}/projects/{apollo}")).send();
    assert_eq!((taken.status, &taken.json()["projects"]), (200, &json!([])), "{}", taken.text());
    assert_eq!(roles(&daemon, &ids[1]), nothing());
    let again = daemon.api("DELETE", &format!("/groups/{department}/projects/{apollo}")).send();
    assert_eq!(again.status, 404, "{}", again.text());
    daemon.settle();
    daemon.assert_consistent("default");
}

#[rstest]
fn the_strongest_role_wins_and_a_person_keeps_their_own(#[values(Store::Embedded, Store::Redis)] store: Store) {
    let daemon = Daemon::start(store, &[SILENT]);
    let (apollo, vostok) = (project(&daemon, "Apollo"), project(&daemon, "Vostok"));
    let mut ada = user("ada@example.com");
    ada[USHERD] = json!({ "projects": [{ "value": apollo, "role": "Tester" }] });
    let made = daemon.post("/Users", &ada).json();
    let id = made["id"].as_str().unwrap();
    let path = format!("/Users/{id}");
    let own = json!({ "value": apollo, "display": "Apollo", "role": "Tester", "type": "direct" });
    assert_eq!(made[USHERD]["projects"], json!([own]));
    let (weak, strong) = (create_group(&daemon, "Weak", &[id]), create_group(&daemon, "Strong", &[id]));
    grant(&daemon, &weak, &apollo, "Viewer");
    assert_eq!(roles(&daemon, id), one("Apollo", "Tester"));
    grant(&daemon, &strong, "Apollo", "Project Admin");
    grant(&daemon, &weak, &vostok, "Viewer");
    let both = [one("Apollo", "Project Admin"), one("Vostok", "Viewer")].concat();
    assert_eq!(roles(&daemon, id), both);

    // A client that writes back what it read makes nothing of it the person's own.
    let read = daemon.get(&path).json();
    let indirect = |project: &str, name: &str, role: &str| json!({ "value": project, "display": name, "role": role, "type": "indirect" });
    let shown = json!([own, indirect(&apollo, "Apollo", "Project Admin"), indirect(&vostok, "Vostok", "Viewer")]);
    assert_eq!(read[USHERD]["projects"], shown);
    let put = daemon.put(&path, &read);
    assert_eq!(put.status, 200, "{}", put.text());
    let whole = patch(json!([{ "op": "replace", "path": format!("{USHERD}:projects"), "value": shown }]));
    assert_eq!(daemon.patch(&path, &whole).status, 200);
    for group in [&weak, &strong] {
        assert_eq!(daemon.delete(&format!("/Groups/{group}")).status, 204);
    }
    assert_eq!(daemon.get(&path).json()[USHERD]["projects"], json!([own]));
    assert_eq!(roles(&daemon, id), one("Apollo", "Tester"));
}

#[rstest]
fn nobody_who_may_not_enter_has_anything_of_a_group(#[values(Store::Embedded, Store::Redis)] store: Store) {
    let daemon = Daemon::start(store, &[SILENT]);
    let id = people(&daemon, 1).remove(0);
    let team = create_group(&daemon, "Team", &[&id]);
    let apollo = project(&daemon, "Apollo");
    grant(&daemon, &team, &apollo, "Tester");
    assert_eq!(roles(&daemon, &id), one("Apollo", "Tester"));
    daemon.patch(&format!("/Users/{id}"), &set_active(false));
    assert_eq!(access(&daemon, &id).json().get("projects"), None);
    let shown = daemon.get(&format!("/Users/{id}")).json();
    assert_eq!((shown[USHERD].get("projects"), &shown["groups"][0]["display"]), (None, &json!("Team")));
    assert_eq!(daemon.api("GET", &format!("/users/{id}")).send().json()["projects"], json!([]));
    daemon.patch(&format!("/Users/{id}"), &set_active(true));
    assert_eq!(roles(&daemon, &id), one("Apollo", "Tester"));
}

#[rstest]
fn a_project_takes_its_new_name_into_groups_and_leaves_them_when_it_goes(
    #[values(Store::Embedded, Store::Redis)] store: Store,
) {
    let daemon = Daemon::start(store, &[SILENT]);
    let id = people(&daemon, 1).remove(0);
    let apollo = project(&daemon, "Apollo");
    // More groups than one slice of the task changes.
    let groups: Vec<String> = (0..55).map(|i| create_group(&daemon, &format!("Team {i}"), &[&id])).collect();
    groups.iter().for_each(|group| grant(&daemon, group, &apollo, "Viewer"));
    let renamed = patch(json!([{ "op": "replace", "path": "displayName", "value": "Artemis" }]));
    assert_eq!(daemon.patch(&format!("/Projects/{apollo}"), &renamed).status, 200);
    assert_eq!(roles(&daemon, &id), one("Artemis", "Viewer"));
    // What is left goes on behind the answer.
    for group in [&groups[0], &groups[54]] {
        let shown = || daemon.get(&format!("/Groups/{group}")).json();
        eventually(|| (shown()[GROUP]["projects"][0]["display"] == "Artemis").then_some(()));
    }
    assert_eq!(daemon.delete(&format!("/Projects/{apollo}")).status, 204);
    assert_eq!(roles(&daemon, &id), nothing());
    let shown = || daemon.get(&format!("/Groups/{}", groups[54])).json();
    eventually(|| shown().get(GROUP).is_none().then_some(()));
    assert_eq!(shown()["schemas"].as_array().unwrap().len(), 1);
    daemon.assert_consistent("default");
}

#[rstest]
fn a_client_gives_roles_only_with_the_scope_and_takes_none_by_saying_nothing(
    #[values(Store::Embedded, Store::Redis)] store: Store,
) {
    let daemon = Daemon::start(store, &[SILENT]);
    let apollo = project(&daemon, "Apollo");
    let team = create_group(&daemon, "Team", &[]);
    let path = format!("/Groups/{team}");
    grant(&daemon, &team, &apollo, "Tester");
    let made = daemon.cli(&["token", "create", "--account", "default", "--name", "idp", "--scope", "groups"]);
    assert_eq!(made.code, 0, "{}", made.stderr);
    let token = made.stdout.trim();
    let ask = |method: &str, path: &str, body: &Value| {
        daemon.request(method, &format!("/scim/v2{path}")).bearer(token).json(body).send()
    };
    let vostok = project(&daemon, "Vostok");
    let carries = |role: &str| json!({ "projects": [{ "value": apollo, "display": "Apollo", "role": role }] });

    let mut body = daemon.get(&path).json();
    body["displayName"] = json!("The Team");
    assert_eq!(ask("PUT", &path, &body).status, 200, "an echo changes nothing");
    let plain = json!({ "schemas": [body["schemas"][0]], "displayName": "Team", "members": [] });
    let put = ask("PUT", &path, &plain);
    assert_eq!((put.status, &put.json()[GROUP]), (200, &carries("Tester")), "{}", put.text());
    for (value, role) in [(&apollo, "Project Admin"), (&vostok, "Viewer"), (&"Nowhere".to_owned(), "Viewer")] {
        body[GROUP] = json!({ "projects": [{ "value": value, "role": role }] });
        let refused = ask("PUT", &path, &body);
        scim_error(&refused, 403, None);
        assert!(refused.text().contains("roles:write"), "{}", refused.text());
    }
    let gone = patch(json!([{ "op": "remove", "path": format!("{GROUP}:projects") }]));
    scim_error(&ask("PATCH", &path, &gone), 403, None);
    let new = json!({ "displayName": "New", GROUP: { "projects": [{ "value": apollo }] } });
    scim_error(&ask("POST", "/Groups", &new), 403, None);
    let api = daemon.request("DELETE", &format!("/api/v1/groups/{team}/projects/{apollo}")).bearer(token).send();
    assert_eq!(api.status, 403, "{}", api.text());
    assert_eq!(daemon.get(&path).json()[GROUP], carries("Tester"), "nothing of it was written");

    let new = daemon.post("/Groups", &new);
    assert_eq!((new.status, &new.json()[GROUP]), (201, &carries("Tester")), "the default role: {}", new.text());
    assert_eq!(daemon.patch(&path, &gone).json().get(GROUP), None);
}

#[rstest]
fn what_is_no_project_or_no_role_is_refused_and_nothing_is_written(
    #[values(Store::Embedded, Store::Redis)] store: Store,
) {
    let daemon = Daemon::start(store, &[SILENT]);
    let apollo = project(&daemon, "Apollo");
    let team = create_group(&daemon, "Team", &[]);
    let path = format!("/Groups/{team}");
    let before = daemon.get(&path).json();
    let add = |value: Value| {
        daemon.patch(&path, &patch(json!([{ "op": "add", "path": format!("{GROUP}:projects"), "value": value }])))
    };
    for (value, says) in [
        (json!([{ "value": "Vostok" }]), "there is no project \\\"Vostok\\\""),
        (json!([{ "value": apollo, "role": "King" }]), "King"),
        (json!([{ "value": apollo }, { "value": "01890000-0000-7000-8000-000000000000" }]), "there is no project"),
        (json!([{ "role": "Viewer" }]), "value"),
    ] {
        let refused = add(value);
        scim_error(&refused, 400, Some("invalidValue"));
        assert!(refused.text().contains(says), "{says}: {}", refused.text());
    }
    let many: Vec<Value> = (0..101).map(|i| json!({ "value": format!("P{i}") })).collect();
    let refused = add(json!(many));
    scim_error(&refused, 400, Some("invalidValue"));
    assert!(refused.text().contains("at most 100"), "{}", refused.text());
    let refused =
        daemon.api("PUT", &format!("/groups/{team}/projects/{apollo}")).json(&json!({ "role": "King" })).send();
    assert_eq!(refused.status, 400, "{}", refused.text());
    assert_eq!(daemon.get(&path).json(), before);
    let nobody = format!("/groups/01890000-0000-7000-8000-000000000000/projects/{apollo}");
    assert_eq!(daemon.api("PUT", &nobody).json(&json!({ "role": "Viewer" })).send().status, 404);
}

#[rstest]
fn every_change_is_in_the_audit(#[values(Store::Embedded, Store::Redis)] store: Store) {
    let daemon = Daemon::start(store, &[SILENT]);
    let apollo = project(&daemon, "Apollo");
    let team = create_group(&daemon, "Team", &[]);
    grant(&daemon, &team, &apollo, "Viewer");
    grant(&daemon, &team, &apollo, "Viewer");
    grant(&daemon, &team, &apollo, "Tester");
    assert_eq!(daemon.delete(&format!("/Projects/{apollo}")).status, 204);
    daemon.settle();
    let made = daemon.cli(&["token", "create", "--account", "default", "--name", "eye", "--scope", "audit"]);
    let events = daemon.request("GET", "/api/v1/audit?order=oldest&limit=200").bearer(made.stdout.trim()).send().json();
    let told: Vec<(Value, Value)> = events["events"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|event| event["event"] == "group.project_role")
        .map(|event| {
            assert_eq!(
                (&event["resource"], &event["attributes"]),
                (&json!(team), &json!([format!("projects.{apollo}")]))
            );
            (event["before"].clone(), event["after"].clone())
        })
        .collect();
    let null = Value::Null;
    assert_eq!(told, [(null.clone(), json!("Viewer")), (json!("Viewer"), json!("Tester")), (json!("Tester"), null),]);
}

#[rstest]
fn an_admin_gives_and_takes_project_roles_on_the_page_of_the_group(
    #[values(Store::Embedded, Store::Redis)] store: Store,
) {
    const ADMIN: &str = "boss@example.com";
    let daemon = Daemon::start(store, &[SILENT, ("USHERD_BOOTSTRAP__ADMIN_EMAIL", ADMIN)]);
    let mut browser = daemon.browser();
    assert_eq!(browser.open_and_accept(&daemon.admin_link(), ADMIN).status, 200);
    let id = people(&daemon, 1).remove(0);
    let team = create_group(&daemon, "Team", &[&id]);
    let page = format!("/admin/default/groups/{team}");
    let dialog = format!("{page}/projects");
    assert!(browser.open(&dialog).text().contains("There is no project yet."));
    let apollo = project(&daemon, "Apollo");
    let asked = browser.open(&dialog);
    assert!(asked.text().contains("Add Project Role"), "{}", asked.text());
    let csrf = form_token(&asked);
    let refused = browser.submit(&dialog, &[("csrf", &csrf), ("project", &apollo), ("role", "King")]);
    assert_eq!(refused.status, 422, "{}", refused.text());
    let given = browser.submit(&dialog, &[("csrf", &csrf), ("project", &apollo), ("role", "Viewer")]);
    assert_eq!((given.status, given.header("location")), (303, page.as_str()), "{}", given.text());
    let shown = browser.open(&page).text();
    assert!(shown.contains("<strong>Apollo</strong>") && shown.contains("Viewer"), "{shown}");
    let person = browser.open(&format!("/admin/default/users/{id}")).text();
    assert!(person.contains("through group</span> <a href=\"") && person.contains(">Team</a>"), "{person}");

    let remove = format!("{dialog}/{apollo}");
    assert!(browser.open(&remove).text().contains("Remove Project Role"));
    assert_eq!(browser.submit(&remove, &[("csrf", &csrf)]).status, 303);
    assert_eq!(browser.open(&remove).status, 404);
    assert!(browser.open(&page).text().contains("gives no role in a project"));
    assert_eq!(roles(&daemon, &id), nothing());
    assert_eq!(browser.open("/admin/default/groups/nobody/projects").status, 404);
}
