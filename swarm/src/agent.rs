//! The agent of a node, and the gateway's side of it.
//!
//! A daemon tells of its own containers only, and only it can pause them. So a small global service, one
//! task on every node, tells the gateway as soon as a container of a function starts or ends, and freezes
//! and thaws on its behalf. Its task also keeps the functions' network alive on the node, which makes
//! starts there faster, and lends a gateway outside that network a way into it.
//! The property that must hold: without any agent everything works but freezing on other nodes, only
//! later; what agents tell is never the only way to learn it.

mod client;
mod node;
mod protocol;
mod server;
mod service;
mod silence;
mod table;
mod token;

use std::path::Path;

pub use server::{Agent, AgentConfig, AgentError, serve_agent};
pub(crate) use table::{Agents, keep};
use token::Token;
pub use token::TokenError;

use crate::config::SwarmConfig;

/// The label of an agent's service and containers; its value is `true`.
pub(crate) const AGENT_LABEL: &str = "bramble.agent";
/// The port of every agent, on the functions' network.
pub const AGENT_PORT: u16 = 8084;

/// The token for the agents: made when we are to run them, else the one that was put into the data directory.
fn token(config: &SwarmConfig) -> Result<Option<Token>, TokenError> {
    let data_dir: &Path = &config.data_dir;
    match Token::kept_in(data_dir)? {
        None if config.agent_image.is_some() => Token::make_in(data_dir).map(Some),
        kept => Ok(kept),
    }
}

#[cfg(test)]
mod tests;
