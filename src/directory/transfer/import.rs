//! Reading an export into an empty store: first the whole file is checked, then each part is written and compared.

use std::fs::File;
use std::io::{BufRead, BufReader, Lines};
use std::path::Path;

use sha2::{Digest, Sha256};
use uuid::Uuid;

use super::format::{FORMAT, Header, Line, Tally};
use super::{ImportState, TransferError, import_state, stored_state};
use crate::directory::{Account, accounts, entropy, keys};
use crate::domain::ids::CommitId;
use crate::store::{Batch, Bounds, Check, Document, Index, Item, Page, Space, Store, StoreError, Write};

/// Room for the progress beside the things of a batch.
const BATCH_WRITES: usize = Batch::MAX_WRITES - 10;
const BATCH_BYTES: usize = Batch::MAX_BYTES / 2;

/// What an import came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Imported {
    pub accounts: u64,
    pub things: u64,
    pub installation: String,
}

/// What a copy leaves behind: it mails nobody what the original has queued, knows none of its signing keys, and lets
/// nobody in who is signed in there.
const NOT_CLONED: [&str; 5] = [keys::OUTBOX, keys::WEBHOOK, keys::SIGNING_KEYS, keys::SESSION, keys::SIGN_IN];

/// Reads the export at `path` into an empty store. With `clone` the store becomes an installation of its own, in which
/// no link of the original works.
///
/// Run again after a crash, with the same file, it goes on where it stopped.
///
/// # Errors
/// [`TransferError::Read`] and [`TransferError::File`] for a file that is no whole export: then nothing was written.
/// [`TransferError::NotNow`] for a store that is not empty or another installation's, and for one that holds something
/// else than the file after all was written.
pub async fn import(
    store: &Store,
    path: &Path,
    clone: bool,
    configured: Option<&str>,
) -> Result<Imported, TransferError> {
    let (header, things) = verify(path)?;
    let installation = claim(store, &header, clone, configured).await?;
    let mut reader = Reader::open(path)?;
    let mut accounts = 0;
    while let Some(line) = reader.line()? {
        if let Line::Space(account) = line {
            accounts += u64::from(account.is_some());
            let space = account.map_or(Space::Installation, Space::Account);
            import_space(store, &space, &header, clone, &mut reader).await?;
        }
    }
    finish(store).await?;
    Ok(Imported { accounts, things, installation })
}

/// Lets a store that was imported into act: from now on timers ring and mails leave. `false` when it does already.
///
/// # Errors
/// [`TransferError::NotNow`] while the import is not done; of the store.
pub async fn resume(store: &Store) -> Result<bool, TransferError> {
    let Some(state) = import_state(store).await? else { return Ok(false) };
    if !state.finished {
        return Err(TransferError::NotNow(
            "the import into this store is not done; run `usherd import` with the same file again".to_owned(),
        ));
    }
    let now = store.now();
    // The state last: while it is there, this can be repeated.
    let spaces = accounts::registry(store).await?.into_iter().map(Space::Account);
    for space in spaces.chain([Space::Installation]) {
        let mut batch = Batch::new(entropy::commit_id(now));
        batch.writes.push(Write::Delete { key: keys::import_progress() });
        if space == Space::Installation {
            batch.writes.push(Write::Delete { key: keys::import_state() });
        }
        store.commit(&space, &batch).await?;
    }
    Ok(true)
}

/// Reads the whole file and compares every part with what it says of itself.
fn verify(path: &Path) -> Result<(Header, u64), TransferError> {
    let mut reader = Reader::open(path)?;
    let header = match reader.line()? {
        Some(Line::Usherd(header)) if header.format == FORMAT => header,
        Some(Line::Usherd(header)) => {
            return Err(reader.wrong(format!(
                "the export has format {}, this usherd reads {FORMAT}; import it with usherd {} or newer",
                header.format, header.version
            )));
        }
        _ => return Err(reader.wrong("this is no export of usherd")),
    };
    let (mut spaces, mut things) = (0, 0);
    let mut open: Option<Tally> = None;
    loop {
        let Some(line) = reader.line()? else {
            return Err(reader.wrong("the export ends too early; it is not whole"));
        };
        match (line, &mut open) {
            (Line::Space(_), None) => open = Some(Tally::default()),
            (Line::End(told), Some(tally)) if told == *tally => {
                spaces += 1;
                things += tally.things;
                open = None;
            }
            (Line::End(_), Some(_)) => {
                return Err(reader.wrong("the part that ends here is not as it was written: the file was changed"));
            }
            (Line::Whole { spaces: told }, None) if told == spaces && reader.is_at_end()? => {
                return Ok((header, things));
            }
            (thing, Some(tally)) => {
                // The text that was read, so that nothing is compared that this release merely thinks the same.
                tally.add(&reader.text);
                let item = thing.into_item().map_err(|error| reader.wrong(error.to_string()))?;
                item.ok_or_else(|| reader.wrong("this line does not belong here"))?;
            }
            (_, None) => return Err(reader.wrong("this line does not belong here")),
        }
    }
}

/// Makes sure that the store is this import's, and marks it. Returns the installation that it is now.
async fn claim(
    store: &Store,
    header: &Header,
    cloned: bool,
    configured: Option<&str>,
) -> Result<String, TransferError> {
    let wanted = if cloned { configured } else { Some(header.installation.as_str()) };
    if let (Some(wanted), Some(configured)) = (wanted, configured)
        && wanted != configured
    {
        return Err(TransferError::NotNow(format!(
            "the export is of installation \"{wanted}\", but store.installation is \"{configured}\": set it to the \
             export's, or say --clone"
        )));
    }
    let id = wanted.map_or_else(|| entropy::uuid(store.now()).to_string(), str::to_owned);
    let found = store.mark_installation(&id).await?;
    if wanted.is_some_and(|wanted| wanted != found) {
        return Err(TransferError::NotNow(format!(
            "the store belongs to installation \"{found}\": an import goes into an empty store"
        )));
    }
    let export = header.id.to_string();
    match import_state(store).await? {
        Some(state) if state.finished => {
            let done = "an export was imported into this store already; `usherd resume` lets it act";
            return Err(TransferError::NotNow(done.to_owned()));
        }
        Some(state) if state.export == export && state.cloned == cloned => return Ok(found),
        Some(state) => {
            return Err(TransferError::NotNow(format!(
                "another import into this store is not done: that of export {}{}",
                state.export,
                if state.cloned { ", with --clone" } else { "" }
            )));
        }
        None => {}
    }
    let accounts = Index::new(keys::ACCOUNTS);
    if !store.range(&Space::Installation, &accounts, &Bounds::All, &Page::first(1)).await?.is_empty() {
        let full = "the store holds accounts already: an import goes into an empty store";
        return Err(TransferError::NotNow(full.to_owned()));
    }
    let now = store.now();
    let mut batch = Batch::new(entropy::commit_id(now));
    let state = ImportState { export, cloned, finished: false };
    batch.replace(keys::import_state(), None, now, state.to_body());
    match store.commit(&Space::Installation, &batch).await {
        Ok(_) => Ok(found),
        Err(StoreError::Conflict(_)) => {
            Err(TransferError::NotNow("another import into this store began at this moment".to_owned()))
        }
        Err(error) => Err(error.into()),
    }
}

/// Writes the things of one part, up to its end, in batches that are the same each time; those that are there are left
/// out. Then the part is read back and compared.
async fn import_space(
    store: &Store,
    space: &Space,
    header: &Header,
    cloned: bool,
    reader: &mut Reader,
) -> Result<(), TransferError> {
    let progress = store.get(space, &[keys::import_progress()]).await?.pop().flatten();
    let mut parts = Parts {
        store,
        space,
        header,
        cloned,
        done: progress.map_or(0, |Document { revision, .. }| revision),
        number: 0,
    };
    let mut expected = Tally::default();
    let (mut writes, mut bytes) = (Vec::new(), 0);
    loop {
        let Some(line) = reader.line()? else { return Err(reader.wrong("the file changed while it was read")) };
        if let Line::End(_) = line {
            break;
        }
        let item = line.into_item().map_err(|error| reader.wrong(error.to_string()))?;
        let Some(item) = item else { return Err(reader.wrong("the file changed while it was read")) };
        if cloned && is_left_behind(&item) {
            continue;
        }
        let item = if cloned { without_webhooks(item) } else { item };
        // As this release writes it, which is what it is compared with.
        expected.add(&Line::from(item.clone()).to_text());
        let more = item.into_writes();
        let size: usize = more.iter().map(Write::bytes).sum();
        if writes.len() + more.len() > BATCH_WRITES || (bytes + size > BATCH_BYTES && !writes.is_empty()) {
            parts.commit(std::mem::take(&mut writes)).await?;
            bytes = 0;
        }
        writes.extend(more);
        bytes += size;
    }
    if !writes.is_empty() {
        parts.commit(writes).await?;
    }
    let stored = tally(store, space).await?;
    if stored == expected {
        return Ok(());
    }
    let whose = match space {
        Space::Installation => "the installation".to_owned(),
        Space::Account(account) => format!("account {account}"),
    };
    Err(TransferError::NotNow(format!(
        "the store holds {} things of {whose}, digest {}, but the export has {}, digest {}: somebody else writes to this \
         store; empty it and import again",
        stored.things, stored.digest, expected.things, expected.digest
    )))
}

/// The batches of one part.
struct Parts<'a> {
    store: &'a Store,
    space: &'a Space,
    header: &'a Header,
    cloned: bool,
    /// So many are in the store.
    done: u64,
    /// The number of the last one.
    number: u64,
}

impl Parts<'_> {
    async fn commit(&mut self, writes: Vec<Write>) -> Result<(), TransferError> {
        self.number += 1;
        if self.number <= self.done {
            return Ok(());
        }
        let mut batch = Batch::new(self.commit_id());
        batch.checks.push(match self.number {
            1 => Check::Absent { key: keys::import_progress() },
            number => Check::Revision { key: keys::import_progress(), revision: number - 1 },
        });
        batch.writes = writes;
        let now = self.store.now();
        batch.writes.push(Write::Put {
            key: keys::import_progress(),
            revision: self.number,
            created: now,
            modified: now,
            body: bytes::Bytes::from_static(b"{}"),
            state: bytes::Bytes::new(),
        });
        match self.store.commit(self.space, &batch).await {
            Ok(_) => Ok(()),
            Err(StoreError::Conflict(_)) => {
                Err(TransferError::NotNow("another import into this store runs at this moment".to_owned()))
            }
            Err(error) => Err(error.into()),
        }
    }

    /// The same for the same batch of the same import, so that a repeated commit is known.
    fn commit_id(&self) -> CommitId {
        let account = match self.space {
            Space::Installation => "",
            Space::Account(account) => account.as_str(),
        };
        let name = format!("{} {} {account} {}", self.header.id, self.cloned, self.number);
        let digest = Sha256::digest(name);
        CommitId::from_uuid(Uuid::from_bytes(std::array::from_fn(|at| digest[at])))
    }
}

/// What happens in a copy is not told to the applications of the original.
fn without_webhooks(item: Item) -> Item {
    let Item::Document { kind, id, mut document } = item else { return item };
    if kind == keys::SETTINGS
        && let Ok(mut account) = serde_json::from_slice::<Account>(&document.body)
        && !account.webhooks.is_empty()
    {
        account.webhooks.clear();
        document.body = serde_json::to_vec(&account).expect("an account has only string keys").into();
    }
    Item::Document { kind, id, document }
}

fn is_left_behind(item: &Item) -> bool {
    match item {
        Item::Document { kind, .. } | Item::Timer { kind, .. } => NOT_CLONED.contains(&kind.as_str()),
        Item::Entry { index, .. } => {
            [keys::QUEUE, keys::DEAD, keys::DEAD_WEBHOOKS, keys::STREAMED].contains(&index.as_str())
        }
        Item::Unique { .. } | Item::Counter { .. } | Item::Event { .. } => false,
    }
}

async fn tally(store: &Store, space: &Space) -> Result<Tally, TransferError> {
    let mut tally = Tally::default();
    let mut items = store.walk(space);
    while let Some(item) = items.recv().await {
        let item = item?;
        if !keys::is_of_an_import(&item) {
            tally.add(&Line::from(item).to_text());
        }
    }
    Ok(tally)
}

async fn finish(store: &Store) -> Result<(), TransferError> {
    let Some((document, state)) = stored_state(store).await? else {
        return Err(TransferError::NotNow("somebody else writes to this store; empty it and import again".to_owned()));
    };
    let now = store.now();
    let mut batch = Batch::new(entropy::commit_id(now));
    let finished = ImportState { finished: true, ..state };
    batch.replace(keys::import_state(), Some(&document), now, finished.to_body());
    store.commit(&Space::Installation, &batch).await?;
    Ok(())
}

/// The lines of a file, with their numbers.
struct Reader {
    path: String,
    lines: Lines<BufReader<File>>,
    number: u64,
    /// The last line that was read.
    text: String,
}

impl Reader {
    fn open(path: &Path) -> Result<Self, TransferError> {
        let shown = path.display().to_string();
        let file = File::open(path).map_err(|source| TransferError::Read { path: shown.clone(), source })?;
        Ok(Reader { path: shown, lines: BufReader::new(file).lines(), number: 0, text: String::new() })
    }

    fn next(&mut self) -> Result<bool, TransferError> {
        let read = self.lines.next().transpose();
        let read = read.map_err(|source| TransferError::Read { path: self.path.clone(), source })?;
        self.number += u64::from(read.is_some());
        let there = read.is_some();
        self.text = read.unwrap_or_default();
        Ok(there)
    }

    fn line(&mut self) -> Result<Option<Line>, TransferError> {
        if !self.next()? {
            return Ok(None);
        }
        serde_json::from_str(&self.text)
            .map(Some)
            .map_err(|error| self.wrong(format!("it is no line of an export: {error}")))
    }

    fn is_at_end(&mut self) -> Result<bool, TransferError> {
        self.next().map(|there| !there)
    }

    fn wrong(&self, problem: impl Into<String>) -> TransferError {
        TransferError::File { line: self.number.max(1), problem: problem.into() }
    }
}
