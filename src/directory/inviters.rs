//! G4, for whoever asks: how often one person may have invitations sent again, and how many first invitations the
//! people of one account may send. How often somebody may get one is the lifecycle's affair. Provisioning is exempt;
//! its bound is the first sync hold.

use std::time::Duration;

use super::change::Change;
use super::error::Error;
use super::request::Context;
use super::tally::Tally;
use super::{Directory, keys};
use crate::domain::lifecycle::Policy;
use crate::domain::time::DAY;
use crate::domain::user::State;

const HOUR: Duration = Duration::from_secs(3_600);

impl Directory {
    /// Counts an invitation that a person or a program asks for; with the quota used up, the policy of `change` says
    /// so. The command line is exempt: it is how one gets out of trouble.
    pub(super) async fn count_invitation(&self, context: &Context, change: &mut Change) -> Result<(), Error> {
        if context.token.is_none() && context.admin.is_none() {
            return Ok(());
        }
        let (tally, max) = match change.before.user.state() {
            State::N => (Tally::new(keys::FIRST_INVITATIONS, DAY), Policy::FIRST_INVITATIONS_A_DAY),
            // To who gets it, any other invitation is a resend.
            State::PL | State::PX | State::RL | State::A | State::I | State::T => {
                (Tally::new(keys::resends(&context.actor.name), HOUR), Policy::RESENDS_AN_HOUR)
            }
        };
        let count = self.count(context, tally).await?;
        if count.total() < max {
            count.plan_one(Some(max), &mut change.bounds);
        } else {
            change.policy.throttled = Some(count.eases_in());
        }
        Ok(())
    }
}
