//! Double-entry bookkeeping of where documents stand: the document says so on one side, the index on the other.

use std::hash::{DefaultHasher, Hash, Hasher};

/// Sums by bucket of ids. What a document says is added, what an index holds is taken away: a bucket that is not zero
/// in the end has an id in it of which the two disagree. Half a megabyte, whatever the size of the account. That two
/// differences hide each other has a chance of one in 2^64.
pub(super) struct Ledger(Vec<u64>);

const BUCKETS: usize = 1 << 16;

/// A statement that a document and an index make of one another.
#[derive(Hash)]
pub(super) enum Claim<'a> {
    Entry {
        index: &'a str,
        key: &'a str,
    },
    Unique {
        name: &'a str,
        key: &'a str,
    },
    /// The member is in this group.
    Member {
        group: &'a str,
    },
    /// One of its memberships.
    Membership,
}

impl Ledger {
    pub fn new() -> Self {
        Ledger(vec![0; BUCKETS])
    }

    fn bucket(id: &str) -> usize {
        let mut hasher = DefaultHasher::new();
        id.hash(&mut hasher);
        usize::try_from(hasher.finish() % BUCKETS as u64).unwrap_or(0)
    }

    fn weight(id: &str, claim: &Claim<'_>) -> u64 {
        let mut hasher = DefaultHasher::new();
        (id, claim).hash(&mut hasher);
        hasher.finish()
    }

    /// The document `id` claims this, so many times.
    pub fn document(&mut self, id: &str, claim: &Claim<'_>, times: u64) {
        let sum = &mut self.0[Self::bucket(id)];
        *sum = sum.wrapping_add(Self::weight(id, claim).wrapping_mul(times));
    }

    /// An index holds this of the document `id`.
    pub fn index(&mut self, id: &str, claim: &Claim<'_>) {
        let sum = &mut self.0[Self::bucket(id)];
        *sum = sum.wrapping_sub(Self::weight(id, claim));
    }

    /// Makes sure that this one is looked at, whatever the sums say.
    pub fn suspect(&mut self, id: &str) {
        let sum = &mut self.0[Self::bucket(id)];
        *sum = sum.wrapping_add(Self::weight(id, &Claim::Unique { name: "suspect", key: "" }));
    }

    /// Whether the two sides may disagree about this one.
    pub fn doubts(&self, id: &str) -> bool {
        self.0[Self::bucket(id)] != 0
    }

    pub fn balances(&self) -> bool {
        self.0.iter().all(|sum| *sum == 0)
    }
}

/// A sum over things that were met, to see whether the same are met again.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Fingerprint {
    sum: u64,
    count: u64,
}

impl Fingerprint {
    pub fn add(&mut self, thing: &impl Hash) {
        let mut hasher = DefaultHasher::new();
        thing.hash(&mut hasher);
        self.sum = self.sum.wrapping_add(hasher.finish());
        self.count += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_two_sides_come_to_nothing_when_they_agree_and_name_who_differs_when_not() {
        let mut ledger = Ledger::new();
        let entry = Claim::Entry { index: "user.name", key: "ada" };
        ledger.document("1", &entry, 1);
        ledger.document("2", &Claim::Membership, 3);
        assert!(ledger.doubts("1") && ledger.doubts("2"));
        ledger.index("1", &entry);
        for _ in 0..3 {
            ledger.index("2", &Claim::Membership);
        }
        assert!(ledger.balances());
        ledger.index("1", &Claim::Entry { index: "user.name", key: "adb" });
        assert!(ledger.doubts("1") && !ledger.doubts("2") && !ledger.balances());
    }
}
