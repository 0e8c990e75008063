//! The rows of the admin events.

use super::moves::Step;
use super::{Alert, Assignments, Note, Outcome, Refusal};
use crate::domain::ids::ResourceId;
use crate::domain::user::{ACCOUNT_ADMIN, LicenseAssignment, Origin, Side, State};

/// Row "invite".
pub(super) fn invited(mut step: Step<'_>, reactivate: bool) -> Result<Outcome, Refusal> {
    let origin = match step.state() {
        State::T => return Err(Refusal::NotFound),
        State::PL | State::RL => return Err(Refusal::AlreadyPending),
        State::A => return Err(Refusal::AlreadyActive),
        State::I if !reactivate => return Err(Refusal::ReactivationRequired),
        State::I => lift_for_reinvite(&mut step)?,
        State::N | State::PX => step.origin(),
    };
    step.require_seats()?;
    match step.state() {
        State::N => {
            if let Some(retry_after) = step.policy.throttled {
                return Err(Refusal::TooSoon { retry_after });
            }
        }
        // To who gets it, this is a resend; else the cooldown could be walked around.
        State::PL | State::PX | State::RL | State::A | State::I | State::T => {
            step.require_address()?;
            step.count_resend()?;
        }
    }
    step.invite(origin);
    step.restart_renewals();
    step.done()
}

/// Rows "import as Active" and "import as Inactive". Only somebody new comes in by it: a list that was made elsewhere
/// neither revives nor removes anybody who is here.
pub(super) fn imported(mut step: Step<'_>, active: bool, actor: &str) -> Result<Outcome, Refusal> {
    match (step.state(), active) {
        (State::T, _) => return Err(Refusal::NotFound),
        (State::PL | State::PX | State::RL, _) => return Err(Refusal::AlreadyPending),
        (State::A, _) => return Err(Refusal::AlreadyActive),
        (State::I, true) => return Err(Refusal::ReactivationRequired),
        (State::I, false) => return step.unchanged(),
        (State::N, true) => {
            step.require_seats()?;
            step.activate(None);
        }
        (State::N, false) => {
            let hold = step.hold_by(Side::Admin, actor);
            step.deactivate(Some(hold));
        }
    }
    step.done()
}

/// Row "resend invitation": it restores access to an Inactive person as well.
pub(super) fn resend_asked(mut step: Step<'_>) -> Result<Outcome, Refusal> {
    match step.state() {
        State::N | State::T => return Err(Refusal::NotFound),
        State::A => return Err(Refusal::AlreadyActive),
        State::PL | State::RL => {
            step.require_address()?;
            step.count_resend()?;
            step.supersede();
        }
        State::PX => {
            step.require_address()?;
            step.require_seats()?;
            step.count_resend()?;
            let origin = step.origin();
            step.invite(origin);
        }
        State::I => {
            let origin = lift_for_reinvite(&mut step)?;
            step.require_address()?;
            step.require_seats()?;
            step.count_resend()?;
            step.invite(origin);
        }
    }
    step.restart_renewals();
    step.done()
}

/// Row "copy link": makes a live invitation where there is none, and mails nothing.
pub(super) fn link_copied(mut step: Step<'_>) -> Result<Outcome, Refusal> {
    let origin = match step.state() {
        State::N | State::T => return Err(Refusal::NotFound),
        State::A => return Err(Refusal::AlreadyActive),
        State::PL | State::RL => return step.unchanged(),
        State::PX => step.origin(),
        State::I => lift_for_reinvite(&mut step)?,
    };
    step.take_seats();
    step.mint(origin, false);
    step.done()
}

/// Row "revoke invitation". A person whom a provider manages stays known, so that it cannot invite them right again.
pub(super) fn revoked(mut step: Step<'_>, actor: &str) -> Result<Outcome, Refusal> {
    match step.state() {
        State::N | State::T => Err(Refusal::NotFound),
        State::A | State::I => Err(Refusal::NotPending),
        State::PL | State::PX | State::RL => {
            revoke(&mut step, actor);
            step.done()
        }
    }
}

/// What "revoke" and "hold decided: drop" do to a Pending user.
pub(super) fn revoke(step: &mut Step<'_>, actor: &str) {
    if step.user.is_managed() || step.origin() == Origin::Reinvite {
        let hold = step.hold_by(Side::Admin, actor);
        step.deactivate(Some(hold));
    } else {
        step.delete();
    }
}

/// Row "release from the identity provider".
pub(super) fn released(mut step: Step<'_>, actor: &str) -> Result<Outcome, Refusal> {
    let state = step.state();
    match state {
        State::N | State::T => return Err(Refusal::NotFound),
        State::PL | State::PX | State::RL | State::A | State::I => {}
    }
    step.user.idp_active = None;
    step.user.external_id = None;
    step.user.provisioned_by = None;
    if state == State::I {
        step.lift(&[Side::Idp]);
        let hold = step.hold_by(Side::Admin, actor);
        step.deactivate(Some(hold));
    }
    step.done()
}

/// Row "deactivate".
pub(super) fn deactivated(mut step: Step<'_>, actor: &str) -> Result<Outcome, Refusal> {
    match step.state() {
        State::N | State::T => return Err(Refusal::NotFound),
        State::A if step.policy.is_last_admin => return Err(Refusal::LastAccountAdmin),
        State::PL | State::PX | State::RL | State::A | State::I => {}
    }
    let hold = step.hold_by(Side::Admin, actor);
    step.deactivate(Some(hold));
    step.done()
}

/// Row "erase": the record and its personal data go, also those of a tombstone.
pub(super) fn erased(mut step: Step<'_>) -> Result<Outcome, Refusal> {
    match step.state() {
        State::N => Err(Refusal::NotFound),
        State::A => Err(Refusal::DeactivateFirst),
        State::PL | State::PX | State::RL | State::I | State::T => {
            step.erase();
            step.done()
        }
    }
}

/// Row "change role/project/organization/license".
pub(super) fn assigned(mut step: Step<'_>, changes: &Assignments, side: Side) -> Result<Outcome, Refusal> {
    let state = step.state();
    if matches!(state, State::N | State::T) {
        return Err(Refusal::NotFound);
    }
    if let Some(role) = &changes.account_role
        && *role != step.user.account_role
    {
        change_role(&mut step, role, side)?;
    }
    if let Some(organization) = changes.organization {
        step.user.organization = organization;
    }
    if let Some(projects) = &changes.projects {
        step.user.projects = projects.clone();
    }
    if let Some(licenses) = &changes.licenses {
        change_licenses(&mut step, licenses, side)?;
    }
    step.done()
}

fn change_role(step: &mut Step<'_>, role: &str, side: Side) -> Result<(), Refusal> {
    let was_admin = step.user.account_role == ACCOUNT_ADMIN;
    match step.state() {
        State::PL | State::RL if role == ACCOUNT_ADMIN => {
            // A link that was sent before grants no more than it did then.
            step.supersede();
        }
        State::A if was_admin => {
            if step.policy.is_last_admin {
                match side {
                    Side::Idp => step.alert(Alert::LastAdminGone),
                    Side::Admin | Side::System => return Err(Refusal::LastAccountAdmin),
                }
            }
            step.end_sessions();
        }
        State::N | State::PL | State::PX | State::RL | State::A | State::I | State::T => {}
    }
    step.user.account_role = role.to_owned();
    Ok(())
}

fn change_licenses(step: &mut Step<'_>, licenses: &[LicenseAssignment], side: Side) -> Result<(), Refusal> {
    let held: Vec<ResourceId> =
        step.before.licenses.iter().filter(|assigned| assigned.seat).map(|assigned| assigned.license).collect();
    step.user.licenses = licenses
        .iter()
        .map(|assigned| LicenseAssignment { license: assigned.license, seat: held.contains(&assigned.license) })
        .collect();
    let wants_seats = match step.state() {
        State::PL | State::RL | State::A => true,
        State::N | State::PX | State::I | State::T => false,
    };
    if wants_seats {
        if side == Side::Admin {
            step.require_seats()?;
        }
        step.take_seats();
    }
    Ok(())
}

/// Row "quota lowered below use": nobody who is Active loses a seat by that alone.
pub(super) fn quota_lowered(mut step: Step<'_>, lost: &[ResourceId]) -> Result<Outcome, Refusal> {
    match step.state() {
        State::PL | State::RL => {
            for assigned in &mut step.user.licenses {
                assigned.seat = assigned.seat && !lost.contains(&assigned.license);
            }
        }
        State::A if step.user.licenses.iter().any(|assigned| lost.contains(&assigned.license)) => {
            step.alert(Alert::OverQuota);
        }
        State::N | State::PX | State::A | State::I | State::T => {}
    }
    step.done()
}

/// Row "organization/project/license deleted".
pub(super) fn resource_deleted(mut step: Step<'_>, id: ResourceId) -> Result<Outcome, Refusal> {
    if matches!(step.state(), State::N | State::T) {
        return step.unchanged();
    }
    let user = &mut step.user;
    user.organization = user.organization.filter(|organization| *organization != id);
    user.licenses.retain(|assigned| assigned.license != id);
    user.projects.retain(|assigned| assigned.project != id);
    if *user != *step.before {
        step.note(Note::AssignmentDropped);
    }
    step.done()
}

/// G5, and lifts what a console re-invite may lift: an admin's click never revives a leaver the provider removed.
fn lift_for_reinvite(step: &mut Step<'_>) -> Result<Origin, Refusal> {
    if step.user.held_by(Side::Idp) {
        return Err(Refusal::HeldByProvider);
    }
    step.lift(&[Side::Admin, Side::System]);
    Ok(Origin::Reinvite)
}
