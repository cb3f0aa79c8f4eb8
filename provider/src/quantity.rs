//! Quantities as people write them: `64Mi`, `100m`, `30s`.

use std::time::Duration;

/// A quantity that could not be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{text:?} is no {kind}: write {examples}")]
pub struct InvalidQuantity {
    /// What was expected: `memory size`, `number of CPUs` or `duration`.
    pub kind: &'static str,
    /// The refused text, shortened.
    pub text: String,
    /// What to write instead.
    pub examples: &'static str,
}

/// Longest duration that is accepted, so that adding one to an instant cannot overflow: a year.
pub const MAX_DURATION: Duration = Duration::from_secs(366 * 24 * 3600);

/// Reads a memory size into bytes.
///
/// Takes an unsigned decimal, whole or with a fraction, and an optional unit: binary `Ki Mi Gi Ti`,
/// decimal `k K M G T`, and Docker's lower-case `b k m g` with an optional `b` (binary, as Docker
/// reads them). A fraction of a byte is rounded up.
///
/// # Errors
/// [`InvalidQuantity`] for another unit, a sign, nothing, or more than 2^63 bytes.
pub fn parse_bytes(text: &str) -> Result<u64, InvalidQuantity> {
    let refuse =
        || refused("memory size", text, "bytes, or a number with Ki, Mi, Gi, k, M or G, as in `64Mi`");
    let (number, unit) = split_unit(text).ok_or_else(refuse)?;
    let scale: u64 = match unit {
        "" | "b" | "B" => 1,
        "k" | "K" | "kB" | "KB" => 1_000,
        "M" | "MB" => 1_000_000,
        "G" | "GB" => 1_000_000_000,
        "T" | "TB" => 1_000_000_000_000,
        "Ki" | "KiB" | "kb" => 1 << 10,
        "Mi" | "MiB" | "m" | "mb" => 1 << 20,
        "Gi" | "GiB" | "g" | "gb" => 1 << 30,
        "Ti" | "TiB" | "t" | "tb" => 1 << 40,
        _ => return Err(refuse()),
    };
    scaled(number, scale).filter(|bytes| *bytes <= 1 << 63).ok_or_else(refuse)
}

/// Reads a number of CPUs into thousandths of one: `1`, `0.5`, `100m`.
///
/// # Errors
/// [`InvalidQuantity`] for anything else, and for more than a million CPUs.
pub fn parse_cpu_millis(text: &str) -> Result<u32, InvalidQuantity> {
    let refuse =
        || refused("number of CPUs", text, "a number, or thousandths of one with m, as in `0.5` or `500m`");
    let (number, unit) = split_unit(text).ok_or_else(refuse)?;
    let scale = match unit {
        "" => 1_000,
        "m" => 1,
        _ => return Err(refuse()),
    };
    let millis = scaled(number, scale).filter(|millis| *millis <= 1_000_000_000).ok_or_else(refuse)?;
    u32::try_from(millis).map_err(|_| refuse())
}

/// Reads a duration: whole seconds (`30`), or Go's form (`500ms`, `1m30s`, `0.5s`, `2h`, `10us`).
///
/// # Errors
/// [`InvalidQuantity`] for another unit, a sign, nothing, or more than [`MAX_DURATION`].
pub fn parse_duration(text: &str) -> Result<Duration, InvalidQuantity> {
    let refuse =
        || refused("duration", text, "seconds, or a number with ms, s, m or h, as in `30s` or `1m30s`");
    let mut total = Duration::ZERO;
    let mut rest = text;
    if rest.is_empty() {
        return Err(refuse());
    }
    while !rest.is_empty() {
        let number_end = rest.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(rest.len());
        let (number, after) = rest.split_at(number_end);
        let unit_end = after.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(after.len());
        let (unit, next) = after.split_at(unit_end);
        let nanos_per_unit = match unit {
            // A bare number is seconds, and only as the whole text.
            "" if total.is_zero() && number_end == text.len() => 1_000_000_000,
            "ns" => 1,
            "us" | "µs" => 1_000,
            "ms" => 1_000_000,
            "s" => 1_000_000_000,
            "m" => 60_000_000_000,
            "h" => 3_600_000_000_000,
            _ => return Err(refuse()),
        };
        let part = scaled(number, nanos_per_unit).map(Duration::from_nanos).ok_or_else(refuse)?;
        total = total.checked_add(part).filter(|total| *total <= MAX_DURATION).ok_or_else(refuse)?;
        rest = next;
    }
    Ok(total)
}

/// Writes bytes the way [`parse_bytes`] reads them, in the largest binary unit that is exact.
pub fn format_bytes(bytes: u64) -> String {
    let units = [("Gi", 1 << 30), ("Mi", 1 << 20), ("Ki", 1u64 << 10)];
    match units.iter().find(|(_, scale)| bytes >= *scale && bytes.is_multiple_of(*scale)) {
        Some((unit, scale)) => format!("{}{unit}", bytes / scale),
        None => bytes.to_string(),
    }
}

/// Writes a number of CPUs the way [`parse_cpu_millis`] reads it, in thousandths of one.
pub fn format_cpu_millis(millis: u32) -> String {
    format!("{millis}m")
}

fn refused(kind: &'static str, text: &str, examples: &'static str) -> InvalidQuantity {
    InvalidQuantity { kind, text: crate::name::shortened(text), examples }
}

fn split_unit(text: &str) -> Option<(&str, &str)> {
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    (end > 0).then(|| text.split_at(end))
}

/// `number * scale`, rounded up; `None` when it is no plain decimal or does not fit.
fn scaled(number: &str, scale: u64) -> Option<u64> {
    let (whole, fraction) = match number.split_once('.') {
        None => (number, ""),
        Some((whole, fraction)) if !whole.is_empty() && !fraction.is_empty() => (whole, fraction),
        Some(_) => return None,
    };
    if fraction.len() > 9 || fraction.contains('.') {
        return None;
    }
    let whole = whole.parse::<u64>().ok()?.checked_mul(scale)?;
    if fraction.is_empty() {
        return Some(whole);
    }
    let digits = u32::try_from(fraction.len()).ok()?;
    let part = u128::from(fraction.parse::<u64>().ok()?) * u128::from(scale);
    let part = part.div_ceil(10u128.pow(digits));
    whole.checked_add(u64::try_from(part).ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn reads_memory_sizes() {
        for (text, bytes) in [
            ("0", 0),
            ("128974848", 128_974_848),
            ("64Mi", 64 << 20),
            ("1.5Gi", 3 << 29),
            ("128m", 128 << 20),
            ("5k", 5_000),
            ("1G", 1_000_000_000),
            ("0.5Ki", 512),
        ] {
            assert_eq!(parse_bytes(text), Ok(bytes), "{text}");
        }
    }

    #[test]
    fn refuses_bad_memory_sizes() {
        for bad in
            ["", "12Q", "-1", "Mi", "1..5Mi", "1.Mi", ".5Mi", "64 Mi", "1e9", "99999999999Ti", "64mI", "0x10"]
        {
            assert!(parse_bytes(bad).is_err(), "{bad:?} was accepted");
        }
        assert!(parse_bytes("12Q").unwrap_err().to_string().contains("12Q"));
    }

    #[test]
    fn reads_cpus() {
        assert_eq!(parse_cpu_millis("100m"), Ok(100));
        assert_eq!(parse_cpu_millis("1"), Ok(1_000));
        assert_eq!(parse_cpu_millis("0.25"), Ok(250));
        for bad in ["", "m", "-1", "1k", "9999999999"] {
            assert!(parse_cpu_millis(bad).is_err(), "{bad:?} was accepted");
        }
    }

    #[test]
    fn reads_durations() {
        for (text, duration) in [
            ("30", Duration::from_secs(30)),
            ("30s", Duration::from_secs(30)),
            ("500ms", Duration::from_millis(500)),
            ("1m30s", Duration::from_secs(90)),
            ("1.5s", Duration::from_millis(1_500)),
            ("2h", Duration::from_secs(7_200)),
            ("0", Duration::ZERO),
        ] {
            assert_eq!(parse_duration(text), Ok(duration), "{text}");
        }
        for bad in ["", "s", "-1s", "30 s", "1m30", "3d", "9999999h", "1s2", "ten"] {
            assert!(parse_duration(bad).is_err(), "{bad:?} was accepted");
        }
    }

    proptest! {
        #[test]
        fn written_bytes_read_back(bytes in 0u64..1 << 50) {
            prop_assert_eq!(parse_bytes(&format_bytes(bytes)), Ok(bytes));
        }

        #[test]
        fn written_cpus_read_back(millis in 0u32..1_000_000_000) {
            prop_assert_eq!(parse_cpu_millis(&format_cpu_millis(millis)), Ok(millis));
        }

        #[test]
        fn parsers_never_panic(text in "\\PC{0,40}") {
            let _ = (parse_bytes(&text), parse_cpu_millis(&text), parse_duration(&text));
        }
    }
}
