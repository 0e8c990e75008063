//! Whatever stands in a name, a mail is made, and only the name suffers.

use proptest::prelude::*;
use serde_json::json;
use usherd::domain::text::safe_name;
use usherd::jobs::mail::{Addressee, Context, Invitation, Mail};

use crate::smtp::{header, parse};
use crate::{LINK, NOW, addressee, context, settings};

fn hostile() -> Vec<String> {
    let long = "x".repeat(10_000);
    [
        "Ada\r\nBcc: eve@example.org\r\n\r\nfree text",
        "Ada\0Lovelace",
        "\u{202E}ecalevoL adA\u{202C}",
        "👩‍👩‍👧‍👦 Ada 🏳️‍🌈",
        "\"Ada\" <eve@example.org>, Bob",
        "=?utf-8?q?Ada=0d=0aBcc:_eve@example.org?=",
        "{{ link }} {% raw %}",
        "Ærøskøbing Þórður 山田太郎",
        "",
        "\u{200B}",
        &long,
        &"\u{303}".repeat(300),
        &"é ".repeat(5_000),
    ]
    .map(str::to_owned)
    .to_vec()
}

#[test]
fn hostile_names_add_no_header_no_recipient_and_no_line() {
    let data = tempfile::tempdir().expect("a directory");
    let mailer = usherd::jobs::mail::Mailer::new(&settings(None, data.path())).expect("a mailer");
    let plain = mailer.compose(&mail("Grace"), &context(), &addressee("ada@example.org")).expect("composed");
    let file = data.path().join("plain.eml");
    std::fs::write(&file, plain.formatted()).expect("a file");
    let names = |message: &serde_json::Value| -> Vec<String> {
        let headers = message["headers"].as_array().expect("headers");
        headers.iter().filter_map(|pair| pair[0].as_str().map(str::to_owned)).collect()
    };
    let expected = names(&parse(&file));

    for name in hostile() {
        let context = Context { account_name: &name, recipient_name: Some(&name), ..context() };
        let addressee = Addressee { name: Some(&name), ..addressee("ada@example.org") };
        let message = mailer.compose(&mail(&name), &context, &addressee).expect("composed");
        let file = data.path().join("hostile.eml");
        std::fs::write(&file, message.formatted()).expect("a file");
        let parsed = parse(&file);
        assert_eq!(names(&parsed), expected, "{name:?}");
        assert_eq!(parsed["to_address"], "ada@example.org", "{name:?}");
        assert_eq!(parsed["defects"], json!([]), "{name:?}");
        assert_eq!(parsed["ascii"], true, "{name:?}");
        assert!(parsed["longest_line"].as_u64() <= Some(998), "{name:?}");
        assert_eq!(header(&parsed, "Subject"), ["You are invited"], "{name:?}");
        // Python 3.11 shows the folds between encoded words as spaces, against RFC 2047 §6.2.
        let shown = parsed["to_name"].as_str().expect("a name").replace(' ', "");
        assert_eq!(shown, safe_name(&name).replace(' ', ""));
        assert!(parsed["text"].as_str().is_some_and(|text| text.contains(LINK)), "{name:?}");
    }
}

fn mail(inviter: &str) -> Mail {
    Mail::Invitation(Invitation {
        link: LINK.to_owned(),
        expires_at: *NOW,
        inviter: Some(inviter.to_owned()),
        replaces_earlier: true,
    })
}

proptest! {
    #[test]
    fn any_name_and_any_address_make_a_message_or_a_refusal_but_no_panic(
        name in any::<String>(),
        address in prop_oneof![Just("ada@example.org".to_owned()), any::<String>(), "[a-zé\"\r\n@ .]{1,20}@[a-zü.\\[\\]:-]{1,20}"],
        language in any::<Option<String>>(),
    ) {
        thread_local! {
            static MAILER: usherd::jobs::mail::Mailer =
                usherd::jobs::mail::Mailer::new(&settings(None, std::path::Path::new("unused"))).expect("a mailer");
        }
        let context = Context {
            account_name: &name,
            recipient_name: Some(&name),
            preferred_language: language.as_deref(),
            ..context()
        };
        let addressee = Addressee { name: Some(&name), ..addressee(&address) };
        let message = MAILER.with(|mailer| mailer.compose(&mail(&name), &context, &addressee));
        if let Ok(message) = message {
            let formatted = message.formatted();
            let head = formatted.windows(4).position(|w| w == b"\r\n\r\n").expect("a header section");
            let head = String::from_utf8_lossy(&formatted[..head]).into_owned();
            prop_assert_eq!(head.matches("\r\nTo: ").count(), 1);
            prop_assert!(!head.replace("\r\n", "").contains(['\r', '\n', '\0']));
        }
    }
}
