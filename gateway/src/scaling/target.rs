//! The registry as the loop's target.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bramble_provider::{FunctionName, ProviderError};
use bramble_scaler::{Standing, Target, View};

use super::{OWN_HOLDER, memory};
use crate::error::GatewayError;
use crate::state::Gateway;

/// The functions of this process.
#[derive(Debug)]
pub(super) struct GatewayTarget {
    gateway: Arc<Gateway>,
}

impl GatewayTarget {
    pub(super) fn new(gateway: Arc<Gateway>) -> Self {
        Self { gateway }
    }
}

impl Gateway {
    /// All functions as a scaler sees them. Reads `/proc`, and waits for nothing.
    pub fn view(&self) -> View {
        let now = Instant::now();
        let holds = &self.scaling.holds;
        View {
            functions: self.functions.observe(memory::is_short(), |name| holds.is_held(name, now)),
            wasm_slots: self.wasm.engine_info().slots,
        }
    }
}

impl Target for GatewayTarget {
    async fn lead(&self, term: Duration) -> Result<Standing, ProviderError> {
        Ok(match self.gateway.scaling.lease.take(OWN_HOLDER, term, Instant::now()) {
            Ok(()) => Standing::Leads,
            Err(held) => Standing::StandsBy { leader: held.leader },
        })
    }

    async fn observe(&self) -> Result<View, ProviderError> {
        Ok(self.gateway.view())
    }

    async fn scale(&self, name: &FunctionName, from: u32, to: u32) -> Result<bool, ProviderError> {
        match self.gateway.functions.rescale(name, from, to).await {
            // It was removed in between, and there is nothing to do about it.
            Err(GatewayError::Provider(ProviderError::UnknownFunction(_))) => Ok(false),
            Err(GatewayError::Provider(error)) => Err(error),
            Err(other) => Err(ProviderError::internal("scaling a function", other)),
            Ok(changed) => Ok(changed),
        }
    }

    async fn freeze(&self, name: &FunctionName) -> Result<(), ProviderError> {
        match self.gateway.functions.freeze(name).await {
            Err(ProviderError::UnknownFunction(_)) | Ok(_) => Ok(()),
            Err(error) => Err(error),
        }
    }
}
