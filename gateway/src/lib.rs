//! The gateway, as a library.
pub mod config;
pub use config::GatewayConfig;

pub mod api;
pub mod data_dir;
pub mod error;
pub mod functions;
pub mod metrics;
pub mod ready;
pub mod state;
pub mod store;
