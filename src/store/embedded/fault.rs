//! What can go wrong inside the embedded database.

use redb::{CommitError, StorageError, TableError, TransactionError};

#[derive(Debug)]
pub(super) enum Fault {
    /// The disk, or what is on it. redb answers nothing more until the file is opened again, so this ends the process.
    Broken(String),
    /// One value cannot be read.
    Damaged(String),
}

impl From<StorageError> for Fault {
    fn from(error: StorageError) -> Self {
        Fault::Broken(error.to_string())
    }
}

impl From<TableError> for Fault {
    fn from(error: TableError) -> Self {
        Fault::Broken(error.to_string())
    }
}

impl From<TransactionError> for Fault {
    fn from(error: TransactionError) -> Self {
        Fault::Broken(error.to_string())
    }
}

impl From<CommitError> for Fault {
    fn from(error: CommitError) -> Self {
        Fault::Broken(error.to_string())
    }
}
