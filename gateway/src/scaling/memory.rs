//! Whether the host is short of memory, as the kernel tells it.

/// Below this part of the whole the host is short.
const SHORT: f64 = 0.05;

/// Reads `/proc/meminfo`; not short where it cannot be read.
pub(super) fn is_short() -> bool {
    std::fs::read_to_string("/proc/meminfo")
        .is_ok_and(|text| available(&text).is_some_and(|part| part < SHORT))
}

/// The part of the memory that is available.
fn available(meminfo: &str) -> Option<f64> {
    let kibibytes = |key: &str| -> Option<f64> {
        let line = meminfo.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':'))?;
        line.trim().strip_suffix(" kB")?.parse().ok()
    };
    let total = kibibytes("MemTotal").filter(|total| *total > 0.0)?;
    Some(kibibytes("MemAvailable")? / total)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_kernels_figures() {
        assert_eq!(available("MemTotal:       200 kB\nMemFree: 1 kB\nMemAvailable:   50 kB\n"), Some(0.25));
        assert_eq!(available("MemTotal: 0 kB\nMemAvailable: 50 kB\n"), None);
        assert_eq!(available("nonsense"), None);
    }
}
