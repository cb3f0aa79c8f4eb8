//! What the queue is told when it starts.

use std::path::PathBuf;
use std::time::Duration;

use super::book::Limits;

/// How long calls wait for a function that is gone: one that is replaced by removing it comes back.
const GRACE: Duration = Duration::from_secs(60);

/// Settings of the queue of asynchronous invocations.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QueueConfig {
    /// Calls that run at once; a function of which none runs may have one beyond that, up to twice as many.
    pub workers: u32,
    /// Most calls that wait or run, and dead letters.
    pub max_calls: u32,
    /// Most bytes of all their heads and bodies together, the dead letters' included.
    pub max_bytes: u64,
    /// Certificate authorities (PEM) that callbacks trust beside those that the machine knows.
    pub callback_ca: Option<PathBuf>,
}

impl Default for QueueConfig {
    fn default() -> Self {
        Self { workers: 32, max_calls: 100_000, max_bytes: 1 << 30, callback_ca: None }
    }
}

impl QueueConfig {
    pub(super) fn limits(&self) -> Limits {
        Limits {
            calls: usize::try_from(self.max_calls).unwrap_or(usize::MAX),
            bytes: self.max_bytes,
            workers: usize::try_from(self.workers).unwrap_or(usize::MAX).max(1),
            callbacks_each: 16,
            callbacks: 128,
            dead_each: 10_000,
            ended: 10_000,
            grace: GRACE,
        }
    }
}
