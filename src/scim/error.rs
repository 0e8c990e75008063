//! What a SCIM client reads when a request fails (RFC 7644 §3.12).

use std::fmt;

use serde_json::{Value, json};

/// The URN of an error body.
pub const ERROR_URN: &str = "urn:ietf:params:scim:api:messages:2.0:Error";

/// The detail keywords of RFC 7644 Table 9 and of RFC 9865 §2.1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ScimType {
    InvalidFilter,
    TooMany,
    Uniqueness,
    Mutability,
    InvalidSyntax,
    InvalidPath,
    NoTarget,
    InvalidValue,
    InvalidVers,
    Sensitive,
    InvalidCursor,
    ExpiredCursor,
    InvalidCount,
}

impl ScimType {
    pub const fn as_str(self) -> &'static str {
        match self {
            ScimType::InvalidFilter => "invalidFilter",
            ScimType::TooMany => "tooMany",
            ScimType::Uniqueness => "uniqueness",
            ScimType::Mutability => "mutability",
            ScimType::InvalidSyntax => "invalidSyntax",
            ScimType::InvalidPath => "invalidPath",
            ScimType::NoTarget => "noTarget",
            ScimType::InvalidValue => "invalidValue",
            ScimType::InvalidVers => "invalidVers",
            ScimType::Sensitive => "sensitive",
            ScimType::InvalidCursor => "invalidCursor",
            ScimType::ExpiredCursor => "expiredCursor",
            ScimType::InvalidCount => "invalidCount",
        }
    }

    /// The HTTP status that goes with the keyword: 409 for a taken value, 403 for a filter that must not stand in a
    /// URL (RFC 7644 §7.5.2), otherwise 400.
    pub const fn status(self) -> u16 {
        match self {
            ScimType::Uniqueness => 409,
            ScimType::Sensitive => 403,
            ScimType::InvalidFilter
            | ScimType::TooMany
            | ScimType::Mutability
            | ScimType::InvalidSyntax
            | ScimType::InvalidPath
            | ScimType::NoTarget
            | ScimType::InvalidValue
            | ScimType::InvalidVers
            | ScimType::InvalidCursor
            | ScimType::ExpiredCursor
            | ScimType::InvalidCount => 400,
        }
    }
}

impl fmt::Display for ScimType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A refusal in the words of the protocol. `detail` is read by the administrator of an identity provider, so it says
/// what to change there.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{status} {}: {detail}", scim_type.map_or("error", ScimType::as_str))]
pub struct ScimError {
    pub status: u16,
    pub scim_type: Option<ScimType>,
    pub detail: String,
}

impl ScimError {
    /// An error with a keyword; the status follows from it.
    pub fn of(scim_type: ScimType, detail: impl Into<String>) -> Self {
        ScimError { status: scim_type.status(), scim_type: Some(scim_type), detail: detail.into() }
    }

    /// An error without a keyword (401, 404, 412, 503 …).
    pub fn plain(status: u16, detail: impl Into<String>) -> Self {
        ScimError { status, scim_type: None, detail: detail.into() }
    }

    pub fn invalid_filter(detail: impl Into<String>) -> Self {
        Self::of(ScimType::InvalidFilter, detail)
    }

    pub fn invalid_path(detail: impl Into<String>) -> Self {
        Self::of(ScimType::InvalidPath, detail)
    }

    pub fn invalid_syntax(detail: impl Into<String>) -> Self {
        Self::of(ScimType::InvalidSyntax, detail)
    }

    pub fn invalid_value(detail: impl Into<String>) -> Self {
        Self::of(ScimType::InvalidValue, detail)
    }

    pub fn mutability(detail: impl Into<String>) -> Self {
        Self::of(ScimType::Mutability, detail)
    }

    pub fn no_target(detail: impl Into<String>) -> Self {
        Self::of(ScimType::NoTarget, detail)
    }

    /// The body, with `status` as a string (RFC 7644 §3.12).
    pub fn to_json(&self) -> Value {
        let mut body = json!({ "schemas": [ERROR_URN], "status": self.status.to_string() });
        if let Some(scim_type) = self.scim_type {
            body["scimType"] = scim_type.as_str().into();
        }
        if !self.detail.is_empty() {
            body["detail"] = self.detail.as_str().into();
        }
        body
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scim::table::fixture;

    #[test]
    fn an_error_body_is_the_one_of_the_rfc() {
        let not_found = ScimError::plain(404, "Resource 2819c223-7f76-453a-919d-413861904646 not found");
        assert_eq!(not_found.to_json(), fixture("samples/rfc7644-3.12-error-not_found.json"));
        let read_only = ScimError::mutability("Attribute 'id' is readOnly");
        assert_eq!(read_only.to_json(), fixture("samples/rfc7644-3.12-error-bad_request.json"));
    }

    #[test]
    fn a_taken_value_is_409_and_everything_else_with_a_keyword_but_sensitive_is_400() {
        assert_eq!(ScimError::of(ScimType::Uniqueness, "").status, 409);
        assert_eq!(ScimError::of(ScimType::Sensitive, "").status, 403);
        assert_eq!(ScimError::of(ScimType::ExpiredCursor, "").status, 400);
    }
}
