//! The original, as its Swarm stack ships it, with its idler.
//!
//! Prometheus scrapes every 5 s and evaluates every 15 s: `sum(rate(gateway_function_invocation_total{
//! code="200"}[10s])) BY (function_name) > 5`, `for: 5s`. Alertmanager tells the gateway 5 s after an alert
//! fires (`group_wait`), then looks every 10 s (`group_interval`) and tells it again after 30 s
//! (`repeat_interval`), or that it is resolved. Firing adds 20% of the maximum; resolved sets the minimum.
//! The idler takes away what had no invocation for 15 minutes.

use super::super::model::{Micros, Order, View};
use super::{Ask, Controller, SECOND};

const EVALUATION: Micros = 15 * SECOND;
const RATE_WINDOW: Micros = 10 * SECOND;
const THRESHOLD_RPS: f64 = 5.0;
const FOR: Micros = 5 * SECOND;
const GROUP_WAIT: Micros = 5 * SECOND;
const GROUP_INTERVAL: Micros = 10 * SECOND;
const REPEAT: Micros = 30 * SECOND;
const FACTOR_PERCENT: u32 = 20;
const IDLE: Micros = 900 * SECOND;

#[derive(Debug, Default)]
pub(super) struct AlertRule {
    min: u32,
    max: u32,
    zero: bool,
    /// Finished at the last three scrapes, newest first.
    scrapes: [u64; 3],
    pending_since: Option<Micros>,
    firing: bool,
    /// The next time that Alertmanager looks at the group, and when it last told of it firing.
    flush_at: Option<Micros>,
    told_firing_at: Option<Micros>,
    active_at: Micros,
    started: u64,
}

impl AlertRule {
    pub(super) fn new(ask: &Ask) -> Self {
        Self { min: ask.min.max(1), max: ask.max, zero: ask.zero, ..Self::default() }
    }

    fn evaluate(&mut self, now: Micros) {
        let rate = (self.scrapes[0] - self.scrapes[2]) as f64 / (RATE_WINDOW / SECOND) as f64;
        if rate <= THRESHOLD_RPS {
            (self.pending_since, self.firing) = (None, false);
            return;
        }
        let since = *self.pending_since.get_or_insert(now);
        if now - since >= FOR && !self.firing {
            self.firing = true;
            self.flush_at.get_or_insert(now + GROUP_WAIT);
        }
    }

    /// What Alertmanager tells, if anything.
    fn flush(&mut self, now: Micros, desired: u32) -> Option<u32> {
        self.flush_at.filter(|at| now >= *at)?;
        self.flush_at = Some(now + GROUP_INTERVAL);
        if !self.firing {
            // An empty group ends, and with it its timer.
            self.flush_at = None;
            return self.told_firing_at.take().map(|_| self.min);
        }
        if self.told_firing_at.is_some_and(|told| now - told < REPEAT) {
            return None;
        }
        self.told_firing_at = Some(now);
        Some((desired + (self.max * FACTOR_PERCENT).div_ceil(100)).min(self.max))
    }
}

impl Controller for AlertRule {
    /// A scrape; all the other times are multiples of it.
    fn interval(&self) -> Micros {
        5 * SECOND
    }

    fn tick(&mut self, now: Micros, view: &View) -> Order {
        self.scrapes.rotate_right(1);
        self.scrapes[0] = view.finished;
        if view.running + view.queued > 0 || view.started != self.started {
            (self.active_at, self.started) = (now, view.started);
        }
        if now.is_multiple_of(EVALUATION) {
            self.evaluate(now);
        }
        if let Some(replicas) = self.flush(now, view.desired) {
            return Order::Scale(replicas);
        }
        if self.zero && view.desired > 0 && now - self.active_at >= IDLE {
            return Order::Scale(0);
        }
        Order::Keep
    }
}
