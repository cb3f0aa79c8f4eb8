//! Accepting connections, and stopping without losing what runs.

pub(crate) mod connection;
mod connections;
pub(crate) mod lingering;

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use axum::Router;
use bramble_provider::Body;
use bytes::Bytes;
use http::{Request, Response};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};

use tokio::net::{TcpListener, TcpStream};
use tower::ServiceExt;

use crate::api;
use crate::config::GatewayConfig;
use crate::cron;
use crate::invoke::{self, PREFIX};
use crate::queue;
use crate::ready::Phase;
use crate::scaling;
use crate::state::Gateway;

use connection::ConnectionTask;
use connections::Connections;
use lingering::Lingering;

/// Wait after a connection could not be accepted, as when the process is out of file descriptors.
const ACCEPT_RETRY: Duration = Duration::from_millis(50);

/// Where a gateway listens, its ports resolved.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Running {
    /// Functions and the API.
    pub listen: SocketAddr,
    /// `/metrics`.
    pub metrics_listen: SocketAddr,
}

/// Runs a gateway until `shutdown` resolves, and then until what runs has ended or
/// [`GatewayConfig::drain_timeout`] is over. Calls `ready` once requests are taken.
///
/// # Errors
/// A text that says what kept it from starting: a port in use, a data directory that cannot be used.
pub async fn run(
    config: GatewayConfig,
    ready: impl FnOnce(&Running) + Send,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> anyhow::Result<()> {
    // Ports first: a second gateway on one address should not wait for the store.
    let listener = bind(config.listen, "listen").await?;
    let metrics_listener = bind(config.metrics_listen, "metrics_listen").await?;
    let running = Running { listen: listener.local_addr()?, metrics_listen: metrics_listener.local_addr()? };
    let gateway = Gateway::open(config).await?;
    let connections = Connections::new();
    let main = Arc::new(Site {
        router: api::router(Arc::clone(&gateway)),
        gateway: Arc::clone(&gateway),
        functions: true,
    });
    let metrics = Arc::new(Site {
        router: api::metrics_router(Arc::clone(&gateway)),
        gateway: Arc::clone(&gateway),
        functions: false,
    });
    gateway.readiness.advance(Phase::Ready);
    tracing::info!(listen = %running.listen, metrics = %running.metrics_listen, "ready");
    ready(&running);
    let scaler = scaling::start(&gateway);
    let workers = queue::start(&gateway);
    let schedules = cron::start(&gateway);
    tokio::select! {
        () = shutdown => {}
        () = accept(&listener, &main, &connections) => {}
        () = accept(&metrics_listener, &metrics, &connections) => {}
    }
    // Nothing is scaled down while what runs comes to its end.
    drop((scaler, schedules));
    drain(&gateway, listener, metrics_listener, connections, workers).await;
    Ok(())
}

async fn drain(
    gateway: &Gateway,
    listener: TcpListener,
    metrics_listener: TcpListener,
    connections: Connections,
    mut workers: queue::Workers,
) {
    workers.stop();
    gateway.readiness.advance(Phase::Draining);
    drop((listener, metrics_listener));
    let timeout = gateway.config.drain_timeout;
    tracing::info!(?timeout, "draining");
    let drained = async {
        tokio::join!(connections.shutdown(), workers.drained());
        gateway.functions.settle().await;
    };
    match tokio::time::timeout(timeout, drained).await {
        Ok(()) => tracing::info!("stopped"),
        Err(_) => tracing::warn!(?timeout, "stopped with invocations still running"),
    }
    workers.flush().await;
}

async fn bind(address: SocketAddr, key: &str) -> anyhow::Result<TcpListener> {
    TcpListener::bind(address).await.with_context(|| {
        format!("cannot listen on {address} (set {key}): is another gateway or server running there?")
    })
}

/// What is served on one port.
struct Site {
    gateway: Arc<Gateway>,
    router: Router,
    /// Whether functions are invoked here.
    functions: bool,
}

async fn accept(listener: &TcpListener, site: &Arc<Site>, connections: &Connections) {
    // Told once for each time that it runs out, not once for each try.
    let mut failing = false;
    loop {
        match listener.accept().await {
            Ok((stream, peer)) => {
                failing = false;
                serve(stream, peer, Arc::clone(site), connections);
            }
            Err(error) => {
                if !std::mem::replace(&mut failing, true) {
                    tracing::warn!(%error, "a connection could not be accepted");
                }
                tokio::time::sleep(ACCEPT_RETRY).await;
            }
        }
    }
}

fn serve(stream: TcpStream, peer: SocketAddr, site: Arc<Site>, connections: &Connections) {
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "a connection keeps Nagle's algorithm");
    }
    let read_timeout = site.gateway.config.read_timeout;
    let shared = Arc::new(Connection { site, peer, task: ConnectionTask::default() });
    let own = Arc::clone(&shared);
    let service = service_fn(move |request| {
        let connection = Arc::clone(&own);
        async move { Ok::<_, Infallible>(connection.answer(request).await) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(read_timeout)
        .serve_connection(TokioIo::new(stream), service)
        .with_upgrades();
    let connection = connections.watch(connection);
    let task = tokio::spawn(async move {
        if let Err(error) = connection.await {
            tracing::debug!(%peer, %error, "a connection ended badly");
        }
    });
    shared.task.is(task.abort_handle());
}

/// One connection, as its requests share it.
struct Connection {
    site: Arc<Site>,
    peer: SocketAddr,
    task: ConnectionTask,
}

impl Connection {
    async fn answer(&self, request: Request<Incoming>) -> Response<Body> {
        let (site, request) = (&self.site, Lingering::wrap(request));
        if site.functions && request.uri().path().starts_with(PREFIX) {
            return invoke::invoke(&site.gateway, request, self.peer, &self.task).await;
        }
        // Boxed so that the router's large future does not sit in every connection.
        let answer: Pin<Box<dyn Future<Output = _> + Send>> = Box::pin(site.router.clone().oneshot(request));
        match answer.await {
            Ok(response) => response.map(|body| Body::stream(Bytes::new(), body)),
            Err(never) => match never {},
        }
    }
}
