//! Which index answers most of a filter.

use serde_json::Value;

use super::keys;
use super::kind::Kind;
use super::record::USHERD_SCHEMA;
use crate::domain::ids::ResourceId;
use crate::domain::names::{UserName, fold};
use crate::domain::time::Timestamp;
use crate::domain::user::Status;
use crate::scim::filter::Operator;
use crate::scim::{AttrPath, Filter, ResourceType, SchemaTable};
use crate::store::{Bounds, interned};

/// How candidates are found. Everything but [`Plan::Exact`] is filtered again on the documents.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Plan {
    /// The index holds exactly what was asked for: paged by rank, whatever its size.
    Exact(String),
    Nothing,
    Ids(Vec<String>),
    Unique(&'static str, String),
    Range(String, Bounds),
    /// The users in this group, and in the groups within it.
    Within(ResourceId),
    /// The groups that this is a member of.
    GroupsOf(ResourceId),
}

/// A resource type with the kind that stores it.
#[derive(Clone, Copy)]
pub(super) struct Planned<'t> {
    pub kind: Kind,
    pub resource_type: &'t ResourceType,
    pub schemas: &'t SchemaTable,
}

impl Planned<'_> {
    /// Takes the most selective side that an index answers.
    pub fn plan(self, filter: Option<&Filter>) -> Plan {
        let all = self.kind.as_str().to_owned();
        let Some(filter) = filter else { return Plan::Exact(all) };
        if self.asks_for_others(filter) {
            return Plan::Nothing;
        }
        if let Some(Plan::Exact(index)) = self.status(filter) {
            return Plan::Exact(index);
        }
        let sides = filter.conjuncts().iter();
        sides.filter_map(|side| self.indexed(side)).min_by_key(selectivity).unwrap_or(Plan::Range(all, Bounds::All))
    }

    fn indexed(self, filter: &Filter) -> Option<Plan> {
        if let Some(Plan::Exact(index)) = self.status(filter) {
            return Some(Plan::Range(index, Bounds::All));
        }
        if let Some(plan) = self.membership(filter) {
            return Some(plan);
        }
        if let Some(plan) = self.alone(filter) {
            return Some(plan);
        }
        let (path, operator, value) = match filter {
            Filter::Compare(path, operator, Value::String(value)) => (path, *operator, value.as_str()),
            Filter::ValuePath(path, inner)
                if self.kind == Kind::User && path.is_core(self.resource_type, "emails", None) =>
            {
                return value_in(inner).map(by_email);
            }
            _ => return None,
        };
        let is = |name: &str, sub: Option<&str>| path.is_core(self.resource_type, name, sub);
        if operator == Operator::Eq && is("id", None) {
            return Some(Plan::Ids(vec![value.to_owned()]));
        }
        if operator == Operator::Eq && is("externalId", None) {
            let index = keys::by_external_id(self.kind);
            return Some(Plan::Range(index, Bounds::Key(value.replace('\0', ""))));
        }
        match self.kind {
            Kind::User => self.indexed_user(path, operator, value),
            Kind::Group | Kind::Organization | Kind::Project | Kind::License | Kind::Own(_) => {
                let folded = fold(value).replace('\0', "");
                match operator {
                    Operator::Eq if is("displayName", None) => {
                        Some(Plan::Range(keys::by_name(self.kind), Bounds::Key(folded)))
                    }
                    Operator::Sw if is("displayName", None) => {
                        Some(Plan::Range(keys::by_name(self.kind), Bounds::Prefix(folded)))
                    }
                    _ => None,
                }
            }
        }
    }

    /// `eq` on an attribute of which each value is there once.
    fn alone(self, filter: &Filter) -> Option<Plan> {
        let Filter::Compare(path, Operator::Eq, value) = filter else { return None };
        let attributes = self.schemas.core_attributes(self.resource_type);
        // Users have unique keys of their own making.
        let attribute = attributes.iter().find(|attribute| path.is_core(self.resource_type, &attribute.name, None))?;
        let key = attribute.unique_key(value).filter(|_| self.kind != Kind::User)?;
        Some(Plan::Unique(interned(&keys::unique(self.kind, &attribute.name)), key))
    }

    fn indexed_user(self, path: &AttrPath, operator: Operator, value: &str) -> Option<Plan> {
        let is = |name: &str, sub: Option<&str>| path.is_core(self.resource_type, name, sub);
        match operator {
            Operator::Eq if is("userName", None) => Some(match UserName::parse(value) {
                Ok(name) => Plan::Unique(keys::USER_NAME, name.folded().to_owned()),
                Err(_) => Plan::Nothing,
            }),
            Operator::Eq if is("emails", None) || is("emails", Some("value")) => Some(by_email(value)),
            Operator::Sw if is("userName", None) => {
                let prefix = UserName::parse(value).map(|name| name.folded().to_owned()).ok()?;
                Some(Plan::Range(keys::USERS_BY_NAME.to_owned(), Bounds::Prefix(prefix)))
            }
            Operator::Gt | Operator::Ge if is("meta", Some("lastModified")) => {
                let from = Timestamp::parse(value).map(Timestamp::sortable);
                Some(Plan::Range(keys::USERS_BY_MODIFIED.to_owned(), Bounds::Between { from, to: None }))
            }
            Operator::Lt | Operator::Le if is("meta", Some("lastModified")) => {
                let to = Timestamp::parse(value).map(Timestamp::sortable);
                Some(Plan::Range(keys::USERS_BY_MODIFIED.to_owned(), Bounds::Between { from: None, to }))
            }
            _ => None,
        }
    }

    /// `groups.value eq` on users and `members.value eq` on groups.
    fn membership(self, filter: &Filter) -> Option<Plan> {
        let (name, plan): (_, fn(ResourceId) -> Plan) = match self.kind {
            Kind::User => ("groups", Plan::Within),
            Kind::Group => ("members", Plan::GroupsOf),
            Kind::Organization | Kind::Project | Kind::License | Kind::Own(_) => return None,
        };
        let value = self.named_value(filter, name)?;
        Some(value.parse().map_or(Plan::Nothing, plan))
    }

    /// The `x` of `name eq "x"`, `name.value eq "x"` or `name[value eq "x"]`.
    pub fn named_value<'f>(self, filter: &'f Filter, name: &str) -> Option<&'f str> {
        match filter {
            Filter::Compare(path, Operator::Eq, Value::String(value))
                if path.is_core(self.resource_type, name, None)
                    || path.is_core(self.resource_type, name, Some("value")) =>
            {
                Some(value)
            }
            Filter::ValuePath(path, inner) if path.is_core(self.resource_type, name, None) => value_in(inner),
            _ => None,
        }
    }

    /// Whether only resources of other types can satisfy the filter, as with `meta.resourceType eq "Group"` in a query
    /// over several of them (RFC 7644 §3.4.2.1).
    fn asks_for_others(self, filter: &Filter) -> bool {
        match filter {
            Filter::Compare(path, Operator::Eq, Value::String(value)) => {
                path.is_core(self.resource_type, "meta", Some("resourceType")) && *value != self.resource_type.name
            }
            Filter::And(sides) => sides.iter().any(|side| self.asks_for_others(side)),
            Filter::Or(sides) => sides.iter().all(|side| self.asks_for_others(side)),
            Filter::Compare(..) | Filter::Present(_) | Filter::ValuePath(..) | Filter::Not(_) => false,
        }
    }

    /// Whether the filter looks at this core attribute.
    pub fn mentions(self, filter: &Filter, name: &str) -> bool {
        looks_at(filter, &|path: &AttrPath| {
            let whole = AttrPath { sub: None, ..path.clone() };
            whole.is_core(self.resource_type, name, None)
        })
    }

    /// Whether the filter looks at the projects of users, some of which come through groups.
    pub fn mentions_projects(self, filter: &Filter) -> bool {
        let is = |path: &AttrPath| {
            path.urn.as_deref().is_some_and(|urn| urn.eq_ignore_ascii_case(USHERD_SCHEMA))
                && path.name.eq_ignore_ascii_case("projects")
        };
        self.kind == Kind::User && looks_at(filter, &is)
    }

    /// The members that a filter asks for by id, when it asks for members in no other way.
    pub fn members_asked_for(self, filter: &Filter) -> Option<Vec<ResourceId>> {
        match filter {
            Filter::And(sides) | Filter::Or(sides) => {
                let asked: Option<Vec<_>> = sides.iter().map(|side| self.members_asked_for(side)).collect();
                asked.map(|asked| asked.into_iter().flatten().collect())
            }
            Filter::Not(inner) => self.members_asked_for(inner),
            Filter::Compare(..) | Filter::Present(_) | Filter::ValuePath(..) => {
                match self.named_value(filter, "members") {
                    Some(value) => Some(value.parse().into_iter().collect()),
                    None => (!self.mentions(filter, "members")).then(Vec::new),
                }
            }
        }
    }

    /// `urn:…:usherd:2.0:User:status eq "Active"`, which an index answers by itself.
    fn status(self, filter: &Filter) -> Option<Plan> {
        let Filter::Compare(path, Operator::Eq, Value::String(value)) = filter else { return None };
        if self.kind != Kind::User || !path.to_string().eq_ignore_ascii_case(&format!("{USHERD_SCHEMA}:status")) {
            return None;
        }
        let status = Status::ALL.into_iter().find(|status| status.as_str().eq_ignore_ascii_case(value));
        Some(match status {
            Some(status) => Plan::Exact(keys::users_by_status(status)),
            None => Plan::Nothing,
        })
    }
}

/// Whether one of the paths of a filter is such.
fn looks_at(filter: &Filter, is: &dyn Fn(&AttrPath) -> bool) -> bool {
    match filter {
        Filter::Present(path) | Filter::Compare(path, ..) | Filter::ValuePath(path, _) => is(path),
        Filter::And(sides) | Filter::Or(sides) => sides.iter().any(|side| looks_at(side, is)),
        Filter::Not(inner) => looks_at(inner, is),
    }
}

/// The lower, the fewer candidates are to be expected.
fn selectivity(plan: &Plan) -> u8 {
    match plan {
        Plan::Nothing => 0,
        Plan::Ids(_) | Plan::Unique(..) => 1,
        Plan::Range(_, Bounds::Key(_) | Bounds::Since { .. }) | Plan::GroupsOf(_) => 2,
        Plan::Range(_, Bounds::Prefix(_)) => 3,
        Plan::Range(_, Bounds::Between { .. }) | Plan::Within(_) => 4,
        Plan::Range(_, Bounds::All) | Plan::Exact(_) => 5,
    }
}

/// The `x` of a `value eq "x"` that must hold.
fn value_in(inner: &Filter) -> Option<&str> {
    inner.conjuncts().iter().find_map(|side| match side {
        Filter::Compare(sub, Operator::Eq, Value::String(value)) if is_value(sub) => Some(value.as_str()),
        _ => None,
    })
}

fn by_email(value: &str) -> Plan {
    Plan::Range(keys::USERS_BY_EMAIL.to_owned(), Bounds::Key(fold(value)))
}

fn is_value(path: &AttrPath) -> bool {
    path.to_string().eq_ignore_ascii_case("value")
}
