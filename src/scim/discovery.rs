//! What this server offers: ServiceProviderConfig, ResourceTypes and Schemas (RFC 7643 §5 to §7, RFC 7644 §4).

use serde_json::{Map, Value, json};

use super::schema::{ResourceType, Schema, SchemaTable, Storage};

pub const SERVICE_PROVIDER_CONFIG_URN: &str = "urn:ietf:params:scim:schemas:core:2.0:ServiceProviderConfig";
pub const RESOURCE_TYPE_URN: &str = "urn:ietf:params:scim:schemas:core:2.0:ResourceType";
pub const SCHEMA_URN: &str = "urn:ietf:params:scim:schemas:core:2.0:Schema";

/// What is enforced, and therefore advertised.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// `None`: no bulk.
    pub bulk: Option<BulkLimits>,
    /// The largest page.
    pub max_results: usize,
    pub sort: bool,
    pub etag: bool,
    /// `None`: index paging with the page sizes of RFC 7644, nothing said about it.
    pub pagination: Option<Pagination>,
    /// Whether this server keeps to draft-zollner-scim-interop-profile; said only when it does.
    pub interop_profile: bool,
    /// Whether access tokens of configured issuers are taken.
    pub access_tokens: bool,
    /// Whether a token is taken as the password of HTTP Basic.
    pub basic: bool,
    pub documentation_uri: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BulkLimits {
    pub max_operations: usize,
    /// Bytes.
    pub max_payload_size: usize,
}

/// RFC 9865 §4.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pagination {
    pub cursor: bool,
    pub default_page_size: usize,
    pub max_page_size: usize,
    /// Seconds; `None`: cursors do not expire.
    pub cursor_timeout: Option<u64>,
}

/// The ServiceProviderConfig. `base` is the SCIM base URL without a slash at its end; `event_uris` are the security
/// events that are told. Where there are none `securityEvents` is absent, which says that nothing of it is configured
/// (RFC 9967 §4): clients that are older than it refuse a member that they do not know.
pub fn service_provider_config(limits: &Limits, event_uris: &[&str], base: &str) -> Value {
    let supported = |flag: bool| json!({ "supported": flag });
    let bulk = limits.bulk.unwrap_or(BulkLimits { max_operations: 0, max_payload_size: 0 });
    let mut out = Map::new();
    out.insert("schemas".into(), json!([SERVICE_PROVIDER_CONFIG_URN]));
    if let Some(uri) = &limits.documentation_uri {
        out.insert("documentationUri".into(), uri.as_str().into());
    }
    out.insert("patch".into(), supported(true));
    out.insert(
        "bulk".into(),
        json!({
            "supported": limits.bulk.is_some(),
            "maxOperations": bulk.max_operations,
            "maxPayloadSize": bulk.max_payload_size,
        }),
    );
    out.insert("filter".into(), json!({ "supported": true, "maxResults": limits.max_results }));
    out.insert("changePassword".into(), supported(false));
    out.insert("sort".into(), supported(limits.sort));
    out.insert("etag".into(), supported(limits.etag));
    if let Some(pagination) = limits.pagination {
        out.insert("pagination".into(), pagination_json(pagination));
    }
    if !event_uris.is_empty() {
        out.insert("securityEvents".into(), json!({ "asyncRequest": "none", "eventUris": event_uris }));
    }
    if limits.interop_profile {
        out.insert("interopProfileConformant".into(), true.into());
    }
    out.insert("authenticationSchemes".into(), authentication_schemes(limits));
    out.insert("meta".into(), meta("ServiceProviderConfig", format!("{base}/ServiceProviderConfig")));
    Value::Object(out)
}

/// RFC 7643 §5. Whoever may ask with the one may ask with the others: all lead to a token of the account.
fn authentication_schemes(limits: &Limits) -> Value {
    let bearer = json!({
        "type": "oauthbearertoken",
        "name": "Bearer token",
        "description": "A provisioning token of the account in the Authorization header",
        "specUri": "https://www.rfc-editor.org/info/rfc6750",
        "primary": true,
    });
    let access_token = json!({
        "type": "oauth2",
        "name": "OAuth 2.0 access token",
        "description": "A JWT that a configured issuer made for a client which the account knows",
        "specUri": "https://www.rfc-editor.org/info/rfc9068",
        "primary": false,
    });
    let basic = json!({
        "type": "httpbasic",
        "name": "HTTP Basic",
        "description": "A provisioning token of the account as the password, with any user name",
        "specUri": "https://www.rfc-editor.org/info/rfc7617",
        "primary": false,
    });
    let others = [(limits.access_tokens, access_token), (limits.basic, basic)];
    let others = others.into_iter().filter_map(|(is_on, scheme)| is_on.then_some(scheme));
    std::iter::once(bearer).chain(others).collect()
}

fn pagination_json(pagination: Pagination) -> Value {
    let mut out = json!({
        "cursor": pagination.cursor,
        "index": true,
        "defaultPaginationMethod": "index",
        "defaultPageSize": pagination.default_page_size,
        "maxPageSize": pagination.max_page_size,
    });
    if let Some(seconds) = pagination.cursor_timeout.filter(|_| pagination.cursor) {
        out["cursorTimeout"] = seconds.into();
    }
    out
}

fn meta(resource_type: &str, location: String) -> Value {
    json!({ "resourceType": resource_type, "location": location })
}

/// Every resource type, in the order of the table.
pub fn resource_types(table: &SchemaTable, base: &str) -> Vec<Value> {
    table.resource_types().iter().map(|kind| resource_type_json(kind, base)).collect()
}

/// The resource type of this name.
pub fn resource_type(table: &SchemaTable, name: &str, base: &str) -> Option<Value> {
    table.resource_type(name).map(|kind| resource_type_json(kind, base))
}

fn resource_type_json(kind: &ResourceType, base: &str) -> Value {
    let mut out = json!({
        "schemas": [RESOURCE_TYPE_URN],
        "id": kind.name,
        "name": kind.name,
        "endpoint": kind.endpoint,
        "description": kind.description,
        "schema": kind.schema,
        "meta": meta("ResourceType", format!("{base}/ResourceTypes/{}", kind.name)),
    });
    if !kind.extensions.is_empty() {
        out["schemaExtensions"] = kind
            .extensions
            .iter()
            .map(|extension| json!({ "schema": extension.schema, "required": extension.required }))
            .collect();
    }
    out
}

/// Every schema, in the order of the table.
pub fn schemas(table: &SchemaTable, base: &str) -> Vec<Value> {
    table.schemas().iter().map(|schema| schema_json(schema, base)).collect()
}

/// The schema of this URN.
pub fn schema(table: &SchemaTable, urn: &str, base: &str) -> Option<Value> {
    table.schema(urn).map(|schema| schema_json(schema, base))
}

/// Attributes that are thrown away (`password`) are not published: what is listed works.
fn schema_json(schema: &Schema, base: &str) -> Value {
    let published = schema.attributes.iter().filter(|attribute| attribute.storage != Storage::Discarded);
    json!({
        "schemas": [SCHEMA_URN],
        "id": schema.id,
        "name": schema.name,
        "description": schema.description,
        "attributes": published.map(|attribute| attribute.to_json()).collect::<Vec<Value>>(),
        "meta": meta("Schema", format!("{base}/Schemas/{}", schema.id)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scim::table::{GROUP_URN, USER_URN, fixture};

    const BASE: &str = "https://example.com/v2";

    fn limits() -> Limits {
        Limits {
            bulk: Some(BulkLimits { max_operations: 1000, max_payload_size: 1_048_576 }),
            max_results: 200,
            sort: true,
            etag: true,
            pagination: None,
            interop_profile: false,
            access_tokens: false,
            basic: false,
            documentation_uri: None,
        }
    }

    #[test]
    fn the_configuration_has_every_required_member_of_the_schema_and_says_what_is_enforced() {
        let config = service_provider_config(&limits(), &["urn:ietf:params:scim:event:prov:delete"], BASE);
        let theirs = fixture("samples/rfc7643-8.5-service_provider_configuration.json");
        for key in ["schemas", "patch", "bulk", "filter", "sort", "etag"] {
            assert_eq!(config[key], theirs[key], "{key}");
        }
        assert_eq!(config["changePassword"], json!({"supported": false}));
        let required = fixture("schemas/rfc7643-8.7.2-schema-service_provider_configuration.json");
        for attribute in required["attributes"].as_array().expect("attributes") {
            let name = attribute["name"].as_str().expect("a name");
            if attribute["required"] == true {
                assert!(!config[name].is_null(), "{name}");
            }
            for sub in attribute["subAttributes"].as_array().into_iter().flatten().filter(|sub| sub["required"] == true)
            {
                let sub = sub["name"].as_str().expect("a name");
                let holder = if config[name].is_array() { &config[name][0] } else { &config[name] };
                assert!(!holder[sub].is_null(), "{name}.{sub}");
            }
        }
        let events = json!({"asyncRequest": "none", "eventUris": ["urn:ietf:params:scim:event:prov:delete"]});
        assert_eq!(config["securityEvents"], events);
        assert_eq!(
            config["meta"],
            json!({"resourceType": "ServiceProviderConfig", "location": format!("{BASE}/ServiceProviderConfig")})
        );
    }

    #[test]
    fn what_is_not_offered_is_advertised_as_such() {
        let config = service_provider_config(&Limits { bulk: None, sort: false, ..limits() }, &[], BASE);
        assert_eq!(config["bulk"], json!({"supported": false, "maxOperations": 0, "maxPayloadSize": 0}));
        assert_eq!(config["sort"], json!({"supported": false}));
        assert_eq!(config.get("pagination"), None);
        assert_eq!(config.get("interopProfileConformant"), None);
        assert_eq!(config.get("securityEvents"), None);
        let pagination =
            Pagination { cursor: true, default_page_size: 100, max_page_size: 1000, cursor_timeout: Some(3600) };
        let config = service_provider_config(&Limits { pagination: Some(pagination), ..limits() }, &[], BASE);
        assert_eq!(
            config["pagination"],
            json!({"cursor": true, "index": true, "defaultPaginationMethod": "index", "defaultPageSize": 100,
                   "maxPageSize": 1000, "cursorTimeout": 3600})
        );
    }

    #[test]
    fn each_way_to_authenticate_is_advertised_where_it_is_open() {
        let types = |access_tokens, basic| {
            let config = service_provider_config(&Limits { access_tokens, basic, ..limits() }, &[], BASE);
            let schemes = config["authenticationSchemes"].as_array().expect("schemes").clone();
            assert_eq!(schemes.iter().filter(|scheme| scheme["primary"] == true).count(), 1);
            schemes.iter().map(|scheme| scheme["type"].as_str().expect("a type").to_owned()).collect::<Vec<_>>()
        };
        assert_eq!(types(false, false), ["oauthbearertoken"]);
        assert_eq!(types(true, true), ["oauthbearertoken", "oauth2", "httpbasic"]);
        assert_eq!(types(false, true), ["oauthbearertoken", "httpbasic"]);
    }

    #[test]
    fn resource_types_have_the_form_of_the_rfc() {
        let table = SchemaTable::builtin();
        let mut theirs = fixture("samples/rfc7643-8.6-resource_type-group.json");
        theirs["description"] = "Groups of people and of other groups".into();
        let extension = "urn:ietf:params:scim:schemas:extension:usherd:2.0:Group";
        theirs["schemaExtensions"] = json!([{ "schema": extension, "required": false }]);
        assert_eq!(resource_type(&table, "group", BASE), Some(theirs));
        let user = resource_type(&table, "User", BASE).expect("a built-in type");
        let theirs = fixture("samples/rfc7643-8.6-resource_type-user.json");
        assert_eq!(user["schema"], theirs["schema"]);
        assert_eq!(user["schemaExtensions"][0]["schema"], theirs["schemaExtensions"][0]["schema"]);
        assert_eq!(resource_types(&table, BASE).len(), 5);
        assert_eq!(resource_type(&table, "Robot", BASE), None);
    }

    #[test]
    fn every_schema_that_a_type_names_is_published_without_nulls() {
        fn no_null(value: &Value) -> bool {
            match value {
                Value::Null => false,
                Value::Array(items) => items.iter().all(no_null),
                Value::Object(object) => object.values().all(no_null),
                Value::Bool(_) | Value::Number(_) | Value::String(_) => true,
            }
        }
        let table = SchemaTable::builtin();
        for kind in resource_types(&table, BASE) {
            let extensions =
                kind["schemaExtensions"].as_array().into_iter().flatten().map(|extension| &extension["schema"]);
            for urn in extensions.chain([&kind["schema"]]) {
                let schema = schema(&table, urn.as_str().expect("a URN"), BASE).expect("published");
                assert_eq!(schema["id"], *urn);
                assert!(no_null(&schema));
            }
        }
        assert_eq!(schemas(&table, BASE).len(), table.schemas().len());
        let group = schema(&table, &GROUP_URN.to_uppercase(), BASE).expect("published");
        assert_eq!(group["attributes"][0]["name"], "displayName");
        let user = schema(&table, USER_URN, BASE).expect("published").to_string();
        assert!(!user.contains("password") && !user.contains("storage"));
    }
}
