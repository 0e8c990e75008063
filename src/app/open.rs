//! From settings to the use cases: store, keys, installation, directory, mail.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::issuers::Issuers;
use super::keyfile::{self, KeyFileError};
use super::socket;
use crate::config::Settings;
use crate::directory::accounts::{WrongStore, enter};
use crate::directory::{Directory, entropy};
use crate::domain::lifecycle::Due;
use crate::domain::time::Timestamp;
use crate::jobs::mail::{MailError, Mailer};
use crate::jobs::schedule::JobName;
use crate::jobs::webhook::Poster;
use crate::metrics::Metrics;
use crate::outgoing::UnusableAuthority;
use crate::store::{OpenError, Store, StoreError};

/// How long to wait before asking an absent store again.
const ASK_AGAIN: Duration = Duration::from_millis(500);

/// Why the daemon cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    #[error(transparent)]
    Store(#[from] OpenError),
    #[error(transparent)]
    Keys(#[from] KeyFileError),
    #[error(transparent)]
    WrongStore(#[from] WrongStore),
    #[error(transparent)]
    Mail(#[from] MailError),
    #[error("webhooks.tls_ca_file: {0}")]
    WebhookAuthority(#[from] UnusableAuthority),
    #[error("issuers.tls_ca_file: {0}")]
    IssuerAuthority(UnusableAuthority),
    #[error("the first account could not be made: {0}")]
    Bootstrap(#[from] crate::directory::Error),
    #[error("stopped while waiting for the store")]
    Stopped,
    #[error("{0}")]
    Other(String),
}

/// How to wait for a store that cannot be used yet.
pub(super) struct Waiting<'a> {
    pub stop: &'a CancellationToken,
    /// Gets the reason of each failed attempt.
    pub tell: &'a (dyn Fn(&str) + Sync),
    /// Whether a store that lacks the right marker is waited for, too, until `usherd init` or a restored backup
    /// brings it.
    pub for_marker: bool,
}

/// Everything that a command or the daemon works with.
pub struct Opened {
    pub directory: Arc<Directory>,
    pub mailer: Arc<Mailer>,
    pub store: Store,
}

/// Opens the store and waits until it answers, then puts the use cases together. `public_url` is where the links lead.
///
/// # Errors
/// [`StartError`]; [`StartError::Stopped`] when told to stop while waiting.
pub(super) async fn open(
    settings: &Settings,
    public_url: &str,
    public_host: &str,
    waiting: &Waiting<'_>,
    metrics: &Arc<Metrics>,
) -> Result<Opened, StartError> {
    let store = Store::open(&settings.store_settings()).await?.counting(Arc::clone(metrics));
    open_on(store, settings, public_url, public_host, waiting).await
}

/// As `open` for whoever is no daemon: tries for as long as the caller does.
///
/// # Errors
/// [`StartError`].
pub async fn open_now(settings: &Settings, public_url: &str, public_host: &str) -> Result<Opened, StartError> {
    let tell = |reason: &str| tracing::warn!(reason, "waiting for the store");
    let waiting = Waiting { stop: &CancellationToken::new(), tell: &tell, for_marker: false };
    open(settings, public_url, public_host, &waiting, &Arc::default()).await
}

/// As [`open`], on a store that is open already.
pub(super) async fn open_on(
    store: Store,
    settings: &Settings,
    public_url: &str,
    public_host: &str,
    waiting: &Waiting<'_>,
) -> Result<Opened, StartError> {
    let mailer = Arc::new(Mailer::new(&settings.mail_settings(public_host))?);
    let keys_file = settings.secrets.keys_file.as_deref();
    let keys = keyfile::load(keys_file, &settings.store.path, entropy::secret(), store.now())?;
    let mends_itself = |error: &WrongStore| match error {
        WrongStore::Store(StoreError::Unavailable { reason }) => Some(reason.clone()),
        WrongStore::Unmarked { .. } | WrongStore::Other { .. } | WrongStore::ImportUnfinished if waiting.for_marker => {
            Some(error.to_string())
        }
        _ => None,
    };
    let configured = settings.store.installation.as_deref();
    let installation = patiently(waiting, mends_itself, || enter(&store, configured, &keys)).await?;
    let directory = Directory::new(
        store.clone(),
        Arc::new(settings.directory_settings(public_url)),
        settings.scim.table.clone(),
        Arc::new(keys),
        installation,
        timetable(settings),
    );
    Ok(Opened { directory: Arc::new(directory), mailer, store })
}

/// Asks until the store answers. That it is absent is no reason to end: it may be starting, too. `mends_itself` gives
/// the reason of an error that waiting may mend.
pub(super) async fn patiently<T, E, F>(
    waiting: &Waiting<'_>,
    mends_itself: impl Fn(&E) -> Option<String>,
    ask: impl Fn() -> F,
) -> Result<T, StartError>
where
    StartError: From<E>,
    F: Future<Output = Result<T, E>>,
{
    loop {
        let error = match waiting.stop.run_until_cancelled(ask()).await {
            None => return Err(StartError::Stopped),
            Some(Ok(done)) => return Ok(done),
            Some(Err(error)) => error,
        };
        let Some(reason) = mends_itself(&error) else { return Err(error.into()) };
        (waiting.tell)(&reason);
        if waiting.stop.run_until_cancelled(tokio::time::sleep(ASK_AGAIN)).await.is_none() {
            return Err(StartError::Stopped);
        }
    }
}

/// What sends webhooks, as configured.
///
/// # Errors
/// [`StartError::WebhookAuthority`].
pub(super) fn poster(settings: &Settings) -> Result<Poster, StartError> {
    Ok(Poster::new(settings.webhooks.allow_private, settings.webhooks.tls_ca_file.as_deref())?)
}

/// The first tick of each event's schedule at or after an instant. A schedule that never fires again lets the event
/// wait a day, to be looked at once more.
fn timetable(settings: &Settings) -> Box<crate::directory::Timetable> {
    let jobs = settings.jobs.clone();
    Box::new(move |due: Due, at: Timestamp| {
        let job = match due {
            Due::Hold | Due::Renewal => JobName::Renew,
            Due::Reminder => JobName::Remind,
            Due::Expiry => JobName::Expire,
            Due::Retention | Due::Tombstone => JobName::Retention,
        };
        let just_before = at - Duration::from_millis(1);
        jobs.schedule(job).next_after(just_before).unwrap_or(at + Duration::from_secs(86_400))
    })
}

/// Tries the store, the relay and the issuers of tokens, and says what answered.
///
/// # Errors
/// [`StartError`] naming the first that did not.
pub async fn check_connections(settings: &Settings) -> Result<Vec<String>, StartError> {
    let store = match Store::open(&settings.store_settings()).await {
        Ok(store) => {
            store.check().await.map_err(|error| StartError::Other(format!("store: {error}")))?;
            "The store answers and takes writes."
        }
        // A usherd that runs on the data directory is what it is there for.
        Err(OpenError::Held { .. }) if socket::answers(&settings.store.path).await => {
            "The store is held by the usherd that runs on it."
        }
        Err(error) => return Err(error.into()),
    };
    poster(settings)?;
    let mailer = Mailer::new(&settings.mail_settings("localhost"))?;
    let relay = mailer.transport().check().await;
    let relay = relay.map_err(|failure| StartError::Other(format!("mail relay: {}", failure.text())))?;
    let issuers = Issuers::new(settings)?.check().await?;
    Ok([store.to_owned(), format!("Mail: {relay}")].into_iter().chain(issuers).collect())
}
