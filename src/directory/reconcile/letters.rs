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
    pub(super) async fn letters(&mut self, keys: &[DocumentKey]) -> Result<(), Halt> {
        let reads = Reads { documents: keys.to_vec(), timers: keys.to_vec(), ..Reads::default() };
        let found = self.directory.store.read(&self.space, &reads).await?;
        for ((key, document), timer) in keys.iter().zip(found.documents).zip(found.timers) {
            let Some(document) = document else { continue };
            match serde_json::from_slice::<Letter>(&document.body) {
                Ok(letter) => self.letter(key, &document, &letter, timer.is_some()).await?,
                Err(error) => self.unreadable(key, &Error::damaged("outbox entry", error)),
            }
        }
        Ok(())
    }

    async fn letter(
        &mut self,
        key: &DocumentKey,
        document: &Document,
        letter: &Letter,
        timer: bool,
    ) -> Result<(), Halt> {
        self.enter_document(key, &expected(key, document)?, 0);
        let now = self.now();
        let owner = keys::user(letter.user);
        let user = self.directory.store.get(&self.space, std::slice::from_ref(&owner)).await?.pop().flatten();
        let record = user.as_ref().map(UserRecord::decode).transpose();
        // A user who cannot be read is told of elsewhere.
        let Ok(record) = record else { return Ok(()) };
        let mut batch = Batch::new(entropy::commit_id(now));
        batch.checks.push(Check::Revision { key: key.clone(), revision: document.revision });
        batch.checks.push(match &user {
            Some(user) => Check::Revision { key: owner, revision: user.revision },
            None => Check::Absent { key: owner },
        });
        let lives = record.as_ref().filter(|_| !user.as_ref().is_some_and(is_tombstone));
        let wrong = match lives {
            None => {
                remove_letter(&mut batch, letter.id);
                Wrong::of(Invariant::V12, "a mail to somebody who is gone")
            }
            Some(record) if letter.kind.carries_invitation() && !is_current(letter, &record.user, now) => {
                remove_letter(&mut batch, letter.id);
                let live = record.user.invitation().is_some_and(|invitation| invitation.is_live());
                let invariant = if live { Invariant::V12 } else { Invariant::V2 };
                Wrong::of(invariant, "a mail of an invitation that is not live any more")
            }
            Some(_) if !timer => {
                batch.writes.push(Write::TimerSet { owner: key.clone(), due: now });
                Wrong::of(Invariant::V12, "a queued mail has no timer")
            }
            Some(_) => return Ok(()),
        };
        self.ledger.suspect(&key.id);
        self.repair(key, &[wrong], batch).await.map(|_| ())
    }
}
