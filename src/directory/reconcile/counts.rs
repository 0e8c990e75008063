//! What is counted apart from what it counts: seats (V9) and Account Admins (V10).

use super::invariant::Invariant;
use super::run::{ATTEMPTS, CHUNK, Halt, Run, Wrong, index};
use crate::directory::kind::Kind;
use crate::directory::record::UserRecord;
use crate::directory::resources::Resource;
use crate::directory::{entropy, keys};
use crate::domain::ids::ResourceId;
use crate::domain::roles::LicenseKind;
use crate::store::{Batch, Bounds, Check, DocumentKey, Index, Page, Write};

/// A counter that agrees with itself at one moment, and how many there really were at that moment.
struct Counted {
    counter: i64,
    stored: i64,
}

impl Run<'_> {
    pub(super) async fn counts(&mut self) -> Result<(), Halt> {
        let mut page = Page::first(CHUNK);
        loop {
            let licenses =
                self.directory.store.range(&self.space, &keys::all(Kind::License), &Bounds::All, &page).await?;
            let wanted: Vec<DocumentKey> = licenses.iter().map(|entry| Kind::License.key(&entry.id)).collect();
            for (key, document) in wanted.iter().zip(self.directory.store.get(&self.space, &wanted).await?) {
                if let (Some(document), Ok(id)) = (document, key.id.parse::<ResourceId>())
                    && let Ok(license) = Resource::decode(Kind::License, id, &document)
                {
                    self.license(key, &license).await?;
                }
            }
            match licenses.into_iter().next_back() {
                Some(last) if wanted.len() == CHUNK => page.after = Some(last),
                _ => break,
            }
        }
        self.admins().await
    }

    async fn license(&mut self, key: &DocumentKey, license: &Resource) -> Result<(), Halt> {
        let Some(terms) = license.terms().filter(|terms| terms.kind == LicenseKind::PerUser) else { return Ok(()) };
        let id = license.id;
        let seats = keys::seats(id);
        let walked = self.seats.get(&id).copied().unwrap_or(0);
        let holds =
            |record: &UserRecord| record.user.licenses.iter().any(|assigned| assigned.seat && assigned.license == id);
        self.counter(key, &seats, walked, &index(keys::assigned(id)), holds).await?;
        let used = self.read_counter(&seats).await?;
        if let Some(quota) = terms.seats.and_then(|quota| i64::try_from(quota).ok())
            && used > quota
        {
            self.alert(Invariant::V9, super::run::name(key), format!("{used} seats are used of {quota}"));
        }
        Ok(())
    }

    async fn admins(&mut self) -> Result<(), Halt> {
        let key = keys::settings();
        let is_admin = |record: &UserRecord| record.user.is_effective_admin();
        self.counter(&key, keys::ADMIN_COUNT, self.admins, &index(keys::ADMINS), is_admin).await?;
        if self.directory.store.count(&self.space, &index(keys::ADMINS), &Bounds::All).await? == 0 {
            self.alert(Invariant::V10, "account", "nobody is an Active Account Admin: `usherd admin grant` makes one");
        }
        Ok(())
    }

    async fn read_counter(&self, name: &str) -> Result<i64, Halt> {
        Ok(self.directory.store.counters(&self.space, &[name]).await?.into_iter().next().unwrap_or(0))
    }

    /// Compares a counter with what it counts: first with what the walk met, and when that differs, as it does beside
    /// live traffic, exactly.
    async fn counter(
        &mut self,
        subject: &DocumentKey,
        name: &str,
        walked: i64,
        among: &Index,
        counts: impl Fn(&UserRecord) -> bool + Copy,
    ) -> Result<(), Halt> {
        if self.read_counter(name).await? == walked {
            return Ok(());
        }
        for _ in 0..ATTEMPTS {
            let Some(Counted { counter, stored }) = self.count_exactly(name, among, counts).await? else { continue };
            if counter == stored {
                return Ok(());
            }
            let mut batch = Batch::new(entropy::commit_id(self.now()));
            // Whoever counts at this moment counts on both sides, so that the difference stays what it is; only another
            // repair would not.
            let (min, max) = (counter, counter);
            batch.checks.push(Check::Counter { name: name.to_owned(), delta: 0, min, max });
            batch.writes.push(Write::CounterAdd { name: name.to_owned(), delta: stored - counter });
            let wrong = Wrong::of(Invariant::V9, format!("the counter {name} is {counter} instead of {stored}"));
            if self.repair(subject, &[wrong], batch).await? {
                return Ok(());
            }
        }
        Ok(())
    }

    /// Reads the counter between two walks over what it counts. When both walks met the same revisions, nothing changed
    /// from one to the other, so the counter belongs to what they met. `None`: something did.
    async fn count_exactly(
        &mut self,
        name: &str,
        among: &Index,
        counts: impl Fn(&UserRecord) -> bool + Copy,
    ) -> Result<Option<Counted>, Halt> {
        let (stored, before) = self.tally(among, counts).await?;
        let counter = self.read_counter(name).await?;
        let (_, after) = self.tally(among, counts).await?;
        Ok((before == after).then_some(Counted { counter, stored }))
    }

    /// How many of the users in an index count, and a fingerprint of their revisions.
    async fn tally(
        &mut self,
        among: &Index,
        counts: impl Fn(&UserRecord) -> bool,
    ) -> Result<(i64, super::ledger::Fingerprint), Halt> {
        let mut fingerprint = super::ledger::Fingerprint::default();
        let mut stored = 0;
        let mut page = Page::first(CHUNK);
        loop {
            let users = self.directory.store.range(&self.space, among, &Bounds::All, &page).await?;
            let wanted: Vec<DocumentKey> = users.iter().map(|entry| DocumentKey::new(keys::USER, &entry.id)).collect();
            for (key, document) in wanted.iter().zip(self.directory.store.get(&self.space, &wanted).await?) {
                let Some(document) = document else { continue };
                fingerprint.add(&(&*key.id, document.revision));
                stored += i64::from(UserRecord::decode(&document).is_ok_and(|record| counts(&record)));
            }
            self.pause().await;
            match users.into_iter().next_back() {
                Some(last) if wanted.len() == CHUNK => page.after = Some(last),
                _ => return Ok((stored, fingerprint)),
            }
        }
    }
}
