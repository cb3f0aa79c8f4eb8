//! What is counted for each runtime of a hybrid function.

use std::fmt;
use std::sync::OnceLock;
use std::time::Duration;

use bramble_provider::FunctionName;
use parking_lot::Mutex;
use prometheus::{Histogram, HistogramVec, IntCounter, IntCounterVec, Opts, Registry};

use super::Half;
use crate::metrics::histogram;

const LABELS: [&str; 2] = ["function_name", "runtime"];

/// The families of hybrid functions. Cloning copies pointers.
#[derive(Debug, Clone)]
pub(in crate::functions) struct Families {
    total: IntCounterVec,
    seconds: HistogramVec,
}

impl Families {
    /// # Errors
    /// When they are registered already.
    pub(in crate::functions) fn register(registry: &Registry) -> Result<Self, prometheus::Error> {
        let total = Opts::new(
            "bramble_hybrid_invocations_total",
            "Invocations of hybrid functions, by the runtime that took them",
        );
        let seconds = histogram(
            "bramble_hybrid_seconds",
            "Time from handing an invocation of a hybrid function to a runtime to its response's head",
        );
        let families = Self {
            total: IntCounterVec::new(total, &LABELS)?,
            seconds: HistogramVec::new(seconds, &LABELS)?,
        };
        registry.register(Box::new(families.total.clone()))?;
        registry.register(Box::new(families.seconds.clone()))?;
        Ok(families)
    }
}

/// The series of one function. They appear with a runtime's first invocation and go when the function
/// is removed, or hybrid no more.
pub(super) struct Series {
    name: FunctionName,
    families: Families,
    halves: [OnceLock<Pair>; 2],
    /// Held while a series is made, so that none is made after the function was retired.
    retired: Mutex<bool>,
}

struct Pair {
    total: IntCounter,
    seconds: Histogram,
}

impl Series {
    pub(super) fn new(name: FunctionName, families: Families) -> Self {
        Self { name, families, halves: Default::default(), retired: Mutex::new(false) }
    }

    /// A runtime took an invocation, and answered after so long, if it did.
    pub(super) fn count(&self, half: Half, answered: Option<Duration>) {
        let pair = self.halves[half.index()].get_or_init(|| self.make(half));
        pair.total.inc();
        if let Some(took) = answered {
            pair.seconds.observe(took.as_secs_f64());
        }
    }

    /// Invocations that a runtime took.
    pub(super) fn invocations(&self, half: Half) -> u64 {
        self.halves[half.index()].get().map_or(0, |pair| pair.total.get())
    }

    /// Takes the series out of the registry. Invocations still running count into nothing.
    pub(super) fn retire(&self) {
        let mut retired = self.retired.lock();
        *retired = true;
        for half in [Half::Wasm, Half::Container] {
            let labels = [self.name.as_str(), half.runtime().as_str()];
            // Also of a half that seems to have none: one may have been made and not be in its place yet.
            let _none = self.families.total.remove_label_values(&labels);
            let _none = self.families.seconds.remove_label_values(&labels);
        }
    }

    fn make(&self, half: Half) -> Pair {
        let retired = self.retired.lock();
        let labels = [self.name.as_str(), half.runtime().as_str()];
        if *retired {
            let detached = "an unregistered metric has a valid name";
            return Pair {
                total: IntCounter::new("detached", "of a removed function").expect(detached),
                seconds: Histogram::with_opts(histogram("detached", "of a removed function"))
                    .expect(detached),
            };
        }
        Pair {
            total: self.families.total.with_label_values(&labels),
            seconds: self.families.seconds.with_label_values(&labels),
        }
    }
}

impl fmt::Debug for Series {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Series").field("name", &self.name).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_series_appears_with_its_first_invocation_and_goes_for_good() {
        let registry = Registry::new();
        let families = Families::register(&registry).unwrap();
        let series = Series::new(FunctionName::parse("echo").unwrap(), families);
        let text = || prometheus::TextEncoder::new().encode_to_string(&registry.gather()).unwrap();
        assert_eq!(text(), "");
        series.count(Half::Wasm, Some(Duration::from_micros(200)));
        series.count(Half::Wasm, None);
        assert_eq!((series.invocations(Half::Wasm), series.invocations(Half::Container)), (2, 0));
        for line in [
            "bramble_hybrid_invocations_total{function_name=\"echo\",runtime=\"wasm\"} 2",
            "bramble_hybrid_seconds_count{function_name=\"echo\",runtime=\"wasm\"} 1",
        ] {
            assert!(text().contains(line), "{line:?} is not in\n{}", text());
        }
        assert!(!text().contains("container"));
        series.retire();
        assert_eq!(text(), "");
        series.count(Half::Wasm, None);
        series.count(Half::Container, None);
        assert_eq!(text(), "");
    }
    #[test]
    fn a_series_that_is_being_made_goes_too() {
        let registry = Registry::new();
        let series =
            Series::new(FunctionName::parse("echo").unwrap(), Families::register(&registry).unwrap());
        // What `count` does first; its place is taken after that.
        let made = series.make(Half::Wasm);
        series.retire();
        made.total.inc();
        assert_eq!(registry.gather().len(), 0);
    }
}
