//! The lifecycle of a user, held to `matrix.toml`: which cells there are, what the matrix itself must obey, what the
//! lifecycle answers to each case (`run`), what comes of it through the faces (`faces`), and what stays true whatever
//! happens (`sequences`).

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]
#![expect(clippy::print_stdout, reason = "the table of cells goes into the log of the test")]

#[path = "../support/daemon/mod.rs"]
#[expect(dead_code, reason = "what only the tests of the daemon need")]
mod daemon;
#[path = "../support/house.rs"]
#[expect(dead_code, reason = "what only other suites need")]
mod house;
#[path = "../support/issuer.rs"]
#[expect(dead_code, reason = "what only the tests of sign-in need")]
mod issuer;
#[path = "../support/redis_server.rs"]
#[expect(dead_code, reason = "what only the tests of the store need")]
mod redis_server;
#[path = "../support/faces.rs"]
#[expect(dead_code, reason = "what only other suites need")]
mod requests;
#[path = "../support/smtp/mod.rs"]
#[expect(dead_code, reason = "what only the tests of the mails need")]
mod smtp;

mod faces;
mod invariants;
mod matrix;
mod run;
mod sequences;
mod situation;

use std::collections::{BTreeMap, BTreeSet};

use matrix::{Case, State};
use usherd::domain::lifecycle::Policy;

/// The events, in the order of the lifecycle's tables.
const EVENTS: [&str; 40] = [
    "scim_post_true",
    "scim_post_false",
    "scim_active_true_edge",
    "scim_active_true_no_edge",
    "scim_profile_only",
    "scim_active_false",
    "scim_put_without_active",
    "scim_delete",
    "address_change",
    "user_name_change",
    "invite",
    "import_active",
    "import_inactive",
    "resend",
    "copy_link",
    "revoke",
    "release",
    "deactivate",
    "erase",
    "assign",
    "open_link",
    "accept_current",
    "accept_stale",
    "oidc_sign_in",
    "decline",
    "new_link",
    "hold_due",
    "hold_send",
    "hold_admit",
    "hold_drop",
    "expiry_due",
    "reminder_due",
    "renewal_due",
    "relay_accepted",
    "hard_bounce",
    "retries_exhausted",
    "retention_due",
    "tombstone_due",
    "quota_lowered",
    "assignment_deleted",
];

/// The events by which somebody who is out may come back.
const REVIVING: [&str; 5] = ["scim_post_true", "scim_active_true_edge", "invite", "resend", "copy_link"];

fn assert_each(cases: &[Case], rule: &str, holds: impl Fn(&Case) -> bool) {
    let broken: Vec<&str> = cases.iter().filter(|case| !holds(case)).map(|case| case.name.as_str()).collect();
    assert!(broken.is_empty(), "{rule}: {broken:#?}");
}

#[test]
fn every_event_is_answered_in_every_state() {
    let cases = matrix::cases();
    let answered: BTreeSet<_> = cases.iter().map(|case| (case.event.as_str(), case.state)).collect();
    let asked: BTreeSet<_> = EVENTS.iter().flat_map(|event| State::ALL.map(|state| (*event, state))).collect();
    assert_eq!(asked.len(), 280);
    assert_eq!(answered, asked);
    let rows: BTreeSet<_> = cases.iter().map(|case| case.row.as_str()).collect();
    assert_eq!(rows.len() * State::ALL.len(), 252);
}

#[test]
fn every_case_has_a_name_of_its_own_and_one_kind_of_answer() {
    let cases = matrix::cases();
    let names: BTreeSet<_> = cases.iter().map(|case| case.name.as_str()).collect();
    assert_eq!(names.len(), cases.len());
    assert_each(&cases, "either a state, a refusal or a drop", |case| {
        let expect = &case.expect;
        [expect.state.is_some(), expect.refusal.is_some(), expect.drop].into_iter().filter(|given| *given).count() == 1
    });
    assert_each(&cases, "a refusal changes nothing", |case| {
        case.expect.refusal.is_none() || case.expect.effects.iter().all(|effect| effect == "alert")
    });
    assert_each(&cases, "a drop has no effect", |case| !case.expect.drop || case.expect.effects.is_empty());
}

#[test]
fn the_matrix_keeps_the_invariants_of_the_lifecycle() {
    use State::{A, I, N, PL, PX, RL, T};
    let cases = matrix::cases();
    let has = |case: &Case, effects: &[&str]| effects.iter().all(|effect| case.expect.effects.contains(*effect));
    let goes = |case: &Case, from: &[State], to: &[State]| {
        from.contains(&case.state) && case.expect.state.is_some_and(|state| to.contains(&state) && state != case.state)
    };
    assert_each(&cases, "V7: a hold is only on who is Inactive", |case| {
        case.expect.holds.as_ref().is_none_or(|holds| holds.is_empty() || case.expect.state == Some(I))
    });
    assert_each(&cases, "V3: a live invitation has a generation and an expiry", |case| {
        !goes(case, &[N, PX, I, T], &[PL, RL]) || has(case, &["+tok", "+tmr"])
    });
    assert_each(&cases, "V2: what is not pending has no live invitation, queued mail or timer", |case| {
        !goes(case, &[PL, RL], &[N, PX, A, I, T]) || has(case, &["-tok", "-mail", "-tmr"])
    });
    assert_each(&cases, "V8: who is out holds neither sessions nor seats", |case| {
        let left = goes(case, &[A], &[N, I, T]);
        let fell = goes(case, &[PL, RL], &[N, PX, I, T]);
        (!left || has(case, &["-ses", "-lic"])) && (!fell || has(case, &["-lic"]))
    });
    assert_each(&cases, "a lapsed or held user has a reason", |case| {
        !goes(case, &[N, PL, RL, A, I, T], &[PX]) || case.expect.reason.is_some()
    });
    assert_each(&cases, "only a provider's edge or an admin's invitation brings somebody back", |case| {
        !goes(case, &[I], &[PL, PX, RL, A]) || REVIVING.contains(&case.event.as_str())
    });
    assert_each(&cases, "nobody comes back while a hold of another side stands", |case| {
        let by_scim = case.event.starts_with("scim_");
        let foreign = if by_scim { "admin" } else { "idp" };
        let held = case.given.holds.as_ref().is_some_and(|holds| holds.iter().any(|hold| hold == foreign));
        !(held && goes(case, &[I], &[PL, PX, RL, A]))
    });
    assert_each(&cases, "nobody is deleted but by delete, revoke, drop", |case| {
        !goes(case, &[PL, PX, RL, A, I], &[T]) || ["scim_delete", "revoke", "hold_drop"].contains(&case.event.as_str())
    });
}

#[test]
fn no_reminders_are_not_the_default_reminders() {
    let day = std::time::Duration::from_secs(86_400);
    let reminders = |remind_after| {
        let policy = situation::defaults(situation::minted(situation::CURRENT, situation::NOW));
        Policy { ttl: 7 * day, remind_after, ..policy }.reminders()
    };
    assert_eq!(reminders(None), [day, 3 * day, 5 * day]);
    assert_eq!(reminders(Some(vec![2 * day, day])), [day, 2 * day]);
    assert_eq!(reminders(Some(vec![])), []);
}

#[test]
fn each_kind_of_refusal_has_one_status_of_http() {
    let mut statuses: BTreeMap<String, BTreeSet<u16>> = BTreeMap::new();
    for case in matrix::cases() {
        if let (Some(code), Some(http)) = (case.expect.refusal, case.expect.http) {
            statuses.entry(code).or_default().insert(http);
        }
    }
    statuses.retain(|_, statuses| statuses.len() > 1);
    assert_eq!(statuses, BTreeMap::new());
}
