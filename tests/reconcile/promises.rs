//! What a run promises besides finding things: it stops in time, goes beside others, happens once and goes on.

use std::sync::Arc;

use rstest::rstest;
use serde_json::json;
use usherd::app::open_now;
use usherd::directory::provision::IfMatch;
use usherd::directory::reconcile::{Invariant, Mode, Outcome, Report, TOGETHER};
use usherd::directory::ticks::LEASE;
use usherd::directory::{Error, Kind};
use usherd::domain::ids::AccountId;
use usherd::domain::user::State;
use usherd::jobs::schedule::JobName;
use usherd::jobs::ticker::{Calm, Ticker};
use usherd::metrics::Metrics;
use usherd::store::{DocumentKey, Entry, Index, Write};

use crate::furnished::{DAY, House, Store, assert_not_risen};
use crate::house::address;

const JOB: &str = "reconcile";

/// Entries of the search that lead to nobody.
fn strays(count: usize) -> Vec<Write> {
    let stray = |number| {
        let entry = Entry { key: format!("stray-{number}"), id: format!("01890000-0000-7000-8000-{number:012}") };
        Write::IndexAdd { index: Index::new("user.word"), entry }
    };
    (0..count).map(stray).collect()
}

fn ticker(house: &House, metrics: &Arc<Metrics>) -> Ticker {
    Ticker {
        directory: house.opened.directory.clone(),
        metrics: metrics.clone(),
        retention: house.settings.jobs.schedule(JobName::Retention).clone(),
        digest: house.settings.jobs.schedule(JobName::Digest).clone(),
        reconcile: house.settings.jobs.schedule(JobName::Reconcile).clone(),
        audit_keep: DAY * 90,
        calm: Calm::default(),
    }
}

#[rstest]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_stops_after_five_hundred_repairs_and_says_so(#[values(Store::Embedded, Store::Redis)] store: Store) {
    let house = House::empty(store).await;
    house.break_with(strays(507)).await;
    let dry = house.reconcile(Mode::DryRun).await;
    assert_eq!((dry.total(Outcome::WouldRepair), dry.stopped), (507, false));
    let first = house.reconcile(Mode::Repair).await;
    assert_eq!((first.total(Outcome::Repaired), first.stopped), (Report::MAX_REPAIRS, true));
    assert!(first.summary().contains("STOPPED"), "{}", first.summary());
    let second = house.reconcile(Mode::Repair).await;
    assert_eq!((second.total(Outcome::Repaired), second.stopped), (7, false));
    assert_eq!(house.repairs_in_audit().await, 507);
}

#[rstest]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_runs_at_once_do_each_repair_once(#[values(Store::Embedded, Store::Redis)] store: Store) {
    let house = House::furnished(store).await;
    house.break_with(strays(60)).await;
    let seat = format!("seats.{}", house.resource(Kind::License, "Seat").await);
    house
        .break_with([
            Write::CounterAdd { name: seat, delta: 3 },
            Write::TimerClear { owner: DocumentKey::new("user", house.id("grace").await) },
            Write::Touch { key: DocumentKey::new("user", house.id("ada").await), memberships: 4, bump: None },
        ])
        .await;
    // The embedded store is held by one process; on Redis the other is a replica of its own.
    let other = match store {
        Store::Embedded => None,
        Store::Redis => {
            Some(open_now(&house.settings, "https://usherd.example.org", "usherd.example.org").await.unwrap())
        }
    };
    let other = other.as_ref().map_or(&house.opened.directory, |opened| &opened.directory);
    let (one, two) = tokio::join!(
        house.directory().reconcile(&house.account, Mode::Repair),
        other.reconcile(&house.account, Mode::Repair),
    );
    let (one, two) = (one.unwrap(), two.unwrap());
    assert_eq!(one.total(Outcome::Repaired) + two.total(Outcome::Repaired), 63, "{one:?}\n{two:?}");
    assert_eq!(house.repairs_in_audit().await, 63);
    assert_eq!(house.findings(Mode::Repair).await, [].into());
}

#[rstest]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_writes_at_the_same_moment_wins_and_is_never_taken_for_broken(
    #[values(Store::Embedded, Store::Redis)] store: Store,
) {
    let house = House::furnished(store).await;
    let mut people = Vec::new();
    for number in 0..20 {
        people.push(house.create(&format!("p{number}")).await);
    }
    let team = house.resource(Kind::Group, "Team").await;
    house.work().await;
    let traffic = async {
        let mut last = Vec::new();
        for round in 0..6 {
            last.clear();
            for (number, id) in people.iter().enumerate() {
                let active = (number + round) % 2 == 0;
                let (name, body) = (format!("Round {round}"), crate::daemon::set_active(active));
                house.directory().patch_user(&house.client, id, &IfMatch::Any, body).await.unwrap();
                let rename = json!([{ "op": "replace", "path": "displayName", "value": name }]);
                let rename = crate::daemon::patch(rename);
                house.directory().patch_user(&house.client, id, &IfMatch::Any, rename).await.unwrap();
                let op = if active { "add" } else { "remove" };
                let path = if active { "members".to_owned() } else { format!("members[value eq \"{id}\"]") };
                let mut operation = json!({ "op": op, "path": path });
                if active {
                    operation["value"] = json!([{ "value": id }]);
                }
                let members = crate::daemon::patch(json!([operation]));
                let group = Kind::Group;
                house.directory().patch_resource(&house.client, group, &team, &IfMatch::Any, members).await.unwrap();
                last.push((id.clone(), active));
            }
        }
        last
    };
    let watch = async {
        let mut found = Vec::new();
        for _ in 0..6 {
            found.extend(house.reconcile(Mode::Repair).await.findings);
        }
        found
    };
    let (last, found) = tokio::join!(traffic, watch);
    assert_eq!(found, [], "sound traffic looked broken");
    house.work().await;
    assert_eq!(house.findings(Mode::Repair).await, [].into());
    let members = house.dump().await.indexes.remove(&format!("member:{team}")).unwrap();
    for (id, active) in last {
        let record = house.directory().find_user(&house.account, &id).await.unwrap().unwrap();
        assert_eq!(record.user.scim_active(), active, "{id}");
        assert_eq!(members.iter().any(|entry| entry.key == id), active, "{id}");
    }
}

#[rstest]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tick_is_run_by_one_replica_and_a_run_that_died_is_taken_over(
    #[values(Store::Embedded, Store::Redis)] store: Store,
) {
    let house = House::empty(store).await;
    let metrics = Arc::new(Metrics::new());
    let (one, two) = (ticker(&house, &metrics), ticker(&house, &metrics));
    assert_eq!(one.run_one().await.unwrap(), 0, "the first look only starts the clock");
    house.opened.store.advance(DAY);
    house.break_with(strays(3)).await;
    let (first, second) = tokio::join!(one.run_one(), two.run_one());
    // Retention, reconciliation and the digest, each by whoever came first.
    assert_eq!(first.unwrap() + second.unwrap(), 3);
    let line = r#"usherd_reconcile_findings_total{invariant="V16",outcome="repaired"} 3"#;
    assert!(metrics.encode().contains(line), "{}", metrics.encode());
    let run = house.directory().last_run(&house.account, JOB).await.unwrap().unwrap();
    assert_eq!(run.busy_until, None);
    assert!(run.result.unwrap().ends_with("3 repaired"));

    // A replica that dies after it has claimed the tick.
    house.opened.store.advance(DAY);
    let latest = |now, since| house.settings.jobs.schedule(JobName::Reconcile).latest_at_or_before(now, since);
    let tick = house.directory().claim_tick(&house.account, JOB, latest).await.unwrap();
    assert!(tick.is_some());
    house.break_with(strays(2)).await;
    assert_eq!(house.directory().claim_tick(&house.account, JOB, latest).await.unwrap(), None, "somebody is at it");
    house.directory().keep_tick(&house.account, JOB).await.unwrap();
    house.opened.store.advance(LEASE);
    two.run_one().await.unwrap();
    let run = house.directory().last_run(&house.account, JOB).await.unwrap().unwrap();
    assert_eq!((Some(run.last_run), run.busy_until), (tick, None));
    assert!(run.result.unwrap().ends_with("2 repaired"));
    assert_eq!(one.run_one().await.unwrap() + two.run_one().await.unwrap(), 0);
}

#[rstest]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_last_admin_with_a_hold_is_not_made_inactive_by_a_program(
    #[values(Store::Embedded, Store::Redis)] store: Store,
) {
    let house = House::empty(store).await;
    let hold = json!([{ "side": "system", "actor": "test", "at": house.now() }]);
    house.edit("root", |state| state["user"]["standing"]["holds"] = hold).await;
    let access = house.access().await;
    let report = house.reconcile(Mode::Repair).await;
    assert_eq!(report.total(Outcome::Alert), 1, "{report:?}");
    assert_eq!(house.state("root").await, State::A);
    assert_not_risen(&access, &house.access().await);
}

/// The admin of an account that was just made is only invited.
const NOBODY_ACCEPTED: (Invariant, Outcome) = (Invariant::V10, Outcome::Alert);

/// How often Redis was asked for a part of its keyspace.
fn scans(house: &House) -> usize {
    let stats = house.redis().ask("INFO commandstats");
    let line = stats.lines().find_map(|line| line.strip_prefix("cmdstat_scan:calls="));
    line.map_or(0, |rest| rest.split(',').next().unwrap().parse().unwrap())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn accounts_share_a_walk_over_the_keys_of_redis() {
    let house = House::empty(Store::Redis).await;
    let mut accounts = vec![house.account.clone()];
    for number in 1..50 {
        let account = format!("account{number}").parse().unwrap();
        house.directory().create_account(&account, "Acme", &address("root@example.org")).await.unwrap();
        accounts.push(account);
    }
    let before = scans(&house);
    assert!(house.directory().reconcile(&house.account, Mode::Repair).await.unwrap().counts.is_empty());
    let one = scans(&house) - before;
    let reports = house.directory().reconcile_together(&accounts, Mode::Repair).await;
    let all = scans(&house) - before - one;
    println!("SCANs of one account beside 49 others: {one}, of all 50 together: {all}");
    assert!(one > 0 && all <= accounts.len().div_ceil(TOGETHER) * one, "{all} instead of {one}");
    for report in reports {
        assert!(report.unwrap().counts.keys().all(|found| *found == NOBODY_ACCEPTED));
    }
}

#[rstest]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn accounts_that_share_a_walk_are_each_repaired_by_themselves(
    #[values(Store::Embedded, Store::Redis)] store: Store,
) {
    let house = House::furnished(store).await;
    let other: AccountId = "other".parse().unwrap();
    house.directory().create_account(&other, "Other", &address("root@example.org")).await.unwrap();
    let absent = "absent".parse().unwrap();
    house.break_with(strays(3)).await;
    let accounts = [other.clone(), absent, house.account.clone()];
    let mut reports = house.directory().reconcile_together(&accounts, Mode::Repair).await.into_iter();
    assert_eq!(reports.next().unwrap().unwrap().counts, [(NOBODY_ACCEPTED, 1)].into());
    assert!(matches!(reports.next().unwrap(), Err(Error::NotFound(_))));
    assert_eq!(reports.next().unwrap().unwrap().total(Outcome::Repaired), 3);
    for report in house.directory().reconcile_together(&[house.account.clone(), other], Mode::Repair).await {
        assert_eq!(report.unwrap().total(Outcome::Repaired), 0);
    }
}
