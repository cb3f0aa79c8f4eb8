//! `/system/modules`: WASI programs by digest.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use bramble_host::{DEFAULT_INITIALISER, StoredModule, Upload};
use bramble_provider::{Digest, ProviderError};
use http::header::CONTENT_TYPE;
use http::{HeaderMap, StatusCode};
use tokio::sync::SemaphorePermit;
use tokio::time::timeout;

use super::body;
use super::extract::{Params, Tail};
use super::wire::{Module, invalid};
use crate::auth::audit;
use crate::error::GatewayError;
use crate::functions::ModuleClaim;
use crate::state::Gateway;

/// The type of an uploaded module.
const WASM: &str = "application/wasm";

/// Longest name of an export to pre-initialise with.
const MAX_EXPORT_BYTES: usize = 256;

/// Longest wait for another upload to end: they are held in memory, so only a few run at once.
const UPLOAD_WAIT: Duration = Duration::from_secs(30);

/// The modules that are stored, by digest.
#[utoipa::path(
    get, path = "/system/modules", operation_id = "listModules", tag = "modules",
    responses(
        (status = 200, description = "the modules, by digest", body = Vec<Module>),
    ),
)]
pub(super) async fn list(State(gateway): State<Arc<Gateway>>) -> Result<Json<Vec<Module>>, GatewayError> {
    let mut modules = gateway.wasm.modules().await?;
    modules.sort_unstable_by_key(|module| module.digest);
    Ok(Json(modules.into_iter().map(Module::from).collect()))
}

/// 201 for a new module, 200 for one that is stored already.
#[utoipa::path(
    put, path = "/system/modules", operation_id = "uploadModule", tag = "modules",
    params(
        ("preinit" = Option<String>, Query, description = "`true`, or the export that initialises the module before it is stored"),
    ),
    request_body(content = String, content_type = "application/wasm", description = "a module or component"),
    responses(
        (status = 200, description = "stored before", body = Module),
        (status = 201, description = "stored", body = Module),
        (status = 415, description = "`unsupported_type`"),
        (status = 503, description = "`busy`: too many uploads; `unavailable`"),
        (status = 507, description = "`out_of_storage`"),
    ),
)]
pub(super) async fn upload(
    State(gateway): State<Arc<Gateway>>,
    params: Params,
    headers: HeaderMap,
    body: Body,
) -> Result<(StatusCode, Json<Module>), GatewayError> {
    let taken = take(&gateway, &params, &headers, body).await?;
    let status = if taken.stored.is_new { StatusCode::CREATED } else { StatusCode::OK };
    Ok((status, Json(Module::from(&taken))))
}

/// 204; 404 when it is not stored, 409 while a function uses it.
#[utoipa::path(
    delete, path = "/system/modules/{digest}", operation_id = "removeModule", tag = "modules",
    params(
        ("digest" = String, Path, description = "`sha256:` and 64 hexadecimal digits"),
    ),
    responses(
        (status = 204, description = "removed"),
        (status = 400, description = "`invalid_spec`: names what cannot be used"),
        (status = 404, description = "`unknown_module`"),
        (status = 409, description = "`module_in_use`"),
        (status = 503, description = "`unavailable`: what runs or stores it cannot be reached"),
        (status = 507, description = "`out_of_storage`"),
    ),
)]
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
    pub(super) stored: StoredModule,
    /// What was uploaded, where that was pre-initialised and something else is stored.
    pub(super) preinitialised_from: Option<Digest>,
    /// Nobody can remove it before whoever uploaded it has done with it.
    _claim: ModuleClaim,
}

/// Reads, checks and stores an uploaded module: itself, or with `preinit` what its initialisation makes of it.
pub(super) async fn take(
    gateway: &Gateway,
    params: &Params,
    headers: &HeaderMap,
    body: Body,
) -> Result<Taken, GatewayError> {
    check_type(headers)?;
    let _permit = permit(gateway).await?;
    let bytes = body::module(body, gateway.config.wasm.max_module_bytes).await?;
    let mut upload = Upload::hash(bytes.clone()).await?;
    let mut preinitialised_from = None;
    if let Some(initialiser) = initialiser(params)? {
        preinitialised_from = Some(upload.digest());
        let initialised = gateway.wasm.preinitialise(bytes, initialiser).await.map_err(|error| match error {
            ProviderError::InvalidModule(reason) => {
                ProviderError::InvalidModule(format!("preinit: {reason}"))
            }
            other => other,
        });
        upload = Upload::hash(initialised?).await?;
    }
    audit::about(upload.digest());
    Ok(Taken { preinitialised_from, ..store(gateway, upload).await? })
}

/// The right to hold a module in memory on its way in.
///
/// # Errors
/// [`GatewayError::Busy`].
pub(super) async fn permit(gateway: &Gateway) -> Result<SemaphorePermit<'_>, GatewayError> {
    match timeout(UPLOAD_WAIT, gateway.uploads.acquire()).await {
        Ok(Ok(permit)) => Ok(permit),
        _ => Err(GatewayError::Busy { what: "uploads" }),
    }
}

/// Checks and stores a module.
pub(super) async fn store(gateway: &Gateway, upload: Upload) -> Result<Taken, GatewayError> {
    let claim = gateway.functions.claim_module(upload.digest())?;
    let stored = gateway.wasm.store_module(upload).await?;
    Ok(Taken { stored, preinitialised_from: None, _claim: claim })
}

/// The export to pre-initialise with: `preinit=true` for the usual one, `preinit=NAME` for another.
fn initialiser(params: &Params) -> Result<Option<String>, ProviderError> {
    Ok(match params.get("preinit") {
        None | Some("0" | "false") => None,
        Some(_) if params.is_on("preinit") => Some(DEFAULT_INITIALISER.to_owned()),
        Some(name) if name.len() > MAX_EXPORT_BYTES => {
            let reason = format!("the name has {} bytes, above the limit of {MAX_EXPORT_BYTES}", name.len());
            return Err(invalid("preinit", reason));
        }
        Some(name) => Some(name.to_owned()),
    })
}

fn check_type(headers: &HeaderMap) -> Result<(), GatewayError> {
    let said = headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let said = said.split(';').next().unwrap_or_default().trim();
    if said.eq_ignore_ascii_case(WASM) {
        return Ok(());
    }
    Err(GatewayError::UnsupportedType { expected: WASM })
}
