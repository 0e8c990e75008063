//! A user as the lifecycle sees one: standing, invitation, holds, assignments. The profile (names, phones …) is a SCIM
//! document beside it and never decides anything here.

use serde::{Deserialize, Serialize};

use super::ids::{OutboxId, ResourceId};
use super::names::{ClientName, EmailAddress, UserName};
use super::time::Timestamp;
use super::token::Generation;
use super::token::keyring::KeyId;

/// The account role that administers an account. Its name is fixed; the others are configuration.
pub const ACCOUNT_ADMIN: &str = "Account Admin";

/// Everything about a user that a transition reads or writes (lifecycle: "What is stored").
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct User {
    pub id: ResourceId,
    pub user_name: UserName,
    /// The address that is invited and signs in; apart from the profile's `emails`. `None`: only a copied link works.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sign_in_address: Option<EmailAddress>,
    /// An Active user's new address until the link mailed to it is confirmed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unconfirmed_address: Option<Unconfirmed>,
    pub standing: Standing,
    /// What the provider asserted last; `None` while no provider manages the user.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub idp_active: Option<bool>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub external_id: Option<String>,
    /// The client that manages the user. Rotating a token keeps the client, since it is known by its name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub provisioned_by: Option<ClientName>,
    pub account_role: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub organization: Option<ResourceId>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub licenses: Vec<LicenseAssignment>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub projects: Vec<ProjectAssignment>,
    /// The first day of work; where the policy says so, the invitation waits for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub employment_start_date: Option<Timestamp>,
    /// A mail to the sign-in address bounced after the user had become Active.
    #[serde(default)]
    pub undeliverable: bool,
    /// Accepted through a copied link, which proves no mailbox: until a mailed code is entered the role Account Admin
    /// has no effect (lifecycle: "Invitation tokens").
    #[serde(default)]
    pub link_only: bool,
    /// When persons asked for this invitation again in the last day, oldest first (G4).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub resends: Vec<Timestamp>,
}

/// An address that waits to be confirmed, and the link that confirms it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unconfirmed {
    pub address: EmailAddress,
    pub minted: Minted,
}

/// In which state of the lifecycle a user is, with what only that state has.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "status")]
pub enum Standing {
    /// N: there is no record. Never stored: a user that ends here is removed.
    Unborn,
    /// PL, PX and RL.
    Pending { origin: Origin, invitation: Invitation },
    /// A.
    Active {
        /// The acceptance that led here; `None` when the policy admitted the user without one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        accepted: Option<Acceptance>,
    },
    /// I. A hold is lifted only by its own side.
    Inactive { holds: Vec<Hold> },
    /// T: hidden from every query, kept for the audit.
    Deleted { at: Timestamp },
}

/// The state codes of the lifecycle page, by which rules and tests name a state.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum State {
    N,
    PL,
    PX,
    RL,
    A,
    I,
    T,
}

/// The status that people see.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Status {
    Pending,
    Active,
    Inactive,
}

impl Status {
    pub const ALL: [Status; 3] = [Status::Pending, Status::Active, Status::Inactive];

    pub const fn as_str(self) -> &'static str {
        match self {
            Status::Pending => "Pending",
            Status::Active => "Active",
            Status::Inactive => "Inactive",
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Origin {
    First,
    /// An Inactive person invited again; when that lapses they are Inactive as before.
    Reinvite,
}

/// The invitation of a Pending user.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Invitation {
    /// Absent when none was ever minted: held from the start.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub minted: Option<Minted>,
    pub state: InvitationState,
    /// When the relay first took a mail of this generation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sent_at: Option<Timestamp>,
    /// Invitation mails queued so far, over all generations.
    pub sends: u32,
    /// Scheduled resends so far.
    pub renewals: u32,
    /// Reminders of this generation so far.
    pub reminders: u32,
    /// False when only a link was copied.
    pub mailed: bool,
    /// The invitee asked for no more reminders.
    #[serde(default)]
    pub muted: bool,
    /// The invitation mail or reminder that waits in the outbox.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub queued: Option<OutboxId>,
}

/// One generation of an invitation link: a new one supersedes all before it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Minted {
    pub generation: Generation,
    pub kid: KeyId,
    pub at: Timestamp,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "snake_case")]
pub enum InvitationState {
    Live {
        expires_at: Timestamp,
    },
    Lapsed {
        reason: Lapse,
        since: Timestamp,
        /// When a held invitation goes out by itself; `None` waits for an admin.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        until: Option<Timestamp>,
    },
}

/// Why a Pending user has no live invitation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Lapse {
    Held,
    Expired,
    Bounced,
    SendFailed,
    Declined,
    NoAddress,
}

impl Lapse {
    pub const fn as_str(self) -> &'static str {
        match self {
            Lapse::Held => "held",
            Lapse::Expired => "expired",
            Lapse::Bounced => "bounced",
            Lapse::SendFailed => "send_failed",
            Lapse::Declined => "declined",
            Lapse::NoAddress => "no_address",
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Acceptance {
    pub generation: Option<Generation>,
    pub at: Timestamp,
}

/// Who keeps a user Inactive.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hold {
    pub side: Side,
    pub actor: String,
    pub at: Timestamp,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Side {
    Idp,
    Admin,
    System,
}

impl Side {
    pub const fn as_str(self) -> &'static str {
        match self {
            Side::Idp => "idp",
            Side::Admin => "admin",
            Side::System => "system",
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LicenseAssignment {
    pub license: ResourceId,
    /// Whether a seat is held. Assigned without one, a living user has a license shortfall.
    pub seat: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProjectAssignment {
    pub project: ResourceId,
    pub role: String,
}

impl User {
    /// A user that does not exist yet (state N); an event such as a SCIM POST brings it to life.
    pub fn unborn(id: ResourceId, user_name: UserName, account_role: &str) -> Self {
        User {
            id,
            user_name,
            sign_in_address: None,
            unconfirmed_address: None,
            standing: Standing::Unborn,
            idp_active: None,
            external_id: None,
            provisioned_by: None,
            account_role: account_role.to_owned(),
            organization: None,
            licenses: Vec::new(),
            projects: Vec::new(),
            employment_start_date: None,
            undeliverable: false,
            link_only: false,
            resends: Vec::new(),
        }
    }

    pub fn state(&self) -> State {
        match &self.standing {
            Standing::Unborn => State::N,
            Standing::Pending { origin, invitation } => match (&invitation.state, origin) {
                (InvitationState::Lapsed { .. }, _) => State::PX,
                (InvitationState::Live { .. }, Origin::First) => State::PL,
                (InvitationState::Live { .. }, Origin::Reinvite) => State::RL,
            },
            Standing::Active { .. } => State::A,
            Standing::Inactive { .. } => State::I,
            Standing::Deleted { .. } => State::T,
        }
    }

    /// The status to show; `None` where the outside sees no user at all.
    pub fn status(&self) -> Option<Status> {
        match self.standing {
            Standing::Unborn | Standing::Deleted { .. } => None,
            Standing::Pending { .. } => Some(Status::Pending),
            Standing::Active { .. } => Some(Status::Active),
            Standing::Inactive { .. } => Some(Status::Inactive),
        }
    }

    /// The SCIM `active`. Pending counts as active: reported as false it makes Okta reactivate for ever.
    pub fn scim_active(&self) -> bool {
        matches!(self.standing, Standing::Pending { .. } | Standing::Active { .. })
    }

    /// Why the status is as it is, in one word for the SCIM extension; `None` when there is nothing to say.
    pub fn status_reason(&self) -> Option<&'static str> {
        match &self.standing {
            Standing::Pending { origin, invitation } => match (&invitation.state, origin) {
                (InvitationState::Lapsed { reason, .. }, _) => Some(reason.as_str()),
                (InvitationState::Live { .. }, Origin::Reinvite) => Some("reinvited"),
                (InvitationState::Live { .. }, Origin::First) => None,
            },
            Standing::Inactive { holds } => holds.first().map(|hold| hold.side.as_str()),
            Standing::Unborn | Standing::Active { .. } | Standing::Deleted { .. } => None,
        }
    }

    pub fn invitation(&self) -> Option<&Invitation> {
        match &self.standing {
            Standing::Pending { invitation, .. } => Some(invitation),
            Standing::Unborn | Standing::Active { .. } | Standing::Inactive { .. } | Standing::Deleted { .. } => None,
        }
    }

    pub fn invitation_mut(&mut self) -> Option<&mut Invitation> {
        match &mut self.standing {
            Standing::Pending { invitation, .. } => Some(invitation),
            Standing::Unborn | Standing::Active { .. } | Standing::Inactive { .. } | Standing::Deleted { .. } => None,
        }
    }

    pub fn holds(&self) -> &[Hold] {
        match &self.standing {
            Standing::Inactive { holds } => holds,
            Standing::Unborn | Standing::Pending { .. } | Standing::Active { .. } | Standing::Deleted { .. } => &[],
        }
    }

    pub fn held_by(&self, side: Side) -> bool {
        self.holds().iter().any(|hold| hold.side == side)
    }

    pub fn is_managed(&self) -> bool {
        self.provisioned_by.is_some()
    }

    /// Pending with an invitation that goes out when an admin says so, and not by itself.
    pub fn waits_for_decision(&self) -> bool {
        let state = self.invitation().map(|invitation| &invitation.state);
        matches!(state, Some(InvitationState::Lapsed { reason: Lapse::Held, until: None, .. }))
    }

    /// Inactive here while the provider last said active: an admin must hear of it, and the provider repeats it in vain.
    pub fn provider_says_active(&self) -> bool {
        matches!(self.standing, Standing::Inactive { .. }) && self.idp_active == Some(true)
    }

    /// Assigned a license without holding its seat. Who is not to hold one (PX, I, T) lacks none.
    pub fn license_shortfall(&self) -> bool {
        let wants_seats = match self.state() {
            State::PL | State::RL | State::A => true,
            State::N | State::PX | State::I | State::T => false,
        };
        wants_seats && self.licenses.iter().any(|assigned| !assigned.seat)
    }

    /// Active, and with the rights of an Account Admin in force.
    pub fn is_effective_admin(&self) -> bool {
        matches!(self.standing, Standing::Active { .. }) && self.account_role == ACCOUNT_ADMIN && !self.link_only
    }
}

impl Invitation {
    pub fn is_live(&self) -> bool {
        matches!(self.state, InvitationState::Live { .. })
    }

    pub fn expires_at(&self) -> Option<Timestamp> {
        match self.state {
            InvitationState::Live { expires_at } => Some(expires_at),
            InvitationState::Lapsed { .. } => None,
        }
    }

    pub fn lapse(&self) -> Option<Lapse> {
        match self.state {
            InvitationState::Live { .. } => None,
            InvitationState::Lapsed { reason, .. } => Some(reason),
        }
    }

    pub fn generation(&self) -> Option<Generation> {
        self.minted.as_ref().map(|minted| minted.generation)
    }
}
