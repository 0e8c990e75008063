//! Every way the lifecycle says no, each with a code for machines and a sentence that says what to do.

use std::time::Duration;

use super::Alert;

/// Why an event was refused. Nothing changes then.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    #[error("there is no such user")]
    NotFound,
    #[error("a user with this userName exists already; look it up by filter and update it by its id")]
    AlreadyExists,
    #[error(
        "the user was deactivated by an administrator of this account; an Account Admin can restore access by \
         re-inviting them"
    )]
    DeactivatedByAdmin,
    #[error(
        "another client ({owner}) manages this user; give this token the scope users:takeover to move the user to it"
    )]
    ManagedByOther { owner: String },
    #[error("the user is an Account Admin; a client needs the scope roles:write to adopt them")]
    AdminAdoption,
    #[error("the user has a pending invitation already; resend it instead")]
    AlreadyPending,
    #[error("the user is Active already and needs no invitation")]
    AlreadyActive,
    #[error("the user is Inactive; confirm that they are to be re-activated")]
    ReactivationRequired,
    #[error(
        "the identity provider deactivated this user; reactivate in the identity provider, or release the user from it"
    )]
    HeldByProvider,
    #[error("{owner} manages this person: change the profile there, or release the person from it")]
    ProfileManaged { owner: String },
    #[error("no seat of a chosen license is free; free one, raise the quota, or invite without the license")]
    NoSeat,
    #[error("the user has no address to send an invitation to; set one, or copy the invitation link")]
    NoAddress,
    #[error("too many invitations; try again in {} seconds", .retry_after.as_secs().max(1))]
    TooSoon { retry_after: Duration },
    #[error("this is the last active Account Admin; give somebody else the role first")]
    LastAccountAdmin,
    #[error("you cannot do this to yourself; ask another Account Admin")]
    Yourself,
    #[error("nobody can grant a role above their own")]
    AboveOwnRole,
    #[error("there is no invitation to revoke: the user is not Pending")]
    NotPending,
    #[error("the user is Active; deactivate them before erasing their data")]
    DeactivateFirst,
    #[error(
        "too many people would lose access at once; the mass-deprovision brake holds further changes until an Account \
         Admin resumes them"
    )]
    Braked { retry_after: Duration },
    #[error("the invitation is not held: there is nothing to decide")]
    NotHeld,
    #[error("a newer invitation was sent; use the link of the latest mail")]
    Superseded,
    #[error("this invitation has expired; ask for a new link")]
    Expired,
    #[error("this invitation was accepted already; sign in")]
    AlreadyAccepted,
    /// The same link once more, within [`super::Policy::REPEAT_WINDOW`] of its acceptance: an impatient second click,
    /// which sees the page of the first and gets no session by it.
    #[error("this invitation was accepted just now; sign in")]
    AcceptedJustNow,
    #[error("this invitation is not valid")]
    UnknownInvitation,
    #[error("this account is not open to you; ask an Account Admin")]
    SignInRefused,
    #[error("accept the invitation that was sent to you first; then sign in")]
    AcceptFirst,
}

impl Refusal {
    /// A stable word for programs.
    pub const fn code(&self) -> &'static str {
        match self {
            Refusal::NotFound => "not_found",
            Refusal::AlreadyExists => "already_exists",
            Refusal::DeactivatedByAdmin => "deactivated_by_admin",
            Refusal::ManagedByOther { .. } => "managed_by_another_client",
            Refusal::AdminAdoption => "account_admin_protected",
            Refusal::AlreadyPending => "already_pending",
            Refusal::AlreadyActive => "already_active",
            Refusal::ReactivationRequired => "reactivation_required",
            Refusal::HeldByProvider => "held_by_identity_provider",
            Refusal::ProfileManaged { .. } => "managed_by_identity_provider",
            Refusal::NoSeat => "no_license",
            Refusal::NoAddress => "no_address",
            Refusal::TooSoon { .. } => "rate_limited",
            Refusal::LastAccountAdmin => "last_account_admin",
            Refusal::Yourself => "not_yourself",
            Refusal::AboveOwnRole => "role_above_own",
            Refusal::NotPending => "not_pending",
            Refusal::DeactivateFirst => "deactivate_first",
            Refusal::Braked { .. } => "brake_engaged",
            Refusal::NotHeld => "not_held",
            Refusal::Superseded => "link_superseded",
            Refusal::Expired => "link_expired",
            Refusal::AlreadyAccepted => "already_accepted",
            Refusal::AcceptedJustNow => "accepted_just_now",
            Refusal::UnknownInvitation => "invalid_link",
            Refusal::SignInRefused => "sign_in_refused",
            Refusal::AcceptFirst => "accept_invitation_first",
        }
    }

    /// What the Account Admins must hear of although nothing changed.
    pub const fn alert(&self) -> Option<Alert> {
        match self {
            Refusal::DeactivatedByAdmin => Some(Alert::ProviderSaysActive),
            Refusal::AdminAdoption => Some(Alert::AdminAdoptionRefused),
            Refusal::NotFound
            | Refusal::AlreadyExists
            | Refusal::ManagedByOther { .. }
            | Refusal::AlreadyPending
            | Refusal::AlreadyActive
            | Refusal::ReactivationRequired
            | Refusal::HeldByProvider
            | Refusal::ProfileManaged { .. }
            | Refusal::NoSeat
            | Refusal::NoAddress
            | Refusal::TooSoon { .. }
            | Refusal::LastAccountAdmin
            | Refusal::Yourself
            | Refusal::AboveOwnRole
            | Refusal::NotPending
            | Refusal::DeactivateFirst
            | Refusal::Braked { .. }
            | Refusal::NotHeld
            | Refusal::Superseded
            | Refusal::Expired
            | Refusal::AlreadyAccepted
            | Refusal::AcceptedJustNow
            | Refusal::UnknownInvitation
            | Refusal::SignInRefused
            | Refusal::AcceptFirst => None,
        }
    }
}
