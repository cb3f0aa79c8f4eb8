//! Functions in the published shape of the Azure Functions trace; the trace itself is not used.
//!
//! What is taken from Shahrad et al., "Serverless in the Wild" (USENIX ATC 2020):
//! - 45% of the applications are invoked once an hour or less on average, and 81% once a minute or less;
//!   rates go over eight orders of magnitude; the 18.6% that are invoked more than once a minute have
//!   99.6% of the invocations.
//! - Mean times to run are about log-normal: the logarithm of the seconds has mean -0.38 and deviation 2.36.
//! - Timers are the trigger of a sixth of the functions, and call at fixed intervals.
//! - Load has a daily wave over a base that makes about half of it.
//!
//! What is made up: between these points the logarithm of the rate is drawn evenly, up to 20 per second, where the paper
//! goes higher; half of the other functions come in bursts of about ten within a minute, as the paper finds
//! intervals more varied than a Poisson process for many; times to run are between 1 ms and 30 s, and no
//! function has more load than half of its maximum bears, which a few would have by chance. A function
//! stands for an application, which most often has only one.

use super::{Micros, Requests, SECOND, Trace, exponential, micros, normal, poisson};

/// Share of the functions that are invoked at most so often, per hour; logarithms are even in between.
const RATES: [(f64, f64); 4] = [(0.0, 0.02), (0.45, 1.0), (0.81, 60.0), (1.0, 72_000.0)];
const TIMERS: f64 = 1.0 / 6.0;
const SERVICE_LOG_MEAN: f64 = -0.38;
const SERVICE_LOG_DEVIATION: f64 = 2.36;
const SERVICE_BOUNDS: (f64, f64) = (0.001, 30.0);
const BURST_REQUESTS: f64 = 10.0;
const BURST_SECONDS: f64 = 60.0;
const DAY_SECONDS: f64 = 86_400.0;

pub(super) fn requests(trace: &Trace, function: usize, mut random: fastrand::Rng) -> Requests {
    // Even ranks rather than random ones: the shape does not depend on the seed.
    let rank = (function as f64 + 0.5) / trace.functions as f64;
    let rps = per_hour(rank) / 3_600.0;
    let (shortest, longest) = SERVICE_BOUNDS;
    let service = (SERVICE_LOG_MEAN + SERVICE_LOG_DEVIATION * normal(&mut random)).exp();
    let service = service.min(longest).min(trace.most_concurrent / rps).max(shortest);
    let kind = random.f64();
    let arrivals = if kind < TIMERS {
        timer(trace.seconds, rps, &mut random)
    } else if kind < f64::midpoint(1.0, TIMERS) {
        poisson(trace.seconds, |second| rps * wave(second as f64), &mut random)
    } else {
        bursts(trace.seconds, rps, &mut random)
    };
    Requests { arrivals, service, random }
}

fn per_hour(rank: f64) -> f64 {
    let above = RATES.iter().position(|(share, _)| *share > rank).unwrap_or(RATES.len() - 1);
    let ((low, from), (high, to)) = (RATES[above - 1], RATES[above]);
    from * (to / from).powf((rank - low) / (high - low))
}

/// Half of the load is the same at all times; the mean over a day is 1. The trace begins at noon less 3 h.
fn wave(second: f64) -> f64 {
    1.0 - 0.5 * ((second + 9.0 * 3_600.0) / DAY_SECONDS * std::f64::consts::TAU).cos()
}

fn timer(seconds: u64, rps: f64, random: &mut fastrand::Rng) -> Vec<Micros> {
    let interval = 1.0 / rps;
    let mut at = random.f64() * interval;
    let mut arrivals = Vec::new();
    while at < seconds as f64 {
        arrivals.push(micros(at));
        at += interval;
    }
    arrivals
}

fn bursts(seconds: u64, rps: f64, random: &mut fastrand::Rng) -> Vec<Micros> {
    let starts = poisson(seconds, |second| rps / BURST_REQUESTS * wave(second as f64), random);
    let mut arrivals = Vec::new();
    for start in starts {
        let mut at = start;
        // A geometric number with the mean asked for.
        while at < seconds * SECOND {
            arrivals.push(at);
            if random.f64() * BURST_REQUESTS < 1.0 {
                break;
            }
            at += micros(exponential(random, BURST_SECONDS / BURST_REQUESTS));
        }
    }
    arrivals.sort_unstable();
    arrivals
}

#[cfg(test)]
mod tests {
    use super::super::Kind;
    use super::*;

    #[test]
    fn has_the_published_shape() {
        let rates: Vec<f64> = (0..1_000).map(|at| per_hour((f64::from(at) + 0.5) / 1_000.0)).collect();
        let share = |most: f64| rates.iter().filter(|rate| **rate <= most).count();
        assert_eq!((share(1.0), share(60.0)), (450, 810));
        let (all, busy) = (rates.iter().sum::<f64>(), rates.iter().filter(|rate| **rate > 60.0).sum::<f64>());
        assert!((0.98..1.0).contains(&(busy / all)), "{}", busy / all);
    }

    #[test]
    fn each_way_to_come_has_the_rate_asked_for() {
        let mut random = fastrand::Rng::with_seed(3);
        let seconds = 24 * 3_600;
        for (arrivals, what) in [
            (timer(seconds, 0.1, &mut random), "timer"),
            (bursts(seconds, 0.1, &mut random), "bursts"),
            (poisson(seconds, |second| 0.1 * wave(second as f64), &mut random), "poisson"),
        ] {
            assert!((7_600..9_700).contains(&arrivals.len()), "{what}: {}", arrivals.len());
            assert!(arrivals.is_sorted(), "{what}");
        }
    }

    #[test]
    fn no_function_has_more_load_than_its_maximum_bears() {
        let trace = Trace::new(Kind::Azure, 0.1, 40.0, 7);
        for function in 0..trace.functions {
            let requests = trace.requests(function);
            let load = requests.arrivals.len() as f64 / trace.seconds as f64 * requests.service;
            assert!(load < 80.0, "{function}: {load}");
        }
    }
}
