//! What an account has set and what the store says at the moment of a transition.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::domain::ids::ResourceId;
use crate::domain::time::Timestamp;
use crate::domain::user::Minted;

/// What provisioning does with a new or returning user.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Admit {
    /// Pending, and a link is mailed.
    Invite,
    /// Active at once, and told so by a mail without a token.
    Notify,
    /// Active at once, without a mail.
    Silent,
}

impl Admit {
    pub const ALL: [Admit; 3] = [Admit::Invite, Admit::Notify, Admit::Silent];

    pub const fn as_str(self) -> &'static str {
        match self {
            Admit::Invite => "invite",
            Admit::Notify => "notify",
            Admit::Silent => "silent",
        }
    }
}

/// Why an invitation must wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hold {
    /// Until the day the person starts.
    Until(Timestamp),
    /// Until an admin decides: first-sync hold, or a token made for tests.
    ForDecision,
}

/// The rules and facts that one transition goes by. Gathered for this one user and this one event.
#[derive(Debug, Clone, PartialEq)]
pub struct Policy {
    /// Already resolved for the user's e-mail domain.
    pub admit: Admit,
    /// Whether an invitation of this user must wait now.
    pub hold: Option<Hold>,
    /// How long an invitation lives.
    pub ttl: Duration,
    pub max_renewals: u32,
    /// When to remind, counted from the minting of the link. `None`: at 1/7, 3/7 and 5/7 of the lifetime; none
    /// listed: never.
    pub remind_after: Option<Vec<Duration>>,
    /// The next generation, should one be needed; drawn by the caller, since the transition draws nothing.
    pub mint: Minted,
    /// The licenses of which a seat can be had now; floating ones always.
    pub free_licenses: Vec<ResourceId>,
    /// G1: this user is the only effective Account Admin.
    pub is_last_admin: bool,
    /// G4: a quota of the inviter or the account is used up for this long.
    pub throttled: Option<Duration>,
    /// G9: this client may take away no more access for this long ([`Brake::against`]).
    pub braked: Option<Duration>,
    /// The role of people whom nobody gave another.
    pub default_account_role: String,
    /// How long a lapsed invitation of an unmanaged person is kept Pending.
    pub lapsed_retention: Duration,
    /// How long a tombstone is kept.
    pub tombstone_retention: Duration,
}

/// How many people may lose access through one client within 10 minutes (G9).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct BrakeLimit {
    /// So many always.
    pub min: u32,
    /// So many percent of the account's Active users, if that is more.
    pub percent: u8,
}

impl BrakeLimit {
    /// How many of `active` people may go: the larger of the two bounds.
    pub fn allows(self, active: u64) -> u64 {
        u64::from(self.min).max(active.saturating_mul(u64::from(self.percent)) / 100)
    }
}

/// How far the mass-deprovision brake (G9) of one client is on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Brake {
    Off,
    /// On, but the one loss of this minute is still to be had: genuine leavers lose access.
    Trickle {
        retry_after: Duration,
    },
    On {
        retry_after: Duration,
    },
}

impl Brake {
    /// What to put into [`Policy::braked`]. The last Active Account Admin never passes.
    pub const fn against(self, is_last_admin: bool) -> Option<Duration> {
        match self {
            Brake::Off => None,
            Brake::Trickle { retry_after } if is_last_admin => Some(retry_after),
            Brake::Trickle { .. } => None,
            Brake::On { retry_after } => Some(retry_after),
        }
    }
}

impl Policy {
    /// Whether the first day of work has moved on since the invitation was held for it.
    pub(super) fn starts_later(&self, now: Timestamp) -> bool {
        matches!(self.hold, Some(Hold::Until(day)) if day > now)
    }

    /// G4: between two resends to one person.
    pub const RESEND_COOLDOWN: Duration = Duration::from_secs(5 * 60);
    /// G4: in 24 hours to one person.
    pub const RESENDS_A_DAY: usize = 5;
    /// G4: that one person asks for, whoever gets them.
    pub const RESENDS_AN_HOUR: u64 = 50;
    /// G4: that the people of one account ask for.
    pub const FIRST_INVITATIONS_A_DAY: u64 = 2_000;
    /// No reminder in the last hours of an invitation.
    pub const LAST_REMINDER: Duration = Duration::from_secs(12 * 60 * 60);
    /// How much later than minted an invitation may expire because its first mail went out late.
    pub const REANCHOR: Duration = Duration::from_secs(24 * 60 * 60);
    /// Within this time the link of an acceptance shows "already accepted".
    pub const REPEAT_WINDOW: Duration = Duration::from_secs(10 * 60);

    /// The spans after minting at which to remind.
    pub fn reminders(&self) -> Vec<Duration> {
        match &self.remind_after {
            None => [1, 3, 5].into_iter().map(|sevenths| self.ttl * sevenths / 7).collect(),
            Some(spans) => {
                let mut spans = spans.clone();
                spans.sort_unstable();
                spans
            }
        }
    }
}
