//! Whatever a healthy account has been through, nothing is found.

use proptest::prelude::*;
use serde_json::{Value, json};
use usherd::directory::provision::IfMatch;
use usherd::directory::reconcile::{Mode, Report};
use usherd::directory::{Error, Kind};

use crate::furnished::{DAY, House, MINUTE, Store, user};

#[derive(Debug, Clone)]
enum Deed {
    Create(u8),
    Activate(u8, bool),
    Delete(u8),
    Accept(u8),
    Join(u8, bool),
    Assign(u8, bool),
    DropLicense,
    Pass(u32),
    Work,
}

fn deeds() -> impl Strategy<Value = Vec<Deed>> {
    let who = || 0_u8..8;
    let deed = prop_oneof![
        4 => who().prop_map(Deed::Create),
        3 => (who(), any::<bool>()).prop_map(|(who, active)| Deed::Activate(who, active)),
        1 => who().prop_map(Deed::Delete),
        3 => who().prop_map(Deed::Accept),
        2 => (who(), any::<bool>()).prop_map(|(who, joins)| Deed::Join(who, joins)),
        2 => (who(), any::<bool>()).prop_map(|(who, gets)| Deed::Assign(who, gets)),
        1 => Just(Deed::DropLicense),
        2 => prop_oneof![1_u32..30, Just(1_440), Just(10_000), Just(150_000)].prop_map(Deed::Pass),
        3 => Just(Deed::Work),
    ];
    prop::collection::vec(deed, 30..60)
}

async fn do_it(house: &House, deed: &Deed) {
    let name = |who: &u8| format!("h{who}");
    let found = async |who: &u8| {
        let address = format!("{}@example.org", name(who));
        house.directory().find_user(&house.account, &address).await.unwrap().filter(|record| record.exists())
    };
    let client = &house.client;
    let refused = match deed {
        Deed::Create(who) => {
            let body = user(&format!("{}@example.org", name(who)));
            house.directory().create_user(client, body).await.map(|_| ())
        }
        Deed::Activate(who, active) => match found(who).await {
            Some(record) => {
                let body = crate::daemon::set_active(*active);
                let id = record.user.id.to_string();
                house.directory().patch_user(client, &id, &IfMatch::Any, body).await.map(|_| ())
            }
            None => Ok(()),
        },
        Deed::Delete(who) => match found(who).await {
            Some(record) => house.directory().delete_user(client, &record.user.id.to_string(), &IfMatch::Any).await,
            None => Ok(()),
        },
        Deed::Accept(who) => {
            let address = format!("{}@example.org", name(who));
            match house.mails_to(&address).last().filter(|mail| mail.text.contains("/i/")) {
                Some(mail) => house.try_accept(&mail.link(), &address).await,
                None => Ok(()),
            }
        }
        Deed::Join(who, joins) => match found(who).await {
            Some(record) => {
                let id = record.user.id;
                let operation = match joins {
                    true => json!({ "op": "add", "path": "members", "value": [{ "value": id }] }),
                    false => json!({ "op": "remove", "path": format!("members[value eq \"{id}\"]") }),
                };
                let team = house.resource(Kind::Group, "Team").await;
                let body = crate::daemon::patch(json!([operation]));
                house.directory().patch_resource(client, Kind::Group, &team, &IfMatch::Any, body).await.map(|_| ())
            }
            None => Ok(()),
        },
        Deed::Assign(who, gets) => match found(who).await {
            Some(record) => {
                let licenses: Value = if *gets { json!([{ "value": "TestOps" }]) } else { json!([]) };
                let path = format!("{}:licenses", crate::daemon::USHERD);
                let body = crate::daemon::patch(json!([{ "op": "replace", "path": path, "value": licenses }]));
                let id = record.user.id.to_string();
                house.directory().patch_user(client, &id, &IfMatch::Any, body).await.map(|_| ())
            }
            None => Ok(()),
        },
        Deed::DropLicense => {
            let license = house.dump().await.documents.keys().find(|(kind, _)| kind == "license").cloned();
            match license {
                Some((_, id)) => house.directory().delete_resource(client, Kind::License, &id, &IfMatch::Any).await,
                None => Ok(()),
            }
        }
        Deed::Pass(minutes) => {
            house.opened.store.advance(MINUTE * *minutes);
            house.work().await;
            Ok(())
        }
        Deed::Work => {
            house.work().await;
            Ok(())
        }
    };
    match refused {
        Ok(()) | Err(Error::Refused(_) | Error::Invalid(_) | Error::Taken { .. } | Error::Protocol(_)) => {}
        Err(error) => panic!("{deed:?}: {error}"),
    }
}

/// Nothing but the wish for an admin, in an account whose admin may have gone.
fn check(report: &Report) -> Result<(), TestCaseError> {
    prop_assert_eq!(&report.findings, &[]);
    Ok(())
}

fn holds_after_anything(store: Store, cases: u32) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let mut runner = proptest::test_runner::TestRunner::new(ProptestConfig { cases, ..ProptestConfig::default() });
    let outcome = runner.run(&deeds(), |deeds| {
        runtime.block_on(async {
            let house = House::furnished(store).await;
            for deed in &deeds {
                do_it(&house, deed).await;
            }
            house.after(DAY / 24).await;
            check(&house.reconcile(Mode::Repair).await)
        })
    });
    outcome.unwrap();
}

#[test]
fn a_healthy_account_on_the_embedded_store_has_no_findings_whatever_happened() {
    holds_after_anything(Store::Embedded, 12);
}

#[test]
fn a_healthy_account_on_redis_has_no_findings_whatever_happened() {
    holds_after_anything(Store::Redis, 6);
}
