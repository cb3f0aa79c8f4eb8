//! The scaler inside the gateway, and what a scaler elsewhere is given.
//!
//! In: the loop's target over the registry, who may write (the lease), what alerts hold up, settings.
//! Out: deciding (`bramble-scaler`), the one way to change desired replicas (`functions`).
//! The property that must hold: at most one scaler writes at any time.

mod holds;
mod lease;
mod memory;
mod questions;
mod target;

use std::sync::Arc;
use std::time::Duration;

use bramble_provider::HttpUrl;
use bramble_scaler::policy::Defaults;
use bramble_scaler::source::promql::Selector;
use bramble_scaler::source::{AnySource, PrometheusConfig};
use bramble_scaler::{Journal, Scaler, ScalerConfig, ScalerMetrics};
use tokio::task::JoinHandle;

use crate::config::GatewayConfig;
use crate::state::Gateway;

pub use holds::Holds;
pub use lease::{Lease, LeaseHeld};
pub use questions::Questions;
use target::GatewayTarget;

/// What the gateway's own scaler calls itself.
pub(crate) const OWN_HOLDER: &str = "the gateway's own scaler";

/// Settings of the scaler.
#[derive(Debug, Clone)]
pub struct ScalingConfig {
    /// Whether the gateway runs one; off for a gateway that `bramble scaler` serves.
    pub enabled: bool,
    /// Time from one look at all functions to the next.
    pub interval: Duration,
    /// Decide and tell, but change nothing.
    pub dry_run: bool,
    /// How long fewer replicas must have been enough before they go; the runtime's own when not set.
    pub down_window: Option<Duration>,
    /// Where rates come from; the gateway's own counters when not set.
    pub prometheus_url: Option<HttpUrl>,
    /// Which series of that Prometheus are this gateway's.
    pub prometheus_selector: Selector,
    /// How old a sample may be.
    pub prometheus_window: Duration,
}

impl Default for ScalingConfig {
    fn default() -> Self {
        Self {
            enabled: true,
            interval: Duration::from_secs(1),
            dry_run: false,
            down_window: None,
            prometheus_url: None,
            prometheus_selector: Selector::default(),
            prometheus_window: Duration::from_secs(60),
        }
    }
}

impl ScalingConfig {
    /// Where loads are read, by these settings.
    pub fn source(&self) -> AnySource {
        AnySource::of(self.prometheus_url.clone().map(|url| PrometheusConfig {
            url,
            selector: self.prometheus_selector.clone(),
            window: self.prometheus_window,
        }))
    }

    /// How the loop runs, by these settings.
    pub fn scaler(&self) -> ScalerConfig {
        ScalerConfig {
            interval: self.interval,
            dry_run: self.dry_run,
            defaults: Defaults::default(),
            down_window: self.down_window,
        }
    }
}

/// What scaling shares with the API.
#[derive(Debug)]
pub struct Scaling {
    /// The last decisions of the gateway's own scaler.
    pub journal: Arc<Journal>,
    /// Who may write.
    pub lease: Lease,
    /// What alerts hold up.
    pub holds: Holds,
    /// What a scaler elsewhere is asked.
    pub questions: Questions,
    metrics: ScalerMetrics,
}

impl Scaling {
    /// Registers what the scaler counts. Nothing runs yet.
    ///
    /// # Errors
    /// When it is registered already.
    pub fn new(registry: &prometheus::Registry) -> Result<Self, prometheus::Error> {
        Ok(Self {
            journal: Arc::default(),
            lease: Lease::default(),
            holds: Holds::default(),
            questions: Questions::default(),
            metrics: ScalerMetrics::register(registry)?,
        })
    }
}

/// The loop while it runs; it stops when this is dropped.
#[derive(Debug)]
#[must_use = "the scaler stops when this is dropped"]
pub struct Running(Option<JoinHandle<()>>);

/// Starts the gateway's own scaler, unless it is off.
pub fn start(gateway: &Arc<Gateway>) -> Running {
    let GatewayConfig { scaling, .. } = &gateway.config;
    if !scaling.enabled {
        return Running(None);
    }
    let scaler = Scaler::new(
        scaling.source(),
        Arc::new(GatewayTarget::new(gateway.clone())),
        scaling.scaler(),
        gateway.scaling.metrics.clone(),
        gateway.scaling.journal.clone(),
    );
    Running(Some(tokio::spawn(scaler.run())))
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(task) = &self.0 {
            task.abort();
        }
    }
}
