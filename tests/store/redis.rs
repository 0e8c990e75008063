//! What only a Redis does to its clients. Each test has a server of its own.

use std::time::Duration;

use usherd::store::{Bounds, Check, Committed, OpenError, Page, Settings, Store, StoreError, Write};

use crate::fixture::{
    RedisServer, acme, at, batch, entry, eventually_async, free_port, index, put, reason, user, write,
};

/// Commits again and again until the store takes it.
async fn recovers(store: &Store) {
    eventually_async(async || store.commit(&acme(), &batch([], [put("recovered", 1, "{}")])).await.ok()).await;
    store.check().await.unwrap();
}

/// Asks until readiness says something that holds this text.
async fn readiness_says(store: &Store, text: &str) {
    eventually_async(async || match store.check().await {
        Err(StoreError::Unavailable { reason }) if reason.contains(text) => Some(()),
        _ => None,
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_script_that_the_server_forgot_is_sent_again() {
    let server = RedisServer::start();
    let store = server.store().await;
    for forgotten in 0..3 {
        assert_eq!(server.ask("SCRIPT FLUSH"), "+OK\r\n");
        write(&store, [put(&forgotten.to_string(), 1, "{}"), Write::TimerSet { owner: user("7"), due: at(1) }]).await;
        assert_eq!(server.ask("SCRIPT FLUSH"), "+OK\r\n");
        assert_eq!(store.claim_due(&acme(), 9, Duration::from_secs(9)).await.unwrap().len(), 1);
    }
    assert_eq!(store.dump(&acme()).await.unwrap().documents.len(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_memory_refuses_batches_as_a_whole_and_says_what_to_raise() {
    let server = RedisServer::start();
    let store = server.store().await;
    write(&store, [put("7", 1, "{}"), Write::IndexAdd { index: index(), entry: entry("ann", "7") }]).await;
    let before = store.dump(&acme()).await.unwrap();
    assert_eq!(server.ask("CONFIG SET maxmemory 1"), "+OK\r\n");
    // Removals first: on their own Redis would take them, and then the batch would be half done.
    let rename = batch(
        [Check::Revision { key: user("7"), revision: 1 }],
        [
            Write::IndexRemove { index: index(), entry: entry("ann", "7") },
            Write::Delete { key: user("7") },
            put("7", 2, "new"),
        ],
    );
    let refusal = reason(store.commit(&acme(), &rename).await);
    assert!(refusal.contains("raise `maxmemory`"), "{refusal}");
    readiness_says(&store, "maxmemory").await;
    assert_eq!(store.dump(&acme()).await.unwrap(), before, "reads go on, and nothing was written");
    assert_eq!(server.ask("CONFIG SET maxmemory 0"), "+OK\r\n");
    assert_eq!(store.commit(&acme(), &rename).await.unwrap(), Committed::Applied);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redis_that_evicts_keys_is_refused_at_the_start() {
    for policy in ["allkeys-lru", "volatile-ttl"] {
        let server = RedisServer::with(&["--maxmemory-policy", policy]);
        let error = Store::open(&server.settings()).await.map(|_| ()).unwrap_err();
        assert!(error.to_string().contains(policy) && error.to_string().contains("noeviction"), "{error}");
        assert!(matches!(error, OpenError::Eviction { .. }));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redis_that_evicts_keys_is_refused_at_each_new_connection() {
    let server = RedisServer::start();
    let store = server.store().await;
    server.ask("CONFIG SET maxmemory-policy allkeys-lru");
    server.ask("CLIENT KILL TYPE normal");
    readiness_says(&store, "maxmemory-policy noeviction").await;
    reason(store.commit(&acme(), &batch([], [put("7", 1, "{}")])).await);
    server.ask("CONFIG SET maxmemory-policy noeviction");
    recovers(&store).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_read_only_replica_is_not_ready_until_it_is_promoted() {
    let primary = RedisServer::start();
    let replica = RedisServer::with(&["--replicaof", "127.0.0.1", &primary.port.to_string()]);
    let store = replica.store().await;
    readiness_says(&store, "read-only replica").await;
    reason(store.get(&acme(), &[user("7")]).await);
    replica.ask("REPLICAOF NO ONE");
    recovers(&store).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_primary_that_becomes_a_replica_is_left() {
    let (server, other) = (RedisServer::start(), RedisServer::start());
    let store = server.store().await;
    write(&store, [put("7", 1, "{}")]).await;
    server.ask(&format!("REPLICAOF 127.0.0.1 {}", other.port));
    let refusal = reason(store.commit(&acme(), &batch([], [put("8", 1, "{}")])).await);
    assert!(refusal.contains("read-only replica"), "{refusal}");
    reason(store.get(&acme(), &[user("7")]).await);
    server.ask("REPLICAOF NO ONE");
    recovers(&store).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stopped_redis_holds_no_call_beyond_the_deadline() {
    let server = RedisServer::start();
    let deadline = Duration::from_secs(3);
    let store = Store::open(&Settings { deadline, ..server.settings() }).await.unwrap();
    let create = batch(
        [Check::Absent { key: user("7") }],
        [put("7", 1, "{}"), Write::CounterAdd { name: "seats".into(), delta: 1 }],
    );
    write(&store, [put("6", 1, "{}")]).await;
    server.signal("-STOP");
    for _ in 0..3 {
        let begun = tokio::time::Instant::now();
        reason(store.commit(&acme(), &create).await);
        reason(store.get(&acme(), &[user("6")]).await);
        // Two calls, and much time for a busy machine; a server that is stopped never answers.
        assert!(begun.elapsed() < deadline * 6, "{:?}", begun.elapsed());
    }
    server.signal("-CONT");
    // The outcome of all those tries is unknown; one more finds out, and it happened once.
    eventually_async(async || store.commit(&acme(), &create).await.ok()).await;
    assert_eq!(store.commit(&acme(), &create).await.unwrap(), Committed::Repeated);
    assert_eq!(store.counters(&acme(), &["seats"]).await.unwrap(), [1]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_the_server_has_closed_fails_no_call() {
    let server = RedisServer::start();
    let store = server.store().await;
    for n in 0..3 {
        server.ask("CLIENT KILL TYPE normal");
        write(&store, [put(&n.to_string(), 1, "{}")]).await;
        server.ask("CLIENT KILL TYPE normal");
        assert!(store.get(&acme(), &[user(&n.to_string())]).await.unwrap()[0].is_some());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redis_that_is_loading_is_waited_for() {
    let mut server = RedisServer::start();
    let store = server.store().await;
    for hundred in 0..30 {
        let ids = hundred * 100..(hundred + 1) * 100;
        write(&store, ids.map(|n| put(&n.to_string(), 1, "{}")).collect::<Vec<_>>()).await;
    }
    server.kill();
    // Five milliseconds for each of 6 000 commands; the server answers after every 1 024 of them.
    server.restart_with(&["--key-load-delay", "5000"]);
    readiness_says(&store, "Redis is loading").await;
    assert_eq!(server.ask("CONFIG SET key-load-delay 0"), "+OK\r\n");
    recovers(&store).await;
    assert_eq!(store.dump(&acme()).await.unwrap().documents.len(), 3_001);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_acknowledged_survives_kill_9_and_the_store_comes_back_by_itself() {
    let mut server = RedisServer::start();
    let store = server.store().await;
    let mut acknowledged = Vec::new();
    for round in 0..3 {
        let writing = store.clone();
        let writer = tokio::spawn(async move {
            let mut acknowledged = Vec::new();
            for n in 0.. {
                let id = format!("{round}-{n}");
                let create = batch([Check::Absent { key: user(&id) }], [put(&id, 1, "{}")]);
                match writing.commit(&acme(), &create).await {
                    Ok(_) => acknowledged.push(id),
                    Err(_) => break,
                }
            }
            acknowledged
        });
        // In the middle of the writing: once some of it is there.
        eventually_async(async || store.get(&acme(), &[user(&format!("{round}-20"))]).await.ok()?.remove(0)).await;
        server.kill();
        acknowledged.extend(writer.await.unwrap());
        server.restart();
        recovers(&store).await;
    }
    let dump = store.dump(&acme()).await.unwrap();
    assert!(acknowledged.len() >= 60);
    for id in acknowledged {
        assert!(dump.documents.contains_key(&("user".to_owned(), id.clone())), "{id} was acknowledged");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_opens_without_its_redis_and_says_that_it_is_missing() {
    let port = free_port();
    let url = format!("redis://user:secret@127.0.0.1:{port}").parse().unwrap();
    let directory = tempfile::tempdir().unwrap();
    let store = Store::open(&Settings::redis(url, directory.path())).await.unwrap();
    let refusal = reason(store.check().await);
    assert!(refusal.contains(&format!("no Redis at 127.0.0.1:{port}")) && !refusal.contains("secret"), "{refusal}");
    let refusal = reason(store.get(&acme(), &[user("7")]).await);
    assert!(refusal.contains("no Redis"), "{refusal}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redis_that_starts_later_is_found() {
    let mut server = RedisServer::start();
    server.kill();
    let store = server.store().await;
    reason(store.check().await);
    server.restart();
    recovers(&store).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redis_that_came_back_empty_is_not_written() {
    let mut server = RedisServer::start();
    let store = server.store().await;
    store.mark_installation("one").await.unwrap();
    write(&store, [put("7", 1, "{}")]).await;
    store.check().await.unwrap();
    server.kill();
    server.lose_volume();
    server.restart();
    readiness_says(&store, "its data was lost").await;
    let refusal = reason(store.commit(&acme(), &batch([], [put("7", 1, "{}")])).await);
    assert!(refusal.contains("`usherd init`"), "{refusal}");
    assert!(server.ask("DBSIZE").starts_with(":0"));
    store.mark_installation("one").await.unwrap();
    recovers(&store).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_redis_that_is_emptied_under_the_connection_is_noticed_by_the_readiness_check() {
    let server = RedisServer::start();
    let store = server.store().await;
    store.mark_installation("one").await.unwrap();
    store.check().await.unwrap();
    server.ask("FLUSHALL");
    reason(store.check().await);
    let refusal = reason(store.get(&acme(), &[user("7")]).await);
    assert!(refusal.contains("one is expected"), "{refusal}");
}

#[tokio::test(flavor = "multi_thread")]
async fn too_few_replicas_refuse_writes() {
    let server = RedisServer::start();
    let store = server.store().await;
    server.ask("CONFIG SET min-replicas-to-write 1");
    let refusal = reason(store.commit(&acme(), &batch([], [put("7", 1, "{}")])).await);
    assert!(refusal.contains("min-replicas-to-write"), "{refusal}");
    readiness_says(&store, "min-replicas-to-write").await;
    assert_eq!(store.get(&acme(), &[user("7")]).await.unwrap(), [None]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_password_is_explained_and_not_repeated() {
    let server = RedisServer::start();
    server.ask("CONFIG SET requirepass rightpass");
    for credentials in ["", ":wrongpass@"] {
        let url = format!("redis://{credentials}127.0.0.1:{}", server.port).parse().unwrap();
        let settings = Settings { url: Some(url), ..server.settings() };
        let store = Store::open(&settings).await.unwrap();
        let refusal = reason(store.check().await);
        assert!(refusal.contains("USHERD_STORE__URL"), "{refusal}");
        assert!(!format!("{refusal} {settings:?}").contains("wrongpass"));
    }
    let url = format!("redis://:rightpass@127.0.0.1:{}", server.port).parse().unwrap();
    Store::open(&Settings { url: Some(url), ..server.settings() }).await.unwrap().check().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_of_a_newer_release_is_refused() {
    let server = RedisServer::start();
    let store = server.store().await;
    let first = batch([], [put("7", 1, "{}")]);
    store.commit(&usherd::store::Space::Installation, &first).await.unwrap();
    assert_eq!(server.ask("GET usherd:{~}:schema"), "$1\r\n1\r\n");
    server.ask("SET usherd:{~}:schema 2");
    let Err(OpenError::NewerSchema { found: 2, supported: 1 }) = Store::open(&server.settings()).await.map(|_| ())
    else {
        panic!("schema 2 is newer")
    };
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_of_another_type_damages_one_batch_and_leaves_nothing_of_it() {
    let server = RedisServer::start();
    let store = server.store().await;
    server.ask("SET usherd:{acme}:index:names garbage");
    let batch = batch([], [put("7", 1, "{}"), Write::IndexAdd { index: index(), entry: entry("ann", "7") }]);
    let Err(StoreError::Damaged(what)) = store.commit(&acme(), &batch).await else { panic!("an index is no string") };
    assert_eq!(what, "usherd:{acme}:index:names holds a value of another type");
    assert_eq!(store.get(&acme(), &[user("7")]).await.unwrap(), [None]);
    let Err(StoreError::Damaged(_)) = store.range(&acme(), &index(), &Bounds::All, &Page::first(9)).await else {
        panic!("an index is no string")
    };
    server.ask("HSET usherd:{acme}:doc:user:7 revision many body x");
    let Err(StoreError::Damaged(_)) = store.get(&acme(), &[user("7")]).await else { panic!("`many` is no revision") };
    write(&store, [put("8", 1, "{}")]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_replicas_never_hold_the_same_claim() {
    let server = RedisServer::start();
    let (one, other) = (server.store().await, server.store().await);
    write(&one, (0..50).map(|n| Write::TimerSet { owner: user(&n.to_string()), due: at(1) }).collect::<Vec<_>>()).await;
    let mut claimed = Vec::new();
    for _ in 0..20 {
        let (space, lease) = (acme(), Duration::from_secs(60));
        let (some, more) = tokio::join!(one.claim_due(&space, 3, lease), other.claim_due(&space, 3, lease));
        claimed.extend(some.unwrap().into_iter().chain(more.unwrap()).map(|claim| claim.owner));
    }
    claimed.sort();
    assert_eq!(claimed.len(), 50);
    claimed.dedup();
    assert_eq!(claimed.len(), 50);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_claim_whose_answer_was_lost_is_found_again() {
    const LEASE: Duration = Duration::from_secs(600);
    let server = RedisServer::start();
    let deadline = Duration::from_secs(10);
    let store = Store::open(&Settings { deadline, ..server.settings() }).await.unwrap();
    let other = server.store().await;
    let timers = ["1", "2", "3"].map(|id| Write::TimerSet { owner: user(id), due: at(1) });
    write(&store, timers).await;
    let elsewhere = other.claim_due(&acme(), 1, LEASE).await.unwrap();
    // For longer than one attempt may take, and shorter than two.
    let pause = deadline.mul_f64(0.6).as_millis();
    assert_eq!(server.ask(&format!("CLIENT PAUSE {pause} ALL")), "+OK\r\n");
    let mine = store.claim_due(&acme(), 9, LEASE).await.unwrap();
    let owners: Vec<_> = mine.iter().map(|claim| claim.owner.clone()).collect();
    assert_eq!(owners, [user("2"), user("3")], "and not what {:?} is", elsewhere[0].owner);
    for claim in mine {
        assert_eq!(claim.due, at(1));
        let check = Check::Claimed { owner: claim.owner.clone(), token: claim.token };
        let done = batch([check], [Write::TimerClear { owner: claim.owner }]);
        assert_eq!(store.commit(&acme(), &done).await.unwrap(), Committed::Applied, "the claim is held");
    }
    assert_eq!(store.claim_due(&acme(), 9, LEASE).await.unwrap(), []);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_prefix_that_would_break_the_hash_tags_is_refused() {
    let server = RedisServer::start();
    let settings = Settings { prefix: "a{b}".to_owned(), ..server.settings() };
    assert!(matches!(Store::open(&settings).await.map(|_| ()), Err(OpenError::Prefix { .. })));
    let settings = Settings { prefix: "other".to_owned(), ..server.settings() };
    write(&Store::open(&settings).await.unwrap(), [put("7", 1, "{}")]).await;
    assert_eq!(server.ask("EXISTS other:{acme}:doc:user:7"), ":1\r\n");
    assert_eq!(server.store().await.get(&acme(), &[user("7")]).await.unwrap(), [None]);
}
