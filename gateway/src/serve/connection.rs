//! The task that serves a connection, and how one of its requests can end it.

use std::sync::Arc;
use std::time::Instant;

use tokio::sync::SetOnce;
use tokio::task::AbortHandle;

/// The task of one connection. It may serve its first request before it is told which one it is.
#[derive(Debug, Default)]
pub(crate) struct ConnectionTask(Arc<SetOnce<AbortHandle>>);

/// Ends a connection at its time. Dropping it calls that off.
#[derive(Debug)]
pub(crate) struct CutOff(AbortHandle);

impl ConnectionTask {
    /// Tells which task it is.
    pub(super) fn is(&self, task: AbortHandle) {
        let told = self.0.set(task);
        debug_assert!(told.is_ok(), "a connection has one task");
    }

    /// Ends the connection at `at`, with all that its task holds.
    ///
    /// For a response that may have to wait for a client that does not read: then nobody asks its
    /// body for more, so the body cannot notice the time.
    pub(crate) fn cut_off_at(&self, at: Instant) -> CutOff {
        let connection = Arc::clone(&self.0);
        let alarm = tokio::spawn(async move {
            tokio::time::sleep_until(at.into()).await;
            connection.wait().await.abort();
        });
        CutOff(alarm.abort_handle())
    }
}

impl Drop for CutOff {
    fn drop(&mut self) {
        self.0.abort();
    }
}
