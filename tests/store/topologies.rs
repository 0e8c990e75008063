//! Sentinel and Cluster, with real processes.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::process::Command;
use std::time::Duration;

use tempfile::TempDir;
use usherd::store::{Check, Committed, Settings, Space, Store, StoreUrl, Write};

use crate::fixture::{
    RedisServer, acme, at, batch, commit_id, entry, eventually, eventually_async, index, put, user, write,
};

const LEASE: Duration = Duration::from_secs(60);
const DEADLINE: Duration = Duration::from_secs(30);

async fn open(url: &str, deadline: Duration) -> (Store, TempDir) {
    let directory = tempfile::tempdir().unwrap();
    let url: StoreUrl = url.parse().unwrap();
    let settings = Settings { deadline, ..Settings::redis(url, directory.path()) };
    (Store::open(&settings).await.unwrap(), directory)
}

/// A primary, a replica in step with it, and three sentinels that watch them.
struct Watched {
    primary: RedisServer,
    replica: RedisServer,
    sentinels: Vec<RedisServer>,
}

impl Watched {
    fn start() -> Self {
        let primary = RedisServer::start();
        let port = primary.port.to_string();
        let replica = RedisServer::with(&["--replicaof", "127.0.0.1", &port, "--repl-diskless-sync-delay", "0"]);
        eventually(|| replica.ask("INFO replication").contains("master_link_status:up").then_some(()));
        let sentinels: Vec<_> = (0..3).map(|_| RedisServer::sentinel(primary.port)).collect();
        eventually(|| {
            let sees_all = |sentinel: &RedisServer| {
                let seen = sentinel.ask("SENTINEL MASTER main");
                seen.contains("num-other-sentinels\r\n$1\r\n2") && seen.contains("num-slaves\r\n$1\r\n1")
            };
            sentinels.iter().all(sees_all).then_some(())
        });
        Watched { primary, replica, sentinels }
    }

    fn url(&self) -> String {
        let hosts: Vec<_> = self.sentinels.iter().map(|sentinel| format!("127.0.0.1:{}", sentinel.port)).collect();
        format!("redis+sentinel://{}/main", hosts.join(","))
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_behind_sentinel_follows_a_failover() {
    let mut watched = Watched::start();
    let (store, _home) = open(&watched.url(), DEADLINE).await;
    write(&store, [put("7", 1, "{}")]).await;
    wait_for_replica(&watched.primary);
    watched.primary.kill();
    let create = batch([Check::Absent { key: user("8") }], [put("8", 1, "{}")]);
    eventually_async(async || store.commit(&acme(), &create).await.ok()).await;
    assert!(watched.replica.ask("EXISTS usherd:{acme}:doc:user:8").starts_with(":1"));
    assert_eq!(store.dump(&acme()).await.unwrap().documents.len(), 2);
    store.check().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_switch_that_most_sentinels_tell_of_is_followed_without_any_error_from_the_old_primary() {
    let watched = Watched::start();
    let (store, _home) = open(&watched.url(), DEADLINE).await;
    write(&store, [put("7", 1, "{}")]).await;
    wait_for_replica(&watched.primary);
    // The old primary goes on taking writes for about ten seconds, and then throws them away.
    watched.sentinels[0].ask("SENTINEL FAILOVER main");
    // It closes its connections when its role changes.
    eventually(|| {
        let told = answers(&watched.replica, "INFO replication\r\nQUIT", |reply| reply.contains("role:master"));
        told.then_some(())
    });
    eventually_async(async || {
        let id = commit_id().to_string();
        store.commit(&acme(), &batch([], [put(&id, 1, "{}")])).await.ok()?;
        watched.replica.ask(&format!("EXISTS usherd:{{acme}}:doc:user:{id}")).starts_with(":1").then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_sentinel_of_three_elects_nobody() {
    let mut watched = Watched::start();
    watched.sentinels[0].kill();
    let (store, _home) = open(&watched.url(), DEADLINE).await;
    store.check().await.unwrap();
    drop(store);
    watched.sentinels[1].kill();
    let (store, _home) = open(&watched.url(), DEADLINE).await;
    let refusal = crate::fixture::reason(store.check().await);
    assert!(refusal.contains("most of the 3 sentinels"), "{refusal}");
}

/// Until a replica has everything. `WAIT` looks at what its own connection has written, so it writes first.
fn wait_for_replica(primary: &RedisServer) {
    let has_it = answers(primary, "SET {acme}written-last 1\r\nWAIT 1 60000", |reply| reply.ends_with(":1\r\n"));
    assert!(has_it, "no replica follows");
}

/// Whether the reply to what is sent on one connection becomes what it should be; `false` when the connection ends first.
fn answers(server: &RedisServer, commands: &str, is_it: impl Fn(&str) -> bool) -> bool {
    let Ok(mut connection) = TcpStream::connect(("127.0.0.1", server.port)) else { return false };
    connection.set_read_timeout(Some(DEADLINE * 2)).unwrap();
    if connection.write_all(format!("{commands}\r\n").as_bytes()).is_err() {
        return false;
    }
    let (mut reply, mut piece) = (String::new(), [0; 4096]);
    while !is_it(&reply) {
        match connection.read(&mut piece) {
            Ok(length @ 1..) => reply.push_str(&String::from_utf8_lossy(&piece[..length])),
            Ok(0) | Err(_) => return false,
        }
    }
    true
}

/// Three primaries with one replica each.
struct Cluster {
    nodes: Vec<RedisServer>,
}

impl Cluster {
    fn start() -> Self {
        let nodes: Vec<_> = (0..6)
            .map(|_| {
                RedisServer::with(&[
                    "--cluster-enabled",
                    "yes",
                    "--cluster-node-timeout",
                    "5000",
                    "--appendonly",
                    "yes",
                    "--repl-diskless-sync-delay",
                    "0",
                ])
            })
            .collect();
        let addresses = nodes.iter().map(|node| format!("127.0.0.1:{}", node.port));
        let made = Command::new("redis-cli")
            .args(["--cluster", "create"])
            .args(addresses)
            .args(["--cluster-replicas", "1", "--cluster-yes"])
            .output()
            .expect("these tests need redis-cli: apt-get install redis-tools");
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stdout));
        let cluster = Cluster { nodes };
        eventually(|| cluster.nodes.iter().all(Cluster::is_in_step).then_some(()));
        cluster
    }

    fn is_in_step(node: &RedisServer) -> bool {
        let replication = node.ask("INFO replication");
        node.ask("CLUSTER INFO").contains("cluster_state:ok")
            && node.ask("CLUSTER NODES").matches("master").count() == 3
            && (replication.contains("connected_slaves:1") || replication.contains("master_link_status:up"))
    }

    fn url(&self) -> String {
        let hosts: Vec<_> = self.nodes.iter().map(|node| format!("127.0.0.1:{}", node.port)).collect();
        format!("redis+cluster://{}", hosts.join(","))
    }

    /// The node that holds the account `acme`.
    fn owner(&self) -> &RedisServer {
        let holds = |node: &&RedisServer| {
            node.ask("INFO replication").contains("role:master")
                && node.ask("EXISTS usherd:{acme}:doc:user:7").starts_with(":1")
        };
        self.nodes.iter().find(holds).unwrap()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn accounts_spread_over_a_cluster_and_each_behaves_as_on_one_server() {
    let cluster = Cluster::start();
    let (store, _home) = open(&cluster.url(), DEADLINE).await;
    let spaces: Vec<Space> =
        ["acme", "beta", "gamma", "delta"].map(|account| Space::Account(account.parse().unwrap())).into();
    for space in spaces.iter().chain([&Space::Installation]) {
        let create = batch(
            [Check::Absent { key: user("7") }, Check::Free { unique: "name", key: "ann".into() }],
            [
                put("7", 1, "{}"),
                Write::UniqueSet { unique: "name", key: "ann".into(), id: "7".into() },
                Write::IndexAdd { index: index(), entry: entry("ann", "7") },
                Write::TimerSet { owner: user("7"), due: at(3) },
                Write::EventAppend { body: "created".into() },
            ],
        );
        assert_eq!(store.commit(space, &create).await.unwrap(), Committed::Applied);
        assert_eq!(store.commit(space, &create).await.unwrap(), Committed::Repeated);
        let dump = store.dump(space).await.unwrap();
        assert_eq!((dump.documents.len(), dump.indexes.len(), dump.timers.len(), dump.events.len()), (1, 1, 1, 1));
    }
    assert_eq!(store.next_due(&spaces).await.unwrap(), [Some(at(3)); 4]);
    assert_eq!(store.claim_due(&acme(), 9, LEASE).await.unwrap().len(), 1);
    assert_eq!(store.lookup(&acme(), "name", &["ann", "bob"]).await.unwrap(), [Some("7".to_owned()), None]);
    store.check().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_node_that_hangs_is_replaced_by_its_replica() {
    let cluster = Cluster::start();
    let (store, _home) = open(&cluster.url(), Duration::from_secs(10)).await;
    write(&store, [put("7", 1, "{}")]).await;
    let owner = cluster.owner();
    wait_for_replica(owner);
    owner.signal("-STOP");
    let create = batch([Check::Absent { key: user("8") }], [put("8", 1, "{}")]);
    eventually_async(async || store.commit(&acme(), &create).await.ok()).await;
    let kept = store.get(&acme(), &[user("7"), user("8")]).await.unwrap();
    assert!(kept.iter().all(Option::is_some), "{kept:?}");
    assert_eq!(store.dump(&acme()).await.unwrap().documents.len(), 2);
}
