//! Everything usherd counts, in one place, so that names and labels can be read as a table.
//!
//! Labels have few values: a class of routes, never a path; an outcome, never a message. Nothing here may carry a
//! token, an address or an id of a person.

mod labels;

use std::sync::atomic::AtomicU64;
use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::{Family, MetricConstructor};
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};

pub use labels::{LimitKind, MailOutcome, RouteClass, StoreOutcome, WebhookOutcome};

/// Seconds; from a cached read to the deadline of a bulk request.
const BUCKETS: [f64; 12] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 2.5, 5.0, 60.0];

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RequestLabels {
    route: RouteClass,
    status: u16,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RouteLabels {
    route: RouteClass,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct StoreLabels {
    call: &'static str,
    outcome: StoreOutcome,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct MailLabels {
    outcome: MailOutcome,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct WebhookLabels {
    outcome: WebhookOutcome,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct EventLabels {
    event: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct JobLabels {
    job: &'static str,
    outcome: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ScheduleLabels {
    job: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct FindingLabels {
    invariant: &'static str,
    outcome: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct LimitLabels {
    limit: LimitKind,
}

#[derive(Debug, Clone)]
struct Seconds;

impl MetricConstructor<Histogram> for Seconds {
    fn new_metric(&self) -> Histogram {
        Histogram::new(BUCKETS)
    }
}

/// The counters of one process. Cheap to share: clone an `Arc` of it.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    requests: Family<RequestLabels, Counter>,
    request_seconds: Family<RouteLabels, Histogram, Seconds>,
    connections: Gauge,
    streams: Gauge,
    panics: Counter,
    store_seconds: Family<StoreLabels, Histogram, Seconds>,
    store_unavailable: Counter,
    mails: Family<MailLabels, Counter>,
    mail_paused: Gauge,
    webhooks: Family<WebhookLabels, Counter>,
    transitions: Family<EventLabels, Counter>,
    timers_claimed: Counter,
    jobs: Family<JobLabels, Counter>,
    jobs_last: Family<ScheduleLabels, Gauge>,
    jobs_next: Family<ScheduleLabels, Gauge>,
    findings: Family<FindingLabels, Counter>,
    reconcile_stopped: Counter,
    limits_hit: Family<LimitLabels, Counter>,
    ready: Gauge,
    clock_offset: Gauge<f64, AtomicU64>,
    certificate_reload_failures: Counter,
    story_dropped: Counter,
    alerts_unheard: Counter,
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl Metrics {
    pub fn new() -> Self {
        let mut registry = Registry::with_prefix("usherd");
        let requests = Family::default();
        let request_seconds = Family::new_with_constructor(Seconds);
        let connections = Gauge::default();
        let streams = Gauge::default();
        let panics = Counter::default();
        let store_seconds = Family::new_with_constructor(Seconds);
        let store_unavailable = Counter::default();
        let mails = Family::default();
        let mail_paused = Gauge::default();
        let webhooks = Family::default();
        let transitions = Family::default();
        let timers_claimed = Counter::default();
        let jobs = Family::default();
        let jobs_last = Family::default();
        let jobs_next = Family::default();
        let findings = Family::default();
        let reconcile_stopped = Counter::default();
        let limits_hit = Family::default();
        let ready = Gauge::default();
        let clock_offset = Gauge::default();
        let certificate_reload_failures = Counter::default();
        let story_dropped = Counter::default();
        let alerts_unheard = Counter::default();

        registry.register("http_requests", "Requests answered, by route and status", Family::clone(&requests));
        registry.register_with_unit(
            "http_request_duration",
            "Time from the request's header to the response's header",
            Unit::Seconds,
            Family::clone(&request_seconds),
        );
        registry.register("http_connections", "Connections open on the public listener", connections.clone());
        registry.register("http_streams", "Streams of events that are open", streams.clone());
        registry.register("http_panics", "Handlers that panicked; each is a fault to report", panics.clone());
        registry.register_with_unit(
            "store_call_duration",
            "Time of one call of the store, by call and outcome",
            Unit::Seconds,
            Family::clone(&store_seconds),
        );
        registry.register("store_unavailable", "Calls of the store without a usable answer", store_unavailable.clone());
        registry.register("mails", "Attempts to send a mail, by outcome", Family::clone(&mails));
        registry.register(
            "mail_paused",
            "1 while the mail queue waits because of what the relay said",
            mail_paused.clone(),
        );
        registry.register("webhooks", "Attempts to send a webhook, by outcome", Family::clone(&webhooks));
        registry.register(
            "transitions",
            "Changes of users that were committed, by what the audit calls them",
            Family::clone(&transitions),
        );
        registry.register("timers_claimed", "Due timers claimed by this process", timers_claimed.clone());
        registry.register("job_runs", "Runs of scheduled jobs, by job and outcome", Family::clone(&jobs));
        registry.register_with_unit(
            "job_last_run_timestamp",
            "When this process ended a run of a scheduled job last",
            Unit::Seconds,
            Family::clone(&jobs_last),
        );
        registry.register_with_unit(
            "job_next_run_timestamp",
            "When a scheduled job is due next",
            Unit::Seconds,
            Family::clone(&jobs_next),
        );
        registry.register(
            "reconcile_findings",
            "Broken invariants that reconciliation found, by invariant and what became of them",
            Family::clone(&findings),
        );
        registry.register(
            "reconcile_stopped",
            "Runs of reconciliation that stopped because too much was to repair",
            reconcile_stopped.clone(),
        );
        registry.register("limits_hit", "Requests refused with 429, by limit", Family::clone(&limits_hit));
        registry.register("ready", "1 while /readyz answers 200", ready.clone());
        registry.register_with_unit(
            "store_clock_offset",
            "The store's clock minus this machine's",
            Unit::Seconds,
            clock_offset.clone(),
        );
        registry.register(
            "tls_reload_failures",
            "Changed certificate files that could not be used",
            certificate_reload_failures.clone(),
        );
        registry.register(
            "story_dropped",
            "SCIM requests that are not in the story: too many at once, or the store did not take them",
            story_dropped.clone(),
        );
        registry.register(
            "alerts_unheard",
            "Attempts to mail an urgent alert of an account without an Account Admin; repeated every hour",
            alerts_unheard.clone(),
        );
        Metrics {
            registry,
            requests,
            request_seconds,
            connections,
            streams,
            panics,
            store_seconds,
            store_unavailable,
            mails,
            mail_paused,
            webhooks,
            transitions,
            timers_claimed,
            jobs,
            jobs_last,
            jobs_next,
            findings,
            reconcile_stopped,
            limits_hit,
            ready,
            clock_offset,
            certificate_reload_failures,
            story_dropped,
            alerts_unheard,
        }
    }

    /// The registry as OpenMetrics text.
    pub fn encode(&self) -> String {
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &self.registry).expect("writing to a String cannot fail");
        text
    }

    pub fn request(&self, route: RouteClass, status: u16, elapsed: Duration) {
        self.requests.get_or_create(&RequestLabels { route, status }).inc();
        self.request_seconds.get_or_create(&RouteLabels { route }).observe(elapsed.as_secs_f64());
    }

    pub fn connection_opened(&self) {
        self.connections.inc();
    }

    pub fn connection_closed(&self) {
        self.connections.dec();
    }

    pub fn stream_opened(&self) {
        self.streams.inc();
    }

    pub fn stream_closed(&self) {
        self.streams.dec();
    }

    pub fn panicked(&self) {
        self.panics.inc();
    }

    /// `call` is the name of the store's verb, such as `commit`.
    pub fn store_call(&self, call: &'static str, outcome: StoreOutcome, elapsed: Duration) {
        self.store_seconds.get_or_create(&StoreLabels { call, outcome }).observe(elapsed.as_secs_f64());
        if outcome == StoreOutcome::Unavailable {
            self.store_unavailable.inc();
        }
    }

    pub fn mail(&self, outcome: MailOutcome) {
        self.mails.get_or_create(&MailLabels { outcome }).inc();
    }

    pub fn mail_paused(&self, paused: bool) {
        self.mail_paused.set(i64::from(paused));
    }

    pub fn webhook(&self, outcome: WebhookOutcome) {
        self.webhooks.get_or_create(&WebhookLabels { outcome }).inc();
    }

    /// `event` is what the audit calls the change, such as `user.accepted`.
    pub fn transition(&self, event: &str) {
        self.transitions.get_or_create(&EventLabels { event: event.to_owned() }).inc();
    }

    pub fn timers_claimed(&self, count: u64) {
        self.timers_claimed.inc_by(count);
    }

    /// `ended` is in seconds since 1970.
    pub fn job_run(&self, job: &'static str, succeeded: bool, ended: i64) {
        let outcome = if succeeded { "ok" } else { "failed" };
        self.jobs.get_or_create(&JobLabels { job, outcome }).inc();
        self.jobs_last.get_or_create(&ScheduleLabels { job }).set(ended);
    }

    /// `due` is in seconds since 1970.
    pub fn job_next(&self, job: &'static str, due: i64) {
        self.jobs_next.get_or_create(&ScheduleLabels { job }).set(due);
    }

    /// `invariant` is its number, such as `V5`; `outcome` is `repaired` or `alert`.
    pub fn reconciled(&self, invariant: &'static str, outcome: &'static str, count: u64) {
        self.findings.get_or_create(&FindingLabels { invariant, outcome }).inc_by(count);
    }

    pub fn reconcile_stopped(&self) {
        self.reconcile_stopped.inc();
    }

    pub fn limit_hit(&self, limit: LimitKind) {
        self.limits_hit.get_or_create(&LimitLabels { limit }).inc();
    }

    pub fn ready(&self, ready: bool) {
        self.ready.set(i64::from(ready));
    }

    pub fn clock_offset_seconds(&self, offset: f64) {
        self.clock_offset.set(offset);
    }

    /// Requests whose story is lost.
    pub fn story_dropped(&self, requests: u64) {
        self.story_dropped.inc_by(requests);
    }

    pub fn alert_unheard(&self) {
        self.alerts_unheard.inc();
    }

    pub fn certificate_reload_failed(&self) {
        self.certificate_reload_failures.inc();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_counted_is_in_the_exposition() {
        let metrics = Metrics::new();
        metrics.request(RouteClass::Scim, 201, Duration::from_millis(3));
        metrics.limit_hit(LimitKind::SignIn);
        metrics.store_call("commit", StoreOutcome::Unavailable, Duration::from_secs(5));
        let text = metrics.encode();
        for line in [
            r#"usherd_http_requests_total{route="scim",status="201"} 1"#,
            r#"usherd_http_request_duration_seconds_bucket{le="0.005",route="scim"} 1"#,
            r#"usherd_limits_hit_total{limit="sign_in"} 1"#,
            "usherd_store_unavailable_total 1",
            "# EOF",
        ] {
            assert!(text.lines().any(|found| found == line), "{line} in\n{text}");
        }
    }

    #[test]
    fn a_route_class_says_nothing_of_the_path_behind_it() {
        assert_eq!(RouteClass::of("/i/secret-token"), RouteClass::Invitee);
        assert_eq!(RouteClass::of("/scim/v2/Users"), RouteClass::Scim);
        assert_eq!(RouteClass::of("/"), RouteClass::Other);
        assert_eq!(RouteClass::of("*"), RouteClass::Other);
    }
}
