//! How much memory slots may keep resident while nobody uses them.
//!
//! Not how much guests may take together: that is each function's own limit, which a guest seldom comes near.

use std::fs;
use std::path::{Path, PathBuf};

/// Share of the memory that idle slots may keep, in percent. The rest is for guests, code, the gateway and others.
pub(crate) const RESIDENT_SHARE_PERCENT: u64 = 25;

/// What there is: the machine's memory, or the process' part of it where that is limited.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct MemoryBudget {
    pub(crate) bytes: u64,
}

impl MemoryBudget {
    /// Reads the machine's memory and the limits of the control groups that the process is in.
    pub(crate) fn probe() -> Self {
        let machine = fs::read_to_string("/proc/meminfo").ok().and_then(|text| total_bytes(&text));
        let groups = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
        // One without a limit says `max`, or a number beyond every machine.
        let limit = |file: PathBuf| fs::read_to_string(file).ok()?.trim().parse().ok();
        let limits = limit_files(&groups).into_iter().filter_map(limit);
        Self { bytes: limits.chain(machine).min().unwrap_or(u64::MAX) }
    }

    /// How many slots may keep `resident_bytes` each.
    pub(crate) fn slots(self, resident_bytes: u64) -> u32 {
        let share = self.bytes / 100 * RESIDENT_SHARE_PERCENT;
        u32::try_from(share / resident_bytes.max(1)).unwrap_or(u32::MAX)
    }
}

/// The machine's memory, of `/proc/meminfo`.
fn total_bytes(meminfo: &str) -> Option<u64> {
    let total = meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    total.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()?.checked_mul(1 << 10)
}

/// Where the limits are that hold for a process, of its `/proc/self/cgroup`: its group's and those above.
fn limit_files(groups: &str) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for line in groups.lines() {
        let mut parts = line.splitn(3, ':').skip(1);
        let (Some(controllers), Some(group)) = (parts.next(), parts.next()) else { continue };
        // All controllers are in one tree (version 2), or that of memory is in one of its own.
        let (root, file) = match controllers {
            "" => ("/sys/fs/cgroup", "memory.max"),
            "memory" => ("/sys/fs/cgroup/memory", "memory.limit_in_bytes"),
            _ => continue,
        };
        let above = Path::new(group.trim_start_matches('/')).ancestors();
        files.extend(above.map(|group| Path::new(root).join(group).join(file)));
    }
    files
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_small_machine_keeps_as_many_slots_as_by_default() {
        let small = MemoryBudget { bytes: 512 << 20 };
        assert!(small.slots(144 << 10) >= 512);
        assert_eq!(small.slots(64 << 20), 1, "and few that are large");
    }

    #[test]
    fn finds_the_machines_memory() {
        let meminfo = "MemTotal:        3884364 kB\nMemFree:          123 kB\n";
        assert_eq!(total_bytes(meminfo), Some(3_884_364 << 10));
        assert_eq!(total_bytes("MemFree: 1 kB\n"), None);
    }

    #[test]
    fn looks_at_every_group_that_the_process_is_in() {
        let files = |groups| {
            let files = limit_files(groups);
            files.iter().map(|file| file.to_str().unwrap().to_owned()).collect::<Vec<_>>()
        };
        assert_eq!(
            files("0::/a/b\n"),
            ["/sys/fs/cgroup/a/b/memory.max", "/sys/fs/cgroup/a/memory.max", "/sys/fs/cgroup/memory.max"]
        );
        assert_eq!(
            files("9:cpu:/x\n4:memory:/x\n"),
            ["/sys/fs/cgroup/memory/x/memory.limit_in_bytes", "/sys/fs/cgroup/memory/memory.limit_in_bytes"]
        );
        assert_eq!(files("0::/\n"), ["/sys/fs/cgroup/memory.max"]);
        assert!(files("nonsense\n").is_empty());
    }

    #[test]
    fn the_probe_finds_a_plausible_size() {
        let here = MemoryBudget::probe();
        assert!((16 << 20..1 << 50).contains(&here.bytes), "{here:?}");
    }
}
