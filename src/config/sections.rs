//! Which key is read in which form. One function per section, in the order of `config/default.toml`.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use super::public_url::PublicUrl;
use super::reader::{Entry, Reader};
use super::settings::{
    Audit, Bootstrap, Console, Http, Invitations, Issuers, Jobs, Limits, Mail, Ops, Provisioning, Scim, Secrets,
    Settings, Store, TlsFiles, UnknownMembers, Webhooks,
};
use super::values::{
    ADMIT, Expected, count, host, listen, mail_address, mail_domain, mailbox, network, parsed, path, rate, size_in,
    span, span_in, switch, text, time_zone, web_url, word,
};
use super::{issuers, schemas};
use crate::domain::ids::AccountId;
use crate::domain::lifecycle::BrakeLimit;
use crate::domain::roles::{InvalidList, LicenseKind, LicenseSpec, Role, Roles};
use crate::domain::secrets::ProvisioningToken;
use crate::domain::time::DAY;
use crate::domain::user::ACCOUNT_ADMIN;
use crate::http::hooks::HookSecret;
use crate::jobs::mail::RelayUrl;
use crate::jobs::schedule::Schedule;
use crate::scim::SchemaTable;
use crate::store::StoreUrl;
use crate::telemetry;

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);
const TENTH: Duration = Duration::from_millis(100);

const LOG_FORMATS: &[(&str, telemetry::Format)] =
    &[("auto", telemetry::Format::Auto), ("human", telemetry::Format::Human), ("json", telemetry::Format::Json)];

const LICENSE_KINDS: &[(&str, LicenseKind)] =
    &[("per-user", LicenseKind::PerUser), ("floating", LicenseKind::Floating)];

pub fn settings(r: &mut Reader) -> Settings {
    Settings {
        http: http(r),
        ops: Ops { listen: r.value("ops.listen", listen) },
        store: store(r),
        mail: mail(r),
        webhooks: Webhooks {
            allow_private: r.value("webhooks.allow_private", switch),
            tls_ca_file: r.optional("webhooks.tls_ca_file", path),
        },
        issuers: Issuers {
            allow_private: r.value("issuers.allow_private", switch),
            tls_ca_file: r.optional("issuers.tls_ca_file", path),
        },
        openid: issuers::openid(r),
        invitations: invitations(r),
        provisioning: provisioning(r),
        roles: roles(r),
        licenses: licenses(r),
        jobs: jobs(r),
        limits: Limits {
            scim: r.value("limits.scim", rate),
            ip: r.value("limits.ip", rate),
            sign_in: r.value("limits.sign_in", rate),
        },
        scim: scim(r),
        secrets: Secrets { keys_file: r.optional("secrets.keys_file", path) },
        bootstrap: bootstrap(r),
        audit: Audit { keep: r.value("audit.keep", span_in(DAY..=3_650 * DAY)) },
        log: telemetry::Settings {
            format: r.value("log.format", word(LOG_FORMATS)),
            filter: r.value("log.filter", |text| telemetry::Filter::parse(text).map_err(|error| error.to_string())),
        },
        console: Console { photo_hosts: r.list("console.photo_hosts", host) },
    }
}

fn http(r: &mut Reader) -> Http {
    let certificate = r.optional("http.tls_cert_file", path);
    let key = r.optional("http.tls_key_file", path);
    let tls = match (certificate, key) {
        (Some(certificate), Some(key)) => Some(TlsFiles { certificate, key }),
        (None, None) => None,
        (Some(_), None) => {
            r.mistake("http.tls_key_file", "missing: tls_cert_file is set, set both or neither");
            None
        }
        (None, Some(_)) => {
            r.mistake("http.tls_cert_file", "missing: tls_key_file is set, set both or neither");
            None
        }
    };
    Http {
        listen: r.value("http.listen", listen),
        public_url: r.optional("http.public_url", PublicUrl::parse),
        trusted_proxies: r.list("http.trusted_proxies", network),
        extra_hosts: r.list("http.extra_hosts", host),
        drain_lead: r.value("http.drain_lead", span_in(Duration::ZERO..=5 * MINUTE)),
        drain_deadline: r.value("http.drain_deadline", span_in(Duration::ZERO..=10 * MINUTE)),
        max_connections: r.value("http.max_connections", count(1..=1_000_000)),
        header_timeout: r.value("http.header_timeout", span_in(TENTH..=5 * MINUTE)),
        request_deadline: r.value("http.request_deadline", span_in(TENTH..=5 * MINUTE)),
        body_limit: r.value("http.body_limit", body_size),
        group_body_limit: r.value("http.group_body_limit", body_size),
        after_accept_url: r.optional("http.after_accept_url", web_url),
        tls,
    }
}

fn body_size(text: &str) -> Result<usize, Expected> {
    size_in(1 << 10..=1 << 30, "1KiB and 1GiB")(text)
}

fn store(r: &mut Reader) -> Store {
    Store {
        url: r.secret("store.url", parsed::<StoreUrl>),
        path: r.value("store.path", path),
        prefix: r.value("store.prefix", |text| identifier(text, 40)),
        installation: r.optional("store.installation", |text| identifier(text, 64)),
        deadline: r.value("store.deadline", span_in(TENTH..=MINUTE)),
        cache: r.value("store.cache", size_in(1 << 20..=64 << 30, "1MiB and 64GiB")),
    }
}

fn identifier(text: &str, longest: usize) -> Result<String, Expected> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
    if (1..=longest).contains(&text.len()) && text.chars().all(allowed) {
        Ok(text.to_owned())
    } else {
        Err(format!("not 1 to {longest} letters, digits, - and _"))
    }
}

fn mail(r: &mut Reader) -> Mail {
    Mail {
        relay: r.secret("mail.url", parsed::<RelayUrl>),
        from: r.value("mail.from", mailbox),
        rate: r.value("mail.rate", rate),
        hook_secret: r.secret("mail.hook_secret", |text| HookSecret::parse(text).map_err(|error| error.to_string())),
        templates_dir: r.optional("mail.templates_dir", path),
        timeout: r.value("mail.timeout", span_in(SECOND..=5 * MINUTE)),
    }
}

fn invitations(r: &mut Reader) -> Invitations {
    Invitations {
        ttl: r.value("invitations.ttl", span_in(SECOND..=30 * DAY)),
        max_renewals: r.value("invitations.max_renewals", count(0..=100)),
        remind_after: remind_after(r),
        lapsed_retention: r.value("invitations.lapsed_retention", span_in(DAY..=3_650 * DAY)),
        tombstone_retention: r.value("invitations.tombstone_retention", span_in(DAY..=3_650 * DAY)),
    }
}

fn remind_after(r: &mut Reader) -> Option<Vec<Duration>> {
    let spans = r.list("invitations.remind_after", |text| match text {
        "off" => Ok(None),
        _ => span(text).map(Some).map_err(|expected| format!("{expected}, or off")),
    });
    if spans.is_empty() {
        return None;
    }
    if spans.len() > 1 && spans.contains(&None) {
        r.mistake("invitations.remind_after", "off stands beside other reminders: write only [\"off\"], or no off");
    }
    Some(spans.into_iter().flatten().collect::<BTreeSet<_>>().into_iter().collect())
}

fn provisioning(r: &mut Reader) -> Provisioning {
    let brake = BrakeLimit {
        min: r.value("provisioning.brake.min", count(0..=1_000_000)),
        percent: r.value("provisioning.brake.percent", count(0..=100)),
    };
    Provisioning {
        admit: r.value("provisioning.admit", word(ADMIT)),
        admit_domains: r.pairs("provisioning.admit_domains", mail_domain, word(ADMIT)),
        account_role: r.optional("provisioning.account_role", text),
        organization: r.optional("provisioning.organization", text),
        licenses: r.list("provisioning.licenses", text),
        projects: r.list("provisioning.projects", project),
        hold_above: r.value("provisioning.hold_above", |text| match text {
            "off" => Ok(None),
            _ => count(0..=1_000_000)(text).map(Some).map_err(|expected| format!("{expected}, or off")),
        }),
        hold_until_start_date: r.value("provisioning.hold_until_start_date", switch),
        brake: r.value("provisioning.brake.enabled", switch).then_some(brake),
        unknown_members: r.value("provisioning.unknown_members", word(UnknownMembers::WORDS)),
    }
}

/// `Name` or `Name=Role`.
fn project(entry: &str) -> Result<(String, Option<String>), Expected> {
    match entry.rsplit_once('=') {
        None => Ok((text(entry)?, None)),
        Some((project, role)) => Ok((text(project)?, Some(text(role)?))),
    }
}

/// Each list is tried beside one that is right, so that it is known of which key a fault speaks.
fn roles(r: &mut Reader) -> Roles {
    let builtin = Roles::builtin();
    let account = role_list(r, "roles.account", |account| Roles::new(account, builtin.project().to_vec()));
    if let Some(first) = account.first()
        && first.name != ACCOUNT_ADMIN
    {
        // The console, the brake and the command line speak of it by this name.
        r.mistake("roles.account", format!("its first role must be \"{ACCOUNT_ADMIN}\", not \"{}\"", first.name));
    }
    let project = role_list(r, "roles.project", |project| Roles::new(builtin.account().to_vec(), project));
    Roles::new(account, project).unwrap_or(builtin)
}

fn role_list(r: &mut Reader, key: &str, beside: impl Fn(Vec<Role>) -> Result<Roles, Vec<InvalidList>>) -> Vec<Role> {
    let roles: Vec<Role> = r.tables(key).into_iter().filter_map(|entry| role(r, entry)).collect();
    for fault in beside(roles.clone()).err().unwrap_or_default() {
        r.mistake(key, fault.to_string());
    }
    roles
}

fn role(r: &mut Reader, mut entry: Entry) -> Option<Role> {
    let name = entry.required(r, "name", text);
    let description = entry.optional(r, "description", |text| Ok(text.to_owned())).unwrap_or_default();
    let permissions = entry.texts(r, "permissions");
    let default = entry.optional(r, "default", switch).unwrap_or_default();
    entry.finish(r, &["name", "description", "permissions", "default"]);
    Some(Role { name: name?, description, permissions, default })
}

fn licenses(r: &mut Reader) -> Vec<LicenseSpec> {
    let licenses: Vec<LicenseSpec> = r.tables("licenses").into_iter().filter_map(|entry| license(r, entry)).collect();
    for fault in LicenseSpec::check(&licenses).err().unwrap_or_default() {
        r.mistake("licenses", fault.to_string());
    }
    licenses
}

fn license(r: &mut Reader, mut entry: Entry) -> Option<LicenseSpec> {
    let name = entry.required(r, "name", text);
    let kind = entry.required(r, "kind", word(LICENSE_KINDS));
    let seats = entry.optional(r, "seats", count(0..=u64::from(u32::MAX)));
    if kind == Some(LicenseKind::Floating) && seats.is_some() {
        r.mistake(&format!("{}.seats", entry.key()), "a floating license has no seats: leave them out");
    }
    entry.finish(r, &["name", "kind", "seats"]);
    Some(LicenseSpec { name: name?, kind: kind?, seats })
}

fn jobs(r: &mut Reader) -> Jobs {
    let time_zone = r.value("jobs.time_zone", time_zone);
    let mut schedule = |key: &str| {
        r.value(key, |text| Schedule::parse(text, &time_zone).map_err(|error| format!("no schedule: {error}")))
    };
    Jobs {
        expire: schedule("jobs.expire"),
        renew: schedule("jobs.renew"),
        remind: schedule("jobs.remind"),
        reconcile: schedule("jobs.reconcile"),
        retention: schedule("jobs.retention"),
        digest: schedule("jobs.digest"),
        time_zone,
    }
}

fn scim(r: &mut Reader) -> Scim {
    Scim {
        default_page: r.value("scim.default_page", count(1..=10_000)),
        max_page: r.value("scim.max_page", count(1..=10_000)),
        cursor_timeout: r.value("scim.cursor_timeout", span_in(SECOND..=7 * DAY)),
        max_scan: r.value("scim.max_scan", count(100..=10_000_000)),
        filter_depth: r.value("scim.filter_depth", count(1..=200)),
        filter_length: r.value("scim.filter_length", size_in(100..=1 << 20, "100B and 1MiB")),
        bulk_operations: r.value("scim.bulk_operations", count(1..=10_000)),
        bulk_payload: r.value("scim.bulk_payload", body_size),
        bulk_deadline: r.value("scim.bulk_deadline", span_in(SECOND..=10 * MINUTE)),
        group_reply_members: r.value("scim.group_reply_members", count(0..=100_000)),
        basic: r.value("scim.basic", switch),
        issuers: issuers::of_access_tokens(r),
        table: Arc::new(schema_table(r)),
    }
}

/// Every problem of every file is a mistake of its own.
fn schema_table(r: &mut Reader) -> SchemaTable {
    let Some(directory) = r.optional("scim.schemas_dir", path) else { return SchemaTable::builtin() };
    schemas::table(&directory).unwrap_or_else(|problems| {
        for problem in problems {
            r.mistake("scim.schemas_dir", problem);
        }
        SchemaTable::builtin()
    })
}

fn bootstrap(r: &mut Reader) -> Bootstrap {
    Bootstrap {
        account: r.optional("bootstrap.account", |text| {
            text.parse::<AccountId>().map_err(|error| format!("no account id: {error}"))
        }),
        admin_email: r.optional("bootstrap.admin_email", mail_address),
        scim_token: r.secret("bootstrap.scim_token", |text| {
            ProvisioningToken::configured(text).map_err(|error| error.to_string())
        }),
    }
}
