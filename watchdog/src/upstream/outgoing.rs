//! The request as it goes on to the function's own server.

use std::fmt;
use std::future::Future as _;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use hyper::header::{self, HeaderMap, HeaderName, HeaderValue};
use hyper::http::request::Parts;
use hyper::http::uri::PathAndQuery;
use hyper::{Request, Uri, Version};
use tokio::time::{Instant, Sleep, sleep_until};

/// Headers of one connection, which do not go on.
const HOP_BY_HOP: [HeaderName; 9] = [
    header::CONNECTION,
    header::TE,
    header::TRAILER,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
    header::PROXY_AUTHENTICATE,
    header::PROXY_AUTHORIZATION,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
];

/// A request's body: the client's own, passed on as it comes, or one that is all here.
pub(crate) enum Outgoing {
    Client(Arriving),
    Whole(Bytes),
}

/// A client's body that has to be here in time.
pub(crate) struct Arriving {
    body: Incoming,
    read_until: Option<Instant>,
    /// Made when somebody has to wait.
    clock: Option<Pin<Box<Sleep>>>,
}

/// Why a client's body ended early.
#[derive(Debug)]
pub(crate) enum BodyError {
    /// It did not arrive within `read_timeout`.
    ReadTimeout,
    /// The client broke off.
    Broken(hyper::Error),
}

impl fmt::Display for BodyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ReadTimeout => f.write_str("the request's body did not arrive within read_timeout"),
            Self::Broken(error) => write!(f, "the request's body is broken off: {error}"),
        }
    }
}

impl std::error::Error for BodyError {}

impl Arriving {
    /// A body that has to end before `read_until`.
    pub(crate) fn new(body: Incoming, read_until: Option<Instant>) -> Self {
        Self { body, read_until, clock: None }
    }
}

impl Body for Arriving {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        if let Poll::Ready(frame) = Pin::new(&mut self.body).poll_frame(cx) {
            return Poll::Ready(frame.map(|frame| frame.map_err(BodyError::Broken)));
        }
        let Some(read_until) = self.read_until else { return Poll::Pending };
        let clock = self.clock.get_or_insert_with(|| Box::pin(sleep_until(read_until)));
        clock.as_mut().poll(cx).map(|()| Some(Err(BodyError::ReadTimeout)))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Body for Outgoing {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        match &mut *self {
            Self::Client(body) => Pin::new(body).poll_frame(cx),
            Self::Whole(bytes) if bytes.is_empty() => Poll::Ready(None),
            Self::Whole(bytes) => Poll::Ready(Some(Ok(Frame::data(std::mem::take(bytes))))),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Client(body) => body.is_end_stream(),
            Self::Whole(bytes) => bytes.is_empty(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Client(body) => body.size_hint(),
            Self::Whole(bytes) => SizeHint::with_exact(bytes.len() as u64),
        }
    }
}

/// The head that goes on: path and query behind `base`, without the connection's own headers.
///
/// `upgrade` keeps the two that ask for another protocol.
pub(crate) fn outgoing_head(mut parts: Parts, base: &str, upgrade: bool) -> Parts {
    let asked = parts.headers.get(header::UPGRADE).filter(|_| upgrade).cloned();
    strip_hop_by_hop(&mut parts.headers);
    // The server has answered it already, when it began to read the body.
    parts.headers.remove(header::EXPECT);
    if let Some(protocol) = asked {
        parts.headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
        parts.headers.insert(header::UPGRADE, protocol);
    }
    if !parts.headers.contains_key(header::HOST)
        && let Some(host) = parts.uri.authority().and_then(|host| HeaderValue::from_str(host.as_str()).ok())
    {
        parts.headers.insert(header::HOST, host);
    }
    let path = parts.uri.path_and_query().map_or("/", PathAndQuery::as_str);
    parts.uri = format!("{base}{path}").parse().unwrap_or_else(|_| Uri::from_static("/"));
    parts.version = Version::HTTP_11;
    parts
}

/// Removes the headers of one connection, with those that `Connection` names.
pub(crate) fn strip_hop_by_hop(headers: &mut HeaderMap) {
    let named: Vec<HeaderName> = headers
        .get_all(header::CONNECTION)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(|name| name.trim().parse().ok())
        .collect();
    for name in named.iter().chain(&HOP_BY_HOP) {
        headers.remove(name);
    }
}

/// Whether the client asks for another protocol on this connection.
pub(crate) fn asks_for_upgrade(headers: &HeaderMap) -> bool {
    let connection = headers.get_all(header::CONNECTION).iter().filter_map(|value| value.to_str().ok());
    headers.contains_key(header::UPGRADE)
        && connection
            .flat_map(|value| value.split(','))
            .any(|word| word.trim().eq_ignore_ascii_case("upgrade"))
}

/// The same request again, where repeating it changes nothing: an idempotent method and no body.
pub(crate) fn repeatable(request: &Request<Outgoing>) -> Option<Request<Outgoing>> {
    if !request.method().is_idempotent() || !request.body().is_end_stream() {
        return None;
    }
    let mut copy = Request::new(Outgoing::Whole(Bytes::new()));
    *copy.method_mut() = request.method().clone();
    *copy.uri_mut() = request.uri().clone();
    *copy.headers_mut() = request.headers().clone();
    Some(copy)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(request: hyper::http::request::Builder) -> Parts {
        request.body(()).unwrap().into_parts().0
    }

    #[test]
    fn the_connections_headers_stay_behind() {
        let request = Request::get("/a?b=c")
            .header("host", "function")
            .header("connection", "close, x-secret")
            .header("x-secret", "1")
            .header("te", "trailers")
            .header("expect", "100-continue")
            .header("x-kept", "1");
        let parts = outgoing_head(parts(request), "/base", false);
        assert_eq!(parts.uri, "/base/a?b=c");
        let names: Vec<_> = parts.headers.keys().map(HeaderName::as_str).collect();
        assert_eq!(names, ["host", "x-kept"]);
    }

    #[test]
    fn an_upgrade_goes_on_only_when_it_is_asked_for() {
        let request =
            || Request::get("/").header("connection", "keep-alive, Upgrade").header("upgrade", "websocket");
        assert!(asks_for_upgrade(request().headers_ref().unwrap()));
        let kept = outgoing_head(parts(request()), "", true).headers;
        assert_eq!(
            (kept["connection"].as_bytes(), kept["upgrade"].as_bytes()),
            (&b"upgrade"[..], &b"websocket"[..])
        );
        assert!(outgoing_head(parts(request()), "", false).headers.is_empty());
        assert!(!asks_for_upgrade(Request::get("/").header("upgrade", "h2c").headers_ref().unwrap()));
    }
}
