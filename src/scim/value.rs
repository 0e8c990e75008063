//! Typed values: what makes two of them equal, and which comes first (RFC 7643 §2.3, RFC 7644 §3.4.2.2).

use std::borrow::Cow;
use std::cmp::Ordering;

use serde_json::{Map, Value};
use unicode_normalization::UnicodeNormalization;

use super::schema::{Attribute, Type};

/// A plain value in the form in which it is compared.
#[derive(Debug, Clone, PartialEq)]
pub enum Scalar<'v> {
    Flag(bool),
    Integer(i128),
    Decimal(f64),
    Instant(jiff::Timestamp),
    /// Folded, unless the attribute is case-exact.
    Text(Cow<'v, str>),
    /// Base64 with its padding stripped; has no order (RFC 7644 Table 3).
    Binary(Cow<'v, str>),
}

impl<'v> Scalar<'v> {
    /// The value as the attribute's type has it; `None` when it is of another type. Strings that spell a boolean or a
    /// number count as one, so that filters of clients that quote everything work.
    pub fn of(attribute: &Attribute, value: &'v Value) -> Option<Scalar<'v>> {
        match attribute.kind {
            Type::String | Type::Reference => Some(Scalar::Text(match value {
                Value::String(text) if attribute.case_exact => Cow::Borrowed(text),
                Value::String(text) => fold(text),
                Value::Number(number) => Cow::Owned(number.to_string()),
                Value::Bool(flag) => Cow::Owned(flag.to_string()),
                Value::Null | Value::Array(_) | Value::Object(_) => return None,
            })),
            Type::Boolean => match value {
                Value::Bool(flag) => Some(Scalar::Flag(*flag)),
                _ => boolean(value.as_str()?).map(Scalar::Flag),
            },
            Type::Integer => match value {
                Value::String(text) => text.parse().ok().map(Scalar::Integer),
                _ => integer(value).map(Scalar::Integer),
            },
            Type::Decimal => match value {
                Value::String(text) => text.parse().ok().filter(|number: &f64| number.is_finite()).map(Scalar::Decimal),
                _ => value.as_f64().map(Scalar::Decimal),
            },
            Type::DateTime => instant(value.as_str()?).or_else(|| midnight(value.as_str()?)).map(Scalar::Instant),
            Type::Binary => Some(Scalar::Binary(Cow::Borrowed(value.as_str()?.trim_end_matches('=')))),
            Type::Complex => None,
        }
    }

    /// Which comes first; `None` between different types and for binaries, which have no order.
    pub fn order(&self, other: &Scalar<'_>) -> Option<Ordering> {
        match (self, other) {
            (Scalar::Flag(a), Scalar::Flag(b)) => Some(a.cmp(b)),
            (Scalar::Integer(a), Scalar::Integer(b)) => Some(a.cmp(b)),
            (Scalar::Decimal(a), Scalar::Decimal(b)) => a.partial_cmp(b),
            (Scalar::Instant(a), Scalar::Instant(b)) => Some(a.cmp(b)),
            (Scalar::Text(a), Scalar::Text(b)) => Some(a.cmp(b)),
            (
                Scalar::Flag(_)
                | Scalar::Integer(_)
                | Scalar::Decimal(_)
                | Scalar::Instant(_)
                | Scalar::Text(_)
                | Scalar::Binary(_),
                _,
            ) => None,
        }
    }

    /// The same value without the document that it came from.
    pub fn into_owned(self) -> Scalar<'static> {
        match self {
            Scalar::Flag(flag) => Scalar::Flag(flag),
            Scalar::Integer(number) => Scalar::Integer(number),
            Scalar::Decimal(number) => Scalar::Decimal(number),
            Scalar::Instant(instant) => Scalar::Instant(instant),
            Scalar::Text(text) => Scalar::Text(Cow::Owned(text.into_owned())),
            Scalar::Binary(text) => Scalar::Binary(Cow::Owned(text.into_owned())),
        }
    }

    /// The text for `co`, `sw` and `ew`; `None` where these mean nothing.
    pub fn text(&self) -> Option<&str> {
        match self {
            Scalar::Text(text) | Scalar::Binary(text) => Some(text),
            Scalar::Flag(_) | Scalar::Integer(_) | Scalar::Decimal(_) | Scalar::Instant(_) => None,
        }
    }
}

/// The text without regard to case and to the width and composition of its characters. Whatever RFC 8265
/// (UsernameCaseMapped) holds for equal is equal here too.
pub fn fold(text: &str) -> Cow<'_, str> {
    if !text.is_ascii() {
        Cow::Owned(text.chars().flat_map(char::to_lowercase).nfkc().collect())
    } else if text.bytes().any(|byte| byte.is_ascii_uppercase()) {
        Cow::Owned(text.to_ascii_lowercase())
    } else {
        Cow::Borrowed(text)
    }
}

/// `true` or `false` in any case.
pub fn boolean(text: &str) -> Option<bool> {
    if text.eq_ignore_ascii_case("true") {
        Some(true)
    } else if text.eq_ignore_ascii_case("false") {
        Some(false)
    } else {
        None
    }
}

/// A JSON number without fraction and exponent (RFC 7643 §2.3.4).
pub fn integer(value: &Value) -> Option<i128> {
    value.as_i64().map(i128::from).or_else(|| value.as_u64().map(i128::from))
}

/// An xsd:dateTime with date and time; without a zone it is in UTC (RFC 7643 §2.3.5).
pub fn instant(text: &str) -> Option<jiff::Timestamp> {
    // The parser beneath also takes blanks for `T`, shorter times and zone names, which xsd:dateTime does not have.
    let bytes = text.as_bytes();
    let complete = bytes.len() >= 19 && bytes[10] == b'T' && bytes[13] == b':' && bytes[16] == b':';
    if !complete || text.contains('[') {
        return None;
    }
    text.parse().ok().or_else(|| {
        let civil: jiff::civil::DateTime = text.parse().ok()?;
        jiff::tz::Offset::UTC.to_timestamp(civil).ok()
    })
}

/// Midnight UTC of a date without time.
pub fn midnight(text: &str) -> Option<jiff::Timestamp> {
    if text.len() != 10 {
        return None;
    }
    let date: jiff::civil::Date = text.parse().ok()?;
    jiff::tz::Offset::UTC.to_timestamp(date.at(0, 0, 0, 0)).ok()
}

/// Base64 in either alphabet, the padding optional (RFC 7643 §2.3.6).
pub fn is_base64(text: &str) -> bool {
    let digits = text.trim_end_matches('=');
    text.len() - digits.len() <= 2
        && digits.len() % 4 != 1
        && digits.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+/-_".contains(&byte))
}

/// Whether the value says that the attribute has none: null, `[]`, `{}` (RFC 7643 §2.5).
pub fn is_unassigned(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Array(items) => items.is_empty(),
        Value::Object(members) => members.is_empty(),
        Value::Bool(_) | Value::Number(_) | Value::String(_) => false,
    }
}

/// Whether two plain or complex values of an attribute are the same value.
pub fn same(attribute: &Attribute, a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Object(a), Value::Object(b)) => a.len() == b.len() && contains(attribute, a, b),
        _ => match (Scalar::of(attribute, a), Scalar::of(attribute, b)) {
            (Some(a), Some(b)) => a == b,
            (None, _) | (_, None) => a == b,
        },
    }
}

/// Whether the complex value `whole` has every sub-attribute of `part` with the same value.
pub fn contains(attribute: &Attribute, whole: &Map<String, Value>, part: &Map<String, Value>) -> bool {
    part.iter().all(|(key, value)| {
        whole.get(key).is_some_and(|found| attribute.sub(key).map_or(found == value, |sub| same(sub, found, value)))
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::scim::schema::SchemaTable;
    use crate::scim::table::USER_URN;

    fn attribute(name: &str) -> Attribute {
        let table = SchemaTable::builtin();
        let (name, sub) = name.split_once('.').unwrap_or((name, ""));
        let found = table.schema(USER_URN).and_then(|schema| schema.attribute(name)).or(table.common(name));
        let found = found.expect("in the table");
        found.sub(sub).unwrap_or(found).clone()
    }

    #[test]
    fn texts_are_folded_unless_the_attribute_is_case_exact() {
        assert!(same(&attribute("userName"), &json!("BJensen"), &json!("bjensen")));
        assert!(same(&attribute("userName"), &json!("STRAẞE"), &json!("straße")));
        assert!(same(&attribute("userName"), &json!("ｂｊｅｎｓｅｎ"), &json!("bjensen")));
        assert!(!same(&attribute("externalId"), &json!("A1"), &json!("a1")));
    }

    #[test]
    fn instants_are_compared_by_time_not_by_text() {
        let created = attribute("meta.created");
        assert!(same(&created, &json!("2011-05-13T04:42:34Z"), &json!("2011-05-13T06:42:34.000+02:00")));
        let [early, late] = [json!("1969-12-31T23:59:59Z"), json!("1970-01-01T00:00:00")];
        let early = Scalar::of(&created, &early).expect("an instant");
        let late = Scalar::of(&created, &late).expect("an instant");
        assert_eq!(early.order(&late), Some(Ordering::Less));
        for no_date_time in ["2011-05-13", "2011-05-13 04:42:34Z", "2011-05-13T04Z", "2011-05-13T04:42:34Z[UTC]", "ä"]
        {
            assert_eq!(instant(no_date_time), None, "{no_date_time}");
        }
        assert_eq!(midnight("2026-01-05").map(|at| at.to_string()).as_deref(), Some("2026-01-05T00:00:00Z"));
    }

    #[test]
    fn booleans_and_binaries_have_equality_and_binaries_no_order() {
        let active = attribute("active");
        assert!(same(&active, &json!("True"), &json!(true)));
        let certificate = attribute("x509Certificates.value");
        assert!(same(&certificate, &json!("TWE="), &json!("TWE")));
        let value = json!("TWE=");
        let scalar = Scalar::of(&certificate, &value).expect("a binary");
        assert_eq!(scalar.order(&scalar), None);
    }

    #[test]
    fn base64_is_recognised_with_and_without_padding() {
        for good in ["", "TWE=", "TWE", "TQ==", "-_+/"] {
            assert!(is_base64(good), "{good}");
        }
        for bad in ["T", "TW=E", "TWE===", "TW E", "ä"] {
            assert!(!is_base64(bad), "{bad}");
        }
    }
}
