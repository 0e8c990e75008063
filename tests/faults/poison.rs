//! Names and addresses that nobody has, and some that somebody has all the same: whatever stands in them, the worker goes
//! on, and everybody else gets their mail.

use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::TestRunner;
use rstest::rstest;
use serde_json::{Value, json};
use usherd::directory::accounts::by_operator;
use usherd::directory::{Error, Kind};

use crate::daemon::{Store, USHERD, user};
use crate::in_process::House;
use crate::smtp::SmtpServer;

/// Texts of any characters, always the same ones.
fn any_texts(count: usize) -> Vec<String> {
    let mut runner = TestRunner::deterministic();
    let texts = proptest::collection::vec(proptest::char::any(), 1..60);
    let text = |_| texts.new_tree(&mut runner).unwrap().current().into_iter().collect();
    (0..count).map(text).collect()
}

fn names() -> Vec<String> {
    let mut names = any_texts(60);
    names.extend([
        "x".repeat(10_000),
        "\u{1F469}\u{200D}".repeat(2_500),
        "\u{303}".repeat(5_000),
        "\r\nBcc: eve@example.org\r\n\r\nfree text".to_owned(),
        "{{ link }} {% raw %} {% if".to_owned(),
        "=?utf-8?q?Ada=0d=0aBcc:_eve@example.org?=".to_owned(),
        "\u{202E}ecalevoL adA\u{202C}\0\u{FFFE}\u{10FFFF}".to_owned(),
        "\u{FDFA}".repeat(3_300),
    ]);
    names
}

/// At every limit of RFC 5321 §4.5.3.1, RFC 5322 §3.4.1, RFC 6531 and RFC 5890, and one beyond each.
fn addresses() -> Vec<String> {
    let label = |octets: usize| "a".repeat(octets);
    let domain = |octets: usize| {
        let mut domain = vec![label(63); octets / 64];
        domain.push(label(octets % 64));
        domain.join(".")
    };
    vec![
        format!("{}@example.org", label(64)),
        format!("{}@example.org", label(65)),
        format!("a@{}.org", label(63)),
        format!("a@{}.org", label(64)),
        format!("a@{}", domain(252)),
        format!("a@{}", domain(253)),
        format!("{}@{}", label(64), domain(189)),
        format!("{}@{}", label(64), domain(190)),
        "\"Ada \\\"Countess\\\" Lovelace\"@example.org".to_owned(),
        "\"\"@example.org".to_owned(),
        "!#$%&'*+-/=?^_`{|}~@example.org".to_owned(),
        "ada@[127.0.0.1]".to_owned(),
        "ada@[IPv6:::1]".to_owned(),
        "ada@b\u{fc}cher.example".to_owned(),
        "ad\u{e4}@b\u{fc}cher.example".to_owned(),
        "ada@xn--bcher-kva.example".to_owned(),
        "\u{5c71}\u{7530}@\u{4f8b}\u{3048}.\u{30c6}\u{30b9}\u{30c8}".to_owned(),
        "ada@localhost".to_owned(),
        "ada@example".to_owned(),
        "-@-.org".to_owned(),
        ".ada@example.org".to_owned(),
        "ada..l@example.org".to_owned(),
    ]
}

#[rstest]
#[tokio::test(flavor = "multi_thread")]
async fn no_name_and_no_address_stops_the_worker(#[values(Store::Embedded, Store::Redis)] store: Store) {
    let server = SmtpServer::start(&[]);
    let overrides = [
        ("USHERD_MAIL__URL", &*server.url("smtp", "")),
        ("USHERD_PROVISIONING__HOLD_ABOVE", "off"),
        // As many as there are, at once.
        ("USHERD_MAIL__RATE", "off"),
        // A claim lasts twice as long, and all of them are claimed at once.
        ("USHERD_MAIL__TIMEOUT", "60s"),
    ];
    let house = House::with_admin(store, &overrides).await;
    let project = json!({ "displayName": "Apollo \u{202E}\u{10FFFF}" });
    house.directory().create_resource(&house.client, Kind::Project, project).await.unwrap();
    let (mut taken, mut refused) = (0, 0);
    let mut create = async |body: Value| match house.directory().create_user(&house.client, body).await {
        Ok(_) => taken += 1,
        // Said at once, to whom it sends; two spellings of one domain are one address.
        Err(Error::Protocol(_) | Error::Invalid(_) | Error::Taken { attribute: "emails" }) => refused += 1,
        Err(error) => panic!("{error}"),
    };
    for (number, name) in names().iter().enumerate() {
        let mut body = user(&format!("n{number}@example.org"));
        body["name"] = json!({ "givenName": name, "familyName": name, "formatted": name });
        body["displayName"] = name.as_str().into();
        body["title"] = name.as_str().into();
        body["preferredLanguage"] = name.as_str().into();
        create(body).await;
    }
    for (number, address) in addresses().iter().enumerate() {
        let mut body = user(address);
        body["userName"] = format!("a{number}").into();
        body[USHERD] = json!({ "projects": [{ "value": "Apollo \u{202E}\u{10FFFF}" }] });
        create(body).await;
    }
    house.work().await;
    house.create("grace@example.org").await;
    println!("{taken} taken, {refused} refused at once, {} mails", server.messages().len());
    assert!(taken >= 80, "{taken} taken, {refused} refused");

    let got = |to: &str| server.messages().iter().filter(|mail| mail["to"] == json!([to])).count();
    assert_eq!(got("grace@example.org"), 1, "whoever comes after them gets a mail");
    let unread: Vec<usize> = (0..names().len()).filter(|number| got(&format!("n{number}@example.org")) != 1).collect();
    assert_eq!(unread, [] as [usize; 0], "a name keeps nobody from their mail");
    assert_eq!(got("eve@example.org"), 0);
    let queue = house.directory().mail_queue().await.unwrap();
    assert_eq!(queue.pause, None, "one address is no reason to let everybody wait");
    let operator = by_operator(&house.account);
    // What cannot be written is tried no more in the end, and the admins hear of it.
    for minutes in [1, 5, 15, 60, 180, 360] {
        house.after(crate::house::MINUTE * minutes * 5 / 4).await;
    }
    house.directory().digest(&house.account).await.unwrap();
    house.work().await;
    assert_eq!(house.directory().outbox(&operator, 0, 10).await.unwrap().letters, []);
    assert_eq!(got(crate::house::ADMIN), 1, "the digest names them all");
}
