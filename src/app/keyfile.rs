//! The file with the signing keys: read, or made at the first start.

use std::fs::{self, OpenOptions};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use crate::domain::time::Timestamp;
use crate::domain::token::keyring::{InvalidKeys, KeyRing};

/// The name of the file in the data directory, when `secrets.keys_file` names none.
const FILE: &str = "keys.toml";

/// Why there are no signing keys.
#[derive(Debug, thiserror::Error)]
pub enum KeyFileError {
    #[error("the keys file {path} cannot be read: {source}")]
    Read { path: PathBuf, source: std::io::Error },
    #[error("the keys file {path} cannot be made: {source}")]
    Make { path: PathBuf, source: std::io::Error },
    #[error(
        "the keys file {path} cannot be replaced: {source}; where it is mounted read-only, copy it, set \
         secrets.keys_file to the copy, rotate there, and put the result where it came from"
    )]
    Replace { path: PathBuf, source: std::io::Error },
    #[error("the keys file {path} is not one: {source}")]
    Invalid { path: PathBuf, source: InvalidKeys },
}

/// Reads the keys. Without a configured file they are made in the data directory, once, readable by the owner only.
///
/// # Errors
/// [`KeyFileError`]; a configured file that is absent is never made, since replicas must share it.
pub fn load(configured: Option<&Path>, data: &Path, random: [u8; 32], now: Timestamp) -> Result<KeyRing, KeyFileError> {
    if let Some(path) = configured {
        return read(path);
    }
    let path = data.join(FILE);
    match read(&path) {
        Err(KeyFileError::Read { source, .. }) if source.kind() == ErrorKind::NotFound => {}
        done => return done,
    }
    make(&path, data, &KeyRing::generate(random, now).to_file())?;
    tracing::warn!(
        path = %path.display(),
        "made new signing keys; keep this file, and give it to every replica (secrets.keys_file): links signed with \
         lost keys are worthless"
    );
    // Read back, since another process may have been faster.
    read(&path)
}

/// Puts a new key in front of those in the file, which stays whole whatever happens.
///
/// # Errors
/// [`KeyFileError`]; also when the file cannot be replaced, as one that Kubernetes mounts from a Secret.
pub fn rotate(
    configured: Option<&Path>,
    data: &Path,
    random: [u8; 32],
    now: Timestamp,
) -> Result<(PathBuf, KeyRing), KeyFileError> {
    let path = configured.map_or_else(|| data.join(FILE), Path::to_owned);
    let rotated = read(&path)?.rotate(random, now);
    let directory = path.parent().unwrap_or(Path::new("."));
    let failed = |source| KeyFileError::Replace { path: path.clone(), source };
    let draft = draft(directory, &rotated.to_file()).map_err(failed)?;
    fs::rename(&draft, &path).map_err(failed)?;
    fs::File::open(directory).and_then(|directory| directory.sync_all()).map_err(failed)?;
    Ok((path, rotated))
}

fn read(path: &Path) -> Result<KeyRing, KeyFileError> {
    let text = fs::read_to_string(path).map_err(|source| KeyFileError::Read { path: path.to_owned(), source })?;
    let readable_by_others = fs::metadata(path).is_ok_and(|metadata| metadata.permissions().mode() & 0o007 != 0);
    if readable_by_others {
        tracing::warn!(path = %path.display(), "everybody on this machine can read the signing keys; chmod 600 it");
    }
    KeyRing::parse(&text).map_err(|source| KeyFileError::Invalid { path: path.to_owned(), source })
}

/// Whole or not at all: a crash leaves no half-written keys, and of two processes one wins.
fn make(path: &Path, data: &Path, text: &str) -> Result<(), KeyFileError> {
    let failed = |source| KeyFileError::Make { path: path.to_owned(), source };
    fs::create_dir_all(data).map_err(failed)?;
    let draft = draft(data, text).map_err(failed)?;
    let linked = fs::hard_link(&draft, path);
    fs::remove_file(&draft).map_err(failed)?;
    match linked {
        Err(error) if error.kind() != ErrorKind::AlreadyExists => Err(failed(error)),
        // Also after a power cut the keys must be there: the store knows them from now on.
        Ok(()) | Err(_) => fs::File::open(data).and_then(|directory| directory.sync_all()).map_err(failed),
    }
}

/// A whole file beside the one that it is to become.
fn draft(directory: &Path, text: &str) -> std::io::Result<PathBuf> {
    let path = directory.join(format!(".{FILE}.{}", std::process::id()));
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&path)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    Ok(path)
}
