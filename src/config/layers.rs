//! The three layers laid over each other: the defaults compiled in, the file, the environment. A key that no layer may
//! set is found here, where it is still known who wrote it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use config::{Config, Environment, File, FileFormat, Map, Source, Value, ValueKind};

use super::mistakes::{Mistake, Origin, environment_name};

/// `config/default.toml`. It is also the list of all keys: what is not in it does not exist.
pub const DEFAULTS: &str = include_str!("../../config/default.toml");

/// Keys whose value is a table with names of its own.
const MAPS: [&str; 1] = ["provisioning.admit_domains"];

/// Keys whose value is a list of tables, for which the environment has no form.
const TABLES: [&str; 4] = ["roles.account", "roles.project", "licenses", "scim.issuers"];

/// The variable that sets a known key.
pub fn variable_of(key: &str) -> Option<String> {
    let tables = TABLES.iter().any(|table| key.starts_with(table));
    (!tables).then(|| environment_name(key))
}

/// The merged values, by full key, and who set them.
pub struct Layers {
    defaults: BTreeMap<String, ValueKind>,
    merged: BTreeMap<String, ValueKind>,
    in_file: BTreeSet<String>,
    in_environment: BTreeSet<String>,
}

impl Layers {
    /// Reads the file and lays the layers. What cannot be read is reported and left out, so that the rest can still be
    /// checked.
    pub fn gather(file: Option<&Path>, env: impl Iterator<Item = (String, String)>) -> (Self, Vec<Mistake>) {
        let mut mistakes = Vec::new();
        let defaults = File::from_str(DEFAULTS, FileFormat::Toml);
        let default_keys = keys_of(&defaults, |key| MAPS.contains(&key));
        let known = |key: &str| default_keys.contains_key(key);

        let text = file.map_or(Ok(String::new()), read).unwrap_or_else(|problem| {
            mistakes.push(about_the_file(problem, Origin::Default));
            String::new()
        });
        let mut written = File::from_str(&text, FileFormat::Toml);
        if let Err(error) = written.collect() {
            let problem = format!("not TOML: {}", sentence(&error));
            mistakes.push(about_the_file(problem, Origin::File));
            written = File::from_str("", FileFormat::Toml);
        }
        let in_file = keys_of(&written, known);
        for key in in_file.keys().filter(|key| !known(key)) {
            mistakes.push(unknown(key, Origin::File, &default_keys));
        }

        let (ours, strangers): (Vec<_>, Vec<_>) = env
            .filter_map(|(name, value)| key_of(&name).map(|key| (name, key, value)))
            .partition(|(_, key, _)| known(key));
        mistakes.extend(strangers.iter().map(|(_, key, _)| unknown(key, Origin::Environment, &default_keys)));
        let environment = Environment::with_prefix("USHERD")
            .prefix_separator("_")
            .separator("__")
            .ignore_empty(true)
            .source(Some(ours.into_iter().map(|(name, _, value)| (name, value)).collect::<Map<_, _>>()));

        let in_environment = environment.collect().unwrap_or_default().into_keys().collect();
        let merged = Config::builder()
            .add_source(defaults)
            .add_source(written)
            .add_source(environment)
            .build()
            .expect("each layer was read before");
        let layers = Layers {
            merged: keys_of(&merged, known),
            in_file: in_file.into_keys().collect(),
            in_environment,
            defaults: default_keys,
        };
        (layers, mistakes)
    }

    pub fn origin(&self, key: &str) -> Origin {
        if self.in_environment.contains(key) {
            Origin::Environment
        } else if self.in_file.contains(key) {
            Origin::File
        } else {
            Origin::Default
        }
    }

    /// The value of a key that `config/default.toml` has. Its default, when a wrong layer put a text where a section
    /// belongs: that was reported as an unknown key.
    pub fn value(&self, key: &str) -> &ValueKind {
        self.merged.get(key).unwrap_or_else(|| self.default(key))
    }

    pub fn default(&self, key: &str) -> &ValueKind {
        self.defaults.get(key).unwrap_or_else(|| panic!("{key} is not in config/default.toml"))
    }

    #[cfg(test)]
    pub fn keys(&self) -> impl Iterator<Item = &str> {
        self.defaults.keys().map(String::as_str)
    }
}

fn read(path: &Path) -> Result<String, String> {
    std::fs::read_to_string(path).map_err(|error| format!("{} cannot be read: {error}", path.display()))
}

/// The key that a variable sets; `None` for variables that are none of ours. Kubernetes sets `USHERD_PORT` and
/// `USHERD_SERVICE_HOST` for a Service named usherd, so that one without `__` says nothing.
fn key_of(name: &str) -> Option<String> {
    let rest = name.strip_prefix("USHERD_").filter(|rest| rest.contains("__"))?;
    Some(rest.to_lowercase().replace("__", "."))
}

/// All full keys of a source with their values, as far down as there are sections; `is_key` says where they end.
fn keys_of(source: &dyn Source, is_key: impl Fn(&str) -> bool) -> BTreeMap<String, ValueKind> {
    fn walk(
        prefix: &str,
        table: Map<String, Value>,
        is_key: &impl Fn(&str) -> bool,
        into: &mut BTreeMap<String, ValueKind>,
    ) {
        for (name, value) in table {
            let key = if prefix.is_empty() { name } else { format!("{prefix}.{name}") };
            match value.kind {
                ValueKind::Table(section) if !is_key(&key) => walk(&key, section, is_key, into),
                other => {
                    into.insert(key, other);
                }
            }
        }
    }
    let mut keys = BTreeMap::new();
    walk("", source.collect().unwrap_or_default(), &is_key, &mut keys);
    keys
}

fn about_the_file(problem: String, origin: Origin) -> Mistake {
    Mistake { key: "--config".to_owned(), variable: None, origin, problem }
}

fn unknown(key: &str, origin: Origin, known: &BTreeMap<String, ValueKind>) -> Mistake {
    let siblings = |section: &str| -> Vec<&str> {
        known.keys().filter_map(|known| known.strip_prefix(section)?.strip_prefix('.')).collect()
    };
    let spelled = |key: &str| match origin {
        Origin::Environment => environment_name(key),
        Origin::File | Origin::Default => key.to_owned(),
    };
    let extended = key.rsplit_once('.').map(|(parent, _)| parent).filter(|parent| known.contains_key(*parent));
    let section = key.rsplit_once('.').map_or("", |(section, _)| section);
    let problem = if !siblings(key).is_empty() {
        format!("a section, not a key: it has the keys {}", siblings(key).join(", "))
    } else if let Some(near) = extended.or_else(|| nearest(key, known.keys().map(String::as_str))) {
        format!("there is no such key; did you mean {}?", spelled(near))
    } else if !siblings(section).is_empty() {
        format!("there is no such key; [{section}] has {}", siblings(section).join(", "))
    } else {
        "there is no such key; docs/CONFIGURATION.md lists all".to_owned()
    };
    let variable = (origin == Origin::Environment).then(|| environment_name(key));
    Mistake { key: key.to_owned(), variable, origin, problem }
}

/// The known word that was probably meant: the right last part in another section, or at most a third of the letters
/// wrong.
pub fn nearest<'a>(word: &str, known: impl Iterator<Item = &'a str> + Clone) -> Option<&'a str> {
    let last = |key: &str| key.rsplit('.').next().map(str::to_owned);
    let closest = known.clone().min_by_key(|candidate| strsim::damerau_levenshtein(word, candidate));
    let near = closest.filter(|near| strsim::damerau_levenshtein(word, near) <= (near.len() / 3).clamp(1, 4));
    near.or_else(|| {
        let mut same = known.filter(|candidate| last(candidate) == last(word));
        same.next().filter(|_| same.next().is_none())
    })
}

/// A multi-line error on one line, without the excerpt of the file, which may show a secret.
fn sentence(error: &dyn std::error::Error) -> String {
    let is_excerpt = |line: &str| line.trim_start_matches(|c: char| c.is_ascii_digit() || c == ' ').starts_with('|');
    let text = error.to_string();
    let lines: Vec<_> = text.lines().filter(|line| !is_excerpt(line) && !line.trim().is_empty()).collect();
    lines.join(": ")
}
