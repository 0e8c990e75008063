//! What clients and people may do at once, over minutes and days, and what is left of somebody who is erased.

use std::time::Duration;

use rstest::rstest;
use serde_json::{Value, json};
use usherd::directory::brake::BrakeDecision;
use usherd::directory::hold::Decision;
use usherd::directory::invitations::Action;
use usherd::directory::invite::Invitee;
use usherd::directory::notes::Noted;
use usherd::directory::provision::IfMatch;
use usherd::directory::story::Heard;
use usherd::directory::tokens::NewToken;
use usherd::directory::{Actor, Door, Error, Request};
use usherd::domain::lifecycle::Refusal;
use usherd::domain::names::ClientName;
use usherd::domain::secrets::{Scope, Scopes};
use usherd::store::Space;

use crate::daemon::{Store, USHERD, set_active, user};
use crate::house::ADMIN;
use crate::in_process::House;

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);
const DAY: Duration = Duration::from_secs(86_400);

async fn delete(house: &House, id: &str) -> Result<(), Error> {
    house.directory().delete_user(&house.client, id, &IfMatch::Any).await
}

#[track_caller]
fn braked(outcome: Result<(), Error>) {
    let Err(Error::Refused(Refusal::Braked { retry_after })) = outcome else { panic!("{outcome:?}") };
    assert!(retry_after <= MINUTE, "{retry_after:?}");
}

/// The names of the audit events that hold an alert, with the alert.
async fn alerts(house: &House) -> Vec<(String, String)> {
    let events = house.opened.store.events(&Space::Account(house.account.clone()), None, 1_000, false).await.unwrap();
    let events = events.into_iter().map(|event| serde_json::from_slice::<Value>(&event.body).unwrap());
    let told = events.flat_map(|event| {
        let alerts = event["alerts"].as_array().cloned().unwrap_or_default();
        alerts.into_iter().map(move |alert| (event["event"].clone(), alert))
    });
    told.map(|(event, alert)| (event.as_str().unwrap().to_owned(), alert.as_str().unwrap().to_owned())).collect()
}

#[rstest]
#[tokio::test(flavor = "multi_thread")]
async fn one_a_minute_passes_the_brake_and_the_last_admin_never(#[values(Store::Embedded, Store::Redis)] store: Store) {
    let bounds = [("USHERD_PROVISIONING__ADMIT", "silent"), ("USHERD_PROVISIONING__BRAKE__MIN", "1")];
    let house = House::open(store, &bounds).await;
    let mut people = Vec::new();
    for number in 0..5 {
        people.push(house.create(&format!("person{number}@example.org")).await);
    }
    let mut boss = user("boss@example.org");
    boss[USHERD] = json!({ "accountRole": "Account Admin" });
    let (_, boss) = house.directory().create_user(&house.client, boss).await.unwrap();
    let boss = boss.user.id.to_string();

    delete(&house, &people[0]).await.unwrap();
    braked(delete(&house, &people[1]).await);
    house.after(30 * SECOND).await;
    braked(delete(&house, &people[1]).await);
    house.after(31 * SECOND).await;
    braked(delete(&house, &boss).await);
    delete(&house, &people[1]).await.unwrap();
    braked(delete(&house, &people[2]).await);
    house.after(61 * SECOND).await;
    let patched = house.directory().patch_user(&house.client, &people[2], &IfMatch::Any, set_active(false)).await;
    assert!(!patched.unwrap().1.user.scim_active());
    // It does not end by itself.
    house.after(DAY).await;
    delete(&house, &people[3]).await.unwrap();
    braked(delete(&house, &people[4]).await);
    assert_eq!(alerts(&house).await, [("client.braked".to_owned(), "Brake".to_owned())]);
}

#[rstest]
#[tokio::test(flavor = "multi_thread")]
async fn losses_of_ten_minutes_ago_do_not_count(#[values(Store::Embedded, Store::Redis)] store: Store) {
    let bounds = [("USHERD_PROVISIONING__ADMIT", "silent"), ("USHERD_PROVISIONING__BRAKE__MIN", "2")];
    let house = House::open(store, &bounds).await;
    for round in 0..3 {
        for number in 0..2 {
            let id = house.create(&format!("person{round}{number}@example.org")).await;
            delete(&house, &id).await.unwrap();
        }
        house.after(10 * MINUTE).await;
    }
    assert_eq!(alerts(&house).await, []);
}

#[rstest]
#[tokio::test(flavor = "multi_thread")]
async fn an_hour_after_a_large_sync_new_people_are_invited_again(
    #[values(Store::Embedded, Store::Redis)] store: Store,
) {
    let house = House::open(store, &[("USHERD_PROVISIONING__HOLD_ABOVE", "2")]).await;
    for number in 0..6 {
        house.create(&format!("person{number}@example.org")).await;
    }
    assert_eq!(house.status("person1@example.org").await, "Pending");
    assert_eq!(house.status("person2@example.org").await, "Pending held");
    house.after(60 * MINUTE).await;
    house.create("new@example.org").await;
    assert_eq!(house.status("new@example.org").await, "Pending");
    assert_eq!(house.mails_to("new@example.org").len(), 1);
    // Nothing happens to those who are held by itself.
    house.after(400 * DAY).await;
    assert_eq!(house.status("person2@example.org").await, "Pending held");
    assert_eq!(house.mails_to("person2@example.org"), []);
    let told = alerts(&house).await;
    assert_eq!(told, [("user.provisioned".to_owned(), "InvitationsHeld".to_owned())]);
}

pub fn by_api(house: &House, client: &Request) -> Request {
    Request { access: client.access.clone(), ..Request::trusted(house.account.clone(), Actor::new(Door::Api, "")) }
}

fn invitee(address: &str) -> Invitee {
    Invitee::of(crate::house::address(address))
}

#[rstest]
#[tokio::test(flavor = "multi_thread")]
async fn people_send_two_thousand_first_invitations_a_day_and_no_more(
    #[values(Store::Embedded, Store::Redis)] store: Store,
) {
    let house = House::open(store, &[]).await;
    let request = by_api(&house, &house.client);
    let mut lanes = tokio::task::JoinSet::new();
    for lane in 0..20 {
        let (directory, request) = (house.opened.directory.clone(), request.clone());
        lanes.spawn(async move {
            let mut sent = 0;
            for number in 0..102 {
                match directory.invite(&request, &invitee(&format!("person{lane}-{number}@example.org"))).await {
                    Ok(_) => sent += 1,
                    Err(Error::Refused(Refusal::TooSoon { .. })) => {}
                    Err(other) => panic!("{other:?}"),
                }
            }
            sent
        });
    }
    assert_eq!(lanes.join_all().await.into_iter().sum::<usize>(), 2_000);
    let refused = house.directory().invite(&request, &invitee("late@example.org")).await;
    let Err(Error::Refused(Refusal::TooSoon { retry_after })) = refused else { panic!("{refused:?}") };
    assert!(retry_after <= DAY / 2, "{retry_after:?}");
    // Whoever provisions is held, not refused; whoever sits at the machine is neither.
    house.directory().create_user(&house.client, user("synced@example.org")).await.unwrap();
    let operator = Request::trusted(house.account.clone(), Actor::new(Door::Cli, "operator"));
    house.directory().invite(&operator, &invitee("boss@example.org")).await.unwrap();
    house.opened.store.advance(DAY);
    house.directory().invite(&request, &invitee("late@example.org")).await.unwrap();
}

#[rstest]
#[tokio::test(flavor = "multi_thread")]
async fn one_inviter_sends_fifty_invitations_again_in_an_hour(#[values(Store::Embedded, Store::Redis)] store: Store) {
    let house = House::open(store, &[("USHERD_PROVISIONING__HOLD_ABOVE", "off")]).await;
    let request = by_api(&house, &house.client);
    let mut people = Vec::new();
    for number in 0..52 {
        people.push(house.create(&format!("person{number}@example.org")).await);
    }
    for id in &people[..50] {
        house.directory().act(&request, id, &Action::Resend).await.unwrap();
    }
    let refused = house.directory().act(&request, &people[50], &Action::Resend).await;
    assert!(matches!(refused, Err(Error::Refused(Refusal::TooSoon { .. }))), "{refused:?}");
    // A copied link mails nobody, and somebody else has a quota of their own.
    house.directory().act(&request, &people[50], &Action::CopyLink).await.unwrap();
    let other = client(&house, "other", None).await;
    house.directory().act(&by_api(&house, &other), &people[51], &Action::Resend).await.unwrap();
    house.after(60 * MINUTE).await;
    house.directory().act(&request, &people[50], &Action::Resend).await.unwrap();
}

/// A client of this name, by one token that lives so long.
pub fn new_token(name: &str, expires: Option<Duration>) -> NewToken {
    NewToken {
        client: ClientName::parse(name).unwrap(),
        scopes: Scope::ALL.into_iter().collect::<Scopes>(),
        profile: "lenient".to_owned(),
        test: false,
        expires,
    }
}

pub async fn client(house: &House, name: &str, expires: Option<Duration>) -> Request {
    let (token, _) = house.directory().create_token(&house.account, new_token(name, expires)).await.unwrap();
    Request::by_token(house.account.clone(), token.id, Door::Scim, None)
}

#[rstest]
#[tokio::test(flavor = "multi_thread")]
async fn admins_hear_of_a_token_that_expires_while_there_is_time(
    #[values(Store::Embedded, Store::Redis)] store: Store,
) {
    let house = House::open(store, &[]).await;
    let expiring = client(&house, "alone", Some(90 * DAY)).await;
    client(&house, "succeeded", Some(90 * DAY)).await;
    client(&house, "succeeded", Some(180 * DAY)).await;
    let revoked = client(&house, "revoked", Some(90 * DAY)).await;
    let usherd::directory::Access::Token { id, .. } = revoked.access else { panic!("a token") };
    house.directory().revoke_token(&house.account, id).await.unwrap();

    let told = async || alerts(&house).await.len();
    house.after(75 * DAY).await;
    assert_eq!(told().await, 0);
    // Two weeks, three days and one day before, each once.
    house.after(2 * DAY).await;
    assert_eq!(alerts(&house).await, [("token.expiring".to_owned(), "TokenExpiring".to_owned())]);
    let events = house.opened.store.events(&Space::Account(house.account.clone()), None, 10, true).await.unwrap();
    let event: Value = serde_json::from_slice(&events[0].body).unwrap();
    assert_eq!(event["client"], "alone");
    for (days, count) in [(9, 1), (1, 2), (1, 2), (1, 3)] {
        house.after(days * DAY + SECOND).await;
        assert_eq!(told().await, count);
    }
    house.directory().open(&expiring, &[]).await.unwrap();
    house.after(DAY).await;
    let refused = house.directory().open(&expiring, &[]).await;
    assert!(matches!(refused, Err(Error::Unauthorized)), "{refused:?}");
    assert_eq!(told().await, 3);
}

#[rstest]
#[tokio::test(flavor = "multi_thread")]
async fn the_next_admin_hears_that_the_last_one_went(#[values(Store::Embedded, Store::Redis)] store: Store) {
    let house = House::with_admin(store, &[]).await;
    let mut adopted = user(ADMIN);
    adopted["active"] = false.into();
    house.directory().create_user(&house.client, adopted).await.unwrap();
    house.work().await;
    assert_eq!(alerts(&house).await, [("user.provisioned".to_owned(), "LastAdminGone".to_owned())]);
    let unheard = || house.opened.store.metrics().encode().contains("usherd_alerts_unheard_total 1");
    assert!(unheard(), "{}", house.opened.store.metrics().encode());
    assert!(!house.directory().account_summary(&house.account).await.unwrap().has_admin);
    let told = || house.mails().into_iter().filter(|mail| mail.subject == "The last Account Admin lost access").count();
    assert_eq!(told(), 0);

    let grace = "grace@example.org";
    house.create(grace).await;
    house.accept(&house.mails_to(grace)[0].link(), grace).await;
    house.directory().grant_admin(&house.account, grace).await.unwrap();
    house.after(3_601 * SECOND).await;
    assert_eq!(told(), 1);
    assert!(unheard(), "it was heard");
    house.after(DAY).await;
    assert_eq!(told(), 1, "once");
}

/// A request of the house's client, as the door hands it over when it is answered.
pub async fn tell(house: &House, method: &str, target: &str, body: &str) {
    let usherd::directory::Access::Token { id: token, .. } = house.client.access else { panic!("a token") };
    let heard = Heard {
        account: house.account.clone(),
        token,
        at: house.opened.store.now(),
        method: method.to_owned(),
        target: target.to_owned(),
        status: 200,
        refused: None,
        request_id: None,
        body: Some(body.to_owned().into()),
        body_bytes: body.len(),
        made: None,
        noted: Noted::default(),
    };
    house.directory().tell_story(&house.account, &[heard]).await.unwrap();
}

#[rstest]
#[case::somebody_deactivated(false)]
#[case::somebody_deleted(true)]
#[tokio::test(flavor = "multi_thread")]
async fn nothing_personal_is_left_of_who_is_erased(
    #[case] deleted: bool,
    #[values(Store::Embedded, Store::Redis)] store: Store,
) {
    let house = House::open(store, &[]).await;
    let address = "countess.lovelace@example.org";
    let mut body = user(address);
    body["externalId"] = "00ulovelace".into();
    body["name"] = json!({ "givenName": "Augusta", "familyName": "Lovelace" });
    body["phoneNumbers"] = json!([{ "value": "+44 20 1843" }]);
    body["displayName"] = "Augusta Lovelace".into();
    let (_, record) = house.directory().create_user(&house.client, body).await.unwrap();
    let id = record.user.id.to_string();
    house.work().await;
    let link = house.mails_to(address)[0].link();
    house.accept(&link, address).await;
    let request = by_api(&house, &client(&house, "admin", None).await);
    // A notice and a confirmation that wait to go out.
    let moved = crate::daemon::patch(
        json!([{ "op": "replace", "path": "emails", "value": [{ "value": "lovelace.new@example.org" }] }]),
    );
    house.directory().patch_user(&house.client, &id, &IfMatch::Any, moved).await.unwrap();

    tell(&house, "GET", "/scim/v2/Users?filter=userName%20eq%20%22countess.lovelace@example.org%22", "").await;
    tell(&house, "PATCH", &format!("/scim/v2/Users/{id}"), r#"{"displayName":"Augusta Lovelace"}"#).await;
    tell(&house, "POST", "/scim/v2/Users", r#"{"userName":"Countess.Lovelace@example.org"}"#).await;
    tell(&house, "POST", "/scim/v2/Users", r#"{"userName":"charles@example.org"}"#).await;

    let refused = house.directory().erase_user(&request, &id).await;
    assert!(matches!(refused, Err(Error::Refused(Refusal::DeactivateFirst))), "{refused:?}");
    if deleted {
        delete(&house, &id).await.unwrap();
    } else {
        house.directory().act(&request, &id, &Action::Deactivate).await.unwrap();
    }
    house.directory().erase_user(&request, &id).await.unwrap();

    let dump = format!("{:?}", house.opened.store.dump(&Space::Account(house.account.clone())).await.unwrap());
    for trace in ["ovelace", "LOVELACE", "Augusta", "augusta", "1843"] {
        assert!(!dump.contains(trace), "{trace} in {dump}");
    }
    assert!(dump.contains("user.erased") && dump.contains(&id), "the audit knows them by id");
    assert!(dump.contains("charles@example.org"), "and of others the story goes on telling");
    let again = house.directory().erase_user(&request, &id).await;
    assert!(matches!(again, Err(Error::NotFound(_))), "{again:?}");
    let (_, afresh) = house.directory().create_user(&house.client, user(address)).await.unwrap();
    assert_ne!(afresh.user.id.to_string(), id, "the name is free, the id is not");
}

#[rstest]
#[tokio::test(flavor = "multi_thread")]
async fn who_is_released_may_come_under_another_client(#[values(Store::Embedded, Store::Redis)] store: Store) {
    let house = House::open(store, &[]).await;
    let id = house.create("ada@example.org").await;
    let other = client(&house, "other", None).await;
    let admin = by_api(&house, &client(&house, "admin", None).await);
    let mut strangers = user("ada@example.org");
    strangers["externalId"] = "of-other".into();
    let released = house.directory().release_user(&admin, &id).await.unwrap();
    assert_eq!((released.user.provisioned_by, released.user.idp_active), (None, None));
    let (_, adopted) = house.directory().create_user(&other, strangers).await.unwrap();
    assert_eq!(adopted.user.id.to_string(), id);
    assert_eq!(adopted.user.provisioned_by, Some(ClientName::parse("other").unwrap()));
}

#[rstest]
#[tokio::test(flavor = "multi_thread")]
async fn admins_hear_of_what_a_provider_tried_in_vain(#[values(Store::Embedded, Store::Redis)] store: Store) {
    let house = House::open(store, &[]).await;
    let id = house.create("ada@example.org").await;
    let admin = by_api(&house, &client(&house, "admin", None).await);
    house.directory().act(&admin, &id, &Action::Deactivate).await.unwrap();
    let refused = house.directory().create_user(&house.client, user("ada@example.org")).await;
    assert!(matches!(refused, Err(Error::Refused(Refusal::DeactivatedByAdmin))), "{refused:?}");
    house.directory().write_refusals(true).await.unwrap();
    assert_eq!(alerts(&house).await, [("user.provisioned".to_owned(), "ProviderSaysActive".to_owned())]);
}

#[rstest]
#[tokio::test(flavor = "multi_thread")]
async fn an_admin_decides_about_one_who_is_held_and_once(#[values(Store::Embedded, Store::Redis)] store: Store) {
    let house = House::open(store, &[("USHERD_PROVISIONING__HOLD_ABOVE", "0")]).await;
    let admin = by_api(&house, &client(&house, "admin", None).await);
    let decide = async |address: &str, decision: Decision| {
        let id = house.record(address).await.user.id.to_string();
        let decided = house.directory().decide_held_user(&admin, &id, decision).await;
        house.work().await;
        decided.map(|_| ())
    };
    let (send, admit, drop) = ("send@example.org", "admit@example.org", "drop@example.org");
    for address in [send, admit, drop] {
        house.create(address).await;
        assert_eq!(house.status(address).await, "Pending held");
    }
    decide(send, Decision::Send).await.unwrap();
    decide(admit, Decision::Admit).await.unwrap();
    decide(drop, Decision::Drop).await.unwrap();
    let statuses = [house.status(send).await, house.status(admit).await, house.status(drop).await];
    assert_eq!(statuses, ["Pending", "Active", "Inactive admin"]);
    assert_eq!([send, admit, drop].map(|address| house.mails_to(address).len()), [1, 0, 0]);
    for address in [send, admit, drop] {
        let again = decide(address, Decision::Send).await;
        assert!(matches!(again, Err(Error::Refused(Refusal::NotHeld))), "{again:?}");
    }
    // A client may not decide about itself; that takes the scope for tokens, or an admin.
    let own = by_api(&house, &house.client);
    let name = ClientName::parse("okta").unwrap();
    let refused = house.directory().decide_held(&own, &name, Decision::Admit).await;
    assert!(matches!(refused, Err(Error::MissingScope(Scope::Tokens))), "{refused:?}");
    let refused = house.directory().decide_brake(&own, &name, BrakeDecision::Resume).await;
    assert!(matches!(refused, Err(Error::MissingScope(Scope::Tokens))), "{refused:?}");
    let refused = house.directory().pause_client(&own, &name).await;
    assert!(matches!(refused, Err(Error::MissingScope(Scope::Tokens))), "{refused:?}");
}
