//! What is asked of a Redis before anything is written to it.

use redis::{RedisError, Value, from_redis_value_ref};

use super::SCHEMA;
use super::connection::Connection;
use super::keys::Keys;
use super::refusal::{Failure, LOADING, READ_ONLY};
use crate::domain::time::Timestamp;

/// A Redis that can be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Greeting {
    pub(super) now: Timestamp,
    /// The installation marker.
    pub(super) installation: Option<String>,
    /// Whether it keeps an append-only file.
    pub(super) durable: bool,
}

/// Why a Redis cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum Unfit {
    /// Waiting may mend it.
    #[error("{0}")]
    Unavailable(String),
    #[error("Redis may evict keys (maxmemory-policy {0}): set `maxmemory-policy noeviction`")]
    Evicting(String),
    #[error("the store has schema {0}, which is newer than this usherd ({SCHEMA}): upgrade usherd")]
    NewerSchema(u64),
}

impl From<RedisError> for Unfit {
    fn from(error: RedisError) -> Self {
        Failure::of(&error).into()
    }
}

impl From<Failure> for Unfit {
    fn from(failure: Failure) -> Self {
        Unfit::Unavailable(match failure {
            Failure::Timeout => "Redis did not answer in time".to_owned(),
            Failure::NoScript => "Redis forgot a script".to_owned(),
            Failure::Dropped(reason)
            | Failure::NotPrimary(reason)
            | Failure::Refused(reason)
            | Failure::Damaged(reason) => reason,
        })
    }
}

pub(super) async fn examine(connection: &mut Connection, keys: &Keys) -> Result<Greeting, Unfit> {
    let mut durable = true;
    // INFO is answered while the server loads, and in a cluster once by every primary.
    for info in connection.infos().await? {
        let field = |name| field(&info, name);
        if field("loading") == Some("1") {
            return Err(Unfit::Unavailable(LOADING.to_owned()));
        }
        if field("role") == Some("slave") {
            return Err(Unfit::Unavailable(READ_ONLY.to_owned()));
        }
        if let Some(policy) = field("maxmemory_policy").filter(|policy| *policy != "noeviction") {
            return Err(Unfit::Evicting(policy.to_owned()));
        }
        durable &= field("aof_enabled") != Some("0");
    }
    let mut asked = redis::pipe();
    asked.cmd("GET").arg(keys.schema()).cmd("GET").arg(keys.installation());
    let (schema, installation): (Option<u64>, Option<String>) = asked.query_async(connection).await?;
    if let Some(newer) = schema.filter(|schema| *schema > SCHEMA) {
        return Err(Unfit::NewerSchema(newer));
    }
    let time = connection.ask_primary_of(&keys.schema(), redis::cmd("TIME")).await?;
    let now = instant(&time).ok_or_else(|| Unfit::Unavailable("Redis does not tell the time".to_owned()))?;
    Ok(Greeting { now, installation, durable })
}

/// A line of INFO: `name:value`.
fn field<'a>(info: &'a str, name: &str) -> Option<&'a str> {
    info.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).map(str::trim)
}

/// `master` or `slave`, from a reply to INFO replication.
pub(super) fn role(info: &Value) -> Option<String> {
    let info: String = from_redis_value_ref(info).ok()?;
    field(&info, "role").map(str::to_owned)
}

/// The reply to TIME: seconds and microseconds.
pub(super) fn instant(time: &Value) -> Option<Timestamp> {
    let (seconds, micros): (i64, i64) = from_redis_value_ref(time).ok()?;
    Some(Timestamp::from_millis(seconds * 1000 + micros / 1000))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_field_of_info_is_found_by_its_whole_name() {
        let info = "# Memory\r\nmaxmemory:0\r\nmaxmemory_policy:allkeys-lru\r\n";
        assert_eq!(field(info, "maxmemory_policy"), Some("allkeys-lru"));
        assert_eq!(field(info, "maxmemory"), Some("0"));
        assert_eq!(field(info, "memory"), None);
    }
}
