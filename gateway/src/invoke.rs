//! The path of one invocation: name, body, admission, activation, provider, response, count.
//!
//! In: everything under `/function/`. Out: the API (`api`), accepting connections (`serve`), how a
//! runtime runs a function. The properties that must hold: an invocation that was admitted is counted
//! once, whatever becomes of it; and it ends within `upstream_timeout`, its response included.

mod deadline;
mod headers;
mod request_body;
mod response_body;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bramble_provider::{Body, FunctionName, Invocation, ProviderError};
use http::{Request, Response};
use hyper::body::Incoming;

use crate::error::{GatewayError, error_response};
use crate::functions::Function;
use crate::state::Gateway;

use deadline::Deadline;
use request_body::Arrived;
use response_body::CountedBody;

/// What every function's path begins with.
pub(crate) const PREFIX: &str = "/function/";

/// When a client refused by `max_inflight` may try again.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// Answers a request to a path below [`PREFIX`].
pub(crate) async fn invoke(
    gateway: &Gateway,
    mut request: Request<Incoming>,
    peer: SocketAddr,
) -> Response<Body> {
    let started_at = SystemTime::now();
    let path_offset = path_offset(request.uri().path());
    let name = &request.uri().path()[PREFIX.len()..path_offset];
    let Some(function) = gateway.functions.get(name) else { return unknown(name) };
    if let Some(refusal) = over_max_inflight(&function) {
        return error_response(&refusal);
    }
    let call_id = headers::call_id(request.headers());
    headers::strip_hop_by_hop(request.headers_mut());
    let inflight = function.admit();
    let deadline = Deadline::after(inflight.since(), gateway.config.upstream_timeout);
    let (request, incoming) = request.into_parts();
    let arrived = Arrived::gather(incoming, gateway.config.max_body_bytes).await;
    let mut response = match arrived {
        Err(error) => Response::<Body>::from(&error),
        Ok(arrived) => {
            let refused = arrived.refused;
            let invocation = Invocation {
                call_id: call_id.clone(),
                request,
                path_offset,
                body: arrived.body,
                peer: Some(peer),
                started_at,
            };
            let outcome = deadline.limit(run(gateway, &function, invocation)).await;
            match outcome {
                _ if refused.is_some_and(|refused| refused.happened()) => {
                    let limit_bytes = gateway.config.max_body_bytes;
                    Response::<Body>::from(&GatewayError::BodyTooLarge { limit_bytes })
                }
                Some(Ok(response)) => response,
                Some(Err(error)) => error_response(&error),
                None => error_response(&ProviderError::TimedOut {
                    name: function.spec.name.clone(),
                    timeout: gateway.config.upstream_timeout,
                }),
            }
        }
    };
    headers::answer(response.headers_mut(), &call_id, started_at, inflight.since().elapsed());
    CountedBody::wrap(response, inflight, deadline)
}

async fn run(
    gateway: &Gateway,
    function: &Arc<Function>,
    invocation: Invocation,
) -> Result<Response<Body>, ProviderError> {
    if function.desired() == 0 {
        gateway.functions.activate(function).await?;
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

fn over_max_inflight(function: &Function) -> Option<ProviderError> {
    let inflight = function.inflight();
    let over = function.settings.max_inflight.is_some_and(|limit| inflight >= limit);
    over.then(|| ProviderError::Saturated {
        name: function.spec.name.clone(),
        inflight,
        queued: 0,
        retry_after: RETRY_AFTER,
    })
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
