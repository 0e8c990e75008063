//! What a batch does and does not do.

use bytes::Bytes;
use tokio::task::JoinSet;
use usherd::store::{
    Batch, Check, ClaimToken, Committed, Document, Dump, Index, Reads, Space, StoreError, Timer, Write,
};
use uuid::Uuid;

use crate::fixture::{Fixture, acme, at, batch, commit_id, entry, index, on_both_backends, put, user, violated, write};

on_both_backends!(
    a_document_reads_back_as_it_was_put,
    every_check_lets_pass_what_it_should_and_names_itself_when_it_fails,
    one_trip_reads_documents_holders_entries_and_timers,
    a_batch_whose_last_check_fails_leaves_nothing,
    a_repeated_batch_changes_nothing_the_second_time,
    a_touch_changes_the_membership_count_and_only_with_a_bump_the_revision,
    removing_what_is_not_there_changes_nothing,
    writes_are_applied_in_their_order,
    sixty_four_writers_on_one_document_lose_no_update,
    sixty_four_writers_never_take_a_counter_beyond_its_bound,
    batches_that_are_too_large_are_refused,
    a_batch_of_the_largest_size_is_applied,
    spaces_do_not_see_each_other,
    names_of_every_script_are_kept,
    events_come_back_in_order_and_page_by_page,
    old_events_are_trimmed,
    a_store_of_another_installation_is_not_touched,
    what_was_committed_is_there_after_reopening,
);

async fn document(fixture: &Fixture, id: &str) -> Option<Document> {
    fixture.store.get(&acme(), &[user(id)]).await.unwrap().remove(0)
}

async fn a_document_reads_back_as_it_was_put(fixture: Fixture) {
    let batch =
        batch([], [put("7", 1, "{\"a\":1}"), Write::UniqueSet { unique: "name", key: "ann".into(), id: "7".into() }]);
    assert_eq!(fixture.store.commit(&acme(), &batch).await.unwrap(), Committed::Applied);
    let wanted = Document {
        revision: 1,
        commit: batch.commit,
        created: at(1),
        modified: at(2),
        memberships: 0,
        body: Bytes::from_static(b"{\"a\":1}"),
        state: Bytes::from_static(b"state"),
    };
    assert_eq!(fixture.store.get(&acme(), &[user("8"), user("7")]).await.unwrap(), [None, Some(wanted)]);
    let holders = fixture.store.lookup(&acme(), "name", &["ann", "bob"]).await.unwrap();
    assert_eq!(holders, [Some("7".to_owned()), None]);
}

async fn every_check_lets_pass_what_it_should_and_names_itself_when_it_fails(fixture: Fixture) {
    write(
        &fixture.store,
        [
            put("7", 3, "{}"),
            Write::UniqueSet { unique: "name", key: "ann".into(), id: "7".into() },
            Write::IndexAdd { index: index(), entry: entry("ann", "7") },
            Write::CounterAdd { name: "seats".into(), delta: 8 },
            Write::TimerSet { owner: user("7"), due: at(1) },
        ],
    )
    .await;
    let claim = fixture.store.claim_due(&acme(), 10, std::time::Duration::from_secs(60)).await.unwrap().remove(0);
    let seats = |delta, min, max| Check::Counter { name: "seats".into(), delta, min, max };
    let indexed = |key: &str, present| Check::Indexed { index: index(), entry: entry(key, "7"), present };
    let held = |key: &str, id: &str| Check::Held { unique: "name", key: key.into(), id: id.into() };
    let wakes = |id, wakes| Check::Timer { owner: user(id), wakes };
    let holds = [
        Check::Revision { key: user("7"), revision: 3 },
        Check::Exists { key: user("7") },
        Check::Absent { key: user("8") },
        Check::Free { unique: "name", key: "bob".into() },
        Check::Free { unique: "mail", key: "ann".into() },
        seats(2, 0, 10),
        seats(-8, 0, 10),
        seats(1, i64::MIN, i64::MAX),
        Check::Counter { name: "unknown".into(), delta: 0, min: 0, max: 0 },
        Check::Claimed { owner: user("7"), token: claim.token },
        indexed("ann", true),
        indexed("bob", false),
        held("ann", "7"),
        wakes("7", Some(claim.lease_until)),
        wakes("8", None),
    ];
    assert_eq!(fixture.store.commit(&acme(), &batch(holds, [])).await.unwrap(), Committed::Applied);
    for check in [
        Check::Revision { key: user("7"), revision: 2 },
        Check::Revision { key: user("7"), revision: 4 },
        Check::Revision { key: user("8"), revision: 1 },
        Check::Exists { key: user("8") },
        Check::Absent { key: user("7") },
        Check::Free { unique: "name", key: "ann".into() },
        seats(3, 0, 10),
        seats(-9, 0, 10),
        Check::Claimed { owner: user("7"), token: ClaimToken(Uuid::from_u128(1)) },
        Check::Claimed { owner: user("8"), token: claim.token },
        indexed("ann", false),
        indexed("bob", true),
        held("ann", "8"),
        held("bob", "7"),
        wakes("7", None),
        wakes("7", Some(at(1))),
        wakes("8", Some(at(1))),
    ] {
        assert_eq!(violated(&fixture.store, &batch([check.clone()], [put("9", 1, "{}")])).await, check);
    }
    assert_eq!(document(&fixture, "9").await, None);
}

async fn one_trip_reads_documents_holders_entries_and_timers(fixture: Fixture) {
    write(
        &fixture.store,
        [
            put("7", 3, "{}"),
            Write::UniqueSet { unique: "name", key: "ann".into(), id: "7".into() },
            Write::IndexAdd { index: index(), entry: entry("ann", "7") },
            Write::TimerSet { owner: user("7"), due: at(5) },
        ],
    )
    .await;
    let reads = Reads {
        documents: vec![user("8"), user("7")],
        unique: vec![("name", "ann".into()), ("name", "bob".into())],
        entries: vec![(index(), entry("bob", "7")), (index(), entry("ann", "7")), (index(), entry("ann", "8"))],
        timers: vec![user("7"), user("8")],
    };
    let found = fixture.store.read(&acme(), &reads).await.unwrap();
    assert_eq!(found.documents.iter().map(|it| it.as_ref().map(|it| it.revision)).collect::<Vec<_>>(), [None, Some(3)]);
    assert_eq!(found.unique, [Some("7".to_owned()), None]);
    assert_eq!(found.entries, [false, true, false]);
    assert_eq!(found.timers, [Some(Timer { owner: user("7"), due: at(5), wakes: at(5) }), None]);
    let claim = fixture.store.claim_due(&acme(), 1, std::time::Duration::from_secs(60)).await.unwrap().remove(0);
    let timer = fixture.store.timer(&acme(), &user("7")).await.unwrap();
    assert_eq!(timer, Some(Timer { owner: user("7"), due: at(5), wakes: claim.lease_until }));
}

async fn a_batch_whose_last_check_fails_leaves_nothing(fixture: Fixture) {
    write(&fixture.store, [put("7", 1, "{}"), Write::CounterAdd { name: "seats".into(), delta: 1 }]).await;
    let before = fixture.store.dump(&acme()).await.unwrap();
    let checks = [Check::Exists { key: user("7") }, Check::Absent { key: user("8") }, Check::Exists { key: user("9") }];
    let everything = [
        put("7", 2, "new"),
        put("8", 1, "{}"),
        Write::Delete { key: user("7") },
        Write::Touch { key: user("7"), memberships: 1, bump: Some(at(9)) },
        Write::UniqueSet { unique: "name", key: "ann".into(), id: "7".into() },
        Write::UniqueClear { unique: "name", key: "bob".into() },
        Write::IndexAdd { index: index(), entry: entry("ann", "7") },
        Write::IndexRemove { index: index(), entry: entry("bob", "7") },
        Write::TimerSet { owner: user("7"), due: at(1) },
        Write::TimerClear { owner: user("8") },
        Write::CounterAdd { name: "seats".into(), delta: 5 },
        Write::EventAppend { body: Bytes::from_static(b"event") },
    ];
    assert_eq!(violated(&fixture.store, &batch(checks.clone(), everything)).await, checks[2]);
    assert_eq!(fixture.store.dump(&acme()).await.unwrap(), before);
}

async fn a_repeated_batch_changes_nothing_the_second_time(fixture: Fixture) {
    let create = batch(
        [Check::Absent { key: user("7") }, Check::Free { unique: "name", key: "ann".into() }],
        [
            put("7", 1, "{}"),
            Write::UniqueSet { unique: "name", key: "ann".into(), id: "7".into() },
            Write::CounterAdd { name: "seats".into(), delta: 1 },
            Write::EventAppend { body: Bytes::from_static(b"created") },
        ],
    );
    assert_eq!(fixture.store.commit(&acme(), &create).await.unwrap(), Committed::Applied);
    let before = fixture.store.dump(&acme()).await.unwrap();
    assert_eq!(fixture.store.commit(&acme(), &create).await.unwrap(), Committed::Repeated);
    assert_eq!(fixture.store.dump(&acme()).await.unwrap(), before);
    // A batch without checks is recognised as well.
    let blind = batch([], [put("8", 1, "{}"), Write::CounterAdd { name: "seats".into(), delta: 1 }]);
    assert_eq!(fixture.store.commit(&acme(), &blind).await.unwrap(), Committed::Applied);
    assert_eq!(fixture.store.commit(&acme(), &blind).await.unwrap(), Committed::Repeated);
    assert_eq!(fixture.store.counters(&acme(), &["seats"]).await.unwrap(), [2]);
    // The same content under another commit id is another batch.
    let other = Batch { commit: commit_id(), ..create.clone() };
    assert_eq!(violated(&fixture.store, &other).await, create.checks[0]);
}

async fn a_touch_changes_the_membership_count_and_only_with_a_bump_the_revision(fixture: Fixture) {
    let touch = |memberships, bump| Write::Touch { key: user("7"), memberships, bump };
    write(
        &fixture.store,
        [put("7", 1, "{}"), touch(2, None), Write::Touch { key: user("8"), memberships: 1, bump: None }],
    )
    .await;
    let touched = document(&fixture, "7").await.unwrap();
    assert_eq!((touched.revision, touched.memberships, touched.modified), (1, 2, at(2)));
    write(&fixture.store, [touch(1, Some(at(9)))]).await;
    let bumped = document(&fixture, "7").await.unwrap();
    assert_eq!((bumped.revision, bumped.memberships, bumped.modified), (2, 3, at(9)));
    assert_eq!(bumped.commit, touched.commit);
    write(&fixture.store, [put("7", 3, "new")]).await;
    assert_eq!(document(&fixture, "7").await.unwrap().memberships, 3, "a put keeps the count");
    write(&fixture.store, [touch(-9, None)]).await;
    assert_eq!(document(&fixture, "7").await.unwrap().memberships, 0);
    assert_eq!(document(&fixture, "8").await, None, "a touch makes nothing");
}

async fn removing_what_is_not_there_changes_nothing(fixture: Fixture) {
    write(
        &fixture.store,
        [
            Write::Delete { key: user("7") },
            Write::UniqueClear { unique: "name", key: "ann".into() },
            Write::IndexRemove { index: index(), entry: entry("ann", "7") },
            Write::TimerClear { owner: user("7") },
        ],
    )
    .await;
    assert_eq!(fixture.store.dump(&acme()).await.unwrap(), Dump::default());
}

async fn writes_are_applied_in_their_order(fixture: Fixture) {
    let hold = |id: &str| Write::UniqueSet { unique: "name", key: "ann".into(), id: id.into() };
    write(
        &fixture.store,
        [
            put("7", 1, "old"),
            Write::Delete { key: user("7") },
            put("7", 1, "new"),
            hold("6"),
            Write::UniqueClear { unique: "name", key: "ann".into() },
            hold("7"),
            Write::IndexAdd { index: index(), entry: entry("ann", "7") },
            Write::IndexAdd { index: index(), entry: entry("ann", "7") },
            Write::IndexRemove { index: index(), entry: entry("ann", "7") },
        ],
    )
    .await;
    assert_eq!(document(&fixture, "7").await.unwrap().body, "new");
    assert_eq!(fixture.store.lookup(&acme(), "name", &["ann"]).await.unwrap(), [Some("7".to_owned())]);
    assert_eq!(fixture.store.count(&acme(), &index(), &usherd::store::Bounds::All).await.unwrap(), 0);
}

async fn sixty_four_writers_on_one_document_lose_no_update(fixture: Fixture) {
    write(&fixture.store, [put("7", 1, "0")]).await;
    let mut writers = JoinSet::new();
    for _ in 0..64 {
        let store = fixture.store.clone();
        writers.spawn(async move {
            loop {
                let found = store.get(&acme(), &[user("7")]).await.unwrap().remove(0).unwrap();
                let sum: u64 = std::str::from_utf8(&found.body).unwrap().parse().unwrap();
                let check = Check::Revision { key: user("7"), revision: found.revision };
                let batch = batch([check], [put("7", found.revision + 1, &(sum + 1).to_string())]);
                match store.commit(&acme(), &batch).await {
                    Ok(_) => return,
                    Err(StoreError::Conflict(_)) => {}
                    Err(error) => panic!("{error}"),
                }
            }
        });
    }
    writers.join_all().await;
    let found = document(&fixture, "7").await.unwrap();
    assert_eq!((&found.body[..], found.revision), (&b"64"[..], 65));
}

async fn sixty_four_writers_never_take_a_counter_beyond_its_bound(fixture: Fixture) {
    let mut writers = JoinSet::new();
    for _ in 0..64 {
        let store = fixture.store.clone();
        writers.spawn(async move {
            let check = Check::Counter { name: "seats".into(), delta: 1, min: 0, max: 40 };
            let take = batch([check], [Write::CounterAdd { name: "seats".into(), delta: 1 }]);
            match store.commit(&acme(), &take).await {
                Ok(_) => 1,
                Err(StoreError::Conflict(_)) => 0,
                Err(error) => panic!("{error}"),
            }
        });
    }
    assert_eq!(writers.join_all().await.iter().sum::<i32>(), 40);
    assert_eq!(fixture.store.counters(&acme(), &["seats", "none"]).await.unwrap(), [40, 0]);
}

async fn batches_that_are_too_large_are_refused(fixture: Fixture) {
    let many = batch([], vec![Write::Delete { key: user("7") }; 2_001]);
    let Err(StoreError::TooLarge { writes: 2_001, .. }) = fixture.store.commit(&acme(), &many).await else {
        panic!("2 001 writes are too many")
    };
    let big = batch([], [put("7", 1, &"x".repeat(1 << 20))]);
    let Err(StoreError::TooLarge { writes: 1, .. }) = fixture.store.commit(&acme(), &big).await else {
        panic!("a mebibyte and a key are too much")
    };
    assert_eq!(document(&fixture, "7").await, None);
}

async fn a_batch_of_the_largest_size_is_applied(fixture: Fixture) {
    let add = |n: usize| Write::IndexAdd { index: index(), entry: entry(&format!("{n:04}"), "7") };
    let absent = |n: usize| Check::Absent { key: user(&n.to_string()) };
    let largest = batch((0..2_000).map(absent).collect::<Vec<_>>(), (0..2_000).map(add).collect::<Vec<_>>());
    assert_eq!(fixture.store.commit(&acme(), &largest).await.unwrap(), Committed::Applied);
    assert_eq!(fixture.store.count(&acme(), &index(), &usherd::store::Bounds::All).await.unwrap(), 2_000);
}

async fn spaces_do_not_see_each_other(fixture: Fixture) {
    let acme_two = Space::Account("acme-2".parse().unwrap());
    write(&fixture.store, [put("7", 1, "{}"), Write::IndexAdd { index: index(), entry: entry("ann", "7") }]).await;
    let batch = batch([Check::Absent { key: user("7") }], [put("7", 1, "other")]);
    for space in [&acme_two, &Space::Installation] {
        assert_eq!(fixture.store.dump(space).await.unwrap(), Dump::default());
        assert_eq!(fixture.store.commit(space, &batch).await.unwrap(), Committed::Applied);
        assert_eq!(fixture.store.dump(space).await.unwrap().documents.len(), 1);
    }
    assert_eq!(document(&fixture, "7").await.unwrap().body, "{}");
}

async fn names_of_every_script_are_kept(fixture: Fixture) {
    let name = "Żółć 木 🦀 ß:{}*[]\u{fffd}\"\\ \n";
    write(
        &fixture.store,
        [
            put(name, 1, name),
            Write::UniqueSet { unique: "name", key: name.into(), id: name.into() },
            Write::IndexAdd { index: Index::new(format!("member:{name}")), entry: entry(name, name) },
            Write::TimerSet { owner: user(name), due: at(5) },
            Write::CounterAdd { name: name.into(), delta: 1 },
        ],
    )
    .await;
    let dump = fixture.store.dump(&acme()).await.unwrap();
    assert_eq!(dump.documents[&("user".to_owned(), name.to_owned())].body, name);
    assert_eq!(dump.unique[&("name".to_owned(), name.to_owned())], name);
    assert_eq!(dump.indexes[&format!("member:{name}")], [entry(name, name)]);
    assert_eq!(dump.timers[&("user".to_owned(), name.to_owned())], at(5));
    assert_eq!(dump.counters[name], 1);
}

async fn events_come_back_in_order_and_page_by_page(fixture: Fixture) {
    let event = |n: u8| Write::EventAppend { body: Bytes::copy_from_slice(&[b'0' + n]) };
    write(&fixture.store, (0..5).map(event).collect::<Vec<_>>()).await;
    write(&fixture.store, (5..8).map(event).collect::<Vec<_>>()).await;
    let bodies = async |after, limit, reverse| {
        let page = fixture.store.events(&acme(), after, limit, reverse).await.unwrap();
        let text: Vec<u8> = page.iter().flat_map(|event| event.body.to_vec()).collect();
        (String::from_utf8(text).unwrap(), page.last().map(|event| event.id))
    };
    let (first, after) = bodies(None, 6, false).await;
    assert_eq!(first, "012345");
    assert_eq!(bodies(after, 6, false).await.0, "67");
    let (last, before) = bodies(None, 3, true).await;
    assert_eq!(last, "765");
    assert_eq!(bodies(before, 100, true).await.0, "43210");
    assert_eq!(bodies(None, 0, false).await.0, "");
}

async fn old_events_are_trimmed(fixture: Fixture) {
    write(&fixture.store, [Write::EventAppend { body: Bytes::from_static(b"old") }]).await;
    let old = fixture.store.events(&acme(), None, 1, false).await.unwrap().remove(0).id;
    let millis = i64::try_from(old.millis).unwrap();
    fixture.store.trim_events(&acme(), at(millis)).await.unwrap();
    assert_eq!(fixture.store.events(&acme(), None, 9, false).await.unwrap().len(), 1, "it is not older");
    fixture.store.trim_events(&acme(), at(millis + 1)).await.unwrap();
    assert_eq!(fixture.store.events(&acme(), None, 9, false).await.unwrap(), []);
}

async fn a_store_of_another_installation_is_not_touched(fixture: Fixture) {
    assert_eq!(fixture.store.installation().await.unwrap(), None);
    assert_eq!(fixture.store.mark_installation("one").await.unwrap(), "one");
    assert_eq!(fixture.store.mark_installation("two").await.unwrap(), "one", "a marker is written once");
    write(&fixture.store, [put("7", 1, "{}")]).await;
    let mut settings = fixture.settings();
    settings.installation = Some("two".to_owned());
    let stranger = fixture.reopen(&settings).await;
    assert_eq!(stranger.store.installation().await.unwrap().as_deref(), Some("one"));
    let refused = [
        crate::fixture::reason(stranger.store.commit(&acme(), &batch([], [put("7", 2, "{}")])).await),
        crate::fixture::reason(stranger.store.get(&acme(), &[user("7")]).await),
        crate::fixture::reason(stranger.store.check().await),
    ];
    for reason in refused {
        assert!(reason.contains("belongs to installation one, not to two"), "{reason}");
    }
    settings.installation = Some("one".to_owned());
    let ours = stranger.reopen(&settings).await;
    assert_eq!(document(&ours, "7").await.unwrap().revision, 1);
    ours.store.check().await.unwrap();
}

async fn what_was_committed_is_there_after_reopening(fixture: Fixture) {
    write(&fixture.store, [put("7", 1, "{}"), Write::TimerSet { owner: user("7"), due: at(1) }]).await;
    let before = fixture.store.dump(&acme()).await.unwrap();
    let settings = fixture.settings();
    let fixture = fixture.reopen(&settings).await;
    assert_eq!(fixture.store.dump(&acme()).await.unwrap(), before);
}
