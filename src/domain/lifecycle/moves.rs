//! The moves that the cells of the matrix are made of: each changes the user in hand and notes what goes along.

use super::policy::{Admit, Hold as PolicyHold, Policy};
use super::{Alert, Mail, Note, Outcome, Refusal};
use crate::domain::time::{DAY, Timestamp};
use crate::domain::token::Generation;
use crate::domain::user::{
    ACCOUNT_ADMIN, Acceptance, Hold, Invitation, InvitationState, Lapse, Origin, Side, Standing, State, User,
};

/// A transition in the making.
pub(super) struct Step<'a> {
    pub before: &'a User,
    pub user: User,
    pub policy: &'a Policy,
    pub now: Timestamp,
    mails: Vec<Mail>,
    end_sessions: bool,
    note: Option<Note>,
    alerts: Vec<Alert>,
}

impl<'a> Step<'a> {
    pub fn new(user: &'a User, policy: &'a Policy, now: Timestamp) -> Self {
        Step {
            before: user,
            user: user.clone(),
            policy,
            now,
            mails: Vec::new(),
            end_sessions: false,
            note: None,
            alerts: Vec::new(),
        }
    }

    pub fn state(&self) -> State {
        self.before.state()
    }

    /// The user as it now stands, and all that was noted.
    pub fn done(mut self) -> Result<Outcome, Refusal> {
        if self.user.license_shortfall() && !self.before.license_shortfall() {
            self.alert(Alert::LicenseShortfall);
        }
        Ok(Outcome {
            user: self.user,
            mails: self.mails,
            end_sessions: self.end_sessions,
            note: self.note,
            alerts: self.alerts,
        })
    }

    /// "stay" and "drop": nothing changes.
    pub fn unchanged(self) -> Result<Outcome, Refusal> {
        self.done()
    }

    pub fn mail(&mut self, mail: Mail) {
        self.mails.push(mail);
    }

    pub fn note(&mut self, note: Note) {
        self.note = Some(note);
    }

    pub fn alert(&mut self, alert: Alert) {
        self.alerts.push(alert);
    }

    pub fn end_sessions(&mut self) {
        self.end_sessions = true;
    }

    /// As [`live`], for this user now.
    pub fn live(&self, generation: Generation) -> Result<(), Refusal> {
        live(self.before, generation, self.now)
    }

    /// INV: +tok +mail +lic +tmr, with PX `held` in its place where the policy holds, and PX `no_address` where no
    /// mail can go.
    pub fn invite(&mut self, origin: Origin) {
        match self.policy.hold {
            Some(PolicyHold::Until(day)) if day > self.now => self.pend(origin, Lapse::Held, Some(day)),
            Some(PolicyHold::ForDecision) => self.pend(origin, Lapse::Held, None),
            Some(PolicyHold::Until(_)) | None => self.invite_now(origin),
        }
    }

    /// INV without asking the policy, when a hold was lifted.
    pub fn invite_now(&mut self, origin: Origin) {
        if self.user.sign_in_address.is_none() {
            self.pend(origin, Lapse::NoAddress, None);
            return;
        }
        self.take_seats();
        self.mint(origin, true);
        self.mail(Mail::Invitation);
    }

    /// "+tok +mail", of a live invitation whose links so far must not work any more. Without an address the new link can
    /// only be copied.
    /// Where the policy waits for a decision, it waits here, too: the old links end, and nothing goes out.
    pub fn supersede(&mut self) {
        let mailed = self.user.sign_in_address.is_some();
        let origin = self.origin();
        if self.policy.hold == Some(PolicyHold::ForDecision) {
            self.pend(origin, Lapse::Held, None);
            return;
        }
        self.mint(origin, mailed);
        if mailed {
            self.mail(Mail::Invitation);
        }
    }

    /// +tok +tmr: the next generation; all before it are superseded.
    pub fn mint(&mut self, origin: Origin, mailed: bool) {
        let before = self.user.invitation();
        let (sends, renewals) = before.map_or((0, 0), |invitation| (invitation.sends, invitation.renewals));
        self.user.standing = Standing::Pending {
            origin,
            invitation: Invitation {
                minted: Some(self.policy.mint.clone()),
                state: InvitationState::Live { expires_at: self.now + self.policy.ttl },
                sent_at: None,
                sends: sends.saturating_add(u32::from(mailed)),
                renewals,
                reminders: 0,
                mailed,
                muted: before.is_some_and(|invitation| invitation.muted),
                queued: None,
            },
        };
    }

    /// →PX −tok −mail −tmr −lic: the invitation is not live, for this reason, and holds no seat: a first sync of
    /// thousands must not empty the pool. The last generation stays known, to tell late bounces and old links apart.
    pub fn pend(&mut self, origin: Origin, reason: Lapse, until: Option<Timestamp>) {
        self.release_seats();
        let before = self.user.invitation();
        self.user.standing = Standing::Pending {
            origin,
            invitation: Invitation {
                minted: before.and_then(|invitation| invitation.minted.clone()),
                state: InvitationState::Lapsed { reason, since: self.now, until },
                sent_at: before.and_then(|invitation| invitation.sent_at),
                sends: before.map_or(0, |invitation| invitation.sends),
                renewals: before.map_or(0, |invitation| invitation.renewals),
                reminders: before.map_or(0, |invitation| invitation.reminders),
                mailed: before.is_some_and(|invitation| invitation.mailed),
                muted: before.is_some_and(|invitation| invitation.muted),
                queued: None,
            },
        };
    }

    /// →PX(reason) CLR −lic note, for PL.
    pub fn lapse(&mut self, reason: Lapse) {
        let origin = self.origin();
        self.pend(origin, reason, None);
    }

    /// "admits→A CLR ✓lic": whether the policy lets the user in without an acceptance, and if so, does it.
    pub fn admit_by_policy(&mut self) -> bool {
        let admits = match self.policy.admit {
            Admit::Invite => false,
            Admit::Notify => true,
            Admit::Silent => true,
        };
        if admits {
            self.activate(None);
            if self.policy.admit == Admit::Notify && self.user.sign_in_address.is_some() {
                self.mail(Mail::Welcome);
            }
        }
        admits
    }

    /// →A CLR ✓lic. Frozen assignments live again, but nobody who was Inactive becomes Account Admin by an old one. The
    /// page says so of an acceptance; here it goes for every way back, since no other way proves more.
    pub fn activate(&mut self, generation: Option<Generation>) {
        let returns = self.state() == State::I || self.origin() == Origin::Reinvite;
        if returns && self.user.account_role == ACCOUNT_ADMIN {
            self.user.account_role.clone_from(&self.policy.default_account_role);
        }
        self.take_seats();
        let accepted = generation.map(|generation| Acceptance { generation: Some(generation), at: self.now });
        self.user.standing = Standing::Active { accepted };
        self.user.undeliverable = false;
    }

    /// →I CLR −lic, and −ses from A. Adds the hold, or keeps the older one of the same side.
    pub fn deactivate(&mut self, hold: Option<Hold>) {
        if self.state() == State::A {
            self.end_sessions();
        }
        self.release_seats();
        let mut holds = self.user.holds().to_vec();
        if let Some(hold) = hold
            && !holds.iter().any(|held| held.side == hold.side)
        {
            holds.push(hold);
        }
        self.user.unconfirmed_address = None;
        self.user.standing = Standing::Inactive { holds };
    }

    /// →T CLR −lic, and −ses from A.
    pub fn delete(&mut self) {
        if self.state() == State::A {
            self.end_sessions();
        }
        self.release_seats();
        self.user.standing = Standing::Deleted { at: self.now };
    }

    /// →N: the record goes.
    pub fn erase(&mut self) {
        self.release_seats();
        self.user.standing = Standing::Unborn;
    }

    /// Lifts the holds of these sides; whether none is left. Other states have none.
    pub fn lift(&mut self, sides: &[Side]) -> bool {
        match &mut self.user.standing {
            Standing::Inactive { holds } => {
                holds.retain(|hold| !sides.contains(&hold.side));
                holds.is_empty()
            }
            Standing::Unborn | Standing::Pending { .. } | Standing::Active { .. } | Standing::Deleted { .. } => true,
        }
    }

    pub fn hold_by(&self, side: Side, actor: &str) -> Hold {
        Hold { side, actor: actor.to_owned(), at: self.now }
    }

    /// "origin kept": a first invitation unless the Pending user says otherwise.
    pub fn origin(&self) -> Origin {
        match self.before.standing {
            Standing::Pending { origin, .. } => origin,
            Standing::Unborn | Standing::Active { .. } | Standing::Inactive { .. } | Standing::Deleted { .. } => {
                Origin::First
            }
        }
    }

    /// +lic and ✓lic: a seat for each license where one is free; a shortfall where none is.
    pub fn take_seats(&mut self) {
        for assigned in &mut self.user.licenses {
            assigned.seat = assigned.seat || self.policy.free_licenses.contains(&assigned.license);
        }
    }

    /// −lic.
    pub fn release_seats(&mut self) {
        for assigned in &mut self.user.licenses {
            assigned.seat = false;
        }
    }

    /// G3: a person who asks for an invitation hears when a seat is missing.
    pub fn require_seats(&self) -> Result<(), Refusal> {
        let has_all = self
            .user
            .licenses
            .iter()
            .all(|assigned| assigned.seat || self.policy.free_licenses.contains(&assigned.license));
        if has_all { Ok(()) } else { Err(Refusal::NoSeat) }
    }

    /// Asked by a person to mail somebody without an address: better say so than lapse in silence.
    pub fn require_address(&self) -> Result<(), Refusal> {
        if self.user.sign_in_address.is_some() { Ok(()) } else { Err(Refusal::NoAddress) }
    }

    /// G4, and notes this resend.
    pub fn count_resend(&mut self) -> Result<(), Refusal> {
        if let Some(retry_after) = self.policy.throttled {
            return Err(Refusal::TooSoon { retry_after });
        }
        let now = self.now;
        let resends = &mut self.user.resends;
        resends.retain(|at| now.since(*at) < DAY);
        if let Some(last) = resends.last()
            && now.since(*last) < Policy::RESEND_COOLDOWN
        {
            return Err(Refusal::TooSoon { retry_after: Policy::RESEND_COOLDOWN.saturating_sub(now.since(*last)) });
        }
        if resends.len() >= Policy::RESENDS_A_DAY {
            return Err(Refusal::TooSoon { retry_after: DAY.saturating_sub(now.since(resends[0])) });
        }
        resends.push(now);
        Ok(())
    }

    /// A fresh start that a person asked for: the scheduled resends count anew.
    pub fn restart_renewals(&mut self) {
        if let Some(invitation) = self.user.invitation_mut() {
            invitation.renewals = 0;
        }
    }
}

/// Whether this generation is the live invitation; else why the link is stale (row "accept: stale or unknown token").
pub(super) fn live(user: &User, generation: Generation, now: Timestamp) -> Result<(), Refusal> {
    match &user.standing {
        Standing::Pending { invitation, .. } => match invitation.state {
            InvitationState::Lapsed { .. } => Err(Refusal::Expired),
            InvitationState::Live { .. } if invitation.generation() != Some(generation) => Err(Refusal::Superseded),
            InvitationState::Live { expires_at } if expires_at <= now => Err(Refusal::Expired),
            InvitationState::Live { .. } => Ok(()),
        },
        Standing::Active { .. } => Err(Refusal::AlreadyAccepted),
        Standing::Unborn | Standing::Inactive { .. } | Standing::Deleted { .. } => Err(Refusal::UnknownInvitation),
    }
}
