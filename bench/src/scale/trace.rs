//! Requests over time, made from a seed: the same seed gives the same requests to every controller.

use clap::ValueEnum;
use serde::Serialize;

use super::controller::SECOND;
use super::model::Micros;

mod azure;

/// Which trace.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Kind {
    /// 200 requests per second for 20 minutes
    Steady,
    /// From 0 to 400 per second in 10 minutes, 5 minutes there, and back in 5
    Ramp,
    /// 10 per second, and for one minute in five 200
    Burst,
    /// One day in an hour: from 10 to 400 per second and back, twice
    Diurnal,
    /// 1,000 functions with 1,000 per second together, each in proportion to 1 / its rank, 10 minutes
    Zipf,
    /// 1,000 functions for 6 hours, in the published shape of the Azure Functions trace
    Azure,
}

impl Kind {
    pub(crate) const ALL: [Self; 6] =
        [Self::Steady, Self::Ramp, Self::Burst, Self::Diurnal, Self::Zipf, Self::Azure];

    pub(crate) fn text(self) -> &'static str {
        match self {
            Self::Steady => "steady",
            Self::Ramp => "ramp",
            Self::Burst => "burst",
            Self::Diurnal => "diurnal",
            Self::Zipf => "zipf",
            Self::Azure => "azure",
        }
    }
}

/// A trace, of which the requests are made function by function.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Trace {
    pub(crate) kind: Kind,
    pub(crate) functions: usize,
    pub(crate) seconds: u64,
    /// Whether functions may go to 0.
    pub(crate) zero: bool,
    /// Mean time that a request runs, where the trace does not say.
    service: f64,
    /// Load that one function may have at most, in requests that run at a time.
    most_concurrent: f64,
    seed: u64,
}

/// The requests of one function.
#[derive(Debug)]
pub(crate) struct Requests {
    /// When they come, in order.
    pub(crate) arrivals: Vec<Micros>,
    /// Mean time that one runs, in seconds.
    pub(crate) service: f64,
    /// Gives the time that each runs.
    random: fastrand::Rng,
}

impl Trace {
    pub(crate) fn new(kind: Kind, service: f64, most_concurrent: f64, seed: u64) -> Self {
        let (functions, seconds) = match kind {
            Kind::Steady | Kind::Ramp => (1, 1_200),
            Kind::Burst => (1, 1_800),
            Kind::Diurnal => (1, 7_200),
            Kind::Zipf => (1_000, 600),
            Kind::Azure => (1_000, 6 * 3_600),
        };
        let zero = matches!(kind, Kind::Zipf | Kind::Azure);
        Self { kind, functions, seconds, zero, service, most_concurrent, seed }
    }

    /// The requests of one of the functions.
    pub(crate) fn requests(&self, function: usize) -> Requests {
        let mut random =
            fastrand::Rng::with_seed(self.seed ^ (function as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15));
        if self.kind == Kind::Azure {
            return azure::requests(self, function, random);
        }
        let arrivals = poisson(self.seconds, |second| self.rps(function, second), &mut random);
        Requests { arrivals, service: self.service, random }
    }

    /// Requests per second of a function at a time, where they come independently of each other.
    fn rps(&self, function: usize, second: u64) -> f64 {
        let second = second as f64;
        match self.kind {
            Kind::Steady => 200.0,
            Kind::Ramp => 400.0 * (second / 600.0).min(1.0).min((1_200.0 - second) / 300.0),
            Kind::Burst if second % 300.0 < 240.0 => 10.0,
            Kind::Burst => 200.0,
            Kind::Diurnal => 205.0 - 195.0 * (second / 3_600.0 * std::f64::consts::TAU).cos(),
            Kind::Zipf => {
                let harmonic: f64 = (1..=self.functions).map(|rank| 1.0 / rank as f64).sum();
                1_000.0 / harmonic / (function + 1) as f64
            }
            Kind::Azure => 0.0,
        }
    }
}

impl Requests {
    /// How long the next request runs: exponential, as of many sizes of work.
    pub(crate) fn next_service(&mut self) -> Micros {
        micros(exponential(&mut self.random, self.service))
    }
}

/// Arrivals of a Poisson process whose rate holds for a second at a time.
fn poisson(seconds: u64, rps: impl Fn(u64) -> f64, random: &mut fastrand::Rng) -> Vec<Micros> {
    let mut arrivals = Vec::new();
    // Waits are in units of one expected request, so the rate may change on the way.
    let mut wait = exponential(random, 1.0);
    for second in 0..seconds {
        let rate = rps(second).max(0.0);
        let mut at = 0.0;
        while rate > 0.0 && at + wait / rate < 1.0 {
            at += wait / rate;
            arrivals.push(second * SECOND + micros(at));
            wait = exponential(random, 1.0);
        }
        wait -= (1.0 - at) * rate;
    }
    arrivals
}

fn exponential(random: &mut fastrand::Rng, mean: f64) -> f64 {
    -mean * (1.0 - random.f64()).ln()
}

/// Of a normal distribution, by Box and Muller.
fn normal(random: &mut fastrand::Rng) -> f64 {
    let (radius, angle) = ((-2.0 * (1.0 - random.f64()).ln()).sqrt(), std::f64::consts::TAU * random.f64());
    radius * angle.cos()
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "`as` saturates")]
fn micros(seconds: f64) -> Micros {
    (seconds * SECOND as f64) as Micros
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_poisson_process_has_its_rate_also_where_that_changes() {
        let mut random = fastrand::Rng::with_seed(1);
        let arrivals = poisson(2_000, |second| if second < 1_000 { 0.5 } else { 20.0 }, &mut random);
        let early = arrivals.iter().filter(|at| **at < 1_000 * SECOND).count();
        assert!((430..570).contains(&early), "{early}");
        assert!((19_400..20_600).contains(&(arrivals.len() - early)), "{}", arrivals.len());
        assert!(arrivals.is_sorted());
    }

    #[test]
    fn the_same_seed_gives_the_same_requests() {
        for kind in Kind::ALL {
            let [first, second] = [0, 0].map(|_| Trace::new(kind, 0.1, 40.0, 7).requests(0).arrivals);
            assert_eq!(first, second, "{kind:?}");
        }
    }
}
