//! What no key can say alone: whether the settings fit together, and what works but is probably not meant.

use std::time::Duration;

use super::endpoints::RelaySecurity;
use super::reader::Reader;
use super::settings::{RemindAfter, Role, Settings};
use super::values::written;

/// The name is fixed: the console, the brake and the command line speak of it.
const ACCOUNT_ADMIN: &str = "Account Admin";
/// Below this, people read their mail too late (lifecycle: "Defaults").
const SHORT_TTL: Duration = Duration::from_secs(15 * 60);
/// Shorter ones can be guessed in the long run; those that usherd makes have 43 characters.
const SHORT_TOKEN: usize = 20;

pub fn check(r: &mut Reader, settings: &Settings) {
    http(r, settings);
    mail(r, settings);
    invitations(r, settings);
    roles(r, settings);
    licenses(r, settings);
    if settings.scim.default_page > settings.scim.max_page {
        r.mistake("scim.default_page", format!("larger than max_page, which is {}", settings.scim.max_page));
    }
    match (&settings.bootstrap.account, &settings.bootstrap.scim_token) {
        (None, Some(_)) => r.mistake("bootstrap.account", "missing: scim_token is set and belongs to an account"),
        (_, Some(token)) if token.reveal().len() < SHORT_TOKEN => {
            r.warn("bootstrap.scim_token", format!("shorter than {SHORT_TOKEN} characters: make one at random"));
        }
        _ => {}
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

fn mail(r: &mut Reader, settings: &Settings) {
    let wants_relay = r.is_given("mail.url") || r.is_given("mail.url_file");
    if wants_relay && !r.is_given("mail.from") {
        r.mistake("mail.from", "missing: mail.url is set, so say who sends, \"usherd <no-reply@example.com>\"");
    }
    let Some(relay) = &settings.mail.relay else { return };
    if relay.security == RelaySecurity::Plain && relay.credentials.is_some() && !relay.is_loopback() {
        r.warn("mail.url", "sends the password unprotected: use smtp+starttls:// or smtps://");
    }
}

fn invitations(r: &mut Reader, settings: &Settings) {
    let invitations = &settings.invitations;
    if invitations.ttl < SHORT_TTL {
        r.warn("invitations.ttl", format!("only {}: most people will miss it", written(invitations.ttl)));
    }
    if let RemindAfter::Spans(spans) = &invitations.remind_after
        && let Some(late) = spans.iter().find(|span| **span >= invitations.ttl)
    {
        let text = format!("{} is not before the end of an invitation ({})", written(*late), written(invitations.ttl));
        r.warn("invitations.remind_after", text);
    }
}

fn roles(r: &mut Reader, settings: &Settings) {
    let roles = &settings.roles;
    role_list(r, "roles.account", &roles.account);
    role_list(r, "roles.project", &roles.project);
    if let Some(first) = roles.account.first() {
        if first.name != ACCOUNT_ADMIN {
            r.mistake("roles.account", format!("its first role must be \"{ACCOUNT_ADMIN}\", not {:?}", first.name));
        }
        if first.default {
            r.mistake("roles.account", format!("\"{ACCOUNT_ADMIN}\" must not be the default: everybody would be one"));
        }
    }
    if let Some(name) = &settings.provisioning.account_role {
        known(r, "provisioning.account_role", "account role", name, roles.account.iter().map(|role| &role.name));
    }
    for project in &settings.provisioning.projects {
        if let Some(name) = &project.role {
            known(r, "provisioning.projects", "project role", name, roles.project.iter().map(|role| &role.name));
        }
    }
}

fn role_list(r: &mut Reader, key: &str, roles: &[Role]) {
    twice(r, key, roles.iter().map(|role| &role.name));
    let defaults = roles.iter().filter(|role| role.default).count();
    if defaults != 1 {
        r.mistake(key, format!("{defaults} roles have default = true: exactly one must have it"));
    }
}

fn licenses(r: &mut Reader, settings: &Settings) {
    twice(r, "licenses", settings.licenses.iter().map(|license| &license.name));
    for name in &settings.provisioning.licenses {
        known(r, "provisioning.licenses", "license", name, settings.licenses.iter().map(|license| &license.name));
    }
}

fn twice<'a>(r: &mut Reader, key: &str, names: impl Iterator<Item = &'a String>) {
    let mut seen: Vec<String> = Vec::new();
    for name in names {
        let folded = name.to_lowercase();
        if seen.contains(&folded) {
            r.mistake(key, format!("{name:?} is listed twice"));
        }
        seen.push(folded);
    }
}

fn known<'a>(r: &mut Reader, key: &str, what: &str, name: &str, names: impl Iterator<Item = &'a String>) {
    let names: Vec<&str> = names.map(String::as_str).collect();
    if !names.iter().any(|known| known.to_lowercase() == name.to_lowercase()) {
        r.mistake(key, format!("{name:?} is no {what}; there are {}", names.join(", ")));
    }
}
