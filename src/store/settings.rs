//! Which store, and how it is reached.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use redis::{ConnectionInfo, IntoConnectionInfo};

/// What [`super::Store::open`] needs to know.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The Redis to use; without one the embedded store is used.
    pub url: Option<StoreUrl>,
    /// The data directory. The embedded database is the file [`Settings::FILE`] in it.
    pub path: PathBuf,
    /// The first part of every Redis key, so that several programs can share one Redis.
    pub prefix: String,
    /// The installation that the store must belong to. `None` takes the one that it finds.
    pub installation: Option<String>,
    /// No call takes longer than this; behind it the answer is [`super::StoreError::Unavailable`].
    pub deadline: Duration,
    /// How much memory the embedded database may use for its pages.
    pub cache_bytes: usize,
}

impl Settings {
    /// The name of the embedded database in the data directory.
    pub const FILE: &'static str = "usherd.redb";
    pub const DEFAULT_PREFIX: &'static str = "usherd";
    pub const DEFAULT_DEADLINE: Duration = Duration::from_secs(5);
    /// redb's own default of 1 GiB is too much for a laptop.
    pub const DEFAULT_CACHE_BYTES: usize = 32 << 20;

    /// The embedded store in this directory, everything else at its default.
    pub fn embedded(path: impl Into<PathBuf>) -> Self {
        Settings {
            url: None,
            path: path.into(),
            prefix: Self::DEFAULT_PREFIX.to_owned(),
            installation: None,
            deadline: Self::DEFAULT_DEADLINE,
            cache_bytes: Self::DEFAULT_CACHE_BYTES,
        }
    }

    /// The Redis at this address, everything else at its default.
    pub fn redis(url: StoreUrl, path: impl Into<PathBuf>) -> Self {
        Settings { url: Some(url), ..Self::embedded(path) }
    }
}

/// The address of a Redis. Its password is in neither `Debug` nor `Display`.
#[derive(Clone)]
pub struct StoreUrl(pub(super) Topology);

/// The ways in which a Redis can be laid out.
#[derive(Clone)]
pub(super) enum Topology {
    Single(ConnectionInfo),
    /// The primary is whatever most of the sentinels say.
    Sentinel {
        sentinels: Vec<ConnectionInfo>,
        service: String,
        /// How to talk to the primary; its address is replaced by the one that the sentinels name.
        primary: ConnectionInfo,
    },
    Cluster(Vec<ConnectionInfo>),
}

/// Why a text is no address of a store. Names no part of the text, for it may hold a password.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidStoreUrl {
    #[error(
        "the address of a Redis begins with redis://, rediss:// (TLS), redis+sentinel:// or redis+cluster:// \
         (rediss+sentinel://, rediss+cluster:// for TLS)"
    )]
    Scheme,
    #[error("the address of a Redis reads scheme://[user:password@]host[:port][/database]")]
    Host,
    #[error(
        "the address of a Redis behind Sentinel reads redis+sentinel://[user:password@]host1[:port],host2[:port]/name[/database]"
    )]
    Sentinel,
    #[error("the address of a Redis Cluster reads redis+cluster://[user:password@]host1[:port],host2[:port]")]
    Cluster,
}

impl FromStr for StoreUrl {
    type Err = InvalidStoreUrl;

    fn from_str(text: &str) -> Result<Self, InvalidStoreUrl> {
        let (scheme, rest) = text.split_once("://").ok_or(InvalidStoreUrl::Scheme)?;
        let topology = match scheme {
            // The URL parser would take the list for one long name.
            "redis" | "rediss" if parts(rest).1.contains(',') => return Err(InvalidStoreUrl::Host),
            "redis" | "rediss" => Topology::Single(text.into_connection_info().map_err(|_| InvalidStoreUrl::Host)?),
            "redis+sentinel" => sentinel("redis", rest)?,
            "rediss+sentinel" => sentinel("rediss", rest)?,
            "redis+cluster" => cluster("redis", rest)?,
            "rediss+cluster" => cluster("rediss", rest)?,
            _ => return Err(InvalidStoreUrl::Scheme),
        };
        Ok(StoreUrl(topology))
    }
}

/// The credentials belong to the data nodes; the sentinels are asked without any, as is usual.
fn sentinel(scheme: &str, rest: &str) -> Result<Topology, InvalidStoreUrl> {
    let (credentials, hosts, path) = parts(rest);
    let (service, database) = match path.split_once('/') {
        Some((service, database)) => (service, database),
        None => (path, ""),
    };
    if service.is_empty() || service.contains('?') {
        return Err(InvalidStoreUrl::Sentinel);
    }
    let with_port = |host: &str| match host.rsplit_once(':') {
        Some((_, port)) if port.parse::<u16>().is_ok() => host.to_owned(),
        _ => format!("{host}:26379"),
    };
    let sentinels = connections(hosts.split(',').map(|host| format!("{scheme}://{}", with_port(host))));
    let primary = format!("{scheme}://{credentials}sentinel/{database}");
    Ok(Topology::Sentinel {
        sentinels: sentinels.ok_or(InvalidStoreUrl::Sentinel)?,
        service: service.to_owned(),
        primary: primary.into_connection_info().map_err(|_| InvalidStoreUrl::Sentinel)?,
    })
}

fn cluster(scheme: &str, rest: &str) -> Result<Topology, InvalidStoreUrl> {
    let (credentials, hosts, path) = parts(rest);
    // A cluster has no databases, so nothing may follow the hosts.
    if !path.is_empty() {
        return Err(InvalidStoreUrl::Cluster);
    }
    let nodes = connections(hosts.split(',').map(|host| format!("{scheme}://{credentials}{host}")));
    nodes.map(Topology::Cluster).ok_or(InvalidStoreUrl::Cluster)
}

/// `user:password@h1,h2/path` in three: the credentials keep their `@`.
fn parts(rest: &str) -> (&str, &str, &str) {
    let (credentials, rest) = rest.split_at(rest.rfind('@').map_or(0, |at| at + 1));
    let (hosts, path) = rest.split_once('/').unwrap_or((rest, ""));
    (credentials, hosts, path)
}

fn connections(urls: impl Iterator<Item = String>) -> Option<Vec<ConnectionInfo>> {
    urls.map(|url| url.into_connection_info().ok()).collect()
}

/// The kind and the hosts, nothing secret.
impl fmt::Display for StoreUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list =
            |nodes: &[ConnectionInfo]| nodes.iter().map(|node| node.addr().to_string()).collect::<Vec<_>>().join(",");
        match &self.0 {
            Topology::Single(node) => write!(f, "redis {}", node.addr()),
            Topology::Sentinel { sentinels, service, .. } => {
                write!(f, "redis {service} behind the sentinels {}", list(sentinels))
            }
            Topology::Cluster(nodes) => write!(f, "redis cluster {}", list(nodes)),
        }
    }
}

impl fmt::Debug for StoreUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "StoreUrl({self})")
    }
}

/// Why a store that bears this marker is not the one that is expected.
pub(super) fn wrong_installation(expected: &str, found: Option<&str>) -> String {
    match found {
        Some(found) => format!(
            "the store belongs to installation {found}, not to {expected}: check USHERD_STORE__URL and \
             USHERD_STORE__INSTALLATION"
        ),
        None => format!(
            "the store bears no installation marker, but {expected} is expected: if it is new, run `usherd init`; if it \
             is not, its data was lost and has to be restored"
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(url: &str) -> Result<String, InvalidStoreUrl> {
        url.parse::<StoreUrl>().map(|url| format!("{url:?}"))
    }

    #[test]
    fn every_form_of_address_is_read_and_shown_without_its_password() {
        for (url, wanted) in [
            ("redis://r.example", "StoreUrl(redis r.example:6379)"),
            ("rediss://u:secret@r.example:7000/3", "StoreUrl(redis r.example:7000)"),
            ("redis+sentinel://u:secret@s1,s2:7/main/2", "StoreUrl(redis main behind the sentinels s1:26379,s2:7)"),
            ("redis+cluster://:secret@c1:7001,c2:7002", "StoreUrl(redis cluster c1:7001,c2:7002)"),
        ] {
            assert_eq!(shown(url).as_deref(), Ok(wanted), "{url}");
        }
    }

    #[test]
    fn an_address_of_another_form_is_refused_with_the_form_it_should_have() {
        for (url, wanted) in [
            ("r.example:6379", InvalidStoreUrl::Scheme),
            ("http://r.example", InvalidStoreUrl::Scheme),
            ("redis://", InvalidStoreUrl::Host),
            ("redis://h1,h2", InvalidStoreUrl::Host),
            ("redis://host:port", InvalidStoreUrl::Host),
            ("redis://host/name", InvalidStoreUrl::Host),
            ("redis+sentinel://s1,s2", InvalidStoreUrl::Sentinel),
            ("redis+sentinel://s1/main?db=1", InvalidStoreUrl::Sentinel),
            ("redis+cluster://c1/2", InvalidStoreUrl::Cluster),
            ("redis+cluster://c1,,c2", InvalidStoreUrl::Cluster),
        ] {
            assert_eq!(shown(url), Err(wanted), "{url}");
        }
    }

    #[test]
    fn the_credentials_of_a_sentinel_address_are_those_of_the_primary() {
        let url: StoreUrl = "redis+sentinel://u:secret@s1/main/2".parse().unwrap();
        let Topology::Sentinel { sentinels, primary, .. } = url.0 else { panic!("a sentinel address") };
        assert_eq!(primary.redis_settings().password(), Some("secret"));
        assert_eq!(primary.redis_settings().db(), 2);
        assert_eq!(sentinels[0].redis_settings().password(), None);
    }
}
