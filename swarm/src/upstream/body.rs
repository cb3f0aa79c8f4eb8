//! Response bodies that stream.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bramble_provider::{Body, BodyError, ProviderError};
use bytes::Bytes;
use futures_util::future::BoxFuture;
use http::Response;
use http_body::{Body as HttpBody, Frame, SizeHint};
use hyper::body::Incoming;
use tokio::sync::oneshot;

use super::connection::{Connection, Received};
use super::pool::Pool;

/// A body that polls its connection: nothing is read that nobody asks for.
///
/// The connection goes back to the pool at the end of the body, and is closed when the body is dropped
/// before.
pub(super) struct Attached {
    incoming: Incoming,
    connection: Option<Connection>,
    pool: Arc<Pool>,
}

impl Attached {
    pub(super) fn new(incoming: Incoming, connection: Connection, pool: Arc<Pool>) -> Self {
        Self { incoming, connection: Some(connection), pool }
    }
}

impl HttpBody for Attached {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = &mut *self;
        let frame = match &mut this.connection {
            Some(connection) => connection.poll_frame(&mut this.incoming, cx),
            None => Pin::new(&mut this.incoming).poll_frame(cx),
        };
        let frame = data_only(ready!(frame));
        if matches!(frame, Some(Err(_))) {
            this.connection = None;
        } else if (frame.is_none() || this.incoming.is_end_stream())
            && let Some(connection) = this.connection.take()
        {
            this.pool.put(connection);
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.incoming.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.incoming.size_hint()
    }
}

/// A body whose connection a task polls, which is told when the body has ended or is dropped.
pub(super) struct Detached {
    incoming: Incoming,
    ended: Option<oneshot::Sender<Ended>>,
}

/// All of a response's body was read.
#[derive(Debug)]
pub(super) struct Ended;

impl Ended {
    /// For a response whose body was complete from the start.
    pub(super) fn already() -> oneshot::Receiver<Self> {
        let (sender, receiver) = oneshot::channel();
        // The other side is right here.
        drop(sender.send(Self));
        receiver
    }
}

impl Detached {
    /// The body; what comes back resolves at its end, and fails when it is dropped before.
    pub(super) fn new(incoming: Incoming) -> (Self, oneshot::Receiver<Ended>) {
        let (ended, receiver) = oneshot::channel();
        (Self { incoming, ended: Some(ended) }, receiver)
    }
}

impl HttpBody for Detached {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let frame = data_only(ready!(Pin::new(&mut self.incoming).poll_frame(cx)));
        let is_end = frame.is_none() || self.incoming.is_end_stream();
        if is_end && let Some(ended) = self.ended.take() {
            // The task may have ended with the connection.
            drop(ended.send(Ended));
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.incoming.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.incoming.size_hint()
    }
}

/// Trailers are the last frame, and are not passed on.
fn data_only(frame: Received) -> Option<Result<Frame<Bytes>, BodyError>> {
    match frame {
        Some(Ok(frame)) => frame.into_data().ok().map(|data| Ok(Frame::data(data))),
        Some(Err(error)) => Some(Err(error.into())),
        None => None,
    }
}

/// Keeps `guard` until the response's body has ended or is dropped, and ends it with what `lost`
/// resolves to, should it do so before.
///
/// A whole body has ended already, and so has that of an upgrade (101): what comes after it is the
/// caller's to guard.
pub(crate) fn hold<G: Send + 'static>(
    response: Response<Body>,
    guard: G,
    lost: impl Future<Output = ProviderError> + Send + 'static,
) -> Response<Body> {
    let (head, body) = response.into_parts();
    let body = match body.into_whole() {
        Ok(bytes) => Body::whole(bytes),
        Err(body) => Body::stream(Bytes::new(), Held { body, held: Some((guard, Box::pin(lost))) }),
    };
    Response::from_parts(head, body)
}

struct Held<G> {
    body: Body,
    /// The guard, and what ends the body early.
    held: Option<(G, BoxFuture<'static, ProviderError>)>,
}

/// Nothing relies on where the guard is.
impl<G> Unpin for Held<G> {}

impl<G: Send + 'static> HttpBody for Held<G> {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let frame = match (Pin::new(&mut self.body).poll_frame(cx), &mut self.held) {
            (Poll::Ready(frame), _) => frame,
            (Poll::Pending, Some((_, lost))) => Some(Err(ready!(lost.as_mut().poll(cx)).into())),
            (Poll::Pending, None) => return Poll::Pending,
        };
        if !matches!(frame, Some(Ok(_))) || self.body.is_end_stream() {
            self.held = None;
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
