//! The worker: looks for what is due in every account, claims it and acts on it. Replicas are equal; a claim decides
//! which of them acts.
//!
//! People's timers are acted on where they are found, a bounded number of them side by side, while the next ones are
//! looked for: so the store is never waited for with empty hands. Letters go to a bounded number of senders, and nobody
//! waits for those: while all of them are held up by a slow relay, further letters are put off, so that an expiry is on
//! time whatever the relay does, and no claim outlives its lease in a queue. Webhooks have couriers of their own.
//!
//! [`Worker::run_one`] is one look; [`Worker::run_until`] looks for ever. A test drains with the first.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::hands::{Claimed, Hands};
use super::mail::Mailer;
use super::patience::{Patience, Waiting};
use super::senders::Senders;
use super::webhook::{Couriers, Poster};
use crate::directory::mail_queue::Pace;
use crate::directory::{Directory, Error};
use crate::domain::ids::AccountId;
use crate::domain::time::Timestamp;
use crate::metrics::Metrics;
use crate::store::Space;

/// So many timers of one account are claimed at once: half of what is acted on, so that the next ones are there when
/// the first half is done.
const CLAIM_AT_ONCE: usize = ACTING_AT_ONCE / 2;
/// So often in a row are timers of one account claimed before the others have their turn.
const CLAIMS_IN_A_ROW: usize = 4;
/// So many accounts are claimed in at once.
const CLAIMING_AT_ONCE: usize = 8;
/// So many timers are acted on at once. A few hundred keep a Redis busy; each has a user in memory.
const ACTING_AT_ONCE: usize = 512;
/// Between two looks at every account when nothing is known to be due, per thousand accounts.
const LOOK_EVERY: Duration = Duration::from_secs(1);
const LOOK_AT_LEAST_EVERY: Duration = Duration::from_secs(30);
/// However soon the next timer rings, so much lies between two looks.
const SHORTEST_PAUSE: Duration = Duration::from_millis(20);

/// Acts on due timers, and sends mails and webhooks.
pub struct Worker {
    directory: Arc<Directory>,
    hands: Arc<Hands>,
    couriers: Arc<Couriers>,
    /// How long a claim lasts: a delivery that begins soon after the claim ends well within it.
    lease: Duration,
    senders: Senders,
}

/// What one look found.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Looked {
    /// Timers that were claimed.
    pub claimed: usize,
    /// When the next timer of each account is due, where nothing is due now.
    coming: Vec<(Timestamp, AccountId)>,
    /// Accounts that may have more to claim.
    busy: BTreeSet<AccountId>,
    /// How many accounts were looked at.
    accounts: usize,
}

/// What the looks of one run share.
struct Round<'a> {
    /// Deliveries on their way, which nobody waits for until the end.
    sending: TaskTracker,
    /// Timers that are acted on, while the next ones are looked for.
    acting: JoinSet<()>,
    /// How long each look waits for whoever sends.
    patience: Patience,
    stop: &'a CancellationToken,
    beat: &'a (dyn Fn() + Send + Sync),
}

impl<'a> Round<'a> {
    fn new(patience: Patience, stop: &'a CancellationToken, beat: &'a (dyn Fn() + Send + Sync)) -> Self {
        Round { sending: TaskTracker::new(), acting: JoinSet::new(), patience, stop, beat }
    }

    /// Waits until one timer less is acted on; at once when there is none.
    async fn acted(&mut self) {
        if let Some(finished) = self.acting.join_next().await {
            (self.beat)();
            if let Err(panicked) = finished {
                // Its claim ends with the lease; a timer that cannot be acted on must not stop all others.
                tracing::error!(%panicked, "acting on a timer failed in an unforeseen way");
            }
        }
    }

    /// Waits for everything that was begun.
    async fn finish(mut self) {
        while !self.acting.is_empty() {
            self.acted().await;
        }
        self.sending.close();
        self.sending.wait().await;
    }
}

/// The accounts whose next timer rings before everybody is looked at again.
#[derive(Default)]
struct Coming(BTreeMap<Timestamp, BTreeSet<AccountId>>);

impl Coming {
    fn add(&mut self, coming: Vec<(Timestamp, AccountId)>, before: Timestamp) {
        for (due, account) in coming.into_iter().filter(|(due, _)| *due < before) {
            self.0.entry(due).or_default().insert(account);
        }
    }

    /// Takes those whose timer has rung.
    fn rung(&mut self, now: Timestamp) -> impl Iterator<Item = AccountId> + use<> {
        let later = self.0.split_off(&(now + Duration::from_millis(1)));
        std::mem::replace(&mut self.0, later).into_values().flatten()
    }

    fn first(&self) -> Option<Timestamp> {
        self.0.keys().next().copied()
    }
}

impl Worker {
    /// `mail_timeout` bounds one delivery; claims last longer than that.
    pub fn new(
        directory: Arc<Directory>,
        mailer: Arc<Mailer>,
        poster: Poster,
        metrics: Arc<Metrics>,
        mail_timeout: Duration,
        time_zone: jiff::tz::TimeZone,
        jitter: fn() -> f64,
    ) -> Self {
        let hands = Hands::new(Arc::clone(&directory), mailer, Arc::clone(&metrics), mail_timeout, time_zone, jitter);
        let hands = Arc::new(hands);
        let couriers = Couriers::new(Arc::clone(&directory), Arc::clone(&hands), Arc::clone(&metrics), poster, jitter);
        let senders = Senders::new(Arc::clone(&directory), Arc::clone(&hands), metrics, jitter);
        Worker {
            directory,
            hands,
            couriers: Arc::new(couriers),
            lease: mail_timeout * 2 + Duration::from_secs(15),
            senders,
        }
    }

    /// Keeps all replicas together to `pace`; `None` sends as fast as the relay takes them.
    #[must_use]
    pub fn paced(self, pace: Option<Pace>) -> Self {
        Worker { senders: self.senders.paced(pace), ..self }
    }

    /// Looks until `stop`, soon after the next timer rings, and at once when this replica made something due. Then it
    /// claims nothing more, gives back what it has not begun, and finishes the deliveries that are on their way; the
    /// caller bounds how long that may take.
    pub async fn run_until(&self, stop: CancellationToken, beat: impl Fn() + Send + Sync) {
        let mut round = Round::new(Patience::SHORT, &stop, &beat);
        let mut trouble = None;
        let (mut busy, mut coming) = (BTreeSet::new(), Coming::default());
        // When every account is looked at again, by both clocks.
        let (mut everywhere_at, mut everywhere_due) = (Instant::now(), Timestamp::EPOCH);
        while !stop.is_cancelled() {
            beat();
            busy.append(&mut self.directory.nudge().take());
            let now = self.directory.store().now();
            let everywhere = Instant::now() >= everywhere_at;
            busy.extend(coming.rung(now));
            let accounts = std::mem::take(&mut busy);
            let looked =
                if everywhere { self.look_everywhere(&mut round).await } else { self.look(accounts, &mut round).await };
            match looked {
                Ok(looked) => {
                    trouble = None;
                    if everywhere {
                        let pause = pause_of(looked.accounts);
                        (everywhere_at, everywhere_due) = (Instant::now() + pause, now + pause);
                        coming = Coming::default();
                    }
                    coming.add(looked.coming, everywhere_due);
                    busy = looked.busy;
                }
                Err(error) => {
                    // Once per reason: a store that is away for an hour is one line.
                    let reason = error.to_string();
                    if trouble.as_ref() != Some(&reason) {
                        tracing::warn!(reason, "could not look for due work; trying again every second");
                    }
                    trouble = Some(reason);
                    everywhere_at = Instant::now() + LOOK_EVERY;
                    coming = Coming::default();
                }
            }
            if busy.is_empty() {
                let next = coming.first().map(|due| due.since(self.directory.store().now()).max(SHORTEST_PAUSE));
                let until = next.map_or(everywhere_at, |next| everywhere_at.min(Instant::now() + next));
                self.rest(until, &mut round).await;
            }
        }
        round.finish().await;
        self.hands.mailer().transport().close_idle().await;
    }

    /// Waits until there may be something to look for, and takes note of what is done meanwhile.
    async fn rest(&self, until: Instant, round: &mut Round<'_>) {
        let stop = round.stop;
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                () = self.directory.nudge().woken() => return,
                () = tokio::time::sleep_until(until) => return,
                () = round.acted(), if !round.acting.is_empty() => {}
            }
        }
    }

    /// Looks at every account once and finishes what it claims there: what finds nobody free who sends it
    /// waits, as nobody waits for this look.
    ///
    /// # Errors
    /// Of the store. What was claimed then is free again when its lease ends.
    pub async fn run_one(&self) -> Result<Looked, Error> {
        let stop = CancellationToken::new();
        let mut round = Round::new(Patience::while_claimed(self.lease), &stop, &|| {});
        let looked = self.look_everywhere(&mut round).await;
        round.finish().await;
        looked
    }

    async fn look_everywhere(&self, round: &mut Round<'_>) -> Result<Looked, Error> {
        self.look(self.directory.accounts().await?.into_iter().collect(), round).await
    }

    async fn look(&self, accounts: BTreeSet<AccountId>, round: &mut Round<'_>) -> Result<Looked, Error> {
        let mut looked = Looked { accounts: accounts.len(), ..Looked::default() };
        if accounts.is_empty() || !self.directory.acts().await? {
            return Ok(looked);
        }
        let spaces: Vec<Space> = accounts.iter().cloned().map(Space::Account).collect();
        let due = self.directory.store().next_due(&spaces).await?;
        let now = self.directory.store().now();
        let mut ripe = Vec::new();
        for (account, due) in accounts.into_iter().zip(due) {
            match due {
                Some(due) if due <= now => ripe.push(account),
                Some(due) => looked.coming.push((due, account)),
                None => {}
            }
        }
        self.drain(ripe, &mut looked, round).await?;
        Ok(looked)
    }

    /// Claims what is due in these accounts and begins to act on it: on timers of people side by side, on letters by
    /// finding them a sender. The next claims are on their way meanwhile. The first error is returned at the end: what
    /// was claimed until then is acted on.
    async fn drain(&self, ripe: Vec<AccountId>, looked: &mut Looked, round: &mut Round<'_>) -> Result<(), Error> {
        let mut waiting = round.patience.begin();
        let mut ripe = ripe.into_iter().map(|account| (account, CLAIMS_IN_A_ROW));
        let mut claiming = JoinSet::new();
        let claim = |(account, turns): (AccountId, usize)| {
            let (hands, lease) = (Arc::clone(&self.hands), self.lease);
            async move {
                let claimed = hands.claim(&account, CLAIM_AT_ONCE, lease).await;
                (account, turns - 1, claimed)
            }
        };
        let mut failed = None;
        loop {
            while claiming.len() < CLAIMING_AT_ONCE
                && failed.is_none()
                && !round.stop.is_cancelled()
                && let Some(next) = ripe.next()
            {
                claiming.spawn(claim(next));
            }
            let (account, turns, claimed) = match claiming.join_next().await {
                None => return failed.map_or(Ok(()), Err),
                Some(Err(panicked)) => {
                    tracing::error!(%panicked, "claiming timers failed in an unforeseen way");
                    continue;
                }
                Some(Ok(done)) => done,
            };
            (round.beat)();
            let begun = match claimed {
                Ok(claimed) => {
                    looked.claimed += claimed.count;
                    if claimed.count > 0 {
                        looked.busy.insert(account.clone());
                    }
                    if claimed.count == CLAIM_AT_ONCE && turns > 0 && !round.stop.is_cancelled() {
                        claiming.spawn(claim((account.clone(), turns)));
                    }
                    self.begin(&account, claimed, &mut waiting, round).await
                }
                Err(error) => Err(error),
            };
            failed = failed.or(begun.err());
        }
    }

    async fn begin(
        &self,
        account: &AccountId,
        claimed: Claimed,
        waiting: &mut Waiting,
        round: &mut Round<'_>,
    ) -> Result<(), Error> {
        for timer in claimed.timers {
            while round.acting.len() >= ACTING_AT_ONCE {
                round.acted().await;
            }
            let (hands, account, stop) = (Arc::clone(&self.hands), account.clone(), round.stop.clone());
            round.acting.spawn(async move {
                hands.act(&account, timer, &stop).await;
            });
        }
        self.couriers.send(account, claimed.webhooks, round.patience, &round.sending, round.stop);
        self.senders.send(account, claimed.letters, waiting, &round.sending, round.stop).await
    }
}

/// Between two looks at so many accounts.
fn pause_of(accounts: usize) -> Duration {
    let thousands = u32::try_from(accounts / 1_000).unwrap_or(u32::MAX).max(1);
    LOOK_EVERY.saturating_mul(thousands).min(LOOK_AT_LEAST_EVERY)
}
