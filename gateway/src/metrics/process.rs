//! The process' own figures, read when they are asked for. Names as every Prometheus client has them.

use std::time::{SystemTime, UNIX_EPOCH};

use prometheus::core::{Collector, Desc};
use prometheus::proto::MetricFamily;
use prometheus::{Counter, Gauge};
use rustix::time::{ClockId, clock_gettime};

/// Reads `/proc/self` and the process' clock at each scrape.
#[derive(Debug)]
pub(super) struct ProcessCollector {
    cpu_seconds: Counter,
    resident_bytes: Gauge,
    open_files: Gauge,
    start_seconds: Gauge,
}

impl ProcessCollector {
    pub(super) fn new(started_at: SystemTime) -> Result<Self, prometheus::Error> {
        let start_seconds = Gauge::new(
            "process_start_time_seconds",
            "Start time of the process since the Unix epoch, in seconds",
        )?;
        start_seconds.set(started_at.duration_since(UNIX_EPOCH).map_or(0.0, |age| age.as_secs_f64()));
        Ok(Self {
            cpu_seconds: Counter::new("process_cpu_seconds_total", "User and system CPU time, in seconds")?,
            resident_bytes: Gauge::new("process_resident_memory_bytes", "Resident memory size, in bytes")?,
            open_files: Gauge::new("process_open_fds", "Open file descriptors")?,
            start_seconds,
        })
    }
}

impl Collector for ProcessCollector {
    fn desc(&self) -> Vec<&Desc> {
        [
            self.cpu_seconds.desc(),
            self.resident_bytes.desc(),
            self.open_files.desc(),
            self.start_seconds.desc(),
        ]
        .concat()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let mut families = self.start_seconds.collect();
        let cpu = cpu_seconds();
        self.cpu_seconds.inc_by((cpu - self.cpu_seconds.get()).max(0.0));
        families.extend(self.cpu_seconds.collect());
        if let Some(bytes) = resident_bytes() {
            self.resident_bytes.set(bytes);
            families.extend(self.resident_bytes.collect());
        }
        if let Some(count) = open_files() {
            self.open_files.set(count);
            families.extend(self.open_files.collect());
        }
        families
    }
}

#[expect(clippy::cast_precision_loss, reason = "a CPU time is far below 2^52 seconds")]
fn cpu_seconds() -> f64 {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}

/// `VmRSS` of `/proc/self/status`, in bytes; the kernel writes it in KiB.
fn resident_bytes() -> Option<f64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kibibytes: f64 = line.trim().strip_suffix(" kB")?.parse().ok()?;
    Some(kibibytes * 1024.0)
}

/// Entries of `/proc/self/fd`, less the one that reads the directory.
fn open_files() -> Option<f64> {
    let count = std::fs::read_dir("/proc/self/fd").ok()?.count().saturating_sub(1);
    u32::try_from(count).ok().map(f64::from)
}
