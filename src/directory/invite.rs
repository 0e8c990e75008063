//! Inviting a person, or bringing somebody in who is known elsewhere: who it is, what they get, and one commit.

use serde_json::{Map, Value, json};

use super::assignments::{Wishes, give};
use super::change::Change;
use super::error::Error;
use super::record::UserRecord;
use super::request::{Context, Request};
use super::{Directory, entropy};
use crate::domain::lifecycle::Event;
use crate::domain::names::{EmailAddress, UserName};
use crate::domain::secrets::Scope;
use crate::domain::user::User;

/// A person whom an admin invites.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Invitee {
    pub address: EmailAddress,
    pub display_name: Option<String>,
    pub given_name: Option<String>,
    pub family_name: Option<String>,
    /// SCIM's `preferredLanguage`, in which they are written to; of somebody new.
    pub language: Option<String>,
    pub wishes: Wishes,
    /// The explicit flag that an Inactive person needs.
    pub reactivate: bool,
    pub coming: Coming,
}

/// As what somebody new comes in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Coming {
    /// Pending, with an invitation.
    #[default]
    Invited,
    /// Active at once, without a mail: they work with us already, and are only new here.
    Active,
    /// Inactive: they are known, and not to come in.
    Inactive,
}

impl Invitee {
    /// Somebody of whom nothing but the address is known.
    pub fn of(address: EmailAddress) -> Self {
        Invitee {
            address,
            display_name: None,
            given_name: None,
            family_name: None,
            language: None,
            wishes: Wishes::default(),
            reactivate: false,
            coming: Coming::Invited,
        }
    }

    fn event(&self, actor: &str) -> Event {
        let actor = actor.to_owned();
        match self.coming {
            Coming::Invited => Event::Invited { reactivate: self.reactivate },
            Coming::Active => Event::Imported { active: true, actor },
            Coming::Inactive => Event::Imported { active: false, actor },
        }
    }
}

impl Directory {
    /// Invites a person by address; the userName of a new one is the address.
    ///
    /// # Errors
    /// The [`crate::domain::lifecycle::Refusal`] of the cell; [`Error::Invalid`] for an unknown role, license or project.
    pub async fn invite(&self, request: &Request, invitee: &Invitee) -> Result<UserRecord, Error> {
        let user_name = UserName::parse(invitee.address.as_str()).map_err(|error| Error::Invalid(error.to_string()))?;
        retrying!(self, {
            let (context, _) = self.open_to_write(request, &[]).await?;
            let mut change = self.planned_invitation(&context, invitee, &user_name).await?;
            self.decide(&context, &mut change, &invitee.event(&context.actor.name))?;
            self.commit_change(&context, change).await
        })
    }

    /// What [`Directory::invite`] would do now. Nothing is written; revision 0 is somebody new.
    ///
    /// # Errors
    /// As [`Directory::invite`].
    pub async fn preview_invitation(&self, request: &Request, invitee: &Invitee) -> Result<UserRecord, Error> {
        let user_name = UserName::parse(invitee.address.as_str()).map_err(|error| Error::Invalid(error.to_string()))?;
        let (context, _) = self.open(request, &[]).await?;
        let mut change = self.planned_invitation(&context, invitee, &user_name).await?;
        change.apply(&invitee.event(&context.actor.name), context.now)?;
        Ok(change.after)
    }

    /// The change before the lifecycle has decided about it.
    async fn planned_invitation(
        &self,
        context: &Context,
        invitee: &Invitee,
        user_name: &UserName,
    ) -> Result<Change, Error> {
        context.require(Scope::Invitations)?;
        if !invitee.wishes.is_empty() {
            // Whoever may invite may not therefore grant: else an invitation would be a way to any role.
            context.require(Scope::RolesWrite)?;
        }
        let before = match self.find_by_address(context, &invitee.address, user_name).await? {
            Some(existing) => existing,
            None => {
                let id = entropy::resource_id(context.now);
                let role = &self.settings.provisioning.account_role;
                UserRecord::unborn(User::unborn(id, user_name.clone(), role), context.now)
            }
        };
        let after = self.invited(context, &before, invitee).await?;
        if invitee.coming != Coming::Invited {
            // Nobody is written to, so nobody is counted.
            context.require(Scope::Users)?;
            return self.change(context, "user.imported", before, after).await;
        }
        let mut change = self.change(context, "user.invited", before, after).await?;
        self.count_invitation(context, &mut change).await?;
        Ok(change)
    }

    /// The user as the invitation wants them; one who exists keeps profile and assignments.
    async fn invited(&self, context: &Context, before: &UserRecord, invitee: &Invitee) -> Result<UserRecord, Error> {
        let mut after = before.clone();
        if before.revision > 0 {
            return Ok(after);
        }
        let mut wishes = invitee.wishes.clone();
        wishes.default_to(&self.settings.provisioning);
        let assigned = self.resolve_wishes(context, &wishes, before).await?;
        if let Some(role) = &assigned.changes.account_role {
            self.may_change_role(context, before, role)?;
        }
        give(&mut after.user, &assigned.changes);
        after.names = assigned.names;
        after.user.sign_in_address = Some(invitee.address.clone());
        let mut profile = Map::new();
        if let Some(name) = &invitee.display_name {
            profile.insert("displayName".to_owned(), name.as_str().into());
        }
        let parts = [("givenName", &invitee.given_name), ("familyName", &invitee.family_name)];
        let parts: Map<String, Value> =
            parts.into_iter().filter_map(|(part, name)| Some((part.to_owned(), name.as_deref()?.into()))).collect();
        if !parts.is_empty() {
            profile.insert("name".to_owned(), parts.into());
        }
        if let Some(language) = &invitee.language {
            profile.insert("preferredLanguage".to_owned(), language.as_str().into());
        }
        profile.insert("emails".to_owned(), json!([{ "value": invitee.address.as_str(), "primary": true }]));
        after.profile = profile;
        Ok(after)
    }

    async fn find_by_address(
        &self,
        context: &Context,
        address: &EmailAddress,
        user_name: &UserName,
    ) -> Result<Option<UserRecord>, Error> {
        match self.find_by_sign_in_address(context, address).await? {
            Some(record) => Ok(Some(record)),
            None => self.find_by_user_name(context, user_name.folded()).await,
        }
    }
}
