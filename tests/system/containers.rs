//! Functions in containers, on a real Docker in Swarm mode of one node.

mod activation;
mod faults;
mod frozen;
mod load;
mod specs;
mod streaming;
mod twins;
