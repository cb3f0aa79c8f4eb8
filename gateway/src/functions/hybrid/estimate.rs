//! How long a runtime takes: a moving mean over what was measured, in one atomic word.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

/// Weight of a new measurement once there are enough.
const WEIGHT: f32 = 0.1;
/// So many times the mean is the most that one measurement counts: a pause of the machine, or the waking
/// of a frozen container, must not drive everybody away for long. A lasting change passes in some steps.
const SPIKE: f32 = 4.0;
/// What a failure counts as, at least: one that fails at once must not look fast.
const FAILURE: Duration = Duration::from_secs(1);
/// A mean that got nothing new for so long counts no more than the next measurement.
pub(super) const STALE: Duration = Duration::from_secs(30);

/// Bits of the time of the last measurement, in seconds.
const AT_BITS: u32 = 24;
const AT_MASK: u64 = (1 << AT_BITS) - 1;
const COUNT_BITS: u32 = 8;

/// The mean of the service times of one runtime. Reading and writing take no lock.
///
/// From the high bits down: the mean in seconds as a float, the second of the last measurement, and the
/// number of measurements, up to 255; 0 when there is none.
#[derive(Debug, Default)]
pub(super) struct Estimate(AtomicU64);

/// What is known of a runtime's service time.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Known {
    /// The mean.
    pub(super) seconds: f64,
    /// Measurements in it, up to 255.
    pub(super) samples: u8,
    /// Since the last one, to the second.
    pub(super) age: Duration,
}

impl Estimate {
    /// What is known at `now`, a time since some start.
    pub(super) fn get(&self, now: Duration) -> Option<Known> {
        known(self.0.load(Relaxed), now)
    }

    /// An answer took so long.
    pub(super) fn answered(&self, took: Duration, now: Duration) {
        self.record(took, now, SPIKE);
    }

    /// There was none, or one that says that the function failed.
    pub(super) fn failed(&self, took: Duration, now: Duration) {
        self.record(took.max(FAILURE), now, f32::INFINITY);
    }

    /// There was none until somebody gave up waiting. That tells something only where it was long, and longer than
    /// usual: a client may go away for reasons of its own.
    pub(super) fn unanswered(&self, after: Duration, now: Duration) {
        let usual = self.get(now).map_or(0.0, |known| known.seconds);
        if after >= FAILURE && after.as_secs_f64() > usual {
            self.failed(after, now);
        }
    }

    fn record(&self, took: Duration, now: Duration, spike: f32) {
        // A word that another thread wrote meanwhile is taken up, so nothing is lost but order.
        let update = |word| Some(next(word, took.as_secs_f32(), now, spike));
        self.0.fetch_update(Relaxed, Relaxed, update).expect("the update never refuses");
    }
}

fn known(word: u64, now: Duration) -> Option<Known> {
    let samples = u8::try_from(word & 0xff).expect("eight bits fit");
    let at = (word >> COUNT_BITS) & AT_MASK;
    // Wraps after half a year, which a measurement that old may look newer by.
    let age = now.as_secs().wrapping_sub(at) & AT_MASK;
    let seconds = mean(word).into();
    (samples > 0).then_some(Known { seconds, samples, age: Duration::from_secs(age) })
}

fn mean(word: u64) -> f32 {
    f32::from_bits(u32::try_from(word >> (AT_BITS + COUNT_BITS)).expect("32 bits fit"))
}

fn next(word: u64, took: f32, now: Duration, spike: f32) -> u64 {
    let (mean, samples) = match known(word, now) {
        Some(before) => {
            let old = mean(word);
            // One measurement after long says as much as many of long ago: but it may be a container's first.
            let measured = if before.age < STALE { f32::from(before.samples) } else { 1.0 };
            let weight = WEIGHT.max(1.0 / (measured + 1.0));
            (old + weight * (took.min(spike * old) - old), before.samples.saturating_add(1))
        }
        None => (took, 1),
    };
    // Never 0, which would stay 0 for ever under the limit on spikes.
    let mean = u64::from(mean.max(1e-7).to_bits());
    mean << (AT_BITS + COUNT_BITS) | (now.as_secs() & AT_MASK) << COUNT_BITS | u64::from(samples)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MILLISECOND: Duration = Duration::from_millis(1);

    fn after(samples: &[Duration]) -> Known {
        let estimate = Estimate::default();
        for took in samples {
            estimate.answered(*took, Duration::ZERO);
        }
        estimate.get(Duration::ZERO).unwrap()
    }

    fn close(found: f64, expected: f64) -> bool {
        (found - expected).abs() < expected * 0.01
    }

    #[test]
    fn nothing_is_known_before_the_first() {
        assert_eq!(Estimate::default().get(Duration::MAX), None);
    }

    #[test]
    fn the_first_ones_are_a_plain_mean() {
        let known = after(&[MILLISECOND, 3 * MILLISECOND, 2 * MILLISECOND]);
        assert!(close(known.seconds, 0.002), "{known:?}");
        assert_eq!(known.samples, 3);
    }

    #[test]
    fn a_spike_does_not_stay_and_a_change_does() {
        let steady = vec![MILLISECOND; 50];
        let spike = [&steady[..], &[Duration::from_secs(5)]].concat();
        assert!(after(&spike).seconds < 0.0014);
        let change = [&steady[..], &[100 * MILLISECOND; 60]].concat();
        assert!(close(after(&change).seconds, 0.1), "{:?}", after(&change));
    }

    #[test]
    fn a_failure_is_never_fast() {
        let estimate = Estimate::default();
        estimate.answered(MILLISECOND, Duration::ZERO);
        estimate.failed(Duration::ZERO, Duration::ZERO);
        assert!(estimate.get(Duration::ZERO).unwrap().seconds > 0.1);
    }

    #[test]
    fn one_that_hangs_looks_slow_and_an_impatient_client_changes_nothing() {
        let estimate = Estimate::default();
        let seconds = || estimate.get(Duration::ZERO).map_or(0.0, |known| known.seconds);
        estimate.unanswered(Duration::from_millis(999), Duration::ZERO);
        assert_eq!(estimate.get(Duration::ZERO), None);
        estimate.unanswered(Duration::from_secs(60), Duration::ZERO);
        assert!(close(seconds(), 60.0));
        estimate.unanswered(Duration::from_secs(2), Duration::ZERO);
        assert!(close(seconds(), 60.0), "it may have come in its usual time");
    }

    #[test]
    fn what_is_stale_counts_as_much_as_the_next() {
        let estimate = Estimate::default();
        (0..100).for_each(|_| estimate.answered(MILLISECOND, Duration::ZERO));
        let later = STALE + Duration::from_secs(1);
        assert_eq!(estimate.get(later).unwrap().age, later);
        estimate.answered(3 * MILLISECOND, later);
        let known = estimate.get(later).unwrap();
        assert_eq!((known.samples, known.age), (101, Duration::ZERO));
        assert!(close(known.seconds, 0.002), "{known:?}");
        // A lasting change passes also where each measurement comes long after the last one.
        for minute in 1..10 {
            estimate.answered(Duration::from_secs(1), later + minute * Duration::from_secs(60));
        }
        assert!(estimate.get(later).unwrap().seconds > 0.9);
    }

    #[test]
    fn counts_no_further_than_it_can() {
        assert_eq!(after(&vec![MILLISECOND; 1_000]).samples, u8::MAX);
        assert!(after(&[Duration::ZERO]).seconds > 0.0);
    }

    #[test]
    fn time_may_wrap() {
        let estimate = Estimate::default();
        let end = Duration::from_secs(AT_MASK);
        estimate.answered(MILLISECOND, end);
        assert_eq!(estimate.get(end + Duration::from_secs(3)).unwrap().age, Duration::from_secs(3));
    }
}
