//! `/function/a|b|c`: the answer of one function is the body of the next, in this process.
//!
//! Bodies stream from step to step. Each step is one invocation, counted as such, and all of them have
//! one `X-Call-Id` and share one `upstream_timeout`. The first answer that is no success ends the chain.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Instant, SystemTime};

use bramble_provider::{Body, CallId, Invocation, ProviderError};
use bytes::Bytes;
use http::header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, EXPECT, TRANSFER_ENCODING};
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, Uri};

use super::deadline::Deadline;
use super::request_body::{Arrived, Broken, Rest};
use super::response_body::CountedBody;
use super::{PREFIX, answer, headers, refused, unasked_upgrade, unknown};
use crate::auth::token;
use crate::error::{GatewayError, error_response};
use crate::functions::{Function, Inflight};
use crate::serve::connection::ConnectionTask;
use crate::serve::lingering::Lingering;
use crate::state::Gateway;

/// Most steps of one chain.
const MAX_STEPS: usize = 8;

/// Which step answered, from 1, and which function that is.
const STEP: HeaderName = HeaderName::from_static("x-chain-step");
const FUNCTION: HeaderName = HeaderName::from_static("x-chain-function");

/// Headers about a body, which are not those of the next step's.
const OF_A_BODY: [HeaderName; 5] =
    [CONTENT_TYPE, CONTENT_LENGTH, CONTENT_ENCODING, TRANSFER_ENCODING, EXPECT];

/// The names in a chain; `None` for what is none: `a` alone.
pub(super) fn names(text: &str) -> Option<Vec<&str>> {
    let mut names = Vec::new();
    let (mut begin, mut at) = (0, 0);
    while at < text.len() {
        let rest = &text.as_bytes()[at..];
        let length = match rest {
            [b'|', ..] => 1,
            [b'%', b'7', b'C' | b'c', ..] => 3,
            _ => {
                at += 1;
                continue;
            }
        };
        names.push(&text[begin..at]);
        at += length;
        begin = at;
    }
    names.push(&text[begin..]);
    (names.len() > 1).then_some(names)
}

/// What the steps of one chain share.
struct Chain<'a> {
    gateway: &'a Gateway,
    connection: &'a ConnectionTask,
    peer: SocketAddr,
    /// The client's: of an answer to a HEAD the server sends no body.
    method: Method,
    call_id: CallId,
    started_at: SystemTime,
    began: Instant,
}

/// Answers a request to a chain of the functions called `names`; `path_offset` is where the first
/// one's own path begins.
pub(super) async fn invoke(
    gateway: &Gateway,
    request: Request<Lingering>,
    path_offset: usize,
    peer: SocketAddr,
    connection: &ConnectionTask,
) -> Response<Body> {
    let uri = request.uri().clone();
    let names = names(&uri.path()[PREFIX.len()..path_offset]).unwrap_or_default();
    let functions = match functions(gateway, &names, request.headers()) {
        Ok(functions) => functions,
        Err(refusal) => return *refusal,
    };
    let chain = Chain {
        gateway,
        connection,
        peer,
        method: request.method().clone(),
        call_id: headers::call_id(request.headers()),
        started_at: SystemTime::now(),
        began: Instant::now(),
    };
    let (mut head, incoming) = request.into_parts();
    headers::strip_hop_by_hop(&mut head.headers);
    let Arrived { mut body, mut rest } = match Arrived::gather(incoming, gateway.config.max_body_bytes).await
    {
        Ok(arrived) => arrived,
        Err(error) => return Response::from(&error),
    };
    let own_path = uri.path_and_query().map_or("", |path| &path.as_str()[path_offset..]);
    let (mut path, last) = (own_path, functions.len());
    for (number, function) in (1..).zip(functions) {
        let name = function.spec.name.as_str().to_owned();
        let Ok(step_uri) = format!("{PREFIX}{name}{path}").parse() else { return unknown(&name) };
        let parts = step_head(&head, step_uri, number == 1);
        let mut response = chain.step(function, parts, PREFIX.len() + name.len(), body, rest).await;
        if number == last || !response.status().is_success() {
            let marks = response.headers_mut();
            marks.insert(STEP, HeaderValue::from(number));
            if let Ok(name) = HeaderValue::from_str(&name) {
                marks.insert(FUNCTION, name);
            }
            return response;
        }
        let content_type = response.headers_mut().remove(CONTENT_TYPE);
        for name in OF_A_BODY {
            head.headers.remove(name);
        }
        head.headers.extend(content_type.map(|kind| (CONTENT_TYPE, kind)));
        (body, rest) = passed_on(response.into_body(), gateway.config.max_body_bytes);
        path = "";
    }
    // A chain has two steps at least, so the last one has answered.
    unknown("")
}

/// The functions of a chain, or the refusal of the request: each asks for its own token.
fn functions(
    gateway: &Gateway,
    names: &[&str],
    headers: &HeaderMap,
) -> Result<Vec<Arc<Function>>, Box<Response<Body>>> {
    if names.len() > MAX_STEPS {
        let reason = format!("has {} steps, and {MAX_STEPS} are the most", names.len());
        let refusal = ProviderError::InvalidSpec { field: "function chain".to_owned(), reason };
        return Err(Box::new(error_response(&refusal)));
    }
    let find = |name: &&str| {
        let function = gateway.functions.get(name).ok_or_else(|| Box::new(unknown(name)))?;
        let shown = token::check(&function, headers, &gateway.secrets);
        shown.map_err(|refusal| Box::new(Response::from(&refusal)))?;
        Ok(function)
    };
    names.iter().map(find).collect()
}

/// The head of a step's request: the client's; from the second step on as a POST.
fn step_head(client: &Parts, uri: Uri, first: bool) -> Parts {
    let (mut parts, ()) = Request::new(()).into_parts();
    parts.method = if first { client.method.clone() } else { Method::POST };
    parts.uri = uri;
    parts.headers = HeaderMap::clone(&client.headers);
    parts
}

impl Chain<'_> {
    /// One step, to the head of its answer. Its body counts it when it ends.
    async fn step(
        &self,
        function: Arc<Function>,
        request: Parts,
        path_offset: usize,
        body: Body,
        rest: Option<Rest>,
    ) -> Response<Body> {
        let inflight = match Inflight::admit(function) {
            Ok(inflight) => inflight,
            Err(refusal) => return refused(&refusal, &self.call_id, self.started_at),
        };
        let function = inflight.function();
        let deadline = Deadline::after(self.began, self.gateway.config.upstream_timeout);
        let invocation = Invocation {
            call_id: self.call_id.clone(),
            request,
            path_offset,
            body,
            peer: Some(self.peer),
            started_at: self.started_at,
        };
        let answered = answer(self.gateway, function, invocation, &deadline, rest.as_ref()).await;
        let gone = matches!(answered, Err(GatewayError::BodyCut(_)));
        let mut response = answered.unwrap_or_else(|error| Response::from(&error));
        if response.status() == StatusCode::SWITCHING_PROTOCOLS {
            response = error_response(&unasked_upgrade(function));
        }
        headers::answer(response.headers_mut(), &self.call_id, self.started_at, self.began.elapsed());
        if gone {
            return response;
        }
        let deadline = deadline.or_after(function.settings.exec_timeout);
        let took = inflight.since().elapsed();
        CountedBody::wrap(response, &self.method, inflight, took, deadline, rest, self.connection)
    }
}

/// The answer of one step as the request of the next.
fn passed_on(body: Body, limit_bytes: u64) -> (Body, Option<Rest>) {
    match body.into_whole() {
        Ok(bytes) => (Body::whole(bytes), None),
        Err(body) => {
            let (body, rest) = Rest::of(Bytes::new(), body, limit_bytes, Broken::StepBroke);
            (body, Some(rest))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn finds_the_names_of_a_chain() {
        assert_eq!(names("a"), None);
        assert_eq!(names(""), None);
        assert_eq!(names("a|b"), Some(vec!["a", "b"]));
        assert_eq!(names("a%7Cb.team%7cc"), Some(vec!["a", "b.team", "c"]));
        assert_eq!(names("|a|"), Some(vec!["", "a", ""]));
        assert_eq!(names("a%7"), None);
    }

    proptest! {
        #[test]
        fn any_text_is_taken_apart(text in "[a-z|%7Cc.ü]{0,40}") {
            let found = names(&text).unwrap_or_else(|| vec![&text]);
            prop_assert_eq!(found.join("|"), text.replace("%7C", "|").replace("%7c", "|"));
        }
    }
}
