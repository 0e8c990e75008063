//! The names that a store knows: names of documents and unique keys. Such a name is a `&'static str`, because nearly all
//! of them are constants of `directory`; what comes back from a store names them as text, and an operator's own resource
//! types have names of their own. This turns the text into a constant.

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};

/// Every name that was ever asked for, each leaked once: there are as many as the program has constants, plus those
/// of the operator's types, plus those that a newer release wrote.
static NAMES: Mutex<BTreeSet<&'static str>> = Mutex::new(BTreeSet::new());

/// The constant of this text. Never for what a request says.
pub fn interned(kind: &str) -> &'static str {
    let mut names = NAMES.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(known) = names.get(kind) {
        return known;
    }
    let leaked: &'static str = Box::leak(kind.to_owned().into_boxed_str());
    names.insert(leaked);
    leaked
}
