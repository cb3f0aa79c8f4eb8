//! One function as the host has it: its slots, its current revision, its log.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::time::Duration;

use arc_swap::{ArcSwap, Guard};
use bramble_provider::{FunctionName, ProviderError, Replicas};

use crate::function_log::FunctionLog;
use crate::revision::Revision;
use crate::run::CpuMeter;
use crate::slots::Slots;

/// When a refused client may try again: an invocation is short against a second.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// A deployed function. Redeploying swaps its revision; slots, queue and log stay.
#[derive(Debug)]
pub(crate) struct Function {
    pub(crate) name: FunctionName,
    pub(crate) slots: Slots,
    /// The slots that all functions share.
    pub(crate) host_slots: Arc<Slots>,
    pub(crate) revision: ArcSwap<Revision>,
    pub(crate) log: Arc<FunctionLog>,
    /// Counts only while the function is scaled by its processor time.
    pub(crate) cpu: Arc<CpuMeter>,
    /// Invocations that have a slot of this function and wait for one of the host's.
    pub(crate) waiting_for_host: AtomicU32,
}

/// A function that an invocation holds. The guard counts on the thread that made it: a count of
/// references that all cores write to is among the dearest parts of a short invocation.
pub(crate) type Held = Guard<Arc<Function>>;

/// A function as the map has it: in an [`ArcSwap`] for the sake of its guards. It is never swapped.
pub(crate) type Entry = Arc<ArcSwap<Function>>;

impl Function {
    /// Waits for a slot of this function, then for one of the host's: for `wait` in all.
    pub(crate) async fn admit(function: Held, wait: Duration) -> Result<Admitted, ProviderError> {
        let left = function.slots.acquire(wait).await.map_err(|_| function.saturated())?;
        let mut admitted = Admitted { function, in_host: false };
        let function = &admitted.function;
        if !function.host_slots.take_free() {
            Box::pin(function.wait_for_host(left)).await?;
        }
        admitted.in_host = true;
        Ok(admitted)
    }

    async fn wait_for_host(&self, wait: Duration) -> Result<(), ProviderError> {
        let waiting = WaitsForHost::enter(&self.waiting_for_host);
        let taken = self.host_slots.queue(wait).await;
        let refused = taken.err().map(|_| self.saturated());
        drop(waiting);
        refused.map_or(Ok(()), Err)
    }

    /// Invocations that run, and those that wait: for a slot of this function, or with one for the host's.
    pub(crate) fn running_and_waiting(&self) -> (u32, u32) {
        let waiting = self.waiting_for_host.load(Relaxed);
        (self.slots.busy().saturating_sub(waiting), self.slots.queued().saturating_add(waiting))
    }

    pub(crate) fn replicas(&self) -> Replicas {
        let desired = self.slots.desired();
        Replicas { desired, available: desired, frozen: 0 }
    }

    /// Changes how many slots there are, and how many instances may be kept with it.
    pub(crate) fn resize(&self, desired: u32) {
        self.slots.resize(desired);
        self.revision.load().keep_at_most(desired);
        self.unload_if_unused();
    }

    /// Frees the code when no slot is left and nobody runs.
    pub(crate) fn unload_if_unused(&self) {
        if self.slots.desired() == 0 && self.slots.busy() == 0 {
            self.revision.load().set_code(None);
        }
    }

    /// The answer when there is no room.
    pub(crate) fn saturated(&self) -> ProviderError {
        let (inflight, queued) = self.running_and_waiting();
        ProviderError::Saturated { name: self.name.clone(), inflight, queued, retry_after: RETRY_AFTER }
    }
}

/// Counts an invocation that waits for the host, for as long as it does.
struct WaitsForHost<'a>(&'a AtomicU32);

impl<'a> WaitsForHost<'a> {
    fn enter(count: &'a AtomicU32) -> Self {
        count.fetch_add(1, Relaxed);
        Self(count)
    }
}

impl Drop for WaitsForHost<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Relaxed);
    }
}

/// The right to run one instance; dropping it gives both slots back.
#[derive(Debug)]
pub(crate) struct Admitted {
    pub(crate) function: Held,
    in_host: bool,
}

impl Drop for Admitted {
    fn drop(&mut self) {
        if self.in_host {
            self.function.host_slots.release();
        }
        self.function.slots.release();
        self.function.unload_if_unused();
    }
}
