//! What the provider is told when it starts.

use std::path::PathBuf;
use std::time::Duration;

use crate::docker::DockerHost;

/// Settings of the container provider.
#[derive(Debug, Clone)]
pub struct SwarmConfig {
    /// Where the Docker daemon is: a Swarm manager.
    pub docker: DockerHost,
    /// The overlay network that functions are attached to; made when it is missing.
    pub network: String,
    /// The subnet of that network when it is made, such as `10.62.0.0/16`. A /24 runs out after 250 replicas.
    pub subnet: String,
    /// Longest that a request waits for a replica to start.
    pub activation_timeout: Duration,
    /// The image of the node agents; no agents when there is none.
    pub agent_image: Option<String>,
    /// Docker's own `config.json`, for the credentials of private registries.
    pub docker_config: Option<PathBuf>,
    /// Where the gateway keeps what it must not lose: the agents' token is in it.
    pub data_dir: PathBuf,
}

impl SwarmConfig {
    /// The defaults: the local daemon, no agents.
    pub fn in_dir(data_dir: impl Into<PathBuf>) -> Self {
        Self {
            docker: DockerHost::local(),
            network: "functions".to_owned(),
            subnet: "10.62.0.0/16".to_owned(),
            activation_timeout: Duration::from_secs(30),
            agent_image: None,
            docker_config: None,
            data_dir: data_dir.into(),
        }
    }
}
