//! The energy that the processor's packages used, as the kernel's powercap tells it (Intel's RAPL, and
//! AMD's in the same form).

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use super::results::Energy;
use crate::wait;

const POWERCAP: &str = "/sys/class/powercap";

/// How long the machine is watched at rest.
const AT_REST: Duration = Duration::from_secs(1);

/// The packages of this machine, and what they use at rest.
#[derive(Debug)]
pub(super) struct Meter {
    packages: Vec<Package>,
    rest_watts: f64,
}

#[derive(Debug)]
struct Package {
    path: PathBuf,
    range_microjoules: u64,
}

/// What the counters said at one moment.
#[derive(Debug)]
pub(super) struct Reading {
    microjoules: Vec<u64>,
    at: Instant,
}

impl Meter {
    /// Finds the counters, and watches the machine at rest for a second.
    ///
    /// # Errors
    /// Why there is no figure, for people.
    pub(super) fn open() -> Result<Self, String> {
        let mut meter = Self { packages: packages(Path::new(POWERCAP))?, rest_watts: 0.0 };
        let before = meter.read().ok_or("the energy counters cannot be read")?;
        wait::pause(AT_REST);
        let joules = meter.joules_since(&before).ok_or("the energy counters cannot be read")?;
        meter.rest_watts = joules / before.at.elapsed().as_secs_f64();
        Ok(meter)
    }

    /// What the counters say now; `None` when they are gone.
    pub(super) fn read(&self) -> Option<Reading> {
        let at = Instant::now();
        let microjoules = self.packages.iter().map(|package| number(&package.path.join("energy_uj")));
        Some(Reading { microjoules: microjoules.collect::<Option<_>>()?, at })
    }

    /// The energy of so many invocations, from a reading before the first until now.
    pub(super) fn of_invocations(&self, before: &Reading, count: u64) -> Option<Energy> {
        let joules = self.joules_since(before)?;
        let thousands = count as f64 / 1_000.0;
        let rest = self.rest_watts * before.at.elapsed().as_secs_f64();
        (count > 0).then(|| Energy {
            joules_per_1000: Some(joules / thousands),
            joules_per_1000_above_idle: Some((joules - rest).max(0.0) / thousands),
            reason: None,
        })
    }

    fn joules_since(&self, before: &Reading) -> Option<f64> {
        let now = self.read()?;
        let pairs = before.microjoules.iter().zip(&now.microjoules).zip(&self.packages);
        let used = pairs.map(|((&before, &now), package)| used(before, now, package.range_microjoules));
        Some(used.sum::<u64>() as f64 / 1e6)
    }
}

/// What a counter went on by, when it may have begun anew once.
fn used(before: u64, now: u64, range: u64) -> u64 {
    if now >= before { now - before } else { (range - before.min(range)) + now }
}

fn packages(powercap: &Path) -> Result<Vec<Package>, String> {
    let none = || format!("no energy counters below {}", powercap.display());
    let entries = fs::read_dir(powercap).map_err(|_| none())?;
    // `intel-rapl:0` is a package; `intel-rapl:0:1` is a part of one, and counted in it.
    let is_package = |path: &PathBuf| {
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        name.strip_prefix("intel-rapl:").is_some_and(|rest| !rest.contains(':'))
    };
    let paths: Vec<PathBuf> =
        entries.filter_map(|entry| Some(entry.ok()?.path())).filter(is_package).collect();
    if paths.is_empty() {
        return Err(none());
    }
    let open = |path: PathBuf| {
        let denied = format!("{} cannot be read: root may", path.join("energy_uj").display());
        number(&path.join("energy_uj")).ok_or(denied)?;
        let range_microjoules = number(&path.join("max_energy_range_uj")).unwrap_or(u64::MAX);
        Ok(Package { path, range_microjoules })
    };
    paths.into_iter().map(open).collect()
}

fn number(path: &Path) -> Option<u64> {
    fs::read_to_string(path).ok()?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_counter_may_begin_anew() {
        assert_eq!(used(10, 25, 100), 15);
        assert_eq!(used(90, 5, 100), 15);
    }

    #[test]
    fn only_packages_are_counted_and_what_is_missing_is_said() {
        let dir = tempfile::tempdir().unwrap();
        assert!(packages(dir.path()).unwrap_err().contains("no energy counters"));
        for name in ["intel-rapl:0", "intel-rapl:0:0", "dtpm"] {
            fs::create_dir(dir.path().join(name)).unwrap();
        }
        assert!(packages(dir.path()).unwrap_err().contains("cannot be read"));
        fs::write(dir.path().join("intel-rapl:0/energy_uj"), "7\n").unwrap();
        assert_eq!(packages(dir.path()).unwrap().len(), 1);
    }
}
