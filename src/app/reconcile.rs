//! `usherd reconcile` and `usherd jobs run reconcile`.

use std::fs::File;
use std::io::BufReader;
use std::path::Path;
use std::sync::Arc;

use tokio::sync::mpsc;

use super::command::{CommandError, Output, Tools};
use crate::cli::Command;
use crate::directory::Error;
use crate::directory::comparison;
use crate::directory::reconcile::{Mode, Report};
use crate::domain::ids::AccountId;
use crate::domain::names::ClientName;
use crate::jobs::schedule::JobName;
use crate::metrics::Metrics;

/// Checks one account: a line for each finding, and a summary for people.
pub(super) async fn check(tools: &Tools<'_>, account: &AccountId, dry_run: bool) -> Result<Output, CommandError> {
    let report = match dry_run {
        true => tools.directory.reconcile(account, Mode::DryRun).await?,
        false => repair(tools, account).await?,
    };
    told(lines(&report), format!("{account}: {}", report.summary()), report.stopped)
}

/// Checks and repairs all accounts.
pub(super) async fn check_all(tools: &Tools<'_>) -> Result<Output, CommandError> {
    let (mut found, mut words, mut stopped) = (Vec::new(), Vec::new(), false);
    let accounts = tools.directory.accounts().await?;
    let ticker = super::ticker(tools.settings, tools.directory, &Arc::new(Metrics::new()));
    for (account, report) in accounts.iter().zip(ticker.reconcile_together(&accounts).await) {
        let report = report?;
        tools.directory.finish_tick(account, JobName::Reconcile.as_str(), &report.summary()).await?;
        found.extend(lines(&report).into_iter().map(|line| format!("{account}\t{line}")));
        words.push(format!("{account}: {}", report.summary()));
        stopped |= report.stopped;
    }
    told(found, words.join("\n"), stopped)
}

async fn repair(tools: &Tools<'_>, account: &AccountId) -> Result<Report, CommandError> {
    let ticker = super::ticker(tools.settings, tools.directory, &Arc::new(Metrics::new()));
    let report = ticker.reconcile(account).await?;
    tools.directory.finish_tick(account, JobName::Reconcile.as_str(), &report.summary()).await?;
    Ok(report)
}

fn lines(report: &Report) -> Vec<String> {
    report.findings.iter().map(ToString::to_string).collect()
}

/// A run that stopped has failed: a script must not take it for done.
fn told(lines: Vec<String>, words: String, stopped: bool) -> Result<Output, CommandError> {
    let result = lines.join("\n");
    match stopped {
        true => Err(CommandError::Failed(format!("{result}\n{words}"))),
        false => Ok(Output { result, words }),
    }
}

/// Rows that were read and wait to be compared.
const AHEAD: usize = 100;

/// A daemon that carries out the command runs in another directory.
pub(super) fn with_whole_path(command: &Command) -> Command {
    let mut command = command.clone();
    if let Command::Reconcile { against: Some(file), .. } = &mut command
        && let Ok(whole) = std::path::absolute(&*file)
    {
        *file = whole;
    }
    command
}

/// Compares an account with an export, and makes it like that when told to.
pub(super) async fn against(
    tools: &Tools<'_>,
    account: &AccountId,
    file: &Path,
    client: Option<&ClientName>,
    apply: bool,
) -> Result<Output, CommandError> {
    let directory = tools.directory;
    let comparison = directory.comparison(account, client, apply).await?;
    directory.check_export(&comparison, open(file)?).await?;
    let (rows, coming) = mpsc::channel(AHEAD);
    let reader = open(file)?;
    let reading =
        tokio::task::spawn_blocking(move || comparison::read(reader, &mut |row| rows.blocking_send(row).is_ok()));
    let compared = directory.compare(&comparison, coming, &tools.pieces).await?;
    match reading.await {
        Ok(Ok(())) => {}
        // It was right a moment ago.
        Ok(Err(mistake)) => {
            return Err(CommandError::Failed(format!("the export changed while it was read: {mistake}")));
        }
        Err(panicked) => return Err(CommandError::Failed(format!("the export could not be read: {panicked}"))),
    }
    let hint = if apply { "" } else { " Nothing was changed; --apply does it." };
    let words = format!("{}{hint}", compared.in_words(comparison.client.as_str(), apply));
    match &compared.braked {
        Some(brake) => Err(CommandError::Failed(format!("{words}\n{brake}\nStopped; run it again to go on."))),
        None if apply && compared.refused > 0 => Err(CommandError::Failed(words)),
        None => Ok(Output { result: String::new(), words }),
    }
}

fn open(file: &Path) -> Result<BufReader<File>, CommandError> {
    let named =
        |error: std::io::Error| -> Error { Error::Invalid(format!("{} cannot be read: {error}", file.display())) };
    Ok(BufReader::new(File::open(file).map_err(named)?))
}
