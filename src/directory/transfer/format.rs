//! The lines of an export.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use uuid::Uuid;

use crate::domain::ids::{AccountId, CommitId};
use crate::domain::time::Timestamp;
use crate::store::{Document, Entry, Item};

/// The version of the format that this release writes and reads.
pub(super) const FORMAT: u32 = 1;

/// One line. The first is the header, then come the parts: a space, its things, its end; then the end of the whole.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub(super) enum Line {
    Usherd(Header),
    /// An account, or what belongs to none.
    Space(Option<AccountId>),
    Document {
        kind: String,
        id: String,
        revision: u64,
        created: Timestamp,
        modified: Timestamp,
        #[serde(default, skip_serializing_if = "is_none")]
        memberships: u64,
        body: Content,
        #[serde(default, skip_serializing_if = "Content::is_empty")]
        state: Content,
    },
    Unique {
        unique: String,
        key: String,
        id: String,
    },
    Entry {
        index: String,
        key: String,
        id: String,
    },
    Timer {
        kind: String,
        id: String,
        due: Timestamp,
    },
    Counter {
        name: String,
        value: i64,
    },
    Event(Content),
    End(Tally),
    Whole {
        spaces: u64,
    },
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Header {
    pub format: u32,
    /// Of the usherd that wrote it, for people.
    pub version: String,
    pub installation: String,
    pub made: Timestamp,
    /// Tells this export from every other.
    pub id: Uuid,
}

/// Stored bytes: text, which all that usherd stores is, or base64 of something else.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(untagged)]
pub(super) enum Content {
    Text(String),
    Other {
        base64: String,
    },
    #[default]
    Empty,
}

impl Content {
    fn is_empty(&self) -> bool {
        *self == Content::Empty
    }

    fn of(bytes: &[u8]) -> Self {
        match std::str::from_utf8(bytes) {
            Ok("") => Content::Empty,
            Ok(text) => Content::Text(text.to_owned()),
            Err(_) => Content::Other { base64: STANDARD.encode(bytes) },
        }
    }

    fn into_bytes(self) -> Result<Bytes, base64::DecodeError> {
        Ok(match self {
            Content::Text(text) => text.into(),
            Content::Other { base64 } => STANDARD.decode(base64)?.into(),
            Content::Empty => Bytes::new(),
        })
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands over references")]
fn is_none(count: &u64) -> bool {
    *count == 0
}

impl From<Item> for Line {
    fn from(item: Item) -> Self {
        match item {
            Item::Document { kind, id, document } => Line::Document {
                kind,
                id,
                revision: document.revision,
                created: document.created,
                modified: document.modified,
                memberships: document.memberships,
                body: Content::of(&document.body),
                state: Content::of(&document.state),
            },
            Item::Unique { unique, key, id } => Line::Unique { unique, key, id },
            Item::Entry { index, entry } => Line::Entry { index, key: entry.key, id: entry.id },
            Item::Timer { kind, id, due } => Line::Timer { kind, id, due },
            Item::Counter { name, value } => Line::Counter { name, value },
            Item::Event { body } => Line::Event(Content::of(&body)),
        }
    }
}

impl Line {
    /// As it stands in the file, the line feed included.
    pub(super) fn to_text(&self) -> String {
        let mut text = serde_json::to_string(self).expect("a line has only string keys");
        text.push('\n');
        text
    }

    /// The thing that this line brings into a store; `None` for the lines between.
    pub(super) fn into_item(self) -> Result<Option<Item>, base64::DecodeError> {
        Ok(Some(match self {
            Line::Document { kind, id, revision, created, modified, memberships, body, state } => {
                // The batch that writes it gives it another.
                let commit = CommitId::from_uuid(Uuid::nil());
                let (body, state) = (body.into_bytes()?, state.into_bytes()?);
                let document = Document { revision, commit, created, modified, memberships, body, state };
                Item::Document { kind, id, document }
            }
            Line::Unique { unique, key, id } => Item::Unique { unique, key, id },
            Line::Entry { index, key, id } => Item::Entry { index, entry: Entry { key, id } },
            Line::Timer { kind, id, due } => Item::Timer { kind, id, due },
            Line::Counter { name, value } => Item::Counter { name, value },
            Line::Event(body) => Item::Event { body: body.into_bytes()? },
            Line::Usherd(_) | Line::Space(_) | Line::End(_) | Line::Whole { .. } => return Ok(None),
        }))
    }
}

/// How many things there are in a space, and the sum of their digests: the same whatever order a store hands them over
/// in. Guards against loss and accidents, not against somebody who wants to forge a file.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Tally {
    pub things: u64,
    pub digest: Sum,
}

impl Tally {
    /// Adds a line as it stands in the file.
    pub(super) fn add(&mut self, text: &str) {
        self.things += 1;
        self.digest.add(Sha256::digest(text.trim_end()).into());
    }
}

/// Digests, added up modulo 2^256.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub(super) struct Sum([u8; 32]);

impl Sum {
    fn add(&mut self, digest: [u8; 32]) {
        let mut carry = 0;
        for (sum, digit) in self.0.iter_mut().zip(digest).rev() {
            let [high, low] = (u16::from(*sum) + u16::from(digit) + carry).to_be_bytes();
            *sum = low;
            carry = u16::from(high);
        }
    }
}

impl fmt::Display for Sum {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl From<Sum> for String {
    fn from(sum: Sum) -> Self {
        sum.to_string()
    }
}

impl TryFrom<String> for Sum {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        let digit = |at: usize| text.get(at * 2..at * 2 + 2).and_then(|pair| u8::from_str_radix(pair, 16).ok());
        let mut sum = [0; 32];
        for (at, byte) in sum.iter_mut().enumerate() {
            *byte = digit(at).filter(|_| text.len() == 64).ok_or("a digest has 64 hexadecimal digits")?;
        }
        Ok(Sum(sum))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thing_reads_back_from_its_line() {
        let document = Document {
            revision: 7,
            commit: CommitId::from_uuid(Uuid::nil()),
            created: Timestamp::from_millis(1),
            modified: Timestamp::from_millis(1_767_225_600_123),
            memberships: 2,
            body: Bytes::from_static(b"{\"userName\":\"\xc3\xa5sa\"}"),
            state: Bytes::from_static(b"\xff\x00"),
        };
        let entry = Entry { key: "a\u{1f}b".to_owned(), id: String::new() };
        for item in [
            Item::Document { kind: "user".into(), id: "1".into(), document },
            Item::Unique { unique: "user.userName".into(), key: "åsa".into(), id: "1".into() },
            Item::Entry { index: "user".into(), entry },
            Item::Timer { kind: "user".into(), id: "1".into(), due: Timestamp::from_millis(-5) },
            Item::Counter { name: "admins".into(), value: -3 },
            Item::Event { body: Bytes::new() },
        ] {
            let text = Line::from(item.clone()).to_text();
            let line: Line = serde_json::from_str(&text).unwrap();
            assert_eq!(line.into_item().unwrap(), Some(item), "{text}");
        }
    }

    #[test]
    fn a_tally_depends_on_what_there_is_and_not_on_its_order() {
        let tally = |lines: &[&str]| {
            let mut tally = Tally::default();
            lines.iter().for_each(|line| tally.add(line));
            tally
        };
        assert_eq!(tally(&["a", "b\n", "c"]), tally(&["c\n", "a", "b"]));
        for other in [&["a", "b"][..], &["a", "b", "c", "c"], &["a", "b", "d"], &["a", "bc", ""]] {
            assert_ne!(tally(other), tally(&["a", "b", "c"]), "{other:?}");
        }
    }

    #[test]
    fn a_sum_carries_and_is_written_as_hexadecimal_digits() {
        let mut sum = Sum([0xff; 32]);
        let mut one = [0; 32];
        one[31] = 1;
        sum.add(one);
        assert_eq!(sum, Sum::default());
        sum.add(one);
        let text = String::from(sum.clone());
        assert_eq!(text, format!("{:0>64}", 1));
        assert_eq!(Sum::try_from(text), Ok(sum));
        for bad in ["", "zz", &"0".repeat(63), &"0".repeat(66), &"é".repeat(32)] {
            assert!(Sum::try_from(bad.to_owned()).is_err(), "{bad}");
        }
    }
}
