//! V6: no timer without its owner.

use super::invariant::Invariant;
use super::run::{CHUNK, Halt, Run, Wrong};
use crate::directory::{entropy, keys};
use crate::store::{Batch, Check, Owner, Timer, Write};

impl Run<'_> {
    pub(super) async fn timers(&mut self) -> Result<(), Halt> {
        let mut after: Option<Timer> = None;
        loop {
            let timers = self.directory.store.timers(&self.space, after.as_ref(), CHUNK).await?;
            let known: Vec<&Timer> = timers.iter().filter(|timer| OWNERS.contains(&timer.owner.kind)).collect();
            let owners: Vec<Owner> = known.iter().map(|timer| timer.owner.clone()).collect();
            let documents = self.directory.store.get(&self.space, &owners).await?;
            for ((owner, timer), document) in owners.into_iter().zip(known).zip(documents) {
                if document.is_some() {
                    continue;
                }
                let mut batch = Batch::new(entropy::commit_id(self.now()));
                batch.checks.push(Check::Absent { key: owner.clone() });
                batch.checks.push(Check::Timer { owner: owner.clone(), wakes: Some(timer.wakes) });
                batch.writes.push(Write::TimerClear { owner: owner.clone() });
                let wrong = Wrong::of(Invariant::V6, "a timer of what does not exist");
                self.repair(&owner, &[wrong], batch).await?;
            }
            self.pause().await;
            if timers.len() < CHUNK {
                return Ok(());
            }
            after = timers.into_iter().next_back();
        }
    }
}

/// Whose timers are known; those of a newer release are left alone.
const OWNERS: [&str; 5] = [keys::USER, keys::OUTBOX, keys::WEBHOOK, keys::TASK, keys::TASK_PART];
