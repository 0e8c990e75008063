//! What the use cases need to know of the configuration.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::domain::lifecycle::{Admit, BrakeLimit};
use crate::domain::roles::{LicenseSpec, Roles};
use crate::scim::filter::FilterBounds;

/// The part of the configuration that decides about users.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Without a trailing slash; every link and location begins with it.
    pub public_url: String,
    /// How long a use case may take, retries included.
    pub deadline: Duration,
    pub invitations: Invitations,
    pub provisioning: Provisioning,
    pub roles: Roles,
    /// The licenses that a new account is seeded with.
    pub licenses: Vec<LicenseSpec>,
    pub queries: Queries,
}

#[derive(Debug, Clone)]
pub struct Invitations {
    pub ttl: Duration,
    pub max_renewals: u32,
    /// After these spans of its life an invitation is repeated. `None`: the defaults of the lifecycle page; none listed:
    /// never.
    pub remind_after: Option<Vec<Duration>>,
    pub lapsed_retention: Duration,
    pub tombstone_retention: Duration,
}

#[derive(Debug, Clone)]
pub struct Provisioning {
    pub admit: Admit,
    /// By folded e-mail domain; the others follow `admit`.
    pub admit_domains: BTreeMap<String, Admit>,
    pub account_role: String,
    /// By name; made known to a new user when the account has them.
    pub organization: Option<String>,
    pub licenses: Vec<String>,
    /// With a project role; `None`: the default one.
    pub projects: Vec<(String, Option<String>)>,
    pub hold_until_start_date: bool,
    /// First invitations of one client within an hour that go out at once; `None`: all.
    pub hold_above: Option<u32>,
    /// G9; `None`: the brake is off.
    pub brake: Option<BrakeLimit>,
    /// Whether a group that names an unknown member is refused; otherwise the member is passed over.
    pub refuse_unknown_members: bool,
}

#[derive(Debug, Clone, Copy)]
pub struct Queries {
    pub default_page: usize,
    pub max_page: usize,
    /// How long a page may be asked for by the cursor of the one before (RFC 9865 §4).
    pub cursor_timeout: Duration,
    /// Documents that one request may read to answer a filter without an index.
    pub max_scan: usize,
    pub filter: FilterBounds,
    /// A group PUT or PATCH whose reply would carry more members than this is answered without a body.
    pub group_reply_members: usize,
}
