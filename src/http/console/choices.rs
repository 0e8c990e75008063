//! What an account offers to choose from, as options of a form.

use super::dialog::Choice;
use super::gate::{Away, Desk};
use crate::directory::kind::Kind;
use crate::directory::resources::Resource;
use crate::domain::ids::ResourceId;
use crate::domain::roles::{LicenseKind, Role};
use crate::domain::text::safe_name;

impl Desk {
    /// The organizations, projects or licenses by name.
    pub(super) async fn choices(&self, kind: Kind, chosen: impl Fn(ResourceId) -> bool) -> Result<Vec<Choice>, Away> {
        let failed = |error| self.failed(&error);
        let directory = &self.service.directory;
        let resources = directory.resources_by_name(&self.context, kind).await.map_err(failed)?;
        let used = directory.seats_used(&self.context, &resources).await.map_err(failed)?;
        let choice = |(resource, used): (&Resource, u64)| Choice {
            value: resource.id.to_string(),
            text: safe_name(resource.name()),
            hint: seats_left(resource, used),
            chosen: chosen(resource.id),
        };
        Ok(resources.iter().zip(used).map(choice).collect())
    }
}

/// How many more people can have a license; empty for what is none.
fn seats_left(resource: &Resource, used: u64) -> String {
    let Some(terms) = resource.terms() else { return String::new() };
    match (terms.kind, terms.seats.map(|seats| seats.saturating_sub(used))) {
        (LicenseKind::Floating, _) => "floating".to_owned(),
        (LicenseKind::PerUser, None) => "as many seats as wanted".to_owned(),
        (LicenseKind::PerUser, Some(0)) => "no seat left".to_owned(),
        (LicenseKind::PerUser, Some(1)) => "1 seat left".to_owned(),
        (LicenseKind::PerUser, Some(left)) => format!("{left} seats left"),
    }
}

pub(super) fn role_choices(roles: &[Role], current: &str) -> Vec<Choice> {
    let choice = |role: &Role| Choice {
        value: role.name.clone(),
        text: role.name.clone(),
        hint: role.description.clone(),
        chosen: role.name == current,
    };
    roles.iter().map(choice).collect()
}
