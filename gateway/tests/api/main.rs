//! The API over a real store and a real wasm host, without a socket: statuses and JSON, field by field.

#![expect(clippy::unwrap_used, reason = "a test that fails should panic")]

mod allocations;
mod functions;
mod hang_ups;
mod logs;
mod metrics;
mod modules;
mod refusals;
mod sockets;
mod support;
mod system;
