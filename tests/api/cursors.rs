//! Paging by cursor (RFC 9865).

use rstest::rstest;
use serde_json::{Value, json};

use crate::daemon::client::Reply;
use crate::daemon::{Daemon, Store, patch, user};
use crate::scim_error;

const SEARCH: &str = "urn:ietf:params:scim:api:messages:2.0:SearchRequest";
const BULK: &str = "urn:ietf:params:scim:api:messages:2.0:BulkRequest";

/// People `u000` and so on, beside the first admin.
fn people(store: Store, count: usize, overrides: &[(&str, &str)]) -> Daemon {
    let overrides = [&[("USHERD_PROVISIONING__ADMIT", "silent")][..], overrides].concat();
    let daemon = Daemon::start(store, &overrides);
    let made: Vec<Value> = (0..count)
        .map(|number| {
            let mut data = user(&format!("u{number:03}@example.com"));
            data["title"] = json!(if number % 2 == 0 { "even" } else { "odd" });
            json!({ "method": "POST", "path": "/Users", "bulkId": number.to_string(), "data": data })
        })
        .collect();
    let reply = daemon.post("/Bulk", &json!({ "schemas": [BULK], "Operations": made }));
    assert_eq!(reply.status, 200, "{}", reply.text());
    assert!(
        reply.json()["Operations"].as_array().unwrap().iter().all(|row| row["status"] == "201"),
        "{}",
        reply.text()
    );
    daemon
}

fn query(daemon: &Daemon, parameters: &[(&str, &str)]) -> Reply {
    let query = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(parameters).finish();
    daemon.get(&format!("/Users?{query}"))
}

fn names(list: &Value) -> Vec<String> {
    let resources = list["Resources"].as_array().expect("Resources is always there");
    resources
        .iter()
        .map(|resource| resource["userName"].as_str().unwrap().split('@').next().unwrap().to_owned())
        .collect()
}

/// The pages of a query, the first with an empty cursor.
fn pages(daemon: &Daemon, parameters: &[(&str, &str)]) -> Vec<Value> {
    let mut pages: Vec<Value> = Vec::new();
    let mut cursor = String::new();
    loop {
        let reply = query(daemon, &[parameters, &[("cursor", cursor.as_str())]].concat());
        assert_eq!(reply.status, 200, "{}", reply.text());
        let page = reply.json();
        assert!(page.get("startIndex").is_none(), "{page}");
        assert_eq!(page["itemsPerPage"], page["Resources"].as_array().unwrap().len());
        let next = page.get("nextCursor").map(|next| next.as_str().unwrap().to_owned());
        pages.push(page);
        assert!(pages.len() < 100, "for ever");
        let Some(next) = next else { return pages };
        // RFC 3986 §2.3.
        assert!(next.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte)), "{next}");
        cursor = next;
    }
}

#[rstest]
fn a_list_is_read_to_its_end_in_the_order_of_index_paging(#[values(Store::Embedded, Store::Redis)] store: Store) {
    let daemon = people(store, 13, &[("USHERD_SCIM__DEFAULT_PAGE", "5")]);
    for (parameters, length, total) in [
        (&[][..], 5, 14),
        (&[("count", "7")], 7, 14),
        (&[("filter", "title eq \"odd\"")], 5, 6),
        (&[("filter", "userName sw \"u\""), ("count", "4")], 4, 13),
        (&[("filter", "id eq \"nonsense\"")], 5, 0),
        (&[("sortBy", "userName"), ("sortOrder", "descending"), ("count", "4")], 4, 14),
    ] {
        let whole: Vec<_> = parameters.iter().filter(|(name, _)| *name != "count").copied().collect();
        let by_index = query(&daemon, &whole.iter().copied().chain([("count", "100")]).collect::<Vec<_>>()).json();
        assert!(by_index.get("nextCursor").is_none(), "index paging is the default");
        let pages = pages(&daemon, parameters);
        let joined: Vec<String> = pages.iter().flat_map(names).collect();
        assert_eq!((joined.len(), &joined), (total, &names(&by_index)), "{parameters:?}");
        for page in &pages {
            assert_eq!(page["totalResults"], total, "{parameters:?}");
            assert!(names(page).len() <= length, "{parameters:?}");
        }
        assert_eq!(pages.len(), total.div_ceil(length).max(1), "no empty page at the end of {parameters:?}");
    }
}

#[rstest]
fn a_search_by_post_pages_by_cursor_too(#[values(Store::Embedded, Store::Redis)] store: Store) {
    let daemon = people(store, 3, &[]);
    let mut search = json!({ "schemas": [SEARCH], "filter": "userName sw \"u\"", "attributes": ["userName"],
        "cursor": "", "count": 2 });
    let first = daemon.post("/Users/.search", &search).json();
    assert_eq!((names(&first), &first["totalResults"]), (vec!["u000".to_owned(), "u001".to_owned()], &json!(3)));
    search["cursor"] = first["nextCursor"].clone();
    let second = daemon.post("/Users/.search", &search).json();
    assert_eq!(names(&second), ["u002"]);
    assert!(second.get("nextCursor").is_none());
    assert!(second["Resources"][0].get("emails").is_none(), "projected like the first page");
}

#[rstest]
fn what_comes_and_goes_between_two_pages_moves_nobody(#[values(Store::Embedded, Store::Redis)] store: Store) {
    let daemon = people(store, 6, &[]);
    for order in [&[][..], &[("sortBy", "userName")]] {
        let parameters = [&[("filter", "userName sw \"u\""), ("count", "2")][..], order].concat();
        let first = query(&daemon, &[&parameters[..], &[("cursor", "")]].concat()).json();
        let [kept, last] = names(&first).try_into().unwrap();
        // The last one of the page goes, the first one is changed, and somebody comes.
        let id = |place: usize| first["Resources"][place]["id"].as_str().unwrap().to_owned();
        let renamed = patch(json!([{ "op": "replace", "path": "title", "value": "Lead" }]));
        assert_eq!(daemon.patch(&format!("/Users/{}", id(0)), &renamed).status, 200);
        assert_eq!(daemon.delete(&format!("/Users/{}", id(1))).status, 204);
        daemon.create_user(&format!("uz{}@example.com", order.len()));
        let next = first["nextCursor"].as_str().unwrap();
        let second = query(&daemon, &[&parameters[..], &[("cursor", next)]].concat()).json();
        let shown = names(&second);
        assert!(!shown.contains(&kept) && !shown.contains(&last), "{shown:?}");
        assert_eq!(shown.len(), 2);
        let before = names(&query(&daemon, &[("filter", "userName sw \"u\"")]).json());
        let place = before.iter().position(|name| *name == kept).unwrap();
        assert_eq!(shown, before[place + 1..place + 3], "right behind where the page before ended");
    }
}

#[rstest]
fn a_cursor_is_worth_nothing_for_another_query(#[values(Store::Embedded, Store::Redis)] store: Store) {
    let daemon = people(store, 4, &[]);
    let filter = ("filter", "userName sw \"u\"");
    let cursor = query(&daemon, &[filter, ("count", "1"), ("cursor", "")]).json()["nextCursor"].clone();
    let cursor = cursor.as_str().unwrap();
    let with = |parameters: &[(&str, &str)]| query(&daemon, &[parameters, &[("cursor", cursor)]].concat());
    assert_eq!(names(&with(&[filter, ("count", "1")]).json()), ["u001"], "and for its own as often as it is asked");
    for other in [
        &[("count", "1")][..],
        &[("filter", "userName sw \"U\""), ("count", "1")],
        &[filter, ("count", "1"), ("sortBy", "userName")],
        &[filter, ("count", "1"), ("sortOrder", "descending")],
        &[filter, ("count", "1"), ("attributes", "userName")],
        &[filter, ("count", "1"), ("excludedAttributes", "emails")],
    ] {
        scim_error(&with(other), 400, Some("invalidCursor"));
    }
    for count in [&[filter][..], &[filter, ("count", "2")], &[filter, ("count", "some")]] {
        scim_error(&with(count), 400, Some("invalidCount"));
    }
    let parameters = |cursor: &str| {
        let pairs = [filter, ("count", "1"), ("cursor", cursor)];
        url::form_urlencoded::Serializer::new(String::new()).extend_pairs(pairs).finish()
    };
    scim_error(&daemon.get(&format!("/Groups?{}", parameters(cursor))), 400, Some("invalidCursor"));
    // Forged: any other character in any place.
    let (kid, sealed) = cursor.split_once('.').unwrap();
    let flip = |place: usize| {
        let other = if &sealed[place..=place] == "A" { "B" } else { "A" };
        format!("{kid}.{}{other}{}", &sealed[..place], &sealed[place + 1..])
    };
    for forged in ["x", "k1.AAAA", kid, &flip(0), &flip(sealed.len() / 2), &flip(sealed.len() - 3)] {
        scim_error(&daemon.get(&format!("/Users?{}", parameters(forged))), 400, Some("invalidCursor"));
    }
    // Another client may see the same people, and begins by itself; one without the right sees nothing.
    let token = |name: &str, scope: &str| {
        let made = daemon.cli(&["token", "create", "--account", "default", "--name", name, "--scope", scope]);
        assert_eq!(made.code, 0, "{}", made.stderr);
        made.stdout.trim().to_owned()
    };
    let ask =
        |token: &str| daemon.request("GET", &format!("/scim/v2/Users?{}", parameters(cursor))).bearer(token).send();
    scim_error(&ask(&token("other", "users")), 400, Some("invalidCursor"));
    scim_error(&ask(&token("groups-only", "groups")), 403, None);
    scim_error(&ask("usp_nobody-has-this-token-at-all"), 401, None);
}

#[rstest]
fn a_cursor_is_worth_nothing_to_another_client_with_other_rights_and_in_another_account(
    #[values(Store::Embedded, Store::Redis)] store: Store,
) {
    let daemon = people(store, 3, &[]);
    let made = daemon.cli(&["account", "create", "studio", "--name", "Studio", "--admin-email", "boss@example.com"]);
    assert_eq!(made.code, 0, "{}", made.stderr);
    let token = |account: &str, name: &str, scopes: &str| {
        let made = daemon.cli(&["token", "create", "--account", account, "--name", name, "--scope", scopes]);
        assert_eq!(made.code, 0, "{}", made.stderr);
        made.stdout.trim().to_owned()
    };
    let ask = |token: &str, cursor: &str| {
        daemon.request("GET", &format!("/scim/v2/Users?count=1&cursor={cursor}")).bearer(token).send()
    };
    let first = ask(&token("default", "idp", "users"), "").json()["nextCursor"].as_str().unwrap().to_owned();
    assert_eq!(ask(&token("default", "idp", "users"), &first).status, 200, "another token of the same client");
    for (account, client, scopes) in
        [("default", "other", "users"), ("default", "idp", "users,groups"), ("studio", "idp", "users")]
    {
        let other = token(account, client, scopes);
        assert_eq!(ask(&other, "").status, 200, "it may read people");
        scim_error(&ask(&other, &first), 400, Some("invalidCursor"));
    }
}

#[rstest]
fn a_cursor_outlives_the_key_that_signed_it(#[values(Store::Embedded, Store::Redis)] store: Store) {
    let mut daemon = people(store, 3, &[]);
    let first = query(&daemon, &[("count", "2"), ("cursor", "")]).json();
    let cursor = first["nextCursor"].as_str().unwrap();
    daemon.stop();
    let rotated = daemon.cli(&["keys", "rotate"]);
    assert_eq!(rotated.code, 0, "{}", rotated.stderr);
    daemon.restart();
    let second = query(&daemon, &[("count", "2"), ("cursor", cursor)]).json();
    assert_eq!(names(&second), ["u001", "u002"]);
}

#[rstest]
fn a_scan_beyond_the_bound_is_walked_page_by_page_without_a_total(
    #[values(Store::Embedded, Store::Redis)] store: Store,
) {
    let daemon = people(store, 130, &[("USHERD_SCIM__MAX_SCAN", "100")]);
    let odd = ("filter", "title eq \"odd\"");
    scim_error(&query(&daemon, &[odd]), 400, Some("tooMany"));
    let pages = pages(&daemon, &[odd, ("count", "40")]);
    let joined: Vec<String> = pages.iter().flat_map(names).collect();
    // Who was made in the same millisecond stands in the order of their ids.
    let mut everybody = names(&query(&daemon, &[("count", "200")]).json());
    everybody.retain(|name| name[1..].parse().is_ok_and(|number: usize| number % 2 == 1));
    assert_eq!(joined, everybody);
    assert_eq!(joined.len(), 65);
    for page in &pages {
        assert!(page.get("totalResults").is_none(), "nobody has counted them: {page}");
    }
    // Where the order needs all of them, or only their number is wanted, a cursor does not help.
    scim_error(&query(&daemon, &[odd, ("cursor", ""), ("count", "0")]), 400, Some("tooMany"));
    scim_error(&query(&daemon, &[("sortBy", "title"), ("cursor", "")]), 400, Some("tooMany"));
    // What an index holds exactly is counted, however many there are.
    let all = query(&daemon, &[("cursor", ""), ("count", "0")]).json();
    assert_eq!((&all["totalResults"], &all["Resources"]), (&json!(131), &json!([])));
    assert!(all.get("nextCursor").is_none(), "{all}");
    // A page on which nobody matches is not the last one.
    let late =
        [("filter", "title eq \"odd\" and name.givenName eq \"Ada\" and not (userName sw \"u0\")"), ("count", "50")];
    let late = self::pages(&daemon, &late);
    assert_eq!(late.iter().flat_map(names).count(), 15);
}
