//! Which members of an index a range takes, in bytes. A member is `key NUL id`; the order of the members is the order
//! of the entries, since no key contains NUL. Both backends keep these very bytes.

use std::ops::Bound;

use super::model::{Bounds, Entry};

/// Between NUL and every other byte.
const BEHIND_NUL: u8 = 1;
/// Behind every byte of UTF-8.
const BEHIND_TEXT: u8 = 0xff;

pub(super) fn member(entry: &Entry) -> Vec<u8> {
    [entry.key.as_bytes(), &[0], entry.id.as_bytes()].concat()
}

/// The entry of a member; `None` when it is none. Ids never contain NUL, so the last one separates.
pub(super) fn entry(member: &[u8]) -> Option<Entry> {
    let (key, id) = std::str::from_utf8(member).ok()?.rsplit_once('\0')?;
    Some(Entry { key: key.to_owned(), id: id.to_owned() })
}

/// A part of an index.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Span {
    pub(super) lower: Bound<Vec<u8>>,
    /// Never inclusive.
    pub(super) upper: Bound<Vec<u8>>,
}

impl Span {
    /// What the bounds leave behind `after`, in the direction of reading.
    pub(super) fn of(bounds: &Bounds, after: Option<&Entry>, reverse: bool) -> Self {
        let with = |text: &str, end: u8| [text.as_bytes(), &[end]].concat();
        let (lower, upper) = match bounds {
            Bounds::All => (Bound::Unbounded, Bound::Unbounded),
            Bounds::Key(key) => (Bound::Included(with(key, 0)), Bound::Excluded(with(key, BEHIND_NUL))),
            Bounds::Since { key, id } => {
                let from = [key.as_bytes(), &[0], id.as_bytes()].concat();
                (Bound::Included(from), Bound::Excluded(with(key, BEHIND_NUL)))
            }
            Bounds::Prefix(text) => {
                (Bound::Included(text.as_bytes().to_vec()), Bound::Excluded(with(text, BEHIND_TEXT)))
            }
            Bounds::Between { from, to } => (
                from.as_ref().map_or(Bound::Unbounded, |from| Bound::Included(from.as_bytes().to_vec())),
                to.as_ref().map_or(Bound::Unbounded, |to| Bound::Excluded(with(to, BEHIND_NUL))),
            ),
        };
        let Some(after) = after.map(member) else { return Span { lower, upper } };
        let beyond = |bound: &Bound<Vec<u8>>| match bound {
            Bound::Unbounded => true,
            Bound::Included(limit) | Bound::Excluded(limit) if reverse => after < *limit,
            Bound::Included(limit) | Bound::Excluded(limit) => after >= *limit,
        };
        if reverse {
            let upper = if beyond(&upper) { Bound::Excluded(after) } else { upper };
            Span { lower, upper }
        } else {
            let lower = if beyond(&lower) { Bound::Excluded(after) } else { lower };
            Span { lower, upper }
        }
    }

    /// Whether the span ends before it begins. Not every empty span does.
    pub(super) fn is_void(&self) -> bool {
        match (&self.lower, &self.upper) {
            (Bound::Unbounded, _) | (_, Bound::Unbounded) => false,
            (Bound::Included(lower) | Bound::Excluded(lower), Bound::Included(upper) | Bound::Excluded(upper)) => {
                lower >= upper
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(key: &str, id: &str) -> Entry {
        Entry { key: key.into(), id: id.into() }
    }

    #[test]
    fn a_member_reads_back_as_its_entry() {
        assert_eq!(member(&at("müller", "7")), b"m\xc3\xbcller\x007");
        assert_eq!(entry(b"m\xc3\xbcller\x007"), Some(at("müller", "7")));
        assert_eq!(entry(b"no separator"), None);
        assert_eq!(entry(b"\xff\x007"), None);
    }

    #[test]
    fn the_cursor_narrows_the_bounds_and_never_widens_them() {
        let key = Bounds::Key("b".into());
        let (lower, upper) = (Bound::Included(b"b\0".to_vec()), Bound::Excluded(b"b\x01".to_vec()));
        let whole = Span { lower: lower.clone(), upper: upper.clone() };
        assert_eq!(Span::of(&key, None, false), whole);
        assert_eq!(Span::of(&key, Some(&at("a", "9")), false), whole);
        assert_eq!(Span::of(&key, Some(&at("c", "0")), true), whole);
        let middle = Bound::Excluded(b"b\x005".to_vec());
        assert_eq!(Span::of(&key, Some(&at("b", "5")), false), Span { lower: middle.clone(), upper });
        assert_eq!(Span::of(&key, Some(&at("b", "5")), true), Span { lower, upper: middle });
        assert!(Span::of(&key, Some(&at("c", "0")), false).is_void());
        assert!(Span::of(&key, Some(&at("a", "0")), true).is_void());
    }
}
