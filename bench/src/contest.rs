//! Servers under the same load, in turns, wherever they are called from.
//!
//! A machine that changes its speed changes it for both: only what is divided round by round is
//! worth comparing.

use std::time::{Duration, Instant};

use anyhow::Result;
use serde::Serialize;

use crate::load::{self, Load, Outcome, Target};
use crate::report::progress;
use crate::server::{Server, cpu_time};
use crate::stats::{Latencies, Percentiles, Spread};
use crate::wait;

/// Load before the first round, thrown away.
const WARM_UP: Duration = Duration::from_secs(1);

/// Load before each turn, thrown away: the other side has had the caches.
const TURN_UP: Duration = Duration::from_millis(200);

/// Share of its threads' time above which the sender may be what limits the rate.
const BUSY_SENDER: f64 = 0.95;

/// One that is put under load.
pub(crate) struct Contender<'a> {
    /// Sends the load.
    pub(crate) run: Box<dyn Fn(Load) -> Result<Outcome> + 'a>,
    /// The process whose own processor time is told, without that of its children.
    pub(crate) pid: Option<u32>,
}

/// How they did.
#[derive(Debug, Serialize)]
pub(crate) struct Contest {
    pub(crate) sides: Vec<Side>,
    /// First to second, of the requests in a second; one for each round.
    pub(crate) rate_ratios: Vec<f64>,
    pub(crate) rate_ratio: Spread,
    /// First to second, of the p50.
    pub(crate) p50_ratio: Spread,
    /// First less second, of the p50.
    pub(crate) p50_difference_ns: Spread,
    /// First to second, of the processor time for a request, where it is known of both.
    pub(crate) cpu_ratio: Option<Spread>,
}

/// One side over all rounds.
#[derive(Debug, Serialize)]
pub(crate) struct Side {
    pub(crate) requests_per_second: Spread,
    pub(crate) p50_ns: Spread,
    pub(crate) latency: Percentiles,
    pub(crate) cpu_ns_per_request: Option<Spread>,
    /// The sender's use of its threads; 1 is all of the time.
    pub(crate) sender_busy: Spread,
    pub(crate) unsent: u64,
}

/// One side in one round.
struct Turn {
    outcome: Outcome,
    cpu_ns_per_request: Option<f64>,
    sender_busy: f64,
}

impl Contest {
    /// Lets one or two answer the same load, `rounds` times each.
    ///
    /// # Errors
    /// When one does not answer as it should, or somebody wants an end.
    pub(crate) fn hold(what: &str, contenders: &[Contender<'_>], load: Load, rounds: usize) -> Result<Self> {
        for contender in contenders {
            (contender.run)(Load { duration: WARM_UP, ..load })?;
        }
        let mut turns: Vec<Vec<Turn>> = contenders.iter().map(|_| Vec::new()).collect();
        for round in 0..rounds.max(1) {
            progress(format_args!("round {}: {what}", round + 1));
            // Whoever goes first in one round goes second in the next.
            for at in 0..contenders.len() {
                wait::go_on()?;
                let at = (at + round) % contenders.len();
                (contenders[at].run)(Load { duration: TURN_UP, ..load })?;
                turns[at].push(contenders[at].turn(load)?);
            }
        }
        Ok(Self::of(&turns))
    }

    /// Whether the sender rather than a server may have set the rates.
    pub(crate) fn sender_limits(&self) -> bool {
        self.sides.iter().any(|side| side.sender_busy.median > BUSY_SENDER)
    }

    /// Of sides with these rates, round by round.
    #[cfg(test)]
    pub(crate) fn of_rates(sides: &[&[f64]]) -> Self {
        let turn = |rate: &f64| {
            let mut latencies = Latencies::new();
            latencies.record(Duration::from_micros(1));
            let outcome = Outcome { latencies, requests_per_second: *rate, unsent: 0 };
            Turn { outcome, cpu_ns_per_request: None, sender_busy: 0.5 }
        };
        Self::of(&sides.iter().map(|rates| rates.iter().map(turn).collect()).collect::<Vec<_>>())
    }

    fn of(turns: &[Vec<Turn>]) -> Self {
        let pairs = || {
            let [first, second] = turns else { return [].iter().zip(&[]) };
            first.iter().zip(second)
        };
        let ratios = |figure: fn(&Turn) -> f64| -> Vec<f64> {
            pairs().map(|(first, second)| figure(first) / figure(second)).collect()
        };
        let p50_ns = |turn: &Turn| turn.outcome.latencies.p50_ns() as f64;
        let rate_ratios = ratios(|turn| turn.outcome.requests_per_second);
        let cpu_ratios: Option<Vec<f64>> = pairs()
            .map(|(first, second)| Some(first.cpu_ns_per_request? / second.cpu_ns_per_request?))
            .collect();
        Self {
            sides: turns.iter().map(|turns| Side::of(turns)).collect(),
            rate_ratio: Spread::of(rate_ratios.iter().copied()),
            rate_ratios,
            p50_ratio: Spread::of(ratios(p50_ns)),
            p50_difference_ns: Spread::of(pairs().map(|(first, second)| p50_ns(first) - p50_ns(second))),
            cpu_ratio: cpu_ratios.map(Spread::of),
        }
    }
}

impl<'a> Contender<'a> {
    /// A server of ours.
    pub(crate) fn server(server: &Server, target: Target) -> Self {
        Self { run: Box::new(move |load| load::run(&target, load)), pid: Some(server.pid()) }
    }

    fn turn(&self, load: Load) -> Result<Turn> {
        let cpu = || self.pid.map(cpu_time).transpose();
        let sender = || cpu_time(std::process::id());
        let (before, sender_before, started) = (cpu()?, sender()?, Instant::now());
        let outcome = (self.run)(load)?;
        let elapsed = started.elapsed().as_secs_f64();
        let sender_cpu = (sender()? - sender_before).as_secs_f64();
        let used = cpu()?.zip(before).map(|(after, before)| (after - before).as_secs_f64());
        let count = outcome.latencies.percentiles().count as f64;
        Ok(Turn {
            cpu_ns_per_request: used.map(|seconds| 1e9 * seconds / count),
            sender_busy: sender_cpu / elapsed / load.threads.min(load.connections) as f64,
            outcome,
        })
    }
}

impl Side {
    fn of(turns: &[Turn]) -> Self {
        let mut all = Latencies::new();
        turns.iter().for_each(|turn| all.add(&turn.outcome.latencies));
        let cpu: Option<Vec<f64>> = turns.iter().map(|turn| turn.cpu_ns_per_request).collect();
        Self {
            requests_per_second: Spread::of(turns.iter().map(|turn| turn.outcome.requests_per_second)),
            p50_ns: Spread::of(turns.iter().map(|turn| turn.outcome.latencies.p50_ns() as f64)),
            latency: all.percentiles(),
            cpu_ns_per_request: cpu.map(Spread::of),
            sender_busy: Spread::of(turns.iter().map(|turn| turn.sender_busy)),
            unsent: turns.iter().map(|turn| turn.outcome.unsent).sum(),
        }
    }
}
