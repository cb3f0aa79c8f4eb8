//! Listening sockets, and the connections that come from them.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream as StdTcpStream};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use rustix::net::sockopt;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, watch};

use crate::calls::Calls;
use crate::config::Timeouts;
use crate::log::log;
use crate::payload::{Payload, plain};
use crate::service::Service;
use crate::upstream::asks_for_upgrade;
use crate::workers::Workers;

/// Connections that the kernel keeps for us.
const BACKLOG: u32 = 1_024;
/// Most of a request's head, and of what is buffered of a body.
const BUFFER_BYTES: usize = 64 << 10;
/// File descriptors that a request may need: its connection, three pipes, a process.
const FILES_PER_REQUEST: u64 = 6;
/// Pause after a connection could not be taken: the process is out of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(20);
/// Silence after which the other side is asked whether it is still there.
const KEEPALIVE: Duration = Duration::from_secs(30);
/// How long an idle connection is kept after the end began; answers meanwhile say that it closes.
const LINGER: Duration = Duration::from_millis(200);
/// Time for one request to the metrics.
const METRICS_TIMEOUT: Duration = Duration::from_millis(500);

/// A connection's place among those that there may be; given back when the last clone is dropped. Those that
/// are taken after the end began have none.
#[derive(Debug, Clone)]
pub(crate) struct Place {
    _permit: Option<Arc<OwnedSemaphorePermit>>,
}

/// Listens on `port` of every address, both of IPv6 and of IPv4.
///
/// # Errors
/// What the kernel says.
pub(crate) fn listen(port: u16) -> io::Result<TcpListener> {
    let v6 = TcpSocket::new_v6().and_then(|socket| {
        sockopt::set_ipv6_v6only(&socket, false)?;
        bind(socket, (Ipv6Addr::UNSPECIFIED, port).into())
    });
    match v6 {
        Err(error) if error.kind() != io::ErrorKind::AddrInUse => {
            // No IPv6 here.
            bind(TcpSocket::new_v4()?, (Ipv4Addr::UNSPECIFIED, port).into())
        }
        listener => listener,
    }
}

fn bind(socket: TcpSocket, address: SocketAddr) -> io::Result<TcpListener> {
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// Takes connections until `stop`, and then those that the kernel has already accepted for us.
///
/// Each connection holds a clone of `open`.
pub(crate) async fn accept(
    listener: TcpListener,
    workers: Arc<Workers>,
    service: Arc<Service>,
    timeouts: Timeouts,
    mut stop: watch::Receiver<bool>,
    open: mpsc::Sender<()>,
) {
    let places = Arc::new(Semaphore::new(connections_max()));
    let serve = |stream: StdTcpStream, stop: watch::Receiver<bool>, place: Option<OwnedSemaphorePermit>| {
        let (service, open) = (Arc::clone(&service), open.clone());
        let place = Place { _permit: place.map(Arc::new) };
        workers.spawn(async move {
            serve_connection(stream, service, timeouts, stop, place).await;
            drop(open);
        });
    };
    while !*stop.borrow() {
        let next = async {
            // Never closed.
            let place = Arc::clone(&places).acquire_owned().await.ok();
            (listener.accept().await.and_then(|(stream, _)| stream.into_std()), place)
        };
        tokio::select! {
            // The end does not wait for a place.
            _ = stop.changed() => {}
            (accepted, place) = next => match accepted {
                Ok(stream) => serve(stream, stop.clone(), place),
                Err(error) => {
                    log!("Cannot take a connection: {error}");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            },
        }
    }
    for stream in take_waiting(listener) {
        serve(stream, stop.clone(), None);
    }
}

/// Closes the socket, after taking the connections that wait in its queue: they would be reset.
///
/// One that arrives between the last look and the closing is lost; no server can help that. A queue of
/// length 0, where the kernel keeps one, leaves room for no more than that.
fn take_waiting(listener: TcpListener) -> Vec<StdTcpStream> {
    let Ok(listener) = listener.into_std() else { return Vec::new() };
    let _ = rustix::net::listen(&listener, 0);
    let mut waiting = Vec::new();
    while let Ok((stream, _)) = listener.accept() {
        waiting.push(stream);
    }
    drop(listener);
    waiting.retain(|stream| stream.set_nonblocking(true).is_ok());
    waiting
}

/// As many connections as there are file descriptors for.
fn connections_max() -> usize {
    let files = rustix::process::getrlimit(rustix::process::Resource::Nofile).current.unwrap_or(u64::MAX);
    usize::try_from(files / FILES_PER_REQUEST).unwrap_or(usize::MAX).clamp(16, 8_192)
}

async fn serve_connection(
    stream: StdTcpStream,
    service: Arc<Service>,
    timeouts: Timeouts,
    mut stop: watch::Receiver<bool>,
    place: Place,
) {
    let Ok(stream) = TcpStream::from_std(stream) else { return };
    // No failure here makes the connection worse than it was.
    let _ = stream.set_nodelay(true);
    // An upgraded connection may be silent for as long as it likes, but not without anyone there.
    let _ = sockopt::set_socket_keepalive(&stream, true)
        .and_then(|()| sockopt::set_tcp_keepidle(&stream, KEEPALIVE));
    if let Some(millis) = timeouts.write.and_then(|timeout| u32::try_from(timeout.as_millis()).ok()) {
        // A client that takes nothing for so long is gone.
        let _ = sockopt::set_tcp_user_timeout(&stream, millis);
    }
    let answer = service_fn(move |mut request: Request<Incoming>| {
        // What it becomes outlives the serving here.
        if asks_for_upgrade(request.headers()) {
            request.extensions_mut().insert(place.clone());
        }
        Arc::clone(&service).answer(request)
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(timeouts.read)
        .max_buf_size(BUFFER_BYTES)
        .serve_connection(TokioIo::new(stream), answer)
        .with_upgrades();
    let mut connection = pin!(connection);
    // The server closes an idle connection at once: a request that is on its way then would be lost.
    let lingered = async {
        let _ = stop.wait_for(|stop| *stop).await;
        tokio::time::sleep(LINGER).await;
    };
    tokio::select! {
        // First, so that a request that has arrived is seen before the connection is closed.
        biased;
        // A failure is the client's: it left, or spoke something else than HTTP.
        _ = connection.as_mut() => return,
        () = lingered => connection.as_mut().graceful_shutdown(),
    }
    let _ = connection.await;
}

/// Serves the metrics for as long as the watchdog runs.
pub(crate) async fn serve_metrics(listener: TcpListener, calls: Arc<Calls>) {
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            tokio::time::sleep(ACCEPT_PAUSE).await;
            continue;
        };
        let calls = Arc::clone(&calls);
        tokio::spawn(async move {
            let answer = service_fn(|request| {
                let response = metrics(&request, &calls);
                async move { Ok::<_, std::convert::Infallible>(response) }
            });
            let _ = http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(METRICS_TIMEOUT)
                .max_buf_size(BUFFER_BYTES)
                .serve_connection(TokioIo::new(stream), answer)
                .await;
        });
    }
}

fn metrics<B>(request: &Request<B>, calls: &Calls) -> Response<Payload> {
    match (request.method(), request.uri().path()) {
        (&Method::GET | &Method::HEAD, "/metrics") => plain(StatusCode::OK, calls.metrics().render()),
        (_, "/metrics") => plain(StatusCode::METHOD_NOT_ALLOWED, ""),
        _ => plain(StatusCode::NOT_FOUND, "404 page not found\n"),
    }
}
