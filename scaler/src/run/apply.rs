//! Changes under way: beside each other for different functions, one at a time for each.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bramble_provider::{FunctionName, ProviderError, Runtime};
use tokio::sync::Semaphore;
use tokio::task::{Id, JoinSet};

use super::journal::FREEZE;
use crate::target::Target;

/// Most changes at once of what one runtime runs: a daemon that hangs holds no slots up. Each waits for a store
/// or a daemon, and hardly uses a processor.
const MAX_AT_ONCE: usize = 16;

/// Longest that a change may take, its turn not counted, before the next decision on that function is made.
const LIMIT: Duration = Duration::from_secs(60);

/// A change to make.
#[derive(Debug)]
pub(super) struct Order {
    pub(super) name: FunctionName,
    pub(super) runtime: Runtime,
    /// `up`, `down`, `zero` or `freeze`.
    pub(super) action: &'static str,
    pub(super) from: u32,
    pub(super) to: u32,
    /// In words.
    pub(super) why: String,
}

/// A change that ended.
#[derive(Debug)]
pub(super) struct Ended {
    pub(super) name: FunctionName,
    pub(super) action: &'static str,
    /// Whether it was made; not when somebody else was quicker, nor when there was nothing to pause.
    pub(super) outcome: Result<bool, ProviderError>,
}

/// The changes of one loop.
pub(super) struct Changes<T> {
    target: Arc<T>,
    wasm: Arc<Semaphore>,
    containers: Arc<Semaphore>,
    running: JoinSet<Ended>,
    /// Whose changes these are, whatever else is forgotten of the functions.
    names: HashMap<FunctionName, Id>,
}

impl<T: Target> Changes<T> {
    pub(super) fn of(target: Arc<T>) -> Self {
        let turns = || Arc::new(Semaphore::new(MAX_AT_ONCE));
        let (wasm, containers) = (turns(), turns());
        Self { target, wasm, containers, running: JoinSet::new(), names: HashMap::new() }
    }

    /// Whether a change of this function has not ended yet.
    pub(super) fn is_under_way(&self, name: &FunctionName) -> bool {
        self.names.contains_key(name)
    }

    /// Begins a change. There are never more of them than functions.
    pub(super) fn begin(&mut self, order: Order) {
        let turns = match order.runtime {
            Runtime::Wasm => &self.wasm,
            Runtime::Container | Runtime::Hybrid => &self.containers,
        };
        let (target, turns, name) = (self.target.clone(), turns.clone(), order.name.clone());
        let task = self.running.spawn(async move {
            // The semaphore is never closed.
            let _turn = turns.acquire().await;
            let Order { name, action, from, to, .. } = order;
            let change = async {
                if action == FREEZE {
                    return target.freeze(&name).await;
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
        self.names.insert(name, task.id());
    }

    /// Waits for the next change to end; `None` when none is under way.
    #[cfg(test)]
    pub(super) async fn next(&mut self) -> Option<Ended> {
        let ended = self.running.join_next().await.map(Result::unwrap)?;
        self.names.remove(&ended.name);
        Some(ended)
    }

    /// One change that ended, if there is one.
    pub(super) fn ended(&mut self) -> Option<Ended> {
        loop {
            match self.running.try_join_next()? {
                Ok(ended) => {
                    self.names.remove(&ended.name);
                    return Some(ended);
                }
                Err(error) => {
                    // A bug, and told as one; the function is decided on again.
                    tracing::error!(%error, "a change of replicas did not finish");
                    self.names.retain(|_, id| *id != error.id());
                }
            }
        }
    }
}

impl<T> fmt::Debug for Changes<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Changes").field("running", &self.running.len()).finish_non_exhaustive()
    }
}
