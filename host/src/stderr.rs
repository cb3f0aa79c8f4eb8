//! What a guest prints beside its response.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use tokio::io::AsyncWrite;
use wasmtime_wasi::cli::{IsTerminal, StdoutStream};
use wasmtime_wasi_io::poll::Pollable;
use wasmtime_wasi_io::streams::{OutputStream, StreamResult};

use crate::call::{Call, Serving};
use crate::output::{Output, OverLimit};

/// A guest's stderr: the function's log, or with `combine_output` the response. Clones share it.
#[derive(Debug, Clone)]
pub(crate) struct Stderr(pub(crate) Serving);

/// Takes some of `bytes` and tells how many. The log never makes a guest wait.
pub(crate) fn poll_write(call: &Call, bytes: &[u8]) -> Poll<Result<usize, OverLimit>> {
    if call.revision.settings.combine_output {
        return call.output.lock().poll_write(bytes);
    }
    call.print(bytes);
    Poll::Ready(Ok(bytes.len()))
}

impl IsTerminal for Stderr {
    fn is_terminal(&self) -> bool {
        false
    }
}

impl StdoutStream for Stderr {
    fn async_stream(&self) -> Box<dyn AsyncWrite + Send + Sync> {
        Box::new(self.clone())
    }

    fn p2_stream(&self) -> Box<dyn OutputStream> {
        match self.0.call().revision.settings.combine_output {
            true => Output(self.0.clone()).p2_stream(),
            false => Box::new(self.clone()),
        }
    }
}

impl AsyncWrite for Stderr {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        poll_write(&self.0.call(), bytes).map_err(io::Error::other)
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

#[wasmtime_wasi_io::async_trait]
impl Pollable for Stderr {
    async fn ready(&mut self) {}
}

impl OutputStream for Stderr {
    fn write(&mut self, bytes: Bytes) -> StreamResult<()> {
        self.0.call().print(&bytes);
        Ok(())
    }

    fn flush(&mut self) -> StreamResult<()> {
        Ok(())
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        Ok(1 << 20)
    }
}
