//! What the gateway is told when it starts: one typed value, complete before a port is bound.
//!
//! Where each value comes from (flag, environment, file, default) is the command line's business.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use bramble_host::HostConfig;
use bramble_swarm::SwarmConfig;

use crate::auth::AuthConfig;
use crate::queue::QueueConfig;
use crate::scaling::ScalingConfig;

/// Settings of one gateway.
#[derive(Debug, Clone)]
pub struct GatewayConfig {
    /// Where functions and the API are served.
    pub listen: SocketAddr,
    /// Where `/metrics` is served; the main port does not have it, as in the original.
    pub metrics_listen: SocketAddr,
    /// The one directory that holds everything the gateway must not lose.
    pub data_dir: PathBuf,
    /// Largest request body, in bytes; a larger one is refused with 413.
    pub max_body_bytes: u64,
    /// Longest wait for a request's head.
    pub read_timeout: Duration,
    /// Longest an invocation may take from its arrival to the end of its response, queueing included.
    pub upstream_timeout: Duration,
    /// How long requests are taken for when the gateway is to stop, while `/readyz` says that it will.
    pub drain_delay: Duration,
    /// Longest wait for running invocations when the gateway stops.
    pub drain_timeout: Duration,
    /// Who may use the API.
    pub auth: AuthConfig,
    /// The certificate chain (PEM) with which functions and the API are served over TLS; in the clear if there is none.
    pub tls_cert: Option<PathBuf>,
    /// The certificate's private key (PEM).
    pub tls_key: Option<PathBuf>,
    /// Sites whose pages may read answers: origins such as `https://example.com`, or `*`. None if empty.
    pub cors_origins: Vec<String>,
    /// The folder with the modules of the function store, as `examples/build.sh` fills one.
    pub store_dir: Option<PathBuf>,
    /// The wasm host.
    pub wasm: HostConfig,
    /// The container provider.
    pub containers: SwarmConfig,
    /// The scaler.
    pub scaling: ScalingConfig,
    /// The queue of asynchronous invocations.
    pub queue: QueueConfig,
}

impl GatewayConfig {
    /// The defaults, with everything below `data_dir`.
    pub fn in_dir(data_dir: impl Into<PathBuf>) -> Self {
        let data_dir = data_dir.into();
        Self {
            listen: (Ipv4Addr::LOCALHOST, 8080).into(),
            metrics_listen: (Ipv4Addr::LOCALHOST, 8082).into(),
            max_body_bytes: 4 << 30,
            read_timeout: Duration::from_secs(60),
            upstream_timeout: Duration::from_secs(60),
            drain_delay: Duration::ZERO,
            drain_timeout: Duration::from_secs(30),
            auth: AuthConfig::default(),
            tls_cert: None,
            tls_key: None,
            cors_origins: Vec::new(),
            store_dir: None,
            wasm: HostConfig::in_dir(data_dir.clone()),
            containers: SwarmConfig::in_dir(data_dir.clone()),
            scaling: ScalingConfig::default(),
            queue: QueueConfig::default(),
            data_dir,
        }
    }
}
