//! docs/CONFORMANCE.md says what is so: every clause, tests that exist, a reason for every deviation.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use serde_json::Value;

use crate::daemon::{Daemon, Store};
use crate::scim_error;

const CLAUSES: &str = include_str!("clauses.txt");

/// The cells of the rows that begin with a clause or with the id of a deviation.
fn rows(page: &str) -> Vec<Vec<&str>> {
    fn cells(line: &str) -> Vec<&str> {
        line.trim_matches('|').split('|').map(str::trim).collect()
    }
    let is_row = |line: &&str| ["| 7", "| 8", "| 9", "| D"].iter().any(|start| line.starts_with(start));
    page.lines().filter(is_row).map(cells).collect()
}

/// All functions of the sources and the tests.
fn functions(folder: &Path, found: &mut BTreeSet<String>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        if path.is_dir() && !name.starts_with('.') && name != "node_modules" {
            functions(&path, found);
        } else if name.ends_with(".rs") {
            let text = fs::read_to_string(&path).unwrap();
            let names = text.split("fn ").skip(1).filter_map(|rest| rest.split(['(', '<']).next());
            found.extend(names.map(str::to_owned));
        }
    }
}

#[test]
fn every_clause_has_its_tests_and_every_deviation_its_reason() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let page = fs::read_to_string(root.join("docs/CONFORMANCE.md")).unwrap();
    let mut known = BTreeSet::new();
    functions(&root.join("src"), &mut known);
    functions(&root.join("tests"), &mut known);
    let (ledger, clauses): (Vec<_>, Vec<_>) = rows(&page).into_iter().partition(|row| row[0].starts_with('D'));
    let mut wrong = Vec::new();
    let mut used = BTreeSet::new();
    for row in &clauses {
        let [clause, _, status, tests] = row.as_slice() else { panic!("{row:?}") };
        match status.split_once(": ") {
            Some(("partly" | "no", id)) => drop(used.insert(id)),
            None if *status == "yes" => {}
            _ => wrong.push(format!("{clause}: the status {status}")),
        }
        let tests: Vec<&str> = tests.split(", ").map(|test| test.trim_matches('`')).collect();
        wrong.extend(
            tests.iter().filter(|test| !known.contains(**test)).map(|test| format!("{clause}: no test {test}")),
        );
    }
    let listed: BTreeSet<&str> = CLAUSES.lines().collect();
    let shown: BTreeSet<&str> = clauses.iter().map(|row| row[0]).collect();
    wrong.extend(listed.symmetric_difference(&shown).map(|clause| format!("{clause}: on one side only")));
    let ids: BTreeSet<&str> =
        ledger.iter().filter(|row| row.len() == 3 && !row[2].is_empty()).map(|row| row[0]).collect();
    wrong.extend(ids.symmetric_difference(&used).map(|id| format!("{id}: on one side only")));
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn what_is_advertised_is_what_the_page_says() {
    let daemon = Daemon::start(Store::Embedded, &[]);
    // What is there only for an account that is set up for it is there.
    assert_eq!(daemon.cli(&["webhook", "add-stream", "--account", "default"]).code, 0);
    let config = daemon.get("/ServiceProviderConfig").json();
    let page = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/CONFORMANCE.md")).unwrap();
    let rows = page.lines().filter_map(|line| line.strip_prefix("| `")?.strip_suffix(" |")?.split_once("` | "));
    let mut told = BTreeSet::new();
    for (name, value) in rows {
        let value: Value = serde_json::from_str(value).unwrap();
        assert_eq!(config.pointer(&format!("/{}", name.replace('.', "/"))), Some(&value), "{name}");
        told.insert(name.split('.').next().unwrap().to_owned());
    }
    let supports = config.as_object().unwrap().iter().filter(|(_, value)| value.is_object());
    let advertised: BTreeSet<String> = supports.map(|(name, _)| name.clone()).filter(|name| name != "meta").collect();
    assert_eq!(told, advertised);
}

#[test]
fn what_is_no_version_two_is_not_served() {
    let daemon = Daemon::start(Store::Embedded, &[]);
    for path in ["/scim/v1/Users", "/scim/v3/Users", "/scim/Users"] {
        let reply = daemon.request("GET", path).bearer(daemon.token()).send();
        scim_error(&reply, 404, None);
    }
    assert_eq!(daemon.get("/Users").json()["totalResults"], 1);
}
