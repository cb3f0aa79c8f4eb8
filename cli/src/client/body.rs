//! What a request carries.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use tokio::sync::mpsc;

/// Chunks that wait to be sent. With chunks of 64 KiB this is what an upload costs in memory.
const CHUNKS_AHEAD: usize = 4;

/// A request's body: bytes at hand, or chunks as they come.
#[derive(Debug)]
pub(crate) struct RequestBody(Inner);

#[derive(Debug)]
enum Inner {
    Full(Option<Bytes>),
    Channel { chunks: mpsc::Receiver<io::Result<Bytes>>, remaining: Option<u64> },
}

impl RequestBody {
    /// No body.
    pub(crate) fn empty() -> Self {
        Self(Inner::Full(None))
    }

    /// These bytes.
    pub(crate) fn full(bytes: impl Into<Bytes>) -> Self {
        Self(Inner::Full(Some(bytes.into()).filter(|bytes| !bytes.is_empty())))
    }

    /// What is sent into the channel until its sender is dropped, `length` bytes if that is known.
    /// An error breaks the request off.
    pub(crate) fn channel(length: Option<u64>) -> (mpsc::Sender<io::Result<Bytes>>, Self) {
        let (sender, chunks) = mpsc::channel(CHUNKS_AHEAD);
        (sender, Self(Inner::Channel { chunks, remaining: length }))
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        let chunk = match &mut self.get_mut().0 {
            Inner::Full(bytes) => bytes.take().map(Ok),
            Inner::Channel { chunks, remaining } => {
                let chunk = ready!(chunks.poll_recv(context));
                if let (Some(Ok(chunk)), Some(remaining)) = (&chunk, remaining) {
                    *remaining = remaining.saturating_sub(chunk.len() as u64);
                }
                chunk
            }
        };
        Poll::Ready(chunk.map(|chunk| chunk.map(Frame::data)))
    }

    fn is_end_stream(&self) -> bool {
        matches!(self.0, Inner::Full(None))
    }

    fn size_hint(&self) -> SizeHint {
        match &self.0 {
            Inner::Full(bytes) => SizeHint::with_exact(bytes.as_ref().map_or(0, Bytes::len) as u64),
            Inner::Channel { remaining: Some(length), .. } => SizeHint::with_exact(*length),
            Inner::Channel { remaining: None, .. } => SizeHint::default(),
        }
    }
}
