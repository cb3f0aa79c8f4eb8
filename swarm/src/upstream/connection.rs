//! One connection: hyper's two halves, kept together and polled by whoever has it.

use std::fmt;
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::task::{Context, Poll, Waker};

use bramble_provider::Body;
use http::{Request, Response};
use hyper::body::Incoming;
use hyper::client::conn::TrySendError;
use hyper::client::conn::http1::{Builder, SendRequest};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use super::error::NoConnection;
use super::socket::{Look, Socket};

/// Longest head of a response, status line included. hyper takes at most 100 headers.
const MAX_HEAD_BYTES: usize = 64 << 10;

/// A connection to a replica. Dropping it closes it.
pub(super) struct Connection {
    sender: SendRequest<Body>,
    /// Reads and writes; gone once the connection is closed. Boxed, as hyper does not name its type.
    driver: Option<Pin<Box<dyn Future<Output = hyper::Result<()>> + Send>>>,
    look: Look,
}

impl Connection {
    /// Speaks HTTP over `stream`.
    ///
    /// # Errors
    /// [`NoConnection::Closed`].
    pub(super) async fn open(stream: TcpStream) -> Result<Self, NoConnection> {
        let (socket, look) = Socket::new(stream);
        let (sender, driver) = Builder::new()
            .max_header_size(MAX_HEAD_BYTES)
            .handshake(TokioIo::new(socket))
            .await
            .map_err(NoConnection::Closed)?;
        Ok(Self { sender, driver: Some(Box::pin(driver.with_upgrades())), look })
    }

    /// Sends a request and waits for the head of its response.
    ///
    /// # Errors
    /// hyper's, with the request when it was not sent.
    pub(super) async fn send(
        &mut self,
        request: Request<Body>,
    ) -> Result<Response<Incoming>, TrySendError<Request<Body>>> {
        let mut response = pin!(self.sender.try_send_request(request));
        poll_fn(|cx| {
            self.poll(cx);
            // It can only have come in the line above, so nobody needs to be woken for it.
            response.as_mut().poll(&mut nobody())
        })
        .await
    }

    /// Reads and writes what there is to read and write.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) {
        // What went wrong is told to whoever waits for the response or its body.
        if self.driver.as_mut().is_some_and(|driver| driver.as_mut().poll(cx).is_ready()) {
            self.driver = None;
        }
    }

    /// The same, when there is nobody to be woken for more of it.
    pub(super) fn poll_now(&mut self) {
        self.poll(&mut nobody());
    }

    /// Whether it is closed.
    pub(super) fn is_closed(&self) -> bool {
        self.driver.is_none()
    }

    /// Whether the last exchange is complete, and another may begin.
    pub(super) fn is_idle(&self) -> bool {
        self.driver.is_some() && self.sender.is_ready()
    }

    /// Lets go of the task that polled it last; false when it cannot be used again.
    pub(super) fn rest(&mut self) -> bool {
        self.poll_now();
        self.is_idle()
    }

    /// Makes the next poll see that the other side closed it, before anything is sent.
    pub(super) fn look(&self) {
        self.look.order();
    }

    /// Waits for the end of the exchange; false when the connection ended with it.
    pub(super) async fn finish(&mut self) -> bool {
        poll_fn(|cx| {
            self.poll(cx);
            match (self.is_idle(), self.is_closed()) {
                (true, _) => Poll::Ready(true),
                (_, true) => Poll::Ready(false),
                _ => Poll::Pending,
            }
        })
        .await
    }
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection").field("idle", &self.is_idle()).finish()
    }
}

/// The context of a poll that wakes nobody.
pub(super) fn nobody() -> Context<'static> {
    Context::from_waker(Waker::noop())
}
