//! What no key can say alone: whether the settings fit together, and what works but is probably not meant.

use std::time::Duration;

use super::reader::Reader;
use super::settings::Settings;
use super::values::written;
use crate::domain::roles::LicenseSpec;

/// Below this, people read their mail too late (lifecycle: "Defaults").
const SHORT_TTL: Duration = Duration::from_secs(15 * 60);

pub fn check(r: &mut Reader, settings: &Settings) {
    http(r, settings);
    issuers(r, settings);
    mail(r, settings);
    invitations(r, settings);
    // A list with mistakes is not the one that is meant, so nothing is looked up in it.
    if !r.is_wrong("roles") {
        roles(r, settings);
    }
    if !r.is_wrong("licenses") {
        licenses(r, settings);
    }
    if settings.scim.default_page > settings.scim.max_page {
        r.mistake("scim.default_page", format!("larger than max_page, which is {}", settings.scim.max_page));
    }
    if settings.bootstrap.account.is_none() && settings.bootstrap.scim_token.is_some() {
        r.mistake("bootstrap.account", "missing: scim_token is set and belongs to an account");
    }
}

fn http(r: &mut Reader, settings: &Settings) {
    let http = &settings.http;
    match &http.public_url {
        None if !http.listen.ip().is_loopback() => r.warn(
            "http.public_url",
            "not set: links in mails will only work on this machine; set the address under which people reach usherd",
        ),
        Some(url) if !url.is_https() && !url.is_loopback() => {
            r.warn("http.public_url", "not https: invitation links and sessions travel unprotected");
        }
        None | Some(_) => {}
    }
    if http.group_body_limit < http.body_limit {
        r.mistake("http.group_body_limit", "smaller than body_limit: groups need at least as much");
    }
    if settings.store.deadline > http.request_deadline {
        r.warn("store.deadline", "longer than http.request_deadline, which ends first");
    }
    let everyone = http.trusted_proxies.iter().any(|range| range.prefix_len() == 0);
    if everyone {
        r.warn("http.trusted_proxies", "trusts everybody: each client chooses the address that its limits count");
    }
}

/// What reaches an issuer has to be allowed to go there.
fn issuers(r: &mut Reader, settings: &Settings) {
    if settings.issuers.allow_private {
        return;
    }
    let openid = settings.openid.iter().map(|openid| ("openid.issuer".to_owned(), openid.issuer.as_str()));
    let of_scim = settings.scim.issuers.iter().enumerate();
    let of_scim = of_scim.map(|(index, issuer)| (format!("scim.issuers[{index}].url"), issuer.url.as_str()));
    let plain: Vec<String> =
        openid.chain(of_scim).filter(|(_, url)| !url.starts_with("https:")).map(|(key, _)| key).collect();
    for key in plain {
        r.mistake(
            &key,
            "not https: tokens of an issuer that anybody on the way can change are worth nothing; \
                         issuers.allow_private allows it for tests",
        );
    }
}

fn mail(r: &mut Reader, settings: &Settings) {
    let wants_relay = r.is_given("mail.url") || r.is_given("mail.url_file");
    if wants_relay && !r.is_given("mail.from") {
        r.mistake("mail.from", "missing: mail.url is set, so say who sends, \"usherd <no-reply@example.com>\"");
    }
    if settings.mail.relay.as_ref().is_some_and(|relay| relay.exposes_password()) {
        r.warn("mail.url", "sends the password unprotected: use smtp+starttls:// or smtps://");
    }
}

fn invitations(r: &mut Reader, settings: &Settings) {
    let invitations = &settings.invitations;
    if invitations.ttl < SHORT_TTL {
        r.warn("invitations.ttl", format!("only {}: most people will miss it", written(invitations.ttl)));
    }
    let reminders = invitations.remind_after.iter().flatten();
    if let Some(late) = reminders.copied().find(|span| *span >= invitations.ttl) {
        let text = format!("{} is not before the end of an invitation ({})", written(late), written(invitations.ttl));
        r.warn("invitations.remind_after", text);
    }
}

fn roles(r: &mut Reader, settings: &Settings) {
    let roles = &settings.roles;
    match settings.provisioning.account_role.as_deref().map(|name| roles.account_role(name)) {
        Some(Err(unknown)) => r.mistake("provisioning.account_role", unknown.to_string()),
        Some(Ok(role)) if roles.is_account_admin(&role) => {
            r.mistake("provisioning.account_role", format!("{role} would be everybody whom a provider sends"));
        }
        Some(Ok(_)) | None => {}
    }
    for name in settings.provisioning.projects.iter().filter_map(|(_, role)| role.as_deref()) {
        if let Err(unknown) = roles.project_role(name) {
            r.mistake("provisioning.projects", unknown.to_string());
        }
    }
}

fn licenses(r: &mut Reader, settings: &Settings) {
    for name in &settings.provisioning.licenses {
        if let Err(unknown) = LicenseSpec::find(&settings.licenses, name) {
            r.mistake("provisioning.licenses", unknown.to_string());
        }
    }
}
