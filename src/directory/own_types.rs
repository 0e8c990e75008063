//! The operator's own resource types that a store has ever known, so that a type that is configured no more is noticed:
//! its resources stay where they are, and nobody can reach them.

use std::collections::BTreeMap;
use std::fmt;

use super::error::Error;
use super::kind::{Kind, is_own};
use super::{accounts, entropy, keys};
use crate::scim::SchemaTable;
use crate::store::{Batch, Bounds, Entry, Index, Page, Space, Store, Write};

/// A type that is configured no more, and what is left of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Abandoned {
    pub name: String,
    pub resources: u64,
    /// How many accounts have some.
    pub accounts: u64,
}

impl fmt::Display for Abandoned {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Abandoned { name, resources, accounts } = self;
        write!(
            f,
            "the resource type {name} is configured no more, and the store has {resources} of it in {accounts} accounts: \
             they are kept and not served; bring the file back into scim.schemas_dir to reach them"
        )
    }
}

/// So many types of all times are known.
const MAX_TYPES: usize = 1_000;

async fn known(store: &Store) -> Result<BTreeMap<String, String>, Error> {
    let index = Index::new(keys::OWN_TYPES);
    let entries = store.range(&Space::Installation, &index, &Bounds::All, &Page::first(MAX_TYPES)).await?;
    Ok(entries.into_iter().map(|entry| (entry.key, entry.id)).collect())
}

/// Remembers the types that are configured now.
///
/// # Errors
/// Of the store.
pub async fn remember(store: &Store, schemas: &SchemaTable) -> Result<(), Error> {
    let own: Vec<Kind> = schemas.resource_types().iter().map(Kind::of).filter(|kind| is_own(kind.as_str())).collect();
    if own.is_empty() {
        return Ok(());
    }
    let known = known(store).await?;
    let mut batch = Batch::new(entropy::commit_id(store.now()));
    for kind in own.iter().filter(|kind| !known.contains_key(kind.as_str())) {
        let entry = Entry { key: kind.as_str().to_owned(), id: kind.resource_type().to_owned() };
        batch.writes.push(Write::IndexAdd { index: Index::new(keys::OWN_TYPES), entry });
    }
    if !batch.writes.is_empty() {
        store.commit(&Space::Installation, &batch).await?;
    }
    Ok(())
}

/// What is left of types that are configured no more. Looks at every account, where there is such a type.
///
/// # Errors
/// Of the store.
pub async fn abandoned(store: &Store, schemas: &SchemaTable) -> Result<Vec<Abandoned>, Error> {
    let mut known = known(store).await?;
    known.retain(|word, _| Kind::of_word(word, schemas).is_none());
    if known.is_empty() {
        return Ok(Vec::new());
    }
    let registry = accounts::registry(store).await?;
    let mut abandoned = Vec::new();
    for (word, name) in known {
        let mut left = Abandoned { name, resources: 0, accounts: 0 };
        for account in &registry {
            let space = Space::Account(account.clone());
            let resources = store.count(&space, &Index::new(&word), &Bounds::All).await?;
            left.resources += resources;
            left.accounts += u64::from(resources > 0);
        }
        abandoned.extend(Some(left).filter(|left| left.resources > 0));
    }
    Ok(abandoned)
}
