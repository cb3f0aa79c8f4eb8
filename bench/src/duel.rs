//! Two servers under the same load, in turns.
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

/// Load before the first round, thrown away.
const WARM_UP: Duration = Duration::from_secs(1);

/// Load before each turn, thrown away: the other side has had the caches.
const TURN_UP: Duration = Duration::from_millis(200);

/// Share of its threads' time above which the sender may be what limits the rate.
const BUSY_SENDER: f64 = 0.95;

/// One of the two.
#[derive(Debug)]
pub(crate) struct Contender<'a> {
    pub(crate) server: &'a Server,
    pub(crate) target: Target,
}

/// How the first did against the second.
#[derive(Debug, Serialize)]
pub(crate) struct Duel {
    pub(crate) first: Side,
    pub(crate) second: Side,
    /// First to second, of the requests in a second; one for each round.
    pub(crate) rate_ratios: Vec<f64>,
    pub(crate) rate_ratio: Spread,
    /// First to second, of the p50.
    pub(crate) p50_ratio: Spread,
    /// First less second, of the p50.
    pub(crate) p50_difference_ns: Spread,
    /// First to second, of the server's processor time for a request.
    pub(crate) cpu_ratio: Spread,
}

/// One side over all rounds.
#[derive(Debug, Serialize)]
pub(crate) struct Side {
    pub(crate) requests_per_second: Spread,
    pub(crate) p50_ns: Spread,
    pub(crate) latency: Percentiles,
    pub(crate) server_cpu_ns_per_request: Spread,
    /// The sender's use of its threads; 1 is all of the time.
    pub(crate) sender_busy: Spread,
    pub(crate) unsent: u64,
}

/// One side in one round.
#[derive(Debug)]
struct Turn {
    outcome: Outcome,
    server_cpu_ns_per_request: f64,
    sender_busy: f64,
}

impl Duel {
    /// Lets both answer the same load, `rounds` times each.
    ///
    /// # Errors
    /// When one does not answer as it should.
    pub(crate) fn fight(
        what: &str,
        contenders: &[Contender<'_>; 2],
        load: Load,
        rounds: usize,
    ) -> Result<Self> {
        for contender in contenders {
            load::run(&contender.target, Load { duration: WARM_UP, ..load })?;
        }
        let mut turns: [Vec<Turn>; 2] = [Vec::new(), Vec::new()];
        for round in 1..=rounds.max(1) {
            progress(format_args!("round {round}: {what}"));
            // Whoever goes first in one round goes second in the next.
            for at in if round % 2 == 1 { [0, 1] } else { [1, 0] } {
                load::run(&contenders[at].target, Load { duration: TURN_UP, ..load })?;
                turns[at].push(contenders[at].turn(load)?);
            }
        }
        Ok(Self::of(&turns))
    }

    fn of([first, second]: &[Vec<Turn>; 2]) -> Self {
        let ratios = |figure: fn(&Turn) -> f64| -> Vec<f64> {
            first.iter().zip(second).map(|(first, second)| figure(first) / figure(second)).collect()
        };
        let p50_ns = |turn: &Turn| turn.outcome.latencies.p50_ns() as f64;
        let differences = first.iter().zip(second).map(|(first, second)| p50_ns(first) - p50_ns(second));
        let rate_ratios = ratios(|turn| turn.outcome.requests_per_second);
        Self {
            first: Side::of(first),
            second: Side::of(second),
            rate_ratio: Spread::of(rate_ratios.iter().copied()),
            rate_ratios,
            p50_ratio: Spread::of(ratios(p50_ns)),
            p50_difference_ns: Spread::of(differences),
            cpu_ratio: Spread::of(ratios(|turn| turn.server_cpu_ns_per_request)),
        }
    }

    /// Whether the sender rather than a server may have set the rates.
    pub(crate) fn sender_limits(&self) -> bool {
        [&self.first, &self.second].iter().any(|side| side.sender_busy.median > BUSY_SENDER)
    }
}

impl Contender<'_> {
    fn turn(&self, load: Load) -> Result<Turn> {
        let sender = || cpu_time(std::process::id());
        let (server_before, sender_before) = (self.server.cpu_time()?, sender()?);
        let started = Instant::now();
        let outcome = load::run(&self.target, load)?;
        let elapsed = started.elapsed().as_secs_f64();
        let server_cpu = (self.server.cpu_time()? - server_before).as_secs_f64();
        let sender_cpu = (sender()? - sender_before).as_secs_f64();
        Ok(Turn {
            server_cpu_ns_per_request: 1e9 * server_cpu / outcome.latencies.percentiles().count as f64,
            sender_busy: sender_cpu / elapsed / load.threads.min(load.connections) as f64,
            outcome,
        })
    }
}

impl Side {
    fn of(turns: &[Turn]) -> Self {
        let mut all = Latencies::new();
        turns.iter().for_each(|turn| all.add(&turn.outcome.latencies));
        let spread = |figure: fn(&Turn) -> f64| Spread::of(turns.iter().map(figure));
        Self {
            requests_per_second: spread(|turn| turn.outcome.requests_per_second),
            p50_ns: spread(|turn| turn.outcome.latencies.p50_ns() as f64),
            latency: all.percentiles(),
            server_cpu_ns_per_request: spread(|turn| turn.server_cpu_ns_per_request),
            sender_busy: spread(|turn| turn.sender_busy),
            unsent: turns.iter().map(|turn| turn.outcome.unsent).sum(),
        }
    }
}
