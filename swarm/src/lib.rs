//! The container provider: functions as Docker Swarm services, and the way to their replicas.
//!
//! In: what a function looks like as a service, which of its tasks can take an invocation, starting,
//! freezing and thawing them, and sending requests to them. Out: what the gateway admits, how many
//! replicas are wanted. The only crate that names bollard.
//! The properties that must hold: only services with our label are touched; every call to a daemon
//! has a deadline; a request is sent a second time only when nothing of it was sent the first time.

mod agent;
mod apply;
mod config;
mod core;
mod cpu;
mod docker;
mod failure;
mod function;
mod image;
mod logs;
mod network;
mod provider;
mod replica;
mod secret;
mod service;
mod upstream;
mod watch;

pub use agent::{AGENT_PORT, Agent, AgentConfig, AgentError, TokenError, serve_agent};
pub use config::SwarmConfig;
pub use docker::{DockerHost, InvalidDockerHost, TlsFiles, init_swarm};
pub use logs::ContainerLogs;
pub use provider::{Ledger, SwarmInfo, SwarmProvider};

/// The label that makes a Swarm service ours; its value is the function's written name.
pub const FUNCTION_LABEL: &str = "bramble.function";
