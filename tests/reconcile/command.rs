//! `usherd reconcile` as people and scripts use it.

use rstest::rstest;
use usherd::domain::ids::{AccountId, CommitId};
use usherd::store::{Batch, DocumentKey, Entry, Index, Settings, Space, Store as Opened, Write};

use crate::daemon::{Daemon, Store};

const NOBODY: &str = "01890000-0000-7000-8000-000000000000";

/// Breaks V6 and V16 past the daemon: on the embedded store it must not run.
fn break_two(daemon: &Daemon, store: Store) {
    let settings = match store {
        Store::Embedded => Settings::embedded(daemon.data()),
        Store::Redis => daemon.redis().settings(),
    };
    let account: AccountId = "default".parse().unwrap();
    let entry = Entry { key: "ghost".to_owned(), id: NOBODY.to_owned() };
    let owner = DocumentKey::new("user", NOBODY);
    let batch = Batch {
        commit: CommitId::from_uuid(usherd::directory::entropy::uuid(usherd::domain::time::Timestamp::EPOCH)),
        checks: Vec::new(),
        writes: vec![
            Write::IndexAdd { index: Index::new("user.word"), entry },
            Write::TimerSet { owner, due: usherd::domain::time::Timestamp::MAX },
        ],
    };
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let opened = Opened::open(&settings).await.unwrap();
        opened.commit(&Space::Account(account), &batch).await.unwrap();
    });
}

const V16: &str = "V16\tOUTCOME\tuser 01890000-0000-7000-8000-000000000000\tan entry of the index user.word points at \
                   it wrongly";
const V6: &str = "V6\tOUTCOME\tuser 01890000-0000-7000-8000-000000000000\ta timer of what does not exist";

#[track_caller]
fn assert_lines(stdout: &str, outcome: &str) {
    let lines: Vec<String> = stdout.lines().filter(|line| !line.starts_with("V10")).map(str::to_owned).collect();
    assert_eq!(lines, [V16, V6].map(|line| line.replace("OUTCOME", outcome)));
}

#[rstest]
fn the_command_tells_and_then_repairs_each_thing_once(#[values(Store::Embedded, Store::Redis)] store: Store) {
    let mut daemon = Daemon::start(store, &[]);
    daemon.create_user("ada@example.com");
    daemon.settle();
    // Through the socket on the embedded store, beside the daemon on Redis.
    daemon.assert_consistent("default");
    if store == Store::Embedded {
        daemon.stop();
    }
    break_two(&daemon, store);
    let dry = daemon.cli(&["reconcile", "--account", "default", "--dry-run"]);
    assert_eq!(dry.code, 0, "{}", dry.stderr);
    assert_lines(&dry.stdout, "would repair");
    assert!(dry.stderr.contains("2 to repair, 1 to look at"), "{}", dry.stderr);
    if store == Store::Embedded {
        daemon.restart();
    }
    let done = daemon.cli(&["reconcile", "--account", "default"]);
    assert_eq!(done.code, 0, "{}", done.stderr);
    assert_lines(&done.stdout, "repaired");
    daemon.assert_consistent("default");
    let job = daemon.cli(&["jobs", "run", "reconcile"]);
    assert_eq!((job.code, job.stdout.contains("repaired")), (0, false), "{}", job.stdout);
    assert!(job.stderr.contains("default: ") && job.stderr.contains("documents looked at"), "{}", job.stderr);
}

#[rstest]
#[case(&["reconcile"], 64, "--account")]
#[case(&["reconcile", "--account", "Acme"], 64, "an account id is")]
#[case(&["reconcile", "--account", "acme"], 1, "there is no account acme")]
fn what_cannot_be_done_is_said(#[case] arguments: &[&str], #[case] code: i32, #[case] says: &str) {
    let daemon = Daemon::prepare(None, &[]);
    let done = daemon.cli(arguments);
    assert_eq!(done.code, code, "{}", done.stderr);
    assert!(done.stderr.contains(says), "{}", done.stderr);
}
