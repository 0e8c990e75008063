//! The administrative commands: carried out on the store at hand, or by the daemon that holds it.

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::json;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::install::{check_upgrade, export_all, export_person, import, init, resume, rotate_keys};
use super::keyfile::KeyFileError;
use super::open::{Opened, StartError, Waiting, open_on, poster};
use super::reconcile;
use super::socket::{Held, ask_daemon};
use super::{clients, mails, story, webhook};
use crate::cli::{
    AccountCommand, AdminCommand, Command, JobsCommand, KeysCommand, MailCommand, TokenCommand, UserCommand,
};
use crate::config::Settings;
use crate::directory::account_settings::{AccountChanges, Setting};
use crate::directory::accounts::{WrongStore, by_operator};
use crate::directory::record::UserRecord;
use crate::directory::tokens::{NewToken, Token, TokenSummary};
use crate::directory::transfer::TransferError;
use crate::directory::{Directory, Error, entropy};
use crate::domain::ids::{AccountId, TokenId};
use crate::domain::secrets::IssuedTo;
use crate::jobs::mail::Mailer;
use crate::jobs::schedule::JobName;
use crate::jobs::worker::Worker;
use crate::metrics::Metrics;
use crate::store::{OpenError, Store};

/// What a command prints: the result for scripts on standard output, words for people on standard error.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Output {
    pub result: String,
    pub words: String,
}

/// Why a command failed, in words for the person at the terminal.
#[derive(Debug, thiserror::Error)]
pub enum CommandError {
    #[error(transparent)]
    Start(#[from] StartError),
    #[error(transparent)]
    Directory(#[from] Error),
    #[error(transparent)]
    WrongStore(#[from] WrongStore),
    #[error(transparent)]
    Transfer(#[from] TransferError),
    #[error(transparent)]
    Keys(#[from] KeyFileError),
    #[error("{0}")]
    Failed(String),
}

/// What commands work with.
pub(super) struct Tools<'a> {
    pub settings: &'a Settings,
    pub directory: &'a Arc<Directory>,
    pub mailer: &'a Arc<Mailer>,
    /// For what is printed before the command is done.
    pub pieces: mpsc::Sender<String>,
}

/// Carries out a command. When a daemon on this machine holds the embedded store, it does it. What is to be printed
/// before the command is done goes to `pieces`.
///
/// # Errors
/// [`CommandError`].
pub async fn execute(
    settings: &Settings,
    command: &Command,
    pieces: mpsc::Sender<String>,
) -> Result<Output, CommandError> {
    let store = match Store::open(&settings.store_settings()).await {
        Ok(store) => store,
        Err(held @ OpenError::Held { .. }) => {
            let command = reconcile::with_whole_path(command);
            return match ask_daemon(&settings.store.path, &command, &pieces).await {
                Ok(Held::Done(output)) => Ok(output),
                Ok(Held::Failed(reason)) => Err(CommandError::Failed(reason)),
                Ok(Held::Silent) => Err(CommandError::Start(held.into())),
                Err(error) => Err(CommandError::Failed(format!("the running daemon did not answer: {error}"))),
            };
        }
        Err(error) => return Err(CommandError::Start(error.into())),
    };
    // These are for stores that cannot be served yet.
    let installation = settings.store.installation.as_deref();
    match command {
        Command::Init => return init(&store, installation).await,
        Command::Import { file, clone } => return import(&store, file, *clone, installation).await,
        Command::CheckUpgrade => return check_upgrade(&store).await,
        _ => {}
    }
    let public_url = settings.http.public_url_at(settings.http.listen);
    let public_host = public_url.host();
    let tell = |reason: &str| tracing::warn!(reason, "waiting for the store");
    let waiting = Waiting { stop: &CancellationToken::new(), tell: &tell, for_marker: false };
    let opening = open_on(store, settings, public_url.as_str(), &public_host, &waiting);
    let opened = tokio::time::timeout(PATIENCE, opening)
        .await
        .map_err(|_| CommandError::Failed("the store does not answer; see the warning above".to_owned()))??;
    let Opened { directory, mailer, .. } = &opened;
    run(&Tools { settings, directory, mailer, pieces }, command).await
}

/// How long a command waits for a store that is not there.
const PATIENCE: Duration = Duration::from_secs(15);

/// Carries out a command on an open store.
pub(super) async fn run(tools: &Tools<'_>, command: &Command) -> Result<Output, CommandError> {
    match command {
        Command::Account(command) => account(tools, command).await,
        Command::Token(command) => token(tools, command).await,
        Command::Client(command) => clients::client(tools, command).await,
        Command::Brake(command) => clients::brake(tools, command).await,
        Command::Admin(AdminCommand::Grant { account, user }) => grant(tools, account, user).await,
        Command::User(UserCommand::Show { account, name, story }) => show_user(tools, account, name, *story).await,
        Command::Mail(MailCommand::Test { to, locale }) => mails::test(tools, to, locale.as_deref()).await,
        Command::Mail(MailCommand::Dead { account }) => mails::dead(tools, account).await,
        Command::Mail(MailCommand::Retry { account, letters }) => mails::retry(tools, account, letters).await,
        Command::Webhook(command) => webhook::run(tools, command).await,
        Command::Jobs(JobsCommand::Run { job }) => run_job(tools, *job).await,
        Command::Reconcile { account, against: Some(file), apply, client, .. } => {
            reconcile::against(tools, account, file, client.as_ref(), *apply).await
        }
        Command::Reconcile { account, dry_run, against: None, .. } => reconcile::check(tools, account, *dry_run).await,
        Command::Init => init(tools.directory.store(), tools.settings.store.installation.as_deref()).await,
        Command::Export { account: Some(account), name: Some(name) } => export_person(tools, account, name).await,
        Command::Export { .. } => export_all(tools).await,
        Command::Import { .. } => Err(CommandError::Failed(
            "the running daemon serves this store: an import goes into an empty one that nobody serves".to_owned(),
        )),
        Command::Resume => resume(tools).await,
        Command::Keys(KeysCommand::Rotate) => rotate_keys(tools),
        Command::CheckUpgrade => check_upgrade(tools.directory.store()).await,
    }
}

async fn account(tools: &Tools<'_>, command: &AccountCommand) -> Result<Output, CommandError> {
    let directory = tools.directory;
    match command {
        AccountCommand::Create { id, name, admin_email } => {
            let link = directory.create_account(id, name, admin_email).await?;
            let words =
                format!("Account {id} is made. Its first admin comes in by this link, with the address {admin_email}:");
            Ok(Output { result: link, words })
        }
        AccountCommand::List => {
            let mut result = String::new();
            for id in directory.accounts().await? {
                let summary = match directory.account_summary(&id).await {
                    Ok(summary) => summary,
                    // Being made or deleted at this moment, or left half-way by a crash.
                    Err(Error::NotFound(_)) => continue,
                    Err(error) => return Err(error.into()),
                };
                let [pending, active, inactive] = summary.users;
                let name = summary.account.name;
                let orphaned = if summary.has_admin { "" } else { "\tno Active Account Admin: usherd admin grant" };
                writeln!(result, "{id}\t{name}\tpending {pending}\tactive {active}\tinactive {inactive}{orphaned}")
                    .expect("writing to memory");
            }
            Ok(Output { result: result.trim_end().to_owned(), words: String::new() })
        }
        AccountCommand::Set { id, name, admit, hold_above, brake } => {
            let changes = AccountChanges {
                name: name.clone(),
                admit: admit.map(Setting::Own),
                hold_above: *hold_above,
                brake: *brake,
                ..AccountChanges::default()
            };
            let account = directory.set_account(&by_operator(id), None, &changes).await?;
            Ok(said(format!("Account {id} ({}) is changed.", account.name)))
        }
        AccountCommand::Delete { id, .. } => {
            directory.delete_account(id).await?;
            Ok(said(format!("Account {id} is deleted with everything in it.")))
        }
    }
}

/// A record for the access tokens of a client of an issuer. There is nothing to print but its id.
async fn issued_token(
    tools: &Tools<'_>,
    account: &AccountId,
    new: NewToken,
    client: IssuedTo,
) -> Result<Output, CommandError> {
    let issuers = &tools.settings.scim.issuers;
    if !issuers.iter().any(|issuer| issuer.url == client.issuer) {
        let known = match issuers.as_slice() {
            [] => "there are none".to_owned(),
            issuers => issuers.iter().map(|issuer| issuer.url.as_str()).collect::<Vec<_>>().join(", "),
        };
        return Err(CommandError::Failed(format!("{} is none of [[scim.issuers]]: {known}", client.issuer)));
    }
    let token = tools.directory.create_issued_token(account, new, client.clone()).await?;
    let words =
        format!("Access tokens of {client} are those of client {} with the scopes {}.", token.client, token.scopes);
    Ok(Output { result: token.id.to_string(), words })
}

async fn token(tools: &Tools<'_>, command: &TokenCommand) -> Result<Output, CommandError> {
    let directory = tools.directory;
    match command {
        TokenCommand::Create { account, name, scopes, expires, profile, test, issuer, subject } => {
            let new = NewToken {
                client: name.clone(),
                scopes: scopes.iter().copied().collect(),
                profile: profile.clone(),
                test: *test,
                expires: *expires,
            };
            if let Some((issuer, subject)) = issuer.clone().zip(subject.clone()) {
                return issued_token(tools, account, new, IssuedTo { issuer, subject }).await;
            }
            let (token, secret) = directory.create_token(account, new).await?;
            let words = format!(
                "Token {} of client {} with the scopes {}. It is shown this once:",
                token.id, token.client, token.scopes
            );
            Ok(Output { result: secret.expose().to_owned(), words })
        }
        TokenCommand::List { account } => {
            let now = directory.store().now();
            let tokens = directory.token_summaries(account).await?;
            let lines = tokens.iter().map(|TokenSummary { token, last_used }| {
                let state = match (token.revoked_at, token.expires_at) {
                    (Some(at), _) => format!("revoked {at}"),
                    (None, Some(at)) if at <= now => format!("expired {at}"),
                    (None, Some(at)) => format!("until {at}"),
                    (None, None) => "no end".to_owned(),
                };
                let used = last_used.map_or_else(|| "never used".to_owned(), |at| format!("last used {at}"));
                let test = if token.test { "\ttest" } else { "" };
                let issued = token.issued_to.as_ref().map(|client| format!("\t{client}")).unwrap_or_default();
                let Token { id, client, profile, scopes, .. } = token;
                format!("{id}\t{client}\t{profile}\t{scopes}\t{state}\t{used}{test}{issued}")
            });
            Ok(Output { result: lines.collect::<Vec<_>>().join("\n"), words: String::new() })
        }
        TokenCommand::Revoke { account, token } => {
            let id = one_token(directory, account, token).await?.id;
            let revoked = directory.revoke_token(account, id).await?;
            Ok(said(format!("Token {id} of client {} is worthless from now on.", revoked.client)))
        }
        TokenCommand::Rotate { account, token, overlap, expires } => {
            let old = one_token(directory, account, token).await?;
            let (new, secret) = directory.rotate_token(account, old.id, *overlap, *expires).await?;
            let words = format!(
                "Token {} succeeds {}, which works for another {} s. It is shown this once:",
                new.id,
                old.id,
                overlap.as_secs()
            );
            Ok(Output { result: secret.expose().to_owned(), words })
        }
    }
}

/// The token of this id, or the only living one of this client.
async fn one_token(directory: &Directory, account: &AccountId, named: &str) -> Result<Token, CommandError> {
    let tokens = directory.list_tokens(account).await?;
    if let Ok(id) = named.parse::<TokenId>() {
        let found = tokens.into_iter().find(|token| token.id == id);
        return found.ok_or_else(|| CommandError::Failed(format!("account {account} has no token {id}")));
    }
    let now = directory.store().now();
    let mut living = tokens.into_iter().filter(|token| token.client.as_str() == named && token.is_alive(now));
    match (living.next(), living.next()) {
        (Some(token), None) => Ok(token),
        (None, _) => Err(CommandError::Failed(format!("account {account} has no living token named {named}"))),
        (Some(_), Some(_)) => {
            Err(CommandError::Failed(format!("several tokens are named {named}; give the id from `usherd token list`")))
        }
    }
}

async fn grant(tools: &Tools<'_>, account: &AccountId, user: &str) -> Result<Output, CommandError> {
    let granted = tools.directory.grant_admin(account, user).await?;
    let name = granted.record.user.user_name.as_str();
    Ok(match granted.link {
        Some(link) => {
            Output { result: link, words: format!("{name} becomes Account Admin by accepting at this link:") }
        }
        None => said(format!("{name} is Account Admin now.")),
    })
}

async fn show_user(
    tools: &Tools<'_>,
    account: &AccountId,
    name: &str,
    with_story: bool,
) -> Result<Output, CommandError> {
    let found = tools.directory.find_user(account, name).await?;
    let story = if with_story { story::about(tools.directory, account, name).await? } else { Vec::new() };
    let nobody = || format!("account {account} has no user {name}");
    let (mut value, words) = match found.filter(UserRecord::exists) {
        Some(record) => (shown(tools.directory, &record), String::new()),
        None if !story.is_empty() => (json!({ "user": null }), nobody()),
        None if with_story => {
            let detail = "and no identity provider asked for that name within the last 7 days";
            return Err(CommandError::Failed(format!("{}, {detail}", nobody())));
        }
        None => return Err(CommandError::Failed(nobody())),
    };
    if with_story {
        value["story"] = story.into();
    }
    let result = serde_json::to_string_pretty(&value).map_err(|error| CommandError::Failed(error.to_string()))?;
    Ok(Output { result, words })
}

/// A user with what SCIM does not tell.
pub(super) fn shown(directory: &Directory, record: &UserRecord) -> serde_json::Value {
    let user = &record.user;
    json!({
        "user": record.representation(directory.user_type()),
        "state": format!("{:?}", user.state()),
        "signInAddress": user.sign_in_address,
        "managedBy": user.provisioned_by,
        "providerSaysActive": user.idp_active,
        "holds": user.holds(),
        "licenseShortfall": user.license_shortfall(),
        "undeliverable": user.undeliverable,
        "revision": record.revision,
        "created": record.created.to_string(),
        "lastModified": record.modified.to_string(),
    })
}

/// Runs a job now. Those of the lifecycle act on whatever is due in every account.
async fn run_job(tools: &Tools<'_>, job: JobName) -> Result<Output, CommandError> {
    match job {
        JobName::Expire | JobName::Renew | JobName::Remind | JobName::Retention => {
            let worker = Worker::new(
                Arc::clone(tools.directory),
                Arc::clone(tools.mailer),
                poster(tools.settings)?,
                Arc::new(Metrics::new()),
                tools.settings.mail.timeout,
                tools.settings.jobs.time_zone.clone(),
                entropy::jitter,
            )
            .paced(tools.settings.mail_pace());
            let mut done = 0;
            loop {
                match worker.run_one().await?.claimed {
                    0 => break,
                    claimed => done += claimed,
                }
            }
            if job == JobName::Retention {
                let ticker = super::ticker(tools.settings, tools.directory, &Arc::new(Metrics::new()));
                for account in tools.directory.accounts().await? {
                    ticker.retain(&account).await?;
                }
            }
            Ok(said(format!("{job}: acted on {done} due timers.")))
        }
        JobName::Digest => {
            let mut told = 0;
            for account in tools.directory.accounts().await? {
                told += usize::from(tools.directory.digest(&account).await?);
            }
            Ok(said(format!("{job}: {told} accounts had something to tell; their mails are in the outbox.")))
        }
        JobName::Reconcile => reconcile::check_all(tools).await,
    }
}

pub(super) fn said(words: String) -> Output {
    Output { result: String::new(), words }
}
