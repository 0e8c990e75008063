//! The lifecycle of a user: one pure function over (user, event, policy, now), and nothing else ever changes a status.
//!
//! States: **N** no record, **PL** Pending with a live invitation, **PX** Pending without one, **RL** an Inactive
//! person invited again, **A** Active, **I** Inactive, **T** deleted but remembered.
//!
//! ```text
//!          provisioned / invited            accepts
//!      N ------------------------> PL ----------------> A
//!                 expires, bounces |  ^ renewal, resend |  deactivated
//!                                  v  |                 v
//!                                  PX                   I --re-invited--> RL --accepts--> A
//! ```
//!
//! [`transition`] returns the user as it becomes and what must go along with it in the same commit. Seats, index
//! entries and the user's one timer are not listed there: they follow from the difference between the user before and
//! after ([`next_due`] for the timer), so that they cannot be forgotten.
//!
//! Three rules come from what identity providers really do: a Pending user is `active: true`; `active` counts only
//! when it changes; and each side (provider, admin, the system) lifts only its own hold.

mod admin;
mod invitee;
mod moves;
mod policy;
mod provider;
mod refusal;
mod repair;
mod timer;

pub use invitee::{LinkView, accepted_just_now, view_link};
pub use policy::{Admit, Brake, BrakeLimit, Hold as PolicyHold, Policy};
pub use provider::{Adoption, Provider, may_write};
pub use refusal::Refusal;
pub use timer::{Due, lapsed_for_good, next_due};

use super::ids::ResourceId;
use super::names::{EmailAddress, UserName};
use super::time::Timestamp;
use super::token::{Channel, Generation};
use super::user::{Hold, LicenseAssignment, ProjectAssignment, Side, User};
use moves::Step;

/// Something that happened to a user. The names follow the rows of the lifecycle page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// SCIM POST; `active` is true when the body omits it.
    Provisioned {
        active: bool,
        by: Provider,
    },
    /// SCIM PUT or PATCH that names `active`.
    ActiveAsserted {
        active: bool,
        by: Provider,
    },
    /// SCIM PUT or PATCH that does not, or only repeats it.
    ProfileWritten {
        by: Provider,
    },
    /// SCIM DELETE.
    Deprovisioned {
        by: Provider,
    },
    AddressChanged {
        to: EmailAddress,
    },
    /// The link mailed to an Active user's new address was confirmed.
    AddressConfirmed {
        generation: Generation,
    },
    UserNameChanged {
        to: UserName,
    },

    /// An admin invites; `reactivate` is the explicit flag that an Inactive person needs.
    Invited {
        reactivate: bool,
    },
    /// Somebody who is known elsewhere comes in as they are there, without an invitation.
    Imported {
        active: bool,
        actor: String,
    },
    ResendAsked,
    LinkCopied,
    Revoked {
        actor: String,
    },
    Released {
        actor: String,
    },
    Deactivated {
        actor: String,
    },
    Erased,
    Assigned {
        changes: Assignments,
        /// Whose decision it is: a provider is never refused for want of a seat or for G1.
        side: Side,
    },

    Accepted {
        generation: Generation,
        channel: Channel,
    },
    /// OpenID Connect sign-in with an address that the issuer verified.
    SignedIn,
    /// A code mailed to the sign-in address was entered.
    MailboxProven,
    Declined {
        generation: Generation,
    },
    NewLinkAsked,
    /// One click on "no more reminders".
    RemindersMuted {
        generation: Generation,
    },

    HoldDecided(HoldDecision),
    ExpiryDue,
    ReminderDue,
    RenewalDue,
    RetentionDue,
    TombstoneDue,

    MailAccepted {
        generation: Option<Generation>,
    },
    MailBounced {
        generation: Option<Generation>,
    },
    /// The outbox gave up after its last attempt.
    MailGivenUp {
        generation: Option<Generation>,
    },

    /// Seats were taken away below use: those that this user no longer has.
    QuotaLowered {
        lost: Vec<ResourceId>,
    },
    /// An organization, project or license was deleted.
    ResourceDeleted {
        id: ResourceId,
    },

    /// V3, V18: the link of a live invitation cannot be made any more, since its key or generation is gone.
    LinkLost,
    /// V7: holds were found on a user who is not Inactive.
    HoldsFound {
        holds: Vec<Hold>,
    },
}

/// What a held invitation is to become.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HoldDecision {
    /// Its day has come.
    Due,
    Send,
    Admit,
    Drop {
        actor: String,
    },
}

/// What an admin, or a provider with `roles:write`, sets; `None` leaves a part as it is.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Assignments {
    pub account_role: Option<String>,
    pub organization: Option<Option<ResourceId>>,
    /// Seats are decided by the transition; `seat` is ignored here.
    pub licenses: Option<Vec<LicenseAssignment>>,
    pub projects: Option<Vec<ProjectAssignment>>,
}

/// The user after an event, and what goes along with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    pub user: User,
    pub mails: Vec<Mail>,
    /// End every session of the user (−ses).
    pub end_sessions: bool,
    /// Tell the inviter, in the digest.
    pub note: Option<Note>,
    pub alerts: Vec<Alert>,
}

/// A mail to queue. All are made from the user as it is when the mail goes out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Mail {
    Invitation,
    Reminder,
    /// Admitted without an invitation; holds no token.
    Welcome,
    /// To the new address, which is not the sign-in address yet.
    ConfirmAddress,
    /// To the old address: a change was asked for.
    AddressNotice,
    /// To the sign-in address: a copied link was used to accept.
    LinkUsedNotice,
}

/// What the inviter hears of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Note {
    Expired,
    Declined,
    Bounced,
    SendFailed,
    AssignmentDropped,
}

/// What the Account Admins must hear of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Alert {
    /// G1: a provider took away the last Active Account Admin.
    LastAdminGone,
    /// A provider says active, and an admin's hold says no.
    ProviderSaysActive,
    LicenseShortfall,
    /// More seats are used than the license has.
    OverQuota,
    /// Invitations cannot be sent at all.
    SendFailed,
    /// A client without `roles:write` tried to adopt an Account Admin.
    AdminAdoptionRefused,
    /// G9: too many people would have lost access through one client.
    Brake,
    /// More first invitations of one client than go out at once: the further ones wait for a decision.
    InvitationsHeld,
    /// A client's token stops working soon, and it has no other.
    TokenExpiring,
}

/// Decides what `event` makes of `user`. A tombstone is no user: where the page says "new id", the caller starts from
/// [`User::unborn`] under another id, and the tombstone itself answers [`Refusal::NotFound`].
///
/// Who asks, with which role and scopes, and whether a name is taken (G2, G6, G8) is decided before, by the caller.
///
/// # Errors
/// A [`Refusal`] when the cell of (event, state) or a guard says no; then nothing changes.
pub fn transition(user: &User, event: &Event, policy: &Policy, now: Timestamp) -> Result<Outcome, Refusal> {
    let step = Step::new(user, policy, now);
    match event {
        Event::Provisioned { active, by } => provider::provisioned(step, *active, by),
        Event::ActiveAsserted { active: true, by } => provider::asserted_active(step, by),
        Event::ActiveAsserted { active: false, by } => provider::asserted_inactive(step, by),
        Event::ProfileWritten { by } => provider::profile_written(step, by),
        Event::Deprovisioned { by } => provider::deprovisioned(step, by),
        Event::AddressChanged { to } => provider::address_changed(step, to),
        Event::AddressConfirmed { generation } => invitee::address_confirmed(step, *generation),
        Event::UserNameChanged { to } => provider::user_name_changed(step, to),

        Event::Invited { reactivate } => admin::invited(step, *reactivate),
        Event::Imported { active, actor } => admin::imported(step, *active, actor),
        Event::ResendAsked => admin::resend_asked(step),
        Event::LinkCopied => admin::link_copied(step),
        Event::Revoked { actor } => admin::revoked(step, actor),
        Event::Released { actor } => admin::released(step, actor),
        Event::Deactivated { actor } => admin::deactivated(step, actor),
        Event::Erased => admin::erased(step),
        Event::Assigned { changes, side } => admin::assigned(step, changes, *side),
        Event::QuotaLowered { lost } => admin::quota_lowered(step, lost),
        Event::ResourceDeleted { id } => admin::resource_deleted(step, *id),

        Event::Accepted { generation, channel } => invitee::accepted(step, *generation, *channel),
        Event::SignedIn => invitee::signed_in(step),
        Event::MailboxProven => invitee::mailbox_proven(step),
        Event::Declined { generation } => invitee::declined(step, *generation),
        Event::NewLinkAsked => invitee::new_link_asked(step),
        Event::RemindersMuted { generation } => invitee::reminders_muted(step, *generation),

        Event::HoldDecided(decision) => timer::hold_decided(step, decision),
        Event::ExpiryDue => timer::expiry_due(step),
        Event::ReminderDue => timer::reminder_due(step),
        Event::RenewalDue => timer::renewal_due(step),
        Event::RetentionDue => timer::retention_due(step),
        Event::TombstoneDue => timer::tombstone_due(step),

        Event::MailAccepted { generation } => timer::mail_accepted(step, *generation),
        Event::MailBounced { generation } => timer::mail_bounced(step, *generation),
        Event::MailGivenUp { generation } => timer::mail_given_up(step, *generation),

        Event::LinkLost => repair::link_lost(step),
        Event::HoldsFound { holds } => repair::holds_found(step, holds),
    }
}
