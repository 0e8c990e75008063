//! Fills a store with people and accounts, in large batches beside the use cases: what takes hours through requests
//! takes a minute.

use std::sync::Arc;

use serde_json::Value;
use tokio::task::JoinSet;
use usherd::directory::audit::{Actor, AuditEvent, Door};
use usherd::directory::keys;
use usherd::directory::record::{Keys, UserRecord};
use usherd::domain::ids::{AccountId, CommitId, ResourceId};
use usherd::domain::names::{EmailAddress, UserName};
use usherd::domain::time::Timestamp;
use usherd::domain::user::{InvitationState, Standing};
use usherd::scim::SchemaTable;
use usherd::store::{Batch, Entry, Index, Item, Space, Store, Write};
use uuid::Builder;

use crate::daemon::Daemon;

/// So many people are written by one batch.
const AT_ONCE: usize = 50;
/// So many batches are on their way at once.
const BATCHES: usize = 16;

/// Somebody who was put into the store.
#[derive(Debug, Clone)]
pub struct Person {
    pub id: String,
    pub name: String,
}

/// The person of this number.
pub fn named(number: usize) -> Person {
    Person { id: uuid(number).to_string(), name: format!("person{number:07}@example.com") }
}

/// Invites somebody through SCIM, as whom everybody else is to look.
pub fn model(daemon: &Daemon) -> ResourceId {
    let id = daemon.create_user("person0000000@example.com");
    daemon.settle();
    id.parse().unwrap()
}

/// Puts so many people beside the model, numbered from `first`. `expires_at` says when whose invitation does.
pub async fn people(
    store: &Store,
    space: &Space,
    model: ResourceId,
    numbers: std::ops::Range<usize>,
    expires_at: impl Fn(usize) -> Timestamp,
) -> Vec<Person> {
    let document = store.get(space, &[keys::user(model)]).await.unwrap().pop().flatten().unwrap();
    let model = UserRecord::decode(&document).unwrap();
    let table = Arc::new(SchemaTable::builtin());
    let mut batches = JoinSet::new();
    let mut made = Vec::with_capacity(numbers.len());
    let numbers: Vec<usize> = numbers.collect();
    for some in numbers.chunks(AT_ONCE) {
        let mut batch = Batch::new(commit_id(some[0]));
        for number in some {
            let record = person(&model, *number, expires_at(*number));
            made.push(named(*number));
            put(&record, &table, expires_at(*number), &mut batch);
        }
        if batches.len() == BATCHES {
            batches.join_next().await.unwrap().unwrap();
        }
        let (store, space) = (store.clone(), space.clone());
        batches.spawn(async move { store.commit(&space, &batch).await.map(|_| ()).unwrap() });
    }
    while let Some(done) = batches.join_next().await {
        done.unwrap();
    }
    made
}

fn person(model: &UserRecord, number: usize, expires_at: Timestamp) -> UserRecord {
    let mut record = model.clone();
    let address = named(number).name;
    let user = &mut record.user;
    user.id = ResourceId::from_uuid(uuid(number));
    user.user_name = UserName::parse(&address).unwrap();
    user.sign_in_address = Some(EmailAddress::parse(&address).unwrap());
    let Standing::Pending { invitation, .. } = &mut user.standing else { panic!("the model is not Pending") };
    invitation.state = InvitationState::Live { expires_at };
    record.profile["emails"][0]["value"] = Value::from(address);
    record
}

fn put(record: &UserRecord, table: &SchemaTable, due: Timestamp, batch: &mut Batch) {
    let id = record.user.id;
    let now = record.keys_now(record.modified);
    Keys::default().plan_move(&now, id, batch);
    batch.writes.push(Write::Put {
        key: keys::user(id),
        revision: record.revision,
        created: record.created,
        modified: record.modified,
        body: record.body(table.resource_type("User").unwrap()).into(),
        state: record.state(&now).into(),
    });
    batch.writes.push(Write::TimerSet { owner: keys::user_timer(id), due });
    let mut event = AuditEvent::new(record.modified, Actor::new(Door::System, "benchmark"), "user.provisioned");
    (event.user, event.revision) = (Some(id), Some(record.revision));
    batch.writes.push(event.write());
}

/// Puts so many copies of the account `default` beside it.
pub async fn accounts(store: &Store, count: usize) {
    let default: AccountId = "default".parse().unwrap();
    let mut content = Vec::new();
    let mut items = store.walk(&Space::Account(default.clone()));
    while let Some(item) = items.recv().await {
        // When jobs ran is for the daemon to find out.
        match item.unwrap() {
            Item::Document { kind, .. } if kind == keys::JOB => {}
            item => content.push(item),
        }
    }
    let content = Arc::new(content);
    let mut batches = JoinSet::new();
    for number in 0..count {
        let id: AccountId = format!("account{number:05}").parse().unwrap();
        if batches.len() == BATCHES {
            batches.join_next().await.unwrap().unwrap();
        }
        let (store, content) = (store.clone(), content.clone());
        batches.spawn(async move {
            let mut batch = Batch::new(commit_id(number));
            batch.writes = content.iter().flat_map(|item| renamed(item.clone(), &id).into_writes()).collect();
            store.commit(&Space::Account(id.clone()), &batch).await.unwrap();
            let mut registry = Batch::new(commit_id(number));
            let entry = Entry { key: id.to_string(), id: id.to_string() };
            registry.writes.push(Write::IndexAdd { index: Index::new(keys::ACCOUNTS), entry });
            store.commit(&Space::Installation, &registry).await.unwrap();
        });
    }
    while let Some(done) = batches.join_next().await {
        done.unwrap();
    }
}

/// Only the settings hold the id of their account.
fn renamed(item: Item, id: &AccountId) -> Item {
    match item {
        Item::Document { kind, id: key, mut document } if kind == keys::SETTINGS => {
            let mut settings: Value = serde_json::from_slice(&document.body).unwrap();
            settings["id"] = id.as_str().into();
            document.body = settings.to_string().into();
            Item::Document { kind, id: key, document }
        }
        item => item,
    }
}

/// In the order of the numbers.
fn uuid(number: usize) -> uuid::Uuid {
    let mut rest = [0; 10];
    rest[2..].copy_from_slice(&(number as u64).to_be_bytes());
    Builder::from_unix_timestamp_millis(1_700_000_000_000, &rest).into_uuid()
}

fn commit_id(number: usize) -> CommitId {
    CommitId::from_uuid(uuid(number))
}
