//! Where documents stand: index entries and unique keys against what the documents say (V1, V11, V16).

use std::collections::BTreeMap;

use super::invariant::Invariant;
use super::ledger::Claim;
use super::run::{CHUNK, Halt, PAGE, Run, Wrong, by_kind, name, places_of};
use crate::directory::kind::Kind;
use crate::directory::record::{Keys, UserRecord};
use crate::directory::resources::Resource;
use crate::directory::tokens::read_token;
use crate::directory::{Error, entropy, keys};
use crate::domain::ids::ResourceId;
use crate::store::{Batch, Bounds, Check, Document, DocumentKey, Entry, Index, Page, Reads, Write};

/// The names of the unique keys, with the kind of document that holds them.
const UNIQUES: [(&str, &str); 6] = [
    (keys::USER_NAME, keys::USER),
    (keys::EXTERNAL_ID, keys::USER),
    (keys::ADDRESS, keys::USER),
    (keys::ORGANIZATION_NAME, Kind::Organization.as_str()),
    (keys::PROJECT_NAME, Kind::Project.as_str()),
    (keys::LICENSE_NAME, Kind::License.as_str()),
];

/// Where a document should stand. A document that a newer release wrote stands where it says itself.
pub(super) fn expected(key: &DocumentKey, document: &Document) -> Result<Keys, Error> {
    let only = |index: &str, entry: String| Keys { entries: [(index.to_owned(), entry)].into(), ..Keys::default() };
    match (key.kind, kind_of(key.kind)) {
        (keys::TOKEN, _) => Ok(only(keys::TOKENS, read_token(&document.body)?.client.to_string())),
        (keys::OUTBOX, _) => Ok(only(keys::QUEUE, String::new())),
        (_, Some(Kind::User)) => {
            let record = UserRecord::decode(document)?;
            let newer = record.index_version > keys::INDEX_VERSION;
            Ok(if newer { record.keys } else { record.keys_now(record.modified) })
        }
        (_, Some(kind)) => {
            let id = key.id.parse().map_err(|error| Error::damaged("resource id", error))?;
            let resource = Resource::decode(kind, id, document)?;
            let newer = resource.index_version > keys::INDEX_VERSION;
            Ok(if newer { resource.keys } else { resource.keys_now() })
        }
        (_, None) => Ok(Keys::default()),
    }
}

fn kind_of(kind: &str) -> Option<Kind> {
    Kind::ALL.into_iter().find(|known| known.as_str() == kind)
}

/// A deleted user leaves a document without a body.
pub(super) fn is_tombstone(document: &Document) -> bool {
    document.body.is_empty()
}

/// What the entries of an index are about.
enum About {
    /// Documents of this kind.
    Documents(&'static str),
    /// The members of this group.
    Members(String),
    /// The groups of this member.
    Groups(String),
    /// Not known to this release.
    Nothing,
}

impl About {
    fn of(index: &Index) -> About {
        let name = &*index.0;
        if let Some(group) = name.strip_prefix("member:") {
            return About::Members(group.to_owned());
        }
        if let Some(member) = name.strip_prefix("group-of:") {
            return About::Groups(member.to_owned());
        }
        if name.starts_with("assigned:") {
            return About::Documents(keys::USER);
        }
        let exact = [(keys::TOKENS, keys::TOKEN), (keys::QUEUE, keys::OUTBOX)];
        if let Some((_, kind)) = exact.into_iter().find(|(index, _)| *index == name) {
            return About::Documents(kind);
        }
        let word = name.split('.').next().unwrap_or(name);
        kind_of(word).map_or(About::Nothing, |kind| About::Documents(kind.as_str()))
    }
}

fn invariant_of(index: &str) -> Invariant {
    if index.starts_with("user.status.") { Invariant::V1 } else { Invariant::V16 }
}

impl Run<'_> {
    /// What a document says of itself.
    pub(super) fn enter_document(&mut self, key: &DocumentKey, places: &Keys, memberships: u64) {
        for (index, entry) in &places.entries {
            self.ledger.document(&key.id, &Claim::Entry { index, key: entry }, 1);
        }
        for (unique, owned) in &places.uniques {
            self.ledger.document(&key.id, &Claim::Unique { name: unique, key: owned }, 1);
        }
        self.ledger.document(&key.id, &Claim::Membership, memberships);
    }

    /// Documents of the other kinds: groups, organizations, projects, licenses, tokens.
    pub(super) async fn others(&mut self, keys: &[DocumentKey]) -> Result<(), Halt> {
        let documents = self.directory.store.get(&self.space, keys).await?;
        for (key, document) in keys.iter().zip(documents) {
            let Some(document) = document else { continue };
            match expected(key, &document) {
                Ok(places) => {
                    self.enter_document(key, &places, document.memberships);
                    if let Some(kind) = kind_of(key.kind) {
                        self.resource(key, kind, &document).await?;
                    }
                }
                Err(error) => self.unreadable(key, &error),
            }
        }
        Ok(())
    }

    /// Writes a resource anew whose document names other entries than this release would.
    async fn resource(&mut self, key: &DocumentKey, kind: Kind, document: &Document) -> Result<(), Halt> {
        let Ok(id) = key.id.parse::<ResourceId>() else { return Ok(()) };
        let before = Resource::decode(kind, id, document)?;
        let agrees = before.index_version == keys::INDEX_VERSION && before.keys == before.keys_now();
        if agrees || before.index_version > keys::INDEX_VERSION {
            return Ok(());
        }
        self.ledger.suspect(&key.id);
        let now = self.now();
        let mut batch = Batch::new(entropy::commit_id(now));
        before.clone().plan(&before, self.directory.resource_type(kind), now, &mut batch);
        let wrong = Wrong::of(Invariant::V16, "the document names other index entries than it should");
        self.repair(key, &[wrong], batch).await.map(|_| ())
    }

    /// The other side of the ledger: what the indexes hold.
    pub(super) async fn enter_indexes(&mut self) -> Result<(), Halt> {
        let mut cursor = None;
        while let Some(names) = self.names(&mut cursor).await? {
            for index in &names.indexes {
                self.enter_index(index).await?;
            }
        }
        for (unique, _) in UNIQUES {
            let mut after = None;
            loop {
                let holders = self.directory.store.holders(&self.space, unique, after.as_ref()).await?;
                for (key, id) in &holders.held {
                    self.ledger.index(id, &Claim::Unique { name: unique, key });
                }
                self.pause().await;
                match holders.next {
                    Some(next) => after = Some(next),
                    None => break,
                }
            }
        }
        Ok(())
    }

    async fn enter_index(&mut self, index: &Index) -> Result<(), Halt> {
        let about = About::of(index);
        let exists = match &about {
            About::Nothing => return Ok(()),
            // Members of a group that is gone agree with each other and not with the world.
            About::Members(group) => {
                let key = Kind::Group.key(group);
                self.directory.store.get(&self.space, &[key]).await?.pop().flatten().is_some()
            }
            About::Documents(_) | About::Groups(_) => true,
        };
        let mut page = Page::first(PAGE);
        while let Some(entries) = self.next_page(index, &mut page).await? {
            for entry in &entries {
                match &about {
                    About::Members(group) => {
                        // The member's side is entered with the opposite sign.
                        self.ledger.document(&entry.key, &Claim::Member { group }, 1);
                        if !exists {
                            self.ledger.suspect(&entry.key);
                        }
                    }
                    About::Groups(member) => {
                        self.ledger.index(member, &Claim::Member { group: &entry.id });
                        self.ledger.index(member, &Claim::Membership);
                    }
                    About::Documents(_) => {
                        self.ledger.index(&entry.id, &Claim::Entry { index: &index.0, key: &entry.key });
                    }
                    About::Nothing => {}
                }
            }
            self.pause().await;
        }
        Ok(())
    }

    /// The next entries of an index; `None` behind the last. `page.limit` of 0 marks the end.
    pub(super) async fn next_page(&self, index: &Index, page: &mut Page) -> Result<Option<Vec<Entry>>, Halt> {
        if page.limit == 0 {
            return Ok(None);
        }
        let entries = self.directory.store.range(&self.space, index, &Bounds::All, page).await?;
        match entries.last() {
            Some(last) if entries.len() == page.limit => page.after = Some(last.clone()),
            _ => page.limit = 0,
        }
        Ok(Some(entries))
    }

    /// The second walk: entries and unique keys that point at what does not say so.
    pub(super) async fn remove_stale(&mut self) -> Result<(), Halt> {
        let mut cursor = None;
        while let Some(names) = self.names(&mut cursor).await? {
            for index in &names.indexes {
                let about = About::of(index);
                let mut page = Page::first(PAGE);
                while let Some(entries) = self.next_page(index, &mut page).await? {
                    match &about {
                        About::Documents(kind) => self.stale_entries(index, kind, &entries).await?,
                        About::Members(group) => self.half_members(group, &entries).await?,
                        About::Groups(member) => self.half_groups(member, &entries).await?,
                        About::Nothing => {}
                    }
                    self.pause().await;
                }
            }
        }
        for (unique, kind) in UNIQUES {
            self.stale_uniques(unique, kind).await?;
        }
        Ok(())
    }

    async fn stale_entries(&mut self, index: &Index, kind: &'static str, entries: &[Entry]) -> Result<(), Halt> {
        let doubtful: Vec<&Entry> = entries.iter().filter(|entry| self.ledger.doubts(&entry.id)).collect();
        for chunk in doubtful.chunks(CHUNK) {
            let keys: Vec<DocumentKey> = chunk.iter().map(|entry| DocumentKey::new(kind, &entry.id)).collect();
            let documents = self.directory.store.get(&self.space, &keys).await?;
            for ((entry, key), document) in chunk.iter().zip(&keys).zip(&documents) {
                let place = (index.0.to_string(), entry.key.clone());
                let Some(batch) = self.unclaimed(key, document.as_ref(), |places| places.entries.contains(&place))
                else {
                    continue;
                };
                let (mut batch, entry) = (batch, (*entry).clone());
                batch.checks.push(Check::Indexed { index: index.clone(), entry: entry.clone(), present: true });
                batch.writes.push(Write::IndexRemove { index: index.clone(), entry });
                let what = format!("an entry of the index {} points at it wrongly", index.0);
                self.repair(key, &[Wrong::of(invariant_of(&index.0), what)], batch).await?;
            }
        }
        Ok(())
    }

    async fn stale_uniques(&mut self, unique: &'static str, kind: &'static str) -> Result<(), Halt> {
        let mut after = None;
        loop {
            let holders = self.directory.store.holders(&self.space, unique, after.as_ref()).await?;
            let doubtful: Vec<&(String, String)> =
                holders.held.iter().filter(|(_, id)| self.ledger.doubts(id)).collect();
            for chunk in doubtful.chunks(CHUNK) {
                let keys: Vec<DocumentKey> = chunk.iter().map(|(_, id)| DocumentKey::new(kind, id)).collect();
                let documents = self.directory.store.get(&self.space, &keys).await?;
                for (((owned, id), key), document) in chunk.iter().zip(&keys).zip(&documents) {
                    let place = (unique.to_owned(), owned.clone());
                    let Some(mut batch) =
                        self.unclaimed(key, document.as_ref(), |places| places.uniques.contains(&place))
                    else {
                        continue;
                    };
                    batch.checks.push(Check::Held { unique, key: owned.clone(), id: id.clone() });
                    batch.writes.push(Write::UniqueClear { unique, key: owned.clone() });
                    let what = format!("the unique key {unique} points at it wrongly");
                    self.repair(key, &[Wrong::of(Invariant::V11, what)], batch).await?;
                }
            }
            self.pause().await;
            match holders.next {
                Some(next) => after = Some(next),
                None => return Ok(()),
            }
        }
    }

    /// A batch that holds while the document is as it was read, when that does not claim the place. What cannot be read
    /// is left alone.
    fn unclaimed(
        &self,
        key: &DocumentKey,
        document: Option<&Document>,
        claims: impl Fn(&Keys) -> bool,
    ) -> Option<Batch> {
        let mut batch = Batch::new(entropy::commit_id(self.now()));
        batch.checks.push(match document {
            None => Check::Absent { key: key.clone() },
            Some(document) => {
                if claims(&expected(key, document).ok()?) {
                    return None;
                }
                Check::Revision { key: key.clone(), revision: document.revision }
            }
        });
        Some(batch)
    }

    /// The third walk: places that a document should have and has not.
    pub(super) async fn add_missing(&mut self) -> Result<(), Halt> {
        let mut cursor = None;
        while let Some(names) = self.names(&mut cursor).await? {
            let doubtful = names.documents.into_iter().filter(|key| places_of(key.kind) && self.ledger.doubts(&key.id));
            for (_, keys) in by_kind(doubtful.collect()) {
                for chunk in keys.chunks(CHUNK) {
                    let documents = self.directory.store.get(&self.space, chunk).await?;
                    for (key, document) in chunk.iter().zip(documents) {
                        let Some(document) = document else { continue };
                        // Told of in the first walk.
                        let Ok(places) = expected(key, &document) else { continue };
                        self.missing(key, &document, &places).await?;
                        self.count_memberships(key).await?;
                    }
                    self.pause().await;
                }
            }
        }
        Ok(())
    }

    async fn missing(&mut self, key: &DocumentKey, document: &Document, places: &Keys) -> Result<(), Halt> {
        let entry = |key_text: &String| Entry { key: key_text.clone(), id: key.id.to_string() };
        let reads = Reads {
            entries: places.entries.iter().map(|(index, text)| (Index::new(index), entry(text))).collect(),
            unique: places.uniques.iter().map(|(name, owned)| (keys::unique_name(name), owned.clone())).collect(),
            ..Reads::default()
        };
        let found = self.directory.store.read(&self.space, &reads).await?;
        let mut batch = Batch::new(entropy::commit_id(self.now()));
        batch.checks.push(Check::Revision { key: key.clone(), revision: document.revision });
        let mut wrong: BTreeMap<Invariant, Wrong> = BTreeMap::new();
        for ((index, entry), _) in reads.entries.into_iter().zip(found.entries).filter(|(_, stands)| !stands) {
            let invariant = invariant_of(&index.0);
            wrong.entry(invariant).or_insert_with(|| Wrong::of(invariant, format!("not in the index {}", index.0)));
            batch.checks.push(Check::Indexed { index: index.clone(), entry: entry.clone(), present: false });
            batch.writes.push(Write::IndexAdd { index, entry });
        }
        let mut rivals = Vec::new();
        for ((unique, owned), holder) in reads.unique.into_iter().zip(found.unique) {
            match holder {
                Some(holder) if *holder == *key.id => {}
                Some(holder) => rivals.push((unique, owned, holder)),
                None => {
                    let what = format!("does not hold its unique key {unique}");
                    wrong.entry(Invariant::V11).or_insert_with(|| Wrong::of(Invariant::V11, what));
                    batch.checks.push(Check::Free { unique, key: owned.clone() });
                    batch.writes.push(Write::UniqueSet { unique, key: owned, id: key.id.to_string() });
                }
            }
        }
        if !wrong.is_empty() {
            self.repair(key, &wrong.into_values().collect::<Vec<_>>(), batch).await?;
        }
        for (unique, owned, holder) in rivals {
            self.rival(key, unique, &owned, &holder).await?;
        }
        Ok(())
    }

    /// Two documents claim one unique key: who is right, only people know.
    async fn rival(&mut self, key: &DocumentKey, unique: &str, owned: &str, holder: &str) -> Result<(), Halt> {
        let other = DocumentKey::new(key.kind, holder);
        let document = self.directory.store.get(&self.space, std::slice::from_ref(&other)).await?.pop().flatten();
        let places = document.as_ref().and_then(|document| expected(&other, document).ok()).unwrap_or_default();
        if places.uniques.contains(&(unique.to_owned(), owned.to_owned())) {
            let what = format!("has the same {unique} as {}: rename or delete one of them", name(&other));
            self.alert(Invariant::V11, name(key), what);
        }
        Ok(())
    }
}
