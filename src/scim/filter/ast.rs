//! The tree of a filter and its text.

use std::fmt;

use serde_json::Value;

use crate::scim::name::AttrPath;

/// A comparison (RFC 7644 Table 3, without `pr`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Operator {
    Eq,
    Ne,
    Co,
    Sw,
    Ew,
    Gt,
    Ge,
    Lt,
    Le,
}

impl Operator {
    pub const ALL: [Operator; 9] = [
        Operator::Eq,
        Operator::Ne,
        Operator::Co,
        Operator::Sw,
        Operator::Ew,
        Operator::Gt,
        Operator::Ge,
        Operator::Lt,
        Operator::Le,
    ];

    pub const fn as_str(self) -> &'static str {
        match self {
            Operator::Eq => "eq",
            Operator::Ne => "ne",
            Operator::Co => "co",
            Operator::Sw => "sw",
            Operator::Ew => "ew",
            Operator::Gt => "gt",
            Operator::Ge => "ge",
            Operator::Lt => "lt",
            Operator::Le => "le",
        }
    }

    /// The operator of this word, in any case.
    pub fn named(word: &str) -> Option<Operator> {
        Self::ALL.into_iter().find(|operator| operator.as_str().eq_ignore_ascii_case(word))
    }

    /// Whether it asks for an order, which booleans and binaries do not have.
    pub const fn is_ordering(self) -> bool {
        match self {
            Operator::Gt | Operator::Ge | Operator::Lt | Operator::Le => true,
            Operator::Eq | Operator::Ne | Operator::Co | Operator::Sw | Operator::Ew => false,
        }
    }
}

/// A parsed filter.
///
/// `and` and `or` hold two or more sides, so that a long chain does not nest. The comparison behind a value path that
/// Entra ID sends, `emails[type eq "work"].value eq "x"`, is kept as `emails[type eq "work" and value eq "x"]`, which
/// means the same.
#[derive(Debug, Clone, PartialEq)]
pub enum Filter {
    /// `title pr`
    Present(AttrPath),
    /// `userName eq "bjensen"`; the value is a string, number, boolean or null.
    Compare(AttrPath, Operator, Value),
    /// `emails[…]`: one value of the attribute satisfies the whole inner filter.
    ValuePath(AttrPath, Box<Filter>),
    And(Vec<Filter>),
    Or(Vec<Filter>),
    Not(Box<Filter>),
}

impl Filter {
    /// The filters that must all hold: the sides of an `and`, or this filter alone. What a planner chooses from.
    pub fn conjuncts(&self) -> &[Filter] {
        match self {
            Filter::And(sides) => sides,
            Filter::Present(_) | Filter::Compare(..) | Filter::ValuePath(..) | Filter::Or(_) | Filter::Not(_) => {
                std::slice::from_ref(self)
            }
        }
    }
}

impl fmt::Display for Filter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Filter::Present(path) => write!(f, "{path} pr"),
            Filter::Compare(path, operator, value) => write!(f, "{path} {} {value}", operator.as_str()),
            Filter::ValuePath(path, inner) => write!(f, "{path}[{inner}]"),
            Filter::And(sides) => join(f, sides, "and"),
            Filter::Or(sides) => join(f, sides, "or"),
            Filter::Not(inner) => write!(f, "not ({inner})"),
        }
    }
}

fn join(f: &mut fmt::Formatter<'_>, sides: &[Filter], word: &str) -> fmt::Result {
    for (i, side) in sides.iter().enumerate() {
        if i > 0 {
            write!(f, " {word} ")?;
        }
        match side {
            Filter::And(_) | Filter::Or(_) => write!(f, "({side})")?,
            Filter::Present(_) | Filter::Compare(..) | Filter::ValuePath(..) | Filter::Not(_) => write!(f, "{side}")?,
        }
    }
    Ok(())
}
