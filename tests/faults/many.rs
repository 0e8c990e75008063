//! Many timers that ring at once, and what others write between the claim of a timer and its end.

use std::collections::BTreeSet;
use std::time::Duration;

use rstest::rstest;
use serde_json::json;
use usherd::directory::audit::AuditEvent;
use usherd::directory::provision::IfMatch;
use usherd::directory::{Kind, entropy, keys};
use usherd::domain::user::State;
use usherd::jobs::schedule::JobName;
use usherd::store::{Batch, DocumentKey, Entry, Index, Write};

use crate::daemon::{Store, patch, set_active, user};
use crate::house::{DAY, MINUTE};
use crate::in_process::House;

/// More than one claim takes.
const MANY: usize = 300;
const LEASE: Duration = Duration::from_secs(600);

#[rstest]
#[tokio::test(flavor = "multi_thread")]
async fn invitations_that_are_due_at_once_each_expire_once_whoever_claims_them(
    #[values(Store::Embedded, Store::Redis)] store: Store,
) {
    let overrides = [("USHERD_INVITATIONS__MAX_RENEWALS", "0"), ("USHERD_PROVISIONING__HOLD_ABOVE", "off")];
    let house = House::open(store, &overrides).await;
    for number in 0..MANY {
        let address = format!("person{number}@example.com");
        house.directory().create_user(&house.client, user(&address)).await.unwrap();
    }
    house.opened.store.advance(DAY * 8);
    let (one, two) = (house.without_mail(), house.without_mail());
    loop {
        let (one, two) = tokio::join!(one.run_one(), two.run_one());
        if one.unwrap().claimed + two.unwrap().claimed == 0 {
            break;
        }
    }
    let dump = house.dump().await;
    let events = dump.events.iter().map(|body| serde_json::from_slice::<AuditEvent>(body).unwrap());
    let expired: Vec<_> = events.filter(|event| event.event == "user.invitation_expired").collect();
    assert_eq!(expired.len(), MANY);
    assert_eq!(expired.iter().filter_map(|event| event.user).collect::<BTreeSet<_>>().len(), MANY);
    assert_eq!(house.status("person0@example.com").await, "Pending expired");
    assert_eq!(dump.timers.keys().filter(|(kind, _)| kind == "user").count(), 0);
    assert_eq!(dump.documents.keys().filter(|(kind, _)| kind == "outbox").count(), 0, "a dead link is not mailed");
}

/// Somebody whose invitation is due and claimed, with what was read of them then.
async fn claimed(house: &House, address: &str) -> (String, usherd::directory::timers::DueTimer) {
    let id = house.create(address).await;
    house.opened.store.advance(DAY * 8);
    let claims = house.directory().claim_due(&house.account, 10, LEASE).await.unwrap();
    let mut timers = house.directory().read_ahead(&house.account, claims).await;
    assert_eq!(timers.len(), 1);
    (id, timers.remove(0))
}

#[rstest]
#[tokio::test(flavor = "multi_thread")]
async fn what_was_written_since_a_timer_was_read_is_not_undone(#[values(Store::Embedded, Store::Redis)] store: Store) {
    let house = House::open(store, &[("USHERD_INVITATIONS__MAX_RENEWALS", "0")]).await;
    let (id, timer) = claimed(&house, "ada@example.com").await;
    let title = patch(json!([{ "op": "replace", "path": "title", "value": "Countess" }]));
    house.directory().patch_user(&house.client, &id, &IfMatch::Any, title).await.unwrap();
    house.directory().due(&house.account, timer).await.unwrap();
    // The write has set the timer anew, which is due at once.
    house.work().await;
    assert_eq!(house.status("ada@example.com").await, "Pending expired");
    assert_eq!(house.record("ada@example.com").await.profile["title"], "Countess");
}

#[rstest]
#[tokio::test(flavor = "multi_thread")]
async fn a_timer_that_was_settled_by_somebody_else_since_it_was_read_is_left_alone(
    #[values(Store::Embedded, Store::Redis)] store: Store,
) {
    let house = House::open(store, &[("USHERD_INVITATIONS__MAX_RENEWALS", "0")]).await;
    let (id, timer) = claimed(&house, "ada@example.com").await;
    house.directory().patch_user(&house.client, &id, &IfMatch::Any, set_active(false)).await.unwrap();
    let before = house.record("ada@example.com").await;
    assert_eq!(before.user.state(), State::I);
    house.directory().due(&house.account, timer).await.unwrap();
    assert_eq!(house.record("ada@example.com").await, before);
}

#[rstest]
#[tokio::test(flavor = "multi_thread")]
async fn claims_are_given_back_together_but_for_the_one_that_was_lost(
    #[values(Store::Embedded, Store::Redis)] store: Store,
) {
    let house = House::open(store, &[]).await;
    for name in ["ada", "bob", "eve"] {
        house.directory().create_user(&house.client, user(&format!("{name}@example.com"))).await.unwrap();
    }
    // Their letters.
    let claims = house.directory().claim_due(&house.account, 10, LEASE).await.unwrap();
    assert_eq!(claims.len(), 3);
    let until = house.now() + MINUTE * 5;
    let lost = house.now() + MINUTE;
    house.directory().put_off(&house.account, &claims[1], lost).await.unwrap();
    let all: Vec<_> = claims.iter().map(|claim| (claim.clone(), until)).collect();
    house.directory().put_off_all(&house.account, &all).await.unwrap();
    let wakes =
        async |owner: &DocumentKey| house.opened.store.timer(&house.space(), owner).await.unwrap().unwrap().wakes;
    assert_eq!(wakes(&claims[0].owner).await, until);
    assert_eq!(wakes(&claims[1].owner).await, lost, "it was somebody else's by then");
    assert_eq!(wakes(&claims[2].owner).await, until);
}

#[rstest]
#[tokio::test(flavor = "multi_thread")]
async fn a_job_whose_last_run_cannot_be_read_begins_anew_and_keeps_nobody_from_theirs(
    #[values(Store::Embedded, Store::Redis)] store: Store,
) {
    let house = House::open(store, &[]).await;
    let other = "zoo".parse().unwrap();
    house.directory().ensure_account(&other, "Zoo").await.unwrap();
    house.ticker().run_one().await.unwrap();
    let key = keys::job(JobName::Digest.as_str());
    let document = house.opened.store.get(&house.space(), std::slice::from_ref(&key)).await.unwrap().pop().flatten();
    let mut batch = Batch::new(entropy::commit_id(house.now()));
    batch.replace(key, document.as_ref(), house.now(), b"{".to_vec());
    house.opened.store.commit(&house.space(), &batch).await.unwrap();

    house.opened.store.advance(DAY);
    assert_eq!(house.ticker().run_one().await.unwrap(), 5, "three in the other account, two in this one");
    house.opened.store.advance(DAY);
    assert_eq!(house.ticker().run_one().await.unwrap(), 6);
}

#[rstest]
#[tokio::test(flavor = "multi_thread")]
async fn what_is_deleted_is_gone_although_an_index_says_that_nobody_has_it(
    #[values(Store::Embedded, Store::Redis)] store: Store,
) {
    let house = House::open(store, &[]).await;
    let directory = house.directory();
    let body = json!({ "displayName": "Winter Season" });
    let project = directory.create_resource(&house.client, Kind::Project, body).await.unwrap().resource.id;
    let index = Index::new(keys::assigned(project));
    let nobody = Entry { key: String::new(), id: "01a20a98-17a3-71e1-850f-520f67b51d83".to_owned() };
    let mut batch = Batch::new(entropy::commit_id(house.now()));
    batch.writes.push(Write::IndexAdd { index: index.clone(), entry: nobody });
    house.opened.store.commit(&house.space(), &batch).await.unwrap();

    directory.delete_resource(&house.client, Kind::Project, &project.to_string(), &IfMatch::Any).await.unwrap();
    house.work().await;
    let dump = house.dump().await;
    assert!(!dump.indexes.contains_key(&*index.0), "{:?}", dump.indexes);
    assert_eq!(dump.documents.keys().filter(|(kind, _)| kind == keys::TASK).count(), 0);
}

/// How often documents were read so far.
fn reads(house: &House) -> String {
    let text = house.opened.store.metrics().encode();
    let count = "usherd_store_call_duration_seconds_count{call=\"read\",outcome=\"ok\"} ";
    text.lines().find_map(|line| line.strip_prefix(count)).unwrap().to_owned()
}

#[rstest]
#[tokio::test(flavor = "multi_thread")]
async fn an_account_whose_jobs_have_nothing_to_do_is_left_alone_until_they_may(
    #[values(Store::Embedded, Store::Redis)] store: Store,
) {
    let house = House::open(store, &[]).await;
    let ticker = house.ticker();
    assert_eq!(ticker.run_one().await.unwrap(), 0, "the first look only starts the clocks");
    assert_eq!(ticker.run_one().await.unwrap(), 0);
    let before = reads(&house);
    assert_eq!(ticker.run_one().await.unwrap(), 0);
    assert_eq!(reads(&house), before);

    // A replica dies at a run that a person has asked for: no tick tells of that.
    assert!(house.ticker().claim_now(&house.account, JobName::Retention).await.unwrap());
    house.opened.store.advance(MINUTE * 16);
    ticker.run_one().await.unwrap();
    let run = house.directory().last_run(&house.account, JobName::Retention.as_str()).await.unwrap().unwrap();
    assert_eq!((run.busy_until, run.result.as_deref()), (None, Some("done")), "it was taken over");

    house.opened.store.advance(DAY);
    assert_eq!(ticker.run_one().await.unwrap(), 3, "retention, digest and reconciliation");
}
