//! One figure of two runs: whether it differs, and what that is called.

use serde::Serialize;

use super::figures::Figure;
use super::rank::{ENOUGH, differ};
use crate::plot::{Unit, quantile};

/// Of more values the spread is told as the middle half.
const RANGE: usize = 10;

/// Schedules may differ by this factor: latency far below what a function can do hardly depends on them.
const SCHEDULE: f64 = 1.25;

/// A figure on one side.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
struct Side {
    median: f64,
    low: f64,
    high: f64,
    count: usize,
}

/// What is said of a figure.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "verdict", content = "why", rename_all = "snake_case")]
enum Verdict {
    Worse,
    Better,
    Same,
    NotComparable(String),
}

/// A figure of both runs.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct Row {
    name: String,
    a: Side,
    b: Side,
    /// B's median to A's.
    ratio: f64,
    #[serde(flatten)]
    verdict: Verdict,
    #[serde(skip)]
    unit: Unit,
}

impl Side {
    fn of(values: &[f64]) -> Self {
        let mut sorted = values.to_vec();
        sorted.sort_by(f64::total_cmp);
        let shares = if sorted.len() > RANGE { (0.25, 0.75) } else { (0.0, 1.0) };
        let at = |share| quantile(&sorted, share);
        Self { median: at(0.5), low: at(shares.0), high: at(shares.1), count: sorted.len() }
    }

    fn text(self, unit: Unit) -> String {
        let Self { median, low, high, count } = self;
        let median = unit.text(median);
        if count < 2 { median } else { format!("{median} ({}..{})", unit.text(low), unit.text(high)) }
    }
}

impl Row {
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    pub(super) fn is_worse(&self) -> bool {
        self.verdict == Verdict::Worse
    }

    /// Worse ones first, then better ones, those that are the same, and those that cannot be compared.
    pub(super) fn rank(&self) -> u8 {
        match self.verdict {
            Verdict::Worse => 0,
            Verdict::Better => 1,
            Verdict::Same => 2,
            Verdict::NotComparable(_) => 3,
        }
    }

    /// For a table: name, both sides, ratio, verdict.
    pub(super) fn cells(&self) -> [String; 5] {
        let verdict = match (&self.verdict, self.unit) {
            (Verdict::Same, _) => "same".to_owned(),
            (Verdict::NotComparable(why), _) => format!("not comparable: {why}"),
            (Verdict::Worse, Unit::Bytes | Unit::Joules) => "more".to_owned(),
            (Verdict::Better, Unit::Bytes | Unit::Joules) => "less".to_owned(),
            (Verdict::Worse, Unit::Ratio) => "worse".to_owned(),
            (Verdict::Better, Unit::Ratio) => "better".to_owned(),
            (Verdict::Worse, _) => "slower".to_owned(),
            (Verdict::Better, _) => "faster".to_owned(),
        };
        let sides = [self.a, self.b].map(|side| side.text(self.unit));
        let [a, b] = sides;
        [self.name.clone(), a, b, format!("{:.2}", self.ratio), verdict]
    }
}

/// Holds `b` against `a`; medians that differ by less than the share `minimum` are the same.
pub(super) fn judge(a: &Figure, b: &Figure, minimum: f64) -> Row {
    let sides = (Side::of(&a.values), Side::of(&b.values));
    let ratio = sides.1.median / sides.0.median;
    let verdict = match not_comparable(a, b, ratio) {
        Some(why) => Verdict::NotComparable(why),
        None if !differs(&a.values, &b.values, ratio, minimum) => Verdict::Same,
        None if (ratio > 1.0) == a.lower_is_better => Verdict::Worse,
        None => Verdict::Better,
    };
    Row { name: a.name.clone(), a: sides.0, b: sides.1, ratio, verdict, unit: a.unit }
}

fn not_comparable(a: &Figure, b: &Figure, ratio: f64) -> Option<String> {
    if !(ratio.is_finite() && ratio > 0.0) {
        return Some("a median of 0".to_owned());
    }
    let (at, other) = (a.schedule?, b.schedule?);
    let far = at.max(other) > at.min(other) * SCHEDULE;
    let text = |rate| Unit::PerSecond.text(rate);
    far.then(|| format!("the schedules were {} and {}", text(at), text(other)))
}

/// The rule of `compare --help`.
fn differs(a: &[f64], b: &[f64], ratio: f64, minimum: f64) -> bool {
    if ratio.max(1.0 / ratio) < 1.0 + minimum {
        return false;
    }
    match a.len().min(b.len()) {
        0 => false,
        1 => gap(a, b) >= 1.0 + 2.0 * minimum,
        few if few < ENOUGH => gap(a, b) >= 1.0 + minimum,
        _ => differ(a, b),
    }
}

/// How far two ranges are apart, the lowest of the higher one to the highest of the lower one; below 1 they overlap.
fn gap(a: &[f64], b: &[f64]) -> f64 {
    let low = |values: &[f64]| values.iter().copied().fold(f64::INFINITY, f64::min);
    let high = |values: &[f64]| values.iter().copied().fold(0.0, f64::max);
    (low(a) / high(b)).max(low(b) / high(a))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(a: &[f64], b: &[f64], lower_is_better: bool) -> Verdict {
        let figure = |values: &[f64]| Figure {
            name: "f".to_owned(),
            unit: Unit::Nanos,
            lower_is_better,
            values: values.to_vec(),
            schedule: None,
        };
        judge(&figure(a), &figure(b), 0.05).verdict
    }

    #[test]
    fn rounds_must_not_overlap_and_medians_must_differ_enough() {
        let five = [100.0, 101.0, 102.0, 103.0, 104.0];
        let times = |factor: f64| five.map(|value| value * factor);
        assert_eq!(judged(&five, &times(1.3), true), Verdict::Worse);
        assert_eq!(judged(&five, &times(1.3), false), Verdict::Better);
        assert_eq!(judged(&times(1.3), &five, true), Verdict::Better);
        assert_eq!(judged(&five, &times(1.045), true), Verdict::Same, "too little");
        assert_eq!(judged(&five, &[103.5, 120.0, 121.0, 122.0, 123.0], true), Verdict::Same, "they overlap");
    }

    #[test]
    fn few_values_need_a_gap_and_single_ones_a_wider_one() {
        assert_eq!(judged(&[100.0, 104.0, 108.0], &[112.0, 115.0, 118.0], true), Verdict::Same);
        assert_eq!(judged(&[100.0, 104.0, 108.0], &[114.0, 116.0, 118.0], true), Verdict::Worse);
        assert_eq!(judged(&[100.0], &[109.0], true), Verdict::Same);
        assert_eq!(judged(&[100.0], &[111.0], true), Verdict::Worse);
        assert_eq!(judged(&[111.0], &[100.0], true), Verdict::Better);
    }

    #[test]
    fn nothing_and_zero_are_not_compared() {
        assert!(matches!(judged(&[], &[1.0], true), Verdict::NotComparable(_)));
        assert!(matches!(judged(&[0.0], &[1.0], true), Verdict::NotComparable(_)));
    }

    #[test]
    fn latencies_of_other_schedules_are_not_compared() {
        let figure = |schedule| Figure {
            name: "f".to_owned(),
            unit: Unit::Nanos,
            lower_is_better: true,
            values: vec![1.0; 5],
            schedule: Some(schedule),
        };
        let verdict = |a, b| judge(&figure(a), &figure(b), 0.05).verdict;
        assert_eq!(verdict(100.0, 120.0), Verdict::Same);
        assert_eq!(
            verdict(100.0, 200.0),
            Verdict::NotComparable("the schedules were 100/s and 200/s".to_owned())
        );
    }
}
