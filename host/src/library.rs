//! Modules on their way from an upload to linked code: store, compiler, cache, linker.

use std::sync::{Arc, Weak};

use bramble_provider::{Digest, ProviderError};
use bytes::Bytes;
use dashmap::DashMap;
use tokio::sync::Mutex;
use wasmtime::Engine;

use crate::code::{Code, Linkers};
use crate::code_cache::{CodeCache, Loaded};
use crate::compiler::Compiler;
use crate::config::HostConfig;
use crate::error::HostError;
use crate::inspect::{self, GuestKind};
use crate::module_store::{ModuleInfo, ModuleStore, digest_of};

/// Uploads of one digest wait for each other; of different digests mostly not.
const UPLOAD_LOCKS: usize = 16;

/// Every module there is, and the code of those in use.
#[derive(Debug)]
pub(crate) struct Library {
    engine: Engine,
    linkers: Linkers,
    modules: Arc<ModuleStore>,
    cache: Arc<CodeCache>,
    compiler: Compiler,
    max_module_bytes: u64,
    uploads: [Mutex<()>; UPLOAD_LOCKS],
    /// Code that some function has in memory, so that functions with one module share it.
    loaded: DashMap<Digest, Weak<Code>>,
}

impl Library {
    pub(crate) fn open(engine: &Engine, fingerprint: &str, config: &HostConfig) -> Result<Self, HostError> {
        Ok(Self {
            engine: engine.clone(),
            linkers: Linkers::new(engine).map_err(HostError::Engine)?,
            modules: Arc::new(ModuleStore::open(&config.data_dir)?),
            cache: Arc::new(CodeCache::open(&config.data_dir, fingerprint)?),
            compiler: Compiler::start(config.compile_jobs)?,
            max_module_bytes: config.max_module_bytes,
            uploads: std::array::from_fn(|_| Mutex::new(())),
            loaded: DashMap::new(),
        })
    }

    /// Takes an upload: told apart, compiled, linked once to see that it can be, then stored.
    pub(crate) async fn put(&self, wasm: Bytes) -> Result<ModuleInfo, ProviderError> {
        if wasm.len() as u64 > self.max_module_bytes {
            return Err(ProviderError::ModuleTooLarge { limit_bytes: self.max_module_bytes });
        }
        let wasm: Arc<[u8]> = wasm.as_ref().into();
        let hashed = Arc::clone(&wasm);
        let digest = blocking(move || Ok(digest_of(&hashed))).await?;
        let lock = usize::from(digest.first_byte()) % UPLOAD_LOCKS;
        let _turn = self.uploads[lock].lock().await;
        if self.cache.has(digest)
            && let Ok(info) = self.info(digest).await
        {
            return Ok(info);
        }
        let inspected = Arc::clone(&wasm);
        let facts = blocking(move || inspect::inspect(&inspected)).await?;
        let code = self.compiler.compile(&self.engine, Arc::clone(&wasm), facts.kind).await?;
        let cache = Arc::clone(&self.cache);
        blocking(move || cache.put(digest, code)).await?;
        if let Err(refused) = self
            .load_cached(digest, facts.kind)
            .await
            .transpose()
            .unwrap_or(Err(ProviderError::internal("loading new code", "the cache file vanished")))
        {
            self.cache.remove(digest);
            return Err(refused);
        }
        let modules = Arc::clone(&self.modules);
        blocking(move || {
            modules.put(digest, &wasm, &facts)?;
            modules.info(digest)
        })
        .await
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
        let code = match self.load_cached(digest, kind).await? {
            Some(code) => code,
            None => self.compile_stored(digest, kind).await?,
        };
        let code = Arc::new(code);
        self.loaded.retain(|_, code| code.strong_count() > 0);
        self.loaded.insert(digest, Arc::downgrade(&code));
        Ok(code)
    }

    async fn compile_stored(&self, digest: Digest, kind: GuestKind) -> Result<Code, ProviderError> {
        let modules = Arc::clone(&self.modules);
        let wasm: Arc<[u8]> = blocking(move || modules.read(digest)).await?.into();
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
