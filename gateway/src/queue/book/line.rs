//! The calls of one function.

use std::time::{Duration, Instant};

use super::lanes::Lanes;

/// The pauses of a function that has no room: the first, and the longest.
const FIRST_PAUSE: Duration = Duration::from_millis(20);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// What waits and runs of one function.
#[derive(Debug, Default)]
pub(super) struct Line {
    /// Calls that may start.
    pub(super) ready: Lanes,
    /// How many wait for a time of their own.
    pub(super) later: u32,
    pub(super) running: u32,
    pub(super) calling_back: u32,
    /// Dead letters.
    pub(super) dead: u32,
    /// Since when its function is seen to be gone.
    pub(super) gone_since: Option<Instant>,
    /// Whether the function is among those that take turns.
    pub(super) in_turn: bool,
    pub(super) paused_until: Option<Instant>,
    pause: Duration,
}

impl Line {
    /// Whether one more may start, where so many may run at once.
    pub(super) fn may_start(&mut self, now: Instant, most: u32) -> bool {
        if self.paused_until.is_some_and(|until| until <= now) {
            self.paused_until = None;
        }
        self.paused_until.is_none() && self.running < most
    }

    /// The function had no room: it is not asked for a while, longer each time.
    pub(super) fn pause(&mut self, now: Instant) {
        if self.paused_until.is_none_or(|until| until <= now) {
            self.pause = (2 * self.pause).clamp(FIRST_PAUSE, LONGEST_PAUSE);
            self.paused_until = Some(now + self.pause);
        }
    }

    /// The function took one.
    pub(super) fn resume(&mut self) {
        self.pause = Duration::ZERO;
        self.paused_until = None;
    }

    /// Calls that are not over.
    pub(super) fn depth(&self) -> usize {
        self.ready.len() + self.later as usize
    }

    pub(super) fn is_empty(&self) -> bool {
        self.depth() == 0 && self.running == 0 && self.calling_back == 0 && self.dead == 0 && !self.in_turn
    }
}
