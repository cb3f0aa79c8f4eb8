//! One write at a time for each name, with a bound on how many wait and for how long.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bramble_provider::{FunctionName, ProviderError};
use parking_lot::Mutex;
use tokio::sync::{Mutex as TurnMutex, OwnedMutexGuard};
use tokio::time::timeout;

/// Most writes to one name at once, the running one included.
const MAX_WRITES_PER_NAME: usize = 64;

/// Longest wait for the writes before this one; a deployment may compile a large module.
const MAX_WAIT: Duration = Duration::from_secs(120);

/// When a refused write may be tried again.
const RETRY_AFTER: Duration = Duration::from_secs(2);

/// Who writes to which name. Names without a write take no memory.
#[derive(Clone, Default)]
pub(super) struct WriteOrder(Arc<Mutex<HashMap<FunctionName, Arc<TurnMutex<()>>>>>);

/// The right to write to one name, until it is dropped.
pub(super) struct Turn {
    /// `None` only while it is being dropped.
    held: Option<OwnedMutexGuard<()>>,
    place: Place,
}

/// One entry of [`WriteOrder`] that is kept while somebody uses it.
struct Place {
    order: WriteOrder,
    name: FunctionName,
    turn: Arc<TurnMutex<()>>,
}

impl WriteOrder {
    /// Waits for the turn to write to `name`. Dropping the future gives the place up.
    pub(super) async fn turn(&self, name: &FunctionName) -> Result<Turn, ProviderError> {
        let place = self.place(name)?;
        let held = timeout(MAX_WAIT, place.turn.clone().lock_owned()).await.map_err(|_| busy(name))?;
        Ok(Turn { held: Some(held), place })
    }

    fn place(&self, name: &FunctionName) -> Result<Place, ProviderError> {
        let mut turns = self.0.lock();
        let turn = turns.entry(name.clone()).or_default();
        // One for the map; a holder has two.
        if Arc::strong_count(turn) > MAX_WRITES_PER_NAME + 1 {
            return Err(busy(name));
        }
        Ok(Place { order: self.clone(), name: name.clone(), turn: turn.clone() })
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        // Before the place, whose drop looks at who else is there.
        self.held.take();
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut turns = self.order.0.lock();
        // The map's and ours: whoever comes now waits for the map's lock and makes a new entry.
        if Arc::strong_count(&self.turn) == 2 {
            turns.remove(&self.name);
        }
    }
}

impl fmt::Debug for Turn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Turn").field("name", &self.place.name).finish_non_exhaustive()
    }
}

fn busy(name: &FunctionName) -> ProviderError {
    ProviderError::Unavailable {
        provider: "the registry",
        reason: format!("too many changes to function {name} at once; try again later"),
        retry_after: RETRY_AFTER,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt;

    fn name(text: &str) -> FunctionName {
        FunctionName::parse(text).unwrap()
    }

    #[tokio::test]
    async fn one_name_takes_turns_and_another_does_not_wait() {
        let order = WriteOrder::default();
        let first = order.turn(&name("a")).await.unwrap();
        let a = name("a");
        let mut second = Box::pin(order.turn(&a));
        assert!(second.as_mut().now_or_never().is_none());
        let other = order.turn(&name("b")).await.unwrap();
        drop(first);
        drop((second.await.unwrap(), other));
        assert!(order.0.lock().is_empty());
    }

    #[tokio::test]
    async fn a_waiter_that_gives_up_leaves_nothing() {
        let order = WriteOrder::default();
        let first = order.turn(&name("a")).await.unwrap();
        assert!(order.turn(&name("a")).now_or_never().is_none());
        drop(first);
        assert!(order.0.lock().is_empty());
    }

    #[tokio::test]
    async fn waits_have_a_bound_in_number() {
        let (order, a) = (WriteOrder::default(), name("a"));
        let _first = order.turn(&a).await.unwrap();
        let mut waiting: Vec<_> = (0..2 * MAX_WRITES_PER_NAME).map(|_| Box::pin(order.turn(&a))).collect();
        let refused: Vec<_> = waiting.iter_mut().filter_map(|turn| turn.as_mut().now_or_never()).collect();
        assert!((MAX_WRITES_PER_NAME..2 * MAX_WRITES_PER_NAME).contains(&refused.len()), "{}", refused.len());
        assert!(refused.iter().all(|turn| matches!(turn, Err(ProviderError::Unavailable { .. }))));
    }
}
