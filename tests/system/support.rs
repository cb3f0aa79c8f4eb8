//! What the tests share: a gateway process, a client, guests, waiting.

pub(crate) mod answer;
pub(crate) mod contract;
pub(crate) mod docker;
pub(crate) mod gateway;
pub(crate) mod guest;
pub(crate) mod nodes;
pub(crate) mod process;
pub(crate) mod wait;
pub(crate) mod wire;

pub(crate) use gateway::{Gateway, Start};
pub(crate) use wire::Wire;
