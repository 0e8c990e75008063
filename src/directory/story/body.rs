//! What of a request may be kept: readable, bounded, and without secrets.

use serde_json::{Map, Value};

/// A kept body has so many bytes at the most.
pub const MAX_KEPT: usize = 16 << 10;
/// A longer body is not read at all, so that a queue of bodies stays small.
pub const MAX_READ: usize = 64 << 10;
/// A kept path and query has so many characters at the most.
const MAX_TARGET: usize = 2_000;
/// Of a longer list or text the rest is counted.
const MAX_ITEMS: usize = 20;
const MAX_TEXT: usize = 1_000;
/// So many terms of one body are found again.
const MAX_TERMS: usize = 16;
const MAX_TERM: usize = 256;

/// Stands for what is not kept.
pub const LEFT_OUT: &str = "(left out)";

/// What a body said.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Came {
    /// The body without secrets; `None` when it is not JSON, since then nothing tells its secrets apart.
    pub text: Option<String>,
    /// userName or displayName.
    pub about: Option<String>,
    pub terms: Vec<String>,
}

pub fn read(bytes: &[u8]) -> Came {
    let Ok(mut value) = serde_json::from_slice::<Value>(bytes) else { return Came::default() };
    let mut terms = Vec::new();
    find_terms(&value, &mut terms);
    clean(&mut value);
    let about = ["userName", "displayName"].into_iter().find_map(|name| named(&value, name));
    Came { text: Some(cut(value.to_string(), MAX_KEPT)), about: about.map(str::to_owned), terms }
}

/// Path and query, decoded and without secrets.
pub fn readable_target(target: &str) -> String {
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let mut readable = percent_encoding::percent_decode_str(path).decode_utf8_lossy().into_owned();
    for (number, (name, value)) in url::form_urlencoded::parse(query.as_bytes()).enumerate() {
        let value = if is_secret(&name) || is_secret(&value) { LEFT_OUT.into() } else { value };
        readable.push(if number == 0 { '?' } else { '&' });
        readable.push_str(&name);
        readable.push('=');
        readable.push_str(&value);
    }
    crate::domain::text::safe_line(&readable, MAX_TARGET)
}

/// Whether a name says that what it names is secret, or a text carries a token of ours.
fn is_secret(text: &str) -> bool {
    const WORDS: [&str; 9] =
        ["password", "passwd", "secret", "token", "credential", "apikey", "api_key", "private", "authorization"];
    let lower = text.to_ascii_lowercase();
    WORDS.iter().any(|word| lower.contains(word)) || carries_token(&lower)
}

/// The prefixes of provisioning tokens and of invitations.
fn carries_token(text: &str) -> bool {
    text.contains("usp_") || text.contains("usi_")
}

fn clean(value: &mut Value) {
    match value {
        Value::Object(object) => clean_object(object),
        Value::Array(items) => {
            let more = items.len().saturating_sub(MAX_ITEMS);
            items.truncate(MAX_ITEMS);
            items.iter_mut().for_each(clean);
            if more > 0 {
                items.push(format!("(and {more} more)").into());
            }
        }
        Value::String(text) => clean_text(text),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// A keyword of a PATCH operation, which clients write in any case.
fn member<'o>(object: &'o Map<String, Value>, keyword: &str) -> Option<&'o Value> {
    object.iter().find(|(name, _)| name.eq_ignore_ascii_case(keyword)).map(|(_, value)| value)
}

fn path_of(object: &Map<String, Value>) -> Option<&str> {
    member(object, "path").and_then(Value::as_str)
}

fn clean_object(object: &mut Map<String, Value>) {
    // `{"op": "replace", "path": "password", "value": …}`
    let secret_path = path_of(object).is_some_and(is_secret);
    for (name, value) in object.iter_mut() {
        if is_secret(name) || (secret_path && name.eq_ignore_ascii_case("value")) {
            *value = LEFT_OUT.into();
        } else {
            clean(value);
        }
    }
}

fn clean_text(text: &mut String) {
    // Entra ID sends JSON inside strings.
    let packed = text.trim_start().starts_with(['{', '[']);
    if carries_token(text) || (packed && is_secret(text)) {
        LEFT_OUT.clone_into(text);
    } else if text.len() > MAX_TEXT {
        *text = cut(std::mem::take(text), MAX_TEXT);
    }
}

/// The first `limit` bytes, to a whole character, and how many there were.
fn cut(mut text: String, limit: usize) -> String {
    if text.len() > limit {
        let bytes = text.len();
        text.truncate(text.floor_char_boundary(limit));
        text.push_str(&format!(" … (cut; {bytes} bytes in all)"));
    }
    text
}

/// userName, externalId, displayName and e-mails, wherever a client puts them: in the body, or in a PATCH.
fn find_terms(value: &Value, terms: &mut Vec<String>) {
    match value {
        Value::Object(object) => {
            if let (Some(path), Some(said)) = (path_of(object), member(object, "value"))
                && (is_name(path) || path.starts_with("emails"))
            {
                note(said, terms);
            }
            for (name, value) in object {
                if is_name(name) {
                    note(value, terms);
                } else if name.eq_ignore_ascii_case("emails") {
                    let items = value.as_array().map_or(std::slice::from_ref(value), Vec::as_slice);
                    items.iter().filter_map(|item| item.get("value")).for_each(|value| note(value, terms));
                } else {
                    find_terms(value, terms);
                }
            }
        }
        Value::Array(items) => items.iter().take(MAX_ITEMS).for_each(|item| find_terms(item, terms)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

fn is_name(name: &str) -> bool {
    ["userName", "externalId", "displayName"].iter().any(|known| name.eq_ignore_ascii_case(known))
}

fn note(value: &Value, terms: &mut Vec<String>) {
    if let Some(text) = value.as_str().filter(|text| !carries_token(text))
        && terms.len() < MAX_TERMS
    {
        terms.push(text.chars().take(MAX_TERM).collect());
    }
}

fn named<'v>(value: &'v Value, name: &str) -> Option<&'v str> {
    let object = value.as_object()?;
    object.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).and_then(|(_, value)| value.as_str())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn kept(body: &Value) -> Value {
        serde_json::from_str(&read(body.to_string().as_bytes()).text.unwrap()).unwrap()
    }

    #[test]
    fn a_password_is_kept_in_no_form() {
        for body in [
            json!({ "userName": "ada", "password": "hunter2" }),
            json!({ "userName": "ada", "urn:ietf:params:scim:schemas:core:2.0:User:Password": "hunter2" }),
            json!({ "Operations": [{ "op": "replace", "path": "password", "value": "hunter2" }] }),
            json!({ "Operations": [{ "Op": "Replace", "Path": "Password", "Value": "hunter2" }] }),
            json!({ "Operations": [{ "op": "replace", "value": { "password": { "new": "hunter2" } } }] }),
            json!({ "Operations": [{ "op": "add", "path": "roles", "value": "{\"password\":\"hunter2\"}" }] }),
            json!({ "clientSecret": ["hunter2"], "x": { "apiKey": "hunter2" } }),
            json!({ "title": "usp_hunter2" }),
        ] {
            let text = read(body.to_string().as_bytes()).text.unwrap();
            assert!(!text.contains("hunter2") && text.contains(LEFT_OUT), "{text}");
        }
        assert_eq!(read(b"{\"password\": \"hunter2\"").text, None, "what cannot be read cannot be cleaned");
        assert_eq!(
            readable_target("/scim/v2/Users?access_token=hunter2&filter=password%20eq%20%22hunter2%22&count=1"),
            "/scim/v2/Users?access_token=(left out)&filter=(left out)&count=1"
        );
    }

    #[test]
    fn what_is_kept_is_bounded() {
        let members: Vec<Value> = (0..500).map(|number| json!({ "value": number.to_string() })).collect();
        let group = kept(&json!({ "displayName": "Crew", "members": members }));
        assert_eq!(group["members"].as_array().unwrap().len(), MAX_ITEMS + 1);
        assert_eq!(group["members"][MAX_ITEMS], "(and 480 more)");
        let photo = kept(&json!({ "photos": [{ "value": "ä".repeat(5_000) }] }));
        assert!(photo["photos"][0]["value"].as_str().unwrap().len() < MAX_TEXT + 40);
        let wide: Map<String, Value> = (0..5_000).map(|number| (format!("key{number}"), json!("v"))).collect();
        let text = read(Value::Object(wide).to_string().as_bytes()).text.unwrap();
        assert!(text.len() < MAX_KEPT + 40 && text.contains("bytes in all"), "{}", text.len());
        assert!(readable_target(&format!("/scim/v2/Users?filter={}", "x".repeat(9_000))).len() <= MAX_TARGET);
    }

    #[test]
    fn a_person_is_found_by_name_address_and_external_id() {
        let user = json!({ "userName": "ada", "externalId": "00u1", "emails": [{ "value": "ada@hollis.example" }] });
        let came = read(user.to_string().as_bytes());
        assert_eq!(came.about.as_deref(), Some("ada"));
        assert_eq!(came.terms, ["ada", "00u1", "ada@hollis.example"]);
        let single = json!({ "emails": { "value": "ada@hollis.example" } });
        assert_eq!(read(single.to_string().as_bytes()).terms, ["ada@hollis.example"]);
        let patch = json!({ "Operations": [
            { "op": "replace", "path": "emails[type eq \"work\"].value", "value": "lovelace@hollis.example" },
            { "op": "replace", "value": { "userName": "lovelace" } },
        ] });
        assert_eq!(read(patch.to_string().as_bytes()).terms, ["lovelace@hollis.example", "lovelace"]);
        assert_eq!(
            readable_target("/scim/v2/Users?filter=userName+eq+%22ada%22"),
            "/scim/v2/Users?filter=userName eq \"ada\""
        );
    }
}
