//! Changes under way: beside each other for different functions, one at a time for each.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bramble_provider::{FunctionName, ProviderError};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use crate::target::Target;

/// Most changes at once. Each waits for a store or a daemon, and hardly uses a processor.
const MAX_AT_ONCE: usize = 16;

/// Longest that a change may take before the next decision on that function is made.
const LIMIT: Duration = Duration::from_secs(60);

/// A change to make.
#[derive(Debug)]
pub(super) struct Order {
    pub(super) name: FunctionName,
    /// `up`, `down`, `zero` or `freeze`.
    pub(super) action: &'static str,
    pub(super) from: u32,
    pub(super) to: u32,
}

/// A change that ended.
#[derive(Debug)]
pub(super) struct Ended {
    pub(super) name: FunctionName,
    pub(super) action: &'static str,
    /// Whether it was made; not when somebody else was quicker.
    pub(super) outcome: Result<bool, ProviderError>,
}

/// The changes of one loop.
pub(super) struct Changes<T> {
    target: Arc<T>,
    at_once: Arc<Semaphore>,
    running: JoinSet<Ended>,
}

impl<T: Target> Changes<T> {
    pub(super) fn of(target: Arc<T>) -> Self {
        Self { target, at_once: Arc::new(Semaphore::new(MAX_AT_ONCE)), running: JoinSet::new() }
    }

    /// Begins a change. There are never more of them than functions.
    pub(super) fn begin(&mut self, order: Order) {
        let (target, at_once) = (self.target.clone(), self.at_once.clone());
        self.running.spawn(async move {
            let Order { name, action, from, to } = order;
            let change = async {
                // The semaphore is never closed.
                let _one = at_once.acquire().await;
                if action == super::journal::FREEZE {
                    return target.freeze(&name).await.map(|()| true);
                }
                target.scale(&name, from, to).await
            };
            let outcome = tokio::time::timeout(LIMIT, change).await;
            let outcome = outcome.unwrap_or_else(|_| {
                Err(ProviderError::Unavailable {
                    provider: "the scaler",
                    reason: format!("a change did not end within {LIMIT:?}"),
                    retry_after: LIMIT,
                })
            });
            Ended { name, action, outcome }
        });
    }

    /// Waits for the next change to end; `None` when none is under way.
    #[cfg(test)]
    pub(super) async fn next(&mut self) -> Option<Ended> {
        self.running.join_next().await.map(Result::unwrap)
    }

    /// One change that ended, if there is one.
    pub(super) fn ended(&mut self) -> Option<Ended> {
        loop {
            match self.running.try_join_next()? {
                Ok(ended) => return Some(ended),
                // Its function stays unchanged until the loop starts anew: a bug, and told as one.
                Err(error) => tracing::error!(%error, "a change of replicas did not finish"),
            }
        }
    }
}

impl<T> fmt::Debug for Changes<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Changes").field("running", &self.running.len()).finish_non_exhaustive()
    }
}
