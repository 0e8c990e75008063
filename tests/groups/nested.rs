//! Groups in groups.

use rstest::rstest;
use serde_json::{Value, json};

use crate::daemon::{Daemon, Store, patch};
use crate::{SILENT, create_group, found, groups_of, list, members, people, scim_error};

fn typed(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs.iter().map(|(name, kind)| ((*name).to_owned(), (*kind).to_owned())).collect()
}

#[rstest]
fn a_user_is_indirectly_in_every_group_above(#[values(Store::Embedded, Store::Redis)] store: Store) {
    let daemon = Daemon::start(store, &[SILENT]);
    let ids = people(&daemon, 2);
    let team = create_group(&daemon, "Team", &[&ids[0]]);
    let department = create_group(&daemon, "Department", &[&team, &ids[1]]);
    let company = create_group(&daemon, "Company", &[&department]);
    let body = daemon.get(&format!("/Groups/{company}")).json();
    let expected: Value = json!([{
        "value": department,
        "$ref": format!("{}/Groups/{department}", daemon.scim_base()),
        "type": "Group",
    }]);
    assert_eq!(body["members"], expected);
    let above = [("Team", "direct"), ("Department", "indirect"), ("Company", "indirect")];
    assert_eq!(groups_of(&daemon, &ids[0]), typed(&above));
    assert_eq!(groups_of(&daemon, &ids[1]), typed(&[("Department", "direct"), ("Company", "indirect")]));
    assert_eq!(found(&daemon, "Users", &format!("groups.value eq \"{company}\"")), ids);
    assert_eq!(found(&daemon, "Groups", &format!("members.value eq \"{team}\"")), std::slice::from_ref(&department));

    assert_eq!(daemon.delete(&format!("/Groups/{department}")).status, 204);
    assert_eq!(members(&daemon, &company), [] as [String; 0]);
    assert_eq!(groups_of(&daemon, &ids[0]), typed(&above[..1]));
    assert_eq!(groups_of(&daemon, &ids[1]), []);
}

#[rstest]
fn a_circle_is_refused(#[values(Store::Embedded, Store::Redis)] store: Store) {
    let daemon = Daemon::start(store, &[SILENT]);
    let inner = create_group(&daemon, "Inner", &[]);
    let middle = create_group(&daemon, "Middle", &[&inner]);
    let outer = create_group(&daemon, "Outer", &[&middle]);
    for within in [&inner, &outer] {
        let body = patch(json!([{ "op": "add", "path": "members", "value": list(&[within]) }]));
        let path = format!("/Groups/{inner}");
        scim_error(&daemon.patch(&path, &body), 400, Some("invalidValue"));
    }
}
