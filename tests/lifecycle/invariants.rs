//! What holds of every user after every event (lifecycle: "Invariants").

use usherd::domain::lifecycle::{Due, Policy, next_due};
use usherd::domain::user::{Standing, State, User};

/// In words, the invariants that this user breaks. V2 and V7 hold by construction as far as the standing of an Active,
/// Inactive or deleted user has no place for an invitation, and only that of an Inactive one has a place for holds.
pub fn broken_invariants(user: &User, policy: &Policy) -> Vec<String> {
    let state = user.state();
    let invitation = user.invitation();
    let queued = invitation.is_some_and(|invitation| invitation.queued.is_some());
    let due = next_due(user, policy).map(|(_, due)| due);
    let holds_seats = user.licenses.iter().any(|assigned| assigned.seat);
    let pending = matches!(user.standing, Standing::Pending { .. });
    let rules = [
        ("V2: who is not Pending has no invitation", pending == invitation.is_some()),
        ("V2: nothing is queued without a live invitation", !queued || matches!(state, State::PL | State::RL)),
        (
            "V2, V5: only a live invitation expires or reminds, and each does expire",
            matches!(due, Some(Due::Expiry | Due::Reminder)) == matches!(state, State::PL | State::RL),
        ),
        (
            "V3: a live invitation has a generation and an expiry",
            !matches!(state, State::PL | State::RL)
                || invitation.is_some_and(|it| it.generation().is_some() && it.expires_at().is_some()),
        ),
        ("V5: Active and Inactive wait for nothing", !matches!(state, State::A | State::I) || due.is_none()),
        ("V7: a hold is only on who is Inactive", user.holds().is_empty() || state == State::I),
        (
            "V8: who is out, or has no live invitation, holds no seat",
            !holds_seats || matches!(state, State::PL | State::RL | State::A),
        ),
    ];
    rules.into_iter().filter(|(_, kept)| !kept).map(|(rule, _)| format!("breaks {rule}")).collect()
}
