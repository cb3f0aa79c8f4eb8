//! Who decides about replicas: this project's scaler, and two whose rules are published.

use bramble_provider::Runtime;

use super::model::{Costs, Micros, Order, View};

mod knative;
mod ours;
mod rule;

pub(crate) use ours::Tunables;

/// Microseconds of a second.
pub(crate) const SECOND: Micros = 1_000_000;

/// Decides about one function.
pub(crate) trait Controller {
    /// Time between two looks.
    fn interval(&self) -> Micros;

    /// Looks, and decides.
    fn tick(&mut self, now: Micros, view: &View) -> Order;
}

/// What is asked of every controller for one function.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Ask {
    pub(crate) runtime: Runtime,
    pub(crate) min: u32,
    pub(crate) max: u32,
    /// Whether it may go to 0 when it is idle.
    pub(crate) zero: bool,
    /// Requests that one replica bears in a second, all of its slots busy.
    pub(crate) rps_per_replica: f64,
    pub(crate) costs: Costs,
}

/// Which controller.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Contender {
    /// Bramble's, from the gateway's own counters once a second, by invocations that run or wait
    Capacity,
    /// Bramble's, the same by requests per second
    Rps,
    /// Bramble's, by requests per second from a Prometheus that scrapes every 5 s
    Prometheus,
    /// OpenFaaS: the alert rule, and the idler
    Rule,
    /// Knative's autoscaler
    Knative,
}

impl Contender {
    pub(crate) const ALL: [Self; 5] =
        [Self::Capacity, Self::Rps, Self::Prometheus, Self::Rule, Self::Knative];

    /// In words.
    pub(crate) fn text(self) -> &'static str {
        match self {
            Self::Capacity => "bramble capacity",
            Self::Rps => "bramble rps",
            Self::Prometheus => "bramble rps, Prometheus",
            Self::Rule => "openfaas alert rule",
            Self::Knative => "knative",
        }
    }

    /// Hires it for one function.
    pub(crate) fn controller(self, ask: &Ask, tunables: &Tunables) -> Box<dyn Controller> {
        use bramble_scaler::Signal;
        match self {
            Self::Capacity => Box::new(ours::Ours::new(ask, Signal::Capacity, None, tunables)),
            Self::Rps => Box::new(ours::Ours::new(ask, Signal::Rps, None, tunables)),
            Self::Prometheus => Box::new(ours::Ours::new(ask, Signal::Rps, Some(5 * SECOND), tunables)),
            Self::Rule => Box::new(rule::AlertRule::new(ask)),
            Self::Knative => Box::new(knative::Knative::new(ask)),
        }
    }
}
