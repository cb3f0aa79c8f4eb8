//! What a guest prints beside its response.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::io::AsyncWrite;
use wasmtime_wasi::cli::{IsTerminal, StdoutStream};
use wasmtime_wasi_io::poll::Pollable;
use wasmtime_wasi_io::streams::{OutputStream, StreamResult};

use crate::function_log::LineWriter;
use crate::output::{Output, OverLimit};

/// A guest's stderr: the function's log, or with `combine_output` the response. Clones share it.
#[derive(Debug, Clone)]
pub(crate) enum Stderr {
    Log(Arc<Mutex<LineWriter>>),
    Joined(Output),
}

impl Stderr {
    /// Takes some of `bytes` and tells how many. The log never makes a guest wait.
    pub(crate) fn poll_write(&self, bytes: &[u8]) -> Poll<Result<usize, OverLimit>> {
        match self {
            Self::Log(lines) => {
                lines.lock().write(bytes);
                Poll::Ready(Ok(bytes.len()))
            }
            Self::Joined(output) => output.poll_write(bytes),
        }
    }
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
        match self {
            Self::Log(_) => Box::new(self.clone()),
            Self::Joined(output) => output.p2_stream(),
        }
    }
}

impl AsyncWrite for Stderr {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Self::poll_write(&self, bytes).map_err(io::Error::other)
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
        let _ = Self::poll_write(self, &bytes);
        Ok(())
    }

    fn flush(&mut self) -> StreamResult<()> {
        Ok(())
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        Ok(1 << 20)
    }
}
