//! Webhooks against a real receiver: what arrives, what is tried again, and where nothing goes.

use std::collections::BTreeSet;
use std::time::Duration;

use rstest::rstest;
use serde_json::json;
use usherd::directory::accounts::by_operator;
use usherd::directory::assignments::Wishes;
use usherd::directory::invitations::Action;
use usherd::directory::provision::IfMatch;
use usherd::domain::ids::EndpointId;
use usherd::domain::webhook::UserEvent;

use crate::daemon::{Daemon, Store, set_active};
use crate::in_process::House;
use crate::receiver::{Answer, Authority, Receiver};
use crate::redis_server::eventually;

const PRIVATE: (&str, &str) = ("USHERD_WEBHOOKS__ALLOW_PRIVATE", "true");
/// The first back-off is a minute, give or take a fifth.
const BACKED_OFF: Duration = Duration::from_secs(73);
/// Longer than the longest back-off.
const LONG: Duration = Duration::from_secs(8 * 3_600);
const GRACE: &str = "grace@example.org";

impl House {
    /// An endpoint that hears everything, and its secret.
    async fn listens(&self, url: &str) -> (EndpointId, String) {
        let events: BTreeSet<UserEvent> = UserEvent::ALL.into_iter().collect();
        let url = url.parse().unwrap();
        let (id, secret) = self.directory().add_webhook(&by_operator(&self.account), &url, &events).await.unwrap();
        (id, secret.expose())
    }

    async fn switch(&self, id: &str, active: bool) {
        self.directory().patch_user(&self.client, id, &IfMatch::Any, set_active(active)).await.unwrap();
        self.work().await;
    }

    async fn dead(&self) -> Vec<(u32, String)> {
        let dead = self.directory().dead_deliveries(&by_operator(&self.account), 100).await.unwrap();
        dead.into_iter().map(|delivery| (delivery.attempts, delivery.last_reply.unwrap())).collect()
    }

    async fn give_up(&self) {
        for _ in 0..6 {
            self.after(LONG).await;
        }
    }
}

#[rstest]
#[tokio::test(flavor = "multi_thread")]
async fn an_application_hears_in_signed_words_what_happens_to_a_person(
    #[values(Store::Embedded, Store::Redis)] store: Store,
) {
    let receiver = Receiver::start();
    let house = House::open(store, &[PRIVATE]).await;
    let (_, secret) = house.listens(&receiver.url()).await;
    let id = house.create(GRACE).await;
    house.accept(&house.mails_to(GRACE)[0].link(), GRACE).await;
    house.switch(&id, false).await;
    house.directory().delete_user(&house.client, &id, &IfMatch::Any).await.unwrap();
    house.work().await;

    let hooks = receiver.hooks();
    let told: Vec<String> = hooks.iter().map(|hook| hook.told()).collect();
    let expected = ["user.invited Pending", "user.activated Active", "user.deactivated Inactive", "user.deleted null"];
    assert_eq!(told, expected);
    assert!(hooks.windows(2).all(|pair| pair[0].revision() < pair[1].revision()), "{hooks:?}");
    let first = &hooks[0];
    assert!(hooks.iter().all(|hook| hook.is_signed_with(&secret)), "{hooks:?}");
    assert!(!first.is_signed_with("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"));
    assert_eq!(first.target, "/hooks?tenant=7");
    assert_eq!(first.headers["content-type"], "application/json");
    assert_eq!(first.headers["host"], format!("127.0.0.1:{}", receiver.port));
    let body = first.json();
    let happened = body["timestamp"].as_str().unwrap();
    let revision = first.revision();
    let data = json!({ "account": "acme", "id": id, "userName": GRACE, "status": "Pending", "revision": revision });
    assert_eq!(body, json!({ "type": "user.invited", "timestamp": happened, "data": data }));
}

#[rstest]
#[tokio::test(flavor = "multi_thread")]
async fn what_was_not_taken_comes_again_as_the_same_and_holds_up_nothing_later(
    #[values(Store::Embedded, Store::Redis)] store: Store,
) {
    let receiver = Receiver::start();
    receiver.answers(&[Answer::Status(500)]);
    let house = House::open(store, &[PRIVATE]).await;
    house.listens(&receiver.url()).await;
    let id = house.create(GRACE).await;
    house.switch(&id, false).await;
    let told = |receiver: &Receiver| -> Vec<String> { receiver.hooks().iter().map(|hook| hook.told()).collect() };
    assert_eq!(told(&receiver), ["user.invited Pending", "user.deactivated Inactive"]);
    house.after(Duration::from_secs(47)).await;
    assert_eq!(receiver.hooks().len(), 2, "it came back before its time");
    house.after(BACKED_OFF).await;
    assert_eq!(told(&receiver)[2..], ["user.invited Pending"]);
    let hooks = receiver.hooks();
    assert_eq!((hooks[0].id(), &hooks[0].body), (hooks[2].id(), &hooks[2].body));
    assert!(hooks[2].revision() < hooks[1].revision(), "by which the receiver knows that it is old");
    house.after(LONG).await;
    assert_eq!(receiver.hooks().len(), 3, "what was taken came again");
}

#[rstest]
#[tokio::test(flavor = "multi_thread")]
async fn what_is_never_taken_is_given_up_after_seven_attempts_and_sent_again_on_demand(
    #[values(Store::Embedded, Store::Redis)] store: Store,
) {
    let receiver = Receiver::start();
    receiver.answers_all(Answer::Redirect);
    let house = House::open(store, &[PRIVATE]).await;
    let (endpoint, _) = house.listens(&receiver.url()).await;
    house.create(GRACE).await;
    house.give_up().await;
    let hooks = receiver.hooks();
    assert_eq!(hooks.len(), 7);
    assert!(hooks.iter().all(|hook| hook.target == "/hooks?tenant=7"), "a redirect was followed");
    assert_eq!(house.dead().await, [(7, "answered 307: redirects are not followed".to_owned())]);
    receiver.answers_all(Answer::Status(200));
    assert_eq!(house.directory().redrive_webhook(&by_operator(&house.account), endpoint).await.unwrap(), 1);
    house.work().await;
    assert_eq!(receiver.hooks()[7].id(), hooks[0].id());
    assert_eq!(house.dead().await, []);
}

#[rstest]
#[case("https://127.0.0.1:PORT/", "the address is not one of the public internet; see webhooks.allow_private")]
#[case("https://localhost:PORT/", "the address is not one of the public internet; see webhooks.allow_private")]
#[case("https://[::ffff:127.0.0.1]:PORT/", "the address is not one of the public internet; see webhooks.allow_private")]
#[case("http://127.0.0.1:PORT/", "http is not allowed: https, or webhooks.allow_private")]
#[tokio::test(flavor = "multi_thread")]
async fn nothing_goes_to_a_private_address_unless_it_is_allowed(#[case] url: &str, #[case] reason: &str) {
    let receiver = Receiver::start();
    let house = House::open(Store::Embedded, &[]).await;
    house.listens(&url.replace("PORT", &receiver.port.to_string())).await;
    house.create(GRACE).await;
    house.give_up().await;
    assert_eq!(house.dead().await, [(7, reason.to_owned())]);
    assert_eq!(receiver.hooks().len(), 0);
}

#[rstest]
#[tokio::test(flavor = "multi_thread")]
async fn nothing_goes_to_an_endpoint_that_was_removed_meanwhile(#[values(Store::Embedded, Store::Redis)] store: Store) {
    let receiver = Receiver::start();
    receiver.answers_all(Answer::Status(500));
    let house = House::open(store, &[PRIVATE]).await;
    let (endpoint, _) = house.listens(&receiver.url()).await;
    let id = house.create(GRACE).await;
    house.directory().remove_webhook(&by_operator(&house.account), endpoint).await.unwrap();
    house.switch(&id, false).await;
    house.give_up().await;
    assert_eq!(receiver.hooks().len(), 1);
    assert_eq!(house.dead().await, []);
}

#[rstest]
#[tokio::test(flavor = "multi_thread")]
async fn an_endpoint_that_is_gone_is_disabled_until_it_is_enabled_again(
    #[values(Store::Embedded, Store::Redis)] store: Store,
) {
    let receiver = Receiver::start();
    receiver.answers(&[Answer::Status(410)]);
    let house = House::open(store, &[PRIVATE]).await;
    let (endpoint, _) = house.listens(&receiver.url()).await;
    let id = house.create(GRACE).await;
    house.switch(&id, false).await;
    assert_eq!(receiver.hooks().len(), 1, "it was told more after it had answered 410");
    assert_eq!(house.dead().await, [(1, "answered 410: the webhook is disabled".to_owned())]);
    assert!(house.directory().account(&house.account).await.unwrap().webhooks[&endpoint].disabled.is_some());
    house.directory().redrive_webhook(&by_operator(&house.account), endpoint).await.unwrap();
    house.switch(&id, true).await;
    let told: Vec<String> = receiver.hooks().iter().map(|hook| hook.told()).collect();
    assert_eq!(told[..2], ["user.invited Pending", "user.invited Pending"]);
    assert!(told.len() > 2, "what happens after it was enabled is told");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_secret_and_the_one_before_sign_together_for_a_day() {
    let receiver = Receiver::start();
    let house = House::open(Store::Embedded, &[PRIVATE]).await;
    let (endpoint, old) = house.listens(&receiver.url()).await;
    let new = house.directory().rotate_webhook(&by_operator(&house.account), endpoint).await.unwrap();
    assert_ne!(old, new);
    let id = house.create(GRACE).await;
    house.after(Duration::from_secs(86_400)).await;
    house.switch(&id, false).await;
    let signed: Vec<(bool, bool)> =
        receiver.hooks().iter().map(|hook| (hook.is_signed_with(&old), hook.is_signed_with(&new))).collect();
    assert_eq!(signed, [(true, true), (false, true)]);
}

#[rstest]
#[tokio::test(flavor = "multi_thread")]
async fn it_is_told_who_has_another_role_and_who_was_erased(#[values(Store::Embedded, Store::Redis)] store: Store) {
    let receiver = Receiver::start();
    let house = House::with_admin(store, &[PRIVATE]).await;
    house.listens(&receiver.url()).await;
    let id = house.create(GRACE).await;
    house.accept(&house.mails_to(GRACE)[0].link(), GRACE).await;
    let operator = by_operator(&house.account);
    let role = |role: &str| Wishes { account_role: Some(role.to_owned()), ..Wishes::default() };
    house.directory().assign(&operator, &id, &IfMatch::Any, &role("System Admin")).await.unwrap();
    house.directory().assign(&operator, &id, &IfMatch::Any, &role("System Admin")).await.unwrap();
    house.work().await;
    house.switch(&id, false).await;
    let hooks = receiver.hooks();
    house.directory().act(&operator, &id, &Action::Erase).await.unwrap();
    house.work().await;
    let mut told: Vec<String> = receiver.hooks().iter().map(|hook| hook.told()).collect();
    // What happened in one moment is on its way at once.
    told[4..].sort();
    assert_eq!(
        told,
        [
            "user.invited Pending",
            "user.activated Active",
            "user.role_changed Active",
            "user.deactivated Inactive",
            "user.deleted null",
            "user.erased null",
        ]
    );
    assert_eq!(hooks[2].json()["data"]["userName"], GRACE);
    for hook in &receiver.hooks()[4..] {
        assert_eq!(hook.json()["data"]["id"], id);
        assert_eq!(hook.json()["data"]["userName"], json!(null), "nothing personal is left of whoever is erased");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn over_https_only_a_certificate_of_a_known_authority_is_trusted() {
    let authority = Authority::new();
    let receiver = Receiver::start_with(authority.certificate_for("127.0.0.1"));
    let file = authority.file();
    let house = House::open(Store::Embedded, &[PRIVATE, ("USHERD_WEBHOOKS__TLS_CA_FILE", &file)]).await;
    let (_, secret) = house.listens(&receiver.url()).await;
    house.create(GRACE).await;
    let hooks = receiver.wait_for(1);
    assert!(receiver.url().starts_with("https://"));
    assert_eq!(hooks[0].told(), "user.invited Pending");
    assert!(hooks[0].is_signed_with(&secret));

    let strangers = [
        // Nobody told this one of the authority.
        (House::open(Store::Embedded, &[PRIVATE]).await, &receiver),
        // The name is another one.
        (house, &Receiver::start_with(authority.certificate_for("127.0.0.2"))),
    ];
    for (house, receiver) in strangers {
        house.listens(&receiver.url()).await;
        let heard = receiver.hooks().len();
        house.create("ada@example.org").await;
        house.give_up().await;
        let dead = house.dead().await;
        assert!(
            dead.iter().all(|(_, reply)| reply.starts_with("TLS failed: the certificate is not valid")),
            "{dead:?}"
        );
        assert_eq!((dead.len(), receiver.hooks().len()), (1, heard));
    }
}

#[test]
fn a_file_of_authorities_that_is_none_is_told_before_anything_starts() {
    let daemon = Daemon::prepare(None, &[("USHERD_WEBHOOKS__TLS_CA_FILE", "Cargo.toml")]);
    let refused = daemon.cli(&["check-config", "--connect"]);
    assert_ne!(refused.code, 0, "{}", refused.stdout);
    assert!(refused.stderr.contains("webhooks.tls_ca_file"), "{}", refused.stderr);
}

/// A secret and its endpoint's id, made by the running daemon.
fn add(daemon: &Daemon, receiver: &Receiver) -> (String, String) {
    let made = daemon.cli(&["webhook", "add", "--account", "default", &receiver.url()]);
    assert_eq!(made.code, 0, "{}", made.stderr);
    let id = made.stderr.split_once("Webhook ").unwrap().1.split(' ').next().unwrap().to_owned();
    (id, made.stdout.trim().to_owned())
}

#[rstest]
fn a_webhook_whose_fate_was_not_recorded_is_repeated_as_the_same_one(
    #[values(Store::Embedded, Store::Redis)] store: Store,
) {
    let receiver = Receiver::start();
    receiver.answers(&[Answer::Silence]);
    let mut daemon = Daemon::start(store, &[PRIVATE, ("USHERD_MAIL__TIMEOUT", "1s")]);
    let (_, secret) = add(&daemon, &receiver);
    daemon.create_user(GRACE);
    receiver.wait_for(1);
    daemon.kill9();
    daemon.restart();
    let hooks = receiver.wait_for(2);
    assert_eq!(hooks[0].id(), hooks[1].id());
    assert!(hooks.iter().all(|hook| hook.is_signed_with(&secret)));
    eventually(|| daemon.ops("/metrics").text().contains("usherd_webhooks_total{outcome=\"taken\"} 1").then_some(()));
    daemon.assert_consistent("default");
    let kept = daemon.stored();
    assert!(!kept.windows(secret.len() - 6).any(|part| part == &secret.as_bytes()[6..]), "the secret is stored");
    assert!(!daemon.logs().contains("tenant=7") && !daemon.logs().contains(&secret[6..]), "{}", daemon.logs());
}

#[rstest]
fn a_silent_endpoint_holds_up_neither_mails_nor_other_endpoints(#[values(Store::Embedded, Store::Redis)] store: Store) {
    let (silent, well) = (Receiver::start(), Receiver::start());
    silent.answers_all(Answer::Silence);
    let daemon = Daemon::start(store, &[PRIVATE, ("USHERD_MAIL__RATE", "off")]);
    let (dead, _) = add(&daemon, &silent);
    add(&daemon, &well);
    let listed = daemon.cli(&["webhook", "list", "--account", "default"]).stdout;
    assert_eq!(listed.lines().filter(|line| line.starts_with(&dead)).count(), 1, "{listed}");
    for number in 0..40 {
        daemon.create_user(&format!("n{number}@example.org"));
    }
    eventually(|| (daemon.mails().len() >= 40).then_some(()));
    well.wait_for(40);
    let heard = silent.hooks().len();
    assert!(heard < 40, "{heard} were sent to an endpoint that answers none");
    let removed = daemon.cli(&["webhook", "remove", "--account", "default", &dead]);
    assert_eq!(removed.code, 0, "{}", removed.stderr);
    let gone = daemon.cli(&["webhook", "remove", "--account", "default", &dead]);
    assert_eq!((gone.code, gone.stderr.contains("there is no webhook")), (1, true), "{}", gone.stderr);
}

#[test]
fn without_permission_a_webhook_goes_over_https_only() {
    let daemon = Daemon::start(Store::Embedded, &[]);
    let refused = daemon.cli(&["webhook", "add", "--account", "default", "http://app.example.com/"]);
    assert_eq!((refused.code, refused.stdout.as_str()), (1, ""));
    assert!(refused.stderr.contains("webhooks.allow_private"), "{}", refused.stderr);
    assert_eq!(daemon.cli(&["webhook", "list", "--account", "default"]).stdout.trim(), "");
}
