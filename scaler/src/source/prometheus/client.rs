//! HTTP to a Prometheus: one query, one connection.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use bytes::Bytes;
use http::header::{ACCEPT, CONTENT_TYPE, HOST, USER_AGENT};
use http::{Request, Uri};
use http_body_util::{BodyExt, Full, Limited};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use super::MAX_ANSWER_BYTES;
use crate::source::SourceError;
use crate::source::promql::Query;

/// Most characters of what a Prometheus says that are passed on.
const MAX_MESSAGE_CHARS: usize = 200;

/// Where a Prometheus is: `http://host[:port][/path]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PrometheusUrl {
    host: String,
    port: u16,
    authority: String,
    /// Without the trailing slash; empty for none.
    base: String,
}

/// A text that is no URL of a Prometheus.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct InvalidUrl(&'static str);

impl FromStr for PrometheusUrl {
    type Err = InvalidUrl;

    fn from_str(text: &str) -> Result<Self, InvalidUrl> {
        let invalid = || InvalidUrl("it is no URL such as http://127.0.0.1:9090");
        let uri: Uri = text.parse().map_err(|_| invalid())?;
        match uri.scheme_str() {
            Some("http") => {}
            Some("https") => {
                return Err(InvalidUrl(
                    "it wants TLS, which the scaler does not speak: use http, through a proxy if it must be",
                ));
            }
            _ => return Err(invalid()),
        }
        let authority = uri.authority().ok_or_else(invalid)?;
        if authority.as_str().contains('@') || uri.query().is_some() || authority.host().is_empty() {
            return Err(invalid());
        }
        // `Uri` takes a port that is no number for none.
        let port = match authority.as_str().strip_prefix(authority.host()) {
            Some("") => 80,
            _ => authority.port_u16().ok_or_else(invalid)?,
        };
        Ok(Self {
            host: authority.host().trim_matches(['[', ']']).to_owned(),
            port,
            authority: authority.to_string(),
            base: uri.path().trim_end_matches('/').to_owned(),
        })
    }
}

impl fmt::Display for PrometheusUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "http://{}{}", self.authority, self.base)
    }
}

/// Sends queries. The caller sets the time.
#[derive(Debug, Clone)]
pub(super) struct Client {
    url: PrometheusUrl,
}

impl Client {
    pub(super) fn new(url: PrometheusUrl) -> Self {
        Self { url }
    }

    /// The body of a successful answer. Dropping the future closes the connection.
    pub(super) async fn ask(&self, query: &Query) -> Result<Bytes, SourceError> {
        let stream = TcpStream::connect((self.url.host.as_str(), self.url.port)).await;
        let stream = stream.map_err(|error| self.unreachable(&error))?;
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
            .await
            .map_err(|error| self.unreachable(&error))?;
        let _connection = Connection(tokio::spawn(connection));
        let request = Request::post(format!("{}/api/v1/query", self.url.base))
            .header(HOST, &self.url.authority)
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

/// A text as a form has it.
fn encode(text: &str) -> String {
    use fmt::Write;
    let mut encoded = String::with_capacity(text.len() + text.len() / 2);
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => encoded.push(byte.into()),
            _ => write!(encoded, "%{byte:02X}").expect("a String takes everything"),
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_where_a_prometheus_is() {
        for (text, shown, host, port) in [
            ("http://prom:9090", "http://prom:9090", "prom", 9090),
            ("http://[::1]:9/prometheus/", "http://[::1]:9/prometheus", "::1", 9),
            ("http://prom", "http://prom", "prom", 80),
        ] {
            let url: PrometheusUrl = text.parse().unwrap();
            assert_eq!((url.to_string().as_str(), url.host.as_str(), url.port), (shown, host, port));
        }
        for text in ["", "prom:9090", "prom", "https://prom", "http://a@b", "http://p:x", "http://p/?a=b"] {
            assert!(text.parse::<PrometheusUrl>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_query_is_encoded_as_a_form() {
        assert_eq!(encode("a{b=\"c\"} + 1"), "a%7Bb%3D%22c%22%7D%20%2B%201");
    }
}
