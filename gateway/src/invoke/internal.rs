//! An invocation that comes over no connection: out of the queue.

use bramble_provider::{Invocation, ProviderError};
use bytes::{Bytes, BytesMut};
use http::{HeaderMap, Response, StatusCode};
use http_body_util::BodyExt;

use super::deadline::Deadline;
use super::{answer, headers};
use crate::error::{GatewayError, status_of};
use crate::functions::{Function, Inflight};
use crate::state::Gateway;
use std::sync::Arc;

/// What a function answered, to the end.
#[derive(Debug)]
pub(crate) struct Ended {
    /// Its status; that of the failure when it broke off.
    pub(crate) status: StatusCode,
    /// Its headers, and those that every response to an invocation carries.
    pub(crate) headers: HeaderMap,
    /// Its body; `None` when it was larger than was to be kept.
    pub(crate) body: Option<Bytes>,
}

/// Invokes a function as a request would, and reads its response to the end, of which `most_bytes` are kept.
///
/// It is counted once, as any other invocation. Dropping the future stops it.
///
/// # Errors
/// Those of [`did_not_run`]: the function did not run. Every other failure is an answer.
pub(crate) async fn call(
    gateway: &Gateway,
    function: Arc<Function>,
    invocation: Invocation,
    most_bytes: usize,
) -> Result<Ended, ProviderError> {
    let (call_id, started_at) = (invocation.call_id.clone(), invocation.started_at);
    let inflight = Inflight::admit(function)?;
    let deadline = Deadline::after(inflight.since(), gateway.config.upstream_timeout);
    let answered = answer(gateway, inflight.function(), invocation, &deadline, None).await;
    let mut response = match answered {
        Err(GatewayError::Provider(refusal)) if did_not_run(&refusal) => {
            inflight.finish(status_of(&refusal));
            return Err(refusal);
        }
        answered => answered.unwrap_or_else(|error| Response::from(&error)),
    };
    headers::answer(response.headers_mut(), &call_id, started_at, inflight.since().elapsed());
    let deadline = deadline.or_after(inflight.function().settings.exec_timeout);
    Ok(gather(response, inflight, &deadline, most_bytes).await)
}

/// Whether nothing took the invocation yet, and something may later: no room, no replica, no runtime, no function.
fn did_not_run(error: &ProviderError) -> bool {
    use ProviderError as E;
    matches!(
        error,
        E::Saturated { .. }
            | E::Unavailable { .. }
            | E::StartFailed { .. }
            | E::StartTimedOut { .. }
            | E::UnknownFunction(_)
    )
}

async fn gather(
    response: Response<bramble_provider::Body>,
    inflight: Inflight,
    deadline: &Deadline,
    most_bytes: usize,
) -> Ended {
    let (mut head, mut body) = response.into_parts();
    let mut kept = Some(BytesMut::new());
    let read = async {
        while let Some(frame) = body.frame().await {
            let Ok(data) = frame?.into_data() else { continue };
            kept = kept.take().filter(|kept| kept.len() + data.len() <= most_bytes);
            if let Some(kept) = &mut kept {
                kept.extend_from_slice(&data);
            }
        }
        Ok::<_, bramble_provider::BodyError>(())
    };
    let broken = match deadline.limit(read).await {
        None => Some(StatusCode::GATEWAY_TIMEOUT),
        Some(Ok(())) => None,
        Some(Err(error)) => {
            let cause = error.downcast_ref::<ProviderError>();
            Some(cause.map_or(StatusCode::INTERNAL_SERVER_ERROR, status_of))
        }
    };
    if let Some(status) = broken {
        // What there is of the body looks whole and is not.
        (head.status, kept) = (status, Some(BytesMut::new()));
    }
    inflight.finish(head.status);
    Ended { status: head.status, headers: head.headers, body: kept.map(BytesMut::freeze) }
}
