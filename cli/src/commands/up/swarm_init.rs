//! `bramble up --swarm-init`: what a machine with Docker but no Swarm lacks.

use anyhow::Result;
use bramble_swarm::{SwarmConfig, init_swarm};

use crate::commands::Context;
use crate::error::CliError;

/// An address that serves for a Swarm of one node.
const THIS_MACHINE: &str = "127.0.0.1";

/// Puts the daemon into Swarm mode, unless it is already.
///
/// # Errors
/// What the daemon said, and what to do about it.
pub(super) async fn run(containers: &SwarmConfig, address: Option<&str>, context: &Context) -> Result<()> {
    let refused = |reason: String| CliError::failed(format!("cannot put Docker into Swarm mode: {reason}"));
    let daemon = containers.daemon().map_err(refused)?;
    let made = match (init_swarm(&daemon, address).await, address) {
        // A machine of several addresses; Docker wants to be told which one.
        (Err(reason), None) if reason.contains("could not choose an IP address") => {
            let made = init_swarm(&daemon, Some(THIS_MACHINE)).await;
            context.output.note(
                "this Swarm is for this machine alone; for other nodes to join, leave it (docker swarm leave \
                 --force) and start with --swarm-init=ADDRESS",
            );
            made
        }
        (made, _) => made,
    };
    made.map_err(|reason| refused(reason).into())
}
