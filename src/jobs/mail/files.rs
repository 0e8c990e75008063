//! Mails as files: what a laptop and a first try need.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use lettre::Message;
use lettre::message::header;

use super::failure::SendFailure;
use super::transport::Accepted;

/// A directory that takes one file per mail, `<date>-<id>.eml`, readable for the owner alone since it holds links.
#[derive(Debug)]
pub(super) struct Files {
    directory: PathBuf,
}

impl Files {
    pub fn new(directory: PathBuf) -> Self {
        Files { directory }
    }

    pub async fn send(&self, message: &Message) -> Result<Accepted, SendFailure> {
        let file = self.directory.join(file_name(message));
        let (target, content) = (file.clone(), message.formatted());
        self.blocking(move |directory| write(directory, &target, &content)).await?;
        Ok(Accepted { reply: format!("written to {}", file.display()) })
    }

    pub async fn check(&self) -> Result<String, SendFailure> {
        let probe = self.directory.join(".probe");
        self.blocking(move |directory| {
            write(directory, &probe, b"")?;
            std::fs::remove_file(&probe)
        })
        .await?;
        Ok(format!("mails are written to {}", self.directory.display()))
    }

    async fn blocking(&self, work: impl FnOnce(&Path) -> io::Result<()> + Send + 'static) -> Result<(), SendFailure> {
        let directory = self.directory.clone();
        let done = tokio::task::spawn_blocking(move || work(&directory)).await.map_err(io::Error::other);
        done.flatten().map_err(|error| self.failure(&error))
    }

    fn failure(&self, error: &io::Error) -> SendFailure {
        let text = format!("cannot write to {}: {error}", self.directory.display());
        match error.kind() {
            io::ErrorKind::PermissionDenied
            | io::ErrorKind::ReadOnlyFilesystem
            | io::ErrorKind::NotADirectory
            | io::ErrorKind::AlreadyExists => SendFailure::Configuration { code: None, text, of_mail: false },
            _ => SendFailure::Temporary { code: None, text },
        }
    }
}

/// The same for each repetition of a mail, because Message-ID and Date are.
fn file_name(message: &Message) -> String {
    let headers = message.headers();
    let date = headers.get::<header::Date>().map(std::time::SystemTime::from);
    let date = date.and_then(|date| jiff::Timestamp::try_from(date).ok()).unwrap_or_default();
    let id = headers.get_raw("Message-ID").unwrap_or_default();
    let local = id.trim_start_matches('<').split('@').next().unwrap_or_default();
    let plain: String = local.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).collect();
    format!("{}-{plain}.eml", date.strftime("%Y%m%dT%H%M%SZ"))
}

/// All or nothing, also over a crash: whoever finds the file finds the whole mail.
fn write(directory: &Path, file: &Path, content: &[u8]) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
    let mut unfinished = file.as_os_str().to_owned();
    unfinished.push(format!(".{}.tmp", std::process::id()));
    let mut open = OpenOptions::new();
    let mut out = open.write(true).create(true).truncate(true).mode(0o600).open(&unfinished)?;
    out.write_all(content)?;
    out.sync_all()?;
    std::fs::rename(&unfinished, file)?;
    File::open(directory)?.sync_all()
}
