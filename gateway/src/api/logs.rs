//! `/system/logs`: what a function wrote, one JSON object a line.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::SystemTime;

use axum::body::Body;
use axum::extract::State;
use axum::response::Response;
use bramble_provider::{LogLine, LogQuery, LogStream, ProviderError};
use bytes::Bytes;
use futures_util::{StreamExt, stream};
use http::HeaderValue;
use http::header::CONTENT_TYPE;

use super::extract::{Params, function_name};
use super::wire::{Line, invalid, required};
use crate::error::{GatewayError, excerpt};
use crate::state::Gateway;

/// Ends when there are no more lines, or, following, when the client goes or the gateway stops.
#[utoipa::path(
    get, path = "/system/logs", operation_id = "streamLogs", tag = "functions",
    params(
        ("name" = String, Query, description = "the function"),
        ("namespace" = Option<String>, Query, description = "the namespace, unless the name brings one"),
        ("since" = Option<String>, Query, format = DateTime, description = "lines from then on"),
        ("tail" = Option<i64>, Query, description = "the last so many lines; all of them for 0 and less"),
        ("instance" = Option<String>, Query, description = "lines of one invocation, by its call id, or of one replica"),
        ("follow" = Option<bool>, Query, description = "go on with lines as they come"),
    ),
    responses(
        (status = 200, description = "one JSON object a line", body = Line<'static>, content_type = "application/x-ndjson"),
        (status = 400, description = "`invalid_spec`: names what cannot be used"),
        (status = 404, description = "`unknown_function`"),
        (status = 503, description = "`unavailable`: what runs or stores it cannot be reached"),
    ),
)]
pub(super) async fn stream(
    State(gateway): State<Arc<Gateway>>,
    params: Params,
) -> Result<Response, GatewayError> {
    let name = params.get("name").ok_or_else(|| required("name"))?;
    let name = function_name("name", name, params.get("namespace"))?;
    let query = query(&params)?;
    let function = gateway.functions.get(name.as_str()).ok_or(ProviderError::UnknownFunction(name))?;
    let lines = gateway.functions.providers().logs(function.runtime, &function.spec.name, query).await?;
    let lines = stream::unfold(lines, |mut lines| async move {
        let line = lines.next().await?;
        Some((Ok::<_, Infallible>(encode(&line)), lines))
    });
    let mut response = Response::new(Body::from_stream(lines.take_until(gateway.readiness.draining())));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/x-ndjson"));
    Ok(response)
}

fn query(params: &Params) -> Result<LogQuery, ProviderError> {
    let since = params.get("since").map(parse_time).transpose()?;
    // The original's meaning: no number, 0 and less are all lines.
    let tail = params.get("tail").map(parse_tail).transpose()?.flatten();
    let instance = params.get("instance").map(str::to_owned);
    Ok(LogQuery { since, tail, instance, follow: params.is_on("follow") })
}

fn parse_time(text: &str) -> Result<SystemTime, ProviderError> {
    let time: jiff::Timestamp = text.parse().map_err(|_| {
        invalid("since", format!("{:?} is no RFC 3339 time, such as 2024-05-01T12:00:00Z", excerpt(text)))
    })?;
    Ok(time.into())
}

fn parse_tail(text: &str) -> Result<Option<usize>, ProviderError> {
    let count: i64 =
        text.parse().map_err(|_| invalid("tail", format!("{:?} is no whole number", excerpt(text))))?;
    Ok(usize::try_from(count).ok().filter(|count| *count > 0))
}

fn encode(line: &LogLine) -> Bytes {
    let mut json = serde_json::to_vec(&Line::from(line)).expect("strings always serialise");
    json.push(b'\n');
    json.into()
}
