//! What the provider's parts share: the daemon, the functions, and whether the daemon answers.

mod freeze;

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::net::IpAddr;
use std::sync::{Arc, OnceLock, Weak};
use std::time::{Duration, SystemTime};

use arc_swap::ArcSwap;
use bollard::query_parameters::ListNodesOptions;
use bramble_provider::{FunctionName, ProviderError};
use dashmap::DashMap;
use parking_lot::Mutex;
use prometheus::HistogramVec;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::agent::Agents;
use crate::config::SwarmConfig;
use crate::docker::Docker;
use crate::function::{Function, Started};
use crate::image::RegistryAuth;
use crate::network::{Network, SharedDoor};
use crate::provider::Ledger;
use crate::replica::{Phase, Replica};
use crate::upstream::{Address, Dialer, Probe, Upstream};

/// The runtime's name in metrics.
const RUNTIME: &str = "container";
/// Longest wait for the answer to one probe.
const PROBE_PATIENCE: Duration = Duration::from_secs(1);
/// Pauses between probes: short first, as a program may be up at any moment.
const FIRST_PAUSE: Duration = Duration::from_millis(2);
const LONGEST_PAUSE: Duration = Duration::from_millis(50);
/// Longest wait for the first word on whether Docker is there: a gateway that starts is not without it.
const FIRST_WORD: Duration = Duration::from_secs(3);
/// When a client may ask again while Docker is away.
const RETRY_AFTER: Duration = Duration::from_secs(5);

const BEING_CONNECTED: &str = "the connection to Docker is being made";

/// Shared by everything that runs on behalf of the provider.
pub(crate) struct Core {
    pub(crate) config: SwarmConfig,
    pub(crate) docker: Docker,
    pub(crate) auth: RegistryAuth,
    pub(crate) functions: DashMap<FunctionName, Arc<Function>>,
    /// Not ours to keep: a task that ends a little later must not keep its store open.
    pub(crate) ledger: OnceLock<Weak<dyn Ledger>>,
    pub(crate) agents: Agents,
    pub(crate) dialer: Dialer,
    pub(crate) door: SharedDoor,
    link: ArcSwap<Link>,
    linked: Notify,
    look: Notify,
    /// For each node that had a replica: cancelled when it is lost.
    losses: Mutex<HashMap<Arc<str>, CancellationToken>>,
    /// Containers that Docker says are paused.
    paused: Mutex<HashSet<Arc<str>>>,
    cold_starts: HistogramVec,
}

/// Whether the daemon can be used.
#[derive(Debug, Clone)]
pub(crate) enum Link {
    /// It was not asked yet.
    Unknown,
    /// Not now, for this reason.
    Down(String),
    /// It answers.
    Up(Up),
}

/// A daemon that answers.
#[derive(Debug, Clone)]
pub(crate) struct Up {
    pub(crate) network: Network,
    /// The node that the daemon is.
    pub(crate) node: Arc<str>,
    /// Nodes in the Swarm.
    pub(crate) nodes: usize,
}

impl Link {
    /// Why the daemon cannot be used.
    pub(crate) fn problem(&self) -> Option<String> {
        match self {
            Self::Up(_) => None,
            Self::Unknown => Some(BEING_CONNECTED.to_owned()),
            Self::Down(reason) => Some(reason.clone()),
        }
    }
}

impl Core {
    pub(crate) fn new(
        config: SwarmConfig,
        docker: Docker,
        cold_starts: HistogramVec,
    ) -> Result<Self, String> {
        Ok(Self {
            auth: RegistryAuth::new(
                config.docker_config.as_ref().map(|directory| directory.join("config.json")),
            ),
            agents: Agents::new(&config)?,
            config,
            docker,
            functions: DashMap::new(),
            ledger: OnceLock::new(),
            dialer: Dialer::default(),
            door: SharedDoor::default(),
            link: ArcSwap::from_pointee(Link::Unknown),
            linked: Notify::new(),
            look: Notify::new(),
            losses: Mutex::default(),
            paused: Mutex::default(),
            cold_starts,
        })
    }

    /// The functions' network.
    pub(crate) fn network_name(&self) -> &str {
        &self.config.network
    }

    pub(crate) fn link(&self) -> Arc<Link> {
        self.link.load_full()
    }

    pub(crate) fn set_link(&self, link: Link) {
        self.link.store(Arc::new(link));
        self.linked.notify_waiters();
    }

    /// Learns how many nodes there are now.
    pub(crate) async fn count_nodes(&self) {
        let asked = self.docker.client().list_nodes(None::<ListNodesOptions>);
        let Ok(nodes) = self.docker.ask(asked).await.map(|nodes| nodes.len()) else { return };
        self.link.rcu(|link| match &**link {
            Link::Up(up) if up.nodes != nodes => Arc::new(Link::Up(Up { nodes, ..up.clone() })),
            Link::Up(_) | Link::Unknown | Link::Down(_) => Arc::clone(link),
        });
    }

    /// Whether nothing is known of Docker yet.
    pub(crate) fn is_connecting(&self) -> bool {
        matches!(&**self.link.load(), Link::Unknown)
    }

    /// Why nothing can be asked of Docker at the moment.
    pub(crate) fn unavailable(&self) -> Option<ProviderError> {
        let reason = self.link.load().problem()?;
        Some(ProviderError::Unavailable { provider: "Docker Swarm", reason, retry_after: RETRY_AFTER })
    }

    /// That Docker can be asked. Waits only where that is not known yet, and not for long.
    ///
    /// # Errors
    /// [`ProviderError::Unavailable`]
    pub(crate) async fn available(&self) -> Result<(), ProviderError> {
        let mut linked = std::pin::pin!(self.linked.notified());
        linked.as_mut().enable();
        if self.is_connecting() {
            // What is known by then is what counts.
            let _ = tokio::time::timeout(FIRST_WORD, linked).await;
        }
        self.unavailable().map_or(Ok(()), Err)
    }

    /// The function of this name.
    ///
    /// # Errors
    /// [`ProviderError::UnknownFunction`]
    pub(crate) fn function(&self, name: &FunctionName) -> Result<Arc<Function>, ProviderError> {
        let found = self.functions.get(name).map(|function| Arc::clone(&function));
        found.ok_or_else(|| ProviderError::UnknownFunction(name.clone()))
    }

    /// Asks the watch to look at the tasks without waiting for its next time.
    pub(crate) fn look_now(&self) {
        self.look.notify_one();
    }

    /// Resolves when somebody asked for a look.
    pub(crate) async fn asked_to_look(&self) {
        self.look.notified().await;
    }

    /// An invocation waited for a replica.
    pub(crate) fn started_cold(&self, name: &FunctionName, waited: Duration) {
        self.cold_starts.with_label_values(&[name.as_str(), RUNTIME]).observe(waited.as_secs_f64());
    }

    /// Forgets a function's series.
    pub(crate) fn forget_metrics(&self, name: &FunctionName) {
        // There is none when it never started cold.
        let _ = self.cold_starts.remove_label_values(&[name.as_str(), RUNTIME]);
    }

    /// Probes a running task until it is ready, then hands it to its function. Ends with the task.
    pub(crate) async fn make_ready(self: Arc<Self>, function: Arc<Function>, started: Started) {
        let mut pause = FIRST_PAUSE;
        let mut wait = async || {
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        };
        let address = async || {
            let overlay = started.overlay.or_else(|| function.overlay_of(&started.task));
            self.address(&started, overlay).await
        };
        let mut upstream = loop {
            match address().await {
                Ok(address) => break Upstream::new(address, self.dialer.clone()),
                Err(reason) => function.note(SystemTime::now(), &reason, false),
            }
            wait().await;
        };
        let phase = loop {
            // It may be told only later that it is paused: then nobody answers a probe.
            if self.is_paused(&started.container) {
                break Phase::Frozen;
            }
            match upstream.probe(PROBE_PATIENCE).await {
                Probe::Ready => break Phase::Ready,
                Probe::NotYet(reason) => {
                    function.note(SystemTime::now(), &format!("its replica runs, but {reason}"), false);
                }
            }
            // The way to other nodes may have become another one.
            if !self.is_own(&started.node)
                && let Ok(address) = address().await
            {
                upstream = Upstream::new(address, self.dialer.clone());
            }
            wait().await;
        };
        let Started { task, node, container, .. } = started;
        let loss = self.losses.lock().entry(Arc::clone(&node)).or_default().child_token();
        function.joined(Arc::new(Replica::new(task, node, container, upstream, phase, loss)));
    }

    /// A node cannot be reached: its replicas are not asked any more, and who waits for the answer of one,
    /// also of one that was left out before, is told.
    pub(crate) fn lost_node(&self, node: &str) {
        for function in &self.functions {
            function.lost_node(node);
        }
        let loss = self.losses.lock().remove(node);
        if let Some(loss) = loss {
            loss.cancel();
        }
    }

    /// As [`Self::lost_node`], for all nodes but one.
    pub(crate) fn lost_others(&self, own: &str) {
        let nodes: Vec<_> = self.losses.lock().keys().filter(|node| ***node != *own).cloned().collect();
        for node in nodes {
            self.lost_node(&node);
        }
    }

    async fn address(&self, started: &Started, overlay: Option<IpAddr>) -> Result<Address, String> {
        match &*self.link() {
            Link::Unknown => Err(BEING_CONNECTED.to_owned()),
            Link::Down(reason) => Err(reason.clone()),
            Link::Up(up) => up.network.address(&started.node, &started.container, overlay).await,
        }
    }

    /// Whether a node is the one that the daemon is.
    pub(crate) fn is_own(&self, node: &str) -> bool {
        match &**self.link.load() {
            Link::Up(up) => *up.node == *node,
            Link::Unknown | Link::Down(_) => false,
        }
    }
}

impl fmt::Debug for Core {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Core")
            .field("docker", &self.docker)
            .field("functions", &self.functions.len())
            .field("link", &self.link())
            .finish_non_exhaustive()
    }
}
