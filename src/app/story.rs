//! The story of one person, as `usherd user show --story` prints it.

use serde_json::{Value, json};

use crate::directory::story::hints::hint_for;
use crate::directory::story::{Line, LineId, Wanted};
use crate::directory::{Directory, Error};
use crate::domain::ids::AccountId;

/// So many requests are printed, the newest first.
const LINES: usize = 50;

/// What clients asked about whoever `name` stands for.
///
/// # Errors
/// Of the store.
pub(super) async fn about(directory: &Directory, account: &AccountId, name: &str) -> Result<Vec<Value>, Error> {
    let wanted = Wanted { text: name.to_owned(), ..Wanted::default() };
    let told = directory.story(account, &wanted, None, LINES).await?;
    let mut story = Vec::with_capacity(told.lines.len());
    for (id, line) in &told.lines {
        // What came matters where it was refused.
        let body = if line.is_refused() { directory.story_line(account, &id.to_string()).await?.1 } else { None };
        story.push(printed(*id, line, body));
    }
    Ok(story)
}

fn printed(id: LineId, line: &Line, body: Option<String>) -> Value {
    let mut printed = json!({
        "id": id.to_string(),
        "at": line.at.to_string(),
        "client": line.client,
        "profile": line.profile,
        "request": format!("{} {}", line.method, line.target),
        "requestId": line.request_id,
        "status": line.status,
    });
    let mut add = |name: &str, value: Value| printed[name] = value;
    if let Some(refused) = &line.refused {
        add("scimType", json!(refused.scim_type));
        add("detail", json!(refused.detail));
    }
    if let Some(hint) = hint_for(line) {
        add(
            "whatToDo",
            json!({ "meaning": hint.meaning, "okta": hint.okta, "entra": hint.entra, "elsewhere": hint.elsewhere }),
        );
    }
    if let Some(body) = body {
        add("body", serde_json::from_str(&body).unwrap_or(Value::String(body)));
    }
    if let Some(found) = line.found {
        add("found", found.into());
    }
    if !line.tolerances.is_empty() {
        add("tolerances", json!(line.tolerances));
    }
    if !line.ignored.is_empty() {
        add("ignoredAttributes", json!(line.ignored));
    }
    if line.times > 1 {
        add("times", line.times.into());
    }
    printed
}
