//! The running daemon: listeners, worker, probes, and an end in order.

use std::sync::Arc;
use std::time::Duration;

use axum::http::Method;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::open::{Opened, StartError, open};
use super::{bootstrap, router, socket};
use crate::config::{PublicUrl, Settings};
use crate::directory::entropy;
use crate::http::edge::EdgeSettings;
use crate::http::guard::ChooseBounds;
use crate::http::headers::SecurityHeaders;
use crate::http::hosts::Hosts;
use crate::http::limits::Limits;
use crate::http::ops::{self, Ops, Readiness, Watchdog};
use crate::http::serve::{Drained, ServeSettings, serve};
use crate::http::service::{Service, ServiceSettings};
use crate::http::tls::{RELOAD_EVERY, Tls, TlsSettings};
use crate::jobs::worker::Worker;
use crate::metrics::Metrics;
use crate::store::Store;

/// The worker is dead when it has not come round for so long.
const WORKER_SILENCE: Duration = Duration::from_secs(300);
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);

/// The bound sockets.
pub struct Listeners {
    pub public: TcpListener,
    pub ops: TcpListener,
}

/// The two phases of an end: `soft` drains, `hard` drops what is left.
#[derive(Debug, Clone, Default)]
pub struct Shutdown {
    pub soft: CancellationToken,
    pub hard: CancellationToken,
}

/// How the daemon ended.
#[derive(Debug, PartialEq, Eq)]
pub enum Ended {
    /// As it was told to.
    Drained,
    /// A part of it died, or the store failed for good: whoever started it should start it again.
    Failed(String),
}

/// A daemon that is about to run.
pub struct Daemon {
    settings: Settings,
    listeners: Listeners,
    public_url: PublicUrl,
    metrics: Arc<Metrics>,
    tracker: TaskTracker,
    shutdown: Shutdown,
}

impl Daemon {
    /// # Errors
    /// When a listener has no address.
    pub fn new(settings: Settings, listeners: Listeners, shutdown: Shutdown) -> Result<Self, StartError> {
        let bound = listeners.public.local_addr().map_err(|error| StartError::Other(error.to_string()))?;
        let public_url = settings.http.public_url_at(bound);
        let metrics = Arc::new(Metrics::new());
        Ok(Daemon { settings, listeners, public_url, metrics, tracker: TaskTracker::new(), shutdown })
    }

    /// Runs until the shutdown, or until a part fails. `tell` gets what the first start has to say to a person.
    ///
    /// # Errors
    /// [`StartError`] when it cannot start.
    pub async fn run(self, tell: impl FnOnce(&str)) -> Result<Ended, StartError> {
        let Daemon { settings, listeners, public_url, metrics, tracker, shutdown } = self;
        let watchdog = Arc::new(Watchdog::new());
        let readiness = Arc::new(Readiness::new(shutdown.soft.clone(), Arc::clone(&metrics)));
        // The probes answer from the first moment, also while the store is waited for.
        let probes = ops::router(Ops {
            readiness: Arc::clone(&readiness),
            watchdog: Arc::clone(&watchdog),
            metrics: Arc::clone(&metrics),
        });
        let ops_settings = ServeSettings { max_connections: 100, ..settings.serve_settings(None) };
        let ops_server = {
            let (shutdown, tracker, metrics) = (shutdown.clone(), tracker.clone(), Arc::clone(&metrics));
            async move { serve(listeners.ops, probes, &ops_settings, shutdown.soft, shutdown.hard, tracker, metrics).await }
        };
        let ops_task = tracker.spawn(ops_server);
        spawn_beat(&tracker, &watchdog, &shutdown);

        let Opened { directory, mailer, store } =
            open(&settings, public_url.as_str(), &public_url.host(), &shutdown.soft).await?;
        keep_ready(&tracker, &readiness, &store, &shutdown);
        let mails = mails_go_to(&settings);
        let welcome = bootstrap::bootstrap(&directory, &settings, mails)
            .await
            .map_err(|error| StartError::Other(format!("the first account could not be made: {error}")))?;
        if let Some(welcome) = &welcome {
            tell(&welcome.to_string());
        }

        let limits = Arc::new(Limits::new(settings.limit_settings(), Arc::clone(&metrics)));
        let service = Service {
            directory: Arc::clone(&directory),
            limits: Arc::clone(&limits),
            metrics: Arc::clone(&metrics),
            settings: Arc::new(ServiceSettings {
                scim: settings.scim_limits(),
                after_accept_url: settings.http.after_accept_url.as_ref().map(ToString::to_string),
                secure_cookies: public_url.is_https(),
            }),
        };
        let tls = load_tls(&settings, &tracker, &shutdown, &metrics).await?;
        let edge = edge_settings(&settings, &public_url, &listeners.public)?;
        let public = router::public(service, edge, Arc::clone(&metrics));
        let worker = Worker::new(
            Arc::clone(&directory),
            Arc::clone(&mailer),
            Arc::clone(&metrics),
            settings.mail.timeout,
            settings.jobs.time_zone.clone(),
            entropy::jitter,
        );
        let worker_task = {
            let (stop, pulse) = (shutdown.soft.clone(), watchdog.watch("worker", WORKER_SILENCE));
            tracker.spawn(async move { worker.run_until(stop, || pulse.beat()).await })
        };
        let ticker = super::ticker(&settings, &directory, &metrics);
        let ticking = shutdown.soft.clone();
        tracker.spawn(async move { ticker.run_until(ticking).await });
        let sweep = shutdown.soft.clone();
        tracker.spawn(async move { limits.sweep_until(sweep).await });
        if settings.store.url.is_none() {
            let commands = socket::Commands {
                settings: settings.clone(),
                directory: Arc::clone(&directory),
                mailer: Arc::clone(&mailer),
            };
            socket::listen(commands, &tracker, shutdown.soft.clone())
                .map_err(|error| StartError::Other(format!("the command socket: {error}")))?;
        }
        readiness.started();
        tracing::info!(url = public_url.as_str(), "usherd serves");

        let serve_settings = settings.serve_settings(tls);
        let serving = serve(
            listeners.public,
            public,
            &serve_settings,
            shutdown.soft.clone(),
            shutdown.hard.clone(),
            tracker.clone(),
            Arc::clone(&metrics),
        );
        let failure = async {
            tokio::select! {
                reason = store.failed() => reason,
                ended = worker_task => match (ended, shutdown.soft.is_cancelled()) {
                    (Ok(()), true) => std::future::pending().await,
                    (ended, _) => format!("the worker ended: {ended:?}"),
                },
                ended = ops_task => match (ended, shutdown.soft.is_cancelled()) {
                    (Ok(_), true) => std::future::pending().await,
                    (ended, _) => format!("the ops listener ended: {ended:?}"),
                },
            }
        };
        let ended = tokio::select! {
            drained = serving => {
                if let Drained::Aborted(left) = drained {
                    tracing::warn!(left, "connections were dropped at the drain deadline");
                }
                Ended::Drained
            }
            reason = failure => {
                tracing::error!(%reason, "a part of the daemon failed; ending");
                shutdown.soft.cancel();
                shutdown.hard.cancel();
                Ended::Failed(reason)
            }
        };
        tracker.close();
        if tokio::time::timeout(settings.http.drain_deadline, tracker.wait()).await.is_err() {
            tracing::warn!("some tasks did not end in time");
        }
        Ok(ended)
    }
}

fn spawn_beat(tracker: &TaskTracker, watchdog: &Arc<Watchdog>, shutdown: &Shutdown) {
    let (watchdog, stop) = (Arc::clone(watchdog), shutdown.soft.clone());
    tracker.spawn(async move { watchdog.beat_until(stop).await });
}

fn keep_ready(tracker: &TaskTracker, readiness: &Arc<Readiness>, store: &Store, shutdown: &Shutdown) {
    let (readiness, store, stop) = (Arc::clone(readiness), store.clone(), shutdown.soft.clone());
    tracker.spawn(async move {
        let check = || async { store.check().await.map_err(|error| error.to_string()) };
        readiness.keep_checking(check, stop).await;
    });
}

async fn load_tls(
    settings: &Settings,
    tracker: &TaskTracker,
    shutdown: &Shutdown,
    metrics: &Arc<Metrics>,
) -> Result<Option<Arc<Tls>>, StartError> {
    let Some(files) = &settings.http.tls else { return Ok(None) };
    let tls = Tls::load(TlsSettings {
        certificate: files.certificate.clone(),
        key: files.key.clone(),
        handshake_timeout: HANDSHAKE_TIMEOUT,
    });
    let tls = tls.await.map_err(|error| StartError::Other(error.to_string()))?;
    let (reloading, stop, metrics) = (Arc::clone(&tls), shutdown.soft.clone(), Arc::clone(metrics));
    tracker.spawn(async move { reloading.reload_when_changed(RELOAD_EVERY, stop, metrics).await });
    Ok(Some(tls))
}

fn edge_settings(
    settings: &Settings,
    public_url: &PublicUrl,
    listener: &TcpListener,
) -> Result<EdgeSettings, StartError> {
    let bound = listener.local_addr().map_err(|error| StartError::Other(error.to_string()))?;
    let https = public_url.is_https();
    let hosts = Hosts::new(&public_url.authority(), https, &settings.http.extra_hosts, bound)
        .map_err(|error| StartError::Other(error.to_string()))?;
    let table = settings.bounds_table();
    let bounds: ChooseBounds = Arc::new(move |method: &Method, uri| table.choose(method, uri));
    Ok(EdgeSettings {
        hosts: Arc::new(hosts),
        trusted_proxies: settings.http.trusted_proxies.clone().into(),
        security_headers: SecurityHeaders { https },
        bounds,
        render: router::refuse,
    })
}

fn mails_go_to(settings: &Settings) -> String {
    match settings.mail_settings("localhost").url {
        Some(relay) => format!("sent through {relay}"),
        None => format!("files in {}", settings.store.path.join("mail").display()),
    }
}
