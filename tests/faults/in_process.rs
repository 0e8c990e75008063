//! What takes days: the same use cases and the same worker in this process, with a clock that is moved on.

use std::time::Duration;

use bytes::Bytes;
use rstest::rstest;
use serde_json::{Value, json};
use usherd::directory::provision::IfMatch;
use usherd::directory::{Error, Kind, entropy, keys};
use usherd::domain::secrets::Scopes;
use usherd::domain::user::State;
use usherd::scim::ScimType;
use usherd::scim::list::Query;
use usherd::store::{Batch, Space, Write};

use crate::daemon::mails::{self, Mail};
use crate::daemon::{Store, set_active, user};
use crate::house::{ADMIN, DAY, MINUTE, address};
use crate::redis_server::free_port;
use crate::smtp::{SmtpServer, header};

pub use crate::house::House;

/// The first back-off is a minute, give or take a fifth.
const BACKED_OFF: Duration = Duration::from_secs(73);

impl House {
    /// Somebody whom the provider has made, and whose mail has gone out.
    pub async fn create(&self, address: &str) -> String {
        let (_, record) = self.directory().create_user(&self.client, user(address)).await.unwrap();
        self.work().await;
        record.user.id.to_string()
    }

    pub async fn set_active(&self, id: &str, active: bool) {
        self.directory().patch_user(&self.client, id, &IfMatch::Any, set_active(active)).await.unwrap();
        self.work().await;
    }

    /// `Pending expired`.
    pub async fn status(&self, address: &str) -> String {
        let shown = Value::Object(self.record(address).await.representation(self.directory().user_type()));
        let extension = &shown[crate::daemon::USHERD];
        let reason = extension["statusReason"].as_str().map_or(String::new(), |reason| format!(" {reason}"));
        format!("{}{reason}", extension["status"].as_str().unwrap())
    }
}

/// Message-ID and link of each message to this address, acknowledged or not.
fn messages(server: &SmtpServer, to: &str) -> Vec<(String, String)> {
    let records = server.messages().into_iter().filter(|record| record["to"] == json!([to]));
    records
        .map(|record| {
            let message = &record["message"];
            let link = mails::link_in(message["text"].as_str().unwrap()).unwrap();
            (header(message, "Message-ID")[0].to_owned(), link)
        })
        .collect()
}

#[rstest]
#[tokio::test(flavor = "multi_thread")]
async fn a_mail_that_is_deferred_goes_out_a_minute_later(#[values(Store::Embedded, Store::Redis)] store: Store) {
    let server = SmtpServer::start(&[]);
    let house = House::open(store, &[("USHERD_MAIL__URL", &server.url("smtp", ""))]).await;
    let address = "once-defer-451@example.org";
    house.create(address).await;
    house.after(Duration::from_secs(47)).await;
    assert_eq!(messages(&server, address), [], "it came back before its time");
    house.after(BACKED_OFF).await;
    assert_eq!(messages(&server, address).len(), 1);
    assert_eq!(house.status(address).await, "Pending");
}

#[rstest]
#[tokio::test(flavor = "multi_thread")]
async fn a_mail_whose_fate_nobody_knows_is_repeated_as_the_same_mail(
    #[values(Store::Embedded, Store::Redis)] store: Store,
) {
    let server = SmtpServer::start(&[]);
    let overrides = [("USHERD_MAIL__URL", &*server.url("smtp", "")), ("USHERD_INVITATIONS__REMIND_AFTER", "off")];
    let house = House::open(store, &overrides).await;
    let address = "once-drop-after-data@example.org";
    house.create(address).await;
    house.after(BACKED_OFF).await;
    let copies = messages(&server, address);
    assert_eq!(copies.len(), 2);
    assert_eq!(copies[0], copies[1], "another Message-ID or another link");
    house.after(DAY).await;
    assert_eq!(messages(&server, address).len(), 2, "an accepted mail went out again");
    house.accept(&copies[0].1, address).await;
    assert_eq!(house.status(address).await, "Active");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_relay_never_takes_is_given_up_after_seven_attempts() {
    let server = SmtpServer::start(&[]);
    let overrides = [("USHERD_MAIL__URL", server.url("smtp", "")), ("USHERD_INVITATIONS__TTL", "30d".to_owned())];
    let overrides: Vec<_> = overrides.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let house = House::open(Store::Embedded, &overrides).await;
    let address = "drop-after-data@example.org";
    house.create(address).await;
    // Half of the jitter is none: 1 m, 5 m, 15 m, 1 h, 3 h, 6 h.
    for (attempt, minutes) in [1, 5, 15, 60, 180, 360].into_iter().enumerate() {
        assert_eq!(messages(&server, address).len(), attempt + 1);
        assert_eq!(house.status(address).await, "Pending");
        house.after(MINUTE * minutes + Duration::from_secs(1)).await;
    }
    let copies = messages(&server, address);
    assert_eq!(copies.len(), 7);
    assert!(copies.iter().all(|copy| *copy == copies[0]), "{copies:?}");
    assert_eq!(house.status(address).await, "Pending send_failed");
    house.after(DAY).await;
    assert_eq!(messages(&server, address).len(), 7);

    // It is kept, and trying again is a new invitation: the link that nobody got died with it.
    let operator = usherd::directory::accounts::by_operator(&house.account);
    let dead = house.directory().dead_letters(&operator, 10).await.unwrap();
    assert_eq!(dead.iter().map(|letter| (letter.to.as_str(), letter.attempts)).collect::<Vec<_>>(), [(address, 7)]);
    house.directory().revive_letter(&operator, dead[0].id).await.unwrap();
    house.work().await;
    let copies = messages(&server, address);
    assert_eq!(copies.len(), 8);
    assert_ne!(copies[7].1, copies[0].1);
    assert_eq!(house.directory().dead_letters(&operator, 10).await.unwrap(), []);
    assert!(house.directory().revive_letter(&operator, dead[0].id).await.is_err(), "there is nothing left to try");
}

#[rstest]
#[tokio::test(flavor = "multi_thread")]
async fn a_relay_that_refuses_stops_the_queue_of_every_replica_until_one_letter_gets_through(
    #[values(Store::Embedded, Store::Redis)] store: Store,
) {
    let server = SmtpServer::start(&[]);
    let house = House::open(store, &[("USHERD_MAIL__URL", &server.url("smtp", ""))]).await;
    house.create("relay-554@example.org").await;
    let pause = house.directory().mail_queue().await.unwrap().pause.expect("the queue waits");
    assert_eq!(pause.cause, usherd::directory::mail_queue::PauseCause::Refused);
    assert!(pause.reply.contains("Relay access denied"), "{}", pause.reply);
    house.create("ada@example.org").await;
    assert_eq!(messages(&server, "ada@example.org"), [], "the queue waits for everybody");
    house.after(Duration::from_secs(61)).await;
    assert_eq!(messages(&server, "ada@example.org").len(), 1, "she was the one who tried");
    let queue = house.directory().mail_queue().await.unwrap();
    assert_eq!(queue.pause, None);
    assert!(queue.last_refusal.is_some());
    // What is refused now, while others get through, is that letter's own trouble.
    house.after(Duration::from_secs(10)).await;
    assert_eq!(house.directory().mail_queue().await.unwrap().pause, None);
    house.create("bob@example.org").await;
    assert_eq!(messages(&server, "bob@example.org").len(), 1);
}

#[rstest]
#[tokio::test(flavor = "multi_thread")]
async fn all_replicas_draw_from_one_rate_and_a_sign_in_code_does_not_wait_for_it(
    #[values(Store::Embedded, Store::Redis)] store: Store,
) {
    use usherd::directory::mail_queue::Pace;
    let pace = Some(Pace { interval: MINUTE, burst: 3 });
    let mut house = House::open(store, &[]).await;
    house.worker = house.worker.paced(pace);
    let granted = house.directory().take_mails(pace, 2).await.unwrap();
    assert_eq!(granted.letters, 2, "another replica has sent these");
    for name in ["ada", "bob", "eve"] {
        house.create(&format!("{name}@example.org")).await;
    }
    let sent = |house: &House| house.mails().len();
    assert_eq!(sent(&house), 1);
    house.after(MINUTE).await;
    assert_eq!(sent(&house), 2);
    house.after(2 * MINUTE).await;
    assert_eq!(sent(&house), 3);
    // The bucket is empty.
    house.accept(&house.mails_to("ada@example.org")[0].link(), "ada@example.org").await;
    house.directory().take_mails(pace, 3).await.unwrap();
    let address = address("ada@example.org");
    house.directory().ask_code(&house.account, &address, None).await.unwrap();
    house.work().await;
    assert_eq!(house.mails_to("ada@example.org").len(), 2, "she waits for the code before her screen");
}

#[rstest]
#[tokio::test(flavor = "multi_thread")]
async fn letters_of_which_nobody_can_say_whether_they_may_go_are_tried_again_soon(
    #[values(Store::Embedded, Store::Redis)] store: Store,
) {
    let house = House::open(store, &[]).await;
    let queue = keys::mail_queue();
    let write = async |write: Write| {
        let batch = Batch { writes: vec![write], ..Batch::new(entropy::commit_id(house.now())) };
        house.opened.store.commit(&Space::Installation, &batch).await.unwrap();
    };
    let (created, body) = (house.now(), b"no queue".to_vec().into());
    write(Write::Put { key: queue.clone(), revision: 1, created, modified: created, body, state: Bytes::new() }).await;
    house.directory().create_user(&house.client, user("ada@example.org")).await.unwrap();
    let looked = house.worker.run_one().await;
    assert!(matches!(looked, Err(Error::Internal(_))), "{looked:?}");
    write(Write::Delete { key: queue }).await;
    // Well before the claims end.
    house.after(Duration::from_secs(15)).await;
    assert_eq!(house.mails_to("ada@example.org").len(), 1);
}

#[rstest]
#[tokio::test(flavor = "multi_thread")]
async fn an_invitation_is_renewed_as_often_as_it_may_be_and_the_newest_link_lets_its_person_in(
    #[values(Store::Embedded, Store::Redis)] store: Store,
) {
    let overrides = [("USHERD_INVITATIONS__REMIND_AFTER", "off"), ("USHERD_INVITATIONS__MAX_RENEWALS", "1")];
    let house = House::open(store, &overrides).await;
    for address in ["ada@example.org", "grace@example.org"] {
        house.create(address).await;
    }
    house.after(DAY * 7 + Duration::from_secs(2)).await;
    assert_eq!(house.status("ada@example.org").await, "Pending expired");
    // The next time that renewals are looked for.
    house.after(Duration::from_secs(2)).await;
    assert_eq!(house.status("ada@example.org").await, "Pending");
    let mails = house.mails_to("ada@example.org");
    let [first, second] = &mails[..] else { panic!("{} mails", mails.len()) };
    assert_ne!(first.link(), second.link());
    assert_ne!(first.message_id, second.message_id);
    assert!(house.try_accept(&first.link(), "ada@example.org").await.is_err(), "a newer link was sent");
    house.accept(&second.link(), "ada@example.org").await;
    assert_eq!(house.status("ada@example.org").await, "Active");
    assert_eq!(house.status("grace@example.org").await, "Pending");
    house.after(DAY * 7 + Duration::from_secs(2)).await;
    assert_eq!(house.status("grace@example.org").await, "Pending expired");
    house.after(DAY * 30).await;
    assert_eq!(house.mails_to("grace@example.org").len(), 2);
    assert_eq!(house.mails_to("ada@example.org").len(), 2);
}

/// As by `usherd jobs run expire`: the command is over afterwards, and nobody may be there to go on.
#[rstest]
#[tokio::test(flavor = "multi_thread")]
async fn a_look_that_no_other_follows_sends_everything_however_slow_the_relay_is(
    #[values(Store::Embedded, Store::Redis)] store: Store,
) {
    let server = SmtpServer::start(&[]);
    let house = House::open(store, &[("USHERD_MAIL__URL", &server.url("smtp", ""))]).await;
    // More than are sent at once.
    for number in 0..10 {
        house.directory().create_user(&house.client, user(&format!("slow@n{number}.example.org"))).await.unwrap();
    }
    assert_eq!(house.worker.run_one().await.unwrap().claimed, 10);
    assert_eq!(server.messages().len(), 10);
}

#[rstest]
#[tokio::test(flavor = "multi_thread")]
async fn a_reminder_that_is_given_up_takes_nobodys_invitation(#[values(Store::Embedded, Store::Redis)] store: Store) {
    let server = SmtpServer::start(&[]);
    let house = House::open(store, &[("USHERD_MAIL__URL", &server.url("smtp", ""))]).await;
    let address = "ada@example.org";
    house.create(address).await;
    let link = messages(&server, address).remove(0).1;
    drop(server);
    house.after(DAY + Duration::from_secs(2)).await;
    for minutes in [1, 5, 15, 60, 180, 360] {
        house.after(MINUTE * minutes * 5 / 4).await;
    }
    let operator = usherd::directory::accounts::by_operator(&house.account);
    assert_eq!(house.directory().dead_letters(&operator, 10).await.unwrap().len(), 1, "the reminder");
    assert_eq!(house.status(address).await, "Pending");
    house.accept(&link, address).await;
    assert_eq!(house.status(address).await, "Active");
}

#[rstest]
#[tokio::test(flavor = "multi_thread")]
async fn a_relay_that_comes_up_later_gets_what_waited(#[values(Store::Embedded, Store::Redis)] store: Store) {
    let port = free_port();
    let house = House::open(store, &[("USHERD_MAIL__URL", &format!("smtp://127.0.0.1:{port}"))]).await;
    for number in 0..20 {
        house.create(&format!("person-{number}@example.org")).await;
    }
    let server = SmtpServer::start(&["--port", &port.to_string()]);
    house.after(BACKED_OFF).await;
    for number in 0..20 {
        assert_eq!(messages(&server, &format!("person-{number}@example.org")).len(), 1);
    }
}

#[rstest]
#[tokio::test(flavor = "multi_thread")]
async fn a_relay_that_refuses_this_service_pauses_the_queue_and_nobody_bounces(
    #[values(Store::Embedded, Store::Redis)] store: Store,
) {
    let server = SmtpServer::start(&[]);
    let house = House::open(store, &[("USHERD_MAIL__URL", &server.url("smtp", ""))]).await;
    house.create("once-relay-554@example.org").await;
    house.create("grace@example.org").await;
    assert_eq!(messages(&server, "grace@example.org"), [], "the queue did not wait");
    assert_eq!(house.status("once-relay-554@example.org").await, "Pending");
    house.after(MINUTE + Duration::from_secs(1)).await;
    assert_eq!(messages(&server, "grace@example.org").len(), 1);
    house.after(Duration::from_secs(5)).await;
    assert_eq!(messages(&server, "once-relay-554@example.org").len(), 1);
}

#[rstest]
#[tokio::test(flavor = "multi_thread")]
async fn an_invitation_of_seven_days_is_reminded_three_times_renewed_twice_and_then_left_alone(
    #[values(Store::Embedded, Store::Redis)] store: Store,
) {
    let house = House::open(store, &[]).await;
    let address = "ada@example.org";
    house.create(address).await;
    for round in 1..=3 {
        // Reminders at 1/7, 3/7 and 5/7 carry the link of the invitation.
        for (day, mails) in [(1, 2), (2, 2), (3, 3), (4, 3), (5, 4), (6, 4)] {
            house.after(DAY + Duration::from_secs(1)).await;
            assert_eq!(house.mails_to(address).len(), (round - 1) * 4 + mails, "round {round}, day {day}");
        }
        let links: Vec<String> = house.mails_to(address).iter().skip((round - 1) * 4).map(Mail::link).collect();
        assert!(links.iter().all(|link| *link == links[0]), "{links:?}");
        house.after(DAY).await;
        house.after(Duration::from_secs(2)).await;
    }
    assert_eq!(house.status(address).await, "Pending expired");
    let mails = house.mails_to(address);
    assert_eq!(mails.len(), 12);
    let links: std::collections::BTreeSet<String> = mails.iter().map(Mail::link).collect();
    assert_eq!(links.len(), 3);
    house.after(DAY * 30).await;
    assert_eq!(house.mails_to(address).len(), 12);
}

#[rstest]
#[tokio::test(flavor = "multi_thread")]
async fn a_re_invitation_that_nobody_takes_up_falls_back_to_inactive(
    #[values(Store::Embedded, Store::Redis)] store: Store,
) {
    let house =
        House::open(store, &[("USHERD_INVITATIONS__REMIND_AFTER", "off"), ("USHERD_INVITATIONS__MAX_RENEWALS", "1")])
            .await;
    let address = "ada@example.org";
    let id = house.create(address).await;
    house.accept(&house.mails_to(address)[0].link(), address).await;
    house.set_active(&id, false).await;
    assert_eq!(house.status(address).await, "Inactive idp");
    house.set_active(&id, true).await;
    assert_eq!(house.record(address).await.user.state(), State::RL);
    assert_eq!(house.mails_to(address).len(), 2);
    house.after(DAY * 7 + Duration::from_secs(2)).await;
    assert_eq!(house.record(address).await.user.state(), State::RL, "renewed once");
    assert_eq!(house.mails_to(address).len(), 3);
    house.after(DAY * 7 + Duration::from_secs(2)).await;
    assert_eq!(house.record(address).await.user.state(), State::I);
    assert_eq!(house.mails_to(address).len(), 3);
    house.after(DAY * 30).await;
    assert_eq!(house.mails_to(address).len(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mail_of_somebody_who_was_deactivated_meanwhile_is_not_sent() {
    let server = SmtpServer::start(&[]);
    let house = House::open(Store::Embedded, &[("USHERD_MAIL__URL", &server.url("smtp", ""))]).await;
    let address = "once-defer-451@example.org";
    let id = house.create(address).await;
    house.set_active(&id, false).await;
    house.after(BACKED_OFF).await;
    house.after(DAY).await;
    assert_eq!(messages(&server, address), []);
}

#[rstest]
#[tokio::test(flavor = "multi_thread")]
async fn admins_hear_of_urgent_things_at_once_but_once_an_hour_and_of_the_rest_once_a_day(
    #[values(Store::Embedded, Store::Redis)] store: Store,
) {
    let server = SmtpServer::start(&[]);
    let mut house = House::with_admin(store, &[("USHERD_MAIL__URL", &server.url("smtp", ""))]).await;
    house.client = house.client("expiring", Scopes::bootstrap(), Some(DAY * 20)).await;
    let told = |subject: &str| -> Vec<String> {
        let to_her = server.messages().into_iter().filter(|record| record["to"] == json!([ADMIN]));
        let texts = to_her.filter(|record| header(&record["message"], "Subject") == [subject]);
        texts.map(|record| record["message"]["text"].as_str().unwrap().to_owned()).collect()
    };
    // Monday: one address is wrong, one person does not want to come. Nobody is disturbed.
    house.create("bounce-550@example.org").await;
    house.create("ada@example.org").await;
    let (_, link) = messages(&server, "ada@example.org")[0].clone();
    house.directory().decline(link.rsplit('/').next().unwrap(), None).await.unwrap();
    house.work().await;
    assert_eq!(told("Your daily summary"), [] as [String; 0]);
    // Tuesday morning.
    house.after(DAY).await;
    assert!(house.directory().digest(&house.account).await.unwrap());
    house.work().await;
    let digests = told("Your daily summary");
    assert_eq!(digests.len(), 1);
    println!("{}", digests[0]);
    assert!(digests[0].contains("  Invitations declined (1): Ada Lovelace"), "{}", digests[0]);
    assert!(digests[0].contains("  Mails came back as undeliverable (1): Ada Lovelace"), "{}", digests[0]);
    assert!(!house.directory().digest(&house.account).await.unwrap(), "nothing new is no mail");
    // Within an hour, 60 people are sent: one mail, not ten.
    for number in 0..60 {
        house.create(&format!("person-{number}@example.org")).await;
    }
    let held = told("New invitations wait for your decision");
    assert_eq!(held.len(), 1);
    println!("{}", held[0]);
    // Half of the token's twenty days is over.
    house.after(DAY * 10).await;
    let expiring = told("A provisioning token expires soon");
    assert_eq!(expiring.len(), 1);
    println!("{}", expiring[0]);
    assert!(expiring[0].contains("Through expiring"), "{}", expiring[0]);
    house.directory().digest(&house.account).await.unwrap();
    house.work().await;
    println!("{}", told("Your daily summary").last().unwrap());
}

#[rstest]
#[tokio::test(flavor = "multi_thread")]
async fn a_cursor_is_good_for_an_hour_after_it_was_given(#[values(Store::Embedded, Store::Redis)] store: Store) {
    let house = House::open(store, &[("USHERD_PROVISIONING__ADMIT", "silent")]).await;
    for number in 0..3 {
        house.create(&format!("u{number}@example.org")).await;
    }
    let ask = async |cursor: &str| {
        let query = Query { count: Some("1".to_owned()), cursor: Some(cursor.to_owned()), ..Query::default() };
        house.directory().query(&house.client, &[Kind::User], &query).await
    };
    let first = ask("").await.unwrap().next_cursor.unwrap();
    house.opened.store.advance(59 * MINUTE);
    let second = ask(&first).await.unwrap().next_cursor.unwrap();
    house.opened.store.advance(2 * MINUTE);
    // Each page has an hour of its own.
    assert!(ask(&second).await.unwrap().next_cursor.is_none());
    let Err(Error::Protocol(expired)) = ask(&first).await else { panic!("an old cursor") };
    assert_eq!(expired.scim_type, Some(ScimType::ExpiredCursor));
    assert!(expired.detail.contains("3600 s"), "{}", expired.detail);
}
