//! A request's body on its way to a process's stdin: streamed, or wrapped as JSON.

use std::future::Future;
use std::pin::Pin;
use std::task::Poll;

use bytes::Bytes;
use http_body::Body as _;
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use tokio::io::AsyncWriteExt as _;
use tokio::net::unix::pipe;
use tokio::time::{Instant, timeout_at};

use super::marshal::Marshal;

/// What fits into any pipe at once: one page, even where the user's pipe memory is used up.
pub(crate) const PIPE_MIN_BYTES: usize = 4_096;

/// A request's body, of which the part that is already here has been taken.
pub(crate) struct Input {
    /// What is to be written next, encoded.
    pub(crate) ready: Bytes,
    /// Where the rest comes from; `None` when `ready` is all.
    rest: Option<Incoming>,
    encoder: Option<Marshal>,
}

/// How the writing of stdin ended.
#[derive(Debug)]
pub(crate) enum FeedEnd {
    /// The body is read to its end, and written as far as the process took it.
    Done,
    /// The client did not send its body within `read_timeout`.
    ReadTimeout,
    /// The client broke off.
    Broken(hyper::Error),
}

/// The future that writes stdin.
pub(crate) type Feed = Pin<Box<dyn Future<Output = FeedEnd> + Send>>;

impl Input {
    /// Takes what has arrived of `body`, without waiting for more.
    ///
    /// # Errors
    /// The client broke off.
    pub(crate) async fn take(mut body: Incoming, mut encoder: Option<Marshal>) -> Result<Self, hyper::Error> {
        let mut first = Bytes::new();
        let mut ended = body.is_end_stream();
        if !ended {
            let frame = std::future::poll_fn(|cx| Poll::Ready(Pin::new(&mut body).poll_frame(cx))).await;
            match frame {
                Poll::Ready(Some(frame)) => first = frame?.into_data().unwrap_or_default(),
                Poll::Ready(None) => ended = true,
                Poll::Pending => {}
            }
            ended |= body.is_end_stream();
        }
        let ready = match &mut encoder {
            None => first,
            Some(marshal) => marshal.encode(&first, ended),
        };
        Ok(Self { ready, rest: (!ended).then_some(body), encoder })
    }

    /// Whether everything is in `ready` and fits into an empty pipe at once.
    pub(crate) fn is_small(&self) -> bool {
        self.rest.is_none() && self.ready.len() <= PIPE_MIN_BYTES
    }

    /// Writes everything to `stdin` and closes it.
    ///
    /// When the process stops reading, the body is still read to its end, so that a client that
    /// sends first and reads afterwards gets its answer. `read_until` bounds that.
    pub(crate) async fn feed(mut self, stdin: pipe::Sender, read_until: Option<Instant>) -> FeedEnd {
        let mut stdin = Some(stdin);
        write(&mut stdin, &self.ready).await;
        self.ready = Bytes::new();
        while let Some(body) = &mut self.rest {
            let frame = match read_until {
                None => body.frame().await,
                Some(deadline) => match timeout_at(deadline, body.frame()).await {
                    Ok(frame) => frame,
                    Err(_) => return FeedEnd::ReadTimeout,
                },
            };
            let chunk = match frame {
                Some(Ok(frame)) => frame.into_data().unwrap_or_default(),
                Some(Err(error)) => return FeedEnd::Broken(error),
                None => {
                    self.rest = None;
                    Bytes::new()
                }
            };
            match &mut self.encoder {
                None => write(&mut stdin, &chunk).await,
                Some(marshal) => write(&mut stdin, &marshal.encode(&chunk, self.rest.is_none())).await,
            }
        }
        FeedEnd::Done
    }
}

/// Writes to a process that may be gone; then forgets it.
async fn write(stdin: &mut Option<pipe::Sender>, chunk: &[u8]) {
    if let Some(pipe) = stdin
        && pipe.write_all(chunk).await.is_err()
    {
        *stdin = None;
    }
}
