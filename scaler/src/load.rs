//! What is known of a function at one tick.

use std::time::Duration;

use bramble_provider::Runtime;
use serde::Serialize;
use utoipa::ToSchema;

/// The load of one function over all its replicas, as a source saw it.
///
/// `None` means missing or too old, which is not 0: what is not known changes nothing. A source that
/// answers at all says 0 for a function that nobody invoked.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Load {
    /// Invocations that began, per second, lately.
    pub rps: Option<f64>,
    /// Invocations that run on a replica, those that wait not counted.
    pub inflight: Option<f64>,
    /// CPUs in use: 1.5 is one and a half of them.
    pub cpu_cores: Option<f64>,
    /// Invocations that wait: for a replica, and in the asynchronous queue.
    pub queued: Option<f64>,
    /// Invocations that run or wait, while some wait for a replica, by the last two looks at the registry; `None`
    /// while nobody waits. Set by the loop: what a source saw at one moment may be a whole scrape old.
    pub waiting: Option<f64>,
    /// For how long no invocation began, ran or waited, and nobody asked for more replicas. A source says 0 where
    /// it knows of the function at all; the loop, which sees every invocation, says for how long.
    pub idle_for: Option<Duration>,
}

/// The replicas of one function, and what runs them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
pub struct State {
    /// What runs the replicas that are counted here. Of a hybrid function these are its containers.
    #[schema(value_type = String)]
    pub runtime: Runtime,
    /// Replicas asked for.
    pub desired: u32,
    /// Replicas able to take an invocation, frozen ones included.
    pub available: u32,
    /// Of the available ones, those that are paused.
    pub frozen: u32,
    /// Whether the host is short of memory: an idle function that may go to 0 then goes as soon as it
    /// could be frozen.
    pub memory_short: bool,
}
