//! Functions that run: closed loops for throughput, open loops for latency, sides in turns.

use std::time::Duration;

use anyhow::Result;

use super::results::{LoadPoint, Quantiles, Rounds, Throughput};
use crate::load::{self, Load, Outcome, Pace, Target, WrongAnswer};
use crate::report::progress;
use crate::stats::{Latencies, Percentiles};
use crate::wait;

/// Load before the first round and before each turn, thrown away.
const WARM_UP: Duration = Duration::from_millis(300);
const TURN_UP: Duration = Duration::from_millis(100);

/// Connections that an open loop is spread over.
pub(super) const OPEN_CONNECTIONS: usize = 32;

/// One that is asked, and how fast.
#[derive(Debug)]
pub(super) struct Side<'a> {
    pub(super) target: &'a Target,
    pub(super) connections: usize,
    pub(super) pace: Pace,
}

/// What came of one side: its rounds, or what ended them.
pub(super) type Rounded = std::result::Result<Vec<Outcome>, String>;

/// Asks each side in each round; whoever goes first in one goes last in the next.
///
/// # Errors
/// When an answer is wrong, or somebody wants an end. Whatever else goes wrong ends its side alone.
pub(super) fn in_turns(
    what: &str,
    sides: &[Side<'_>],
    rounds: usize,
    turn: Duration,
) -> Result<Vec<Rounded>> {
    let mut done: Vec<Rounded> = sides.iter().map(|_| Ok(Vec::new())).collect();
    for round in 0..=rounds {
        // Round 0 is for warming up.
        let length = if round == 0 { WARM_UP } else { turn };
        progress(format_args!("{what}: round {round} of {rounds}"));
        for at in 0..sides.len() {
            wait::go_on()?;
            let at = (at + round) % sides.len();
            let Ok(outcomes) = &mut done[at] else { continue };
            if round > 0 && sides.len() > 1 {
                // The other side has had the caches. What it refuses, it refuses below too.
                let _ = sides[at].run(TURN_UP);
            }
            match sides[at].run(length) {
                Ok(outcome) if round > 0 => outcomes.push(outcome),
                Ok(_) => {}
                Err(error) if error.is::<WrongAnswer>() => return Err(error.context(what.to_owned())),
                Err(error) => done[at] = Err(format!("{error:#}")),
            }
        }
    }
    Ok(done)
}

impl Side<'_> {
    fn run(&self, duration: Duration) -> Result<Outcome> {
        let threads = load::default_threads();
        load::run(self.target, Load { connections: self.connections, threads, duration, pace: self.pace })
    }
}

/// Closed loops, as the results hold them; `None` without a round.
pub(super) fn throughput(connections: usize, outcomes: &[Outcome]) -> Option<Throughput> {
    let rates = outcomes.iter().map(|outcome| outcome.requests_per_second);
    Some(Throughput { connections, requests_per_second: Rounds::of(rates)?, latency: all(outcomes) })
}

/// Open loops, as the results hold them; `None` without a round.
pub(super) fn load_point(rate: f64, connections: usize, outcomes: &[Outcome]) -> Option<LoadPoint> {
    let each = |figure: fn(&Percentiles) -> u64| {
        Rounds::of(outcomes.iter().map(|outcome| figure(&outcome.latencies.percentiles()) as f64))
    };
    Some(LoadPoint {
        rate,
        achieved: Rounds::of(outcomes.iter().map(|outcome| outcome.requests_per_second))?.median,
        unsent: outcomes.iter().map(|outcome| outcome.unsent).sum(),
        connections,
        latency: all(outcomes),
        p50_ns: each(|percentiles| percentiles.p50_ns)?,
        p99_ns: each(|percentiles| percentiles.p99_ns)?,
    })
}

/// A schedule at a share of the most that was got through. Whether the sender kept it is in the results: a
/// point has the rate that was due and the one that was answered.
pub(super) fn paced(best: f64, share: f64) -> f64 {
    (best * share).max(1.0)
}

fn all(outcomes: &[Outcome]) -> Quantiles {
    let mut all = Latencies::new();
    outcomes.iter().for_each(|outcome| all.add(&outcome.latencies));
    quantiles(&all)
}

/// A histogram, as the results hold it.
pub(super) fn quantiles(latencies: &Latencies) -> Quantiles {
    let Percentiles { count, p50_ns, p90_ns, p99_ns, p999_ns, max_ns } = latencies.percentiles();
    Quantiles { count, p50_ns, p90_ns, p99_ns, p999_ns, max_ns }
}
