//! Signing in to the console with OpenID Connect: to an issuer of the test and back, as a browser goes.

use std::time::Duration;

use rstest::rstest;
use serde_json::{Value, json};
use usherd::directory::assignments::Wishes;
use usherd::directory::invite::{Coming, Invitee};

use crate::daemon::Store;
use crate::house::{ADMIN, House, MINUTE};
use crate::issuer::{CLIENT_ID, CLIENT_SECRET, Issuer, Key};
use crate::requests::{Faces, Reply};

const BEGIN: &str = "/admin/sign-in/openid";
const SESSION: &str = "__Host-usherd-session";
const JOURNEY: &str = "__Host-usherd-openid";

struct Scene {
    house: House,
    faces: Faces,
    issuer: Issuer,
    key: Key,
}

impl Scene {
    /// An account with an Active admin who signs in by this issuer.
    async fn open(store: Store, overrides: &[(&str, &str)]) -> Self {
        let key = Key::rsa("r1");
        let issuer = Issuer::start(&key);
        let url = issuer.url();
        let mut all = vec![
            ("USHERD_ISSUERS__ALLOW_PRIVATE", "true"),
            ("USHERD_OPENID__ISSUER", &*url),
            ("USHERD_OPENID__CLIENT_ID", CLIENT_ID),
            ("USHERD_OPENID__CLIENT_SECRET", CLIENT_SECRET),
            ("USHERD_OPENID__NAME", "Hollis ID"),
            ("USHERD_LIMITS__IP", "off"),
        ];
        all.extend(overrides);
        let house = House::with_admin(store, &all).await;
        let faces = Faces(usherd::app::routes(&house.settings, &house.opened).unwrap());
        Scene { house, faces, issuer, key }
    }

    fn seconds(&self) -> i64 {
        self.house.now().as_millis() / 1_000
    }

    /// What the issuer says of the admin.
    fn claims(&self, nonce: &str) -> Value {
        let now = self.seconds();
        json!({
            "iss": self.issuer.url(), "sub": "248289761001", "aud": CLIENT_ID, "iat": now, "exp": now + 300,
            "nonce": nonce, "email": ADMIN, "email_verified": true,
        })
    }

    /// The browser on its way: where it was sent, and the cookie that it keeps.
    async fn begin(&self, path: &str, cookies: &str) -> (String, String) {
        let sent = self.faces.visit(path, cookies).await;
        assert_eq!(sent.status, 303, "{}", sent.text);
        let location = sent.header("location").to_owned();
        assert!(location.starts_with(&format!("{}/authorize?tenant=7&response_type=code", self.issuer.url())));
        (location, format!("{JOURNEY}={}", sent.cookie(JOURNEY).unwrap()))
    }

    async fn back(&self, query: &str, cookies: &str) -> Reply {
        self.faces.visit(&format!("{BEGIN}/callback?{query}"), cookies).await
    }

    /// The whole way, with claims of one's own.
    async fn sign_in(&self, claims: impl Fn(&str) -> Value) -> Reply {
        let (location, journey) = self.begin(BEGIN, "").await;
        let query = self.issuer.signs_in(&self.key, &location, claims);
        self.back(&query, &journey).await
    }

    async fn signed_in(&self, claims: impl Fn(&str) -> Value) -> String {
        let reply = self.sign_in(claims).await;
        assert_eq!((reply.status, reply.header("location")), (303, "/admin/acme"), "{}", reply.text);
        assert_eq!(reply.cookie(JOURNEY), None, "it is used up");
        format!("{SESSION}={}", reply.cookie(SESSION).unwrap())
    }

    /// Nobody is signed in, and the page says why.
    fn refuses(&self, reply: &Reply, status: u16, words: &str) {
        assert_eq!(reply.status, status, "{}", reply.text);
        assert!(reply.text.contains("You are not signed in") && reply.text.contains(words), "{words}: {}", reply.text);
        assert!(reply.text.contains("Back to the sign-in page"));
        assert_eq!(reply.cookie(SESSION), None);
    }
}

#[rstest]
#[tokio::test]
async fn an_admin_signs_in_by_the_issuer_and_the_session_before_ends(
    #[values(Store::Embedded, Store::Redis)] store: Store,
) {
    let scene = Scene::open(store, &[]).await;
    let page = scene.faces.visit("/admin/sign-in", "").await;
    assert!(page.text.contains("href=\"/admin/sign-in/openid\">Sign in with Hollis ID</a>"), "{}", page.text);
    let first = scene.signed_in(|nonce| scene.claims(nonce)).await;
    assert_eq!(scene.faces.visit("/admin/acme/users", &first).await.status, 200);

    let (location, journey) = scene.begin(BEGIN, &first).await;
    let query = scene.issuer.signs_in(&scene.key, &location, |nonce| scene.claims(nonce));
    let again = scene.back(&query, &format!("{first}; {journey}")).await;
    let second = format!("{SESSION}={}", again.cookie(SESSION).unwrap());
    assert_ne!(first, second);
    assert_eq!(scene.faces.visit("/admin/acme/users", &second).await.status, 200);
    let old = scene.faces.visit("/admin/acme/users", &first).await;
    assert_eq!((old.status, old.header("location")), (303, "/admin/sign-in?account=acme"));
    assert_eq!(scene.issuer.asked("/keys"), 1, "what the issuer says of itself is kept");

    let kept = format!("{:?}", scene.house.dump().await);
    assert_eq!(kept.matches("session.signed_in").count(), 2, "both stand in the audit");
}

#[rstest]
#[tokio::test]
async fn what_an_issuer_did_not_say_to_this_browser_lets_nobody_in(
    #[values(Store::Embedded, Store::Redis)] store: Store,
) {
    let scene = Scene::open(store, &[]).await;
    let (location, journey) = scene.begin(BEGIN, "").await;
    let query = scene.issuer.signs_in(&scene.key, &location, |nonce| scene.claims(nonce));
    let not_ours = "was not begun in this browser";
    scene.refuses(&scene.back(&query, "").await, 400, not_ours);
    let (_, of_another) = scene.begin(BEGIN, "").await;
    scene.refuses(&scene.back(&query, &of_another).await, 400, not_ours);
    scene.refuses(&scene.back(&query, &format!("{JOURNEY}=k1.AAAA")).await, 400, not_ours);
    let mixed_up = query.replace("iss=", "iss=https%3A%2F%2Fevil.example%3F");
    scene.refuses(&scene.back(&mixed_up, &journey).await, 400, not_ours);
    // None of these has used up the code. It works once.
    assert_eq!(scene.back(&query, &journey).await.status, 303);
    scene.refuses(&scene.back(&query, &journey).await, 502, "does not answer as it should");

    let (location, journey) = scene.begin(BEGIN, "").await;
    let query = scene.issuer.signs_in(&scene.key, &location, |nonce| scene.claims(nonce));
    scene.house.opened.store.advance(10 * MINUTE);
    scene.refuses(&scene.back(&query, &journey).await, 400, "longer than ten minutes");

    let (location, journey) = scene.begin(BEGIN, "").await;
    let state = location.split("state=").nth(1).unwrap().split('&').next().unwrap();
    let denied = scene.back(&format!("error=access_denied&state={state}"), &journey).await;
    scene.refuses(&denied, 403, "You did not sign in at Hollis ID");
}

#[rstest]
#[tokio::test]
async fn a_token_that_is_not_right_lets_nobody_in(#[values(Store::Embedded, Store::Redis)] store: Store) {
    let scene = Scene::open(store, &[]).await;
    let now = scene.seconds();
    let wrong: [(&str, Value); 6] = [
        ("aud", "another client".into()),
        ("iss", "https://login.example.com".into()),
        ("exp", (now - 61).into()),
        ("nonce", "of another request".into()),
        ("azp", "another client".into()),
        ("sub", Value::Null),
    ];
    for (claim, value) in wrong {
        let reply = scene.sign_in(|nonce| {
            let mut claims = scene.claims(nonce);
            claims[claim] = value.clone();
            claims
        });
        scene.refuses(&reply.await, 502, "could not be verified");
    }
    let stranger = Key::rsa("r1");
    let (location, journey) = scene.begin(BEGIN, "").await;
    let query = scene.issuer.signs_in(&stranger, &location, |nonce| scene.claims(nonce));
    scene.refuses(&scene.back(&query, &journey).await, 502, "could not be verified");

    for unverified in [json!(false), json!("false"), Value::Null, json!(1)] {
        let reply = scene.sign_in(|nonce| {
            let mut claims = scene.claims(nonce);
            claims["email_verified"] = unverified.clone();
            claims
        });
        scene.refuses(&reply.await, 403, "does not say that it has verified your mail address");
    }
    let reply = scene.sign_in(|nonce| {
        let mut claims = scene.claims(nonce);
        claims["email"] = "stranger@example.com".into();
        claims
    });
    scene.refuses(&reply.await, 403, "This account is not open to your address");
}

#[tokio::test]
async fn an_issuer_that_is_away_is_said_to_be_and_codes_go_on_working() {
    let scene = Scene::open(Store::Embedded, &[]).await;
    scene.issuer.goes(true);
    let reply = scene.faces.visit(BEGIN, "").await;
    scene.refuses(&reply, 502, "does not answer as it should");
    assert!(reply.text.contains("have a code sent to you instead"));
    scene.issuer.goes(false);
    scene.house.opened.store.advance(Duration::from_secs(10));
    // It may fall silent while somebody is there.
    let (location, journey) = scene.begin(BEGIN, "").await;
    let query = scene.issuer.signs_in(&scene.key, &location, |nonce| scene.claims(nonce));
    scene.issuer.goes(true);
    scene.refuses(&scene.back(&query, &journey).await, 502, "does not answer as it should");
}

#[tokio::test]
async fn an_issuer_may_want_its_secret_in_the_form_and_keep_its_tokens_short() {
    let scene = Scene::open(Store::Embedded, &[]).await;
    scene.issuer.says(json!({ "token_endpoint_auth_methods_supported": ["client_secret_post"] }));
    let short = |nonce: &str| {
        let mut claims = scene.claims(nonce);
        claims.as_object_mut().unwrap().retain(|name, _| !name.starts_with("email"));
        claims
    };
    for (info, is_theirs) in [
        (json!({ "sub": "248289761001", "email": ADMIN, "email_verified": "true" }), true),
        (json!({ "sub": "somebody else", "email": ADMIN, "email_verified": true }), false),
    ] {
        let (location, journey) = scene.begin(BEGIN, "").await;
        let query = scene.issuer.signs_in_with(&scene.key, &location, short, info);
        let reply = scene.back(&query, &journey).await;
        assert_eq!(reply.cookie(SESSION).is_some(), is_theirs, "{}", reply.text);
    }
}

#[tokio::test]
async fn the_operator_may_trust_every_address_of_an_issuer() {
    let scene = Scene::open(Store::Embedded, &[("USHERD_OPENID__TRUST_EMAIL", "true")]).await;
    let claims = |nonce: &str| {
        let mut claims = scene.claims(nonce);
        claims.as_object_mut().unwrap().remove("email_verified");
        claims
    };
    scene.signed_in(claims).await;
}

#[rstest]
#[tokio::test]
async fn an_old_sign_in_at_the_issuer_proves_nothing_and_a_new_one_does(
    #[values(Store::Embedded, Store::Redis)] store: Store,
) {
    let scene = Scene::open(store, &[]).await;
    let now = scene.seconds();
    let at = |auth_time: Option<i64>| {
        let scene = &scene;
        move |nonce: &str| {
            let mut claims = scene.claims(nonce);
            claims["auth_time"] = auth_time.map_or(Value::Null, Value::from);
            claims
        }
    };
    for (auth_time, is_proof) in [(None, false), (Some(now - 3_600), false), (Some(now - 10), true)] {
        let session = scene.signed_in(at(auth_time)).await;
        assert_eq!(wants_proof(&scene, &session).await, !is_proof, "{auth_time:?}");
    }

    let session = scene.signed_in(at(None)).await;
    let page = scene.faces.visit("/admin/acme/prove?next=%2Fadmin%2Facme%2Fsettings", &session).await;
    assert!(page.text.contains("Sign in again with Hollis ID"), "{}", page.text);
    let prove = "/admin/acme/prove/openid?next=%2Fadmin%2Facme%2Fsettings";
    let (location, journey) = scene.begin(prove, &session).await;
    assert!(location.contains("&prompt=login&max_age=0"), "{location}");
    let cookies = format!("{session}; {journey}");
    let asked_again = Some(now);
    for (auth_time, words) in [(None, "did not ask you to sign in again"), (Some(now - 120), "did not ask you")] {
        let query = scene.issuer.signs_in(&scene.key, &location, at(auth_time));
        scene.refuses(&scene.back(&query, &cookies).await, 403, words);
    }
    let colleague = Invitee {
        address: "grace@example.org".parse().unwrap(),
        display_name: None,
        given_name: None,
        family_name: None,
        language: None,
        wishes: Wishes { account_role: Some("Account Admin".to_owned()), ..Wishes::default() },
        reactivate: false,
        coming: Coming::Active,
    };
    let operator = usherd::directory::accounts::by_operator(&scene.house.account);
    scene.house.directory().invite(&operator, &colleague).await.unwrap();
    for another in ["nobody@example.org", "grace@example.org"] {
        let query = scene.issuer.signs_in(&scene.key, &location, |nonce| {
            let mut claims = at(asked_again)(nonce);
            claims["email"] = another.into();
            claims
        });
        scene.refuses(&scene.back(&query, &cookies).await, 403, "as somebody else");
        assert!(wants_proof(&scene, &session).await, "{another}");
    }
    let query = scene.issuer.signs_in(&scene.key, &location, at(asked_again));
    let back = scene.back(&query, &cookies).await;
    assert_eq!((back.status, back.header("location")), (303, "/admin/acme/settings"), "{}", back.text);
    assert!(!wants_proof(&scene, &session).await);
    scene.house.opened.store.advance(5 * MINUTE);
    assert!(wants_proof(&scene, &session).await);

    // What the issuer dates ahead is worth no more than what it says of now.
    let ahead = scene.seconds() + 3_600;
    let session = scene.signed_in(at(Some(ahead))).await;
    assert!(!wants_proof(&scene, &session).await);
    scene.house.opened.store.advance(5 * MINUTE);
    assert!(wants_proof(&scene, &session).await);
}

/// Whether making a token asks for a fresh proof first.
async fn wants_proof(scene: &Scene, session: &str) -> bool {
    let path = "/admin/acme/provisioning/tokens/new";
    let dialog = scene.faces.visit(path, session).await;
    let csrf = dialog.text.split("name=\"csrf\" value=\"").nth(1).unwrap().split('"').next().unwrap().to_owned();
    let fields = [("csrf", &*csrf), ("client", "x"), ("profile", "lenient"), ("scope", "users"), ("days", "90")];
    let reply = scene.faces.submit(path, session, &fields).await;
    match reply.status {
        303 => reply.header("location").starts_with("/admin/acme/prove?"),
        _ => false,
    }
}

#[rstest]
#[tokio::test]
async fn whoever_is_no_admin_is_told_the_role_and_whoever_did_not_accept_the_invitation(
    #[values(Store::Embedded, Store::Redis)] store: Store,
) {
    let scene = Scene::open(store, &[("USHERD_PROVISIONING__ADMIT", "silent")]).await;
    let invitee = Invitee {
        address: "bob@example.org".parse().unwrap(),
        display_name: None,
        given_name: None,
        family_name: None,
        language: None,
        wishes: Default::default(),
        reactivate: false,
        coming: Coming::Invited,
    };
    let operator = usherd::directory::accounts::by_operator(&scene.house.account);
    scene.house.directory().invite(&operator, &invitee).await.unwrap();
    let as_bob = |nonce: &str| {
        let mut claims = scene.claims(nonce);
        claims["email"] = "Bob@Example.org".into();
        claims
    };
    scene.refuses(&scene.sign_in(as_bob).await, 403, "open the link in your invitation first");
    let link = scene.house.directory().link(
        &scene.house.account,
        &scene.house.record("bob@example.org").await.user,
        usherd::domain::token::Channel::Mail,
    );
    scene.house.accept(&link.unwrap(), "bob@example.org").await;
    let session = scene.signed_in(as_bob).await;
    let page = scene.faces.visit("/admin/acme/users", &session).await;
    assert_eq!(page.status, 403);
    assert!(page.text.contains("You need the Account Admin role"), "{}", page.text);
}

#[rstest]
#[tokio::test]
async fn no_word_of_the_issuer_is_kept(#[values(Store::Embedded, Store::Redis)] store: Store) {
    let scene = Scene::open(store, &[]).await;
    let (location, journey) = scene.begin(BEGIN, "").await;
    assert!(!location.contains(CLIENT_SECRET) && !journey.contains("s3cret"));
    let query = scene.issuer.signs_in(&scene.key, &location, |nonce| scene.claims(nonce));
    let reply = scene.back(&query, &journey).await;
    let session = reply.cookie(SESSION).unwrap();
    let secret = session.rsplit('.').next().unwrap();
    let kept = format!("{:?}", scene.house.dump().await);
    for word in ["248289761001", "s3cret", secret, "code-"] {
        assert!(!kept.contains(word), "{word}");
    }
}
