//! Lists of resources: paging parameters, search requests and the ListResponse (RFC 7644 §3.4.2, §3.4.3; RFC 9865).

use serde::ser::{Serialize, SerializeMap, Serializer};
use serde_json::Value;

use super::error::{ScimError, ScimType};

pub const LIST_RESPONSE_URN: &str = "urn:ietf:params:scim:api:messages:2.0:ListResponse";
pub const SEARCH_REQUEST_URN: &str = "urn:ietf:params:scim:api:messages:2.0:SearchRequest";

/// How many resources a page has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PageSizes {
    pub default: usize,
    pub max: usize,
}

impl Default for PageSizes {
    fn default() -> Self {
        PageSizes { default: 100, max: 1_000 }
    }
}

/// Index paging (RFC 7644 §3.4.2.4).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Paging {
    /// 1-based.
    pub start_index: usize,
    /// 0 asks for the total alone.
    pub count: usize,
}

impl Paging {
    /// Out of range is clamped, as the RFC has it: `startIndex` below 1 is 1, `count` below 0 is 0 and never above the
    /// maximum. What is no whole number is `invalidValue`.
    pub fn parse(start_index: Option<&str>, count: Option<&str>, sizes: PageSizes) -> Result<Paging, ScimError> {
        let start_index = match whole_number("startIndex", start_index, ScimType::InvalidValue)? {
            Some(number) => usize::try_from(number.max(1)).unwrap_or(usize::MAX),
            None => 1,
        };
        Ok(Paging { start_index, count: Self::count(count, sizes, ScimType::InvalidValue)? })
    }

    /// The `count` alone, for cursor paging, where a bad one is `invalidCount` (RFC 9865 §2.1).
    pub fn cursor_count(count: Option<&str>, sizes: PageSizes) -> Result<usize, ScimError> {
        Self::count(count, sizes, ScimType::InvalidCount)
    }

    fn count(count: Option<&str>, sizes: PageSizes, wrong: ScimType) -> Result<usize, ScimError> {
        Ok(match whole_number("count", count, wrong)? {
            Some(number) => usize::try_from(number.max(0)).unwrap_or(usize::MAX).min(sizes.max),
            None => sizes.default.min(sizes.max),
        })
    }

    /// How many resources come before the page.
    pub const fn offset(&self) -> usize {
        self.start_index.saturating_sub(1)
    }
}

fn whole_number(name: &str, text: Option<&str>, wrong: ScimType) -> Result<Option<i64>, ScimError> {
    let Some(text) = text.map(str::trim).filter(|text| !text.is_empty()) else { return Ok(None) };
    let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(ScimError::of(wrong, format!("`{name}` is a whole number")));
    }
    // Only a number beyond 64 bits is left to fail.
    let beyond = if text.starts_with('-') { i64::MIN } else { i64::MAX };
    Ok(Some(text.parse().unwrap_or(beyond)))
}

/// One page of a list, ready to be written down.
#[derive(Debug, Clone, PartialEq)]
pub struct ListResponse<R> {
    /// Cursor paging may leave it out (RFC 9865 §2.3).
    pub total_results: Option<usize>,
    /// Index paging only.
    pub start_index: Option<usize>,
    pub next_cursor: Option<String>,
    pub previous_cursor: Option<String>,
    pub resources: Vec<R>,
}

impl<R> ListResponse<R> {
    /// A page of an index-paged list.
    pub fn page(total_results: usize, start_index: usize, resources: Vec<R>) -> Self {
        ListResponse {
            total_results: Some(total_results),
            start_index: Some(start_index),
            next_cursor: None,
            previous_cursor: None,
            resources,
        }
    }

    /// A list that is never paged (discovery).
    pub fn all(resources: Vec<R>) -> Self {
        ListResponse::page(resources.len(), 1, resources)
    }
}

/// `Resources` is there even when it is empty: clients read it without asking.
impl<R: Serialize> Serialize for ListResponse<R> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut out = serializer.serialize_map(None)?;
        out.serialize_entry("schemas", &[LIST_RESPONSE_URN])?;
        let numbers = [
            ("totalResults", self.total_results),
            ("startIndex", self.start_index),
            ("itemsPerPage", Some(self.resources.len())),
        ];
        for (name, number) in numbers {
            if let Some(number) = number {
                out.serialize_entry(name, &number)?;
            }
        }
        for (name, cursor) in [("previousCursor", &self.previous_cursor), ("nextCursor", &self.next_cursor)] {
            if let Some(cursor) = cursor {
                out.serialize_entry(name, cursor)?;
            }
        }
        out.serialize_entry("Resources", &self.resources)?;
        out.end()
    }
}

/// The parameters of a query, from a URL or from the body of a `/.search`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Query {
    pub attributes: Vec<String>,
    pub excluded_attributes: Vec<String>,
    pub filter: Option<String>,
    pub sort_by: Option<String>,
    pub sort_order: Option<String>,
    pub start_index: Option<String>,
    pub count: Option<String>,
    /// `Some("")` asks for the first page by cursor.
    pub cursor: Option<String>,
}

impl Query {
    /// Reads a SearchRequest (RFC 7644 §3.4.3). Unknown keys are passed over, like unknown query parameters.
    pub fn from_search_request(body: &Value) -> Result<Query, ScimError> {
        let Some(body) = body.as_object() else {
            return Err(ScimError::invalid_syntax("a search request is a JSON object"));
        };
        let mut query = Query::default();
        for (key, value) in body {
            match key.to_ascii_lowercase().as_str() {
                "attributes" => query.attributes = names(key, value)?,
                "excludedattributes" => query.excluded_attributes = names(key, value)?,
                "filter" => query.filter = text(key, value)?,
                "sortby" => query.sort_by = text(key, value)?,
                "sortorder" => query.sort_order = text(key, value)?,
                "startindex" => query.start_index = text(key, value)?,
                "count" => query.count = text(key, value)?,
                "cursor" => query.cursor = text(key, value)?,
                _ => {}
            }
        }
        Ok(query)
    }

    /// Reads decoded URL parameters. Names are taken in any case, unknown ones are passed over (Entra ID appends
    /// `aadOptscim062020` to every URL).
    pub fn from_parameters<'a>(parameters: impl IntoIterator<Item = (&'a str, &'a str)>) -> Query {
        let list =
            |text: &str| text.split(',').map(|name| name.trim().to_owned()).filter(|name| !name.is_empty()).collect();
        let mut query = Query::default();
        for (name, value) in parameters {
            let value = || Some(value.to_owned());
            match name.to_ascii_lowercase().as_str() {
                "attributes" => query.attributes = value().map(|value| list(&value)).unwrap_or_default(),
                "excludedattributes" => {
                    query.excluded_attributes = value().map(|value| list(&value)).unwrap_or_default()
                }
                "filter" => query.filter = value().filter(|filter| !filter.is_empty()),
                "sortby" => query.sort_by = value(),
                "sortorder" => query.sort_order = value(),
                "startindex" => query.start_index = value(),
                "count" => query.count = value(),
                "cursor" => query.cursor = value(),
                _ => {}
            }
        }
        query
    }
}

fn names(key: &str, value: &Value) -> Result<Vec<String>, ScimError> {
    match value {
        Value::Null => Ok(Vec::new()),
        Value::String(text) => Ok(text.split(',').map(|name| name.trim().to_owned()).collect()),
        Value::Array(items) => items
            .iter()
            .map(|item| item.as_str().map(str::to_owned))
            .collect::<Option<_>>()
            .ok_or_else(|| ScimError::invalid_syntax(format!("`{key}` is a list of attribute names"))),
        Value::Bool(_) | Value::Number(_) | Value::Object(_) => {
            Err(ScimError::invalid_syntax(format!("`{key}` is a list of attribute names")))
        }
    }
}

fn text(key: &str, value: &Value) -> Result<Option<String>, ScimError> {
    match value {
        Value::Null => Ok(None),
        Value::String(text) => Ok(Some(text.clone())),
        Value::Number(number) => Ok(Some(number.to_string())),
        Value::Bool(_) | Value::Array(_) | Value::Object(_) => {
            Err(ScimError::invalid_syntax(format!("`{key}` is a string or a number")))
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::scim::table::fixture;

    fn paging(start_index: &str, count: &str) -> Result<(usize, usize), ScimError> {
        let paging = Paging::parse(Some(start_index), Some(count), PageSizes::default())?;
        Ok((paging.start_index, paging.count))
    }

    #[test]
    fn numbers_out_of_range_are_clamped_and_never_refused() {
        assert_eq!(paging("0", "-5"), Ok((1, 0)));
        assert_eq!(paging("-3", "5000"), Ok((1, 1_000)));
        assert_eq!(paging("", ""), Ok((1, 100)));
        assert_eq!(paging("11", "0"), Ok((11, 0)));
        assert_eq!(paging("99999999999999999999", "99999999999999999999").map(|(_, count)| count), Ok(1_000));
        assert_eq!(paging("-99999999999999999999", "-99999999999999999999"), Ok((1, 0)));
        for bad in ["x", "1.5", "1e3", "-", "0x10"] {
            assert_eq!(paging(bad, "1").map_err(|error| error.scim_type), Err(Some(ScimType::InvalidValue)), "{bad}");
        }
        let count = Paging::cursor_count(Some("many"), PageSizes::default());
        assert_eq!(count.map_err(|error| error.scim_type), Err(Some(ScimType::InvalidCount)));
        assert_eq!(Paging { start_index: 11, count: 5 }.offset(), 10);
    }

    #[test]
    fn the_search_request_of_the_rfc_is_read() {
        let query = Query::from_search_request(&fixture("samples/rfc7644-3.4.3-search_request.json"));
        assert_eq!(
            query,
            Ok(Query {
                attributes: vec!["displayName".into(), "userName".into()],
                filter: Some(r#"displayName sw "smith""#.into()),
                start_index: Some("1".into()),
                count: Some("10".into()),
                ..Query::default()
            })
        );
    }

    #[test]
    fn the_list_response_has_the_members_that_the_rfc_shows() {
        let mut theirs = fixture("samples/rfc7644-3.4.3-list_response-post_query.json");
        let resources = theirs["Resources"].as_array().expect("resources").clone();
        // The example announces a page of 100 resources and prints two of them.
        theirs["itemsPerPage"] = 2.into();
        assert_eq!(json!(ListResponse::page(100, 1, resources)), theirs);
    }

    #[test]
    fn an_empty_page_says_so_with_an_empty_list() {
        let empty = ListResponse::page(0, 1, Vec::<Value>::new());
        assert_eq!(
            json!(empty),
            json!({"schemas": [LIST_RESPONSE_URN], "totalResults": 0, "startIndex": 1, "itemsPerPage": 0, "Resources": []})
        );
        let next_cursor = Some("abc".into());
        let cursor = ListResponse { total_results: None, start_index: None, next_cursor, ..empty };
        assert_eq!(
            json!(cursor),
            json!({"schemas": [LIST_RESPONSE_URN], "itemsPerPage": 0, "nextCursor": "abc", "Resources": []})
        );
    }

    #[test]
    fn unknown_parameters_are_passed_over() {
        let query =
            Query::from_parameters([("aadOptscim062020", ""), ("StartIndex", "2"), ("attributes", "id, userName,")]);
        assert_eq!(query.start_index.as_deref(), Some("2"));
        assert_eq!(query.attributes, ["id", "userName"]);
    }
}
