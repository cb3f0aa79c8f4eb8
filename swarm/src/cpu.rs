//! The CPU time of the functions that are scaled by it.
//!
//! In: asking about once a second, each node's daemon for its own containers, and adding up. Out: what is made
//! of it (`scaler`).
//! The properties that must hold: the time of a function never goes back; what cannot be read adds nothing,
//! and after a while is said to be unknown instead of 0; a function that does not ask costs nothing.

mod meter;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bollard::query_parameters::StatsOptionsBuilder;
use bramble_provider::FunctionName;
use bramble_provider::spec::SCALE_TYPE_LABEL;
use dashmap::DashMap;
use futures_util::future::join_all;
use futures_util::stream::{self, StreamExt};
use tokio::time::MissedTickBehavior;

use crate::core::Core;
use crate::docker::{Docker, DockerError};
use crate::function::Function;
use crate::replica::Phase;
use meter::{Meter, Round};

/// The value of [`SCALE_TYPE_LABEL`] for those that are metered. Containers have it too.
pub(crate) const SCALED_BY_CPU: &str = "cpu";

/// Between two readings of a container.
const PERIOD: Duration = Duration::from_secs(1);
/// Longest wait for one, so that one container does not keep those of its node from being told in time.
const READING_DEADLINE: Duration = Duration::from_secs(3);
/// Most containers that a daemon is asked for at a time. It costs a daemon little: one of version 20.10 answers all of
/// them with what it collects once a second.
const MAX_READINGS: usize = 128;

/// A meter for each function that asks for one.
#[derive(Debug, Default)]
pub(crate) struct Meters(DashMap<FunctionName, Meter>);

/// What was read of a node's containers, in nanoseconds since each started, and why not all of it was.
#[derive(Debug, Default)]
pub(crate) struct Readings {
    pub(crate) nanos: HashMap<String, u64>,
    pub(crate) failure: Option<DockerError>,
}

impl Meters {
    /// CPU time that a function's containers took since they were first read; none of a function that is not
    /// scaled by it, and while it cannot be read. Never goes back, as long as the function asks for it.
    pub(crate) fn cpu_time(&self, name: &FunctionName) -> Option<Duration> {
        self.0.get(name)?.told(Instant::now())
    }

    /// Reads for as long as the future is polled.
    pub(crate) async fn keep(&self, core: &Core) {
        let mut next = tokio::time::interval(PERIOD);
        next.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            next.tick().await;
            self.round(core).await;
        }
    }

    async fn round(&self, core: &Core) {
        let asking = core.functions.iter().filter(|function| is_asking(function));
        let asking: Vec<_> = asking.map(|function| Arc::clone(&function)).collect();
        // One that is gone, or scaled by something else now.
        self.0.retain(|name, _| core.functions.get(name).is_some_and(|function| is_asking(&function)));
        let mut awake = HashMap::<Arc<str>, Vec<Arc<str>>>::new();
        for function in &asking {
            for replica in function.replicas().iter().filter(|replica| replica.phase() != Phase::Frozen) {
                awake.entry(Arc::clone(&replica.node)).or_default().push(Arc::clone(&replica.container));
            }
        }
        let reading = awake.into_iter().map(|(node, containers)| of_node(core, node, containers));
        let nodes: HashMap<_, _> = join_all(reading).await.into_iter().collect();
        for function in asking {
            self.take(core, &function, &nodes);
        }
    }

    fn take(&self, core: &Core, function: &Function, nodes: &HashMap<Arc<str>, Readings>) {
        let mut meter = self.0.entry(function.name.clone()).or_default();
        let mut round = Round::new(&mut meter, Instant::now());
        let replicas = function.replicas();
        let mut unread = None;
        for replica in replicas.iter() {
            let node = nodes.get(&replica.node);
            match node.and_then(|node| node.nanos.get(&*replica.container)) {
                Some(nanos) => round.read(&replica.container, *nanos),
                None if replica.phase() == Phase::Frozen => round.stands_still(&replica.container),
                // It joined while others were read.
                None if node.is_none() => {}
                None => unread = Some(replica),
            }
        }
        // Those that there are may not be known.
        let is_blind = replicas.is_empty() && core.unavailable().is_some();
        if round.end(unread.is_some() || is_blind)
            && let Some(replica) = unread
        {
            let failure = nodes.get(&replica.node).and_then(|node| node.failure.as_ref());
            let reason = core.unavailable().map(|error| error.to_string());
            let reason = reason.or_else(|| failure.map(ToString::to_string));
            let reason = reason.unwrap_or_else(|| "its daemon tells nothing of it".to_owned());
            tracing::warn!(
                function = %function.name, node = %replica.node, reason,
                "the CPU time of a replica cannot be read; until it can, its function keeps its replicas"
            );
        }
    }
}

fn is_asking(function: &Function) -> bool {
    let spec = Arc::clone(&function.wanted.lock().spec);
    spec.labels.get(SCALE_TYPE_LABEL).is_some_and(|signal| signal == SCALED_BY_CPU)
}

async fn of_node(core: &Core, node: Arc<str>, containers: Vec<Arc<str>>) -> (Arc<str>, Readings) {
    let readings = if core.is_own(&node) {
        core.docker.cpu_nanos(containers.iter().map(|container| container.to_string())).await
    } else {
        match core.agents.cpu_nanos(&node).await {
            Ok(nanos) => Readings { nanos, failure: None },
            Err(error) => Readings { nanos: HashMap::new(), failure: Some(error) },
        }
    };
    (node, readings)
}

impl Docker {
    /// The CPU time of some of its containers; of those that it tells nothing of, why.
    pub(crate) async fn cpu_nanos(&self, containers: impl Iterator<Item = String>) -> Readings {
        let readings: Vec<_> = containers.map(|container| self.cpu_nanos_of(container)).collect();
        let mut readings = stream::iter(readings).buffer_unordered(MAX_READINGS);
        let mut all = Readings::default();
        while let Some((container, nanos)) = readings.next().await {
            match nanos {
                Ok(nanos) => drop(all.nanos.insert(container, nanos)),
                Err(error) => all.failure = Some(error),
            }
        }
        all
    }

    async fn cpu_nanos_of(&self, container: String) -> (String, Result<u64, DockerError>) {
        let options = StatsOptionsBuilder::default().stream(false).one_shot(true).build();
        let told = {
            let mut stats = std::pin::pin!(self.client().stats(&container, Some(options)));
            let reading = self.ask(async { stats.next().await.transpose() });
            let told = tokio::time::timeout(READING_DEADLINE, reading).await;
            told.unwrap_or_else(|_| {
                let reason = format!("Docker told no CPU time of a container within {READING_DEADLINE:?}");
                Err(DockerError::Unreachable(reason))
            })
        };
        let nanos = told.and_then(|told| {
            let nanos = told.and_then(|told| told.cpu_stats?.cpu_usage?.total_usage);
            // What does not run is told to have taken none.
            let unknown = || DockerError::NotFound(format!("no CPU time is told of container {container}"));
            nanos.filter(|nanos| *nanos > 0).ok_or_else(unknown)
        });
        (container, nanos)
    }
}
