//! The settings of each layer, made of the keys of the configuration. A layer never sees the configuration itself.

use std::sync::Arc;
use std::time::Duration;

use super::settings::{Settings, UnknownMembers};
use crate::directory::mail_queue::Pace;
use crate::http::bounds::BoundsTable;
use crate::http::guard::Bounds;
use crate::http::limits::LimitSettings;
use crate::http::serve::ServeSettings;
use crate::http::tls::Tls;
use crate::jobs::mail;
use crate::scim::discovery;
use crate::scim::filter::FilterBounds;
use crate::{directory, store, telemetry};

/// Where mail files go, in the data directory.
const MAIL_FILES: &str = "mail";
/// How long a body may take to arrive, however little a client sends at a time. Enough for the largest group at
/// 4 Mbit/s.
const BODY_DEADLINE: Duration = Duration::from_secs(30);

impl Settings {
    pub fn store_settings(&self) -> store::Settings {
        let store = &self.store;
        store::Settings {
            url: store.url.clone(),
            path: store.path.clone(),
            prefix: store.prefix.clone(),
            installation: store.installation.clone(),
            deadline: store.deadline,
            cache_bytes: store.cache,
        }
    }

    /// `public_host` is the host of the public URL, without a port.
    pub fn mail_settings(&self, public_host: &str) -> mail::Settings {
        mail::Settings {
            url: self.mail.relay.clone(),
            from: self.mail.from.clone(),
            templates_dir: self.mail.templates_dir.clone(),
            timeout: self.mail.timeout,
            directory: self.store.path.join(MAIL_FILES),
            message_id_domain: public_host.to_owned(),
        }
    }

    /// `mail.rate`; `None`: as fast as the relay takes mails.
    pub fn mail_pace(&self) -> Option<Pace> {
        let rate = self.mail.rate?;
        let interval = (rate.per / rate.count.get()).max(Duration::from_micros(1));
        Some(Pace { interval, burst: rate.burst.get() })
    }

    /// `public_url` has no slash at its end ([`super::PublicUrl::as_str`]).
    pub fn directory_settings(&self, public_url: &str) -> directory::Settings {
        let invitations = &self.invitations;
        let provisioning = &self.provisioning;
        let account_role = provisioning.account_role.as_deref().and_then(|name| self.roles.account_role(name).ok());
        directory::Settings {
            public_url: public_url.to_owned(),
            deadline: self.store.deadline,
            invitations: directory::settings::Invitations {
                ttl: invitations.ttl,
                max_renewals: invitations.max_renewals,
                remind_after: invitations.remind_after.clone(),
                lapsed_retention: invitations.lapsed_retention,
                tombstone_retention: invitations.tombstone_retention,
            },
            provisioning: directory::settings::Provisioning {
                admit: provisioning.admit,
                admit_domains: provisioning.admit_domains.iter().cloned().collect(),
                account_role: account_role.unwrap_or_else(|| self.roles.default_account_role()).as_str().to_owned(),
                organization: provisioning.organization.clone(),
                licenses: provisioning.licenses.clone(),
                projects: provisioning.projects.clone(),
                hold_until_start_date: provisioning.hold_until_start_date,
                hold_above: provisioning.hold_above,
                brake: provisioning.brake,
                refuse_unknown_members: match provisioning.unknown_members {
                    UnknownMembers::Refuse => true,
                    UnknownMembers::Skip => false,
                },
            },
            roles: self.roles.clone(),
            licenses: self.licenses.clone(),
            queries: directory::settings::Queries {
                default_page: self.scim.default_page,
                max_page: self.scim.max_page,
                cursor_timeout: self.scim.cursor_timeout,
                max_scan: self.scim.max_scan,
                filter: FilterBounds {
                    depth: usize::try_from(self.scim.filter_depth).unwrap_or(usize::MAX),
                    length: self.scim.filter_length,
                },
                group_reply_members: usize::try_from(self.scim.group_reply_members).unwrap_or(usize::MAX),
            },
        }
    }

    pub fn limit_settings(&self) -> LimitSettings {
        LimitSettings { token: self.limits.scim, stranger: self.limits.ip, sign_in: self.limits.sign_in }
    }

    /// The public listener; `tls` is what [`super::settings::Http::tls`] was loaded into.
    pub fn serve_settings(&self, tls: Option<Arc<Tls>>) -> ServeSettings {
        ServeSettings {
            header_timeout: self.http.header_timeout,
            max_connections: self.http.max_connections,
            drain_lead: self.http.drain_lead,
            drain_deadline: self.http.drain_deadline,
            tls,
            ..ServeSettings::default()
        }
    }

    /// What a request may take.
    pub fn bounds_table(&self) -> BoundsTable {
        let bounds = |deadline: Duration, bytes: usize| Bounds {
            deadline,
            body_deadline: BODY_DEADLINE.max(deadline),
            body_bytes: bytes as u64,
        };
        BoundsTable {
            single: bounds(self.http.request_deadline, self.http.body_limit),
            group: bounds(self.http.request_deadline, self.http.group_body_limit),
            bulk: bounds(self.scim.bulk_deadline, self.scim.bulk_payload),
        }
    }

    /// What SCIM advertises, because it is enforced.
    pub fn scim_limits(&self) -> discovery::Limits {
        discovery::Limits {
            bulk: Some(discovery::BulkLimits {
                max_operations: usize::try_from(self.scim.bulk_operations).unwrap_or(usize::MAX),
                max_payload_size: self.scim.bulk_payload,
            }),
            max_results: self.scim.max_page,
            sort: true,
            etag: true,
            pagination: Some(discovery::Pagination {
                cursor: true,
                default_page_size: self.scim.default_page,
                max_page_size: self.scim.max_page,
                cursor_timeout: Some(self.scim.cursor_timeout.as_secs()),
            }),
            interop_profile: false,
            access_tokens: !self.scim.issuers.is_empty(),
            basic: self.scim.basic,
            documentation_uri: None,
        }
    }

    pub fn telemetry_settings(&self) -> telemetry::Settings {
        self.log.clone()
    }
}
