//! Why a use case did not do what it was asked. Mapped to SCIM, JSON and HTML in `http`, in one place each.

use std::time::Duration;

use crate::domain::lifecycle::Refusal;
use crate::domain::names::ClientName;
use crate::domain::secrets::Scope;
use crate::scim::ScimError;
use crate::store::StoreError;

#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// No token, an unknown, revoked or expired one. Which of these is not told.
    #[error("no valid bearer token")]
    Unauthorized,
    /// Signed in, but without the role that the console is for.
    #[error("this needs the role Account Admin in this account; ask one of its Account Admins to give it to you")]
    NotAccountAdmin,
    #[error("the token lacks the scope {0}")]
    MissingScope(Scope),
    #[error("{0}")]
    NotFound(String),
    /// A body, filter or path that the protocol refuses.
    #[error(transparent)]
    Protocol(#[from] ScimError),
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// G8: `attribute` belongs to somebody else.
    #[error("{attribute} is taken")]
    Taken { attribute: &'static str },
    /// G7: the resource is at another version than the request names.
    #[error("the resource has changed: it is at version {current} now")]
    PreconditionFailed { current: String },
    /// The request contradicts what is stored, or names what is not.
    #[error("{0}")]
    Invalid(String),
    /// There are as many as there may be. The text says what to do.
    #[error("{0}")]
    TooMany(String),
    /// An Account Admin has paused the client: it reads, and writes nothing.
    #[error(
        "an administrator of this account has paused the client {client}: nothing it sends is written until they \
         resume it; repeat the request later"
    )]
    Paused { client: ClientName, retry_after: Duration },
    /// The store was not there, or everybody wrote to the same document until the deadline.
    #[error("the store is not available: {reason}")]
    Unavailable { reason: String, retry_after: Duration },
    /// Stored data that cannot be read, or a batch that cannot be: a defect, for the log.
    #[error("internal error: {0}")]
    Internal(String),
}

impl From<StoreError> for Error {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Unavailable { reason } => Error::Unavailable { reason, retry_after: RETRY_AFTER },
            StoreError::Conflict(violation) => Error::Internal(format!("unhandled conflict: {:?}", violation.check)),
            StoreError::TooLarge { .. } | StoreError::Damaged(_) => Error::Internal(error.to_string()),
        }
    }
}

/// How long a client is asked to wait when the store is away.
pub const RETRY_AFTER: Duration = Duration::from_secs(5);

impl Error {
    pub fn damaged(what: &str, error: impl std::fmt::Display) -> Self {
        Error::Internal(format!("stored {what} cannot be read: {error}"))
    }
}

/// One of a list. A damaged document is left out and told to the operator by its id, so that it does not take the others
/// with it; asked for by itself it is an error. Reconciliation tells of it, too (`Readable`).
pub fn readable<T>(kind: impl std::fmt::Display, id: impl std::fmt::Display, read: Result<T, Error>) -> Option<T> {
    let told = |error: &Error| tracing::error!(%kind, %id, %error, "a damaged document is left out of a list");
    read.inspect_err(told).ok()
}
