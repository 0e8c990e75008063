//! The running daemon: listeners, worker, probes, and an end in order.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use axum::Router;
use tokio::net::TcpListener;
use tokio::task::{JoinError, JoinSet};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::bootstrap::{absent, bootstrap};
use super::faces::{Faces, edge_settings, mails_go_to};
use super::open::{Opened, StartError, Waiting, open, patiently, poster};
use super::{router, socket};
use crate::config::{PublicUrl, Settings};
use crate::directory::{Directory, entropy, own_types};
use crate::http::edge::EdgeSettings;
use crate::http::ops::{self, Ops, Readiness, Watchdog};
use crate::http::serve::{Drained, ServeSettings, serve};
use crate::http::tls::{RELOAD_EVERY, Tls, TlsSettings};
use crate::jobs::worker::Worker;
use crate::jobs::{follower, uses};
use crate::metrics::Metrics;
use crate::store::Store;

/// The worker is dead when it has not come round for so long.
const WORKER_SILENCE: Duration = Duration::from_secs(300);
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// For what is recorded after the last connection: the fate of a mail, a claim that is given back.
const GRACE: Duration = Duration::from_secs(2);
/// The same when it is to be at once.
const HARD_GRACE: Duration = Duration::from_millis(200);

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
        let mut vital = Vital::new(tracker.clone());
        let watchdog = Arc::new(Watchdog::new());
        let readiness = Arc::new(Readiness::new(shutdown.soft.clone(), Arc::clone(&metrics)));
        let tls = load_tls(&settings, &mut vital, &shutdown, &metrics).await?;
        let bound = listeners.public.local_addr().map_err(|error| StartError::Other(error.to_string()))?;
        let edge = edge_settings(&settings, &public_url, bound)?;
        // Both listeners answer from the first moment, also while the store is waited for.
        let probes = ops::router(Ops {
            readiness: Arc::clone(&readiness),
            watchdog: Arc::clone(&watchdog),
            metrics: Arc::clone(&metrics),
        });
        let ops_settings = ServeSettings { max_connections: 100, counted: false, ..settings.serve_settings(None) };
        let serving = |listener, app, settings: ServeSettings| {
            let (shutdown, tracker, metrics) = (shutdown.clone(), tracker.clone(), Arc::clone(&metrics));
            async move { serve(listener, app, &settings, shutdown.soft, shutdown.hard, tracker, metrics).await }
        };
        let ops = serving(listeners.ops, probes, ops_settings);
        vital.spawn("ops listener", async move {
            ops.await;
        });
        vital.spawn("watchdog", {
            let (watchdog, stop) = (Arc::clone(&watchdog), shutdown.soft.clone());
            async move { watchdog.beat_until(stop).await }
        });
        let opened = Arc::new(OnceLock::new());
        let app = router::from_the_start(Arc::clone(&opened));
        let mut serving = tracker.spawn(serving(listeners.public, app, settings.serve_settings(tls)));
        let overdue = tokio::spawn(overdue(shutdown.clone(), &settings));

        let tell_readiness = |reason: &str| readiness.observe(Err(reason.to_owned()));
        let for_marker = settings.store.url.is_some();
        let waiting = Waiting { stop: &shutdown.soft, tell: &tell_readiness, for_marker };
        let start = Start {
            settings: &settings,
            public_url: &public_url,
            metrics: &metrics,
            watchdog: &watchdog,
            readiness: &readiness,
            shutdown: &shutdown,
        };
        let started = start.run(&waiting, edge, &opened, &mut vital, tell).await;
        let ended = match started {
            Ok(store) => {
                readiness.started();
                tracing::info!(url = public_url.as_str(), "usherd serves");
                let failure = async {
                    tokio::select! {
                        reason = store.failed() => reason,
                        reason = vital.failure(&shutdown.soft) => reason,
                    }
                };
                tokio::select! {
                    drained = &mut serving => drained_in_order(drained),
                    reason = failure => Ended::Failed(reason),
                }
            }
            Err(StartError::Stopped) => drained_in_order(serving.await),
            Err(error) => {
                shutdown.soft.cancel();
                shutdown.hard.cancel();
                return Err(error);
            }
        };
        if let Ended::Failed(reason) = &ended {
            tracing::error!(%reason, "a part of the daemon failed; ending");
            shutdown.soft.cancel();
            shutdown.hard.cancel();
        }
        // The last that could hand anything over to the story.
        drop(opened);
        tracker.close();
        tokio::select! {
            () = tracker.wait() => {}
            _ = overdue => tracing::warn!("some tasks did not end in time; what they had claimed lapses"),
        }
        Ok(ended)
    }
}

fn drained_in_order(drained: Result<Drained, JoinError>) -> Ended {
    match drained {
        Ok(Drained::Clean) => Ended::Drained,
        Ok(Drained::Aborted(left)) => {
            tracing::warn!(left, "connections were dropped at the drain deadline");
            Ended::Drained
        }
        Err(panicked) => Ended::Failed(format!("the public listener failed: {panicked}")),
    }
}

/// Ends when everything should have ended: some time after the drain deadline, or with the second signal.
fn overdue(shutdown: Shutdown, settings: &Settings) -> impl Future<Output = ()> + use<> {
    let patience = settings.http.drain_lead + settings.http.drain_deadline + GRACE;
    async move {
        shutdown.soft.cancelled().await;
        tokio::select! {
            () = tokio::time::sleep(patience) => {}
            () = shutdown.hard.cancelled() => tokio::time::sleep(HARD_GRACE).await,
        }
    }
}

/// What a start works with.
struct Start<'a> {
    settings: &'a Settings,
    public_url: &'a PublicUrl,
    metrics: &'a Arc<Metrics>,
    watchdog: &'a Watchdog,
    readiness: &'a Arc<Readiness>,
    shutdown: &'a Shutdown,
}

impl Start<'_> {
    /// Waits for the store, makes the first account, and lets requests and timers in.
    async fn run(
        self,
        waiting: &Waiting<'_>,
        edge: EdgeSettings,
        opened: &OnceLock<Router>,
        vital: &mut Vital,
        tell: impl FnOnce(&str),
    ) -> Result<Store, StartError> {
        let Start { settings, public_url, metrics, watchdog, readiness, shutdown } = self;
        let Opened { directory, mailer, store } =
            open(settings, public_url.as_str(), &public_url.host(), waiting, metrics).await?;
        if let Some(welcome) = bootstrap(&directory, settings, mails_go_to(settings), waiting).await? {
            tell(&welcome.to_string());
        }
        own_types(&directory, waiting, vital).await?;
        if !directory.acts().await.unwrap_or(true) {
            tracing::warn!("this store was imported: nothing expires and no mail leaves until `usherd resume`");
        }
        vital.spawn("readiness check", {
            let (readiness, store, stop) = (Arc::clone(readiness), store.clone(), shutdown.soft.clone());
            async move {
                let check = || async { store.check().await.map_err(|error| error.to_string()) };
                readiness.keep_checking(check, stop).await;
            }
        });
        if settings.store.url.is_none() {
            let commands = socket::Commands {
                settings: settings.clone(),
                directory: Arc::clone(&directory),
                mailer: Arc::clone(&mailer),
            };
            let listener = socket::bind(&settings.store.path)
                .map_err(|error| StartError::Other(format!("the command socket: {error}")))?;
            let (tracker, stop) = (vital.tracker.clone(), shutdown.soft.clone());
            vital.spawn("command socket", socket::listen(listener, commands, tracker, stop));
        }
        let behind = (vital.tracker.clone(), shutdown.soft.clone());
        let Faces { router, scribe, limits, ticker } =
            Faces::new(settings, public_url, edge, (&directory, &mailer), metrics, behind)?;
        let worker = Worker::new(
            Arc::clone(&directory),
            mailer,
            poster(settings)?,
            Arc::clone(metrics),
            settings.mail.timeout,
            settings.jobs.time_zone.clone(),
            entropy::jitter,
        )
        .paced(settings.mail_pace());
        vital.spawn("worker", {
            let (stop, pulse) = (shutdown.soft.clone(), watchdog.watch("worker", WORKER_SILENCE));
            async move { worker.run_until(stop, || pulse.beat()).await }
        });
        vital.spawn("ticker", {
            let stop = shutdown.soft.clone();
            async move { ticker.run_until(stop).await }
        });
        vital.spawn("story", scribe.run());
        vital.spawn("bookkeeper", uses::write_until(Arc::clone(&directory), shutdown.soft.clone()));
        vital.spawn("follower", {
            // For as long as requests are served as before.
            let (soft, hard, lead) = (shutdown.soft.clone(), shutdown.hard.clone(), settings.http.drain_lead);
            let served = async move {
                soft.cancelled().await;
                hard.run_until_cancelled(tokio::time::sleep(lead)).await;
            };
            follower::follow_until(Arc::clone(&directory), served)
        });
        vital.spawn("limits", {
            let (limits, stop) = (Arc::clone(&limits), shutdown.soft.clone());
            async move { limits.sweep_until(stop).await }
        });
        opened.get_or_init(|| router);
        Ok(store)
    }
}

/// Remembers the operator's own resource types, and warns of those that are configured no more, in its own time.
async fn own_types(directory: &Arc<Directory>, waiting: &Waiting<'_>, vital: &Vital) -> Result<(), StartError> {
    let (store, schemas) = (directory.store(), directory.schemas());
    patiently(waiting, absent, || own_types::remember(store, schemas)).await?;
    let directory = Arc::clone(directory);
    vital.tracker.spawn(async move {
        match own_types::abandoned(directory.store(), directory.schemas()).await {
            Ok(abandoned) => abandoned.iter().for_each(|left| tracing::warn!("{left}")),
            Err(error) => tracing::warn!(%error, "whether a resource type is configured no more is not known"),
        }
    });
    Ok(())
}

/// The tasks without which a daemon is none: when one ends before it was told to, the process does.
struct Vital {
    tasks: JoinSet<&'static str>,
    tracker: TaskTracker,
}

impl Vital {
    fn new(tracker: TaskTracker) -> Self {
        Vital { tasks: JoinSet::new(), tracker }
    }

    fn spawn(&mut self, name: &'static str, task: impl Future<Output = ()> + Send + 'static) {
        let task = async move {
            task.await;
            name
        };
        self.tasks.spawn(self.tracker.track_future(task));
    }

    /// Waits until one has failed, and says which. One that ends after `stop` has not.
    async fn failure(&mut self, stop: &CancellationToken) -> String {
        while let Some(ended) = self.tasks.join_next().await {
            match ended {
                Ok(_) if stop.is_cancelled() => {}
                Ok(name) => return format!("the {name} ended"),
                Err(panicked) => return format!("a part of it failed: {panicked}"),
            }
        }
        std::future::pending().await
    }
}

async fn load_tls(
    settings: &Settings,
    vital: &mut Vital,
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
    vital.spawn("certificate reload", async move { reloading.reload_when_changed(RELOAD_EVERY, stop, metrics).await });
    Ok(Some(tls))
}
