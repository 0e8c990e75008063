//! What admins write into the profile of somebody whom no identity provider manages.

use serde_json::{Map, Value, json};

use super::error::Error;
use super::provision::IfMatch;
use super::record::UserRecord;
use super::request::Request;
use super::{Directory, keys};
use crate::domain::lifecycle::Refusal;
use crate::domain::secrets::Scope;
use crate::domain::text::safe_name;
use crate::scim::table::ENTERPRISE_USER_URN;

/// The part of a profile that admins edit. An empty text takes the value away.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ProfileEdit {
    pub given_name: String,
    pub family_name: String,
    pub title: String,
    pub department: String,
    pub work_phone: String,
    pub mobile_phone: String,
}

impl ProfileEdit {
    /// As the profile is now.
    pub fn of(record: &UserRecord) -> Self {
        let profile = &record.profile;
        let text = |value: Option<&Value>| value.and_then(Value::as_str).unwrap_or_default().to_owned();
        let part = |parent: &str, name: &str| text(profile.get(parent).and_then(|parent| parent.get(name)));
        ProfileEdit {
            given_name: part("name", "givenName"),
            family_name: part("name", "familyName"),
            title: text(profile.get("title")),
            department: part(ENTERPRISE_USER_URN, "department"),
            work_phone: phone(profile, WORK),
            mobile_phone: phone(profile, MOBILE),
        }
    }

    /// What differs from `before`, made safe to show; the rest as a provider may have written it.
    fn cleaned(&self, before: &Self) -> Self {
        let safe = |now: &str, then: &str| if now == then { now.to_owned() } else { safe_name(now) };
        ProfileEdit {
            given_name: safe(&self.given_name, &before.given_name),
            family_name: safe(&self.family_name, &before.family_name),
            title: safe(&self.title, &before.title),
            department: safe(&self.department, &before.department),
            work_phone: safe(&self.work_phone, &before.work_phone),
            mobile_phone: safe(&self.mobile_phone, &before.mobile_phone),
        }
    }

    /// Writes what differs from `before`, and tells what that was; the rest of the profile stays.
    fn write(&self, before: &Self, profile: &mut Map<String, Value>) -> Vec<String> {
        let mut changed = Vec::new();
        if (&self.given_name, &self.family_name) != (&before.given_name, &before.family_name) {
            set_part(profile, "name", "givenName", &self.given_name);
            set_part(profile, "name", "familyName", &self.family_name);
            // Both are made of the parts, and people see them first.
            set_part(profile, "name", "formatted", "");
            let shown = [self.given_name.as_str(), self.family_name.as_str()].join(" ");
            set(profile, "displayName", shown.trim());
            changed.push("name".to_owned());
        }
        if self.title != before.title {
            set(profile, "title", &self.title);
            changed.push("title".to_owned());
        }
        if self.department != before.department {
            set_part(profile, ENTERPRISE_USER_URN, "department", &self.department);
            changed.push("department".to_owned());
        }
        let phones = [(WORK, &self.work_phone, &before.work_phone), (MOBILE, &self.mobile_phone, &before.mobile_phone)];
        for (kind, now, then) in phones {
            if now != then {
                set_phone(profile, kind, now);
                changed.push("phoneNumbers".to_owned());
            }
        }
        changed.dedup();
        changed
    }
}

/// By which the audit knows it.
const EDITED: &str = "user.profile_edited";
/// The types of RFC 7643 §4.1.2.
const WORK: &str = "work";
const MOBILE: &str = "mobile";

fn is_of(item: &Value, kind: &str) -> bool {
    item["type"].as_str().is_some_and(|found| found.eq_ignore_ascii_case(kind))
}

fn phone(profile: &Map<String, Value>, kind: &str) -> String {
    let mut phones = profile.get("phoneNumbers").and_then(Value::as_array).into_iter().flatten();
    phones.find(|item| is_of(item, kind)).and_then(|item| item["value"].as_str()).unwrap_or_default().to_owned()
}

fn set(object: &mut Map<String, Value>, name: &str, value: &str) {
    match value.is_empty() {
        true => drop(object.remove(name)),
        false => drop(object.insert(name.to_owned(), value.into())),
    }
}

/// A part that was the last one takes its parent along: an empty complex attribute is none (RFC 7643 §2.5).
fn set_part(profile: &mut Map<String, Value>, parent: &str, name: &str, value: &str) {
    let mut parts = profile.remove(parent).and_then(|parts| parts.as_object().cloned()).unwrap_or_default();
    set(&mut parts, name, value);
    if !parts.is_empty() {
        profile.insert(parent.to_owned(), parts.into());
    }
}

/// The first phone of this type; others stay.
fn set_phone(profile: &mut Map<String, Value>, kind: &str, value: &str) {
    let mut phones = profile.remove("phoneNumbers").and_then(|list| list.as_array().cloned()).unwrap_or_default();
    match (phones.iter().position(|item| is_of(item, kind)), value.is_empty()) {
        (Some(at), true) => drop(phones.remove(at)),
        (Some(at), false) => phones[at]["value"] = value.into(),
        (None, true) => {}
        (None, false) => phones.push(json!({ "value": value, "type": kind })),
    }
    if !phones.is_empty() {
        profile.insert("phoneNumbers".to_owned(), phones.into());
    }
}

impl Directory {
    /// Writes the part of the profile that admins edit: `edit` changes it as it is.
    ///
    /// # Errors
    /// [`Refusal::ProfileManaged`] when an identity provider manages the user; G7 as [`Error::PreconditionFailed`];
    /// [`Error::NotFound`]; [`Error::MissingScope`].
    pub async fn edit_profile(
        &self,
        request: &Request,
        id: &str,
        if_match: &IfMatch,
        edit: impl Fn(&mut ProfileEdit) + Send + Sync,
    ) -> Result<UserRecord, Error> {
        let unknown = || Error::NotFound(format!("there is no user {id}"));
        let key = keys::user(id.parse().map_err(|_| unknown())?);
        retrying!(self, {
            let (context, documents) = self.open_to_write(request, std::slice::from_ref(&key)).await?;
            context.require(Scope::Users)?;
            let document = documents.into_iter().next().flatten().ok_or_else(unknown)?;
            let before = UserRecord::decode(&document)?;
            if !before.exists() {
                return Err(unknown());
            }
            if let Some(client) = &before.user.provisioned_by {
                let refusal = Refusal::ProfileManaged { owner: client.to_string() };
                return Err(self.refuse(&context, EDITED, before.known_id(), refusal));
            }
            if_match.check(before.revision)?;
            let now = ProfileEdit::of(&before);
            let mut wanted = now.clone();
            edit(&mut wanted);
            let mut after = before.clone();
            let changed = wanted.cleaned(&now).write(&now, &mut after.profile);
            let mut change = self.change(&context, EDITED, before, after).await?;
            change.attributes(changed);
            self.commit_change(&context, change).await
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(profile: Value, edit: impl Fn(&mut ProfileEdit)) -> (Value, Vec<String>) {
        let mut profile = profile.as_object().unwrap().clone();
        let user = crate::domain::user::User::unborn(
            super::super::entropy::resource_id(crate::domain::time::Timestamp::EPOCH),
            crate::domain::names::UserName::parse("ada").unwrap(),
            "User",
        );
        let mut record = UserRecord::unborn(user, crate::domain::time::Timestamp::EPOCH);
        record.profile = profile.clone();
        let before = ProfileEdit::of(&record);
        let mut after = before.clone();
        edit(&mut after);
        let changed = after.write(&before, &mut profile);
        (profile.into(), changed)
    }

    #[test]
    fn a_new_name_is_the_one_that_people_see() {
        let before =
            json!({ "displayName": "ada", "name": { "givenName": "A", "formatted": "A.", "middleName": "K" } });
        let (after, changed) = written(before, |edit| {
            edit.given_name = "Ada".to_owned();
            edit.family_name = "Lovelace".to_owned();
        });
        let name = json!({ "givenName": "Ada", "familyName": "Lovelace", "middleName": "K" });
        assert_eq!(after, json!({ "displayName": "Ada Lovelace", "name": name }));
        assert_eq!(changed, ["name"]);
    }

    #[test]
    fn what_was_not_edited_stays_as_it_is() {
        let before = json!({
            "displayName": "The Countess", "title": "Analyst",
            "phoneNumbers": [{ "value": "1", "type": "home" }, { "value": "2", "type": "Work", "primary": true }],
        });
        assert_eq!(written(before.clone(), |_| ()), (before.clone(), vec![]));
        let (after, changed) = written(before.clone(), |edit| edit.work_phone = "3".to_owned());
        let mut expected = before;
        expected["phoneNumbers"][1]["value"] = "3".into();
        assert_eq!((after, changed), (expected, vec!["phoneNumbers".to_owned()]));
    }

    #[test]
    fn the_last_value_that_goes_leaves_nothing_empty_behind() {
        let before = json!({
            ENTERPRISE_USER_URN: { "department": "Engines" }, "phoneNumbers": [{ "value": "1", "type": "mobile" }],
        });
        let (after, _) = written(before, |edit| {
            edit.department = String::new();
            edit.mobile_phone = String::new();
        });
        assert_eq!(after, json!({}));
    }
}
