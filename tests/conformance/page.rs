//! docs/CONFORMANCE.md says what is so: nothing is left out, and every proof exists.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::daemon::{Daemon, Store};
use crate::scim_error;

/// The sections that ask something of a server, from the contents of the documents.
const CLAUSES: &[(&str, &[&str])] = &[
    (
        "7643",
        &[
            "2.1", "2.2", "2.3", "2.3.1", "2.3.2", "2.3.3", "2.3.4", "2.3.5", "2.3.6", "2.3.7", "2.3.8", "2.4", "2.5",
            "3", "3.1", "3.2", "3.3", "4.1", "4.1.1", "4.1.2", "4.2", "4.3", "5", "6", "7", "8.1", "8.2", "8.3", "8.4",
            "8.5", "8.6", "8.7",
        ],
    ),
    (
        "7644",
        &[
            "2", "2.1", "2.2", "3.1", "3.2", "3.3", "3.3.1", "3.4.1", "3.4.2", "3.4.3", "3.5.1", "3.5.2", "3.6", "3.7",
            "3.8", "3.9", "3.10", "3.11", "3.12", "3.13", "3.14", "4", "5", "6", "6.1", "6.2", "7.2", "7.4", "7.5",
            "7.6", "7.7", "7.8",
        ],
    ),
    ("9865", &["2", "4"]),
];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The cells of every row of a table on the page, without heads and rules.
fn rows() -> Vec<Vec<String>> {
    let page = std::fs::read_to_string(root().join("docs/CONFORMANCE.md")).unwrap();
    let cells = |line: &str| line.trim_matches('|').split('|').map(|cell| cell.trim().to_owned()).collect();
    page.lines().filter(|line| line.starts_with("| ")).map(cells).collect()
}

fn clauses() -> Vec<Vec<String>> {
    rows().into_iter().filter(|row| CLAUSES.iter().any(|(rfc, _)| row[0].starts_with(&format!("{rfc} ")))).collect()
}

#[test]
fn every_clause_is_on_the_page_once() {
    let there: Vec<String> = clauses().iter().map(|row| row[0].clone()).collect();
    let due = CLAUSES.iter().flat_map(|(rfc, sections)| sections.iter().map(move |section| format!("{rfc} {section}")));
    assert_eq!(there, due.collect::<Vec<_>>());
}

#[test]
fn every_clause_is_proven_by_tests_that_exist() {
    let mut files = Vec::new();
    collect(&root().join("src"), &mut files);
    collect(&root().join("tests"), &mut files);
    let sources: Vec<String> = files.iter().map(|file| std::fs::read_to_string(file).unwrap()).collect();
    let exists = |test: &str| sources.iter().any(|text| text.contains(&format!("fn {test}(")));
    for row in clauses() {
        let tests: Vec<&str> = row[3].split('`').map(str::trim).filter(|test| !test.is_empty()).collect();
        assert!(!tests.is_empty(), "{} has no proof", row[0]);
        for test in tests {
            assert!(exists(test), "{}: there is no test named {test}", row[0]);
        }
    }
}

#[test]
fn every_deviation_is_in_the_ledger_with_its_reason() {
    let mut used = BTreeSet::new();
    for row in clauses() {
        let deviations: Vec<&str> = row[2].split(' ').filter(|word| is_deviation(word)).collect();
        let status = row[2].split(" D").next().unwrap();
        assert!(matches!(status, "met" | "partly" | "not offered"), "{}: {status}", row[0]);
        assert_eq!(deviations.is_empty(), status == "met", "{}", row[0]);
        used.extend(deviations.into_iter().map(str::to_owned));
    }
    let ledger: Vec<Vec<String>> = rows().into_iter().filter(|row| is_deviation(&row[0])).collect();
    assert!(ledger.iter().all(|row| row.len() == 3 && row.iter().all(|cell| !cell.is_empty())), "{ledger:?}");
    assert_eq!(ledger.iter().map(|row| row[0].clone()).collect::<BTreeSet<_>>(), used);
}

fn is_deviation(word: &str) -> bool {
    word.strip_prefix('D').is_some_and(|number| number.parse::<u8>().is_ok())
}

#[test]
fn what_is_advertised_is_what_the_page_says() {
    let daemon = Daemon::start(Store::Embedded, &[]);
    let config = daemon.get("/ServiceProviderConfig").json();
    let rows: Vec<Vec<String>> = rows().into_iter().filter(|row| row.len() == 2 && row[0].starts_with('`')).collect();
    let mut told = BTreeSet::new();
    for row in rows {
        let name = row[0].trim_matches('`');
        let value: Value = serde_json::from_str(&row[1]).unwrap();
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

fn collect(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if path.is_dir() && !name.starts_with('.') && name != "node_modules" {
            collect(&path, files);
        } else if name.ends_with(".rs") {
            files.push(path);
        }
    }
}
