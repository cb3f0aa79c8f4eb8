//! What the provider's parts share: the daemon, the functions, and whether the daemon answers.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::net::IpAddr;
use std::sync::{Arc, OnceLock, Weak};
use std::time::{Duration, Instant, SystemTime};

use arc_swap::ArcSwap;
use bollard::models::ContainerSummaryStateEnum;
use bollard::query_parameters::ListContainersOptionsBuilder;
use bramble_provider::{FunctionName, ProviderError};
use dashmap::DashMap;
use parking_lot::Mutex;
use prometheus::HistogramVec;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::FUNCTION_LABEL;
use crate::agent::Agents;
use crate::config::SwarmConfig;
use crate::docker::{Docker, DockerError};
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
/// How long after our own pausing or unpausing Docker's events may tell of what was before.
const UNSURE_FOR: Duration = Duration::from_secs(5);
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

    /// Pauses the idle replicas of a function; answers how many.
    ///
    /// One that its daemon does not pause stays awake: it may have ended just now, or its processes may not have come
    /// to a halt in time ("unable to freeze"), which the next attempt mends.
    ///
    /// # Errors
    /// [`ProviderError::Unavailable`] when nobody is there to ask about a replica, and none was paused.
    pub(crate) async fn freeze(&self, function: &Function) -> Result<u32, ProviderError> {
        let (mut frozen, mut unreachable) = (0, None);
        for replica in function.replicas().iter() {
            if !replica.begin_freeze() {
                // Who came at that moment found it neither ready nor frozen.
                function.wake();
                continue;
            }
            let paused = self.pause(replica).await;
            let phase = if paused.is_ok() { Phase::Frozen } else { Phase::Ready };
            replica.advance(Phase::Freezing, phase);
            // Who came meanwhile found it neither ready nor frozen.
            function.wake();
            match paused {
                Ok(()) => frozen += 1,
                Err(DockerError::Refused { message: reason, .. } | DockerError::NotFound(reason)) => {
                    tracing::info!(function = %function.name, reason, "a replica does not freeze, and stays awake");
                }
                // Of a node that is away; the others are there.
                Err(error) => unreachable = Some(error),
            }
        }
        match unreachable.filter(|_| frozen == 0) {
            Some(error) => Err(error.into()),
            None => Ok(frozen),
        }
    }

    /// Wakes one frozen replica, if there is one. Whether one is waking, or about to.
    pub(crate) fn thaw_one(self: &Arc<Self>, function: &Arc<Function>) -> bool {
        let replicas = function.replicas();
        let on_its_way =
            |replica: &&Arc<Replica>| matches!(replica.phase(), Phase::Thawing | Phase::Freezing);
        if replicas.iter().any(|replica| on_its_way(&replica)) {
            return true;
        }
        let Some(replica) = replicas.iter().find(|replica| replica.advance(Phase::Frozen, Phase::Thawing))
        else {
            return false;
        };
        let (core, function, replica) = (Arc::clone(self), Arc::clone(function), Arc::clone(replica));
        tokio::spawn(async move {
            let thawed = core.unpause(&replica).await;
            replica.advance(Phase::Thawing, Phase::Ready);
            if let Err(error) = thawed {
                function.note(
                    SystemTime::now(),
                    &format!("its frozen replica does not thaw: {error}"),
                    false,
                );
                function.doubt(&core, &replica);
            }
            function.wake();
        });
        true
    }

    async fn pause(&self, replica: &Replica) -> Result<(), DockerError> {
        replica.touch();
        self.set_paused(&replica.container, true);
        let done = if self.is_own(&replica.node) {
            self.docker.change(self.docker.client().pause_container(&replica.container)).await
        } else {
            self.agents.pause(&replica.node, &replica.container).await
        };
        match done {
            // Somebody else was first.
            Err(DockerError::Refused { message, .. }) if message.contains("is already paused") => Ok(()),
            done => self.undo_unless(done, &replica.container, false),
        }
    }

    async fn unpause(&self, replica: &Replica) -> Result<(), DockerError> {
        replica.touch();
        self.set_paused(&replica.container, false);
        let done = if self.is_own(&replica.node) {
            self.docker.change(self.docker.client().unpause_container(&replica.container)).await
        } else {
            self.agents.unpause(&replica.node, &replica.container).await
        };
        match done {
            // Somebody else was first.
            Err(DockerError::Refused { message, .. }) if message.contains("is not paused") => Ok(()),
            done => self.undo_unless(done, &replica.container, true),
        }
    }

    fn undo_unless(
        &self,
        done: Result<(), DockerError>,
        container: &Arc<str>,
        paused: bool,
    ) -> Result<(), DockerError> {
        if done.is_err() {
            self.set_paused(container, paused);
        }
        done
    }

    /// Whether a node is the one that the daemon is.
    pub(crate) fn is_own(&self, node: &str) -> bool {
        match &**self.link.load() {
            Link::Up(up) => *up.node == *node,
            Link::Unknown | Link::Down(_) => false,
        }
    }

    fn is_paused(&self, container: &str) -> bool {
        self.paused.lock().contains(container)
    }

    /// Learns whether a container is paused, or is believed to be.
    pub(crate) fn set_paused(&self, container: &Arc<str>, paused: bool) {
        let mut all = self.paused.lock();
        if paused {
            all.insert(Arc::clone(container));
        } else {
            all.remove(container);
        }
    }

    /// Somebody paused or unpaused a container of this function, perhaps we.
    ///
    /// What is told soon after our own doing may be of the time before it: then Docker is asked how it
    /// is now, or, of another node, nothing is believed.
    pub(crate) fn saw_paused(self: &Arc<Self>, function: &Arc<Function>, container: &str, paused: bool) {
        let Some(replica) = function.replica_of(container) else {
            self.set_paused(&container.into(), paused);
            return;
        };
        let news = if paused { Phase::Ready } else { Phase::Frozen };
        if replica.phase() != news {
            return;
        }
        let touched = replica.touched();
        if touched.is_none_or(|touched| touched.elapsed() > UNSURE_FOR) {
            self.believe_paused(function, &replica, touched, paused);
        } else if self.is_own(&replica.node) {
            let (core, function) = (Arc::clone(self), Arc::clone(function));
            tokio::spawn(async move {
                let asked = core.docker.client().inspect_container(&replica.container, None);
                let Ok(found) = core.docker.ask(asked).await else { return };
                let paused = found.state.and_then(|state| state.paused).unwrap_or_default();
                core.believe_paused(&function, &replica, touched, paused);
            });
        }
    }

    /// What was seen is how it is, unless we began to pause or unpause it since `touched`.
    fn believe_paused(&self, function: &Function, replica: &Replica, touched: Option<Instant>, paused: bool) {
        let changed = replica.if_untouched(touched, |replica| {
            self.set_paused(&replica.container, paused);
            match paused {
                true => replica.advance(Phase::Ready, Phase::Frozen),
                false => replica.advance(Phase::Frozen, Phase::Ready),
            }
        });
        if changed {
            function.wake();
        }
    }

    /// Learns which containers of this node are paused.
    pub(crate) async fn learn_paused(&self) -> Result<(), DockerError> {
        let filters = HashMap::from([("label", vec![FUNCTION_LABEL])]);
        let options = ListContainersOptionsBuilder::default().all(true).filters(&filters).build();
        let found = self.docker.ask(self.docker.client().list_containers(Some(options))).await?;
        // Those of other nodes are not in the list: their agents tell of them.
        for container in found {
            let paused = container.state == Some(ContainerSummaryStateEnum::PAUSED);
            if let Some(id) = container.id {
                self.set_paused(&id.into(), paused);
            }
        }
        Ok(())
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
