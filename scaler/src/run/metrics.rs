//! What the loop counts of itself.

use std::time::Duration;

use prometheus::{Histogram, HistogramOpts, IntCounterVec, Opts, Registry};

use super::Outcome;
use super::apply::Ended;

/// Counters of one loop. Cloning copies pointers.
#[derive(Debug, Clone)]
pub struct ScalerMetrics {
    decisions: IntCounterVec,
    ticks: IntCounterVec,
    seconds: Histogram,
}

impl ScalerMetrics {
    /// Registers the families.
    ///
    /// # Errors
    /// When they are registered already.
    pub fn register(registry: &Registry) -> Result<Self, prometheus::Error> {
        let decisions = IntCounterVec::new(
            Opts::new(
                "bramble_scaler_decisions_total",
                "Changes of replicas that the scaler asked for, by what became of them",
            ),
            &["action"],
        )?;
        let ticks = IntCounterVec::new(
            Opts::new("bramble_scaler_ticks_total", "Passes of the scaler over all functions, by outcome"),
            &["outcome"],
        )?;
        let seconds = Histogram::with_opts(
            HistogramOpts::new("bramble_scaler_tick_seconds", "Time of one pass over all functions")
                .buckets(prometheus::exponential_buckets(1e-4, 4.0, 9)?),
        )?;
        registry.register(Box::new(decisions.clone()))?;
        registry.register(Box::new(ticks.clone()))?;
        registry.register(Box::new(seconds.clone()))?;
        Ok(Self { decisions, ticks, seconds })
    }

    /// Counters that nobody reads: a scaler of its own serves no `/metrics`.
    pub fn detached() -> Self {
        Self::register(&Registry::new()).expect("a new registry has no families yet")
    }

    pub(super) fn tick(&self, outcome: Outcome, took: Duration) {
        self.ticks.with_label_values(&[outcome.as_str()]).inc();
        self.seconds.observe(took.as_secs_f64());
    }

    pub(super) fn changed(&self, ended: &Ended) {
        let action = match &ended.outcome {
            Ok(true) => ended.action,
            Ok(false) => "overtaken",
            Err(_) => "failed",
        };
        self.decisions.with_label_values(&[action]).inc();
    }
}
