//! What the kernel knows of a process.

use std::fs;
use std::time::Duration;

/// Ticks of the kernel's clock for processes in a second, the same on every Linux (`USER_HZ`).
const TICKS_PER_SECOND: f64 = 100.0;

/// The processor time that a process has used.
pub(crate) fn cpu_time(pid: u32) -> Duration {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    // The name is in brackets and may hold spaces; user and system time are fields 14 and 15.
    let fields = stat.rsplit_once(')').unwrap().1.split_whitespace();
    let ticks: f64 = fields.skip(11).take(2).map(|field| field.parse::<f64>().unwrap()).sum();
    Duration::from_secs_f64(ticks / TICKS_PER_SECOND)
}

/// Runs `work` and answers by how many bytes the process' resident memory grew at most meanwhile.
pub(crate) fn growth_during(pid: u32, work: impl FnOnce()) -> u64 {
    fs::write(format!("/proc/{pid}/clear_refs"), "5").unwrap(); // sets the peak to what is resident now
    let before = status_bytes(pid, "VmRSS:");
    work();
    status_bytes(pid, "VmHWM:").saturating_sub(before)
}

fn status_bytes(pid: u32, field: &str) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(field)).unwrap();
    line.trim().strip_suffix(" kB").unwrap().parse::<u64>().unwrap() << 10
}
