//! How often one client may ask. Limits are per process: with several replicas each grants its own share.
//!
//! The maps are bounded: every `SWEEP_EVERY` checks, entries that have recovered are dropped, and while more than
//! `MAX_KEYS` are left, new and old keys share one bucket. Only a flood from very many sources gets there, and then
//! strangers are slowed down together.

use std::hash::{BuildHasher, Hash, RandomState};
use std::net::{IpAddr, Ipv6Addr};
use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use governor::clock::{Clock, DefaultClock};
use governor::middleware::NoOpMiddleware;
use governor::state::keyed::DashMapStateStore;
use governor::{Quota, RateLimiter};
use tokio_util::sync::CancellationToken;

use crate::domain::ids::TokenId;
use crate::metrics::{LimitKind, Metrics};

const MAX_KEYS: usize = 100_000;
const SWEEP_EVERY: u64 = 4096;
/// How often [`Limits::sweep_until`] forgets those who have been quiet.
const SWEEP_INTERVAL: Duration = Duration::from_secs(60);

/// `count` requests every `per`, and up to `burst` at once after a quiet time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rate {
    pub count: NonZeroU32,
    pub per: Duration,
    pub burst: NonZeroU32,
}

impl Rate {
    /// A period of no length, or more requests than it has nanoseconds, is no limit: `None`.
    pub fn quota(self) -> Option<Quota> {
        Quota::with_period(self.per / self.count.get()).map(|quota| quota.allow_burst(self.burst))
    }
}

/// `None` switches a limit off.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct LimitSettings {
    /// Per provisioning token, on SCIM and API requests.
    pub token: Option<Rate>,
    /// Per client address, on requests that carry no valid credential.
    pub stranger: Option<Rate>,
    /// Per mail address that asks for a sign-in code or a new link.
    pub sign_in: Option<Rate>,
}

/// The answer to one who asks too often (429).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Throttled {
    pub limit: LimitKind,
    pub wait: Duration,
}

impl Throttled {
    /// For `Retry-After`: whole seconds, rounded up, at least one.
    pub fn retry_after(self) -> u64 {
        let rounded = self.wait.as_secs() + u64::from(self.wait.subsec_nanos() > 0);
        rounded.max(1)
    }
}

/// All limits of the public listener.
#[derive(Debug)]
pub struct Limits {
    token: Option<Limiter<TokenId>>,
    stranger: Option<Limiter<IpAddr>>,
    sign_in: Option<Limiter<u64>>,
    /// Mail addresses are kept as hashes under a key of this process.
    hasher: RandomState,
    metrics: Arc<Metrics>,
}

impl Limits {
    pub fn new(settings: LimitSettings, metrics: Arc<Metrics>) -> Self {
        Limits {
            token: settings.token.and_then(Rate::quota).map(Limiter::new),
            stranger: settings.stranger.and_then(Rate::quota).map(Limiter::new),
            sign_in: settings.sign_in.and_then(Rate::quota).map(Limiter::new),
            hasher: RandomState::new(),
            metrics,
        }
    }

    /// One request with a valid token.
    pub fn admit_token(&self, token: TokenId) -> Result<(), Throttled> {
        self.admit(self.token.as_ref(), LimitKind::Token, token)
    }

    /// One request of nobody we know. An IPv6 network of 64 bits is one client, since it is what one client gets.
    pub fn admit_stranger(&self, client: IpAddr) -> Result<(), Throttled> {
        self.admit(self.stranger.as_ref(), LimitKind::Address, network_of(client))
    }

    /// One attempt to get something mailed to, or opened for, `address`.
    pub fn admit_sign_in(&self, address: &str) -> Result<(), Throttled> {
        let folded = self.hasher.hash_one(address.trim().to_lowercase());
        self.admit(self.sign_in.as_ref(), LimitKind::SignIn, folded)
    }

    fn admit<K: Hash + Eq + Clone>(
        &self,
        limiter: Option<&Limiter<K>>,
        limit: LimitKind,
        key: K,
    ) -> Result<(), Throttled> {
        let Some(limiter) = limiter else { return Ok(()) };
        limiter.admit(key).map_err(|wait| {
            self.metrics.limit_hit(limit);
            Throttled { limit, wait }
        })
    }

    /// Forgets, once a minute until `stop`, those who have been quiet long enough to start afresh.
    pub async fn sweep_until(&self, stop: CancellationToken) {
        while stop.run_until_cancelled(tokio::time::sleep(SWEEP_INTERVAL)).await.is_some() {
            if let Some(limiter) = &self.token {
                limiter.sweep();
            }
            if let Some(limiter) = &self.stranger {
                limiter.sweep();
            }
            if let Some(limiter) = &self.sign_in {
                limiter.sweep();
            }
        }
    }
}

fn network_of(client: IpAddr) -> IpAddr {
    match client.to_canonical() {
        IpAddr::V4(address) => IpAddr::V4(address),
        IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() >> 64 << 64)),
    }
}

/// The bucket of a key, or the one that all share in a flood.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Bucket<K> {
    Of(K),
    Everybody,
}

type Buckets<K, C> = RateLimiter<Bucket<K>, DashMapStateStore<Bucket<K>>, C, NoOpMiddleware<<C as Clock>::Instant>>;

/// One keyed limiter, bounded in memory.
#[derive(Debug)]
struct Limiter<K: Hash + Eq + Clone, C: Clock = DefaultClock> {
    buckets: Buckets<K, C>,
    clock: C,
    checks: AtomicU64,
    flooded: AtomicBool,
    max_keys: usize,
}

impl<K: Hash + Eq + Clone> Limiter<K> {
    fn new(quota: Quota) -> Self {
        Self::with_clock(quota, DefaultClock::default(), MAX_KEYS)
    }
}

impl<K: Hash + Eq + Clone, C: Clock + Clone> Limiter<K, C> {
    fn with_clock(quota: Quota, clock: C, max_keys: usize) -> Self {
        Limiter {
            buckets: RateLimiter::dashmap_with_clock(quota, clock.clone()),
            clock,
            checks: AtomicU64::new(0),
            flooded: AtomicBool::new(false),
            max_keys,
        }
    }

    /// `Err` is the time until the next request of `key` passes.
    fn admit(&self, key: K) -> Result<(), Duration> {
        if self.checks.fetch_add(1, Ordering::Relaxed) % SWEEP_EVERY == SWEEP_EVERY - 1 {
            self.sweep();
        }
        let bucket = if self.flooded.load(Ordering::Relaxed) { Bucket::Everybody } else { Bucket::Of(key) };
        self.buckets.check_key(&bucket).map_err(|until| until.wait_time_from(self.clock.now()))
    }

    fn sweep(&self) {
        self.buckets.retain_recent();
        let flooded = self.buckets.len() > self.max_keys;
        if flooded && !self.flooded.load(Ordering::Relaxed) {
            tracing::warn!(keys = self.buckets.len(), "a flood from very many sources: they share one limit now");
        }
        self.flooded.store(flooded, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use governor::clock::FakeRelativeClock;

    use super::*;

    fn rate(count: u32, per_seconds: u64, burst: u32) -> Rate {
        Rate {
            count: NonZeroU32::new(count).unwrap(),
            per: Duration::from_secs(per_seconds),
            burst: NonZeroU32::new(burst).unwrap(),
        }
    }

    fn limits(settings: LimitSettings) -> Limits {
        Limits::new(settings, Arc::new(Metrics::new()))
    }

    #[test]
    fn a_burst_passes_and_the_next_waits_for_its_share_of_the_period() {
        let clock = FakeRelativeClock::default();
        let limiter = Limiter::with_clock(rate(6, 60, 2).quota().unwrap(), clock.clone(), MAX_KEYS);
        assert_eq!(limiter.admit("a"), Ok(()));
        assert_eq!(limiter.admit("a"), Ok(()));
        assert_eq!(limiter.admit("a"), Err(Duration::from_secs(10)));
        assert_eq!(limiter.admit("b"), Ok(()), "another key has its own bucket");
        clock.advance(Duration::from_secs(10));
        assert_eq!(limiter.admit("a"), Ok(()));
        assert_eq!(limiter.admit("a"), Err(Duration::from_secs(10)));
    }

    #[test]
    fn in_a_flood_all_keys_share_one_bucket_until_it_ebbs() {
        let clock = FakeRelativeClock::default();
        let limiter = Limiter::with_clock(rate(1, 60, 1).quota().unwrap(), clock.clone(), 10);
        for key in 0..11 {
            assert_eq!(limiter.admit(key), Ok(()));
        }
        limiter.sweep();
        assert_eq!(limiter.admit(100), Ok(()));
        assert_eq!(limiter.admit(101), Err(Duration::from_secs(60)));
        clock.advance(Duration::from_secs(180));
        limiter.sweep();
        assert_eq!(limiter.admit(100), Ok(()));
        assert_eq!(limiter.admit(101), Ok(()));
    }

    #[test]
    fn strangers_of_one_version_six_network_are_one_client() {
        let limits = limits(LimitSettings { stranger: Some(rate(1, 60, 1)), ..LimitSettings::default() });
        assert_eq!(limits.admit_stranger("2001:db8::1".parse().unwrap()), Ok(()));
        let throttled = limits.admit_stranger("2001:db8::2".parse().unwrap()).unwrap_err();
        assert_eq!(throttled.limit, LimitKind::Address);
        assert!((30..=60).contains(&throttled.retry_after()), "a token a minute: {}", throttled.retry_after());
        assert_eq!(limits.admit_stranger("2001:db8:0:1::1".parse().unwrap()), Ok(()));
    }

    #[test]
    fn an_address_is_the_same_however_it_is_written() {
        let limits = limits(LimitSettings { sign_in: Some(rate(1, 60, 1)), ..LimitSettings::default() });
        assert_eq!(limits.admit_sign_in("Ada@Example.com"), Ok(()));
        assert!(limits.admit_sign_in(" ada@example.com ").is_err());
    }

    #[test]
    fn a_limit_that_is_off_admits_everyone() {
        let limits = limits(LimitSettings::default());
        for _ in 0..10_000 {
            assert_eq!(limits.admit_stranger("192.0.2.1".parse().unwrap()), Ok(()));
        }
    }

    #[test]
    fn retry_after_is_rounded_up_to_a_second() {
        let after = |millis| Throttled { limit: LimitKind::Token, wait: Duration::from_millis(millis) }.retry_after();
        assert_eq!([after(0), after(1), after(1000), after(1001)], [1, 1, 1, 2]);
    }
}
