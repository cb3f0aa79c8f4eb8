//! The way from the gateway to one replica: its connections, and a request over one of them.
//!
//! In: dialing (in a network namespace, if need be), keeping connections, sending a request and
//! streaming both bodies, asking whether the replica is ready. Out: which replica, how many requests
//! at a time, the limit on the whole of an invocation. Knows nothing of Docker.
//! The property that must hold: a request is sent a second time only when nothing of it was sent.
//!
//! A connection has no task of its own: whoever waits for the response polls it, so that nothing is
//! woken across threads. Only an exchange whose request is still arriving gets one, once the response
//! has begun: a client may send all of its body before it reads any of the answer.

mod body;
mod connection;
mod dialer;
mod error;
mod pool;
mod relay;
mod request;
mod response;
mod socket;

use std::io::ErrorKind;
use std::sync::Arc;
use std::time::Duration;

use bramble_provider::Body;
use http::header::HOST;
use http::{HeaderValue, Request, Response, StatusCode};

pub(crate) use body::hold;
pub(crate) use dialer::{Address, Dialer, Path};
pub(crate) use error::{NoConnection, SendError};
pub(crate) use request::request;

use connection::Connection;
use pool::Pool;

/// What a replica is asked when the question is whether it is ready; both watchdogs answer it.
const HEALTH_PATH: &str = "/_/health";

/// The connections to one replica.
///
/// Dropping it closes those that are idle; requests that run go on to their end.
#[derive(Debug)]
pub(crate) struct Upstream {
    address: Address,
    dialer: Dialer,
    pool: Arc<Pool>,
}

/// What a replica answered when it was asked whether it is ready.
#[derive(Debug)]
pub(crate) enum Probe {
    /// It answers requests.
    Ready,
    /// Not now, for this reason.
    NotYet(String),
}

impl Upstream {
    /// The way to the replica at `address`; nothing is connected yet.
    pub(crate) fn new(address: Address, dialer: Dialer) -> Self {
        Self { address, dialer, pool: Arc::default() }
    }

    /// Asks once, over a fresh connection, whether the replica takes requests.
    ///
    /// Any answer is a yes but 503 and 429, also one that is not HTTP: it will not get any better, and
    /// the invocation can say what is wrong. Takes at most `patience`. The connection is kept if the
    /// replica keeps it.
    pub(crate) async fn probe(&self, patience: Duration) -> Probe {
        match self.ask_health(patience).await {
            None => Probe::NotYet(format!("no answer to {HEALTH_PATH} within {patience:?}")),
            Some(Ok(response)) => match response.status() {
                status @ (StatusCode::SERVICE_UNAVAILABLE | StatusCode::TOO_MANY_REQUESTS) => {
                    Probe::NotYet(format!("{HEALTH_PATH} answered {status}"))
                }
                _ => Probe::Ready,
            },
            Some(Err(SendError::InvalidResponse(_))) => Probe::Ready,
            Some(Err(SendError::NotSent { cause, .. })) => Probe::NotYet(cause.to_string()),
            Some(Err(SendError::Broken(cause))) => Probe::NotYet(cause.to_string()),
        }
    }

    /// Whether its process answers, and be it that it is not ready. Takes at most `patience`.
    pub(crate) async fn answers(&self, patience: Duration) -> bool {
        matches!(self.ask_health(patience).await, Some(Ok(_) | Err(SendError::InvalidResponse(_))))
    }

    async fn ask_health(&self, patience: Duration) -> Option<Result<Response<Body>, SendError>> {
        let asked = async {
            let connection = self.dial().await?;
            response::exchange(connection, self.health_request(), &self.pool).await
        };
        tokio::time::timeout(patience, asked).await.ok()
    }

    /// Whether its machine answers, be it that nobody listens: that takes no more than its kernel, however
    /// busy it is. Takes at most `patience`.
    pub(crate) async fn is_within_reach(&self, patience: Duration) -> bool {
        match tokio::time::timeout(patience, Box::pin(self.dialer.dial(&self.address))).await {
            Ok(Ok(_)) => true,
            Ok(Err(NoConnection::Failed { source, .. })) => source.kind() == ErrorKind::ConnectionRefused,
            Ok(Err(_)) | Err(_) => false,
        }
    }

    /// Sends one request; resolves with the head of the response, whose body streams.
    ///
    /// A request that a kept connection did not take, because it had been closed, goes over a fresh
    /// one. Dropping the future, or the response's body before its end, closes the connection. The
    /// answer to an upgrade (101) carries hyper's `OnUpgrade` in its extensions.
    ///
    /// # Errors
    /// [`SendError`], by what was sent.
    pub(crate) async fn send(&self, request: Request<Body>) -> Result<Response<Body>, SendError> {
        let request = match self.pool.take() {
            None => request,
            Some(connection) => match response::exchange(connection, request, &self.pool).await {
                Err(SendError::NotSent { request, .. }) => *request,
                done => return done,
            },
        };
        match self.dial().await {
            Ok(connection) => response::exchange(connection, request, &self.pool).await,
            Err(cause) => Err(SendError::NotSent { request: Box::new(request), cause }),
        }
    }

    /// A fresh connection. Boxed: it is seldom made, and its future is large.
    async fn dial(&self) -> Result<Connection, NoConnection> {
        let stream = Box::pin(self.dialer.dial(&self.address)).await?;
        Connection::open(stream).await
    }

    fn health_request(&self) -> Request<Body> {
        let mut request = Request::new(Body::empty());
        *request.uri_mut() = http::Uri::from_static(HEALTH_PATH);
        let host = HeaderValue::try_from(self.address.socket.to_string());
        request.headers_mut().insert(HOST, host.unwrap_or(HeaderValue::from_static("")));
        request
    }
}

#[cfg(test)]
mod tests;
