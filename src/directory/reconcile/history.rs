//! V13: the audit stream names every revision of a user after the oldest event that is kept.

use super::invariant::Invariant;
use super::run::{Halt, PAGE, Run, name};
use crate::directory::audit::AuditEvent;
use crate::directory::record::UserRecord;
use crate::domain::ids::ResourceId;
use crate::store::{DocumentKey, EventId};

impl Run<'_> {
    /// Reads the whole stream. Kept of it is one number for each user.
    pub(super) async fn listen(&mut self) -> Result<(), Halt> {
        loop {
            let events = self.directory.store.events(&self.space, self.heard.read_to, PAGE, false).await?;
            for event in &events {
                self.heard.read_to = Some(event.id);
                // Whatever else a newer release writes there.
                let Ok(event) = serde_json::from_slice::<AuditEvent>(&event.body) else { continue };
                self.heard.oldest.get_or_insert(event.at);
                self.heard.newest = self.heard.newest.max(Some(event.at));
                let (Some(user), Some(revision)) = (event.user, event.revision) else { continue };
                let last = self.heard.revisions.insert(user, revision);
                if last.is_some_and(|last| revision > last + 1) {
                    let last = last.unwrap_or_default();
                    self.alert(
                        Invariant::V13,
                        format!("user {user}"),
                        format!("no event between revisions {last} and {revision}"),
                    );
                }
            }
            self.pause().await;
            if events.len() < PAGE {
                return Ok(());
            }
        }
    }

    /// Whether the last change of a user is missing at the end of the stream.
    pub(super) async fn unheard(&mut self, key: &DocumentKey, record: &UserRecord) -> Result<(), Halt> {
        let id = record.user.id;
        let heard = self.heard.revisions.get(&id).copied().unwrap_or(0);
        let within = self.heard.oldest.is_some_and(|oldest| oldest < record.modified)
            && self.heard.newest.is_some_and(|newest| record.modified <= newest);
        if !within || record.revision <= heard || self.tells_of(id, record.revision).await? {
            return Ok(());
        }
        self.alert(Invariant::V13, name(key), format!("no event of revision {}", record.revision));
        Ok(())
    }

    /// Whether an event behind what was read is of this revision or a later one.
    async fn tells_of(&self, user: ResourceId, revision: u64) -> Result<bool, Halt> {
        let mut after: Option<EventId> = self.heard.read_to;
        loop {
            let events = self.directory.store.events(&self.space, after, PAGE, false).await?;
            let tells = |event: &AuditEvent| event.user == Some(user) && event.revision >= Some(revision);
            let mut read = events.iter().filter_map(|event| serde_json::from_slice::<AuditEvent>(&event.body).ok());
            if read.any(|event| tells(&event)) {
                return Ok(true);
            }
            match events.last() {
                Some(last) if events.len() == PAGE => after = Some(last.id),
                _ => return Ok(false),
            }
        }
    }
}
