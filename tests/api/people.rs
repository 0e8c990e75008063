//! What is done to several people at once: over the API, in the console, and by lists that come in and go out.

use rstest::rstest;
use serde_json::{Value, json};

use crate::api_error;
use crate::daemon::browser::{Browser, form_token};
use crate::daemon::client::Reply;
use crate::daemon::{Daemon, Store, USHERD, user};

const ADMIN: &str = "boss@example.com";
const IMPORT: &str = "/admin/default/users/import";
const MANY: &str = "/admin/default/users/many";

fn daemon(store: Store) -> Daemon {
    Daemon::start(store, &[("USHERD_BOOTSTRAP__ADMIN_EMAIL", ADMIN)])
}

fn signed_in(daemon: &Daemon) -> Browser<'_> {
    let mut browser = daemon.browser();
    assert_eq!(browser.open_and_accept(&daemon.admin_link(), ADMIN).status, 200);
    browser
}

fn bulk(daemon: &Daemon, act: &str, body: &Value) -> Reply {
    daemon.api("POST", &format!("/bulk/{act}")).json(body).send()
}

/// The word of each row.
fn results(reply: &Reply) -> Vec<String> {
    assert_eq!(reply.status, 200, "{}", reply.text());
    let rows = reply.json()["results"].as_array().unwrap().clone();
    rows.iter().map(|row| row["result"].as_str().unwrap().to_owned()).collect()
}

fn of(daemon: &Daemon, address: &str) -> Value {
    let found = daemon.api("GET", &format!("/users?search={address}")).send().json();
    found["users"][0].clone()
}

fn id_of(daemon: &Daemon, address: &str) -> String {
    of(daemon, address)["id"].as_str().unwrap_or_else(|| panic!("nobody is {address}")).to_owned()
}

#[rstest]
fn the_same_act_on_many_people_has_a_result_for_each(#[values(Store::Embedded, Store::Redis)] store: Store) {
    let daemon = daemon(store);
    let _browser = signed_in(&daemon);
    daemon.post("/Organizations", &json!({ "displayName": "Research" }));
    daemon.post("/Licenses", &json!({ "displayName": "Seat", "kind": "per-user", "seats": 1 }));
    let boss = id_of(&daemon, ADMIN);
    let emails = ["ada@example.com", "alan@example.com"];
    let invited = daemon.api("POST", "/invitations").json(&json!({ "emails": emails })).send();
    assert_eq!(results(&invited), ["invited", "invited"]);
    let [ada, alan] = emails.map(|email| id_of(&daemon, email));
    let nobody = "0193a5f0-0000-7000-8000-000000000001";

    let people = json!({ "users": [ada, boss, nobody, "not-an-id"] });
    let resent = bulk(&daemon, "resend", &people);
    assert_eq!(results(&resent), ["done", "already_active", "not_found", "not_found"]);
    let rows = resent.json()["results"].clone();
    assert_eq!((&rows[0]["id"], &rows[0]["user"]["status"]), (&json!(ada), &json!("Pending")));
    assert_eq!(rows[1]["message"], "the user is Active already and needs no invitation");
    assert!(rows[1].get("user").is_none());
    assert_eq!(results(&bulk(&daemon, "resend", &people))[0], "rate_limited", "G4, and nothing is done twice");

    let assign = json!({ "users": [ada, alan], "organization": "Research", "furtherLicenses": ["Seat"] });
    assert_eq!(results(&bulk(&daemon, "assign", &assign)), ["done", "no_license"], "G3");
    assert_eq!(of(&daemon, "ada")["organization"]["name"], "Research");
    assert_eq!(of(&daemon, "alan")["organization"], Value::Null, "a row is done whole or not at all");
    let leave = json!({ "users": [ada, alan], "organization": null });
    assert_eq!(results(&bulk(&daemon, "assign", &leave)), ["done", "done"]);
    let licenses = of(&daemon, "ada")["licenses"].clone();
    assert!(licenses.as_array().unwrap().iter().any(|it| it["name"] == "Seat"), "what they have stays: {licenses}");

    let all = json!({ "users": [ada, alan, boss] });
    assert_eq!(results(&bulk(&daemon, "revoke", &all)), ["done", "done", "not_pending"]);
    let again = json!({ "users": [boss, daemon.create_user("grace@example.com")] });
    assert_eq!(results(&bulk(&daemon, "deactivate", &again)), ["last_account_admin", "done"], "G1");
    assert_eq!(
        (of(&daemon, ADMIN)["status"].clone(), of(&daemon, "grace")["status"].clone()),
        (json!("Active"), json!("Inactive"))
    );

    assert_eq!(results(&bulk(&daemon, "revoke", &json!({ "users": [] }))), [] as [String; 0]);
    let too_many: Vec<String> = (0..101).map(|_| nobody.to_owned()).collect();
    api_error(&bulk(&daemon, "revoke", &json!({ "users": too_many })), 400, "invalid");
    api_error(&bulk(&daemon, "assign", &json!({ "users": [ada], "accountRole": "Account Admin" })), 400, "invalid");
    daemon.assert_consistent("default");
}

/// Makes the sessions of a user six minutes older, in the store itself.
fn age_sessions(daemon: &Daemon, user: &str) {
    let key = format!("usherd:{{default}}:doc:session:{user}");
    let reply = daemon.redis().ask(&format!("HGET {key} body"));
    let mut sessions: Value = serde_json::from_str(reply.lines().nth(1).unwrap()).unwrap();
    for session in sessions.as_array_mut().unwrap() {
        session["began"] = (session["began"].as_i64().unwrap() - 6 * 60_000).into();
    }
    let text = sessions.to_string().replace('"', "\\\"");
    daemon.redis().ask(&format!("HSET {key} body \"{text}\""));
}

#[test]
fn deactivating_several_people_asks_who_one_is_and_nothing_is_lost_on_the_way() {
    let daemon = daemon(Store::Redis);
    let mut browser = signed_in(&daemon);
    let boss = id_of(&daemon, ADMIN);
    let (ada, grace) = (daemon.create_user("ada@example.com"), daemon.create_user("grace@example.com"));
    let dialog =
        format!("{MANY}?act=deactivate&user={ada}&user={grace}&user={boss}&user={ada}&back=%3Fstatus%3Dpending");
    let page = browser.open(&dialog);
    assert!(page.text().contains("<strong>3 people</strong>"), "each once: {}", page.text());
    let token = form_token(&page);
    let fields = [("csrf", &*token), ("act", "deactivate"), ("user", &ada), ("user", &grace), ("user", &boss)];

    age_sessions(&daemon, &boss);
    let sent_away = browser.submit(MANY, &fields);
    let prove = sent_away.header("location").to_owned();
    assert_eq!((sent_away.status, prove.starts_with("/admin/default/prove?next=")), (303, true), "{prove}");
    assert_eq!(daemon.status(&ada), "Pending");
    let next = prove.split_once("next=").unwrap().1;
    for id in [&ada, &grace, &boss] {
        assert!(next.contains(&format!("user%3D{id}")), "the selection is kept: {next}");
    }

    let (mut fresh, _) = (daemon.browser(), ());
    let link = daemon.cli(&["admin", "grant", "--account", "default", "--user", "second@example.com"]).stdout;
    let link = crate::daemon::mails::link_in(&link).unwrap();
    assert_eq!(fresh.open_and_accept(&link, "second@example.com").status, 200);
    let second = id_of(&daemon, "second@example.com");
    let token = form_token(&fresh.open(&dialog));
    let fields = [("csrf", &*token), ("act", "deactivate"), ("user", &ada), ("user", &second), ("user", &grace)];
    let done = fresh.submit(MANY, &fields);
    assert_eq!(done.status, 200, "{}", done.text());
    assert!(done.text().contains("Done for 2 of 3 people."), "{}", done.text());
    assert!(done.text().contains("<code>not_yourself</code>"), "G2: {}", done.text());
    assert_eq!(
        (daemon.status(&ada), daemon.status(&grace)),
        ("Inactive admin".to_owned(), "Inactive admin".to_owned())
    );
    assert_eq!(daemon.status(&second), "Active");
}

#[test]
fn an_act_on_several_people_says_what_is_missing() {
    let daemon = daemon(Store::Embedded);
    let mut browser = signed_in(&daemon);
    let ada = daemon.create_user("ada@example.com");
    assert!(browser.open(&format!("{MANY}?act=resend")).text().contains("Nobody is selected."));
    let gone = format!("{MANY}?act=resend&user=0193a5f0-0000-7000-8000-000000000001");
    assert!(browser.open(&gone).text().contains("Nobody of those who were selected is there any more."));
    let many: String = (0..101).map(|n| format!("&user=0193a5f0-0000-7000-8000-{n:012}")).collect();
    assert!(browser.open(&format!("{MANY}?act=resend{many}")).text().contains("Select at most 100 at once."));
    assert!(
        browser.open(&format!("{MANY}?act=erase&user={ada}")).text().contains("User Directory"),
        "back to the list"
    );
    let token = form_token(&browser.open(&format!("{MANY}?act=license&user={ada}")));
    let refused = browser.submit(MANY, &[("csrf", &token), ("act", "license"), ("user", &ada)]);
    assert_eq!((refused.status, refused.text().contains("Choose a license.")), (422, true));
    let forged = browser.submit(MANY, &[("act", "deactivate"), ("user", &ada)]);
    assert_eq!((forged.status, daemon.status(&ada)), (403, "Pending".to_owned()));
}

const LIST: &str = "\u{feff}Email;Given name;Family name;Role;Organization;Licenses;Project:role;Language;Status;Phone\r\n\
    ada@example.com;Ada;Lovelace;System Admin;Research;TestOps;Apollo:Viewer;de;Active;1\r\n\
    alan@example.com;\"Alan\nMathison\";Turing;;;;;;Inactive;2\r\n\
    grace@example.com;Grace;Hopper;;Research;;Apollo;;;3\r\n\
    nobody;No;Body;;;;;;Active;4\r\n\
    kay@example.com;Kay;McNulty;;Nowhere;;;;Active;5\r\n\
    boss@example.com;;;;;;;;Active;6\r\n\
    ada@example.com;Ada;Twice;;;;;;Active;7\r\n";

/// Sends the form of the import with a file, as a browser does.
fn upload(browser: &mut Browser<'_>, daemon: &Daemon, file: &str) -> Reply {
    let token = form_token(&browser.open(IMPORT));
    let part = |name: &str, more: &str, value: &str| {
        format!("--XyZ\r\nContent-Disposition: form-data; name=\"{name}\"{more}\r\n\r\n{value}\r\n")
    };
    let file = part("file", "; filename=\"people.csv\"\r\nContent-Type: text/csv", file);
    let body =
        format!("{}{file}{}{}--XyZ--\r\n", part("csrf", "", &token), part("list", "", ""), part("step", "", "preview"));
    let request = daemon.request("POST", IMPORT).header("sec-fetch-site", "same-origin");
    browser.send(request.header("content-type", "multipart/form-data; boundary=XyZ").body(&body))
}

#[rstest]
fn a_list_is_previewed_and_brings_each_in_as_it_says(#[values(Store::Embedded, Store::Redis)] store: Store) {
    let daemon = daemon(store);
    let mut browser = signed_in(&daemon);
    daemon.post("/Organizations", &json!({ "displayName": "Research" }));
    daemon.post("/Projects", &json!({ "displayName": "Apollo" }));

    let preview = upload(&mut browser, &daemon, LIST);
    assert_eq!(preview.status, 200, "{}", preview.text());
    let text = preview.text();
    for words in [
        "3 of 7 lines can be imported. Nothing has happened yet.",
        "Columns that are not read: Phone.",
        "Will be Active at once</strong> <span class=\"hint\">System Admin · Research · TestOps · Apollo (Viewer)",
        "Will be Inactive",
        "Will be invited",
        "Active already",
        "The same address as in line 2.",
        "Import 3 people",
    ] {
        assert!(text.contains(words), "{words}: {text}");
    }
    assert!(of(&daemon, "ada").is_null(), "a preview writes nothing");

    let token = form_token(&preview);
    let done = browser.submit(IMPORT, &[("csrf", &token), ("list", LIST), ("step", "import")]);
    assert!(done.text().contains("3 of 7 lines done."), "{}", done.text());
    let ada = of(&daemon, "ada");
    assert_eq!(
        (&ada["status"], &ada["accountRole"], &ada["organization"]["name"]),
        (&json!("Active"), &json!("System Admin"), &json!("Research"))
    );
    assert_eq!((&ada["licenses"][0]["name"], &ada["licenses"][0]["seat"]), (&json!("TestOps"), &json!(true)));
    assert_eq!((&ada["projects"][0]["name"], &ada["projects"][0]["role"]), (&json!("Apollo"), &json!("Viewer")));
    assert_eq!(
        (&ada["profile"]["name"]["givenName"], &ada["profile"]["preferredLanguage"]),
        (&json!("Ada"), &json!("de"))
    );
    let alan = of(&daemon, "alan");
    assert_eq!((&alan["status"], &alan["statusReason"]), (&json!("Inactive"), &json!("admin")));
    assert_eq!(alan["displayName"], "Alan Mathison Turing");
    assert_eq!(of(&daemon, "grace")["status"], "Pending");
    assert!(of(&daemon, "kay").is_null(), "an unknown organization refuses the row");
    daemon.mail("grace@example.com", 1);
    assert_eq!(daemon.mails_to("ada@example.com").len() + daemon.mails_to("alan@example.com").len(), 0);

    // Whoever sends it again finds them.
    let again = browser.submit(IMPORT, &[("csrf", &token), ("list", LIST), ("step", "import")]);
    assert!(again.text().contains("1 of 7 lines done."), "who is Inactive stays so: {}", again.text());
    assert_eq!(daemon.mails_to("grace@example.com").len(), 1);
    daemon.assert_consistent("default");
}

#[test]
fn a_list_that_gives_power_asks_who_one_is_and_keeps_the_list() {
    let daemon = daemon(Store::Redis);
    let mut browser = signed_in(&daemon);
    age_sessions(&daemon, &id_of(&daemon, ADMIN));
    let list = "email,role,status\nada@example.com,account admin,\n";
    let token = form_token(&browser.open(IMPORT));
    let step = |browser: &mut Browser<'_>, step: &str, code: &str| {
        browser.submit(IMPORT, &[("csrf", &token), ("list", list), ("step", step), ("code", code)])
    };
    let preview = step(&mut browser, "preview", "");
    assert!(
        preview.text().contains("Mail me a code") && !preview.text().contains("Import 1 person"),
        "{}",
        preview.text()
    );
    let refused = step(&mut browser, "import", "");
    assert_eq!((refused.status, of(&daemon, "ada").is_null()), (422, true), "{}", refused.text());

    let asked = step(&mut browser, "code", "");
    assert!(asked.text().contains("name=\"code\"") && asked.text().contains("Import 1 person"), "{}", asked.text());
    assert!(asked.text().contains("account admin"), "the list is kept");
    assert_eq!(step(&mut browser, "import", "0000 0000").status, 422);
    assert!(of(&daemon, "ada").is_null(), "a wrong code proves nothing");
    let done = step(&mut browser, "import", &daemon.code(ADMIN, 1));
    assert!(done.text().contains("1 of 1 line done."), "{}", done.text());
    assert_eq!(of(&daemon, "ada")["accountRole"], "Account Admin");

    // What gives no power needs no more than the session.
    age_sessions(&daemon, &id_of(&daemon, ADMIN));
    let plain = [("csrf", &*token), ("list", "email\ngrace@example.com\n"), ("step", "import")];
    assert!(browser.submit(IMPORT, &plain).text().contains("1 of 1 line done."));
}

#[rstest]
#[case::nothing("", "Choose a file, or paste its lines.")]
#[case::no_columns("ada@example.com\n", "Line 1: the first line names the columns, and one of them has to be `email`.")]
#[case::nobody("email,name\n", "There is nobody in this list below the names of the columns.")]
#[case::latin_1("email,name\nada@example.com,\u{fffd}\n", "Save it as “CSV UTF-8”")]
#[case::open_quote("email,name\nada@example.com,\"Ada\n", "Line 2: a quoted field does not end.")]
fn a_list_that_cannot_be_read_says_why(#[case] file: &str, #[case] says: &str) {
    let daemon = daemon(Store::Embedded);
    let mut browser = signed_in(&daemon);
    let refused = upload(&mut browser, &daemon, file);
    assert_eq!(refused.status, 422, "{}", refused.text());
    assert!(refused.text().contains(says), "{}", refused.text());
}

#[test]
fn a_list_is_bounded_in_people_and_octets() {
    let daemon = daemon(Store::Embedded);
    let mut browser = signed_in(&daemon);
    let rows: String = (0..501).map(|number| format!("p{number}@example.com\n")).collect();
    let refused = upload(&mut browser, &daemon, &format!("email\n{rows}"));
    assert_eq!(refused.status, 422);
    assert!(refused.text().contains("Line 502: more than 500 people: split the file"), "{}", refused.text());
    let refused = upload(&mut browser, &daemon, &format!("email\n{}", "x".repeat(1 << 20)));
    assert!(refused.text().contains("larger than 1 MiB"), "{}", refused.text());
}

#[rstest]
fn the_directory_is_saved_as_it_is_filtered_and_no_cell_is_a_formula(
    #[values(Store::Embedded, Store::Redis)] store: Store,
) {
    let daemon = daemon(store);
    let mut browser = signed_in(&daemon);
    daemon.post("/Organizations", &json!({ "displayName": "=SUM(A1)" }));
    let mut ada = user("ada@example.com");
    (ada["displayName"], ada["name"]) =
        (json!("@Ada, \"Countess\""), json!({ "givenName": "-Ada", "familyName": "+L" }));
    ada[USHERD] =
        json!({ "organization": { "value": "=SUM(A1)" }, "licenses": [{ "value": "TestOps" }, { "value": "KSE" }] });
    assert_eq!(daemon.post("/Users", &ada).status, 201);

    let file = browser.open("/admin/default/users/export?status=pending");
    assert_eq!(file.header("content-type"), "text/csv; charset=utf-8");
    assert_eq!(file.header("content-disposition"), "attachment; filename=\"users-default.csv\"");
    let text = file.text();
    let lines: Vec<&str> = text.trim_start_matches('\u{feff}').split("\r\n").collect();
    assert!(text.starts_with("\u{feff}email,given name,family name,display name,role,"), "{text}");
    assert_eq!(lines.len(), 3, "the names of the columns, Ada, and the end: {text}");
    let begins = "ada@example.com,'-Ada,'+L,\"'@Ada, \"\"Countess\"\"\",User,'=SUM(A1),";
    assert!(lines[1].starts_with(begins), "{}", lines[1]);
    assert!(lines[1].contains(",Pending,"), "{}", lines[1]);
    assert_eq!(browser.open("/admin/default/users/export").text().lines().count(), 3, "the admin as well");
    assert_eq!(browser.open("/admin/default/users/export?q=nobody").text().lines().count(), 1);

    let audit = browser.open("/admin/default/audit/export?form=csv").text();
    let told: Vec<&str> = audit.lines().filter(|line| line.contains(",user.exported,console,")).collect();
    assert_eq!((told.len(), told.iter().any(|line| line.contains(",pending,"))), (3, true), "{audit}");
    // What was saved can be read again: everybody is here already.
    let again = upload(&mut browser, &daemon, &text);
    assert!(again.text().contains("0 of 1 line can be imported."), "{}", again.text());
    assert!(again.text().contains("Pending already") && again.text().contains("not read: reason"), "{}", again.text());

    // Signed out, there is no file.
    let stranger = daemon.request("GET", "/admin/default/users/export").send();
    assert_eq!((stranger.status, stranger.header("content-type").contains("csv")), (303, false));
}
