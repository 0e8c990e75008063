//! Runs every case of the matrix through the lifecycle, and says in words where they differ.

use std::collections::BTreeSet;
use std::fmt::Debug;
use std::ops::RangeInclusive;

use usherd::domain::ids::ResourceId;
use usherd::domain::lifecycle::{
    Due, Event, LinkView, Mail, Outcome, Policy, Provider, Refusal, lapsed_for_good, may_write, next_due, transition,
    view_link,
};
use usherd::domain::roles::Roles;
use usherd::domain::time::Timestamp;
use usherd::domain::token::Generation;
use usherd::domain::user::{InvitationState, Origin, Standing, State as Code, User};

use crate::invariants::broken_invariants;
use crate::matrix::{self, Case, State};
use crate::situation::{
    CURRENT, LICENSE, NEW_ADDRESS, NEW_USER_NAME, NOW, OWN_CLIENT, Situation, afresh, client, decided_elsewhere,
    generation, lapse, side, situation,
};

/// The alert that is the operator's.
const SEND_FAILED: &str = "SendFailed";

#[test]
fn the_lifecycle_answers_every_case_as_the_matrix_says() {
    let cases = matrix::cases();
    let defined: BTreeSet<_> = cases.iter().map(|case| (case.event.clone(), case.state)).collect();
    let mut exercised = BTreeSet::new();
    let mut differences = Vec::new();
    for case in &cases {
        if let Some(where_) = decided_elsewhere(case) {
            assert!(case.expect.refusal.is_some(), "{}, decided by {where_}, must be a refusal", case.name);
            continue;
        }
        exercised.insert((case.event.clone(), case.state));
        differences.extend(run(case).into_iter().map(|difference| format!("{}: {difference}", case.name)));
    }
    println!("cells exercised {} / cells defined {}", exercised.len(), defined.len());
    assert!(differences.is_empty(), "{} differences:\n{}", differences.len(), differences.join("\n"));
    assert_eq!(exercised, defined);
}

#[test]
fn roles_above_that_of_the_actor_cannot_be_granted() {
    let roles = Roles::builtin();
    for case in matrix::cases().iter().filter(|case| case.expect.refusal.as_deref() == Some("role_above_own")) {
        let own = roles.account_role(case.given.actor_role.as_deref().expect("the actor")).expect("a role");
        assert!(!roles.may_grant(&own, &roles.administrator()), "{}", case.name);
    }
}

#[test]
fn whom_a_client_may_not_write_to_is_told_before_anything_is_decided() {
    for case in matrix::cases().iter().filter(|case| case.event.starts_with("scim_") && case.state != State::T) {
        let Situation { user, events, .. } = situation(case);
        let refused = events.iter().filter_map(provider).find_map(|by| may_write(&user, by).err());
        let expected = match case.expect.refusal.as_deref() {
            code @ Some("managed_by_another_client" | "account_admin_protected") => code,
            // A POST is refused as a duplicate.
            Some("already_exists") if case.given.other_client == Some(true) => Some("managed_by_another_client"),
            Some(_) | None => None,
        };
        assert_eq!(refused.as_ref().map(Refusal::code), expected, "{}", case.name);
    }
}

fn provider(event: &Event) -> Option<&Provider> {
    match event {
        Event::Provisioned { by, .. }
        | Event::ActiveAsserted { by, .. }
        | Event::ProfileWritten { by }
        | Event::Deprovisioned { by } => Some(by),
        _ => None,
    }
}

fn run(case: &Case) -> Vec<String> {
    let Situation { mut user, policy, events } = situation(case);
    let mut differences = Differences::default();
    if let Some(page) = &case.expect.page
        && page != "new_link"
    {
        differences.compare("page", page.as_str(), page_of(view_link(&user, generation(&case.given), NOW)));
    }
    for event in events {
        if case.expect.new_id == Some(true) {
            // The tombstone stays what it is; the caller makes a new resource beside it.
            let tombstone = transition(&user, &event, &policy, NOW).map_err(|refusal| refusal.code());
            differences.compare("tombstone", Err("not_found"), tombstone.map(|outcome| outcome.user.state()));
            user = afresh(&user);
        }
        let deleted = match event {
            Event::ResourceDeleted { id } => Some((id, id == LICENSE)),
            _ => None,
        };
        let happened = Happened { deleted, generation: Some(CURRENT), at: NOW..=NOW };
        let answer = transition(&user, &event, &policy, NOW).map(Observed::from);
        differences.answer(case, &user, &happened, &policy, answer);
    }
    differences.0
}

/// What came of an event.
#[derive(Debug, Clone, PartialEq)]
pub struct Observed {
    pub user: User,
    pub mails: Vec<Mail>,
    pub end_sessions: bool,
    /// Whether the inviter is told.
    pub note: bool,
    /// What the admins are told.
    pub alerts: Vec<String>,
}

impl From<Outcome> for Observed {
    fn from(outcome: Outcome) -> Self {
        let Outcome { user, mails, end_sessions, note, alerts } = outcome;
        let alerts = alerts.iter().map(|alert| format!("{alert:?}")).collect();
        Observed { user, mails, end_sessions, note: note.is_some(), alerts }
    }
}

/// What a comparison has to know of the event besides its case.
#[derive(Debug, Clone)]
pub struct Happened {
    /// What was deleted that people are assigned to, and whether it is a license.
    pub deleted: Option<(ResourceId, bool)>,
    /// The generation of the invitation.
    pub generation: Option<Generation>,
    pub at: RangeInclusive<Timestamp>,
}

fn page_of(view: LinkView) -> &'static str {
    match view {
        LinkView::Accept => "invitation",
        LinkView::Superseded => "superseded",
        LinkView::Expired => "expired",
        LinkView::AlreadyAccepted => "already_accepted",
        LinkView::Unknown => "generic",
    }
}

#[derive(Default)]
pub struct Differences(pub Vec<String>);

impl Differences {
    pub fn compare<T: PartialEq + Debug>(&mut self, what: &str, expected: T, actual: T) {
        if expected != actual {
            self.0.push(format!("{what} should be {expected:?}, is {actual:?}"));
        }
    }

    fn answer(
        &mut self,
        case: &Case,
        before: &User,
        happened: &Happened,
        policy: &Policy,
        answer: Result<Observed, Refusal>,
    ) {
        match (&case.expect.refusal, answer) {
            (Some(code), Err(refusal)) => {
                self.compare("refusal", code.as_str(), refusal.code());
                self.compare("alert", case.expect.effects.contains("alert"), refusal.alert().is_some());
            }
            // "same page for all": the refusal goes to the log only.
            (None, Err(refusal)) if case.event == "new_link" => {
                self.compare("state", code(case.expect.state.unwrap_or(case.state)), before.state());
                self.compare("refusal", true, ["no_license", "rate_limited", "no_address"].contains(&refusal.code()));
            }
            (Some(code), Ok(outcome)) => {
                self.0.push(format!("should be refused as {code}, becomes {:?}", outcome.user.state()));
            }
            (None, Err(refusal)) => self.0.push(format!("should not be refused, is {}", refusal.code())),
            (None, Ok(outcome)) => {
                self.0.extend(broken_invariants(&outcome.user, policy));
                if case.expect.drop {
                    self.compare("drop", unchanged(before, &outcome.user), outcome);
                } else {
                    self.outcome(case, before, happened, policy, &outcome);
                }
            }
        }
    }

    pub fn outcome(&mut self, case: &Case, before: &User, happened: &Happened, policy: &Policy, outcome: &Observed) {
        let after = &outcome.user;
        let (given, expect) = (&case.given, &case.expect);
        let state = expect.state.expect("neither a refusal nor a drop");
        self.compare("state", code(state), after.state());

        let for_a_license = happened.deleted.is_some_and(|(_, is_license)| is_license);
        let mut effects = effects(before, outcome, policy);
        if for_a_license {
            // A license takes its seats along.
            effects.remove("-lic");
        }
        self.compare("effects", expected_effects(case, before), effects);

        let lives_on = !matches!(state, State::N | State::T);
        if lives_on {
            let managed = expect.managed.unwrap_or(before.is_managed());
            self.compare("managed", managed, after.is_managed());
            let idp_active = expect.idp_active.clone().unwrap_or_else(|| asserted(before));
            self.compare("idp_active", idp_active, asserted(after));
            if case.event.starts_with("scim_") {
                self.compare("provisioned_by", Some(client(OWN_CLIENT)), after.provisioned_by.clone());
            }
        }
        let holds = match (&expect.holds, state) {
            (Some(names), _) => names.iter().map(|name| side(name).as_str()).collect(),
            (None, State::I) => sides(before),
            (None, _) => BTreeSet::new(),
        };
        self.compare("holds", holds, sides(after));
        self.pending(case, before, after, policy);

        self.compare("shortfall", expect.shortfall.unwrap_or(false), after.license_shortfall());
        self.compare("undeliverable", expect.undeliverable.unwrap_or(before.undeliverable), after.undeliverable);
        let changed_role = match given.change.as_deref() {
            Some("to_account_admin") => Some("Account Admin".to_owned()),
            Some("to_user") => Some("User".to_owned()),
            Some(_) | None => None,
        };
        let role = expect.role.clone().or(changed_role).unwrap_or_else(|| before.account_role.clone());
        self.compare("role", role.as_str(), after.account_role.as_str());
        if let Some(moved) = expect.moved {
            self.moved(case, moved, after);
        }
        if let Some(accepted) = expect.accepted {
            let at = match after.standing {
                Standing::Active { accepted: Some(accepted) } => Some((accepted.generation, accepted.at)),
                _ => None,
            };
            self.compare("accepted now", accepted, at.is_some_and(|(_, at)| happened.at.contains(&at)));
            self.compare("accepted", happened.generation, at.and_then(|(generation, _)| generation));
        }
        if let Some(session) = expect.session {
            self.compare("session", session, after.state() == Code::A && !after.link_only);
        }
        if let Some(proven) = expect.mailbox_proven {
            self.compare("mailbox_proven", proven, !after.link_only);
            self.compare("effective admin", false, after.is_effective_admin());
        }
        if let Some(listed) = expect.listed {
            let lapsed = after.is_managed() && lapsed_for_good(after, policy, *happened.at.end());
            self.compare("listed", listed, after.provider_says_active() || lapsed);
        }
        if let Some((id, _)) = happened.deleted {
            let assigned = |user: &User| {
                user.organization == Some(id)
                    || user.licenses.iter().any(|assigned| assigned.license == id)
                    || user.projects.iter().any(|assigned| assigned.project == id)
            };
            let dropped = expect.dropped_assignment == Some(true);
            self.compare("assigned", (true, !dropped), (assigned(before), assigned(after)));
        }
        if given.change.is_some() {
            self.compare("changed", true, before != after);
        }
    }

    fn pending(&mut self, case: &Case, before: &User, after: &User, policy: &Policy) {
        let expect = &case.expect;
        let (Standing::Pending { origin, invitation }, Some(state)) = (&after.standing, expect.state) else { return };
        let origin_before = match &before.standing {
            Standing::Pending { origin, .. } => Some(*origin),
            _ => None,
        };
        let origin_name = |origin: Origin| format!("{origin:?}").to_lowercase();
        let by_state = if state == State::RL { Origin::Reinvite } else { Origin::First };
        let expected_origin = expect.origin.clone().unwrap_or_else(|| origin_name(origin_before.unwrap_or(by_state)));
        self.compare("origin", expected_origin, origin_name(*origin));
        let reason = match state {
            State::PX => {
                let stays = before.invitation().and_then(|invitation| invitation.lapse());
                expect.reason.as_deref().map(lapse).or(stays)
            }
            _ => None,
        };
        self.compare("reason", reason, invitation.lapse());
        if expect.reason.as_deref() == Some("held") {
            let due = next_due(after, policy).map(|(_, due)| due);
            self.compare("due", (expect.due == Some(true)).then_some(Due::Hold), due);
        }
        if let Some(mailed) = expect.mailed.or(expect.effects.contains("+mail").then_some(true)) {
            self.compare("mailed", mailed, invitation.mailed);
        }
        if let Some(sent) = expect.sent {
            self.compare("sent", sent, invitation.sent_at.is_some());
        }
    }

    fn moved(&mut self, case: &Case, moved: bool, after: &User) {
        if case.event == "user_name_change" {
            self.compare("moved", moved, after.user_name.as_str() == NEW_USER_NAME);
        } else {
            let signs_in = after.sign_in_address.as_ref().is_some_and(|address| address.as_str() == NEW_ADDRESS);
            let waits = after.unconfirmed_address.as_ref().is_some_and(|it| it.address.as_str() == NEW_ADDRESS);
            self.compare("moved, waits", (moved, !moved), (signs_in, waits));
        }
    }
}

/// What a drop leaves behind. Reminders that were missed are counted off, else they would be due for ever.
pub fn unchanged(before: &User, after: &User) -> Observed {
    let mut user = before.clone();
    if let (Some(invitation), Some(now)) = (user.invitation_mut(), after.invitation()) {
        invitation.reminders = now.reminders;
    }
    Observed { user, mails: Vec::new(), end_sessions: false, note: false, alerts: Vec::new() }
}

fn expected_effects(case: &Case, before: &User) -> BTreeSet<String> {
    let mut effects = case.expect.effects.clone();
    if case.expect.shortfall == Some(true) && !before.license_shortfall() {
        effects.insert("alert".to_owned());
    }
    let had_invitation = matches!(case.state, State::PL | State::RL);
    if had_invitation && effects.contains("+tok") {
        // "older ones superseded" goes for their mails too (V12).
        effects.insert("-mail".to_owned());
    }
    if !had_invitation {
        for nothing_to_do in ["-tok", "-mail", "-tmr"] {
            effects.remove(nothing_to_do);
        }
    }
    if matches!(case.state, State::N | State::PX | State::I | State::T) {
        effects.remove("-lic");
    }
    if before.invitation().is_none_or(|invitation| invitation.queued.is_none()) {
        effects.remove("-mail");
    }
    effects
}

/// The effects of the lifecycle page, told from the difference that an event made.
fn effects(before: &User, outcome: &Observed, policy: &Policy) -> BTreeSet<String> {
    let after = &outcome.user;
    let live = |user: &User| {
        user.invitation().and_then(|invitation| match invitation.state {
            InvitationState::Live { expires_at } => Some((invitation.generation(), expires_at)),
            InvitationState::Lapsed { .. } => None,
        })
    };
    let (live_before, live_after) = (live(before), live(after));
    let queued = |user: &User| user.invitation().and_then(|invitation| invitation.queued);
    let seats = |user: &User| -> BTreeSet<_> {
        user.licenses.iter().filter(|assigned| assigned.seat).map(|assigned| assigned.license).collect()
    };
    let (seats_before, seats_after) = (seats(before), seats(after));
    let gained = seats_after.difference(&seats_before).next().is_some();
    let to_active = after.state() == Code::A && before.state() != Code::A;
    let timer =
        |user: &User| next_due(user, policy).filter(|(_, due)| matches!(due, Due::Expiry | Due::Reminder)).is_some();
    let has = |mail: Mail| outcome.mails.contains(&mail);

    let found = [
        ("+tok", live_after.is_some() && live_after.map(|live| live.0) != live_before.map(|live| live.0)),
        ("-tok", live_before.is_some() && live_after.is_none()),
        ("+mail", has(Mail::Invitation)),
        ("-mail", queued(before).is_some() && queued(before) != queued(after)),
        ("+tmr", timer(after) && live_after != live_before),
        ("-tmr", timer(before) && !timer(after)),
        ("+lic", gained && after.state() != Code::A),
        ("claim_lic", after.state() == Code::A && (gained || to_active && !seats_after.is_empty())),
        ("-lic", seats_before.difference(&seats_after).next().is_some()),
        ("-ses", outcome.end_sessions),
        ("note", outcome.note),
        ("alert", outcome.alerts.iter().any(|alert| alert != SEND_FAILED)),
        ("operator_alert", outcome.alerts.iter().any(|alert| alert == SEND_FAILED)),
        ("welcome", has(Mail::Welcome)),
        ("remind", has(Mail::Reminder)),
        ("confirm_mail", has(Mail::ConfirmAddress)),
        ("notice_mail", has(Mail::AddressNotice) || has(Mail::LinkUsedNotice)),
    ];
    found.into_iter().filter(|(_, happened)| *happened).map(|(effect, _)| effect.to_owned()).collect()
}

fn asserted(user: &User) -> String {
    user.idp_active.map_or_else(|| "none".to_owned(), |active| active.to_string())
}

fn sides(user: &User) -> BTreeSet<&'static str> {
    user.holds().iter().map(|hold| hold.side.as_str()).collect()
}

pub const fn code(state: State) -> Code {
    match state {
        State::N => Code::N,
        State::PL => Code::PL,
        State::PX => Code::PX,
        State::RL => Code::RL,
        State::A => Code::A,
        State::I => Code::I,
        State::T => Code::T,
    }
}
