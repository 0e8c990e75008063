//! What goes with a person who is erased, besides their record.

use super::change::remove_letter;
use super::error::Error;
use super::invitations::Action;
use super::outbox::Letter;
use super::record::UserRecord;
use super::request::Request;
use super::{Directory, entropy, keys};
use crate::domain::ids::{AccountId, ResourceId};
use crate::store::{Batch, Bounds, DocumentKey, Index, Page, Space};

/// So many letters of the queue are looked at in one trip.
const LETTERS_AT_ONCE: usize = 500;

impl Directory {
    /// Forgets a person: the record with names and addresses, what waits to be mailed to them, sessions and codes, and
    /// what the story says of them. Also
    /// somebody who was deleted before. What stays is the audit, which knows them by id.
    ///
    /// # Errors
    /// As [`Directory::act`]; [`crate::domain::lifecycle::Refusal::DeactivateFirst`] for somebody Active.
    pub async fn erase_user(&self, request: &Request, id: &str) -> Result<(), Error> {
        self.act(request, id, &Action::Erase).await.map(|_| ())
    }

    /// Takes a person whose record is erased out of what stands beside it.
    pub(super) async fn forget_beside(&self, account: &AccountId, erased: &UserRecord) -> Result<(), Error> {
        self.burn_letters(account, erased.user.id).await?;
        self.forget_in_story(account, erased).await
    }

    /// Takes everything out of the queue that is to go to a person who was erased. What a crash leaves there is dropped
    /// when it is due, since its user is gone.
    async fn burn_letters(&self, account: &AccountId, user: ResourceId) -> Result<(), Error> {
        let space = Space::Account(account.clone());
        let mut page = Page::first(LETTERS_AT_ONCE);
        loop {
            let entries = self.store.range(&space, &Index::new(keys::QUEUE), &Bounds::All, &page).await?;
            let wanted: Vec<DocumentKey> =
                entries.iter().map(|entry| DocumentKey::new(keys::OUTBOX, &entry.id)).collect();
            if wanted.is_empty() {
                return Ok(());
            }
            let mut batch = Batch::new(entropy::commit_id(self.store.now()));
            for document in self.store.get(&space, &wanted).await?.into_iter().flatten() {
                let letter: Letter =
                    serde_json::from_slice(&document.body).map_err(|error| Error::damaged("outbox entry", error))?;
                if letter.user == user {
                    remove_letter(&mut batch, letter.id);
                }
            }
            if !batch.writes.is_empty() {
                self.committed(&space, &batch).await?;
            }
            match entries.into_iter().last() {
                Some(last) if wanted.len() == page.limit => page.after = Some(last),
                _ => return Ok(()),
            }
        }
    }
}
