//! One request: health and readiness, or the function.

use std::sync::Arc;

use hyper::body::Incoming;
use hyper::header::{ALLOW, CONNECTION, HeaderValue};
use hyper::http::uri::PathAndQuery;
use hyper::{HeaderMap, Method, Request, Response, StatusCode, Uri};

use crate::calls::Calls;
use crate::fork::{Answered, Fork};
use crate::health::Health;
use crate::log::log;
use crate::payload::{Payload, plain};
use crate::static_files::StaticFiles;
use crate::upstream::Upstream;

/// Everything a request may need.
#[derive(Debug)]
pub(crate) struct Service {
    pub(crate) handler: Handler,
    pub(crate) calls: Arc<Calls>,
    pub(crate) health: Health,
    pub(crate) ready_path: Option<PathAndQuery>,
    pub(crate) debug_headers: bool,
}

/// What answers a function's requests.
#[derive(Debug)]
pub(crate) enum Handler {
    /// A process per request.
    Fork(Fork),
    /// The function's own server.
    Http(Upstream),
    /// Files.
    Static(StaticFiles),
}

impl Service {
    /// Answers one request. Dropping the future gives the run up.
    ///
    /// # Errors
    /// None: a response says what went wrong.
    pub(crate) async fn answer(self: Arc<Self>, request: Request<Incoming>) -> Answered {
        if self.debug_headers {
            log_headers("> ", request.headers());
        }
        let mut response = match request.uri().path() {
            "/_/health" => self.health(request.method()),
            "/_/ready" => self.ready(request).await,
            _ => self.invoke(request).await,
        };
        if self.health.is_draining() && response.status() != StatusCode::SWITCHING_PROTOCOLS {
            // The next request of this client finds another replica.
            response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        }
        if self.debug_headers {
            log_headers("< ", response.headers());
        }
        Ok(response)
    }

    fn health(&self, method: &Method) -> Response<Payload> {
        match *method {
            Method::GET | Method::HEAD if self.health.is_accepting() => plain(StatusCode::OK, "OK"),
            Method::GET | Method::HEAD => plain(StatusCode::SERVICE_UNAVAILABLE, ""),
            _ => not_allowed("GET, HEAD"),
        }
    }

    async fn ready(&self, mut request: Request<Incoming>) -> Response<Payload> {
        if !matches!(*request.method(), Method::GET | Method::HEAD) {
            return not_allowed("GET, HEAD");
        }
        if !self.health.is_accepting() {
            return plain(StatusCode::SERVICE_UNAVAILABLE, "not ready\n");
        }
        if let Some(limit) = self.calls.limit_reached() {
            return too_many(limit);
        }
        let Some(path) = &self.ready_path else { return plain(StatusCode::OK, "OK") };
        *request.uri_mut() = Uri::from(path.clone());
        self.invoke(request).await
    }

    async fn invoke(&self, request: Request<Incoming>) -> Response<Payload> {
        if request.method() == Method::CONNECT {
            return not_allowed("GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS");
        }
        let mut call = match self.calls.admit(request.method()) {
            Ok(call) => call,
            Err(limit) => return too_many(limit),
        };
        let mut response = match &self.handler {
            Handler::Fork(fork) => fork.respond(request, call.started()).await,
            Handler::Http(upstream) => return upstream.respond(request, call).await,
            Handler::Static(files) => files.respond(&request, call.started()).await,
        };
        call.set_status(response.status());
        response.body_mut().hold(call);
        response
    }
}

fn not_allowed(allowed: &'static str) -> Response<Payload> {
    let mut response = plain(StatusCode::METHOD_NOT_ALLOWED, "");
    response.headers_mut().insert(ALLOW, HeaderValue::from_static(allowed));
    response
}

fn too_many(limit: usize) -> Response<Payload> {
    let text = format!("Concurrent request limit exceeded. Max concurrent requests: {limit}\n");
    let mut response = plain(StatusCode::TOO_MANY_REQUESTS, text);
    response.headers_mut().insert("x-openfaas-internal", HeaderValue::from_static("faas-middleware"));
    response
}

fn log_headers(direction: &str, headers: &HeaderMap) {
    for (name, value) in headers {
        log!("{direction}{name}: {}", String::from_utf8_lossy(value.as_bytes()));
    }
}
