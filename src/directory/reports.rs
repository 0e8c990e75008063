//! What mail services report later of mails that they had taken.

use std::time::Duration;

use super::error::Error;
use super::record::UserRecord;
use super::timers::{DueWork, system};
use super::{Directory, census, keys};
use crate::domain::ids::AccountId;
use crate::domain::lifecycle::Event;
use crate::domain::message_id::MailIdentity;
use crate::domain::user::{Minted, State};
use crate::store::{Check, Claim, StoreError, Write};

/// How far the time of a report may be from now, in both directions.
pub const REPORT_TOLERANCE: Duration = Duration::from_secs(5 * 60);
/// An id is remembered for longer than any repetition of its report is believed.
const REMEMBERED: Duration = Duration::from_secs(15 * 60);

/// A bounce, as a mail service tells it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// The same for every repetition of it.
    pub id: String,
    pub mail: MailIdentity,
    /// A bounce that is not for good is only written to the log.
    pub permanent: bool,
}

/// What became of a report.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reported {
    Acted,
    /// It was recorded before.
    Repeated,
    /// It means nothing for the user as they are now: a mail of a superseded invitation, a soft bounce.
    Noted,
    Unknown,
}

impl Directory {
    /// Lets a reported bounce act on the user to whom the mail went (lifecycle: "hard bounce, current gen").
    ///
    /// # Errors
    /// Of the store.
    pub async fn mail_reported(&self, report: &Report) -> Result<Reported, Error> {
        let MailIdentity { mail, user, account } = &report.mail;
        if !report.permanent {
            tracing::info!(letter = %mail, %account, "a soft bounce was reported");
            return Ok(Reported::Noted);
        }
        let request = system(account, "mail");
        retrying!(self, {
            let opened = self.open(&request, &[keys::user(*user), keys::report(&report.id)]).await;
            let (context, documents) = match opened {
                Ok(opened) => opened,
                Err(Error::NotFound(_)) => return Ok(Some(Reported::Unknown)),
                Err(error) => return Err(error),
            };
            let [person, seen] = documents.as_slice() else { return Ok(None) };
            if seen.is_some() {
                return Ok(Some(Reported::Repeated));
            }
            let Some(before) = person.as_ref().map(UserRecord::decode).transpose()? else {
                return Ok(Some(Reported::Unknown));
            };
            // The letter was made in the commit that minted its generation, or in a later one.
            let of_minted = |minted: &Minted| mail.made_at() >= minted.at;
            let invitation = before.user.invitation().filter(|it| it.minted.as_ref().is_some_and(of_minted));
            let generation = invitation.and_then(|invitation| invitation.generation());
            if generation.is_none() && before.user.state() != State::A {
                return Ok(Some(Reported::Noted));
            }
            let mut change = self.change(&context, "mail.bounced", before.clone(), before).await?;
            change.apply(&Event::MailBounced { generation }, context.now)?;
            if change.is_empty() {
                return Ok(Some(Reported::Noted));
            }
            let mut batch = self.plan(&context, &mut change, None);
            census::count_mail(&mut batch, keys::MAILS_BOUNCED);
            let key = keys::report(&report.id);
            batch.checks.push(Check::Absent { key: key.clone() });
            batch.writes.push(Write::Put {
                key: key.clone(),
                revision: 1,
                created: context.now,
                modified: context.now,
                body: mail.to_string().into(),
                state: bytes::Bytes::new(),
            });
            batch.writes.push(Write::TimerSet { owner: key, due: context.now + REMEMBERED });
            match self.commit(&context.space, &batch).await {
                Ok(()) => Ok(Some(Reported::Acted)),
                Err(StoreError::Conflict(_)) => Ok(None),
                Err(error) => Err(error.into()),
            }
        })
    }

    /// Forgets a report that nobody can repeat any more.
    pub(super) async fn due_report(&self, account: &AccountId, claim: &Claim) -> Result<DueWork, Error> {
        let mut batch = self.of_claim(claim);
        batch.writes.push(Write::Delete { key: claim.owner.clone() });
        batch.writes.push(Write::TimerClear { owner: claim.owner.clone() });
        self.committed(&crate::store::Space::Account(account.clone()), &batch).await?;
        Ok(DueWork::Settled)
    }
}
