//! The agents of the nodes: finding them, and reaching the one of a node.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::task::AbortHandle;

use super::client::RemoteAgent;
use super::token::Token;
use super::{AGENT_LABEL, AGENT_PORT, service};
use crate::config::SwarmConfig;
use crate::core::{Core, Link, Up};
use crate::docker::{DockerError, TaskState};
use crate::network::Door;
use crate::upstream::{Address, Path, Upstream};

/// Between two looks for agents.
const LOOK: Duration = Duration::from_secs(2);
/// While Docker is away: its return is to be noticed.
const LOOK_FOR_DOCKER: Duration = Duration::from_millis(250);
/// Between two tries to make the agents' service.
const SERVICE_RETRY: Duration = Duration::from_secs(15);

/// The agents of the nodes.
#[derive(Debug)]
pub(crate) struct Agents {
    /// None when there are no agents.
    token: Option<Token>,
    known: Mutex<HashMap<Arc<str>, Known>>,
}

/// An agent that the Swarm knows.
#[derive(Debug)]
struct Known {
    way: Way,
    agent: Arc<RemoteAgent>,
    _following: Following,
}

/// What has to stay the same for a connection to go on.
#[derive(Debug, PartialEq, Eq)]
struct Way {
    container: Arc<str>,
    ip: IpAddr,
    /// Through which container's namespace.
    door: Option<Arc<str>>,
}

/// The work of listening, which ends with this.
#[derive(Debug)]
struct Following(AbortHandle);

impl Drop for Following {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Agents {
    /// Reads the token, or makes it.
    ///
    /// # Errors
    /// A text that names the token's file.
    pub(crate) fn new(config: &SwarmConfig) -> Result<Self, String> {
        let token = super::token(config).map_err(|error| error.to_string())?;
        Ok(Self { token, known: Mutex::default() })
    }

    /// Pauses a container of another node.
    ///
    /// # Errors
    /// [`DockerError`]
    pub(crate) async fn pause(&self, node: &str, container: &str) -> Result<(), DockerError> {
        self.of(node)?.set_paused(container, true).await
    }

    /// Unpauses a container of another node.
    ///
    /// # Errors
    /// [`DockerError`]
    pub(crate) async fn unpause(&self, node: &str, container: &str) -> Result<(), DockerError> {
        self.of(node)?.set_paused(container, false).await
    }

    /// The CPU time of another node's containers, in nanoseconds by their ids: of the functions that are scaled by it.
    ///
    /// # Errors
    /// [`DockerError`]
    pub(crate) async fn cpu_nanos(&self, node: &str) -> Result<HashMap<String, u64>, DockerError> {
        self.of(node)?.cpu_nanos().await
    }

    /// Whether there is an agent to be asked.
    pub(crate) fn any(&self) -> bool {
        self.known.lock().values().any(|known| known.agent.is_connected())
    }

    /// Whether every node but our own tells what happens there, of so many nodes.
    pub(crate) fn cover(&self, nodes: usize) -> bool {
        let known = self.known.lock();
        known.len() + 1 >= nodes && known.values().all(|known| known.agent.is_connected())
    }

    /// All agents, when none gave a sign of life for so long: then it is the way to them that is lost.
    pub(super) fn all_silent_for(&self, silence: Duration) -> Option<Vec<Arc<RemoteAgent>>> {
        let known = self.known.lock();
        let agents: Vec<_> = known.values().map(|known| Arc::clone(&known.agent)).collect();
        agents.iter().all(|agent| agent.silent_for() >= silence).then_some(agents)
    }

    /// The agent of a node, while it is there: who waits for a replica has no time for one that is not.
    fn of(&self, node: &str) -> Result<Arc<RemoteAgent>, DockerError> {
        let found = self.known.lock().get(node).map(|known| Arc::clone(&known.agent));
        found.filter(|agent| agent.is_connected()).ok_or_else(|| {
            let way_out = match self.token {
                Some(_) => "see `docker service ps bramble-agent`",
                None => "run one on every node with --agent-image",
            };
            DockerError::Unreachable(format!("no agent answers on node {node}; {way_out}"))
        })
    }
}

/// Keeps the agents' service and the connections to the agents, for as long as the future is polled.
/// Agents go on being heard while our own Docker is away.
pub(crate) async fn keep(core: Arc<Core>) {
    let Some(token) = core.agents.token.clone() else { return };
    let mut seen = None;
    let mut service_at = Instant::now();
    let mut told = String::new();
    loop {
        let link = core.link();
        let Link::Up(up) = &*link else {
            tokio::time::sleep(LOOK_FOR_DOCKER).await;
            continue;
        };
        if !seen.replace(Arc::clone(&link)).is_some_and(|before| Arc::ptr_eq(&before, &link)) {
            service_at = Instant::now();
        }
        let found = look(&core, up, &token).await;
        let missing = matches!(found, Ok(0));
        if let Err(error) = found {
            tracing::debug!(%error, "did not look for agents");
        }
        if let Some(image) = &core.config.agent_image
            && Instant::now() >= service_at
        {
            match service::keep(&core, image, &token).await {
                // Made for this connection, and looked after again when there is none.
                Ok(()) => told.clear(),
                Err(reason) => {
                    let reason = reason.to_string();
                    if told != reason {
                        tracing::warn!(reason, image, "the agents' service cannot be made");
                        told = reason;
                    }
                }
            }
            service_at = Instant::now() + SERVICE_RETRY;
        }
        if !missing && told.is_empty() {
            service_at = Instant::now() + SERVICE_RETRY;
        }
        tokio::time::sleep(LOOK).await;
    }
}

/// Takes in which agents run where; answers how many.
async fn look(core: &Arc<Core>, up: &Up, token: &Token) -> Result<usize, DockerError> {
    let label = format!("{AGENT_LABEL}=true");
    let tasks = core.docker.tasks(&[("label", &label), ("desired-state", "running")]).await?;
    let agents: Vec<_> = tasks
        .iter()
        .filter(|task| task.label(AGENT_LABEL) == Some("true") && task.state() == TaskState::Running)
        .filter_map(|task| Some((task.node.as_str(), task.container()?, task.address(core.network_name())?)))
        .collect();
    let own = agents.iter().find(|(node, ..)| *node == &*up.node).map(|(_, container, _)| *container);
    match own {
        Some(container) => match up.network.door_of(container).await {
            Ok(None) => {}
            Ok(Some(door)) => go_through(core, up, Some(door)),
            // It may be about to be replaced. Until then silence tells whether the way there is still works.
            Err(reason) => {
                tracing::debug!(reason, "the namespace of this node's agent cannot be used");
                return Ok(agents.len());
            }
        },
        // While ours is away the way through it may still work: what others send through it tells.
        None if agents.is_empty() => go_through(core, up, None),
        None => {}
    }
    let mut known = core.agents.known.lock();
    known.retain(|node, _| agents.iter().any(|(other, ..)| **node == **other));
    for (node, container, ip) in &agents {
        // Docker itself tells of its own node.
        if *node == &*up.node {
            continue;
        }
        let Some((path, door)) = up.network.way_to_others() else {
            known.clear();
            break;
        };
        let way = Way { container: (*container).into(), ip: *ip, door };
        if known.get(*node).is_some_and(|known| known.way == way) {
            continue;
        }
        let following = follow(core, node, way, path, token);
        known.insert((*node).into(), following);
    }
    Ok(agents.len())
}

/// Reaches other nodes in another way. With the container of the one before, that is gone, and what was sent over it:
/// no answer comes, and nothing else tells so. Given up first, for who comes next to find only the new way.
fn go_through(core: &Core, up: &Up, door: Option<Door>) {
    if let Some((_, Some(before))) = up.network.way_to_others() {
        tracing::info!(before = %before, now = ?door, "the way to other nodes is another one; their replicas are asked anew");
        core.lost_others(&up.node);
        core.look_now();
    }
    up.network.lead_through(door);
}

fn follow(core: &Arc<Core>, node: &str, way: Way, path: Path, token: &Token) -> Known {
    let socket = SocketAddr::new(way.ip, AGENT_PORT);
    let upstream = Upstream::new(Address { socket, path }, core.dialer.clone());
    let agent = Arc::new(RemoteAgent::new(node.into(), upstream, token.header()));
    let task = tokio::spawn({
        let (core, agent) = (Arc::clone(core), Arc::clone(&agent));
        async move { agent.follow(&core).await }
    });
    Known { way, agent, _following: Following(task.abort_handle()) }
}
