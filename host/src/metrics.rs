//! The host's own figures.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use prometheus::core::{Collector, Desc};
use prometheus::proto::{Metric, MetricFamily, MetricType};
use prometheus::{
    HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry,
};
use wasmtime::Engine;

use crate::engine::EngineInfo;
use crate::sharded::{Bounds, Histogram};
use crate::slots::Slots;

/// Where the buckets of the time to make an instance end: from 1 µs on, each twice the last.
static INSTANTIATE_BOUNDS: Bounds = Bounds::doubling(1e-6);

/// Metrics that the host writes.
#[derive(Debug)]
pub(crate) struct HostMetrics {
    /// Every invocation counts here, on every core.
    instantiate: Arc<Histogram>,
    cold_start: HistogramVec,
    code_loads: IntCounter,
    reuse: IntCounterVec,
    idle: IntGaugeVec,
}

/// How often one function's instances were made and reused, and how many are kept idle.
#[derive(Debug)]
pub(crate) struct ReuseMetrics {
    pub(crate) created: IntCounter,
    pub(crate) reused: IntCounter,
    pub(crate) idle: IntGauge,
}

impl HostMetrics {
    /// Registers everything, with the engine's sizes and the host's queue as gauges.
    pub(crate) fn register(
        registry: &Registry,
        engine: &Engine,
        info: &EngineInfo,
        host_slots: &Arc<Slots>,
    ) -> Result<Self, prometheus::Error> {
        let instantiate = Arc::new(Histogram::new(&INSTANTIATE_BOUNDS));
        let cold_start = HistogramVec::new(
            HistogramOpts::new(
                "bramble_cold_start_seconds",
                "What an invocation waited for code or a replica that was not ready.",
            )
            .buckets(prometheus::exponential_buckets(2.5e-4, 2.0, 18)?),
            &["function_name", "runtime"],
        )?;
        let code_loads = IntCounter::new(
            "bramble_wasm_code_loads_total",
            "Times that code was read from the cache, or compiled, for a function that had none in memory.",
        )?;
        let reuse = IntCounterVec::new(
            Opts::new(
                "bramble_wasm_reuse_total",
                "Requests of functions with bramble.reuse, by whether their instance was created or reused.",
            ),
            &["function_name", "instance"],
        )?;
        let idle = IntGaugeVec::new(
            Opts::new("bramble_wasm_idle_instances", "Wasm instances that are kept for the next request."),
            &["function_name"],
        )?;
        registry.register(Box::new(reuse.clone()))?;
        registry.register(Box::new(idle.clone()))?;
        registry.register(Box::new(InstantiateCollector::new(Arc::clone(&instantiate))?))?;
        registry.register(Box::new(cold_start.clone()))?;
        registry.register(Box::new(code_loads.clone()))?;
        registry.register(Box::new(PoolCollector::new(engine, info, host_slots)?))?;
        Ok(Self { instantiate, cold_start, code_loads, reuse, idle })
    }

    pub(crate) fn instantiated(&self, took: Duration) {
        self.instantiate.observe(took);
    }

    pub(crate) fn cold_start(&self, function: &str, took: Duration) {
        self.cold_start.with_label_values(&[function, "wasm"]).observe(took.as_secs_f64());
    }

    /// How often code was loaded.
    pub(crate) fn code_loads(&self) -> IntCounter {
        self.code_loads.clone()
    }

    /// The family of cold starts, for whoever else has some.
    pub(crate) fn cold_starts(&self) -> HistogramVec {
        self.cold_start.clone()
    }

    /// The series of a function whose instances are reused.
    pub(crate) fn reuse(&self, function: &str) -> ReuseMetrics {
        ReuseMetrics {
            created: self.reuse.with_label_values(&[function, "created"]),
            reused: self.reuse.with_label_values(&[function, "reused"]),
            idle: self.idle.with_label_values(&[function]),
        }
    }

    /// Drops the series of a function that is gone.
    pub(crate) fn forget(&self, function: &str) {
        // There are none when its instances were never reused.
        let _ = self.reuse.remove_label_values(&[function, "created"]);
        let _ = self.reuse.remove_label_values(&[function, "reused"]);
        let _ = self.idle.remove_label_values(&[function]);
        // There is none when the function never started cold.
        let _ = self.cold_start.remove_label_values(&[function, "wasm"]);
    }
}

/// Sums the times to make an instance up when it is asked.
struct InstantiateCollector {
    description: Desc,
    instantiate: Arc<Histogram>,
}

impl InstantiateCollector {
    fn new(instantiate: Arc<Histogram>) -> Result<Self, prometheus::Error> {
        let (name, help) = ("bramble_wasm_instantiate_seconds", "Time to make a fresh instance.");
        let description = Desc::new(name.to_owned(), help.to_owned(), Vec::new(), HashMap::new())?;
        Ok(Self { description, instantiate })
    }
}

impl Collector for InstantiateCollector {
    fn desc(&self) -> Vec<&Desc> {
        vec![&self.description]
    }

    fn collect(&self) -> Vec<MetricFamily> {
        let mut metric = Metric::default();
        metric.set_histogram(self.instantiate.to_proto());
        let mut family = MetricFamily::default();
        family.set_name(self.description.fq_name.clone());
        family.set_help(self.description.help.clone());
        family.set_field_type(MetricType::HISTOGRAM);
        family.set_metric(vec![metric]);
        vec![family]
    }
}

/// Reads the engine's pool when it is asked.
struct PoolCollector {
    engine: Engine,
    host_slots: Arc<Slots>,
    slots: IntGauge,
    queued: IntGauge,
    instances: IntGauge,
    resident: IntGauge,
}

impl PoolCollector {
    fn new(engine: &Engine, info: &EngineInfo, host_slots: &Arc<Slots>) -> Result<Self, prometheus::Error> {
        let slots = IntGauge::new(
            "bramble_wasm_pool_slots",
            "Most wasm instances at once, as the engine settled on; 0 when it allocates on demand.",
        )?;
        slots.set(if info.allocator == "pooling" { i64::from(info.slots) } else { 0 });
        Ok(Self {
            engine: engine.clone(),
            host_slots: Arc::clone(host_slots),
            slots,
            queued: IntGauge::new(
                "bramble_wasm_pool_queued",
                "Invocations that wait because all functions together fill the pool.",
            )?,
            instances: IntGauge::new("bramble_wasm_pool_instances", "Wasm instances that are alive.")?,
            resident: IntGauge::new(
                "bramble_wasm_pool_resident_bytes",
                "Memory that unused slots of the pool keep resident.",
            )?,
        })
    }

    fn gauges(&self) -> [&IntGauge; 4] {
        [&self.slots, &self.queued, &self.instances, &self.resident]
    }
}

impl Collector for PoolCollector {
    fn desc(&self) -> Vec<&Desc> {
        self.gauges().into_iter().flat_map(Collector::desc).collect()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        self.queued.set(self.host_slots.queued().into());
        if let Some(pool) = self.engine.pooling_allocator_metrics() {
            self.instances.set(i64::try_from(pool.core_instances()).unwrap_or(i64::MAX));
            let resident = pool.unused_memory_bytes_resident();
            self.resident.set(i64::try_from(resident).unwrap_or(i64::MAX));
        }
        self.gauges().into_iter().flat_map(Collector::collect).collect()
    }
}
