//! One function as the host has it: its slots, its current revision, its log.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::{ArcSwap, Guard};
use bramble_provider::{FunctionName, ProviderError, Replicas};

use crate::function_log::FunctionLog;
use crate::revision::Revision;
use crate::run::CpuMeter;
use crate::slots::{NoSlot, Slots};

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
}

/// A function that an invocation holds. The guard counts on the thread that made it: a count of
/// references that all cores write to is among the dearest parts of a short invocation.
pub(crate) type Held = Guard<Arc<Function>>;

/// A function as the map has it: in an [`ArcSwap`] for the sake of its guards. It is never swapped.
pub(crate) type Entry = Arc<ArcSwap<Function>>;

impl Function {
    /// Waits for a slot of this function, then for one of the host's.
    pub(crate) async fn admit(function: Held, wait: Duration) -> Result<Admitted, ProviderError> {
        function.slots.acquire(wait).await.map_err(|refused| function.saturated(refused))?;
        let mut admitted = Admitted { function, in_host: false };
        let function = &admitted.function;
        function.host_slots.acquire(wait).await.map_err(|refused| function.saturated(refused))?;
        admitted.in_host = true;
        Ok(admitted)
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

    fn saturated(&self, refused: NoSlot) -> ProviderError {
        ProviderError::Saturated {
            name: self.name.clone(),
            inflight: refused.inflight,
            queued: refused.queued,
            retry_after: RETRY_AFTER,
        }
    }
}

/// The right to run one instance; dropping it gives both slots back.
#[derive(Debug)]
pub(crate) struct Admitted {
    pub(crate) function: Held,
    in_host: bool,
}

impl Admitted {
    /// The answer when the engine had no room after all.
    pub(crate) fn saturated(&self) -> ProviderError {
        let slots = &self.function.slots;
        self.function.saturated(NoSlot { inflight: slots.busy(), queued: slots.queued() })
    }
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
