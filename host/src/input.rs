//! What a guest reads: the request's body, as much of it as has arrived.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use bramble_provider::Body;
use bytes::{Buf, Bytes};
use http_body::Body as _;
use tokio::io::{AsyncRead, ReadBuf};
use wasmtime_wasi::cli::{IsTerminal, StdinStream};
use wasmtime_wasi_io::poll::Pollable;
use wasmtime_wasi_io::streams::{InputStream, StreamError, StreamResult};

use crate::call::Serving;

/// The request's body as a guest's stdin. Clones share it.
#[derive(Debug, Clone)]
pub(crate) struct Input(pub(crate) Serving);

/// What has arrived of a body, and where the rest comes from.
#[derive(Debug)]
pub(crate) struct InputState {
    ready: Bytes,
    rest: Option<Body>,
    failed: bool,
    waiting: bool,
}

/// The client went away, or its body was refused, before the body's end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct CutShort;

impl InputState {
    pub(crate) fn new(body: Body) -> Self {
        let (ready, rest) = match body.into_whole() {
            Ok(bytes) => (bytes, None),
            Err(stream) => (Bytes::new(), Some(stream)),
        };
        Self { ready, rest, failed: false, waiting: false }
    }

    /// Whether the guest is waiting for more of the body at this moment.
    pub(crate) fn guest_waits(&self) -> bool {
        self.waiting
    }

    /// Copies what is there into `buffer`, waiting when there is nothing yet; 0 at the end.
    pub(crate) fn poll_read(
        &mut self,
        cx: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<Result<usize, CutShort>> {
        std::task::ready!(self.poll_ready(cx));
        if self.failed {
            return Poll::Ready(Err(CutShort));
        }
        let count = buffer.len().min(self.ready.len());
        self.ready.copy_to_slice(&mut buffer[..count]);
        Poll::Ready(Ok(count))
    }

    /// Ready when there are bytes, the end, or a failure.
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        while self.ready.is_empty() {
            let Some(rest) = &mut self.rest else { break };
            let frame = Pin::new(rest).poll_frame(cx);
            self.waiting = frame.is_pending();
            match std::task::ready!(frame) {
                Some(Ok(frame)) => self.ready = frame.into_data().unwrap_or_default(),
                Some(Err(error)) => {
                    tracing::debug!(%error, "a request's body was cut short");
                    self.failed = true;
                    self.rest = None;
                }
                None => self.rest = None,
            }
        }
        Poll::Ready(())
    }
}

impl IsTerminal for Input {
    fn is_terminal(&self) -> bool {
        false
    }
}

impl StdinStream for Input {
    fn async_stream(&self) -> Box<dyn AsyncRead + Send + Sync> {
        Box::new(self.clone())
    }

    fn p2_stream(&self) -> Box<dyn InputStream> {
        Box::new(self.clone())
    }
}

impl AsyncRead for Input {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let count = std::task::ready!(self.0.call().input.lock().poll_read(cx, buffer.initialize_unfilled()))
            .map_err(|CutShort| io::ErrorKind::ConnectionAborted)?;
        buffer.advance(count);
        Poll::Ready(Ok(()))
    }
}

#[wasmtime_wasi_io::async_trait]
impl Pollable for Input {
    async fn ready(&mut self) {
        std::future::poll_fn(|cx| self.0.call().input.lock().poll_ready(cx)).await;
    }
}

impl InputStream for Input {
    fn read(&mut self, size: usize) -> StreamResult<Bytes> {
        let call = self.0.call();
        let mut state = call.input.lock();
        if state.failed {
            return Err(StreamError::LastOperationFailed(
                io::Error::from(io::ErrorKind::ConnectionAborted).into(),
            ));
        }
        if !state.ready.is_empty() {
            let count = size.min(state.ready.len());
            return Ok(state.ready.split_to(count));
        }
        match state.rest {
            // Nothing yet; `ready` tells when there is.
            Some(_) => Ok(Bytes::new()),
            None => Err(StreamError::Closed),
        }
    }
}
