//! Imports point left only:
//!
//! ```text
//! domain <- scim <- store <- directory <- jobs, http <- app, main
//! ```
//!
//! The test reads `src/` as text, without comments, literals and test modules, and prints each arrow that points the
//! wrong way as `file:line`. It looks at paths (`crate::store`, `super::super::store`), not at what they resolve to:
//! a layer that re-exported another one would deceive it, and the review has to catch that.

use std::fs;
use std::path::{Path, PathBuf};

/// One top-level module of the crate and what it may lean on.
struct Layer {
    name: &'static str,
    may_import: &'static [&'static str],
    /// Paths that mean I/O or a foreign layer's business, matched at the start of a path.
    must_not_name: &'static [&'static str],
}

const IO: &[&str] =
    &["tokio", "redis", "redb", "axum", "hyper", "lettre", "std::fs", "std::env", "std::process", "std::thread"];
const FACES: &[&str] = &["axum", "hyper", "lettre"];
const BACKENDS: &[&str] = &["redis", "redb"];
const ALL: &[&str] = &[
    "domain",
    "scim",
    "store",
    "directory",
    "jobs",
    "http",
    "metrics",
    "outgoing",
    "telemetry",
    "config",
    "app",
    "cli",
    "main",
];

/// `config` composes the settings that each layer owns, so it sees the layers and only the composition root sees it.
const LAYERS: &[Layer] = &[
    Layer { name: "domain", may_import: &[], must_not_name: IO },
    Layer { name: "scim", may_import: &["domain"], must_not_name: IO },
    Layer { name: "store", may_import: &["domain", "scim", "metrics"], must_not_name: FACES },
    Layer { name: "directory", may_import: &["domain", "scim", "store", "metrics"], must_not_name: BACKENDS },
    Layer {
        name: "jobs",
        may_import: &["domain", "scim", "store", "directory", "metrics", "outgoing"],
        must_not_name: BACKENDS,
    },
    Layer {
        name: "http",
        may_import: &["domain", "scim", "store", "directory", "metrics", "outgoing"],
        must_not_name: BACKENDS,
    },
    // Counters only: whoever does a thing counts it, so every layer with I/O sees them.
    Layer { name: "metrics", may_import: &[], must_not_name: IO },
    // Both edges send requests; what is in them is their affair.
    Layer { name: "outgoing", may_import: &[], must_not_name: BACKENDS },
    Layer { name: "telemetry", may_import: &[], must_not_name: BACKENDS },
    Layer {
        name: "config",
        may_import: &["domain", "scim", "store", "directory", "jobs", "http", "telemetry"],
        must_not_name: BACKENDS,
    },
    Layer { name: "app", may_import: ALL, must_not_name: &[] },
    Layer { name: "cli", may_import: ALL, must_not_name: &[] },
    Layer { name: "main", may_import: ALL, must_not_name: &[] },
];

#[test]
fn imports_point_left_only() {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut wrong = Vec::new();
    for file in rust_files(&source) {
        let relative = file.strip_prefix(&source).expect("found below src");
        let text = fs::read_to_string(&file).expect("a source file is readable text");
        // A file that is compiled for tests only says so itself.
        if text.contains("\n#![cfg(test)]\n") {
            continue;
        }
        for arrow in wrong_arrows(relative, &text) {
            wrong.push(format!("src/{}:{arrow}", relative.display()));
        }
    }
    assert!(wrong.is_empty(), "imports that do not point left:\n{}", wrong.join("\n"));
}

#[test]
fn every_module_of_the_crate_is_a_layer() {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let unplaced: Vec<_> = rust_files(&source)
        .iter()
        .filter_map(|file| layer_of(file.strip_prefix(&source).expect("found below src")).err())
        .collect();
    assert!(unplaced.is_empty(), "give these a place in LAYERS: {unplaced:?}");
}

#[test]
fn a_wrong_arrow_is_seen_in_every_form() {
    let arrows = |file: &str, text: &str| wrong_arrows(Path::new(file), text).len();
    assert_eq!(arrows("scim/mod.rs", "use crate::store::Batch;"), 1);
    assert_eq!(arrows("scim/mod.rs", "use crate::{domain, store::{Batch, Check}, http};"), 2);
    assert_eq!(arrows("store/redis.rs", "fn f() { crate::directory::invite() }"), 1);
    assert_eq!(arrows("store/redis/script.rs", "use super::super::super::jobs;"), 1);
    assert_eq!(arrows("store/mod.rs", "use super::jobs;"), 1);
    assert_eq!(arrows("jobs/mail.rs", "use crate::http::Page;"), 1);
    assert_eq!(arrows("http/mod.rs", "use crate::jobs::Mail;"), 1);
    assert_eq!(arrows("http/mod.rs", "use crate::config::Settings;"), 1);
    assert_eq!(arrows("domain/user.rs", "use std::fs::File; use tokio::time;"), 2);
    assert_eq!(arrows("directory/mod.rs", "use redis::Value;"), 1);
    assert_eq!(arrows("http/users.rs", "lifecycle::transition(state, event)"), 1);
}

#[test]
fn what_points_left_or_is_no_import_passes() {
    let arrows = |file: &str, text: &str| wrong_arrows(Path::new(file), text);
    assert_eq!(
        arrows("store/redis.rs", "use crate::domain::ids; use super::Batch; use crate::store::Check;"),
        [] as [String; 0]
    );
    assert_eq!(
        arrows("domain/ids.rs", "// crate::store\n/* crate::store /* redis:: */ */ /// tokio::x\n"),
        [] as [String; 0]
    );
    assert_eq!(
        arrows("domain/ids.rs", r##"const A: &str = "crate::store"; const B: &str = r#"" redis::x"#;"##),
        [] as [String; 0]
    );
    assert_eq!(arrows("domain/ids.rs", "fn f<'a>(c: &'a str) -> char { '\"' } // \" crate::store"), [] as [String; 0]);
    assert_eq!(
        arrows("domain/ids.rs", "#[cfg(test)]\nmod tests { use crate::store; fn f() { {} } }\n"),
        [] as [String; 0]
    );
    assert_eq!(arrows("domain/ids.rs", "fn redis_like() { my::redis::x() }"), [] as [String; 0]);
}

#[test]
fn a_wrong_arrow_is_reported_with_its_line() {
    let arrows = wrong_arrows(Path::new("scim/mod.rs"), "/* one\n two */\nuse crate::{\n    domain,\n    http,\n};\n");
    assert_eq!(arrows, ["5: scim must not import http"]);
}

/// `line: reason` for each path in `text` that `file` (relative to `src`) must not name.
fn wrong_arrows(file: &Path, text: &str) -> Vec<String> {
    let Ok(layer) = layer_of(file) else { return Vec::new() };
    if file.file_stem().is_some_and(|stem| stem == "tests") {
        return Vec::new();
    }
    let code = without_test_modules(&without_comments_and_literals(text));
    let line = |at: usize| code[..at].matches('\n').count() + 1;
    let mut wrong = Vec::new();
    for (at, target) in imported_modules(&code, depth_of(file)) {
        if target != layer.name && ALL.contains(&target) && !layer.may_import.contains(&target) {
            wrong.push(format!("{}: {} must not import {target}", line(at), layer.name));
        }
    }
    for path in layer.must_not_name {
        for at in path_starts(&code, &format!("{path}::")) {
            wrong.push(format!("{}: {} must not name {path}", line(at), layer.name));
        }
    }
    if !matches!(layer.name, "domain" | "directory") {
        for (at, _) in code.match_indices("lifecycle::transition") {
            wrong.push(format!("{}: only directory calls lifecycle::transition", line(at)));
        }
    }
    wrong
}

fn layer_of(file: &Path) -> Result<&'static Layer, String> {
    let first = file.components().next().expect("a file has a name").as_os_str().to_string_lossy();
    let name = first.trim_end_matches(".rs");
    match name {
        // The crate's table of contents declares the layers and belongs to none.
        "lib" => Ok(&LAYERS[LAYERS.len() - 1]),
        _ => LAYERS.iter().find(|layer| layer.name == name).ok_or_else(|| name.to_owned()),
    }
}

/// How many `super::` lead from the module in `file` to the crate's root.
fn depth_of(file: &Path) -> usize {
    let folders = file.components().count() - 1;
    if file.ends_with("mod.rs") { folders } else { folders + 1 }
}

/// The first segment behind `crate::`, `usherd::` or enough `super::`, with its position; groups are opened.
fn imported_modules(code: &str, depth: usize) -> Vec<(usize, &str)> {
    let to_root = "super::".repeat(depth);
    let mut found = Vec::new();
    for prefix in ["crate::", "usherd::", &to_root] {
        for at in path_starts(code, prefix) {
            let behind = at + prefix.len();
            match code[behind..].strip_prefix('{') {
                Some(group) => found.extend(group_members(group).map(|(offset, name)| (behind + 1 + offset, name))),
                None => found.push((behind, first_word(&code[behind..]))),
            }
        }
    }
    found
}

/// Where `path` begins in `code`, and is not the tail of a longer name or path.
fn path_starts<'a>(code: &'a str, path: &'a str) -> impl Iterator<Item = usize> + 'a {
    code.match_indices(path).map(|(at, _)| at).filter(move |&at| {
        let before = code[..at].chars().next_back().unwrap_or(' ');
        !(before.is_alphanumeric() || before == '_' || before == ':')
    })
}

/// First words of the members of a use group whose opening brace was just passed.
fn group_members(group: &str) -> impl Iterator<Item = (usize, &str)> {
    let mut depth = 1;
    let mut start = 0;
    let mut members = Vec::new();
    for (at, c) in group.char_indices() {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            _ => {}
        }
        if depth == 0 || (c == ',' && depth == 1) {
            let indent = group[start..at].len() - group[start..at].trim_start().len();
            members.push((start + indent, first_word(group[start..at].trim_start())));
            start = at + 1;
        }
        if depth == 0 {
            break;
        }
    }
    members.into_iter()
}

fn first_word(text: &str) -> &str {
    let end = text.find(|c: char| !(c.is_alphanumeric() || c == '_')).unwrap_or(text.len());
    &text[..end]
}

/// The same text with comments and the insides of string and character literals blanked; newlines stay.
fn without_comments_and_literals(text: &str) -> String {
    let mut kept = String::with_capacity(text.len());
    let mut rest = text;
    while !rest.is_empty() {
        let hidden = comment_length(rest)
            .or_else(|| raw_string_length(rest, kept.chars().next_back()))
            .or_else(|| literal_length(rest));
        let (taken, hide) = match hidden {
            Some(length) => (length, true),
            None => (rest.chars().next().map_or(1, char::len_utf8), false),
        };
        let (piece, behind) = rest.split_at(taken);
        match hide {
            true => kept.extend(piece.chars().map(|c| if c == '\n' { '\n' } else { ' ' })),
            false => kept.push_str(piece),
        }
        rest = behind;
    }
    kept
}

fn comment_length(rest: &str) -> Option<usize> {
    if rest.starts_with("//") {
        return Some(rest.find('\n').unwrap_or(rest.len()));
    }
    if !rest.starts_with("/*") {
        return None;
    }
    let (mut depth, mut at) = (0, 0);
    while at < rest.len() {
        match &rest.as_bytes()[at..] {
            [b'/', b'*', ..] => (depth, at) = (depth + 1, at + 2),
            [b'*', b'/', ..] => (depth, at) = (depth - 1, at + 2),
            _ => at += 1,
        }
        if depth == 0 {
            return Some(at);
        }
    }
    Some(rest.len())
}

fn raw_string_length(rest: &str, before: Option<char>) -> Option<usize> {
    if before.is_some_and(|c| c.is_alphanumeric() || c == '_') {
        return None;
    }
    let behind = rest.strip_prefix("br").or_else(|| rest.strip_prefix('r'))?;
    let hashes = behind.len() - behind.trim_start_matches('#').len();
    let body = behind[hashes..].strip_prefix('"')?;
    let end = format!("\"{}", "#".repeat(hashes));
    let opening = rest.len() - body.len();
    Some(body.find(&end).map_or(rest.len(), |at| opening + at + end.len()))
}

/// A string, or a character (which a lifetime is not: it has no closing quote behind one character).
fn literal_length(rest: &str) -> Option<usize> {
    let quote = rest.chars().next().filter(|c| matches!(c, '"' | '\''))?;
    let mut escaped = false;
    for (count, (at, c)) in rest.char_indices().skip(1).enumerate() {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            _ if c == quote => return Some(at + 1),
            _ if quote == '\'' && count > 0 && !rest.starts_with("'\\") => return None,
            _ => {}
        }
    }
    (quote == '"').then_some(rest.len())
}

/// Blanks each item behind `#[cfg(test)]`, up to its closing brace or semicolon. Expects blanked literals.
fn without_test_modules(code: &str) -> String {
    const MARK: &str = "#[cfg(test)]";
    let mut kept = String::with_capacity(code.len());
    let mut rest = code;
    while let Some(at) = rest.find(MARK) {
        kept.push_str(&rest[..at]);
        let end = at + MARK.len() + item_length(&rest[at + MARK.len()..]);
        kept.extend(rest[at..end].chars().map(|c| if c == '\n' { '\n' } else { ' ' }));
        rest = &rest[end..];
    }
    kept + rest
}

fn item_length(code: &str) -> usize {
    let mut depth = 0;
    for (at, c) in code.char_indices() {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            ';' if depth == 0 => return at + 1,
            _ => continue,
        }
        if c == '}' && depth == 0 {
            return at + 1;
        }
    }
    code.len()
}

fn rust_files(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).expect("the sources are there") {
        let path = entry.expect("a folder's entry is readable").path();
        if path.is_dir() {
            files.extend(rust_files(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    files.sort();
    files
}
