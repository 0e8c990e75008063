//! One case of the matrix in an account of its own, with everything that whoever it is about can be assigned to.

use std::time::Duration;

use serde_json::{Value, json};
use usherd::directory::Directory;
use usherd::directory::account::Own;
use usherd::directory::account_settings::{AccountChanges, Setting};
use usherd::directory::accounts::by_operator;
use usherd::directory::timers::DueLetter;
use usherd::directory::tokens::NewToken;
use usherd::domain::ids::{AccountId, OutboxId};
use usherd::domain::lifecycle::{Admit, BrakeLimit};
use usherd::domain::names::ClientName;
use usherd::domain::secrets::{Scope, Scopes};
use usherd::domain::time::Timestamp;
use usherd::jobs::worker::Worker;
use usherd::store::{Document, Space};

use super::{Place, fire};
use crate::house::{DAY, House, MINUTE};
use crate::issuer::{Issuer, Key};
use crate::matrix::{Case, Given, State};
use crate::requests::{Faces, Reply};
use crate::situation::{NEW_ADDRESS, NEW_USER_NAME, OWN_CLIENT};

pub(super) const SECOND: Duration = Duration::from_secs(1);
pub const HOOK_SECRET: &[u8] = b"thirty-two octets of no surprise";
pub const USHERD: &str = "urn:ietf:params:scim:schemas:extension:usherd:2.0:User";
pub const CORE: &str = "urn:ietf:params:scim:schemas:core:2.0:User";

pub struct Scene<'a> {
    pub house: &'a House,
    pub faces: &'a Faces,
    /// A worker that lets mails wait.
    pub still: &'a Worker,
    /// By whom people may sign in, and the key that it signs with.
    pub issuer: &'a (Issuer, Key),
    pub case: &'a Case,
    pub account: AccountId,
    pub user_name: String,
    pub address: &'static str,
    /// Whoever it is about, once there is somebody.
    pub id: Option<String>,
    /// The link of the generation that the case is about.
    pub link: Option<String>,
    /// Its mail: the one that a bounce may be reported of later.
    pub letter: Option<OutboxId>,
    /// A mail that was on its way when the state was reached.
    pub on_its_way: Option<Box<DueLetter>>,
    /// When the first timer of the person was to ring.
    pub first_expiry: Option<Timestamp>,
    /// The admin of the account, where there is one.
    pub admin_cookie: Option<String>,
    /// What could not be reached from outside and was written into the store.
    pub patched: bool,
}

impl<'a> Scene<'a> {
    pub async fn stage(place: &'a Place, case: &'a Case, number: usize) -> Self {
        let Place { house, faces, still, issuer } = place;
        let given = &case.given;
        let address = if fire::goes_through_the_relay(case) { "defer-451@example.com" } else { "ada@example.com" };
        let mut scene = Scene {
            house,
            faces,
            still,
            issuer,
            case,
            account: format!("case-{number}").parse().unwrap(),
            user_name: "ada".to_owned(),
            address,
            id: None,
            link: None,
            letter: None,
            on_its_way: None,
            first_expiry: None,
            admin_cookie: None,
            patched: false,
        };
        scene.furnish().await;
        scene.people().await;
        scene.policy(given).await;
        scene
    }

    pub fn directory(&self) -> &'a Directory {
        &self.house.opened.directory
    }

    pub fn space(&self) -> Space {
        Space::Account(self.account.clone())
    }

    pub fn now(&self) -> Timestamp {
        self.house.now()
    }

    /// The token of a client, with what the case says of its rights.
    pub async fn token(&self, client: &str, scopes: &[Scope], test: bool) -> String {
        let new = NewToken {
            client: ClientName::parse(client).unwrap(),
            scopes: scopes.iter().copied().collect::<Scopes>(),
            profile: "lenient".to_owned(),
            test,
            expires: None,
        };
        let (_, secret) = self.directory().create_token(&self.account, new).await.unwrap();
        secret.expose().to_owned()
    }

    /// Of the client that acts.
    pub async fn provider(&self) -> String {
        let given = &self.case.given;
        let mut scopes: Vec<Scope> = Scopes::bootstrap().iter().collect();
        scopes.extend((given.takeover == Some(true)).then_some(Scope::UsersTakeover));
        scopes.retain(|scope| *scope != Scope::RolesWrite || given.roles_write != Some(false));
        self.token(OWN_CLIENT, &scopes, given.policy_hold.as_deref() == Some("test_token")).await
    }

    pub(super) async fn furnishing(&self) -> String {
        self.token("furnisher", &Scope::ALL, false).await
    }

    /// Of a script of the admins.
    pub async fn script(&self) -> String {
        let test = self.case.given.policy_hold.as_deref() == Some("test_token");
        self.token("script", &Scope::ALL, test).await
    }

    pub(super) async fn set(&self, changes: AccountChanges) {
        self.directory().set_account(&by_operator(&self.account), None, &changes).await.unwrap();
    }

    /// The account with what somebody can be assigned to.
    pub(super) async fn furnish(&mut self) {
        let given = &self.case.given;
        let needs_admin = given.last_admin != Some(true)
            && (given.role.is_some() || given.change.as_deref() == Some("to_account_admin"));
        if needs_admin {
            let root = "root@example.com".parse().unwrap();
            let link = self.directory().create_account(&self.account, "Acme", &root).await.unwrap();
            let reply = self.accept(&link, "root@example.com").await;
            assert_eq!(reply.status, 200, "{}", reply.text);
            self.admin_cookie = reply.cookie("__Host-usherd-session");
        } else {
            self.directory().ensure_account(&self.account, "Acme").await.unwrap();
        }
        let renews = ["renewal_due", "expiry_due"].contains(&self.case.event.as_str());
        let renewals = if renews { given.renewals_left.unwrap_or(2) } else { 0 };
        self.set(AccountChanges {
            hold_above: Some(Setting::Own(Own::Off)),
            brake: Some(Setting::Own(Own::Off)),
            max_renewals: Some(Setting::Own(renewals)),
            ..AccountChanges::default()
        })
        .await;
        let token = self.furnishing().await;
        let seats = if given.shortfall == Some(true) { 0 } else { 5 };
        for (kind, body) in [
            ("Organizations", json!({ "displayName": "Research" })),
            ("Projects", json!({ "displayName": "Apollo" })),
            ("Licenses", json!({ "displayName": "Seat", "kind": "per-user", "seats": seats })),
            ("Licenses", json!({ "displayName": "Other", "kind": "per-user", "seats": 5 })),
        ] {
            let made = self.faces.json(&token, "POST", &format!("/scim/v2/{kind}"), &body).await;
            assert_eq!(made.status, 201, "{}", made.text);
        }
    }

    /// Whoever the case needs besides the one that it is about.
    pub(super) async fn others(&self) {
        let given = &self.case.given;
        let token = self.furnishing().await;
        let grace = match (given.address_taken, given.user_name_taken) {
            (Some(true), _) if self.case.state == State::N => Some(("grace", self.address)),
            (Some(true), _) => Some(("grace", NEW_ADDRESS)),
            (_, Some(true)) => Some((NEW_USER_NAME, "grace@example.com")),
            _ => None,
        };
        if let Some((name, address)) = grace {
            let body = json!({ "schemas": [CORE], "userName": name, "emails": [{ "value": address }], "active": true });
            self.made(self.faces.json(&token, "POST", "/scim/v2/Users", &body).await);
        }
        match given.cooldown.as_deref() {
            Some("inviter") => {
                // 50 an hour, whoever gets them.
                let script = self.script().await;
                let emails: Vec<String> = (0..50).map(|number| format!("n{number}@example.com")).collect();
                let invited =
                    self.faces.json(&script, "POST", "/api/v1/invitations", &json!({ "emails": emails })).await;
                for row in invited.json()["results"].as_array().unwrap() {
                    let path = format!("/api/v1/users/{}/resend", row["user"]["id"].as_str().unwrap());
                    let resent = self.faces.json(&script, "POST", &path, &Value::Null).await;
                    assert_eq!(resent.status, 200, "{}", resent.text);
                }
            }
            Some("account") => {
                let script = self.script().await;
                for hundred in 0..20 {
                    let emails: Vec<String> =
                        (0..100).map(|number| format!("n{hundred}.{number}@example.com")).collect();
                    let invited =
                        self.faces.json(&script, "POST", "/api/v1/invitations", &json!({ "emails": emails })).await;
                    assert_eq!(invited.status, 200, "{}", invited.text);
                }
            }
            _ => {}
        }
    }

    #[track_caller]
    pub(super) fn made(&self, reply: Reply) -> String {
        assert!([200, 201].contains(&reply.status), "{}: {}", self.case.name, reply.text);
        reply.json()["id"].as_str().unwrap().to_owned()
    }

    /// What a provider sends of the person.
    pub fn body(&self, active: Option<bool>) -> Value {
        let mut body = json!({
            "schemas": [CORE],
            "userName": self.user_name,
            "name": { "givenName": "Ada", "familyName": "Lovelace" },
            "externalId": "00u1",
            "emails": [{ "value": self.address, "type": "work", "primary": true }],
        });
        if let Some(active) = active {
            body["active"] = active.into();
        }
        if self.case.event.starts_with("scim_") && !self.case.event.starts_with("scim_post") {
            // What is written about somebody without an address brings none.
            let addressless = self.case.given.reason.as_deref() == Some("no_address");
            addressless.then(|| body.as_object_mut().unwrap().remove("emails"));
        }
        body
    }

    /// The same with everything that they are assigned to.
    pub fn whole_body(&self, active: bool) -> Value {
        let given = &self.case.given;
        let mut body = self.body(Some(active));
        body["schemas"] = json!([CORE, USHERD]);
        body[USHERD] = json!({
            "organization": { "value": "Research" },
            "projects": [{ "value": "Apollo", "role": "Tester" }],
            "licenses": [{ "value": "Seat" }],
        });
        if let Some(role) = &given.role {
            body[USHERD]["accountRole"] = role.as_str().into();
        }
        if given.policy_hold.as_deref() == Some("start_date") || self.case.event == "hold_due" {
            body[USHERD]["employmentStartDate"] = self.in_days(3).into();
        }
        if given.has_address == Some(false) || given.reason.as_deref() == Some("no_address") {
            body.as_object_mut().unwrap().remove("emails");
        }
        body
    }

    pub fn in_days(&self, days: u32) -> String {
        (self.now() + DAY * days).to_string()[..10].to_owned()
    }

    /// What the account has set by the time of the event.
    pub(super) async fn policy(&mut self, given: &Given) {
        let own = |admit| Some(Setting::Own(admit));
        let brake = given.brake.is_some().then_some(Setting::Own(Own::On(BrakeLimit { min: 0, percent: 0 })));
        if given.brake.is_some() {
            // Somebody else is the one too many. A minute later the next one passes.
            let token = self.token(OWN_CLIENT, &Scope::ALL, false).await;
            self.set(AccountChanges { admit: own(Admit::Silent), brake, ..AccountChanges::default() }).await;
            let body = json!({ "schemas": [CORE], "userName": "bob", "active": true });
            let bob = self.made(self.faces.json(&token, "POST", "/scim/v2/Users", &body).await);
            let reply = self.faces.json(&token, "DELETE", &format!("/scim/v2/Users/{bob}"), &Value::Null).await;
            assert_eq!(reply.status, 503, "{}", reply.text);
        }
        if given.brake.as_deref() == Some("trickle") {
            self.house.opened.store.advance(MINUTE + SECOND);
        }
        self.set(AccountChanges {
            admit: match given.admit.as_deref() {
                Some("silent") => own(Admit::Silent),
                Some("notify") => own(Admit::Notify),
                Some(_) | None => own(Admit::Invite),
            },
            hold_until_start_date: (given.policy_hold.as_deref() == Some("start_date")).then_some(Setting::Own(true)),
            hold_above: (given.policy_hold.as_deref() == Some("first_sync")).then_some(Setting::Own(Own::On(0))),
            ..AccountChanges::default()
        })
        .await;
        if given.seats_free == Some(false) && given.shortfall != Some(true) {
            self.seats(self.taken().await).await;
        }
        if self.case.event == "hold_due" && given.policy_hold.as_deref() == Some("start_date") {
            // The first day of work is moved on.
            let token = self.token(OWN_CLIENT, &Scope::ALL, false).await;
            let path = format!("/scim/v2/Users/{}", self.id.as_ref().unwrap());
            let path_of_day = format!("{USHERD}:employmentStartDate");
            let body = patch(json!([{ "op": "replace", "path": path_of_day, "value": self.in_days(10) }]));
            let reply = self.faces.json(&token, "PATCH", &path, &body).await;
            assert_eq!(reply.status, 200, "{}", reply.text);
        }
    }

    pub(super) async fn taken(&self) -> i64 {
        let dump = self.house.opened.store.dump(&self.space()).await.unwrap();
        let id = self.resource(&dump, "license", "Seat");
        dump.counters.iter().find(|(name, _)| name.contains(&id)).map_or(0, |(_, used)| *used)
    }

    pub fn resource(&self, dump: &usherd::store::Dump, kind: &str, name: &str) -> String {
        let is = |document: &Document| {
            serde_json::from_slice::<Value>(&document.body).is_ok_and(|body| body["displayName"] == name)
        };
        let found = dump.documents.iter().find(|((of, _), document)| of == kind && is(document));
        found.unwrap_or_else(|| panic!("{kind} {name}")).0.1.clone()
    }

    /// How many seats the license has.
    pub async fn seats(&self, seats: i64) {
        let dump = self.house.opened.store.dump(&self.space()).await.unwrap();
        let path = format!("/scim/v2/Licenses/{}", self.resource(&dump, "license", "Seat"));
        let token = self.furnishing().await;
        let body = json!({ "displayName": "Seat", "kind": "per-user", "seats": seats });
        let reply = self.faces.json(&token, "PUT", &path, &body).await;
        assert_eq!(reply.status, 200, "{}", reply.text);
    }
}

pub fn base64(octets: &[u8]) -> String {
    use ::base64::Engine as _;
    ::base64::engine::general_purpose::STANDARD.encode(octets)
}

pub fn patch(operations: Value) -> Value {
    json!({ "schemas": ["urn:ietf:params:scim:api:messages:2.0:PatchOp"], "Operations": operations })
}
