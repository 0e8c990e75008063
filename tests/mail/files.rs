//! Mails as files.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use serde_json::json;
use usherd::jobs::mail::{Mailer, SendFailure};

use crate::smtp::{header, parse};
use crate::{ID, LINK, send, settings};

fn mailer(directory: &Path) -> Mailer {
    Mailer::new(&settings(None, directory)).expect("a mailer")
}

fn files(directory: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(directory).expect("the directory");
    entries.map(|entry| entry.expect("an entry").path()).collect()
}

fn mode(path: &Path) -> u32 {
    std::fs::metadata(path).expect("there").permissions().mode() & 0o777
}

#[tokio::test]
async fn a_mail_is_one_whole_message_that_only_the_owner_can_read() {
    let data = tempfile::tempdir().expect("a directory");
    let directory = data.path().join("mail");
    let accepted = send(&mailer(&directory), "ada@example.org").await.expect("written");
    let file = directory.join(format!("20261123T093000Z-{ID}.eml"));
    assert_eq!(accepted.reply, format!("written to {}", file.display()));
    assert_eq!(files(&directory), std::slice::from_ref(&file));
    assert_eq!((mode(&directory), mode(&file)), (0o700, 0o600));

    let message = parse(&file);
    assert_eq!(message["defects"], json!([]));
    assert_eq!(header(&message, "Subject"), ["You are invited"]);
    assert_eq!(header(&message, "To"), ["ada@example.org"]);
    // The link can be taken out of the file with grep: no soft line break, no escape within it.
    let source = std::fs::read_to_string(&file).expect("the file");
    assert!(source.contains(&format!("\r\n{LINK}\r\n")), "{source}");
}

#[tokio::test]
async fn the_same_mail_again_is_the_same_file() {
    let data = tempfile::tempdir().expect("a directory");
    let mailer = mailer(data.path());
    send(&mailer, "ada@example.org").await.expect("written");
    let first = std::fs::read(&files(data.path())[0]).expect("the file");
    send(&mailer, "ada@example.org").await.expect("written again");
    assert_eq!(files(data.path()).len(), 1);
    assert_eq!(std::fs::read(&files(data.path())[0]).expect("the file"), first);
}

#[tokio::test]
async fn a_directory_that_cannot_be_written_is_for_an_operator() {
    let data = tempfile::tempdir().expect("a directory");
    let blocked = data.path().join("blocked");
    std::fs::write(&blocked, "a file where the directory should be").expect("a file");
    let mailer = mailer(&blocked.join("mail"));
    let failure = send(&mailer, "ada@example.org").await.expect_err("blocked");
    assert!(matches!(failure, SendFailure::Configuration { code: None, .. }), "{failure:?}");
    let check = mailer.transport().check().await.expect_err("blocked");
    assert!(check.text().contains("blocked"), "{check}");
}

#[tokio::test]
async fn a_check_leaves_nothing_behind() {
    let data = tempfile::tempdir().expect("a directory");
    let found = mailer(data.path()).transport().check().await.expect("works");
    assert_eq!(found, format!("mails are written to {}", data.path().display()));
    assert!(files(data.path()).is_empty());
}
