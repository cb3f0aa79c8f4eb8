//! The gateway, as a library.
pub mod config;
pub use config::GatewayConfig;
