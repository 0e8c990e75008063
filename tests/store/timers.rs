//! Timers, leases and claims.

use std::time::Duration;

use tokio::task::JoinSet;
use usherd::domain::time::Timestamp;
use usherd::store::{Check, Claim, Space, Store, Timer, Write};

use crate::fixture::{Fixture, acme, at, batch, eventually_async, on_both_backends, user, violated, write};

on_both_backends!(
    a_due_timer_is_claimed_once_and_the_earliest_first,
    a_timer_that_is_not_due_waits_for_its_time,
    an_expired_lease_is_claimed_again_and_fences_the_first_claimant,
    an_expired_lease_that_nobody_took_up_still_holds,
    setting_or_clearing_a_timer_ends_its_claim,
    claimants_at_the_same_time_never_share_a_timer,
    a_walk_meets_every_timer,
    the_next_timer_of_each_space_is_told,
);

const MINUTE: Duration = Duration::from_secs(60);

async fn set(store: &Store, id: &str, due: Timestamp) {
    write(store, [Write::TimerSet { owner: user(id), due }]).await;
}

async fn claim(store: &Store, lease: Duration) -> Vec<Claim> {
    store.claim_due(&acme(), 10, lease).await.unwrap()
}

fn held(claim: &Claim) -> Check {
    Check::Claimed { owner: claim.owner.clone(), token: claim.token }
}

async fn a_due_timer_is_claimed_once_and_the_earliest_first(fixture: Fixture) {
    let store = &fixture.store;
    set(store, "b", at(2)).await;
    set(store, "a", at(3)).await;
    set(store, "c", at(1)).await;
    let first = store.claim_due(&acme(), 2, MINUTE).await.unwrap();
    assert_eq!(
        first.iter().map(|claim| (&claim.owner.id[..], claim.due)).collect::<Vec<_>>(),
        [("c", at(1)), ("b", at(2))]
    );
    assert_eq!(first[0].owner.kind, "user");
    let now = store.now();
    for claim in &first {
        assert!(claim.lease_until > now + MINUTE / 2 && claim.lease_until < now + MINUTE * 2);
    }
    let second = claim(store, MINUTE).await;
    assert_eq!(second.iter().map(|claim| &claim.owner.id[..]).collect::<Vec<_>>(), ["a"]);
    assert_eq!(claim(store, MINUTE).await, []);
    assert_ne!(first[0].token, first[1].token);
    assert_eq!(store.claim_due(&acme(), 0, MINUTE).await.unwrap(), []);
}

async fn a_timer_that_is_not_due_waits_for_its_time(fixture: Fixture) {
    let store = &fixture.store;
    let due = store.now() + MINUTE * 60;
    set(store, "a", due).await;
    assert_eq!(claim(store, MINUTE).await, []);
    store.advance(MINUTE * 59);
    assert_eq!(claim(store, MINUTE).await, []);
    store.advance(MINUTE);
    assert!(store.now() >= due);
    assert_eq!(claim(store, MINUTE).await[0].due, due);
}

async fn an_expired_lease_is_claimed_again_and_fences_the_first_claimant(fixture: Fixture) {
    let store = &fixture.store;
    set(store, "a", at(1)).await;
    let first = claim(store, Duration::from_millis(50)).await.remove(0);
    // On the real clock: it is the store's clock that ends a lease.
    let second = eventually_async(async || claim(store, MINUTE).await.pop()).await;
    assert_eq!((second.owner.clone(), second.due), (first.owner.clone(), at(1)));
    assert!(second.lease_until > first.lease_until);
    let done = |claim: &Claim| batch([held(claim)], [Write::TimerClear { owner: user("a") }]);
    assert_eq!(violated(store, &done(&first)).await, held(&first));
    assert!(store.timer(&acme(), &user("a")).await.unwrap().is_some());
    store.commit(&acme(), &done(&second)).await.unwrap();
    assert_eq!(store.timer(&acme(), &user("a")).await.unwrap(), None);
    assert_eq!(violated(store, &done(&second)).await, held(&second));
}

async fn an_expired_lease_that_nobody_took_up_still_holds(fixture: Fixture) {
    let store = &fixture.store;
    set(store, "a", at(1)).await;
    let claimed = claim(store, Duration::from_millis(1)).await.remove(0);
    store.advance(MINUTE);
    assert!(store.now() > claimed.lease_until);
    store.commit(&acme(), &batch([held(&claimed)], [])).await.unwrap();
}

async fn setting_or_clearing_a_timer_ends_its_claim(fixture: Fixture) {
    let store = &fixture.store;
    for change in [Write::TimerSet { owner: user("a"), due: at(7) }, Write::TimerClear { owner: user("a") }] {
        set(store, "a", at(1)).await;
        let claimed = claim(store, MINUTE).await.remove(0);
        assert_eq!(store.timer(&acme(), &user("a")).await.unwrap().unwrap().wakes, claimed.lease_until);
        let left = usize::from(matches!(change, Write::TimerSet { .. }));
        write(store, [change]).await;
        assert_eq!(violated(store, &batch([held(&claimed)], [])).await, held(&claimed));
        assert_eq!(claim(store, MINUTE).await.len(), left, "what was set can be claimed at once");
    }
}

async fn claimants_at_the_same_time_never_share_a_timer(fixture: Fixture) {
    let timers: Vec<_> =
        (0..200).map(|n| Write::TimerSet { owner: user(&n.to_string()), due: at(1 + n % 3) }).collect();
    write(&fixture.store, timers).await;
    let mut claimants = JoinSet::new();
    for _ in 0..8 {
        let store = fixture.store.clone();
        claimants.spawn(async move {
            let mut claimed = Vec::new();
            for _ in 0..200 {
                let more = store.claim_due(&acme(), 7, MINUTE).await.unwrap();
                if more.is_empty() {
                    break;
                }
                claimed.extend(more.into_iter().map(|claim| claim.owner));
            }
            claimed
        });
    }
    let mut claimed: Vec<_> = claimants.join_all().await.into_iter().flatten().collect();
    claimed.sort();
    assert_eq!(claimed.len(), 200);
    claimed.dedup();
    assert_eq!(claimed.len(), 200);
}

async fn a_walk_meets_every_timer(fixture: Fixture) {
    let store = &fixture.store;
    for (id, due) in [("a", 5), ("b", 5), ("c", 5), ("d", 1), ("e", 9)] {
        set(store, id, at(due)).await;
    }
    let claimed = store.claim_due(&acme(), 1, MINUTE).await.unwrap().remove(0);
    assert_eq!(&claimed.owner.id[..], "d");
    let mut met: Vec<Timer> = Vec::new();
    loop {
        let page = store.timers(&acme(), met.last(), 2).await.unwrap();
        if page.is_empty() {
            break;
        }
        met.extend(page);
    }
    let seen: Vec<_> = met.iter().map(|timer| (&timer.owner.id[..], timer.due.as_millis())).collect();
    assert_eq!(seen, [("a", 5), ("b", 5), ("c", 5), ("e", 9), ("d", 1)]);
    assert_eq!(met[4].wakes, claimed.lease_until);
    assert_eq!(store.dump(&acme()).await.unwrap().timers[&("user".to_owned(), "d".to_owned())], at(1));
    assert_eq!(store.timers(&acme(), None, 0).await.unwrap(), []);
}

async fn the_next_timer_of_each_space_is_told(fixture: Fixture) {
    let store = &fixture.store;
    set(store, "a", at(9)).await;
    set(store, "b", at(4)).await;
    let beta = Space::Account("beta".parse().unwrap());
    assert_eq!(store.next_due(&[beta, acme()]).await.unwrap(), [None, Some(at(4))]);
    assert_eq!(store.next_due(&[]).await.unwrap(), []);
    let lease_until = store.claim_due(&acme(), 1, MINUTE).await.unwrap()[0].lease_until;
    assert_eq!(store.next_due(&[acme()]).await.unwrap(), [Some(at(9))]);
    claim(store, MINUTE * 2).await;
    assert_eq!(store.next_due(&[acme()]).await.unwrap(), [Some(lease_until)]);
}
