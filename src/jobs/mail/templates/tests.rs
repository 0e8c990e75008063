use std::time::Duration;

use super::*;
use crate::jobs::mail::{Alert, AlertLine, Invitation};

static UTC: TimeZone = TimeZone::UTC;

const LINK: &str = "https://usherd.example/i/usi_AbC-_123";

fn now() -> Timestamp {
    Timestamp::parse("2026-11-23T09:30:00Z").expect("an instant")
}

fn context(account_name: &str) -> Context<'_> {
    Context { account_name, recipient_name: None, preferred_language: None, zone: &UTC, now: now() }
}

fn invitation() -> Invitation {
    Invitation {
        link: LINK.to_owned(),
        expires_at: now() + Duration::from_secs(7 * 86_400),
        inviter: None,
        replaces_earlier: false,
    }
}

fn built_in() -> Templates {
    Templates::load(None).expect("the built-in templates work")
}

/// A directory of the operator's with one file in it.
fn own(name: &str, content: &str) -> tempfile::TempDir {
    let directory = tempfile::tempdir().expect("a directory");
    let file = directory.path().join(name);
    fs::create_dir_all(file.parent().expect("a folder")).expect("a folder");
    fs::write(file, content).expect("a file");
    directory
}

fn refused(name: &str, content: &str) -> TemplateError {
    let directory = own(name, content);
    let mut error = Templates::load(Some(directory.path())).expect_err("a mistake");
    error.file = error.file.replace(&format!("{}/", directory.path().display()), "");
    error
}

#[test]
fn an_invitation_says_who_where_how_long_and_the_link_in_text() {
    let mail = Mail::Invitation(Invitation { inviter: Some("Grace Hopper".to_owned()), ..invitation() });
    let named = Context { recipient_name: Some("Ada Lovelace"), ..context("Acme") };
    let rendered = built_in().render(&mail, &named).expect("renders");
    assert_eq!(rendered.subject, "You are invited");
    assert_eq!(
        rendered.text,
        "\
You are invited to Acme

Hello Ada Lovelace,

Grace Hopper has invited you to join Acme.

Accept invitation:

https://usherd.example/i/usi_AbC-_123

The link works for 7 days, until Monday, 30 November 2026 at 09:30 UTC.

You will be asked to type the address that this mail was sent to.

-- 
If you did not expect this mail, you can ignore it. Nothing happens unless
you act.

Sent by usherd for Acme. This mailbox is not read by people.
"
    );
    assert_eq!(rendered.unsubscribe, None);
}

#[test]
fn html_holds_the_link_twice_no_image_and_nothing_from_elsewhere() {
    let rendered = built_in().render(&Mail::Invitation(invitation()), &context("Acme")).expect("renders");
    assert_eq!(rendered.html.matches(&format!("href=\"{LINK}\"")).count(), 2);
    assert!(rendered.html.contains(&format!(">{LINK}</a>")));
    for foreign in ["<img", "<script", "<link", "url(", "@import"] {
        assert!(!rendered.html.contains(foreign), "{foreign}");
    }
}

#[test]
fn names_are_escaped_in_html_and_never_reach_a_subject() {
    let hostile = "<script>alert(1)</script>\r\nBcc: x";
    let named = Context { recipient_name: Some(hostile), ..context(hostile) };
    let mail = Mail::Invitation(Invitation { inviter: Some(hostile.to_owned()), ..invitation() });
    let rendered = built_in().render(&mail, &named).expect("renders");
    assert!(!rendered.html.contains("<script"));
    assert!(rendered.html.contains("&lt;script&gt;alert(1)&lt;&#x2f;script&gt; Bcc: x"), "{}", rendered.html);
    assert!(!rendered.text.contains('\r'));
    assert_eq!(rendered.subject, "You are invited");
}

#[test]
fn a_hostile_link_cannot_leave_its_attribute() {
    let mail = Mail::Invitation(Invitation { link: "https://x/\"><b>".to_owned(), ..invitation() });
    let rendered = built_in().render(&mail, &context("Acme")).expect("renders");
    assert!(!rendered.html.contains("\"><b>"));
}

#[test]
fn only_a_reminder_offers_to_stop() {
    let unsubscribe = "https://usherd.example/mute/abc".to_owned();
    let mail = Mail::Reminder { invitation: invitation(), unsubscribe: unsubscribe.clone() };
    let rendered = built_in().render(&mail, &context("Acme")).expect("renders");
    assert!(rendered.text.contains(&unsubscribe) && rendered.html.contains(&unsubscribe));
    assert_eq!(rendered.unsubscribe, Some(unsubscribe));
    for other in Mail::samples(now()).iter().filter(|mail| !matches!(mail, Mail::Reminder { .. })) {
        assert_eq!(built_in().render(other, &context("Acme")).expect("renders").unsubscribe, None);
    }
}

#[test]
fn every_kind_has_a_subject_and_its_template_is_listed() {
    let templates = built_in();
    for mail in Mail::samples(now()) {
        let rendered = templates.render(&mail, &context("Acme")).expect("renders");
        assert!(!rendered.subject.contains('.') && rendered.subject.contains(' '), "{}", rendered.subject);
        assert!(Mail::TEMPLATES.contains(&mail.template()));
        assert!(rendered.text.is_ascii() && rendered.html.is_ascii(), "{}", mail.template());
    }
}

#[test]
fn a_notice_that_warns_does_not_say_that_it_can_be_ignored() {
    let templates = built_in();
    let ignorable = |mail: &Mail| templates.render(mail, &context("Acme")).expect("renders").text.contains("ignore it");
    assert!(ignorable(&Mail::Invitation(invitation())));
    assert!(!ignorable(&Mail::CopiedLinkNotice { accepted_at: now() }));
    assert!(!ignorable(&Mail::AdminLinkAccepted { accepted_at: now() }));
    assert!(!ignorable(&Mail::AddressNotice { address: "a***@example.org".to_owned() }));
}

#[test]
fn an_account_whose_name_shows_nothing_is_your_workspace() {
    let rendered = built_in().render(&Mail::Invitation(invitation()), &context("\u{200B}")).expect("renders");
    assert!(rendered.text.starts_with("You are invited to your workspace\n"));
}

#[test]
fn an_alert_lists_what_fits_and_counts_the_rest() {
    let line = |n| AlertLine::Told { what: "people", count: 1, who: vec![format!("person {n}\r\n")] };
    let lines = (1..=53).map(line).collect();
    let mail = Mail::AdminAlert { alert: Alert::Brake, lines, link: None };
    let rendered = built_in().render(&mail, &context("Acme")).expect("renders");
    assert!(rendered.text.contains("\n  person 50\n"));
    assert!(!rendered.text.contains("person 51"));
    assert!(rendered.text.contains("and 3 more"));
    assert!(!rendered.text.contains("\n\n  person 2"), "one line each:\n{}", rendered.text);
}

#[test]
fn a_broken_template_is_named_with_file_and_line_at_start() {
    let error = refused("en/invitation.txt", "{{ link }}\n\n{% if %}\n");
    assert_eq!((&*error.file, error.line), ("en/invitation.txt", Some(3)));
    let error = refused("en/invitation.html", "{{ link }}\n{{ lnik }}");
    assert_eq!((&*error.file, error.line), ("en/invitation.html", Some(2)));
    assert!(error.to_string().starts_with("mail template en/invitation.html, line 2: undefined value"), "{error}");
    let error = refused("de/layout.html", "<p>\n{{ nothing }}");
    assert_eq!((&*error.file, error.line), ("de/layout.html", Some(2)));
}

#[test]
fn a_template_that_forgets_its_link_or_has_a_name_without_meaning_is_refused() {
    let error = refused("en/reminder.txt", "Hello!");
    assert_eq!(
        error.to_string(),
        "mail template en/reminder.txt: it shows no {{ link }}, without which the mail is useless"
    );
    let error = refused("en/sign_in_code.html", "Hello!");
    assert!(error.detail.contains("{{ code }}"), "{error}");
    let error = refused("en/invitaton.txt", "{{ link }}");
    assert!(error.detail.contains("no mail has this name"), "{error}");
    let error = refused("invitation.txt", "{{ link }}");
    assert!(error.detail.contains("the folder of its language"), "{error}");
    let error = refused("en/strings.toml", "[invitation]\nsubjct = \"x\"");
    assert!(error.to_string().contains("en/strings.toml: `invitation.subjct`"), "{error}");
}

#[test]
fn a_language_of_the_operator_is_chosen_by_preference_and_fills_gaps_from_english() {
    let directory = own("pt/strings.toml", "[invitation]\nsubject = \"Convite\"\n[span]\nday_other = \"{n} dias\"");
    let templates = Templates::load(Some(directory.path())).expect("loads");
    let render = |preferred_language| {
        let context = Context { preferred_language, ..context("Acme") };
        templates.render(&Mail::Invitation(invitation()), &context).expect("renders")
    };
    let portuguese = render(Some("tlh, pt-BR;q=0.9"));
    assert_eq!((&*portuguese.subject, &*portuguese.language), ("Convite", "pt"));
    assert!(portuguese.text.contains("The link works for 7 dias"));
    assert!(portuguese.html.contains("<html lang=\"pt\" dir=\"ltr\">"));
    assert_eq!(render(Some("tlh")).language, "en");
    assert_eq!(render(None).subject, "You are invited");
}

#[test]
fn an_operator_changes_a_word_of_a_language_that_comes_with_usherd() {
    let directory = own("de/strings.toml", "[invitation]\nsubject = \"Komm herein\"");
    let templates = Templates::load(Some(directory.path())).expect("loads");
    let context = Context { preferred_language: Some("de-AT"), ..context("Acme") };
    let rendered = templates.render(&Mail::Invitation(invitation()), &context).expect("renders");
    assert_eq!(rendered.subject, "Komm herein");
    assert!(rendered.text.contains("Der Link ist 7 Tage lang gültig, bis Montag, 30. November 2026, 09:30 UTC."));
    assert!(templates.words().best(["de"]).text("invitation.subject") == "Komm herein", "pages take the same words");
}

#[test]
fn every_mail_is_written_in_every_language_without_a_gap() {
    let templates = built_in();
    for words in templates.words().iter() {
        for mail in Mail::samples(now()) {
            let context =
                Context { preferred_language: Some(words.tag()), recipient_name: Some("Ada"), ..context("Acme") };
            let rendered = templates.render(&mail, &context).expect("renders");
            let text = rendered.text.replace(LINK, "");
            assert!(!text.contains('{') && !text.contains("alert."), "{}: {text}", words.tag());
            assert_eq!(rendered.language, words.tag());
        }
    }
}

#[test]
fn an_own_template_takes_the_place_of_the_built_in_one_alone() {
    let directory = own("en/invitation.txt", "Hi {{ name or 'you' }}: {{ link }}");
    let templates = Templates::load(Some(directory.path())).expect("loads");
    let rendered = templates.render(&Mail::Invitation(invitation()), &context("Acme")).expect("renders");
    assert_eq!(rendered.text, format!("Hi you: {LINK}\n"));
    assert!(rendered.html.starts_with("<!doctype html>"));
}

#[test]
fn text_is_wrapped_between_words_and_links_stay_whole() {
    let long = format!("https://x.example/{}", "a".repeat(120));
    let text = format!("{}\n\n\n\n{long}\n  {}\n", "word ".repeat(30), "x ".repeat(60));
    let tidy = tidy_text(&text);
    assert!(tidy.contains(&format!("\n\n{long}\n  x x")));
    assert_eq!(tidy.lines().next().map(str::len), Some(74));
    assert_eq!(tidy_text(&"é".repeat(200)), format!("{}\n", "é".repeat(200)));
    assert_eq!(tidy_text(&format!("{} ü", "é".repeat(76))), format!("{}\nü\n", "é".repeat(76)));
}
