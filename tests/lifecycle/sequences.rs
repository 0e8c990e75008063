//! What stays true whatever happens to a user, in whatever order.

use std::time::Duration;

use proptest::prelude::*;
use proptest::sample::select;
use usherd::domain::ids::{OutboxId, ResourceId};
use usherd::domain::lifecycle::{
    Admit, Assignments, Due, Event, HoldDecision, Mail, Policy, PolicyHold, Provider, Refusal, next_due, transition,
};
use usherd::domain::names::UserName;
use usherd::domain::time::Timestamp;
use usherd::domain::token::{Channel, Generation};
use usherd::domain::user::{
    ACCOUNT_ADMIN, Acceptance, Hold, Invitation, InvitationState, Lapse, LicenseAssignment, Origin, ProjectAssignment,
    Side, Standing, State, User,
};
use uuid::Uuid;

use crate::invariants::broken_invariants;
use crate::situation::{
    CURRENT, DAY, HOUR, LETTER, LICENSE, MINUTE, NEW_ADDRESS, NEW_USER_NAME, NOW, ORGANIZATION, OTHER_CLIENT,
    OTHER_LICENSE, OWN_CLIENT, PROJECT, SUPERSEDED, address, client, defaults, minted, person,
};

/// An event before it is known which generation the user will have by then.
#[derive(Debug, Clone)]
enum Happening {
    Plain(Event),
    Accept { stale: bool, channel: Channel },
    Decline { stale: bool },
    Mute { stale: bool },
    Mail { stale: bool, kind: MailEvent },
    ConfirmAddress { stale: bool },
}

#[derive(Debug, Clone, Copy)]
enum MailEvent {
    Accepted,
    Bounced,
    GivenUp,
}

/// One step: time passes, the policy is what it is by then, something happens.
#[derive(Debug, Clone)]
struct Turn {
    passes: Duration,
    admit: Admit,
    hold: Option<PolicyHold>,
    free_licenses: Vec<ResourceId>,
    is_last_admin: bool,
    braked: bool,
    throttled: bool,
    happening: Happening,
}

impl Turn {
    fn policy(&self, number: u64, now: Timestamp) -> Policy {
        Policy {
            admit: self.admit,
            hold: self.hold,
            free_licenses: self.free_licenses.clone(),
            is_last_admin: self.is_last_admin,
            braked: self.braked.then_some(MINUTE),
            throttled: self.throttled.then_some(HOUR),
            ..defaults(minted(Generation::from_random(100 + number), now))
        }
    }

    fn event(&self, user: &User) -> Event {
        let current = match &user.standing {
            Standing::Pending { invitation, .. } => invitation.generation(),
            Standing::Active { accepted } => accepted.and_then(|accepted| accepted.generation),
            Standing::Unborn | Standing::Inactive { .. } | Standing::Deleted { .. } => None,
        };
        let generation = |stale: bool| if stale { SUPERSEDED } else { current.unwrap_or(CURRENT) };
        match &self.happening {
            Happening::Plain(event) => event.clone(),
            Happening::Accept { stale, channel } => {
                Event::Accepted { generation: generation(*stale), channel: *channel }
            }
            Happening::Decline { stale } => Event::Declined { generation: generation(*stale) },
            Happening::Mute { stale } => Event::RemindersMuted { generation: generation(*stale) },
            Happening::Mail { stale, kind } => {
                let generation = Some(generation(*stale));
                match kind {
                    MailEvent::Accepted => Event::MailAccepted { generation },
                    MailEvent::Bounced => Event::MailBounced { generation },
                    MailEvent::GivenUp => Event::MailGivenUp { generation },
                }
            }
            Happening::ConfirmAddress { stale } => {
                let waiting = user.unconfirmed_address.as_ref().map(|waiting| waiting.minted.generation);
                let generation = if *stale { SUPERSEDED } else { waiting.unwrap_or(SUPERSEDED) };
                Event::AddressConfirmed { generation }
            }
        }
    }
}

fn provider() -> impl Strategy<Value = Provider> {
    (select(vec![OWN_CLIENT, OTHER_CLIENT]), any::<bool>(), any::<bool>())
        .prop_map(|(name, takeover, roles_write)| Provider { client: client(name), takeover, roles_write })
}

fn assignments() -> impl Strategy<Value = Assignments> {
    let license = |license| LicenseAssignment { license, seat: false };
    select(vec![
        Assignments { account_role: Some(ACCOUNT_ADMIN.to_owned()), ..Assignments::default() },
        Assignments { account_role: Some("User".to_owned()), ..Assignments::default() },
        Assignments { organization: Some(None), ..Assignments::default() },
        Assignments { projects: Some(Vec::new()), ..Assignments::default() },
        Assignments { licenses: Some(vec![license(OTHER_LICENSE)]), ..Assignments::default() },
        Assignments { licenses: Some(vec![license(LICENSE), license(OTHER_LICENSE)]), ..Assignments::default() },
    ])
}

fn happening() -> impl Strategy<Value = Happening> {
    let scim = prop_oneof![
        (any::<bool>(), provider()).prop_map(|(active, by)| Event::Provisioned { active, by }),
        (any::<bool>(), provider()).prop_map(|(active, by)| Event::ActiveAsserted { active, by }),
        provider().prop_map(|by| Event::ProfileWritten { by }),
        provider().prop_map(|by| Event::Deprovisioned { by }),
        select(vec![NEW_ADDRESS, "ada@example.com"]).prop_map(|to| Event::AddressChanged { to: address(to) }),
        Just(Event::UserNameChanged { to: UserName::parse(NEW_USER_NAME).expect("a user name") }),
    ];
    let actor = || "grace".to_owned();
    let admin = prop_oneof![
        any::<bool>().prop_map(|reactivate| Event::Invited { reactivate }),
        any::<bool>().prop_map(|active| Event::Imported { active, actor: "grace".to_owned() }),
        select(vec![
            Event::ResendAsked,
            Event::LinkCopied,
            Event::Revoked { actor: actor() },
            Event::Released { actor: actor() },
            Event::Deactivated { actor: actor() },
            Event::Erased,
        ]),
        (assignments(), select(vec![Side::Idp, Side::Admin]))
            .prop_map(|(changes, side)| Event::Assigned { changes, side }),
        Just(Event::QuotaLowered { lost: vec![LICENSE] }),
        select(vec![ORGANIZATION, PROJECT, LICENSE]).prop_map(|id| Event::ResourceDeleted { id }),
    ];
    let by_itself = select(vec![
        Event::SignedIn,
        Event::MailboxProven,
        Event::NewLinkAsked,
        Event::HoldDecided(HoldDecision::Due),
        Event::HoldDecided(HoldDecision::Send),
        Event::HoldDecided(HoldDecision::Admit),
        Event::HoldDecided(HoldDecision::Drop { actor: actor() }),
        Event::ExpiryDue,
        Event::ReminderDue,
        Event::RenewalDue,
        Event::RetentionDue,
        Event::TombstoneDue,
    ]);
    prop_oneof![
        3 => scim.prop_map(Happening::Plain),
        3 => admin.prop_map(Happening::Plain),
        3 => by_itself.prop_map(Happening::Plain),
        1 => (any::<bool>(), select(vec![Channel::Mail, Channel::Link, Channel::Console]))
            .prop_map(|(stale, channel)| Happening::Accept { stale, channel }),
        1 => any::<bool>().prop_map(|stale| Happening::Decline { stale }),
        1 => any::<bool>().prop_map(|stale| Happening::Mute { stale }),
        1 => (any::<bool>(), select(vec![MailEvent::Accepted, MailEvent::Bounced, MailEvent::GivenUp]))
            .prop_map(|(stale, kind)| Happening::Mail { stale, kind }),
        1 => any::<bool>().prop_map(|stale| Happening::ConfirmAddress { stale }),
    ]
}

fn turn() -> impl Strategy<Value = Turn> {
    let holds = vec![None, None, Some(PolicyHold::ForDecision), Some(PolicyHold::Until(NOW + 20 * DAY))];
    let admits = vec![Admit::Invite, Admit::Invite, Admit::Invite, Admit::Notify, Admit::Silent];
    let seats = vec![vec![LICENSE, OTHER_LICENSE], vec![LICENSE], vec![]];
    let rarely = || prop::bool::weighted(0.2);
    (
        select(vec![Duration::ZERO, MINUTE, 6 * MINUTE, DAY, 4 * DAY, 8 * DAY, 100 * DAY]),
        select(admits),
        select(holds),
        select(seats),
        (rarely(), rarely(), rarely()),
        happening(),
    )
        .prop_map(|(passes, admit, hold, free_licenses, (is_last_admin, braked, throttled), happening)| Turn {
            passes,
            admit,
            hold,
            free_licenses,
            is_last_admin,
            braked,
            throttled,
            happening,
        })
}

fn standing() -> impl Strategy<Value = Standing> {
    let origin = || select(vec![Origin::First, Origin::Reinvite]);
    let live = Invitation {
        minted: Some(minted(CURRENT, NOW - DAY)),
        state: InvitationState::Live { expires_at: NOW + 6 * DAY },
        sent_at: None,
        sends: 1,
        renewals: 0,
        reminders: 0,
        mailed: true,
        muted: false,
        queued: Some(LETTER),
    };
    let lapsed = live.clone();
    let reasons =
        vec![Lapse::Held, Lapse::Expired, Lapse::Bounced, Lapse::SendFailed, Lapse::Declined, Lapse::NoAddress];
    let lapsed_by = move |reason| Invitation {
        state: InvitationState::Lapsed { reason, since: NOW, until: (reason == Lapse::Held).then_some(NOW + DAY) },
        queued: None,
        ..lapsed.clone()
    };
    let sides = prop::sample::subsequence(vec![Side::Idp, Side::Admin, Side::System], 0..=3);
    prop_oneof![
        Just(Standing::Unborn),
        (origin(), any::<bool>(), any::<bool>()).prop_map(move |(origin, mailed, muted)| Standing::Pending {
            origin,
            invitation: Invitation { mailed, muted, ..live.clone() }
        }),
        (origin(), select(reasons))
            .prop_map(move |(origin, reason)| Standing::Pending { origin, invitation: lapsed_by(reason) }),
        Just(Standing::Active { accepted: Some(Acceptance { generation: Some(CURRENT), at: NOW }) }),
        Just(Standing::Active { accepted: None }),
        sides.prop_map(|sides| Standing::Inactive {
            holds: sides.into_iter().map(|side| Hold { side, actor: "before".to_owned(), at: NOW }).collect()
        }),
        Just(Standing::Deleted { at: NOW }),
    ]
}

fn user() -> impl Strategy<Value = User> {
    (
        standing(),
        prop::option::of(select(vec![OWN_CLIENT, OTHER_CLIENT])),
        prop::option::of(any::<bool>()),
        prop::bool::weighted(0.8),
        select(vec!["User", ACCOUNT_ADMIN]),
        any::<bool>(),
    )
        .prop_map(|(standing, owner, idp_active, has_address, role, seat)| {
            let mut user = User {
                standing,
                sign_in_address: has_address.then(|| address("ada@example.com")),
                provisioned_by: owner.map(client),
                idp_active: owner.and(idp_active),
                account_role: role.to_owned(),
                organization: Some(ORGANIZATION),
                projects: vec![ProjectAssignment { project: PROJECT, role: "Tester".to_owned() }],
                ..person()
            };
            let may_hold = matches!(user.state(), State::PL | State::RL | State::A);
            user.licenses = vec![LicenseAssignment { license: LICENSE, seat: seat && may_hold }];
            user
        })
}

/// What the caller does with an outcome: the mail that was asked for waits in the outbox.
fn committed(mut user: User, mails: &[Mail], number: u64) -> User {
    let waits = mails.iter().any(|mail| matches!(mail, Mail::Invitation | Mail::Reminder));
    if let Some(invitation) = user.invitation_mut()
        && waits
    {
        invitation.queued = Some(OutboxId::from_uuid(Uuid::from_u128(u128::from(number))));
    }
    user
}

/// Why somebody may become Active by this event; `None` when there is no good reason.
fn way_in(before: &User, event: &Event, policy: &Policy, now: Timestamp) -> Option<&'static str> {
    match event {
        Event::Accepted { generation, .. } => {
            let invitation = before.invitation()?;
            let open = invitation.expires_at().is_some_and(|expires_at| expires_at > now);
            (open && invitation.generation() == Some(*generation)).then_some("accepted")
        }
        Event::Imported { active: true, .. } => (before.state() == State::N).then_some("imported, who was not here"),
        Event::SignedIn => before.is_managed().then_some("signed in at the issuer"),
        Event::HoldDecided(HoldDecision::Admit) => {
            let held = before.invitation().and_then(Invitation::lapse) == Some(Lapse::Held);
            held.then_some("admitted by an admin")
        }
        Event::Provisioned { active: true, .. } | Event::ActiveAsserted { active: true, .. } => {
            (policy.admit != Admit::Invite).then_some("admitted by the policy")
        }
        _ => None,
    }
}

fn is_by_provider(event: &Event) -> bool {
    matches!(
        event,
        Event::Provisioned { .. }
            | Event::ActiveAsserted { .. }
            | Event::ProfileWritten { .. }
            | Event::Deprovisioned { .. }
    )
}

fn is_reinvite(event: &Event) -> bool {
    matches!(event, Event::Invited { .. } | Event::ResendAsked | Event::LinkCopied)
}

/// Lets the turns happen one after another, and hands each that was not refused to `check`.
fn play(
    mut user: User,
    turns: &[Turn],
    mut check: impl FnMut(&User, &Event, &Policy, Timestamp, &User, &[Mail]) -> Result<(), TestCaseError>,
) -> Result<(), TestCaseError> {
    let mut now = NOW;
    for (number, turn) in (1..).zip(turns) {
        now = now + turn.passes;
        let (event, policy) = (turn.event(&user), turn.policy(number, now));
        if let Ok(outcome) = transition(&user, &event, &policy, now) {
            let after = committed(outcome.user, &outcome.mails, number);
            check(&user, &event, &policy, now, &after, &outcome.mails)?;
            user = after;
        }
    }
    Ok(())
}

fn turns() -> impl Strategy<Value = Vec<Turn>> {
    prop::collection::vec(turn(), 1..30)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    #[test]
    fn no_sequence_of_events_breaks_an_invariant(user in user(), turns in turns()) {
        play(user, &turns, |_, event, policy, _, after, _| {
            prop_assert_eq!(broken_invariants(after, policy), Vec::<String>::new(), "after {:?}", event);
            Ok(())
        })?;
    }

    #[test]
    fn nobody_becomes_active_without_accepting_being_admitted_or_signing_in(user in user(), turns in turns()) {
        play(user, &turns, |before, event, policy, now, after, _| {
            let enters = after.state() == State::A && before.state() != State::A;
            prop_assert!(!enters || way_in(before, event, policy, now).is_some(), "{:?} of {:?}", event, before);
            Ok(())
        })?;
    }

    #[test]
    fn no_provider_lifts_the_hold_of_an_admin(user in user(), turns in turns()) {
        play(user, &turns, |before, event, _, _, after, _| {
            let lifted = before.held_by(Side::Admin) && !after.held_by(Side::Admin);
            let deleted = after.state() == State::T;
            prop_assert!(!is_by_provider(event) || !lifted || deleted, "{:?}", event);
            Ok(())
        })?;
    }

    #[test]
    fn no_click_of_an_admin_revives_whom_the_provider_removed(user in user(), turns in turns()) {
        play(user, &turns, |before, event, _, _, _, _| {
            prop_assert!(!is_reinvite(event) || !before.held_by(Side::Idp), "{:?} was not refused", event);
            Ok(())
        })?;
    }

    #[test]
    fn nobody_leaves_inactive_by_a_timer_a_mail_or_the_invitee(user in user(), turns in turns()) {
        play(user, &turns, |before, event, _, _, after, _| {
            let returns = before.state() == State::I && after.scim_active();
            let asked = is_reinvite(event)
                || matches!(event, Event::Provisioned { active: true, .. } | Event::ActiveAsserted { active: true, .. });
            prop_assert!(!returns || asked, "{:?}", event);
            Ok(())
        })?;
    }

    #[test]
    fn nobody_comes_back_as_an_account_admin_by_an_old_role(user in user(), turns in turns()) {
        play(user, &turns, |before, event, _, _, after, _| {
            let was_out = match &before.standing {
                Standing::Inactive { .. } | Standing::Pending { origin: Origin::Reinvite, .. } => true,
                Standing::Unborn | Standing::Pending { .. } | Standing::Active { .. } | Standing::Deleted { .. } => false,
            };
            prop_assert!(!was_out || !after.is_effective_admin(), "{:?}", event);
            Ok(())
        })?;
    }

    #[test]
    fn mails_go_to_who_has_a_live_invitation_and_an_address_and_wants_them(user in user(), turns in turns()) {
        play(user, &turns, |before, event, _, _, after, mails| {
            let invited = mails.iter().any(|mail| matches!(mail, Mail::Invitation | Mail::Reminder));
            let live = after.invitation().is_some_and(Invitation::is_live) && after.sign_in_address.is_some();
            prop_assert!(!invited || live, "{:?}", event);
            let muted = before.invitation().is_some_and(|invitation| invitation.muted);
            prop_assert!(!muted || !mails.contains(&Mail::Reminder), "{:?} though muted", event);
            Ok(())
        })?;
    }

    #[test]
    fn a_braked_client_takes_access_from_nobody(user in user(), turns in turns()) {
        play(user, &turns, |before, event, policy, _, after, _| {
            let loses = before.state() == State::A && after.state() != State::A;
            prop_assert!(!loses || !is_by_provider(event) || policy.braked.is_none(), "{:?}", event);
            Ok(())
        })?;
    }

    /// Each timer that fires leaves another one behind or none: none fires for ever.
    #[test]
    fn timers_run_out_when_nobody_does_anything(user in user(), turns in turns(), late in 0_u64..1_000_000) {
        let mut last = user.clone();
        play(user, &turns, |_, _, _, _, after, _| {
            last = after.clone();
            Ok(())
        })?;
        let mut fired = Vec::new();
        for number in 1_u64.. {
            let mut policy = defaults(minted(Generation::from_random(9_000 + number), NOW));
            let Some((due_at, due)) = next_due(&last, &policy) else { break };
            let now = due_at + Duration::from_secs(late);
            policy.mint.at = now;
            fired.push(due);
            prop_assert!(fired.len() < 40, "{:?}", fired);
            let outcome = transition(&last, &due_event(due), &policy, now);
            prop_assert!(outcome.is_ok(), "{:?}: {:?}", due, outcome.map_err(|refusal: Refusal| refusal.code()).err());
            last = outcome.map_or_else(|_| last.clone(), |outcome| committed(outcome.user, &outcome.mails, number));
        }
    }
}

fn due_event(due: Due) -> Event {
    match due {
        Due::Hold => Event::HoldDecided(HoldDecision::Due),
        Due::Reminder => Event::ReminderDue,
        Due::Expiry => Event::ExpiryDue,
        Due::Renewal => Event::RenewalDue,
        Due::Retention => Event::RetentionDue,
        Due::Tombstone => Event::TombstoneDue,
    }
}
