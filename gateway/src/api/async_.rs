//! `/async-function/…`: takes an invocation for later, and takes it back.

use std::sync::Arc;
use std::time::SystemTime;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use bramble_provider::invoke::{CALL_ID, START_TIME};
use bramble_provider::{FunctionName, ProviderError};
use bytes::{Bytes, BytesMut};
use http::header::{CONTENT_LENGTH, EXPECT, TRANSFER_ENCODING};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use http_body::Body as _;
use http_body_util::BodyExt;
use tokio::time::timeout;

use super::body::{STALL_LIMIT, UPLOAD_LIMIT};
use super::extract::Tail;
use super::wire::invalid;
use crate::auth::{audit, token};
use crate::error::{GatewayError, excerpt};
use crate::invoke::headers::{call_id, strip_hop_by_hop};
use crate::queue::call::{BodyPlace, Call};
use crate::queue::{CallbackUrl, DeadLetters, INLINE_BYTES, NewBody, NewCall, Queue};
use crate::state::Gateway;
use crate::store::record::unix_nanos;

/// What every asynchronous path begins with.
const PREFIX: &str = "/async-function/";

const CALLBACK: HeaderName = HeaderName::from_static("x-callback-url");

/// What a caller may not call a call: `/system/async/dead` is the list of dead letters. It gets another id, as where it
/// brings what is none.
const NO_ID: &str = "dead";

/// Longest path with its query, and most bytes of headers, that are stored.
const MAX_HEAD_BYTES: usize = 64 << 10;

/// 202 once the invocation is on the disk.
#[utoipa::path(
    post, path = "/async-function/{name}", operation_id = "queueInvocation", tag = "invocations",
    params(
        ("name" = String, Path, description = "the function, with its namespace after a dot where that is not the default one"),
        ("X-Callback-Url" = Option<String>, Header, description = "an `http` or `https` address that gets the answer"),
    ),
    request_body(content = String, content_type = "*/*", description = "what the function reads"),
    security(()),
    responses(
        (status = 202, description = "it is on the disk and will be run", headers(("x-call-id" = String, description = "its id"), ("x-start-time" = String, description = "nanoseconds since 1970"))),
        (status = 401, description = "`token_required`"),
        (status = 404, description = "`unknown_function`"),
        (status = 429, description = "`queue_full`"),
        (status = 503, description = "`busy`: too many large bodies; `unavailable`: what stores it cannot be reached"),
        (status = 507, description = "`out_of_storage`"),
    ),
)]
pub(super) async fn accept(
    State(gateway): State<Arc<Gateway>>,
    request: Request,
) -> Result<Response, GatewayError> {
    let accepted_at = SystemTime::now();
    let (mut head, body) = request.into_parts();
    let rest = head.uri.path().strip_prefix(PREFIX).unwrap_or_default();
    let name = &rest[..rest.find('/').unwrap_or(rest.len())];
    let function = gateway.functions.get(name).ok_or_else(|| unknown(name))?;
    token::check(&function, &head.headers, &gateway.secrets)?;
    let own = &rest[name.len()..];
    let path = head.uri.query().map_or_else(|| own.to_owned(), |query| format!("{own}?{query}"));
    let callback = callback(&head.headers)?;
    if head.headers.get(CALL_ID).is_some_and(|id| id == NO_ID) {
        head.headers.remove(CALL_ID);
    }
    let id = call_id(&head.headers);
    let length = body.size_hint();
    strip_hop_by_hop(&mut head.headers);
    for name in [CONTENT_LENGTH, TRANSFER_ENCODING, EXPECT] {
        head.headers.remove(name);
    }
    let head_bytes = head.headers.iter().map(|(name, value)| name.as_str().len() + value.len());
    if head_bytes.sum::<usize>() + path.len() > MAX_HEAD_BYTES {
        return Err(invalid("headers", format!("with the path they are over {MAX_HEAD_BYTES} bytes")).into());
    }
    let limit_bytes = gateway.config.max_body_bytes.min(gateway.queue.max_body_bytes());
    if length.lower() > limit_bytes {
        return Err(GatewayError::BodyTooLarge { limit_bytes });
    }
    gateway.queue.has_room(&function.spec.name, length.lower())?;
    let taken = timeout(UPLOAD_LIMIT, take(&gateway.queue, body, limit_bytes)).await;
    let (body, bytes) = taken.map_err(|_| GatewayError::BodyTimedOut)??;
    head.headers.insert(CONTENT_LENGTH, HeaderValue::from(bytes));
    let call = Call {
        id: id.to_string(),
        function: function.spec.name.clone(),
        path,
        headers: Call::stored_headers(&head.headers),
        callback,
        body: BodyPlace::Inline { bytes },
        accepted_at_unix_nanos: unix_nanos(accepted_at),
    };
    gateway.queue.accept(NewCall { call, body, scheduled_for: None }).await?;
    let headers = [(CALL_ID, id.header().clone()), (START_TIME, HeaderValue::from(unix_nanos(accepted_at)))];
    Ok((StatusCode::ACCEPTED, headers).into_response())
}

/// 202 once a call is taken out, by `/async-function/NAME/ID` as the original has it, or by its id alone. Whoever
/// may invoke the function and knows the id may do so. Dead letters stay: they are an operator's.
#[utoipa::path(
    delete, path = "/async-function/{name}", operation_id = "takeBack", tag = "invocations",
    params(("name" = String, Path, description = "the function, or the call's id alone")),
    security(()),
    responses(
        (status = 202, description = "it does not run, or runs no longer"),
        (status = 400, description = "`invalid_spec`: what is before the id is no name of a function"),
        (status = 401, description = "`token_required`"),
        (status = 404, description = "`unknown_call`"),
        (status = 409, description = "`call_ended`"),
        (status = 503, description = "`unavailable`: what stores it cannot be reached"),
        (status = 507, description = "`out_of_storage`"),
    ),
)]
pub(super) async fn cancel(
    State(gateway): State<Arc<Gateway>>,
    Tail(path): Tail,
    headers: HeaderMap,
) -> Result<StatusCode, GatewayError> {
    // No name has a slash in it.
    let (name, id) = path.split_once('/').map_or((None, path.as_str()), |(name, id)| (Some(name), id));
    let named = name.map(FunctionName::parse).transpose().map_err(|error| invalid("function name", error))?;
    let call = gateway.queue.call(id).filter(|call| named.as_ref().is_none_or(|name| call.function == *name));
    let call = call.ok_or_else(|| GatewayError::UnknownCall(excerpt(id)))?;
    if let Some(function) = gateway.functions.get(call.function.as_str()) {
        token::check(&function, &headers, &gateway.secrets)?;
    }
    audit::about(id);
    gateway.queue.cancel(id, DeadLetters::Stay).await?;
    Ok(StatusCode::ACCEPTED)
}

fn unknown(name: &str) -> GatewayError {
    match FunctionName::parse(name) {
        Ok(name) => ProviderError::UnknownFunction(name).into(),
        Err(error) => invalid("function name", error).into(),
    }
}

fn callback(headers: &HeaderMap) -> Result<Option<String>, GatewayError> {
    let Some(value) = headers.get(CALLBACK) else { return Ok(None) };
    let text = value.to_str().map_err(|_| invalid("X-Callback-Url", "has bytes that no URL has"))?;
    if text.is_empty() {
        return Ok(None);
    }
    CallbackUrl::parse(text)
        .map_err(|reason| invalid("X-Callback-Url", format!("{:?} {reason}", excerpt(text))))?;
    Ok(Some(text.to_owned()))
}

/// Takes a small body whole, and writes a larger one to a file as it comes.
async fn take(queue: &Queue, mut body: Body, limit_bytes: u64) -> Result<(NewBody, u64), GatewayError> {
    let mut first = BytesMut::new();
    while first.len() <= INLINE_BYTES {
        match next(&mut body).await? {
            None => {
                let bytes = first.len() as u64;
                return within(bytes, limit_bytes).map(|()| (NewBody::Inline(first.freeze()), bytes));
            }
            Some(data) => first.extend_from_slice(&data),
        }
    }
    let mut upload = queue.upload().await?;
    let (mut bytes, mut data) = (0, Some(first.freeze()));
    while let Some(piece) = data {
        bytes += piece.len() as u64;
        within(bytes, limit_bytes)?;
        upload.write(&piece).await?;
        data = next(&mut body).await?;
    }
    Ok((NewBody::File(upload.finish().await?), bytes))
}

fn within(bytes: u64, limit_bytes: u64) -> Result<(), GatewayError> {
    if bytes > limit_bytes { Err(GatewayError::BodyTooLarge { limit_bytes }) } else { Ok(()) }
}

async fn next(body: &mut Body) -> Result<Option<Bytes>, GatewayError> {
    loop {
        let frame = timeout(STALL_LIMIT, body.frame()).await.map_err(|_| GatewayError::BodyTimedOut)?;
        match frame {
            None => return Ok(None),
            Some(Err(error)) => return Err(GatewayError::BodyCut(error.to_string())),
            // Trailers are of no use to a function.
            Some(Ok(frame)) => {
                if let Ok(data) = frame.into_data() {
                    return Ok(Some(data));
                }
            }
        }
    }
}
