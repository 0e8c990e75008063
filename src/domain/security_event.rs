//! Which change of a resource is told as which security event of SCIM (RFC 9967 §2.4).

use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::user::Status;
use super::webhook::is_deactivation;

/// What happened to a resource.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ProvisioningEvent {
    Create,
    Put,
    Patch,
    Delete,
    Activate,
    Deactivate,
}

/// How much of a change is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Form {
    /// The names of the attributes: whoever wants the values asks for them.
    Notice,
    /// The values.
    Full,
}

/// The events that are told, as ServiceProviderConfig lists them (RFC 9967 §4).
pub const EVENT_URIS: [&str; 9] = [
    ProvisioningEvent::Create.uri(Form::Notice),
    ProvisioningEvent::Create.uri(Form::Full),
    ProvisioningEvent::Patch.uri(Form::Notice),
    ProvisioningEvent::Patch.uri(Form::Full),
    ProvisioningEvent::Put.uri(Form::Notice),
    ProvisioningEvent::Put.uri(Form::Full),
    ProvisioningEvent::Delete.uri(Form::Notice),
    ProvisioningEvent::Activate.uri(Form::Notice),
    ProvisioningEvent::Deactivate.uri(Form::Notice),
];

impl ProvisioningEvent {
    /// The URI of RFC 9967 §7.4. What says nothing of attributes has one form only.
    pub const fn uri(self, form: Form) -> &'static str {
        match (self, form) {
            (ProvisioningEvent::Create, Form::Notice) => "urn:ietf:params:scim:event:prov:create:notice",
            (ProvisioningEvent::Create, Form::Full) => "urn:ietf:params:scim:event:prov:create:full",
            (ProvisioningEvent::Put, Form::Notice) => "urn:ietf:params:scim:event:prov:put:notice",
            (ProvisioningEvent::Put, Form::Full) => "urn:ietf:params:scim:event:prov:put:full",
            (ProvisioningEvent::Patch, Form::Notice) => "urn:ietf:params:scim:event:prov:patch:notice",
            (ProvisioningEvent::Patch, Form::Full) => "urn:ietf:params:scim:event:prov:patch:full",
            (ProvisioningEvent::Delete, _) => "urn:ietf:params:scim:event:prov:delete",
            (ProvisioningEvent::Activate, _) => "urn:ietf:params:scim:event:prov:activate",
            (ProvisioningEvent::Deactivate, _) => "urn:ietf:params:scim:event:prov:deactivate",
        }
    }

    /// Whether it says which attributes changed.
    pub const fn tells_attributes(self) -> bool {
        match self {
            ProvisioningEvent::Create | ProvisioningEvent::Put | ProvisioningEvent::Patch => true,
            ProvisioningEvent::Delete | ProvisioningEvent::Activate | ProvisioningEvent::Deactivate => false,
        }
    }
}

/// For whom the tokens of a stream are: what the receiver compares `aud` with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Audience(String);

/// A text that is no audience.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an audience is 1 to {} visible ASCII characters, such as https://app.example.com", Audience::MAX_CHARS)]
pub struct InvalidAudience;

impl Audience {
    pub const MAX_CHARS: usize = 256;

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Audience {
    type Err = InvalidAudience;

    fn from_str(text: &str) -> Result<Self, InvalidAudience> {
        let fits = (1..=Self::MAX_CHARS).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic());
        if fits { Ok(Audience(text.to_owned())) } else { Err(InvalidAudience) }
    }
}

impl TryFrom<String> for Audience {
    type Error = InvalidAudience;

    fn try_from(text: String) -> Result<Self, InvalidAudience> {
        text.parse()
    }
}

impl From<Audience> for String {
    fn from(audience: Audience) -> String {
        audience.0
    }
}

/// A resource on one side of a change: `None` where it does not exist for a client.
pub type Side = Option<Option<Status>>;

/// What a change is told as. Several things may have happened at once; each is an event of its own, since a payload
/// belongs to one (RFC 9967 §2.4).
///
/// `was` and `is` hold the status, of a user; `written` says that attributes changed, and `replaced` that a PUT did it.
/// Whatever else changes attributes (the API, the console, a timer) is told as the PATCH that it amounts to. Who is
/// deleted is not deactivated besides: a receiver that knows of no such user has nothing left to disable.
pub fn events(was: Side, is: Side, written: bool, replaced: bool) -> Vec<ProvisioningEvent> {
    let activated = |was: Option<Status>, is: Option<Status>| is == Some(Status::Active) && was != is;
    let mut events = Vec::new();
    match (was, is) {
        (None, None) => {}
        (Some(_), None) => events.push(ProvisioningEvent::Delete),
        (None, Some(is)) => {
            events.push(ProvisioningEvent::Create);
            events.extend(activated(None, is).then_some(ProvisioningEvent::Activate));
        }
        (Some(was), Some(is)) => {
            let how = if replaced { ProvisioningEvent::Put } else { ProvisioningEvent::Patch };
            events.extend(written.then_some(how));
            events.extend(activated(was, is).then_some(ProvisioningEvent::Activate));
            events.extend(is_deactivation(was, is).then_some(ProvisioningEvent::Deactivate));
        }
    }
    events
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::ProvisioningEvent::{Activate, Create, Deactivate, Delete, Patch, Put};
    use super::*;

    const PENDING: Side = Some(Some(Status::Pending));
    const ACTIVE: Side = Some(Some(Status::Active));
    const INACTIVE: Side = Some(Some(Status::Inactive));
    const GROUP: Side = Some(None);

    #[rstest]
    #[case(None, PENDING, &[Create])]
    #[case(None, ACTIVE, &[Create, Activate])]
    #[case(None, INACTIVE, &[Create])]
    #[case(PENDING, ACTIVE, &[Patch, Activate])]
    #[case(INACTIVE, ACTIVE, &[Patch, Activate])]
    #[case(INACTIVE, PENDING, &[Patch])]
    #[case(ACTIVE, ACTIVE, &[Patch])]
    #[case(PENDING, INACTIVE, &[Patch, Deactivate])]
    #[case(ACTIVE, INACTIVE, &[Patch, Deactivate])]
    #[case(ACTIVE, PENDING, &[Patch, Deactivate])]
    #[case(ACTIVE, None, &[Delete])]
    #[case(PENDING, None, &[Delete])]
    #[case(INACTIVE, None, &[Delete])]
    #[case(None, None, &[])]
    #[case(None, GROUP, &[Create])]
    #[case(GROUP, GROUP, &[Patch])]
    #[case(GROUP, None, &[Delete])]
    fn every_change_of_a_status_is_told_as_what_it_means(
        #[case] was: Side,
        #[case] is: Side,
        #[case] told: &[ProvisioningEvent],
    ) {
        assert_eq!(events(was, is, true, false), told);
    }

    #[test]
    fn a_put_is_told_as_one_and_what_changed_no_attribute_as_none() {
        assert_eq!(events(ACTIVE, INACTIVE, true, true), [Put, Deactivate]);
        assert_eq!(events(ACTIVE, INACTIVE, false, true), [Deactivate]);
        assert_eq!(events(GROUP, GROUP, false, false), []);
    }

    #[test]
    fn the_uris_are_those_of_the_registry() {
        let prefix = "urn:ietf:params:scim:event:prov:";
        let names = EVENT_URIS.map(|uri| uri.strip_prefix(prefix).unwrap());
        let registered = [
            "create:notice",
            "create:full",
            "patch:notice",
            "patch:full",
            "put:notice",
            "put:full",
            "delete",
            "activate",
            "deactivate",
        ];
        assert_eq!(names, registered);
    }
}
