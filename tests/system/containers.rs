//! Functions in containers, on a real Docker in Swarm mode of one node.

mod activation;
mod faults;
mod load;
mod twins;
