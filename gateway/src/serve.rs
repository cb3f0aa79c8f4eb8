//! Accepting connections, and stopping without losing what runs.

pub(crate) mod connection;
mod connections;
pub(crate) mod cors;
pub(crate) mod lingering;
mod tls;

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
use crate::auth::guard::Peer;
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
use tls::Tls;

/// Wait after a connection could not be accepted, as when the process is out of file descriptors.
const ACCEPT_RETRY: Duration = Duration::from_millis(50);

/// Where a gateway listens, its ports resolved.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Running {
    /// Functions and the API.
    pub listen: SocketAddr,
    /// `/metrics`.
    pub metrics_listen: SocketAddr,
    /// Whether functions and the API are served over TLS.
    pub tls: bool,
}

/// Runs a gateway until `shutdown` resolves and [`GatewayConfig::drain_delay`] is over, and then until what runs has
/// ended or [`GatewayConfig::drain_timeout`] is over. Calls `ready` once requests are taken.
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
    let tls = Tls::open(&config)?;
    let running = Running {
        listen: listener.local_addr()?,
        metrics_listen: metrics_listener.local_addr()?,
        tls: tls.is_some(),
    };
    let gateway = Gateway::open(config).await?;
    let connections = Connections::new();
    let main = Arc::new(Site {
        router: api::router(Arc::clone(&gateway)),
        gateway: Arc::clone(&gateway),
        tls: tls.clone(),
        functions: true,
    });
    let metrics = Arc::new(Site {
        router: api::metrics_router(Arc::clone(&gateway)),
        gateway: Arc::clone(&gateway),
        // For the monitoring beside it, as health is: nothing secret is there, and nothing can be changed.
        tls: None,
        functions: false,
    });
    gateway.readiness.advance(Phase::Ready);
    tracing::info!(listen = %running.listen, metrics = %running.metrics_listen, "ready");
    ready(&running);
    let scaler = scaling::start(&gateway);
    let workers = queue::start(&gateway);
    let schedules = cron::start(&gateway);
    let renewals = async {
        match tls {
            Some(tls) => tls.follow().await,
            None => std::future::pending().await,
        }
    };
    let leaves = async {
        shutdown.await;
        leave(&gateway).await;
    };
    tokio::select! {
        () = leaves => {}
        () = renewals => {}
        () = accept(&listener, &main, &connections) => {}
        () = accept(&metrics_listener, &metrics, &connections) => {}
    }
    // Nothing is scaled down while what runs comes to its end.
    drop((scaler, schedules));
    drain(&gateway, listener, metrics_listener, connections, workers).await;
    Ok(())
}

/// Tells load balancers that the gateway is going, for as long as they may need to notice.
async fn leave(gateway: &Gateway) {
    let delay = gateway.config.drain_delay;
    if delay.is_zero() {
        return;
    }
    gateway.readiness.advance(Phase::Leaving);
    tracing::info!(?delay, "not ready any more; requests are taken a little longer");
    tokio::time::sleep(delay).await;
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
        gateway.changes.close();
        gateway.changes.wait().await;
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
    /// How to speak to clients, if not in the clear.
    tls: Option<Tls>,
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
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(read_timeout);
    let watch = connections.watch();
    let task = match shared.site.tls.clone() {
        None => {
            let connection = watch.over(http.serve_connection(TokioIo::new(stream), service).with_upgrades());
            tokio::spawn(async move { told(peer, connection.await) })
        }
        Some(tls) => tokio::spawn(async move {
            let mut watch = watch;
            let accepted = tokio::select! {
                accepted = tls.accept(stream, read_timeout) => accepted,
                () = watch.stopping() => return,
            };
            match accepted {
                Ok(stream) => {
                    let connection = http.serve_connection(TokioIo::new(stream), service).with_upgrades();
                    told(peer, watch.over(connection).await);
                }
                Err(error) => tracing::debug!(%peer, %error, "a client does not speak TLS"),
            }
        }),
    };
    shared.task.is(task.abort_handle());
}

fn told(peer: SocketAddr, ended: hyper::Result<()>) {
    if let Err(error) = ended {
        tracing::debug!(%peer, %error, "a connection ended badly");
    }
}

/// One connection, as its requests share it.
struct Connection {
    site: Arc<Site>,
    peer: SocketAddr,
    task: ConnectionTask,
}

impl Connection {
    async fn answer(&self, request: Request<Incoming>) -> Response<Body> {
        let site = &self.site;
        let origins = &site.gateway.config.cors_origins;
        if origins.is_empty() || !site.functions {
            return self.route(request).await;
        }
        let Some(allowed) = cors::allowed(origins, &request) else { return self.route(request).await };
        if let Some(preflight) = allowed.preflight(&request) {
            return preflight;
        }
        let mut response = self.route(request).await;
        allowed.name(response.headers_mut());
        response
    }

    async fn route(&self, request: Request<Incoming>) -> Response<Body> {
        let (site, request) = (&self.site, Lingering::wrap(request));
        if site.functions && request.uri().path().starts_with(PREFIX) {
            return invoke::invoke(&site.gateway, request, self.peer, &self.task).await;
        }
        let mut request = request;
        request.extensions_mut().insert(Peer(self.peer));
        // Boxed so that the router's large future does not sit in every connection.
        let answer: Pin<Box<dyn Future<Output = _> + Send>> = Box::pin(site.router.clone().oneshot(request));
        match answer.await {
            Ok(response) => response.map(|body| Body::stream(Bytes::new(), body)),
            Err(never) => match never {},
        }
    }
}
