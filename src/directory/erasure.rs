//! What goes with a person who is erased, besides their record: letters to them, what waits in streams of security
//! events with their name, and what the story says of them. It is a task, written by the batch that erases the record, so that no crash leaves their name behind.

use serde::{Deserialize, Serialize};

use super::change::remove_letter;
use super::deliveries::entry_of;
use super::error::Error;
use super::invitations::Action;
use super::outbox::read_letter;
use super::record::UserRecord;
use super::request::Request;
use super::story::Known;
use super::tasks::{Slice, Step, Task, Work};
use super::{Directory, keys};
use crate::domain::ids::ResourceId;
use crate::store::{Batch, Bounds, DocumentKey, Entry, Index, Page};

/// So many letters are looked at by one slice; if all go, each is four writes.
const LETTERS_AT_ONCE: usize = 400;

/// How far somebody is erased whose record is gone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Erasure {
    /// By what the story knows them. It ends with the task.
    known: Known,
    place: Place,
    /// The entry of this place up to which it is done.
    behind: Option<String>,
}

/// Where something personal may stand, in the order in which it is taken away: a letter that is given up meanwhile
/// moves on to the dead ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Place {
    Queue,
    DeadLetters,
    Streams,
    DeadDeliveries,
    Story,
}

impl Place {
    const fn next(self) -> Option<Place> {
        match self {
            Place::Queue => Some(Place::DeadLetters),
            Place::DeadLetters => Some(Place::Streams),
            Place::Streams => Some(Place::DeadDeliveries),
            Place::DeadDeliveries => Some(Place::Story),
            Place::Story => None,
        }
    }
}

impl Erasure {
    pub(super) fn of(record: &UserRecord) -> Self {
        Erasure { known: Known::of(record), place: Place::Queue, behind: None }
    }

    /// What is left when this place is done up to `last`; `None`: nothing. No `last` is the end of the place.
    fn after(self, last: Option<String>) -> Option<Self> {
        let place = if last.is_some() { Some(self.place) } else { self.place.next() };
        place.map(|place| Erasure { place, behind: last, ..self })
    }
}

impl Task {
    /// Known by the id of the person, so that whoever asks for the same erasure again finds it.
    pub(super) fn erased(record: &UserRecord) -> Self {
        Task { id: record.user.id, work: Work::Erased(Erasure::of(record)) }
    }
}

impl Directory {
    /// Forgets a person: the record with names and addresses, what waits to be mailed to them or never could be,
    /// sessions and codes, and what the story says of them. Also somebody who was deleted before. What stays is the
    /// audit, which knows them by id. Asked for again before it is finished, it goes on.
    ///
    /// # Errors
    /// As [`Directory::act`]; [`crate::domain::lifecycle::Refusal::DeactivateFirst`] for somebody Active.
    /// [`Error::Unavailable`] when the rest goes on in the background.
    pub async fn erase_user(&self, request: &Request, id: &str) -> Result<(), Error> {
        let erased = match self.act(request, id, &Action::Erase).await {
            Ok(record) => record.user.id,
            Err(Error::NotFound(unknown)) => {
                self.unfinished_erasure(request, id).await?.ok_or(Error::NotFound(unknown))?
            }
            Err(error) => return Err(error),
        };
        self.carry_out(&request.account, erased).await
    }

    async fn unfinished_erasure(&self, request: &Request, id: &str) -> Result<Option<ResourceId>, Error> {
        let Ok(id) = id.parse::<ResourceId>() else { return Ok(None) };
        let (_, found) = self.open(request, &[keys::task(id)]).await?;
        Ok(found.into_iter().flatten().next().map(|_| id))
    }

    pub(super) async fn erased_slice(&self, slice: &Slice<'_>, erasure: Erasure) -> Result<Option<Step>, Error> {
        let mut batch = slice.batch();
        let behind = erasure.behind.clone();
        let last = match erasure.place {
            Place::Queue => self.burn_letters(slice, keys::QUEUE, behind, &mut batch).await?,
            Place::DeadLetters => self.burn_letters(slice, keys::DEAD, behind, &mut batch).await?,
            Place::Streams => self.forget_told(slice, keys::STREAMED, behind).await?,
            Place::DeadDeliveries => self.forget_told(slice, keys::DEAD_WEBHOOKS, behind).await?,
            Place::Story => self.forget_in_story(slice.space(), &erasure.known, behind).await?,
        };
        match erasure.after(last) {
            None => {
                slice.end(&mut batch);
                self.finished(slice, &batch).await
            }
            Some(rest) => {
                slice.advance(Work::Erased(rest), &mut batch);
                Ok(self.committed(slice.space(), &batch).await?.then_some(Step::More))
            }
        }
    }

    /// Takes what is personal out of the security events about this person, among the next ones of an index.
    async fn forget_told(
        &self,
        slice: &Slice<'_>,
        index: &str,
        behind: Option<String>,
    ) -> Result<Option<String>, Error> {
        let behind = behind.as_deref().and_then(|id| entry_of(index, id));
        let last = self.forget_in_streams(slice.space(), index, slice.task.id, behind).await?;
        Ok(last.map(|entry| entry.id))
    }

    /// Plans that the letters to this person go, among the next ones of an index; the last one that was looked at, if
    /// there may be more.
    async fn burn_letters(
        &self,
        slice: &Slice<'_>,
        index: &str,
        behind: Option<String>,
        batch: &mut Batch,
    ) -> Result<Option<String>, Error> {
        let after = behind.map(|id| Entry { key: String::new(), id });
        let page = Page { after, ..Page::first(LETTERS_AT_ONCE) };
        let entries = self.store.range(slice.space(), &Index::new(index), &Bounds::All, &page).await?;
        let wanted: Vec<DocumentKey> = entries.iter().map(|entry| DocumentKey::new(keys::OUTBOX, &entry.id)).collect();
        if wanted.is_empty() {
            return Ok(None);
        }
        for document in self.store.get(slice.space(), &wanted).await?.into_iter().flatten() {
            match read_letter(&document.body) {
                Ok(letter) if letter.user == slice.task.id => remove_letter(batch, letter.id),
                Ok(_) => {}
                // Reconciliation tells of it; whose it is, nobody can say.
                Err(error) => tracing::warn!(%error, "a letter is passed over while somebody is erased"),
            }
        }
        Ok(entries.into_iter().last().filter(|_| wanted.len() == LETTERS_AT_ONCE).map(|last| last.id))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::time::Timestamp;
    use crate::domain::user::User;

    #[test]
    fn an_erasure_goes_through_every_place_to_its_end() {
        let id = "01890a5d-ac96-774b-bcce-b302099a8057".parse().unwrap();
        let user = User::unborn(id, crate::domain::names::UserName::parse("ada").unwrap(), "User");
        let begun = Erasure::of(&UserRecord::unborn(user, Timestamp::EPOCH));
        let half = begun.clone().after(Some("7".to_owned())).unwrap();
        assert_eq!((half.place, half.behind.as_deref()), (Place::Queue, Some("7")));
        let dead = half.after(None).unwrap();
        assert_eq!((dead.place, dead.behind.as_deref()), (Place::DeadLetters, None));
        let streams = dead.after(None).unwrap();
        assert_eq!((streams.place, streams.behind.as_deref()), (Place::Streams, None));
        let given_up = streams.after(None).unwrap();
        assert_eq!((given_up.place, given_up.behind.as_deref()), (Place::DeadDeliveries, None));
        let story = given_up.after(None).unwrap();
        assert_eq!((story.place, story.behind.as_deref()), (Place::Story, None));
        assert_eq!(story.after(None), None);
    }
}
