//! The load from the registry's own counters: no Prometheus, no wait.

use std::collections::HashMap;
use std::time::Duration;

use bramble_provider::FunctionName;

use super::{Source, SourceError};
use crate::load::Load;
use crate::target::{Counters, Observed};

/// Shortest time over which a rate is told: below it a rate of a few is a matter of chance.
const MIN_SPAN: Duration = Duration::from_millis(100);

/// Looks that a rate goes over: the newest against the one so many before it.
const SAMPLES: usize = 3;

/// Differences of the counters between looks.
#[derive(Debug, Default)]
pub struct OwnCounters {
    seen: HashMap<FunctionName, Box<Seen>>,
    /// Counts the looks, to find the functions that were not in the last one.
    look: u64,
}

#[derive(Debug)]
struct Seen {
    samples: [Option<Sample>; SAMPLES],
    look: u64,
}

#[derive(Debug, Clone, Copy)]
struct Sample {
    at: Duration,
    counters: Counters,
}

impl Source for OwnCounters {
    fn name(&self) -> &'static str {
        "gateway"
    }

    async fn loads(&mut self, functions: &[Observed], now: Duration) -> Result<Vec<Load>, SourceError> {
        self.look += 1;
        let loads = functions.iter().map(|observed| self.load(observed, now)).collect();
        if self.seen.len() > functions.len() {
            self.seen.retain(|_, seen| seen.look == self.look);
        }
        Ok(loads)
    }
}

impl OwnCounters {
    fn load(&mut self, observed: &Observed, now: Duration) -> Load {
        let (name, counters) = (observed.function.name(), observed.counters);
        let sample = Sample { at: now, counters };
        // One look-up for nearly every function; an entry would clone each name.
        if let Some(seen) = self.seen.get_mut(name) {
            seen.look = self.look;
            return seen.take(sample);
        }
        let mut seen = Box::new(Seen { samples: [None; SAMPLES], look: self.look });
        let load = seen.take(sample);
        self.seen.insert(name.clone(), seen);
        load
    }
}

impl Seen {
    fn take(&mut self, sample: Sample) -> Load {
        // A count that fell is another function of the same name, or another process.
        let newest = self.samples[0];
        if newest
            .is_some_and(|before| before.counters.started > sample.counters.started || before.at > sample.at)
        {
            self.samples = [None; SAMPLES];
        }
        let oldest = self.samples.iter().rev().flatten().next().copied();
        let before = self.samples[0];
        let rate = |of: fn(&Counters) -> f64| {
            let oldest = oldest?;
            let span = sample.at.saturating_sub(oldest.at);
            (span >= MIN_SPAN).then(|| (of(&sample.counters) - of(&oldest.counters)) / span.as_secs_f64())
        };
        // Two looks at a gauge: one alone says little of short invocations.
        let mean = |of: fn(&Counters) -> u32| {
            let now = f64::from(of(&sample.counters));
            Some(before.map_or(now, |before| f64::midpoint(now, f64::from(of(&before.counters)))))
        };
        // Metered only since then, or again: what was taken before is no load of now.
        let metered = sample.counters.cpu_seconds.is_some()
            && oldest.is_some_and(|oldest| oldest.counters.cpu_seconds.is_some());
        let load = Load {
            rps: rate(|counters| count(counters.started)),
            inflight: mean(|counters| counters.inflight.saturating_sub(counters.queued)),
            cpu_cores: metered
                .then(|| rate(|counters| counters.cpu_seconds.unwrap_or_default()))
                .flatten()
                .map(|cores| cores.max(0.0)),
            queued: mean(|counters| counters.queued.saturating_add(counters.queue_depth)),
            waiting: None,
            idle_for: Some(Duration::ZERO),
        };
        self.samples.rotate_right(1);
        self.samples[0] = Some(sample);
        load
    }
}

#[expect(clippy::cast_precision_loss, reason = "a count is exact up to 2^53 invocations")]
fn count(count: u64) -> f64 {
    count as f64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::target::testing::observed;

    const S: Duration = Duration::from_secs(1);

    fn look(source: &mut OwnCounters, counters: Counters, seconds: u32) -> Load {
        source.look += 1;
        source.load(&observed("echo", &[], counters), S * seconds)
    }

    fn started(started: u64) -> Counters {
        Counters { started, ..Counters::default() }
    }

    #[test]
    fn a_rate_needs_two_looks_and_goes_over_the_last_few() {
        let mut source = OwnCounters::default();
        assert_eq!(look(&mut source, started(1_000), 0).rps, None);
        assert_eq!(look(&mut source, started(1_010), 1).rps, Some(10.0));
        assert_eq!(look(&mut source, started(1_030), 2).rps, Some(15.0));
        assert_eq!(look(&mut source, started(1_060), 3).rps, Some(20.0));
        assert_eq!(look(&mut source, started(1_060), 9).rps, Some(50.0 / 8.0));
    }

    #[test]
    fn a_count_that_fell_tells_no_rate() {
        let mut source = OwnCounters::default();
        look(&mut source, started(1_000), 0);
        assert_eq!(look(&mut source, started(5), 1).rps, None);
        assert_eq!(look(&mut source, started(6), 2).rps, Some(1.0));
    }

    #[test]
    fn what_waits_is_not_counted_as_running() {
        let mut source = OwnCounters::default();
        let busy = Counters { started: 9, inflight: 8, queued: 6, queue_depth: 0, cpu_seconds: Some(1.0) };
        let first = look(&mut source, busy, 0);
        assert_eq!((first.inflight, first.queued, first.cpu_cores), (Some(2.0), Some(6.0), None));
        let second = look(&mut source, Counters { cpu_seconds: Some(2.5), ..busy }, 1);
        assert_eq!(second.cpu_cores, Some(1.5));
        let quiet = Counters { started: 9, cpu_seconds: Some(2.5), ..Counters::default() };
        assert_eq!(look(&mut source, quiet, 2).inflight, Some(1.0));
    }

    #[test]
    fn what_waits_in_the_asynchronous_queue_waits_beside_what_runs() {
        let mut source = OwnCounters::default();
        let busy = Counters { inflight: 2, queued: 1, queue_depth: 10, ..Counters::default() };
        let load = look(&mut source, busy, 0);
        assert_eq!((load.inflight, load.queued), (Some(1.0), Some(11.0)));
    }

    #[test]
    fn what_was_taken_before_it_was_metered_is_no_load() {
        let mut source = OwnCounters::default();
        let metered = |cpu_seconds| Counters { cpu_seconds, ..Counters::default() };
        look(&mut source, metered(None), 0);
        assert_eq!(look(&mut source, metered(Some(90.0)), 1).cpu_cores, None);
        look(&mut source, metered(Some(90.5)), 2);
        look(&mut source, metered(Some(91.0)), 3);
        assert_eq!(look(&mut source, metered(Some(91.5)), 4).cpu_cores, Some(0.5));
        assert_eq!(look(&mut source, metered(None), 5).cpu_cores, None);
    }

    #[tokio::test]
    async fn functions_that_are_gone_are_forgotten() {
        let mut source = OwnCounters::default();
        let both = [observed("a", &[], started(1)), observed("b", &[], started(1))];
        source.loads(&both, S).await.unwrap();
        source.loads(&both[..1], 2 * S).await.unwrap();
        assert_eq!(source.seen.len(), 1);
    }
}
