//! `usherd reconcile` and `usherd jobs run reconcile`.

use std::sync::Arc;

use super::command::{CommandError, Output, Tools};
use crate::directory::reconcile::{Mode, Report};
use crate::domain::ids::AccountId;
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
    for account in tools.directory.accounts().await? {
        let report = repair(tools, &account).await?;
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
