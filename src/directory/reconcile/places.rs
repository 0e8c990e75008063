//! Where documents stand: index entries and unique keys against what the documents say (V1, V11, V16).

use std::collections::BTreeMap;

use super::invariant::Invariant;
use super::ledger::Claim;
use super::run::{Halt, Run, Wrong, known_kind, name};
use crate::directory::deliveries::read_delivery;
use crate::directory::kind::{Kind, is_own, own_word};
use crate::directory::outbox::read_letter;
use crate::directory::record::{Keys, UserRecord};
use crate::directory::resources::Resource;
use crate::directory::tokens::read_token;
use crate::directory::{Error, entropy, keys};
use crate::domain::ids::ResourceId;
use crate::scim::SchemaTable;
use crate::store::{Batch, Check, Document, DocumentKey, Entry, Index, Item, Reads, Write, interned};

/// The names of the unique keys, with the kind of document that holds them.
const UNIQUES: [(&str, &str); 6] = [
    (keys::USER_NAME, keys::USER),
    (keys::EXTERNAL_ID, keys::USER),
    (keys::ADDRESS, keys::USER),
    (keys::ORGANIZATION_NAME, Kind::Organization.as_str()),
    (keys::PROJECT_NAME, Kind::Project.as_str()),
    (keys::LICENSE_NAME, Kind::License.as_str()),
];

/// Where a document should stand. A document that a newer release wrote stands where it says itself, and so does one of
/// an operator's type that is configured no more.
pub(super) fn expected(schemas: &SchemaTable, key: &DocumentKey, document: &Document) -> Result<Keys, Error> {
    let only = |index: &str, entry: String| Keys { entries: [(index.to_owned(), entry)].into(), ..Keys::default() };
    match (key.kind, Kind::of_word(key.kind, schemas)) {
        (keys::TOKEN, _) => Ok(only(keys::TOKENS, read_token(&document.body)?.client.to_string())),
        (keys::OUTBOX, _) => {
            let index = if read_letter(&document.body)?.dead.is_some() { keys::DEAD } else { keys::QUEUE };
            Ok(only(index, String::new()))
        }
        (keys::WEBHOOK, _) => {
            let place = read_delivery(&document.body)?.place();
            Ok(place.map(|(index, entry)| only(index, entry)).unwrap_or_default())
        }
        (_, Some(Kind::User)) => {
            let record = UserRecord::decode(document)?;
            let newer = record.index_version > keys::INDEX_VERSION;
            Ok(if newer { record.keys } else { record.keys_now(record.modified) })
        }
        (_, Some(kind)) => {
            let id = key.id.parse().map_err(|error| Error::damaged("resource id", error))?;
            let resource = Resource::decode(kind, id, document)?;
            let newer = resource.index_version > keys::INDEX_VERSION;
            Ok(if newer { resource.keys } else { resource.keys_now(schemas) })
        }
        (word, None) if is_own(word) => {
            serde_json::from_slice(&document.state).map_err(|error| Error::damaged("resource", error))
        }
        (_, None) => Ok(Keys::default()),
    }
}

/// A deleted user leaves a document without a body.
pub(super) fn is_tombstone(document: &Document) -> bool {
    document.body.is_empty()
}

/// What the entries of an index are about.
enum About<'a> {
    /// Documents of this kind.
    Documents(&'static str),
    /// The members of this group.
    Members(&'a str),
    /// The groups of this member.
    Groups(&'a str),
    /// Not known to this release.
    Nothing,
}

impl<'a> About<'a> {
    fn of(index: &'a str) -> Self {
        if let Some(group) = index.strip_prefix("member:") {
            return About::Members(group);
        }
        if let Some(member) = index.strip_prefix("group-of:") {
            return About::Groups(member);
        }
        if index.starts_with("granted:") {
            return About::Documents(Kind::Group.as_str());
        }
        if ["assigned:", "managed:", "held:"].iter().any(|of_users| index.starts_with(of_users)) {
            return About::Documents(keys::USER);
        }
        let exact = [
            (keys::TOKENS, keys::TOKEN),
            (keys::QUEUE, keys::OUTBOX),
            (keys::DEAD, keys::OUTBOX),
            (keys::DEAD_WEBHOOKS, keys::WEBHOOK),
            (keys::STREAMED, keys::WEBHOOK),
        ];
        if let Some((_, kind)) = exact.into_iter().find(|(exact, _)| *exact == index) {
            return About::Documents(kind);
        }
        let word = index.split('.').next().unwrap_or(index);
        match Kind::BUILT_IN.into_iter().find(|kind| kind.as_str() == word) {
            Some(kind) => About::Documents(kind.as_str()),
            None if is_own(word) => About::Documents(own_word(word)),
            None => About::Nothing,
        }
    }
}

/// The name of a unique key as a constant, and the kind of document that holds it; `None` for one of a newer release.
fn unique_of(name: &str) -> Option<(&'static str, &'static str)> {
    let built_in = UNIQUES.into_iter().find(|(unique, _)| *unique == name);
    built_in.or_else(|| is_own(name).then(|| (interned(name), own_word(name))))
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

    /// A document of another kind: group, organization, project, license, one of the operator's own, token.
    pub(super) async fn other(&mut self, key: &DocumentKey, document: &Document) -> Result<(), Halt> {
        match expected(&self.directory.schemas, key, document) {
            Ok(places) => self.enter_document(key, &places, document.memberships),
            Err(error) => {
                self.unreadable(key, &error);
                return Ok(());
            }
        }
        match Kind::of_word(key.kind, &self.directory.schemas) {
            Some(kind) => self.resource(key, kind, document).await,
            None => Ok(()),
        }
    }

    /// Writes a resource anew whose document names other entries than this release would.
    async fn resource(&mut self, key: &DocumentKey, kind: Kind, document: &Document) -> Result<(), Halt> {
        let Ok(id) = key.id.parse::<ResourceId>() else { return Ok(()) };
        let before = Resource::decode(kind, id, document)?;
        let schemas = &self.directory.schemas;
        let after = self.with_living_grants(&before).await?;
        let agrees = before.index_version == keys::INDEX_VERSION && before.keys == before.keys_now(schemas);
        if (agrees && after.is_none()) || before.index_version > keys::INDEX_VERSION {
            return Ok(());
        }
        self.ledger.suspect(&key.id);
        let now = self.now();
        let mut batch = Batch::new(entropy::commit_id(now));
        let gone = Wrong::of(Invariant::V14, "has a role in a project that does not exist");
        let strays = Wrong::of(Invariant::V16, "the document names other index entries than it should");
        let wrong: Vec<Wrong> = after.iter().map(|_| gone.clone()).chain((!agrees).then_some(strays)).collect();
        after.unwrap_or_else(|| before.clone()).plan(&before, schemas, now, &mut batch);
        self.repair(key, &wrong, batch).await.map(|_| ())
    }

    /// A group without the project roles whose project does not exist; `None` when there are none such.
    async fn with_living_grants(&self, group: &Resource) -> Result<Option<Resource>, Halt> {
        let mut grants = group.grants();
        if grants.is_empty() {
            return Ok(None);
        }
        let projects: Vec<DocumentKey> = grants.iter().map(|grant| Kind::Project.key(grant.project)).collect();
        let mut found = self.directory.store.get(&self.space, &projects).await?.into_iter();
        grants.retain(|_| found.next().is_some_and(|project| project.is_some()));
        Ok((grants.len() < projects.len()).then(|| {
            let mut after = group.clone();
            after.set_grants(&grants);
            after
        }))
    }

    /// The other side of the ledger: what an index holds.
    pub(super) async fn enter_entry(&mut self, index: &str, entry: &Entry) -> Result<(), Halt> {
        match About::of(index) {
            About::Members(group) => {
                // The member's side is entered with the opposite sign.
                self.ledger.document(&entry.key, &Claim::Member { group }, 1);
                // Members of a group that is gone agree with each other and not with the world.
                if !self.group_exists(group).await? {
                    self.ledger.suspect(&entry.key);
                }
            }
            About::Groups(member) => {
                self.ledger.index(member, &Claim::Member { group: &entry.id });
                self.ledger.index(member, &Claim::Membership);
            }
            About::Documents(_) => self.ledger.index(&entry.id, &Claim::Entry { index, key: &entry.key }),
            About::Nothing => {}
        }
        Ok(())
    }

    /// Asked once for each group, since the entries of an index come together.
    async fn group_exists(&mut self, group: &str) -> Result<bool, Halt> {
        if let Some((last, exists)) = &self.last_group
            && last == group
        {
            return Ok(*exists);
        }
        let found = self.directory.store.get(&self.space, &[Kind::Group.key(group)]).await?;
        let exists = found.into_iter().any(|document| document.is_some());
        self.last_group = Some((group.to_owned(), exists));
        Ok(exists)
    }

    pub(super) fn enter_unique(&mut self, unique: &str, key: &str, id: &str) {
        if unique_of(unique).is_some() {
            self.ledger.index(id, &Claim::Unique { name: unique, key });
        }
    }

    /// The second walk: entries and unique keys that point at what does not say so.
    pub(super) async fn remove_stale(&mut self) -> Result<(), Halt> {
        let mut items = self.directory.store.walk(&self.space);
        while let Some(item) = items.recv().await {
            match item? {
                Item::Entry { index, entry } => match About::of(&index) {
                    About::Documents(kind) if self.ledger.doubts(&entry.id) => {
                        self.stale_entry(&index, kind, entry).await?;
                    }
                    About::Members(group) if self.ledger.doubts(&entry.key) => self.half_members(group, &entry).await?,
                    About::Groups(member) if self.ledger.doubts(member) => self.half_groups(member, &entry).await?,
                    About::Documents(_) | About::Members(_) | About::Groups(_) | About::Nothing => continue,
                },
                Item::Unique { unique, key, id } => match unique_of(&unique) {
                    Some((unique, kind)) if self.ledger.doubts(&id) => {
                        self.stale_unique(unique, key, &DocumentKey::new(kind, id)).await?;
                    }
                    Some(_) | None => continue,
                },
                Item::Document { .. } | Item::Timer { .. } | Item::Counter { .. } | Item::Event { .. } => continue,
            }
            self.pause().await;
        }
        Ok(())
    }

    async fn stale_entry(&mut self, index: &str, kind: &'static str, entry: Entry) -> Result<(), Halt> {
        let key = DocumentKey::new(kind, &entry.id);
        let place = (index.to_owned(), entry.key.clone());
        let unclaimed = self.unclaimed(&key, |places| places.entries.contains(&place)).await?;
        let Some(mut batch) = unclaimed else { return Ok(()) };
        let what = format!("an entry of the index {index} points at it wrongly");
        let wrong = Wrong::of(invariant_of(index), what);
        let index = Index::new(index);
        batch.checks.push(Check::Indexed { index: index.clone(), entry: entry.clone(), present: true });
        batch.writes.push(Write::IndexRemove { index, entry });
        self.repair(&key, &[wrong], batch).await.map(|_| ())
    }

    async fn stale_unique(&mut self, unique: &'static str, owned: String, key: &DocumentKey) -> Result<(), Halt> {
        let place = (unique.to_owned(), owned.clone());
        let unclaimed = self.unclaimed(key, |places| places.uniques.contains(&place)).await?;
        let Some(mut batch) = unclaimed else { return Ok(()) };
        batch.checks.push(Check::Held { unique, key: owned.clone(), id: key.id.to_string() });
        batch.writes.push(Write::UniqueClear { unique, key: owned });
        let what = format!("the unique key {unique} points at it wrongly");
        self.repair(key, &[Wrong::of(Invariant::V11, what)], batch).await.map(|_| ())
    }

    /// A batch that holds while the document is as it is now, when that does not claim the place. What cannot be read is
    /// left alone.
    async fn unclaimed(&self, key: &DocumentKey, claims: impl Fn(&Keys) -> bool) -> Result<Option<Batch>, Halt> {
        let document = self.directory.store.get(&self.space, std::slice::from_ref(key)).await?.pop().flatten();
        let mut batch = Batch::new(entropy::commit_id(self.now()));
        batch.checks.push(match document {
            None => Check::Absent { key: key.clone() },
            Some(document) => match expected(&self.directory.schemas, key, &document) {
                Ok(places) if !claims(&places) => Check::Revision { key: key.clone(), revision: document.revision },
                Ok(_) | Err(_) => return Ok(None),
            },
        });
        Ok(Some(batch))
    }

    /// The third walk: places that a document should have and has not.
    pub(super) async fn add_missing(&mut self) -> Result<(), Halt> {
        let mut items = self.directory.store.walk(&self.space);
        while let Some(item) = items.recv().await {
            let Item::Document { kind, id, .. } = item? else { continue };
            let Some(kind) = known_kind(&kind).filter(|_| self.ledger.doubts(&id)) else { continue };
            let key = DocumentKey::new(kind, id);
            // As it is now: the walk may show it as it was.
            let document = self.directory.store.get(&self.space, std::slice::from_ref(&key)).await?.pop().flatten();
            let Some(document) = document else { continue };
            // What cannot be read was told of in the first walk.
            let Ok(places) = expected(&self.directory.schemas, &key, &document) else { continue };
            self.missing(&key, &document, &places).await?;
            self.count_memberships(&key).await?;
            self.pause().await;
        }
        Ok(())
    }

    async fn missing(&mut self, key: &DocumentKey, document: &Document, places: &Keys) -> Result<(), Halt> {
        let entry = |key_text: &String| Entry { key: key_text.clone(), id: key.id.to_string() };
        let reads = Reads {
            entries: places.entries.iter().map(|(index, text)| (Index::new(index), entry(text))).collect(),
            unique: places.uniques.iter().map(|(name, owned)| (interned(name), owned.clone())).collect(),
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
        let places = document
            .as_ref()
            .and_then(|document| expected(&self.directory.schemas, &other, document).ok())
            .unwrap_or_default();
        if places.uniques.contains(&(unique.to_owned(), owned.to_owned())) {
            let what = format!("has the same {unique} as {}: rename or delete one of them", name(&other));
            self.alert(Invariant::V11, name(key), what);
        }
        Ok(())
    }
}
