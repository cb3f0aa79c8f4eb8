//! The registry as a scaler's target.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bramble_provider::{FunctionName, ProviderError};
use bramble_scaler::target::wire::ChangeKind;
use bramble_scaler::{Standing, Target, View};

use super::{OWN_HOLDER, memory};
use crate::error::GatewayError;
use crate::state::Gateway;

/// The functions of this process, for its own scaler.
#[derive(Debug)]
pub(super) struct GatewayTarget {
    gateway: Arc<Gateway>,
}

impl GatewayTarget {
    pub(super) fn new(gateway: Arc<Gateway>) -> Self {
        Self { gateway }
    }

    /// Without the lease nothing is written: another scaler may have begun while this one was held up.
    async fn change(&self, name: &FunctionName, change: ChangeKind) -> Result<bool, ProviderError> {
        self.gateway.scaled(OWN_HOLDER, name, change).await.map_err(|error| match error {
            GatewayError::Provider(error) => error,
            GatewayError::LeaseHeld(held) => ProviderError::Unavailable {
                provider: "the scaler's lease",
                reason: held.to_string(),
                retry_after: Duration::from_secs(1),
            },
            other => ProviderError::internal("scaling a function", other),
        })
    }
}

impl Gateway {
    /// All functions as a scaler sees them. Reads `/proc`, and waits for nothing.
    pub fn view(&self) -> View {
        let now = Instant::now();
        let holds = &self.scaling.holds;
        let mut functions = self.functions.observe(memory::is_short(), |name| holds.is_held(name, now));
        let depths = self.queue.depths();
        // A retry that waits for its time needs no replica until then.
        let waiting: HashMap<_, _> = depths.iter().map(|depth| (&depth.function, depth.ready)).collect();
        if !waiting.is_empty() {
            for observed in &mut functions {
                let waiting = waiting.get(observed.function.name()).copied();
                observed.counters.queue_depth = waiting.unwrap_or_default();
            }
        }
        View {
            functions,
            wasm_slots: self.wasm.engine_info().slots.saturating_sub(self.functions.held_by_modules()),
            default_slots: self.config.wasm.default_slots,
        }
    }

    /// One change by the scaler that has the lease; answers whether it was made.
    ///
    /// # Errors
    /// [`GatewayError::LeaseHeld`] when `holder` does not have it; what the store or the provider says.
    pub(crate) async fn scaled(
        &self,
        holder: &str,
        name: &FunctionName,
        change: ChangeKind,
    ) -> Result<bool, GatewayError> {
        self.scaling.lease.check(holder, Instant::now())?;
        let changed = match change {
            ChangeKind::Scale { from, to } => self.functions.rescale(name, from, to).await,
            ChangeKind::Freeze => {
                self.functions.freeze(name).await.map(|frozen| frozen > 0).map_err(GatewayError::from)
            }
        };
        match changed {
            // It was removed in between, and there is nothing to do about it.
            Err(GatewayError::Provider(ProviderError::UnknownFunction(_))) => Ok(false),
            changed => changed,
        }
    }
}

impl Target for GatewayTarget {
    async fn lead(&self, term: Duration) -> Result<Standing, ProviderError> {
        Ok(match self.gateway.scaling.lease.take(OWN_HOLDER, term, Instant::now()) {
            Ok(_) => Standing::Leads,
            Err(held) => Standing::StandsBy { leader: held.leader.unwrap_or_default() },
        })
    }

    async fn observe(&self) -> Result<View, ProviderError> {
        Ok(self.gateway.view())
    }

    async fn scale(&self, name: &FunctionName, from: u32, to: u32) -> Result<bool, ProviderError> {
        self.change(name, ChangeKind::Scale { from, to }).await
    }

    async fn freeze(&self, name: &FunctionName) -> Result<bool, ProviderError> {
        self.change(name, ChangeKind::Freeze).await
    }
}
