//! The settings as the layers take them: typed, checked, without a trace of where they were written. The meaning,
//! unit and range of each stand in `config/default.toml`.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;
use jiff::tz::TimeZone;
use lettre::message::Mailbox;
use url::Url;

use super::public_url::PublicUrl;
use crate::domain::ids::AccountId;
use crate::domain::lifecycle::{Admit, BrakeLimit};
use crate::domain::names::EmailAddress;
use crate::domain::roles::{LicenseSpec, Roles};
use crate::domain::secrets::ProvisioningToken;
use crate::http::hooks::HookSecret;
use crate::http::issuers::access::AccessIssuer;
use crate::http::issuers::relying_party::OpenIdSettings;
use crate::http::limits::Rate;
use crate::jobs::mail::RelayUrl;
use crate::jobs::schedule::{JobName, Schedule};
use crate::scim::SchemaTable;
use crate::store::StoreUrl;
use crate::telemetry;

/// Everything that can be configured.
#[derive(Debug, Clone)]
pub struct Settings {
    pub http: Http,
    pub ops: Ops,
    pub store: Store,
    pub mail: Mail,
    pub webhooks: Webhooks,
    pub issuers: Issuers,
    /// `None`: people sign in by mailed codes only.
    pub openid: Option<OpenIdSettings>,
    pub invitations: Invitations,
    pub provisioning: Provisioning,
    pub roles: Roles,
    /// With which a new account is seeded.
    pub licenses: Vec<LicenseSpec>,
    pub jobs: Jobs,
    pub limits: Limits,
    pub scim: Scim,
    pub secrets: Secrets,
    pub bootstrap: Bootstrap,
    pub audit: Audit,
    pub log: telemetry::Settings,
    pub console: Console,
}

/// The public listener.
#[derive(Debug, Clone)]
pub struct Http {
    pub listen: SocketAddr,
    /// Unset: the address of the listener, see [`Http::public_url_at`].
    pub public_url: Option<PublicUrl>,
    pub trusted_proxies: Vec<IpNet>,
    /// Lower-case `Host` header values that are served besides the public one.
    pub extra_hosts: Vec<String>,
    pub drain_lead: Duration,
    pub drain_deadline: Duration,
    pub max_connections: u32,
    pub header_timeout: Duration,
    pub request_deadline: Duration,
    /// Bytes.
    pub body_limit: usize,
    /// Bytes, for PUT and PATCH of a group.
    pub group_body_limit: usize,
    pub after_accept_url: Option<Url>,
    pub tls: Option<TlsFiles>,
}

impl Http {
    /// The public URL, given where the listener was bound in the end (port 0 lets the system choose).
    pub fn public_url_at(&self, bound: SocketAddr) -> PublicUrl {
        self.public_url.clone().unwrap_or_else(|| PublicUrl::of_listener(bound, self.tls.is_some()))
    }
}

/// PEM files, read again when they change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsFiles {
    pub certificate: PathBuf,
    pub key: PathBuf,
}

/// The listener for probes and metrics.
#[derive(Debug, Clone)]
pub struct Ops {
    pub listen: SocketAddr,
}

#[derive(Debug, Clone)]
pub struct Store {
    /// `None`: the embedded store in `path`.
    pub url: Option<StoreUrl>,
    /// The data directory, on any store.
    pub path: PathBuf,
    pub prefix: String,
    /// `None` accepts any store.
    pub installation: Option<String>,
    pub deadline: Duration,
    /// Bytes.
    pub cache: usize,
}

#[derive(Debug, Clone)]
pub struct Mail {
    /// `None`: each mail becomes a file under the data directory.
    pub relay: Option<RelayUrl>,
    pub from: Mailbox,
    /// `None`: as fast as the relay takes them.
    pub rate: Option<Rate>,
    /// `None`: the mail service reports nothing.
    pub hook_secret: Option<HookSecret>,
    pub templates_dir: Option<PathBuf>,
    pub timeout: Duration,
}

#[derive(Debug, Clone)]
pub struct Webhooks {
    /// Whether they may go to addresses of an intranet and of this host, and over http.
    pub allow_private: bool,
    /// Certificate authorities that are trusted besides those of browsers.
    pub tls_ca_file: Option<PathBuf>,
}

/// How issuers of tokens are reached.
#[derive(Debug, Clone)]
pub struct Issuers {
    /// Whether they may be at addresses of an intranet and of this host, and over http.
    pub allow_private: bool,
    /// Certificate authorities that are trusted besides those of browsers.
    pub tls_ca_file: Option<PathBuf>,
}

#[derive(Debug, Clone)]
pub struct Invitations {
    pub ttl: Duration,
    pub max_renewals: u32,
    /// Ascending. `None`: at 1/7, 3/7 and 5/7 of the lifetime; none listed: never.
    pub remind_after: Option<Vec<Duration>>,
    /// How long a lapsed invitation of somebody whom no provider manages stays Pending.
    pub lapsed_retention: Duration,
    /// How long it is remembered who a deleted user was.
    pub tombstone_retention: Duration,
}

#[derive(Debug, Clone)]
pub struct Provisioning {
    pub admit: Admit,
    /// Mail domain, in lower case and ASCII form, and its policy.
    pub admit_domains: Vec<(String, Admit)>,
    /// `None`: the account role that is the default one.
    pub account_role: Option<String>,
    pub organization: Option<String>,
    pub licenses: Vec<String>,
    /// By name, with a project role; `None`: the default one.
    pub projects: Vec<(String, Option<String>)>,
    /// First invitations of one client within an hour that go out at once; `None`: all.
    pub hold_above: Option<u32>,
    pub hold_until_start_date: bool,
    /// `None`: the brake is off.
    pub brake: Option<BrakeLimit>,
    pub unknown_members: UnknownMembers,
}

/// What a group write does with a member that usherd does not know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UnknownMembers {
    /// 400 `invalidValue`.
    Refuse,
    Skip,
}

impl UnknownMembers {
    pub const WORDS: &'static [(&'static str, UnknownMembers)] =
        &[("refuse", UnknownMembers::Refuse), ("skip", UnknownMembers::Skip)];
}

/// When the jobs run.
#[derive(Debug, Clone)]
pub struct Jobs {
    pub time_zone: TimeZone,
    pub expire: Schedule,
    pub renew: Schedule,
    pub remind: Schedule,
    pub reconcile: Schedule,
    pub retention: Schedule,
    pub digest: Schedule,
}

impl Jobs {
    pub fn schedule(&self, job: JobName) -> &Schedule {
        match job {
            JobName::Expire => &self.expire,
            JobName::Renew => &self.renew,
            JobName::Remind => &self.remind,
            JobName::Reconcile => &self.reconcile,
            JobName::Retention => &self.retention,
            JobName::Digest => &self.digest,
        }
    }
}

/// `None` is no limit. All are per replica.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Per token.
    pub scim: Option<Rate>,
    /// Per client address, for requests without valid credentials.
    pub ip: Option<Rate>,
    /// Per mail address that is typed.
    pub sign_in: Option<Rate>,
}

#[derive(Debug, Clone)]
pub struct Scim {
    pub default_page: usize,
    pub max_page: usize,
    pub max_scan: usize,
    pub filter_depth: u32,
    /// Bytes.
    pub filter_length: usize,
    pub bulk_operations: u32,
    /// Bytes.
    pub bulk_payload: usize,
    pub bulk_deadline: Duration,
    pub group_reply_members: u32,
    /// Whether a token is taken as the password of HTTP Basic.
    pub basic: bool,
    /// Whose access tokens are taken.
    pub issuers: Vec<AccessIssuer>,
    /// With what `scim.schemas_dir` adds.
    pub table: Arc<SchemaTable>,
}

#[derive(Debug, Clone)]
pub struct Secrets {
    /// `None`: made in the data directory at the first start.
    pub keys_file: Option<PathBuf>,
}

/// What is created at start when it is absent.
#[derive(Debug, Clone)]
pub struct Bootstrap {
    /// `None`: no account.
    pub account: Option<AccountId>,
    pub admin_email: Option<EmailAddress>,
    pub scim_token: Option<ProvisioningToken>,
}

#[derive(Debug, Clone)]
pub struct Audit {
    pub keep: Duration,
}

#[derive(Debug, Clone)]
pub struct Console {
    /// Hosts from which the console may show profile pictures.
    pub photo_hosts: Vec<String>,
}
