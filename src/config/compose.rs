//! The settings of each layer, made of the keys of the configuration. A layer never sees the configuration itself.

use std::sync::Arc;

use super::settings::Settings;
use crate::http::limits::LimitSettings;
use crate::http::serve::ServeSettings;
use crate::http::tls::Tls;
use crate::http::{bounds::BoundsTable, guard::Bounds};
use crate::jobs::mail;
use crate::scim::discovery;
use crate::{directory, store, telemetry};

/// Where mail files go, in the data directory.
const MAIL_FILES: &str = "mail";

impl Settings {
    pub fn store_settings(&self) -> store::Settings {
        let store = &self.store;
        store::Settings {
            url: store.url.as_ref().map(|u| u.url.reveal().parse().expect("checked")),
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
            url: None,
            from: self.mail.from.clone(),
            templates_dir: self.mail.templates_dir.clone(),
            timeout: self.mail.timeout,
            directory: self.store.path.join(MAIL_FILES),
            message_id_domain: public_host.to_owned(),
        }
    }

    /// `public_url` has no slash at its end ([`super::PublicUrl::as_str`]).
    pub fn directory_settings(&self, public_url: &str) -> directory::Settings {
        let invitations = &self.invitations;
        let provisioning = &self.provisioning;
        let roles = crate::domain::roles::Roles::builtin();
        let account_role = provisioning.account_role.as_deref().and_then(|name| roles.account_role(name).ok());
        directory::Settings {
            public_url: public_url.to_owned(),
            deadline: self.store.deadline,
            invitations: directory::settings::Invitations {
                ttl: invitations.ttl,
                max_renewals: invitations.max_renewals,
                remind_after: match &invitations.remind_after {
                    super::settings::RemindAfter::Sevenths => vec![],
                    super::settings::RemindAfter::Spans(s) => s.clone(),
                },
                lapsed_retention: std::time::Duration::from_secs(90 * 86400),
                tombstone_retention: std::time::Duration::from_secs(400 * 86400),
            },
            provisioning: directory::settings::Provisioning {
                admit: crate::domain::lifecycle::Admit::Invite,
                admit_domains: Default::default(),
                account_role: account_role.unwrap_or_else(|| roles.default_account_role()).as_str().to_owned(),
                organization: provisioning.organization.clone(),
                licenses: provisioning.licenses.clone(),
                projects: vec![],
                hold_until_start_date: provisioning.hold_until_start_date,
            },
            roles,
            licenses: crate::domain::roles::LicenseSpec::builtin(),
            queries: directory::settings::Queries {
                default_page: self.scim.default_page as usize,
                max_page: self.scim.max_page as usize,
                max_scan: self.scim.max_scan as usize,
            },
        }
    }

    pub fn limit_settings(&self) -> LimitSettings {
        LimitSettings { token: None, stranger: None, sign_in: None }
    }

    /// The public listener; `tls` is what [`super::settings::Http::tls`] was loaded into.
    pub fn serve_settings(&self, tls: Option<Arc<Tls>>) -> ServeSettings {
        ServeSettings {
            header_timeout: self.http.header_timeout,
            max_connections: self.http.max_connections as u32,
            drain_lead: self.http.drain_lead,
            drain_deadline: self.http.drain_deadline,
            tls,
            ..ServeSettings::default()
        }
    }

    /// What a request may take. Its body has as long to arrive as it may take to be answered, or as the keys of a
    /// bulk request allow.
    pub fn bounds_table(&self) -> BoundsTable {
        let bounds = |deadline, bytes: usize| Bounds { deadline, body_deadline: deadline, body_bytes: bytes as u64 };
        BoundsTable {
            single: bounds(self.http.request_deadline, self.http.body_limit),
            group: bounds(self.http.request_deadline, self.http.group_body_limit),
            bulk: bounds(self.scim.bulk_deadline, self.scim.bulk_payload),
        }
    }

    /// What SCIM advertises, because it is enforced.
    pub fn scim_limits(&self) -> discovery::Limits {
        discovery::Limits {
            bulk: None,
            max_results: self.scim.max_page as usize,
            sort: true,
            etag: true,
            pagination: Some(discovery::Pagination {
                cursor: false,
                default_page_size: self.scim.default_page as usize,
                max_page_size: self.scim.max_page as usize,
                cursor_timeout: None,
            }),
            interop_profile: false,
            documentation_uri: None,
        }
    }

    pub fn telemetry_settings(&self) -> telemetry::Settings {
        telemetry::Settings { format: telemetry::Format::Auto, filter: telemetry::Filter::parse("info").expect("x") }
    }
}
