//! Reads key after key and collects what is wrong, where deserialising into a struct would stop at the first mistake.
//! After a mistake the default stands in, so that the reading can go on.

use std::path::Path;

use config::{Map, Value, ValueKind};

use super::layers::{Layers, nearest, variable_of};
use super::mistakes::{Mistake, Origin, Warning};
use super::values::Expected;

pub struct Reader {
    layers: Layers,
    pub mistakes: Vec<Mistake>,
    pub warnings: Vec<Warning>,
    #[cfg(test)]
    pub asked: std::collections::BTreeSet<String>,
}

impl Reader {
    pub fn new(layers: Layers, mistakes: Vec<Mistake>) -> Self {
        Reader {
            layers,
            mistakes,
            warnings: Vec::new(),
            #[cfg(test)]
            asked: Default::default(),
        }
    }

    /// Whether a layer above the defaults gives the key a value, right or wrong.
    pub fn is_given(&self, key: &str) -> bool {
        self.layers.origin(key) != Origin::Default && text_of(self.layers.value(key)) != Ok(String::new())
    }

    /// Whether there is a mistake in this section or list.
    pub fn is_wrong(&self, section: &str) -> bool {
        let is_in =
            |key: &str| key.strip_prefix(section).is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']));
        self.mistakes.iter().any(|mistake| is_in(&mistake.key))
    }

    pub fn mistake(&mut self, key: &str, problem: impl Into<String>) {
        // `roles.account[2].name` was set where `roles.account` was.
        let origin = self.layers.origin(key.split('[').next().unwrap_or(key));
        let mistake = Mistake { key: key.to_owned(), variable: variable_of(key), origin, problem: problem.into() };
        self.mistakes.push(mistake);
    }

    pub fn warn(&mut self, key: &str, text: impl Into<String>) {
        self.warnings.push(Warning { key: key.to_owned(), text: text.into() });
    }

    /// A value that is always set.
    pub fn value<T>(&mut self, key: &str, parse: impl Fn(&str) -> Result<T, Expected>) -> T {
        match self.scalar(key).and_then(|text| parse(&text).map_err(|expected| about(&text, &expected))) {
            Ok(value) => value,
            Err(problem) => {
                self.mistake(key, problem);
                let default = text_of(self.layers.default(key)).ok().and_then(|text| parse(&text).ok());
                default.unwrap_or_else(|| panic!("the default of {key} is wrong"))
            }
        }
    }

    /// A value for which an empty text means that it is not set.
    pub fn optional<T>(&mut self, key: &str, parse: impl Fn(&str) -> Result<T, Expected>) -> Option<T> {
        self.value(key, |text| if text.is_empty() { Ok(None) } else { parse(text).map(Some) })
    }

    /// An array, or a text with commas. Each wrong element is a mistake of its own.
    pub fn list<T>(&mut self, key: &str, parse: impl Fn(&str) -> Result<T, Expected>) -> Vec<T> {
        let texts: Vec<Result<String, String>> = match self.ask(key) {
            ValueKind::Array(elements) => elements.iter().map(|element| text_of(&element.kind)).collect(),
            other => match text_of(&other) {
                Ok(text) => text.split(',').map(|part| Ok(part.trim().to_owned())).collect(),
                Err(_) => vec![Err("a table: write an array, [\"one\", \"two\"]".to_owned())],
            },
        };
        let mut values = Vec::new();
        for text in texts.into_iter().filter(|text| text.as_deref() != Ok("")) {
            match text.and_then(|text| parse(&text).map_err(|expected| about(&text, &expected))) {
                Ok(value) => values.push(value),
                Err(problem) => self.mistake(key, problem),
            }
        }
        values
    }

    /// A table of names with values, or a text `name=value,name=value`.
    pub fn pairs<T>(
        &mut self,
        key: &str,
        name: impl Fn(&str) -> Result<String, Expected>,
        parse: impl Fn(&str) -> Result<T, Expected>,
    ) -> Vec<(String, T)> {
        let mut texts: Vec<(String, Result<String, String>)> = match self.ask(key) {
            ValueKind::Table(table) => table.into_iter().map(|(name, value)| (name, text_of(&value.kind))).collect(),
            other => match text_of(&other) {
                Ok(text) if text.is_empty() => Vec::new(),
                Ok(text) => text.split(',').map(pair).collect(),
                Err(_) => vec![(String::new(), Err("a list: write a table, { \"name\" = \"value\" }".to_owned()))],
            },
        };
        texts.sort_by(|(left, _), (right, _)| left.cmp(right));
        let mut values = Vec::new();
        for (left, right) in texts {
            let read = right.and_then(|right| {
                let name = name(&left).map_err(|expected| about(&left, &expected))?;
                let value = parse(&right).map_err(|expected| about(&format!("{left} = {right}"), &expected))?;
                Ok((name, value))
            });
            match read {
                Ok(pair) => values.push(pair),
                Err(problem) => self.mistake(key, problem),
            }
        }
        values
    }

    /// A secret, from `key` or from the file that `key_file` names. Its text is in no mistake.
    pub fn secret<T>(&mut self, key: &str, parse: impl Fn(&str) -> Result<T, Expected>) -> Option<T> {
        let file_key = format!("{key}_file");
        let inline = self.scalar(key).unwrap_or_else(|problem| {
            self.mistake(key, problem);
            String::new()
        });
        let path = self.optional(&file_key, super::values::path);
        let (key, text) = match path {
            None => (key, Some(inline)),
            Some(_) if !inline.is_empty() => {
                self.mistake(&file_key, format!("{key} is set as well: set only one of the two"));
                return None;
            }
            Some(path) => (file_key.as_str(), self.secret_in(&file_key, &path)),
        };
        let text = text.filter(|text| !text.is_empty())?;
        match parse(&text) {
            Ok(value) => Some(value),
            Err(expected) => {
                self.mistake(key, format!("its value (not shown) is refused: {expected}"));
                None
            }
        }
    }

    fn secret_in(&mut self, key: &str, path: &Path) -> Option<String> {
        match std::fs::read_to_string(path) {
            Ok(text) if text.trim().is_empty() => {
                self.mistake(key, format!("{} is empty", path.display()));
                None
            }
            // Editors and `echo` end a file with a line break that is no part of the secret.
            Ok(text) => Some(text.trim_end_matches(['\r', '\n']).to_owned()),
            Err(error) => {
                self.mistake(key, format!("{} cannot be read: {error}", path.display()));
                None
            }
        }
    }

    /// The entries of a list of tables, which only a file can hold.
    pub fn tables(&mut self, key: &str) -> Vec<Entry> {
        let malformed = format!("not a list of tables: write [[{key}]] in a file given with --config");
        let ValueKind::Array(elements) = self.ask(key) else {
            self.mistake(key, malformed);
            return Vec::new();
        };
        let mut entries = Vec::new();
        for (index, element) in elements.into_iter().enumerate() {
            match element.kind {
                ValueKind::Table(fields) => entries.push(Entry { key: format!("{key}[{index}]"), fields }),
                _ => self.mistake(key, malformed.clone()),
            }
        }
        entries
    }

    fn scalar(&mut self, key: &str) -> Result<String, String> {
        text_of(&self.ask(key))
    }

    fn ask(&mut self, key: &str) -> ValueKind {
        #[cfg(test)]
        self.asked.insert(key.to_owned());
        self.layers.value(key).clone()
    }
}

/// One table of a list. Each field is taken out as it is read; what is left at the end is unknown.
pub struct Entry {
    /// `roles.account[2]`.
    key: String,
    fields: Map<String, Value>,
}

impl Entry {
    pub fn key(&self) -> &str {
        &self.key
    }

    pub fn required<T>(
        &mut self,
        reader: &mut Reader,
        field: &str,
        parse: impl Fn(&str) -> Result<T, Expected>,
    ) -> Option<T> {
        let value = self.optional(reader, field, &parse);
        if value.is_none() && !reader.mistakes.iter().any(|mistake| mistake.key == format!("{}.{field}", self.key)) {
            reader.mistake(&format!("{}.{field}", self.key), "missing");
        }
        value
    }

    pub fn optional<T>(
        &mut self,
        reader: &mut Reader,
        field: &str,
        parse: impl Fn(&str) -> Result<T, Expected>,
    ) -> Option<T> {
        let value = self.fields.remove(field)?;
        match text_of(&value.kind).and_then(|text| parse(&text).map_err(|expected| about(&text, &expected))) {
            Ok(value) => Some(value),
            Err(problem) => {
                reader.mistake(&format!("{}.{field}", self.key), problem);
                None
            }
        }
    }

    pub fn texts(&mut self, reader: &mut Reader, field: &str) -> Vec<String> {
        let elements = match self.fields.remove(field).map(|value| value.kind) {
            None => return Vec::new(),
            Some(ValueKind::Array(elements)) => elements,
            Some(_) => {
                reader.mistake(&format!("{}.{field}", self.key), "not a list: write [\"one\", \"two\"]");
                return Vec::new();
            }
        };
        elements.iter().filter_map(|element| text_of(&element.kind).ok()).collect()
    }

    /// Reports the fields that nobody asked for.
    pub fn finish(self, reader: &mut Reader, known: &[&'static str]) {
        let mut left: Vec<_> = self.fields.into_keys().collect();
        left.sort();
        for field in left {
            let problem = match nearest(&field, known.iter().copied()) {
                Some(near) => format!("there is no such key; did you mean {near}?"),
                None => format!("there is no such key; the keys are {}", known.join(", ")),
            };
            reader.mistake(&format!("{}.{field}", self.key), problem);
        }
    }
}

/// Texts, numbers and switches are all read from a text, because the environment has nothing else.
fn text_of(value: &ValueKind) -> Result<String, String> {
    match value {
        ValueKind::Nil => Ok(String::new()),
        ValueKind::String(text) => Ok(text.clone()),
        ValueKind::Boolean(_)
        | ValueKind::I64(_)
        | ValueKind::I128(_)
        | ValueKind::U64(_)
        | ValueKind::U128(_)
        | ValueKind::Float(_) => Ok(value.to_string()),
        ValueKind::Table(_) => Err("a table where a single value belongs".to_owned()),
        ValueKind::Array(_) => Err("a list where a single value belongs".to_owned()),
    }
}

fn pair(text: &str) -> (String, Result<String, String>) {
    match text.split_once('=') {
        Some((name, value)) => (name.trim().to_owned(), Ok(value.trim().to_owned())),
        None => (String::new(), Err(about(text, "not a pair: write name=value"))),
    }
}

fn about(text: &str, expected: &str) -> String {
    format!("{text:?} is {expected}")
}
