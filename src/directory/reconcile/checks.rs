//! The invariants of one user, each a pure function over what was read.

use std::collections::BTreeSet;
use std::time::Duration;

use super::invariant::Invariant;
use super::run::Wrong;
use crate::domain::ids::ResourceId;
use crate::domain::time::Timestamp;
use crate::domain::user::{Hold, State, User};
use crate::store::Timer;

/// A user with what stands beside the document.
pub(super) struct Seen<'a> {
    pub user: &'a User,
    pub now: Timestamp,
    /// A document of sessions.
    pub session: bool,
    /// The letter that the invitation says is queued.
    pub letter: bool,
    pub timer: Option<&'a Timer>,
    pub timer_wanted: Option<Timestamp>,
    /// What the user is assigned to and does not exist.
    pub gone: &'a BTreeSet<ResourceId>,
    /// Whether the key that signed the live invitation is known.
    pub key_known: bool,
    /// Holds in the document of a user who is not Inactive.
    pub holds: &'a [Hold],
    /// Whether the document says of itself where it stands as this release would.
    pub keys_agree: bool,
}

/// How late a timer or an expiry may be: the schedule and a worker that is busy take their time.
const TOLERANCE: Duration = Duration::from_secs(60);
/// V17: after this time an invitation without a mail in the outbox has lost it.
const MAIL_LOST: Duration = Duration::from_secs(15 * 60);

impl Seen<'_> {
    /// What is wrong, in the order in which it is put right.
    pub fn wrongs(&self) -> Vec<Wrong> {
        let all = [
            (Invariant::V7, self.v7()),
            (Invariant::V4, self.v4()),
            (Invariant::V3, self.v3()),
            (Invariant::V18, self.v18()),
            (Invariant::V2, self.v2()),
            (Invariant::V17, self.v17()),
            (Invariant::V12, self.v12()),
            (Invariant::V14, self.v14()),
            (Invariant::V8, self.v8()),
            (Invariant::V5, self.v5()),
            (Invariant::V16, self.v16()),
        ];
        all.into_iter().filter_map(|(invariant, wrong)| Some(Wrong::of(invariant, wrong?))).collect()
    }

    fn is_live(&self) -> bool {
        matches!(self.user.state(), State::PL | State::RL)
    }

    fn queued(&self) -> bool {
        self.user.invitation().is_some_and(|invitation| invitation.queued.is_some())
    }

    fn v2(&self) -> Option<String> {
        if self.user.state() == State::PX && self.queued() {
            return Some("a mail is queued for an invitation that is not live".to_owned());
        }
        let waits_for_nothing = matches!(self.user.state(), State::A | State::I);
        let rings = self.timer.is_some_and(|timer| timer.due > self.now);
        (waits_for_nothing && rings).then(|| "a timer rings for somebody who waits for nothing".to_owned())
    }

    fn v3(&self) -> Option<String> {
        let lacks = self.user.invitation().is_some_and(|invitation| invitation.minted.is_none());
        (self.is_live() && lacks).then(|| "a live invitation has no generation".to_owned())
    }

    fn v4(&self) -> Option<String> {
        let expires_at = self.user.invitation()?.expires_at()?;
        (expires_at + TOLERANCE <= self.now).then(|| format!("a live invitation ended at {expires_at}"))
    }

    /// A timer that rings too early looks at the user and goes on to the right time by itself.
    fn v5(&self) -> Option<String> {
        match (self.timer, self.timer_wanted) {
            (None, Some(wanted)) => Some(format!("no timer, though something is due at {wanted}")),
            (Some(timer), Some(wanted)) if timer.due > self.now && timer.due > wanted + TOLERANCE => {
                Some(format!("the timer rings at {}, though something is due at {wanted}", timer.due))
            }
            (Some(timer), None) if timer.due > self.now && !matches!(self.user.state(), State::A | State::I) => {
                Some(format!("the timer rings at {}, though nothing is due", timer.due))
            }
            (None | Some(_), None) | (Some(_), Some(_)) => None,
        }
    }

    fn v7(&self) -> Option<String> {
        let state = self.user.state();
        (!self.holds.is_empty()).then(|| format!("{} holds on a user in state {state:?}", self.holds.len()))
    }

    fn v8(&self) -> Option<String> {
        let out = matches!(self.user.state(), State::I | State::T);
        if out && self.session {
            return Some("somebody who is out has sessions".to_owned());
        }
        let seats = self.user.licenses.iter().filter(|assigned| assigned.seat).count();
        let may_hold = self.is_live() || self.user.state() == State::A;
        (seats > 0 && !may_hold).then(|| format!("{seats} seats are held by somebody who is out"))
    }

    fn v12(&self) -> Option<String> {
        let stays = self.is_live() && self.v17().is_none();
        (stays && self.queued() && !self.letter).then(|| "the mail that is said to be queued is not there".to_owned())
    }

    fn v14(&self) -> Option<String> {
        let gone: Vec<String> = self.gone.iter().map(ToString::to_string).collect();
        let lives = !matches!(self.user.state(), State::N | State::T);
        (lives && !gone.is_empty()).then(|| format!("assigned to what does not exist: {}", gone.join(", ")))
    }

    fn v16(&self) -> Option<String> {
        (!self.keys_agree).then(|| "the document names other index entries than it should".to_owned())
    }

    fn v17(&self) -> Option<String> {
        let invitation = self.user.invitation().filter(|_| self.is_live())?;
        let minted = invitation.minted.as_ref()?;
        let lost = invitation.mailed && invitation.sent_at.is_none() && !self.letter;
        let since = self.now.since(minted.at);
        (lost && since >= MAIL_LOST).then(|| "an invitation was neither mailed nor is it in the outbox".to_owned())
    }

    fn v18(&self) -> Option<String> {
        let minted = self.user.invitation().filter(|_| self.is_live())?.minted.as_ref()?;
        (!self.key_known).then(|| format!("the key {} of a live invitation is gone", minted.kid))
    }
}
