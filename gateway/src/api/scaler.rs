//! What a scaler reads and writes, wherever it runs; and why it decided what it did.

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use bramble_provider::{FunctionName, ProviderError};
use bramble_scaler::Explained;
use bramble_scaler::target::wire::{
    ChangeDocument, ChangeKind, ChangedDocument, ExplanationDocument, LeaseDocument, ViewDocument,
};
use http::StatusCode;
use serde::Serialize;
use serde_json::Value;

use super::body;
use super::extract::Named;
use super::functions::check_replicas;
use super::wire::{invalid, required};
use crate::auth::audit;
use crate::error::{GatewayError, excerpt};
use crate::scaling::OWN_HOLDER;
use crate::state::Gateway;

type Shared = State<Arc<Gateway>>;

/// Longest wait for a scaler elsewhere to tell why: it hears of the question when it looks next.
const EXPLAIN_LIMIT: Duration = Duration::from_secs(5);

/// Longest name of a scaler.
const MAX_HOLDER_BYTES: usize = 200;

/// `GET /system/scale-function/{name}`: the last decision on a function.
#[utoipa::path(
    get, path = "/system/scale-function/{name}", operation_id = "explainScaling", tag = "scaling",
    params(
        ("name" = String, Path, description = "the function, with its namespace after a dot where that is not the default one"),
        ("namespace" = Option<String>, Query, description = "the namespace, unless the name brings one"),
    ),
    responses(
        (status = 200, description = "the last decision, or why there is none", body = Explained),
        (status = 400, description = "`invalid_spec`: names what cannot be used"),
        (status = 404, description = "`unknown_function`"),
    ),
)]
pub(super) async fn explain(State(gateway): Shared, Named(name): Named) -> Result<Response, GatewayError> {
    let function =
        gateway.functions.get(name.as_str()).ok_or_else(|| ProviderError::UnknownFunction(name.clone()))?;
    if let Some(explained) = gateway.scaling.journal.explain(&function.spec.name) {
        return Ok(Json(explained).into_response());
    }
    let why = match gateway.scaling.lease.leader(Instant::now()) {
        Some(leader) if leader != OWN_HOLDER => {
            if let Some(explained) = ask(&gateway, &function.spec.name).await {
                return Ok(Json(explained).into_response());
            }
            format!("{leader} decides, and told nothing within {EXPLAIN_LIMIT:?}; its log tells why")
        }
        _ if !gateway.config.scaling.enabled => "the scaler is off".to_owned(),
        _ => "nothing was decided yet".to_owned(),
    };
    let (name, replicas) = (&function.spec.name, function.desired());
    let trouble = gateway.scaling.journal.why_not();
    Ok(Json(Undecided { name, replicas, action: "keep", why, trouble }).into_response())
}

/// What is told of [`Explained`] before anything was decided.
#[derive(Serialize)]
struct Undecided<'a> {
    name: &'a FunctionName,
    replicas: u32,
    action: &'static str,
    why: String,
    trouble: Option<String>,
}

/// What the scaler elsewhere says of a function; `None` when it says nothing in time.
async fn ask(gateway: &Gateway, name: &FunctionName) -> Option<Value> {
    let answer = gateway.scaling.questions.ask(name)?;
    tokio::time::timeout(EXPLAIN_LIMIT, answer).await.ok()?.ok()
}

/// `PUT /system/scaler/explanation`: why a function has the replicas it has, by the scaler that has the lease.
#[utoipa::path(
    put, path = "/system/scaler/explanation", operation_id = "answerScalingQuestion", tag = "scaling",
    request_body(content = ExplanationDocument),
    responses(
        (status = 202, description = "told to who asks"),
        (status = 409, description = "`scaler_lease_held`"),
    ),
)]
pub(super) async fn explanation(State(gateway): Shared, body: Body) -> Result<StatusCode, GatewayError> {
    let ExplanationDocument { holder, name, explained } = body::json(body).await?;
    check_holder(&holder)?;
    gateway.scaling.lease.check(&holder, Instant::now())?;
    if !explained.is_object() {
        return Err(invalid("explained", "it is no object".to_owned()).into());
    }
    gateway.scaling.questions.answer(&name, &explained);
    Ok(StatusCode::ACCEPTED)
}

/// `GET /system/scaler`: every function with its replicas and counters.
#[utoipa::path(
    get, path = "/system/scaler", operation_id = "viewScaling", tag = "scaling",
    responses(
        (status = 200, description = "every function with its counters", body = ViewDocument),
    ),
)]
pub(super) async fn view(State(gateway): Shared) -> Json<ViewDocument> {
    let view = ViewDocument::from(&gateway.view());
    Json(ViewDocument { questions: gateway.scaling.questions.open(), ..view })
}

/// `PUT /system/scaler-lease`: asks to be the one scaler that writes; 409 while another one is.
#[utoipa::path(
    put, path = "/system/scaler-lease", operation_id = "takeScalerLease", tag = "scaling",
    request_body(content = LeaseDocument),
    responses(
        (status = 200, description = "what was granted", body = LeaseDocument),
        (status = 409, description = "`scaler_lease_held`, and by whom"),
    ),
)]
pub(super) async fn lease(State(gateway): Shared, body: Body) -> Result<Json<LeaseDocument>, GatewayError> {
    let wanted: LeaseDocument = body::json(body).await?;
    let holder = wanted.holder;
    check_holder(&holder)?;
    let term = Duration::try_from_secs_f64(wanted.seconds).ok().filter(|term| !term.is_zero());
    let term = term.ok_or_else(|| invalid("seconds", format!("{} is no time above 0", wanted.seconds)))?;
    let granted = gateway.scaling.lease.take(&holder, term, Instant::now())?;
    Ok(Json(LeaseDocument { holder, seconds: granted.as_secs_f64() }))
}

/// `DELETE /system/scaler-lease`: gives it back.
#[utoipa::path(
    delete, path = "/system/scaler-lease", operation_id = "giveBackScalerLease", tag = "scaling",
    request_body(content = LeaseDocument),
    responses(
        (status = 202, description = "given back, if it was held"),
    ),
)]
pub(super) async fn give_back(State(gateway): Shared, body: Body) -> Result<StatusCode, GatewayError> {
    let given: LeaseDocument = body::json(body).await?;
    check_holder(&given.holder)?;
    gateway.scaling.lease.give_back(&given.holder);
    Ok(StatusCode::ACCEPTED)
}

/// `POST /system/scaler/changes`: one change, by the scaler that has the lease.
#[utoipa::path(
    post, path = "/system/scaler/changes", operation_id = "changeReplicas", tag = "scaling",
    request_body(content = ChangeDocument),
    responses(
        (status = 202, description = "whether it was changed", body = ChangedDocument),
        (status = 404, description = "`unknown_function`"),
        (status = 409, description = "`scaler_lease_held`"),
        (status = 503, description = "`unavailable`: what runs or stores it cannot be reached"),
        (status = 507, description = "`out_of_storage`"),
    ),
)]
pub(super) async fn change(
    State(gateway): Shared,
    body: Body,
) -> Result<(StatusCode, Json<ChangedDocument>), GatewayError> {
    let wanted: ChangeDocument = body::json(body).await?;
    check_holder(&wanted.holder)?;
    audit::about(&wanted.name);
    let change = wanted.change().map_err(required)?;
    if let ChangeKind::Scale { to, .. } = change {
        check_replicas("to", to)?;
    }
    let changed = gateway.scaled(&wanted.holder, &wanted.name, change).await?;
    Ok((StatusCode::ACCEPTED, Json(ChangedDocument { changed })))
}

/// A name by which a scaler from outside may go.
fn check_holder(holder: &str) -> Result<(), ProviderError> {
    let valid = !holder.is_empty() && holder.len() <= MAX_HOLDER_BYTES && holder != OWN_HOLDER;
    if valid {
        Ok(())
    } else {
        Err(invalid("holder", format!("{:?} is no name for a scaler", excerpt(holder))))
    }
}
