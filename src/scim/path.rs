//! The `path` of a PATCH operation (RFC 7644 §3.5.2, Figure 7): `attr`, `attr.sub`, `attr[filter]`,
//! `attr[filter].sub`, each behind a URN if need be, or the URN of an extension alone.

use super::error::ScimError;
use super::filter::{Dialect, Filter, Parser};
use super::name::{AttrPath, Place, Resolved};
use super::profile::{Applied, Profile};
use super::schema::{ResourceType, Schema, SchemaTable};

/// A path as a client wrote it.
#[derive(Debug, Clone, PartialEq)]
pub struct PatchPath {
    pub attribute: AttrPath,
    /// Between brackets: which values of a multi-valued attribute.
    pub filter: Option<Filter>,
    /// Behind the brackets.
    pub sub: Option<String>,
}

/// A path that the resource type has.
#[derive(Debug, Clone, PartialEq)]
pub enum Target<'t> {
    Attribute {
        place: Place<'t>,
        filter: Option<Filter>,
    },
    /// The whole of an extension, or (`None`) of the resource.
    Schema(Option<&'t Schema>),
}

impl PatchPath {
    /// Errors are `invalidPath`, or `invalidFilter` for what stands between the brackets.
    pub fn parse(text: &str, profile: &Profile, applied: &mut Applied) -> Result<PatchPath, ScimError> {
        let malformed = |what: &str| ScimError::invalid_path(format!("the path `{}` {what}", shown(text)));
        let mut parser = Parser::new(text, Dialect { profile, applied })?;
        let attribute = parser.word().and_then(AttrPath::parse).ok_or_else(|| malformed("names no attribute"))?;
        if !parser.open_bracket() {
            let whole = PatchPath { attribute, filter: None, sub: None };
            return if parser.is_at_end() { Ok(whole) } else { Err(malformed("has more behind the attribute")) };
        }
        if attribute.sub.is_some() {
            return Err(malformed("has brackets behind a sub-attribute"));
        }
        let filter = Some(parser.bracketed(0)?);
        let sub = match parser.trailing_sub() {
            None => None,
            Some(Some(sub)) => Some(sub),
            Some(None) => return Err(malformed("has no sub-attribute behind `].`")),
        };
        if parser.is_at_end() {
            Ok(PatchPath { attribute, filter, sub })
        } else {
            Err(malformed("does not end behind `]`"))
        }
    }

    /// Looks the path up; `invalidPath` when the type has no such attribute.
    pub fn resolve<'t>(self, table: &'t SchemaTable, kind: &'t ResourceType) -> Result<Target<'t>, ScimError> {
        let named = AttrPath { sub: self.sub.or(self.attribute.sub), ..self.attribute };
        let place = match named.resolve(table, kind) {
            Some(Resolved::Attribute(place)) => place,
            Some(Resolved::Extension(schema)) if self.filter.is_none() => return Ok(Target::Schema(Some(schema))),
            Some(Resolved::Core) if self.filter.is_none() => return Ok(Target::Schema(None)),
            Some(Resolved::Extension(_) | Resolved::Core) | None => {
                let label = named.to_string();
                return Err(ScimError::invalid_path(format!("{} has no attribute `{}`", kind.name, shown(&label))));
            }
        };
        if let Some(filter) = &self.filter {
            if !place.attribute.multi_valued {
                return Err(ScimError::invalid_path(format!(
                    "`{}` has one value and takes no brackets",
                    place.qualified()
                )));
            }
            filter.check_value(place.attribute)?;
        }
        Ok(Target::Attribute { place, filter: self.filter })
    }
}

/// The start of a text, for messages.
fn shown(text: &str) -> &str {
    let end = text.char_indices().nth(120).map_or(text.len(), |(end, _)| end);
    &text[..end]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scim::error::ScimType;
    use crate::scim::table::ENTERPRISE_USER_URN;

    fn parse(text: &str) -> Result<PatchPath, ScimError> {
        PatchPath::parse(text, &Profile::RFC_STRICT, &mut Applied::new())
    }

    fn target(kind: &str, text: &str) -> Result<String, ScimType> {
        let table = SchemaTable::builtin();
        let kind = table.resource_type(kind).expect("a built-in type");
        let target =
            parse(text).and_then(|path| path.resolve(&table, kind)).map_err(|e| e.scim_type.expect("a type"))?;
        Ok(match target {
            Target::Attribute { place, filter: None } => place.label(),
            Target::Attribute { place, filter: Some(filter) } => format!("{} where {filter}", place.label()),
            Target::Schema(schema) => format!("<{}>", schema.map_or("core", |schema| &schema.name)),
        })
    }

    #[test]
    fn the_example_paths_of_the_rfc_are_understood() {
        assert_eq!(target("Group", "members"), Ok("members".into()));
        assert_eq!(target("User", "name.familyName"), Ok("name.familyName".into()));
        assert_eq!(target("User", r#"addresses[type eq "work"]"#), Ok(r#"addresses where type eq "work""#.into()));
        assert_eq!(
            target("Group", r#"members[value eq "2819c223-7f76-453a-919d-413861904646"].display"#),
            Ok(r#"members.display where value eq "2819c223-7f76-453a-919d-413861904646""#.into())
        );
        let sample = r#"members[value eq"2819c223...919d-413861904646"]"#;
        assert_eq!(target("Group", sample), Ok(r#"members where value eq "2819c223...919d-413861904646""#.into()));
    }

    #[test]
    fn urns_with_dots_and_colons_stand_in_front_of_every_form() {
        let urn = ENTERPRISE_USER_URN;
        assert_eq!(target("User", &format!("{urn}:manager.value")), Ok(format!("{urn}:manager.value")));
        assert_eq!(target("User", urn), Ok("<EnterpriseUser>".into()));
        assert_eq!(target("User", "urn:ietf:params:scim:schemas:core:2.0:User:active"), Ok("active".into()));
        assert_eq!(
            target("User", r#"URN:ietf:params:scim:schemas:core:2.0:User:Emails[Type eq "work"].Value"#),
            Ok(r#"emails.value where Type eq "work""#.into())
        );
    }

    #[test]
    fn malformed_paths_filters_and_unknown_attributes_are_told_apart() {
        for path in
            ["", " ", "members[", "[value eq \"x\"]", "emails.", "a b", "name.familyName[x pr]", "emails[value pr]x"]
        {
            let error = target("User", path).expect_err(path);
            assert!(matches!(error, ScimType::InvalidPath | ScimType::InvalidFilter), "{path}: {error}");
        }
        assert_eq!(target("User", "favouriteColour"), Err(ScimType::InvalidPath));
        assert_eq!(target("User", "name.nose"), Err(ScimType::InvalidPath));
        assert_eq!(target("User", "name[familyName pr]"), Err(ScimType::InvalidPath));
        assert_eq!(target("User", "emails[0]"), Err(ScimType::InvalidFilter));
        assert_eq!(target("User", r#"emails[nose eq "x"]"#), Err(ScimType::InvalidFilter));
        assert_eq!(target("User", r#"emails[type regex "x"]"#), Err(ScimType::InvalidFilter));
    }
}
