//! The one place where a cause becomes an HTTP answer.
//!
//! Every error of ours has one JSON shape, `{"error":{"code","message"}}`, and a status that tells
//! the client's fault, the function's fault and ours apart.

use std::time::Duration;

use axum::response::IntoResponse;
use bramble_provider::{Body, FunctionName, ProviderError, SecretName};
use bytes::Bytes;
use http::header::{CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderName, HeaderValue, Response, StatusCode};
use serde::Serialize;
use utoipa::ToSchema;

use crate::scaling::LeaseHeld;

/// Why the API refused a request, beside what a provider says.
#[derive(Debug, thiserror::Error)]
pub enum GatewayError {
    /// What the provider, the store or the registry said.
    #[error(transparent)]
    Provider(#[from] ProviderError),
    /// The function is there already, and the request was to create it (409).
    #[error("function {0} is already deployed; update it with PUT /system/functions")]
    AlreadyDeployed(FunctionName),
    /// The body is no JSON at all (400).
    #[error("the body is no valid JSON: {0}")]
    InvalidJson(String),
    /// The body is larger than this endpoint takes (413).
    #[error("the body is larger than {limit_bytes} bytes")]
    BodyTooLarge {
        /// The limit, in bytes.
        limit_bytes: u64,
    },
    /// The client stopped sending before the body was complete (400).
    #[error("the body ended early: {0}")]
    BodyCut(String),
    /// The step of a chain before this one failed after it had begun to answer (502).
    #[error("the step before this one broke off in the middle of its answer")]
    StepBroke,
    /// The client was too slow to send the body (408).
    #[error("the body did not arrive in time")]
    BodyTimedOut,
    /// The body is of a type this endpoint does not take (415).
    #[error("content-type must be {expected}")]
    UnsupportedType {
        /// What it must be.
        expected: &'static str,
    },
    /// Nothing answers at this path (404).
    #[error("nothing answers at {0}")]
    UnknownPath(String),
    /// The path is known, the method is not one of its (405).
    #[error("this path does not answer {0}")]
    UnknownMethod(http::Method),
    /// Too many requests of this kind at once (503).
    #[error("too many {what} at once; try again later")]
    Busy {
        /// Of what there are too many.
        what: &'static str,
    },
    /// The queue of asynchronous invocations is full (429).
    #[error("the queue is full: it holds {limit}; try again later")]
    QueueFull {
        /// The limit that was reached.
        limit: String,
        /// When there may be room.
        retry_after: Duration,
    },
    /// No call of this id is known, or not any more (404).
    #[error("no queued invocation has the id {0:?}, or it ended too long ago")]
    UnknownCall(String),
    /// The call has ended (409).
    #[error("the invocation {0:?} has ended already")]
    CallEnded(String),
    /// Another scaler has the right to write (409).
    #[error(transparent)]
    LeaseHeld(#[from] LeaseHeld),
    /// Some of the functions that alerts named could not be scaled; Alertmanager sends them again (503).
    #[error("not all functions were scaled: {0}")]
    AlertsFailed(String),
    /// No credentials, or wrong ones (401, with the original's plain body and not the JSON of the others).
    #[error("invalid credentials")]
    Unauthorized,
    /// Too many wrong credentials from this address (429).
    #[error("too many failed logins from this address; try again later")]
    TooManyLogins {
        /// When it may try again.
        retry_after: Duration,
    },
    /// A page of another site asks for a change (403).
    #[error(
        "a page of {origin} may change nothing at {host:?}: name its site with --cors-origin if it is to; a proxy in \
         front of the gateway has to pass the Host header on"
    )]
    ForeignOrigin {
        /// The page's site.
        origin: String,
        /// What the gateway was called.
        host: String,
    },
    /// A gateway of this machine alone is called by a name that another site may have given it (403).
    #[error(
        "{0:?} is no name of a gateway that only this machine reaches: call it 127.0.0.1 or localhost, or name the site \
         by which it is known, such as http://gateway.example, with --cors-origin"
    )]
    ForeignHost(String),
    /// The function asks for a token that was not shown (401).
    #[error("function {0} asks for its token: Authorization: Bearer TOKEN")]
    TokenRequired(FunctionName),
    /// The secret is there already, and the request was to create it (409).
    #[error("secret {0} exists already; update it with PUT /system/secrets")]
    SecretExists(SecretName),
    /// There is no such secret to be changed (404).
    #[error("secret {0} does not exist")]
    UnknownSecret(SecretName),
    /// A function needs it (409).
    #[error("secret {name} is in use by function {function}; remove that first")]
    SecretInUse {
        /// The secret.
        name: SecretName,
        /// One of the functions.
        function: FunctionName,
    },
    /// The namespace is there already, and the request was to create it (409).
    #[error("namespace {0} exists already; update it with PUT")]
    NamespaceExists(String),
    /// There is no such namespace (404).
    #[error("namespace {0} does not exist")]
    UnknownNamespace(String),
    /// Something is in it (409).
    #[error("namespace {name} is not empty: {holds}; remove that first")]
    NamespaceInUse {
        /// The namespace.
        name: String,
        /// One of the things in it.
        holds: String,
    },
    /// The gateway is starting or stopping (503).
    #[error("the gateway is {0}")]
    NotReady(&'static str),
}

/// What the client is told: everything but the message.
struct Answer {
    status: StatusCode,
    code: &'static str,
    retry_after: Option<Duration>,
}

/// Tells an answer of ours from one of a function, as the original's proxy does.
const INTERNAL: HeaderName = HeaderName::from_static("x-openfaas-internal");

/// How soon a client may try again when nothing better is known.
const RETRY_SOON: Duration = Duration::from_secs(1);

/// Turns a provider's error into the response for the client, and logs it when the fault is ours.
///
/// Call it once for each failed request.
pub fn error_response(error: &ProviderError) -> Response<Body> {
    if let ProviderError::Internal { context, source } = error {
        tracing::error!(context, error = %causes(source.as_ref()), "internal error");
    }
    respond(provider_answer(error), error, None)
}

/// What an invocation is counted as that ended with this error, when its response had begun already.
pub(crate) fn status_of(error: &ProviderError) -> StatusCode {
    provider_answer(error).status
}

impl From<&GatewayError> for Response<Body> {
    fn from(error: &GatewayError) -> Self {
        match error {
            GatewayError::Provider(error) => error_response(error),
            GatewayError::LeaseHeld(held) => respond(gateway_answer(error), error, held.leader.as_deref()),
            GatewayError::Unauthorized => unauthorized(),
            GatewayError::TokenRequired(_) => {
                let mut response = respond(gateway_answer(error), error, None);
                response.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
                response
            }
            other => respond(gateway_answer(other), other, None),
        }
    }
}

impl IntoResponse for GatewayError {
    fn into_response(self) -> axum::response::Response {
        Response::<Body>::from(&self).map(axum::body::Body::new)
    }
}

/// Just as the original refuses: clients and browsers know it.
fn unauthorized() -> Response<Body> {
    let mut response = Response::new(Body::whole(Bytes::from_static(b"invalid credentials")));
    *response.status_mut() = StatusCode::UNAUTHORIZED;
    let headers = response.headers_mut();
    headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Basic realm=\"Restricted\""));
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    response
}

fn answer(status: StatusCode, code: &'static str) -> Answer {
    Answer { status, code, retry_after: None }
}

fn provider_answer(error: &ProviderError) -> Answer {
    use ProviderError as E;
    match error {
        E::InvalidSpec { .. } => answer(StatusCode::BAD_REQUEST, "invalid_spec"),
        E::InvalidModule(_) => answer(StatusCode::BAD_REQUEST, "invalid_module"),
        E::ModuleTooLarge { .. } => answer(StatusCode::PAYLOAD_TOO_LARGE, "module_too_large"),
        E::UnknownFunction(_) => answer(StatusCode::NOT_FOUND, "unknown_function"),
        E::UnknownModule(_) => answer(StatusCode::NOT_FOUND, "unknown_module"),
        E::UnknownSecret { .. } => answer(StatusCode::BAD_REQUEST, "unknown_secret"),
        E::ModuleInUse { .. } => answer(StatusCode::CONFLICT, "module_in_use"),
        E::Saturated { retry_after, .. } => {
            Answer { retry_after: Some(*retry_after), ..answer(StatusCode::TOO_MANY_REQUESTS, "saturated") }
        }
        E::FunctionFailed { .. } => answer(StatusCode::INTERNAL_SERVER_ERROR, "function_failed"),
        E::InvalidResponse { .. } => answer(StatusCode::BAD_GATEWAY, "invalid_response"),
        E::TimedOut { .. } => answer(StatusCode::GATEWAY_TIMEOUT, "timed_out"),
        E::StartFailed { retry_after, .. } => Answer {
            retry_after: Some(*retry_after),
            ..answer(StatusCode::SERVICE_UNAVAILABLE, "start_failed")
        },
        E::StartTimedOut { .. } => answer(StatusCode::GATEWAY_TIMEOUT, "start_timed_out"),
        E::Unavailable { retry_after, .. } => Answer {
            retry_after: Some(*retry_after),
            ..answer(StatusCode::SERVICE_UNAVAILABLE, "unavailable")
        },
        E::OutOfStorage(_) => answer(StatusCode::INSUFFICIENT_STORAGE, "out_of_storage"),
        E::Internal { .. } => answer(StatusCode::INTERNAL_SERVER_ERROR, "internal"),
    }
}

fn gateway_answer(error: &GatewayError) -> Answer {
    use GatewayError as E;
    match error {
        E::Provider(error) => provider_answer(error),
        E::AlreadyDeployed(_) => answer(StatusCode::CONFLICT, "already_deployed"),
        E::InvalidJson(_) => answer(StatusCode::BAD_REQUEST, "invalid_json"),
        E::BodyTooLarge { .. } => answer(StatusCode::PAYLOAD_TOO_LARGE, "body_too_large"),
        E::BodyCut(_) => answer(StatusCode::BAD_REQUEST, "body_cut"),
        E::StepBroke => answer(StatusCode::BAD_GATEWAY, "step_broke"),
        E::BodyTimedOut => answer(StatusCode::REQUEST_TIMEOUT, "body_timed_out"),
        E::UnsupportedType { .. } => answer(StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported_type"),
        E::UnknownPath(_) => answer(StatusCode::NOT_FOUND, "unknown_path"),
        E::UnknownMethod(_) => answer(StatusCode::METHOD_NOT_ALLOWED, "unknown_method"),
        E::QueueFull { retry_after, .. } => {
            Answer { retry_after: Some(*retry_after), ..answer(StatusCode::TOO_MANY_REQUESTS, "queue_full") }
        }
        E::UnknownCall(_) => answer(StatusCode::NOT_FOUND, "unknown_call"),
        E::CallEnded(_) => answer(StatusCode::CONFLICT, "call_ended"),
        E::Unauthorized => answer(StatusCode::UNAUTHORIZED, "unauthorized"),
        E::TooManyLogins { retry_after } => Answer {
            retry_after: Some(*retry_after),
            ..answer(StatusCode::TOO_MANY_REQUESTS, "too_many_logins")
        },
        E::ForeignOrigin { .. } => answer(StatusCode::FORBIDDEN, "foreign_origin"),
        E::ForeignHost(_) => answer(StatusCode::FORBIDDEN, "foreign_host"),
        E::TokenRequired(_) => answer(StatusCode::UNAUTHORIZED, "token_required"),
        E::SecretExists(_) => answer(StatusCode::CONFLICT, "secret_exists"),
        E::UnknownSecret(_) => answer(StatusCode::NOT_FOUND, "unknown_secret"),
        E::SecretInUse { .. } => answer(StatusCode::CONFLICT, "secret_in_use"),
        E::NamespaceExists(_) => answer(StatusCode::CONFLICT, "namespace_exists"),
        E::UnknownNamespace(_) => answer(StatusCode::NOT_FOUND, "unknown_namespace"),
        E::NamespaceInUse { .. } => answer(StatusCode::CONFLICT, "namespace_in_use"),
        E::LeaseHeld(_) => answer(StatusCode::CONFLICT, "scaler_lease_held"),
        E::AlertsFailed(_) => Answer {
            retry_after: Some(RETRY_SOON),
            ..answer(StatusCode::SERVICE_UNAVAILABLE, "alerts_failed")
        },
        E::Busy { .. } => {
            Answer { retry_after: Some(RETRY_SOON), ..answer(StatusCode::SERVICE_UNAVAILABLE, "busy") }
        }
        E::NotReady(_) => {
            Answer { retry_after: Some(RETRY_SOON), ..answer(StatusCode::SERVICE_UNAVAILABLE, "not_ready") }
        }
    }
}

/// Every refusal of ours.
#[derive(Serialize, ToSchema)]
#[schema(as = Error)]
pub(crate) struct Document {
    error: Detail,
}

/// What was refused, and why.
#[derive(Serialize, ToSchema)]
#[schema(as = ErrorDetail)]
struct Detail {
    /// Which refusal it is, for programs.
    code: &'static str,
    /// What is wrong, for people.
    message: String,
    /// Who is in the way, where that is somebody.
    #[serde(skip_serializing_if = "Option::is_none")]
    leader: Option<String>,
}

fn respond(answer: Answer, error: &dyn std::error::Error, leader: Option<&str>) -> Response<Body> {
    let (message, leader) = (error.to_string(), leader.map(str::to_owned));
    let document = Document { error: Detail { code: answer.code, message, leader } };
    let json = serde_json::to_vec(&document).expect("strings always serialise");
    let mut response = Response::new(Body::whole(Bytes::from(json)));
    *response.status_mut() = answer.status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(INTERNAL, HeaderValue::from_static("proxy"));
    if let Some(wait) = answer.retry_after {
        headers.insert(RETRY_AFTER, HeaderValue::from(whole_seconds(wait)));
    }
    response
}

/// `Retry-After` has no fractions, and 0 would invite a busy loop.
fn whole_seconds(wait: Duration) -> u64 {
    (wait.as_secs() + u64::from(wait.subsec_nanos() > 0)).max(1)
}

/// At most 200 characters of a client's text, for a message.
pub(crate) fn excerpt(text: &str) -> String {
    const MAX_CHARS: usize = 200;
    match text.char_indices().nth(MAX_CHARS) {
        None => text.to_owned(),
        Some((end, _)) => format!("{}…", &text[..end]),
    }
}

/// What is at the end of the chain of causes: hyper's own texts say little.
pub(crate) fn innermost(error: &dyn std::error::Error) -> String {
    let mut cause = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    cause.to_string()
}

/// An error and what caused it, in one line for the log.
pub(crate) fn causes(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        next = cause.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use bramble_provider::Digest;
    use http_body_util::BodyExt;

    fn name() -> FunctionName {
        FunctionName::parse("echo").unwrap()
    }

    async fn check(error: ProviderError, status: u16, code: &str, retry_after: Option<&str>) {
        let message = error.to_string();
        let response = error_response(&error);
        assert_eq!(response.status().as_u16(), status, "{error:?}");
        assert_eq!(response.headers()[CONTENT_TYPE], "application/json");
        assert_eq!(response.headers()[INTERNAL], "proxy");
        let retry = response.headers().get(RETRY_AFTER).map(|value| value.to_str().unwrap().to_owned());
        assert_eq!(retry.as_deref(), retry_after, "{error:?}");
        let body = response.into_body().collect().await.unwrap().to_bytes();
        let json: serde_json::Value = serde_json::from_slice(&body).unwrap();
        assert_eq!(json, serde_json::json!({"error": {"code": code, "message": message}}));
    }

    #[tokio::test]
    async fn every_cause_has_its_status_and_code() {
        let text = || "x".to_owned();
        let digest = Digest::from_sha256([1; 32]);
        let soon = Duration::from_millis(1_200);
        check(ProviderError::InvalidSpec { field: text(), reason: text() }, 400, "invalid_spec", None).await;
        check(ProviderError::InvalidModule(text()), 400, "invalid_module", None).await;
        check(ProviderError::ModuleTooLarge { limit_bytes: 1 }, 413, "module_too_large", None).await;
        check(ProviderError::UnknownFunction(name()), 404, "unknown_function", None).await;
        check(ProviderError::UnknownModule(digest), 404, "unknown_module", None).await;
        check(ProviderError::ModuleInUse { digest, function: name() }, 409, "module_in_use", None).await;
        let saturated =
            |retry_after| ProviderError::Saturated { name: name(), inflight: 1, queued: 2, retry_after };
        check(saturated(soon), 429, "saturated", Some("2")).await;
        check(saturated(Duration::ZERO), 429, "saturated", Some("1")).await;
        check(ProviderError::FunctionFailed { name: name(), reason: text() }, 500, "function_failed", None)
            .await;
        check(ProviderError::InvalidResponse { name: name(), reason: text() }, 502, "invalid_response", None)
            .await;
        let unavailable = ProviderError::Unavailable { provider: "x", reason: text(), retry_after: soon };
        check(unavailable, 503, "unavailable", Some("2")).await;
        check(ProviderError::TimedOut { name: name(), timeout: soon }, 504, "timed_out", None).await;
        let failed = ProviderError::StartFailed { name: name(), reason: text(), retry_after: soon };
        check(failed, 503, "start_failed", Some("2")).await;
        let late = ProviderError::StartTimedOut { name: name(), timeout: soon, reason: text() };
        check(late, 504, "start_timed_out", None).await;
        check(ProviderError::OutOfStorage(text()), 507, "out_of_storage", None).await;
    }

    #[tokio::test]
    async fn an_internal_cause_stays_out_of_the_answer() {
        let error = ProviderError::internal("reading", std::io::Error::other("secret detail"));
        let body = error_response(&error).into_body().collect().await.unwrap().to_bytes();
        assert!(!String::from_utf8_lossy(&body).contains("secret detail"));
    }
}
