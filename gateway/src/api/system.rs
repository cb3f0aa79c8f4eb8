//! What the gateway says about itself.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Redirect, Response};
use bramble_provider::ProviderError;
use http::HeaderValue;
use http::header::CONTENT_TYPE;

use super::wire::Info;
use crate::error::GatewayError;
use crate::ready::Phase;
use crate::state::Gateway;

/// The type of Prometheus' text form.
const PROMETHEUS_TEXT: HeaderValue = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");

/// Versions, and what the wasm engine settled on.
#[utoipa::path(
    get, path = "/system/info", operation_id = "info", tag = "gateway",
    responses(
        (status = 200, description = "versions, and what runs functions", body = Info),
    ),
)]
pub(super) async fn info(State(gateway): State<Arc<Gateway>>) -> Json<Info> {
    Json(Info::new(gateway.wasm.engine_info(), gateway.containers.info()))
}

/// 200 for as long as the process can answer at all.
#[utoipa::path(
    get, path = "/healthz", operation_id = "healthz", tag = "gateway",
    security(()),
    responses(
        (status = 200, description = "it answers", body = String, content_type = "text/plain"),
    ),
)]
pub(super) async fn healthz() -> &'static str {
    "OK"
}

/// 200 while requests are taken.
#[utoipa::path(
    get, path = "/readyz", operation_id = "readyz", tag = "gateway",
    security(()),
    responses(
        (status = 200, description = "it takes requests", body = String, content_type = "text/plain"),
        (status = 503, description = "`not_ready`: it starts or stops"),
    ),
)]
pub(super) async fn readyz(State(gateway): State<Arc<Gateway>>) -> Result<&'static str, GatewayError> {
    match gateway.readiness.phase() {
        Phase::Ready => Ok("OK"),
        Phase::Starting => Err(GatewayError::NotReady("starting")),
        Phase::Leaving | Phase::Draining => Err(GatewayError::NotReady("stopping")),
    }
}

/// The portal's place.
#[utoipa::path(
    get, path = "/", operation_id = "root", tag = "gateway",
    security(()),
    responses(
        (status = 307, description = "to the portal", headers(("location" = String))),
    ),
)]
pub(super) async fn root() -> Redirect {
    Redirect::temporary("/ui/")
}

/// Everything that is counted. Off the async threads: with many functions it takes a while.
#[utoipa::path(
    get, path = "/metrics", operation_id = "metrics", tag = "gateway",
    security(()),
    responses(
        (status = 200, description = "the text form of Prometheus", body = String, content_type = "text/plain"),
    ),
)]
pub(super) async fn metrics(State(gateway): State<Arc<Gateway>>) -> Result<Response, GatewayError> {
    let metrics = gateway.metrics.clone();
    let text = tokio::task::spawn_blocking(move || metrics.render())
        .await
        .map_err(|panic| ProviderError::internal("rendering the metrics", panic))?
        .map_err(|error| ProviderError::internal("rendering the metrics", error))?;
    Ok(([(CONTENT_TYPE, PROMETHEUS_TEXT)], text).into_response())
}
