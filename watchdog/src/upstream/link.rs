//! Connections to the function's own server.
//!
//! A connection is driven by the request that uses it, not by a task of its own: a request then
//! costs no switch between tasks, and dropping the request closes the connection, which is how the
//! function learns that the client left.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::thread::ThreadId;
use std::time::{Duration, Instant};

use hyper::body::Incoming;
use hyper::client::conn::http1::{self, Connection, SendRequest};
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use tokio::net::TcpStream;

use super::outgoing::Outgoing;

/// Idle connections that are kept.
const IDLE_MAX: usize = 64;
/// How long an idle one is kept. Servers close them after 2 s (gunicorn) or 5 s (Node.js); a request
/// that meets the closing cannot always be repeated.
const IDLE_AGE: Duration = Duration::from_secs(1);

/// The work of a connection; `None` once it is closed or driven by a task.
type Driven = Option<Pin<Box<Connection<TokioIo<TcpStream>, Outgoing>>>>;

/// One connection.
pub(crate) struct Link {
    sender: SendRequest<Outgoing>,
    connection: Driven,
}

/// A request that was not answered.
pub(crate) struct NotSent {
    pub(crate) error: hyper::Error,
    /// There when not a byte of it was sent.
    pub(crate) request: Option<Box<Request<Outgoing>>>,
}

/// Idle connections; each is used again on the thread that made it, whose runtime watches it.
#[derive(Debug, Default)]
pub(crate) struct Links(Mutex<Vec<Idle>>);

#[derive(Debug)]
struct Idle {
    link: Link,
    since: Instant,
    thread: ThreadId,
}

impl std::fmt::Debug for Link {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Link").finish_non_exhaustive()
    }
}

impl Link {
    /// Speaks HTTP over `stream`.
    ///
    /// # Errors
    /// None in practice: nothing is sent yet.
    pub(crate) async fn new(stream: TcpStream) -> hyper::Result<Self> {
        let (sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        Ok(Self { sender, connection: Some(Box::pin(connection)) })
    }

    /// Sends a request and waits for the head of its response. Dropping the future needs the link dropped too.
    ///
    /// # Errors
    /// [`NotSent`], with the request when it can be tried again.
    pub(crate) async fn send(&mut self, request: Request<Outgoing>) -> Result<Response<Incoming>, NotSent> {
        let mut answer = std::pin::pin!(self.sender.try_send_request(request));
        let connection = &mut self.connection;
        let answer = std::future::poll_fn(|cx| {
            drive(connection, cx);
            answer.as_mut().poll(cx)
        });
        answer.await.map_err(|mut failed| {
            let request = failed.take_message().map(Box::new);
            NotSent { error: failed.into_error(), request }
        })
    }

    /// Moves bytes; to be called whenever something of its request is waited for.
    pub(crate) fn drive(&mut self, cx: &mut Context<'_>) {
        drive(&mut self.connection, cx);
    }

    /// Hands the connection to a task, as an upgrade needs it.
    pub(crate) fn spawn_with_upgrades(&mut self) {
        if let Some(connection) = self.connection.take() {
            // `Connection` is `Unpin`: the box is for its size.
            let connection = *Pin::into_inner(connection);
            tokio::spawn(connection.with_upgrades());
        }
    }
}

fn drive(connection: &mut Driven, cx: &mut Context<'_>) {
    // The end of a connection shows in what is waited for; polling it again would panic.
    if let Some(open) = connection
        && open.as_mut().poll(cx).is_ready()
    {
        *connection = None;
    }
}

impl Links {
    /// An idle connection that the server has not closed.
    pub(crate) async fn take(&self) -> Option<Link> {
        loop {
            let mut link = self.pop()?;
            // A closing that has arrived shows now.
            std::future::poll_fn(|cx| {
                link.drive(cx);
                Poll::Ready(())
            })
            .await;
            if link.connection.is_some() && link.sender.is_ready() {
                return Some(link);
            }
        }
    }

    fn pop(&self) -> Option<Link> {
        let thread = std::thread::current().id();
        let mut idle = self.0.lock();
        idle.retain(|idle| idle.since.elapsed() < IDLE_AGE);
        // The last was used last.
        let index = idle.iter().rposition(|idle| idle.thread == thread)?;
        Some(idle.remove(index).link)
    }

    /// Keeps a connection whose response has been read to its end.
    pub(crate) fn put(&self, link: Link) {
        let mut idle = self.0.lock();
        if idle.len() < IDLE_MAX && link.connection.is_some() && !link.sender.is_closed() {
            idle.push(Idle { link, since: Instant::now(), thread: std::thread::current().id() });
        }
    }
}

/// Connects to the first of `addresses` that answers.
///
/// # Errors
/// That of the last address.
pub(crate) async fn connect(addresses: &[std::net::SocketAddr]) -> io::Result<TcpStream> {
    let stream = TcpStream::connect(addresses).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}
