//! Everything a running gateway is made of, in one value.

use std::sync::Arc;
use std::time::SystemTime;

use anyhow::Context;
use bramble_host::WasmProvider;
use bramble_provider::ProviderError;
use bramble_swarm::{SwarmConfig, SwarmProvider};
use tokio::sync::Semaphore;
use tokio_util::task::TaskTracker;

use crate::auth::Auth;
use crate::catalogue::Catalogue;
use crate::config::GatewayConfig;
use crate::data_dir::DataDir;
use crate::functions::{Functions, Providers};
use crate::metrics::Metrics;
use crate::namespaces::Namespaces;
use crate::queue::Queue;
use crate::ready::Readiness;
use crate::scaling::Scaling;
use crate::secrets::Secrets;
use crate::store::Store;

/// Most modules on their way in at once.
const MAX_UPLOADS: usize = 4;

/// One gateway. Its parts are shared by reference; each owns its own state.
#[derive(Debug)]
pub struct Gateway {
    /// What it was told at the start.
    pub config: GatewayConfig,
    /// The functions, and the one writer of desired state.
    pub functions: Functions,
    /// Who may use the API.
    pub auth: Auth,
    /// The secrets of functions.
    pub secrets: Secrets,
    /// The namespaces that were made.
    pub namespaces: Namespaces,
    /// The modules of the function store.
    pub catalogue: Catalogue,
    /// The wasm host.
    pub wasm: Arc<WasmProvider>,
    /// The container provider, whether or not there is a Docker.
    pub containers: Arc<SwarmProvider>,
    /// What scaling shares with the API; [`crate::scaling::start`] runs the loop.
    pub scaling: Scaling,
    /// Asynchronous invocations; `queue::start` runs them.
    pub queue: Arc<Queue>,
    /// What is counted.
    pub metrics: Metrics,
    /// Whether requests are taken.
    pub readiness: Readiness,
    /// When it was opened.
    pub started_at: SystemTime,
    /// How many modules may be on their way in at once: each is whole in memory.
    pub(crate) uploads: Semaphore,
    /// Changes under way that go on without whoever asked for them; see [`Self::change`].
    pub(crate) changes: TaskTracker,
    /// Held so that no second gateway writes to the same files.
    _data_dir: DataDir,
}

impl Gateway {
    /// Locks the data directory, opens the store and the wasm host, and registers the stored functions.
    ///
    /// The gateway is then [`Phase::Starting`](crate::ready::Phase::Starting): whoever serves it says when it is ready.
    ///
    /// # Errors
    /// A text that says what was tried, on which path, and why it failed.
    pub async fn open(config: GatewayConfig) -> anyhow::Result<Arc<Self>> {
        let started_at = SystemTime::now();
        let metrics = Metrics::new(started_at).context("cannot set up the metrics")?;
        let parts = {
            let (config, metrics) = (config.clone(), metrics.clone());
            tokio::task::spawn_blocking(move || open_parts(&config, &metrics))
        };
        let Parts { auth, data_dir, store, namespaces, catalogue, wasm, queue } =
            parts.await.context("opening the gateway's parts did not finish")??;
        let secrets = Secrets::new(config.wasm.secrets_dir.clone());
        // Both providers take the secrets from one place.
        let containers =
            SwarmConfig { secrets_dir: config.wasm.secrets_dir.clone(), ..config.containers.clone() };
        let containers = SwarmProvider::open(containers, wasm.cold_starts());
        let containers = Arc::new(containers.map_err(anyhow::Error::msg).context("cannot use Docker")?);
        let providers = Providers::new(wasm.clone(), containers.clone());
        let functions = Functions::new(store, providers, &metrics, config.wasm.default_slots)
            .context("cannot set up the metrics of the functions")?;
        let restored = functions.restore().await?;
        tracing::info!(
            data_dir = %config.data_dir.display(),
            functions = restored.functions,
            faulty = restored.faulty,
            "restored the functions"
        );
        let scaling = Scaling::new(metrics.registry()).context("cannot set up the metrics of the scaler")?;
        let readiness = Readiness::starting();
        let uploads = Semaphore::new(MAX_UPLOADS);
        Ok(Arc::new(Self {
            config,
            functions,
            auth,
            secrets,
            namespaces,
            catalogue,
            wasm,
            containers,
            scaling,
            queue,
            metrics,
            readiness,
            started_at,
            uploads,
            changes: TaskTracker::new(),
            _data_dir: data_dir,
        }))
    }

    /// Makes a change of several steps to its end, also when the caller is dropped: a client that hangs up leaves no
    /// half of one.
    ///
    /// # Errors
    /// What `change` says; [`ProviderError::Internal`] when it panics.
    pub(crate) async fn change<T, E, F>(self: &Arc<Self>, change: impl FnOnce(Arc<Self>) -> F) -> Result<T, E>
    where
        T: Send + 'static,
        E: From<ProviderError> + Send + 'static,
        F: Future<Output = Result<T, E>> + Send + 'static,
    {
        let done = self.changes.spawn(change(Arc::clone(self))).await;
        done.unwrap_or_else(|panic| Err(ProviderError::internal("making a change", panic).into()))
    }
}

/// What is opened off the async threads.
struct Parts {
    auth: Auth,
    data_dir: DataDir,
    store: Store,
    namespaces: Namespaces,
    catalogue: Catalogue,
    wasm: Arc<WasmProvider>,
    queue: Arc<Queue>,
}

fn open_parts(config: &GatewayConfig, metrics: &Metrics) -> anyhow::Result<Parts> {
    let auth = Auth::open(&config.auth, config.listen)?;
    let catalogue = Catalogue::open(config.store_dir.as_deref(), config.wasm.max_module_bytes)?;
    let data_dir = DataDir::open(&config.data_dir)?;
    let store = Store::open(data_dir.path())?;
    let namespaces = Namespaces::open(store.clone())?;
    let wasm = WasmProvider::open(config.wasm.clone(), metrics.registry())
        .with_context(|| format!("cannot open the wasm host in {}", config.wasm.data_dir.display()))?;
    let queue =
        Queue::open(config.queue.clone(), config.upstream_timeout, data_dir.path(), metrics.registry())?;
    Ok(Parts { auth, data_dir, store, namespaces, catalogue, wasm: Arc::new(wasm), queue })
}
