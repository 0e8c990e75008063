//! The commands that administer an installation.

mod outgoing;

use std::path::PathBuf;
use std::time::Duration;

use clap::Subcommand;
use serde::{Deserialize, Serialize};

use crate::cli::words;
use crate::config::values::{mail_address, span, text};
use crate::directory::account::Own;
use crate::directory::account_settings::Setting;
use crate::directory::hold::Decision;
use crate::domain::ids::AccountId;
use crate::domain::lifecycle::{Admit, BrakeLimit};
use crate::domain::names::{ClientName, EmailAddress};
use crate::domain::secrets::Scope;
use crate::jobs::schedule::JobName;
use crate::scim::Profile;

pub use outgoing::{MailCommand, WebhookCommand};

/// A command for the store, carried out here or by the daemon that holds it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Subcommand)]
#[serde(rename_all = "kebab-case")]
pub enum Command {
    /// Accounts: the tenants, each with users, groups and settings of its own
    #[command(subcommand, after_help = "Example:\n  usherd account list")]
    Account(AccountCommand),
    /// Tokens with which identity providers and scripts sign in
    #[command(subcommand, after_help = "Example:\n  usherd token list --account acme")]
    Token(TokenCommand),
    /// Clients: what an identity provider may do in an account at the moment
    #[command(subcommand, after_help = "Example:\n  usherd client list --account acme")]
    Client(ClientCommand),
    /// The brake that stops a client from deactivating too many people at once
    #[command(subcommand, after_help = "Example:\n  usherd brake resume --account acme")]
    Brake(BrakeCommand),
    /// Break-glass access for administrators
    #[command(subcommand, after_help = "Example:\n  usherd admin grant --account acme --user ada@example.com")]
    Admin(AdminCommand),
    /// Look at one user
    #[command(subcommand, after_help = "Example:\n  usherd user show --account acme ada@example.com")]
    User(UserCommand),
    /// Mail
    #[command(subcommand, after_help = "Example:\n  usherd mail test --to ada@example.com")]
    Mail(MailCommand),
    /// Webhooks and streams of security event tokens: what applications are told as it happens
    #[command(subcommand, after_help = "Example:\n  usherd webhook list --account acme")]
    Webhook(WebhookCommand),
    /// Scheduled jobs
    #[command(subcommand, after_help = "Example:\n  usherd jobs run reconcile")]
    Jobs(JobsCommand),
    /// Check that everything in an account agrees, and repair what does not
    ///
    /// Prints a line for each finding: the invariant, what became of it, whom it is about, and what is wrong. A repair
    /// takes access away or puts the bookkeeping right; it never gives access. It stops after 500 repairs.
    ///
    /// With --against it compares the account with an identity provider's export instead (CSV, JSON Lines or a SCIM
    /// ListResponse): who would be created, changed and deactivated. Nothing is changed without --apply.
    #[command(after_help = "Example:\n  usherd reconcile --account acme --dry-run")]
    Reconcile {
        #[arg(long, value_name = "ID")]
        account: AccountId,
        /// Only say what would be repaired
        #[arg(long, conflicts_with = "against")]
        dry_run: bool,
        /// Compare with this export of an identity provider
        #[arg(long, value_name = "FILE")]
        against: Option<PathBuf>,
        /// Make the account like the export, as if the provider had sent it
        #[arg(long, requires = "against")]
        apply: bool,
        /// The client whose export it is; needed when several have tokens
        #[arg(long, value_name = "NAME", requires = "against")]
        client: Option<ClientName>,
    },
    /// Mark the store as this installation's
    ///
    /// Writes the installation id (store.installation, or a new one) into a store that has none, and prints it. A
    /// daemon that is configured with an installation id touches no store without it, so that a lost volume is never
    /// silently started afresh.
    #[command(after_help = "Example:\n  usherd init")]
    Init,
    /// Write the whole installation, or all that is held on one person, to standard output
    ///
    /// A whole installation is JSON Lines for `usherd import`: a backup, and the way to another store. No secret is in
    /// it; the signing keys are a file of their own (secrets.keys_file) that has to come along. What is held on a
    /// person is one JSON document.
    #[command(
        after_help = "Example:\n  usherd export > backup.jsonl\n  usherd export --account acme ada@example.com > ada.json"
    )]
    Export {
        #[arg(long, value_name = "ID", requires = "name")]
        account: Option<AccountId>,
        /// The person's user name, address or id
        #[arg(requires = "account", value_parser = text)]
        name: Option<String>,
    },
    /// Read an export into an empty store
    ///
    /// The store is served afterwards, but no invitation expires and no mail leaves until `usherd resume`. After a
    /// crash, run it again with the same file: it goes on where it stopped.
    #[command(after_help = "Example:\n  usherd import backup.jsonl")]
    Import {
        /// What `usherd export` wrote
        file: PathBuf,
        /// Make it an installation of its own, for tests: no link of the original works in it, and what the original
        /// had queued is not sent
        #[arg(long)]
        clone: bool,
    },
    /// Let a store that was imported into act: invitations expire and mails leave from now on
    #[command(after_help = "Example:\n  usherd resume")]
    Resume,
    /// The keys that sign invitation links
    #[command(subcommand, after_help = "Example:\n  usherd keys rotate")]
    Keys(KeysCommand),
    /// Say whether this usherd can take over the store, before it does
    #[command(after_help = "Example:\n  usherd check-upgrade")]
    CheckUpgrade,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Subcommand)]
#[serde(rename_all = "kebab-case")]
pub enum KeysCommand {
    /// Sign with a new key from the next start on; links of the old one work for another 31 days
    ///
    /// Changes the keys file. Give the new one to every replica and restart them one after the other.
    #[command(after_help = "Example:\n  usherd keys rotate")]
    Rotate,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Subcommand)]
#[serde(rename_all = "kebab-case")]
pub enum AccountCommand {
    /// Create an account and print its first admin's invitation link
    #[command(after_help = "Example:\n  usherd account create acme --name Acme --admin-email ada@example.com")]
    Create {
        /// Lower-case letters, digits and single hyphens; it stands in URLs and never changes
        id: AccountId,
        /// The name that people see
        #[arg(long, value_parser = text)]
        name: String,
        /// Who is invited as the first Account Admin
        #[arg(long, value_name = "ADDRESS", value_parser = mail_address)]
        admin_email: EmailAddress,
    },
    /// List all accounts with their numbers of users
    #[command(after_help = "Example:\n  usherd account list")]
    List,
    /// Change an account's settings
    #[command(
        group = clap::ArgGroup::new("settings")
            .args(["name", "admit", "hold_above", "brake"])
            .multiple(true)
            .required(true),
        after_help = "Example:\n  usherd account set acme --name Acme-Europe --admit notify --brake 20,25"
    )]
    Set {
        id: AccountId,
        /// The name that people see
        #[arg(long, value_parser = text)]
        name: Option<String>,
        /// What provisioning a user does, instead of provisioning.admit
        #[arg(long, value_name = "POLICY", value_parser = words::admit())]
        admit: Option<Admit>,
        /// First invitations of one client within an hour that go out at once, or off, or default for
        /// provisioning.hold_above
        #[arg(long, value_name = "NUMBER", value_parser = words::hold_above)]
        hold_above: Option<Setting<Own<u32>>>,
        /// How many Active users one client may deactivate within 10 minutes, and how many percent of them, whichever
        /// is more; or off, or default for provisioning.brake
        #[arg(long, value_name = "MIN,PERCENT", value_parser = words::brake)]
        brake: Option<Setting<Own<BrakeLimit>>>,
    },
    /// Delete an account with everything in it
    #[command(after_help = "Example:\n  usherd account delete acme --yes")]
    Delete {
        id: AccountId,
        /// Do not ask
        #[arg(long)]
        yes: bool,
    },
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Subcommand)]
#[serde(rename_all = "kebab-case")]
pub enum TokenCommand {
    /// Make a token and print it, this once
    ///
    /// With --issuer no secret is made: the access tokens (JWT) that the issuer makes for its client --subject may do
    /// what is said here. The issuer must be one of [[scim.issuers]].
    #[command(after_help = "Example:\n  usherd token create --account acme --name okta --profile okta --expires 90d")]
    Create {
        #[arg(long, value_name = "ID")]
        account: AccountId,
        /// The client's name; tokens of one name are one client, which keeps its users when a token is rotated
        #[arg(long, value_parser = ClientName::parse)]
        name: ClientName,
        /// What the token may do; repeat it, or separate by commas
        #[arg(
            long = "scope",
            value_name = "SCOPE",
            value_delimiter = ',',
            value_parser = words::scope(),
            default_values_t = words::USUAL_SCOPES
        )]
        scopes: Vec<Scope>,
        /// How long the token works, such as 90d [default: for ever]
        #[arg(long, value_name = "SPAN", value_parser = lifetime)]
        expires: Option<Duration>,
        /// Whose dialect of SCIM the client speaks
        #[arg(long, value_parser = words::profile(), default_value = Profile::LENIENT.name())]
        profile: String,
        /// Mail nobody: see on the console's Provisioning page what would have gone out
        #[arg(long)]
        test: bool,
        /// Take access tokens of this issuer instead of a secret
        #[arg(long, value_name = "URL", requires = "subject", value_parser = text)]
        issuer: Option<String>,
        /// What the issuer calls the client: the value of the claim scim.issuers.client_claim
        #[arg(long, value_name = "ID", requires = "issuer", value_parser = text)]
        subject: Option<String>,
    },
    /// List the tokens of an account, without their secrets
    #[command(after_help = "Example:\n  usherd token list --account acme")]
    List {
        #[arg(long, value_name = "ID")]
        account: AccountId,
    },
    /// Make a token worthless at once
    #[command(after_help = "Example:\n  usherd token revoke --account acme okta")]
    Revoke {
        #[arg(long, value_name = "ID")]
        account: AccountId,
        /// Its id, or its name if only one token has it
        token: String,
    },
    /// Make a token's successor and print it; the old one works for a while longer
    #[command(after_help = "Example:\n  usherd token rotate --account acme okta --overlap 1h")]
    Rotate {
        #[arg(long, value_name = "ID")]
        account: AccountId,
        /// Its id, or its name if only one token has it
        token: String,
        /// How long the old token still works
        #[arg(long, value_name = "SPAN", default_value = "24h", value_parser = span)]
        overlap: Duration,
        /// How long the new token works [default: for ever]
        #[arg(long, value_name = "SPAN", value_parser = lifetime)]
        expires: Option<Duration>,
    },
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Subcommand)]
#[serde(rename_all = "kebab-case")]
pub enum ClientCommand {
    /// List the clients of an account: users, held invitations, pause and brake, last use
    #[command(after_help = "Example:\n  usherd client list --account acme")]
    List {
        #[arg(long, value_name = "ID")]
        account: AccountId,
    },
    /// Let a client write nothing until it is resumed; it goes on reading
    #[command(after_help = "Example:\n  usherd client pause --account acme okta")]
    Pause {
        #[arg(long, value_name = "ID")]
        account: AccountId,
        #[arg(value_parser = ClientName::parse)]
        name: ClientName,
    },
    /// Let a paused client write again
    #[command(after_help = "Example:\n  usherd client resume --account acme okta")]
    Resume {
        #[arg(long, value_name = "ID")]
        account: AccountId,
        #[arg(value_parser = ClientName::parse)]
        name: ClientName,
    },
    /// Decide about all of a client's invitations that are held
    #[command(after_help = "Example:\n  usherd client held --account acme okta send")]
    Held {
        #[arg(long, value_name = "ID")]
        account: AccountId,
        #[arg(value_parser = ClientName::parse)]
        name: ClientName,
        /// What becomes of them
        #[arg(value_parser = words::held())]
        decision: Decision,
    },
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Subcommand)]
#[serde(rename_all = "kebab-case")]
pub enum BrakeCommand {
    /// The losses were meant: let a braked client go on, without a bound for an hour
    #[command(after_help = "Example:\n  usherd brake resume --account acme")]
    Resume {
        #[arg(long, value_name = "ID")]
        account: AccountId,
        /// Of this client only [default: of all whose brake is on]
        #[arg(long, value_parser = ClientName::parse)]
        client: Option<ClientName>,
    },
    /// The losses were not meant: nobody loses access through the client until it is resumed
    #[command(after_help = "Example:\n  usherd brake reject --account acme --client okta")]
    Reject {
        #[arg(long, value_name = "ID")]
        account: AccountId,
        #[arg(long, value_parser = ClientName::parse)]
        client: ClientName,
    },
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Subcommand)]
#[serde(rename_all = "kebab-case")]
pub enum AdminCommand {
    /// Make somebody an Account Admin, when nobody is left who could
    #[command(after_help = "Example:\n  usherd admin grant --account acme --user ada@example.com")]
    Grant {
        #[arg(long, value_name = "ID")]
        account: AccountId,
        /// Their user name or id
        #[arg(long, value_name = "USER", value_parser = text)]
        user: String,
    },
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Subcommand)]
#[serde(rename_all = "kebab-case")]
pub enum UserCommand {
    /// Show a user: status and why, invitation, roles, licenses
    #[command(after_help = "Example:\n  usherd user show --account acme ada@example.com --story")]
    Show {
        #[arg(long, value_name = "ID")]
        account: AccountId,
        /// Their user name or id
        #[arg(value_parser = text)]
        name: String,
        /// Also what identity providers asked about them lately, what they were answered, and what to change: works
        /// for somebody who was never created, too
        #[arg(long)]
        story: bool,
    },
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Subcommand)]
#[serde(rename_all = "kebab-case")]
pub enum JobsCommand {
    /// Run a job now, once, whatever its schedule says
    #[command(after_help = "Example:\n  usherd jobs run reconcile")]
    Run {
        /// expire, renew, remind, reconcile, retention or digest
        #[arg(value_name = "NAME")]
        job: JobName,
    },
}

/// A span that leaves time to use what it limits.
fn lifetime(text: &str) -> Result<Duration, String> {
    match span(text)? {
        Duration::ZERO => Err("no time at all".to_owned()),
        span => Ok(span),
    }
}
