//! Document kinds that come back from a store. A kind is a `&'static str` because all of them are constants of
//! `directory`; a timer read from the store names its kind as text, and this turns the text into the constant.

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};

/// Every kind that was ever read, each leaked once: there are as many as the program has constants, plus those that
/// a newer release wrote.
static KINDS: Mutex<BTreeSet<&'static str>> = Mutex::new(BTreeSet::new());

pub(super) fn intern(kind: &str) -> &'static str {
    let mut kinds = KINDS.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(known) = kinds.get(kind) {
        return known;
    }
    let leaked: &'static str = Box::leak(kind.to_owned().into_boxed_str());
    kinds.insert(leaked);
    leaked
}
