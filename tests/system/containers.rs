//! Functions in containers, on a real Docker in Swarm mode of one node.

mod activation;
mod changes;
mod daemons;
mod faults;
mod frozen;
pub(crate) mod load;
pub(crate) mod registry;
mod secrets;
mod specs;
mod streaming;
mod tls;
mod twins;
