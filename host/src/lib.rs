//! skeleton
#![allow(missing_docs, unused, reason = "skeleton")]
mod config;
use bramble_provider::*;
use bytes::Bytes;
pub use config::HostConfig;

#[derive(Debug, thiserror::Error)]
#[error("host")]
pub struct HostError;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GuestKind {
    CommandModule,
    CommandComponent,
    HttpComponent,
}
impl GuestKind {
    pub fn as_str(self) -> &'static str {
        "wasi-command-module"
    }
}

#[derive(Debug, Clone)]
pub struct ModuleInfo {
    pub digest: Digest,
    pub kind: GuestKind,
    pub size_bytes: u64,
    pub imports: Vec<String>,
}

/// What the engine settled on
#[derive(Debug, Clone)]
pub struct EngineInfo {
    pub allocator: &'static str,
    pub slots: u32,
    pub slots_wanted: u32,
    pub memory_reservation_bytes: u64,
    pub keep_resident_bytes: u64,
    pub address_bits: u32,
    pub pagemap_scan: bool,
}

#[derive(Debug, Clone, Copy, Default)]
pub struct Slots {
    pub desired: u32,
    pub busy: u32,
    pub queued: u32,
    pub loaded: bool,
}

#[derive(Debug)]
pub struct WasmProvider;
#[derive(Debug)]
pub struct HostLogs;
impl LogStream for HostLogs {
    async fn next(&mut self) -> Option<LogLine> {
        unimplemented!()
    }
}
impl WasmProvider {
    /// Blocking: reads the data directory, makes the engine, starts the epoch thread. Registers the host's own metrics.
    pub fn open(config: HostConfig, registry: &prometheus::Registry) -> Result<Self, HostError> {
        unimplemented!()
    }
    /// Checks, stores (fsync + rename) and answers what the module is. Idempotent by digest.
    pub async fn put_module(&self, bytes: Bytes) -> Result<ModuleInfo, ProviderError> {
        unimplemented!()
    }
    pub fn module(&self, digest: &Digest) -> Result<ModuleInfo, ProviderError> {
        unimplemented!()
    }
    pub async fn modules(&self) -> Result<Vec<ModuleInfo>, ProviderError> {
        unimplemented!()
    }
    /// ModuleInUse while a deployed function uses it; UnknownModule when not there.
    pub async fn remove_module(&self, digest: &Digest) -> Result<(), ProviderError> {
        unimplemented!()
    }
    pub fn engine_info(&self) -> EngineInfo {
        unimplemented!()
    }
    /// Sync and cheap, for metrics at scrape time.
    pub fn slots(&self, name: &FunctionName) -> Option<Slots> {
        unimplemented!()
    }
    /// Registers functions at start-up without compiling or loading them: their code is loaded (compiled if the cache is gone) at the first invocation.
    pub fn restore(&self, specs: Vec<(FunctionSpec, u32)>) -> Vec<(FunctionName, ProviderError)> {
        unimplemented!()
    }
}
impl Scale for WasmProvider {
    async fn replicas(&self, name: &FunctionName) -> Result<Replicas, ProviderError> {
        unimplemented!()
    }
    async fn scale(&self, name: &FunctionName, desired: u32) -> Result<(), ProviderError> {
        unimplemented!()
    }
}
impl Provider for WasmProvider {
    type Logs = HostLogs;
    async fn deploy(&self, spec: &FunctionSpec, desired: u32) -> Result<(), ProviderError> {
        unimplemented!()
    }
    async fn remove(&self, name: &FunctionName) -> Result<(), ProviderError> {
        unimplemented!()
    }
    async fn status(&self, name: &FunctionName) -> Result<FunctionStatus, ProviderError> {
        unimplemented!()
    }
    async fn list(&self) -> Result<Vec<FunctionName>, ProviderError> {
        unimplemented!()
    }
    async fn invoke(
        &self,
        name: &FunctionName,
        invocation: Invocation,
    ) -> Result<http::Response<Body>, ProviderError> {
        unimplemented!()
    }
    async fn logs(&self, name: &FunctionName, query: LogQuery) -> Result<HostLogs, ProviderError> {
        unimplemented!()
    }
}
