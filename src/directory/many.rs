//! Inviting many people in one request, with what became of each.

use super::Directory;
use super::error::Error;
use super::invitations::Invitee;
use super::record::UserRecord;
use super::request::Request;
use crate::domain::lifecycle::Refusal;
use crate::domain::secrets::Scope;

/// What became of one person of many.
#[derive(Debug, Clone, PartialEq)]
pub enum Row {
    Invited(Box<UserRecord>),
    /// Nothing was changed for this person: a word for programs, a sentence for people.
    Refused {
        code: &'static str,
        message: String,
    },
}

impl Directory {
    /// Invites each of these people on their own: what is refused to one is none of the others' business. Repeating a
    /// request that broke off is safe, since whoever was invited is then `already_pending`.
    ///
    /// # Errors
    /// What no person is to blame for: [`Error::Unauthorized`], [`Error::MissingScope`], and of the store.
    pub async fn invite_many(
        &self,
        request: &Request,
        invitees: impl IntoIterator<Item = Result<Invitee, String>>,
    ) -> Result<Vec<Row>, Error> {
        self.each(request, invitees, Doing::Inviting).await
    }

    /// What [`Directory::invite_many`] would do now, each person taken alone. Nothing is written; a record of revision 0
    /// is somebody new.
    ///
    /// # Errors
    /// As [`Directory::invite_many`].
    pub async fn preview_many(
        &self,
        request: &Request,
        invitees: impl IntoIterator<Item = Result<Invitee, String>>,
    ) -> Result<Vec<Row>, Error> {
        self.each(request, invitees, Doing::Previewing).await
    }

    async fn each(
        &self,
        request: &Request,
        invitees: impl IntoIterator<Item = Result<Invitee, String>>,
        doing: Doing,
    ) -> Result<Vec<Row>, Error> {
        let (context, _) = self.open(request, &[]).await?;
        context.require(Scope::Invitations)?;
        let mut rows = Vec::new();
        for invitee in invitees {
            rows.push(match invitee {
                Ok(invitee) => row(match doing {
                    Doing::Inviting => self.invite(request, &invitee).await,
                    Doing::Previewing => self.preview_invitation(request, &invitee).await,
                })?,
                Err(message) => Row::Refused { code: INVALID, message },
            });
        }
        Ok(rows)
    }
}

#[derive(Clone, Copy)]
enum Doing {
    Inviting,
    Previewing,
}

const INVALID: &str = "invalid";

/// The row of one outcome; an error that concerns the whole request stays one.
fn row(outcome: Result<UserRecord, Error>) -> Result<Row, Error> {
    let (code, error) = match outcome {
        Ok(record) => return Ok(Row::Invited(Box::new(record))),
        // Within its own list, somebody may be named twice: by address, and by the userName of another.
        Err(error @ (Error::Refused(Refusal::AlreadyExists) | Error::Taken { .. })) => ("taken", error),
        Err(Error::Refused(refusal)) => (refusal.code(), refusal.into()),
        Err(error @ (Error::Invalid(_) | Error::Protocol(_))) => (INVALID, error),
        Err(error) => return Err(error),
    };
    Ok(Row::Refused { code, message: error.to_string() })
}
