//! Whether a document satisfies a filter.

use std::cmp::Ordering;

use serde_json::{Map, Value};

use super::ast::{Filter, Operator};
use crate::scim::error::ScimError;
use crate::scim::name::{AttrPath, Resolved};
use crate::scim::profile::{Profile, Tolerance};
use crate::scim::resource::schemas_of;
use crate::scim::schema::{Attribute, ResourceType, SchemaTable, Type};
use crate::scim::value::{Scalar, is_unassigned};

impl Filter {
    /// Whether the document satisfies the filter. The document is as complete as the question needs: `meta`, `id` and
    /// detached attributes are found only where the caller spliced them in.
    ///
    /// An attribute that the type does not have, has no value (RFC 7644 §3.4.2.1). No value equals nothing, so `ne`
    /// holds; `eq null` asks for no value.
    pub fn matches(&self, table: &SchemaTable, kind: &ResourceType, document: &Map<String, Value>) -> bool {
        match self {
            Filter::And(sides) => sides.iter().all(|side| side.matches(table, kind, document)),
            Filter::Or(sides) => sides.iter().any(|side| side.matches(table, kind, document)),
            Filter::Not(inner) => !inner.matches(table, kind, document),
            Filter::ValuePath(path, inner) => lookup(path, table, kind, document)
                .is_some_and(|found| found.values().any(|value| inner.matches_value(found.attribute, value))),
            Filter::Present(path) => holds(lookup(path, table, kind, document), Test::Present),
            Filter::Compare(path, operator, literal) => {
                if path.is_core(kind, "schemas", None) && !document.contains_key("schemas") {
                    return compare_schemas(kind, document, *operator, literal);
                }
                holds(lookup(path, table, kind, document), Test::Compare(*operator, literal))
            }
        }
    }

    /// Whether one value of a multi-valued attribute satisfies the filter between its brackets.
    pub fn matches_value(&self, attribute: &Attribute, value: &Value) -> bool {
        match self {
            Filter::And(sides) => sides.iter().all(|side| side.matches_value(attribute, value)),
            Filter::Or(sides) => sides.iter().any(|side| side.matches_value(attribute, value)),
            Filter::Not(inner) => !inner.matches_value(attribute, value),
            Filter::ValuePath(..) => false,
            Filter::Present(path) => holds(inside(path, attribute, value), Test::Present),
            Filter::Compare(path, operator, literal) => {
                holds(inside(path, attribute, value), Test::Compare(*operator, literal))
            }
        }
    }

    /// Refuses what cannot be evaluated sensibly, with `invalidFilter`: an order on a boolean or a binary (RFC 7644
    /// Table 3), a literal of another type, brackets on a plain attribute, a complex attribute without its
    /// sub-attribute and, unless tolerated, an attribute that the type does not have.
    pub fn check(&self, table: &SchemaTable, kind: &ResourceType, profile: &Profile) -> Result<(), ScimError> {
        match self {
            Filter::And(sides) | Filter::Or(sides) => {
                sides.iter().try_for_each(|side| side.check(table, kind, profile))
            }
            Filter::Not(inner) => inner.check(table, kind, profile),
            Filter::Present(path) => known(path, table, kind, profile).map(|_| ()),
            Filter::Compare(path, operator, literal) => {
                let Some((attribute, sub)) = known(path, table, kind, profile)? else { return Ok(()) };
                check_comparison(path, attribute, sub, *operator, literal)
            }
            Filter::ValuePath(path, inner) => {
                let Some((attribute, sub)) = known(path, table, kind, profile)? else { return Ok(()) };
                if sub.is_some() || !(attribute.is_complex() || attribute.multi_valued) {
                    return Err(ScimError::invalid_filter(format!("`{path}` takes no brackets")));
                }
                inner.check_value(attribute)
            }
        }
    }

    /// The same for a filter between brackets, as in a PATCH path.
    pub fn check_value(&self, attribute: &Attribute) -> Result<(), ScimError> {
        match self {
            Filter::And(sides) | Filter::Or(sides) => sides.iter().try_for_each(|side| side.check_value(attribute)),
            Filter::Not(inner) => inner.check_value(attribute),
            Filter::ValuePath(path, _) => Err(ScimError::invalid_filter(format!("`{path}[` stands in brackets"))),
            Filter::Present(path) => sub_of(path, attribute).map(|_| ()),
            Filter::Compare(path, operator, literal) => {
                check_comparison(path, sub_of(path, attribute)?, None, *operator, literal)
            }
        }
    }
}

type Known<'t> = Option<(&'t Attribute, Option<&'t Attribute>)>;

fn known<'t>(
    path: &AttrPath,
    table: &'t SchemaTable,
    kind: &'t ResourceType,
    profile: &Profile,
) -> Result<Known<'t>, ScimError> {
    match path.resolve(table, kind).and_then(Resolved::place) {
        Some(place) => Ok(Some((place.attribute, place.sub))),
        None if profile.tolerates(Tolerance::UnknownFilterAttributes) => Ok(None),
        None => Err(ScimError::invalid_filter(format!("{} has no attribute `{path}`", kind.name))),
    }
}

fn sub_of<'t>(path: &AttrPath, attribute: &'t Attribute) -> Result<&'t Attribute, ScimError> {
    let missing = || ScimError::invalid_filter(format!("`{}` has no sub-attribute `{path}`", attribute.name));
    if path.urn.is_some() || path.sub.is_some() {
        return Err(missing());
    }
    if !attribute.is_complex() && path.name.eq_ignore_ascii_case("value") {
        return Ok(attribute);
    }
    attribute.sub(&path.name).ok_or_else(missing)
}

fn check_comparison(
    path: &AttrPath,
    attribute: &Attribute,
    sub: Option<&Attribute>,
    operator: Operator,
    literal: &Value,
) -> Result<(), ScimError> {
    let compared = sub.or_else(|| if attribute.is_complex() { attribute.default_sub() } else { Some(attribute) });
    let Some(compared) = compared else {
        return Err(ScimError::invalid_filter(format!("`{path}` is complex: name one of its sub-attributes")));
    };
    if operator.is_ordering() && matches!(compared.kind, Type::Boolean | Type::Binary) {
        let kind = compared.kind.as_str();
        return Err(ScimError::invalid_filter(format!(
            "`{path}` is {kind} and has no order for `{}`",
            operator.as_str()
        )));
    }
    if !literal.is_null() && Scalar::of(compared, literal).is_none() {
        let kind = compared.kind.as_str();
        return Err(ScimError::invalid_filter(format!("`{path}` is {kind}, and the value behind it is none")));
    }
    Ok(())
}

/// What is asked of an attribute.
#[derive(Clone, Copy)]
enum Test<'f> {
    Present,
    Compare(Operator, &'f Value),
}

/// An attribute's value in a document, or one value of it.
struct Found<'t, 'd> {
    attribute: &'t Attribute,
    sub: Option<&'t Attribute>,
    value: Option<&'d Value>,
}

impl<'d> Found<'_, 'd> {
    /// The values, one by one.
    fn values(&self) -> impl Iterator<Item = &'d Value> {
        let (single, many) = match self.value {
            Some(Value::Array(items)) => (None, items.as_slice()),
            other => (other, [].as_slice()),
        };
        single.into_iter().chain(many)
    }
}

fn lookup<'t, 'd>(
    path: &AttrPath,
    table: &'t SchemaTable,
    kind: &'t ResourceType,
    document: &'d Map<String, Value>,
) -> Option<Found<'t, 'd>> {
    let place = path.resolve(table, kind)?.place()?;
    Some(Found { attribute: place.attribute, sub: place.sub, value: place.value(document) })
}

fn inside<'t, 'd>(path: &AttrPath, attribute: &'t Attribute, value: &'d Value) -> Option<Found<'t, 'd>> {
    let named = sub_of(path, attribute).ok()?;
    if std::ptr::eq(named, attribute) {
        return Some(Found { attribute, sub: None, value: Some(value) });
    }
    Some(Found { attribute: named, sub: None, value: value.get(&named.name) })
}

fn holds(found: Option<Found<'_, '_>>, test: Test<'_>) -> bool {
    let Some(found) = found else {
        return match test {
            Test::Present => false,
            Test::Compare(operator, literal) => compares_with_nothing(operator, literal),
        };
    };
    match test {
        Test::Present => found.values().any(|value| match found.sub {
            Some(sub) => value.get(&sub.name).is_some_and(has_value),
            None => has_value(value),
        }),
        Test::Compare(operator, literal) => {
            let compared =
                found.sub.or_else(|| if found.attribute.is_complex() { found.attribute.default_sub() } else { None });
            let attribute = compared.unwrap_or(found.attribute);
            let mut nothing = true;
            for value in found.values() {
                let plain = match compared {
                    Some(sub) => value.get(&sub.name),
                    None => Some(value),
                };
                for plain in plain.into_iter().flat_map(each).filter(|plain| has_value(plain)) {
                    nothing = false;
                    if compare(attribute, plain, operator, literal) {
                        return true;
                    }
                }
            }
            nothing && compares_with_nothing(operator, literal)
        }
    }
}

/// A multi-valued sub-attribute has several values itself.
fn each(value: &Value) -> &[Value] {
    match value {
        Value::Array(items) => items,
        single => std::slice::from_ref(single),
    }
}

/// `pr`: neither null nor empty (RFC 7644 Table 3).
fn has_value(value: &Value) -> bool {
    !is_unassigned(value) && value.as_str() != Some("")
}

fn compares_with_nothing(operator: Operator, literal: &Value) -> bool {
    match operator {
        Operator::Eq => literal.is_null(),
        Operator::Ne => !literal.is_null(),
        Operator::Co | Operator::Sw | Operator::Ew | Operator::Gt | Operator::Ge | Operator::Lt | Operator::Le => false,
    }
}

fn compare(attribute: &Attribute, stored: &Value, operator: Operator, literal: &Value) -> bool {
    if literal.is_null() {
        return operator == Operator::Ne;
    }
    let Some(stored) = Scalar::of(attribute, stored) else { return false };
    let Some(literal) = Scalar::of(attribute, literal) else { return operator == Operator::Ne };
    let texts = |test: fn(&str, &str) -> bool| match (stored.text(), literal.text()) {
        (Some(stored), Some(literal)) => test(stored, literal),
        (None, _) | (_, None) => false,
    };
    let ordered = |test: fn(Ordering) -> bool| stored.order(&literal).is_some_and(test);
    match operator {
        Operator::Eq => stored == literal,
        Operator::Ne => stored != literal,
        Operator::Co => texts(|stored, literal| stored.contains(literal)),
        Operator::Sw => texts(|stored, literal| stored.starts_with(literal)),
        Operator::Ew => texts(|stored, literal| stored.ends_with(literal)),
        Operator::Gt => ordered(Ordering::is_gt),
        Operator::Ge => ordered(Ordering::is_ge),
        Operator::Lt => ordered(Ordering::is_lt),
        Operator::Le => ordered(Ordering::is_le),
    }
}

/// A stored document does not carry `schemas`; they follow from its extensions. URNs are compared without case.
fn compare_schemas(kind: &ResourceType, document: &Map<String, Value>, operator: Operator, literal: &Value) -> bool {
    let Some(literal) = literal.as_str().map(str::to_ascii_lowercase) else {
        return operator == Operator::Ne;
    };
    schemas_of(kind, document).into_iter().map(|urn| urn.to_ascii_lowercase()).any(|urn| match operator {
        Operator::Eq => urn == literal,
        Operator::Ne => urn != literal,
        Operator::Co => urn.contains(&literal),
        Operator::Sw => urn.starts_with(&literal),
        Operator::Ew => urn.ends_with(&literal),
        Operator::Gt => urn > literal,
        Operator::Ge => urn >= literal,
        Operator::Lt => urn < literal,
        Operator::Le => urn <= literal,
    })
}
