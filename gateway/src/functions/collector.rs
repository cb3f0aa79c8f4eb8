//! The gauges, and the counter of CPU time, that are read from the registry when Prometheus asks, so that an idle function costs nothing.

use std::sync::Arc;

use prometheus::core::{Collector, Desc};
use prometheus::proto::{Counter, Gauge, LabelPair, Metric, MetricFamily, MetricType};

use super::{Providers, Snapshot};

/// Reads desired replicas, inflight and queued invocations, slots, replicas and CPU time of every function.
pub(super) struct FunctionCollector {
    snapshot: Arc<Snapshot>,
    providers: Providers,
    descriptions: [Desc; 6],
}

const SERVICE_COUNT: (&str, &str) = ("gateway_service_count", "Replicas that are asked for");
const INFLIGHT: (&str, &str) = ("bramble_function_inflight", "Invocations admitted and unfinished");
const QUEUED: (&str, &str) = ("bramble_function_queued", "Invocations that wait for a replica");
const POOL_SLOTS: (&str, &str) = ("bramble_pool_slots", "Instance slots of a wasm function's pool, by state");

impl FunctionCollector {
    pub(super) fn new(snapshot: Arc<Snapshot>, providers: Providers) -> Result<Self, prometheus::Error> {
        let describe = |(name, help): (&str, &str), labels: &[&str]| {
            let labels = labels.iter().map(|label| (*label).to_owned()).collect();
            Desc::new(name.to_owned(), help.to_owned(), labels, Default::default())
        };
        let by_name = ["function_name"];
        let descriptions = [
            describe(SERVICE_COUNT, &by_name)?,
            describe(INFLIGHT, &by_name)?,
            describe(QUEUED, &by_name)?,
            describe(POOL_SLOTS, &["function_name", "state"])?,
            describe(REPLICAS, &["function_name", "state"])?,
            describe(CPU_SECONDS, &by_name)?,
        ];
        Ok(Self { snapshot, providers, descriptions })
    }
}

const CPU_SECONDS: (&str, &str) = (
    "bramble_function_cpu_seconds_total",
    "CPU time of a function scaled by cpu, in seconds: its wasm instances', or its containers'",
);

const REPLICAS: (&str, &str) =
    ("bramble_container_replicas", "Replicas of a function in containers, by state");

impl Collector for FunctionCollector {
    fn desc(&self) -> Vec<&Desc> {
        self.descriptions.iter().collect()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let functions = self.snapshot.load_full();
        let mut families =
            [SERVICE_COUNT, INFLIGHT, QUEUED, POOL_SLOTS, REPLICAS, CPU_SECONDS].map(Family::new);
        let [service_count, inflight, queued, pool_slots, replicas, cpu_seconds] = &mut families;
        cpu_seconds.family.set_field_type(MetricType::COUNTER);
        for function in functions.values() {
            let name = function.spec.name.as_str();
            let slots = self.providers.slots(function.runtime, &function.spec.name);
            let containers = self.providers.containers(function.runtime, &function.spec.name);
            let waiting = slots.map_or(0, |slots| slots.queued) + containers.map_or(0, |(_, queued)| queued);
            service_count.push(&[("function_name", name)], function.desired());
            inflight.push(&[("function_name", name)], function.inflight());
            queued.push(&[("function_name", name)], waiting);
            if let Some(slots) = slots {
                let idle = slots.desired.saturating_sub(slots.busy);
                pool_slots.push(&[("function_name", name), ("state", "busy")], slots.busy);
                pool_slots.push(&[("function_name", name), ("state", "idle")], idle);
            }
            if let Some(time) = self.providers.cpu_time(function.runtime, &function.spec.name) {
                cpu_seconds.push(&[("function_name", name)], time.as_secs_f64());
            }
            if let Some((counts, _)) = containers {
                let running = counts.available.saturating_sub(counts.frozen);
                replicas.push(&[("function_name", name), ("state", "running")], running);
                replicas.push(&[("function_name", name), ("state", "frozen")], counts.frozen);
            }
        }
        families.into_iter().map(Family::finish).collect()
    }
}

struct Family {
    family: MetricFamily,
    metrics: Vec<Metric>,
}

impl Family {
    fn new((name, help): (&str, &str)) -> Self {
        let mut family = MetricFamily::default();
        family.set_name(name.to_owned());
        family.set_help(help.to_owned());
        family.set_field_type(MetricType::GAUGE);
        Self { family, metrics: Vec::new() }
    }

    fn push(&mut self, labels: &[(&str, &str)], value: impl Into<f64>) {
        let pair = |(name, value): &(&str, &str)| {
            let mut pair = LabelPair::default();
            pair.set_name((*name).to_owned());
            pair.set_value((*value).to_owned());
            pair
        };
        let mut metric = Metric::default();
        if self.family.get_field_type() == MetricType::COUNTER {
            let mut counter = Counter::default();
            counter.set_value(value.into());
            metric.set_counter(counter);
        } else {
            let mut gauge = Gauge::default();
            gauge.set_value(value.into());
            metric.set_gauge(gauge);
        }
        metric.set_label(labels.iter().map(pair).collect());
        self.metrics.push(metric);
    }

    fn finish(mut self) -> MetricFamily {
        self.family.set_metric(self.metrics);
        self.family
    }
}
