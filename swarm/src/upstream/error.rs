//! Why a request got no response.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use bramble_provider::Body;
use http::Request;

/// Why a request got no response: one variant per decision a caller can take.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SendError {
    /// Nothing was sent: another replica may take the request.
    #[error("{cause}")]
    NotSent {
        /// The request as it was.
        request: Box<Request<Body>>,
        /// Why there was nobody to send it to.
        cause: NoConnection,
    },
    /// The request was sent, wholly or in part, and may have had effects.
    #[error("the connection to the replica broke before the response was complete: {}", innermost(.0))]
    Broken(#[source] hyper::Error),
    /// What came back is no response that can be passed on.
    #[error("{0}")]
    InvalidResponse(String),
}

/// Why there is no connection to a replica.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NoConnection {
    /// Nobody listens there, or there is no way to it.
    #[error("{}", failed(.socket, .source))]
    Failed {
        /// Where to.
        socket: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// Nobody answered.
    #[error("no connection to {socket} within {timeout:?}")]
    TimedOut {
        /// Where to.
        socket: SocketAddr,
        /// How long was waited.
        timeout: Duration,
    },
    /// The namespace of the replica could not be entered.
    #[error("the replica's network namespace cannot be entered: {source}{}", way_out(.source))]
    Namespace {
        /// What the system said.
        source: io::Error,
    },
    /// It was closed at once.
    #[error("the replica closed the connection at once: {}", innermost(.0))]
    Closed(#[source] hyper::Error),
}

impl From<NoConnection> for SendError {
    /// For a request that nobody needs back.
    fn from(cause: NoConnection) -> Self {
        Self::NotSent { request: Box::default(), cause }
    }
}

impl SendError {
    /// What an error of hyper's means for a request that was begun to be sent.
    pub(super) fn after_sending(error: hyper::Error) -> Self {
        if error.is_parse() {
            return Self::InvalidResponse(format!("the replica's response is not valid HTTP: {error}"));
        }
        Self::Broken(error)
    }
}

fn failed(socket: &SocketAddr, error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => format!("nothing listens at {socket}"),
        _ => format!("no connection to {socket}: {error}"),
    }
}

fn way_out(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::PermissionDenied => {
            "; run as root, or run the gateway as a container on the functions' network"
        }
        _ => "",
    }
}

/// The cause that says most: hyper's own words are general.
fn innermost(error: &hyper::Error) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(deeper) = cause.source() {
        cause = deeper;
    }
    cause.to_string()
}
