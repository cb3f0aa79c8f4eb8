//! Keeping what is known of tasks fresh: events tell when to look, and a clock sees to it that a
//! lost event does no harm. Also what brings the provider back when Docker was away.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bollard::models::{EventMessage, EventMessageTypeEnum};
use bollard::query_parameters::{EventsOptionsBuilder, ListNodesOptions};
use bramble_provider::FunctionName;
use futures_util::StreamExt;

use crate::FUNCTION_LABEL;
use crate::agent;
use crate::core::{Core, Link, Up};
use crate::docker::{DockerError, RawTask};
use crate::function::{Function, Started};
use crate::network::Network;

/// Longest time between two looks at all tasks.
const NET: Duration = Duration::from_secs(1);
/// The same where tasks of nodes come and go that tell us nothing.
const NET_OF_MANY_NODES: Duration = Duration::from_millis(80);
/// Between two looks while an invocation waits.
const WHILE_WAITED_FOR: Duration = Duration::from_millis(15);
/// Between two looks while replicas are on their way, and for how long.
const WHILE_UNSETTLED: Duration = Duration::from_millis(80);
const UNSETTLED_AT_MOST: Duration = Duration::from_secs(60);
/// Tries to reach Docker again: soon first.
const FIRST_RETRY: Duration = Duration::from_millis(250);
const LONGEST_RETRY: Duration = Duration::from_secs(3);
/// How long two tasks run where the Swarm wants one before it is told; while it replaces one they do for a moment.
const FORGOTTEN_AFTER: Duration = Duration::from_secs(10);
/// Looks that may fail before the connection counts as lost.
const MAX_FAILED_LOOKS: u32 = 2;

const TASK_LABEL: &str = "com.docker.swarm.task.id";
const NODE_LABEL: &str = "com.docker.swarm.node.id";
const SERVICE_LABEL: &str = "com.docker.swarm.service.name";
const SERVICE_ID_LABEL: &str = "com.docker.swarm.service.id";

/// Watches for as long as the future is polled.
pub(crate) async fn watch(core: Arc<Core>) {
    let _agents = Work(tokio::spawn(agent::keep(Arc::clone(&core))));
    let mut retry = FIRST_RETRY;
    let mut told = String::new();
    loop {
        let lost = match connect(&core).await {
            Ok(up) => {
                (retry, told) = (FIRST_RETRY, String::new());
                tracing::info!(docker = core.docker.host(), node = %up.node, nodes = up.nodes, reach = ?up.network.reach, "connected to Docker Swarm");
                core.set_link(Link::Up(up));
                follow(&core).await
            }
            Err(error) => error,
        };
        let reason = lost.to_string();
        core.set_link(Link::Down(reason.clone()));
        for function in &core.functions {
            function.wake();
        }
        // Once for each cause, and loudly only where somebody misses it.
        if told != reason {
            if core.functions.is_empty() {
                tracing::info!(reason, "no container functions");
            } else {
                tracing::warn!(reason, "Docker Swarm is not available");
            }
            told = reason;
        }
        tokio::time::sleep(retry).await;
        retry = (retry * 2).min(LONGEST_RETRY);
    }
}

async fn connect(core: &Arc<Core>) -> Result<Up, DockerError> {
    let client = core.docker.client();
    let swarm = core.docker.ask(client.info()).await?.swarm.unwrap_or_default();
    let node: Arc<str> = swarm.node_id.unwrap_or_default().into();
    // Says by its error that there is no Swarm, or that this is a worker.
    let nodes = core.docker.ask(client.list_nodes(None::<ListNodesOptions>)).await?.len();
    let network = Network::open(
        &core.docker,
        core.network_name(),
        &core.config.subnet,
        Arc::clone(&node),
        Arc::clone(&core.door),
    )
    .await?;
    core.learn_paused().await?;
    Ok(Up { network, node, nodes })
}

/// Follows the events until the connection is lost, and answers why.
async fn follow(core: &Arc<Core>) -> DockerError {
    let filters = HashMap::from([("type", vec!["service", "node", "container"])]);
    let options = EventsOptionsBuilder::default().filters(&filters).build();
    let mut events = std::pin::pin!(core.docker.client().events(Some(options)));
    let healing = Work(tokio::spawn({
        let core = Arc::clone(core);
        async move { core.reconcile().await }
    }));
    let mut unsettled_since = None;
    let mut failed = 0;
    loop {
        match look(core).await {
            Ok(()) => failed = 0,
            Err(error) => {
                failed += 1;
                if failed >= MAX_FAILED_LOOKS {
                    drop(healing);
                    return error;
                }
            }
        }
        let pause = pause(core, &mut unsettled_since);
        let mut look_at = tokio::time::Instant::now() + pause;
        loop {
            tokio::select! {
                event = events.next() => match event {
                    Some(Ok(event)) => if happened(core, event) { break },
                    Some(Err(error)) => return DockerError::Unreachable(format!("Docker's events broke off: {error}")),
                    None => return DockerError::Unreachable("Docker's events ended".to_owned()),
                },
                // Who waits asks often; a look every so often is enough.
                () = core.asked_to_look() => {
                    look_at = look_at.min(tokio::time::Instant::now() + WHILE_WAITED_FOR);
                }
                () = tokio::time::sleep_until(look_at) => break,
            }
        }
    }
}

/// Reads the tasks and tells each function of its own.
async fn look(core: &Arc<Core>) -> Result<(), DockerError> {
    if core.functions.is_empty() {
        return Ok(());
    }
    // Those that are wanted no more tell why a function does not start: asked for only where somebody wonders.
    let wondering = core.functions.iter().any(|function| !function.is_settled());
    let label = ("label", FUNCTION_LABEL);
    let tasks = match wondering {
        true => core.docker.tasks(&[label]).await?,
        false => core.docker.tasks(&[label, ("desired-state", "running")]).await?,
    };
    let mut by_function = HashMap::<&str, Vec<&RawTask>>::new();
    for task in &tasks {
        if let Some(name) = task.label(FUNCTION_LABEL) {
            by_function.entry(name).or_default().push(task);
        }
    }
    for function in &core.functions {
        let own = by_function.remove(function.name.as_str()).unwrap_or_default();
        function.observe(core, own.into_iter());
        if function.is_crowded(FORGOTTEN_AFTER) {
            let (core, function) = (Arc::clone(core), Arc::clone(function.value()));
            tokio::spawn(async move { core.end_forgotten(&function).await });
        }
    }
    Ok(())
}

/// How long the next look can wait.
fn pause(core: &Core, unsettled_since: &mut Option<Instant>) -> Duration {
    let (mut waited_for, mut unsettled) = (false, false);
    for function in &core.functions {
        waited_for |= function.queued.load(std::sync::atomic::Ordering::Relaxed) > 0;
        unsettled |= !function.is_settled();
    }
    if waited_for {
        return WHILE_WAITED_FOR;
    }
    if unsettled {
        let since = *unsettled_since.get_or_insert_with(Instant::now);
        if since.elapsed() < UNSETTLED_AT_MOST {
            return WHILE_UNSETTLED;
        }
    } else {
        *unsettled_since = None;
    }
    let untold = |nodes| nodes > 1 && !core.agents.cover(nodes);
    let many = matches!(&*core.link(), Link::Up(up) if untold(up.nodes)) && !core.functions.is_empty();
    if many { NET_OF_MANY_NODES } else { NET }
}

/// Takes in one event. Whether it is a reason to look at once.
fn happened(core: &Arc<Core>, event: EventMessage) -> bool {
    let action = event.action.unwrap_or_default();
    let actor = event.actor.unwrap_or_default();
    let attributes = actor.attributes.unwrap_or_default();
    match event.typ {
        Some(EventMessageTypeEnum::CONTAINER) => {
            let attribute = |key: &str| attributes.get(key).map(String::as_str);
            let (Some(name), Some(task)) = (attribute(FUNCTION_LABEL), attribute(TASK_LABEL)) else {
                return false;
            };
            let Some(function) = by_name(core, name) else { return false };
            let container = actor.id.unwrap_or_default();
            match action.as_str() {
                // Of a service that had the name before.
                "start" if attribute(SERVICE_ID_LABEL).is_some_and(|id| !function.owns(id)) => false,
                "start" => {
                    let node = attribute(NODE_LABEL).map(Arc::from).or_else(|| own_node(core));
                    let Some(node) = node else { return true };
                    let (task, container) = (task.into(), container.as_str().into());
                    function.started(core, Started { task, node, container, overlay: None });
                    false
                }
                "die" => {
                    core.set_paused(&container.as_str().into(), false);
                    function.died(task);
                    true
                }
                "pause" => {
                    core.saw_paused(&function, &container, true);
                    false
                }
                "unpause" => {
                    core.saw_paused(&function, &container, false);
                    false
                }
                _ => false,
            }
        }
        Some(EventMessageTypeEnum::SERVICE) if action == "remove" => {
            let service = attributes.get("name").or_else(|| attributes.get(SERVICE_LABEL));
            let function = service.and_then(|service| by_service(core, service));
            if let Some(function) = function {
                tracing::warn!(function = %function.name, "its service was removed by somebody else; making it anew");
                let core = Arc::clone(core);
                tokio::spawn(async move { core.heal(&function).await });
            }
            true
        }
        Some(EventMessageTypeEnum::SERVICE) => {
            let state = attributes.get("updatestate.new").map(String::as_str).unwrap_or_default();
            let function = attributes.get("name").and_then(|service| by_service(core, service));
            if let Some(function) = function {
                if matches!(state, "completed" | "rollback_completed" | "paused" | "rollback_paused") {
                    function.trouble.end_update();
                }
                if state.starts_with("rollback") || state == "paused" {
                    tokio::spawn(Arc::clone(core).explain_rollback(function));
                }
            }
            true
        }
        Some(EventMessageTypeEnum::NODE) => {
            if attributes.get("state.new").is_some_and(|state| state == "down") {
                let node = actor.id.unwrap_or_default();
                tracing::warn!(node, "a node is down");
                core.lost_node(&node);
            }
            let core = Arc::clone(core);
            tokio::spawn(async move { core.count_nodes().await });
            true
        }
        _ => false,
    }
}

fn own_node(core: &Core) -> Option<Arc<str>> {
    match &*core.link() {
        Link::Up(up) => Some(Arc::clone(&up.node)),
        Link::Unknown | Link::Down(_) => None,
    }
}

fn by_name(core: &Core, name: &str) -> Option<Arc<Function>> {
    core.function(&FunctionName::parse(name).ok()?).ok()
}

fn by_service(core: &Core, service: &str) -> Option<Arc<Function>> {
    core.functions.iter().find(|function| function.service == service).map(|function| Arc::clone(&function))
}

/// Work that ends with this.
struct Work(tokio::task::JoinHandle<()>);

impl Drop for Work {
    fn drop(&mut self) {
        self.0.abort();
    }
}
