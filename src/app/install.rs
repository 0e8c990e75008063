//! The commands for a whole installation: its marker, its keys, and the way from one store to another.

use std::path::Path;

use serde_json::json;

use super::command::{CommandError, Output, Tools, said, shown};
use super::keyfile;
use crate::directory::accounts::initialise;
use crate::directory::record::UserRecord;
use crate::directory::{entropy, transfer};
use crate::domain::ids::AccountId;
use crate::store::Store;

pub(super) async fn init(store: &Store, configured: Option<&str>) -> Result<Output, CommandError> {
    let (id, marked) = initialise(store, configured).await?;
    let words = match marked {
        true => "The store is marked as this installation's. Set store.installation to this id on every replica.",
        false => "The store bears this mark already; nothing was changed.",
    };
    Ok(Output { result: id, words: words.to_owned() })
}

pub(super) async fn export_all(tools: &Tools<'_>) -> Result<Output, CommandError> {
    let exported = transfer::export(tools.directory.store(), tools.pieces.clone()).await?;
    let mut words = format!("Exported {} accounts, {} things in all.", exported.accounts, exported.things);
    if !exported.changed.is_empty() && tools.settings.store.url.is_some() {
        words += &format!(
            " These accounts were changed meanwhile, so their part may hold a change in part; for an exact copy stop \
             the daemons first, else run `usherd reconcile` after the import: {}",
            exported.changed.join(", ")
        );
    }
    Ok(said(words))
}

pub(super) async fn import(
    store: &Store,
    file: &Path,
    clone: bool,
    configured: Option<&str>,
) -> Result<Output, CommandError> {
    let imported = transfer::import(store, file, clone, configured).await?;
    let keys = if clone {
        "It is an installation of its own: links of the original do not work in it."
    } else {
        "Give it the keys file of the original (secrets.keys_file)."
    };
    let words = format!(
        "Imported {} accounts, {} things in all, and compared them. {keys} Nothing expires and no mail leaves until \
         `usherd resume`.",
        imported.accounts, imported.things
    );
    Ok(Output { result: imported.installation, words })
}

pub(super) async fn resume(tools: &Tools<'_>) -> Result<Output, CommandError> {
    let words = match transfer::resume(tools.directory.store()).await? {
        true => "Invitations expire and mails leave from now on.",
        false => "Nothing holds this store back; nothing was changed.",
    };
    Ok(said(words.to_owned()))
}

pub(super) fn rotate_keys(tools: &Tools<'_>) -> Result<Output, CommandError> {
    let (settings, now) = (tools.settings, tools.directory.store().now());
    let configured = settings.secrets.keys_file.as_deref();
    let (path, ring) = keyfile::rotate(configured, &settings.store.path, entropy::secret(), now)?;
    let words = format!(
        "{} has a new key. Give the file to every replica and restart them one after the other; links of the old key \
         work for another 31 days. The new key:",
        path.display()
    );
    Ok(Output { result: ring.current().to_string(), words })
}

/// Opening it has shown that this release knows its schema.
pub(super) async fn check_upgrade(store: &Store) -> Result<Output, CommandError> {
    let report = transfer::index_versions(store).await?;
    if report.newer > 0 {
        return Err(CommandError::Failed(format!(
            "{} documents were written by a newer usherd: this release must not write to this store",
            report.newer
        )));
    }
    Ok(said(format!(
        "This release can take over: {} documents are as it writes them, {} older ones are re-indexed by \
         reconciliation.",
        report.current, report.older
    )))
}

/// All that is held on one person, as they may ask for it.
pub(super) async fn export_person(tools: &Tools<'_>, account: &AccountId, name: &str) -> Result<Output, CommandError> {
    let directory = tools.directory;
    let found = directory.find_user(account, name).await?.filter(UserRecord::exists);
    let record = found.ok_or_else(|| CommandError::Failed(format!("account {account} has no user {name}")))?;
    let held = json!({
        "user": shown(directory, &record),
        "held": transfer::person(directory, account, &record).await?,
    });
    let result = serde_json::to_string_pretty(&held).map_err(|error| CommandError::Failed(error.to_string()))?;
    Ok(Output { result, words: String::new() })
}
