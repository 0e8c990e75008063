//! A walk over the names in a space, in pieces.

use std::ops::Bound;

use super::EmbeddedStore;
use super::fault::Fault;
use super::read::{pair, text};
use super::tables::{behind, space_key};
use crate::store::error::StoreError;
use crate::store::kinds::intern;
use crate::store::model::{Cursor, DocumentKey, Holders, Index, Names, Space};

/// So many names come at a time.
const AT_ONCE: usize = 1_000;

/// Which table a cursor is in; the name of the last row follows.
const IN_DOCUMENTS: char = 'd';
const IN_INDEXES: char = 'i';

impl EmbeddedStore {
    pub(in crate::store) async fn names(&self, space: &Space, after: Option<&Cursor>) -> Result<Names, StoreError> {
        let prefix = space_key(space);
        let cursor = after.map_or(String::from(IN_DOCUMENTS), |cursor| cursor.0.clone());
        self.view(move |view| {
            let mut at = cursor.chars();
            let in_indexes = at.next() == Some(IN_INDEXES);
            let after = [&prefix, at.as_str().as_bytes()].concat();
            let (from, end) = (Bound::Excluded(&after[..]), behind(&prefix));
            let span = (from, Bound::Excluded(&end[..]));
            let mut names = Names::default();
            let mut last = None;
            if in_indexes {
                // One row for each index that has an entry.
                for found in view.totals.range::<&[u8]>(span)?.take(AT_ONCE) {
                    let name = text(&found?.0.value()[prefix.len()..])?;
                    names.indexes.push(Index::new(&name));
                    last = Some(name);
                }
            } else {
                for found in view.documents.range::<&[u8]>(span)?.take(AT_ONCE) {
                    let key = found?.0;
                    let name = &key.value()[prefix.len()..];
                    let (kind, id) = pair(name)?;
                    names.documents.push(DocumentKey::new(intern(&kind), id));
                    last = Some(text(name)?);
                }
            }
            let full = names.documents.len() + names.indexes.len() == AT_ONCE;
            names.next = match (last.filter(|_| full), in_indexes) {
                (Some(last), false) => Some(Cursor(format!("{IN_DOCUMENTS}{last}"))),
                (Some(last), true) => Some(Cursor(format!("{IN_INDEXES}{last}"))),
                (None, false) => Some(Cursor(IN_INDEXES.to_string())),
                (None, true) => None,
            };
            Ok(names)
        })
        .await
    }

    pub(in crate::store) async fn holders(
        &self,
        space: &Space,
        unique: &str,
        after: Option<&Cursor>,
    ) -> Result<Holders, StoreError> {
        let prefix = [&space_key(space)[..], unique.as_bytes(), &[0]].concat();
        let after = after.map(|cursor| [&prefix[..], cursor.0.as_bytes()].concat());
        self.view(move |view| {
            let end = behind(&prefix);
            let from = after.as_ref().map_or(Bound::Included(&prefix[..]), |after| Bound::Excluded(&after[..]));
            let mut holders = Holders::default();
            for found in view.unique.range::<&[u8]>((from, Bound::Excluded(&end[..])))?.take(AT_ONCE) {
                let (key, id) = found?;
                holders.held.push((text(&key.value()[prefix.len()..])?, id.value().to_owned()));
            }
            if holders.held.len() == AT_ONCE {
                holders.next = holders.held.last().map(|(key, _)| Cursor(key.clone()));
            }
            Ok::<_, Fault>(holders)
        })
        .await
    }
}
