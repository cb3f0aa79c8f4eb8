//! What is remembered of one function: 168 bytes, whatever happens.

use std::time::Duration;

use super::{Pace, Tuning};

/// Parts that the down-window is remembered in; the newest is being filled.
const PARTS: usize = 17;

/// How long invocations wait at every look until a tolerance no longer keeps them waiting: a look at a single moment
/// may see a few wait by chance, and one through a Prometheus sees that moment for a whole scrape.
const STANDING: Duration = Duration::from_secs(10);

/// What was proposed for one function lately. Made with [`Default`], dropped with the function.
#[derive(Debug, Clone, Default)]
pub struct History {
    /// The most that was proposed in each part of the window, a ring.
    peaks: [u32; PARTS],
    /// Number of the newest part since the start of time.
    newest: u64,
    /// Replicas that were decided at the last tick, and those that were desired then.
    last: Option<(u32, u32)>,
    up: Period,
    down: Period,
    /// Since when invocations wait, at every tick.
    waiting: Option<Duration>,
}

/// A stretch of time, and where replicas were when it began.
#[derive(Debug, Clone, Copy, Default)]
struct Period {
    began: Option<Duration>,
    base: u32,
}

impl History {
    /// Begins a tick: takes note of replicas that somebody else added, or that were there when nothing was known yet,
    /// and of new periods.
    pub(super) fn turn(&mut self, tuning: &Tuning, desired: u32, now: Duration) {
        // What lies between the two is a decision that takes its time, or was cut short by a share.
        if self.last.is_none_or(|(decided, seen)| desired > decided.max(seen)) {
            self.record(tuning, now, desired);
        }
        self.up.turn(tuning.up, desired, now);
        self.down.turn(tuning.down, desired, now);
    }

    /// Remembers a proposal.
    pub(super) fn record(&mut self, tuning: &Tuning, now: Duration, replicas: u32) {
        let part = part(tuning, now);
        if part < self.newest {
            // Time went back, or the window became longer: nothing is forgotten for a whole window.
            self.peaks = [self.peaks.iter().copied().max().unwrap_or(0); PARTS];
        } else {
            let passed = usize::try_from(part - self.newest).unwrap_or(PARTS).min(PARTS);
            for old in 0..passed {
                self.peaks[index(part - old as u64)] = 0;
            }
        }
        self.newest = part;
        let peak = &mut self.peaks[index(part)];
        *peak = replicas.max(*peak);
    }

    /// Nothing was known for a while: the window begins anew at the next tick, with what is desired then.
    pub(crate) fn interrupt(&mut self) {
        (self.last, self.waiting) = (None, None);
    }

    /// Takes note of whether invocations wait now, and answers whether they have for long enough to be no accident.
    pub(super) fn queue_stands(&mut self, waits: bool, now: Duration) -> bool {
        self.waiting = waits.then(|| self.waiting.unwrap_or(now));
        self.waiting.is_some_and(|since| now.saturating_sub(since) >= STANDING)
    }

    /// The most that was proposed in the window, and up to a sixteenth of it longer.
    pub(super) fn peak(&self, tuning: &Tuning) -> u32 {
        if tuning.down_window.is_zero() {
            return 0;
        }
        self.peaks.iter().copied().max().unwrap_or(0)
    }

    /// The most replicas that the pace allows now.
    pub(super) fn most(&self, tuning: &Tuning) -> u32 {
        let Pace { factor, at_least, period } = tuning.up;
        if period.is_zero() {
            return u32::MAX;
        }
        let base = self.up.base;
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "`as` saturates")]
        let times = (f64::from(base) * factor).floor() as u32;
        times.max(base.saturating_add(at_least))
    }

    /// The fewest replicas that the pace allows now.
    pub(super) fn fewest(&self, tuning: &Tuning) -> u32 {
        let Pace { factor, at_least, period } = tuning.down;
        if period.is_zero() {
            return 0;
        }
        let base = self.down.base;
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "`as` saturates")]
        let part = (f64::from(base) / factor.max(1.0)).ceil() as u32;
        part.min(base.saturating_sub(at_least))
    }

    /// Ends a tick.
    pub(super) fn decided(&mut self, replicas: u32, desired: u32) {
        self.last = Some((replicas, desired));
    }

    /// Drops what was proposed: the function goes to 0.
    pub(super) fn forget(&mut self) {
        self.peaks = [0; PARTS];
    }
}

impl Period {
    fn turn(&mut self, pace: Pace, desired: u32, now: Duration) {
        let over = self.began.is_none_or(|began| now < began || now - began >= pace.period);
        if over {
            *self = Self { began: Some(now), base: desired };
        }
    }
}

/// Number of the part of the window that `now` is in.
fn part(tuning: &Tuning, now: Duration) -> u64 {
    let part_nanos = (tuning.down_window.as_nanos() / (PARTS as u128 - 1)).max(1);
    u64::try_from(now.as_nanos() / part_nanos).unwrap_or(u64::MAX)
}

fn index(part: u64) -> usize {
    usize::try_from(part % PARTS as u64).expect("less than the number of parts")
}
