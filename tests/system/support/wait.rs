//! Waiting for a condition, with a limit.

use std::time::{Duration, Instant};

/// Longest wait for anything. Far more than it takes: the machine may be busy.
pub(crate) const LIMIT: Duration = Duration::from_secs(60);

/// Time between two looks.
const PAUSE: Duration = Duration::from_millis(5);

/// Waits until `condition` holds.
#[track_caller]
pub(crate) fn until(what: &str, mut condition: impl FnMut() -> bool) {
    value(what, || condition().then_some(()));
}

/// Waits until there is a value.
#[track_caller]
pub(crate) fn value<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let end = Instant::now() + LIMIT;
    loop {
        if let Some(value) = look() {
            return value;
        }
        assert!(Instant::now() < end, "waited {LIMIT:?} in vain until {what}");
        pause(PAUSE);
    }
}

/// Time between two looks at what nothing tells of.
#[expect(
    clippy::disallowed_methods,
    reason = "between two looks at another process there is nothing to wait on"
)]
pub(crate) fn pause(time: Duration) {
    std::thread::sleep(time);
}
