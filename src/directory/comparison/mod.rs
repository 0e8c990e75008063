//! Comparing an account with an identity provider's export: who is different there, and, when told to, making it so
//! here, as if the provider had sent it.
//!
//! The file is read twice, so that nothing is changed by one that is wrong further down. What has been done already is
//! found the same by the next run, which so goes on where one was stopped.

mod rows;
mod verdict;

use std::collections::{HashMap, HashSet};
use std::io::BufRead;

use serde_json::{Map, Value, json};
use tokio::sync::mpsc;

pub use self::rows::{Mistake, Row, read};
use self::verdict::{Verdict, Wanted};
use super::error::Error;
use super::provision::IfMatch;
use super::record::{USHERD_SCHEMA, UserRecord};
use super::request::{Context, Request};
use super::{Directory, Door, keys};
use crate::domain::ids::{AccountId, ResourceId};
use crate::domain::lifecycle::Refusal;
use crate::domain::names::ClientName;
use crate::scim::patch::PATCH_OP_URN;
use crate::store::{Bounds, Index, Page};

/// So many mistakes are told at once.
const MAX_MISTAKES: usize = 20;
/// So many users are read at once.
const CHUNK: usize = 500;

/// How it went.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Compared {
    pub rows: usize,
    pub created: usize,
    pub changed: usize,
    pub deactivated: usize,
    pub unknown_here: usize,
    pub unknown_there: usize,
    /// Managed by another client, or refused by the lifecycle.
    pub refused: usize,
    /// The brake stopped it: another run goes on.
    pub braked: Option<String>,
}

impl Compared {
    /// A sentence for people; `apply` says whether anything was done.
    pub fn in_words(&self, client: &str, apply: bool) -> String {
        let Compared { rows, created, changed, deactivated, unknown_here, unknown_there, refused, braked: _ } = self;
        let [create, change, deactivate] = match apply {
            true => ["created", "changed", "deactivated"],
            false => ["to create", "to change", "to deactivate"],
        };
        format!(
            "{rows} people in the export of {client}: {created} {create}, {changed} {change}, \
             {deactivated} {deactivate}, {unknown_here} unknown here, {refused} not for this client or refused; \
             {unknown_there} users here are unknown there."
        )
    }
}

/// What to compare, and with what right.
pub struct Comparison {
    /// The client whose export it is.
    pub client: ClientName,
    request: Request,
    pub apply: bool,
}

impl Directory {
    /// A comparison by the rights of a living token of `client`, or of the only client that has one.
    ///
    /// # Errors
    /// [`Error::Invalid`] when there is none, or more than one to choose from.
    pub async fn comparison(
        &self,
        account: &AccountId,
        client: Option<&ClientName>,
        apply: bool,
    ) -> Result<Comparison, Error> {
        let now = self.store.now();
        let mut tokens = self.list_tokens(account).await?;
        tokens.retain(|token| token.is_alive(now) && client.is_none_or(|client| token.client == *client));
        let clients: HashSet<&ClientName> = tokens.iter().map(|token| &token.client).collect();
        if clients.len() > 1 {
            let mut names: Vec<&str> = clients.into_iter().map(ClientName::as_str).collect();
            names.sort_unstable();
            let names = names.join(", ");
            return Err(Error::Invalid(format!(
                "several clients have tokens: say whose export it is, --client {names}"
            )));
        }
        let token = tokens.into_iter().next_back();
        let token = token.ok_or_else(|| Error::Invalid("no client has a living token to do this with".to_owned()))?;
        let name = Some("reconcile-against".to_owned());
        let request = Request::by_token(account.clone(), token.id, Door::Scim, name);
        Ok(Comparison { client: token.client, request, apply })
    }

    /// Looks for what is wrong with the rows, before anything is changed.
    ///
    /// # Errors
    /// [`Error::Invalid`] with the first mistakes.
    pub async fn check_export(&self, comparison: &Comparison, file: impl BufRead) -> Result<(), Error> {
        let (context, _) = self.open(&comparison.request, &[]).await?;
        let mut mistakes = Vec::new();
        let mut seen: HashMap<String, usize> = HashMap::new();
        let form = read(file, &mut |row| {
            let at = row.at;
            let wrong = match self.wanted(&context, row) {
                Err(Error::Protocol(refused)) => Some(refused.detail),
                Err(error) => Some(error.to_string()),
                Ok(wanted) => seen
                    .insert(wanted.user_name.folded().to_owned(), at)
                    .map(|first| format!("the same userName as in line {first}")),
            };
            mistakes.extend(wrong.map(|what| Mistake { at, what }));
            mistakes.len() < MAX_MISTAKES
        });
        mistakes.extend(form.err());
        if mistakes.is_empty() {
            return Ok(());
        }
        let lines: Vec<String> = mistakes.iter().map(ToString::to_string).collect();
        Err(Error::Invalid(format!("the export has mistakes, and nothing was changed:\n{}", lines.join("\n"))))
    }

    /// Compares, and changes what is to be changed. A line for each difference goes to `lines`.
    ///
    /// # Errors
    /// Of the store; what was done until then is done.
    pub async fn compare(
        &self,
        comparison: &Comparison,
        mut rows: mpsc::Receiver<Row>,
        lines: &mpsc::Sender<String>,
    ) -> Result<Compared, Error> {
        let (context, _) = self.open(&comparison.request, &[]).await?;
        let mut compared = Compared::default();
        let mut seen = HashSet::new();
        while let Some(row) = rows.recv().await {
            compared.rows += 1;
            let body = row.body.clone();
            let wanted = self.wanted(&context, row)?;
            let record = self.counterpart(&context, &comparison.client, &wanted).await?;
            seen.extend(record.as_ref().map(|record| record.user.id));
            let verdict = Verdict::of(&wanted, record.as_ref(), &comparison.client);
            let done = match comparison.apply {
                true => self.carry_out_verdict(comparison, &verdict, record.as_ref(), body).await,
                false => Ok(None),
            };
            match done {
                Err(braked @ Error::Refused(Refusal::Braked { .. })) => {
                    compared.braked = Some(braked.to_string());
                    return Ok(compared);
                }
                Err(Error::Unavailable { .. } | Error::Internal(_) | Error::Unauthorized) => drop(done?),
                Err(refused) => {
                    compared.refused += 1;
                    tell(lines, &format!("refused\t{}\t{refused}", wanted.user_name.as_str())).await?;
                }
                Ok(created) => {
                    seen.extend(created);
                    verdict.count(&mut compared);
                    if let Some(line) = verdict.line(&wanted, comparison.apply) {
                        tell(lines, &line).await?;
                    }
                }
            }
        }
        self.unknown_there(&context, comparison, &seen, &mut compared, lines).await?;
        Ok(compared)
    }

    /// A row as the protocol reads it.
    fn wanted(&self, context: &Context, row: Row) -> Result<Wanted, Error> {
        let body = Value::Object(provisioned(row.body));
        Wanted::read(&self.schemas, self.user_type(), &self.profile_of(context)?, body)
    }

    /// The user of this name, else of this client's externalId.
    async fn counterpart(
        &self,
        context: &Context,
        client: &ClientName,
        wanted: &Wanted,
    ) -> Result<Option<UserRecord>, Error> {
        let found = match self.find_by_user_name(context, wanted.user_name.folded()).await? {
            None => match &wanted.external_id {
                Some(id) => {
                    let key = keys::external_id(client.as_str(), id);
                    self.find_by_unique(context, keys::EXTERNAL_ID, &key).await?
                }
                None => None,
            },
            found => found,
        };
        Ok(found.filter(UserRecord::exists))
    }

    /// Does it; the id of a user who was created.
    async fn carry_out_verdict(
        &self,
        comparison: &Comparison,
        verdict: &Verdict,
        record: Option<&UserRecord>,
        body: Map<String, Value>,
    ) -> Result<Option<ResourceId>, Error> {
        let body = provisioned(body);
        match (verdict, record) {
            (Verdict::Create, _) => {
                let (_, record) = self.create_user(&comparison.request, body.into()).await?;
                Ok(Some(record.user.id))
            }
            (Verdict::Change(_) | Verdict::Deactivate, Some(record)) => {
                let operation = json!({ "op": "replace", "value": body });
                let patch = json!({ "schemas": [PATCH_OP_URN], "Operations": [operation] });
                let id = record.user.id.to_string();
                self.patch_user(&comparison.request, &id, &IfMatch::Any, patch).await.map(|_| None)
            }
            (Verdict::Change(_) | Verdict::Deactivate, None)
            | (Verdict::Unchanged | Verdict::UnknownHere | Verdict::ManagedBy(_), _) => Ok(None),
        }
    }

    /// Who is managed by this client and was not in its export. Only told: an export may be one of a part.
    async fn unknown_there(
        &self,
        context: &Context,
        comparison: &Comparison,
        seen: &HashSet<ResourceId>,
        compared: &mut Compared,
        lines: &mpsc::Sender<String>,
    ) -> Result<(), Error> {
        let mut page = Page::first(CHUNK);
        loop {
            let users = self.store.range(&context.space, &Index::new(keys::USERS), &Bounds::All, &page).await?;
            let unseen = users.iter().filter_map(|entry| entry.id.parse().ok()).filter(|id| !seen.contains(id));
            let wanted: Vec<_> = unseen.map(keys::user).collect();
            for document in self.store.get(&context.space, &wanted).await?.iter().flatten() {
                let user = UserRecord::decode(document)?.user;
                if user.provisioned_by.as_ref() == Some(&comparison.client) && user.scim_active() {
                    compared.unknown_there += 1;
                    tell(lines, &format!("unknown there\t{}\tnothing is changed", user.user_name.as_str())).await?;
                }
            }
            match users.last() {
                Some(last) if users.len() == CHUNK => page.after = Some(last.clone()),
                _ => return Ok(()),
            }
        }
    }
}

/// What a provider may say of a user. The rest of an export is the provider's own bookkeeping.
fn provisioned(mut body: Map<String, Value>) -> Map<String, Value> {
    body.retain(|key, _| {
        let own = ["schemas", "id", "meta", "groups", "password", USHERD_SCHEMA];
        !own.iter().any(|own| own.eq_ignore_ascii_case(key))
    });
    body
}

async fn tell(lines: &mpsc::Sender<String>, line: &str) -> Result<(), Error> {
    let gone = |_| Error::Invalid("nobody reads what is printed any more: stopped".to_owned());
    lines.send(format!("{line}\n")).await.map_err(gone)
}
