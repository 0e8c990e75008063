//! What must not be told: no secret and no whole address in a log, no secret in the store.

use rstest::rstest;
use serde_json::json;

use crate::daemon::{Daemon, Store, set_active, user};
use crate::redis_server::eventually;

#[rstest]
fn neither_logs_nor_the_store_hold_secrets(#[values(Store::Embedded, Store::Redis)] store: Store) {
    let mut daemon = Daemon::start(
        store,
        &[
            ("USHERD_LOG__FILTER", "debug"),
            ("USHERD_INVITATIONS__TTL", "10s"),
            ("USHERD_JOBS__EXPIRE", "* * * * * *"),
            ("USHERD_JOBS__RENEW", "* * * * * *"),
        ],
    );
    let mut secrets = vec![daemon.token().to_owned(), token_of(&daemon.admin_link())];
    let addresses = ["ada.lovelace@example.com", "grace.hopper@example.com", "eve@example.com"];

    // A scenario with everything in it that knows a secret.
    let ada = daemon.create_user(addresses[0]);
    let link = daemon.mail(addresses[0], 1).link();
    secrets.push(token_of(&link));
    let mut browser = daemon.browser();
    let page = browser.open(&link);
    browser.accept(&page, addresses[2]);
    browser.accept(&page, addresses[0]);
    daemon.browser().open(&link);
    daemon.request("POST", &format!("/i/{}/mute", token_of(&link))).send();
    daemon.api("GET", &format!("/access/{}", addresses[0])).send();
    daemon.api("GET", &format!("/access/{}", addresses[2])).send();
    daemon.get(&format!("/Users?filter=userName%20eq%20%22{}%22", addresses[0]));
    daemon.post("/Users", &user(addresses[0]));
    daemon.patch(&format!("/Users/{ada}"), &set_active(false));
    let invited = daemon.api("POST", "/users").json(&json!({ "email": addresses[1] })).send();
    let grace = invited.json()["id"].as_str().unwrap().to_owned();
    let copied = daemon.api("POST", &format!("/users/{grace}/copy-link")).send();
    secrets.push(token_of(copied.json()["link"].as_str().unwrap()));
    secrets.push(token_of(&daemon.mail(addresses[1], 2).link()));
    daemon.api("POST", "/users").json(&json!({ "email": addresses[1] })).send();
    let made = daemon.cli(&["token", "create", "--account", "default", "--name", "okta"]);
    secrets.push(made.stdout.trim().to_owned());
    daemon.request("GET", "/scim/v2/Users").bearer("usp_somebody-elses-secret-0123456789").send();
    daemon
        .request("GET", "/scim/v2/Users?token=usp_somebody-elses-secret-0123456789")
        .bearer(made.stdout.trim())
        .send();
    let granted = daemon.cli(&["admin", "grant", "--account", "default", "--user", addresses[2]]);
    secrets.push(token_of(granted.stdout.trim()));
    daemon.cli(&["mail", "test", "--to", addresses[2]]);
    let password = "hunter2-is-my-password";
    let mut with_password = user("last@example.com");
    with_password["password"] = json!(password);
    daemon.post("/Users", &with_password);
    eventually(|| daemon.logs().contains("answered").then_some(()));

    let stored = daemon.stored();
    daemon.kill9();
    daemon.restart();
    assert_eq!(daemon.stop(), 0);

    let logs = daemon.logs();
    for secret in secrets.iter().map(String::as_str).chain(["somebody-elses-secret", password]) {
        assert!(!logs.contains(secret), "{secret} is logged");
        assert!(!made.stderr.contains(secret) && !granted.stderr.contains(secret), "{secret} among words");
        assert!(!contains(&stored, secret), "{secret} is stored");
    }
    for prefix in ["usi_", "usp_"] {
        let logged: Vec<&str> = logs.lines().filter(|line| line.contains(prefix)).collect();
        assert!(logged.is_empty(), "{logged:?}");
        assert!(!contains(&stored, prefix), "a token is stored");
    }
    for address in addresses.into_iter().chain(["last@example.com"]) {
        let logged: Vec<&str> = logs.lines().filter(|line| line.contains(address)).collect();
        assert!(logged.is_empty(), "{address} is logged: {logged:#?}");
    }
    assert!(contains(&stored, addresses[0]), "the search would find what is there");
}

fn token_of(link: &str) -> String {
    link.rsplit('/').next().unwrap().to_owned()
}

fn contains(bytes: &[u8], text: &str) -> bool {
    bytes.windows(text.len()).any(|window| window == text.as_bytes())
}
