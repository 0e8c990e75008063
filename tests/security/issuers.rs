//! Access tokens of a configured issuer, and tokens as passwords, beside the tokens that usherd makes itself.

use std::sync::Arc;
use std::time::Duration;

use http_body_util::BodyExt as _;
use rstest::rstest;
use serde_json::{Value, json};
use tokio_util::task::AbortOnDropHandle;
use usherd::directory::tokens::NewToken;
use usherd::domain::names::ClientName;
use usherd::domain::secrets::{IssuedTo, Scope};
use usherd::jobs::follower::follow_until;

use crate::daemon::{Daemon, Store, user};
use crate::house::House;
use crate::issuer::{Issuer, Key, unsigned};
use crate::requests::{Faces, Reply};

/// The audience of every custom application of Entra ID.
const AUDIENCE: &str = "8adf8e6e-67b2-4cf2-a259-e3dc5476c621";
const CLIENT: &str = "00000014-0000-0000-c000-000000000000";
const SECOND: Duration = Duration::from_secs(1);
const HOUR: Duration = Duration::from_secs(60 * 60);

struct Scene {
    house: House,
    faces: Faces,
    issuer: Issuer,
}

impl Scene {
    /// A house that takes access tokens of this issuer.
    async fn open(store: Store, issuer: Issuer, overrides: &[(&str, &str)]) -> Self {
        let file = format!(
            "[[scim.issuers]]\nurl = \"{}\"\naudience = \"{AUDIENCE}\"\nclient_claim = \"appid\"\n",
            issuer.url()
        );
        let mut all = vec![("USHERD_ISSUERS__ALLOW_PRIVATE", "true"), ("USHERD_LIMITS__IP", "off")];
        all.extend(overrides);
        let house = House::configured(store, &all, &file).await;
        let faces = Faces(usherd::app::routes(&house.settings, &house.opened).unwrap());
        Scene { house, faces, issuer }
    }

    /// A record for the client, with the scope `users`.
    async fn record(&self) -> String {
        self.record_with(&[Scope::Users]).await
    }

    async fn record_with(&self, scopes: &[Scope]) -> String {
        let new = NewToken {
            client: ClientName::parse("entra").unwrap(),
            scopes: scopes.iter().copied().collect(),
            profile: "entra".to_owned(),
            test: false,
            expires: None,
        };
        let client = IssuedTo { issuer: self.issuer.url(), subject: CLIENT.to_owned() };
        let made = self.house.directory().create_issued_token(&self.house.account, new, client).await;
        made.unwrap().id.to_string()
    }

    /// What Entra ID puts into an access token for a SCIM application (version 1.0).
    fn claims(&self) -> Value {
        let now = self.house.now().as_millis() / 1_000;
        json!({
            "aud": AUDIENCE, "iss": self.issuer.url(), "iat": now - 5, "nbf": now - 5, "exp": now + 3_600,
            "aio": "E2NgYNj9", "appid": CLIENT, "appidacr": "2", "idp": self.issuer.url(),
            "oid": "7f2a1f0e-0f8b-4f5e-9f2a-6d1b2c3d4e5f", "rh": "0.AX", "sub": "7f2a1f0e-0f8b-4f5e-9f2a-6d1b2c3d4e5f",
            "tid": "d1e1b1f1-0000-4000-8000-000000000001", "uti": "x", "ver": "1.0",
        })
    }

    fn with(&self, name: &str, value: Value) -> Value {
        let mut claims = self.claims();
        claims[name] = value;
        claims
    }

    async fn get(&self, token: &str, path: &str) -> Reply {
        self.faces.json(token, "GET", path, &Value::Null).await
    }

    /// Somebody whom another client makes.
    async fn create(&self, address: &str) {
        self.house.directory().create_user(&self.house.client, user(address)).await.unwrap();
    }

    async fn status(&self, token: &str) -> u16 {
        self.get(token, "/scim/v2/Users").await.status
    }
}

#[rstest]
#[tokio::test]
async fn an_access_token_of_an_issuer_may_do_what_its_record_says(
    #[values(Store::Embedded, Store::Redis)] store: Store,
) {
    let keys = [Key::rsa("r1"), Key::ec("e1"), Key::ed("d1")];
    let scene = Scene::open(store, Issuer::start(&keys[0]), &[]).await;
    scene.issuer.publishes(&keys.each_ref());
    let token = keys[0].sign(&scene.claims());
    assert_eq!(scene.status(&token).await, 401, "no record speaks for the client");
    let id = scene.record().await;
    let pss = keys[0].sign_with(&json!({ "alg": "PS256", "kid": "r1" }), &scene.claims());
    let others = keys.iter().map(|key| key.sign(&scene.claims())).chain([pss]);
    for (number, token) in others.enumerate() {
        let address = format!("ada{number}@example.com");
        let body = json!({ "schemas": ["urn:ietf:params:scim:schemas:core:2.0:User"], "userName": address });
        let made = scene.faces.json(&token, "POST", "/scim/v2/Users", &body).await;
        assert_eq!(made.status, 201, "{}", made.text);
        let client = scene.house.record(&address).await.user.provisioned_by.map(|client| client.to_string());
        assert_eq!(client.as_deref(), Some("entra"));
        assert_eq!(scene.get(&token, "/api/v1/users").await.status, 200);
        let lacks = scene.get(&token, "/api/v1/tokens").await;
        assert_eq!((lacks.status, lacks.code().as_deref()), (403, Some("missing_scope")));
    }
    assert_eq!(scene.issuer.asked("/keys"), 1);

    // Liveness is that of the record, at once.
    let directory = scene.house.directory();
    let account = &scene.house.account;
    directory.write_uses().await.unwrap();
    let summaries = directory.token_summaries(account).await.unwrap();
    let summary = summaries.iter().find(|summary| summary.token.id.to_string() == id).unwrap();
    assert_eq!(summary.last_used.map(|at| scene.house.now().since(at) < HOUR), Some(true));
    let rotated = directory.rotate_token(account, summary.token.id, HOUR, None).await.unwrap_err().to_string();
    assert!(rotated.contains("nothing to rotate"), "{rotated}");
    let again = directory
        .create_issued_token(account, new_like(), IssuedTo { issuer: scene.issuer.url(), subject: CLIENT.to_owned() })
        .await
        .unwrap_err();
    assert!(again.to_string().contains("revoke it first"), "{again}");
    directory.revoke_token(account, summary.token.id).await.unwrap();
    assert_eq!(scene.status(&token).await, 401);
    scene.record().await;
    assert_eq!(scene.status(&token).await, 200);
    scene.house.opened.store.advance(2 * HOUR);
    assert_eq!(scene.status(&token).await, 401, "the token has expired, whatever the record says");
    assert_eq!(scene.status(&keys[0].sign(&scene.claims())).await, 200);
}

#[rstest]
#[tokio::test]
async fn a_stream_of_events_ends_with_the_access_token_that_opened_it(
    #[values(Store::Embedded, Store::Redis)] store: Store,
) {
    let key = Key::ec("e1");
    let scene = Scene::open(store, Issuer::start(&key), &[]).await;
    scene.record_with(&[Scope::Users, Scope::Audit]).await;
    let token = key.sign(&scene.claims());
    let directory = Arc::clone(&scene.house.opened.directory);
    let _follower = AbortOnDropHandle::new(tokio::spawn(follow_until(directory, std::future::pending())));
    let mut stream = scene.faces.stream(&token, "/api/v1/events").await;
    // What is told, without the signs of life.
    let mut chunk = async || {
        loop {
            let frame = stream.frame().await?.unwrap().into_data().unwrap();
            let text = String::from_utf8(frame.to_vec()).unwrap();
            if !text.starts_with(':') {
                return Some(text);
            }
        }
    };
    assert_eq!(chunk().await.as_deref(), Some("retry: 2000\n\n"));
    scene.create("ada@example.com").await;
    let told = chunk().await.unwrap();
    assert!(told.contains("event: user.provisioned"), "{told}");
    scene.house.opened.store.advance(HOUR + 61 * SECOND);
    scene.create("grace@example.com").await;
    assert_eq!(chunk().await, None, "nothing is told of her");
}

fn new_like() -> NewToken {
    NewToken {
        client: ClientName::parse("other").unwrap(),
        scopes: [Scope::Users].into_iter().collect(),
        profile: "lenient".to_owned(),
        test: false,
        expires: None,
    }
}

#[rstest]
#[tokio::test]
async fn what_is_wrong_with_an_access_token_opens_nothing(#[values(Store::Embedded, Store::Redis)] store: Store) {
    let (key, stranger) = (Key::rsa("r1"), Key::rsa("r1"));
    let scene = Scene::open(store, Issuer::start(&key), &[]).await;
    scene.record().await;
    let right = key.sign(&scene.claims());
    assert_eq!(scene.status(&right).await, 200);
    let now = scene.house.now().as_millis() / 1_000;
    let other = "https://login.example.com";
    let kid = json!({ "alg": "RS256", "kid": "r2" });
    let payload = right.split('.').nth(1).unwrap();
    let wrong = [
        ("another audience", key.sign(&scene.with("aud", "00000003-0000-0000-c000-000000000000".into()))),
        ("another issuer", key.sign(&scene.with("iss", other.into()))),
        ("the issuer with a slash", key.sign(&scene.with("iss", format!("{}/", scene.issuer.url()).into()))),
        ("expired", key.sign(&scene.with("exp", (now - 61).into()))),
        ("no end", key.sign(&scene.with("exp", Value::Null))),
        ("not yet", key.sign(&scene.with("nbf", (now + 120).into()))),
        ("another client", key.sign(&scene.with("appid", "11111111-0000-0000-0000-000000000000".into()))),
        ("no client", key.sign(&scene.with("appid", Value::Null))),
        ("somebody else's key", stranger.sign(&scene.claims())),
        ("an unknown key", key.sign_with(&kid, &scene.claims())),
        ("an algorithm of another key", key.sign_with(&json!({ "alg": "ES256", "kid": "r1" }), &scene.claims())),
        ("not signed", unsigned(&scene.claims())),
        ("not signed, with a signature", unsigned(&scene.claims()) + right.rsplit('.').next().unwrap()),
        ("the public key as a shared secret", key.confused(&scene.claims())),
        ("other claims", right.replace(payload, key.sign(&scene.with("x", 1.into())).split('.').nth(1).unwrap())),
        ("the name of the client itself", format!("{} {} {CLIENT}", scene.issuer.url().len(), scene.issuer.url())),
    ];
    for (what, token) in wrong {
        for path in ["/scim/v2/Users", "/api/v1/users"] {
            let reply = scene.get(&token, path).await;
            assert_eq!(reply.status, 401, "{what}: {}", reply.text);
            assert_eq!(reply.header("www-authenticate"), "Bearer realm=\"usherd\"", "{what}");
        }
    }
    assert_eq!(scene.status(&right).await, 200);
}

#[rstest]
#[tokio::test]
async fn an_issuer_that_rotates_its_keys_is_asked_again_and_at_most_every_ten_seconds(
    #[values(Store::Embedded, Store::Redis)] store: Store,
) {
    let (old, new) = (Key::ec("k1"), Key::ec("k2"));
    let scene = Scene::open(store, Issuer::start(&old), &[]).await;
    scene.record().await;
    assert_eq!(scene.status(&old.sign(&scene.claims())).await, 200);
    for number in 0..20 {
        let header = json!({ "alg": "ES256", "kid": format!("invented-{number}") });
        assert_eq!(scene.status(&old.sign_with(&header, &scene.claims())).await, 401);
    }
    assert_eq!(scene.issuer.asked("/keys"), 1, "what strangers invent costs the issuer nothing");

    scene.house.opened.store.advance(11 * SECOND);
    scene.issuer.publishes(&[&new]);
    assert_eq!(scene.status(&old.sign(&scene.claims())).await, 200, "nobody has asked since");
    let mut tokens = Vec::new();
    for number in 0..20 {
        let header = json!({ "alg": "ES256", "kid": format!("invented-{number}") });
        tokens.push(old.sign_with(&header, &scene.claims()));
    }
    let asked = tokens.iter().map(|token| scene.status(token));
    for status in futures(asked).await {
        assert_eq!(status, 401);
    }
    assert_eq!(scene.issuer.asked("/keys"), 2, "twenty at once are one question");
    assert_eq!(scene.status(&new.sign(&scene.claims())).await, 200);
    assert_eq!(scene.status(&old.sign(&scene.claims())).await, 401, "the issuer does not publish it any more");
    scene.house.opened.store.advance(HOUR + SECOND);
    assert_eq!(scene.status(&new.sign(&scene.claims())).await, 200);
    assert_eq!(scene.issuer.asked("/keys"), 3, "what it says is asked for again every hour");
}

/// All of them at once.
async fn futures<F: Future<Output = u16>>(all: impl Iterator<Item = F>) -> Vec<u16> {
    let mut all: Vec<_> = all.map(Box::pin).collect();
    let mut done = vec![0; all.len()];
    std::future::poll_fn(|context| {
        for (future, done) in all.iter_mut().zip(&mut done).filter(|(_, done)| **done == 0) {
            if let std::task::Poll::Ready(status) = future.as_mut().poll(context) {
                *done = status;
            }
        }
        if done.contains(&0) { std::task::Poll::Pending } else { std::task::Poll::Ready(()) }
    })
    .await;
    done
}

#[rstest]
#[tokio::test]
async fn an_issuer_that_is_away_makes_clients_wait_and_not_give_up(
    #[values(Store::Embedded, Store::Redis)] store: Store,
) {
    let key = Key::rsa("r1");
    let scene = Scene::open(store, Issuer::start(&key), &[]).await;
    scene.record().await;
    scene.issuer.goes(true);
    let reply = scene.get(&key.sign(&scene.claims()), "/scim/v2/Users").await;
    assert_eq!((reply.status, reply.header("retry-after")), (503, "10"), "{}", reply.text);
    assert!(reply.json()["detail"].as_str().unwrap().starts_with("the issuer of this token"), "{}", reply.text);
    let reply = scene.get(&key.sign(&scene.claims()), "/api/v1/users").await;
    assert_eq!((reply.status, reply.code().as_deref()), (503, Some("issuer_away")), "{}", reply.text);
    assert_eq!(scene.issuer.asked("/.well-known/openid-configuration"), 1);

    scene.issuer.goes(false);
    scene.house.opened.store.advance(10 * SECOND);
    assert_eq!(scene.status(&key.sign(&scene.claims())).await, 200);
    // What it said is believed for a day.
    scene.issuer.goes(true);
    scene.house.opened.store.advance(23 * HOUR);
    assert_eq!(scene.status(&key.sign(&scene.claims())).await, 200);
    scene.house.opened.store.advance(HOUR);
    assert_eq!(scene.status(&key.sign(&scene.claims())).await, 503);
    // And another one does not speak for it.
    scene.issuer.goes(false);
    scene.issuer.says(json!({ "issuer": "https://login.example.com" }));
    scene.house.opened.store.advance(10 * SECOND);
    assert_eq!(scene.status(&key.sign(&scene.claims())).await, 503);
}

#[test]
fn the_operator_says_by_command_what_a_client_of_an_issuer_may_do() {
    let key = Key::ec("k1");
    let issuer = Issuer::start(&key);
    let url = issuer.url();
    let mut daemon = Daemon::prepare(None, &[("USHERD_ISSUERS__ALLOW_PRIVATE", "true")]);
    let file = format!("[[scim.issuers]]\nurl = \"{url}\"\naudience = \"{AUDIENCE}\"\n");
    std::fs::write(daemon.directory().join("usherd.toml"), file).unwrap();
    let checked = daemon.cli(&["check-config", "--connect"]);
    assert_eq!(checked.code, 0, "{}", checked.stderr);
    let said = format!("{}{}", checked.stdout, checked.stderr);
    assert!(said.contains(&format!("The issuer {url} says its keys.")), "{said}");
    daemon.restart();

    // The year 2100.
    let claims = json!({ "iss": url, "aud": [AUDIENCE], "sub": CLIENT, "exp": 4_102_444_800_i64 });
    let token = key.sign(&claims);
    let ask = || daemon.request("GET", "/scim/v2/Users").bearer(&token).send();
    assert_eq!(ask().status, 401);
    let create = |issuer: &str| {
        let name = ["token", "create", "--account", "default", "--name", "entra", "--issuer", issuer];
        daemon.cli(&[&name[..], &["--subject", CLIENT]].concat())
    };
    let unknown = create("https://login.example.com");
    assert_eq!(unknown.code, 1, "{}", unknown.stdout);
    assert!(unknown.stderr.contains(&format!("none of [[scim.issuers]]: {url}")), "{}", unknown.stderr);
    let made = create(&url);
    assert_eq!(made.code, 0, "{}", made.stderr);
    assert_eq!(ask().status, 200);
    let list = daemon.cli(&["token", "list", "--account", "default"]).stdout;
    assert!(list.contains(&format!("{CLIENT} at {url}")) && list.contains(made.stdout.trim()), "{list}");
    assert_eq!(daemon.cli(&["token", "revoke", "--account", "default", made.stdout.trim()]).code, 0);
    assert_eq!(ask().status, 401);
    let config = daemon.request("GET", "/scim/v2/ServiceProviderConfig").send().json();
    assert_eq!(config["authenticationSchemes"][1]["type"], "oauth2");
    assert_eq!(daemon.stop(), 0);
}

#[tokio::test]
async fn whoever_guesses_access_tokens_is_slowed_down() {
    let key = Key::ec("k1");
    let scene = Scene::open(Store::Embedded, Issuer::start(&key), &[("USHERD_LIMITS__IP", "1/h burst 3")]).await;
    scene.record().await;
    let wrong = key.sign(&scene.with("aud", "other".into()));
    for _ in 0..3 {
        assert_eq!(scene.status(&wrong).await, 401);
    }
    let reply = scene.get(&wrong, "/scim/v2/Users").await;
    assert_eq!(reply.status, 429, "{}", reply.text);
    assert!(!reply.header("retry-after").is_empty());
    assert_eq!(scene.status(&key.sign(&scene.claims())).await, 200, "who has a right one does not wait");
}

#[rstest]
#[tokio::test]
async fn a_token_is_a_password_only_where_the_operator_says_so(#[values(Store::Embedded, Store::Redis)] store: Store) {
    use base64::Engine;
    use base64::engine::general_purpose::STANDARD;
    for is_on in [false, true] {
        let overrides = if is_on { &[("USHERD_SCIM__BASIC", "true")][..] } else { &[] };
        let house = House::configured(store, overrides, "").await;
        let faces = Faces(usherd::app::routes(&house.settings, &house.opened).unwrap());
        let made = house.directory().create_token(&house.account, new_like()).await.unwrap().1;
        let ask = async |path: &str, password: &str| {
            let value = format!("Basic {}", STANDARD.encode(format!("connector:{password}")));
            faces.send("GET", path, &[("authorization", &value)], String::new()).await
        };
        let users = ask("/scim/v2/Users", made.expose()).await;
        assert_eq!(users.status, if is_on { 200 } else { 401 }, "{}", users.text);
        assert_eq!(ask("/api/v1/users", made.expose()).await.status, 401, "the API takes bearer tokens");
        let wrong = ask("/scim/v2/Users", "usp_wrong").await;
        let schemes: Vec<&str> =
            wrong.headers.get_all("www-authenticate").iter().map(|value| value.to_str().unwrap()).collect();
        let (bearer, basic) = ("Bearer realm=\"usherd\"", "Basic realm=\"usherd\", charset=\"UTF-8\"");
        assert_eq!(wrong.status, 401);
        assert_eq!(schemes, if is_on { vec![bearer, basic] } else { vec![bearer] });
        let config = faces.send("GET", "/scim/v2/ServiceProviderConfig", &[], String::new()).await.json();
        let types = config["authenticationSchemes"].as_array().unwrap().iter().map(|scheme| scheme["type"].clone());
        let expected: &[&str] = if is_on { &["oauthbearertoken", "httpbasic"] } else { &["oauthbearertoken"] };
        assert_eq!(types.collect::<Vec<_>>(), expected);
    }
}
