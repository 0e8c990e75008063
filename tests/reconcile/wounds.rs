//! Each invariant, broken.

use rstest::rstest;
use serde_json::json;
use usherd::directory::Kind;
use usherd::directory::provision::IfMatch;
use usherd::directory::reconcile::{Mode, Outcome};
use usherd::domain::user::State;
use usherd::store::{DocumentKey, Entry, Index, Write};

use crate::furnished::{DAY, House, MINUTE, Store, assert_not_risen, put};

const NOBODY: &str = "01890000-0000-7000-8000-000000000000";

fn entry(key: &str, id: &str) -> Entry {
    Entry { key: key.to_owned(), id: id.to_owned() }
}

fn add(index: &str, key: &str, id: &str) -> Write {
    Write::IndexAdd { index: Index::new(index), entry: entry(key, id) }
}

fn remove(index: &str, key: &str, id: &str) -> Write {
    Write::IndexRemove { index: Index::new(index), entry: entry(key, id) }
}

fn user(id: &str) -> DocumentKey {
    DocumentKey::new("user", id)
}

/// Breaks what the name says. What it comes to is the invariants that are to be found, and what becomes of them.
///
/// In parts, each by itself on the heap: without optimisation a match over all of them is too large for a thread's stack.
async fn wound(house: &House, name: &str) -> Vec<(&'static str, Outcome)> {
    let number = name[1..].split(' ').next().and_then(|number| number.parse().ok());
    match number.expect("a wound begins with the invariant that it breaks") {
        1..=10 => Box::pin(wound_people(house, name)).await,
        11..=14 => Box::pin(wound_names_and_mails(house, name)).await,
        _ => Box::pin(wound_groups_and_indexes(house, name)).await,
    }
}

/// V1 to V10.
async fn wound_people(house: &House, name: &str) -> Vec<(&'static str, Outcome)> {
    use Outcome::{Alert, Repaired};
    let ada = house.id("ada").await;
    match name {
        "V1 in no status index" => {
            house.break_with([remove("user.status.Active", "", &ada)]).await;
            vec![("V1", Repaired)]
        }
        "V1 in two status indexes" => {
            house.break_with([add("user.status.Pending", "", &ada)]).await;
            vec![("V1", Repaired)]
        }
        "V2 a queued mail of a lapsed invitation" => {
            house.edit("hopper", |state| state["user"]["standing"]["invitation"]["queued"] = NOBODY.into()).await;
            vec![("V2", Repaired)]
        }
        "V2 a timer of somebody Active" => {
            house.break_with([Write::TimerSet { owner: user(&ada), due: house.now() + DAY }]).await;
            vec![("V2", Repaired)]
        }
        "V2 an invitation mail to somebody Active" => {
            let letter = json!({
                "id": NOBODY, "kind": "invitation", "user": ada, "generation": house.find("grace").await.user
                    .invitation().unwrap().generation(), "to": "ada@example.org", "created": house.now(),
            });
            let key = DocumentKey::new("outbox", NOBODY);
            let like = house.document(&user(&ada)).await;
            house
                .break_with([
                    put(&key, 1, &like, serde_json::to_vec(&letter).unwrap().into(), bytes::Bytes::new()),
                    add("outbox", "", NOBODY),
                    Write::TimerSet { owner: key.clone(), due: house.now() + DAY },
                ])
                .await;
            vec![("V2", Repaired)]
        }
        "V3 no generation" => {
            house
                .edit("grace", |state| {
                    state["user"]["standing"]["invitation"].as_object_mut().unwrap().remove("minted").unwrap();
                })
                .await;
            vec![("V3", Repaired)]
        }
        "V4 over for two minutes" => {
            let past = json!((house.now() - MINUTE * 2).as_millis());
            house.edit("grace", |state| state["user"]["standing"]["invitation"]["state"]["expires_at"] = past).await;
            vec![("V4", Repaired), ("V5", Repaired)]
        }
        "V5 no timer" => {
            house.break_with([Write::TimerClear { owner: user(&house.id("grace").await) }]).await;
            vec![("V5", Repaired)]
        }
        "V5 a timer that rings too late" => {
            let owner = user(&house.id("grace").await);
            house.break_with([Write::TimerSet { owner, due: house.now() + DAY * 100 }]).await;
            vec![("V5", Repaired)]
        }
        "V5 a tombstone for ever" => {
            let dump = house.dump().await;
            let tombstone = dump.documents.iter().find(|((kind, _), it)| kind == "user" && it.body.is_empty()).unwrap();
            house.break_with([Write::TimerClear { owner: user(&tombstone.0.1) }]).await;
            vec![("V5", Repaired)]
        }
        "V6 timers of nobody" => {
            let due = house.now() + DAY;
            let owners = [user(NOBODY), DocumentKey::new("outbox", NOBODY)];
            house.break_with(owners.map(|owner| Write::TimerSet { owner, due })).await;
            vec![("V6", Repaired)]
        }
        "V7 a hold on somebody Active" => {
            let hold = json!([{ "side": "admin", "actor": "root", "at": house.now() }]);
            house.edit("ada", |state| state["user"]["standing"]["holds"] = hold).await;
            vec![("V7", Repaired)]
        }
        "V8 sessions of somebody Inactive" => {
            let ina = house.id("ina").await;
            let like = house.document(&user(&ina)).await;
            let key = DocumentKey::new("session", &ina);
            house.break_with([put(&key, 1, &like, bytes::Bytes::from_static(b"[]"), bytes::Bytes::new())]).await;
            vec![("V8", Repaired)]
        }
        "V8 a seat of somebody Inactive" => {
            house.edit("ina", |state| state["user"]["licenses"][0]["seat"] = true.into()).await;
            let name = format!("seats.{}", house.resource(Kind::License, "Seat").await);
            house.break_with([Write::CounterAdd { name, delta: 1 }]).await;
            vec![("V8", Repaired)]
        }
        "V9 too many seats counted" => {
            let name = format!("seats.{}", house.resource(Kind::License, "Seat").await);
            house.break_with([Write::CounterAdd { name, delta: 2 }]).await;
            vec![("V9", Repaired)]
        }
        "V9 too few admins counted" => {
            house.break_with([Write::CounterAdd { name: "admins".to_owned(), delta: -1 }]).await;
            vec![("V9", Repaired)]
        }
        "V9 more seats used than there are" => {
            let key = Kind::License.key(house.resource(Kind::License, "Seat").await);
            let like = house.document(&key).await;
            let mut body: serde_json::Value = serde_json::from_slice(&like.body).unwrap();
            body["seats"] = 1.into();
            let body = serde_json::to_vec(&body).unwrap().into();
            house.break_with([put(&key, like.revision, &like, body, like.state.clone())]).await;
            vec![("V9", Alert)]
        }
        "V10 no admin" => {
            house.edit("root", |state| state["user"]["account_role"] = "User".into()).await;
            let root = house.id("root").await;
            house.break_with([Write::CounterAdd { name: "admins".to_owned(), delta: -1 }]).await;
            house.break_with([remove("user.admin", "", &root)]).await;
            vec![("V10", Alert), ("V16", Repaired)]
        }
        other => panic!("nobody knows how to break {other}"),
    }
}

/// V11 to V14.
async fn wound_names_and_mails(house: &House, name: &str) -> Vec<(&'static str, Outcome)> {
    use Outcome::{Alert, Repaired};
    let ada = house.id("ada").await;
    match name {
        "V11 a userName of nobody" => {
            let (key, id) = ("ghost@example.org".to_owned(), NOBODY.to_owned());
            house.break_with([Write::UniqueSet { unique: "user.userName", key, id }]).await;
            vec![("V11", Repaired)]
        }
        "V11 a userName that is not held" => {
            let key = "ada@example.org".to_owned();
            house.break_with([Write::UniqueClear { unique: "user.userName", key }]).await;
            vec![("V11", Repaired)]
        }
        "V11 an externalId that leads to somebody else" => {
            let key = "okta\u{1f}ada".to_owned();
            house.break_with([Write::UniqueSet { unique: "user.externalId", key, id: house.id("grace").await }]).await;
            vec![("V11", Repaired)]
        }
        "V12 a mail without a timer" => {
            house.create("kay").await;
            let owner = DocumentKey::new("outbox", queued(house, "kay").await);
            house.break_with([Write::TimerClear { owner }]).await;
            vec![("V12", Repaired)]
        }
        "V12 a mail of a superseded generation" => {
            house.create("kay").await;
            let key = DocumentKey::new("outbox", queued(house, "kay").await);
            let like = house.document(&key).await;
            let mut letter: serde_json::Value = serde_json::from_slice(&like.body).unwrap();
            letter["generation"] = json!(house.find("grace").await.user.invitation().unwrap().generation());
            let body = serde_json::to_vec(&letter).unwrap().into();
            house.break_with([put(&key, like.revision, &like, body, bytes::Bytes::new())]).await;
            // Its going leaves the invitation without a mail, which V17 sees after a quarter of an hour.
            vec![("V12", Repaired)]
        }
        "V13 a revision without an event" => {
            let like = house.document(&user(&ada)).await;
            let (body, state) = (like.body.clone(), like.state.clone());
            house.break_with([put(&user(&ada), like.revision + 5, &like, body, state)]).await;
            house.set_active("ada", false).await;
            vec![("V13", Alert)]
        }
        "V14 assigned to what is gone" => {
            let project = house.resource(Kind::Project, "Apollo").await;
            house
                .break_with([
                    Write::Delete { key: Kind::Project.key(&project) },
                    remove("project", "", &project),
                    remove("project.name", "apollo", &project),
                    Write::UniqueClear { unique: "project.displayName", key: "apollo".to_owned() },
                ])
                .await;
            vec![("V14", Repaired)]
        }
        "V14 a group with a role in what is gone" => {
            let team = house.resource(Kind::Group, "Team").await;
            let vostok = json!({ "displayName": "Vostok" });
            let vostok = house.directory().create_resource(&house.client, Kind::Project, vostok).await.unwrap();
            let vostok = vostok.resource.id.to_string();
            let given = house.directory().set_group_role(&house.client, &team, &vostok, Some("Viewer"), &IfMatch::Any);
            given.await.unwrap();
            house
                .break_with([
                    Write::Delete { key: Kind::Project.key(&vostok) },
                    remove("project", "", &vostok),
                    remove("project.name", "vostok", &vostok),
                    Write::UniqueClear { unique: "project.displayName", key: "vostok".to_owned() },
                ])
                .await;
            vec![("V14", Repaired)]
        }
        other => panic!("nobody knows how to break {other}"),
    }
}

/// V15 to V18.
async fn wound_groups_and_indexes(house: &House, name: &str) -> Vec<(&'static str, Outcome)> {
    use Outcome::Repaired;
    let ada = house.id("ada").await;
    match name {
        "V15 only the member's side" => {
            let team = house.resource(Kind::Group, "Team").await;
            house.break_with([remove(&format!("member:{team}"), &ada, "User")]).await;
            vec![("V15", Repaired)]
        }
        "V15 only the group's side" => {
            let team = house.resource(Kind::Group, "Team").await;
            house.break_with([remove(&format!("group-of:{ada}"), "", &team)]).await;
            vec![("V15", Repaired)]
        }
        "V15 counted wrongly" => {
            house.break_with([Write::Touch { key: user(&ada), memberships: 2, bump: None }]).await;
            vec![("V15", Repaired)]
        }
        "V15 members of a group that is gone" => {
            let team = house.resource(Kind::Group, "Team").await;
            house
                .break_with([
                    Write::Delete { key: Kind::Group.key(&team) },
                    remove("group", "", &team),
                    remove("group.name", "team", &team),
                ])
                .await;
            vec![("V15", Repaired)]
        }
        "V16 an entry of nobody" => {
            house.break_with([add("user.name", "ghost@example.org", NOBODY)]).await;
            vec![("V16", Repaired)]
        }
        "V16 an entry with another value" => {
            house.break_with([add("user.email", "else@example.org", &ada)]).await;
            vec![("V16", Repaired)]
        }
        "V16 a missing entry" => {
            house.break_with([remove("user.word", "ada", &ada)]).await;
            vec![("V16", Repaired)]
        }
        "V16 an older index version" => {
            house
                .edit("ada", |state| {
                    state["v"] = 0.into();
                    state["entries"].as_array_mut().unwrap().retain(|entry| entry[0] != "user.shown");
                })
                .await;
            house.break_with([remove("user.shown", "ada lovelace", &ada)]).await;
            vec![("V16", Repaired)]
        }
        "V17 an invitation that was never mailed" => {
            house.create("kay").await;
            let letter = queued(house, "kay").await;
            let key = DocumentKey::new("outbox", &letter);
            house
                .break_with([
                    Write::Delete { key: key.clone() },
                    Write::TimerClear { owner: key },
                    remove("outbox", "", &letter),
                ])
                .await;
            house.opened.store.advance(MINUTE * 16);
            vec![("V17", Repaired)]
        }
        "V18 a key that is gone" => {
            house.edit("grace", |state| state["user"]["standing"]["invitation"]["minted"]["kid"] = "gone".into()).await;
            vec![("V18", Repaired)]
        }
        other => panic!("nobody knows how to break {other}"),
    }
}

/// The letter that carries the invitation.
async fn queued(house: &House, name: &str) -> String {
    house.find(name).await.user.invitation().unwrap().queued.unwrap().to_string()
}

#[rstest]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_broken_is_found_and_put_right_and_nobody_has_more_than_before(
    #[values(Store::Embedded, Store::Redis)] store: Store,
    #[values(
        "V1 in no status index",
        "V1 in two status indexes",
        "V2 a queued mail of a lapsed invitation",
        "V2 a timer of somebody Active",
        "V2 an invitation mail to somebody Active",
        "V3 no generation",
        "V4 over for two minutes",
        "V5 no timer",
        "V5 a timer that rings too late",
        "V5 a tombstone for ever",
        "V6 timers of nobody",
        "V7 a hold on somebody Active",
        "V8 sessions of somebody Inactive",
        "V8 a seat of somebody Inactive",
        "V9 too many seats counted",
        "V9 too few admins counted",
        "V9 more seats used than there are",
        "V10 no admin",
        "V11 a userName of nobody",
        "V11 a userName that is not held",
        "V11 an externalId that leads to somebody else",
        "V12 a mail without a timer",
        "V12 a mail of a superseded generation",
        "V13 a revision without an event",
        "V14 assigned to what is gone",
        "V14 a group with a role in what is gone",
        "V15 only the member's side",
        "V15 only the group's side",
        "V15 counted wrongly",
        "V15 members of a group that is gone",
        "V16 an entry of nobody",
        "V16 an entry with another value",
        "V16 a missing entry",
        "V16 an older index version",
        "V17 an invitation that was never mailed",
        "V18 a key that is gone"
    )]
    name: &str,
) {
    let house = House::furnished(store).await;
    assert_eq!(house.findings(Mode::Repair).await, [].into(), "it was sound before");
    let expected = wound(&house, name).await;
    let access = house.access().await;
    let dump = house.dump().await;

    let would = |outcome| if outcome == Outcome::Repaired { Outcome::WouldRepair } else { outcome };
    let dry: std::collections::BTreeSet<_> =
        expected.iter().map(|(invariant, outcome)| ((*invariant).to_owned(), would(*outcome))).collect();
    let found = house.findings(Mode::DryRun).await;
    // A dry run repairs nothing on which a later finding depends.
    assert!(dry.is_subset(&found), "{found:?}");
    assert_eq!(house.dump().await, dump, "a dry run writes nothing");

    let repairs = house.repairs_in_audit().await;
    let expected: std::collections::BTreeSet<_> =
        expected.into_iter().map(|(invariant, outcome)| (invariant.to_owned(), outcome)).collect();
    assert_eq!(house.findings(Mode::Repair).await, expected);
    assert_not_risen(&access, &house.access().await);
    let repaired = expected.iter().any(|(_, outcome)| *outcome == Outcome::Repaired);
    assert_eq!(house.repairs_in_audit().await > repairs, repaired, "each repair is in the audit");

    let alerts: std::collections::BTreeSet<_> =
        expected.into_iter().filter(|(_, outcome)| *outcome == Outcome::Alert).collect();
    assert_eq!(house.findings(Mode::Repair).await, alerts, "one run is enough");
}

#[rstest]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_mail_and_a_lost_key_end_in_one_mail_with_a_link_that_works(
    #[values(Store::Embedded, Store::Redis)] store: Store,
) {
    let house = House::furnished(store).await;
    wound(&house, "V18 a key that is gone").await;
    let ends = house.find("grace").await.user.invitation().unwrap().expires_at();
    wound(&house, "V17 an invitation that was never mailed").await;
    house.reconcile(Mode::Repair).await;
    house.work().await;
    assert_eq!(house.mails_to("kay@example.org").len(), 1);
    let grace = house.mails_to("grace@example.org");
    assert_eq!(grace.len(), 2, "one with the old link, one with the new");
    let invitation = house.find("grace").await.user.invitation().unwrap().clone();
    assert!(invitation.expires_at() >= ends, "{invitation:?}");
    for (name, link) in [("kay", house.mails_to("kay@example.org")[0].link()), ("grace", grace[1].link())] {
        house.accept(&link, &format!("{name}@example.org")).await;
        assert_eq!(house.state(name).await, State::A);
    }
    assert_eq!(house.findings(Mode::Repair).await, [].into());
}

#[rstest]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_read_is_told_of_and_left_alone(#[values(Store::Embedded, Store::Redis)] store: Store) {
    let house = House::furnished(store).await;
    let ada = user(&house.id("ada").await);
    let like = house.document(&ada).await;
    let mangled = bytes::Bytes::from_static(b"{");
    house.break_with([put(&ada, like.revision, &like, like.body.clone(), mangled)]).await;
    let dump = house.dump().await;
    let found = house.findings(Mode::Repair).await;
    assert!(found.contains(&("readable".to_owned(), Outcome::Alert)), "{found:?}");
    let after = house.dump().await;
    let of_ada = |dump: &usherd::store::Dump| {
        let entries = dump.indexes.values().flatten().filter(|entry| *entry.id == *ada.id).count();
        let unique = dump.unique.values().filter(|id| **id == *ada.id).count();
        (dump.documents[&("user".to_owned(), ada.id.to_string())].clone(), entries, unique)
    };
    assert_eq!(of_ada(&dump), of_ada(&after));
}
