//! `/system/async…`: what is in the queue, and what is done about it.

use std::sync::Arc;
use std::time::SystemTime;

use axum::Json;
use axum::extract::State;
use http::StatusCode;
use serde::Serialize;
use utoipa::ToSchema;

use super::extract::{Params, Tail, function_name};
use super::wire::invalid;
use crate::auth::audit;
use crate::error::{GatewayError, excerpt};
use crate::queue::{CallView, DeadLetters};
use crate::state::Gateway;

/// Calls that are listed when nobody says how many, and the most.
const LISTED: usize = 100;
const MOST_LISTED: usize = 10_000;

/// One asynchronous invocation.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = AsyncCall)]
pub(super) struct CallJson {
    call_id: String,
    function_name: String,
    state: &'static str,
    /// How often it was started.
    starts: u32,
    body_bytes: u64,
    accepted_at: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    ended_at: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    retry_in_seconds: Option<f64>,
    /// What its last run answered.
    #[serde(skip_serializing_if = "Option::is_none")]
    status_code: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
}

impl From<CallView> for CallJson {
    fn from(call: CallView) -> Self {
        Self {
            call_id: call.id,
            function_name: call.function.to_string(),
            state: call.state,
            starts: call.starts,
            body_bytes: call.bytes,
            accepted_at: time(call.accepted_at),
            ended_at: call.ended_at.map(time),
            retry_in_seconds: call.retry_in.map(|wait| wait.as_secs_f64()),
            status_code: call.status,
            reason: call.reason,
        }
    }
}

/// What is in the queue.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = AsyncQueue)]
pub(super) struct Overview {
    /// The first calls that are not over.
    calls: Vec<CallJson>,
    /// The functions with calls.
    functions: Vec<Depth>,
    /// Calls that are not over.
    unfinished: usize,
    /// Of these, running ones.
    running: usize,
    /// Of these, those whose answer is being sent on.
    calling_back: usize,
    /// Dead letters.
    dead: usize,
    /// Bytes of all heads and bodies, the dead letters' included.
    bytes: u64,
    limits: Limits,
}

/// The calls of one function.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = AsyncFunction)]
struct Depth {
    function_name: String,
    queued: u32,
    running: u32,
    calling_back: u32,
    /// Age of the oldest one.
    oldest_seconds: f64,
}

/// The most that the queue takes.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = AsyncLimits)]
struct Limits {
    calls: u32,
    bytes: u64,
    /// Calls that run at the same time.
    workers: u32,
}

/// What became of a call that was taken out.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = AsyncCancelled)]
pub(super) struct Cancelled {
    call_id: String,
    /// Whether it had begun: it is stopped, and is not run again.
    was_running: bool,
}

/// A dead letter that is queued again.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
#[schema(as = AsyncReplayed)]
pub(super) struct Replayed {
    call_id: String,
}

/// Sums, the functions with calls, and the first calls that are not over.
#[utoipa::path(
    get, path = "/system/async", operation_id = "viewQueue", tag = "queue",
    params(
        ("function" = Option<String>, Query, description = "calls of this function alone"),
        ("namespace" = Option<String>, Query, description = "the namespace, unless the name brings one"),
        ("limit" = Option<u32>, Query, maximum = 10_000, description = "most calls that are listed; 100 unless said"),
    ),
    responses(
        (status = 200, description = "what is in the queue", body = Overview),
        (status = 400, description = "`invalid_spec`: names what cannot be used"),
    ),
)]
pub(super) async fn overview(
    State(gateway): State<Arc<Gateway>>,
    params: Params,
) -> Result<Json<Overview>, GatewayError> {
    let calls = listed(&gateway, &params, false)?;
    let (totals, dead) = gateway.queue.totals();
    let mut depths = gateway.queue.depths();
    depths.sort_unstable_by(|a, b| a.function.cmp(&b.function));
    let functions = depths.into_iter().map(|depth| Depth {
        function_name: depth.function.to_string(),
        queued: depth.waiting,
        running: depth.running,
        calling_back: depth.calling_back,
        oldest_seconds: depth.oldest.map_or(0.0, |age| age.as_secs_f64()),
    });
    let config = &gateway.config.queue;
    Ok(Json(Overview {
        calls,
        functions: functions.collect(),
        unfinished: totals.calls,
        running: totals.running,
        calling_back: totals.calling_back,
        dead,
        bytes: totals.bytes,
        limits: Limits { calls: config.max_calls, bytes: config.max_bytes, workers: config.workers },
    }))
}

/// The dead letters, the oldest first.
#[utoipa::path(
    get, path = "/system/async/dead", operation_id = "listDeadLetters", tag = "queue",
    params(
        ("function" = Option<String>, Query, description = "calls of this function alone"),
        ("namespace" = Option<String>, Query, description = "the namespace, unless the name brings one"),
        ("limit" = Option<u32>, Query, maximum = 10_000, description = "most calls that are listed; 100 unless said"),
    ),
    responses(
        (status = 200, description = "the dead letters, the oldest first", body = Vec<CallJson>),
        (status = 400, description = "`invalid_spec`: names what cannot be used"),
    ),
)]
pub(super) async fn dead(
    State(gateway): State<Arc<Gateway>>,
    params: Params,
) -> Result<Json<Vec<CallJson>>, GatewayError> {
    Ok(Json(listed(&gateway, &params, true)?))
}

/// One call: the newest of its id.
#[utoipa::path(
    get, path = "/system/async/{id}", operation_id = "describeCall", tag = "queue",
    params(
        ("id" = String, Path, description = "its `X-Call-Id`"),
    ),
    responses(
        (status = 200, description = "the call", body = CallJson),
        (status = 400, description = "`invalid_spec`: names what cannot be used"),
        (status = 404, description = "`unknown_call`"),
    ),
)]
pub(super) async fn status(
    State(gateway): State<Arc<Gateway>>,
    Tail(id): Tail,
) -> Result<Json<CallJson>, GatewayError> {
    let call = gateway.queue.call(&id).ok_or_else(|| GatewayError::UnknownCall(excerpt(&id)))?;
    Ok(Json(CallJson::from(call)))
}

/// Takes a call out, or a dead letter away.
#[utoipa::path(
    delete, path = "/system/async/{id}", operation_id = "cancelCall", tag = "queue",
    params(
        ("id" = String, Path, description = "its `X-Call-Id`"),
    ),
    responses(
        (status = 202, description = "taken out", body = Cancelled),
        (status = 400, description = "`invalid_spec`: names what cannot be used"),
        (status = 404, description = "`unknown_call`"),
        (status = 409, description = "`call_ended`"),
        (status = 503, description = "`unavailable`: what runs or stores it cannot be reached"),
        (status = 507, description = "`out_of_storage`"),
    ),
)]
pub(super) async fn cancel(
    State(gateway): State<Arc<Gateway>>,
    Tail(id): Tail,
) -> Result<(StatusCode, Json<Cancelled>), GatewayError> {
    audit::about(&id);
    let begun = !gateway.queue.cancel(&id, DeadLetters::Go).await?;
    Ok((StatusCode::ACCEPTED, Json(Cancelled { call_id: id, was_running: begun })))
}

/// Has a dead letter run again.
#[utoipa::path(
    post, path = "/system/async/dead/{id}/replay", operation_id = "replayDeadLetter", tag = "queue",
    params(
        ("id" = String, Path, description = "its `X-Call-Id`"),
    ),
    responses(
        (status = 202, description = "queued again", body = Replayed),
        (status = 400, description = "`invalid_spec`: names what cannot be used"),
        (status = 404, description = "`unknown_call`"),
        (status = 503, description = "`unavailable`: what runs or stores it cannot be reached"),
        (status = 507, description = "`out_of_storage`"),
    ),
)]
pub(super) async fn replay(
    State(gateway): State<Arc<Gateway>>,
    Tail(id): Tail,
) -> Result<(StatusCode, Json<Replayed>), GatewayError> {
    audit::about(&id);
    gateway.queue.replay(&id).await?;
    Ok((StatusCode::ACCEPTED, Json(Replayed { call_id: id })))
}

fn listed(gateway: &Gateway, params: &Params, dead: bool) -> Result<Vec<CallJson>, GatewayError> {
    let function = params.get("function");
    let function =
        function.map(|name| function_name("function", name, params.get("namespace"))).transpose()?;
    let most = params.get("limit").map_or(Ok(LISTED), |text| {
        text.parse().ok().filter(|most| *most <= MOST_LISTED).ok_or_else(|| {
            invalid("limit", format!("{:?} is no whole number up to {MOST_LISTED}", excerpt(text)))
        })
    })?;
    let calls = gateway.queue.list(dead, function.as_ref(), most);
    Ok(calls.into_iter().map(CallJson::from).collect())
}

fn time(at: SystemTime) -> String {
    jiff::Timestamp::try_from(at).map_or_else(|_| String::new(), |at| at.to_string())
}
