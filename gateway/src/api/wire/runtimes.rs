//! What is told of the halves of a hybrid function.

use bramble_provider::{FunctionStatus, ProviderError, Replicas};
use serde::Serialize;
use utoipa::ToSchema;

use crate::functions::HalfFigures;

/// The halves of a hybrid function.
#[derive(Debug, Serialize, ToSchema)]
pub(in crate::api) struct Runtimes {
    pub(in crate::api) wasm: HalfStatus,
    pub(in crate::api) container: HalfStatus,
}

/// One half of a hybrid function. A replica of the module is a slot.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(in crate::api) struct HalfStatus {
    replicas: u32,
    available_replicas: u32,
    frozen_replicas: u32,
    inflight: u32,
    queued: u32,
    invocation_count: u64,
    /// The mean time to a response's head, as the router sees it.
    #[serde(skip_serializing_if = "Option::is_none")]
    service_seconds: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
}

impl HalfStatus {
    /// What is told of one half; why, when its provider does not have it.
    pub(in crate::api) fn new(status: Result<FunctionStatus, ProviderError>, figures: HalfFigures) -> Self {
        let (replicas, inflight, queued, reason) = match status {
            Ok(status) => (status.replicas, status.inflight, status.queued, status.reason),
            Err(error) => (Replicas::default(), 0, 0, Some(error.to_string())),
        };
        Self {
            replicas: replicas.desired,
            available_replicas: replicas.available,
            frozen_replicas: replicas.frozen,
            inflight,
            queued,
            invocation_count: figures.invocations,
            service_seconds: figures.service_seconds,
            reason: figures.trouble.or(reason),
        }
    }
}
