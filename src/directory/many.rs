//! What is done to many people in one request, with what became of each: what is refused to one is none of the others'
//! business. Each is done as if it were the only one, with the same guards.

use std::collections::BTreeMap;

use super::Directory;
use super::assignments::Wishes;
use super::error::Error;
use super::invitations::Action;
use super::invite::Invitee;
use super::kind::Kind;
use super::provision::IfMatch;
use super::record::UserRecord;
use super::request::{Context, Request};
use crate::domain::ids::ResourceId;
use crate::domain::lifecycle::Refusal;
use crate::domain::secrets::Scope;

/// What became of one person of many.
#[derive(Debug, Clone, PartialEq)]
pub enum Row {
    Done(Box<UserRecord>),
    /// Nothing was changed for this person: a word for programs, a sentence for people.
    Refused {
        code: &'static str,
        message: String,
    },
}

/// What is done to each of many people who are known already.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Deed {
    Act(Action),
    Assign(Wishes),
}

impl Row {
    /// Each of several newcomers alone would get a seat; together they may be more than there are.
    fn take_seats(&mut self, left: &mut BTreeMap<ResourceId, u64>) {
        let Row::Done(record) = &*self else { return };
        if record.revision > 0 {
            return;
        }
        let held = record.user.licenses.iter().filter(|assigned| assigned.seat).map(|assigned| assigned.license);
        let held: Vec<ResourceId> = held.filter(|license| left.contains_key(license)).collect();
        if held.iter().any(|license| left[license] == 0) {
            *self = Row::Refused { code: Refusal::NoSeat.code(), message: Refusal::NoSeat.to_string() };
            return;
        }
        for license in held {
            left.entry(license).and_modify(|left| *left -= 1);
        }
    }
}

impl Deed {
    fn require(&self, context: &Context) -> Result<(), Error> {
        match self {
            Deed::Act(action) => context.require(action.scope()),
            Deed::Assign(_) => context.require(Scope::Users).and_then(|()| context.require(Scope::RolesWrite)),
        }
    }
}

impl Directory {
    /// Invites each of these people on their own. Repeating a request that broke off is safe, since whoever was invited
    /// is then `already_pending`.
    ///
    /// # Errors
    /// What no person is to blame for, when it stands in the way of the first: [`Error::Unauthorized`],
    /// [`Error::MissingScope`], and of the store.
    pub async fn invite_many(
        &self,
        request: &Request,
        invitees: impl IntoIterator<Item = Result<Invitee, String>>,
    ) -> Result<Vec<Row>, Error> {
        self.invite_each(request, invitees, Doing::Inviting).await
    }

    /// What [`Directory::invite_many`] would do now. Nothing is written; a record of revision 0 is somebody new.
    ///
    /// # Errors
    /// As [`Directory::invite_many`].
    pub async fn preview_many(
        &self,
        request: &Request,
        invitees: impl IntoIterator<Item = Result<Invitee, String>>,
    ) -> Result<Vec<Row>, Error> {
        let mut rows = self.invite_each(request, invitees, Doing::Previewing).await?;
        let (context, _) = self.open(request, &[]).await?;
        let mut left = self.seats_left(&context).await?;
        for row in &mut rows {
            row.take_seats(&mut left);
        }
        Ok(rows)
    }

    /// How many seats are left of each license that has a number of them.
    async fn seats_left(&self, context: &Context) -> Result<BTreeMap<ResourceId, u64>, Error> {
        let licenses = self.resources_by_name(context, Kind::License).await?;
        let used = self.seats_used(context, &licenses).await?;
        let left = licenses.iter().zip(used);
        let left = left.filter_map(|(license, used)| Some((license.id, license.terms()?.seats?.saturating_sub(used))));
        Ok(left.collect())
    }

    async fn invite_each(
        &self,
        request: &Request,
        invitees: impl IntoIterator<Item = Result<Invitee, String>>,
        doing: Doing,
    ) -> Result<Vec<Row>, Error> {
        let (context, _) = self.open(request, &[]).await?;
        context.require(Scope::Invitations)?;
        let mut rows = Rows::default();
        for invitee in invitees {
            match invitee {
                Ok(_) if rows.broke_off => rows.not_tried(),
                Ok(invitee) => rows.add(match doing {
                    Doing::Inviting => self.invite(request, &invitee).await,
                    Doing::Previewing => self.preview_invitation(request, &invitee).await,
                })?,
                Err(message) => rows.rows.push(Row::Refused { code: INVALID, message }),
            }
        }
        Ok(rows.rows)
    }

    /// Does the same to each of these people. Repeating a request that broke off does nothing twice: an invitation that
    /// was just sent is `rate_limited`, and the rest ends where it ended before.
    ///
    /// # Errors
    /// As [`Directory::invite_many`].
    pub async fn do_to_many(&self, request: &Request, ids: &[String], deed: &Deed) -> Result<Vec<Row>, Error> {
        let (context, _) = self.open(request, &[]).await?;
        deed.require(&context)?;
        let mut rows = Rows::default();
        for id in ids {
            if rows.broke_off {
                rows.not_tried();
                continue;
            }
            rows.add(match deed {
                Deed::Act(action) => self.act(request, id, action).await,
                Deed::Assign(wishes) => self.assign(request, id, &IfMatch::Any, wishes).await,
            })?;
        }
        Ok(rows.rows)
    }
}

#[derive(Clone, Copy)]
enum Doing {
    Inviting,
    Previewing,
}

const INVALID: &str = "invalid";

/// The rows so far.
#[derive(Default)]
struct Rows {
    rows: Vec<Row>,
    /// Something failed that concerns the whole request, after a part of it was done.
    broke_off: bool,
}

impl Rows {
    /// Adds the row of one outcome. An error that concerns the whole request is its answer while nothing is done yet;
    /// later it must not hide what was done.
    fn add(&mut self, outcome: Result<UserRecord, Error>) -> Result<(), Error> {
        match row(outcome) {
            Ok(row) => self.rows.push(row),
            Err(error) if self.rows.iter().any(|row| matches!(row, Row::Done(_))) => {
                tracing::warn!(%error, done = self.rows.len(), "a request about many people broke off");
                self.broke_off = true;
                self.not_tried();
            }
            Err(error) => return Err(error),
        }
        Ok(())
    }

    fn not_tried(&mut self) {
        let message = "the service could not go on at this moment, so this was not done; try it again".to_owned();
        self.rows.push(Row::Refused { code: "not_done", message });
    }
}

/// The row of one outcome; an error that concerns the whole request stays one.
fn row(outcome: Result<UserRecord, Error>) -> Result<Row, Error> {
    let (code, error) = match outcome {
        Ok(record) => return Ok(Row::Done(Box::new(record))),
        // Within its own list, somebody may be named twice: by address, and by the userName of another.
        Err(error @ (Error::Refused(Refusal::AlreadyExists) | Error::Taken { .. })) => ("taken", error),
        Err(Error::Refused(refusal)) => (refusal.code(), refusal.into()),
        Err(Error::NotFound(_)) => (Refusal::NotFound.code(), Refusal::NotFound.into()),
        Err(error @ (Error::Invalid(_) | Error::Protocol(_))) => (INVALID, error),
        Err(error) => return Err(error),
    };
    Ok(Row::Refused { code, message: error.to_string() })
}
