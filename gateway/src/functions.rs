//! The registry of functions, and the one writer of desired state.
//!
//! In: looking a function up without a lock, deploying, removing, scaling, waking one from zero,
//! bringing all of them back at the start. Out: HTTP, OpenFaaS' words, how a runtime works.
//! The properties that must hold: desired state is stored before it is applied; what a provider
//! refuses leaves the stored state as it was; two writes to one name happen one after the other.

mod claims;
mod collector;
mod function;
mod hybrid;
mod observe;
mod order;
mod providers;
mod rescale;
mod services;
mod write;

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;

use arc_swap::ArcSwap;
use bramble_provider::{Digest, FunctionName, FunctionSpec, ProviderError};
use tokio_util::task::TaskTracker;

use crate::error::GatewayError;
use crate::metrics::Metrics;
use crate::store::{Store, StoreError};

pub use claims::ModuleClaim;
pub use function::{CLIENT_GONE, Function, Held, Inflight};
pub(crate) use hybrid::{Half, HalfFigures};
pub use providers::Providers;

use claims::Claims;
use function::Entry;
use order::WriteOrder;
use services::Services;

/// All functions at one instant. Replaced as a whole, never changed in place.
type Snapshot = ArcSwap<HashMap<FunctionName, Entry>>;

/// The functions of this gateway. Cloning copies a pointer.
#[derive(Clone)]
pub struct Functions(Arc<Inner>);

struct Inner {
    snapshot: Arc<Snapshot>,
    store: Store,
    services: Arc<Services>,
    providers: Providers,
    metrics: Metrics,
    hybrids: hybrid::Families,
    order: WriteOrder,
    modules: Claims,
    /// Writes under way. They run as tasks of their own: a client that hangs up must not leave half
    /// a deployment.
    writes: TaskTracker,
    /// Slots of a wasm function that asks for no number.
    default_desired: u32,
}

/// What a deployment may find under its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Nothing: else [`GatewayError::AlreadyDeployed`].
    Create,
    /// A function: else [`ProviderError::UnknownFunction`].
    Update,
    /// Either.
    Upsert,
}

/// What a deployment did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Deployed {
    /// There was no function of this name.
    Created,
    /// It replaced another spec.
    Updated,
    /// It was deployed just so already.
    Unchanged,
}

/// What [`Functions::restore`] found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Restored {
    /// Functions that are registered again.
    pub functions: usize,
    /// Those among them that their provider refused; the log says why.
    pub faulty: usize,
}

impl Functions {
    /// An empty registry over a store; [`Self::restore`] fills it. Also registers the gauges that
    /// are read from it at scrape time.
    ///
    /// # Errors
    /// When its gauges are registered already.
    pub fn new(
        store: Store,
        providers: Providers,
        metrics: &Metrics,
        default_desired: u32,
    ) -> Result<Self, prometheus::Error> {
        let snapshot = Arc::new(Snapshot::default());
        let collector = collector::FunctionCollector::new(snapshot.clone(), providers.clone())?;
        metrics.registry().register(Box::new(collector))?;
        let hybrids = hybrid::Families::register(metrics.registry())?;
        let services = Arc::new(Services::new(store.clone()));
        providers.keep(&services);
        Ok(Self(Arc::new(Inner {
            snapshot,
            store,
            services,
            providers,
            metrics: metrics.clone(),
            hybrids,
            order: WriteOrder::default(),
            modules: Claims::default(),
            writes: TaskTracker::new(),
            default_desired,
        })))
    }

    /// The function that a client calls `name`: `echo`, `echo.openfaas-fn` or `echo.team`.
    ///
    /// `None` also when `name` is no valid name.
    pub fn get(&self, name: &str) -> Option<Arc<Function>> {
        self.0.get(own_name(name))
    }

    /// The same for an invocation, which is the hot path: no lock, no allocation, no count of references.
    pub fn hold(&self, name: &str) -> Option<Held> {
        self.0.snapshot.load().get(own_name(name)).map(Entry::hold)
    }

    /// All functions, by name.
    pub fn list(&self) -> Vec<Arc<Function>> {
        let mut functions: Vec<_> = self.0.snapshot.load().values().map(|entry| Arc::clone(entry)).collect();
        functions.sort_unstable_by(|a, b| a.spec.name.cmp(&b.spec.name));
        functions
    }

    /// What runs the functions.
    pub fn providers(&self) -> &Providers {
        &self.0.providers
    }

    /// Makes `spec` what runs under its name: stored, then applied, then visible.
    ///
    /// Goes on when the future is dropped.
    ///
    /// # Errors
    /// [`GatewayError::AlreadyDeployed`] by `mode`; [`GatewayError::Provider`] with what the spec's
    /// check, the store or the provider said. The function is then as it was before.
    pub async fn deploy(&self, spec: FunctionSpec, mode: Mode) -> Result<Deployed, GatewayError> {
        let inner = self.0.clone();
        self.write(async move { inner.deploy(write::Change::Spec { spec: Box::new(spec), mode }).await })
            .await
    }

    /// Makes a module what runs under `name`, and leaves the rest of an existing spec as it is.
    ///
    /// # Errors
    /// As [`Self::deploy`].
    pub async fn deploy_module(&self, name: FunctionName, module: Digest) -> Result<Deployed, GatewayError> {
        let inner = self.0.clone();
        self.write(async move { inner.deploy(write::Change::Module { name, module }).await }).await
    }

    /// Keeps a module from being removed until the claim is dropped: for an upload that a deployment follows.
    ///
    /// # Errors
    /// [`ProviderError::Unavailable`] while it is being removed.
    pub fn claim_module(&self, module: Digest) -> Result<ModuleClaim, ProviderError> {
        self.0.modules.using(module)
    }

    /// Forgets a module that no function is asked to run.
    ///
    /// # Errors
    /// [`ProviderError::UnknownModule`], [`ProviderError::ModuleInUse`], and
    /// [`ProviderError::Unavailable`] while it is being deployed.
    pub async fn remove_module(&self, module: Digest) -> Result<(), ProviderError> {
        let inner = self.0.clone();
        self.write(async move { inner.remove_module(module).await }).await
    }

    /// Takes a function away, with its series. Running invocations finish.
    ///
    /// # Errors
    /// [`ProviderError::UnknownFunction`]; what the store or the provider says.
    pub async fn remove(&self, name: &FunctionName) -> Result<(), GatewayError> {
        let (inner, name) = (self.0.clone(), name.clone());
        self.write(async move { inner.remove(&name).await }).await
    }

    /// Sets how many replicas are asked for. Idempotent.
    ///
    /// # Errors
    /// [`ProviderError::UnknownFunction`]; what the store or the provider says.
    pub async fn scale(&self, name: &FunctionName, desired: u32) -> Result<(), GatewayError> {
        let (inner, name) = (self.0.clone(), name.clone());
        self.write(async move { inner.scale(&name, desired).await }).await
    }

    /// Pauses the replicas of a function on which nothing runs; answers how many.
    ///
    /// # Errors
    /// [`ProviderError::UnknownFunction`]; what the provider says.
    pub async fn freeze(&self, name: &FunctionName) -> Result<u32, ProviderError> {
        let function = self.get(name.as_str()).ok_or_else(|| ProviderError::UnknownFunction(name.clone()))?;
        self.0.providers.freeze(function.runtime, name).await
    }

    /// Takes a function from no replica to at least one, for an invocation that waits.
    ///
    /// At once when a replica is asked for already. Many callers at the same time cause one change;
    /// a caller that gives up leaves it to the next.
    ///
    /// # Errors
    /// [`ProviderError::UnknownFunction`]; what the store or the provider says.
    pub async fn activate(&self, function: &Function) -> Result<(), ProviderError> {
        if function.desired() > 0 {
            return Ok(());
        }
        let _alone = function.activation().await;
        if function.desired() > 0 {
            return Ok(());
        }
        let (inner, name) = (self.0.clone(), function.spec.name.clone());
        self.write(async move { inner.activate(&name).await }).await
    }

    /// Registers every stored function again. Called once, before requests are taken. Compiles nothing.
    ///
    /// A function that its provider refuses stays registered, with [`Function::fault`] set: it was
    /// asked for, and a redeploy or a repaired module brings it back.
    ///
    /// # Errors
    /// [`StoreError`] when the store cannot be read.
    pub async fn restore(&self) -> Result<Restored, StoreError> {
        let inner = self.0.clone();
        tokio::task::spawn_blocking(move || inner.restore())
            .await
            .unwrap_or_else(|panic| Err(StoreError::Unfinished(panic)))
    }

    /// Waits until no write is under way. For the end of the gateway: no write should begin by then.
    pub async fn settle(&self) {
        self.0.writes.close();
        self.0.writes.wait().await;
    }

    async fn write<T, E>(&self, work: impl Future<Output = Result<T, E>> + Send + 'static) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<ProviderError> + Send + 'static,
    {
        let done = self.0.writes.spawn(work).await;
        done.unwrap_or_else(|panic| {
            Err(ProviderError::internal("changing a function's desired state", panic).into())
        })
    }
}

impl Inner {
    /// By the written form of a [`FunctionName`].
    fn get(&self, name: &str) -> Option<Arc<Function>> {
        self.snapshot.load().get(name).map(|entry| Arc::clone(entry))
    }
}

/// A name without what may follow it and means the default namespace.
fn own_name(name: &str) -> &str {
    name.strip_suffix(function::DEFAULT_SUFFIX).unwrap_or(name)
}

impl fmt::Debug for Functions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Functions").field("functions", &self.0.snapshot.load().len()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
