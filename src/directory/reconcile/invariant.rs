//! The invariants by their numbers.

use std::fmt;

use serde::{Deserialize, Serialize};

/// What must hold of a store (lifecycle: "Invariants that reconciliation checks").
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Invariant {
    /// A document can be read. Not numbered, since the others take it for granted; never repaired.
    Readable,
    /// Exactly one status index holds each user.
    V1,
    /// Who has no live invitation has no invitation mail and no timer of one.
    V2,
    /// A live invitation has a generation and an expiry.
    V3,
    /// A live invitation ends in time.
    V4,
    /// Who waits for something has one timer, that of the next event; others have none.
    V5,
    /// No timer without its owner.
    V6,
    /// A hold is only on who is Inactive.
    V7,
    /// Who is out holds neither sessions nor seats.
    V8,
    /// Seats counted are seats stored; above the quota is an alert.
    V9,
    /// An Active Account Admin exists; only an alert.
    V10,
    /// userName, externalId and address belong to one user each, and each to whom it names.
    V11,
    /// What waits in the outbox has a timer, and a generation that is still meant.
    V12,
    /// The audit stream has no gap; only an alert.
    V13,
    /// Assignments point at what exists.
    V14,
    /// Memberships stand on both sides, and are counted.
    V15,
    /// Index entries and documents agree.
    V16,
    /// An invitation that was to be mailed is on its way.
    V17,
    /// The key of a live invitation is known.
    V18,
}

impl Invariant {
    pub const fn as_str(self) -> &'static str {
        match self {
            Invariant::Readable => "readable",
            Invariant::V1 => "V1",
            Invariant::V2 => "V2",
            Invariant::V3 => "V3",
            Invariant::V4 => "V4",
            Invariant::V5 => "V5",
            Invariant::V6 => "V6",
            Invariant::V7 => "V7",
            Invariant::V8 => "V8",
            Invariant::V9 => "V9",
            Invariant::V10 => "V10",
            Invariant::V11 => "V11",
            Invariant::V12 => "V12",
            Invariant::V13 => "V13",
            Invariant::V14 => "V14",
            Invariant::V15 => "V15",
            Invariant::V16 => "V16",
            Invariant::V17 => "V17",
            Invariant::V18 => "V18",
        }
    }
}

impl fmt::Display for Invariant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
