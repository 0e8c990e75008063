//! A whole installation as JSON Lines: a backup, and the way from one store to another.
//!
//! The file holds what the store holds, thing by thing, in the store's own words: documents, unique keys, index entries,
//! timers, counters and events of every account, and last of what belongs to no account. Each part ends with its count
//! and digest, so a file that was cut off or changed is found before anything is written, and a store that holds
//! something else than the file is found after. Invitation links are derived and tokens are hashed, so no secret is in
//! it; the signing keys are a file of their own, which has to come along.
//!
//! An import goes into an empty store and can be repeated until it is done: every batch leaves its number in the part
//! that it writes, in the same commit, so nothing is applied twice. A store whose import is not done is not served. One
//! whose import is done is served, but no timer is acted on and no mail leaves until `usherd resume`: the original may
//! still be running.

mod export;
mod format;
mod import;
mod person;
mod versions;

pub use export::{Exported, export};
pub use import::{Imported, import, resume};
pub use person::person;
pub use versions::{IndexVersions, index_versions};

use serde::{Deserialize, Serialize};

use super::error::Error;
use super::keys;
use crate::store::{Document, Space, Store, StoreError};

/// Why an export or an import did not come about. Nothing but a finished import is ever served.
#[derive(Debug, thiserror::Error)]
pub enum TransferError {
    #[error("{path} cannot be read: {source}")]
    Read { path: String, source: std::io::Error },
    #[error("line {line} of the export: {problem}")]
    File { line: u64, problem: String },
    #[error("{0}")]
    NotNow(String),
    #[error(transparent)]
    Store(#[from] Error),
}

impl From<StoreError> for TransferError {
    fn from(error: StoreError) -> Self {
        TransferError::Store(error.into())
    }
}

/// What a store that was imported into says of it, until `usherd resume`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImportState {
    /// Which export it is.
    pub export: String,
    pub cloned: bool,
    pub finished: bool,
}

impl ImportState {
    fn to_body(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("a state has only string keys")
    }
}

/// The import that this store went through and that nobody has resumed from.
///
/// # Errors
/// Of the store.
pub async fn import_state(store: &Store) -> Result<Option<ImportState>, StoreError> {
    Ok(stored_state(store).await?.map(|(_, state)| state))
}

async fn stored_state(store: &Store) -> Result<Option<(Document, ImportState)>, StoreError> {
    let document = store.get(&Space::Installation, &[keys::import_state()]).await?.pop().flatten();
    let read = |document: Document| {
        let state = serde_json::from_slice(&document.body);
        let state = state.map_err(|error| StoreError::Damaged(format!("the state of an import: {error}")))?;
        Ok((document, state))
    };
    document.map(read).transpose()
}
