//! By which releases the documents of a store were indexed.

use serde::Deserialize;

use crate::directory::{Error, accounts, keys};
use crate::store::{Item, Space, Store};

/// How many documents carry the index entries of which release.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct IndexVersions {
    pub older: u64,
    pub current: u64,
    /// This release must not write them.
    pub newer: u64,
}

/// Walks over the whole installation.
///
/// # Errors
/// Of the store.
pub async fn index_versions(store: &Store) -> Result<IndexVersions, Error> {
    #[derive(Deserialize)]
    struct Indexed {
        v: u32,
    }
    let mut versions = IndexVersions::default();
    for account in accounts::registry(store).await? {
        let mut items = store.walk(&Space::Account(account));
        while let Some(item) = items.recv().await {
            let Item::Document { document, .. } = item? else { continue };
            let Ok(Indexed { v }) = serde_json::from_slice(&document.state) else { continue };
            match v.cmp(&keys::INDEX_VERSION) {
                std::cmp::Ordering::Less => versions.older += 1,
                std::cmp::Ordering::Equal => versions.current += 1,
                std::cmp::Ordering::Greater => versions.newer += 1,
            }
        }
    }
    Ok(versions)
}
