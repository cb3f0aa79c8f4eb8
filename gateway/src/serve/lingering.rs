//! Request bodies that are read on when nobody wants them any more, so that the answer arrives.
//!
//! A server that answers and closes while its client is still sending makes the client's next write
//! fail, and the answer is often lost with it (RFC 9112 section 9.6). So what is left of a body is
//! read and thrown away, for a while.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::Request;
use http::header::EXPECT;
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use tokio::runtime::Handle;
use tokio::time::timeout;

/// Longest that the rest of a body is read for nobody. As long as nginx's `lingering_time`.
const LINGER: Duration = Duration::from_secs(30);
/// Longest pause between two pieces of it.
const STALL: Duration = Duration::from_secs(5);

/// A request's body. When it is dropped before its end, the rest is read and thrown away.
#[derive(Debug)]
pub(crate) struct Lingering {
    /// `None` only once it is dropped.
    incoming: Option<Incoming>,
    /// The client waits to be asked before it sends, and was not asked: nothing is on its way.
    held_back: bool,
    ended: bool,
}

impl Lingering {
    /// The request with such a body.
    pub(crate) fn wrap(request: Request<Incoming>) -> Request<Self> {
        let held_back = request.headers().contains_key(EXPECT);
        request.map(|incoming| Self { incoming: Some(incoming), held_back, ended: false })
    }

    fn incoming(&self) -> &Incoming {
        self.incoming.as_ref().expect("it is there until the drop")
    }
}

impl Body for Lingering {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        self.held_back = false;
        let incoming = self.incoming.as_mut().expect("it is there until the drop");
        let frame = std::task::ready!(Pin::new(incoming).poll_frame(cx));
        self.ended = !matches!(frame, Some(Ok(_)));
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.incoming().is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.incoming().size_hint()
    }
}

impl Drop for Lingering {
    fn drop(&mut self) {
        let Some(incoming) = self.incoming.take() else { return };
        if self.ended || self.held_back || incoming.is_end_stream() {
            return;
        }
        // Not tracked: the connection, for which a stop waits, does not end before this does.
        if let Ok(runtime) = Handle::try_current() {
            runtime.spawn(timeout(LINGER, discard(incoming)));
        }
    }
}

async fn discard(mut incoming: Incoming) {
    while let Ok(Some(Ok(_))) = timeout(STALL, incoming.frame()).await {}
}
