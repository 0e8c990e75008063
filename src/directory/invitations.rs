//! What admins and invitees do once somebody is invited: resend, copy a link, revoke, deactivate; open a link, accept,
//! decline, ask for a new one.

use serde_json::json;

use super::audit::{Actor, Door};
use super::error::Error;
use super::record::UserRecord;
use super::request::{Context, Request};
use super::{Directory, keys};
use crate::domain::ids::{AccountId, ResourceId};
use crate::domain::lifecycle::{Event, LinkView, Refusal, accepted_just_now, view_link};
use crate::domain::names::EmailAddress;
use crate::domain::secrets::Scope;
use crate::domain::token::{self, Channel, InvitationClaims, InvitationToken, Purpose};
use crate::domain::user::User;

/// What an admin may do to one user by name of the action.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    Resend,
    CopyLink,
    Revoke,
    Deactivate,
    Release,
    Erase,
}

impl Action {
    fn event(&self, actor: &str) -> Event {
        let actor = actor.to_owned();
        match self {
            Action::Resend => Event::ResendAsked,
            Action::CopyLink => Event::LinkCopied,
            Action::Revoke => Event::Revoked { actor },
            Action::Deactivate => Event::Deactivated { actor },
            Action::Release => Event::Released { actor },
            Action::Erase => Event::Erased,
        }
    }

    const fn audited_as(&self) -> &'static str {
        match self {
            Action::Resend => "user.resend_asked",
            Action::CopyLink => "user.link_copied",
            Action::Revoke => "user.invitation_revoked",
            Action::Deactivate => "user.deactivated",
            Action::Release => "user.released",
            Action::Erase => "user.erased",
        }
    }

    /// G2: what nobody may do to themselves.
    const fn is_against_oneself(&self) -> bool {
        match self {
            Action::Deactivate | Action::Erase => true,
            Action::Resend | Action::CopyLink | Action::Revoke | Action::Release => false,
        }
    }

    pub(super) const fn scope(&self) -> Scope {
        match self {
            Action::Resend | Action::CopyLink | Action::Revoke => Scope::Invitations,
            Action::Deactivate | Action::Release | Action::Erase => Scope::Users,
        }
    }
}

/// An opened link: the page to show, and to whom it belongs.
#[derive(Debug, Clone, PartialEq)]
pub struct OpenedLink {
    pub view: LinkView,
    pub claims: InvitationClaims,
    pub account_name: String,
    /// `None` when no record is left.
    pub record: Option<UserRecord>,
    /// The link of an acceptance, moments after it.
    pub accepted_just_now: bool,
}

impl Directory {
    /// Does one of the admin's actions.
    ///
    /// # Errors
    /// The [`Refusal`] of the cell; [`Error::NotFound`]; [`Error::MissingScope`].
    pub async fn act(&self, request: &Request, id: &str, action: &Action) -> Result<UserRecord, Error> {
        if let Some(user) = request.signed_in().filter(|user| action.is_against_oneself() && user.to_string() == id) {
            let (context, _) = self.open(request, &[]).await?;
            return Err(self.refuse(&context, action.audited_as(), Some(user), Refusal::Yourself));
        }
        let event = |context: &Context| action.event(&context.actor.name);
        self.on_user(request, id, action.audited_as(), action.scope(), event).await
    }

    /// Ends what an identity provider says about a user: nobody manages them, and whether they come in is the admins'
    /// affair (lifecycle row "release from the identity provider").
    ///
    /// # Errors
    /// As [`Directory::act`].
    pub async fn release_user(&self, request: &Request, id: &str) -> Result<UserRecord, Error> {
        self.act(request, id, &Action::Release).await
    }

    pub(super) async fn find_by_sign_in_address(
        &self,
        context: &Context,
        address: &EmailAddress,
    ) -> Result<Option<UserRecord>, Error> {
        self.find_by_unique(context, keys::ADDRESS, address.folded()).await
    }

    /// The invitation link of a Pending user, for the channel it is handed out over.
    ///
    /// # Errors
    /// [`Error::Refused`] when there is no live invitation, [`Error::Internal`] when its key is gone (V18).
    pub fn link(&self, account: &AccountId, user: &User, channel: Channel) -> Result<String, Error> {
        let minted = user.invitation().filter(|invitation| invitation.is_live()).and_then(|it| it.minted.as_ref());
        let minted = minted.ok_or(Refusal::NotPending)?;
        let token = self.token(account, user.id, minted, channel, Purpose::Invitation)?;
        Ok(format!("{}/i/{}", self.settings.public_url, token.expose()))
    }

    /// The link that confirms an Active user's new address.
    ///
    /// # Errors
    /// As [`Directory::link`].
    pub fn confirmation_link(&self, account: &AccountId, user: &User) -> Result<String, Error> {
        let waiting = user.unconfirmed_address.as_ref().ok_or(Refusal::UnknownInvitation)?;
        let token = self.token(account, user.id, &waiting.minted, Channel::Mail, Purpose::AddressConfirmation)?;
        Ok(format!("{}/confirm/{}", self.settings.public_url, token.expose()))
    }

    fn token(
        &self,
        account: &AccountId,
        user: ResourceId,
        minted: &crate::domain::user::Minted,
        channel: Channel,
        purpose: Purpose,
    ) -> Result<InvitationToken, Error> {
        let claims = InvitationClaims {
            kid: minted.kid.clone(),
            account: account.clone(),
            user,
            generation: minted.generation,
            channel,
        };
        token::mint(&self.keys, &self.installation, purpose, &claims, self.store.now())
            .map_err(|error| Error::Internal(error.to_string()))
    }

    /// What the link behind `/i/` opens. Changes nothing: mail scanners follow links.
    ///
    /// # Errors
    /// [`Refusal::UnknownInvitation`] for a text that is none of our links, before anything is read.
    pub async fn open_link(&self, text: &str) -> Result<OpenedLink, Error> {
        let claims = self.verified(text, Purpose::Invitation)?;
        let request = invitee(&claims, None);
        let (context, documents) = self.open(&request, &[keys::user(claims.user)]).await?;
        let record = documents.first().and_then(Option::as_ref).map(UserRecord::decode).transpose()?;
        let view = match &record {
            Some(record) => view_link(&record.user, claims.generation, context.now),
            None => LinkView::Unknown,
        };
        let repeats = |record: &UserRecord| accepted_just_now(&record.user, claims.generation, context.now);
        let accepted_just_now = record.as_ref().is_some_and(repeats);
        Ok(OpenedLink { view, claims, account_name: context.account.name, record, accepted_just_now })
    }

    /// Accepts an invitation: the address must be the invited one, typed by the invitee. An empty name of the profile
    /// is filled in with what they gave.
    ///
    /// # Errors
    /// [`Refusal`] for a stale link; [`Error::Invalid`] for another address.
    pub async fn accept(&self, text: &str, acceptance: &Acceptance) -> Result<UserRecord, Error> {
        let claims = self.verified(text, Purpose::Invitation)?;
        let request = invitee(&claims, acceptance.request_id.clone());
        retrying!(self, {
            let (context, before) = self.invited_user(&request, &claims).await?;
            let invited = before.user.sign_in_address.as_ref();
            let another_address = invited.is_some_and(|invited| invited.folded() != acceptance.address.folded());
            let mut after = before.clone();
            if invited.is_none() {
                after.user.sign_in_address = Some(acceptance.address.clone());
            }
            acceptance.complete_name(&mut after);
            let mut change = self.change(&context, "user.accepted", before, after).await?;
            let event = Event::Accepted { generation: claims.generation, channel: claims.channel };
            // A stale link is told as such, whatever was typed.
            change.apply(&event, context.now)?;
            if another_address {
                return Err(Error::Invalid("this is not the address that was invited".to_owned()));
            }
            self.commit_change(&context, change).await
        })
    }

    /// The invitee declines.
    ///
    /// # Errors
    /// [`Refusal`] for a stale link.
    pub async fn decline(&self, text: &str, request_id: Option<String>) -> Result<UserRecord, Error> {
        let claims = self.verified(text, Purpose::Invitation)?;
        let event = Event::Declined { generation: claims.generation };
        self.by_invitee(&claims, request_id, "user.declined", event).await
    }

    /// The invitee of an expired link asks for a new one. The page says the same to everybody, so the answer is for
    /// the log.
    ///
    /// # Errors
    /// G3 and G4.
    pub async fn ask_new_link(&self, text: &str, request_id: Option<String>) -> Result<UserRecord, Error> {
        let claims = self.verified(text, Purpose::Invitation)?;
        self.by_invitee(&claims, request_id, "user.new_link_asked", Event::NewLinkAsked).await
    }

    /// The invitee wants no more reminders.
    ///
    /// # Errors
    /// [`Refusal`] for a stale link.
    pub async fn mute_reminders(&self, text: &str, request_id: Option<String>) -> Result<UserRecord, Error> {
        let claims = self.verified(text, Purpose::Invitation)?;
        let event = Event::RemindersMuted { generation: claims.generation };
        self.by_invitee(&claims, request_id, "user.reminders_muted", event).await
    }

    /// Whether a confirmation link is right and its address still waits; the name of the account. Changes nothing.
    ///
    /// # Errors
    /// [`Refusal::UnknownInvitation`] for a stale link or a text that is none of ours.
    pub async fn open_confirmation(&self, text: &str) -> Result<String, Error> {
        let claims = self.verified(text, Purpose::AddressConfirmation)?;
        let (context, record) = self.invited_user(&invitee(&claims, None), &claims).await?;
        let waiting = record.user.unconfirmed_address.filter(|it| it.minted.generation == claims.generation);
        waiting.map(|_| context.account.name).ok_or_else(|| Refusal::UnknownInvitation.into())
    }

    /// An Active user confirms a new address by the link that was mailed to it.
    ///
    /// # Errors
    /// [`Refusal::UnknownInvitation`] for a stale link.
    pub async fn confirm_address(&self, text: &str, request_id: Option<String>) -> Result<UserRecord, Error> {
        let claims = self.verified(text, Purpose::AddressConfirmation)?;
        let event = Event::AddressConfirmed { generation: claims.generation };
        self.by_invitee(&claims, request_id, "user.address_confirmed", event).await
    }

    async fn by_invitee(
        &self,
        claims: &InvitationClaims,
        request_id: Option<String>,
        what: &'static str,
        event: Event,
    ) -> Result<UserRecord, Error> {
        let request = invitee(claims, request_id);
        retrying!(self, {
            let (context, before) = self.invited_user(&request, claims).await?;
            let mut change = self.change(&context, what, before.clone(), before).await?;
            change.apply(&event, context.now)?;
            self.commit_change(&context, change).await
        })
    }

    async fn invited_user(&self, request: &Request, claims: &InvitationClaims) -> Result<(Context, UserRecord), Error> {
        let (context, documents) = self.open(request, &[keys::user(claims.user)]).await?;
        let document = documents.into_iter().next().flatten().ok_or(Refusal::UnknownInvitation)?;
        Ok((context, UserRecord::decode(&document)?))
    }

    fn verified(&self, text: &str, purpose: Purpose) -> Result<InvitationClaims, Error> {
        token::verify(&self.keys, &self.installation, purpose, text, self.store.now())
            .map_err(|_| Refusal::UnknownInvitation.into())
    }

    /// Lets one event act on a user that a caller with `scope` names by id.
    pub(super) async fn on_user(
        &self,
        request: &Request,
        id: &str,
        what: &'static str,
        scope: Scope,
        event: impl Fn(&Context) -> Event,
    ) -> Result<UserRecord, Error> {
        let unknown = || Error::NotFound(format!("there is no user {id}"));
        let key = keys::user(id.parse().map_err(|_| unknown())?);
        retrying!(self, {
            let (context, documents) = self.open_to_write(request, std::slice::from_ref(&key)).await?;
            context.require(scope)?;
            let document = documents.into_iter().next().flatten().ok_or_else(unknown)?;
            let before = UserRecord::decode(&document)?;
            let mut change = self.change(&context, what, before.clone(), before).await?;
            let event = event(&context);
            if event == Event::ResendAsked {
                self.count_invitation(&context, &mut change).await?;
            }
            self.decide(&context, &mut change, &event)?;
            self.commit_change(&context, change).await
        })
    }
}

/// What the invitee sends with the acceptance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Acceptance {
    pub address: EmailAddress,
    pub given_name: Option<String>,
    pub family_name: Option<String>,
    pub request_id: Option<String>,
}

impl Acceptance {
    /// Names that a provider gave are not the invitee's to change.
    fn complete_name(&self, record: &mut UserRecord) {
        for (part, given) in [("givenName", &self.given_name), ("familyName", &self.family_name)] {
            let Some(given) = given.as_deref().filter(|name| !name.is_empty()) else { continue };
            let name = record.profile.entry("name").or_insert_with(|| json!({}));
            if let Some(name) = name.as_object_mut() {
                name.entry(part).or_insert_with(|| given.into());
            }
        }
    }
}

fn invitee(claims: &InvitationClaims, request_id: Option<String>) -> Request {
    let actor = Actor { channel: Door::Invitee, name: claims.user.to_string(), request_id };
    Request::trusted(claims.account.clone(), actor)
}
