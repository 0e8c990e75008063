//! An identity provider's export as SCIM attributes: CSV, JSON Lines or a SCIM ListResponse, told apart by how it
//! begins. Read in pieces, whatever its size.

use std::fmt;
use std::io::{BufRead, Read};

use serde::de::{self, DeserializeSeed, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value, json};

pub use crate::directory::csv::Mistake;
use crate::directory::csv::{Lines, Record, Table, plain, text};

/// One person of an export.
#[derive(Debug, Clone, PartialEq)]
pub struct Row {
    /// The line, or in a ListResponse the number of the resource; from 1.
    pub at: usize,
    pub body: Map<String, Value>,
}

/// More people than that are not compared in one go.
const MAX_ROWS: usize = 2_000_000;

/// Hands each row to `each` until that says `false`.
///
/// # Errors
/// The first [`Mistake`] of form; what the rows say is the caller's business.
pub fn read(reader: impl BufRead, each: &mut dyn FnMut(Row) -> bool) -> Result<(), Mistake> {
    let mut lines = Lines::of(reader);
    let first = lines.first()?;
    if !first.trim_ascii_start().starts_with(b"{") {
        return csv(Table::of(&text(first, 1)?, lines), each);
    }
    match serde_json::from_slice::<Map<String, Value>>(&first) {
        Ok(object) if !object.keys().any(|key| is_resources(key)) => json_lines(object, &mut lines, each),
        // Many lines, one long line, or a short list.
        Ok(_) | Err(_) => list_response((&first[..]).chain(lines.reader), each),
    }
}

fn is_resources(key: &str) -> bool {
    key.eq_ignore_ascii_case("Resources")
}

fn accept(at: usize, body: Map<String, Value>, each: &mut dyn FnMut(Row) -> bool) -> Result<bool, Mistake> {
    if at > MAX_ROWS {
        return Err(Mistake { at, what: format!("more than {MAX_ROWS} people: compare them in parts") });
    }
    Ok(each(Row { at, body }))
}

fn json_lines<R: BufRead>(
    first: Map<String, Value>,
    lines: &mut Lines<R>,
    each: &mut dyn FnMut(Row) -> bool,
) -> Result<(), Mistake> {
    let mut goes_on = accept(1, first, each)?;
    while goes_on && let Some(line) = lines.next()? {
        if line.trim().is_empty() {
            continue;
        }
        let body = serde_json::from_str(&line);
        let body = body.map_err(|error| Mistake { at: lines.number, what: format!("not a JSON object: {error}") })?;
        goes_on = accept(lines.number, body, each)?;
    }
    Ok(())
}

fn list_response(reader: impl Read, each: &mut dyn FnMut(Row) -> bool) -> Result<(), Mistake> {
    let mut found = Found { each, count: 0, mistake: None, stopped: false };
    let mut json = serde_json::Deserializer::from_reader(reader);
    let read = (&mut found).deserialize(&mut json);
    match (found.mistake.take(), found.stopped, read) {
        (Some(mistake), ..) => Err(mistake),
        (None, true, _) | (None, false, Ok(())) => Ok(()),
        (None, false, Err(error)) => {
            Err(Mistake { at: error.line(), what: format!("neither JSON Lines nor a SCIM ListResponse: {error}") })
        }
    }
}

/// Hands on the elements of `Resources` as they come.
struct Found<'e> {
    each: &'e mut dyn FnMut(Row) -> bool,
    count: usize,
    mistake: Option<Mistake>,
    stopped: bool,
}

impl<'de> DeserializeSeed<'de> for &mut Found<'_> {
    type Value = ();

    fn deserialize<D: de::Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for &mut Found<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object with a list of `Resources`")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let mut has_resources = false;
        while let Some(key) = map.next_key::<String>()? {
            if is_resources(&key) {
                has_resources = true;
                map.next_value_seed(&mut *self)?;
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        if has_resources { Ok(()) } else { Err(de::Error::custom("there are no `Resources`")) }
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        while let Some(body) = list.next_element()? {
            self.count += 1;
            match accept(self.count, body, self.each) {
                Ok(true) => {}
                Ok(false) => self.stopped = true,
                Err(mistake) => self.mistake = Some(mistake),
            }
            if self.stopped || self.mistake.is_some() {
                return Err(de::Error::custom("stopped"));
            }
        }
        Ok(())
    }
}

/// What a column of a CSV file is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Column {
    UserName,
    ExternalId,
    Active,
    DisplayName,
    GivenName,
    FamilyName,
    Email,
}

/// The names of columns as Okta, Entra ID, Google and people write them; letters and digits only, folded.
const COLUMNS: [(&str, Column); 22] = [
    ("username", Column::UserName),
    ("login", Column::UserName),
    ("userprincipalname", Column::UserName),
    ("externalid", Column::ExternalId),
    ("objectid", Column::ExternalId),
    ("active", Column::Active),
    ("status", Column::Active),
    ("accountenabled", Column::Active),
    ("enabled", Column::Active),
    ("displayname", Column::DisplayName),
    ("name", Column::DisplayName),
    ("givenname", Column::GivenName),
    ("firstname", Column::GivenName),
    ("namegivenname", Column::GivenName),
    ("familyname", Column::FamilyName),
    ("lastname", Column::FamilyName),
    ("surname", Column::FamilyName),
    ("namefamilyname", Column::FamilyName),
    ("email", Column::Email),
    ("mail", Column::Email),
    ("emailaddress", Column::Email),
    ("emailsvalue", Column::Email),
];

const ACTIVE: [&str; 6] = ["true", "yes", "1", "active", "enabled", "provisioned"];
const INACTIVE: [&str; 7] = ["false", "no", "0", "inactive", "disabled", "deprovisioned", "suspended"];

fn csv<R: BufRead>(mut table: Table<R>, each: &mut dyn FnMut(Row) -> bool) -> Result<(), Mistake> {
    let columns: Vec<Option<Column>> = table.columns.iter().map(|name| column(name)).collect();
    if !columns.contains(&Some(Column::UserName)) {
        let what = "the first line names the columns, one of them `userName` (or `login`, `userPrincipalName`)";
        return Err(Mistake { at: 1, what: what.to_owned() });
    }
    while let Some(Record { at, values }) = table.next()? {
        let values = values.map_err(|what| Mistake { at, what })?;
        let named = columns.iter().zip(values).filter_map(|(column, value)| Some(((*column)?, value)));
        if !accept(at, person(named, at)?, each)? {
            return Ok(());
        }
    }
    Ok(())
}

fn column(name: &str) -> Option<Column> {
    let plain = plain(name);
    COLUMNS.iter().find(|(known, _)| *known == plain).map(|(_, column)| *column)
}

/// Empty fields say nothing.
fn person(fields: impl Iterator<Item = (Column, String)>, at: usize) -> Result<Map<String, Value>, Mistake> {
    let mut body = Map::new();
    let mut name = Map::new();
    for (column, value) in fields {
        let value = value.trim();
        if value.is_empty() {
            continue;
        }
        match column {
            Column::UserName => drop(body.insert("userName".to_owned(), value.into())),
            Column::ExternalId => drop(body.insert("externalId".to_owned(), value.into())),
            Column::DisplayName => drop(body.insert("displayName".to_owned(), value.into())),
            Column::GivenName => drop(name.insert("givenName".to_owned(), value.into())),
            Column::FamilyName => drop(name.insert("familyName".to_owned(), value.into())),
            Column::Email => drop(body.insert("emails".to_owned(), json!([{ "value": value }]))),
            Column::Active => {
                let is = |words: &[&str]| words.iter().any(|word| value.eq_ignore_ascii_case(word));
                let active = match (is(&ACTIVE), is(&INACTIVE)) {
                    (true, _) => true,
                    (_, true) => false,
                    _ => {
                        let known = [&ACTIVE[..], &INACTIVE[..]].concat().join(", ");
                        let what = format!("{value:?} says neither active nor inactive; known are {known}");
                        return Err(Mistake { at, what });
                    }
                };
                body.insert("active".to_owned(), active.into());
            }
        }
    }
    if !name.is_empty() {
        body.insert("name".to_owned(), name.into());
    }
    Ok(body)
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    fn rows(text: &str) -> Result<Vec<(usize, Value)>, String> {
        let mut rows = Vec::new();
        let read = read(text.as_bytes(), &mut |row| {
            rows.push((row.at, Value::Object(row.body)));
            true
        });
        read.map(|()| rows).map_err(|mistake| mistake.to_string())
    }

    #[rstest]
    #[case::okta("login,firstName,status\nada@x.org,Ada,ACTIVE\n")]
    #[case::bom_and_crlf("\u{feff}userName,givenName,active\r\nada@x.org,Ada,true\r\n\r\n")]
    #[case::semicolons("User name;Given name;Enabled\n\"ada@x.org\";Ada;yes")]
    #[case::json_lines("{\"userName\":\"ada@x.org\",\"name\":{\"givenName\":\"Ada\"},\"active\":true}\n\n")]
    fn the_same_person_in_each_form(#[case] text: &str) {
        let ada = json!({ "userName": "ada@x.org", "active": true, "name": { "givenName": "Ada" } });
        let rows = rows(text).unwrap();
        assert_eq!(rows.iter().map(|(_, body)| body).collect::<Vec<_>>(), [&ada]);
    }

    #[rstest]
    #[case::pretty("{\n  \"totalResults\": 2,\n  \"Resources\": [{\"userName\":\"a\"},\n {\"userName\":\"b\"}]\n}")]
    #[case::one_line("{\"Resources\":[{\"userName\":\"a\"},{\"userName\":\"b\"}],\"schemas\":[]}")]
    fn a_list_response_is_read_element_by_element(#[case] text: &str) {
        let wanted = [(1, json!({ "userName": "a" })), (2, json!({ "userName": "b" }))];
        assert_eq!(rows(text).unwrap(), wanted);
    }

    #[test]
    fn a_quoted_field_may_hold_separators_quotes_and_line_breaks() {
        let rows = rows("userName,displayName\na,\"Lovelace, \"\"Ada\"\"\nCountess\"\nb,Bob\n").unwrap();
        let ada = json!({ "userName": "a", "displayName": "Lovelace, \"Ada\"\nCountess" });
        assert_eq!(rows, [(2, ada), (4, json!({ "userName": "b", "displayName": "Bob" }))]);
    }

    #[rstest]
    #[case("", "line 1: the file is empty")]
    #[case("mail,phone\na@x.org,1\n", "line 1: the first line names the columns")]
    #[case("userName,active\na,true\nb,perhaps\n", "line 3: \"perhaps\" says neither active nor inactive")]
    #[case("userName,active\na,true,x\n", "line 2: 3 fields, where the first line names 2 columns")]
    #[case("userName,displayName\na,\"never ends\nb,c\n", "line 2: a quoted field does not end")]
    #[case("{\"userName\":\"a\"}\n[1]\n", "line 2: not a JSON object")]
    #[case("{\n\"Resources\": [\n{\"userName\":}]}", "line 3: neither JSON Lines nor a SCIM ListResponse")]
    #[case("{\n\"users\": []}", "line 2: neither JSON Lines nor a SCIM ListResponse: there are no `Resources`")]
    fn a_bad_file_is_refused_with_the_line(#[case] text: &str, #[case] says: &str) {
        let refused = rows(text).unwrap_err();
        assert!(refused.starts_with(says), "{refused}");
    }
}
