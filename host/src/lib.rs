//! Runs WASI programs inside this process: the wasm provider.
//!
//! In: the engine, the module store and code cache, instance slots, WASI for three kinds of guest.
//! Out: HTTP serving, OpenFaaS JSON, what is desired (that is the gateway's). This is the only crate
//! that names wasmtime. The property that must hold: every invocation gets a fresh instance, unless its
//! function asks for another by `bramble.reuse`, that can reach nothing but its request, its response,
//! its log, its environment and its own secrets.

mod address_space;
mod call;
mod cgi;
mod clock;
mod code;
mod code_cache;
mod command_component;
mod compiler;
mod config;
mod engine;
mod environ;
mod epoch;
mod error;
mod function;
mod function_log;
mod guest;
mod http_guest;
mod input;
mod inspect;
mod kept;
mod library;
mod memory;
mod memory_budget;
mod metrics;
mod module_store;
mod output;
mod p1;
mod preinit;
mod refuse_network;
mod respond;
mod revision;
mod run;
mod secrets;
pub mod sharded;
mod slots;
mod stderr;
mod wasm_provider;

pub use compiler::process::{VERB as COMPILE_VERB, compile_for_parent};
pub use config::HostConfig;
pub use engine::EngineInfo;
pub use error::HostError;
pub use function_log::HostLogs;
pub use inspect::GuestKind;
pub use library::{StoredModule, Upload};
pub use module_store::ModuleInfo;
pub use preinit::DEFAULT_INITIALISER;
pub use wasm_provider::{SlotCounts, WasmProvider};
