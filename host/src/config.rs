//! What the host is told when it is opened. Values come from the command line; nothing here reads the environment.

use std::path::PathBuf;
use std::time::Duration;

/// Sizes and bounds of the wasm host. Every one is a limit somebody can hit, so every one is named.
#[derive(Debug, Clone)]
pub struct HostConfig {
    /// Where modules (`modules/`), compiled code (`cache/`) and secret views (`views/`) live.
    pub data_dir: PathBuf,
    /// Where secrets are kept, one file each. The host only reads it.
    pub secrets_dir: PathBuf,
    /// Most instances at once over all functions. Sized down when the address space is too small.
    pub pool_slots: u32,
    /// Memory of an instance that stays resident between invocations, in bytes.
    ///
    /// It is cleared by writing instead of by the kernel: cheaper for what is touched each time,
    /// dearer for what is not.
    pub keep_resident_bytes: usize,
    /// Reset only dirty pages (`PAGEMAP_SCAN`). Only where no swap can exist: a swapped page would
    /// keep the previous invocation's bytes.
    pub pagemap_scan: bool,
    /// Memory limit of a function that names none, in bytes over the whole instance.
    pub default_memory_bytes: u64,
    /// Largest module that is accepted, in bytes.
    pub max_module_bytes: u64,
    /// Most bytes a function may write to stdout in one invocation.
    pub max_output_bytes: u64,
    /// Replicas (slots) of a function that asks for no number.
    pub default_slots: u32,
    /// Most invocations that may wait for a slot of one function.
    pub queue_limit: u32,
    /// Longest wait for a slot.
    pub queue_wait: Duration,
    /// Modules compiled at the same time.
    pub compile_jobs: usize,
    /// The program that compiles in a process of its own when it is started with [`COMPILE_VERB`](crate::COMPILE_VERB);
    /// without one this process compiles.
    pub compiler: Option<PathBuf>,
    /// Log kept in memory for one function, in bytes.
    pub log_bytes: usize,
}

impl HostConfig {
    /// The defaults, with everything below `data_dir`.
    pub fn in_dir(data_dir: impl Into<PathBuf>) -> Self {
        let data_dir = data_dir.into();
        Self {
            secrets_dir: data_dir.join("secrets"),
            data_dir,
            pool_slots: 512,
            keep_resident_bytes: 128 << 10,
            pagemap_scan: false,
            default_memory_bytes: 256 << 20,
            max_module_bytes: 64 << 20,
            max_output_bytes: 4 << 30,
            default_slots: 16,
            queue_limit: 1_024,
            queue_wait: Duration::from_secs(10),
            compile_jobs: 1,
            compiler: None,
            log_bytes: 256 << 10,
        }
    }
}
