//! A run over one account: what it takes in of the walk, and how a repair is committed.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use tokio::time::Instant;

use super::invariant::Invariant;
use super::ledger::Ledger;
use super::report::{Finding, Mode, Outcome, Report};
use crate::directory::audit::{Actor, AuditEvent, Door};
use crate::directory::kind::{Kind, is_own};
use crate::directory::request::{Context, Request};
use crate::directory::{Directory, Error, keys};
use crate::domain::ids::{AccountId, ResourceId};
use crate::domain::time::Timestamp;
use crate::store::{
    Batch, Check, Document, DocumentKey, EventId, Index, Item, Reads, Space, StoreError, Write, interned,
};

/// Why a run ends before its end.
#[derive(Debug)]
pub(super) enum Halt {
    /// [`Report::MAX_REPAIRS`] are done.
    TooMany,
    Failed(Error),
}

impl From<Error> for Halt {
    fn from(error: Error) -> Self {
        Halt::Failed(error)
    }
}

impl From<StoreError> for Halt {
    fn from(error: StoreError) -> Self {
        Halt::Failed(error.into())
    }
}

/// What is wrong with one document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Wrong {
    pub invariant: Invariant,
    pub what: String,
}

impl Wrong {
    pub fn of(invariant: Invariant, what: impl Into<String>) -> Self {
        Wrong { invariant, what: what.into() }
    }
}

/// What the audit stream says, as far as it was read.
#[derive(Debug, Default)]
pub(super) struct Heard {
    /// The last revision of each user.
    pub revisions: HashMap<ResourceId, u64>,
    pub oldest: Option<Timestamp>,
    pub newest: Option<Timestamp>,
    pub read_to: Option<EventId>,
}

/// So many documents are read at once, and looked at without a pause: some milliseconds of a thread that requests wait for.
pub(super) const CHUNK: usize = 25;
/// So many entries of an index are read at once.
pub(super) const PAGE: usize = 1_000;
/// So often a document that others write meanwhile is looked at again.
pub(super) const ATTEMPTS: usize = 3;
/// The longest pause between two pieces.
const LONGEST_PAUSE: Duration = Duration::from_millis(20);

/// Lets others have the store for as long as a piece took that began then.
pub(super) async fn pause(piece_began: Instant) {
    tokio::time::sleep(piece_began.elapsed().min(LONGEST_PAUSE)).await;
}

pub(super) struct Run<'a> {
    pub directory: &'a Directory,
    pub request: Request,
    pub space: Space,
    mode: Mode,
    pub report: Report,
    pub ledger: Ledger,
    /// Seats held, by license, as the users met so far say.
    pub seats: BTreeMap<ResourceId, i64>,
    /// Effective Account Admins met so far.
    pub admins: i64,
    pub heard: Heard,
    /// The group whose members came last, and whether it exists.
    pub last_group: Option<(String, bool)>,
    /// Why it ended before its end.
    pub halt: Option<Halt>,
    /// The account as it was at the beginning.
    context: Option<Context>,
    /// Documents that were met and not looked at.
    waiting: Vec<(DocumentKey, Document)>,
    /// Entries and unique keys since the last pause.
    others: usize,
    piece_began: Instant,
}

impl<'a> Run<'a> {
    pub fn new(directory: &'a Directory, account: &AccountId, mode: Mode) -> Self {
        Run {
            directory,
            request: Request::trusted(account.clone(), Actor::new(Door::System, ACTOR)),
            space: Space::Account(account.clone()),
            mode,
            report: Report::default(),
            ledger: Ledger::new(),
            seats: BTreeMap::new(),
            admins: 0,
            heard: Heard::default(),
            last_group: None,
            halt: None,
            context: None,
            waiting: Vec::with_capacity(CHUNK),
            others: 0,
            piece_began: Instant::now(),
        }
    }

    pub async fn begin(&mut self) -> Result<(), Halt> {
        // First, so that no document is older than what was heard of it.
        self.listen().await?;
        self.context = Some(self.directory.open(&self.request, &[]).await?.0);
        Ok(())
    }

    /// Takes in one thing of the first walk: every document by itself, and both sides of the ledger. `true`: a piece is
    /// done, so that others should have the store for a while.
    pub async fn take(&mut self, item: Item) -> Result<bool, Halt> {
        match item {
            Item::Document { kind, id, document } => {
                // Others are of no interest here, or of a newer release.
                let Some(kind) = known_kind(&kind) else { return Ok(false) };
                self.waiting.push((DocumentKey::new(kind, id), document));
                if self.waiting.len() < CHUNK {
                    return Ok(false);
                }
                self.documents().await?;
                return Ok(true);
            }
            Item::Entry { index, entry } => self.enter_entry(&index, &entry).await?,
            Item::Unique { unique, key, id } => self.enter_unique(&unique, &key, &id),
            Item::Timer { .. } | Item::Counter { .. } | Item::Event { .. } => return Ok(false),
        }
        self.others = (self.others + 1) % PAGE;
        Ok(self.others == 0)
    }

    /// What comes after the first walk.
    pub async fn finish(&mut self) -> Result<(), Halt> {
        self.documents().await?;
        if !self.ledger.balances() {
            self.remove_stale().await?;
            self.add_missing().await?;
        }
        self.timers().await?;
        self.counts().await
    }

    /// Looks at the documents that wait.
    async fn documents(&mut self) -> Result<(), Halt> {
        let found = std::mem::take(&mut self.waiting);
        let Some(context) = self.context.clone() else { return Ok(()) };
        self.report.documents += found.len();
        let (users, others): (Vec<_>, Vec<_>) = found.into_iter().partition(|(key, _)| key.kind == keys::USER);
        Box::pin(self.users(&context, &users)).await?;
        for (key, document) in &others {
            match key.kind {
                keys::OUTBOX => Box::pin(self.letter(key, document)).await?,
                _ => Box::pin(self.other(key, document)).await?,
            }
        }
        Ok(())
    }

    /// Lets others have the store for as long as the last piece took.
    pub async fn pause(&mut self) {
        pause(self.piece_began).await;
        self.piece_began = Instant::now();
    }

    pub fn now(&self) -> Timestamp {
        self.directory.store.now()
    }

    pub fn alert(&mut self, invariant: Invariant, subject: impl Into<String>, what: impl Into<String>) {
        let finding = Finding { invariant, outcome: Outcome::Alert, subject: subject.into(), what: what.into() };
        tracing::warn!(%invariant, subject = finding.subject, what = finding.what, "the Account Admins should know");
        self.report.note(finding);
    }

    /// Commits a repair of `subject` with its audit event. `false`: somebody else was faster, so that it has to be
    /// looked at again. A dry run only looks whether the checks still hold.
    pub async fn repair(&mut self, subject: &DocumentKey, wrong: &[Wrong], mut batch: Batch) -> Result<bool, Halt> {
        let revision = revision_made(&batch, subject);
        batch.writes.push(Write::EventAppend { body: self.event(subject, revision, wrong).into() });
        self.repair_with_event(subject, wrong, batch).await
    }

    /// As [`Run::repair`], for a batch that has an event already.
    pub async fn repair_with_event(
        &mut self,
        subject: &DocumentKey,
        wrong: &[Wrong],
        batch: Batch,
    ) -> Result<bool, Halt> {
        let (done, outcome) = match self.mode {
            Mode::DryRun => (self.holds(&batch.checks).await?, Outcome::WouldRepair),
            Mode::Repair => {
                if self.report.total(Outcome::Repaired) + wrong.len() > Report::MAX_REPAIRS {
                    self.report.stopped = true;
                    return Err(Halt::TooMany);
                }
                (self.directory.committed(&self.space, &batch).await?, Outcome::Repaired)
            }
        };
        if done {
            for Wrong { invariant, what } in wrong {
                let subject = name(subject);
                tracing::info!(%invariant, subject, what, outcome = outcome.as_str(), "reconciled");
                self.report.note(Finding { invariant: *invariant, outcome, subject, what: what.clone() });
            }
        }
        Ok(done)
    }

    /// Whether the checks hold now, told by reading. Those of counters and claims count as held.
    async fn holds(&self, checks: &[Check]) -> Result<bool, Halt> {
        let mut reads = Reads::default();
        for check in checks {
            match check {
                Check::Revision { key, .. } | Check::Exists { key } | Check::Absent { key } => {
                    reads.documents.push(key.clone());
                }
                Check::Free { unique, key } | Check::Held { unique, key, .. } => {
                    reads.unique.push((unique, key.clone()))
                }
                Check::Indexed { index, entry, .. } => reads.entries.push((index.clone(), entry.clone())),
                Check::Timer { owner, .. } => reads.timers.push(owner.clone()),
                Check::Counter { .. } | Check::Claimed { .. } => {}
            }
        }
        let found = self.directory.store.read(&self.space, &reads).await?;
        let (mut documents, mut unique) = (found.documents.iter(), found.unique.iter());
        let (mut entries, mut timers) = (found.entries.iter(), found.timers.iter());
        let mut holds = |check: &Check| match check {
            Check::Revision { revision, .. } => {
                documents.next().and_then(Option::as_ref).is_some_and(|found| found.revision == *revision)
            }
            Check::Exists { .. } => documents.next().is_some_and(Option::is_some),
            Check::Absent { .. } => documents.next().is_some_and(Option::is_none),
            Check::Free { .. } => unique.next().is_some_and(Option::is_none),
            Check::Held { id, .. } => unique.next().and_then(Option::as_ref) == Some(id),
            Check::Indexed { present, .. } => entries.next() == Some(present),
            Check::Timer { wakes, .. } => timers.next().map(|timer| timer.as_ref().map(|it| it.wakes)) == Some(*wakes),
            Check::Counter { .. } | Check::Claimed { .. } => true,
        };
        Ok(checks.iter().all(&mut holds))
    }

    fn event(&self, subject: &DocumentKey, revision: Option<u64>, wrong: &[Wrong]) -> Vec<u8> {
        let id = subject.id.parse().ok();
        let is_user = subject.kind == keys::USER;
        let event = AuditEvent {
            user: id.filter(|_| is_user),
            resource: id.filter(|_| !is_user),
            revision,
            attributes: wrong.iter().map(|wrong| wrong.invariant.to_string()).collect(),
            ..AuditEvent::new(self.now(), Actor::new(Door::System, ACTOR), REPAIRED)
        };
        serde_json::to_vec(&event).expect("an event has only string keys")
    }
}

/// The revision that a batch makes of a document without putting it.
fn revision_made(batch: &Batch, subject: &DocumentKey) -> Option<u64> {
    let bumps = |write: &Write| matches!(write, Write::Touch { key, bump: Some(_), .. } if key == subject);
    let revision = batch.checks.iter().find_map(|check| match check {
        Check::Revision { key, revision } if key == subject => Some(*revision),
        _ => None, // only one of many checks says so
    })?;
    batch.writes.iter().any(bumps).then_some(revision + 1)
}

const ACTOR: &str = "reconcile";
/// The audit event of a repair; its attributes are the invariants.
pub(super) const REPAIRED: &str = "reconcile.repaired";

/// How a finding names a document.
pub(super) fn name(key: &DocumentKey) -> String {
    format!("{} {}", key.kind, key.id)
}

/// The kinds of documents that stand in indexes that the walk knows.
pub(super) fn known_kind(kind: &str) -> Option<&'static str> {
    let kinds = Kind::BUILT_IN.iter().map(|kind| kind.as_str());
    let known = kinds.chain([keys::TOKEN, keys::OUTBOX, keys::WEBHOOK]).find(|known| *known == kind);
    known.or_else(|| is_own(kind).then(|| interned(kind)))
}

pub(super) fn index(name: impl std::fmt::Display) -> Index {
    Index::new(name)
}
