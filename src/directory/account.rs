//! An account (tenant) as stored, and the rules that hold in it: the configuration with the account's own settings on
//! top.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::clients::ClientState;
use super::settings::Settings;
use super::webhooks::Endpoint;
use crate::domain::ids::{AccountId, EndpointId, ResourceId};
use crate::domain::lifecycle::{Admit, BrakeLimit, Policy, PolicyHold};
use crate::domain::names::{ClientName, EmailAddress};
use crate::domain::time::Timestamp;
use crate::domain::user::{Minted, User};

/// The settings document of an account. Absent values follow the configuration.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Account {
    pub id: AccountId,
    pub name: String,
    pub created: Timestamp,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub admit: Option<Admit>,
    /// Milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub invitation_ttl: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_renewals: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hold_until_start_date: Option<bool>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hold_above: Option<Own<u32>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub brake: Option<Own<BrakeLimit>>,
    /// What admins and the brake have decided about clients. It stands here because every request reads, and every
    /// batch checks, this document: a pause holds for whatever commits after it, and costs no trip.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub clients: BTreeMap<ClientName, ClientState>,
    /// Where applications hear of users. It stands here so that a batch puts what they are to hear without a trip, and
    /// an endpoint that is made or removed counts for whatever commits after it.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub webhooks: BTreeMap<EndpointId, Endpoint>,
}

/// An account's own word on something that can be turned off.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Own<T> {
    Off,
    On(T),
}

impl<T> Own<T> {
    fn into_option(self) -> Option<T> {
        match self {
            Own::Off => None,
            Own::On(value) => Some(value),
        }
    }
}

/// What the store says about a user at this moment; see [`Policy`].
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Facts {
    pub free_licenses: Vec<ResourceId>,
    pub is_last_admin: bool,
    /// A token made with `--test`: nothing is mailed.
    pub test: bool,
}

impl Account {
    pub fn new(id: AccountId, name: &str, now: Timestamp) -> Self {
        Account {
            id,
            name: name.to_owned(),
            created: now,
            admit: None,
            invitation_ttl: None,
            max_renewals: None,
            hold_until_start_date: None,
            hold_above: None,
            brake: None,
            clients: BTreeMap::new(),
            webhooks: BTreeMap::new(),
        }
    }

    /// First invitations of one client within an hour that go out at once; `None`: all.
    pub fn hold_above(&self, settings: &Settings) -> Option<u32> {
        self.hold_above.map_or(settings.provisioning.hold_above, Own::into_option)
    }

    /// G9; `None`: the brake is off.
    pub fn brake(&self, settings: &Settings) -> Option<BrakeLimit> {
        self.brake.map_or(settings.provisioning.brake, Own::into_option)
    }

    /// Whether somebody is told of changes by security event tokens.
    pub fn tells_security_events(&self) -> bool {
        self.webhooks.values().any(|endpoint| endpoint.stream().is_some())
    }

    /// What was decided about this client, to be changed; what says nothing any more goes with [`Account::tidy`].
    pub(super) fn client_mut(&mut self, client: &ClientName) -> &mut ClientState {
        self.clients.entry(client.clone()).or_default()
    }

    pub(super) fn tidy(&mut self) {
        self.clients.retain(|_, state| *state != ClientState::default());
    }

    /// The policy for one transition of `user`, whose address is `address`.
    pub fn policy(
        &self,
        settings: &Settings,
        user: &User,
        address: Option<&EmailAddress>,
        facts: Facts,
        mint: Minted,
    ) -> Policy {
        let provisioning = &settings.provisioning;
        let by_domain =
            address.and_then(|address| provisioning.admit_domains.get(&address.domain().to_lowercase()).copied());
        let waits = self.hold_until_start_date.unwrap_or(provisioning.hold_until_start_date);
        let start = user.employment_start_date.filter(|_| waits);
        let hold = match (facts.test, start) {
            (true, _) => Some(PolicyHold::ForDecision),
            (false, Some(day)) => Some(PolicyHold::Until(day)),
            (false, None) => None,
        };
        let admit = by_domain.or(self.admit).unwrap_or(provisioning.admit);
        Policy {
            // What a test token provisions waits for a decision, also where people are admitted without an invitation.
            admit: if facts.test { Admit::Invite } else { admit },
            hold,
            ttl: self.invitation_ttl.map_or(settings.invitations.ttl, Duration::from_millis),
            max_renewals: self.max_renewals.unwrap_or(settings.invitations.max_renewals),
            remind_after: settings.invitations.remind_after.clone(),
            mint,
            free_licenses: facts.free_licenses,
            is_last_admin: facts.is_last_admin,
            throttled: None,
            braked: None,
            default_account_role: provisioning.account_role.clone(),
            lapsed_retention: settings.invitations.lapsed_retention,
            tombstone_retention: settings.invitations.tombstone_retention,
        }
    }
}
