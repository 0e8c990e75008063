//! User Detail: everything the guide lists of one person, and what can be done.

use askama::Template;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::http::request::Parts;
use axum::response::Response;
use serde_json::Value;

use super::format::{self, Badge};
use super::frame::Frame;
use super::gate::{Away, Desk, answer};
use crate::directory::audit::{AuditEvent, Door};
use crate::directory::console::UserDetail;
use crate::directory::outbox::Letter;
use crate::directory::record::UserRecord;
use crate::domain::text::safe_line;
use crate::domain::user::{State as LifecycleState, Status};
use crate::http::pages::Page;
use crate::http::service::Service;

const ENTERPRISE: &str = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User";
/// A contact detail is shown up to so many characters.
const LINE: usize = 200;

struct Detail {
    term: &'static str,
    values: Vec<String>,
}

struct License {
    name: String,
    seat: bool,
}

struct Project {
    name: String,
    role: String,
    href: String,
}

/// A project role that comes through a group.
struct Through {
    name: String,
    role: String,
    group: String,
    href: String,
}

struct OpenSession {
    began: String,
    seen: String,
    /// The one by which this page is shown.
    is_this: bool,
    end: String,
}

struct InvitationPanel {
    facts: Vec<Detail>,
}

pub struct Happened {
    pub at: String,
    pub machine: String,
    pub what: String,
    pub by: String,
}

#[derive(Template)]
#[template(path = "console/user.html")]
struct UserTemplate {
    frame: Frame,
    href: String,
    back: String,
    name: String,
    initials: String,
    picture: Option<String>,
    user_name: String,
    badge: Badge,
    managed_by: Option<String>,
    is_self: bool,
    contact: Vec<Detail>,
    start_date: Option<String>,
    account_role: String,
    is_admin: bool,
    organization: Option<String>,
    licenses: Vec<License>,
    wants_seats: bool,
    projects: Vec<Project>,
    through: Vec<Through>,
    invitation: Option<InvitationPanel>,
    invitable: bool,
    revocable: bool,
    can_deactivate: bool,
    editable: bool,
    releasable: bool,
    erasable: bool,
    sessions: Vec<OpenSession>,
    events: Vec<Happened>,
}

/// `GET /admin/{account}/users/{user}`.
pub(super) async fn show(
    State(service): State<Service>,
    Path((account, user)): Path<(String, String)>,
    head: Parts,
) -> Response {
    answer(try_show(&service, &account, &user, &head).await)
}

async fn try_show(service: &Service, account: &str, user: &str, head: &Parts) -> Result<Response, Away> {
    let desk = Desk::enter(service, account, head).await?;
    let detail = service.directory.user_detail(&desk.context, user).await.map_err(|error| desk.failed(&error))?;
    Ok(desk.page(Page::render(StatusCode::OK, &template(&desk, &detail))))
}

fn template(desk: &Desk, detail: &UserDetail) -> UserTemplate {
    let record = &detail.record;
    let user = &record.user;
    let href = desk.path(&format!("/users/{}", user.id));
    let name = format::name(record);
    let named = |id: &_| record.names.get(id).cloned().unwrap_or_else(|| "(no name)".to_owned());
    let state = user.state();
    UserTemplate {
        frame: desk.frame("users"),
        back: desk.path("/users"),
        initials: format::initials(&name),
        picture: format::picture(record, &desk.service.settings.photo_hosts),
        user_name: user.user_name.as_str().to_owned(),
        badge: format::badge(record, desk.context.now),
        managed_by: user.provisioned_by.as_ref().map(|client| client.to_string()),
        is_self: user.id == desk.admin.user,
        contact: contact(record),
        start_date: user.employment_start_date.map(format::day),
        account_role: user.account_role.clone(),
        is_admin: user.account_role == crate::domain::user::ACCOUNT_ADMIN,
        organization: user.organization.as_ref().map(named),
        licenses: user
            .licenses
            .iter()
            .map(|assigned| License { name: named(&assigned.license), seat: assigned.seat })
            .collect(),
        wants_seats: matches!(state, LifecycleState::PL | LifecycleState::RL | LifecycleState::A),
        projects: user
            .projects
            .iter()
            .map(|assigned| Project {
                name: named(&assigned.project),
                role: assigned.role.clone(),
                href: format!("{href}/projects/{}", assigned.project),
            })
            .collect(),
        through: detail
            .indirect
            .iter()
            .map(|indirect| Through {
                name: shown(&indirect.grant.name),
                role: indirect.grant.role.clone(),
                group: shown(&indirect.group_name),
                href: desk.path(&format!("/groups/{}", indirect.group)),
            })
            .collect(),
        invitation: invitation(record, detail.queued.as_ref()),
        invitable: matches!(user.status(), Some(Status::Pending | Status::Inactive)),
        revocable: user.status() == Some(Status::Pending),
        can_deactivate: user.status() != Some(Status::Inactive),
        editable: user.provisioned_by.is_none(),
        releasable: user.provisioned_by.is_some(),
        erasable: user.status() != Some(Status::Active),
        sessions: detail
            .sessions
            .iter()
            .map(|session| OpenSession {
                began: format::instant(session.began),
                seen: format::instant(session.seen),
                is_this: session.hash == desk.token.hash(),
                end: format!("{href}/sessions/{}/end", session.id()),
            })
            .collect(),
        events: detail.events.iter().map(happened).collect(),
        name,
        href,
    }
}

fn contact(record: &UserRecord) -> Vec<Detail> {
    let profile = &record.profile;
    let text = |name: &str| profile.get(name).and_then(Value::as_str).map(shown).into_iter().collect::<Vec<_>>();
    let enterprise = |name: &str| profile.get(ENTERPRISE).and_then(|extension| extension.get(name)).cloned();
    let department = enterprise("department").as_ref().and_then(Value::as_str).map(shown);
    let manager = enterprise("manager").and_then(|manager| manager["displayName"].as_str().map(shown));
    let sign_in = record.user.sign_in_address.as_ref().map(|address| address.as_str().to_owned());
    let details = [
        Detail { term: "Signs in with", values: sign_in.into_iter().collect() },
        Detail { term: "E-mail", values: listed(profile.get("emails"), "value") },
        Detail { term: "Phone", values: listed(profile.get("phoneNumbers"), "value") },
        Detail { term: "Address", values: addresses(profile.get("addresses")) },
        Detail { term: "Title", values: text("title") },
        Detail { term: "Department", values: department.into_iter().collect() },
        Detail { term: "Manager", values: manager.into_iter().collect() },
    ];
    details.into_iter().filter(|detail| !detail.values.is_empty()).collect()
}

/// The values of a multi-valued attribute, each with its type.
fn listed(values: Option<&Value>, part: &str) -> Vec<String> {
    let values = values.and_then(Value::as_array).into_iter().flatten();
    let worded = |item: &Value| {
        let value = shown(item.get(part)?.as_str()?);
        Some(match item.get("type").and_then(Value::as_str) {
            Some(kind) => format!("{value} ({})", shown(kind)),
            None => value,
        })
    };
    values.filter_map(worded).take(10).collect()
}

fn addresses(values: Option<&Value>) -> Vec<String> {
    const PARTS: [&str; 5] = ["streetAddress", "postalCode", "locality", "region", "country"];
    let values = values.and_then(Value::as_array).into_iter().flatten();
    let worded = |item: &Value| {
        let parts = PARTS.iter().filter_map(|part| item.get(part).and_then(Value::as_str));
        let line = parts.map(shown).collect::<Vec<_>>().join(", ");
        if line.is_empty() { item.get("formatted").and_then(Value::as_str).map(shown) } else { Some(line) }
    };
    values.filter_map(worded).take(5).collect()
}

fn shown(text: &str) -> String {
    safe_line(text, LINE)
}

fn invitation(record: &UserRecord, queued: Option<&Letter>) -> Option<InvitationPanel> {
    let invitation = record.user.invitation()?;
    let fact = |term, value: Option<String>| Detail { term, values: value.into_iter().collect() };
    let reply = queued.and_then(|letter| letter.last_reply.as_deref()).map(shown);
    let facts = vec![
        fact("Sent", Some(invitation.sent_at.map_or_else(|| "not yet".to_owned(), format::instant))),
        fact("Expires", invitation.expires_at().map(format::instant)),
        fact("Times sent", Some(invitation.sends.to_string())),
        fact("Waiting to be sent since", queued.map(|letter| format::instant(letter.created))),
        fact("Last answer of the mail server", reply),
    ];
    Some(InvitationPanel { facts: facts.into_iter().filter(|fact| !fact.values.is_empty()).collect() })
}

pub(super) fn happened(event: &AuditEvent) -> Happened {
    Happened {
        at: format::instant(event.at),
        machine: event.at.to_string(),
        what: match (&event.refused, event.times) {
            (None, _) => what_happened(event),
            (Some(code), 1) => format!("Refused ({code}): {}", what_happened(event)),
            (Some(code), times) => format!("Refused {times} times ({code}): {}", what_happened(event)),
        },
        by: match event.actor.channel {
            Door::Scim => format!("{} over SCIM", event.actor.name),
            Door::Api => format!("{} over the API", event.actor.name),
            Door::Console => "an Account Admin in the console".to_owned(),
            Door::Cli => "the operator at the command line".to_owned(),
            Door::Invitee => "the person themselves".to_owned(),
            Door::System => "usherd itself".to_owned(),
        },
    }
}

/// The name of an event in words; one that has none here is told as it is.
fn what_happened(event: &AuditEvent) -> String {
    let known = match event.event.as_str() {
        "user.provisioned" => "Provisioned",
        "user.invited" => "Invited",
        "user.imported" => "Imported from a list",
        "user.exported" => "User directory exported",
        "user.accepted" => "Accepted the invitation",
        "user.declined" => "Declined the invitation",
        "user.resend_asked" => "Invitation sent again",
        "user.link_copied" => "Invitation link copied",
        "user.invitation_revoked" => "Invitation revoked",
        "user.invitation_expired" => "Invitation expired",
        "user.invitation_renewed" => "Invitation renewed",
        "user.reminded" => "Reminded of the invitation",
        "user.deactivated" => "Deactivated",
        "user.profile_edited" => "Profile edited",
        "user.assigned" => "Assignments changed",
        "user.released" => "Released from the identity provider",
        "user.mailbox_proven" => "Mailbox proven",
        "user.address_confirmed" => "New address confirmed",
        "user.new_link_asked" => "Asked for a new link",
        "mail.accepted" => "Mail taken by the mail server",
        "mail.bounced" => "Mail bounced",
        "mail.given_up" => "Mail could not be sent",
        "session.code_asked" => "Sign-in code asked for",
        "session.code_wrong" => "Wrong sign-in code",
        "session.ended_by_admin" => "Session ended",
        "session.proven" => "Proved who they are",
        "session.signed_in" => "Signed in",
        other => return format::sentence(&other.replace(['.', '_'], " ")).trim_end_matches('.').to_owned(),
    };
    let mut words = known.to_owned();
    if let (Some(before), Some(after)) = (&event.before, &event.after)
        && before != after
    {
        words += &format!(": {before} → {after}");
    } else if !event.attributes.is_empty() {
        // Names of extensions are long, and their attributes tell enough.
        let short = event.attributes.iter().map(|name| name.rsplit(':').next().unwrap_or(name));
        words += &format!(": {}", short.collect::<Vec<_>>().join(", "));
    }
    words
}
