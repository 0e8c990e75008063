//! What the use cases notice about a SCIM request while they answer it: what it got away with, and whom it was about.
//! The story of the request is made of it.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError};

use super::record::UserRecord;
use crate::domain::names::fold;
use crate::scim::Tolerance;
use crate::scim::profile::Applied;

/// So many names of ignored attributes are noted.
const MAX_IGNORED: usize = 20;

/// The notes on one request. Clones share them, since a request is handed on by value.
#[derive(Debug, Clone, Default)]
pub struct Notes(Arc<Mutex<Noted>>);

/// What was noted. Noting a thing twice changes nothing, because a use case that met another writer starts again.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Noted {
    /// The tolerances that the request needed.
    pub applied: Applied,
    /// Attributes that were left out because no schema knows them.
    pub ignored: BTreeSet<String>,
    /// The name of whom or what the request was about.
    pub about: Option<String>,
    /// What that one can be found by, folded.
    pub terms: BTreeSet<String>,
    /// How many resources a query found.
    pub found: Option<usize>,
}

impl Notes {
    pub fn tolerated(&self, applied: impl IntoIterator<Item = Tolerance>) {
        self.note(|noted| noted.applied.extend(applied));
    }

    pub fn ignored(&self, names: &[String]) {
        self.note(|noted| {
            let room = MAX_IGNORED.saturating_sub(noted.ignored.len());
            noted.ignored.extend(names.iter().take(room).cloned());
        });
    }

    /// The request is about this user.
    pub fn about_user(&self, record: &UserRecord) {
        let user = &record.user;
        let name = user.user_name.as_str();
        let address = user.sign_in_address.as_ref().map(|address| address.as_str().to_owned());
        let terms = [Some(name.to_owned()), Some(user.id.to_string()), user.external_id.clone(), address];
        self.note(|noted| {
            noted.about = Some(name.to_owned());
            noted.terms.extend(terms.into_iter().flatten().map(|term| fold(&term)));
        });
    }

    /// The request is about a resource of this name.
    pub fn about(&self, name: &str) {
        self.note(|noted| {
            noted.about = Some(name.to_owned());
            noted.terms.insert(fold(name));
        });
    }

    pub fn found(&self, count: usize) {
        self.note(|noted| noted.found = Some(count));
    }

    pub fn take(&self) -> Noted {
        std::mem::take(&mut *self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn note(&self, write: impl FnOnce(&mut Noted)) {
        write(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner));
    }
}
