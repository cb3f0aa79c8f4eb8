//! What a client is told whose call was not taken.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use bramble_provider::ProviderError;

use super::QueueConfig;
use super::book::Full;
use super::disk::Refused;
use crate::error::{GatewayError, causes};
use crate::store::StoreError;

/// When it may try again.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// The queue is full.
pub(super) fn full(full: Full, config: &QueueConfig) -> GatewayError {
    let (limit, dead) = match full {
        Full::Calls { dead } => (format!("{} calls (--queue-max)", config.max_calls), dead),
        Full::Bytes { dead } => (format!("{} bytes (--queue-max-size)", config.max_bytes), dead),
        Full::Dead(dead) => (format!("{dead} dead letters of this function"), 1),
    };
    // They do not go by themselves: whoever is told may have to do something.
    let way_out = "; what was given up makes room when it is replayed or deleted (/system/async/dead)";
    let limit = if dead > 0 { limit + way_out } else { limit };
    GatewayError::QueueFull { limit, retry_after: RETRY_AFTER }
}

/// The disk did not take the call.
pub(super) fn not_written(refused: &Refused) -> GatewayError {
    match &**refused {
        StoreError::Full { .. } => ProviderError::OutOfStorage(
            "no space left on the gateway's disk; the invocation was not queued, free some space and try again"
                .into(),
        )
        .into(),
        other => {
            tracing::error!(error = causes(other), "the queue cannot be written");
            ProviderError::Unavailable {
                provider: "the queue",
                reason: "its file cannot be written; the cause is in the gateway's log".into(),
                retry_after: RETRY_AFTER,
            }
            .into()
        }
    }
}

/// The file of the body cannot be written.
pub(super) fn no_file(error: &io::Error) -> GatewayError {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            not_written(&Arc::new(StoreError::Full { store: String::new() }))
        }
        _ => {
            tracing::error!(%error, "a queued body cannot be written");
            ProviderError::Unavailable {
                provider: "the queue",
                reason: "the file of the body cannot be written; the cause is in the gateway's log".into(),
                retry_after: RETRY_AFTER,
            }
            .into()
        }
    }
}
