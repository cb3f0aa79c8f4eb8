//! `/system/modules`: WASI programs by digest.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use bramble_host::ModuleInfo;
use bramble_provider::{Digest, ProviderError};
use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, StatusCode};
use sha2::{Digest as _, Sha256};
use tokio::time::timeout;

use super::body;
use super::extract::Tail;
use super::wire::{Module, invalid};
use crate::auth::audit;
use crate::error::GatewayError;
use crate::functions::ModuleClaim;
use crate::state::Gateway;

/// The type of an uploaded module.
const WASM: &str = "application/wasm";

/// Longest wait for another upload to end: they are held in memory, so only a few run at once.
const UPLOAD_WAIT: Duration = Duration::from_secs(30);

/// The modules that are stored, by digest.
pub(super) async fn list(State(gateway): State<Arc<Gateway>>) -> Result<Json<Vec<Module>>, GatewayError> {
    let mut modules = gateway.wasm.modules().await?;
    modules.sort_unstable_by_key(|module| module.digest);
    Ok(Json(modules.into_iter().map(Module::from).collect()))
}

/// 201 for a new module, 200 for one that is stored already.
pub(super) async fn upload(
    State(gateway): State<Arc<Gateway>>,
    headers: HeaderMap,
    body: Body,
) -> Result<(StatusCode, Json<Module>), GatewayError> {
    let taken = take(&gateway, &headers, body).await?;
    let status = if taken.is_new { StatusCode::CREATED } else { StatusCode::OK };
    Ok((status, Json(taken.module.into())))
}

/// 204; 404 when it is not stored, 409 while a function uses it.
pub(super) async fn remove(
    State(gateway): State<Arc<Gateway>>,
    Tail(digest): Tail,
) -> Result<StatusCode, GatewayError> {
    let digest = Digest::parse(&digest).map_err(|error| invalid("digest", error))?;
    gateway.functions.remove_module(digest).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// An uploaded module that is stored now.
pub(super) struct Taken {
    pub(super) module: ModuleInfo,
    is_new: bool,
    /// Nobody can remove it before whoever uploaded it has done with it.
    _claim: ModuleClaim,
}

/// Reads, checks and stores an uploaded module.
pub(super) async fn take(gateway: &Gateway, headers: &HeaderMap, body: Body) -> Result<Taken, GatewayError> {
    check_type(headers)?;
    let busy = GatewayError::Busy { what: "uploads" };
    let Ok(Ok(_permit)) = timeout(UPLOAD_WAIT, gateway.uploads.acquire()).await else { return Err(busy) };
    let bytes = body::module(body, gateway.config.wasm.max_module_bytes).await?;
    let digest = digest(bytes.clone()).await?;
    audit::about(digest);
    let claim = gateway.functions.claim_module(digest)?;
    let is_new = gateway.wasm.module(digest).await.is_err();
    let module = gateway.wasm.put_module(bytes).await?;
    Ok(Taken { module, is_new, _claim: claim })
}

fn check_type(headers: &HeaderMap) -> Result<(), GatewayError> {
    let said = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let said = said.split(';').next().unwrap_or_default().trim();
    if said.eq_ignore_ascii_case(WASM) {
        return Ok(());
    }
    Err(GatewayError::UnsupportedType { expected: WASM })
}

async fn digest(bytes: Bytes) -> Result<Digest, ProviderError> {
    tokio::task::spawn_blocking(move || Digest::from_sha256(Sha256::digest(&bytes).into()))
        .await
        .map_err(|panic| ProviderError::internal("hashing a module", panic))
}
