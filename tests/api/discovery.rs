//! The documents by which a client learns what is served (RFC 7644 §4, RFC 7643 §5 to §7).

use rstest::rstest;
use serde_json::{Value, json};

use crate::daemon::{CORE_USER, Daemon, Store, USHERD};
use crate::scim_error;

#[rstest]
fn discovery_tells_what_is_served(#[values(Store::Embedded, Store::Redis)] store: Store) {
    let daemon = Daemon::start(store, &[]);
    let config = daemon.get("/ServiceProviderConfig").json();
    assert_eq!(config["patch"], json!({ "supported": true }));
    assert_eq!(config["filter"]["supported"], true);
    assert!(config["filter"]["maxResults"].is_u64());
    assert_eq!(config["etag"]["supported"], true);
    assert_eq!(config["sort"]["supported"], true);
    assert_eq!(config["changePassword"]["supported"], false);
    assert_eq!(config["authenticationSchemes"][0]["type"], "oauthbearertoken");
    assert_eq!(config["meta"]["resourceType"], "ServiceProviderConfig");

    for (listing, one) in [("/Schemas", CORE_USER), ("/Schemas", USHERD), ("/ResourceTypes", "User")] {
        let list = daemon.get(listing).json();
        assert_eq!(list["totalResults"], list["Resources"].as_array().unwrap().len());
        let listed: Vec<&Value> =
            list["Resources"].as_array().unwrap().iter().filter(|listed| listed["id"] == one).collect();
        assert_eq!(listed.len(), 1, "{one} in {listing}");
        let alone = daemon.get(&format!("{listing}/{one}")).json();
        assert_eq!(&alone, listed[0], "{one}");
        assert_eq!(alone["meta"]["location"], format!("{}{listing}/{one}", daemon.scim_base()));
    }
    let kind = daemon.get("/ResourceTypes/User").json();
    assert_eq!((&kind["endpoint"], &kind["schema"]), (&json!("/Users"), &json!(CORE_USER)));
}

#[rstest]
fn discovery_needs_no_token_and_takes_no_writes(#[values(Store::Embedded, Store::Redis)] store: Store) {
    let daemon = Daemon::start(store, &[]);
    for path in ["/ServiceProviderConfig", "/Schemas", "/ResourceTypes", "/ResourceTypes/User"] {
        let reply = daemon.request("GET", &format!("/scim/v2{path}")).send();
        assert_eq!((reply.status, reply.header("content-type")), (200, "application/scim+json"), "{path}");
        scim_error(&daemon.get(&format!("{path}?filter=id%20pr")), 403, None);
        for method in ["POST", "PUT", "PATCH", "DELETE"] {
            let refused = daemon.scim(method, path).json(&json!({})).send();
            scim_error(&refused, 405, None);
            assert!(refused.header("allow").contains("GET"), "{method} {path}: Allow {}", refused.header("allow"));
        }
    }
    for path in ["/Schemas/urn:nobody", "/ResourceTypes/Toaster"] {
        scim_error(&daemon.get(path), 404, None);
    }
}
#[rstest]
fn every_resource_type_that_is_announced_answers(#[values(Store::Embedded, Store::Redis)] store: Store) {
    let daemon = Daemon::start(store, &[]);
    let kinds = daemon.get("/ResourceTypes").json();
    let schemas = daemon.get("/Schemas").json();
    for kind in kinds["Resources"].as_array().unwrap() {
        let reply = daemon.get(&format!("{}?count=1", kind["endpoint"].as_str().unwrap()));
        assert_eq!(reply.status, 200, "{}: {}", kind["name"], reply.text());
        let extensions = kind["schemaExtensions"].as_array().into_iter().flatten().map(|it| &it["schema"]);
        for schema in extensions.chain([&kind["schema"]]) {
            let known = schemas["Resources"].as_array().unwrap().iter().any(|known| known["id"] == *schema);
            assert!(known, "{schema} of {} is not among the schemas", kind["name"]);
        }
    }
}
