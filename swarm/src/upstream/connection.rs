//! One connection: hyper's two halves, kept together and polled by whoever has it.

use std::fmt;
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use bramble_provider::Body;
use bytes::Bytes;
use http::{Request, Response};
use http_body::{Body as HttpBody, Frame};
use hyper::body::Incoming;
use hyper::client::conn::TrySendError;
use hyper::client::conn::http1::{Builder, SendRequest};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use super::error::NoConnection;
use super::relay::Relay;
use super::socket::{Look, Socket};

/// Longest head of a response, status line included. hyper takes at most 100 headers.
const MAX_HEAD_BYTES: usize = 64 << 10;

/// What came of a request: hyper's response, or its error and the request that was not sent.
pub(super) type Sent = Result<Response<Incoming>, TrySendError<Request<Body>>>;

/// What came of a response's body: a frame, an error, or the end.
pub(super) type Received = Option<Result<Frame<Bytes>, hyper::Error>>;

/// A connection to a replica. Dropping it closes it.
pub(super) struct Connection {
    sender: SendRequest<Body>,
    /// Reads and writes; gone once the connection is closed. Boxed, as hyper does not name its type.
    driver: Option<Pin<Box<dyn Future<Output = hyper::Result<()>> + Send>>>,
    look: Look,
    relay: Arc<Relay>,
    /// Of the relay.
    waker: Waker,
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
        let relay = Arc::new(Relay::default());
        let waker = Waker::from(Arc::clone(&relay));
        Ok(Self { sender, driver: Some(Box::pin(driver.with_upgrades())), look, relay, waker })
    }

    /// Hands a request over, to be sent by the first poll; the future is for [`Self::response`].
    ///
    /// Not one step with it, as a request is large and each future would have a copy of it.
    pub(super) fn begin(&mut self, request: Request<Body>) -> impl Future<Output = Sent> + use<> {
        self.sender.try_send_request(request)
    }

    /// Sends what was handed over, and waits for the head of its response.
    ///
    /// # Errors
    /// hyper's, with the request when it was not sent.
    pub(super) async fn response(&mut self, begun: impl Future<Output = Sent>) -> Sent {
        let mut begun = pin!(begun);
        let response = poll_fn(|cx| {
            self.poll(cx);
            // It can only have come in the line above, so nobody needs to be woken for it.
            begun.as_mut().poll(&mut nobody())
        })
        .await;
        self.relay.disarm();
        response
    }

    /// Waits for the next of a body; `None` is its end.
    pub(super) fn poll_frame(&mut self, incoming: &mut Incoming, cx: &mut Context<'_>) -> Poll<Received> {
        self.poll(cx);
        // To take a frame wakes the connection, which is no news to the task that does it.
        self.relay.disarm();
        let frame = Pin::new(incoming).poll_frame(&mut nobody());
        if frame.is_pending() {
            self.relay.arm(cx.waker());
            if self.relay.take_woken() {
                cx.waker().wake_by_ref();
            }
        }
        frame
    }

    /// Reads and writes what there is to read and write, and wakes the task when there is more.
    fn poll(&mut self, cx: &mut Context<'_>) {
        self.relay.take_woken();
        self.relay.arm(cx.waker());
        self.poll_now();
    }

    /// Reads and writes what there is to read and write.
    pub(super) fn poll_now(&mut self) {
        let mut cx = Context::from_waker(&self.waker);
        // What went wrong is told to whoever waits for the response or its body.
        if self.driver.as_mut().is_some_and(|driver| driver.as_mut().poll(&mut cx).is_ready()) {
            self.driver = None;
        }
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
        self.relay.disarm();
        if !self.is_idle() {
            self.poll_now();
        }
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
