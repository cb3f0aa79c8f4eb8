//! What a guest writes: held until the response can take it.
//!
//! Writer and reader are polled by the same task (the response's body drives the guest), so a full
//! buffer needs no waker: the guest is polled again as soon as the response has taken some.

use std::collections::VecDeque;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{Bytes, BytesMut};
use tokio::io::AsyncWrite;
use wasmtime_wasi::cli::{IsTerminal, StdoutStream};
use wasmtime_wasi_io::poll::Pollable;
use wasmtime_wasi_io::streams::{OutputStream, StreamError, StreamResult};

use crate::call::Serving;

/// Bytes that a guest may be ahead of its client.
pub(crate) const HIGH_WATER_BYTES: usize = 256 << 10;
/// Small writes are joined to pieces of this size.
const PIECE_BYTES: usize = 64 << 10;
/// Writes from here on are pieces of their own.
const WHOLE_PIECE_BYTES: usize = 16 << 10;

/// A guest's stdout. Clones share it.
#[derive(Debug, Clone)]
pub(crate) struct Output(pub(crate) Serving);

/// What a guest has written and the response has not taken.
#[derive(Debug)]
pub(crate) struct OutputState {
    pieces: VecDeque<Bytes>,
    tail: BytesMut,
    held: usize,
    left: u64,
    refused: bool,
}

impl OutputState {
    /// An empty output that takes `limit_bytes` in all.
    pub(crate) fn new(limit_bytes: u64) -> Self {
        Self { pieces: VecDeque::new(), tail: BytesMut::new(), held: 0, left: limit_bytes, refused: false }
    }

    /// Bytes written and not yet taken.
    pub(crate) fn held(&self) -> usize {
        self.held
    }

    /// Whether the guest wrote more than it may.
    pub(crate) fn refused(&self) -> bool {
        self.refused
    }

    /// The next piece, if there is any.
    pub(crate) fn take_piece(&mut self) -> Option<Bytes> {
        let piece = match self.pieces.pop_front() {
            Some(piece) => piece,
            None if self.tail.is_empty() => return None,
            None => std::mem::take(&mut self.tail).freeze(),
        };
        self.held -= piece.len();
        Some(piece)
    }

    /// All that is held, as one piece.
    pub(crate) fn take_all(&mut self) -> Bytes {
        self.held = 0;
        let tail = std::mem::take(&mut self.tail);
        if self.pieces.is_empty() {
            return tail.freeze();
        }
        if tail.is_empty() && self.pieces.len() == 1 {
            return self.pieces.pop_front().unwrap_or_default();
        }
        let mut all = BytesMut::with_capacity(self.pieces.iter().map(Bytes::len).sum::<usize>() + tail.len());
        self.pieces.drain(..).for_each(|piece| all.extend_from_slice(&piece));
        all.extend_from_slice(&tail);
        all.freeze()
    }

    /// Puts bytes back in front: the rest of a block whose head was read.
    pub(crate) fn put_back(&mut self, bytes: Bytes) {
        if !bytes.is_empty() {
            self.held += bytes.len();
            self.pieces.push_front(bytes);
        }
    }

    /// Takes some of `bytes` and tells how many: 0 only for an empty slice. Waits while the buffer is full.
    pub(crate) fn poll_write(&mut self, bytes: &[u8]) -> Poll<Result<usize, OverLimit>> {
        let room = HIGH_WATER_BYTES.saturating_sub(self.held);
        if room == 0 {
            return Poll::Pending;
        }
        let count = bytes.len().min(room).min(PIECE_BYTES);
        if count as u64 > self.left {
            self.refused = true;
            return Poll::Ready(Err(OverLimit));
        }
        self.left -= count as u64;
        self.held += count;
        let bytes = &bytes[..count];
        if self.tail.is_empty() && count >= WHOLE_PIECE_BYTES {
            self.pieces.push_back(Bytes::copy_from_slice(bytes));
            return Poll::Ready(Ok(count));
        }
        self.tail.extend_from_slice(bytes);
        if self.tail.len() >= PIECE_BYTES {
            let piece = std::mem::take(&mut self.tail).freeze();
            self.pieces.push_back(piece);
        }
        Poll::Ready(Ok(count))
    }
}

/// The guest wrote more than the function's output limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the output limit is reached")]
pub(crate) struct OverLimit;

impl IsTerminal for Output {
    fn is_terminal(&self) -> bool {
        false
    }
}

impl StdoutStream for Output {
    fn async_stream(&self) -> Box<dyn AsyncWrite + Send + Sync> {
        Box::new(self.clone())
    }

    fn p2_stream(&self) -> Box<dyn OutputStream> {
        Box::new(self.clone())
    }
}

impl AsyncWrite for Output {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.0.call().output.lock().poll_write(bytes).map_err(io::Error::other)
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

#[wasmtime_wasi_io::async_trait]
impl Pollable for Output {
    async fn ready(&mut self) {
        std::future::poll_fn(|_| match self.0.call().output.lock().held() < HIGH_WATER_BYTES {
            true => Poll::Ready(()),
            false => Poll::Pending,
        })
        .await;
    }
}

impl OutputStream for Output {
    fn write(&mut self, bytes: Bytes) -> StreamResult<()> {
        let call = self.0.call();
        let mut state = call.output.lock();
        let mut rest = &bytes[..];
        while !rest.is_empty() {
            match state.poll_write(rest) {
                Poll::Ready(Ok(count)) => rest = &rest[count..],
                Poll::Ready(Err(over)) => return Err(StreamError::Trap(wasmtime::Error::new(over))),
                Poll::Pending => {
                    return Err(StreamError::Trap(wasmtime::Error::msg(
                        "wrote more than check-write permitted",
                    )));
                }
            }
        }
        Ok(())
    }

    fn flush(&mut self) -> StreamResult<()> {
        Ok(())
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        Ok(HIGH_WATER_BYTES.saturating_sub(self.0.call().output.lock().held()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn write_all(output: &mut OutputState, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            match output.poll_write(bytes) {
                Poll::Ready(Ok(count)) => bytes = &bytes[count..],
                other => panic!("{other:?}"),
            }
        }
    }

    #[test]
    fn gives_back_what_was_written_in_order() {
        let mut output = OutputState::new(u64::MAX);
        let bytes: Vec<u8> = (0..200_000u32).map(|at| (at % 251) as u8).collect();
        for part in bytes.chunks(777) {
            write_all(&mut output, part);
        }
        assert_eq!(output.held(), bytes.len());
        let first = output.take_piece().unwrap();
        output.put_back(first);
        assert_eq!(output.take_all(), bytes);
        assert_eq!((output.held(), output.take_piece()), (0, None));
    }

    #[test]
    fn waits_when_the_client_is_slow() {
        let mut output = OutputState::new(u64::MAX);
        write_all(&mut output, &vec![0; HIGH_WATER_BYTES]);
        assert!(output.poll_write(b"x").is_pending());
        output.take_piece().unwrap();
        assert!(output.poll_write(b"x").is_ready());
    }

    #[test]
    fn refuses_what_goes_over_the_limit() {
        let mut output = OutputState::new(10);
        write_all(&mut output, b"0123456789");
        assert_eq!(output.poll_write(b"x"), Poll::Ready(Err(OverLimit)));
        assert!(output.refused());
    }
}
