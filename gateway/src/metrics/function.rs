//! Handles to one function's series, resolved once so that an invocation looks up no label.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::OnceLock;
use std::time::Duration;

use bramble_provider::FunctionName;
use http::StatusCode;
use parking_lot::Mutex;
use prometheus::{Histogram, HistogramVec, IntCounter, IntCounterVec, Opts, Registry};

/// Statuses with a place of their own; all others go through a lock.
const COMMON: [u16; 12] = [200, 201, 202, 204, 302, 400, 404, 429, 499, 500, 503, 504];

/// The families that have a `function_name`. Cloning copies pointers.
#[derive(Debug, Clone)]
pub(crate) struct Families {
    started: IntCounterVec,
    total: IntCounterVec,
    seconds: HistogramVec,
}

impl Families {
    pub(super) fn register(registry: &Registry) -> Result<Self, prometheus::Error> {
        let by_code = ["function_name", "code"];
        let started = IntCounterVec::new(
            Opts::new("gateway_function_invocation_started", "Invocations that were admitted"),
            &by_code[..1],
        )?;
        let total = IntCounterVec::new(
            Opts::new(
                "gateway_function_invocation_total",
                "Invocations that ended, by the status they ended with",
            ),
            &by_code,
        )?;
        let seconds = HistogramVec::new(
            super::histogram("gateway_functions_seconds", "Time from an invocation's arrival to its end"),
            &by_code,
        )?;
        registry.register(Box::new(started.clone()))?;
        registry.register(Box::new(total.clone()))?;
        registry.register(Box::new(seconds.clone()))?;
        Ok(Self { started, total, seconds })
    }
}

/// The series of one function. They appear with its first invocation and go when the function is removed.
pub struct FunctionMetrics {
    name: FunctionName,
    families: Families,
    started: OnceLock<IntCounter>,
    common: [OnceLock<Outcome>; COMMON.len()],
    /// Also held while a series is made, so that none is made after the function was retired.
    rare: Mutex<Rare>,
}

#[derive(Default)]
struct Rare {
    retired: bool,
    outcomes: BTreeMap<u16, Outcome>,
}

#[derive(Clone)]
struct Outcome {
    total: IntCounter,
    seconds: Histogram,
}

impl FunctionMetrics {
    pub(crate) fn new(name: FunctionName, families: Families) -> Self {
        Self {
            name,
            families,
            started: OnceLock::new(),
            common: [const { OnceLock::new() }; COMMON.len()],
            rare: Mutex::default(),
        }
    }

    /// An invocation was admitted.
    pub fn started(&self) {
        self.started.get_or_init(|| self.resolve_started()).inc();
    }

    /// An invocation ended with `code` after `elapsed`. Call it once for each invocation.
    pub fn finished(&self, code: StatusCode, elapsed: Duration) {
        let code = code.as_u16();
        match COMMON.iter().position(|common| *common == code) {
            Some(place) => self.common[place].get_or_init(|| self.resolve_common(code)).count(elapsed),
            None => self.resolve_rare(code).count(elapsed),
        }
    }

    /// Invocations that were admitted since the gateway started.
    pub fn begun(&self) -> u64 {
        self.started.get().map_or(0, IntCounter::get)
    }

    /// Invocations that ended since the gateway started, whatever they ended with.
    pub fn invocations(&self) -> u64 {
        let common: u64 =
            self.common.iter().filter_map(OnceLock::get).map(|outcome| outcome.total.get()).sum();
        let rare: u64 = self.rare.lock().outcomes.values().map(|outcome| outcome.total.get()).sum();
        common + rare
    }

    /// Takes the function's series out of the registry. Invocations still running count into nothing.
    pub(crate) fn retire(&self) {
        let mut rare = self.rare.lock();
        rare.retired = true;
        let name = self.name.as_str();
        // Also what seems not to be there: one may have been made and not be in its place yet.
        let _none = self.families.started.remove_label_values(&[name]);
        for code in COMMON.iter().chain(rare.outcomes.keys()) {
            let code = code.to_string();
            let _none = self.families.total.remove_label_values(&[name, &code]);
            let _none = self.families.seconds.remove_label_values(&[name, &code]);
        }
    }

    fn resolve_started(&self) -> IntCounter {
        let rare = self.rare.lock();
        let name = [self.name.as_str()];
        if rare.retired { detached_counter() } else { self.families.started.with_label_values(&name) }
    }

    fn resolve_common(&self, code: u16) -> Outcome {
        let rare = self.rare.lock();
        self.make(&rare, code)
    }

    fn resolve_rare(&self, code: u16) -> Outcome {
        let mut rare = self.rare.lock();
        if let Some(outcome) = rare.outcomes.get(&code) {
            return outcome.clone();
        }
        let outcome = self.make(&rare, code);
        rare.outcomes.insert(code, outcome.clone());
        outcome
    }

    fn make(&self, rare: &Rare, code: u16) -> Outcome {
        let code = code.to_string();
        let labels = [self.name.as_str(), &code];
        if rare.retired {
            return Outcome { total: detached_counter(), seconds: detached_histogram() };
        }
        Outcome {
            total: self.families.total.with_label_values(&labels),
            seconds: self.families.seconds.with_label_values(&labels),
        }
    }
}

impl Outcome {
    fn count(&self, elapsed: Duration) {
        self.total.inc();
        self.seconds.observe(elapsed.as_secs_f64());
    }
}

impl fmt::Debug for FunctionMetrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FunctionMetrics").field("name", &self.name).finish_non_exhaustive()
    }
}

fn detached_counter() -> IntCounter {
    IntCounter::new("detached", "of a removed function").expect("the name is valid")
}

fn detached_histogram() -> Histogram {
    Histogram::with_opts(super::histogram("detached", "of a removed function")).expect("the name is valid")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn setup() -> (Registry, FunctionMetrics) {
        let registry = Registry::new();
        let families = Families::register(&registry).unwrap();
        let name = FunctionName::parse("echo").unwrap();
        (registry, FunctionMetrics::new(name, families))
    }

    fn text(registry: &Registry) -> String {
        prometheus::TextEncoder::new().encode_to_string(&registry.gather()).unwrap()
    }

    const BREWED: StatusCode = StatusCode::IM_A_TEAPOT;

    #[test]
    fn a_function_that_was_never_invoked_has_no_series() {
        let (registry, metrics) = setup();
        assert_eq!(text(&registry), "");
        assert_eq!(metrics.invocations(), 0);
    }

    #[test]
    fn counts_common_and_rare_statuses() {
        let (registry, metrics) = setup();
        metrics.started();
        metrics.finished(StatusCode::OK, Duration::from_micros(200));
        metrics.finished(StatusCode::OK, Duration::from_micros(200));
        metrics.finished(BREWED, Duration::ZERO);
        assert_eq!(metrics.invocations(), 3);
        let text = text(&registry);
        for line in [
            "gateway_function_invocation_started{function_name=\"echo\"} 1",
            "gateway_function_invocation_total{code=\"200\",function_name=\"echo\"} 2",
            "gateway_function_invocation_total{code=\"418\",function_name=\"echo\"} 1",
            "gateway_functions_seconds_bucket{code=\"200\",function_name=\"echo\",le=\"0.0001\"} 0",
            "gateway_functions_seconds_bucket{code=\"200\",function_name=\"echo\",le=\"0.00025\"} 2",
        ] {
            assert!(text.contains(line), "{line:?} is not in\n{text}");
        }
    }

    #[test]
    fn a_retired_function_leaves_nothing_and_cannot_come_back() {
        let (registry, metrics) = setup();
        metrics.started();
        metrics.finished(StatusCode::OK, Duration::ZERO);
        metrics.finished(BREWED, Duration::ZERO);
        metrics.retire();
        assert_eq!(text(&registry), "");
        for code in [StatusCode::OK, BREWED, StatusCode::CONFLICT, StatusCode::NOT_FOUND] {
            metrics.finished(code, Duration::ZERO);
        }
        assert_eq!(text(&registry), "");
    }
    #[test]
    fn a_series_that_is_being_made_goes_too() {
        let (registry, metrics) = setup();
        // What the first count does; its place is taken after that.
        let (started, outcome) = (metrics.resolve_started(), metrics.resolve_common(200));
        metrics.retire();
        started.inc();
        outcome.count(Duration::ZERO);
        assert_eq!(text(&registry), "");
    }
}
