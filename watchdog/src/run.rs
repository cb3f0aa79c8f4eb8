//! The watchdog's life: start, serve, drain, end.

use std::sync::Arc;
use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{mpsc, watch};
use tokio::time::timeout;

use crate::calls::Calls;
use crate::config::{Config, HttpSettings, Mode, Timeouts};
use crate::fork::Fork;
use crate::health::Health;
use crate::listen::{accept, listen, serve_metrics};
use crate::log::log;
use crate::metrics::Metrics;
use crate::orphans::Orphans;
use crate::service::{Handler, Service};
use crate::static_files::StaticFiles;
use crate::upstream::{Server, Upstream};
use crate::workers::Workers;

/// How long requests in flight are waited for when `write_timeout` sets no limit.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(30);
/// How long the function's own server may take to end.
const SERVER_STOP_TIMEOUT: Duration = Duration::from_secs(5);

/// SIGTERM and SIGINT.
struct Stops {
    term: Signal,
    interrupt: Signal,
}

/// Runs until it is told to stop and everything in flight has ended.
///
/// # Errors
/// What stopped the start, or that the function's own server ended.
pub(crate) async fn run(mut config: Config, workers: Arc<Workers>) -> Result<(), String> {
    let mut stops = Stops::new().map_err(|error| format!("cannot wait for signals: {error}"))?;
    let timeouts = config.timeouts;
    log!("Version: {}", env!("CARGO_PKG_VERSION"));
    log!("{}", describe_timeouts(&timeouts, config.healthcheck_interval));
    let metrics = Metrics::new().map_err(|error| error.to_string())?;
    let calls = Calls::new(config.max_inflight, metrics);
    let listener = listen_named("port", config.port)?;
    let metrics_listener = listen_named("metrics_port", config.metrics_port)?;
    log!("Listening on port: {}", port_of(&listener));
    log!("Metrics listening on port: {}.", port_of(&metrics_listener));
    tokio::spawn(serve_metrics(metrics_listener, Arc::clone(&calls)));

    let orphans = Orphans::adopt();
    let (handler, mut server) = start_handler(config.mode, timeouts, &orphans)?;
    let health = Health::new(config.lock.take());
    let (ready_path, debug_headers) = (config.ready_path, config.debug_headers);
    let service = Arc::new(Service { handler, calls, health, ready_path, debug_headers });
    let (stop, stopped) = watch::channel(false);
    let (open, mut all_closed) = mpsc::channel(1);
    let accepting = tokio::spawn(accept(listener, workers, Arc::clone(&service), timeouts, stopped, open));

    tokio::select! {
        serving = serve(&service) => return Err(serving),
        error = ended(&mut server) => return Err(error),
        () = stops.next() => {}
    }
    let patience = timeouts.write.unwrap_or(DRAIN_TIMEOUT);
    let drained = async {
        service.health.drain();
        log!(
            "SIGTERM received: serving for another {:?}, then waiting for requests in flight.",
            config.healthcheck_interval
        );
        // A second signal means now.
        let _ = timeout(config.healthcheck_interval, stops.next()).await;
        stop.send_replace(true);
        let _ = accepting.await;
        log!("No new connections, waiting for {} requests in flight.", service.calls.open());
        let closed = async {
            all_closed.recv().await;
            service.calls.all_ended().await;
        };
        if timeout(patience, closed).await.is_err() {
            log!("Giving up {} requests in flight after {patience:?}.", service.calls.open());
        }
    };
    tokio::select! {
        () = drained => {}
        error = ended(&mut server) => return Err(error),
    }
    if let Handler::Fork(fork) = &service.handler {
        fork.stop();
    }
    if let Some(server) = server {
        server.stop(SERVER_STOP_TIMEOUT).await;
    }
    log!("Exiting. Active requests: {}", service.calls.open());
    Ok(())
}

/// Says that requests are taken once they can be; returns only when that fails.
async fn serve(service: &Service) -> String {
    if let Handler::Http(upstream) = &service.handler {
        upstream.listening().await;
    }
    match service.health.accept() {
        Ok(()) => std::future::pending().await,
        Err(error) => {
            format!(
                "cannot write the lock file: {error}; set TMPDIR to a writable directory, or suppress_lock=true"
            )
        }
    }
}

/// Returns when the function's own server, if there is one, has ended.
async fn ended(server: &mut Option<Server>) -> String {
    match server {
        Some(server) => server.ended().await.to_string(),
        None => std::future::pending().await,
    }
}

fn start_handler(
    mode: Mode,
    timeouts: Timeouts,
    orphans: &Arc<Orphans>,
) -> Result<(Handler, Option<Server>), String> {
    Ok(match mode {
        Mode::Fork(settings) => (Handler::Fork(Fork::new(settings, timeouts, Arc::clone(orphans))), None),
        Mode::Http(settings) => {
            let upstream = Upstream::new(&settings, timeouts)?;
            let HttpSettings { words, search_path, line_style, .. } = settings;
            let server = Server::start(words, search_path, line_style, orphans)?;
            (Handler::Http(upstream), Some(server))
        }
        Mode::Static(root) => (Handler::Static(StaticFiles::new(root, timeouts.write)), None),
    })
}

fn listen_named(name: &str, port: u16) -> Result<tokio::net::TcpListener, String> {
    listen(port).map_err(|error| format!("{name}={port}: cannot listen: {error}"))
}

fn port_of(listener: &tokio::net::TcpListener) -> u16 {
    listener.local_addr().map_or(0, |address| address.port())
}

fn describe_timeouts(timeouts: &Timeouts, health: Duration) -> String {
    let seconds = |limit: Option<Duration>| limit.unwrap_or_default().as_secs_f64();
    let (read, write, hard) = (seconds(timeouts.read), seconds(timeouts.write), seconds(timeouts.exec));
    format!("Timeouts: read: {read}s write: {write}s hard: {hard}s health: {}s.", health.as_secs_f64())
}

impl Stops {
    fn new() -> std::io::Result<Self> {
        Ok(Self { term: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.term.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}
