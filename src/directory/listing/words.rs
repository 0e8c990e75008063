//! The words of a search.

use crate::directory::record::UserRecord;
use crate::domain::names::fold;

/// A word of a search, folded. `wide-light` is looked for as it stands (it may begin an address or an id) and by its
/// parts, since names are indexed by theirs.
pub(super) struct Word {
    pub whole: String,
    parts: Vec<String>,
}

impl Word {
    pub fn of(typed: &str) -> Self {
        let whole = fold(typed);
        let parts: Vec<String> =
            whole.split(|c: char| !c.is_alphanumeric()).filter(|part| !part.is_empty()).map(str::to_owned).collect();
        Word { parts: if parts.len() > 1 { parts } else { Vec::new() }, whole }
    }

    /// What begins an index entry of everybody whom this word fits.
    pub fn prefixes(&self) -> impl Iterator<Item = &str> {
        let longest = self.parts.iter().max_by_key(|part| part.len());
        [Some(&self.whole), longest].into_iter().flatten().map(String::as_str)
    }

    pub fn is_in(&self, record: &UserRecord) -> bool {
        let by_parts = !self.parts.is_empty() && self.parts.iter().all(|part| record.has_word(part));
        by_parts || record.has_word(&self.whole)
    }
}
