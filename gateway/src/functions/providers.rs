//! Which provider runs a function: one exhaustive match per verb, so a new runtime cannot be forgotten.

use std::sync::Arc;
use std::time::Duration;

use bramble_host::WasmProvider;
use bramble_provider::{
    Body, Code, Digest, FunctionName, FunctionSpec, FunctionStatus, Invocation, LogQuery, LogStream,
    Provider, ProviderError, Replicas, Runtime, Scale,
};

/// When a client may ask again for what this gateway cannot run: nothing changes before a restart.
const RETRY_AFTER: Duration = Duration::from_secs(60);

/// The providers of this gateway.
#[derive(Debug, Clone)]
pub struct Providers {
    wasm: Arc<WasmProvider>,
}

impl Providers {
    pub(super) fn new(wasm: Arc<WasmProvider>) -> Self {
        Self { wasm }
    }

    /// Refuses at once, before anything is stored, what is certain to be refused later.
    pub(super) async fn check(&self, spec: &FunctionSpec) -> Result<(), ProviderError> {
        match &spec.code {
            Code::Module(digest) => self.wasm.module(*digest).await.map(drop),
            Code::Image(_) | Code::Hybrid { .. } => Err(no_containers()),
        }
    }

    pub(super) async fn deploy(&self, spec: &FunctionSpec, desired: u32) -> Result<(), ProviderError> {
        match spec.runtime() {
            Runtime::Wasm => self.wasm.deploy(spec, desired).await,
            Runtime::Container | Runtime::Hybrid => Err(no_containers()),
        }
    }

    pub(super) async fn remove(&self, runtime: Runtime, name: &FunctionName) -> Result<(), ProviderError> {
        match runtime {
            Runtime::Wasm => self.wasm.remove(name).await,
            // Nothing of it can be running, and a stored leftover must be removable.
            Runtime::Container | Runtime::Hybrid => Ok(()),
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
            Runtime::Container | Runtime::Hybrid => Err(no_containers()),
        }
    }

    /// Registers stored functions at the start, compiling nothing. Answers what was refused. Blocking.
    pub(super) fn restore(&self, functions: Vec<(FunctionSpec, u32)>) -> Vec<(FunctionName, ProviderError)> {
        let (wasm, others): (Vec<_>, Vec<_>) =
            functions.into_iter().partition(|(spec, _)| match spec.runtime() {
                Runtime::Wasm => true,
                Runtime::Container | Runtime::Hybrid => false,
            });
        let mut refused = self.wasm.restore(wasm);
        refused.extend(others.into_iter().map(|(spec, _)| (spec.name, no_containers())));
        refused
    }

    /// The replicas of a function.
    ///
    /// # Errors
    /// [`ProviderError::UnknownFunction`], [`ProviderError::Unavailable`].
    pub async fn replicas(&self, runtime: Runtime, name: &FunctionName) -> Result<Replicas, ProviderError> {
        match runtime {
            Runtime::Wasm => self.wasm.replicas(name).await,
            Runtime::Container | Runtime::Hybrid => Err(no_containers()),
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
            Runtime::Container | Runtime::Hybrid => Err(no_containers()),
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
            Runtime::Container | Runtime::Hybrid => Err(no_containers()),
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
    ) -> Result<impl LogStream, ProviderError> {
        match runtime {
            Runtime::Wasm => self.wasm.logs(name, query).await,
            Runtime::Container | Runtime::Hybrid => Err(no_containers()),
        }
    }
}

fn no_containers() -> ProviderError {
    ProviderError::Unavailable {
        provider: "docker swarm",
        reason: "container functions are not built into this gateway yet; deploy a wasm module instead"
            .into(),
        retry_after: RETRY_AFTER,
    }
}
