//! Streams of security event tokens against a real receiver: what is told, what is tried again, what is fetched, and
//! what an erasure leaves of it.

use std::time::Duration;

use rstest::rstest;
use serde_json::{Value, json};
use usherd::directory::accounts::by_operator;
use usherd::directory::provision::IfMatch;
use usherd::directory::streams::{Fetch, Fetched};
use usherd::directory::webhooks::Stream;
use usherd::directory::{Error, Kind, Request};
use usherd::domain::ids::EndpointId;
use usherd::domain::secrets::{Scope, Scopes};
use usherd::domain::security_event::Form;

use crate::daemon::{Daemon, Store, patch};
use crate::in_process::House;
use crate::receiver::{Answer, Hook, Receiver};
use crate::tokens::checked;

const PRIVATE: (&str, &str) = ("USHERD_WEBHOOKS__ALLOW_PRIVATE", "true");
const NOTICE: Stream = Stream { form: Form::Notice, audience: None, bearer: false };
const FULL: Stream = Stream { form: Form::Full, audience: None, bearer: false };
const GRACE: &str = "grace@example.org";
const DAY: Duration = Duration::from_secs(86_400);
/// Longer than the longest back-off.
const LONG: Duration = Duration::from_secs(8 * 3_600);
const PROV: &str = "urn:ietf:params:scim:event:prov:";

impl House {
    async fn streams_to(&self, receiver: &Receiver, stream: &Stream) -> (EndpointId, Option<String>) {
        let url = receiver.url().parse().unwrap();
        self.directory().add_stream(&by_operator(&self.account), Some(&url), stream).await.unwrap()
    }

    async fn fetched(&self, stream: &Stream) -> EndpointId {
        self.directory().add_stream(&by_operator(&self.account), None, stream).await.unwrap().0
    }

    fn claims(&self, token: &str) -> Value {
        let keys = self.directory().public_keys().unwrap();
        checked(&keys, token).unwrap_or_else(|| panic!("{token} is not signed by a key of {keys}"))
    }

    /// The claims of what was pushed, in the order of the ids: what happened in one moment is on its way at once.
    fn pushed(&self, receiver: &Receiver) -> Vec<Value> {
        let token = |hook: &Hook| self.claims(std::str::from_utf8(&hook.body).unwrap());
        let mut claims: Vec<Value> = receiver.hooks().iter().map(token).collect();
        claims.sort_by_key(|claims| claims["jti"].as_str().unwrap().to_owned());
        claims
    }

    async fn poll(&self, request: &Request, id: EndpointId, fetch: Fetch) -> Result<Fetched, Error> {
        self.directory().poll_stream(request, id, &fetch).await
    }

    async fn set_name(&self, id: &str, name: &str) {
        let body = patch(json!([{ "op": "replace", "path": "name.familyName", "value": name }]));
        self.directory().patch_user(&self.client, id, &IfMatch::Any, body).await.unwrap();
        self.work().await;
    }

    async fn group(&self, name: &str) -> String {
        let schemas = json!(["urn:ietf:params:scim:schemas:core:2.0:Group"]);
        let body = json!({ "schemas": schemas, "displayName": name, "externalId": "crew" });
        let made = self.directory().create_resource(&self.client, Kind::Group, body).await.unwrap();
        made.resource.id.to_string()
    }
}

fn all() -> Fetch {
    Fetch { wanted: 100, ..Fetch::default() }
}

/// The one event of a token, without what all have in common, and its payload.
fn told(claims: &Value) -> (String, Value) {
    let events = claims["events"].as_object().unwrap();
    assert_eq!(events.len(), 1, "{claims}");
    let (uri, payload) = events.iter().next().unwrap();
    (uri.strip_prefix(PROV).unwrap_or_else(|| panic!("{uri}")).to_owned(), payload.clone())
}

fn names(claims: &[Value]) -> Vec<String> {
    claims.iter().map(|claims| told(claims).0).collect()
}

#[rstest]
#[tokio::test(flavor = "multi_thread")]
async fn a_receiver_hears_in_signed_tokens_what_happens_to_a_person(
    #[values(Store::Embedded, Store::Redis)] store: Store,
) {
    let receiver = Receiver::start();
    receiver.answers_all(Answer::Status(202));
    let house = House::open(store, &[PRIVATE]).await;
    let (stream, bearer) = house.streams_to(&receiver, &Stream { bearer: true, ..NOTICE }).await;
    let id = house.create(GRACE).await;
    house.accept(&house.mails_to(GRACE)[0].link(), GRACE).await;
    let begun = receiver.hooks().len();
    house.set_name(&id, "Hopper").await;
    house.set_active(&id, false).await;
    house.directory().delete_user(&house.client, &id, &IfMatch::Any).await.unwrap();
    house.work().await;

    let claims = house.pushed(&receiver);
    let first = ["create:notice", "activate"];
    assert!(first.iter().all(|name| names(&claims[..begun]).contains(&(*name).to_owned())), "{claims:?}");
    assert_eq!(names(&claims[begun..]), ["patch:notice", "patch:notice", "deactivate", "delete"]);
    let attributes = told(&claims[begun]).1["attributes"].clone();
    assert_eq!(attributes, json!(["name.familyName"]));
    let created = &claims[0];
    let record = told(created).1;
    assert!(record["attributes"].as_array().unwrap().contains(&json!("userName")), "{created}");
    assert_eq!(record.get("data"), None);
    assert_eq!(created["iss"], "https://usherd.example.org");
    assert_eq!(created["aud"], json!([format!("https://usherd.example.org/api/v1/streams/{stream}")]));
    assert_eq!(created["sub_id"]["format"], "scim");
    assert_eq!(created["sub_id"]["uri"], format!("/Users/{id}"));
    assert_eq!(created.get("sub"), None, "RFC 9967 §2.1");
    let everything = serde_json::to_string(&claims).unwrap();
    assert!(!everything.contains("Hopper") && !everything.contains(GRACE), "a notice tells no value: {everything}");

    // One transaction, several events; another transaction, another name.
    let [off, out] = &claims[begun + 1..begun + 3] else { panic!("{claims:?}") };
    assert_eq!(off["txn"], out["txn"]);
    assert_ne!(off["jti"], out["jti"]);
    assert_ne!(off["txn"], claims[begun]["txn"]);
    for hook in receiver.hooks() {
        assert_eq!(hook.headers["content-type"], "application/secevent+jwt");
        assert_eq!(hook.headers["accept"], "application/json");
        assert_eq!(hook.headers["authorization"], format!("Bearer {}", bearer.as_deref().unwrap()));
    }
}

#[rstest]
#[tokio::test(flavor = "multi_thread")]
async fn a_full_stream_tells_the_values_as_they_were_when_it_happened(
    #[values(Store::Embedded, Store::Redis)] store: Store,
) {
    let house = House::open(store, &[]).await;
    let stream = house.fetched(&FULL).await;
    let operator = by_operator(&house.account);
    let id = house.create(GRACE).await;
    house.set_name(&id, "Hopper").await;
    let body = json!({ "schemas": ["urn:ietf:params:scim:schemas:core:2.0:User"], "userName": GRACE,
                       "name": { "familyName": "Murray" }, "emails": [{ "value": GRACE }] });
    house.directory().replace_user(&house.client, &id, &IfMatch::Any, body).await.unwrap();

    let fetched = house.poll(&operator, stream, all()).await.unwrap();
    let claims: Vec<Value> = fetched.tokens.iter().map(|(_, token)| house.claims(token)).collect();
    let of = |name: &str| -> Vec<Value> {
        let told = claims.iter().map(told).filter(|(event, _)| event == name);
        told.map(|(_, payload)| payload).collect()
    };
    let created = &of("create:full")[0];
    assert_eq!((&created["data"]["id"], &created["data"]["userName"]), (&json!(id), &json!(GRACE)));
    assert_eq!(created.get("attributes"), None);
    let renamed: Vec<Value> =
        of("patch:full").into_iter().filter(|payload| payload.to_string().contains("Hopper")).collect();
    let [renamed] = renamed.as_slice() else { panic!("{claims:?}") };
    let patch = json!({
        "schemas": ["urn:ietf:params:scim:api:messages:2.0:PatchOp"],
        "Operations": [{ "op": "replace", "path": "name.familyName", "value": "Hopper" }],
    });
    assert_eq!(renamed["data"], patch);
    let put = &of("put:full")[0];
    assert_eq!(put["data"]["name"]["familyName"], "Murray");
    let version = house.record(GRACE).await.revision;
    assert_eq!(put["version"], format!("W/\"{version}\""));
}

#[rstest]
#[tokio::test(flavor = "multi_thread")]
async fn a_group_is_told_with_its_members_as_a_notice_also_after_a_large_change(
    #[values(Store::Embedded, Store::Redis)] store: Store,
) {
    let house = House::open(store, &[]).await;
    let mut members = Vec::new();
    // Groups are members, too, and are mailed nothing.
    for number in 0..601 {
        members.push(house.group(&format!("Ship {number}")).await);
    }
    let stream = house.fetched(&FULL).await;
    let directory = house.directory();
    let group = house.group("Navy").await;
    let one = patch(json!([{ "op": "add", "path": "members", "value": [{ "value": members[0] }] }]));
    directory.patch_resource(&house.client, Kind::Group, &group, &IfMatch::Any, one).await.unwrap();
    let many: Vec<Value> = members.iter().map(|id| json!({ "value": id })).collect();
    let many = patch(json!([{ "op": "add", "path": "members", "value": many }]));
    directory.patch_resource(&house.client, Kind::Group, &group, &IfMatch::Any, many).await.unwrap();
    directory.delete_resource(&house.client, Kind::Group, &group, &IfMatch::Any).await.unwrap();

    let fetched = house.poll(&by_operator(&house.account), stream, all()).await.unwrap();
    let claims: Vec<Value> = fetched.tokens.iter().map(|(_, token)| house.claims(token)).collect();
    assert_eq!(names(&claims), ["create:full", "patch:notice", "patch:notice", "delete"], "{claims:?}");
    for claims in &claims {
        assert_eq!(claims["sub_id"]["uri"], format!("/Groups/{group}"));
        assert_eq!(claims["sub_id"]["externalId"], "crew");
    }
    for changed in &claims[1..3] {
        assert_eq!(told(changed).1["attributes"], json!(["members"]));
    }
    assert_eq!(told(&claims[3]).1, json!({}));
}

#[rstest]
#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_was_not_taken_comes_again_as_the_same_and_is_sent_again_on_demand(
    #[values(Store::Embedded, Store::Redis)] store: Store,
) {
    let receiver = Receiver::start();
    // Only 202 takes a token (RFC 8935 §2.2).
    receiver.answers(&[Answer::Status(200)]);
    receiver.answers_all(Answer::Json(400, r#"{"err":"invalid_key","description":"old set"}"#));
    let house = House::open(store, &[PRIVATE]).await;
    let (stream, _) = house.streams_to(&receiver, &NOTICE).await;
    house.group("Navy").await;
    house.work().await;
    let waiting = house.directory().waiting_deliveries(&by_operator(&house.account)).await.unwrap();
    let reply = waiting[0].1.last_reply.as_deref();
    assert_eq!(reply, Some("answered 200: a receiver says 202 when it has taken a token"));
    for _ in 0..6 {
        house.after(LONG).await;
    }
    let claims = house.pushed(&receiver);
    assert_eq!(claims.len(), 7);
    assert!(claims.iter().all(|repeated| *repeated == claims[0]), "{claims:?}");
    let dead = house.directory().dead_deliveries(&by_operator(&house.account), 10).await.unwrap();
    assert_eq!(dead[0].last_reply.as_deref(), Some("refused: invalid_key: old set"));

    receiver.answers_all(Answer::Status(202));
    assert_eq!(house.directory().redrive_webhook(&by_operator(&house.account), stream).await.unwrap(), 1);
    house.work().await;
    assert_eq!(house.pushed(&receiver)[7], claims[0]);
    assert_eq!(house.directory().count_waiting(&house.space(), stream).await.unwrap(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_receiver_refuses_for_good_is_given_up_at_once() {
    let receiver = Receiver::start();
    receiver.answers_all(Answer::Json(400, r#"{"err":"invalid_audience","description":"not\u0007 mine"}"#));
    let house = House::open(Store::Embedded, &[PRIVATE]).await;
    house.streams_to(&receiver, &NOTICE).await;
    house.group("Navy").await;
    house.work().await;
    let dead = house.directory().dead_deliveries(&by_operator(&house.account), 10).await.unwrap();
    let replies: Vec<_> = dead.iter().map(|delivery| (delivery.attempts, delivery.last_reply.as_deref())).collect();
    assert_eq!(replies, [(1, Some("refused: invalid_audience: not mine"))]);
}

#[rstest]
#[tokio::test(flavor = "multi_thread")]
async fn what_is_fetched_stays_until_it_is_acknowledged(#[values(Store::Embedded, Store::Redis)] store: Store) {
    let house = House::open(store, &[]).await;
    let (stream, other) = (house.fetched(&NOTICE).await, house.fetched(&NOTICE).await);
    for number in 0..3 {
        house.create(&format!("n{number}@example.org")).await;
    }
    let token = house.client("receiver", [Scope::Audit].into_iter().collect::<Scopes>(), None).await;
    let waits = house.directory().count_waiting(&house.space(), stream).await.unwrap();
    let first = house.poll(&token, stream, Fetch { wanted: 2, ..Fetch::default() }).await.unwrap();
    assert_eq!((first.tokens.len(), first.more), (2, true));
    let again = house.poll(&token, stream, Fetch { wanted: 2, ..Fetch::default() }).await.unwrap();
    let read =
        |fetched: &Fetched| -> Vec<Value> { fetched.tokens.iter().map(|(_, token)| house.claims(token)).collect() };
    assert_eq!(read(&again), read(&first), "what was not acknowledged comes again as the same");

    let [(taken, _), (refused, _)] = first.tokens.as_slice() else { panic!("{first:?}") };
    let answer =
        Fetch { acknowledged: vec![*taken], refused: vec![(*refused, "invalid_request".to_owned())], wanted: 100 };
    let rest = house.poll(&token, stream, answer.clone()).await.unwrap();
    assert_eq!(rest.tokens.len() as u64, waits - 2);
    assert!(rest.tokens.iter().all(|(jti, _)| jti != taken && jti != refused));
    // Said twice, it counts once.
    assert_eq!(house.poll(&token, stream, answer).await.unwrap().tokens.len() as u64, waits - 2);
    assert_eq!(
        house.directory().count_waiting(&house.space(), other).await.unwrap(),
        waits,
        "another's acknowledgement"
    );
    let dead = house.directory().dead_deliveries(&by_operator(&house.account), 10).await.unwrap();
    assert_eq!(dead[0].last_reply.as_deref(), Some("the receiver refused it: invalid_request"));
    assert_eq!(house.directory().redrive_webhook(&by_operator(&house.account), stream).await.unwrap(), 1);
    let all = house.poll(&token, stream, all()).await.unwrap();
    assert!(all.tokens.iter().any(|(jti, _)| jti == refused));
    house.after(7 * DAY - Duration::from_secs(3_600)).await;
    assert!(house.directory().account(&house.account).await.unwrap().webhooks[&stream].disabled.is_none());
}

#[rstest]
#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_nobody_fetches_is_disabled_after_a_week_and_found_again(
    #[values(Store::Embedded, Store::Redis)] store: Store,
) {
    let house = House::open(store, &[]).await;
    let stream = house.fetched(&NOTICE).await;
    let operator = by_operator(&house.account);
    for name in ["Navy", "Army"] {
        house.group(name).await;
    }
    house.after(7 * DAY).await;
    let account = house.directory().account(&house.account).await.unwrap();
    assert!(account.webhooks[&stream].disabled.is_some());
    let dead = house.directory().dead_deliveries(&operator, 10).await.unwrap();
    let replies: Vec<_> = dead.iter().map(|delivery| delivery.last_reply.as_deref().unwrap()).collect();
    assert_eq!(replies.len(), 2);
    assert!(replies.contains(&"not fetched within 7 days: the stream is disabled"), "{replies:?}");
    house.group("Marines").await;
    assert_eq!(house.poll(&operator, stream, all()).await.unwrap().tokens, []);
    assert_eq!(house.directory().redrive_webhook(&operator, stream).await.unwrap(), 2);
    assert_eq!(house.poll(&operator, stream, all()).await.unwrap().tokens.len(), 2);
}

#[rstest]
#[tokio::test(flavor = "multi_thread")]
async fn only_whoever_could_read_the_values_fetches_a_full_stream(
    #[values(Store::Embedded, Store::Redis)] store: Store,
) {
    let receiver = Receiver::start();
    let house = House::open(store, &[PRIVATE]).await;
    let (full, notice) = (house.fetched(&FULL).await, house.fetched(&NOTICE).await);
    let (pushed, _) = house.streams_to(&receiver, &NOTICE).await;
    let of = |scopes: &[Scope]| scopes.iter().copied().collect::<Scopes>();
    let auditor = house.client("auditor", of(&[Scope::Audit]), None).await;
    let reader = house.client("reader", of(&[Scope::Users, Scope::Groups, Scope::Resources]), None).await;
    let every = of(&[Scope::Audit, Scope::Users, Scope::Groups, Scope::Resources]);
    let both = house.client("both", every, None).await;
    assert!(matches!(house.poll(&auditor, full, all()).await, Err(Error::MissingScope(Scope::Users))));
    assert!(matches!(house.poll(&reader, full, all()).await, Err(Error::MissingScope(Scope::Audit))));
    assert!(matches!(house.poll(&reader, notice, all()).await, Err(Error::MissingScope(Scope::Audit))));
    assert!(house.poll(&both, full, all()).await.is_ok());
    assert!(house.poll(&auditor, notice, all()).await.is_ok());
    assert!(matches!(house.poll(&both, pushed, all()).await, Err(Error::NotFound(_))), "it is pushed");
}

#[rstest]
#[tokio::test(flavor = "multi_thread")]
async fn an_erasure_takes_the_person_out_of_what_waits_and_of_what_was_given_up(
    #[values(Store::Embedded, Store::Redis)] store: Store,
) {
    let receiver = Receiver::start();
    receiver.answers_all(Answer::Json(400, r#"{"err":"invalid_request"}"#));
    let house = House::with_admin(store, &[PRIVATE]).await;
    let fetched = house.fetched(&FULL).await;
    house.streams_to(&receiver, &FULL).await;
    let id = house.create(GRACE).await;
    house.set_name(&id, "Hopper").await;
    house.set_active(&id, false).await;
    let stored = |dump: usherd::store::Dump| format!("{:?}", dump.documents);
    let told_before = receiver.hooks().len();
    assert!(told_before > 0 && stored(house.dump().await).contains("Hopper"));
    house.directory().erase_user(&by_operator(&house.account), &id).await.unwrap();
    house.work().await;
    let left = stored(house.dump().await);
    assert!(!left.contains("Hopper") && !left.contains(GRACE), "{left}");
    let operator = by_operator(&house.account);
    let tokens = house.poll(&operator, fetched, all()).await.unwrap().tokens;
    let claims: Vec<Value> = tokens.iter().map(|(_, token)| house.claims(token)).collect();
    let names = names(&claims);
    assert!(names.contains(&"create:notice".to_owned()) && names.contains(&"delete".to_owned()), "{names:?}");
    assert!(claims.iter().all(|claims| claims["sub_id"].get("externalId").is_none()), "{claims:?}");
}

#[rstest]
fn a_token_whose_fate_was_not_recorded_is_repeated_as_the_same_one(
    #[values(Store::Embedded, Store::Redis)] store: Store,
) {
    let receiver = Receiver::start();
    receiver.answers(&[Answer::Silence]);
    receiver.answers_all(Answer::Status(202));
    let mut daemon = Daemon::start(store, &[PRIVATE, ("USHERD_MAIL__TIMEOUT", "1s")]);
    let made = daemon.cli(&["webhook", "add-stream", "--account", "default", "--bearer", "--full", &receiver.url()]);
    assert_eq!(made.code, 0, "{}", made.stderr);
    let secret = made.stdout.trim().to_owned();
    let body = json!({ "schemas": ["urn:ietf:params:scim:schemas:core:2.0:Group"], "displayName": "Navy" });
    assert_eq!(daemon.post("/Groups", &body).status, 201);
    receiver.wait_for(1);
    daemon.kill9();
    daemon.restart();
    let hooks = receiver.wait_for(2);
    let keys = daemon.request("GET", "/.well-known/jwks.json").send();
    assert_eq!((keys.status, keys.header("content-type")), (200, "application/jwk-set+json"));
    let claims: Vec<Value> =
        hooks.iter().map(|hook| checked(&keys.json(), std::str::from_utf8(&hook.body).unwrap()).unwrap()).collect();
    assert_eq!(claims[0], claims[1]);
    assert_eq!(told(&claims[0]).0, "create:full");
    daemon.assert_consistent("default");
    assert!(secret.starts_with("usb_"), "{secret}");
    let kept = daemon.stored();
    assert!(!kept.windows(secret.len() - 4).any(|part| part == &secret.as_bytes()[4..]), "the secret is stored");
    assert!(!daemon.logs().contains(&secret[4..]), "{}", daemon.logs());
}
