//! Turns what a case gives into the user, the policy and the events that it is about.

use std::time::Duration;

use usherd::domain::ids::{OutboxId, ResourceId};
use usherd::domain::lifecycle::{Admit, Assignments, Brake, Event, HoldDecision, Policy, PolicyHold, Provider};
use usherd::domain::names::{ClientName, EmailAddress, UserName};
use usherd::domain::time::Timestamp;
use usherd::domain::token::{Channel, Generation};
use usherd::domain::user::{
    Acceptance, Hold, Invitation, InvitationState, Lapse, LicenseAssignment, Minted, Origin, ProjectAssignment, Side,
    Standing, User,
};
use uuid::Uuid;

use crate::matrix::{Case, Given, State};

pub const NOW: Timestamp = Timestamp::from_millis(1_795_000_000_000);
pub const MINUTE: Duration = Duration::from_secs(60);
pub const HOUR: Duration = Duration::from_secs(60 * 60);
pub const DAY: Duration = Duration::from_secs(24 * 60 * 60);
const TTL: Duration = Duration::from_secs(7 * 24 * 60 * 60);
const MAX_RENEWALS: u32 = 2;

pub const SUPERSEDED: Generation = Generation::from_random(1);
pub const CURRENT: Generation = Generation::from_random(2);
pub const NEXT: Generation = Generation::from_random(3);

pub const LICENSE: ResourceId = ResourceId::from_uuid(Uuid::from_u128(1));
pub const OTHER_LICENSE: ResourceId = ResourceId::from_uuid(Uuid::from_u128(2));
pub const PROJECT: ResourceId = ResourceId::from_uuid(Uuid::from_u128(3));
pub const ORGANIZATION: ResourceId = ResourceId::from_uuid(Uuid::from_u128(4));
pub const LETTER: OutboxId = OutboxId::from_uuid(Uuid::from_u128(5));

pub const OWN_CLIENT: &str = "okta";
pub const OTHER_CLIENT: &str = "entra";
pub const NEW_ADDRESS: &str = "ada.king@example.com";
pub const NEW_USER_NAME: &str = "ada.king";

/// Where a case starts.
pub struct Situation {
    pub user: User,
    pub policy: Policy,
    /// Each of them must lead to what the case expects.
    pub events: Vec<Event>,
}

/// Why a case says no outside of the transition, which is not told what the case is about.
pub fn decided_elsewhere(case: &Case) -> Option<&'static str> {
    let given = &case.given;
    if given.address_taken == Some(true) || given.user_name_taken == Some(true) {
        return Some("G8: the unique indices of the store");
    }
    if given.actor_is_user == Some(true) {
        return Some("G2: who asks is known to the directory");
    }
    if given.actor_role.is_some() {
        return Some("G6: Roles::may_grant");
    }
    if case.event == "assign" && given.roles_write == Some(false) {
        return Some("G6: the scopes of the token");
    }
    if given.address_typed == Some(false) {
        return Some("the page compares what was typed");
    }
    if given.address_verified == Some(false) {
        return Some("the event is about a verified address");
    }
    None
}

pub fn situation(case: &Case) -> Situation {
    Situation { user: user(case), policy: policy(&case.given), events: events(case) }
}

/// The new resource that a POST or an invitation makes beside a tombstone.
pub fn afresh(user: &User) -> User {
    User {
        id: ResourceId::from_uuid(Uuid::from_u128(99)),
        standing: Standing::Unborn,
        provisioned_by: None,
        idp_active: None,
        ..user.clone()
    }
}

pub fn client(name: &str) -> ClientName {
    ClientName::parse(name).expect("a client name")
}

pub fn address(text: &str) -> EmailAddress {
    EmailAddress::parse(text).expect("an address")
}

pub fn person() -> User {
    let name = UserName::parse("ada").expect("a user name");
    User::unborn(ResourceId::from_uuid(Uuid::from_u128(42)), name, "User")
}

pub fn minted(generation: Generation, at: Timestamp) -> Minted {
    Minted { generation, kid: "k1".parse().expect("a key id"), at }
}

fn user(case: &Case) -> User {
    let given = &case.given;
    let managed = is_managed(case);
    let holds_seat = matches!(case.state, State::PL | State::RL | State::A) && given.shortfall != Some(true);
    let owner = if given.other_client == Some(true) { OTHER_CLIENT } else { OWN_CLIENT };
    User {
        sign_in_address: (given.has_address != Some(false)).then(|| address("ada@example.com")),
        standing: standing(case),
        idp_active: match given.idp_active.as_deref() {
            Some("true") => Some(true),
            Some("false") => Some(false),
            Some("none") => None,
            Some(other) => panic!("{}: idp_active {other}", case.name),
            None => managed.then_some(true),
        },
        external_id: managed.then(|| "00u1".to_owned()),
        provisioned_by: managed.then(|| client(owner)),
        account_role: given.role.clone().unwrap_or_else(|| "User".to_owned()),
        organization: Some(ORGANIZATION),
        licenses: vec![LicenseAssignment { license: LICENSE, seat: holds_seat }],
        projects: vec![ProjectAssignment { project: PROJECT, role: "Tester".to_owned() }],
        resends: match given.cooldown.as_deref() {
            Some("resend") => vec![NOW - 4 * MINUTE],
            Some("daily") => (1..=5).rev().map(|hours| NOW - hours * HOUR).collect(),
            Some(_) | None => Vec::new(),
        },
        ..person()
    }
}

pub fn is_managed(case: &Case) -> bool {
    let by_id = case.event.starts_with("scim_") && !case.event.starts_with("scim_post");
    case.state != State::N && case.given.managed.unwrap_or(by_id)
}

fn standing(case: &Case) -> Standing {
    let given = &case.given;
    match case.state {
        State::N => Standing::Unborn,
        State::PL | State::RL => {
            let expires_at =
                if given.expired == Some(true) { NOW } else { NOW + given.hours_left.map_or(2 * DAY, hours) };
            let invitation = Invitation {
                minted: Some(minted(CURRENT, expires_at - TTL)),
                state: InvitationState::Live { expires_at },
                sent_at: (given.first_delivery == Some(false)).then_some(NOW - HOUR),
                ..invitation(given)
            };
            Standing::Pending { origin: origin(case), invitation }
        }
        State::PX => {
            let reason = lapse(given.reason.as_deref().unwrap_or("expired"));
            let retained = if case.event == "retention_due" { 90 * DAY } else { HOUR };
            let until = (case.event == "hold_due").then_some(NOW);
            let invitation = Invitation {
                minted: (!matches!(reason, Lapse::Held | Lapse::NoAddress)).then(|| minted(CURRENT, NOW - 8 * DAY)),
                state: InvitationState::Lapsed { reason, since: NOW - retained, until },
                queued: None,
                ..invitation(given)
            };
            Standing::Pending { origin: origin(case), invitation }
        }
        State::A => Standing::Active {
            accepted: Some(Acceptance {
                generation: Some(CURRENT),
                at: NOW - given.accepted_minutes_ago.map_or(30 * DAY, |minutes| Duration::from_secs(minutes * 60)),
            }),
        },
        State::I => Standing::Inactive { holds: holds(given) },
        State::T => {
            let kept = if case.event == "tombstone_due" { 400 * DAY } else { DAY };
            Standing::Deleted { at: NOW - kept }
        }
    }
}

fn invitation(given: &Given) -> Invitation {
    Invitation {
        minted: None,
        state: InvitationState::Live { expires_at: NOW },
        sent_at: None,
        sends: 1,
        renewals: MAX_RENEWALS - given.renewals_left.unwrap_or(MAX_RENEWALS),
        reminders: 0,
        mailed: given.has_address != Some(false),
        muted: given.muted == Some(true),
        queued: Some(LETTER),
    }
}

fn hours(hours: u64) -> Duration {
    Duration::from_secs(hours * 60 * 60)
}

fn origin(case: &Case) -> Origin {
    match (case.given.origin.as_deref(), case.state) {
        (Some("reinvite"), _) | (None, State::RL) => Origin::Reinvite,
        (Some("first") | None, _) => Origin::First,
        (Some(other), _) => panic!("{}: origin {other}", case.name),
    }
}

pub fn lapse(reason: &str) -> Lapse {
    [Lapse::Held, Lapse::Expired, Lapse::Bounced, Lapse::SendFailed, Lapse::Declined, Lapse::NoAddress]
        .into_iter()
        .find(|lapse| lapse.as_str() == reason)
        .expect("a reason of the lifecycle")
}

fn holds(given: &Given) -> Vec<Hold> {
    let sides = given.holds.clone().unwrap_or_else(|| vec!["admin".to_owned()]);
    sides.iter().map(|name| Hold { side: side(name), actor: "before".to_owned(), at: NOW - DAY }).collect()
}

pub fn side(name: &str) -> Side {
    [Side::Idp, Side::Admin, Side::System].into_iter().find(|side| side.as_str() == name).expect("a side")
}

fn policy(given: &Given) -> Policy {
    let brake = match given.brake.as_deref() {
        Some("on") => Brake::On { retry_after: MINUTE },
        Some("trickle") => Brake::Trickle { retry_after: MINUTE },
        Some("off") | None => Brake::Off,
        Some(other) => panic!("brake {other}"),
    };
    let is_last_admin = given.last_admin == Some(true);
    Policy {
        admit: match given.admit.as_deref() {
            Some("invite") | None => Admit::Invite,
            Some("notify") => Admit::Notify,
            Some("silent") => Admit::Silent,
            Some(other) => panic!("admit {other}"),
        },
        hold: match given.policy_hold.as_deref() {
            Some("start_date") => Some(PolicyHold::Until(NOW + 3 * DAY)),
            Some("first_sync" | "test_token") => Some(PolicyHold::ForDecision),
            Some(other) => panic!("policy_hold {other}"),
            None => None,
        },
        free_licenses: if given.seats_free == Some(false) { Vec::new() } else { vec![LICENSE, OTHER_LICENSE] },
        is_last_admin,
        throttled: matches!(given.cooldown.as_deref(), Some("inviter" | "account")).then_some(HOUR),
        braked: brake.against(is_last_admin),
        ..defaults(minted(NEXT, NOW))
    }
}

/// The policy of an account that has set nothing.
pub fn defaults(mint: Minted) -> Policy {
    Policy {
        admit: Admit::Invite,
        hold: None,
        ttl: TTL,
        max_renewals: MAX_RENEWALS,
        remind_after: None,
        mint,
        free_licenses: vec![LICENSE, OTHER_LICENSE],
        is_last_admin: false,
        throttled: None,
        braked: None,
        default_account_role: "User".to_owned(),
        lapsed_retention: 90 * DAY,
        tombstone_retention: 400 * DAY,
    }
}

/// The generation that the link or the mail of a case carries.
pub fn generation(given: &Given) -> Generation {
    match given.generation.as_deref() {
        Some("superseded") => SUPERSEDED,
        Some("current") | None => CURRENT,
        Some(other) => panic!("generation {other}"),
    }
}

fn events(case: &Case) -> Vec<Event> {
    let given = &case.given;
    let by = Provider {
        client: client(OWN_CLIENT),
        takeover: given.takeover == Some(true),
        roles_write: given.roles_write != Some(false),
    };
    let actor = "grace".to_owned();
    let generation = generation(given);
    let mailed = Some(generation);
    let event = match case.event.as_str() {
        "scim_post_true" => Event::Provisioned { active: true, by },
        "scim_post_false" => Event::Provisioned { active: false, by },
        "scim_active_true_edge" | "scim_active_true_no_edge" => Event::ActiveAsserted { active: true, by },
        "scim_active_false" => Event::ActiveAsserted { active: false, by },
        "scim_profile_only" | "scim_put_without_active" => Event::ProfileWritten { by },
        "scim_delete" => Event::Deprovisioned { by },
        "address_change" => Event::AddressChanged { to: address(NEW_ADDRESS) },
        "user_name_change" => Event::UserNameChanged { to: UserName::parse(NEW_USER_NAME).expect("a user name") },
        "invite" => Event::Invited { reactivate: given.flag == Some(true) },
        "import_active" => Event::Imported { active: true, actor },
        "import_inactive" => Event::Imported { active: false, actor },
        "resend" => Event::ResendAsked,
        "copy_link" => Event::LinkCopied,
        "revoke" => Event::Revoked { actor },
        "release" => Event::Released { actor },
        "deactivate" => Event::Deactivated { actor },
        "erase" => Event::Erased,
        "assign" => {
            let side = if given.by.as_deref() == Some("scim") { Side::Idp } else { Side::Admin };
            Event::Assigned { changes: changes(given), side }
        }
        "accept_current" | "accept_stale" => {
            let channel = match given.channel.as_deref() {
                Some("mail") | None => Channel::Mail,
                Some("link") => Channel::Link,
                Some("console") => Channel::Console,
                Some(other) => panic!("channel {other}"),
            };
            Event::Accepted { generation, channel }
        }
        "oidc_sign_in" => Event::SignedIn,
        "decline" => Event::Declined { generation },
        "new_link" => Event::NewLinkAsked,
        "hold_due" => Event::HoldDecided(HoldDecision::Due),
        "hold_send" => Event::HoldDecided(HoldDecision::Send),
        "hold_admit" => Event::HoldDecided(HoldDecision::Admit),
        "hold_drop" => Event::HoldDecided(HoldDecision::Drop { actor }),
        "expiry_due" => Event::ExpiryDue,
        "reminder_due" => Event::ReminderDue,
        "renewal_due" => Event::RenewalDue,
        "retention_due" => Event::RetentionDue,
        "tombstone_due" => Event::TombstoneDue,
        "relay_accepted" => Event::MailAccepted { generation: mailed },
        "hard_bounce" => Event::MailBounced { generation: mailed },
        "retries_exhausted" => Event::MailGivenUp { generation: mailed },
        "quota_lowered" => Event::QuotaLowered { lost: vec![LICENSE] },
        "assignment_deleted" => {
            return [ORGANIZATION, PROJECT, LICENSE].map(|id| Event::ResourceDeleted { id }).to_vec();
        }
        // A look, which `view_link` answers.
        "open_link" => return Vec::new(),
        other => panic!("no event {other}"),
    };
    vec![event]
}

fn changes(given: &Given) -> Assignments {
    match given.change.as_deref() {
        Some("project") => Assignments { projects: Some(Vec::new()), ..Assignments::default() },
        Some("organization") => Assignments { organization: Some(None), ..Assignments::default() },
        Some("license") => Assignments {
            licenses: Some(vec![LicenseAssignment { license: OTHER_LICENSE, seat: false }]),
            ..Assignments::default()
        },
        Some("to_account_admin") => {
            Assignments { account_role: Some("Account Admin".to_owned()), ..Assignments::default() }
        }
        Some("to_user") => Assignments { account_role: Some("User".to_owned()), ..Assignments::default() },
        Some(other) => panic!("change {other}"),
        None => Assignments::default(),
    }
}
