//! Which pages of other sites may read answers (CORS, <https://fetch.spec.whatwg.org/#http-cors-protocol>).
//!
//! Off unless origins are named. Then the gateway answers preflights for functions and the API alike, before
//! credentials are asked for, as browsers send none with them; and answers that name an origin themselves,
//! as functions may, are left alone. Cookies and remembered passwords are never asked to be sent. Everybody's pages
//! (`*`) are let to what is open without credentials: who wants the API read has to name the site.

use bramble_provider::Body;
use http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_HEADERS,
    ACCESS_CONTROL_REQUEST_METHOD, ORIGIN, VARY,
};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode};

use crate::auth::is_open;

/// Everybody's pages, for functions.
pub(crate) const ANY: &str = "*";

const METHODS: HeaderValue = HeaderValue::from_static("GET, POST, PUT, PATCH, DELETE, HEAD, OPTIONS");
const EXPOSED: HeaderValue =
    HeaderValue::from_static("X-Call-Id, X-Start-Time, X-Duration-Seconds, Retry-After, WWW-Authenticate");
/// How long a browser may keep the answer to a preflight, in seconds.
const MAX_AGE: HeaderValue = HeaderValue::from_static("600");

/// What an allowed request's answer names as its origin.
#[derive(Debug)]
pub(super) struct Allowed(HeaderValue);

/// What is to be named to a request, if its origin is one of these.
pub(super) fn allowed<B>(origins: &[String], request: &Request<B>) -> Option<Allowed> {
    let origin = request.headers().get(ORIGIN)?;
    if origins.iter().any(|allowed| allowed == ANY) && is_open(request.uri().path()) {
        return Some(Allowed(HeaderValue::from_static(ANY)));
    }
    origins.iter().any(|allowed| allowed.as_bytes() == origin.as_bytes()).then(|| Allowed(origin.clone()))
}

impl Allowed {
    /// The answer to a preflight, if the request is one.
    pub(super) fn preflight<B>(&self, request: &Request<B>) -> Option<Response<Body>> {
        let headers = request.headers();
        if request.method() != Method::OPTIONS || !headers.contains_key(ACCESS_CONTROL_REQUEST_METHOD) {
            return None;
        }
        let mut response = Response::new(Body::empty());
        *response.status_mut() = StatusCode::NO_CONTENT;
        let answer = response.headers_mut();
        answer.insert(ACCESS_CONTROL_ALLOW_METHODS, METHODS);
        answer.insert(ACCESS_CONTROL_MAX_AGE, MAX_AGE);
        if let Some(asked) = headers.get(ACCESS_CONTROL_REQUEST_HEADERS) {
            answer.insert(ACCESS_CONTROL_ALLOW_HEADERS, asked.clone());
        }
        self.name(answer);
        Some(response)
    }

    /// Names the origin in an answer.
    pub(super) fn name(&self, answer: &mut HeaderMap) {
        if answer.contains_key(ACCESS_CONTROL_ALLOW_ORIGIN) {
            return;
        }
        if self.0 != ANY {
            // A cache must not give one origin's answer to another.
            answer.append(VARY, HeaderValue::from_static("Origin"));
        }
        answer.insert(ACCESS_CONTROL_ALLOW_ORIGIN, self.0.clone());
        answer.insert(ACCESS_CONTROL_EXPOSE_HEADERS, EXPOSED);
    }
}
