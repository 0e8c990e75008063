//! The command line: what can be typed, and its help. What the commands do is elsewhere.
//!
//! Those that administer an installation are a serialisable [`Command`], because a running daemon on the embedded
//! store holds the file and takes them over its socket.

mod commands;
mod words;

use std::ffi::OsString;
use std::io::Write;
use std::path::PathBuf;

use clap::error::ErrorKind;
use clap::{CommandFactory, Parser, Subcommand};
pub use clap_complete::Shell;

pub use commands::{
    AccountCommand, AdminCommand, BrakeCommand, ClientCommand, Command, JobsCommand, KeysCommand, MailCommand,
    TokenCommand, UserCommand, WebhookCommand,
};

/// The command did what it was asked.
pub const EXIT_OK: u8 = 0;
/// The command failed.
pub const EXIT_FAILED: u8 = 1;
/// Wrong usage or configuration (`EX_USAGE` of sysexits.h).
pub const EXIT_USAGE: u8 = 64;

/// What was typed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cli {
    pub config: Option<PathBuf>,
    pub action: Action,
}

/// What to do. Nothing said is [`Action::Serve`].
#[derive(Debug, Clone, PartialEq, Eq, Subcommand)]
pub enum Action {
    /// Run the daemon (also without any command)
    ///
    /// Without configuration it keeps everything in ./data, writes mails to files there, and prints how to try it.
    #[command(after_help = "Example:\n  usherd serve --config usherd.toml")]
    Serve,
    /// Check the configuration and report every mistake at once
    #[command(after_help = "Example:\n  usherd check-config --config usherd.toml --connect")]
    CheckConfig {
        /// Also try to reach the store and the mail relay
        #[arg(long)]
        connect: bool,
    },
    #[command(flatten)]
    Command(Command),
    /// Ask the running daemon on this machine whether it is alive, for a container's health check
    #[command(after_help = "Example:\n  usherd healthcheck && echo alive")]
    Healthcheck,
    /// Print a script that completes commands and options in a shell
    #[command(after_help = "Example:\n  usherd completions bash > /etc/bash_completion.d/usherd")]
    Completions { shell: Shell },
}

/// Provision, invite and keep every user Pending, Active or Inactive
///
/// usherd takes users and groups from an identity provider over SCIM 2.0, invites people by e-mail, and answers who
/// may enter. Without a command it runs the daemon.
#[derive(Debug, Parser)]
#[command(name = "usherd", version, after_help = "Example:\n  usherd --config usherd.toml")]
struct Arguments {
    /// Read this TOML file over the defaults; the environment lies above both
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    #[command(subcommand)]
    action: Option<Action>,
}

/// Reads a command line, the program's name first.
///
/// # Errors
/// Wrong usage; also help and version, which print and exit like errors, see [`exit_code_of`].
pub fn parse<I, T>(arguments: I) -> Result<Cli, clap::Error>
where
    I: IntoIterator<Item = T>,
    T: Into<OsString> + Clone,
{
    let Arguments { config, action } = Arguments::try_parse_from(arguments)?;
    Ok(Cli { config, action: action.unwrap_or(Action::Serve) })
}

/// The exit code with which an error of [`parse`] ends: 0 for the help and version that were asked for, else 64.
pub fn exit_code_of(error: &clap::Error) -> u8 {
    match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => EXIT_OK,
        _ => EXIT_USAGE, // clap's kinds may grow; all others are wrong usage
    }
}

/// Writes the completion script of `shell`.
pub fn completions(shell: Shell, to: &mut dyn Write) {
    clap_complete::generate(shell, &mut Arguments::command(), "usherd", to);
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use rstest::rstest;

    use super::*;
    use crate::directory::account::Own;
    use crate::directory::account_settings::Setting;
    use crate::directory::hold::Decision;
    use crate::domain::lifecycle::{Admit, BrakeLimit};
    use crate::domain::names::{ClientName, EmailAddress};
    use crate::domain::secrets::{Scope, Scopes};
    use crate::domain::webhook::UserEvent;
    use crate::jobs::schedule::JobName;

    fn typed(line: &str) -> Result<Cli, clap::Error> {
        parse(line.split_whitespace())
    }

    fn command(line: &str) -> Command {
        match typed(line).unwrap().action {
            Action::Command(command) => command,
            other => panic!("{other:?} is no administrative command"),
        }
    }

    #[test]
    fn without_a_command_the_daemon_runs() {
        assert_eq!(typed("usherd").unwrap(), Cli { config: None, action: Action::Serve });
        let with_file = Cli { config: Some("u.toml".into()), action: Action::Serve };
        for line in ["usherd --config u.toml", "usherd serve --config u.toml", "usherd --config u.toml serve"] {
            assert_eq!(typed(line).unwrap(), with_file, "{line}");
        }
    }

    #[test]
    fn every_command_of_the_contract_is_understood() {
        let account = || "acme".parse().unwrap();
        let ada = || EmailAddress::parse("ada@example.com").unwrap();
        assert_eq!(
            command("usherd account create acme --name Acme --admin-email ada@example.com"),
            Command::Account(AccountCommand::Create { id: account(), name: "Acme".into(), admin_email: ada() })
        );
        assert_eq!(command("usherd account list"), Command::Account(AccountCommand::List));
        assert_eq!(
            command("usherd account set acme --name Acme --admit silent"),
            Command::Account(AccountCommand::Set {
                id: account(),
                name: Some("Acme".into()),
                admit: Some(Admit::Silent),
                hold_above: None,
                brake: None,
            })
        );
        assert_eq!(
            command("usherd account delete acme --yes"),
            Command::Account(AccountCommand::Delete { id: account(), yes: true })
        );
        assert_eq!(
            command(
                "usherd token create --account acme --name okta --scope users --scope groups,roles:write --expires 90d --profile okta --test"
            ),
            Command::Token(TokenCommand::Create {
                account: account(),
                name: ClientName::parse("okta").unwrap(),
                scopes: vec![Scope::Users, Scope::Groups, Scope::RolesWrite],
                expires: Some(Duration::from_secs(90 * 86_400)),
                profile: "okta".into(),
                test: true,
                issuer: None,
                subject: None,
            })
        );
        let Command::Token(TokenCommand::Create { issuer, subject, .. }) =
            command("usherd token create --account acme --name entra --issuer https://login.example.com --subject app")
        else {
            panic!("another command");
        };
        assert_eq!(issuer.zip(subject), Some(("https://login.example.com".into(), "app".into())));
        assert_eq!(
            command("usherd token list --account acme"),
            Command::Token(TokenCommand::List { account: account() })
        );
        assert_eq!(
            command("usherd token revoke --account acme okta"),
            Command::Token(TokenCommand::Revoke { account: account(), token: "okta".into() })
        );
        assert_eq!(
            command("usherd token rotate --account acme okta"),
            Command::Token(TokenCommand::Rotate {
                account: account(),
                token: "okta".into(),
                overlap: Duration::from_secs(86_400),
                expires: None,
            })
        );
        assert_eq!(
            command("usherd account set acme --hold-above off --brake 20,25"),
            Command::Account(AccountCommand::Set {
                id: account(),
                name: None,
                admit: None,
                hold_above: Some(Setting::Own(Own::Off)),
                brake: Some(Setting::Own(Own::On(BrakeLimit { min: 20, percent: 25 }))),
            })
        );
        assert_eq!(
            command("usherd account set acme --hold-above 7 --brake default"),
            Command::Account(AccountCommand::Set {
                id: account(),
                name: None,
                admit: None,
                hold_above: Some(Setting::Own(Own::On(7))),
                brake: Some(Setting::Configured),
            })
        );
        let okta = || ClientName::parse("okta").unwrap();
        assert_eq!(
            command("usherd client list --account acme"),
            Command::Client(ClientCommand::List { account: account() })
        );
        assert_eq!(
            command("usherd client pause --account acme okta"),
            Command::Client(ClientCommand::Pause { account: account(), name: okta() })
        );
        assert_eq!(
            command("usherd client resume --account acme okta"),
            Command::Client(ClientCommand::Resume { account: account(), name: okta() })
        );
        assert_eq!(
            command("usherd client held --account acme okta drop"),
            Command::Client(ClientCommand::Held { account: account(), name: okta(), decision: Decision::Drop })
        );
        assert_eq!(
            command("usherd brake resume --account acme"),
            Command::Brake(BrakeCommand::Resume { account: account(), client: None })
        );
        assert_eq!(
            command("usherd brake reject --account acme --client okta"),
            Command::Brake(BrakeCommand::Reject { account: account(), client: okta() })
        );
        assert_eq!(
            command("usherd admin grant --account acme --user ada"),
            Command::Admin(AdminCommand::Grant { account: account(), user: "ada".into() })
        );
        assert_eq!(
            command("usherd user show --account acme ada"),
            Command::User(UserCommand::Show { account: account(), name: "ada".into(), story: false })
        );
        assert_eq!(
            command("usherd mail test --to ada@example.com --locale de"),
            Command::Mail(MailCommand::Test { to: ada(), locale: Some("de".into()) })
        );
        let endpoint = || "01a20a98-17a3-71e1-850f-520f67b51d83".parse().unwrap();
        assert_eq!(
            command("usherd webhook add --account acme https://a.example/h --event user.deleted,user.erased"),
            Command::Webhook(WebhookCommand::Add {
                account: account(),
                url: "https://a.example/h".parse().unwrap(),
                events: vec![UserEvent::Deleted, UserEvent::Erased],
            })
        );
        assert_eq!(
            command("usherd webhook redrive --account acme 01a20a98-17a3-71e1-850f-520f67b51d83"),
            Command::Webhook(WebhookCommand::Redrive { account: account(), id: endpoint() })
        );
        assert_eq!(command("usherd jobs run expire"), Command::Jobs(JobsCommand::Run { job: JobName::Expire }));
        let reconcile = |dry_run, against: Option<&str>, apply, client: Option<&str>| Command::Reconcile {
            account: account(),
            dry_run,
            against: against.map(PathBuf::from),
            apply,
            client: client.map(|client| ClientName::parse(client).unwrap()),
        };
        assert_eq!(command("usherd reconcile --account acme --dry-run"), reconcile(true, None, false, None));
        assert_eq!(
            command("usherd reconcile --account acme --against people.csv --client okta --apply"),
            reconcile(false, Some("people.csv"), true, Some("okta"))
        );
        assert_eq!(command("usherd init"), Command::Init);
        assert_eq!(command("usherd export"), Command::Export { account: None, name: None });
        assert_eq!(
            command("usherd export --account acme ada"),
            Command::Export { account: Some(account()), name: Some("ada".into()) }
        );
        assert_eq!(command("usherd import a.jsonl"), Command::Import { file: "a.jsonl".into(), clone: false });
        assert_eq!(command("usherd import --clone a.jsonl"), Command::Import { file: "a.jsonl".into(), clone: true });
        assert_eq!(command("usherd resume"), Command::Resume);
        assert_eq!(command("usherd keys rotate"), Command::Keys(KeysCommand::Rotate));
        assert_eq!(command("usherd check-upgrade"), Command::CheckUpgrade);
        assert_eq!(typed("usherd check-config --connect").unwrap().action, Action::CheckConfig { connect: true });
        assert_eq!(typed("usherd healthcheck").unwrap().action, Action::Healthcheck);
        assert_eq!(typed("usherd completions zsh").unwrap().action, Action::Completions { shell: Shell::Zsh });
    }

    #[test]
    fn a_token_for_which_nothing_is_said_is_lenient_and_may_neither_grant_roles_nor_make_tokens() {
        let Command::Token(TokenCommand::Create { scopes, profile, .. }) =
            command("usherd token create --account acme --name okta")
        else {
            panic!("another command")
        };
        let scopes: Scopes = scopes.into_iter().collect();
        assert_eq!((scopes.to_string().as_str(), profile.as_str()), ("users groups resources invitations", "lenient"));
    }

    #[test]
    fn the_help_lists_what_can_be_chosen_and_what_it_means() {
        let help = |line| typed(line).unwrap_err().to_string();
        let token = help("usherd token create --help");
        for scope in Scope::ALL {
            assert!(token.contains(&format!("- {scope}:")), "{scope} in {token}");
        }
        assert!(token.contains("- rfc-strict:") && token.contains("- entra:"), "{token}");
        assert!(help("usherd account set --help").contains("- notify: "));
        let wrong = help("usherd token create --account acme --name okta --profile octa");
        assert!(wrong.contains("a similar value exists: 'okta'"), "{wrong}");
    }

    #[rstest]
    #[case("usherd --help", 0)]
    #[case("usherd token create --help", 0)]
    #[case("usherd --version", 0)]
    #[case("usherd account", 64)]
    #[case("usherd frobnicate", 64)]
    #[case("usherd --no-such-option", 64)]
    #[case("usherd account create Acme --name Acme --admin-email ada@example.com", 64)]
    #[case("usherd account create acme --name Acme --admin-email nobody", 64)]
    #[case("usherd account set acme", 64)]
    #[case("usherd account set acme --brake 5", 64)]
    #[case("usherd account set acme --brake 5,101", 64)]
    #[case("usherd account set acme --hold-above -1", 64)]
    #[case("usherd client held --account acme okta perhaps", 64)]
    #[case("usherd brake reject --account acme", 64)]
    #[case("usherd token create --account acme --name okta --expires 90", 64)]
    #[case("usherd token create --account acme --name okta --issuer https://login.example.com", 64)]
    #[case("usherd token create --account acme --name okta --scope everything", 64)]
    #[case("usherd webhook add --account acme ftp://a.example/h", 64)]
    #[case("usherd webhook add --account acme https://a.example/h --event user.sneezed", 64)]
    #[case("usherd jobs run nightly", 64)]
    #[case("usherd reconcile", 64)]
    #[case("usherd reconcile --account acme --apply", 64)]
    #[case("usherd reconcile --account acme --against people.csv --dry-run", 64)]
    fn help_succeeds_and_wrong_usage_is_64(#[case] line: &str, #[case] code: u8) {
        assert_eq!(exit_code_of(&typed(line).unwrap_err()), code);
    }

    #[test]
    fn the_version_is_printed_with_the_name() {
        assert_eq!(
            typed("usherd --version").unwrap_err().to_string(),
            concat!("usherd ", env!("CARGO_PKG_VERSION"), "\n")
        );
    }

    #[test]
    fn every_help_ends_with_an_example_that_is_a_valid_command_line() {
        fn visit(command: &mut clap::Command) {
            let help = command.render_long_help().to_string();
            let (_, example) = help.rsplit_once("Example:\n  ").unwrap_or_else(|| panic!("no example in:\n{help}"));
            let line = example.split(['|', '>', '&']).next().unwrap_or_default();
            // Quotes are the shell's.
            let words = line.replace('"', "");
            assert!(typed(&words).is_ok(), "{words}: {:?}", typed(&words));
            command.get_subcommands_mut().filter(|sub| sub.get_name() != "help").for_each(visit);
        }
        let mut command = Arguments::command();
        command.build();
        visit(&mut command);
        command.debug_assert();
    }

    #[test]
    fn a_command_survives_the_way_to_the_daemon() {
        for line in [
            "usherd account create acme --name Acme --admin-email ada@example.com",
            "usherd token create --account acme --name okta --scope users:takeover --expires 1h30m",
            "usherd token rotate --account acme okta --overlap 2h",
            "usherd account set acme --brake 20,25 --hold-above default",
            "usherd client held --account acme okta admit",
            "usherd brake resume --account acme --client okta",
            "usherd webhook add --account acme https://a.example/h --event user.deleted",
            "usherd jobs run reconcile",
            "usherd reconcile --account acme --against people.csv --apply",
            "usherd init",
        ] {
            let sent = command(line);
            let text = serde_json::to_string(&sent).unwrap();
            assert_eq!(serde_json::from_str::<Command>(&text).unwrap(), sent, "{text}");
        }
    }

    #[test]
    fn completions_know_the_commands() {
        let mut script = Vec::new();
        completions(Shell::Bash, &mut script);
        let script = String::from_utf8(script).unwrap();
        assert!(script.contains("check-config") && script.contains("--admin-email"));
    }
}
