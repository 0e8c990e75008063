//! The one thread that writes. Whatever waits when it begins goes into one transaction and one fsync; nobody is
//! answered before that fsync is done.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use redb::Database;
use tokio::sync::{mpsc, oneshot, watch};

use super::fault::Fault;
use super::tables::Tables;
use crate::store::clock::Clock;
use crate::store::error::StoreError;

/// More than this does not go into one transaction, so that its memory and its latency stay bounded.
const GROUP: usize = 256;
/// Callers beyond this wait for a place in the queue, under their own deadline.
const QUEUE: usize = 1_024;

/// Something to do in a transaction; what it returns is called once the transaction is on disk.
type Work = Box<dyn FnOnce(&mut Tables<'_>) -> Result<Answer, Fault> + Send>;
type Answer = Box<dyn FnOnce() + Send>;

pub(super) struct Writer {
    queue: Option<mpsc::Sender<Work>>,
    thread: Option<JoinHandle<()>>,
    broken: Arc<watch::Sender<Option<String>>>,
}

impl Writer {
    pub(super) fn start(
        database: Arc<Database>,
        clock: Arc<Clock>,
        broken: Arc<watch::Sender<Option<String>>>,
    ) -> std::io::Result<Self> {
        let (queue, work) = mpsc::channel(QUEUE);
        let latch = Latch { broken: broken.clone(), orderly: AtomicBool::new(false) };
        let thread = std::thread::Builder::new().name("usherd-writer".to_owned()).spawn(move || {
            write(&database, &clock, work, &latch);
            latch.orderly.store(true, Ordering::Relaxed);
        })?;
        Ok(Writer { queue: Some(queue), thread: Some(thread), broken })
    }

    /// Does `work` in a transaction and returns what it returned, once that is on disk.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Tables<'_>) -> Result<T, Fault> + Send + 'static,
    ) -> Result<T, StoreError> {
        let (sender, receiver) = oneshot::channel();
        let work: Work = Box::new(move |tables| {
            let value = work(tables)?;
            Ok(Box::new(move || {
                // Nobody waits any more: the deadline of the call is over.
                drop(sender.send(value));
            }))
        });
        let queue = self.queue.as_ref().ok_or_else(|| self.gone())?;
        queue.send(work).await.map_err(|_| self.gone())?;
        receiver.await.map_err(|_| self.gone())
    }

    fn gone(&self) -> StoreError {
        let reason = self.broken.borrow().clone();
        StoreError::unavailable(reason.unwrap_or_else(|| "the database is being closed".to_owned()))
    }
}

impl Drop for Writer {
    /// Waits for the last transaction, so that the file is free when the store is gone.
    fn drop(&mut self) {
        drop(self.queue.take());
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the writer of the embedded store panicked");
        }
    }
}

/// Tells the process when the writer ends in any other way than being asked to.
struct Latch {
    broken: Arc<watch::Sender<Option<String>>>,
    orderly: AtomicBool,
}

impl Latch {
    fn set(&self, reason: &str) {
        let reason = format!(
            "the embedded database failed and has to be opened again: {reason}; look at the disk, then restart usherd"
        );
        tracing::error!(reason, "the embedded store is broken");
        self.broken.send_replace(Some(reason));
    }
}

impl Drop for Latch {
    fn drop(&mut self) {
        if !self.orderly.load(Ordering::Relaxed) {
            self.set("its writer panicked");
        }
    }
}

fn write(database: &Database, clock: &Clock, mut work: mpsc::Receiver<Work>, latch: &Latch) {
    while let Some(first) = work.blocking_recv() {
        match group(database, clock, first, &mut work) {
            Ok(answers) => answers.into_iter().for_each(|answer| answer()),
            Err(Fault::Broken(reason) | Fault::Damaged(reason)) => {
                latch.set(&reason);
                return;
            }
        }
    }
}

/// One transaction. The answers of a group that failed are dropped, which is an answer too.
fn group(
    database: &Database,
    clock: &Clock,
    first: Work,
    work: &mut mpsc::Receiver<Work>,
) -> Result<Vec<Answer>, Fault> {
    let transaction = database.begin_write()?;
    let mut answers = Vec::new();
    {
        let mut tables = Tables::open(&transaction)?;
        answers.push(first(&mut tables)?);
        while answers.len() < GROUP
            && let Ok(next) = work.try_recv()
        {
            answers.push(next(&mut tables)?);
        }
        let mark = u64::try_from(clock.unmoved().as_millis()).unwrap_or(0);
        tables.numbers.insert("clock", mark)?;
    }
    transaction.commit()?;
    Ok(answers)
}
