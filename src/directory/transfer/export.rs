//! Writing an export.

use tokio::sync::mpsc;

use super::TransferError;
use super::format::{FORMAT, Header, Line, Tally};
use super::import_state;
use crate::directory::{Error, accounts, entropy, keys};
use crate::store::{EventId, Space, Store};

/// Pieces of about this many bytes are handed on.
const PIECE_BYTES: usize = 64 << 10;

/// What an export came to.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Exported {
    pub accounts: u64,
    pub things: u64,
    /// Accounts that were changed while they were exported: on Redis their part may hold a change in part.
    pub changed: Vec<String>,
}

/// Writes the whole installation to `out`, in pieces of whole lines. An embedded store is exported as it was when each
/// account's turn came; a Redis that is written to meanwhile is not, see [`Exported::changed`].
///
/// # Errors
/// [`TransferError::NotNow`] for a store without a marker or in the middle of an import; of the store; and when nobody
/// takes the pieces any more.
pub async fn export(store: &Store, out: mpsc::Sender<String>) -> Result<Exported, TransferError> {
    let installation = store.installation().await?.ok_or_else(|| {
        TransferError::NotNow("the store bears no installation marker: there is nothing to export".to_owned())
    })?;
    if import_state(store).await?.is_some_and(|state| !state.finished) {
        let unfinished = "an import into this store is not done; run `usherd import` with the same file first";
        return Err(TransferError::NotNow(unfinished.to_owned()));
    }
    let mut writer = Writer { out, piece: String::with_capacity(PIECE_BYTES * 2) };
    let now = store.now();
    let version = env!("CARGO_PKG_VERSION").to_owned();
    let header = Header { format: FORMAT, version, installation, made: now, id: entropy::uuid(now) };
    writer.line(&Line::Usherd(header).to_text()).await?;

    let mut exported = Exported::default();
    for account in accounts::registry(store).await? {
        let space = Space::Account(account.clone());
        let before = last_event(store, &space).await?;
        exported.things += write_space(store, &space, &mut writer).await?;
        exported.accounts += 1;
        if last_event(store, &space).await? != before {
            exported.changed.push(account.to_string());
        }
    }
    // Last, so that an import that ends early leaves no token that leads anywhere.
    exported.things += write_space(store, &Space::Installation, &mut writer).await?;
    writer.line(&Line::Whole { spaces: exported.accounts + 1 }.to_text()).await?;
    writer.flush().await?;
    Ok(exported)
}

/// Every change that matters appends an event.
async fn last_event(store: &Store, space: &Space) -> Result<Option<EventId>, TransferError> {
    Ok(store.events(space, None, 1, true).await?.first().map(|event| event.id))
}

async fn write_space(store: &Store, space: &Space, writer: &mut Writer) -> Result<u64, TransferError> {
    let account = match space {
        Space::Installation => None,
        Space::Account(account) => Some(account.clone()),
    };
    writer.line(&Line::Space(account).to_text()).await?;
    let mut tally = Tally::default();
    let mut items = store.walk(space);
    while let Some(item) = items.recv().await {
        let item = item?;
        if keys::is_of_an_import(&item) {
            continue;
        }
        let line = Line::from(item).to_text();
        tally.add(&line);
        writer.line(&line).await?;
    }
    let things = tally.things;
    writer.line(&Line::End(tally).to_text()).await?;
    Ok(things)
}

struct Writer {
    out: mpsc::Sender<String>,
    piece: String,
}

impl Writer {
    async fn line(&mut self, line: &str) -> Result<(), TransferError> {
        self.piece.push_str(line);
        if self.piece.len() >= PIECE_BYTES { self.flush().await } else { Ok(()) }
    }

    async fn flush(&mut self) -> Result<(), TransferError> {
        let piece = std::mem::replace(&mut self.piece, String::with_capacity(PIECE_BYTES * 2));
        let gone = |_| TransferError::Store(Error::Internal("nobody takes the export any more".to_owned()));
        self.out.send(piece).await.map_err(gone)
    }
}
