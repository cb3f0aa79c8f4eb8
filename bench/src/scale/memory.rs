//! What the loop holds in memory: the real loop over functions that are nowhere deployed, in this process.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use bramble_provider::{FunctionName, ProviderError, Runtime};
use bramble_scaler::source::OwnCounters;
use bramble_scaler::{
    Counters, Deployed, Journal, Observed, Outcome, Scaler, ScalerConfig, ScalerMetrics, Standing, State,
    Target, View,
};
use serde::Serialize;

use crate::machine::kib_field;

/// Ticks that are made; the first allocates what the others use again.
const TICKS: u64 = 20;

/// Resident memory of the loop with its source, in bytes.
#[derive(Debug, Serialize)]
pub(crate) struct LoopMemory {
    pub(crate) functions: usize,
    /// The most during the ticks, the view of the functions included.
    pub(crate) peak_bytes: u64,
    /// What stays between two ticks.
    pub(crate) kept_bytes: u64,
}

/// Ticks over so many functions. To be called before anything else leaves room in the heap that could be used again.
///
/// # Errors
/// Where the kernel does not tell, or a tick fails.
pub(crate) fn measure(functions: usize) -> Result<LoopMemory> {
    let deployed = (0..functions).map(Sample::deployed).collect::<Result<_>>()?;
    let target = Arc::new(Registry { deployed, looks: AtomicU64::new(0) });
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let metrics = ScalerMetrics::register(&prometheus::Registry::new())?;
    // Writing 5 sets the peak back to what is resident now.
    std::fs::write("/proc/self/clear_refs", "5").context("cannot reset the peak of resident memory")?;
    let before = resident("VmRSS")?;
    let config = ScalerConfig::default();
    let mut scaler =
        Scaler::new(OwnCounters::default(), Arc::clone(&target), config, metrics, Arc::<Journal>::default());
    for _ in 0..TICKS {
        let outcome = runtime.block_on(scaler.tick());
        ensure!(outcome == Outcome::Done, "a tick ended as {outcome:?}");
    }
    let measured = LoopMemory {
        functions,
        peak_bytes: resident("VmHWM")?.saturating_sub(before),
        kept_bytes: resident("VmRSS")?.saturating_sub(before),
    };
    drop(scaler);
    Ok(measured)
}

fn resident(field: &str) -> Result<u64> {
    let status = std::fs::read_to_string("/proc/self/status").context("cannot read /proc/self/status")?;
    let kib = kib_field(&status, field).with_context(|| format!("/proc/self/status has no {field}"))?;
    Ok(kib * 1_024)
}

/// Every function busy, none to be changed twice.
struct Registry {
    deployed: Vec<Arc<dyn Deployed>>,
    looks: AtomicU64,
}

#[derive(Debug)]
struct Sample {
    name: FunctionName,
    labels: BTreeMap<String, String>,
}

impl Sample {
    fn deployed(at: usize) -> Result<Arc<dyn Deployed>> {
        let labels = [("com.openfaas.scale.min", "1"), ("com.openfaas.scale.max", "40")];
        Ok(Arc::new(Self {
            name: FunctionName::parse(&format!("tick-{at}"))?,
            labels: labels.map(|(label, value)| (label.to_owned(), value.to_owned())).into(),
        }))
    }
}

impl Deployed for Sample {
    fn name(&self) -> &FunctionName {
        &self.name
    }

    fn labels(&self) -> &BTreeMap<String, String> {
        &self.labels
    }

    fn runtime(&self) -> Runtime {
        Runtime::Container
    }
}

impl Target for Registry {
    async fn lead(&self, _term: Duration) -> Result<Standing, ProviderError> {
        Ok(Standing::Leads)
    }

    async fn observe(&self) -> Result<View, ProviderError> {
        let looks = self.looks.fetch_add(1, Ordering::Relaxed);
        let state =
            State { runtime: Runtime::Container, desired: 1, available: 1, frozen: 0, memory_short: false };
        let functions = self.deployed.iter().map(|function| Observed {
            function: Arc::clone(function),
            state,
            counters: Counters { started: looks, inflight: 1, ..Counters::default() },
            held: false,
        });
        Ok(View { functions: functions.collect(), ..View::default() })
    }

    async fn scale(&self, _name: &FunctionName, _from: u32, _to: u32) -> Result<bool, ProviderError> {
        Ok(true)
    }

    async fn freeze(&self, _name: &FunctionName) -> Result<bool, ProviderError> {
        Ok(true)
    }
}
