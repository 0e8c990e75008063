//! Reconciliation: whether what is stored agrees with itself (lifecycle: "Invariants"), and its repair.
//!
//! A walk goes over everything in pieces, three times at the most. The first time (`users`, `letters`), which several
//! accounts share, looks at each
//! document by itself and enters into a `ledger::Ledger` where it should stand; the entries of the indexes are
//! entered with the opposite sign. Where that does not come to nothing, the second and third time (`places`) find out
//! which entries are too many and which are missing. On a sound store nothing is read twice.
//!
//! The checks are pure functions over what was read (`checks`); each finding is looked at again with the revision of
//! its document, and its repair checks that revision, so that whoever writes at the same moment wins and is looked at
//! next time. No repair grants anything: it takes away, or puts the bookkeeping right.

mod checks;
mod counts;
mod history;
mod invariant;
mod ledger;
mod letters;
mod memberships;
mod places;
mod report;
mod run;
mod timers;
mod users;

pub use invariant::Invariant;
pub use report::{Finding, Mode, Outcome, Report};

use tokio::time::Instant;

use self::run::{Halt, Run};
use super::Directory;
use super::error::Error;
use crate::domain::ids::AccountId;
use crate::store::Space;

/// So many accounts share a walk at the most: each has a ledger of half a megabyte meanwhile.
pub const TOGETHER: usize = 32;

impl Directory {
    /// Checks an account and, in [`Mode::Repair`], repairs it; stops after [`Report::MAX_REPAIRS`].
    ///
    /// # Errors
    /// Of the store; what was repaired until then is repaired. [`Error::NotFound`] when there is no such account.
    pub async fn reconcile(&self, account: &AccountId, mode: Mode) -> Result<Report, Error> {
        let mut done = self.reconcile_together(std::slice::from_ref(account), mode).await;
        done.pop().unwrap_or_else(|| Err(Error::NotFound(format!("there is no account {account}"))))
    }

    /// As [`Directory::reconcile`] for each of these accounts. Up to [`TOGETHER`] share the first walk, which on Redis
    /// goes over all keys of the server; only where something is wrong an account is walked by itself.
    pub async fn reconcile_together(&self, accounts: &[AccountId], mode: Mode) -> Vec<Result<Report, Error>> {
        let mut done = Vec::with_capacity(accounts.len());
        for some in accounts.chunks(TOGETHER) {
            // On the heap: a repair goes through the whole lifecycle, whose futures are large.
            done.extend(Box::pin(self.reconcile_some(some, mode)).await);
        }
        done
    }

    async fn reconcile_some(&self, accounts: &[AccountId], mode: Mode) -> Vec<Result<Report, Error>> {
        let mut runs: Vec<Run<'_>> = accounts.iter().map(|account| Run::new(self, account, mode)).collect();
        for run in &mut runs {
            run.halt = run.begin().await.err();
        }
        if let Err(error) = self.look(&mut runs).await {
            // What was not seen must not be taken for what is not there.
            let reason = error.to_string();
            for run in runs.iter_mut().filter(|run| run.halt.is_none()) {
                run.halt = Some(Halt::Failed(Error::Internal(format!("a walk over the store ended: {reason}"))));
            }
        }
        let mut done = Vec::with_capacity(runs.len());
        for mut run in runs {
            if run.halt.is_none() {
                run.halt = run.finish().await.err();
            }
            done.push(match run.halt {
                None | Some(Halt::TooMany) => Ok(run.report),
                Some(Halt::Failed(error)) => Err(error),
            });
        }
        done
    }

    /// The first walk, for all runs together.
    async fn look(&self, runs: &mut [Run<'_>]) -> Result<(), Error> {
        let spaces: Vec<Space> = runs.iter().map(|run| run.space.clone()).collect();
        let mut items = self.store.walk_together(spaces);
        let mut piece_began = Instant::now();
        while let Some(found) = items.recv().await {
            let (number, item) = found?;
            let Some(run) = runs.get_mut(number).filter(|run| run.halt.is_none()) else { continue };
            match run.take(item).await {
                Ok(false) => {}
                Ok(true) => {
                    run::pause(piece_began).await;
                    piece_began = Instant::now();
                }
                Err(halt) => run.halt = Some(halt),
            }
        }
        Ok(())
    }
}
