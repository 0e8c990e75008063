//! The rows of the invitee: what the person behind the link may do.

use super::moves::{Step, live};
use super::{Mail, Note, Outcome, Policy, Refusal};
use crate::domain::time::Timestamp;
use crate::domain::token::{Channel, Generation};
use crate::domain::user::{Lapse, Standing, State, User};

/// Which page a link opens. Opening it changes nothing: mail scanners follow links.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LinkView {
    Accept,
    Superseded,
    Expired,
    AlreadyAccepted,
    /// The generic page, also for what was never sent.
    Unknown,
}

/// Row "GET/HEAD link".
pub fn view_link(user: &User, generation: Generation, now: Timestamp) -> LinkView {
    match live(user, generation, now) {
        Ok(()) => LinkView::Accept,
        Err(Refusal::Superseded) => LinkView::Superseded,
        Err(Refusal::Expired) => LinkView::Expired,
        Err(Refusal::AlreadyAccepted) => LinkView::AlreadyAccepted,
        Err(_) => LinkView::Unknown,
    }
}

/// Row "accept".
pub(super) fn accepted(mut step: Step<'_>, generation: Generation, channel: Channel) -> Result<Outcome, Refusal> {
    if accepted_just_now(step.before, generation, step.now) {
        return Err(Refusal::AcceptedJustNow);
    }
    step.live(generation)?;
    step.activate(Some(generation));
    match channel {
        Channel::Mail | Channel::Console => step.user.link_only = false,
        Channel::Link => {
            step.user.link_only = true;
            if step.user.sign_in_address.is_some() {
                step.mail(Mail::LinkUsedNotice);
            }
        }
    }
    step.done()
}

/// Whether the link of an acceptance comes again within [`Policy::REPEAT_WINDOW`].
pub fn accepted_just_now(user: &User, generation: Generation, now: Timestamp) -> bool {
    match user.standing {
        Standing::Active { accepted: Some(accepted) } => {
            accepted.generation == Some(generation) && now.since(accepted.at) < Policy::REPEAT_WINDOW
        }
        Standing::Unborn
        | Standing::Pending { .. }
        | Standing::Active { accepted: None }
        | Standing::Inactive { .. }
        | Standing::Deleted { .. } => false,
    }
}

/// Row "OpenID Connect sign-in": a verified address is as good as an acceptance for people a provider manages.
pub(super) fn signed_in(mut step: Step<'_>) -> Result<Outcome, Refusal> {
    match step.state() {
        State::PL | State::PX | State::RL if step.user.is_managed() => {
            step.activate(None);
            step.done()
        }
        State::A => step.unchanged(),
        State::PL | State::PX | State::RL => Err(Refusal::AcceptFirst),
        State::N | State::I | State::T => Err(Refusal::SignInRefused),
    }
}

/// A mailed code was entered: what a copied link left open is proven now.
pub(super) fn mailbox_proven(mut step: Step<'_>) -> Result<Outcome, Refusal> {
    if step.state() == State::A {
        step.user.link_only = false;
    }
    step.done()
}

/// The second half of "sign_in_address would change" for an Active user: it moves, and the sessions end.
pub(super) fn address_confirmed(mut step: Step<'_>, generation: Generation) -> Result<Outcome, Refusal> {
    let waiting = step.user.unconfirmed_address.take();
    let (State::A, Some(waiting)) = (
        step.state(),
        waiting.filter(|it| it.minted.generation == generation && it.minted.at + step.policy.ttl > step.now),
    ) else {
        return Err(Refusal::UnknownInvitation);
    };
    step.user.sign_in_address = Some(waiting.address);
    step.user.undeliverable = false;
    step.user.link_only = false;
    step.end_sessions();
    step.done()
}

/// Row "decline".
pub(super) fn declined(mut step: Step<'_>, generation: Generation) -> Result<Outcome, Refusal> {
    step.live(generation)?;
    match step.state() {
        State::RL => step.deactivate(None),
        State::PL => step.lapse(Lapse::Declined),
        State::N | State::PX | State::A | State::I | State::T => return Err(Refusal::UnknownInvitation),
    }
    step.note(Note::Declined);
    step.done()
}

/// Row "new link requested". The page says the same to everybody, so a refusal here is for the log only.
pub(super) fn new_link_asked(mut step: Step<'_>) -> Result<Outcome, Refusal> {
    let expired = step.before.invitation().and_then(|invitation| invitation.lapse()) == Some(Lapse::Expired);
    if expired {
        step.require_address()?;
        step.require_seats()?;
        step.count_resend()?;
        let origin = step.origin();
        step.invite(origin);
        step.restart_renewals();
    }
    step.done()
}

/// One-click unsubscribe of a reminder (RFC 8058): the invitation stays, the reminders end.
pub(super) fn reminders_muted(mut step: Step<'_>, generation: Generation) -> Result<Outcome, Refusal> {
    step.live(generation)?;
    if let Some(invitation) = step.user.invitation_mut() {
        invitation.muted = true;
    }
    step.done()
}
