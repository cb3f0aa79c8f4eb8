//! The agent itself: HTTP on the functions' network, for gateways that know the token.

use std::collections::HashMap;
use std::convert::Infallible;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream;
use http::header::{ALLOW, AUTHORIZATION, CONTENT_TYPE, HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{Method, Request, Response, StatusCode};
use http_body::Frame;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use parking_lot::Mutex;
use serde::Serialize;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, broadcast, watch};
use tokio::time::{Interval, MissedTickBehavior};
use tokio_util::task::TaskTracker;

use super::node::Node;
use super::protocol::{CONTAINERS_PATH, CPU_PATH, EVENTS_PATH, Event};
use super::token::{Token, TokenError};
use crate::docker::{Docker, DockerError, DockerHost};

/// Most connections at a time; more wait to be accepted.
const MAX_CONNECTIONS: usize = 256;
/// Most of them from one address: every function is on this network, and none is to keep gateways out.
const MAX_CONNECTIONS_EACH: u32 = 32;
/// Most streams of events at a time.
const MAX_LISTENERS: usize = 16;
/// Longest that a client may take to send its request.
const REQUEST_DEADLINE: Duration = Duration::from_secs(2);
/// Longest that Docker may take for what it is asked, as to pause a container; gateways wait a little longer.
const ANSWER_DEADLINE: Duration = Duration::from_secs(5);
/// Between two signs of life.
const HEARTBEAT: Duration = Duration::from_millis(250);
/// Longest wait for what runs when the agent is told to stop.
const DRAIN: Duration = Duration::from_secs(3);
/// Wait after the machine refused to accept a connection, as when files run out.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// What an agent is told when it starts.
#[derive(Debug, Clone)]
pub struct AgentConfig {
    /// Where it listens.
    pub listen: SocketAddr,
    /// The daemon of its node.
    pub docker: DockerHost,
    /// Holds the token that gateways show.
    pub token_file: PathBuf,
    /// The overlay network that functions are on.
    pub network: String,
}

/// Why an agent does not start.
#[derive(Debug, thiserror::Error)]
pub enum AgentError {
    /// Its token cannot be used.
    #[error(transparent)]
    Token(#[from] TokenError),
    /// The way to Docker cannot be prepared.
    #[error("{0}")]
    Docker(String),
    /// It cannot listen.
    #[error("cannot listen on {address}: {source}")]
    Listen {
        /// Where.
        address: SocketAddr,
        /// Why not.
        source: io::Error,
    },
}

/// An agent that listens already.
#[derive(Debug)]
pub struct Agent {
    listener: TcpListener,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    token: Token,
    node: Node,
    listeners: Arc<Semaphore>,
    /// How many connections each address has.
    guests: Mutex<HashMap<IpAddr, u32>>,
}

/// A connection that is counted, until it is dropped.
struct Guest {
    shared: Arc<Shared>,
    address: IpAddr,
}

impl Guest {
    /// None when its address has as many as one may.
    fn admit(shared: &Arc<Shared>, address: IpAddr) -> Option<Self> {
        let mut guests = shared.guests.lock();
        let count = guests.entry(address).or_default();
        if *count >= MAX_CONNECTIONS_EACH {
            return None;
        }
        *count += 1;
        Some(Self { shared: Arc::clone(shared), address })
    }
}

impl Drop for Guest {
    fn drop(&mut self) {
        let mut guests = self.shared.guests.lock();
        if let Some(count) = guests.get_mut(&self.address) {
            *count -= 1;
            if *count == 0 {
                guests.remove(&self.address);
            }
        }
    }
}

/// What a request asks for.
enum Asked<'r> {
    Events,
    Cpu,
    /// A container to be paused, or unpaused.
    Paused(&'r str, bool),
}

type AgentBody = UnsyncBoxBody<Bytes, Infallible>;

/// Runs an agent until `shutdown` resolves. Docker need not be there: it is waited for.
///
/// # Errors
/// [`AgentError`]
pub async fn serve_agent(config: AgentConfig, shutdown: impl Future<Output = ()>) -> Result<(), AgentError> {
    let agent = Agent::bind(config).await?;
    agent.serve(shutdown).await;
    Ok(())
}

impl Agent {
    /// Reads the token and begins to listen.
    ///
    /// # Errors
    /// [`AgentError`]
    pub async fn bind(config: AgentConfig) -> Result<Self, AgentError> {
        let token = Token::read(&config.token_file)?;
        let docker = Docker::new(&config.docker).map_err(AgentError::Docker)?;
        let address = config.listen;
        let listener = TcpListener::bind(address).await;
        let listener = listener.map_err(|source| AgentError::Listen { address, source })?;
        let node = Node::new(docker, config.network);
        let listeners = Arc::new(Semaphore::new(MAX_LISTENERS));
        Ok(Self { listener, shared: Arc::new(Shared { token, node, listeners, guests: Mutex::default() }) })
    }

    /// Where it listens.
    ///
    /// # Errors
    /// What the system says.
    pub fn local_address(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Serves until `shutdown` resolves; streams of events are then ended, and the rest gets 3 s.
    pub async fn serve(self, shutdown: impl Future<Output = ()>) {
        let Self { listener, shared } = self;
        let (stop, stopped) = watch::channel(());
        let places = Arc::new(Semaphore::new(MAX_CONNECTIONS));
        let connections = TaskTracker::new();
        let accept = async {
            loop {
                let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
                match listener.accept().await {
                    Ok((stream, peer)) => {
                        let Some(guest) = Guest::admit(&shared, peer.ip()) else { continue };
                        let shared = Arc::clone(&shared);
                        connections.spawn(connection(stream, shared, stopped.clone(), (place, guest)));
                    }
                    Err(error) => {
                        tracing::debug!(%error, "a connection was not accepted");
                        tokio::time::sleep(ACCEPT_PAUSE).await;
                    }
                }
            }
        };
        tokio::select! {
            () = shutdown => {}
            () = accept => {}
            () = shared.node.watch() => {}
        }
        drop(stop);
        connections.close();
        if tokio::time::timeout(DRAIN, connections.wait()).await.is_err() {
            tracing::warn!("stopped with requests that did not end");
        }
    }
}

/// One connection: one request, or a stream of events for as long as both sides are there.
async fn connection(
    stream: TcpStream,
    shared: Arc<Shared>,
    stopped: watch::Receiver<()>,
    _place: (OwnedSemaphorePermit, Guest),
) {
    // Only delays what is told.
    let _ = stream.set_nodelay(true);
    let service = service_fn(|request| {
        let (shared, stopped) = (Arc::clone(&shared), stopped.clone());
        async move { Ok::<_, Infallible>(shared.answer(request, stopped).await) }
    });
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(REQUEST_DEADLINE)
        .keep_alive(false)
        .max_buf_size(16 << 10)
        .serve_connection(TokioIo::new(stream), service);
    if let Err(error) = served.await {
        tracing::debug!(%error, "a connection ended badly");
    }
}

impl Shared {
    async fn answer<B>(&self, request: Request<B>, stopped: watch::Receiver<()>) -> Response<AgentBody> {
        if !self.token.is_in(request.headers().get(AUTHORIZATION)) {
            let mut refusal =
                plain(StatusCode::UNAUTHORIZED, "show the agents' token: Authorization: Bearer TOKEN");
            refusal.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
            return refusal;
        }
        let path = request.uri().path();
        let asked = match path.strip_prefix(CONTAINERS_PATH).and_then(|rest| rest.split_once('/')) {
            _ if path == EVENTS_PATH => Asked::Events,
            _ if path == CPU_PATH => Asked::Cpu,
            Some((container, "pause")) => Asked::Paused(container, true),
            Some((container, "unpause")) => Asked::Paused(container, false),
            _ => return plain(StatusCode::NOT_FOUND, "no such path"),
        };
        let method = match asked {
            Asked::Events | Asked::Cpu => Method::GET,
            Asked::Paused(..) => Method::POST,
        };
        if request.method() != method {
            let mut refusal = plain(StatusCode::METHOD_NOT_ALLOWED, "use another method");
            let allowed = HeaderValue::try_from(method.as_str());
            refusal.headers_mut().insert(ALLOW, allowed.unwrap_or(HeaderValue::from_static("GET")));
            return refusal;
        }
        let done = async {
            match asked {
                Asked::Events => Ok(self.events(stopped).await),
                Asked::Cpu => self.node.cpu_times().await.map(|times| json(&times)),
                Asked::Paused(container, paused) => {
                    self.node.set_paused(container, paused).await.map(|()| plain(StatusCode::NO_CONTENT, ""))
                }
            }
        };
        match tokio::time::timeout(ANSWER_DEADLINE, done).await {
            Ok(Ok(response)) => response,
            Ok(Err(error)) => failed(&error),
            Err(_) => plain(StatusCode::SERVICE_UNAVAILABLE, "Docker did not answer in time"),
        }
    }

    async fn events(&self, stopped: watch::Receiver<()>) -> Response<AgentBody> {
        let Ok(place) = Arc::clone(&self.listeners).try_acquire_owned() else {
            return plain(StatusCode::TOO_MANY_REQUESTS, "as many gateways listen as may");
        };
        let (hello, events) = match self.node.listen().await {
            Ok(listening) => listening,
            Err(error) => return failed(&error),
        };
        let mut heartbeat = tokio::time::interval(HEARTBEAT);
        heartbeat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let told =
            Told { hello: Some(hello), events, heartbeat, beat: Event::Beat.line(), stopped, _place: place };
        let lines = stream::unfold(told, async |mut told| {
            let line = told.next().await?;
            Some((Ok::<_, Infallible>(Frame::data(line)), told))
        });
        let mut response = Response::new(BodyExt::boxed_unsync(StreamBody::new(lines)));
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/x-ndjson"));
        response
    }
}

/// What one listener is told.
struct Told {
    hello: Option<Bytes>,
    events: broadcast::Receiver<Bytes>,
    heartbeat: Interval,
    beat: Bytes,
    stopped: watch::Receiver<()>,
    _place: OwnedSemaphorePermit,
}

impl Told {
    /// The next line; none when Docker is away, the listener is too slow, or the agent stops.
    async fn next(&mut self) -> Option<Bytes> {
        if let Some(hello) = self.hello.take() {
            return Some(hello);
        }
        let mut stopped = pin!(self.stopped.changed());
        tokio::select! {
            event = self.events.recv() => event.ok(),
            _ = self.heartbeat.tick() => Some(self.beat.clone()),
            _ = &mut stopped => None,
        }
    }
}

fn failed(error: &DockerError) -> Response<AgentBody> {
    let status = match error {
        DockerError::NotFound(_) => StatusCode::NOT_FOUND,
        DockerError::Refused { status, .. } => {
            StatusCode::from_u16(*status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
        }
        DockerError::OutOfSequence(_) => StatusCode::CONFLICT,
        DockerError::NoManager(_) | DockerError::Unreachable(_) => StatusCode::SERVICE_UNAVAILABLE,
    };
    plain(status, &error.to_string())
}

fn json(document: &impl Serialize) -> Response<AgentBody> {
    let text = serde_json::to_vec(document).unwrap_or_default();
    let mut response = Response::new(Full::new(Bytes::from(text)).boxed_unsync());
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

fn plain(status: StatusCode, text: &str) -> Response<AgentBody> {
    let mut response = Response::new(Full::new(Bytes::copy_from_slice(text.as_bytes())).boxed_unsync());
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    if status == StatusCode::SERVICE_UNAVAILABLE || status == StatusCode::TOO_MANY_REQUESTS {
        response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("1"));
    }
    response
}
