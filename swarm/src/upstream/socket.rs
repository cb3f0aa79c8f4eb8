//! A socket that can be asked whether the other side has closed it, without waiting for the reactor.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

/// A socket whose next read can be made to look at the socket itself.
///
/// tokio reads nothing before epoll has told of something to read; until then a connection that was
/// closed after the last response looks open, and the next request would be lost on it.
#[derive(Debug)]
pub(super) struct Socket {
    stream: TcpStream,
    look: Look,
}

/// The order to look, kept by the owner of the connection.
#[derive(Debug, Clone, Default)]
pub(super) struct Look(Arc<AtomicBool>);

impl Look {
    /// Makes the next read look at the socket itself.
    pub(super) fn order(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    fn take(&self) -> bool {
        // One task at a time has the connection: no need for an exchange.
        let ordered = self.0.load(Ordering::Relaxed);
        if ordered {
            self.0.store(false, Ordering::Relaxed);
        }
        ordered
    }
}

impl Socket {
    pub(super) fn new(stream: TcpStream) -> (Self, Look) {
        let look = Look::default();
        (Self { stream, look: look.clone() }, look)
    }
}

impl AsyncRead for Socket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.look.take() && buffer.remaining() > 0 {
            let mut byte = [0];
            match rustix::io::read(&self.stream, &mut byte) {
                Ok(length) => {
                    buffer.put_slice(&byte[..length]);
                    return Poll::Ready(Ok(()));
                }
                Err(rustix::io::Errno::AGAIN | rustix::io::Errno::INTR) => {}
                Err(error) => return Poll::Ready(Err(error.into())),
            }
        }
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

impl AsyncWrite for Socket {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
