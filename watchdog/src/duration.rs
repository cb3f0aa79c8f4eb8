//! Durations as the watchdogs' variables write them.

use std::time::Duration;

/// Longest duration that is accepted, so that adding one to an instant cannot overflow: a year.
const MAX_DURATION: Duration = Duration::from_secs(366 * 24 * 3_600);

/// Reads whole seconds (`30`) or Go's form (`500ms`, `1m30s`, `1.5s`, `2h`); `None` for anything else.
pub(crate) fn parse_duration(text: &str) -> Option<Duration> {
    if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        return text.parse().ok().map(Duration::from_secs).filter(|duration| *duration <= MAX_DURATION);
    }
    let mut total = Duration::ZERO;
    let mut rest = text;
    loop {
        let number_end = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let (number, after) = rest.split_at(number_end);
        let unit_end = after.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(after.len());
        let (unit, next) = after.split_at(unit_end);
        total = total.checked_add(part(number, unit)?).filter(|total| *total <= MAX_DURATION)?;
        rest = next;
        if rest.is_empty() {
            return Some(total);
        }
    }
}

/// One number with its unit.
fn part(number: &str, unit: &str) -> Option<Duration> {
    let unit_seconds = match unit {
        "ns" => 1e-9,
        "us" | "µs" => 1e-6,
        "ms" => 1e-3,
        "s" => 1.0,
        "m" => 60.0,
        "h" => 3_600.0,
        _ => return None,
    };
    if number.starts_with('.') || number.ends_with('.') {
        return None;
    }
    Duration::try_from_secs_f64(number.parse::<f64>().ok()? * unit_seconds).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn reads_seconds_and_go_durations() {
        for (text, millis) in [
            ("30", 30_000),
            ("0", 0),
            ("0s", 0),
            ("500ms", 500),
            ("1m30s", 90_000),
            ("1.5s", 1_500),
            ("2h", 7_200_000),
            ("2000us", 2),
        ] {
            assert_eq!(parse_duration(text), Some(Duration::from_millis(millis)), "{text}");
        }
    }

    #[test]
    fn refuses_everything_else() {
        for bad in
            ["", "s", "-1", "-1s", "30 s", "1m30", "3d", "9999999h", "1s2", "ten", ".s", "1.s", "1..5s"]
        {
            assert_eq!(parse_duration(bad), None, "{bad}");
        }
    }

    proptest! {
        #[test]
        fn never_panics(text in "\\PC{0,40}") {
            let _ = parse_duration(&text);
        }
    }
}
