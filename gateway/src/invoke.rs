//! The path of one invocation: name, body, admission, activation, provider, response, count.
//!
//! In: everything under `/function/`. Out: the API (`api`), accepting connections (`serve`), how a
//! runtime runs a function. The properties that must hold: an invocation that was admitted is counted
//! once, whatever becomes of it; and it ends within `upstream_timeout`, its response included.

mod chain;
mod deadline;
pub(crate) mod headers;
pub(crate) mod internal;
mod request_body;
mod response_body;
mod tunnel;

use std::net::SocketAddr;
use std::pin::pin;
use std::task::Poll;
use std::time::{Duration, SystemTime};

use bramble_provider::{Body, CallId, FunctionName, Invocation, ProviderError, Runtime};
use http::{Request, Response, StatusCode};

use crate::auth::token;
use crate::error::{GatewayError, error_response};
use crate::functions::{Function, Inflight};
use crate::serve::connection::ConnectionTask;
use crate::serve::lingering::Lingering;
use crate::state::Gateway;

use deadline::Deadline;
use request_body::{Arrived, Rest};
use response_body::CountedBody;
use tunnel::Upgrade;

/// What every function's path begins with.
pub(crate) const PREFIX: &str = "/function/";

/// When a client may ask again for a function that needs its operator: a redeploy brings it back.
const FAULT_RETRY_AFTER: Duration = Duration::from_secs(60);

/// Answers a request to a path below [`PREFIX`].
pub(crate) async fn invoke(
    gateway: &Gateway,
    mut request: Request<Lingering>,
    peer: SocketAddr,
    connection: &ConnectionTask,
) -> Response<Body> {
    let started_at = SystemTime::now();
    let path_offset = path_offset(request.uri().path());
    let name = &request.uri().path()[PREFIX.len()..path_offset];
    let Some(function) = gateway.functions.hold(name) else {
        return match chain::names(name) {
            // Boxed, so that an invocation of one function does not carry the room for this one.
            Some(_) => Box::pin(chain::invoke(gateway, request, path_offset, peer, connection)).await,
            None => unknown(name),
        };
    };
    if let Err(refusal) = token::check(&function, request.headers(), &gateway.secrets) {
        return Response::from(&refusal);
    }
    let call_id = headers::call_id(request.headers());
    let inflight = match Inflight::admit(function) {
        Ok(inflight) => inflight,
        Err(refusal) => return refused(&refusal, &call_id, started_at),
    };
    let function = inflight.function();
    let upgrade = Upgrade::of(&mut request, function.runtime);
    headers::strip_hop_by_hop(request.headers_mut());
    if let Some(upgrade) = &upgrade {
        upgrade.keep(request.headers_mut());
    }
    let deadline = Deadline::after(inflight.since(), gateway.config.upstream_timeout);
    let (request, incoming) = request.into_parts();
    let method = request.method.clone();
    let (answered, rest) = match Arrived::gather(incoming, gateway.config.max_body_bytes).await {
        Err(error) => (Err(error), None),
        Ok(Arrived { body, rest }) => {
            let call_id = call_id.clone();
            let invocation = Invocation { call_id, request, path_offset, body, peer: Some(peer), started_at };
            (answer(gateway, function, invocation, &deadline, rest.as_ref()).await, rest)
        }
    };
    let gone = matches!(answered, Err(GatewayError::BodyCut(_)));
    let mut response = answered.unwrap_or_else(|error| Response::from(&error));
    if response.status() == StatusCode::SWITCHING_PROTOCOLS {
        return match upgrade {
            Some(upgrade) => upgrade.join(response, inflight, gateway.readiness.draining()),
            None => error_response(&unasked_upgrade(function)),
        };
    }
    let took = inflight.since().elapsed();
    headers::answer(response.headers_mut(), &call_id, started_at, took);
    if gone {
        // Nobody reads it, and going without a word counts the invocation as one whose client went.
        return response;
    }
    let deadline = deadline.or_after(function.settings.exec_timeout);
    CountedBody::wrap(response, &method, inflight, took, deadline, rest, connection)
}

/// Runs an invocation for as long as it may, and as its request's body keeps coming.
async fn answer(
    gateway: &Gateway,
    function: &Function,
    invocation: Invocation,
    deadline: &Deadline,
    rest: Option<&Rest>,
) -> Result<Response<Body>, GatewayError> {
    let broken = || rest.and_then(Rest::broken);
    let mut running = pin!(run(gateway, function, invocation));
    let running = std::future::poll_fn(|cx| match running.as_mut().poll(cx) {
        Poll::Ready(outcome) => Poll::Ready(Some(outcome)),
        Poll::Pending if broken().is_some() => Poll::Ready(None),
        Poll::Pending => Poll::Pending,
    });
    let outcome = deadline.limit(running).await;
    match (broken(), outcome.flatten()) {
        (Some(broken), _) => Err(broken.error(gateway.config.max_body_bytes)),
        (None, Some(outcome)) => Ok(outcome?),
        (None, None) => Err(ProviderError::TimedOut {
            name: function.spec.name.clone(),
            timeout: gateway.config.upstream_timeout,
        })?,
    }
}

async fn run(
    gateway: &Gateway,
    function: &Function,
    invocation: Invocation,
) -> Result<Response<Body>, ProviderError> {
    if let Some(fault) = function.fault() {
        return Err(ProviderError::Unavailable {
            provider: function.runtime.as_str(),
            reason: format!("{} could not be taken up at the start: {fault}", function.spec.name),
            retry_after: FAULT_RETRY_AFTER,
        });
    }
    if function.runtime == Runtime::Hybrid {
        // Boxed, so that the others do not carry the room for this one.
        return Box::pin(gateway.functions.invoke_hybrid(function, invocation)).await;
    }
    if function.desired() == 0 {
        Box::pin(gateway.functions.activate(function)).await?;
    }
    gateway.functions.providers().invoke(function.runtime, &function.spec.name, invocation).await
}

/// Where the function's own path begins: after its name.
fn path_offset(path: &str) -> usize {
    path[PREFIX.len()..].find('/').map_or(path.len(), |end| PREFIX.len() + end)
}

fn unknown(name: &str) -> Response<Body> {
    error_response(&match FunctionName::parse(name) {
        Ok(name) => ProviderError::UnknownFunction(name),
        Err(error) => {
            ProviderError::InvalidSpec { field: "function name".to_owned(), reason: error.to_string() }
        }
    })
}

fn unasked_upgrade(function: &Function) -> ProviderError {
    ProviderError::InvalidResponse {
        name: function.spec.name.clone(),
        reason: "it switched to another protocol, which nobody asked for".to_owned(),
    }
}

/// The answer to an invocation for which `max_inflight` leaves no room.
fn refused(refusal: &ProviderError, call_id: &CallId, started_at: SystemTime) -> Response<Body> {
    let mut response = error_response(refusal);
    let took = started_at.elapsed().unwrap_or_default();
    headers::answer(response.headers_mut(), call_id, started_at, took);
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_where_the_functions_path_begins() {
        for (path, name, own) in [
            ("/function/echo", "echo", ""),
            ("/function/echo/", "echo", "/"),
            ("/function/echo/a/b", "echo", "/a/b"),
            ("/function/", "", ""),
            ("/function//x", "", "/x"),
        ] {
            let offset = path_offset(path);
            assert_eq!((&path[PREFIX.len()..offset], &path[offset..]), (name, own), "{path}");
        }
    }

    #[test]
    fn ids_are_unique() {
        let ids: std::collections::HashSet<_> =
            (0..1_000).map(|_| headers::call_id(&http::HeaderMap::new())).collect();
        assert_eq!(ids.len(), 1_000);
    }
}
