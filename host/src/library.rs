//! Modules on their way from an upload to linked code: store, compiler, cache, linker.

use std::sync::{Arc, Weak};
use std::time::Duration;

use bramble_provider::{Digest, ProviderError};
use bytes::Bytes;
use dashmap::DashMap;
use prometheus::IntCounter;
use tokio::sync::Mutex;
use wasmtime::Engine;

use crate::code::{Code, Linkers};
use crate::code_cache::{CodeCache, Loaded};
use crate::compiler::Compiler;
use crate::config::HostConfig;
use crate::engine::{self, EngineInfo};
use crate::error::HostError;
use crate::inspect::{self, GuestKind};
use crate::module_store::{ModuleInfo, ModuleStore, digest_of};
use crate::preinit::{self, Bounds};

/// Longest that a module's initialisation may run: far longer than anybody waits for a start.
const PREINIT_TIME: Duration = Duration::from_secs(30);

/// Uploads of one digest wait for each other; of different digests mostly not.
const UPLOAD_LOCKS: usize = 16;

/// The bytes of a module, hashed.
#[derive(Debug, Clone)]
pub struct Upload {
    wasm: Bytes,
    digest: Digest,
}

impl Upload {
    /// Hashes the bytes, off the threads that serve.
    ///
    /// # Errors
    /// [`ProviderError::Internal`] when the runtime is ending.
    pub async fn hash(wasm: Bytes) -> Result<Self, ProviderError> {
        blocking(move || Ok(Self { digest: digest_of(&wasm), wasm })).await
    }

    /// Their digest.
    pub fn digest(&self) -> Digest {
        self.digest
    }
}

/// A module that was uploaded.
#[derive(Debug)]
pub struct StoredModule {
    /// What it is.
    pub info: ModuleInfo,
    /// Whether it was not stored before.
    pub is_new: bool,
    /// Code that was compiled just now, in memory for the deployment that follows.
    _code: Option<Arc<Code>>,
}

/// Every module there is, and the code of those in use.
#[derive(Debug)]
pub(crate) struct Library {
    engine: Engine,
    linkers: Linkers,
    modules: Arc<ModuleStore>,
    cache: Arc<CodeCache>,
    compiler: Compiler,
    max_module_bytes: u64,
    /// Most memory of a module's initialisation.
    preinit_memory_bytes: u64,
    uploads: [Mutex<()>; UPLOAD_LOCKS],
    /// Code that some function has in memory, so that functions with one module share it.
    loaded: DashMap<Digest, Weak<Code>>,
    /// Counts what is loaded because a function needs it.
    loads: IntCounter,
}

impl Library {
    pub(crate) fn open(
        engine: &Engine,
        info: &EngineInfo,
        config: &HostConfig,
        loads: IntCounter,
    ) -> Result<Self, HostError> {
        let fingerprint = &engine::fingerprint(engine);
        let program = config.compiler.clone();
        Ok(Self {
            engine: engine.clone(),
            linkers: Linkers::new(engine).map_err(HostError::Engine)?,
            modules: Arc::new(ModuleStore::open(&config.data_dir)?),
            cache: Arc::new(CodeCache::open(&config.data_dir, fingerprint)?),
            compiler: Compiler::start(config.compile_jobs, program, (info.is_pooled(), fingerprint))?,
            max_module_bytes: config.max_module_bytes,
            preinit_memory_bytes: config.default_memory_bytes,
            uploads: std::array::from_fn(|_| Mutex::new(())),
            loaded: DashMap::new(),
            loads,
        })
    }

    /// Runs a module's initialisation once; answers the module that begins where it ended.
    pub(crate) async fn preinitialise(
        &self,
        wasm: Bytes,
        initialiser: String,
    ) -> Result<Bytes, ProviderError> {
        self.check_size(&wasm)?;
        let bounds = Bounds { time: PREINIT_TIME, memory_bytes: self.preinit_memory_bytes };
        let run = move || preinit::preinitialise(&wasm, &initialiser, bounds);
        let made: Bytes = self.compiler.run("pre-initialising a module", run).await??.into();
        if made.len() as u64 > self.max_module_bytes {
            return Err(ProviderError::InvalidModule(format!(
                "with what its initialisation left in memory it has {} bytes, above the limit of {}",
                made.len(),
                self.max_module_bytes
            )));
        }
        Ok(made)
    }

    fn check_size(&self, wasm: &Bytes) -> Result<(), ProviderError> {
        if wasm.len() as u64 > self.max_module_bytes {
            return Err(ProviderError::ModuleTooLarge { limit_bytes: self.max_module_bytes });
        }
        Ok(())
    }

    /// Takes an upload: told apart, compiled, linked once to see that it can be, then stored.
    pub(crate) async fn put(&self, upload: Upload) -> Result<StoredModule, ProviderError> {
        let Upload { wasm, digest } = upload;
        self.check_size(&wasm)?;
        let lock = usize::from(digest.first_byte()) % UPLOAD_LOCKS;
        let _turn = self.uploads[lock].lock().await;
        if self.cache.has(digest)
            && let Ok(info) = self.info(digest).await
        {
            return Ok(StoredModule { info, is_new: false, _code: None });
        }
        let is_new = self.info(digest).await.is_err();
        let inspected = wasm.clone();
        let facts = blocking(move || inspect::inspect(&inspected)).await?;
        let kind = facts.kind;
        let code = self.compiler.compile(&self.engine, wasm.clone(), kind).await?;
        let cache = Arc::clone(&self.cache);
        blocking(move || cache.put(digest, code)).await?;
        let linked = self.load_cached(digest, kind).await.transpose();
        let vanished = || Err(ProviderError::internal("loading new code", "the cache file vanished"));
        let code = linked.unwrap_or_else(vanished).inspect_err(|_| self.cache.remove(digest))?;
        let modules = Arc::clone(&self.modules);
        let info = blocking(move || {
            modules.put(digest, &wasm, &facts)?;
            modules.info(digest)
        })
        .await?;
        Ok(StoredModule { info, is_new, _code: Some(self.share(digest, code)) })
    }

    pub(crate) async fn info(&self, digest: Digest) -> Result<ModuleInfo, ProviderError> {
        let modules = Arc::clone(&self.modules);
        blocking(move || modules.info(digest)).await
    }

    /// As [`Self::info`], on this thread: for start-up.
    pub(crate) fn info_blocking(&self, digest: Digest) -> Result<ModuleInfo, ProviderError> {
        self.modules.info(digest)
    }

    pub(crate) async fn list(&self) -> Result<Vec<ModuleInfo>, ProviderError> {
        let modules = Arc::clone(&self.modules);
        blocking(move || modules.list()).await
    }

    pub(crate) async fn remove(&self, digest: Digest) -> Result<(), ProviderError> {
        let (modules, cache) = (Arc::clone(&self.modules), Arc::clone(&self.cache));
        blocking(move || {
            modules.remove(digest)?;
            cache.remove(digest);
            Ok(())
        })
        .await
    }

    /// Linked code of a module: shared when some function has it, else from the cache, else compiled.
    pub(crate) async fn code(&self, digest: Digest, kind: GuestKind) -> Result<Arc<Code>, ProviderError> {
        if let Some(code) = self.loaded.get(&digest).and_then(|code| code.upgrade()) {
            return Ok(code);
        }
        self.loads.inc();
        let code = match self.load_cached(digest, kind).await? {
            Some(code) => code,
            None => self.compile_stored(digest, kind).await?,
        };
        Ok(self.share(digest, code))
    }

    fn share(&self, digest: Digest, code: Code) -> Arc<Code> {
        let code = Arc::new(code);
        self.loaded.retain(|_, code| code.strong_count() > 0);
        self.loaded.insert(digest, Arc::downgrade(&code));
        code
    }

    async fn compile_stored(&self, digest: Digest, kind: GuestKind) -> Result<Code, ProviderError> {
        let modules = Arc::clone(&self.modules);
        let wasm: Bytes = blocking(move || modules.read(digest)).await?.into();
        let code = self.compiler.compile(&self.engine, wasm, kind).await?;
        let cache = Arc::clone(&self.cache);
        blocking(move || cache.put(digest, code)).await?;
        let code = self.load_cached(digest, kind).await?;
        code.ok_or_else(|| ProviderError::internal("loading new code", "the cache file vanished"))
    }

    async fn load_cached(&self, digest: Digest, kind: GuestKind) -> Result<Option<Code>, ProviderError> {
        let (cache, engine) = (Arc::clone(&self.cache), self.engine.clone());
        let loaded: Option<Loaded> = blocking(move || Ok(cache.load(&engine, digest, kind))).await?;
        loaded.map(|loaded| self.linkers.link(&loaded, kind)).transpose()
    }
}

/// Runs file work where it may block.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, ProviderError> + Send + 'static,
) -> Result<T, ProviderError> {
    tokio::task::spawn_blocking(work).await.map_err(|error| ProviderError::internal("file work", error))?
}
