//! Frozen replicas: pausing and thawing, and believing what is told of it.
//!
//! The property that must hold: a replica is [`Phase::Ready`] only while its processes run. Docker is
//! no witness of that for a moment after each change: it takes in late what its runtime did.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use bollard::models::ContainerSummaryStateEnum;
use bollard::query_parameters::ListContainersOptionsBuilder;
use bramble_provider::ProviderError;

use super::Core;
use crate::FUNCTION_LABEL;
use crate::docker::DockerError;
use crate::function::Function;
use crate::replica::{Phase, Replica};

/// Longest wait for the answer of a replica that Docker says is awake, and between two tries to thaw it.
const AWAKE_PATIENCE: Duration = Duration::from_millis(100);
/// How often one is thawed that is awake for Docker and answers nobody: Docker's own view follows within that.
const MAX_THAWS: u32 = 50;
/// Between two tries to thaw one that cannot be thawed.
const THAW_PAUSE: Duration = Duration::from_millis(200);
/// How long after our own pausing or unpausing Docker's events may tell of what was before.
const UNSURE_FOR: Duration = Duration::from_secs(5);

impl Core {
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
            // What did not answer in time may have been done all the same.
            let frozen_now = paused.is_ok() || !replica.is_awake(AWAKE_PATIENCE).await;
            self.learn(function, replica, frozen_now);
            replica.advance(Phase::Freezing, if frozen_now { Phase::Frozen } else { Phase::Ready });
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
        // From any of them on, so that one which does not thaw keeps nobody from the others.
        let start = if replicas.len() > 1 { fastrand::usize(..replicas.len()) } else { 0 };
        let mut in_turn = replicas[start..].iter().chain(&replicas[..start]);
        let Some(replica) = in_turn.find(|replica| replica.advance(Phase::Frozen, Phase::Thawing)) else {
            return false;
        };
        self.thaw(function, replica);
        true
    }

    /// Wakes a replica that is [`Phase::Thawing`].
    fn thaw(self: &Arc<Self>, function: &Arc<Function>, replica: &Arc<Replica>) {
        let (core, function, replica) = (Arc::clone(self), Arc::clone(function), Arc::clone(replica));
        tokio::spawn(async move {
            let mut next = Phase::Ready;
            if let Err(error) = core.unpause(&replica).await {
                let reason = format!("its frozen replica does not thaw: {error}");
                function.note(SystemTime::now(), &reason, false);
                core.look_now();
                // Whoever waits for it tries again once it is frozen again.
                tokio::time::sleep(THAW_PAUSE).await;
                if !replica.is_awake(AWAKE_PATIENCE).await {
                    next = Phase::Frozen;
                }
            }
            core.learn(&function, &replica, next == Phase::Frozen);
            replica.advance(Phase::Thawing, next);
            function.wake();
        });
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
            done => done,
        }
    }

    /// Docker learns from its runtime a little later what it did itself, and may say of one that it just paused that it
    /// is not. So the replica is asked, and Docker again when it does not answer.
    async fn unpause(&self, replica: &Replica) -> Result<(), DockerError> {
        replica.touch();
        self.set_paused(&replica.container, false);
        for _ in 0..MAX_THAWS {
            let done = if self.is_own(&replica.node) {
                self.docker.change(self.docker.client().unpause_container(&replica.container)).await
            } else {
                self.agents.unpause(&replica.node, &replica.container).await
            };
            match done {
                Err(DockerError::Refused { message, .. }) if message.contains("is not paused") => {
                    if replica.is_awake(AWAKE_PATIENCE).await {
                        return Ok(());
                    }
                }
                done => return done,
            }
        }
        let message = "Docker says that it is not paused, and it does not answer".to_owned();
        Err(DockerError::Refused { status: 409, message })
    }

    /// Learns whether a replica is paused, unless it is gone meanwhile.
    fn learn(&self, function: &Function, replica: &Replica, paused: bool) {
        let is_there = function.replica_of(&replica.container).is_some();
        self.set_paused(&replica.container, paused && is_there);
    }

    pub(super) fn is_paused(&self, container: &str) -> bool {
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
    /// What is told soon after our own doing may be of the time before it: then the replica is asked how it is now.
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
            return;
        }
        let (core, function) = (Arc::clone(self), Arc::clone(function));
        tokio::spawn(async move {
            if let Some(paused) = core.find_paused(&replica).await {
                core.believe_paused(&function, &replica, touched, paused);
            }
        });
    }

    /// Whether a replica is paused now, as far as that can be told: what answers is not, and what does not answer is
    /// only if Docker says so.
    async fn find_paused(&self, replica: &Replica) -> Option<bool> {
        if replica.is_awake(AWAKE_PATIENCE).await {
            return Some(false);
        }
        if !self.is_own(&replica.node) {
            return None;
        }
        let asked = self.docker.client().inspect_container(&replica.container, None);
        let found = self.docker.ask(asked).await.ok()?;
        found.state?.paused.filter(|paused| *paused)
    }

    /// What was seen is how it is, unless we began to pause or unpause it since `touched`.
    fn believe_paused(
        self: &Arc<Self>,
        function: &Arc<Function>,
        replica: &Arc<Replica>,
        touched: Option<Instant>,
        paused: bool,
    ) {
        let changed = replica.if_untouched(touched, |replica| {
            self.set_paused(&replica.container, paused);
            match paused {
                true => replica.advance(Phase::Ready, Phase::Frozen),
                false => replica.advance(Phase::Frozen, Phase::Ready),
            }
        });
        if !changed {
            return;
        }
        // Somebody else paused it under the requests that it has: they are not to wait for another one's.
        if paused && replica.load() > 0 && replica.advance(Phase::Frozen, Phase::Thawing) {
            self.thaw(function, replica);
        }
        function.wake();
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

#[cfg(test)]
mod tests;
