//! The body of a response: whole, or piece by piece, with the request that it belongs to.

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::{Response, StatusCode};
use tokio::sync::mpsc;

use crate::calls::Call;
use crate::upstream::Relay;

/// A response whose body cannot be finished: the server then breaks the connection, which tells the client.
#[derive(Debug)]
pub(crate) struct Aborted;

impl fmt::Display for Aborted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the response was given up")
    }
}

impl std::error::Error for Aborted {}

/// A response's body. Holds its [`Call`] until it is sent or given up.
pub(crate) struct Payload {
    source: Source,
    call: Option<Call>,
    /// It has failed, and what came before has had its chance to be written.
    failing: bool,
}

enum Source {
    Whole(Bytes),
    /// Pieces from a task, which stops when this end is dropped, and their number of bytes where it is known.
    Pieces(mpsc::Receiver<Result<Bytes, Aborted>>, Option<u64>),
    /// The response of the function's own server.
    Upstream(Box<Relay>),
}

impl Payload {
    /// A body that is all here.
    pub(crate) fn whole(bytes: impl Into<Bytes>) -> Self {
        Self { source: Source::Whole(bytes.into()), call: None, failing: false }
    }

    /// A body of `length` bytes, or as many as come.
    pub(crate) fn pieces(receiver: mpsc::Receiver<Result<Bytes, Aborted>>, length: Option<u64>) -> Self {
        Self { source: Source::Pieces(receiver, length), call: None, failing: false }
    }

    /// No body and no length, for the answer to a HEAD that nobody knows the length of.
    pub(crate) fn unknown() -> Self {
        Self::pieces(mpsc::channel(1).1, None)
    }

    /// The body of the function's own server.
    pub(crate) fn upstream(relay: Relay) -> Self {
        Self { source: Source::Upstream(Box::new(relay)), call: None, failing: false }
    }

    /// Keeps `call` in flight until this body is sent.
    pub(crate) fn hold(&mut self, call: Call) {
        self.call = Some(call);
    }
}

/// A response of the watchdog itself: one line of text.
pub(crate) fn plain(status: StatusCode, text: impl Into<Bytes>) -> Response<Payload> {
    let mut response = Response::new(Payload::whole(text));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    response
}

impl Body for Payload {
    type Data = Bytes;
    type Error = Aborted;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Aborted>>> {
        if self.failing {
            self.call = None;
            return Poll::Ready(Some(Err(Aborted)));
        }
        let next = match &mut self.source {
            Source::Whole(bytes) => {
                let bytes = std::mem::take(bytes);
                (!bytes.is_empty()).then(|| Ok(Frame::data(bytes)))
            }
            Source::Pieces(receiver, _) => ready!(receiver.poll_recv(cx)).map(|piece| piece.map(Frame::data)),
            Source::Upstream(relay) => ready!(relay.poll_frame(cx)),
        };
        match &next {
            Some(Ok(_)) => {}
            // The server breaks the connection at once, with what it has not written yet. It writes while
            // there is nothing to be had here.
            Some(Err(Aborted)) => {
                self.failing = true;
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            None => self.call = None,
        }
        Poll::Ready(next)
    }

    fn is_end_stream(&self) -> bool {
        match &self.source {
            Source::Whole(bytes) => bytes.is_empty(),
            Source::Pieces(..) => false,
            Source::Upstream(relay) => relay.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.source {
            Source::Whole(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Source::Pieces(_, Some(length)) => SizeHint::with_exact(*length),
            Source::Pieces(_, None) => SizeHint::default(),
            Source::Upstream(relay) => relay.size_hint(),
        }
    }
}
