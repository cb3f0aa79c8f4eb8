//! Which provider runs a function: one exhaustive match per verb, so a new runtime cannot be forgotten.

use std::sync::Arc;
use std::time::Duration;

use bramble_host::{HostLogs, SlotCounts, WasmProvider};
use bramble_provider::{
    Body, Code, Digest, FunctionName, FunctionSpec, FunctionStatus, Invocation, LogLine, LogQuery, LogStream,
    Provider, ProviderError, Replicas, Runtime, Scale,
};
use bramble_swarm::{ContainerLogs, SwarmProvider};

/// When a client may ask again for what this gateway cannot run: nothing changes before a restart.
const RETRY_AFTER: Duration = Duration::from_secs(60);

/// The providers of this gateway.
#[derive(Debug, Clone)]
pub struct Providers {
    wasm: Arc<WasmProvider>,
    containers: Arc<SwarmProvider>,
}

/// The log of a function, whatever runs it.
#[derive(Debug)]
pub enum Logs {
    /// Of a wasm function.
    Wasm(HostLogs),
    /// Of a function in containers.
    Container(ContainerLogs),
}

impl LogStream for Logs {
    async fn next(&mut self) -> Option<LogLine> {
        match self {
            Self::Wasm(logs) => logs.next().await,
            Self::Container(logs) => logs.next().await,
        }
    }
}

impl Providers {
    /// The two providers there are.
    pub fn new(wasm: Arc<WasmProvider>, containers: Arc<SwarmProvider>) -> Self {
        Self { wasm, containers }
    }

    /// Refuses at once, before anything is stored, what is certain to be refused later.
    pub(super) async fn check(&self, spec: &FunctionSpec) -> Result<(), ProviderError> {
        match &spec.code {
            Code::Module(digest) => self.wasm.module(*digest).await.map(drop),
            Code::Image(_) => self.containers.check(spec).await,
            Code::Hybrid { .. } => Err(no_hybrids()),
        }
    }

    pub(super) async fn deploy(&self, spec: &FunctionSpec, desired: u32) -> Result<(), ProviderError> {
        match spec.runtime() {
            Runtime::Wasm => self.wasm.deploy(spec, desired).await,
            Runtime::Container => Box::pin(self.containers.deploy(spec, desired)).await,
            Runtime::Hybrid => Err(no_hybrids()),
        }
    }

    pub(super) async fn remove(&self, runtime: Runtime, name: &FunctionName) -> Result<(), ProviderError> {
        match runtime {
            Runtime::Wasm => self.wasm.remove(name).await,
            Runtime::Container => self.containers.remove(name).await,
            // Nothing of it can be running, and a stored leftover must be removable.
            Runtime::Hybrid => Ok(()),
        }
    }

    pub(super) async fn remove_module(&self, module: Digest) -> Result<(), ProviderError> {
        self.wasm.remove_module(module).await
    }

    pub(super) async fn scale(
        &self,
        runtime: Runtime,
        name: &FunctionName,
        desired: u32,
    ) -> Result<(), ProviderError> {
        match runtime {
            Runtime::Wasm => self.wasm.scale(name, desired).await,
            Runtime::Container => self.containers.scale(name, desired).await,
            Runtime::Hybrid => Err(no_hybrids()),
        }
    }

    pub(super) async fn freeze(&self, runtime: Runtime, name: &FunctionName) -> Result<u32, ProviderError> {
        match runtime {
            Runtime::Wasm => self.wasm.freeze(name).await,
            Runtime::Container => self.containers.freeze(name).await,
            Runtime::Hybrid => Err(no_hybrids()),
        }
    }

    /// Registers stored functions at the start: compiles nothing, asks no daemon. Answers what was refused. Blocking.
    pub(super) fn restore(&self, functions: Vec<(FunctionSpec, u32)>) -> Vec<(FunctionName, ProviderError)> {
        let (mut wasm, mut containers, mut refused) = (Vec::new(), Vec::new(), Vec::new());
        for (spec, desired) in functions {
            match spec.runtime() {
                Runtime::Wasm => wasm.push((spec, desired)),
                Runtime::Container => containers.push((spec, desired)),
                Runtime::Hybrid => refused.push((spec.name, no_hybrids())),
            }
        }
        refused.extend(self.wasm.restore(wasm));
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
            Runtime::Container => self.containers.replicas(name).await,
            Runtime::Hybrid => Err(no_hybrids()),
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
            Runtime::Hybrid => Err(no_hybrids()),
        }
    }

    /// Runs one invocation. The hot path.
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
            Runtime::Hybrid => Err(no_hybrids()),
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
            Runtime::Hybrid => Err(no_hybrids()),
        }
    }

    /// The slots of a wasm function's pool.
    pub(super) fn slots(&self, runtime: Runtime, name: &FunctionName) -> Option<SlotCounts> {
        match runtime {
            Runtime::Wasm | Runtime::Hybrid => self.wasm.slots(name),
            Runtime::Container => None,
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

fn no_hybrids() -> ProviderError {
    ProviderError::Unavailable {
        provider: "hybrid",
        reason: "functions of both runtimes are not built into this gateway yet; deploy a module or an image"
            .into(),
        retry_after: RETRY_AFTER,
    }
}
