//! What the router remembers of the containers between two invocations.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use bramble_provider::Replicas;

/// How long their number is taken as known: asking for it takes a lock.
const FRESH_FOR_MILLIS: u32 = 10;
/// How long they are left alone after bringing them back failed.
const WAKE_AGAIN_AFTER: Duration = Duration::from_secs(5);

/// How many containers there were a moment ago. From the high bits down: when, in milliseconds; available;
/// frozen. 0 when nobody asked yet.
#[derive(Debug, Default)]
pub(super) struct Counts(AtomicU64);

/// What [`Counts`] tell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Seen {
    /// Able to take an invocation, frozen ones included; as many as 16 bits hold.
    pub(super) available: u32,
    /// Of these, paused.
    pub(super) frozen: u32,
}

impl Counts {
    /// The counts, asked anew when they are not fresh. Many may ask at the same time; each is right.
    pub(super) fn get(&self, now: Duration, ask: impl FnOnce() -> Option<Replicas>) -> Seen {
        let (word, at) = (self.0.load(Relaxed), millis(now));
        if word != 0 && at.wrapping_sub(u32::try_from(word >> 32).expect("32 bits fit")) < FRESH_FOR_MILLIS {
            return seen(word);
        }
        let counts = ask().unwrap_or_default();
        let part = |count: u32| u64::from(u16::try_from(count).unwrap_or(u16::MAX));
        let word = u64::from(at) << 32 | part(counts.available) << 16 | part(counts.frozen);
        self.0.store(word, Relaxed);
        seen(word)
    }
}

fn seen(word: u64) -> Seen {
    let part = |shift: u32| u32::try_from((word >> shift) & 0xffff).expect("16 bits fit");
    Seen { available: part(16), frozen: part(0) }
}

/// Wraps after 49 days; what is looked at is a difference.
fn millis(now: Duration) -> u32 {
    u32::try_from(now.as_millis() & u128::from(u32::MAX)).expect("it is masked")
}

/// Who brings containers back: one at a time, and not again right after it failed.
///
/// The earliest next time in milliseconds; [`Self::BUSY`] while it is being done.
#[derive(Debug, Default)]
pub(super) struct Wake(AtomicU64);

impl Wake {
    const BUSY: u64 = u64::MAX;

    /// Whether the caller is the one to do it, now. Then it calls [`Self::end`].
    pub(super) fn begin(&self, now: Duration) -> bool {
        let next = self.0.load(Relaxed);
        next <= whole_millis(now) && self.0.compare_exchange(next, Self::BUSY, Relaxed, Relaxed).is_ok()
    }

    pub(super) fn end(&self, worked: bool, now: Duration) {
        let next = if worked { 0 } else { whole_millis(now + WAKE_AGAIN_AFTER) };
        self.0.store(next, Relaxed);
    }
}

fn whole_millis(now: Duration) -> u64 {
    u64::try_from(now.as_millis()).unwrap_or(Wake::BUSY - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MILLISECOND: Duration = Duration::from_millis(1);

    #[test]
    fn counts_are_asked_for_once_in_a_while() {
        let counts = Counts::default();
        let ask = |available| move || Some(Replicas { desired: 9, available, frozen: 1 });
        let not = || -> Option<Replicas> { panic!("they are fresh") };
        assert_eq!(counts.get(5 * MILLISECOND, ask(3)), Seen { available: 3, frozen: 1 });
        assert_eq!(counts.get(14 * MILLISECOND, not).available, 3);
        assert_eq!(counts.get(15 * MILLISECOND, ask(4)).available, 4);
        assert_eq!(counts.get(MILLISECOND * u32::MAX, ask(1_000_000)).available, 65_535);
        assert_eq!(counts.get(MILLISECOND * u32::MAX + 2 * MILLISECOND, not).available, 65_535);
        assert_eq!(counts.get(MILLISECOND * u32::MAX + 20 * MILLISECOND, || None).available, 0);
    }

    #[test]
    fn one_wakes_and_not_right_after_a_failure() {
        let (wake, now) = (Wake::default(), 7 * MILLISECOND);
        assert!(wake.begin(now));
        assert!(!wake.begin(now) && !wake.begin(Duration::from_secs(1 << 40)));
        wake.end(true, now);
        assert!(wake.begin(now));
        wake.end(false, now);
        assert!(!wake.begin(now + WAKE_AGAIN_AFTER - MILLISECOND));
        assert!(wake.begin(now + WAKE_AGAIN_AFTER));
    }
}
