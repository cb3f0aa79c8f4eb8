//! The clock that only goes forward, the same for every instance and every request.

use std::sync::OnceLock;
use std::time::{Duration, Instant};

use wasmtime_wasi::HostMonotonicClock;

/// Time since a guest first asked.
pub(crate) fn since_start() -> Duration {
    static START: OnceLock<Instant> = OnceLock::new();
    START.get_or_init(Instant::now).elapsed()
}

/// The same for the library. Its own clock begins anew with each of its states, and an instance that is
/// reused gets a state for each request: time would go back.
#[derive(Debug, Clone, Copy)]
pub(crate) struct MonotonicClock;

impl HostMonotonicClock for MonotonicClock {
    fn resolution(&self) -> u64 {
        1
    }

    fn now(&self) -> u64 {
        u64::try_from(since_start().as_nanos()).unwrap_or(u64::MAX)
    }
}
