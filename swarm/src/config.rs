//! What the provider is told when it starts.

use std::path::PathBuf;
use std::time::Duration;

use crate::docker::{DockerHost, TlsFiles};

/// Settings of the container provider.
#[derive(Debug, Clone)]
pub struct SwarmConfig {
    /// Where the Docker daemon is: a Swarm manager.
    pub docker_host: DockerHost,
    /// Whether the daemon is asked over TLS, its certificate is checked and ours is shown.
    pub docker_tls_verify: bool,
    /// The directory with `ca.pem`, `cert.pem` and `key.pem`; `docker_config` unless named.
    pub docker_cert_path: Option<PathBuf>,
    /// The directory with Docker's own `config.json`, for the credentials of private registries.
    pub docker_config: Option<PathBuf>,
    /// The overlay network that functions are attached to; made when it is missing.
    pub network: String,
    /// The subnet of that network when it is made, such as `10.62.0.0/16`. A /24 runs out after 250 replicas.
    pub subnet: String,
    /// Longest that a request waits for a replica to start.
    pub activation_timeout: Duration,
    /// The image of the node agents; no agents when there is none.
    pub agent_image: Option<String>,
    /// Where the gateway keeps what it must not lose: the agents' token is in it.
    pub data_dir: PathBuf,
    /// Where the gateway keeps the secrets of functions, one file each, named by
    /// [`SecretName::in_namespace`](bramble_provider::SecretName::in_namespace).
    pub secrets_dir: PathBuf,
}

impl SwarmConfig {
    /// The defaults: the local daemon, no agents.
    pub fn in_dir(data_dir: impl Into<PathBuf>) -> Self {
        let data_dir = data_dir.into();
        Self {
            docker_host: DockerHost::local(),
            docker_tls_verify: false,
            docker_cert_path: None,
            docker_config: None,
            network: "functions".to_owned(),
            subnet: "10.62.0.0/16".to_owned(),
            activation_timeout: Duration::from_secs(30),
            agent_image: None,
            secrets_dir: data_dir.join("secrets"),
            data_dir,
        }
    }

    /// The daemon, with its certificates when it is asked over TLS.
    ///
    /// # Errors
    /// A text that says what is missing.
    pub fn daemon(&self) -> Result<DockerHost, String> {
        if !self.docker_tls_verify {
            return Ok(self.docker_host.clone());
        }
        let directory = self.docker_cert_path.clone().or_else(|| self.docker_config.clone());
        let directory = directory.ok_or("docker_tls_verify is on and docker_cert_path is not set")?;
        Ok(self.docker_host.clone().with_tls(TlsFiles { directory }))
    }
}
