//! Axes: from values to places, and where their ticks are.

use super::Unit;

/// Steps within a power of ten that are short to write.
const STEPS: [f64; 4] = [1.0, 2.0, 5.0, 10.0];

/// Steps of a clock, in seconds: people count time by these.
const CLOCK_STEPS: [f64; 15] = [
    1.0, 2.0, 5.0, 10.0, 15.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1_200.0, 3_600.0, 7_200.0, 14_400.0, 86_400.0,
];

/// What an axis spans, and how.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Scale {
    log: bool,
    from: f64,
    to: f64,
}

impl Scale {
    /// From 0 to a short number that is not below `most`.
    pub(crate) fn from_zero(most: f64) -> Self {
        let most = if most.is_finite() && most > 0.0 { most } else { 1.0 };
        Self { log: false, from: 0.0, to: above(most) }
    }

    /// From 0 to just `end`.
    pub(crate) fn until(end: f64) -> Self {
        let end = if end.is_finite() && end > 0.0 { end } else { 1.0 };
        Self { log: false, from: 0.0, to: end }
    }

    /// Logarithmic over all `values` above 0, to short numbers on both sides, a factor of 10 at least.
    pub(crate) fn log(values: impl IntoIterator<Item = f64>) -> Self {
        let (mut low, mut high) = (f64::INFINITY, 0.0_f64);
        for value in values.into_iter().filter(|value| value.is_finite() && *value > 0.0) {
            (low, high) = (low.min(value), high.max(value));
        }
        if high == 0.0 {
            (low, high) = (1.0, 10.0);
        }
        let (from, to) = (below(low), above(high));
        Self { log: true, from, to: to.max(from * 10.0) }
    }

    /// From 0 at the begin of the axis to 1 at its end; what is beyond stays at the end.
    pub(crate) fn share(&self, value: f64) -> f64 {
        let share = if self.log {
            (value.max(self.from) / self.from).ln() / (self.to / self.from).ln()
        } else {
            (value - self.from) / (self.to - self.from)
        };
        share.clamp(0.0, 1.0)
    }

    /// Values to write beside the axis, in order, about `most` of them.
    pub(crate) fn ticks(&self, unit: Unit, most: usize) -> Vec<f64> {
        if self.log { self.log_ticks(most) } else { self.linear_ticks(unit, most) }
    }

    /// The end of the axis.
    pub(crate) fn end(&self) -> f64 {
        self.to
    }

    fn linear_ticks(&self, unit: Unit, most: usize) -> Vec<f64> {
        let most = most.max(1) as f64;
        let least = (self.to - self.from) / most * 0.999;
        let step = if unit == Unit::Clock {
            CLOCK_STEPS.into_iter().find(|step| *step >= least).unwrap_or_else(|| above(least))
        } else {
            above(least)
        };
        let reached = |tick: &f64| *tick <= self.to * 1.000_1;
        (0_u32..).map(|at| self.from + f64::from(at) * step).take_while(reached).collect()
    }

    fn log_ticks(&self, most: usize) -> Vec<f64> {
        let powers = || {
            let first = 10_f64.powf((self.from * 1.000_1).log10().floor());
            (0..).map(move |at| first * 10_f64.powi(at)).take_while(|power| *power <= self.to * 1.000_1)
        };
        let inside = |tick: &f64| (self.from * 0.999_9..=self.to * 1.000_1).contains(tick);
        let fine: Vec<f64> =
            powers().flat_map(|power| [1.0, 2.0, 5.0].map(|step| step * power)).filter(inside).collect();
        if fine.len() <= most {
            return fine;
        }
        let coarse: Vec<f64> = powers().filter(inside).collect();
        let each = coarse.len().div_ceil(most.max(1));
        coarse.into_iter().step_by(each).collect()
    }
}

/// The next number of 1, 2, 5 times a power of ten that is not below `value`.
fn above(value: f64) -> f64 {
    let power = 10_f64.powf(value.log10().floor());
    STEPS.map(|step| step * power).into_iter().find(|step| *step >= value * 0.999_9).unwrap_or(value)
}

fn below(value: f64) -> f64 {
    let power = 10_f64.powf(value.log10().floor());
    STEPS.map(|step| step * power).into_iter().rfind(|step| *step <= value * 1.000_1).unwrap_or(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn axes_end_at_short_numbers() {
        let ends = [0.9, 1.0, 1.1, 17.0, 45.0, 81.0, 0.0, f64::NAN].map(|most| Scale::from_zero(most).end());
        assert_eq!(ends, [1.0, 1.0, 2.0, 20.0, 50.0, 100.0, 1.0, 1.0]);
    }

    #[test]
    fn a_log_axis_holds_all_values_and_puts_decades_at_equal_distances() {
        let scale = Scale::log([3e5, 7e8, 0.0, f64::NAN]);
        assert_eq!((scale.from, scale.to), (2e5, 1e9));
        let of = |value| scale.share(value);
        assert!((of(1e8) - of(1e7) - (of(1e7) - of(1e6))).abs() < 1e-9);
        assert_eq!((of(1.0), of(2e5), of(1e9), of(1e12)), (0.0, 0.0, 1.0, 1.0));
    }

    #[test]
    fn ticks_are_few_and_lie_on_the_axis() {
        let tenths = Scale::from_zero(100.0).ticks(Unit::Count, 5);
        assert_eq!(tenths, [0.0, 20.0, 40.0, 60.0, 80.0, 100.0]);
        let minutes = Scale::until(90.0).ticks(Unit::Clock, 6);
        assert_eq!(minutes, [0.0, 15.0, 30.0, 45.0, 60.0, 75.0, 90.0]);
        let wide = Scale::log([1e3, 1e9]).ticks(Unit::Nanos, 8);
        assert_eq!(wide.len(), 7);
        let narrow = Scale::log([1e3, 1e9]).ticks(Unit::Nanos, 4);
        assert_eq!(narrow.len(), 4);
        let short = Scale::log([2.0, 30.0]).ticks(Unit::Count, 6);
        assert_eq!(short, [2.0, 5.0, 10.0, 20.0, 50.0]);
    }

    #[test]
    fn nothing_to_show_is_an_axis_all_the_same() {
        assert!(Scale::log([]).share(5.0).is_finite());
        assert!(Scale::log([4.0]).share(4.0).is_finite());
        assert!(Scale::until(0.0).share(0.0).is_finite());
    }
}
