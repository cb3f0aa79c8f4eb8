//! What a tick costs: decisions about many functions, and the division of a host's slots among them.

use std::collections::BTreeMap;
use std::hint::black_box;
use std::time::{Duration, Instant};

use bramble_provider::Runtime;
use bramble_scaler::{Defaults, History, Load, Policy, State, Tuning, Want, decide, share, stabilise};
use serde::Serialize;

use crate::stats::Spread;

/// The pure part of a tick over so many functions, in nanoseconds.
#[derive(Debug, Serialize)]
pub(crate) struct TickCost {
    pub(crate) functions: usize,
    /// Reading the labels, once for each revision of a function.
    pub(crate) policies_ns: Spread,
    /// [`decide()`] and [`stabilise()`] of all, every fourth one busy and its load noisy.
    pub(crate) decisions_ns: Spread,
    /// [`share()`] among all where slots are short.
    pub(crate) share_ns: Spread,
    /// Bytes that are kept of a function from tick to tick: its policy and its history.
    pub(crate) bytes_per_function: usize,
}

/// Measures it in so many rounds, each a tick.
pub(crate) fn measure(functions: usize, rounds: usize) -> TickCost {
    let labels: BTreeMap<String, String> = [
        ("com.openfaas.scale.min", "1"),
        ("com.openfaas.scale.max", "40"),
        ("com.openfaas.scale.type", "capacity"),
        ("com.openfaas.scale.zero", "true"),
        ("com.openfaas.scale.zero-duration", "5m"),
    ]
    .map(|(label, value)| (label.to_owned(), value.to_owned()))
    .into();
    let defaults = Defaults::default();
    let policy = || Policy::from_labels(&labels, Runtime::Wasm, &defaults).expect("these labels are valid");
    let mut random = fastrand::Rng::with_seed(1);
    let mut policies = Vec::new();
    let mut wants: Vec<Want> = Vec::with_capacity(functions);
    let mut histories = vec![History::default(); functions];
    let mut desired = vec![1_u32; functions];
    let tuning = Tuning::wasm();
    let (mut policies_ns, mut decisions_ns, mut share_ns) = (Vec::new(), Vec::new(), Vec::new());
    for round in 0..rounds {
        policies.clear();
        policies_ns.push(timed(|| policies.extend((0..functions).map(|_| black_box(policy())))));
        let loads: Vec<Load> = (0..functions).map(|at| load(at, &mut random)).collect();
        let now = Duration::from_secs(round as u64);
        wants.clear();
        decisions_ns.push(timed(|| {
            for (at, load) in loads.iter().enumerate() {
                let state = state(desired[at]);
                let proposal = decide(&policies[at], load, &state);
                let decision = stabilise(&policies[at], &tuning, &mut histories[at], &proposal, &state, now);
                desired[at] = black_box(decision).replicas;
                let (min, weight) = (policies[at].min, policies[at].weight);
                wants.push(Want { wanted: decision.replicas, needed: decision.needed, min, weight });
            }
        }));
        let slots = u32::try_from(functions).unwrap_or(u32::MAX);
        share_ns.push(timed(|| drop(black_box(share(slots, &wants)))));
    }
    TickCost {
        functions,
        policies_ns: Spread::of(policies_ns),
        decisions_ns: Spread::of(decisions_ns),
        share_ns: Spread::of(share_ns),
        bytes_per_function: size_of::<Policy>() + size_of::<History>(),
    }
}

fn load(at: usize, random: &mut fastrand::Rng) -> Load {
    let inflight = if at.is_multiple_of(4) { random.f64() * 20.0 } else { 0.0 };
    let idle_for = Some(Duration::from_secs(u64::from(inflight == 0.0)));
    Load {
        waiting: None,
        rps: Some(inflight * 10.0),
        inflight: Some(inflight),
        cpu_cores: None,
        queued: Some(0.0),
        idle_for,
    }
}

fn state(desired: u32) -> State {
    State { runtime: Runtime::Wasm, desired, available: desired, frozen: 0, memory_short: false }
}

fn timed(work: impl FnOnce()) -> f64 {
    let begin = Instant::now();
    work();
    begin.elapsed().as_nanos() as f64
}
