//! The outbox: what waits there has a timer, and means something (V2, V12).

use super::invariant::Invariant;
use super::places::{expected, is_tombstone};
use super::run::{Halt, Run, Wrong};
use crate::directory::change::remove_letter;
use crate::directory::outbox::Letter;
use crate::directory::record::UserRecord;
use crate::directory::timers::is_current;
use crate::directory::{Error, entropy, keys};
use crate::store::{Batch, Check, Document, DocumentKey, Reads, Write};

impl Run<'_> {
    pub(super) async fn letter(&mut self, key: &DocumentKey, document: &Document) -> Result<(), Halt> {
        let letter: Letter = match serde_json::from_slice(&document.body) {
            Ok(letter) => letter,
            Err(error) => {
                self.unreadable(key, &Error::damaged("outbox entry", error));
                return Ok(());
            }
        };
        self.enter_document(key, &expected(&self.directory.schemas, key, document)?, 0);
        let now = self.now();
        let owner = keys::user(letter.user);
        let (documents, timers) = (vec![owner.clone()], vec![key.clone()]);
        let found = self.directory.store.read(&self.space, &Reads { documents, timers, ..Reads::default() }).await?;
        let timer = found.timers.iter().any(Option::is_some);
        let user = found.documents.into_iter().next().flatten();
        let record = user.as_ref().map(UserRecord::decode).transpose();
        // A user who cannot be read is told of elsewhere.
        let Ok(record) = record else { return Ok(()) };
        let mut batch = Batch::new(entropy::commit_id(now));
        batch.checks.push(Check::Revision { key: key.clone(), revision: document.revision });
        batch.checks.push(match &user {
            Some(user) => Check::Revision { key: owner.clone(), revision: user.revision },
            None => Check::Absent { key: owner.clone() },
        });
        let lives = record.as_ref().filter(|_| !user.as_ref().is_some_and(is_tombstone));
        let wrong = match lives {
            // Kept until its time is over, whatever has become of the person; erasure takes it along.
            _ if letter.dead.is_some() && timer => return Ok(()),
            None => {
                remove_letter(&mut batch, letter.id);
                Wrong::of(Invariant::V12, "a mail to somebody who is gone")
            }
            Some(record) if letter.kind.carries_invitation() && !is_current(&letter, &record.user, now) => {
                remove_letter(&mut batch, letter.id);
                let live = record.user.invitation().is_some_and(|invitation| invitation.is_live());
                let invariant = if live { Invariant::V12 } else { Invariant::V2 };
                Wrong::of(invariant, "a mail of an invitation that is not live any more")
            }
            Some(_) if !timer => {
                batch.checks.push(Check::Timer { owner: key.clone(), wakes: None });
                batch.writes.push(Write::TimerSet { owner: key.clone(), due: now });
                Wrong::of(Invariant::V12, "a queued mail has no timer")
            }
            Some(_) => return Ok(()),
        };
        self.ledger.suspect(&key.id);
        self.repair(key, &[wrong], batch).await?;
        // Who waits for a letter that is gone now waits no more.
        self.mend_user(&owner).await
    }
}
