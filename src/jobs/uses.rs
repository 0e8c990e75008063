//! Writes down when tokens were used and what was refused, beside the requests that do it.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::directory::Directory;

/// How often it is looked for refusals whose repetitions are due.
const LOOK: Duration = Duration::from_secs(60);

/// Writes until `stop`, and then what is left.
pub async fn write_until(directory: Arc<Directory>, stop: CancellationToken) {
    loop {
        let woken = async {
            tokio::select! {
                () = directory.uses().woken() => {}
                () = directory.refusals().woken() => {}
                () = tokio::time::sleep(LOOK) => {}
            }
        };
        let stopped = stop.run_until_cancelled(woken).await.is_none();
        if let Err(error) = directory.write_uses().await {
            tracing::debug!(%error, "when tokens were used could not be written; the next use is");
        }
        if let Err(error) = directory.write_refusals(stopped).await {
            tracing::warn!(%error, "refused attempts could not be written into the audit");
        }
        if stopped {
            return;
        }
    }
}
