//! How figures are written: three digits, and always with their unit.

/// Up to so many seconds an axis counts no minutes.
const SECONDS_UNTIL: f64 = 180.0;

/// What a number counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unit {
    /// A time in nanoseconds.
    Nanos,
    /// A time since the begin, in seconds, as on a clock.
    Clock,
    Bytes,
    PerSecond,
    Count,
    /// One figure divided by another.
    Ratio,
    Joules,
}

impl Unit {
    /// A figure of a table.
    pub(crate) fn text(self, value: f64) -> String {
        if !value.is_finite() {
            return "–".to_owned();
        }
        match self {
            Self::Nanos | Self::Bytes | Self::Joules => {
                let (size, name) = self.step(value);
                format!("{} {name}", significant(value / size))
            }
            Self::Clock => clock(value),
            Self::PerSecond => format!("{}/s", significant(value)),
            Self::Count if value.fract() == 0.0 => grouped(&format!("{value:.0}")),
            Self::Count => significant(value),
            Self::Ratio if value.abs() < 10.0 => format!("{value:.2}"),
            Self::Ratio => significant(value),
        }
    }

    /// The same beside an axis that ends at `end`: without digits that say nothing.
    pub(crate) fn tick(self, value: f64, end: f64) -> String {
        match self {
            Self::Nanos | Self::Bytes | Self::Joules => {
                let (size, name) = self.step(value);
                format!("{} {name}", short(value / size))
            }
            Self::Clock if end <= SECONDS_UNTIL => format!("{} s", short(value)),
            Self::Clock if end > 3.0 * 3_600.0 => format!("{} h", short(value / 3_600.0)),
            Self::Clock => format!("{} min", short(value / 60.0)),
            Self::PerSecond | Self::Count | Self::Ratio => short(value),
        }
    }

    /// The largest step of the unit that leaves at least one before the point.
    fn step(self, value: f64) -> (f64, &'static str) {
        let steps: &[(f64, &str)] = match self {
            Self::Bytes => &[(1.0, "B"), (1_024.0, "KiB"), (1_048_576.0, "MiB"), (1_073_741_824.0, "GiB")],
            Self::Joules => &[(1e-6, "µJ"), (1e-3, "mJ"), (1.0, "J"), (1e3, "kJ")],
            _ => &[(1.0, "ns"), (1e3, "µs"), (1e6, "ms"), (1e9, "s")],
        };
        // 999.6 ns would be written as 1,000 ns.
        let fits = |(size, _): &&(f64, &str)| value.abs() >= size * 0.9995;
        steps.iter().rev().find(fits).copied().unwrap_or(steps[0])
    }
}

/// Three significant digits, never fewer than those before the point.
pub(crate) fn significant(value: f64) -> String {
    let text = match value.abs() {
        0.0 => "0".to_owned(),
        size if size < 0.0995 => format!("{value:.3}"),
        size if size < 9.995 => format!("{value:.2}"),
        size if size < 99.95 => format!("{value:.1}"),
        _ => format!("{value:.0}"),
    };
    grouped(&text)
}

fn short(value: f64) -> String {
    let text = significant(value);
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text }
}

/// `1234567` as `1,234,567`.
fn grouped(text: &str) -> String {
    let digits = text.find(|letter: char| letter.is_ascii_digit()).unwrap_or_default();
    let end = text.find('.').unwrap_or(text.len());
    let mut grouped = text[..digits].to_owned();
    for (at, digit) in text[digits..end].chars().enumerate() {
        if at > 0 && (end - digits - at).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped + &text[end..]
}

fn clock(seconds: f64) -> String {
    match seconds {
        seconds if seconds >= 3_600.0 => format!("{} h", short(seconds / 3_600.0)),
        seconds if seconds > SECONDS_UNTIL => format!("{} min", short(seconds / 60.0)),
        seconds => format!("{} s", short(seconds)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writes_three_digits_and_the_unit_that_fits() {
        for (unit, value, text) in [
            (Unit::Nanos, 950.0, "950 ns"),
            (Unit::Nanos, 999.9, "1.00 µs"),
            (Unit::Nanos, 5_432.0, "5.43 µs"),
            (Unit::Nanos, 583_456_789.0, "583 ms"),
            (Unit::Nanos, 36.5e9, "36.5 s"),
            (Unit::Bytes, 100.0 * 1_024.0, "100 KiB"),
            (Unit::Bytes, 18.7 * 1_048_576.0, "18.7 MiB"),
            (Unit::PerSecond, 98_123.4, "98,123/s"),
            (Unit::Count, 1_234_567.0, "1,234,567"),
            (Unit::Count, 0.0, "0"),
            (Unit::Ratio, 0.694, "0.69"),
            (Unit::Ratio, 2_345.6, "2,346"),
            (Unit::Nanos, f64::NAN, "–"),
        ] {
            assert_eq!(unit.text(value), text);
        }
    }

    #[test]
    fn ticks_have_no_digits_that_say_nothing() {
        for (unit, value, text) in [
            (Unit::Nanos, 1e5, "100 µs"),
            (Unit::Nanos, 1e9, "1 s"),
            (Unit::PerSecond, 2_500.0, "2,500"),
            (Unit::Clock, 90.0, "90 s"),
            (Unit::Clock, 300.0, "5 min"),
            (Unit::Clock, 14_400.0, "4 h"),
            (Unit::Count, 0.25, "0.25"),
        ] {
            assert_eq!(unit.tick(value, value), text);
        }
    }

    #[test]
    fn groups_thousands_also_below_zero() {
        assert_eq!(["-1234.5", "123", "1234", "-123"].map(grouped), ["-1,234.5", "123", "1,234", "-123"]);
    }
}
