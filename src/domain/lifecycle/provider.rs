//! The rows of the SCIM events: what an identity provider may do to a user, and what comes of it.

use super::moves::Step;
use super::{Alert, Mail, Outcome, Refusal};
use crate::domain::names::{ClientName, EmailAddress, UserName};
use crate::domain::user::{ACCOUNT_ADMIN, Lapse, Origin, Side, State, Unconfirmed, User};

/// The SCIM client that writes, with the scopes that matter here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Provider {
    pub client: ClientName,
    /// Scope `users:takeover`: may take users over from another client.
    pub takeover: bool,
    /// Scope `roles:write`: may adopt an Account Admin.
    pub roles_write: bool,
}

/// How a client comes to write to a user.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Adoption {
    /// It manages the user already.
    Own,
    /// Nobody did: a user made by hand is adopted.
    Adopted,
    /// Another client did, and this one may take over.
    TakenOver,
}

/// "Managed is per client": whether this client may write to this user.
///
/// # Errors
/// [`Refusal::ManagedByOther`] without the scope to take over, [`Refusal::AdminAdoption`] where an Account Admin would
/// come under a client that may not write roles.
pub fn may_write(user: &User, by: &Provider) -> Result<Adoption, Refusal> {
    let adoption = match &user.provisioned_by {
        Some(owner) if *owner == by.client => return Ok(Adoption::Own),
        Some(owner) if !by.takeover => return Err(Refusal::ManagedByOther { owner: owner.to_string() }),
        Some(_) => Adoption::TakenOver,
        None => Adoption::Adopted,
    };
    if user.account_role == ACCOUNT_ADMIN && !by.roles_write {
        return Err(Refusal::AdminAdoption);
    }
    Ok(adoption)
}

/// Rows "POST, active true or omitted" and "POST, active false".
pub(super) fn provisioned(mut step: Step<'_>, active: bool, by: &Provider) -> Result<Outcome, Refusal> {
    let state = step.state();
    let adoption = match state {
        State::T => return Err(Refusal::NotFound),
        State::N => Adoption::Adopted,
        State::PL | State::PX | State::RL | State::A | State::I => {
            may_write(&step.user, by).map_err(|refusal| match refusal {
                Refusal::ManagedByOther { .. } => Refusal::AlreadyExists,
                other => other,
            })?
        }
    };
    let managed = adoption == Adoption::Own;
    match (state, active) {
        (State::I, true) => {
            if step.user.held_by(Side::Admin) {
                return Err(Refusal::DeactivatedByAdmin);
            }
            manage(&mut step, by, true);
            step.lift(&[Side::Idp, Side::System]);
            admit_or_invite(&mut step, Origin::Reinvite);
        }
        (State::PL | State::PX | State::RL | State::A | State::I, _) if managed => return Err(Refusal::AlreadyExists),
        (State::N, true) => {
            manage(&mut step, by, true);
            admit_or_invite(&mut step, Origin::First);
        }
        (State::PL | State::RL, true) => {
            manage(&mut step, by, true);
            step.admit_by_policy();
        }
        (State::PX, true) => {
            manage(&mut step, by, true);
            let origin = step.origin();
            admit_or_invite(&mut step, origin);
        }
        (State::A, true) => manage(&mut step, by, true),
        (State::N | State::PL | State::PX | State::RL | State::A | State::I, false) => {
            manage(&mut step, by, false);
            lose_access(&mut step, by)?;
        }
        (State::T, _) => return Err(Refusal::NotFound),
    }
    step.done()
}

/// Rows "PUT/PATCH true, edge" and "PUT/PATCH true without edge".
pub(super) fn asserted_active(mut step: Step<'_>, by: &Provider) -> Result<Outcome, Refusal> {
    let state = writable(&step, by)?;
    let edge = is_edge(step.before);
    manage(&mut step, by, true);
    if state == State::I && step.before.held_by(Side::Admin) && step.before.idp_active != Some(true) {
        // Once; the same true repeated in every profile update is no news.
        step.alert(Alert::ProviderSaysActive);
    }
    if edge {
        match state {
            State::PL | State::RL => {
                step.admit_by_policy();
            }
            State::PX => {
                let origin = step.origin();
                admit_or_invite(&mut step, origin);
            }
            State::I => {
                if step.lift(&[Side::Idp, Side::System]) {
                    admit_or_invite(&mut step, Origin::Reinvite);
                }
            }
            State::A | State::N | State::T => {}
        }
    }
    step.done()
}

/// `active` is edge-triggered: a provider that repeats `true` in every profile update reactivates nobody.
fn is_edge(user: &User) -> bool {
    match user.idp_active {
        Some(false) => true,
        Some(true) => false,
        None => match user.state() {
            State::PX | State::RL => true,
            State::I => !user.held_by(Side::Admin),
            State::PL | State::A | State::N | State::T => false,
        },
    }
}

/// Row "PUT/PATCH false".
pub(super) fn asserted_inactive(mut step: Step<'_>, by: &Provider) -> Result<Outcome, Refusal> {
    writable(&step, by)?;
    manage(&mut step, by, false);
    lose_access(&mut step, by)?;
    step.done()
}

/// Rows "PUT without active" and "profile only": the user comes under the client, nothing else. Who adopts a user in
/// this way has asserted nothing yet, so the first `true` afterwards still counts as an edge.
pub(super) fn profile_written(mut step: Step<'_>, by: &Provider) -> Result<Outcome, Refusal> {
    writable(&step, by)?;
    step.user.provisioned_by = Some(by.client.clone());
    step.done()
}

/// Row "DELETE".
pub(super) fn deprovisioned(mut step: Step<'_>, by: &Provider) -> Result<Outcome, Refusal> {
    if writable(&step, by)? == State::A {
        losing_active(&mut step)?;
    }
    step.delete();
    step.done()
}

/// Row "sign_in_address would change".
pub(super) fn address_changed(mut step: Step<'_>, to: &EmailAddress) -> Result<Outcome, Refusal> {
    let same = step.user.sign_in_address.as_ref().is_some_and(|address| address.folded() == to.folded());
    match step.state() {
        State::N | State::T => return Err(Refusal::NotFound),
        State::PL | State::RL => {
            step.user.sign_in_address = Some(to.clone());
            if !same {
                step.supersede();
            }
        }
        State::PX => {
            step.user.sign_in_address = Some(to.clone());
            let unreachable = matches!(
                step.before.invitation().and_then(|invitation| invitation.lapse()),
                Some(Lapse::Bounced | Lapse::SendFailed | Lapse::NoAddress)
            );
            if !same && unreachable {
                let origin = step.origin();
                step.invite(origin);
            }
        }
        State::A if same => {
            step.user.sign_in_address = Some(to.clone());
            step.user.unconfirmed_address = None;
        }
        State::A if waits_for(&step.user, to) => {}
        State::A => {
            let minted = step.policy.mint.clone();
            step.user.unconfirmed_address = Some(Unconfirmed { address: to.clone(), minted });
            step.mail(Mail::ConfirmAddress);
            if step.user.sign_in_address.is_some() {
                step.mail(Mail::AddressNotice);
            }
        }
        State::I => step.user.sign_in_address = Some(to.clone()),
    }
    step.done()
}

fn waits_for(user: &User, address: &EmailAddress) -> bool {
    user.unconfirmed_address.as_ref().is_some_and(|waiting| waiting.address.folded() == address.folded())
}

/// Row "userName changed".
pub(super) fn user_name_changed(mut step: Step<'_>, to: &UserName) -> Result<Outcome, Refusal> {
    match step.state() {
        State::N | State::T => Err(Refusal::NotFound),
        State::PL | State::PX | State::RL | State::A | State::I => {
            step.user.user_name = to.clone();
            step.done()
        }
    }
}

fn writable(step: &Step<'_>, by: &Provider) -> Result<State, Refusal> {
    match step.state() {
        State::N | State::T => Err(Refusal::NotFound),
        state @ (State::PL | State::PX | State::RL | State::A | State::I) => {
            may_write(&step.user, by)?;
            Ok(state)
        }
    }
}

fn manage(step: &mut Step<'_>, by: &Provider, active: bool) {
    step.user.provisioned_by = Some(by.client.clone());
    step.user.idp_active = Some(active);
}

fn admit_or_invite(step: &mut Step<'_>, origin: Origin) {
    if !step.admit_by_policy() {
        step.invite(origin);
    }
}

/// →I with a hold of the provider's side.
fn lose_access(step: &mut Step<'_>, by: &Provider) -> Result<(), Refusal> {
    if step.state() == State::A {
        losing_active(step)?;
    }
    let hold = step.hold_by(Side::Idp, by.client.as_str());
    step.deactivate(Some(hold));
    Ok(())
}

/// G1 and G9 for a person who is Active now. A leaver must lose access, so G1 only raises an alert here.
fn losing_active(step: &mut Step<'_>) -> Result<(), Refusal> {
    if let Some(retry_after) = step.policy.braked {
        return Err(Refusal::Braked { retry_after });
    }
    if step.policy.is_last_admin {
        step.alert(Alert::LastAdminGone);
    }
    Ok(())
}
