//! What reconciliation lets happen to a user whose record breaks an invariant. Neither opens what was closed: a link is
//! made anew within the time that the old one had, and a hold counts wherever it is found.

use super::moves::Step;
use super::{Mail, Outcome, Refusal};
use crate::domain::user::{Hold, Invitation, InvitationState};

/// V3, V18: the next generation of a live invitation, which ends when this one would have.
pub(super) fn link_lost(mut step: Step<'_>) -> Result<Outcome, Refusal> {
    let Some(before) = step.before.invitation().filter(|invitation| invitation.is_live()) else {
        return step.unchanged();
    };
    let mailed = before.mailed && step.user.sign_in_address.is_some();
    let origin = step.origin();
    step.mint(origin, mailed);
    if let (Some(Invitation { state: InvitationState::Live { expires_at }, .. }), Some(ends)) =
        (step.user.invitation_mut(), before.expires_at())
    {
        *expires_at = ends;
    }
    if mailed {
        step.mail(Mail::Invitation);
    }
    step.done()
}

/// V7: deny wins, so whoever has a hold is Inactive.
pub(super) fn holds_found(mut step: Step<'_>, holds: &[Hold]) -> Result<Outcome, Refusal> {
    for hold in holds {
        step.deactivate(Some(hold.clone()));
    }
    step.done()
}
