//! The two traits over Docker Swarm.

mod away;
mod rotation;

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bramble_provider::{
    Body, FunctionName, FunctionSpec, FunctionStatus, Invocation, LogQuery, Provider, ProviderError,
    Replicas, Runtime, Scale,
};
use futures_util::FutureExt;
use http::{Response, StatusCode};
use prometheus::HistogramVec;
use serde::Serialize;
use tokio::task::JoinHandle;

use crate::config::SwarmConfig;
use crate::core::{Core, Link};
use crate::cpu::Meters;
use crate::docker::Docker;
use crate::function::{Function, Inflight, Wanted};
use crate::logs::ContainerLogs;
use crate::replica::Claim;
use crate::secret;
use crate::service::service_name;
use crate::upstream::{self, SendError};
use crate::watch::watch;

pub use away::Ledger;

const LOST_BEFORE_ANSWER: &str = "the node of its replica was lost before it answered";
const LOST_IN_ANSWER: &str = "the node of its replica was lost while it answered";
/// Most replicas that refuse a connection before an invocation gives up on finding one.
const MAX_REFUSALS: u32 = 16;

/// Functions in containers, as services of a Docker Swarm.
///
/// There may be no Docker: then everything is [`ProviderError::Unavailable`] with the reason, and it
/// heals by itself when there is one.
pub struct SwarmProvider {
    core: Arc<Core>,
    meters: Arc<Meters>,
    watch: JoinHandle<()>,
    metering: JoinHandle<()>,
}

/// Keeps a replica's place in the extensions of a response that left HTTP, for as long as those are kept.
#[derive(Clone)]
struct Tunnel {
    _held: Arc<(Claim, Inflight)>,
}

/// What is known of the Swarm, for people.
#[derive(Debug, Clone, Serialize)]
pub struct SwarmInfo {
    /// Where the daemon is asked.
    pub docker: String,
    /// Whether it answers.
    pub available: bool,
    /// Why not, and what to do.
    pub reason: Option<String>,
    /// Nodes of the Swarm.
    pub nodes: usize,
    /// How replicas are reached: `network`, `namespaces` or `bridge`.
    pub reach: Option<&'static str>,
}

impl SwarmProvider {
    /// Starts to watch the Swarm. Must be called within a tokio runtime. Waits for nothing.
    ///
    /// # Errors
    /// A text that names the certificate or token that cannot be used.
    pub fn open(config: SwarmConfig, cold_starts: HistogramVec) -> Result<Self, String> {
        let docker = Docker::new(&config.daemon()?)?;
        let core = Arc::new(Core::new(config, docker, cold_starts)?);
        let watch = tokio::spawn(watch(Arc::clone(&core)));
        let meters = Arc::new(Meters::default());
        let metering = tokio::spawn({
            let (core, meters) = (Arc::clone(&core), Arc::clone(&meters));
            async move { meters.keep(&core).await }
        });
        Ok(Self { core, meters, watch, metering })
    }

    /// How the Swarm is.
    pub fn info(&self) -> SwarmInfo {
        let docker = self.core.docker.host().to_owned();
        match &*self.core.link() {
            link @ (Link::Unknown | Link::Down(_)) => {
                SwarmInfo { docker, available: false, reason: link.problem(), nodes: 0, reach: None }
            }
            Link::Up(up) => SwarmInfo {
                docker,
                available: true,
                reason: None,
                nodes: up.nodes,
                reach: Some(up.network.reach.as_str()),
            },
        }
    }

    /// Refuses a spec that the Swarm is certain to refuse, changing nothing.
    ///
    /// # Errors
    /// [`ProviderError::InvalidSpec`], [`ProviderError::UnknownSecret`], [`ProviderError::Unavailable`].
    pub async fn check(&self, spec: &FunctionSpec) -> Result<(), ProviderError> {
        service_name(&spec.name)?;
        self.core.available().await?;
        secret::check(&self.core.docker, &self.core.config.secrets_dir, spec).await
    }

    /// Takes up functions that were deployed before, without asking Docker: it may not be there yet.
    ///
    /// Their services are made what they should be as soon as there is a connection.
    pub fn restore(&self, functions: Vec<(FunctionSpec, u32)>) -> Vec<(FunctionName, ProviderError)> {
        let mut refused = Vec::new();
        for (spec, desired) in functions {
            let name = spec.name.clone();
            match service_name(&name) {
                Ok(service) => {
                    let wanted = Wanted { spec: Arc::new(spec), desired };
                    self.core.functions.insert(name.clone(), Arc::new(Function::new(name, service, wanted)));
                }
                Err(error) => refused.push((name, error)),
            }
        }
        // A connection that was there already did not see them.
        let core = Arc::clone(&self.core);
        if core.unavailable().is_none() {
            tokio::spawn(async move { core.reconcile().await });
        }
        refused
    }

    /// The replicas of a function, and how many invocations wait for one.
    pub fn counts(&self, name: &FunctionName) -> Option<(Replicas, u32)> {
        let function = self.core.functions.get(name)?;
        Some((function.counts(), function.queued.load(std::sync::atomic::Ordering::Relaxed)))
    }

    /// Invocations on a function's replicas or waiting for one.
    pub fn inflight(&self, name: &FunctionName) -> Option<u32> {
        let function = self.core.functions.get(name)?;
        Some(function.inflight.load(std::sync::atomic::Ordering::SeqCst))
    }

    /// The CPU time of a function's containers, of each since it was first asked: it never goes back. None of a
    /// function whose label `com.openfaas.scale.type` is not `cpu`, and while that of a replica cannot be read.
    pub fn cpu_time(&self, name: &FunctionName) -> Option<Duration> {
        self.meters.cpu_time(name)
    }
}

impl Scale for SwarmProvider {
    async fn replicas(&self, name: &FunctionName) -> Result<Replicas, ProviderError> {
        Ok(self.core.function(name)?.counts())
    }

    async fn scale(&self, name: &FunctionName, desired: u32) -> Result<(), ProviderError> {
        let function = self.core.function(name)?;
        self.core.available().await?;
        match Box::pin(self.core.set_replicas(&function, desired)).await {
            // Somebody removed the service.
            Err(ProviderError::UnknownFunction(_)) => {
                let before = std::mem::replace(&mut function.wanted.lock().desired, desired);
                if let Err(error) = self.core.restore(&function).await {
                    function.wanted.lock().desired = before;
                    return Err(error);
                }
            }
            done => done?,
        }
        self.core.look_now();
        Ok(())
    }

    async fn freeze(&self, name: &FunctionName) -> Result<u32, ProviderError> {
        let function = self.core.function(name)?;
        self.core.available().await?;
        self.core.freeze(&function).await
    }
}

impl Provider for SwarmProvider {
    type Logs = ContainerLogs;

    async fn deploy(&self, spec: &FunctionSpec, desired: u32) -> Result<(), ProviderError> {
        spec.validate()?;
        self.core.available().await?;
        let wanted = Wanted { spec: Arc::new(spec.clone()), desired };
        let known = self.core.functions.get(&spec.name).map(|function| Arc::clone(&function));
        let function = match &known {
            Some(function) => Arc::clone(function),
            None => Arc::new(Function::new(spec.name.clone(), service_name(&spec.name)?, wanted.clone())),
        };
        if let Err(error) = self.core.apply(&function, wanted).await {
            // Perhaps it was done, and only the answer got lost.
            if known.is_none() && matches!(error, ProviderError::Unavailable { .. }) {
                self.core.clear_up_later(function);
            }
            return Err(error);
        }
        match known {
            Some(function) => self.core.judge_update_later(&function),
            None => drop(self.core.functions.insert(spec.name.clone(), function)),
        }
        self.core.look_now();
        Ok(())
    }

    async fn remove(&self, name: &FunctionName) -> Result<(), ProviderError> {
        if let Err(away) = self.core.available().await {
            return if self.core.forget_unmade(name).await { Ok(()) } else { Err(away) };
        }
        let Some((name, function)) = self.core.functions.remove(name) else { return Ok(()) };
        let removed = self.core.delete(&name, &function).await;
        if let Err(error) = removed {
            self.core.functions.insert(name, function);
            return Err(error);
        }
        function.remove();
        self.core.forget_metrics(&name);
        Ok(())
    }

    async fn status(&self, name: &FunctionName) -> Result<FunctionStatus, ProviderError> {
        let function = self.core.function(name)?;
        let relaxed = std::sync::atomic::Ordering::Relaxed;
        let away = self.core.unavailable().map(|error| error.to_string());
        Ok(FunctionStatus {
            runtime: Runtime::Container,
            replicas: function.counts(),
            inflight: function.inflight.load(relaxed),
            queued: function.queued.load(relaxed),
            memory_bytes: None,
            reason: away.or_else(|| function.reason()),
        })
    }

    async fn list(&self) -> Result<Vec<FunctionName>, ProviderError> {
        Ok(self.core.functions.iter().map(|function| function.key().clone()).collect())
    }

    async fn invoke(
        &self,
        name: &FunctionName,
        invocation: Invocation,
    ) -> Result<Response<Body>, ProviderError> {
        let function = self.core.function(name)?;
        let inflight = Inflight::begin(&function);
        let mut request = upstream::request(invocation);
        for _ in 0..MAX_REFUSALS {
            let claim = function.claim(&self.core).await?;
            if claim.replica().is_lost() {
                function.doubt(&self.core, claim.replica());
                continue;
            }
            let sent = tokio::select! {
                biased;
                sent = claim.upstream().send(request) => sent,
                () = claim.replica().lost() => {
                    return Err(broken_off(name.clone(), LOST_BEFORE_ANSWER));
                }
            };
            match sent {
                Ok(mut response) if response.status() == StatusCode::SWITCHING_PROTOCOLS => {
                    response.extensions_mut().insert(Tunnel { _held: Arc::new((claim, inflight)) });
                    return Ok(response);
                }
                Ok(response) => {
                    let (lost, name) = (claim.replica().until_lost(), name.clone());
                    let lost = lost.map(|()| broken_off(name, LOST_IN_ANSWER));
                    return Ok(upstream::hold(response, (claim, inflight), lost));
                }
                Err(SendError::NotSent { request: unsent, cause }) => {
                    tracing::debug!(function = %name, replica = ?claim.replica(), %cause, "a replica takes no connection");
                    function.doubt(&self.core, claim.replica());
                    request = *unsent;
                }
                Err(SendError::Broken(cause)) => {
                    self.core.look_now();
                    return Err(broken_off(name.clone(), SendError::Broken(cause).to_string()));
                }
                Err(SendError::InvalidResponse(reason)) => return Err(broken_off(name.clone(), reason)),
            }
        }
        let reason = "its replicas take no connections".to_owned();
        function.note(SystemTime::now(), &reason, false);
        Err(ProviderError::StartFailed { name: name.clone(), reason, retry_after: Duration::from_secs(1) })
    }

    async fn logs(&self, name: &FunctionName, query: LogQuery) -> Result<ContainerLogs, ProviderError> {
        let function = self.core.function(name)?;
        Ok(ContainerLogs::open(&self.core.docker, &function.service, name.clone(), query).await?)
    }
}

fn broken_off(name: FunctionName, reason: impl Into<String>) -> ProviderError {
    ProviderError::InvalidResponse { name, reason: reason.into() }
}

impl Drop for SwarmProvider {
    fn drop(&mut self) {
        self.watch.abort();
        self.metering.abort();
    }
}

impl fmt::Debug for SwarmProvider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SwarmProvider").field("core", &self.core).finish_non_exhaustive()
    }
}
