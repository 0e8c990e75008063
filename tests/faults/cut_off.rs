//! What is left of a change whose request dies between any two of its steps, or that somebody else crosses there.

use std::collections::BTreeSet;
use std::future::poll_fn;
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use rstest::rstest;
use usherd::directory::account_settings::AccountChanges;
use usherd::directory::accounts::by_operator;
use usherd::directory::invitations::Action;
use usherd::directory::tokens::Token;
use usherd::directory::{Error, Request, entropy};
use usherd::domain::ids::AccountId;
use usherd::domain::secrets::ProvisioningToken;
use usherd::store::{Batch, Entry, Index, Space, Write};

use crate::bounds::{by_api, client, tell};
use crate::daemon::Store;
use crate::house::address as address_of;
use crate::in_process::House;
use crate::smtp::SmtpServer;

const MINUTE: Duration = Duration::from_secs(60);
/// A future that finds everything ready is over without a wait: how often it waits depends on how quickly the thread of
/// the store answers. So it begins again until it has been cut off in several places, for so many rounds.
const ROUNDS: usize = 60;

/// Lets a future come as far as `steps` waits; its outcome when it was done before.
async fn so_far<F: Future>(mut future: std::pin::Pin<&mut F>, steps: usize) -> Option<F::Output> {
    let mut taken = 0;
    poll_fn(|context| {
        if taken == steps {
            return Poll::Ready(None);
        }
        taken += 1;
        future.as_mut().poll(context).map(Some)
    })
    .await
}

async fn dump(house: &House, account: &AccountId) -> String {
    format!("{:?}", house.opened.store.dump(&Space::Account(account.clone())).await.unwrap())
}

#[rstest]
#[tokio::test]
async fn an_erasure_that_is_cut_off_anywhere_is_finished_by_its_timer_or_by_asking_again(
    #[values(Store::Embedded, Store::Redis)] store: Store,
    #[values(true, false)] asks_again: bool,
) {
    let house = House::open(store, &[("USHERD_PROVISIONING__ADMIT", "silent")]).await;
    let request = by_api(&house, &client(&house, "admin", None).await);
    let mut finished_by_rest = 0;
    for steps in 1.. {
        let name = format!("victim{steps:03}");
        let id = house.create(&format!("{name}@example.org")).await;
        // What is said of all before them comes to more than one look at the story.
        tell(&house, "PATCH", &format!("/scim/v2/Users/{id}"), &format!(r#"{{"displayName":"{name}"}}"#)).await;
        tell(&house, "POST", "/scim/v2/Users", &format!(r#"{{"userName":"{name}@example.org"}}"#)).await;
        house.directory().act(&request, &id, &Action::Deactivate).await.unwrap();
        let done = so_far(pin!(house.directory().erase_user(&request, &id)), steps).await;
        let is_begun = !matches!(house.directory().find_user(&house.account, &id).await, Ok(Some(_)));
        let is_left = dump(&house, &house.account).await.contains(&name);
        finished_by_rest += usize::from(is_begun && is_left);
        if asks_again {
            match house.directory().erase_user(&request, &id).await {
                Ok(()) => {}
                // The last step was on its way already.
                Err(Error::NotFound(_)) => assert!(is_begun, "step {steps}"),
                Err(error) => panic!("step {steps}: {error}"),
            }
        } else {
            house.after(MINUTE).await;
        }
        if is_begun || asks_again {
            let left = dump(&house, &house.account).await;
            assert!(!left.contains(&name), "step {steps}: {left}");
        }
        if let Some(done) = done {
            done.unwrap();
            break;
        }
    }
    assert!(finished_by_rest > 2, "only {finished_by_rest} were cut off half-way");
}

#[rstest]
#[tokio::test]
async fn a_letter_that_was_given_up_goes_with_whom_it_was_for(#[values(Store::Embedded, Store::Redis)] store: Store) {
    let server = SmtpServer::start(&[]);
    let relay = server.url("smtp", "");
    let house = House::open(store, &[("USHERD_MAIL__URL", &relay), ("USHERD_INVITATIONS__TTL", "30d")]).await;
    let [erased, other] = ["drop-after-data@countess.example.org", "drop-after-data@charles.example.org"];
    let id = house.create(erased).await;
    house.create(other).await;
    for minutes in [1, 5, 15, 60, 180, 360] {
        house.after(MINUTE * minutes + Duration::from_secs(1)).await;
    }
    let operator = by_operator(&house.account);
    let dead = async || {
        let letters = house.directory().dead_letters(&operator, 10).await.unwrap();
        letters.iter().map(|letter| letter.to.as_str().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(dead().await, [erased, other]);
    house.directory().erase_user(&operator, &id).await.unwrap();
    assert_eq!(dead().await, [other]);
    assert!(!dump(&house, &house.account).await.contains("countess"));
}

#[rstest]
#[tokio::test]
async fn a_rotation_that_is_cut_off_leaves_no_second_token_beside_one_without_an_end(
    #[values(Store::Embedded, Store::Redis)] store: Store,
    #[values(true, false)] by_admin: bool,
) {
    let house = House::open(store, &[]).await;
    let directory = house.directory();
    let operator = by_operator(&house.account);
    let (mut cut, mut steps, mut finished) = (BTreeSet::new(), 0, 0);
    for round in 0..ROUNDS {
        steps += 1;
        let name = format!("client{round:03}");
        client(&house, &name, None).await;
        let own = async || {
            let tokens = directory.list_tokens(&house.account).await.unwrap().into_iter();
            tokens.filter(|token| token.client.as_str() == name).collect::<Vec<Token>>()
        };
        let old = own().await.remove(0);
        let rotate = async || match by_admin {
            true => directory.renew_token(&operator, old.id, MINUTE, None).await,
            false => directory.rotate_token(&house.account, old.id, MINUTE, None).await,
        };
        let done = so_far(pin!(rotate()), steps).await;
        // What was on its way arrives before this.
        dump(&house, &house.account).await;
        let tokens = own().await;
        match tokens.as_slice() {
            [alone] => assert_eq!(*alone, old, "step {steps}"),
            both => {
                let left = both.iter().find(|token| token.id == old.id).unwrap();
                assert!(left.expires_at.is_some(), "step {steps}: {both:?}");
                assert_eq!(both.len(), 2);
            }
        }
        if let Some(done) = done {
            let (token, secret): (Token, ProvisioningToken) = done.unwrap();
            assert_eq!(directory.identify(secret.expose()).await.unwrap(), (house.account.clone(), token.id));
            finished += 1;
            if cut.len() > 2 {
                break;
            }
            steps = 0;
            continue;
        }
        cut.insert(steps);
    }
    assert!(finished > 0 && cut.len() > 2, "finished {finished} times, cut off at {cut:?} in {ROUNDS} rounds");
}

#[rstest]
#[tokio::test]
async fn who_changes_to_another_account_gets_there_although_its_settings_change_at_that_moment(
    #[values(Store::Embedded, Store::Redis)] store: Store,
) {
    let house = House::open(store, &[]).await;
    let directory = house.directory();
    let address = "boss@example.org";
    let [here, there]: [AccountId; 2] = ["here", "there"].map(|id| id.parse().unwrap());
    for account in [&here, &there] {
        let link = directory.create_account(account, account.as_str(), &address_of(address)).await.unwrap();
        house.accept(&link, address).await;
    }
    let (mut crossed, mut steps, mut finished) = (BTreeSet::new(), 0, 0);
    for round in 0..ROUNDS {
        steps += 1;
        // A code is asked for so often only.
        house.after(MINUTE * 60).await;
        let asking = directory.ask_code(&here, &address_of(address), None).await.unwrap();
        house.work().await;
        let code = house.mails_to(address).pop().unwrap().code().unwrap();
        let (session, _) = directory.enter_code(&asking, &code, None).await.unwrap().unwrap();

        let mut change = pin!(directory.change_account(&session, &there, None));
        let begun = so_far(change.as_mut(), steps).await;
        let name = Some(format!("There {round}"));
        let changes = AccountChanges { name, ..AccountChanges::default() };
        directory.set_account(&by_operator(&there), None, &changes).await.unwrap();
        let is_over = begun.is_some();
        let outcome = match begun {
            Some(outcome) => outcome,
            None => change.await,
        };
        assert!(outcome.as_ref().is_ok_and(Option::is_some), "step {steps}: {:?}", outcome.map(|_| ()));
        if !is_over {
            crossed.insert(steps);
            continue;
        }
        finished += 1;
        if crossed.len() > 2 {
            break;
        }
        steps = 0;
    }
    assert!(finished > 0 && crossed.len() > 2, "finished {finished} times, crossed at {crossed:?} in {ROUNDS} rounds");
}

/// More tokens of the house's account, like one that there is.
async fn many_tokens(house: &House, like: &Token, count: usize) {
    for number in 0..count.div_ceil(250) {
        let mut batch = Batch::new(entropy::commit_id(house.opened.store.now()));
        for _ in 0..250.min(count - number * 250) {
            let now = house.opened.store.now();
            let token = Token { id: entropy::token_id(now), ..like.clone() };
            batch.writes.push(Write::Put {
                key: usherd::directory::keys::token(token.id),
                revision: 1,
                created: now,
                modified: now,
                body: serde_json::to_vec(&token).unwrap().into(),
                state: bytes::Bytes::new(),
            });
            let entry = Entry { key: token.client.to_string(), id: token.id.to_string() };
            batch.writes.push(Write::IndexAdd { index: Index::new("token"), entry });
        }
        house.opened.store.commit(&Space::Account(house.account.clone()), &batch).await.unwrap();
    }
}

#[rstest]
#[tokio::test]
async fn every_token_is_listed_and_a_thousand_are_as_many_as_an_account_may_have(
    #[values(Store::Embedded, Store::Redis)] store: Store,
) {
    let house = House::open(store, &[]).await;
    let directory = house.directory();
    let admin: Request = by_api(&house, &client(&house, "admin", None).await);
    let count = async || directory.list_tokens(&house.account).await.unwrap().len();
    let some = directory.list_tokens(&house.account).await.unwrap().pop().unwrap();
    many_tokens(&house, &some, 1_002 - count().await).await;
    // More than there may be, as after two requests at the same moment.
    assert_eq!(count().await, 1_002);
    let refused = directory.rotate_token(&house.account, some.id, MINUTE, None).await.map(|_| ());
    let Err(Error::TooMany(words)) = refused else { panic!("{refused:?}") };
    assert!(words.contains("revoke"), "{words}");
    assert!(matches!(directory.renew_token(&admin, some.id, MINUTE, None).await, Err(Error::TooMany(_))));

    let tokens = directory.tokens(&admin).await.unwrap();
    for token in tokens.iter().filter(|token| token.id != some.id && token.client == some.client).take(3) {
        directory.end_token(&admin, token.id).await.unwrap();
    }
    assert_eq!(count().await, 1_002, "what has ended is told of while there is room");
    directory.rotate_token(&house.account, some.id, MINUTE, None).await.unwrap();
    assert_eq!(count().await, 1_000, "and makes way when there is none");
    assert!(matches!(directory.rotate_token(&house.account, some.id, MINUTE, None).await, Err(Error::TooMany(_))));
}

#[rstest]
#[tokio::test]
async fn a_token_that_ended_is_forgotten_with_its_audit_but_not_the_secret_that_is_configured(
    #[values(Store::Embedded, Store::Redis)] store: Store,
) {
    let house = House::open(store, &[]).await;
    let directory = house.directory();
    let admin = by_api(&house, &client(&house, "admin", None).await);
    client(&house, "gone", Some(MINUTE)).await;
    let secret = ProvisioningToken::configured("usp_configured-secret-of-32-characters").unwrap();
    let new = crate::bounds::new_token("configured", None);
    directory.ensure_token(&house.account, new.clone(), &secret).await.unwrap();
    let (_, configured) = directory.identify(secret.expose()).await.unwrap();
    directory.end_token(&admin, configured).await.unwrap();

    let clients = async || {
        let tokens = directory.list_tokens(&house.account).await.unwrap();
        tokens.iter().map(|token| token.client.to_string()).collect::<Vec<_>>()
    };
    house.after(2 * MINUTE).await;
    directory.forget_tokens(&house.account, house.opened.store.now() - 2 * MINUTE).await.unwrap();
    assert_eq!(clients().await, ["admin", "configured", "gone", "okta"], "it is too early");
    directory.forget_tokens(&house.account, house.opened.store.now()).await.unwrap();
    assert_eq!(clients().await, ["admin", "configured", "okta"]);
    // The next start.
    directory.ensure_token(&house.account, new, &secret).await.unwrap();
    let request = Request::by_token(house.account.clone(), configured, usherd::directory::Door::Scim, None);
    assert!(matches!(directory.open(&request, &[]).await, Err(Error::Unauthorized)), "a revoked token came back");
}
