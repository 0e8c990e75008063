//! The `usherd` command.

use std::io::{IsTerminal, Write};
use std::process::ExitCode;

use anyhow::Context;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;
use usherd::app::{self, Daemon, Ended, Listeners, Shutdown};
use usherd::cli::{self, Action, Cli, Command};
use usherd::config::{Configuration, Settings};
use usherd::http::ops::healthcheck;
use usherd::telemetry;

/// Faster than the system's, and after a burst it gives back more of what it took (docs/PERFORMANCE.md, "Where the time
/// goes").
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let cli = match cli::parse(std::env::args_os()) {
        Ok(cli) => cli,
        Err(error) => {
            // Help and version go to standard output, mistakes to standard error; clap knows which.
            return match error.print() {
                Ok(()) => ExitCode::from(cli::exit_code_of(&error)),
                Err(_) => ExitCode::from(cli::EXIT_FAILED),
            };
        }
    };
    if let Action::Completions { shell } = cli.action {
        cli::completions(shell, &mut std::io::stdout());
        return ExitCode::from(cli::EXIT_OK);
    }
    let settings = match configure(&cli) {
        Ok(settings) => settings,
        Err(mistakes) => return end(&format!("{mistakes}"), cli::EXIT_USAGE),
    };
    match act(settings, cli.action) {
        Ok(code) => ExitCode::from(code),
        Err(error) => end(&format!("{error:#}"), cli::EXIT_FAILED),
    }
}

fn end(message: &str, code: u8) -> ExitCode {
    // Nobody is left to tell when standard error is gone.
    writeln!(std::io::stderr(), "usherd: {message}").ok();
    ExitCode::from(code)
}

fn configure(cli: &Cli) -> Result<Settings, usherd::config::Mistakes> {
    #[expect(clippy::disallowed_methods, reason = "the environment is read here, once")]
    let environment =
        std::env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
    let loaded = Configuration::load(cli.config.as_deref(), environment)?;
    // A second start in one process does not happen, and the first logger is as good.
    telemetry::init(&loaded.settings.telemetry_settings(), std::io::stderr().is_terminal()).ok();
    for warning in &loaded.warnings {
        tracing::warn!("{warning}");
    }
    Ok(loaded.settings)
}

#[tokio::main]
async fn act(settings: Settings, action: Action) -> anyhow::Result<u8> {
    rustls::crypto::aws_lc_rs::default_provider().install_default().ok();
    match action {
        Action::Serve => serve(settings).await,
        Action::CheckConfig { connect } => check_config(&settings, connect).await,
        Action::Healthcheck => {
            healthcheck(settings.ops.listen).await.context("the daemon is not healthy")?;
            Ok(cli::EXIT_OK)
        }
        Action::Command(command) => {
            confirm(&command)?;
            let (pieces, mut printed) = mpsc::channel::<String>(4);
            // When standard output is closed, nobody takes the pieces any more, and the command fails.
            let print_pieces = async move {
                while let Some(piece) = printed.recv().await {
                    std::io::stdout().write_all(piece.as_bytes())?;
                }
                anyhow::Ok(())
            };
            let execute = app::execute(&settings, &command, pieces);
            // What a command that fails has done until then is printed, too.
            let (output, pieces) = tokio::join!(execute, print_pieces);
            pieces?;
            let output = output?;
            say(&output.words)?;
            print(&output.result)?;
            Ok(cli::EXIT_OK)
        }
        Action::Completions { .. } => Ok(cli::EXIT_OK),
    }
}

async fn serve(settings: Settings) -> anyhow::Result<u8> {
    let bind = async |address, key| {
        TcpListener::bind(address).await.with_context(|| format!("cannot listen on {address}; change {key}"))
    };
    let public = bind(settings.http.listen, "http.listen").await?;
    let ops = bind(settings.ops.listen, "ops.listen").await?;
    let shutdown = Shutdown::default();
    let daemon = Daemon::new(settings, Listeners { public, ops }, shutdown.clone())?;
    let signals = listen_for_signals(shutdown)?;
    let ended = daemon.run(|welcome| print(welcome).unwrap_or_default()).await;
    signals.abort();
    match ended? {
        Ended::Drained => Ok(cli::EXIT_OK),
        Ended::Failed(reason) => anyhow::bail!("{reason}"),
    }
}

/// The first signal drains, the second ends at once.
fn listen_for_signals(shutdown: Shutdown) -> anyhow::Result<tokio::task::JoinHandle<()>> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    Ok(tokio::spawn(async move {
        loop {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
            }
            if shutdown.soft.is_cancelled() {
                tracing::warn!("second signal: ending at once");
                shutdown.hard.cancel();
            } else {
                tracing::info!("signal: draining");
                shutdown.soft.cancel();
            }
        }
    }))
}

async fn check_config(settings: &Settings, connect: bool) -> anyhow::Result<u8> {
    say("The configuration is free of mistakes.")?;
    if connect {
        for line in app::check_connections(settings).await? {
            say(&line)?;
        }
    }
    Ok(cli::EXIT_OK)
}

/// Deleting an account asks a person; a script says `--yes`.
fn confirm(command: &Command) -> anyhow::Result<()> {
    let Command::Account(cli::AccountCommand::Delete { id, yes: false }) = command else { return Ok(()) };
    if !std::io::stdin().is_terminal() {
        anyhow::bail!("deleting account {id} cannot be undone; say --yes");
    }
    say(&format!("This deletes account {id} with everything in it. Type its id to go on:"))?;
    let mut typed = String::new();
    std::io::stdin().read_line(&mut typed)?;
    if typed.trim() == id.as_str() { Ok(()) } else { anyhow::bail!("nothing was deleted") }
}

fn print(result: &str) -> std::io::Result<()> {
    if result.is_empty() { Ok(()) } else { writeln!(std::io::stdout(), "{}", result.trim_end()) }
}

fn say(words: &str) -> std::io::Result<()> {
    if words.is_empty() { Ok(()) } else { writeln!(std::io::stderr(), "{words}") }
}
