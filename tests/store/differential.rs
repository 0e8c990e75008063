//! The same random batches leave the same state on both backends, and get the same answers.

use std::collections::HashMap;
use std::time::Duration;

use bytes::Bytes;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use usherd::store::{Batch, Check, ClaimToken, Committed, Index, Owner, Space, Store, StoreError, Write};
use uuid::Uuid;

use crate::fixture::{Fixture, at, commit_id, entry, user};

/// Something to do to both stores.
#[derive(Debug, Clone)]
enum Step {
    Commit {
        checks: Vec<Check>,
        writes: Vec<Write>,
    },
    /// The batch of this many commits ago, once more.
    Repeat(usize),
    Claim(usize),
}

/// Stands for the token that the store gave out last for the owner: the two stores draw different ones.
const LAST_TOKEN: ClaimToken = ClaimToken(Uuid::max());

fn id() -> impl Strategy<Value = String> {
    prop::sample::select(vec!["1", "2", "3", "ü", "a:b"]).prop_map(str::to_owned)
}

fn key() -> impl Strategy<Value = String> {
    prop::sample::select(vec!["", "a", "a!", "ab", "ß", "🦀"]).prop_map(str::to_owned)
}

fn an_index() -> impl Strategy<Value = Index> {
    prop::sample::select(vec!["names", "name", "member:1"]).prop_map(Index::new)
}

fn unique() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec!["name", "mail"])
}

fn delta() -> impl Strategy<Value = i64> {
    prop_oneof![4 => -3i64..=3, 1 => Just(i64::MAX), 1 => Just(-(1i64 << 53))]
}

fn check() -> impl Strategy<Value = Check> {
    prop_oneof![
        (id(), 0u64..4).prop_map(|(id, revision)| Check::Revision { key: user(&id), revision }),
        id().prop_map(|id| Check::Exists { key: user(&id) }),
        id().prop_map(|id| Check::Absent { key: user(&id) }),
        (unique(), key()).prop_map(|(unique, key)| Check::Free { unique, key }),
        (id(), -3i64..=3).prop_map(|(name, delta)| Check::Counter { name, delta, min: -2, max: 4 }),
        id().prop_map(|id| Check::Claimed { owner: user(&id), token: LAST_TOKEN }),
        (an_index(), key(), id(), any::<bool>()).prop_map(|(index, key, id, present)| Check::Indexed {
            index,
            entry: entry(&key, &id),
            present
        }),
    ]
}

fn a_write() -> impl Strategy<Value = Write> {
    prop_oneof![
        3 => (id(), 0u64..4, key(), key()).prop_map(|(id, revision, body, state)| Write::Put {
            key: user(&id),
            revision,
            created: at(1),
            modified: at(2),
            body: Bytes::from(body),
            state: Bytes::from(state),
        }),
        1 => id().prop_map(|id| Write::Delete { key: user(&id) }),
        2 => (id(), -2i64..=3, prop::option::of(0i64..9)).prop_map(|(id, memberships, bump)| Write::Touch {
            key: user(&id),
            memberships,
            bump: bump.map(at),
        }),
        2 => (unique(), key(), id()).prop_map(|(unique, key, id)| Write::UniqueSet { unique, key, id }),
        1 => (unique(), key()).prop_map(|(unique, key)| Write::UniqueClear { unique, key }),
        3 => (an_index(), key(), id()).prop_map(|(index, key, id)| Write::IndexAdd { index, entry: entry(&key, &id) }),
        1 => (an_index(), key(), id()).prop_map(|(index, key, id)| Write::IndexRemove {
            index,
            entry: entry(&key, &id),
        }),
        2 => (id(), 0i64..9).prop_map(|(id, due)| Write::TimerSet { owner: user(&id), due: at(due) }),
        1 => id().prop_map(|id| Write::TimerClear { owner: user(&id) }),
        2 => (id(), delta()).prop_map(|(name, delta)| Write::CounterAdd { name, delta }),
        1 => key().prop_map(|body| Write::EventAppend { body: Bytes::from(body) }),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    // Few checks, so that most batches are applied.
    let commit = (prop::collection::vec(check(), 0..3), prop::collection::vec(a_write(), 0..8));
    prop_oneof![
        8 => commit.prop_map(|(checks, writes)| Step::Commit { checks, writes }),
        1 => (0usize..3).prop_map(Step::Repeat),
        1 => (0usize..4).prop_map(Step::Claim),
    ]
}

/// One of the two stores, and what it alone knows.
struct Side {
    store: Store,
    tokens: HashMap<Owner, ClaimToken>,
}

/// What a step answered, but for what may differ.
#[derive(Debug, PartialEq)]
enum Answer {
    Committed(Committed),
    Conflict(Check),
    Claimed(Vec<(Owner, i64)>),
}

impl Side {
    async fn commit(&self, space: &Space, batch: &Batch) -> Answer {
        let mut own = batch.clone();
        for check in &mut own.checks {
            if let Check::Claimed { owner, token } = check {
                *token = self.tokens.get(owner).copied().unwrap_or(LAST_TOKEN);
            }
        }
        match self.store.commit(space, &own).await {
            Ok(committed) => Answer::Committed(committed),
            Err(StoreError::Conflict(violation)) => {
                let number = own.checks.iter().position(|check| *check == violation.check).unwrap();
                Answer::Conflict(batch.checks[number].clone())
            }
            Err(error) => panic!("{error}"),
        }
    }

    async fn claim(&mut self, space: &Space, limit: usize) -> Answer {
        let claims = self.store.claim_due(space, limit, Duration::from_secs(600)).await.unwrap();
        self.tokens.extend(claims.iter().map(|claim| (claim.owner.clone(), claim.token)));
        Answer::Claimed(claims.into_iter().map(|claim| (claim.owner, claim.due.as_millis())).collect())
    }
}

async fn take(side: &mut Side, space: &Space, step: &Step, done: &[Batch]) -> Option<Answer> {
    match step {
        Step::Commit { .. } => Some(side.commit(space, done.last()?).await),
        Step::Repeat(back) => Some(side.commit(space, done.iter().rev().nth(*back)?).await),
        Step::Claim(limit) => Some(side.claim(space, *limit).await),
    }
}

#[test]
fn the_same_batches_leave_the_same_state_on_both_backends() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let (embedded, redis) = runtime.block_on(async { (Fixture::embedded().await, Fixture::redis().await) });
    // Each case in an account of its own, so that the stores need not be emptied.
    let accounts = std::cell::Cell::new(0);
    let mut runner = TestRunner::new(Config { cases: 96, failure_persistence: None, ..Config::default() });
    let ran = runner.run(&prop::collection::vec(step(), 1..24), |steps| {
        accounts.set(accounts.get() + 1);
        let space = Space::Account(format!("case-{}", accounts.get()).parse().unwrap());
        runtime.block_on(async {
            let side = |fixture: &Fixture| Side { store: fixture.store.clone(), tokens: HashMap::new() };
            let (mut one, mut other) = (side(&embedded), side(&redis));
            let mut done = Vec::new();
            for step in &steps {
                if let Step::Commit { checks, writes } = step {
                    done.push(Batch { commit: commit_id(), checks: checks.clone(), writes: writes.clone() });
                }
                let answers = (take(&mut one, &space, step, &done).await, take(&mut other, &space, step, &done).await);
                prop_assert_eq!(answers.0, answers.1, "{:?}", step);
            }
            prop_assert_eq!(one.store.dump(&space).await.unwrap(), other.store.dump(&space).await.unwrap());
            Ok(())
        })
    });
    ran.unwrap();
}
