//! What a Redis error means for the one who asked.

use redis::{ErrorKind, RedisError, ServerErrorKind};

use crate::store::error::StoreError;

/// A failed command, by what has to happen next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Failure {
    /// No answer in time. A write was usually applied when the server comes back: the outcome is unknown.
    Timeout,
    /// The connection broke, or spoke no Redis. The outcome is unknown.
    Dropped(String),
    /// Another server is the primary now, and this one did nothing.
    NotPrimary(String),
    /// The script has to be sent again: the server restarted, or its cache was flushed. Nothing was done.
    NoScript,
    /// The server is there and says no.
    Refused(String),
    /// A key holds a value of another type.
    Damaged(String),
}

impl Failure {
    pub(super) fn of(error: &RedisError) -> Self {
        if error.is_timeout() {
            return Failure::Timeout;
        }
        match error.kind() {
            ErrorKind::Io | ErrorKind::Parse | ErrorKind::ClusterConnectionNotFound => {
                Failure::Dropped(format!("the connection to Redis failed ({error})"))
            }
            ErrorKind::AuthenticationFailed => Failure::Refused(AUTHENTICATION.to_owned()),
            ErrorKind::UnexpectedReturnType => Failure::Damaged(error.to_string()),
            ErrorKind::MasterNameNotFoundBySentinel | ErrorKind::NoValidReplicasFoundBySentinel => {
                Failure::NotPrimary("the sentinels name no primary".to_owned())
            }
            ErrorKind::Server(ServerErrorKind::NoScript) => Failure::NoScript,
            ErrorKind::Server(ServerErrorKind::BusyLoading) => Failure::Refused(LOADING.to_owned()),
            ErrorKind::Server(ServerErrorKind::ReadOnly) => Failure::NotPrimary(READ_ONLY.to_owned()),
            ErrorKind::Server(ServerErrorKind::Moved | ServerErrorKind::Ask) => Failure::NotPrimary(
                "another node of the Redis cluster holds this account now (if USHERD_STORE__URL names a single node, \
                 write it as redis+cluster://host1,host2)"
                    .to_owned(),
            ),
            ErrorKind::Server(
                ServerErrorKind::TryAgain | ServerErrorKind::ClusterDown | ServerErrorKind::MasterDown,
            ) => Failure::Refused(format!("the Redis cluster is not ready: look at CLUSTER INFO ({error})")),
            _ => Self::by_code(error),
        }
    }

    /// The codes that redis-rs does not know by name. Of a pipeline the first error counts.
    fn by_code(error: &RedisError) -> Self {
        let errors = error.clone().into_server_errors();
        let code = errors.as_deref().and_then(|errors| errors.first()).map(|(_, error)| error.code());
        let reason = match code {
            Some("WRONGTYPE") => return Failure::Damaged("a key holds a value of another type".to_owned()),
            Some("OOM") => {
                "the memory of Redis is full (maxmemory): raise `maxmemory`, or free memory; nothing was written"
            }
            Some("MISCONF") => {
                "Redis cannot save to its disk and refuses writes (MISCONF): free disk space and look at the log of \
                 Redis"
            }
            Some("NOREPLICAS") => "Redis has too few replicas in touch (min-replicas-to-write) and refuses writes",
            Some("BUSY") => "Redis is busy with a script: wait, or end it with `SCRIPT KILL`",
            Some("NOAUTH" | "WRONGPASS") => AUTHENTICATION,
            Some("NOPERM") => {
                "the Redis user lacks rights: it needs +@all -@admin -@dangerous +info +role on the keys of the prefix"
            }
            _ => return Failure::Refused(format!("Redis refuses: {error}")),
        };
        Failure::Refused(reason.to_owned())
    }

    pub(super) fn into_error(self) -> StoreError {
        match self {
            Failure::Timeout => StoreError::unavailable("Redis did not answer in time"),
            Failure::NoScript => StoreError::unavailable("Redis forgot a script while it ran"),
            Failure::Dropped(reason) | Failure::NotPrimary(reason) | Failure::Refused(reason) => {
                StoreError::unavailable(reason)
            }
            Failure::Damaged(what) => StoreError::Damaged(what),
        }
    }
}

pub(super) const LOADING: &str = "Redis is loading its data set: wait until it has finished";
pub(super) const READ_ONLY: &str =
    "this Redis is a read-only replica: point USHERD_STORE__URL at the primary, or use redis+sentinel://";
const AUTHENTICATION: &str =
    "Redis refuses the user or the password: check the credentials in USHERD_STORE__URL against its ACL";

#[cfg(test)]
mod tests {
    use super::*;

    fn failure(code: &str) -> Failure {
        Failure::of(&redis::make_extension_error(code.to_owned(), Some("detail".to_owned())))
    }

    #[test]
    fn a_refusal_tells_the_operator_what_to_do() {
        for (code, hint) in [
            ("OOM", "maxmemory"),
            ("MISCONF", "free disk space"),
            ("NOREPLICAS", "min-replicas-to-write"),
            ("BUSY", "SCRIPT KILL"),
            ("WRONGPASS", "USHERD_STORE__URL"),
        ] {
            let Failure::Refused(reason) = failure(code) else { panic!("{code} is a refusal") };
            assert!(reason.contains(hint), "{code}: {reason}");
        }
        assert!(matches!(failure("WRONGTYPE"), Failure::Damaged(_)));
    }
}
