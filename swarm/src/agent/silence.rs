//! When the silence of an agent means that its node is lost. Time comes in as an argument.

use std::time::{Duration, Instant};

/// Longest time between two lines of an agent that is well. It sends one every 250 ms.
pub(super) const LONGEST_SILENCE: Duration = Duration::from_secs(1);

/// What was heard of one agent.
#[derive(Debug, Default)]
pub(super) struct Silence {
    /// The last sign of life. None while silence means nothing: it was never heard, took its leave, or is
    /// given up already.
    heard: Option<Instant>,
}

impl Silence {
    /// It gave a sign of life.
    pub(super) fn heard(&mut self, now: Instant) {
        self.heard = Some(now);
    }

    /// It ended its stream as a stream ends: it was told to stop, so silence is no wonder.
    pub(super) fn took_leave(&mut self) {
        self.heard = None;
    }

    /// How long it may still be silent; no limit while silence means nothing.
    pub(super) fn left(&self, now: Instant) -> Option<Duration> {
        self.heard.map(|heard| (heard + LONGEST_SILENCE).saturating_duration_since(now))
    }

    /// Whether it has been silent for too long. True once for each time that it falls silent.
    pub(super) fn is_lost(&mut self, now: Instant) -> bool {
        let lost = self.left(now) == Some(Duration::ZERO);
        if lost {
            self.heard = None;
        }
        lost
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_lost_once_after_a_second_of_silence() {
        let (start, mut silence) = (Instant::now(), Silence::default());
        let at = |millis| start + Duration::from_millis(millis);
        assert!(!silence.is_lost(at(10_000)), "it was never heard");
        silence.heard(at(0));
        silence.heard(at(500));
        assert_eq!(silence.left(at(900)), Some(Duration::from_millis(600)));
        assert!(!silence.is_lost(at(1_499)));
        assert!(silence.is_lost(at(1_500)));
        assert!(!silence.is_lost(at(9_000)), "it is told once");
        silence.heard(at(9_500));
        assert!(silence.is_lost(at(10_500)), "and again when it came back in between");
    }

    #[test]
    fn who_took_leave_is_not_missed() {
        let (start, mut silence) = (Instant::now(), Silence::default());
        silence.heard(start);
        silence.took_leave();
        assert_eq!(silence.left(start + LONGEST_SILENCE), None);
        assert!(!silence.is_lost(start + LONGEST_SILENCE));
    }
}
