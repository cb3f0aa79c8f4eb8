//! What the gateway says about itself.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Redirect, Response};
use bramble_provider::ProviderError;
use http::HeaderValue;
use http::header::CONTENT_TYPE;
use serde_json::{Value, json};

use crate::error::GatewayError;
use crate::ready::Phase;
use crate::state::Gateway;

/// The type of Prometheus' text form.
const PROMETHEUS_TEXT: HeaderValue = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");

/// The commit this was built from. Never empty: `faas-cli version` calls an empty one a very old gateway.
const GIT_SHA: &str = match option_env!("BRAMBLE_GIT_SHA") {
    Some(sha) if !sha.is_empty() => sha,
    _ => "unknown",
};

/// Versions, and what the wasm engine settled on.
pub(super) async fn info(State(gateway): State<Arc<Gateway>>) -> Json<Value> {
    let version = json!({
        "release": env!("CARGO_PKG_VERSION"),
        "sha": GIT_SHA,
        "commit_message": option_env!("BRAMBLE_GIT_SUBJECT").unwrap_or_default(),
    });
    let engine = gateway.wasm.engine_info();
    let containers = gateway.containers.info();
    let orchestration = if containers.available { "wasm, swarm" } else { "wasm" };
    Json(json!({
        "provider": {"provider": "bramble", "orchestration": orchestration, "version": version},
        "version": version,
        "arch": std::env::consts::ARCH,
        "containers": containers,
        "wasm": {
            "allocator": engine.allocator,
            "slots": engine.slots,
            "slots_wanted": engine.slots_wanted,
            "memory_reservation_bytes": engine.memory_reservation_bytes,
            "keep_resident_bytes": engine.keep_resident_bytes,
            "address_bits": engine.address_bits,
            "pagemap_scan": engine.pagemap_scan,
            "reason": engine.reason,
        },
    }))
}

/// 200 for as long as the process can answer at all.
pub(super) async fn healthz() -> &'static str {
    "OK"
}

/// 200 while requests are taken.
pub(super) async fn readyz(State(gateway): State<Arc<Gateway>>) -> Result<&'static str, GatewayError> {
    match gateway.readiness.phase() {
        Phase::Ready => Ok("OK"),
        Phase::Starting => Err(GatewayError::NotReady("starting")),
        Phase::Draining => Err(GatewayError::NotReady("stopping")),
    }
}

/// The portal's place.
pub(super) async fn root() -> Redirect {
    Redirect::temporary("/ui/")
}

/// Everything that is counted. Off the async threads: with many functions it takes a while.
pub(super) async fn metrics(State(gateway): State<Arc<Gateway>>) -> Result<Response, GatewayError> {
    let metrics = gateway.metrics.clone();
    let text = tokio::task::spawn_blocking(move || metrics.render())
        .await
        .map_err(|panic| ProviderError::internal("rendering the metrics", panic))?
        .map_err(|error| ProviderError::internal("rendering the metrics", error))?;
    Ok(([(CONTENT_TYPE, PROMETHEUS_TEXT)], text).into_response())
}
