//! The provider: what is deployed, and how an invocation finds its way.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::AtomicU32;
use std::time::Instant;

use arc_swap::ArcSwap;
use bramble_provider::quantity::format_bytes;
use bramble_provider::{
    Body, Digest, FunctionName, FunctionSpec, FunctionStatus, Invocation, LogQuery, Provider, ProviderError,
    Replicas, Runtime, Scale, SecretName, spec,
};
use bytes::Bytes;
use http::Response;
use parking_lot::Mutex;

use crate::call::Call;
use crate::code::Code;
use crate::command_component;
use crate::config::HostConfig;
use crate::engine::{self, EngineInfo};
use crate::epoch::EpochTicker;
use crate::error::HostError;
use crate::function::{Admitted, Entry, Function, Held};
use crate::function_log::{FunctionLog, HostLogs};
use crate::http_guest::{self, Answering};
use crate::kept::HostKept;
use crate::library::{Library, StoredModule, Upload};
use crate::metrics::HostMetrics;
use crate::module_store::ModuleInfo;
use crate::respond::Responding;
use crate::revision::{CodeGuard, HeldRevision, Revision};
use crate::run::{self, GuestRun};
use crate::secrets::clear_views;
use crate::slots::Slots;

/// Invocations that may wait for the host when all functions together fill the pool.
const HOST_QUEUE_LIMIT: u32 = 65_536;

/// Slots of one function, for metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SlotCounts {
    /// Slots there are to be.
    pub desired: u32,
    /// Slots in which an invocation runs.
    pub busy: u32,
    /// Invocations waiting for one, or for the host when all functions together fill the pool.
    pub queued: u32,
    /// Whether the code is in memory.
    pub loaded: bool,
    /// Time that its guests were on a thread, where that is metered: a function scaled by `cpu`.
    pub cpu_time: Option<std::time::Duration>,
}

/// Runs wasm functions inside this process.
///
/// Lookups read a snapshot and take no lock; only deploying and removing write.
#[derive(Debug)]
pub struct WasmProvider {
    config: HostConfig,
    info: EngineInfo,
    library: Library,
    metrics: Arc<HostMetrics>,
    functions: ArcSwap<HashMap<FunctionName, Entry>>,
    /// Held while the map is replaced.
    writing: Mutex<()>,
    host_slots: Arc<Slots>,
    kept: Arc<HostKept>,
    _ticker: EpochTicker,
}

impl WasmProvider {
    /// Opens the data directory, sizes the engine, starts its clock and registers the host's metrics.
    ///
    /// Blocks on files; call it before the server runs.
    ///
    /// # Errors
    /// [`HostError`] when a directory cannot be made, the engine cannot run here, or a metric is registered twice.
    pub fn open(config: HostConfig, registry: &prometheus::Registry) -> Result<Self, HostError> {
        let (engine, info) = engine::build(&config)?;
        match &info.reason {
            None => tracing::info!(allocator = info.allocator, slots = info.slots, "wasm engine ready"),
            Some(reason) => {
                tracing::warn!(
                    allocator = info.allocator,
                    slots = info.slots,
                    wanted = info.slots_wanted,
                    reason,
                    "wasm engine is smaller than asked for"
                );
            }
        }
        clear_views(&config.data_dir.join("views"));
        let host_slots = Arc::new(Slots::new(info.slots, HOST_QUEUE_LIMIT));
        let metrics = HostMetrics::register(registry, &engine, &info, &host_slots)?;
        Ok(Self {
            library: Library::open(&engine, &info, &config, metrics.code_loads())?,
            metrics: Arc::new(metrics),
            functions: ArcSwap::default(),
            writing: Mutex::new(()),
            host_slots,
            kept: Arc::default(),
            _ticker: EpochTicker::start(&engine).map_err(HostError::Thread)?,
            info,
            config,
        })
    }

    /// Checks, compiles and stores a module. Idempotent: the same bytes again cost a hash.
    ///
    /// # Errors
    /// [`ProviderError::InvalidModule`], [`ProviderError::ModuleTooLarge`], [`ProviderError::OutOfStorage`].
    pub async fn put_module(&self, wasm: Bytes) -> Result<ModuleInfo, ProviderError> {
        Ok(self.store_module(Upload::hash(wasm).await?).await?.info)
    }

    /// As [`Self::put_module`], for bytes that are hashed already. A function that is deployed before what
    /// this answers is dropped finds the new code in memory.
    ///
    /// # Errors
    /// As [`Self::put_module`].
    pub async fn store_module(&self, upload: Upload) -> Result<StoredModule, ProviderError> {
        self.library.put(upload).await
    }

    /// Runs the export `initialiser` of a module once, at low priority, and answers the module that begins
    /// where it ended. Stores nothing.
    ///
    /// # Errors
    /// [`ProviderError::InvalidModule`] when it is no WASI 0.1 command, lacks the export, or initialisation
    /// fails or takes too long; [`ProviderError::ModuleTooLarge`] also for what comes out of it.
    pub async fn preinitialise(&self, wasm: Bytes, initialiser: String) -> Result<Bytes, ProviderError> {
        self.library.preinitialise(wasm, initialiser).await
    }

    /// What is stored under a digest.
    ///
    /// # Errors
    /// [`ProviderError::UnknownModule`].
    pub async fn module(&self, digest: Digest) -> Result<ModuleInfo, ProviderError> {
        self.library.info(digest).await
    }

    /// Every stored module.
    ///
    /// # Errors
    /// [`ProviderError::Internal`] when the directory cannot be read.
    pub async fn modules(&self) -> Result<Vec<ModuleInfo>, ProviderError> {
        self.library.list().await
    }

    /// Forgets a module.
    ///
    /// # Errors
    /// [`ProviderError::UnknownModule`], and [`ProviderError::ModuleInUse`] while a function needs it.
    pub async fn remove_module(&self, digest: Digest) -> Result<(), ProviderError> {
        let functions = self.functions.load_full();
        let mut functions = functions.values().map(|function| function.load());
        if let Some(function) = functions.find(|function| function.revision.load().digest == digest) {
            return Err(ProviderError::ModuleInUse { digest, function: function.name.clone() });
        }
        self.library.remove(digest).await
    }

    /// What the engine settled on.
    pub fn engine_info(&self) -> &EngineInfo {
        &self.info
    }

    /// The family of cold starts, which other runtimes' series are in too.
    pub fn cold_starts(&self) -> prometheus::HistogramVec {
        self.metrics.cold_starts()
    }

    /// The slots of a function, without waiting.
    pub fn slots(&self, name: &FunctionName) -> Option<SlotCounts> {
        self.functions.load().get(name).map(|function| {
            let function = function.load();
            let revision = function.revision.load();
            let (busy, queued) = function.running_and_waiting();
            SlotCounts {
                desired: function.slots.desired(),
                busy,
                queued,
                loaded: revision.code().is_some(),
                cpu_time: revision.meters_cpu.then(|| function.cpu.total()),
            }
        })
    }

    /// Takes up functions at start-up without loading their code, which the first invocation does.
    ///
    /// Answers those that cannot be taken up, and why. Blocks on files.
    pub fn restore(&self, specs: Vec<(FunctionSpec, u32)>) -> Vec<(FunctionName, ProviderError)> {
        let mut functions = HashMap::clone(&self.functions.load());
        let mut refused = Vec::new();
        for (spec, desired) in specs {
            let name = spec.name.clone();
            let made = digest_in(&spec).and_then(|digest| {
                let info = self.library.info_blocking(digest)?;
                let log = FunctionLog::new(name.clone(), self.config.log_bytes);
                let metrics = Arc::clone(&self.metrics);
                Revision::new(spec, digest, info.kind, &self.config, log, metrics, &self.kept)
            });
            match made {
                Ok(revision) => {
                    functions.insert(name, self.new_function(revision, desired));
                }
                Err(error) => refused.push((name, error)),
            }
        }
        let _writing = self.writing.lock();
        self.functions.store(Arc::new(functions));
        refused
    }

    /// Shows the functions of a namespace the value that a secret has now. Guests that open its file from now on
    /// read that; where it cannot be shown they read the old one. Blocks on files.
    ///
    /// # Errors
    /// [`ProviderError::OutOfStorage`] and others, of the first function to which it could not be shown.
    pub fn secret_changed(&self, namespace: &str, name: &SecretName) -> Result<(), ProviderError> {
        let functions = self.functions.load_full();
        let mut failed = Ok(());
        let functions = functions.values().map(|entry| entry.load());
        for function in functions.filter(|function| function.name.namespace() == namespace) {
            let revision = function.revision.load();
            let Some(view) = revision.secrets.as_ref().filter(|_| revision.spec.secrets.contains(name))
            else {
                continue;
            };
            let shown = view.refresh(&self.config.secrets_dir, namespace, name);
            failed = failed.and(shown);
        }
        failed
    }

    fn new_function(&self, revision: Revision, desired: u32) -> Entry {
        revision.keep_at_most(desired);
        Arc::new(ArcSwap::from_pointee(Function {
            name: revision.name.clone(),
            slots: Slots::new(desired, self.config.queue_limit),
            host_slots: Arc::clone(&self.host_slots),
            log: Arc::clone(revision.log()),
            cpu: Arc::default(),
            waiting_for_host: AtomicU32::new(0),
            revision: ArcSwap::from_pointee(revision),
        }))
    }

    fn function(&self, name: &FunctionName) -> Result<Held, ProviderError> {
        let found = self.functions.load().get(name).map(|function| function.load());
        found.ok_or_else(|| ProviderError::UnknownFunction(name.clone()))
    }

    fn publish(&self, revision: Revision, desired: u32) {
        let _writing = self.writing.lock();
        let current = self.functions.load();
        if let Some(function) = current.get(&revision.name) {
            let function = function.load();
            function.revision.swap(Arc::new(revision)).keep_at_most(0);
            function.resize(desired);
            return;
        }
        let mut functions = HashMap::clone(&current);
        functions.insert(revision.name.clone(), self.new_function(revision, desired));
        self.functions.store(Arc::new(functions));
    }

    /// Loads the code of a revision, once however many wait for it.
    async fn load(&self, revision: &Revision) -> Result<CodeGuard, ProviderError> {
        let started = Instant::now();
        let _loading = revision.loading.lock().await;
        loop {
            if let Some(code) = revision.code() {
                self.metrics.cold_start(revision.name.as_str(), started.elapsed());
                return Ok(code);
            }
            let code = self.library.code(revision.digest, revision.kind).await?;
            // Scaling to zero may take it away again before it is read back; then it is loaded again.
            revision.set_code(Some(code));
        }
    }

    async fn run(
        &self,
        invocation: Invocation,
        code: CodeGuard,
        revision: HeldRevision,
        admitted: Admitted,
    ) -> Result<Response<Body>, ProviderError> {
        let (invocation, body) = invocation.into_parts();
        let timeout = revision.settings.exec_timeout;
        let meter = revision.meters_cpu.then(|| Arc::clone(&admitted.function.cpu));
        if let Code::HttpComponent(proxy) = &*code {
            let kept = revision.kept.as_ref().and_then(|kept| kept.take());
            if kept.is_none() {
                self.kept.make_room(&self.host_slots);
            }
            let call = Call::new(revision, invocation, Body::empty());
            let (sender, answer) = tokio::sync::oneshot::channel();
            let handling = Box::pin(http_guest::handle(proxy.clone(), Arc::clone(&call), body, sender, kept));
            let run = GuestRun::new(handling, timeout, meter);
            return Box::pin(Answering { run, answer, call, admitted }.response()).await;
        }
        self.kept.make_room(&self.host_slots);
        let call = Call::new(revision, invocation, body);
        let run = match &*code {
            Code::CommandComponent(command) => {
                let running = command_component::run(command.clone(), Arc::clone(&call));
                GuestRun::new(Box::pin(running), timeout, meter)
            }
            Code::Command(_) | Code::HttpComponent(_) => {
                GuestRun::new(Box::pin(run::command(code, Arc::clone(&call))), timeout, meter)
            }
        };
        Responding { run, call, admitted }.response().await
    }
}

impl Scale for WasmProvider {
    async fn replicas(&self, name: &FunctionName) -> Result<Replicas, ProviderError> {
        Ok(self.function(name)?.replicas())
    }

    async fn scale(&self, name: &FunctionName, desired: u32) -> Result<(), ProviderError> {
        let function = self.function(name)?;
        function.resize(desired);
        Ok(())
    }

    /// An idle slot costs nothing, so there is nothing to pause.
    async fn freeze(&self, name: &FunctionName) -> Result<u32, ProviderError> {
        self.function(name).map(|_| 0)
    }
}

impl Provider for WasmProvider {
    type Logs = HostLogs;

    async fn deploy(&self, spec: &FunctionSpec, desired: u32) -> Result<(), ProviderError> {
        spec.validate()?;
        let digest = digest_in(spec)?;
        let info = self.library.info(digest).await?;
        let current = self.functions.load().get(&spec.name).map(|function| function.load());
        if let Some(function) = &current
            && function.revision.load().spec == *spec
        {
            return self.scale(&spec.name, desired).await;
        }
        let log = match &current {
            Some(function) => Arc::clone(&function.log),
            None => FunctionLog::new(spec.name.clone(), self.config.log_bytes),
        };
        let (spec, config, metrics) = (spec.clone(), self.config.clone(), Arc::clone(&self.metrics));
        let kept = Arc::clone(&self.kept);
        let revision = tokio::task::spawn_blocking(move || {
            Revision::new(spec, digest, info.kind, &config, log, metrics, &kept)
        })
        .await
        .map_err(|error| ProviderError::internal("preparing a revision", error))??;
        let code = self.library.code(digest, info.kind).await?;
        check_memory(&code, revision.memory_bytes)?;
        revision.set_code((desired > 0).then_some(code));
        self.publish(revision, desired);
        Ok(())
    }

    async fn remove(&self, name: &FunctionName) -> Result<(), ProviderError> {
        let _writing = self.writing.lock();
        let mut functions = HashMap::clone(&self.functions.load());
        if let Some(function) = functions.remove(name) {
            self.functions.store(Arc::new(functions));
            let function = function.load();
            function.revision.load().keep_at_most(0);
            function.log.close();
            self.metrics.forget(name.as_str());
        }
        Ok(())
    }

    async fn status(&self, name: &FunctionName) -> Result<FunctionStatus, ProviderError> {
        let function = self.function(name)?;
        let (inflight, queued) = function.running_and_waiting();
        Ok(FunctionStatus {
            runtime: Runtime::Wasm,
            replicas: function.replicas(),
            inflight,
            queued,
            memory_bytes: None,
            reason: None,
        })
    }

    async fn list(&self) -> Result<Vec<FunctionName>, ProviderError> {
        Ok(self.functions.load().keys().cloned().collect())
    }

    async fn invoke(
        &self,
        name: &FunctionName,
        invocation: Invocation,
    ) -> Result<Response<Body>, ProviderError> {
        let admitted = Function::admit(self.function(name)?, self.config.queue_wait).await?;
        let revision = admitted.function.revision.load();
        let code = match revision.code() {
            Some(code) => code,
            // Boxed, like every path that is rarely taken: a future is as large as its largest branch,
            // and this one is made for each invocation.
            None => Box::pin(self.load(&revision)).await?,
        };
        self.run(invocation, code, revision, admitted).await
    }

    async fn logs(&self, name: &FunctionName, query: LogQuery) -> Result<HostLogs, ProviderError> {
        Ok(self.function(name)?.log.read(query))
    }
}

fn digest_in(spec: &FunctionSpec) -> Result<Digest, ProviderError> {
    match &spec.code {
        spec::Code::Module(digest) | spec::Code::Hybrid { module: digest, .. } => Ok(*digest),
        spec::Code::Image(image) => Err(ProviderError::InvalidSpec {
            field: "image".to_owned(),
            reason: format!("{image:?} is a container image, not a module"),
        }),
    }
}

/// Refuses a limit below what the module starts with: every invocation would fail.
fn check_memory(code: &Code, limit_bytes: u64) -> Result<(), ProviderError> {
    let initial = code.initial_memory_bytes();
    if initial <= limit_bytes {
        return Ok(());
    }
    Err(ProviderError::InvalidSpec {
        field: "limits.memory".to_owned(),
        reason: format!(
            "the module starts with {}, above the limit of {}",
            format_bytes(initial),
            format_bytes(limit_bytes)
        ),
    })
}
