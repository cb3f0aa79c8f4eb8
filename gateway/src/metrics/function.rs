//! Handles to one function's series, resolved once so that an invocation looks up no label.
//!
//! Each core counts on cache lines of its own (`bramble_host::sharded`); a scrape sums them up.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bramble_host::sharded::{Bounds, Histogram, Presence};
use bramble_provider::FunctionName;
use http::StatusCode;
use parking_lot::Mutex;
use prometheus::Registry;
use prometheus::core::{Collector, Desc};
use prometheus::proto::{Counter, LabelPair, Metric, MetricFamily, MetricType};

/// Statuses with a place of their own; all others go through a lock.
const COMMON: [u16; 12] = [200, 201, 202, 204, 302, 400, 404, 429, 499, 500, 503, 504];

static BOUNDS: Bounds = Bounds::new(super::BUCKETS_SECONDS);

const FAMILIES: [(&str, &str, MetricType); 3] = [
    ("gateway_function_invocation_started", "Invocations that were admitted", MetricType::COUNTER),
    (
        "gateway_function_invocation_total",
        "Invocations that ended, by the status they ended with",
        MetricType::COUNTER,
    ),
    ("gateway_functions_seconds", "Time from an invocation's arrival to its end", MetricType::HISTOGRAM),
];

/// The families that have a `function_name`, with the series of every function. Cloning copies a pointer.
#[derive(Debug, Clone)]
pub(crate) struct Families(Arc<Kept>);

#[derive(Debug)]
struct Kept {
    descriptions: Vec<Desc>,
    /// In the order in which the functions were made: a name that is taken again has other series.
    series: Mutex<BTreeMap<u64, Arc<Series>>>,
    next: AtomicU64,
}

impl Families {
    pub(super) fn register(registry: &Registry) -> Result<Self, prometheus::Error> {
        let by_code = ["function_name".to_owned(), "code".to_owned()];
        let describe = |((name, help, _), labels): (&(&str, &str, _), usize)| {
            Desc::new((*name).to_owned(), (*help).to_owned(), by_code[..labels].to_vec(), HashMap::new())
        };
        let descriptions = FAMILIES.iter().zip([1, 2, 2]).map(describe).collect::<Result<_, _>>()?;
        let kept = Kept { descriptions, series: Mutex::default(), next: AtomicU64::new(0) };
        let families = Self(Arc::new(kept));
        registry.register(Box::new(families.clone()))?;
        Ok(families)
    }
}

impl Collector for Families {
    fn desc(&self) -> Vec<&Desc> {
        self.0.descriptions.iter().collect()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let series: Vec<_> = self.0.series.lock().values().cloned().collect();
        let mut metrics: [Vec<Metric>; 3] = Default::default();
        series.iter().for_each(|series| series.tell(&mut metrics));
        let told = FAMILIES.iter().zip(metrics).filter(|(_, metrics)| !metrics.is_empty());
        told.map(|((name, help, form), metrics)| {
            let mut family = MetricFamily::default();
            family.set_name((*name).to_owned());
            family.set_help((*help).to_owned());
            family.set_field_type(*form);
            family.set_metric(metrics);
            family
        })
        .collect()
    }
}

/// The series of one function. They appear with its first invocation and go when the function is removed.
pub struct FunctionMetrics {
    id: u64,
    series: Arc<Series>,
    families: Families,
}

struct Series {
    name: FunctionName,
    invocations: Presence,
    common: [OnceLock<Histogram>; COMMON.len()],
    rare: Mutex<BTreeMap<u16, Histogram>>,
}

impl FunctionMetrics {
    pub(crate) fn new(name: FunctionName, families: Families) -> Self {
        let common = [const { OnceLock::new() }; COMMON.len()];
        let series = Series { name, invocations: Presence::default(), common, rare: Mutex::default() };
        let (id, series) = (families.0.next.fetch_add(1, Ordering::Relaxed), Arc::new(series));
        families.0.series.lock().insert(id, series.clone());
        Self { id, series, families }
    }

    /// An invocation was admitted.
    pub fn started(&self) {
        self.series.invocations.come();
    }

    /// An invocation ended with `code` after `elapsed`. Call it once for each that was [started](Self::started).
    pub fn finished(&self, code: StatusCode, elapsed: Duration) {
        self.series.finished(code.as_u16(), elapsed);
        self.series.invocations.go();
    }

    /// Invocations that were admitted since the gateway started.
    pub fn begun(&self) -> u64 {
        self.series.invocations.came()
    }

    /// Invocations that were admitted and have not ended. One that does either during the call may count.
    pub fn inflight(&self) -> u32 {
        u32::try_from(self.series.invocations.here()).unwrap_or(u32::MAX)
    }

    /// Invocations that ended since the gateway started, whatever they ended with.
    pub fn invocations(&self) -> u64 {
        let mut count = 0;
        self.series.each_outcome(|_, seconds| count += seconds.count());
        count
    }

    /// Takes the function's series out of the registry. Invocations still running count into nothing.
    pub(crate) fn retire(&self) {
        self.families.0.series.lock().remove(&self.id);
    }
}

impl Drop for FunctionMetrics {
    fn drop(&mut self) {
        self.retire();
    }
}

impl Series {
    fn finished(&self, code: u16, elapsed: Duration) {
        match COMMON.iter().position(|common| *common == code) {
            Some(place) => self.common[place].get_or_init(|| Histogram::new(&BOUNDS)).observe(elapsed),
            None => {
                self.rare.lock().entry(code).or_insert_with(|| Histogram::new(&BOUNDS)).observe(elapsed);
            }
        }
    }

    /// Shows every status that an invocation ended with.
    fn each_outcome(&self, mut see: impl FnMut(u16, &Histogram)) {
        for (code, seconds) in COMMON.iter().zip(&self.common) {
            if let Some(seconds) = seconds.get() {
                see(*code, seconds);
            }
        }
        self.rare.lock().iter().for_each(|(code, seconds)| see(*code, seconds));
    }

    /// Adds what was counted to the families, which are in the order of [`FAMILIES`].
    fn tell(&self, [started, total, seconds]: &mut [Vec<Metric>; 3]) {
        let name = label("function_name", self.name.as_str());
        let came = self.invocations.came();
        if came > 0 {
            started.push(counter(came, vec![name.clone()]));
        }
        self.each_outcome(|code, outcome| {
            let outcome = outcome.to_proto();
            let labels = vec![label("code", &code.to_string()), name.clone()];
            total.push(counter(outcome.get_sample_count(), labels.clone()));
            let mut metric = Metric::from_label(labels);
            metric.set_histogram(outcome);
            seconds.push(metric);
        });
    }
}

#[expect(clippy::cast_precision_loss, reason = "Prometheus' numbers are floats")]
fn counter(value: u64, labels: Vec<LabelPair>) -> Metric {
    let mut counter = Counter::default();
    counter.set_value(value as f64);
    let mut metric = Metric::from_label(labels);
    metric.set_counter(counter);
    metric
}

fn label(name: &str, value: &str) -> LabelPair {
    let mut pair = LabelPair::default();
    pair.set_name(name.to_owned());
    pair.set_value(value.to_owned());
    pair
}

impl fmt::Debug for FunctionMetrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FunctionMetrics").field("name", &self.series.name).finish_non_exhaustive()
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
    fn a_name_that_is_taken_again_counts_anew() {
        let (registry, old) = setup();
        let families = old.families.clone();
        old.started();
        old.retire();
        let new = FunctionMetrics::new(FunctionName::parse("echo").unwrap(), families);
        new.started();
        old.finished(StatusCode::OK, Duration::ZERO);
        drop(old);
        let text = text(&registry);
        assert!(text.contains("gateway_function_invocation_started{function_name=\"echo\"} 1"), "{text}");
        assert!(!text.contains("gateway_function_invocation_total"), "{text}");
        assert_eq!((new.begun(), new.inflight()), (1, 1));
    }
}
