//! The scaler of this project: its pure functions, fed as its two sources feed them.

use std::time::Duration;

use bramble_provider::Runtime;
use bramble_scaler::{Action, Defaults, History, Load, Policy, Signal, State, Tuning, decide, stabilise};
use clap::Args;

use super::super::model::{Micros, Order, View};
use super::{Ask, Controller, SECOND};

/// Looks that a rate goes over, as in the scaler's source.
const SAMPLES: usize = 3;

/// What may be set to something else than the scaler's defaults.
#[derive(Debug, Clone, Args)]
pub(crate) struct Tunables {
    /// Milliseconds between two looks at the gateway's counters
    #[arg(long, default_value_t = 1_000)]
    pub(crate) tick_ms: u64,
    /// The part of a replica's load by which it may be off [default: the scaler's]
    #[arg(long)]
    pub(crate) tolerance: Option<f64>,
    /// Seconds of the down-window [default: the scaler's]
    #[arg(long)]
    pub(crate) down_window: Option<f64>,
    /// How many times as many replicas in one period [default: the scaler's]
    #[arg(long)]
    pub(crate) up_factor: Option<f64>,
    /// How many more at least [default: the scaler's]
    #[arg(long)]
    pub(crate) up_at_least: Option<u32>,
    /// Seconds of that period [default: the scaler's]
    #[arg(long)]
    pub(crate) up_period: Option<f64>,
    /// The part of the target to aim at [default: the scaler's]
    #[arg(long)]
    pub(crate) proportion: Option<f64>,
    /// Seconds idle before containers freeze; 0 for never
    #[arg(long, default_value_t = 30)]
    pub(crate) freeze_after: u64,
    /// Seconds idle before 0, where that is allowed
    #[arg(long, default_value_t = 900)]
    pub(crate) zero_after: u64,
}

impl Tunables {
    pub(crate) fn interval(&self) -> Micros {
        self.tick_ms.max(1) * 1_000
    }

    fn tuning(&self, runtime: Runtime) -> Tuning {
        let mut tuning = Tuning::of(runtime);
        tuning.tolerance = self.tolerance.unwrap_or(tuning.tolerance);
        tuning.down_window = self.down_window.map_or(tuning.down_window, Duration::from_secs_f64);
        tuning.up.factor = self.up_factor.unwrap_or(tuning.up.factor);
        tuning.up.at_least = self.up_at_least.unwrap_or(tuning.up.at_least);
        tuning.up.period = self.up_period.map_or(tuning.up.period, Duration::from_secs_f64);
        tuning
    }

    fn policy(&self, ask: &Ask, signal: Signal) -> Policy {
        let defaults = Defaults::default();
        let target = match signal {
            Signal::Rps => ask.rps_per_replica,
            Signal::Capacity | Signal::Cpu | Signal::Queue => f64::from(ask.costs.concurrency),
        };
        let freezes = self.freeze_after > 0 && ask.zero && ask.runtime != Runtime::Wasm;
        Policy {
            min: ask.min,
            max: ask.max,
            factor: defaults.factor,
            signal,
            target,
            proportion: self.proportion.unwrap_or(defaults.proportion),
            freeze_after: freezes.then(|| Duration::from_secs(self.freeze_after)),
            zero_after: ask.zero.then(|| Duration::from_secs(self.zero_after)),
            kept_by_min: false,
            capped: true,
            weight: 1.0,
        }
    }
}

/// The scaler for one function.
pub(super) struct Ours {
    policy: Policy,
    tuning: Tuning,
    history: History,
    runtime: Runtime,
    interval: Micros,
    /// Time between two scrapes of a Prometheus; none where the gateway's counters are read at each tick.
    scrape: Option<Micros>,
    /// What was read, the newest first.
    samples: [Option<(Micros, View)>; SAMPLES],
    /// What the last tick saw: of idleness, and of who waits for a slot, no Prometheus is asked.
    last: Option<View>,
    active_at: Micros,
}

impl Ours {
    pub(super) fn new(ask: &Ask, signal: Signal, scrape: Option<Micros>, tunables: &Tunables) -> Self {
        Self {
            policy: tunables.policy(ask, signal),
            tuning: tunables.tuning(ask.runtime),
            history: History::default(),
            runtime: ask.runtime,
            interval: tunables.interval(),
            scrape,
            samples: [None; SAMPLES],
            last: None,
            active_at: 0,
        }
    }

    fn load(&mut self, now: Micros, view: &View) -> Load {
        if view.running + view.queued > 0 || self.last.is_none_or(|last| last.started != view.started) {
            self.active_at = now;
        }
        let before = self.last.replace(*view).unwrap_or(*view);
        let mean = |of: fn(&View) -> u32| f64::midpoint(of(view).into(), of(&before).into());
        let queued = mean(|view| view.queued);
        let waiting = (queued > 0.0).then(|| queued + mean(|view| view.running));
        let idle_for = Some(Duration::from_micros(now - self.active_at));
        match self.scrape {
            None => Load { idle_for, waiting, ..self.counted(now, view) },
            Some(step) => {
                if self.samples[0].is_none_or(|(at, _)| now - at >= step) {
                    self.remember(now, view);
                }
                Load { idle_for, waiting, ..self.scraped() }
            }
        }
    }

    /// Against the looks before, which then include this one.
    fn counted(&mut self, now: Micros, view: &View) -> Load {
        let before = self.samples[0].map(|(_, view)| view);
        let oldest = self.samples.iter().rev().flatten().next();
        let rps = oldest.map(|oldest| rate(oldest, &(now, *view)));
        let mean = |of: fn(&View) -> u32| {
            let now = f64::from(of(view));
            Some(before.map_or(now, |before| f64::midpoint(now, f64::from(of(&before)))))
        };
        let (inflight, queued) = (mean(|view| view.running), mean(|view| view.queued));
        self.remember(now, view);
        Load { rps, inflight, queued, ..Load::default() }
    }

    /// By the last two scrapes, as `irate` is.
    fn scraped(&self) -> Load {
        let [newest, before, ..] = &self.samples;
        let gauge = |of: fn(&View) -> u32| newest.as_ref().map(|(_, view)| f64::from(of(view)));
        Load {
            rps: before.as_ref().zip(newest.as_ref()).map(|(before, newest)| rate(before, newest)),
            inflight: gauge(|view| view.running),
            queued: gauge(|view| view.queued),
            ..Load::default()
        }
    }

    fn remember(&mut self, now: Micros, view: &View) {
        self.samples.rotate_right(1);
        self.samples[0] = Some((now, *view));
    }
}

/// Requests per second from one look to a later one.
fn rate(before: &(Micros, View), after: &(Micros, View)) -> f64 {
    (after.1.started - before.1.started) as f64 * SECOND as f64 / (after.0 - before.0) as f64
}

impl Controller for Ours {
    fn interval(&self) -> Micros {
        self.interval
    }

    fn tick(&mut self, now: Micros, view: &View) -> Order {
        let load = self.load(now, view);
        let state = State {
            runtime: self.runtime,
            desired: view.desired,
            available: view.available,
            frozen: view.frozen,
            memory_short: false,
        };
        let proposal = decide(&self.policy, &load, &state);
        let now = Duration::from_micros(now);
        let decision = stabilise(&self.policy, &self.tuning, &mut self.history, &proposal, &state, now);
        match decision.action {
            Action::Keep => Order::Keep,
            Action::Scale => Order::Scale(decision.replicas),
            Action::Freeze => Order::Freeze,
        }
    }
}
