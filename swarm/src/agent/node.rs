//! What an agent knows of its node: the containers of functions there, as Docker tells.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use arc_swap::ArcSwap;
use bollard::models::EventMessage;
use bollard::query_parameters::{
    EventsOptionsBuilder, InspectContainerOptions, ListContainersOptionsBuilder,
};
use bramble_provider::spec::SCALE_TYPE_LABEL;
use bytes::Bytes;
use futures_util::StreamExt;
use tokio::sync::broadcast;

use super::protocol::{CpuTimes, Event};
use crate::FUNCTION_LABEL;
use crate::cpu::{Readings, SCALED_BY_CPU};
use crate::docker::{Docker, DockerError};

/// Events that a slow listener may be behind; then its stream ends, and it asks anew.
const MAX_BEHIND: usize = 256;
/// Longest wait for the address of a container that started: later it is worth nothing.
const ADDRESS_DEADLINE: Duration = Duration::from_secs(1);
/// Tries to reach Docker again.
const RETRY: Duration = Duration::from_millis(500);

const TASK_LABEL: &str = "com.docker.swarm.task.id";

/// The node of an agent.
#[derive(Debug)]
pub(super) struct Node {
    docker: Docker,
    network: String,
    state: ArcSwap<State>,
}

/// Whether its Docker can be used.
#[derive(Debug)]
enum State {
    Away(String),
    /// Dropping this ends every listener's stream.
    Here {
        id: String,
        events: broadcast::Sender<Bytes>,
    },
}

impl Node {
    pub(super) fn new(docker: Docker, network: String) -> Self {
        let reason = "the connection to Docker is being made".to_owned();
        Self { docker, network, state: ArcSwap::from_pointee(State::Away(reason)) }
    }

    /// Follows Docker for as long as the future is polled.
    pub(super) async fn watch(&self) {
        let mut told = String::new();
        loop {
            let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
            let reason = match self.id().await {
                Ok(id) => {
                    tracing::info!(docker = self.docker.host(), node = id, "connected to Docker");
                    told.clear();
                    self.follow(id, since).await
                }
                Err(error) => error.to_string(),
            };
            if told != reason {
                tracing::warn!(reason, "Docker is not available");
            }
            self.state.store(Arc::new(State::Away(reason.clone())));
            told = reason;
            tokio::time::sleep(RETRY).await;
        }
    }

    /// The hello, and the events after it.
    ///
    /// # Errors
    /// [`DockerError::Unreachable`] while Docker is away.
    pub(super) async fn listen(&self) -> Result<(Bytes, broadcast::Receiver<Bytes>), DockerError> {
        let (id, events) = match &**self.state.load() {
            State::Away(reason) => return Err(DockerError::Unreachable(reason.clone())),
            // Before Docker is asked what is paused, so that nothing is missed in between.
            State::Here { id, events } => (id.clone(), events.subscribe()),
        };
        let hello = Event::Hello {
            node: id,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            paused: self.paused().await?,
        };
        Ok((hello.line(), events))
    }

    /// Pauses or unpauses a container of a function.
    ///
    /// # Errors
    /// [`DockerError::NotFound`] when there is none of this id, or it is not a function's.
    pub(super) async fn set_paused(&self, container: &str, paused: bool) -> Result<(), DockerError> {
        let unknown = || DockerError::NotFound(format!("no container {container:?} of a function"));
        let is_id =
            matches!(container.len(), 12..=64) && container.bytes().all(|byte| byte.is_ascii_hexdigit());
        if !is_id {
            return Err(unknown());
        }
        let client = self.docker.client();
        let inspected = client.inspect_container(container, None::<InspectContainerOptions>);
        let labels = self.docker.ask(inspected).await?.config.and_then(|config| config.labels);
        if !labels.is_some_and(|labels| labels.contains_key(FUNCTION_LABEL)) {
            return Err(unknown());
        }
        match paused {
            true => self.docker.change(client.pause_container(container)).await,
            false => self.docker.change(client.unpause_container(container)).await,
        }
    }

    /// The CPU time of the running containers of functions that are scaled by it. Those that cannot be read are
    /// left out.
    ///
    /// # Errors
    /// [`DockerError::Unreachable`] while Docker is away.
    pub(super) async fn cpu_times(&self) -> Result<CpuTimes, DockerError> {
        let scaled_by_cpu = format!("{SCALE_TYPE_LABEL}={SCALED_BY_CPU}");
        let labels = vec![FUNCTION_LABEL, &scaled_by_cpu];
        let filters = HashMap::from([("status", vec!["running"]), ("label", labels)]);
        let options = ListContainersOptionsBuilder::default().filters(&filters).build();
        let found = self.docker.ask(self.docker.client().list_containers(Some(options))).await?;
        let ids = found.into_iter().filter_map(|container| container.id);
        let Readings { nanos, failure } = self.docker.cpu_nanos(ids).await;
        if let Some(error) = failure {
            tracing::debug!(%error, "the CPU time of a container cannot be read");
        }
        Ok(CpuTimes { nanos })
    }

    async fn id(&self) -> Result<String, DockerError> {
        let swarm = self.docker.ask(self.docker.client().info()).await?.swarm.unwrap_or_default();
        swarm.node_id.filter(|id| !id.is_empty()).ok_or_else(|| {
            DockerError::NoManager("this machine is in no Swarm; join it with `docker swarm join`".to_owned())
        })
    }

    async fn paused(&self) -> Result<Vec<String>, DockerError> {
        let filters = HashMap::from([("status", vec!["paused"]), ("label", vec![FUNCTION_LABEL])]);
        let options = ListContainersOptionsBuilder::default().all(true).filters(&filters).build();
        let found = self.docker.ask(self.docker.client().list_containers(Some(options))).await?;
        Ok(found.into_iter().filter_map(|container| container.id).collect())
    }

    /// Passes events on until they end, and answers why.
    async fn follow(&self, id: String, since: Duration) -> String {
        let filters = HashMap::from([
            ("type", vec!["container"]),
            ("event", vec!["start", "die", "pause", "unpause"]),
            ("label", vec![FUNCTION_LABEL]),
        ]);
        // From before we were connected: a listener may be there sooner than Docker's first event.
        let since = format!("{}.{:09}", since.as_secs(), since.subsec_nanos());
        let options = EventsOptionsBuilder::default().filters(&filters).since(&since).build();
        let mut events = std::pin::pin!(self.docker.client().events(Some(options)));
        let (sender, _) = broadcast::channel(MAX_BEHIND);
        self.state.store(Arc::new(State::Here { id, events: sender.clone() }));
        loop {
            match events.next().await {
                Some(Ok(event)) => {
                    if let Some(event) = self.event(event).await {
                        // Nobody has to listen.
                        let _ = sender.send(event.line());
                    }
                }
                Some(Err(error)) => return format!("Docker's events broke off: {error}"),
                None => return "Docker's events ended".to_owned(),
            }
        }
    }

    async fn event(&self, event: EventMessage) -> Option<Event> {
        let actor = event.actor?;
        let container = actor.id?;
        let mut attributes = actor.attributes?;
        let function = attributes.remove(FUNCTION_LABEL)?;
        let task = attributes.remove(TASK_LABEL)?;
        Some(match event.action?.as_str() {
            "start" => {
                let address = self.address(&container).await;
                Event::Start { function, task, container, address }
            }
            "die" => Event::Die { function, task, container },
            "pause" => Event::Pause { function, task, container },
            "unpause" => Event::Unpause { function, task, container },
            _ => return None,
        })
    }

    /// A container's address on the functions' network. Docker's event does not tell it.
    async fn address(&self, container: &str) -> Option<std::net::IpAddr> {
        let inspected = self.docker.client().inspect_container(container, None::<InspectContainerOptions>);
        let inspected = tokio::time::timeout(ADDRESS_DEADLINE, inspected).await.ok()?.ok()?;
        inspected.network_settings?.networks?.get(&self.network)?.ip_address.as_ref()?.parse().ok()
    }
}
