//! The rows of the timers and of the mails: what happens by itself, and when.

use super::admin::revoke;
use super::moves::Step;
use super::{Alert, HoldDecision, Mail, Note, Outcome, Policy, Refusal};
use crate::domain::time::Timestamp;
use crate::domain::token::Generation;
use crate::domain::user::{Invitation, InvitationState, Lapse, Origin, Side, Standing, State, User};

/// What a user's one timer waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Due {
    Hold,
    Reminder,
    Expiry,
    Renewal,
    Retention,
    Tombstone,
}

/// The next thing that is to happen to this user by itself, and the earliest instant for it (V5).
pub fn next_due(user: &User, policy: &Policy) -> Option<(Timestamp, Due)> {
    match &user.standing {
        Standing::Pending { invitation, .. } => match invitation.state {
            InvitationState::Live { expires_at } => {
                let expiry = (expires_at, Due::Expiry);
                Some(match next_reminder(user, invitation, expires_at, policy) {
                    Some(at) => (at, Due::Reminder).min(expiry),
                    None => expiry,
                })
            }
            InvitationState::Lapsed { reason: Lapse::Held, until, .. } => until.map(|until| (until, Due::Hold)),
            InvitationState::Lapsed { reason: Lapse::Expired, since, .. } if may_renew(user, invitation, policy) => {
                Some((since, Due::Renewal))
            }
            InvitationState::Lapsed { since, .. } if !user.is_managed() => {
                Some((since + policy.lapsed_retention, Due::Retention))
            }
            InvitationState::Lapsed { .. } => None,
        },
        Standing::Deleted { at } => Some((*at + policy.tombstone_retention, Due::Tombstone)),
        Standing::Unborn | Standing::Active { .. } | Standing::Inactive { .. } => None,
    }
}

fn next_reminder(user: &User, invitation: &Invitation, expires_at: Timestamp, policy: &Policy) -> Option<Timestamp> {
    if !wants_reminders(user, invitation) {
        return None;
    }
    let span = *policy.reminders().get(usize::try_from(invitation.reminders).unwrap_or(usize::MAX))?;
    let at = invitation.minted.as_ref()?.at + span;
    (at + Policy::LAST_REMINDER < expires_at).then_some(at)
}

/// Who got a copied link only is reached by nobody's mail, and not reminded either.
fn wants_reminders(user: &User, invitation: &Invitation) -> bool {
    !invitation.muted && invitation.mailed && user.sign_in_address.is_some()
}

fn may_renew(user: &User, invitation: &Invitation, policy: &Policy) -> bool {
    invitation.renewals < policy.max_renewals && user.sign_in_address.is_some()
}

/// Row "hold due; or decided by an admin".
pub(super) fn hold_decided(mut step: Step<'_>, decision: &HoldDecision) -> Result<Outcome, Refusal> {
    let Some(InvitationState::Lapsed { reason: Lapse::Held, until, .. }) =
        step.before.invitation().map(|invitation| invitation.state.clone())
    else {
        return step.unchanged();
    };
    let origin = step.origin();
    match decision {
        HoldDecision::Due if until.is_none_or(|until| until > step.now) => {}
        HoldDecision::Due if step.policy.starts_later(step.now) => step.invite(origin),
        HoldDecision::Due | HoldDecision::Send => step.invite_now(origin),
        HoldDecision::Admit => step.activate(None),
        HoldDecision::Drop { actor } => revoke(&mut step, actor),
    }
    step.done()
}

/// Row "expiry due". A first invitation leaves the user Pending; a forgotten re-invitation leaves nothing open.
pub(super) fn expiry_due(mut step: Step<'_>) -> Result<Outcome, Refusal> {
    let Some(invitation) = step.before.invitation() else { return step.unchanged() };
    if invitation.expires_at().is_none_or(|expires_at| expires_at > step.now) {
        return step.unchanged();
    }
    match step.origin() {
        Origin::First => {
            step.lapse(Lapse::Expired);
            step.note(Note::Expired);
        }
        Origin::Reinvite if may_renew(step.before, invitation, step.policy) => {
            step.supersede();
            count_renewal(&mut step);
        }
        Origin::Reinvite => {
            let hold = step.hold_by(Side::System, "expiry");
            step.deactivate(Some(hold));
            step.note(Note::Expired);
        }
    }
    step.done()
}

/// Row "reminder due": the same link once more, never in its last hours. Reminders that were missed are not made up.
pub(super) fn reminder_due(mut step: Step<'_>) -> Result<Outcome, Refusal> {
    let (now, policy) = (step.now, step.policy);
    let Some((InvitationState::Live { expires_at }, Some(minted))) =
        step.before.invitation().map(|invitation| (invitation.state.clone(), invitation.minted.clone()))
    else {
        return step.unchanged();
    };
    let reminds = step.before.invitation().is_some_and(|invitation| wants_reminders(step.before, invitation));
    let Some(invitation) = step.user.invitation_mut() else { return step.unchanged() };
    let passed = policy.reminders().iter().filter(|span| minted.at + **span <= now).count();
    let passed = u32::try_from(passed).unwrap_or(u32::MAX);
    if passed <= invitation.reminders || !reminds {
        return step.unchanged();
    }
    invitation.reminders = passed;
    if now + Policy::LAST_REMINDER < expires_at {
        step.mail(Mail::Reminder);
    }
    step.done()
}

/// Row "renewal due", the scheduled resend.
pub(super) fn renewal_due(mut step: Step<'_>) -> Result<Outcome, Refusal> {
    let renewable = step.before.invitation().is_some_and(|invitation| {
        invitation.lapse() == Some(Lapse::Expired) && may_renew(step.before, invitation, step.policy)
    });
    if renewable {
        let origin = step.origin();
        step.invite(origin);
        count_renewal(&mut step);
    }
    step.done()
}

fn count_renewal(step: &mut Step<'_>) {
    if let Some(invitation) = step.user.invitation_mut() {
        invitation.renewals = invitation.renewals.saturating_add(1);
    }
}

/// Row "lapsed retention".
pub(super) fn retention_due(mut step: Step<'_>) -> Result<Outcome, Refusal> {
    if lapsed_for_good(step.before, step.policy, step.now) && !step.user.is_managed() {
        let hold = step.hold_by(Side::System, "retention");
        step.deactivate(Some(hold));
    }
    step.done()
}

/// Whether an invitation lapsed so long ago that nobody will take it up. Provisioning lists the managed people of whom
/// this is true; the others are Inactive by then. Held is not lapsed.
pub fn lapsed_for_good(user: &User, policy: &Policy, now: Timestamp) -> bool {
    match user.invitation().map(|invitation| &invitation.state) {
        Some(InvitationState::Lapsed { reason: Lapse::Held, .. } | InvitationState::Live { .. }) | None => false,
        Some(InvitationState::Lapsed { since, .. }) => *since + policy.lapsed_retention <= now,
    }
}

/// Row "tombstone retention".
pub(super) fn tombstone_due(mut step: Step<'_>) -> Result<Outcome, Refusal> {
    if let Standing::Deleted { at } = step.before.standing
        && at + step.policy.tombstone_retention <= step.now
    {
        step.erase();
    }
    step.done()
}

/// Row "relay accepted the mail": the invitee's time runs from the first mail that got out.
pub(super) fn mail_accepted(mut step: Step<'_>, generation: Option<Generation>) -> Result<Outcome, Refusal> {
    let (now, ttl) = (step.now, step.policy.ttl);
    if is_current(step.before, generation)
        && let Some(invitation) = step.user.invitation_mut()
        && let (InvitationState::Live { expires_at }, Some(minted), None) =
            (&mut invitation.state, &invitation.minted, invitation.sent_at)
    {
        invitation.sent_at = Some(now);
        *expires_at = (now + ttl).min(minted.at + ttl + Policy::REANCHOR);
    }
    step.done()
}

/// Row "hard bounce, current gen".
pub(super) fn mail_bounced(step: Step<'_>, generation: Option<Generation>) -> Result<Outcome, Refusal> {
    mail_failed(step, generation, Lapse::Bounced, Note::Bounced)
}

/// Row "retries exhausted".
pub(super) fn mail_given_up(mut step: Step<'_>, generation: Option<Generation>) -> Result<Outcome, Refusal> {
    if is_current(step.before, generation) && step.state() == State::PL {
        step.alert(Alert::SendFailed);
    }
    mail_failed(step, generation, Lapse::SendFailed, Note::SendFailed)
}

fn mail_failed(
    mut step: Step<'_>,
    generation: Option<Generation>,
    reason: Lapse,
    note: Note,
) -> Result<Outcome, Refusal> {
    let current = is_current(step.before, generation);
    match step.state() {
        State::PL if current => {
            step.lapse(reason);
            step.note(note);
        }
        State::RL if current => {
            step.deactivate(None);
            step.note(note);
        }
        State::PX if current && reason == Lapse::Bounced => {
            if let Some(Invitation { state: InvitationState::Lapsed { reason, until, .. }, .. }) =
                step.user.invitation_mut()
            {
                *reason = Lapse::Bounced;
                *until = None;
            }
        }
        // The address that waits to be confirmed is not the one that signs in.
        State::A if generation.is_some() && generation == unconfirmed(step.before) => {}
        State::A => step.user.undeliverable = true,
        State::N | State::PL | State::PX | State::RL | State::I | State::T => {}
    }
    step.done()
}

fn unconfirmed(user: &User) -> Option<Generation> {
    user.unconfirmed_address.as_ref().map(|waiting| waiting.minted.generation)
}

fn is_current(user: &User, generation: Option<Generation>) -> bool {
    generation.is_some() && user.invitation().and_then(Invitation::generation) == generation
}
