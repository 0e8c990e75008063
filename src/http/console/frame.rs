//! What stands around every page of the console.

/// The header and the navigation.
#[derive(Debug, Clone)]
pub struct Frame {
    /// `/admin/{account}`.
    pub base: String,
    pub account: String,
    /// Who is signed in.
    pub admin: String,
    pub admin_path: String,
    pub csrf: String,
    /// Which entry of the navigation is at hand.
    pub section: &'static str,
    /// What became of the last action.
    pub note: Option<String>,
}

impl Frame {
    /// The section that a path of the console belongs to.
    pub fn section_of(path: &str) -> &'static str {
        let segment = path.split('/').nth(3).unwrap_or_default();
        SECTIONS.iter().map(|(section, ..)| *section).find(|section| *section == segment).unwrap_or("organization")
    }

    /// Whether this entry of the navigation is at hand.
    pub fn is_at(&self, section: &str) -> bool {
        self.section == section
    }
}

/// The entries below *Org*: section, path below the account's console, words.
pub const SECTIONS: [(&str, &str, &str); 12] = [
    ("organization", "", "Organization"),
    ("users", "/users", "User Management"),
    ("organizations", "/organizations", "Organizations"),
    ("projects", "/projects", "Projects"),
    ("licenses", "/licenses", "Licenses"),
    ("groups", "/groups", "Groups"),
    ("provisioning", "/provisioning", "Provisioning"),
    ("webhooks", "/webhooks", "Webhooks"),
    ("outbox", "/outbox", "Outbox"),
    ("jobs", "/jobs", "Jobs"),
    ("audit", "/audit", "Audit"),
    ("settings", "/settings", "Settings"),
];
