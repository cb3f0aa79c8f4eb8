//! The whole system: every promise is tried on the real binary, over real sockets, with real guests.

#![expect(clippy::unwrap_used, reason = "a test that fails should panic")]

mod address_space;
mod auth;
mod bench;
mod chains;
mod clients;
mod command;
mod components;
mod containers;
mod contract;
mod crashes;
mod cron;
mod deployments;
mod examples;
mod guests;
mod hybrid;
mod isolation;
mod logs;
mod modules;
mod namespaces;
mod nodes;
mod openfaas_client;
mod pool;
mod preinit;
mod queue;
mod reference;
mod requests;
mod reuse;
mod scaling;
mod secrets;
mod shutdown;
mod specs;
mod storage;
mod store;
mod streams;
mod support;
mod tls;
mod transcript;
