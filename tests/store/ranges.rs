//! Ordered ranges.

use usherd::store::{Bounds, Entry, Page, Store, Write};

use crate::fixture::{Fixture, acme, entry, index, on_both_backends, write};

on_both_backends!(
    bounds_take_the_keys_that_they_name,
    a_page_begins_behind_its_cursor_and_leaves_out_its_offset,
    every_page_by_number_is_its_part_of_the_whole_in_both_directions,
    a_walk_by_cursor_meets_every_entry_once_in_both_directions,
    an_index_that_was_never_written_is_empty,
);

/// In the order of their bytes: key, then id. `a` stands before `a!` although NUL separates key and id in the store.
const ENTRIES: [(&str, &str); 9] =
    [("", "0"), ("a", "1"), ("a", "2"), ("a!", "1"), ("ab", "1"), ("b", "1"), ("zebra", "1"), ("ß", "1"), ("🦀", "1")];

async fn fill(store: &Store) {
    // Not in their order, and with an index beside it whose name begins alike.
    let mut writes: Vec<_> =
        ENTRIES.iter().rev().map(|(key, id)| Write::IndexAdd { index: index(), entry: entry(key, id) }).collect();
    for name in ["name", "namesake", "names:x"] {
        writes.push(Write::IndexAdd { index: usherd::store::Index::new(name), entry: entry("a", "x") });
    }
    write(store, writes).await;
}

async fn range(store: &Store, bounds: &Bounds, page: Page) -> Vec<String> {
    let found = store.range(&acme(), &index(), bounds, &page).await.unwrap();
    found.into_iter().map(|Entry { key, id }| format!("{key}/{id}")).collect()
}

async fn bounds_take_the_keys_that_they_name(fixture: Fixture) {
    fill(&fixture.store).await;
    let between = |from: Option<&str>, to: Option<&str>| Bounds::Between {
        from: from.map(str::to_owned),
        to: to.map(str::to_owned),
    };
    let since = |key: &str, id: &str| Bounds::Since { key: key.to_owned(), id: id.to_owned() };
    let all = ["/0", "a/1", "a/2", "a!/1", "ab/1", "b/1", "zebra/1", "ß/1", "🦀/1"];
    for (bounds, wanted) in [
        (Bounds::All, &all[..]),
        (Bounds::Key("a".into()), &all[1..3]),
        (Bounds::Key(String::new()), &all[..1]),
        (Bounds::Key("c".into()), &[]),
        (Bounds::Prefix("a".into()), &all[1..5]),
        (Bounds::Prefix(String::new()), &all[..]),
        (Bounds::Prefix("ß".into()), &all[7..8]),
        (between(None, None), &all[..]),
        (between(Some("a"), Some("a")), &all[1..3]),
        (between(Some("a!"), Some("b")), &all[3..6]),
        (between(Some("aa"), None), &all[4..]),
        (between(None, Some("ab")), &all[..5]),
        (between(None, Some("")), &all[..1]),
        (between(Some("b"), Some("a")), &[]),
        (since("a", ""), &all[1..3]),
        (since("a", "1"), &all[1..3]),
        (since("a", "15"), &all[2..3]),
        (since("a", "3"), &[]),
        (since("", "0"), &all[..1]),
    ] {
        assert_eq!(range(&fixture.store, &bounds, Page::first(100)).await, wanted, "{bounds:?}");
        let reversed: Vec<_> = wanted.iter().rev().copied().collect();
        assert_eq!(
            range(&fixture.store, &bounds, Page { reverse: true, ..Page::first(100) }).await,
            reversed,
            "{bounds:?}"
        );
        let count = fixture.store.count(&acme(), &index(), &bounds).await.unwrap();
        assert_eq!(count, wanted.len() as u64, "{bounds:?}");
    }
}

async fn a_page_begins_behind_its_cursor_and_leaves_out_its_offset(fixture: Fixture) {
    fill(&fixture.store).await;
    let page = |after: Option<(&str, &str)>, offset, limit, reverse| Page {
        after: after.map(|(key, id)| entry(key, id)),
        offset,
        limit,
        reverse,
    };
    let a = Bounds::Prefix("a".into());
    for (bounds, page, wanted) in [
        (&a, page(None, 1, 2, false), &["a/2", "a!/1"][..]),
        (&a, page(None, 1, 2, true), &["a!/1", "a/2"]),
        (&a, page(None, 9, 2, false), &[]),
        (&a, page(None, 9, 2, true), &[]),
        (&a, page(None, 0, 0, false), &[]),
        (&a, page(None, 3, usize::MAX, false), &["ab/1"]),
        (&a, page(Some(("a", "2")), 0, 9, false), &["a!/1", "ab/1"]),
        (&a, page(Some(("a", "2")), 1, 9, false), &["ab/1"]),
        (&a, page(Some(("a", "2")), 0, 9, true), &["a/1"]),
        (&a, page(Some(("a", "15")), 0, 1, false), &["a/2"]),
        (&a, page(Some(("b", "1")), 0, 9, false), &[]),
        (&a, page(Some(("b", "1")), 0, 1, true), &["ab/1"]),
        (&Bounds::All, page(Some(("zebra", "1")), 1, 1, false), &["🦀/1"]),
        (&Bounds::All, page(None, 8, 5, false), &["🦀/1"]),
        (
            &Bounds::All,
            page(None, 0, usize::MAX, true),
            &["🦀/1", "ß/1", "zebra/1", "b/1", "ab/1", "a!/1", "a/2", "a/1", "/0"],
        ),
    ] {
        assert_eq!(range(&fixture.store, bounds, page.clone()).await, wanted, "{bounds:?} {page:?}");
    }
}

async fn every_page_by_number_is_its_part_of_the_whole_in_both_directions(fixture: Fixture) {
    fill(&fixture.store).await;
    for reverse in [false, true] {
        let mut whole: Vec<Entry> = ENTRIES.iter().map(|(key, id)| entry(key, id)).collect();
        if reverse {
            whole.reverse();
        }
        for offset in 0..=whole.len() + 1 {
            for limit in [0, 1, 3, whole.len(), usize::MAX] {
                let page = Page { offset, limit, reverse, ..Page::first(1) };
                let found = fixture.store.range(&acme(), &index(), &Bounds::All, &page).await.unwrap();
                let wanted: Vec<Entry> = whole.iter().skip(offset).take(limit).cloned().collect();
                assert_eq!(found, wanted, "{page:?}");
            }
        }
    }
}

async fn a_walk_by_cursor_meets_every_entry_once_in_both_directions(fixture: Fixture) {
    fill(&fixture.store).await;
    for reverse in [false, true] {
        let mut met = Vec::new();
        loop {
            let page = Page { after: met.last().cloned(), reverse, ..Page::first(2) };
            let found = fixture.store.range(&acme(), &index(), &Bounds::All, &page).await.unwrap();
            if found.is_empty() {
                break;
            }
            met.extend(found);
        }
        let mut wanted: Vec<Entry> = ENTRIES.iter().map(|(key, id)| entry(key, id)).collect();
        if reverse {
            wanted.reverse();
        }
        assert_eq!(met, wanted);
    }
}

async fn an_index_that_was_never_written_is_empty(fixture: Fixture) {
    assert!(range(&fixture.store, &Bounds::All, Page::first(9)).await.is_empty());
    assert!(range(&fixture.store, &Bounds::All, Page { offset: 3, ..Page::first(9) }).await.is_empty());
    assert_eq!(fixture.store.count(&acme(), &index(), &Bounds::All).await.unwrap(), 0);
}
