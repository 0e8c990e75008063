//! The commands about what leaves an installation: mails, webhooks and streams.

use clap::Subcommand;
use serde::{Deserialize, Serialize};

use crate::cli::words;
use crate::config::values::{mail_address, text};
use crate::domain::ids::{AccountId, EndpointId, OutboxId};
use crate::domain::names::EmailAddress;
use crate::domain::security_event::Audience;
use crate::domain::webhook::{HookUrl, UserEvent};

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Subcommand)]
#[serde(rename_all = "kebab-case")]
pub enum MailCommand {
    /// Send a test mail the way invitations go
    #[command(after_help = "Example:\n  usherd mail test --to ada@example.com --locale de")]
    Test {
        #[arg(long, value_name = "ADDRESS", value_parser = mail_address)]
        to: EmailAddress,
        /// The language of the mail, such as de or en-GB
        #[arg(long, value_parser = text)]
        locale: Option<String>,
    },
    /// List the mails that were given up after their last attempt, kept for 30 days
    #[command(after_help = "Example:\n  usherd mail dead --account acme")]
    Dead {
        #[arg(long, value_name = "ID")]
        account: AccountId,
    },
    /// Try mails again that were given up: those named, or all
    ///
    /// An invitation comes with a new link, since its old one ended when it was given up.
    #[command(after_help = "Example:\n  usherd mail retry --account acme")]
    Retry {
        #[arg(long, value_name = "ID")]
        account: AccountId,
        /// Their ids, from `usherd mail dead`
        #[arg(value_name = "LETTER")]
        letters: Vec<OutboxId>,
    },
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Subcommand)]
#[serde(rename_all = "kebab-case")]
pub enum WebhookCommand {
    /// Make a webhook and print its secret, this once
    #[command(
        after_help = "Example:\n  usherd webhook add --account acme https://app.example.com/hooks --event user.deactivated,user.deleted"
    )]
    Add {
        #[arg(long, value_name = "ID")]
        account: AccountId,
        /// Where it goes: https://host/path
        url: HookUrl,
        /// What is told there; repeat it, or separate by commas [default: everything]
        #[arg(long = "event", value_name = "EVENT", value_delimiter = ',', value_parser = words::event())]
        events: Vec<UserEvent>,
    },
    /// Make a stream of security event tokens (RFC 9967): pushed to an address, or fetched where none is given
    ///
    /// Every change of a user, group, organization, project or license goes there as a signed token. With --full it
    /// carries the values, otherwise the names of what changed. Prints what the receiver needs: the bearer token that
    /// goes along, this once, or the address to fetch from.
    #[command(
        after_help = "Example:\n  usherd webhook add-stream --account acme --bearer https://app.example.com/events"
    )]
    AddStream {
        #[arg(long, value_name = "ID")]
        account: AccountId,
        /// Where tokens are pushed (RFC 8935): https://host/path [default: they are fetched, RFC 8936]
        url: Option<HookUrl>,
        /// Tell values, not only the names of what changed
        #[arg(long)]
        full: bool,
        /// For whom the tokens are [default: the address of the stream]
        #[arg(long, value_name = "TEXT")]
        audience: Option<Audience>,
        /// Send a bearer token along, by which the receiver knows usherd before it looks at a signature
        #[arg(long, requires = "url")]
        bearer: bool,
    },
    /// List the webhooks and streams of an account
    #[command(after_help = "Example:\n  usherd webhook list --account acme")]
    List {
        #[arg(long, value_name = "ID")]
        account: AccountId,
    },
    /// Remove a webhook or a stream; what waits to go there is dropped
    #[command(after_help = "Example:\n  usherd webhook remove --account acme 01a20a98-17a3-71e1-850f-520f67b51d83")]
    Remove {
        #[arg(long, value_name = "ID")]
        account: AccountId,
        /// Its id, from `usherd webhook list`
        id: EndpointId,
    },
    /// Make a new secret for a webhook, or bearer token for a stream, and print it
    ///
    /// The old secret of a webhook signs as well for another day. A stream sends the new token at once.
    #[command(after_help = "Example:\n  usherd webhook rotate --account acme 01a20a98-17a3-71e1-850f-520f67b51d83")]
    Rotate {
        #[arg(long, value_name = "ID")]
        account: AccountId,
        /// Its id, from `usherd webhook list`
        id: EndpointId,
    },
    /// List what was given up after its last attempt, kept for 30 days
    #[command(after_help = "Example:\n  usherd webhook dead --account acme")]
    Dead {
        #[arg(long, value_name = "ID")]
        account: AccountId,
    },
    /// Send again what was given up, and enable a webhook that answered 410 or a stream that nobody fetched
    #[command(after_help = "Example:\n  usherd webhook redrive --account acme 01a20a98-17a3-71e1-850f-520f67b51d83")]
    Redrive {
        #[arg(long, value_name = "ID")]
        account: AccountId,
        /// Its id, from `usherd webhook list`
        id: EndpointId,
    },
}
