//! What a node does on behalf of a gateway elsewhere: freezing and thawing its containers.

use crate::config::SwarmConfig;
use crate::docker::DockerError;
use crate::upstream::Dialer;

/// The agents of the nodes.
#[derive(Debug, Default)]
pub(crate) struct Agents {}

impl Agents {
    pub(crate) fn new(_config: &SwarmConfig) -> Result<Self, String> {
        Ok(Self {})
    }

    pub(crate) async fn pause(
        &self,
        node: &str,
        _container: &str,
        _dialer: &Dialer,
    ) -> Result<(), DockerError> {
        Err(no_agent(node))
    }

    pub(crate) async fn unpause(
        &self,
        node: &str,
        _container: &str,
        _dialer: &Dialer,
    ) -> Result<(), DockerError> {
        Err(no_agent(node))
    }
}

fn no_agent(node: &str) -> DockerError {
    DockerError::Unreachable(format!("no agent answers on node {node}; see --agent-image"))
}
