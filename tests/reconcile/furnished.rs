//! The house with somebody in every state, and the means to break it.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use serde_json::{Value, json};
use usherd::directory::audit::AuditEvent;
use usherd::directory::provision::IfMatch;
use usherd::directory::reconcile::{Mode, Outcome, Report};
use usherd::directory::record::UserRecord;
use usherd::directory::{Kind, entropy};
use usherd::domain::user::State;
use usherd::store::{Batch, Document, DocumentKey, Write};

pub use crate::daemon::{Store, set_active, user};
pub use crate::house::{DAY, House, MINUTE};

impl House {
    /// An account with an Active admin and nobody else.
    pub async fn empty(store: Store) -> Self {
        House::with_admin(store, &[("USHERD_INVITATIONS__MAX_RENEWALS", "0")]).await
    }

    /// `ada` Active with a seat, in a group, an organization and a project; `grace` Pending; `hopper` Pending whose
    /// invitation has lapsed; `ina` Inactive; `tom` deleted.
    pub async fn furnished(store: Store) -> Self {
        let house = House::empty(store).await;
        for (kind, body) in [
            (Kind::Organization, json!({ "displayName": "Research" })),
            (Kind::Project, json!({ "displayName": "Apollo" })),
            (Kind::License, json!({ "displayName": "Seat", "kind": "per-user", "seats": 5 })),
        ] {
            house.directory().create_resource(&house.client, kind, body).await.unwrap();
        }
        for name in ["hopper", "ada", "grace", "ina", "tom"] {
            let mut body = user(&format!("{name}@example.org"));
            body["externalId"] = name.into();
            body[crate::daemon::USHERD] = json!({
                "organization": { "value": "Research" },
                "projects": [{ "value": "Apollo" }],
                "licenses": [{ "value": "Seat" }],
            });
            house.directory().create_user(&house.client, body).await.unwrap();
            house.work().await;
            if name == "hopper" {
                house.after(DAY * 8).await;
            }
        }
        for name in ["ada", "ina"] {
            let address = format!("{name}@example.org");
            let link = house.mails_to(&address)[0].link();
            house.accept(&link, &address).await;
        }
        house.set_active("ina", false).await;
        let tom = house.id("tom").await;
        house.directory().delete_user(&house.client, &tom, &IfMatch::Any).await.unwrap();
        let members = [house.id("ada").await, house.id("grace").await];
        let members: Vec<Value> = members.iter().map(|id| json!({ "value": id })).collect();
        let team = json!({ "displayName": "Team", "members": members });
        house.directory().create_resource(&house.client, Kind::Group, team).await.unwrap();
        house.work().await;
        house
    }

    pub async fn create(&self, name: &str) -> String {
        let body = user(&format!("{name}@example.org"));
        self.directory().create_user(&self.client, body).await.unwrap().1.user.id.to_string()
    }

    pub async fn set_active(&self, name: &str, active: bool) {
        let id = self.id(name).await;
        self.directory().patch_user(&self.client, &id, &IfMatch::Any, set_active(active)).await.unwrap();
    }

    pub async fn find(&self, name: &str) -> UserRecord {
        self.record(&format!("{name}@example.org")).await
    }

    pub async fn id(&self, name: &str) -> String {
        self.find(name).await.user.id.to_string()
    }

    pub async fn state(&self, name: &str) -> State {
        self.find(name).await.user.state()
    }

    /// The id of the only resource of this kind and name.
    pub async fn resource(&self, kind: Kind, name: &str) -> String {
        let dump = self.dump().await;
        let is = |((of, _), document): &(&(String, String), &Document)| {
            of == kind.as_str() && serde_json::from_slice::<Value>(&document.body).unwrap()["displayName"] == name
        };
        dump.documents.iter().find(is).unwrap().0.1.clone()
    }

    pub async fn document(&self, key: &DocumentKey) -> Document {
        self.opened.store.get(&self.space(), std::slice::from_ref(key)).await.unwrap().pop().unwrap().unwrap()
    }

    /// Writes past everything that watches over writes.
    pub async fn break_with(&self, writes: impl Into<Vec<Write>>) {
        let batch = Batch { commit: entropy::commit_id(self.now()), checks: Vec::new(), writes: writes.into() };
        self.opened.store.commit(&self.space(), &batch).await.unwrap();
    }

    /// Changes what only usherd reads of a user, under the same revision.
    pub async fn edit(&self, name: &str, change: impl FnOnce(&mut Value)) {
        let key = DocumentKey::new("user", self.id(name).await);
        self.edit_document(&key, change).await;
    }

    pub async fn edit_document(&self, key: &DocumentKey, change: impl FnOnce(&mut Value)) {
        let document = self.document(key).await;
        let mut state: Value = serde_json::from_slice(&document.state).unwrap();
        change(&mut state);
        let state = Bytes::from(serde_json::to_vec(&state).unwrap());
        self.break_with([put(key, document.revision, &document, document.body.clone(), state)]).await;
    }

    pub async fn reconcile(&self, mode: Mode) -> Report {
        self.directory().reconcile(&self.account, mode).await.unwrap()
    }

    /// Invariant and outcome of each finding, each once.
    pub async fn findings(&self, mode: Mode) -> BTreeSet<(String, Outcome)> {
        let report = self.reconcile(mode).await;
        report.findings.iter().map(|finding| (finding.invariant.to_string(), finding.outcome)).collect()
    }

    /// Audit events of repairs.
    pub async fn repairs_in_audit(&self) -> usize {
        let events = self.dump().await.events;
        let is_repair = |body: &Bytes| {
            let event: AuditEvent = serde_json::from_slice(body).unwrap();
            event.event == "reconcile.repaired"
        };
        events.iter().filter(|body| is_repair(body)).count()
    }

    /// What everybody may do: how far in, the role when it counts, seats, projects, groups.
    pub async fn access(&self) -> BTreeMap<String, Access> {
        let dump = self.dump().await;
        let mut access = BTreeMap::new();
        for ((_, id), document) in dump.documents.iter().filter(|((kind, _), _)| kind == "user") {
            let Ok(record) = UserRecord::decode(document) else { continue };
            let user = &record.user;
            let groups = dump.indexes.get(&format!("group-of:{id}")).into_iter().flatten();
            access.insert(
                id.clone(),
                Access {
                    way_in: match user.state() {
                        State::A => 3,
                        State::PL | State::RL => 2,
                        State::PX => 1,
                        State::N | State::I | State::T => 0,
                    },
                    admin: user.is_effective_admin(),
                    role: user.account_role.clone(),
                    rights: user
                        .licenses
                        .iter()
                        .filter(|assigned| assigned.seat)
                        .map(|assigned| assigned.license.to_string())
                        .chain(user.projects.iter().map(|assigned| format!("{} {}", assigned.project, assigned.role)))
                        .chain(user.organization.iter().map(ToString::to_string))
                        .chain(groups.map(|entry| entry.id.clone()))
                        .collect(),
                },
            );
        }
        access
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Access {
    way_in: u8,
    admin: bool,
    role: String,
    rights: BTreeSet<String>,
}

/// Nobody has more than before.
#[track_caller]
pub fn assert_not_risen(before: &BTreeMap<String, Access>, after: &BTreeMap<String, Access>) {
    for (id, now) in after {
        let then = before.get(id).unwrap_or_else(|| panic!("{id} is new"));
        let rose = now.way_in > then.way_in
            || (now.admin && !then.admin)
            || now.role != then.role
            || !now.rights.is_subset(&then.rights);
        assert!(!rose, "{id} had {then:?} and has {now:?}");
    }
}

pub fn put(key: &DocumentKey, revision: u64, like: &Document, body: Bytes, state: Bytes) -> Write {
    let (created, modified) = (like.created, like.modified);
    Write::Put { key: key.clone(), revision, created, modified, body, state }
}
