//! What an invited person meets in the browser, and what robots that follow links cannot do.

use rstest::rstest;

use crate::daemon::browser::form_token;
use crate::daemon::client::Reply;
use crate::daemon::{Daemon, Store};

fn invited(store: Store) -> (Daemon, String, String) {
    let daemon = Daemon::start(store, &[("USHERD_LIMITS__SIGN_IN", "off")]);
    let id = daemon.create_user("ada@example.com");
    let link = daemon.mail("ada@example.com", 1).link();
    daemon.settle();
    (daemon, id, link)
}

#[rstest]
fn a_wrong_address_is_told_and_kept_in_the_form(#[values(Store::Embedded, Store::Redis)] store: Store) {
    let (daemon, id, link) = invited(store);
    let mut browser = daemon.browser();
    let page = browser.open(&link);
    assert!(!page.text().contains("ada@example.com"), "the page does not tell the address that it asks for");
    for wrong in ["eve@example.com", "no address at all", "\"><script>alert(1)</script>"] {
        let reply = browser.accept(&page, wrong);
        assert_eq!(reply.status, 422, "{wrong}");
        let shown = wrong.replace('"', "&#34;").replace('<', "&#60;").replace('>', "&#62;");
        assert!(reply.text().contains(&format!("value=\"{shown}\"")), "{}", reply.text());
    }
    assert_eq!(browser.accept(&page, "").status, 422);
    assert_eq!(daemon.status(&id), "Pending");
    // Case is forgiven, and so is a space that a telephone adds.
    assert_eq!(browser.accept(&page, " Ada@Example.com ").status, 200);
    assert_eq!(daemon.status(&id), "Active");
}

#[rstest]
fn an_acceptance_is_said_once_and_then_known(#[values(Store::Embedded, Store::Redis)] store: Store) {
    let (daemon, id, link) = invited(store);
    let mut browser = daemon.browser();
    let page = browser.open(&link);
    let mut other = daemon.browser();
    let same_page = other.open(&link);
    assert_eq!(browser.accept(&page, "ada@example.com").status, 200);
    assert_eq!(browser.cookies(), "", "the cookie goes with the acceptance");
    let repeated = other.accept(&same_page, "ada@example.com");
    // A second click is no mistake; who opens the link again is told to sign in.
    assert_eq!(repeated.status, 200);
    assert!(repeated.text().contains("already accepted"), "{}", repeated.text());
    assert!(!other.cookies().contains("session"), "{}", other.cookies());
    let opened = daemon.browser().open(&link);
    assert_eq!(opened.status, 409);
    assert_eq!(daemon.status(&id), "Active");
}

#[rstest]
fn fifty_clicks_at_once_are_one_acceptance(#[values(Store::Embedded, Store::Redis)] store: Store) {
    let (daemon, id, link) = invited(store);
    let mut browser = daemon.browser();
    let page = browser.open(&link);
    let (cookies, csrf) = (browser.cookies(), form_token(&page));
    let replies: Vec<Reply> = std::thread::scope(|scope| {
        let clicks: Vec<_> = (0..50)
            .map(|_| {
                scope.spawn(|| {
                    let form = [("address", "ada@example.com"), ("csrf", csrf.as_str())];
                    daemon.request("POST", "/accept").header("cookie", &cookies).form(&form).send()
                })
            })
            .collect();
        clicks.into_iter().map(|click| click.join().unwrap()).collect()
    });
    assert_eq!(replies.iter().map(|reply| reply.status).collect::<Vec<_>>(), [200; 50]);
    let told = |words: &str| replies.iter().filter(|reply| reply.text().contains(words)).count();
    assert_eq!((told("<h1>Welcome</h1>"), told("<h1>You have already accepted</h1>")), (1, 49));
    assert_eq!(daemon.status(&id), "Active");
    let shown = daemon.cli(&["user", "show", "--account", "default", &id]).stdout;
    let shown: serde_json::Value = serde_json::from_str(&shown).unwrap();
    // Created, mail taken by the relay, accepted.
    assert_eq!(shown["revision"], 3);
}

#[rstest]
fn declining_is_possible_and_told(#[values(Store::Embedded, Store::Redis)] store: Store) {
    let (daemon, id, link) = invited(store);
    let mut browser = daemon.browser();
    let page = browser.open(&link);
    let declined = browser.submit("/accept/decline", &[("csrf", &form_token(&page))]);
    assert_eq!(declined.status, 200, "{}", declined.text());
    assert!(declined.text().contains("You have declined"), "{}", declined.text());
    assert_eq!(daemon.status(&id), "Pending declined");
    let opened = daemon.browser().open(&link);
    assert_eq!(opened.status, 410);
    assert_eq!(daemon.mails_to("ada@example.com").len(), 1);
}

/// Subject of the mail, heading of the page, and what is said of a wrong address.
#[rstest]
#[case::german("de-AT", "Sie sind eingeladen", "Einladung annehmen", "Das ist nicht die eingeladene Adresse.")]
#[case::spanish("es", "Tiene una invitación", "Acepte su invitación", "Esta no es la dirección invitada.")]
#[case::french("fr-CA", "Vous avez une invitation", "Acceptez votre invitation", "Ce n’est pas l’adresse invitée.")]
#[case::japanese("ja", "招待が届いています", "招待の承諾", "招待されたメールアドレスではありません。")]
#[case::vietnamese("vi-VN", "Bạn được mời tham gia", "Chấp nhận lời mời", "Đây không phải địa chỉ được mời.")]
#[case::unknown("tlh", "You are invited", "Accept your invitation", "This is not the address that was invited.")]
fn people_are_written_to_and_received_in_their_language(
    #[case] language: &str,
    #[case] subject: &str,
    #[case] heading: &str,
    #[case] wrong: &str,
) {
    let daemon = Daemon::start(Store::Embedded, &[]);
    let mut user = crate::daemon::user("ada@example.com");
    user["preferredLanguage"] = language.into();
    assert_eq!(daemon.post("/Users", &user).status, 201);
    let mail = daemon.mail("ada@example.com", 1);
    assert_eq!(mail.subject, subject);
    let mut browser = daemon.browser();
    let page = browser.open(&mail.link());
    let tag = language.split('-').next().filter(|tag| *tag != "tlh").unwrap_or("en");
    assert!(page.text().contains(&format!("<html lang=\"{tag}\"")), "{}", page.text());
    assert!(page.text().contains(&format!("<h1>{heading}</h1>")), "{}", page.text());
    let refused = browser.accept(&page, "eve@example.com");
    assert_eq!(refused.status, 422);
    assert!(refused.text().contains(wrong), "{}", refused.text());
}

#[test]
fn whoever_said_nothing_of_their_language_is_received_in_that_of_their_browser() {
    let (daemon, _, link) = invited(Store::Embedded);
    let path = link.split_once(&format!(":{}", daemon.port)).unwrap().1;
    let opened = daemon.request("GET", path).send();
    let cookie = opened.header("set-cookie").split(';').next().unwrap().to_owned();
    let page = daemon.request("GET", "/accept").header("cookie", &cookie);
    let page = page.header("accept-language", "pt-BR, fr;q=0.9, en;q=0.8").send();
    assert!(page.text().contains("<h1>Acceptez votre invitation</h1>"), "{}", page.text());
    let stranger = daemon.request("GET", "/accept").header("accept-language", "ja").send();
    assert_eq!(stranger.status, 410);
    assert!(stranger.text().contains("<h1>このリンクは使えません</h1>"), "{}", stranger.text());
}

#[rstest]
fn a_mail_scanner_does_no_harm(#[values(Store::Embedded, Store::Redis)] store: Store) {
    let (daemon, id, link) = invited(store);
    let before = daemon.get(&format!("/Users/{id}")).json();
    let path = link.split_once(&format!(":{}", daemon.port)).unwrap().1;
    for method in ["GET", "HEAD", "POST", "PUT", "OPTIONS"] {
        for _ in 0..3 {
            let reply = daemon.request(method, path).send();
            assert!(reply.status < 500, "{method}: {}", reply.status);
        }
    }
    let mut browser = daemon.browser();
    let page = browser.open(&link);
    let csrf = form_token(&page);
    let cookies = browser.cookies();
    let address = ("address", "ada@example.com");
    // The link alone, the cookie alone, the form alone, a form that another site sends, a forged one.
    assert_eq!(daemon.request("POST", path).form(&[address]).send().status, 405);
    assert_eq!(daemon.request("POST", "/accept").form(&[address]).send().status, 410);
    assert_eq!(daemon.request("POST", "/accept").header("cookie", &cookies).form(&[address]).send().status, 410);
    assert_eq!(daemon.request("POST", "/accept").form(&[address, ("csrf", &csrf)]).send().status, 410);
    let foreign = daemon.request("POST", "/accept").header("cookie", &cookies).header("sec-fetch-site", "cross-site");
    assert_eq!(foreign.form(&[address, ("csrf", &csrf)]).send().status, 410);
    let forged = daemon.request("POST", "/accept").header("cookie", &cookies);
    assert_eq!(forged.form(&[address, ("csrf", "AAAA")]).send().status, 410);
    assert_eq!(daemon.request("POST", "/accept/decline").header("cookie", &cookies).send().status, 410);
    assert_eq!(daemon.get(&format!("/Users/{id}")).json(), before);
    assert_eq!(browser.accept(&page, "ada@example.com").status, 200, "and the person still gets in");
}

#[rstest]
fn a_link_that_is_none_tells_nothing(#[values(Store::Embedded, Store::Redis)] store: Store) {
    let (daemon, _, link) = invited(store);
    let mut forged = link.clone();
    let last = forged.pop().unwrap();
    forged.push(if last == 'A' { 'B' } else { 'A' });
    let nowhere = daemon.url("/i/usi_nonsense");
    let pages: Vec<_> = [forged, nowhere].iter().map(|link| daemon.browser().open(link)).collect();
    for page in &pages {
        assert_eq!(page.status, 410);
        assert!(page.text().contains("This link does not work"), "{}", page.text());
    }
    assert_eq!(pages[0].text(), pages[1].text());
}

#[rstest]
fn pages_are_private_and_load_nothing_from_elsewhere(#[values(Store::Embedded, Store::Redis)] store: Store) {
    let (daemon, _, link) = invited(store);
    let mut browser = daemon.browser();
    let page = browser.open(&link);
    assert_eq!(page.header("cache-control"), "no-store");
    assert_eq!(page.header("referrer-policy"), "no-referrer");
    assert_eq!(page.header("x-content-type-options"), "nosniff");
    assert!(page.header("content-security-policy").starts_with("default-src 'none'"));
    let token = link.rsplit('/').next().unwrap();
    assert!(!page.text().contains(token), "no page repeats the token");
    let opened = daemon.request("GET", &format!("/i/{token}")).send();
    let cookie = opened.header("set-cookie").to_owned();
    assert!(cookie.contains("HttpOnly") && cookie.contains("SameSite=Lax"), "{cookie}");
    assert_eq!((opened.status, opened.header("location")), (303, "/accept"));
    for asset in page.text().split("href=\"").skip(1).map(|rest| rest.split('"').next().unwrap().to_owned()) {
        if asset.starts_with('/') {
            let asset = asset.split('#').next().unwrap();
            assert_eq!(daemon.request("GET", asset).send().status, 200, "{asset}");
        }
    }
}
