//! One function: what is wanted of it, its tasks as the Swarm tells of them, and who waits for one.
//!
//! In: keeping the list of replicas from what is observed, handing replicas to invocations, waiting for
//! one. Out: talking to Docker (`core`, `watch`), sending requests (`upstream`).
//! The properties that must hold: a replica is in the list only after it answered a probe; whoever
//! waits is told as soon as that changes, or as soon as it is known that it will not.

mod trouble;

use std::collections::{HashMap, HashSet};
use std::net::IpAddr;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::{Duration, Instant, SystemTime};

use arc_swap::ArcSwap;
use bramble_provider::{FunctionName, FunctionSpec, ProviderError, Replicas};
use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::task::AbortHandle;

use crate::core::Core;
use crate::docker::{RawTask, TaskState};
use crate::failure::Failure;
use crate::replica::{Claim, Phase, Replica, pick};

use trouble::Trouble;

/// Most invocations of one function that wait for a replica.
const MAX_QUEUED: u32 = 1_024;
/// When a client may try again for what failed to start: the Swarm starts another task by then.
const RETRY_AFTER: Duration = Duration::from_secs(5);
/// When a client may try again for what is saturated.
const RETRY_SOON: Duration = Duration::from_secs(1);

/// A function that is to run in containers.
pub(crate) struct Function {
    pub(crate) name: FunctionName,
    /// Its service's name.
    pub(crate) service: String,
    pub(crate) wanted: Mutex<Wanted>,
    /// Whether that was asked for while Docker was away, and is to be made as a deployment is. Written under `wanted`.
    anew: AtomicBool,
    /// Held by whoever changes the service: one at a time.
    pub(crate) writing: tokio::sync::Mutex<()>,
    /// Invocations on replicas or waiting for one.
    pub(crate) inflight: AtomicU32,
    pub(crate) queued: AtomicU32,
    /// Whether the number of replicas is to be set when an update ends.
    pub(crate) counting: AtomicBool,
    pub(crate) trouble: Trouble,
    /// Since when the Swarm has been running two tasks where it wants one.
    crowded: Mutex<Option<Instant>>,
    /// Its service's id. Tasks of a service that had the name before are not its own.
    service_id: Mutex<Option<String>>,
    tasks: Mutex<HashMap<Arc<str>, Task>>,
    replicas: ArcSwap<Vec<Arc<Replica>>>,
    changed: Notify,
    removed: AtomicBool,
}

/// What is asked for.
#[derive(Debug, Clone)]
pub(crate) struct Wanted {
    pub(crate) spec: Arc<FunctionSpec>,
    pub(crate) desired: u32,
}

/// One task that the Swarm wants.
struct Task {
    node: Arc<str>,
    container: Option<Arc<str>>,
    overlay: Option<IpAddr>,
    stage: Stage,
}

enum Stage {
    /// Its container does not run yet.
    Coming,
    /// Its container runs; it is asked whether it is ready.
    Joining { _work: Joining },
    /// It takes requests.
    Here(Arc<Replica>),
}

/// The work of getting a replica ready, which ends with this.
struct Joining(AbortHandle);

impl Drop for Joining {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// What is known of a running task.
#[derive(Debug, Clone)]
pub(crate) struct Started {
    pub(crate) task: Arc<str>,
    pub(crate) node: Arc<str>,
    pub(crate) container: Arc<str>,
    pub(crate) overlay: Option<IpAddr>,
}

impl Function {
    pub(crate) fn new(name: FunctionName, service: String, wanted: Wanted) -> Self {
        Self {
            trouble: Trouble::new(name.clone()),
            name,
            service,
            wanted: Mutex::new(wanted),
            anew: AtomicBool::new(false),
            writing: tokio::sync::Mutex::default(),
            inflight: AtomicU32::new(0),
            queued: AtomicU32::new(0),
            counting: AtomicBool::new(false),
            crowded: Mutex::default(),
            service_id: Mutex::default(),
            tasks: Mutex::default(),
            replicas: ArcSwap::default(),
            changed: Notify::new(),
            removed: AtomicBool::new(false),
        }
    }

    /// Asks for something that cannot be made now.
    pub(crate) fn want_anew(&self, wanted: Wanted) {
        let mut place = self.wanted.lock();
        *place = wanted;
        self.anew.store(true, Ordering::Release);
    }

    /// Whether what is wanted is to be made as a deployment is, and not as after a restart.
    pub(crate) fn is_anew(&self) -> bool {
        self.anew.load(Ordering::Acquire)
    }

    /// That was made; something else may be wanted by now.
    pub(crate) fn made_anew(&self, made: &Wanted) {
        let wanted = self.wanted.lock();
        if Arc::ptr_eq(&wanted.spec, &made.spec) {
            self.anew.store(false, Ordering::Release);
        }
    }

    /// It was asked for and made.
    pub(crate) fn is_as(&self, made: Wanted) {
        let mut wanted = self.wanted.lock();
        *wanted = made;
        self.anew.store(false, Ordering::Release);
    }

    /// Its service was found, or made, and has this id.
    pub(crate) fn runs_as(&self, service_id: &str) {
        *self.service_id.lock() = Some(service_id.to_owned());
    }

    /// Whether that is its service.
    pub(crate) fn owns(&self, service_id: &str) -> bool {
        self.service_id.lock().as_deref() == Some(service_id)
    }

    /// Replicas that are asked for.
    pub(crate) fn desired(&self) -> u32 {
        self.wanted.lock().desired
    }

    /// Asked for, able to take an invocation, and paused.
    pub(crate) fn counts(&self) -> Replicas {
        let replicas = self.replicas.load();
        let phases = || replicas.iter().map(|replica| replica.phase());
        let count = |wanted: fn(Phase) -> bool| {
            u32::try_from(phases().filter(|phase| wanted(*phase)).count()).unwrap_or(u32::MAX)
        };
        Replicas {
            desired: self.desired(),
            available: count(|phase| phase != Phase::Leaving),
            frozen: count(|phase| matches!(phase, Phase::Frozen | Phase::Freezing)),
        }
    }

    /// The replicas that answered a probe.
    pub(crate) fn replicas(&self) -> Arc<Vec<Arc<Replica>>> {
        self.replicas.load_full()
    }

    /// Whether anything about its replicas is on its way.
    pub(crate) fn is_settled(&self) -> bool {
        let counts = self.counts();
        counts.available == counts.desired
            && self.tasks.lock().values().all(|task| matches!(task.stage, Stage::Here(_)))
    }

    /// Why fewer replicas are available than desired, or not those that are wanted, when it is known.
    pub(crate) fn reason(&self) -> Option<String> {
        let counts = self.counts();
        let short = counts.available < counts.desired;
        self.trouble.rollback().or_else(|| self.trouble.problem().filter(|_| short))
    }

    /// A place on a replica at once, or as soon as there is one.
    ///
    /// # Errors
    /// [`ProviderError::StartFailed`], [`ProviderError::StartTimedOut`], [`ProviderError::Saturated`] when
    /// too many wait, [`ProviderError::Unavailable`] when Docker is away and no replica is known,
    /// [`ProviderError::UnknownFunction`] when it was removed.
    pub(crate) async fn claim(self: &Arc<Self>, core: &Arc<Core>) -> Result<Claim, ProviderError> {
        let claim = pick(&self.replicas.load());
        match claim {
            Some(claim) => {
                if claim.replica().load() > 1 {
                    // Busy: a frozen replica is worth more awake.
                    core.thaw_one(self);
                }
                Ok(claim)
            }
            None => Box::pin(self.wait(core)).await,
        }
    }

    async fn wait(self: &Arc<Self>, core: &Arc<Core>) -> Result<Claim, ProviderError> {
        let _queued = self.queue()?;
        let (since, started_at) = (Instant::now(), SystemTime::now());
        let timeout = core.config.activation_timeout;
        loop {
            let mut changed = pin!(self.changed.notified());
            changed.as_mut().enable();
            if let Some(claim) = pick(&self.replicas.load()) {
                core.started_cold(&self.name, since.elapsed());
                return Ok(claim);
            }
            let thawing = core.thaw_one(self);
            if self.removed.load(Ordering::Acquire) {
                return Err(ProviderError::UnknownFunction(self.name.clone()));
            }
            // Without Docker it is only agents that thaw.
            if !thawing || (core.unavailable().is_some() && !core.agents.any()) {
                self.despair(core, started_at)?;
                core.look_now();
            }
            let left = timeout.saturating_sub(since.elapsed());
            if tokio::time::timeout(left, changed).await.is_err() {
                return Err(self.timed_out(timeout));
            }
        }
    }

    fn queue(&self) -> Result<Queued<'_>, ProviderError> {
        let queued = Queued(&self.queued);
        let before = self.queued.fetch_add(1, Ordering::Relaxed);
        if before < MAX_QUEUED {
            return Ok(queued);
        }
        Err(ProviderError::Saturated {
            name: self.name.clone(),
            inflight: self.inflight.load(Ordering::Relaxed),
            queued: before,
            retry_after: RETRY_SOON,
        })
    }

    /// An error when waiting is of no use.
    fn despair(&self, core: &Core, started_at: SystemTime) -> Result<(), ProviderError> {
        if !core.is_connecting()
            && let Some(away) = core.unavailable()
        {
            return Err(away);
        }
        match self.trouble.hopeless(started_at) {
            None => Ok(()),
            Some(reason) => {
                Err(ProviderError::StartFailed { name: self.name.clone(), reason, retry_after: RETRY_AFTER })
            }
        }
    }

    fn timed_out(&self, timeout: Duration) -> ProviderError {
        let reason = self.trouble.problem().unwrap_or_else(|| match self.tasks.lock().len() {
            0 => "the Swarm has made no task for it".to_owned(),
            count => format!("{count} of its tasks are on their way"),
        });
        ProviderError::StartTimedOut { name: self.name.clone(), timeout, reason }
    }

    /// Takes in what the Swarm says of the tasks that are labelled as the function's, all of them that
    /// it wants.
    pub(crate) fn observe<'t>(self: &Arc<Self>, core: &Arc<Core>, tasks: impl Iterator<Item = &'t RawTask>) {
        let mut known = self.tasks.lock();
        let mut seen = Vec::new();
        let (mut slots, mut crowded) = (HashSet::new(), false);
        let mut failed = None::<&RawTask>;
        for task in tasks.filter(|task| self.owns(&task.service)) {
            match task.problem() {
                // What waits for a node goes on waiting: it is as new as the look at it.
                Some(problem) if task.state() == TaskState::Coming => {
                    self.note(SystemTime::now(), problem, true);
                }
                Some(_) => {
                    let newer = failed.is_none_or(|other| other.version.index < task.version.index);
                    failed = if newer { Some(task) } else { failed };
                }
                None => {}
            }
            if !task.is_wanted() || task.state() == TaskState::Over {
                continue;
            }
            let id: Arc<str> = task.id.as_str().into();
            let entry = known.entry(id.clone()).or_insert_with(|| Task {
                node: task.node.as_str().into(),
                container: None,
                overlay: None,
                stage: Stage::Coming,
            });
            if *entry.node != *task.node {
                entry.node = task.node.as_str().into();
            }
            entry.overlay = entry.overlay.or_else(|| task.address(core.network_name()));
            if entry.container.is_none() {
                entry.container = task.container().map(Arc::from);
            }
            if task.state() == TaskState::Running {
                self.join(core, id.clone(), entry);
                crowded |= !slots.insert(task.slot);
            }
            seen.push(id);
        }
        if let Some(task) = failed {
            self.explain(core, task);
        }
        let mut since = self.crowded.lock();
        *since = crowded.then(|| since.unwrap_or_else(Instant::now));
        drop(since);
        known.retain(|id, task| seen.contains(id) || keep_leaving(task));
        self.publish(&known);
    }

    /// Finds out why a task failed, unless that was done.
    fn explain(self: &Arc<Self>, core: &Arc<Core>, task: &RawTask) {
        let (Some(fatal), Some(problem)) =
            (self.trouble.failed(&task.id, task.version.index), task.problem())
        else {
            return;
        };
        let failure = Failure {
            task: task.id.clone(),
            at: task.since().unwrap_or_else(SystemTime::now),
            problem: problem.to_owned(),
            ran: task.container().is_some(),
            fatal,
        };
        tokio::spawn(Arc::clone(core).explain(Arc::clone(self), failure));
    }

    /// Whether the Swarm forgot to end a task: one more than it wants has been running for this long. Told once in
    /// that time.
    pub(crate) fn is_crowded(&self, patience: Duration) -> bool {
        let mut since = self.crowded.lock();
        let crowded = since.is_some_and(|since| since.elapsed() >= patience);
        if crowded {
            *since = Some(Instant::now());
        }
        crowded
    }

    /// A task's container started, before the Swarm tells of it.
    pub(crate) fn started(self: &Arc<Self>, core: &Arc<Core>, started: Started) {
        let mut known = self.tasks.lock();
        let entry = known.entry(started.task.clone()).or_insert_with(|| Task {
            node: started.node.clone(),
            container: None,
            overlay: None,
            stage: Stage::Coming,
        });
        entry.node = started.node;
        entry.container = Some(started.container);
        entry.overlay = entry.overlay.or(started.overlay);
        self.join(core, started.task, entry);
    }

    /// A task's container ended: nothing can be sent there any more.
    pub(crate) fn died(&self, task: &str) {
        let mut known = self.tasks.lock();
        if known.remove(task).is_some() {
            self.publish(&known);
        }
    }

    /// A node is lost: its replicas cannot be reached, whatever the Swarm still says.
    pub(crate) fn lost_node(&self, node: &str) {
        let mut known = self.tasks.lock();
        let before = known.len();
        known.retain(|_, task| *task.node != *node);
        if known.len() < before {
            self.publish(&known);
        }
    }

    /// Starts to ask a running task whether it is ready, unless that is done or being done.
    fn join(self: &Arc<Self>, core: &Arc<Core>, id: Arc<str>, task: &mut Task) {
        if !matches!(task.stage, Stage::Coming) {
            return;
        }
        let Some(container) = task.container.clone() else { return };
        let started = Started { task: id, node: task.node.clone(), container, overlay: task.overlay };
        let joining = tokio::spawn(Arc::clone(core).make_ready(Arc::clone(self), started));
        task.stage = Stage::Joining { _work: Joining(joining.abort_handle()) };
    }

    /// A task's address on the functions' network, once it is known.
    pub(crate) fn overlay_of(&self, task: &str) -> Option<IpAddr> {
        self.tasks.lock().get(task)?.overlay
    }

    /// A task answered its probe.
    pub(crate) fn joined(&self, replica: Arc<Replica>) {
        let mut known = self.tasks.lock();
        if let Some(task) = known.get_mut(&replica.task) {
            self.trouble.joined(&replica.task);
            task.stage = Stage::Here(replica);
            self.publish(&known);
        }
    }

    /// A replica did not take a connection: it is asked again whether it is ready.
    pub(crate) fn doubt(self: &Arc<Self>, core: &Arc<Core>, replica: &Arc<Replica>) {
        let mut known = self.tasks.lock();
        let Some(task) = known.get_mut(&replica.task) else { return };
        match &task.stage {
            Stage::Here(here) if Arc::ptr_eq(here, replica) => {}
            _ => return,
        }
        let id = replica.task.clone();
        if replica.phase() == Phase::Leaving {
            known.remove(&id);
        } else {
            task.stage = Stage::Coming;
            self.join(core, id, task);
        }
        self.publish(&known);
        drop(known);
        core.look_now();
    }

    /// The replica of a container, if there is one.
    pub(crate) fn replica_of(&self, container: &str) -> Option<Arc<Replica>> {
        self.replicas.load().iter().find(|replica| *replica.container == *container).cloned()
    }

    /// Tells what keeps a replica from being ready; forgotten when one is.
    pub(crate) fn note(&self, at: SystemTime, text: &str, fatal: bool) {
        self.trouble.note(at, text, fatal);
        if fatal {
            self.changed.notify_waiters();
        }
    }

    /// The function is gone; whoever waits for it is told.
    pub(crate) fn remove(&self) {
        self.removed.store(true, Ordering::Release);
        self.tasks.lock().clear();
        self.replicas.store(Arc::default());
        self.changed.notify_waiters();
    }

    /// Wakes whoever waits, to look again.
    pub(crate) fn wake(&self) {
        self.changed.notify_waiters();
    }

    fn publish(&self, known: &HashMap<Arc<str>, Task>) {
        let here = |task: &Task| match &task.stage {
            Stage::Here(replica) => Some(Arc::clone(replica)),
            Stage::Coming | Stage::Joining { .. } => None,
        };
        let next: Vec<_> = known.values().filter_map(here).collect();
        let current = self.replicas.load();
        let same = next.len() == current.len()
            && next.iter().all(|replica| current.iter().any(|other| Arc::ptr_eq(replica, other)));
        if !same {
            self.replicas.store(Arc::new(next));
            self.changed.notify_waiters();
        }
    }
}

/// Whether a task that is wanted no more is kept: a replica, for its last moment.
fn keep_leaving(task: &Task) -> bool {
    match &task.stage {
        Stage::Coming | Stage::Joining { .. } => false,
        Stage::Here(replica) => {
            // A paused one cannot answer, and nobody should wake it for its end.
            let usable = replica.phase() == Phase::Ready || replica.phase() == Phase::Leaving;
            replica.leave();
            usable && !replica.has_left()
        }
    }
}

/// One that waits.
struct Queued<'f>(&'f AtomicU32);

impl Drop for Queued<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// One invocation, from its admission to the end of its response.
pub(crate) struct Inflight(Arc<Function>);

impl Inflight {
    pub(crate) fn begin(function: &Arc<Function>) -> Self {
        function.inflight.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(function))
    }
}

impl Drop for Inflight {
    fn drop(&mut self) {
        self.0.inflight.fetch_sub(1, Ordering::Relaxed);
    }
}
