//! The real `fwatchdog`, over real sockets, with real child processes.

#![forbid(unsafe_code)]
#![expect(clippy::unwrap_used, reason = "what a helper cannot do fails the test that asked for it")]

mod bounds;
mod cgi;
mod classic;
mod dog;
mod environment;
mod http;
mod http_client;
mod life;
mod metrics;
mod modes;
mod prefork;
mod server;
mod sigterm;
mod static_files;
mod timeouts;
