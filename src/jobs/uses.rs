//! Writes down when tokens were used, beside the requests that use them.

use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use crate::directory::Directory;

/// Writes until `stop`, and then what is left.
pub async fn write_until(directory: Arc<Directory>, stop: CancellationToken) {
    loop {
        let stopped = stop.run_until_cancelled(directory.uses().woken()).await.is_none();
        if let Err(error) = directory.write_uses().await {
            tracing::debug!(%error, "when tokens were used could not be written; the next use is");
        }
        if stopped {
            return;
        }
    }
}
