//! Why the host could not be opened.

use std::path::PathBuf;

/// Why [`crate::WasmProvider::open`] failed. Each stops the start of the gateway.
#[derive(Debug, thiserror::Error)]
pub enum HostError {
    /// wasmtime refused the configuration or the machine.
    #[error("the wasm engine cannot start: {0:#}")]
    Engine(wasmtime::Error),
    /// A directory or file of the host's cannot be used.
    #[error("cannot {action} {}: {source}", path.display())]
    Storage {
        /// What was tried: `create`, `read`.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// Dirty pages are to be found by their flags, and a swapped page would be missed.
    #[error(
        "pagemap_scan needs a machine without swap: an instance could see what the one before it wrote; turn swap off or leave it at false"
    )]
    SwapIsOn,
    /// A thread could not be started.
    #[error("cannot start a thread: {0}")]
    Thread(std::io::Error),
    /// A metric of the host's own is registered twice.
    #[error("cannot register metrics: {0}")]
    Metrics(#[from] prometheus::Error),
}
