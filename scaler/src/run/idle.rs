//! How long a function has been idle: since nothing changed in what counts its invocations.

use std::time::Duration;

/// Remembers when a count last moved.
#[derive(Debug, Clone, Copy)]
pub(super) struct Idle {
    started: u64,
    since: Duration,
}

impl Idle {
    /// A function that is seen for the first time: it may have been invoked just now.
    pub(super) fn new(started: u64, now: Duration) -> Self {
        Self { started, since: now }
    }

    /// Looks again, at what began in all. `active` tells that something runs, or that somebody wants it to. A
    /// count that fell is a process that started anew, which may have served something before.
    pub(super) fn look(&mut self, started: u64, active: bool, now: Duration) -> Duration {
        if active || started != self.started {
            *self = Self::new(started, now);
        }
        now.saturating_sub(self.since)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn s(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn idleness_ends_with_each_invocation_and_each_restart() {
        let mut idle = Idle::new(3, s(10));
        assert_eq!(idle.look(3, false, s(15)), s(5));
        assert_eq!(idle.look(4, false, s(16)), s(0));
        assert_eq!(idle.look(4, true, s(20)), s(0));
        assert_eq!(idle.look(4, false, s(23)), s(3));
        assert_eq!(idle.look(0, false, s(24)), s(0), "a restart");
        assert_eq!(idle.look(0, false, s(20)), s(0), "a clock that went back");
    }
}
