//! HTTP to a Prometheus: one query, one connection.

use std::time::Duration;

use bramble_provider::url::{HttpUrl, encode};
use bytes::Bytes;
use http::Request;
use http::header::{ACCEPT, CONTENT_TYPE, HOST, USER_AGENT};
use http_body_util::{BodyExt, Full, Limited};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use super::MAX_ANSWER_BYTES;
use crate::source::SourceError;
use crate::source::promql::Query;

/// Most characters of what a Prometheus says that are passed on.
const MAX_MESSAGE_CHARS: usize = 200;

/// Sends queries. The caller sets the time.
#[derive(Debug, Clone)]
pub(super) struct Client {
    url: HttpUrl,
}

impl Client {
    pub(super) fn new(url: HttpUrl) -> Self {
        Self { url }
    }

    /// The body of a successful answer. Dropping the future closes the connection.
    pub(super) async fn ask(&self, query: &Query) -> Result<Bytes, SourceError> {
        let stream = TcpStream::connect((self.url.host(), self.url.port())).await;
        let stream = stream.map_err(|error| self.unreachable(&error))?;
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
            .await
            .map_err(|error| self.unreachable(&error))?;
        let _connection = Connection(tokio::spawn(connection));
        let request = Request::post(self.url.path("/api/v1/query"))
            .header(HOST, self.url.authority())
            .header(USER_AGENT, concat!("bramble-scaler/", env!("CARGO_PKG_VERSION")))
            .header(ACCEPT, "application/json")
            .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
            .body(Full::new(Bytes::from(format!("query={}", encode(query.as_str())))));
        let request = request.map_err(|error| self.garbage(error.to_string()))?;
        let response = sender.send_request(request).await.map_err(|error| self.unreachable(&error))?;
        let status = response.status();
        let body = Limited::new(response.into_body(), MAX_ANSWER_BYTES).collect().await;
        let body = body.map_err(|error| self.garbage(error.to_string()))?.to_bytes();
        if status != http::StatusCode::OK {
            let said = String::from_utf8_lossy(&body);
            return Err(SourceError::Refused {
                url: self.url.to_string(),
                status: status.as_u16(),
                message: said.trim().chars().take(MAX_MESSAGE_CHARS).collect(),
            });
        }
        Ok(body)
    }

    pub(super) fn timed_out(&self, limit: Duration) -> SourceError {
        SourceError::TimedOut { url: self.url.to_string(), limit }
    }

    pub(super) fn garbage(&self, reason: String) -> SourceError {
        SourceError::Garbage { url: self.url.to_string(), reason }
    }

    fn unreachable(&self, error: &dyn std::error::Error) -> SourceError {
        // Hyper's own text says little; what the socket said is at the end of the chain.
        let mut cause = error;
        while let Some(source) = cause.source() {
            cause = source;
        }
        SourceError::Unreachable { url: self.url.to_string(), reason: cause.to_string() }
    }
}

/// The task that moves a connection's bytes; it ends with whoever asked.
struct Connection(tokio::task::JoinHandle<Result<(), hyper::Error>>);

impl Drop for Connection {
    fn drop(&mut self) {
        self.0.abort();
    }
}
