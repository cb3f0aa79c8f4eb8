//! One agent, as the gateway sees it: its stream of events, and what it is asked to do.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use bramble_provider::{Body, FunctionName};
use bytes::Bytes;
use http::header::{AUTHORIZATION, HOST};
use http::{HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Limited};
use parking_lot::Mutex;

use super::protocol::{CONTAINERS_PATH, CPU_PATH, CpuTimes, EVENTS_PATH, Event, Lines, MAX_CPU_BYTES};
use super::silence::{LONGEST_SILENCE, Silence};
use crate::core::Core;
use crate::docker::DockerError;
use crate::function::{Function, Started};
use crate::upstream::{SendError, Upstream};

/// Tries to be told again: soon first.
const FIRST_RETRY: Duration = Duration::from_millis(50);
const LONGEST_RETRY: Duration = Duration::from_secs(2);
/// Longest wait for a container to be paused or unpaused, which takes 10 ms, or its CPU time to be read.
const CALL_DEADLINE: Duration = Duration::from_secs(6);
/// When one node is lost: the silence of all agents that is no chance.
const ALL_SILENT: Duration = Duration::from_millis(700);
/// Longest wait for the node of a silent agent to take a connection.
const PING_PATIENCE: Duration = Duration::from_millis(600);
/// Most that is read of a refusal.
const MAX_REFUSAL_BYTES: usize = 4 << 10;

/// The agent of another node.
#[derive(Debug)]
pub(super) struct RemoteAgent {
    node: Arc<str>,
    upstream: Upstream,
    authorization: HeaderValue,
    connected: AtomicBool,
    heard: Mutex<Instant>,
}

/// How a stream of events ended.
#[derive(Debug, thiserror::Error)]
enum Ended {
    #[error("its stream ended")]
    InOrder,
    #[error("it answered {0}: {1}")]
    Refused(StatusCode, String),
    #[error("it is the agent of node {0}; does each agent use its own node's Docker socket?")]
    OtherNode(String),
    #[error("{0}")]
    Broken(String),
    #[error("it is silent")]
    Silent,
}

impl RemoteAgent {
    pub(super) fn new(node: Arc<str>, upstream: Upstream, authorization: HeaderValue) -> Self {
        Self {
            node,
            upstream,
            authorization,
            connected: AtomicBool::new(false),
            heard: Mutex::new(Instant::now()),
        }
    }

    /// Whether it tells its events.
    pub(super) fn is_connected(&self) -> bool {
        self.connected.load(Ordering::Relaxed)
    }

    /// How long ago it gave a sign of life.
    pub(super) fn silent_for(&self) -> Duration {
        self.heard.lock().elapsed()
    }

    /// Pauses or unpauses a container of its node.
    ///
    /// # Errors
    /// [`DockerError`], as the node's own Docker would give it.
    pub(super) async fn set_paused(&self, container: &str, paused: bool) -> Result<(), DockerError> {
        let verb = if paused { "pause" } else { "unpause" };
        let path = format!("{CONTAINERS_PATH}{container}/{verb}");
        self.call(Method::POST, &path, &format!("{verb} a container")).await.map(drop)
    }

    /// The CPU time of its node's containers, in nanoseconds by their ids: of the functions that are scaled by it.
    ///
    /// # Errors
    /// [`DockerError`], as the node's own Docker would give it.
    pub(super) async fn cpu_nanos(&self) -> Result<HashMap<String, u64>, DockerError> {
        let told = self.call(Method::GET, CPU_PATH, "read CPU times").await?;
        let times = serde_json::from_slice::<CpuTimes>(&told).map_err(|error| {
            DockerError::Unreachable(format!("the agent of node {} told no CPU times: {error}", self.node))
        })?;
        Ok(times.nanos)
    }

    /// Has something done, and answers what was told.
    async fn call(&self, method: Method, path: &str, task: &str) -> Result<Bytes, DockerError> {
        let asked = async {
            let response = self.send(method, path).await.map_err(|error| error.to_string())?;
            let status = response.status();
            if !status.is_success() {
                return Ok((status, Bytes::new(), text(response).await));
            }
            let told = Limited::new(response.into_body(), MAX_CPU_BYTES).collect().await;
            let told = told.map_err(|error| error.to_string())?.to_bytes();
            Ok::<_, String>((status, told, String::new()))
        };
        let unreachable = |reason| {
            DockerError::Unreachable(format!("the agent of node {} cannot {task}: {reason}", self.node))
        };
        match tokio::time::timeout(CALL_DEADLINE, asked).await {
            Ok(Ok((status, told, _))) if status.is_success() => Ok(told),
            Ok(Ok((StatusCode::NOT_FOUND, _, message))) => Err(DockerError::NotFound(message)),
            Ok(Ok((StatusCode::SERVICE_UNAVAILABLE | StatusCode::UNAUTHORIZED, _, message))) => {
                Err(unreachable(message))
            }
            Ok(Ok((status, _, message))) => Err(DockerError::Refused { status: status.as_u16(), message }),
            Ok(Err(reason)) => Err(unreachable(reason)),
            Err(_) => Err(unreachable(format!("no answer within {CALL_DEADLINE:?}"))),
        }
    }

    /// Listens for as long as the future is polled, and tells the functions what it hears.
    pub(super) async fn follow(&self, core: &Arc<Core>) {
        let (mut silence, mut retry) = (Silence::default(), FIRST_RETRY);
        let mut told = String::new();
        loop {
            let ended = self.listen(core, &mut silence, &mut told).await;
            let was_connected = self.connected.swap(false, Ordering::Relaxed);
            if was_connected {
                retry = FIRST_RETRY;
                core.look_now();
            }
            match &ended {
                Ended::InOrder | Ended::Refused(..) | Ended::OtherNode(_) => silence.took_leave(),
                Ended::Broken(_) | Ended::Silent => {}
            }
            if silence.is_lost(Instant::now()) {
                if self.is_within_reach(core).await {
                    tracing::debug!(node = %self.node, "the agent of a node is silent, the node is there");
                    silence.heard(Instant::now());
                    continue;
                }
                tracing::warn!(node = %self.node, "the agent of a node fell silent; its replicas are asked anew");
                told = Ended::Silent.to_string();
                self.lose(core);
                // At once, or who was told of this node's loss would be sent to the next that is lost.
                for other in core.agents.all_silent_for(ALL_SILENT).unwrap_or_default() {
                    other.lose(core);
                }
            }
            let reason = ended.to_string();
            if matches!(ended, Ended::Refused(..) | Ended::OtherNode(_)) && told != reason {
                tracing::warn!(node = %self.node, reason, "the agent of a node is of no use");
                told = reason;
            } else {
                tracing::debug!(node = %self.node, reason, "not told by the agent of a node");
            }
            let left = silence.left(Instant::now());
            tokio::time::sleep(left.map_or(retry, |left| retry.min(left))).await;
            retry = (retry * 2).min(LONGEST_RETRY);
        }
    }

    async fn listen(&self, core: &Arc<Core>, silence: &mut Silence, told: &mut String) -> Ended {
        let patience = silence.left(Instant::now()).unwrap_or(LONGEST_SILENCE);
        let response = match tokio::time::timeout(patience, self.send(Method::GET, EVENTS_PATH)).await {
            Err(_) => return Ended::Silent,
            Ok(Err(error)) => return Ended::Broken(error.to_string()),
            Ok(Ok(response)) if response.status() == StatusCode::OK => response,
            Ok(Ok(response)) => return Ended::Refused(response.status(), text(response).await),
        };
        let (mut body, mut lines) = (response.into_body(), Lines::default());
        loop {
            let patience = silence.left(Instant::now()).unwrap_or(LONGEST_SILENCE);
            let frame = match tokio::time::timeout(patience, body.frame()).await {
                Err(_) => return Ended::Silent,
                Ok(None) => return Ended::InOrder,
                Ok(Some(Err(error))) => return Ended::Broken(error.to_string()),
                Ok(Some(Ok(frame))) => frame,
            };
            let Ok(bytes) = frame.into_data() else { continue };
            if let Err(error) = lines.push(&bytes) {
                return Ended::Broken(error.to_string());
            }
            loop {
                match lines.next() {
                    Ok(None) => break,
                    Ok(Some(Event::Hello { node, .. })) if *node != *self.node => {
                        return Ended::OtherNode(node);
                    }
                    Ok(Some(event)) => {
                        if let Event::Hello { version, paused, .. } = &event {
                            if told.is_empty() {
                                tracing::debug!(node = %self.node, version, paused = paused.len(), "the agent of a node tells its events");
                            } else {
                                tracing::info!(node = %self.node, version, "the agent of a node is back");
                            }
                            told.clear();
                            self.connected.store(true, Ordering::Relaxed);
                        }
                        hear(core, &self.node, event);
                        silence.heard(Instant::now());
                        *self.heard.lock() = Instant::now();
                    }
                    Err(error) => return Ended::Broken(error.to_string()),
                }
            }
        }
    }

    async fn send(&self, method: Method, path: &str) -> Result<Response<Body>, SendError> {
        let mut request = Request::new(Body::empty());
        *request.method_mut() = method;
        // A container's id has only characters that a path may have.
        *request.uri_mut() = path.parse().unwrap_or_default();
        request.headers_mut().insert(HOST, HeaderValue::from_static("agent"));
        request.headers_mut().insert(AUTHORIZATION, self.authorization.clone());
        self.upstream.send(request).await
    }

    /// Whether the node answers, although its agent does not: a machine with much to do is not lost.
    async fn is_within_reach(&self, core: &Core) -> bool {
        let of_node = core.functions.iter().find_map(|function| {
            function.replicas().iter().find(|replica| *replica.node == *self.node).cloned()
        });
        let agent = self.upstream.is_within_reach(PING_PATIENCE);
        let replica = async {
            match of_node {
                Some(replica) => replica.is_within_reach(PING_PATIENCE).await,
                None => false,
            }
        };
        let (agent, replica) = tokio::join!(agent, replica);
        agent || replica
    }

    /// The node is taken for lost. That it is wrong costs what runs there, and one probe of each replica.
    fn lose(&self, core: &Arc<Core>) {
        for function in &core.functions {
            for replica in function.replicas().iter().filter(|replica| *replica.node == *self.node) {
                // A frozen one is not believed to be there either; the next hello tells of it again.
                core.set_paused(&replica.container, false);
            }
        }
        core.lost_node(&self.node);
        core.look_now();
    }
}

/// Does what an event asks for. All of it is idempotent: Docker's own events may have told it before.
fn hear(core: &Arc<Core>, node: &Arc<str>, event: Event) {
    match event {
        Event::Hello { paused, .. } => {
            learn_paused(core, node, &paused);
            // What happened since the last stream is not told.
            core.look_now();
        }
        Event::Start { function, task, container, address } => {
            let Some(function) = by_name(core, &function) else { return };
            let (task, container) = (task.into(), container.into());
            function.started(core, Started { task, node: Arc::clone(node), container, overlay: address });
            if address.is_none() {
                core.look_now();
            }
        }
        Event::Die { function, task, container } => {
            core.set_paused(&container.into(), false);
            let Some(function) = by_name(core, &function) else { return };
            function.died(&task);
            core.look_now();
        }
        Event::Pause { function, container, .. } => {
            let Some(function) = by_name(core, &function) else { return };
            core.saw_paused(&function, &container, true);
        }
        Event::Unpause { function, container, .. } => {
            let Some(function) = by_name(core, &function) else { return };
            core.saw_paused(&function, &container, false);
        }
        Event::Beat | Event::Other => {}
    }
}

/// Takes in which containers of a node are paused, and that the others are not.
fn learn_paused(core: &Arc<Core>, node: &str, paused: &[String]) {
    for container in paused {
        core.set_paused(&container.as_str().into(), true);
    }
    let paused: HashSet<&str> = paused.iter().map(String::as_str).collect();
    for function in &core.functions {
        for replica in function.replicas().iter().filter(|replica| *replica.node == *node) {
            core.saw_paused(&function, &replica.container, paused.contains(&*replica.container));
        }
    }
}

fn by_name(core: &Core, name: &str) -> Option<Arc<Function>> {
    core.function(&FunctionName::parse(name).ok()?).ok()
}

/// What a refusal says, as far as it is short and comes soon.
async fn text(response: Response<Body>) -> String {
    let body = Limited::new(response.into_body(), MAX_REFUSAL_BYTES).collect();
    let body = tokio::time::timeout(LONGEST_SILENCE, body).await.ok().and_then(Result::ok);
    body.map(|body| String::from_utf8_lossy(&body.to_bytes()).into_owned()).unwrap_or_default()
}
