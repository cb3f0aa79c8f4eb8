//! `/system/async…`: what is in the queue, and what is done about it.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use axum::Json;
use axum::extract::State;
use http::StatusCode;
use serde::Serialize;
use serde_json::{Value, json};

use super::extract::{Params, Tail, function_name};
use super::wire::invalid;
use crate::auth::audit;
use crate::error::{GatewayError, excerpt};
use crate::queue::{CallView, DeadLetters};
use crate::state::Gateway;

/// Calls that are listed when nobody says how many, and the most.
const LISTED: usize = 100;
const MOST_LISTED: usize = 10_000;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct CallJson {
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

/// Sums, the functions with calls, and the first calls that are not over.
pub(super) async fn overview(
    State(gateway): State<Arc<Gateway>>,
    params: Params,
) -> Result<Json<Value>, GatewayError> {
    let calls = listed(&gateway, &params, false)?;
    let (totals, dead) = gateway.queue.totals();
    let mut depths = gateway.queue.depths();
    depths.sort_unstable_by(|a, b| a.function.cmp(&b.function));
    let functions = depths.into_iter().map(|depth| {
        json!({
            "functionName": depth.function.as_str(),
            "queued": depth.waiting,
            "running": depth.running,
            "callingBack": depth.calling_back,
            "oldestSeconds": depth.oldest.as_ref().map_or(0.0, Duration::as_secs_f64),
        })
    });
    let config = &gateway.config.queue;
    Ok(Json(json!({
        "calls": calls,
        "functions": functions.collect::<Vec<_>>(),
        "unfinished": totals.calls,
        "running": totals.running,
        "callingBack": totals.calling_back,
        "dead": dead,
        "bytes": totals.bytes,
        "limits": {"calls": config.max_calls, "bytes": config.max_bytes, "workers": config.workers},
    })))
}

/// The dead letters, the oldest first.
pub(super) async fn dead(
    State(gateway): State<Arc<Gateway>>,
    params: Params,
) -> Result<Json<Value>, GatewayError> {
    Ok(Json(json!(listed(&gateway, &params, true)?)))
}

/// One call: the newest of its id.
pub(super) async fn status(
    State(gateway): State<Arc<Gateway>>,
    Tail(id): Tail,
) -> Result<Json<Value>, GatewayError> {
    let call = gateway.queue.call(&id).ok_or_else(|| GatewayError::UnknownCall(excerpt(&id)))?;
    Ok(Json(json!(CallJson::from(call))))
}

/// Takes a call out, or a dead letter away.
pub(super) async fn cancel(
    State(gateway): State<Arc<Gateway>>,
    Tail(id): Tail,
) -> Result<(StatusCode, Json<Value>), GatewayError> {
    audit::about(&id);
    let begun = !gateway.queue.cancel(&id, DeadLetters::Go).await?;
    Ok((StatusCode::ACCEPTED, Json(json!({"callId": id, "wasRunning": begun}))))
}

/// Has a dead letter run again.
pub(super) async fn replay(
    State(gateway): State<Arc<Gateway>>,
    Tail(id): Tail,
) -> Result<(StatusCode, Json<Value>), GatewayError> {
    audit::about(&id);
    gateway.queue.replay(&id).await?;
    Ok((StatusCode::ACCEPTED, Json(json!({"callId": id}))))
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
