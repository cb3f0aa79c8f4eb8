//! The gateway: one process that serves the OpenFaaS API, admits and runs invocations, and keeps what
//! was deployed.
//!
//! In: routes, admission, activation, the registry and its store, metrics. Out: how a runtime runs a
//! function (`bramble-host`), where settings come from (the command line).

pub mod api;
pub mod auth;
pub mod catalogue;
pub mod config;
mod cron;
pub mod data_dir;
pub mod error;
pub mod functions;
mod invoke;
pub mod metrics;
pub mod namespaces;
pub mod queue;
pub mod ready;
pub mod scaling;
pub mod secrets;
pub mod serve;
pub mod state;
pub mod store;

pub use config::GatewayConfig;
pub use serve::{Running, run};
