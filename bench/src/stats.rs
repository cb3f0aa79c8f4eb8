//! Latency histograms and the spread of a figure over rounds.

use std::time::Duration;

use hdrhistogram::Histogram;
use serde::Serialize;

/// Longest latency that is told apart from longer ones.
const MAX_LATENCY: Duration = Duration::from_secs(60);

/// Latencies in nanoseconds, to three digits.
#[derive(Debug, Clone)]
pub(crate) struct Latencies(Histogram<u64>);

impl Latencies {
    pub(crate) fn new() -> Self {
        let max = u64::try_from(MAX_LATENCY.as_nanos()).expect("a minute is 6e10 ns");
        Self(Histogram::new_with_bounds(1, max, 3).expect("the bounds are valid"))
    }

    pub(crate) fn record(&mut self, latency: Duration) {
        self.0.saturating_record(u64::try_from(latency.as_nanos()).unwrap_or(u64::MAX));
    }

    pub(crate) fn add(&mut self, other: &Self) {
        self.0.add(&other.0).expect("all histograms have the same bounds");
    }

    pub(crate) fn p50_ns(&self) -> u64 {
        self.0.value_at_quantile(0.5)
    }

    pub(crate) fn percentiles(&self) -> Percentiles {
        let at = |quantile| self.0.value_at_quantile(quantile);
        Percentiles {
            count: self.0.len(),
            p50_ns: at(0.5),
            p90_ns: at(0.9),
            p99_ns: at(0.99),
            p999_ns: at(0.999),
            max_ns: self.0.max(),
        }
    }
}

/// What is reported of a histogram.
#[derive(Debug, Clone, Copy, Serialize)]
pub(crate) struct Percentiles {
    pub(crate) count: u64,
    pub(crate) p50_ns: u64,
    pub(crate) p90_ns: u64,
    pub(crate) p99_ns: u64,
    pub(crate) p999_ns: u64,
    pub(crate) max_ns: u64,
}

/// A figure over several rounds.
#[derive(Debug, Clone, Copy, Serialize)]
pub(crate) struct Spread {
    pub(crate) median: f64,
    pub(crate) min: f64,
    pub(crate) max: f64,
}

impl Spread {
    /// Of at least one value; of none it is NaN.
    pub(crate) fn of(values: impl IntoIterator<Item = f64>) -> Self {
        let mut values: Vec<f64> = values.into_iter().collect();
        values.sort_by(f64::total_cmp);
        let (Some(&min), Some(&max)) = (values.first(), values.last()) else {
            return Self { median: f64::NAN, min: f64::NAN, max: f64::NAN };
        };
        let middle = values.len() / 2;
        let median = if values.len() % 2 == 1 {
            values[middle]
        } else {
            f64::midpoint(values[middle - 1], values[middle])
        };
        Self { median, min, max }
    }

    /// `median (min..max)`, each written by `format`.
    pub(crate) fn text(&self, format: impl Fn(f64) -> String) -> String {
        format!("{} ({}..{})", format(self.median), format(self.min), format(self.max))
    }
}

/// A time as a person reads it: three digits or so, with its unit.
pub(crate) fn time(nanos: f64) -> String {
    match nanos.abs() {
        n if n < 1e3 => format!("{nanos:.0} ns"),
        n if n < 1e5 => format!("{:.2} µs", nanos / 1e3),
        n if n < 1e6 => format!("{:.0} µs", nanos / 1e3),
        n if n < 1e9 => format!("{:.2} ms", nanos / 1e6),
        _ => format!("{:.2} s", nanos / 1e9),
    }
}

/// [`time`] of whole nanoseconds.
pub(crate) fn time_of(nanos: u64) -> String {
    time(nanos as f64)
}

/// A rate or a count, rounded.
pub(crate) fn whole(value: f64) -> String {
    format!("{value:.0}")
}

/// A ratio, to two decimals.
pub(crate) fn ratio(value: f64) -> String {
    format!("{value:.2}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_of_an_even_count_is_between_the_two_in_the_middle() {
        let spread = Spread::of([4.0, 1.0, 3.0, 2.0]);
        assert_eq!((spread.min, spread.median, spread.max), (1.0, 2.5, 4.0));
        assert_eq!(Spread::of([3.0, 1.0, 2.0]).median, 2.0);
        assert!(Spread::of([]).median.is_nan());
    }

    #[test]
    fn writes_times_with_the_unit_that_fits() {
        for (nanos, text) in
            [(950.0, "950 ns"), (5_432.0, "5.43 µs"), (123_456.0, "123 µs"), (2e6, "2.00 ms")]
        {
            assert_eq!(time(nanos), text);
        }
    }
}
