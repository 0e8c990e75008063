//! What only the embedded database can meet: other processes, a full disk, kill -9.

use std::io::{BufRead, BufReader, Write as _};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};

use redb::TableDefinition;
use tokio::task::JoinSet;
use usherd::domain::time::Timestamp;
use usherd::store::{Bounds, Check, OpenError, Settings, Store, StoreError, Write};

use crate::fixture::{acme, batch, entry, index, put, reason, user, write};

const DIRECTORY: &str = "STORE_TEST_DIRECTORY";
const WRITERS: usize = 8;

async fn open(directory: &Path) -> Result<Store, OpenError> {
    Store::open(&Settings::embedded(directory)).await
}

/// Not a test of its own: the process that other tests start, and kill. It commits documents without end and says
/// which commits were acknowledged.
#[test]
#[expect(clippy::disallowed_methods, reason = "a test process is told by its environment what to do")]
fn the_process_that_other_tests_kill() {
    let Ok(directory) = std::env::var(DIRECTORY) else { return };
    tokio::runtime::Runtime::new().unwrap().block_on(async {
        let store = match open(Path::new(&directory)).await {
            Ok(store) => store,
            Err(error) => return say(&format!("refused {error}")),
        };
        say("open");
        let mut writers = JoinSet::new();
        for writer in 0..WRITERS {
            let store = store.clone();
            writers.spawn(async move {
                for n in (writer..).step_by(WRITERS) {
                    let id = n.to_string();
                    let create = batch(
                        [Check::Absent { key: user(&id) }],
                        [
                            put(&id, 1, &"x".repeat(500)),
                            Write::IndexAdd { index: index(), entry: entry("all", &id) },
                            Write::CounterAdd { name: "all".into(), delta: 1 },
                        ],
                    );
                    match store.commit(&acme(), &create).await {
                        Ok(_) => say(&format!("acknowledged {id}")),
                        Err(error) => return error,
                    }
                }
                unreachable!("there are numbers enough")
            });
        }
        let error = writers.join_next().await.unwrap().unwrap();
        say(&format!("broken {}", store.failed().await));
        assert!(matches!(error, StoreError::Unavailable { .. }));
    });
}

fn say(line: &str) {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{line}").unwrap();
    out.flush().unwrap();
}

/// That process; `limit` is the size in kibibytes beyond which its files cannot grow.
fn start(directory: &Path, limit: Option<u32>) -> (Child, BufReader<ChildStdout>) {
    let program = std::env::current_exe().unwrap();
    let limit = limit.map(|limit| format!("trap '' XFSZ; ulimit -f {limit};")).unwrap_or_default();
    let mut child = Command::new("bash")
        .args(["-c", &format!("{limit} exec \"$0\" --exact embedded::the_process_that_other_tests_kill --nocapture")])
        .arg(program)
        .env(DIRECTORY, directory)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let out = BufReader::new(child.stdout.take().unwrap());
    (child, out)
}

/// Every acknowledged document is there, and nothing of any other was left half-written.
async fn assert_whole(store: &Store, acknowledged: &[String]) {
    let dump = store.dump(&acme()).await.unwrap();
    for id in acknowledged {
        assert!(dump.documents.contains_key(&("user".to_owned(), id.clone())), "{id} was acknowledged");
    }
    let documents = dump.documents.len();
    assert!(documents >= acknowledged.len() && documents <= acknowledged.len() + WRITERS);
    assert_eq!(dump.indexes["names"].len(), documents);
    assert_eq!(dump.counters["all"], i64::try_from(documents).unwrap());
    assert_eq!(store.count(&acme(), &index(), &Bounds::All).await.unwrap(), documents as u64);
}

fn acknowledged(line: &str) -> Option<String> {
    line.split_once("acknowledged ").map(|(_, id)| id.to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_acknowledged_survives_kill_9() {
    for lines in [1, 40, 300] {
        let directory = tempfile::tempdir().unwrap();
        let (mut child, out) = start(directory.path(), None);
        let mut known = Vec::new();
        let mut out = out.lines().map(Result::unwrap);
        while known.len() < lines {
            known.extend(acknowledged(&out.next().expect("the process goes on")));
        }
        child.kill().unwrap();
        // What it said before it died was acknowledged as well.
        known.extend(out.filter_map(|line| acknowledged(&line)));
        child.wait().unwrap();
        let store = open(directory.path()).await.unwrap();
        assert_whole(&store, &known).await;
        write(&store, [put("after", 1, "{}")]).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_breaks_the_store_loudly_and_loses_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let (mut child, out) = start(directory.path(), Some(4_096));
    let lines: Vec<String> = out.lines().map(Result::unwrap).collect();
    assert!(child.wait().unwrap().success());
    let broken = lines.iter().find(|line| line.contains("broken ")).expect("the process says that it is broken");
    assert!(broken.contains("restart usherd"), "{broken}");
    let known: Vec<_> = lines.iter().filter_map(|line| acknowledged(line)).collect();
    assert!(!known.is_empty());
    let store = open(directory.path()).await.unwrap();
    assert_whole(&store, &known).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_process_on_the_same_file_is_told_who_is_in_its_way() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path()).await.unwrap();
    let Err(error @ OpenError::Held { .. }) = open(directory.path()).await.map(|_| ()) else {
        panic!("the file is held")
    };
    assert!(error.to_string().contains("stop the other usherd"), "{error}");
    let (mut child, out) = start(directory.path(), None);
    let lines: Vec<String> = out.lines().map(Result::unwrap).collect();
    child.wait().unwrap();
    assert!(lines.iter().any(|line| line.contains("is held by another process")), "{lines:?}");
    drop(store);
    open(directory.path()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn only_its_owner_can_read_the_data_directory() {
    let parent = tempfile::tempdir().unwrap();
    let directory = parent.path().join("a/data");
    let store = open(&directory).await.unwrap();
    let mode = |path: &Path| path.metadata().unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&directory), 0o700);
    assert_eq!(mode(&directory.join("usherd.redb")), 0o600);
    store.check().await.unwrap();
}

const NUMBERS: TableDefinition<&str, u64> = TableDefinition::new("numbers");

/// Changes the database behind the back of the store.
fn set_number(directory: &Path, name: &str, number: u64) {
    let database = redb::Database::open(directory.join("usherd.redb")).unwrap();
    let transaction = database.begin_write().unwrap();
    transaction.open_table(NUMBERS).unwrap().insert(name, number).unwrap();
    transaction.commit().unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_clock_never_goes_below_what_was_written_down() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path()).await.unwrap();
    let tomorrow = store.now() + std::time::Duration::from_secs(86_400);
    drop(store);
    set_number(directory.path(), "clock", u64::try_from(tomorrow.as_millis()).unwrap());
    let store = open(directory.path()).await.unwrap();
    assert!(store.now() >= tomorrow);
    let marked = store.now();
    store.check().await.unwrap();
    drop(store);
    let store = open(directory.path()).await.unwrap();
    assert!(store.now() >= marked, "the mark moves on with the commits");
    assert!(store.now() < Timestamp::MAX);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_of_a_newer_release_is_left_alone() {
    let directory = tempfile::tempdir().unwrap();
    drop(open(directory.path()).await.unwrap());
    set_number(directory.path(), "schema", 2);
    let Err(OpenError::NewerSchema { found: 2, supported: 1 }) = open(directory.path()).await.map(|_| ()) else {
        panic!("schema 2 is newer")
    };
    set_number(directory.path(), "schema", 1);
    open(directory.path()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_database_is_refused_with_its_path() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("usherd.redb");
    std::fs::write(&file, "something else").unwrap();
    let error = open(directory.path()).await.map(|_| ()).unwrap_err();
    assert!(matches!(error, OpenError::Database { .. }), "{error:?}");
    assert!(error.to_string().contains("usherd.redb"), "{error}");
    let error = open(&file).await.map(|_| ()).unwrap_err();
    assert!(matches!(error, OpenError::Directory { .. }), "{error:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_is_mostly_free_is_compacted_when_it_is_opened() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path()).await.unwrap();
    let ids: Vec<String> = (0..16).map(|n| n.to_string()).collect();
    for id in &ids {
        write(&store, [put(id, 1, &"x".repeat(1_000_000))]).await;
    }
    // What is left stands at the end of the file, so that the file cannot just be cut off.
    write(&store, ids[..14].iter().map(|id| Write::Delete { key: user(id) }).collect::<Vec<_>>()).await;
    drop(store);
    let size = || std::fs::metadata(directory.path().join("usherd.redb")).unwrap().len();
    let before = size();
    assert!(before > 8_000_000, "{before}");
    let store = open(directory.path()).await.unwrap();
    assert!(size() * 2 < before, "{} of {before}", size());
    assert_eq!(store.dump(&acme()).await.unwrap().documents.len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_expects_a_marker_is_not_written_before_it_is_marked() {
    let directory = tempfile::tempdir().unwrap();
    let settings = Settings { installation: Some("one".to_owned()), ..Settings::embedded(directory.path()) };
    let store = Store::open(&settings).await.unwrap();
    let refusal = reason(store.check().await);
    assert!(refusal.contains("usherd init"), "{refusal}");
    store.mark_installation("one").await.unwrap();
    store.check().await.unwrap();
    write(&store, [put("7", 1, "{}")]).await;
}

#[tokio::test]
async fn what_an_earlier_process_had_claimed_rings_at_once_when_the_file_is_opened_again() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(directory.path()).await.unwrap();
    let (early, late) = (store.now(), store.now() + std::time::Duration::from_secs(3_600));
    let timers = [("a", early), ("b", late)].map(|(id, due)| Write::TimerSet { owner: user(id), due });
    store.commit(&acme(), &batch([], timers)).await.unwrap();
    let lease = std::time::Duration::from_secs(600);
    let claimed = store.claim_due(&acme(), 10, lease).await.unwrap();
    assert_eq!(claimed.len(), 1);
    assert_eq!(store.claim_due(&acme(), 10, lease).await.unwrap(), []);
    drop(store);

    let store = open(directory.path()).await.unwrap();
    let again = store.claim_due(&acme(), 10, lease).await.unwrap();
    assert_eq!(again.iter().map(|claim| (&claim.owner, claim.due)).collect::<Vec<_>>(), [(&user("a"), early)]);
    let stale = batch([Check::Claimed { owner: user("a"), token: claimed[0].token }], [put("a", 1, "x")]);
    assert!(
        matches!(store.commit(&acme(), &stale).await, Err(StoreError::Conflict(_))),
        "the old claim counts no more"
    );
    assert_eq!(store.timer(&acme(), &user("b")).await.unwrap().map(|timer| timer.wakes), Some(late));
}
