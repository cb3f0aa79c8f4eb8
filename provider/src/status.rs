//! What is, beside what was asked for.

use serde::Serialize;

use crate::spec::Runtime;

/// Replicas of one function.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct Replicas {
    /// Asked for.
    pub desired: u32,
    /// Able to take an invocation now, frozen ones included.
    pub available: u32,
    /// Of these, paused: back in about 11 ms, by the first invocation that needs one.
    pub frozen: u32,
}

/// A function as its provider sees it.
#[derive(Debug, Clone)]
pub struct FunctionStatus {
    /// What runs it.
    pub runtime: Runtime,
    /// Its replicas.
    pub replicas: Replicas,
    /// Invocations admitted and unfinished.
    pub inflight: u32,
    /// Invocations waiting for a replica.
    pub queued: u32,
    /// Bytes of memory its replicas hold, when the provider can tell.
    pub memory_bytes: Option<u64>,
    /// Why fewer replicas are available than desired, when it is known.
    pub reason: Option<String>,
}
