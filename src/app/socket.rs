//! The Unix socket by which commands reach a daemon that holds the embedded store: one JSON line in, and out as many as
//! the command prints, the last of which says how it ended.

use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::unix::OwnedWriteHalf;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::command::{self, Output, Tools};
use crate::cli::Command;
use crate::config::Settings;
use crate::directory::Directory;
use crate::jobs::mail::Mailer;

/// A command line is small; a longer one is none of ours.
const MAX_COMMAND_BYTES: u64 = 64 * 1024;

/// How long a client may take to say what it wants.
const PATIENCE: Duration = Duration::from_secs(5);
/// After a failed accept: without file descriptors, accept fails at once and for ever.
const ACCEPT_AGAIN: Duration = Duration::from_millis(200);

/// Where a daemon with this data directory listens for commands.
pub fn socket_path(data: &Path) -> PathBuf {
    data.join("usherd.sock")
}

/// What commands in the daemon work with.
pub(super) struct Commands {
    pub settings: Settings,
    pub directory: Arc<Directory>,
    pub mailer: Arc<Mailer>,
}

/// How a command went, as it crosses the socket.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Answer {
    /// A piece of what the command prints before it is done.
    Piece(String),
    Done(Output),
    Failed(String),
}

/// What a daemon answered.
#[derive(Debug, PartialEq, Eq)]
pub enum Held {
    Done(Output),
    Failed(String),
    /// The file is held, but nobody listens: not a usherd of this version, or one that is starting or ending.
    Silent,
}

/// Binds the socket. Only the user who runs the daemon may connect.
pub(super) fn bind(data: &Path) -> io::Result<UnixListener> {
    let path = socket_path(data);
    // Whoever holds the database file owns the socket; one that is there was left by a crash.
    match std::fs::remove_file(&path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        Ok(()) | Err(_) => {}
    }
    let listener = UnixListener::bind(&path)?;
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600))?;
    Ok(listener)
}

/// Carries out commands until `stop`; one that has been read by then is a task of `tracker` and is finished.
pub(super) async fn listen(listener: UnixListener, commands: Commands, tracker: TaskTracker, stop: CancellationToken) {
    let commands = Arc::new(commands);
    while let Some(accepted) = stop.run_until_cancelled(listener.accept()).await {
        match accepted {
            Ok((stream, _)) => {
                let (commands, stop) = (Arc::clone(&commands), stop.clone());
                tracker.spawn(async move {
                    if let Err(error) = answer(&commands, stream, &stop).await {
                        tracing::warn!(%error, "a command connection failed");
                    }
                });
            }
            Err(error) => {
                tracing::warn!(%error, "cannot accept command connections");
                stop.run_until_cancelled(tokio::time::sleep(ACCEPT_AGAIN)).await;
            }
        }
    }
    if let Err(error) = std::fs::remove_file(socket_path(&commands.settings.store.path)) {
        tracing::debug!(%error, "the command socket was gone already");
    }
}

async fn answer(commands: &Commands, stream: UnixStream, stop: &CancellationToken) -> io::Result<()> {
    let (reading, mut writing) = stream.into_split();
    let mut line = String::new();
    let mut reading = BufReader::new(reading.take(MAX_COMMAND_BYTES));
    let read = tokio::time::timeout(PATIENCE, reading.read_line(&mut line));
    match stop.run_until_cancelled(read).await {
        // Nothing was asked before the end.
        None => return Ok(()),
        Some(read) => read.map_err(io::Error::other).flatten()?,
    };
    let (pieces, mut printed) = mpsc::channel(4);
    let run = async {
        match serde_json::from_str::<Command>(&line) {
            Ok(asked) => {
                let Commands { settings, directory, mailer } = commands;
                match command::run(&Tools { settings, directory, mailer, pieces }, &asked).await {
                    Ok(output) => Answer::Done(output),
                    Err(error) => Answer::Failed(error.to_string()),
                }
            }
            Err(error) => {
                drop(pieces);
                Answer::Failed(format!("the daemon does not know this command ({error}); is it another version?"))
            }
        }
    };
    let pass_on = async {
        while let Some(piece) = printed.recv().await {
            send(&mut writing, &Answer::Piece(piece)).await?;
        }
        io::Result::Ok(())
    };
    // Whoever asked may go away in the middle: then the pieces are not taken any more, and the command fails.
    let (answer, ()) = tokio::try_join!(async { io::Result::Ok(run.await) }, pass_on)?;
    send(&mut writing, &answer).await?;
    writing.shutdown().await
}

async fn send(writing: &mut OwnedWriteHalf, answer: &Answer) -> io::Result<()> {
    let mut line = serde_json::to_vec(answer).map_err(io::Error::other)?;
    line.push(b'\n');
    writing.write_all(&line).await
}

/// Whether a daemon with this data directory takes commands.
pub(super) async fn answers(data: &Path) -> bool {
    UnixStream::connect(socket_path(data)).await.is_ok()
}

/// Lets the daemon that holds the data directory carry out a command. What it prints on the way goes to `pieces`.
///
/// # Errors
/// When the connection breaks.
pub async fn ask_daemon(data: &Path, asked: &Command, pieces: &mpsc::Sender<String>) -> io::Result<Held> {
    let Ok(mut stream) = UnixStream::connect(socket_path(data)).await else { return Ok(Held::Silent) };
    let mut line = serde_json::to_vec(asked).map_err(io::Error::other)?;
    line.push(b'\n');
    stream.write_all(&line).await?;
    let mut replies = BufReader::new(stream).lines();
    while let Some(reply) = replies.next_line().await? {
        match serde_json::from_str(&reply).map_err(io::Error::other)? {
            Answer::Piece(piece) => pieces.send(piece).await.map_err(io::Error::other)?,
            Answer::Done(output) => return Ok(Held::Done(output)),
            Answer::Failed(reason) => return Ok(Held::Failed(reason)),
        }
    }
    Err(io::ErrorKind::UnexpectedEof.into())
}
