//! One function's CPU time, out of readings of its containers. Pure: time comes in as an argument.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// Longest time between two readings of a container of which the second adds something: over more it would be
/// a load of now that was one of then. Also how long a container may be unread before nothing is known.
const MAX_GAP: Duration = Duration::from_secs(10);

/// What the containers of one function took.
///
/// Only what a container takes between two readings counts, and so not what it took to start: where a load
/// makes replicas, and these by their start a load, there would be no end.
#[derive(Debug, Default)]
pub(super) struct Meter {
    known: HashMap<Arc<str>, Reading>,
    total: Duration,
    told: Option<Told>,
    unread_since: Option<Instant>,
    /// At the end of the last round.
    was_unknown: bool,
}

#[derive(Debug, Clone, Copy)]
struct Reading {
    nanos: u64,
    at: Instant,
}

/// What a round added is told evenly over as long as the round took: who looks more often than it is read
/// would see a load come and go, and who looks as often, one of twice as much or none.
#[derive(Debug, Clone, Copy)]
struct Told {
    from: Duration,
    to: Duration,
    since: Instant,
    over: Duration,
}

/// One reading of all containers.
#[derive(Debug)]
pub(super) struct Round<'m> {
    meter: &'m mut Meter,
    at: Instant,
}

impl Meter {
    /// The time that was taken up to now; none when no round could read everything yet, or for long.
    pub(super) fn told(&self, now: Instant) -> Option<Duration> {
        self.told.filter(|_| !self.is_unknown(now)).map(|told| told.at(now))
    }

    fn is_unknown(&self, now: Instant) -> bool {
        self.unread_since.is_some_and(|since| now.saturating_duration_since(since) > MAX_GAP)
    }
}

impl Told {
    fn at(&self, now: Instant) -> Duration {
        let passed = now.saturating_duration_since(self.since);
        if passed >= self.over {
            return self.to;
        }
        let part = passed.div_duration_f64(self.over);
        self.to.min(self.from + self.to.saturating_sub(self.from).mul_f64(part))
    }
}

impl<'m> Round<'m> {
    pub(super) fn new(meter: &'m mut Meter, at: Instant) -> Self {
        Self { meter, at }
    }

    /// A container took so much since it started.
    pub(super) fn read(&mut self, container: &Arc<str>, nanos: u64) {
        let reading = Reading { nanos, at: self.at };
        let before = self.meter.known.insert(Arc::clone(container), reading);
        if let Some(before) = before.filter(|before| before.is_recent(self.at)) {
            // Less than before: it was started anew, and took all of it since.
            let grown = nanos.checked_sub(before.nanos).unwrap_or(nanos);
            self.meter.total += Duration::from_nanos(grown);
        }
    }

    /// A container is paused: it takes nothing, however long that is.
    pub(super) fn stands_still(&mut self, container: &Arc<str>) {
        if let Some(reading) = self.meter.known.get_mut(container).filter(|known| known.is_recent(self.at)) {
            reading.at = self.at;
        }
    }

    /// All that could be read was. Whether nothing is known from now on.
    pub(super) fn end(self, unread: bool) -> bool {
        let Self { meter, at } = self;
        // Those that are gone, but not those that may only be out of sight.
        meter.known.retain(|_, reading| reading.is_recent(at));
        meter.unread_since = unread.then(|| meter.unread_since.unwrap_or(at));
        meter.told = match meter.told {
            Some(told) => Some(Told {
                from: told.at(at),
                to: meter.total,
                since: at,
                over: at.saturating_duration_since(told.since).min(MAX_GAP),
            }),
            None if unread => None,
            None => Some(Told { from: meter.total, to: meter.total, since: at, over: Duration::ZERO }),
        };
        let is_unknown = meter.is_unknown(at);
        let was_unknown = std::mem::replace(&mut meter.was_unknown, is_unknown);
        is_unknown && !was_unknown
    }
}

impl Reading {
    fn is_recent(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.at) <= MAX_GAP
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A meter, and how many seconds it has run.
    struct Bench(Meter, Instant, Duration);

    impl Bench {
        fn new() -> Self {
            Self(Meter::default(), Instant::now(), Duration::ZERO)
        }

        /// So many seconds later these containers have taken so many milliseconds; what is in no reading is
        /// paused. Answers what was taken in all, in milliseconds.
        fn round(&mut self, later: u64, readings: &[(&str, Option<u64>)]) -> u128 {
            self.2 += Duration::from_secs(later);
            let mut round = Round::new(&mut self.0, self.1 + self.2);
            for (container, millis) in readings {
                match millis {
                    Some(millis) => round.read(&(*container).into(), millis * 1_000_000),
                    None => round.stands_still(&(*container).into()),
                }
            }
            round.end(false);
            self.0.total.as_millis()
        }

        /// What is told so long after the last round.
        fn told(&self, later: Duration) -> Option<Duration> {
            self.0.told(self.1 + self.2 + later)
        }

        fn unread(&mut self, later: u64) -> bool {
            self.2 += Duration::from_secs(later);
            Round::new(&mut self.0, self.1 + self.2).end(true)
        }
    }

    #[test]
    fn what_each_container_took_between_readings_is_added_up() {
        let mut bench = Bench::new();
        assert_eq!(bench.round(0, &[("a", Some(5_000)), ("b", Some(70))]), 0, "what they took before");
        assert_eq!(bench.round(1, &[("a", Some(5_400)), ("b", Some(70))]), 400);
        assert_eq!(bench.round(1, &[("a", Some(5_500)), ("b", Some(170))]), 600);
    }

    #[test]
    fn a_container_that_is_replaced_keeps_what_it_added() {
        let mut bench = Bench::new();
        bench.round(0, &[("a", Some(100))]);
        assert_eq!(bench.round(1, &[("a", Some(900)), ("b", Some(300))]), 800, "a start is no load");
        assert_eq!(bench.round(1, &[("b", Some(350))]), 850);
        assert_eq!(bench.round(20, &[("b", Some(400))]), 850);
        assert!(!bench.0.known.contains_key("a"), "who is gone is forgotten");
    }

    #[test]
    fn a_container_that_was_started_anew_counts_from_nothing() {
        let mut bench = Bench::new();
        bench.round(0, &[("a", Some(1_000))]);
        bench.round(1, &[("a", Some(1_500))]);
        assert_eq!(bench.round(1, &[("a", Some(200))]), 700);
        assert_eq!(bench.round(1, &[("a", Some(300))]), 800);
    }

    #[test]
    fn one_out_of_sight_for_a_moment_goes_on_and_one_for_long_begins_anew() {
        let mut bench = Bench::new();
        bench.round(0, &[("a", Some(1_000))]);
        bench.round(1, &[]);
        assert_eq!(bench.round(1, &[("a", Some(1_500))]), 500);
        bench.round(6, &[]);
        bench.round(6, &[]);
        assert_eq!(bench.round(1, &[("a", Some(9_000))]), 500);
        assert_eq!(bench.round(1, &[("a", Some(9_100))]), 600);
    }

    #[test]
    fn one_that_is_paused_for_long_goes_on() {
        let mut bench = Bench::new();
        bench.round(0, &[("a", Some(1_000))]);
        for _ in 0..5 {
            bench.round(9, &[("a", None)]);
        }
        assert_eq!(bench.round(1, &[("a", Some(1_250))]), 250);
    }

    #[test]
    fn what_a_round_added_is_told_evenly_until_the_next() {
        let seconds = Duration::from_secs_f64;
        let mut bench = Bench::new();
        assert_eq!(bench.told(Duration::ZERO), None);
        bench.round(0, &[("a", Some(0))]);
        bench.round(2, &[("a", Some(800))]);
        for (later, told) in [(0.0, 0.0), (0.5, 0.2), (1.0, 0.4), (2.0, 0.8), (9.0, 0.8)] {
            assert_eq!(bench.told(seconds(later)), Some(seconds(told)), "{later} s later");
        }
        // A round that comes early takes nothing back.
        bench.round(1, &[("a", Some(1_000))]);
        for (later, told) in [(0.0, 0.4), (0.5, 0.7), (1.0, 1.0)] {
            assert_eq!(bench.told(seconds(later)), Some(seconds(told)), "{later} s later");
        }
    }

    #[test]
    fn what_is_unread_for_long_is_unknown_and_said_once() {
        let mut bench = Bench::new();
        assert!(!bench.unread(0));
        assert_eq!(bench.told(Duration::ZERO), None, "nothing was read yet");
        bench.round(1, &[("a", Some(100))]);
        bench.round(1, &[("a", Some(300))]);
        assert!(!bench.unread(1) && !bench.unread(9));
        assert_eq!(bench.told(Duration::ZERO), Some(Duration::from_millis(200)));
        assert!(bench.unread(2));
        assert_eq!(bench.told(Duration::ZERO), None);
        assert!(!bench.unread(2));
        bench.round(1, &[("a", Some(5_000))]);
        assert_eq!(bench.told(Duration::ZERO), Some(Duration::from_millis(200)));
    }
}
