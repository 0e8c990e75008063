//! Reconciliation: whether what is stored agrees with itself (lifecycle: "Invariants"), and its repair.
//!
//! A walk goes over everything in pieces, three times at the most. The first time (`users`, `letters`) looks at each
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

use self::run::{Halt, Run};
use super::Directory;
use super::error::Error;
use crate::domain::ids::AccountId;

impl Directory {
    /// Checks an account and, in [`Mode::Repair`], repairs it; stops after [`Report::MAX_REPAIRS`].
    ///
    /// # Errors
    /// Of the store; what was repaired until then is repaired. [`Error::NotFound`] when there is no such account.
    pub async fn reconcile(&self, account: &AccountId, mode: Mode) -> Result<Report, Error> {
        self.account(account).await?;
        let mut run = Run::new(self, account, mode);
        // On the heap: a repair goes through the whole lifecycle, whose futures are large.
        match Box::pin(run.everything()).await {
            Ok(()) | Err(Halt::TooMany) => Ok(run.report),
            Err(Halt::Failed(error)) => Err(error),
        }
    }
}
