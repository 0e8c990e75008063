//! CSV (RFC 4180) as spreadsheets and identity providers write it, read record by record, whatever the size of the file.

use std::fmt;
use std::io::{BufRead, Read};

/// What is wrong with a file, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mistake {
    pub at: usize,
    pub what: String,
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: {}", self.at, self.what)
    }
}

/// A longer line is none of a list of people.
const MAX_LINE: usize = 256 * 1024;
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// Lines with their numbers, none of them too long.
pub(super) struct Lines<R> {
    pub reader: R,
    pub number: usize,
}

impl<R: BufRead> Lines<R> {
    pub fn of(reader: R) -> Self {
        Lines { reader, number: 0 }
    }

    /// The first line, or as much of it as a line may have, without a byte order mark.
    pub fn first(&mut self) -> Result<Vec<u8>, Mistake> {
        let Some(first) = self.next_start()? else {
            return Err(Mistake { at: 1, what: "the file is empty".to_owned() });
        };
        Ok(first.strip_prefix(BYTE_ORDER_MARK).map_or_else(|| first.clone(), <[u8]>::to_vec))
    }

    /// The next line, or as much of it as a line may have.
    fn next_start(&mut self) -> Result<Option<Vec<u8>>, Mistake> {
        let mut line = Vec::new();
        self.number += 1;
        let limit = u64::try_from(MAX_LINE).unwrap_or(u64::MAX);
        let read = self.reader.by_ref().take(limit).read_until(b'\n', &mut line);
        read.map_err(|error| Mistake { at: self.number, what: format!("cannot be read: {error}") })?;
        Ok((!line.is_empty()).then_some(line))
    }

    pub fn next(&mut self) -> Result<Option<String>, Mistake> {
        match self.next_start()? {
            Some(line) if line.len() == MAX_LINE => {
                Err(Mistake { at: self.number, what: format!("longer than {MAX_LINE} bytes") })
            }
            Some(line) => text(line, self.number).map(Some),
            None => Ok(None),
        }
    }
}

pub(super) fn text(line: Vec<u8>, at: usize) -> Result<String, Mistake> {
    String::from_utf8(line).map_err(|_| Mistake { at, what: "not UTF-8 text: save the file as UTF-8".to_owned() })
}

/// A file whose first line names its columns.
pub(super) struct Table<R> {
    lines: Lines<R>,
    separator: char,
    pub columns: Vec<String>,
}

/// One record, and the line that it begins in.
pub(super) struct Record {
    pub at: usize,
    /// As many as there are columns; else what is wrong.
    pub values: Result<Vec<String>, String>,
}

impl<R: BufRead> Table<R> {
    /// Excel separates by semicolons where a comma is in numbers, and by tabs what is copied from it.
    pub fn of(header: &str, lines: Lines<R>) -> Self {
        let often = |separator: &char| header.matches(*separator).count();
        let separator = [',', ';', '\t'].into_iter().rev().max_by_key(often).unwrap_or(',');
        Table { lines, separator, columns: fields(header, separator) }
    }

    /// # Errors
    /// A [`Mistake`] after which nothing more can be read.
    pub fn next(&mut self) -> Result<Option<Record>, Mistake> {
        while let Some(mut record) = self.lines.next()? {
            let at = self.lines.number;
            // A quoted field may have line breaks in it.
            while record.matches('"').count() % 2 == 1 {
                let more = self.lines.next()?.filter(|more| record.len() + more.len() <= MAX_LINE);
                record += &more.ok_or_else(|| Mistake { at, what: "a quoted field does not end".to_owned() })?;
            }
            if record.trim().is_empty() {
                continue;
            }
            let (values, wanted) = (fields(&record, self.separator), self.columns.len());
            let values = match values.len() == wanted {
                true => Ok(values),
                false => Err(format!("{} fields, where the first line names {wanted} columns", values.len())),
            };
            return Ok(Some(Record { at, values }));
        }
        Ok(None)
    }
}

/// The name of a column as it is looked up: letters and digits, folded.
pub(super) fn plain(name: &str) -> String {
    name.chars().filter(char::is_ascii_alphanumeric).collect::<String>().to_ascii_lowercase()
}

/// The fields of a record (RFC 4180 §2): quoted or not, a doubled quote within quotes is one.
fn fields(record: &str, separator: char) -> Vec<String> {
    let mut fields = vec![String::new()];
    let mut quoted = false;
    let mut characters = record.trim_end_matches(['\r', '\n']).chars().peekable();
    while let Some(character) = characters.next() {
        let field = fields.last_mut().expect("there is always one");
        match character {
            '"' if quoted && characters.peek() == Some(&'"') => {
                field.push('"');
                characters.next();
            }
            '"' => quoted = !quoted,
            _ if character == separator && !quoted => fields.push(String::new()),
            _ => field.push(character),
        }
    }
    fields
}
