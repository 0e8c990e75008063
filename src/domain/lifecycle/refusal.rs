//! Every way the lifecycle says no, each with a code for machines and a sentence that says what to do.

use std::time::Duration;

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
    #[error("no seat of a chosen license is free; free one, raise the quota, or invite without the license")]
    NoSeat,
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
    #[error("a newer invitation was sent; use the link of the latest mail")]
    Superseded,
    #[error("this invitation has expired; ask for a new link")]
    Expired,
    #[error("this invitation was accepted already; sign in")]
    AlreadyAccepted,
    #[error("this invitation is not valid")]
    UnknownInvitation,
    #[error("this account is not open to you; ask an Account Admin")]
    SignInRefused,
}

impl Refusal {
    /// A stable word for programs.
    pub const fn code(&self) -> &'static str {
        match self {
            Refusal::NotFound => "not_found",
            Refusal::AlreadyExists => "already_exists",
            Refusal::DeactivatedByAdmin => "deactivated_by_admin",
            Refusal::ManagedByOther { .. } => "managed_by_other",
            Refusal::AdminAdoption => "admin_adoption",
            Refusal::AlreadyPending => "already_pending",
            Refusal::AlreadyActive => "already_active",
            Refusal::ReactivationRequired => "reactivation_required",
            Refusal::HeldByProvider => "held_by_provider",
            Refusal::NoSeat => "no_license",
            Refusal::TooSoon { .. } => "rate_limited",
            Refusal::LastAccountAdmin => "last_account_admin",
            Refusal::Yourself => "yourself",
            Refusal::AboveOwnRole => "above_own_role",
            Refusal::NotPending => "not_pending",
            Refusal::DeactivateFirst => "deactivate_first",
            Refusal::Braked { .. } => "braked",
            Refusal::Superseded => "superseded",
            Refusal::Expired => "expired",
            Refusal::AlreadyAccepted => "already_accepted",
            Refusal::UnknownInvitation => "unknown_invitation",
            Refusal::SignInRefused => "sign_in_refused",
        }
    }
}
