//! What is kept and for how long: months in this process, with the worker and the ticker that a daemon runs.

use std::time::Duration;

use rstest::rstest;
use serde_json::{Value, json};
use usherd::directory::provision::IfMatch;
use usherd::directory::reconcile::Mode;
use usherd::domain::user::State;
use usherd::jobs::schedule::JobName;
use usherd::jobs::ticker::{Calm, Ticker};
use usherd::metrics::Metrics;

use crate::daemon::{NEVER, Store, user};
use crate::house::DAY;
use crate::in_process::House;

/// A tick of the retention, which runs once a day.
const TICK: Duration = Duration::from_secs(86_400);

impl House {
    pub fn ticker(&self) -> Ticker {
        Ticker {
            directory: self.opened.directory.clone(),
            metrics: Metrics::new().into(),
            retention: self.settings.jobs.schedule(JobName::Retention).clone(),
            digest: self.settings.jobs.schedule(JobName::Digest).clone(),
            reconcile: self.settings.jobs.schedule(JobName::Reconcile).clone(),
            audit_keep: self.settings.audit.keep,
            calm: Calm::default(),
        }
    }

    /// Everything that is due by the clock, too.
    async fn days(&self, ticker: &Ticker, days: u32) {
        self.after(DAY * days).await;
        ticker.run_one().await.unwrap();
        self.work().await;
    }

    /// No day begins soon.
    fn until_noon(&self) {
        let now = Duration::from_millis(u64::try_from(self.now().as_millis()).unwrap());
        let past = Duration::from_secs(now.as_secs() % DAY.as_secs());
        self.opened.store.advance(DAY + DAY / 2 - past);
    }

    async fn assert_sound(&self) {
        let findings = self.directory().reconcile(&self.account, Mode::DryRun).await.unwrap().findings;
        let wrong: Vec<_> = findings.iter().filter(|finding| !finding.to_string().starts_with("V10")).collect();
        assert!(wrong.is_empty(), "{wrong:?}");
    }
}

#[rstest]
#[tokio::test(flavor = "multi_thread")]
async fn who_was_invited_by_hand_and_never_came_is_inactive_after_ninety_days(
    #[values(Store::Embedded, Store::Redis)] store: Store,
) {
    let house = House::open(store, &[("USHERD_INVITATIONS__MAX_RENEWALS", "0")]).await;
    let address = "ada@example.org";
    let id = house.create(address).await;
    house.create("grace@example.org").await;
    house.directory().release_user(&usherd::directory::accounts::by_operator(&house.account), &id).await.unwrap();
    house.after(DAY * 8).await;
    assert_eq!(house.status(address).await, "Pending expired");
    house.after(DAY * 88).await;
    assert_eq!(house.status(address).await, "Pending expired");
    house.after(DAY * 4 + TICK).await;
    assert_eq!(house.status(address).await, "Inactive system");
    assert_eq!(house.status("grace@example.org").await, "Pending expired", "her provider still wants her in");
    house.assert_sound().await;
}

#[rstest]
#[tokio::test(flavor = "multi_thread")]
async fn people_are_counted_day_by_day_and_the_charts_know_who_waits_and_what_was_mailed(
    #[values(Store::Embedded, Store::Redis)] store: Store,
) {
    let house = House::open(store, &[("USHERD_INVITATIONS__MAX_RENEWALS", "0")]).await;
    house.until_noon();
    let ticker = house.ticker();
    ticker.run_one().await.unwrap();
    house.create("early@example.org").await;
    house.days(&ticker, 20).await;
    house.create("late@example.org").await;
    house.create("later@example.org").await;
    house.days(&ticker, 2).await;
    house.create("today@example.org").await;
    house.work().await;
    // Two replicas at once, on a day that has been counted already.
    let (one, other) =
        tokio::join!(house.directory().take_census(&house.account), house.directory().take_census(&house.account));
    one.unwrap();
    other.unwrap();
    let census = async || {
        let operator = usherd::directory::accounts::by_operator(&house.account);
        let (context, _) = house.directory().open(&operator, &[]).await.unwrap();
        house.directory().census(&context).await.unwrap()
    };
    let seen = census().await;
    let counted: Vec<_> = seen.days.iter().map(|day| (day.pending, day.active, day.inactive)).collect();
    assert_eq!(counted, [(1, 0, 0), (4, 0, 0)]);
    assert_eq!(seen.days[1].day.duration_since(seen.days[0].day).as_hours(), 48);
    assert_eq!(seen.pending, [1, 2, 0, 1, 0]);
    let mailed = house.mails().len();
    assert!(mailed > 4, "four invitations and their reminders");
    assert_eq!((seen.mails.sent, seen.mails.waiting, seen.mails.given_up), (mailed as u64, 0, 0));

    house.days(&ticker, 40).await;
    house.create("new@example.org").await;
    house.work().await;
    let seen = census().await;
    assert_eq!(seen.pending, [1, 0, 0, 0, 4]);
    assert_eq!(house.mails().len(), mailed + 1);
    assert_eq!(seen.mails.sent, 1, "what was sent before is no part of the last thirty days");
    house.assert_sound().await;
}

#[rstest]
#[tokio::test(flavor = "multi_thread")]
async fn of_who_was_deleted_nothing_is_left_after_four_hundred_days(
    #[values(Store::Embedded, Store::Redis)] store: Store,
) {
    let house = House::open(store, &[]).await;
    let ticker = house.ticker();
    ticker.run_one().await.unwrap();
    let mut body = user("countess@example.org");
    body["externalId"] = "00ucountess".into();
    body["name"] = json!({ "givenName": "Augusta", "familyName": "Lovelace" });
    let (_, record) = house.directory().create_user(&house.client, body).await.unwrap();
    house.work().await;
    let id = record.user.id.to_string();
    house.directory().delete_user(&house.client, &id, &IfMatch::Any).await.unwrap();
    let traces = async || {
        let dump = format!("{:?}", house.dump().await);
        ["countess", "Augusta", "Lovelace"].into_iter().filter(|trace| dump.contains(trace)).collect::<Vec<_>>()
    };
    house.days(&ticker, 1).await;
    // A tombstone knows a namesake, so that the audit of both is told apart, and no more.
    assert_eq!(house.record_of(&id).await.map(|state| state == State::T), Some(true));
    assert!(traces().await.iter().all(|trace| *trace == "countess"), "{:?}", traces().await);
    house.days(&ticker, 398).await;
    assert!(house.record_of(&id).await.is_some(), "it is remembered for 400 days");
    house.days(&ticker, 3).await;
    assert_eq!(house.record_of(&id).await, None);
    assert_eq!(traces().await, [] as [&str; 0]);
    house.assert_sound().await;
}

impl House {
    async fn record_of(&self, id: &str) -> Option<State> {
        let key = usherd::store::DocumentKey::new("user", id);
        let found = self.opened.store.get(&self.space(), &[key]).await.unwrap().pop().flatten()?;
        Some(usherd::directory::record::UserRecord::decode(&found).unwrap().user.state())
    }
}

#[rstest]
#[tokio::test(flavor = "multi_thread")]
async fn audit_events_are_kept_for_ninety_days_and_leave_no_gap(#[values(Store::Embedded, Store::Redis)] store: Store) {
    let house = House::open(store, &[("USHERD_JOBS__DIGEST", NEVER)]).await;
    let ticker = house.ticker();
    ticker.run_one().await.unwrap();
    let id = house.create("ada@example.org").await;
    let kept = async || {
        let events = house.dump().await.events;
        let told = events.iter().map(|body| serde_json::from_slice::<Value>(body).unwrap());
        told.filter(|event| event["user"] == *id && event["event"] == "user.provisioned").count()
    };
    house.days(&ticker, 89).await;
    assert_eq!(kept().await, 1);
    house.days(&ticker, 2).await;
    assert_eq!(kept().await, 0);
    // Revisions that nobody tells of any more are no gap (V13).
    house.set_active(&id, false).await;
    house.assert_sound().await;
}

#[rstest]
#[tokio::test(flavor = "multi_thread")]
async fn a_mail_that_was_given_up_is_kept_for_thirty_days_and_by_reconciliation_too(
    #[values(Store::Embedded, Store::Redis)] store: Store,
) {
    let server = crate::smtp::SmtpServer::start(&[]);
    let overrides = [("USHERD_MAIL__URL", server.url("smtp", "")), ("USHERD_INVITATIONS__TTL", "30d".to_owned())];
    let overrides: Vec<_> = overrides.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let house = House::open(store, &overrides).await;
    let id = house.create("defer-451@example.org").await;
    house.create("grace@example.org").await;
    for minutes in [1, 5, 15, 60, 180, 360] {
        house.after(Duration::from_secs(minutes * 75)).await;
    }
    let operator = usherd::directory::accounts::by_operator(&house.account);
    let dead = async || house.directory().dead_letters(&operator, 10).await.unwrap().len();
    assert_eq!(house.status("defer-451@example.org").await, "Pending send_failed");
    assert_eq!(dead().await, 1);
    house.directory().reconcile(&house.account, Mode::Repair).await.unwrap();
    assert_eq!(dead().await, 1, "somebody may still try it again");
    house.directory().delete_user(&house.client, &id, &IfMatch::Any).await.unwrap();
    house.assert_sound().await;
    house.directory().erase_user(&operator, &id).await.unwrap();
    assert_eq!(dead().await, 0, "no address is left of whoever is erased");
    house.assert_sound().await;
}
