//! Roles and licenses. Which ones there are is configuration, not code; here is how they rank and how they are found.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::names::fold;

/// A role as configured. What its permissions mean is known only to the workspace that asks for them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Role {
    pub name: String,
    #[serde(default)]
    pub description: String,
    /// Opaque strings, handed out by the access query.
    #[serde(default)]
    pub permissions: Vec<String>,
    /// Given to whoever is given no other. Exactly one role of a list is.
    #[serde(default)]
    pub default: bool,
}

/// Declares the name of a role that a user holds. It is made by [`Roles`] from a configured role, or read back from
/// the store, where it may outlive its role: then it ranks below every configured one.
macro_rules! role_name {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(String);

        impl $name {
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

role_name! {
    /// The role of a user in the account.
    AccountRole
}
role_name! {
    /// The role of a user in one project.
    ProjectRole
}

/// A name that is no configured role or license.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown {what} \"{name}\"; known are: {}", known.join(", "))]
pub struct UnknownName {
    /// `account role`, `project role` or `license`.
    pub what: &'static str,
    pub name: String,
    pub known: Vec<String>,
}

/// Why a configured list of roles or licenses cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidList {
    #[error("the list of {0}s must not be empty")]
    Empty(&'static str),
    #[error("a {0} needs a name")]
    Nameless(&'static str),
    #[error("the {0} \"{1}\" is listed twice")]
    Twice(&'static str, String),
    #[error("exactly one {0} is to be the default, not {1}")]
    Default(&'static str, usize),
    #[error("the default {0} must not be the first, which administers")]
    DefaultAdministers(&'static str),
}

/// The roles of the installation, each list from the most powerful down.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Roles {
    account: Vec<Role>,
    project: Vec<Role>,
}

const ACCOUNT_ROLE: &str = "account role";
const PROJECT_ROLE: &str = "project role";
const LICENSE: &str = "license";

impl Roles {
    /// # Errors
    /// All that is wrong with the two lists, not only the first thing.
    pub fn new(account: Vec<Role>, project: Vec<Role>) -> Result<Self, Vec<InvalidList>> {
        let mut faults = faults_of(ACCOUNT_ROLE, &account);
        faults.extend(faults_of(PROJECT_ROLE, &project));
        if account.first().is_some_and(|first| first.default) {
            faults.push(InvalidList::DefaultAdministers(ACCOUNT_ROLE));
        }
        if faults.is_empty() { Ok(Roles { account, project }) } else { Err(faults) }
    }

    /// Account Admin, System Admin, User; Project Admin, Tester, Viewer.
    pub fn builtin() -> Self {
        let role = |name: &str, description: &str, permissions: &[&str]| Role {
            name: name.to_owned(),
            description: description.to_owned(),
            permissions: permissions.iter().map(|p| (*p).to_owned()).collect(),
            default: matches!(name, "User" | "Tester"),
        };
        Roles {
            account: vec![
                role("Account Admin", "Manages users, licenses and settings of the account", &["account:admin"]),
                role("System Admin", "Manages the system settings of the account", &["account:system"]),
                role("User", "Works in the projects it is assigned to", &[]),
            ],
            project: vec![
                role("Project Admin", "Manages the project and its members", &["project:admin", "project:edit"]),
                role("Tester", "Creates and runs tests in the project", &["project:edit"]),
                role("Viewer", "Reads the project", &["project:read"]),
            ],
        }
    }

    /// From the most powerful down.
    pub fn account(&self) -> &[Role] {
        &self.account
    }

    /// From the most powerful down.
    pub fn project(&self) -> &[Role] {
        &self.project
    }

    /// Finds a role by name, whatever its case.
    ///
    /// # Errors
    /// Names the known roles when `name` is none of them.
    pub fn account_role(&self, name: &str) -> Result<AccountRole, UnknownName> {
        find(ACCOUNT_ROLE, &self.account, |role| &role.name, name).map(|role| AccountRole(role.name.clone()))
    }

    /// Finds a role by name, whatever its case.
    ///
    /// # Errors
    /// Names the known roles when `name` is none of them.
    pub fn project_role(&self, name: &str) -> Result<ProjectRole, UnknownName> {
        find(PROJECT_ROLE, &self.project, |role| &role.name, name).map(|role| ProjectRole(role.name.clone()))
    }

    pub fn default_account_role(&self) -> AccountRole {
        AccountRole(default_of(&self.account))
    }

    pub fn default_project_role(&self) -> ProjectRole {
        ProjectRole(default_of(&self.project))
    }

    /// The role that administers the account: the first.
    pub fn administrator(&self) -> AccountRole {
        AccountRole(self.account.first().map(|role| role.name.clone()).unwrap_or_default())
    }

    pub fn is_account_admin(&self, role: &AccountRole) -> bool {
        self.rank(role) == 0
    }

    /// 0 is the most powerful; a role that is not configured any more ranks below all.
    pub fn rank(&self, role: &AccountRole) -> usize {
        let folded = fold(role.as_str());
        self.account.iter().position(|known| fold(&known.name) == folded).unwrap_or(self.account.len())
    }

    /// Guard G6: nobody grants above their own role.
    pub fn may_grant(&self, granter: &AccountRole, granted: &AccountRole) -> bool {
        self.rank(granter) <= self.rank(granted)
    }

    /// As [`Roles::rank`], of a role in a project.
    pub fn project_rank(&self, role: &str) -> usize {
        let folded = fold(role);
        self.project.iter().position(|known| fold(&known.name) == folded).unwrap_or(self.project.len())
    }

    /// What the role permits in the account; nothing when it is not configured any more.
    pub fn account_permissions(&self, role: &AccountRole) -> &[String] {
        permissions(&self.account, role.as_str())
    }

    /// What the role permits in its project; nothing when it is not configured any more.
    pub fn project_permissions(&self, role: &ProjectRole) -> &[String] {
        permissions(&self.project, role.as_str())
    }
}

fn faults_of(what: &'static str, roles: &[Role]) -> Vec<InvalidList> {
    let mut faults = faults_of_names(what, roles.iter().map(|role| role.name.as_str()));
    let defaults = roles.iter().filter(|role| role.default).count();
    if defaults != 1 {
        faults.push(InvalidList::Default(what, defaults));
    }
    faults
}

fn faults_of_names<'a>(what: &'static str, names: impl Iterator<Item = &'a str>) -> Vec<InvalidList> {
    let mut faults = Vec::new();
    let mut seen: Vec<String> = Vec::new();
    for name in names {
        let folded = fold(name.trim());
        if folded.is_empty() {
            faults.push(InvalidList::Nameless(what));
        } else if seen.contains(&folded) {
            faults.push(InvalidList::Twice(what, name.to_owned()));
        }
        seen.push(folded);
    }
    if seen.is_empty() {
        faults.push(InvalidList::Empty(what));
    }
    faults
}

fn find<'a, T>(
    what: &'static str,
    known: &'a [T],
    name_of: impl Fn(&T) -> &String,
    name: &str,
) -> Result<&'a T, UnknownName> {
    let folded = fold(name.trim());
    known.iter().find(|candidate| fold(name_of(candidate)) == folded).ok_or_else(|| UnknownName {
        what,
        name: name.to_owned(),
        known: known.iter().map(|candidate| name_of(candidate).clone()).collect(),
    })
}

fn default_of(roles: &[Role]) -> String {
    roles.iter().find(|role| role.default).map(|role| role.name.clone()).unwrap_or_default()
}

fn permissions<'a>(roles: &'a [Role], name: &str) -> &'a [String] {
    let folded = fold(name);
    roles.iter().find(|role| fold(&role.name) == folded).map_or(&[], |role| role.permissions.as_slice())
}

/// How a license is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LicenseKind {
    /// Each holder takes a seat.
    PerUser,
    /// Whoever holds it shares it; no seats are counted.
    Floating,
}

impl fmt::Display for LicenseKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            LicenseKind::PerUser => "per-user",
            LicenseKind::Floating => "floating",
        })
    }
}

/// A license as configured, with which new accounts are seeded.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LicenseSpec {
    pub name: String,
    pub kind: LicenseKind,
    /// Seats of a per-user license; `None` is unlimited. A floating license has none.
    #[serde(default)]
    pub seats: Option<u64>,
}

impl LicenseSpec {
    /// TestOps, KSE and TestOps Guest.
    pub fn builtin() -> Vec<LicenseSpec> {
        let spec = |name: &str, kind| LicenseSpec { name: name.to_owned(), kind, seats: None };
        vec![
            spec("TestOps", LicenseKind::PerUser),
            spec("KSE", LicenseKind::PerUser),
            spec("TestOps Guest", LicenseKind::Floating),
        ]
    }

    /// # Errors
    /// All names that are missing or listed twice.
    pub fn check(specs: &[LicenseSpec]) -> Result<(), Vec<InvalidList>> {
        let mut faults = faults_of_names(LICENSE, specs.iter().map(|spec| spec.name.as_str()));
        faults.retain(|fault| !matches!(fault, InvalidList::Empty(_)));
        if faults.is_empty() { Ok(()) } else { Err(faults) }
    }

    /// Finds a license by name, whatever its case.
    ///
    /// # Errors
    /// Names the known licenses when `name` is none of them.
    pub fn find<'a>(specs: &'a [LicenseSpec], name: &str) -> Result<&'a LicenseSpec, UnknownName> {
        find(LICENSE, specs, |spec| &spec.name, name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn role(name: &str, default: bool) -> Role {
        Role { name: name.to_owned(), description: String::new(), permissions: vec![], default }
    }

    #[test]
    fn the_builtin_roles_rank_as_the_guide_says() {
        let roles = Roles::builtin();
        assert_eq!(Roles::new(roles.account.clone(), roles.project.clone()), Ok(roles.clone()));
        let [admin, system, user] = ["account admin", "SYSTEM ADMIN", "User"].map(|n| roles.account_role(n).unwrap());
        assert_eq!(admin.as_str(), "Account Admin");
        assert!(roles.is_account_admin(&admin) && !roles.is_account_admin(&system));
        assert!(roles.may_grant(&admin, &system) && roles.may_grant(&system, &system));
        assert!(!roles.may_grant(&system, &admin) && !roles.may_grant(&user, &system));
        assert_eq!(roles.default_account_role(), user);
        assert_eq!(roles.default_project_role().as_str(), "Tester");
        assert_eq!(roles.administrator(), admin);
    }

    #[test]
    fn an_unknown_role_is_answered_with_the_known_ones() {
        let error = Roles::builtin().account_role("Owner").unwrap_err();
        assert_eq!(error.to_string(), "unknown account role \"Owner\"; known are: Account Admin, System Admin, User");
    }

    #[test]
    fn a_stored_role_that_is_not_configured_any_more_grants_nothing() {
        let roles = Roles::builtin();
        let gone: AccountRole = serde_json::from_str("\"Owner\"").unwrap();
        assert!(!roles.is_account_admin(&gone));
        assert!(!roles.may_grant(&gone, &roles.default_account_role()));
        assert!(roles.account_permissions(&gone).is_empty());
    }

    #[test]
    fn all_mistakes_of_a_configured_list_are_reported_at_once() {
        let faults = Roles::new(vec![role("A", true), role("a", true), role(" ", false)], vec![]).unwrap_err();
        assert_eq!(
            faults,
            [
                InvalidList::Twice(ACCOUNT_ROLE, "a".to_owned()),
                InvalidList::Nameless(ACCOUNT_ROLE),
                InvalidList::Default(ACCOUNT_ROLE, 2),
                InvalidList::Empty(PROJECT_ROLE),
                InvalidList::Default(PROJECT_ROLE, 0),
                InvalidList::DefaultAdministers(ACCOUNT_ROLE),
            ]
        );
    }

    #[test]
    fn the_builtin_licenses_are_those_of_the_guide() {
        let specs = LicenseSpec::builtin();
        assert_eq!(LicenseSpec::check(&specs), Ok(()));
        assert_eq!(LicenseSpec::find(&specs, "testops guest").map(|spec| spec.kind), Ok(LicenseKind::Floating));
        assert!(LicenseSpec::find(&specs, "Platinum").is_err());
    }
}
