//! Where and when a figure was measured.

use std::fs;
use std::process::Command;

use serde::Serialize;

use crate::suite::results;

/// Load average above which figures are not to be trusted.
const QUIET_LOAD: f64 = 0.5;

/// The machine, the code and the moment.
#[derive(Debug, Serialize)]
pub(crate) struct Machine {
    cpu: String,
    cores: usize,
    memory_bytes: u64,
    kernel: String,
    /// Runnable tasks over the last minute, before anything was measured.
    load_average_at_start: f64,
    quiet: bool,
    date: String,
    /// The checkout's commit, `-dirty` when it was changed since.
    commit: String,
    rustc: &'static str,
    profile: &'static str,
}

impl Machine {
    /// Reads what the kernel and the checkout say. What cannot be read is `unknown` or 0.
    pub(crate) fn probe() -> Self {
        let load_average_at_start = read_load_average();
        Self {
            cpu: cpu_model(),
            cores: cores(),
            memory_bytes: memory_bytes(),
            kernel: read_line("/proc/sys/kernel/osrelease"),
            load_average_at_start,
            quiet: load_average_at_start <= QUIET_LOAD,
            date: jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string(),
            commit: commit(),
            rustc: env!("BRAMBLE_BENCH_RUSTC"),
            profile: if cfg!(debug_assertions) { "debug" } else { "release" },
        }
    }

    /// What must be said before any figure; `None` when there is nothing.
    pub(crate) fn warning(&self) -> Option<String> {
        if self.profile == "debug" {
            return Some("this is a debug build: its figures mean nothing".to_owned());
        }
        (!self.quiet).then(|| {
            format!(
                "the machine was not quiet (load average {:.2} over {} cores): trust ratios, not times",
                self.load_average_at_start, self.cores
            )
        })
    }

    /// The checkout's commit, `-dirty` when it was changed since; `unknown` outside of one.
    pub(crate) fn commit(&self) -> &str {
        &self.commit
    }

    /// As the suite's results hold it.
    pub(crate) fn described(&self) -> results::Machine {
        results::Machine {
            cpu: self.cpu.clone(),
            cores: self.cores,
            memory_bytes: self.memory_bytes,
            kernel: self.kernel.clone(),
            load_average_at_start: self.load_average_at_start,
            quiet: self.quiet,
            rustc: self.rustc.to_owned(),
            profile: self.profile.to_owned(),
        }
    }

    /// One line for people.
    pub(crate) fn line(&self) -> String {
        format!(
            "{}, {} cores, {:.1} GiB, Linux {}; load {:.2}; commit {}, {}; {}",
            self.cpu,
            self.cores,
            self.memory_bytes as f64 / f64::from(1 << 30),
            self.kernel,
            self.load_average_at_start,
            self.commit,
            self.rustc,
            self.date,
        )
    }
}

/// Cores that this process may use.
pub(crate) fn cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

fn read_line(path: &str) -> String {
    let text = fs::read_to_string(path).unwrap_or_default();
    text.lines().next().filter(|line| !line.is_empty()).unwrap_or("unknown").to_owned()
}

fn read_load_average() -> f64 {
    read_line("/proc/loadavg").split(' ').next().and_then(|load| load.parse().ok()).unwrap_or_default()
}

fn memory_bytes() -> u64 {
    let text = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    kib_field(&text, "MemTotal").unwrap_or_default() * 1_024
}

/// x86 names the model in `cpuinfo`; a Raspberry Pi names its board in the device tree.
fn cpu_model() -> String {
    let text = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = text.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    let board = || read_line("/proc/device-tree/model").trim_end_matches('\0').to_owned();
    model.map_or_else(board, |(_, model)| model.trim().to_owned())
}

fn commit() -> String {
    let git = |arguments: &[&str]| {
        let output = Command::new("git").args(arguments).output().ok()?;
        output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
    };
    let Some(commit) = git(&["rev-parse", "--short=12", "HEAD"]) else { return "unknown".to_owned() };
    let changed =
        git(&["status", "--porcelain", "--untracked-files=no"]).is_some_and(|text| !text.is_empty());
    if changed { commit + "-dirty" } else { commit }
}

/// A field such as `VmRSS:   1234 kB` of a file below `/proc`, in KiB.
pub(crate) fn kib_field(text: &str, name: &str) -> Option<u64> {
    let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
    value.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_a_field_in_kib() {
        let text = "VmPeak:\t  9 kB\nVmRSS:\t   1234 kB\n";
        assert_eq!(kib_field(text, "VmRSS"), Some(1234));
        assert_eq!(kib_field(text, "Vm"), None);
    }
}
