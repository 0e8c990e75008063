//! All that is held on one person, for whoever may ask for it.

use serde_json::{Map, Value, json};

use crate::directory::record::UserRecord;
use crate::directory::{Directory, Error, keys};
use crate::domain::ids::AccountId;
use crate::store::{Item, Space};

/// Documents by kind, audit events and groups that are about this user: those that bear their id, and those that name
/// the id or one of their addresses. Walks over the whole account. Hashes of secrets are left out.
///
/// # Errors
/// Of the store.
pub async fn person(directory: &Directory, account: &AccountId, record: &UserRecord) -> Result<Value, Error> {
    let id = record.user.id.to_string();
    let names = addresses(record).chain([id.clone()]).map(|name| Value::from(name).to_string());
    let names: Vec<String> = names.collect();
    let (mut documents, mut events, mut groups) = (Map::new(), Vec::new(), Vec::new());
    let mut items = directory.store().walk(&Space::Account(account.clone()));
    while let Some(item) = items.recv().await {
        match item? {
            Item::Document { kind, id: of, document } => {
                // Somebody else's record may name this address as theirs, too; it stays theirs.
                let is_theirs = of == id || (kind != keys::USER && mentions(&document.body, &names));
                match kind.as_str() {
                    keys::USER => {}
                    // Requests about many people stand in one document; what the others' say stays theirs.
                    keys::STORY | keys::STORY_BODIES => {
                        let theirs = those_that_mention(&document.body, &names);
                        if !theirs.is_empty() {
                            list(&mut documents, &kind).extend(theirs);
                        }
                    }
                    _ if is_theirs => list(&mut documents, &kind).push(readable(&document.body)),
                    _ => {}
                }
            }
            Item::Event { body } if mentions(&body, &names) => events.push(readable(&body)),
            Item::Entry { index, entry } if *index == *keys::groups_of(record.user.id).0 => groups.push(entry.id),
            Item::Event { .. }
            | Item::Entry { .. }
            | Item::Unique { .. }
            | Item::Timer { .. }
            | Item::Counter { .. } => {}
        }
    }
    Ok(json!({ "documents": documents, "groups": groups, "events": events }))
}

fn addresses(record: &UserRecord) -> impl Iterator<Item = String> {
    let user_name = record.user.user_name.as_str();
    let sign_in = record.user.sign_in_address.iter().map(|address| address.as_str().to_owned());
    // A name that is no address may well be a word in what is about others.
    sign_in.chain(user_name.contains('@').then(|| user_name.to_owned()))
}

/// Whether one of the names stands in a JSON text as a whole value.
fn mentions(body: &[u8], names: &[String]) -> bool {
    let text = String::from_utf8_lossy(body);
    names.iter().any(|name| text.contains(name.as_str()))
}

/// The items of a list that name one of the names.
fn those_that_mention(body: &[u8], names: &[String]) -> Vec<Value> {
    let Value::Array(items) = readable(body) else { return Vec::new() };
    let text = |item: &Value| item.as_str().map_or_else(|| item.to_string(), str::to_owned);
    items.into_iter().filter(|item| mentions(text(item).as_bytes(), names)).collect()
}

fn list<'m>(documents: &'m mut Map<String, Value>, kind: &str) -> &'m mut Vec<Value> {
    let entry = documents.entry(kind).or_insert_with(|| Value::Array(Vec::new()));
    match entry {
        Value::Array(list) => list,
        _ => unreachable!("only lists are put here"),
    }
}

fn readable(body: &[u8]) -> Value {
    let mut value = serde_json::from_slice(body).unwrap_or_else(|_| String::from_utf8_lossy(body).into_owned().into());
    drop_hashes(&mut value);
    value
}

fn drop_hashes(value: &mut Value) {
    match value {
        Value::Object(object) => {
            object.shift_remove("hash");
            object.values_mut().for_each(drop_hashes);
        }
        Value::Array(list) => list.iter_mut().for_each(drop_hashes),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}
