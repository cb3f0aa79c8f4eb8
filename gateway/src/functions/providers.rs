//! Which provider runs a function: one exhaustive match per verb, so a new runtime cannot be forgotten.

use std::sync::Arc;
use std::time::Duration;

use bramble_host::{HostLogs, SlotCounts, WasmProvider};
use bramble_provider::{
    Body, Code, Digest, FunctionName, FunctionSpec, FunctionStatus, Invocation, LogLine, LogQuery, LogStream,
    Provider, ProviderError, Replicas, Runtime, Scale,
};
use bramble_swarm::{ContainerLogs, Ledger, SwarmProvider};

use super::hybrid::BothLogs;
use crate::error::causes;

/// The providers of this gateway.
#[derive(Debug, Clone)]
pub struct Providers {
    wasm: Arc<WasmProvider>,
    containers: Arc<SwarmProvider>,
}

/// What a function is to have, beside its code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Amounts {
    /// Replicas that are asked for: slots of a module, or containers.
    pub(super) desired: u32,
    /// Slots of the module of a hybrid, whose replicas are its containers.
    pub(super) slots: u32,
}

/// The log of a function, whatever runs it.
#[derive(Debug)]
pub enum Logs {
    /// Of a wasm function.
    Wasm(HostLogs),
    /// Of a function in containers.
    Container(ContainerLogs),
    /// Of a function that runs in both.
    Hybrid(BothLogs),
}

impl LogStream for Logs {
    async fn next(&mut self) -> Option<LogLine> {
        match self {
            Self::Wasm(logs) => logs.next().await,
            Self::Container(logs) => logs.next().await,
            Self::Hybrid(logs) => logs.next().await,
        }
    }
}

impl Providers {
    /// The two providers there are.
    pub fn new(wasm: Arc<WasmProvider>, containers: Arc<SwarmProvider>) -> Self {
        Self { wasm, containers }
    }

    /// Refuses at once, before anything is stored, what is certain to be refused later.
    ///
    /// A hybrid does without Docker for the time being.
    pub(super) async fn check(&self, spec: &FunctionSpec) -> Result<(), ProviderError> {
        match &spec.code {
            Code::Module(digest) => self.wasm.module(*digest).await.map(drop),
            Code::Image(_) => self.containers.check(spec).await,
            Code::Hybrid { module, .. } => {
                self.wasm.module(*module).await?;
                let image = spec.image_half();
                let checked = async {
                    self.containers.check(&image).await?;
                    // The module is deployed first, and would serve for as long as a registry is asked in vain.
                    self.containers.check_image(&image).await
                };
                match checked.await {
                    Err(ProviderError::Unavailable { .. }) => Ok(()),
                    checked => checked,
                }
            }
        }
    }

    /// Has remembered of which functions there may be a service. Called once.
    pub(super) fn keep(&self, services: &Arc<impl Ledger>) {
        self.containers.keep(services);
    }

    /// Refuses to leave a runtime that cannot be told of it: a service would stay behind.
    pub(super) async fn check_leaving(&self, was: &FunctionSpec, now: Runtime) -> Result<(), ProviderError> {
        let leaves = was.runtime().has_containers() && !now.has_containers();
        if !leaves || !self.containers.may_have_service(&was.name) {
            return Ok(());
        }
        match self.containers.check(&was.image_half()).await {
            Err(away @ ProviderError::Unavailable { .. }) => Err(away),
            _ => Ok(()),
        }
    }

    /// Makes `spec` what runs under its name. On a refusal everything is as `before`, where that was
    /// this function with its replicas.
    pub(super) async fn deploy(
        &self,
        spec: &FunctionSpec,
        amounts: Amounts,
        before: Option<(&FunctionSpec, u32)>,
    ) -> Result<(), ProviderError> {
        match spec.runtime() {
            Runtime::Wasm => self.wasm.deploy(spec, amounts.desired).await,
            Runtime::Container => Box::pin(self.containers.deploy(spec, amounts.desired)).await,
            Runtime::Hybrid => Box::pin(self.deploy_both(spec, amounts, before)).await,
        }
    }

    /// The module first: it serves at once, and is easily put back.
    async fn deploy_both(
        &self,
        spec: &FunctionSpec,
        Amounts { desired, slots }: Amounts,
        before: Option<(&FunctionSpec, u32)>,
    ) -> Result<(), ProviderError> {
        let (name, image) = (&spec.name, spec.image_half());
        self.wasm.deploy(&spec.module_half(), slots).await?;
        let refusal = match self.containers.deploy(&image, desired).await {
            Ok(()) => return Ok(()),
            Err(refusal) => refusal,
        };
        if !matches!(refusal, ProviderError::Unavailable { .. }) {
            let undone = match before.filter(|(before, _)| before.runtime().has_module()) {
                Some((before, desired)) => {
                    let slots = if before.runtime() == Runtime::Wasm { desired } else { slots };
                    self.wasm.deploy(&before.module_half(), slots).await
                }
                None => self.wasm.remove(name).await,
            };
            if let Err(error) = undone {
                tracing::error!(function = %name, error = causes(&error), "cannot undo half of a refused deployment");
            }
            return Err(refusal);
        }
        tracing::warn!(function = %name, error = causes(&refusal), "deployed without containers, until there is Docker");
        let is_known = self.containers.counts(name).is_some_and(|(counts, _)| counts.desired == desired)
            && before.is_some_and(|(before, _)| before.image_half() == image);
        if is_known {
            return Ok(());
        }
        self.containers.want(image, desired)
    }

    /// Takes a function away that is now something else, or nothing at all.
    pub(super) async fn remove(&self, runtime: Runtime, name: &FunctionName) -> Result<(), ProviderError> {
        self.leave(runtime, None, name).await
    }

    /// Takes away what a function had that was of one runtime and is of another now, if it is at all.
    pub(super) async fn leave(
        &self,
        was: Runtime,
        now: Option<Runtime>,
        name: &FunctionName,
    ) -> Result<(), ProviderError> {
        // Containers first: this is what may be refused, and then the module still serves.
        if was.has_containers() && !now.is_some_and(Runtime::has_containers) {
            self.containers.remove(name).await?;
        }
        if was.has_module() && !now.is_some_and(Runtime::has_module) {
            self.wasm.remove(name).await?;
        }
        Ok(())
    }

    /// Takes the containers of a function away that has none any more, as soon as that can be done.
    pub(super) fn leave_later(&self, name: &FunctionName) {
        self.containers.remove_later(name);
    }

    /// The same after a restart, for what may have been left by then.
    pub(super) fn clear_up(&self, name: &FunctionName) {
        self.containers.clear_up(name);
    }

    pub(super) async fn remove_module(&self, module: Digest) -> Result<(), ProviderError> {
        self.wasm.remove_module(module).await
    }

    /// Sets the number of replicas; the slots of a hybrid's module stay.
    pub(super) async fn scale(
        &self,
        runtime: Runtime,
        name: &FunctionName,
        desired: u32,
    ) -> Result<(), ProviderError> {
        match runtime {
            Runtime::Wasm => self.wasm.scale(name, desired).await,
            Runtime::Container | Runtime::Hybrid => self.containers.scale(name, desired).await,
        }
    }

    pub(super) async fn freeze(&self, runtime: Runtime, name: &FunctionName) -> Result<u32, ProviderError> {
        match runtime {
            Runtime::Wasm => self.wasm.freeze(name).await,
            Runtime::Container | Runtime::Hybrid => self.containers.freeze(name).await,
        }
    }

    /// Registers stored functions at the start: compiles nothing, asks no daemon. Answers what was
    /// refused: of a hybrid perhaps one half only. Blocking.
    pub(super) fn restore(
        &self,
        functions: Vec<(FunctionSpec, Amounts)>,
    ) -> Vec<(FunctionName, ProviderError)> {
        let (mut wasm, mut containers) = (Vec::new(), Vec::new());
        for (spec, Amounts { desired, slots }) in functions {
            match spec.runtime() {
                Runtime::Wasm => wasm.push((spec, desired)),
                Runtime::Container => containers.push((spec, desired)),
                Runtime::Hybrid => {
                    wasm.push((spec.module_half(), slots));
                    containers.push((spec.image_half(), desired));
                }
            }
        }
        let mut refused = self.wasm.restore(wasm);
        refused.extend(self.containers.restore(containers));
        refused
    }

    /// The replicas of a function.
    ///
    /// # Errors
    /// [`ProviderError::UnknownFunction`], [`ProviderError::Unavailable`].
    pub async fn replicas(&self, runtime: Runtime, name: &FunctionName) -> Result<Replicas, ProviderError> {
        match runtime {
            Runtime::Wasm => self.wasm.replicas(name).await,
            Runtime::Container | Runtime::Hybrid => self.containers.replicas(name).await,
        }
    }

    /// How a function is.
    ///
    /// # Errors
    /// [`ProviderError::UnknownFunction`], [`ProviderError::Unavailable`].
    pub async fn status(
        &self,
        runtime: Runtime,
        name: &FunctionName,
    ) -> Result<FunctionStatus, ProviderError> {
        match runtime {
            Runtime::Wasm => self.wasm.status(name).await,
            Runtime::Container => self.containers.status(name).await,
            Runtime::Hybrid => {
                let (wasm, containers) = (self.wasm.status(name).await, self.containers.status(name).await);
                together(wasm, containers)
            }
        }
    }

    /// Runs one invocation on one runtime. The hot path. Which one takes that of a hybrid is decided
    /// before this (`hybrid`).
    ///
    /// # Errors
    /// As [`Provider::invoke`].
    pub(crate) async fn invoke(
        &self,
        runtime: Runtime,
        name: &FunctionName,
        invocation: Invocation,
    ) -> Result<http::Response<Body>, ProviderError> {
        match runtime {
            Runtime::Wasm => self.wasm.invoke(name, invocation).await,
            // Boxed so that a wasm invocation does not carry the room for this one.
            Runtime::Container => Box::pin(self.containers.invoke(name, invocation)).await,
            Runtime::Hybrid => {
                Err(ProviderError::internal("invoking a function", "no runtime was chosen for a hybrid"))
            }
        }
    }

    /// The log of a function.
    ///
    /// # Errors
    /// [`ProviderError::UnknownFunction`], [`ProviderError::Unavailable`].
    pub async fn logs(
        &self,
        runtime: Runtime,
        name: &FunctionName,
        query: LogQuery,
    ) -> Result<Logs, ProviderError> {
        match runtime {
            Runtime::Wasm => self.wasm.logs(name, query).await.map(Logs::Wasm),
            Runtime::Container => self.containers.logs(name, query).await.map(Logs::Container),
            Runtime::Hybrid => {
                let wasm = self.wasm.logs(name, query.clone()).await;
                both_logs(name, wasm, self.containers.logs(name, query).await)
            }
        }
    }

    /// The slots of a wasm function's pool.
    pub(super) fn slots(&self, runtime: Runtime, name: &FunctionName) -> Option<SlotCounts> {
        match runtime {
            Runtime::Wasm | Runtime::Hybrid => self.wasm.slots(name),
            Runtime::Container => None,
        }
    }

    /// The CPU time of what is scaled of a function, where its labels have that metered: the containers of a hybrid.
    pub(super) fn cpu_time(&self, runtime: Runtime, name: &FunctionName) -> Option<Duration> {
        match runtime {
            Runtime::Wasm => self.wasm.slots(name)?.cpu_time,
            Runtime::Container | Runtime::Hybrid => self.containers.cpu_time(name),
        }
    }

    /// Invocations on the containers of a function or waiting for one.
    pub(super) fn in_containers(&self, name: &FunctionName) -> u32 {
        self.containers.inflight(name).unwrap_or_default()
    }

    /// Invocations that wait for a replica.
    pub(super) fn queued(&self, runtime: Runtime, name: &FunctionName) -> u32 {
        match runtime {
            Runtime::Wasm => self.wasm.slots(name).map_or(0, |slots| slots.queued),
            // What waits for a slot of a hybrid's module waits for no container.
            Runtime::Container | Runtime::Hybrid => {
                self.containers.counts(name).map_or(0, |(_, queued)| queued)
            }
        }
    }

    /// The replicas of a function in containers, and how many invocations wait for one.
    pub(super) fn containers(&self, runtime: Runtime, name: &FunctionName) -> Option<(Replicas, u32)> {
        match runtime {
            Runtime::Container | Runtime::Hybrid => self.containers.counts(name),
            Runtime::Wasm => None,
        }
    }
}

/// The log of a function of two halves, of which one may have none at the moment.
fn both_logs(
    name: &FunctionName,
    wasm: Result<HostLogs, ProviderError>,
    containers: Result<ContainerLogs, ProviderError>,
) -> Result<Logs, ProviderError> {
    if let (Err(of_wasm), Err(of_containers)) = (wasm.as_ref(), containers.as_ref()) {
        // A half that was not taken up is unknown to its provider; the function is not.
        let tells_more = !matches!(of_containers, ProviderError::UnknownFunction(_));
        let is_unknown = matches!(of_wasm, ProviderError::UnknownFunction(_));
        return if is_unknown && tells_more { containers.map(Logs::Container) } else { wasm.map(Logs::Wasm) };
    }
    let dropped = |half: Runtime, error: &ProviderError| {
        tracing::info!(function = %name, runtime = half.as_str(), error = causes(error), "the log of one runtime is missing");
    };
    let wasm = wasm.inspect_err(|error| dropped(Runtime::Wasm, error)).ok();
    let containers = containers.inspect_err(|error| dropped(Runtime::Container, error)).ok();
    Ok(Logs::Hybrid(BothLogs::new(wasm, containers)))
}

/// The status of a function of two halves, of which one may be missing. Its replicas are its containers.
fn together(
    wasm: Result<FunctionStatus, ProviderError>,
    containers: Result<FunctionStatus, ProviderError>,
) -> Result<FunctionStatus, ProviderError> {
    let both = match (wasm, containers) {
        (Err(error), Err(_)) => return Err(error),
        (Ok(wasm), Ok(containers)) => FunctionStatus {
            inflight: wasm.inflight + containers.inflight,
            queued: wasm.queued + containers.queued,
            ..containers
        },
        (Ok(wasm), Err(error)) => {
            FunctionStatus { replicas: Replicas::default(), reason: Some(error.to_string()), ..wasm }
        }
        (Err(error), Ok(containers)) => FunctionStatus {
            reason: Some(containers.reason.unwrap_or_else(|| error.to_string())),
            ..containers
        },
    };
    Ok(FunctionStatus { runtime: Runtime::Hybrid, ..both })
}
