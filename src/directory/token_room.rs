//! The tokens of an account as a whole: listed, bounded in their number, and forgotten when they have ended long ago.

use super::error::{Error, readable};
use super::tokens::{Token, TokenSummary, entry, read_token};
use super::uses::Use;
use super::{Directory, entropy, keys};
use crate::domain::ids::AccountId;
use crate::domain::time::Timestamp;
use crate::store::{Batch, Bounds, Document, DocumentKey, Index, Page, Space, Write};

/// So many tokens an account has at the most, whatever became of them, but for those that two requests make at the same
/// moment.
pub const MAX_TOKENS: usize = 1_000;
/// So many are read or forgotten in one trip; a token that is forgotten is four writes.
const AT_ONCE: usize = 400;

impl Directory {
    /// All tokens of an account, by client.
    ///
    /// # Errors
    /// Of the store.
    pub async fn list_tokens(&self, account: &AccountId) -> Result<Vec<Token>, Error> {
        self.account(account).await?;
        let space = Space::Account(account.clone());
        let (mut tokens, mut page) = (Vec::new(), Page::first(AT_ONCE));
        loop {
            let entries = self.store.range(&space, &Index::new(keys::TOKENS), &Bounds::All, &page).await?;
            let wanted: Vec<_> = entries.iter().map(|entry| DocumentKey::new(keys::TOKEN, &entry.id)).collect();
            if wanted.is_empty() {
                return Ok(tokens);
            }
            for (key, document) in wanted.iter().zip(self.store.get(&space, &wanted).await?) {
                let token = document.map(|document| read_token(&document.body));
                tokens.extend(token.and_then(|token| readable(key.kind, &key.id, token)));
            }
            page.after = entries.into_iter().last();
        }
    }

    /// As [`Directory::list_tokens`], with when each was used last.
    ///
    /// # Errors
    /// As there.
    pub async fn token_summaries(&self, account: &AccountId) -> Result<Vec<TokenSummary>, Error> {
        let tokens = self.list_tokens(account).await?;
        let wanted: Vec<_> = tokens.iter().map(|token| keys::token_use(token.id)).collect();
        if wanted.is_empty() {
            return Ok(Vec::new());
        }
        let uses = self.store.get(&Space::Account(account.clone()), &wanted).await?;
        let summary = |(token, document): (Token, Option<Document>)| {
            let used = document.map(|document| serde_json::from_slice::<Use>(&document.body)).transpose();
            let used = used.map_err(|error| Error::damaged("use of a token", error))?;
            Ok(TokenSummary { token, last_used: used.map(|used| used.at) })
        };
        tokens.into_iter().zip(uses).map(summary).collect()
    }

    /// Sees to it that there is room for one more token: where it is full, those that have ended make way.
    ///
    /// # Errors
    /// [`Error::TooMany`] when all of them live.
    pub(super) async fn make_room(&self, account: &AccountId) -> Result<(), Error> {
        let space = Space::Account(account.clone());
        let is_full = async || {
            let count = self.store.count(&space, &Index::new(keys::TOKENS), &Bounds::All).await?;
            Ok::<_, Error>(count >= MAX_TOKENS as u64)
        };
        if !is_full().await? {
            return Ok(());
        }
        self.forget_tokens(account, self.store.now()).await?;
        match is_full().await? {
            false => Ok(()),
            true => Err(Error::TooMany(format!(
                "this account has {MAX_TOKENS} living tokens, which is as many as it may have: revoke those that no \
                 client uses any more"
            ))),
        }
    }

    /// Forgets the tokens that ended at `before` or earlier. What they did stands in the audit.
    ///
    /// # Errors
    /// Of the store.
    pub async fn forget_tokens(&self, account: &AccountId, before: Timestamp) -> Result<(), Error> {
        let now = self.store.now();
        let ended = |token: &Token| token.ended_at(now).is_some_and(|at| at <= before) && !token.configured;
        let tokens: Vec<Token> = self.list_tokens(account).await?.into_iter().filter(ended).collect();
        for some in tokens.chunks(AT_ONCE) {
            let mut batch = Batch::new(entropy::commit_id(now));
            for token in some {
                batch.writes.push(Write::Delete { key: keys::token(token.id) });
                batch.writes.push(Write::Delete { key: keys::token_use(token.id) });
                batch.writes.push(Write::TimerClear { owner: keys::token(token.id) });
                batch.writes.push(Write::IndexRemove { index: Index::new(keys::TOKENS), entry: entry(token) });
            }
            self.committed(&Space::Account(account.clone()), &batch).await?;
        }
        Ok(())
    }
}
