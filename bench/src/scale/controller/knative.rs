//! Knative's autoscaler by its published algorithm and defaults.
//!
//! Every 2 s: the mean of the requests that run or wait over the last 60 s (stable) and over the last 6 s
//! (panic), divided by 70% of what a replica may run at once, rounded up. It panics when the panic window
//! asks for twice the ready replicas or more; then the panic window counts and nothing goes down, until 60 s
//! after the last reason. Up at most to 1,000 times the ready ones, down at most to half. To zero when the
//! stable window saw nothing, after a grace of 30 s. Left out: the activator's burst capacity, which is a
//! matter of the way that requests take, and the 30 s for which a removed replica drains.

use std::collections::VecDeque;

use super::super::model::{Micros, Order, View};
use super::{Ask, Controller, SECOND};

const TICK: Micros = 2 * SECOND;
const STABLE_TICKS: usize = 30;
const PANIC_TICKS: usize = 3;
const UTILISATION: f64 = 0.7;
const PANIC_THRESHOLD: f64 = 2.0;
const MAX_UP: f64 = 1_000.0;
const MAX_DOWN: f64 = 2.0;
const STABLE: Micros = 60 * SECOND;
const GRACE: Micros = 30 * SECOND;

#[derive(Debug)]
pub(super) struct Knative {
    min: u32,
    max: u32,
    target: f64,
    /// Mean concurrency of the last ticks, newest first.
    means: VecDeque<f64>,
    request_micros: u64,
    panic_since: Option<Micros>,
    panic_most: f64,
    idle_since: Option<Micros>,
}

impl Knative {
    pub(super) fn new(ask: &Ask) -> Self {
        Self {
            min: if ask.zero { 0 } else { ask.min.max(1) },
            max: ask.max,
            target: f64::from(ask.costs.concurrency) * UTILISATION,
            means: VecDeque::with_capacity(STABLE_TICKS + 1),
            request_micros: 0,
            panic_since: None,
            panic_most: 0.0,
            idle_since: None,
        }
    }

    fn mean(&self, ticks: usize) -> f64 {
        let count = self.means.len().min(ticks);
        self.means.iter().take(count).sum::<f64>() / count as f64
    }

    fn desired(&mut self, now: Micros, ready: f64) -> f64 {
        let (most, least) = ((MAX_UP * ready).ceil(), (ready / MAX_DOWN).floor());
        let raw_panic = (self.mean(PANIC_TICKS) / self.target).ceil();
        let stable = (self.mean(STABLE_TICKS) / self.target).ceil().clamp(least, most);
        let panic = raw_panic.clamp(least, most);
        if raw_panic / ready >= PANIC_THRESHOLD {
            self.panic_since = Some(now);
        } else if self.panic_since.is_some_and(|since| now - since > STABLE) {
            (self.panic_since, self.panic_most) = (None, 0.0);
        }
        if self.panic_since.is_none() {
            return stable;
        }
        self.panic_most = self.panic_most.max(panic);
        self.panic_most
    }
}

impl Controller for Knative {
    fn interval(&self) -> Micros {
        TICK
    }

    fn tick(&mut self, now: Micros, view: &View) -> Order {
        self.means.push_front((view.request_micros - self.request_micros) as f64 / TICK as f64);
        self.means.truncate(STABLE_TICKS);
        self.request_micros = view.request_micros;
        if view.desired == 0 {
            return Order::Keep;
        }
        let desired = self.desired(now, f64::from(view.available.max(1)));
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "`as` saturates")]
        let desired = (desired as u32).clamp(self.min, self.max);
        if desired > 0 {
            self.idle_since = None;
            return Order::Scale(desired);
        }
        let idle_since = *self.idle_since.get_or_insert(now);
        Order::Scale(u32::from(now - idle_since < GRACE))
    }
}
