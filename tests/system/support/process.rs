//! What the kernel knows of a process.

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::time::Duration;

use super::wait;

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

/// Runs `work` and answers by how many bytes the process' own memory grew at most meanwhile.
///
/// Its code does not count: the kernel drops and reads back pages of files as it likes.
pub(crate) fn growth_during(pid: u32, work: impl FnOnce()) -> u64 {
    let before = anonymous_bytes(pid);
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let most = scope.spawn(|| {
            let mut most = before;
            while !done.load(SeqCst) {
                most = most.max(anonymous_bytes(pid));
                wait::pause(Duration::from_millis(1));
            }
            most
        });
        // Also when it fails: the other thread must end.
        let worked = catch_unwind(AssertUnwindSafe(work));
        done.store(true, SeqCst);
        let most = most.join().unwrap().max(anonymous_bytes(pid));
        worked.unwrap_or_else(|panic| resume_unwind(panic));
        most - before
    })
}

/// Resident memory that is no file's.
fn anonymous_bytes(pid: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).unwrap();
    line.trim().strip_suffix(" kB").unwrap().parse::<u64>().unwrap() << 10
}
