//! Replicas made of raw sockets, so that each can be as odd as the test needs.

mod faults;
mod namespace;
mod reuse;
mod streams;

use std::future::Future;
use std::net::SocketAddr;
use std::time::Duration;

use bramble_provider::{Body, BodyError};
use bytes::Bytes;
use http::{Request, Response};
use http_body::Frame;
use http_body_util::{BodyExt, StreamBody};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;

use super::{Address, Dialer, Path, SendError, Upstream};

/// Far more than anything here takes.
const LIMIT: Duration = Duration::from_secs(10);

/// A response of two bytes.
const OK: &str = "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";

/// Fails a test that waits for what does not come.
async fn within<T>(what: &str, work: impl Future<Output = T>) -> T {
    tokio::time::timeout(LIMIT, work).await.unwrap_or_else(|_| panic!("waited too long for {what}"))
}

/// A place for a replica, and the way there.
async fn replica() -> (TcpListener, Upstream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let upstream = to(listener.local_addr().unwrap());
    (listener, upstream)
}

fn to(socket: SocketAddr) -> Upstream {
    Upstream::new(Address { socket, path: Path::Direct }, Dialer::default())
}

/// An address where nobody listens.
async fn nobody_there() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap()
}

fn post(body: Body) -> Request<Body> {
    Request::post("/").header("host", "replica").body(body).unwrap()
}

fn whole(text: &'static str) -> Body {
    Body::whole(Bytes::from_static(text.as_bytes()))
}

/// A body whose pieces are sent one by one.
fn streamed() -> (mpsc::Sender<Result<&'static str, &'static str>>, Body) {
    let (sender, pieces) = mpsc::channel(1);
    let pieces = futures_util::stream::unfold(pieces, async |mut pieces: mpsc::Receiver<_>| {
        let piece: Result<&str, &str> = pieces.recv().await?;
        let frame = piece.map(|text| Frame::data(Bytes::from(text)));
        Some((frame.map_err(BodyError::from), pieces))
    });
    (sender, Body::stream(Bytes::new(), StreamBody::new(pieces)))
}

async fn text(response: Response<Body>) -> String {
    let bytes = within("the body", response.into_body().collect()).await.unwrap().to_bytes();
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// The next piece of a streamed body, as text.
async fn piece(body: &mut Body) -> String {
    let frame = within("a frame", body.frame()).await.expect("the body ended").unwrap();
    String::from_utf8(frame.into_data().unwrap().to_vec()).unwrap()
}

/// The replica's side of one connection.
struct Peer {
    stream: TcpStream,
    read: Vec<u8>,
}

impl Peer {
    async fn accept(listener: &TcpListener) -> Self {
        let (stream, _) = within("a connection", listener.accept()).await.unwrap();
        // Else the second of two small writes waits for the first to be acknowledged.
        stream.set_nodelay(true).unwrap();
        Self { stream, read: Vec::new() }
    }

    /// Reads up to and with `end`; `None` when the connection ends before.
    async fn until(&mut self, end: &str) -> Option<String> {
        loop {
            let found = self.read.windows(end.len()).position(|window| window == end.as_bytes());
            if let Some(at) = found {
                let rest = self.read.split_off(at + end.len());
                return Some(String::from_utf8(std::mem::replace(&mut self.read, rest)).unwrap());
            }
            match within(end, self.stream.read_buf(&mut self.read)).await {
                Ok(length) if length > 0 => {}
                _ => return None,
            }
        }
    }

    async fn head(&mut self) -> Option<String> {
        self.until("\r\n\r\n").await
    }

    async fn write(&mut self, text: &str) {
        self.stream.write_all(text.as_bytes()).await.unwrap();
    }

    /// Waits until the other side has closed.
    async fn closed(&mut self) {
        within("the connection's end", async {
            while matches!(self.stream.read_buf(&mut self.read).await, Ok(length) if length > 0) {}
        })
        .await;
    }
}

/// Answers every request with [`OK`] until its client is gone.
async fn answer_ok(mut peer: Peer) {
    while peer.head().await.is_some() {
        peer.write(OK).await;
    }
}
