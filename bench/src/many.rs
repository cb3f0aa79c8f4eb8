//! `many`: whether a gateway with many functions is as fast as one with few.
//!
//! Two server processes at once, asked in turns; the same module under every name.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use clap::Args;
use serde::Serialize;

use crate::api::Api;
use crate::contest::{Contender, Contest};
use crate::guests;
use crate::load::{self, Load, Pace, Target, post};
use crate::report::{Report, progress};
use crate::server::Server;
use crate::stats::{ratio, time, whole};
use crate::table::Table;

/// Connections that deploy at the same time.
const DEPLOYERS: usize = 4;

const BODY: &[u8] = &[b'x'; 100];

/// The same requests with few and with many functions deployed
#[derive(Debug, Clone, Args)]
pub(crate) struct Many {
    /// Functions of the one gateway
    #[arg(long, default_value_t = 10)]
    pub(crate) few: usize,
    /// Functions of the other
    #[arg(long, default_value_t = 10_000)]
    pub(crate) many: usize,
    /// Connections
    #[arg(long, value_delimiter = ',', default_value = "1,16")]
    pub(crate) connections: Vec<usize>,
    /// Rounds; each asks both gateways. Many short ones: a lone request's time depends on which cores
    /// the two ends happen to run on
    #[arg(long, default_value_t = 15)]
    pub(crate) rounds: usize,
    /// Seconds for each gateway in each round
    #[arg(long, default_value_t = 0.5)]
    pub(crate) seconds: f64,
}

/// Which functions are asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Names {
    /// Always the same one.
    One,
    /// All, one after the other.
    All,
}

/// Many functions (first) against few (second) under one load.
#[derive(Debug, Serialize)]
pub(crate) struct Comparison {
    pub(crate) names: Names,
    pub(crate) connections: usize,
    #[serde(flatten)]
    pub(crate) contest: Contest,
}

impl Many {
    /// Measures and reports.
    ///
    /// # Errors
    /// When a server does not start, refuses a function or does not answer as it should.
    pub(crate) fn report(&self) -> Result<Report> {
        let comparisons = self.measure()?;
        let mut table = Table::new(
            format!("{} functions deployed against {}", self.many, self.few),
            [
                "asked for",
                "conns",
                "p50 many",
                "p50 few",
                "p50 ratio (min..max)",
                "req/s many",
                "req/s few",
                "req/s ratio (min..max)",
            ],
        );
        for Comparison { names, connections, contest } in &comparisons {
            let [many, few] = &*contest.sides else { unreachable!("a contest of two") };
            table.row([
                names.text().to_owned(),
                connections.to_string(),
                time(many.p50_ns.median),
                time(few.p50_ns.median),
                contest.p50_ratio.text(ratio),
                whole(many.requests_per_second.median),
                whole(few.requests_per_second.median),
                contest.rate_ratio.text(ratio),
            ]);
        }
        let method = format!(
            "one module under every name, echo of {} bytes, closed loop; {} rounds of {} s for each gateway, in turns; \
             every function was invoked once before",
            BODY.len(),
            self.rounds,
            self.seconds
        );
        Ok(Report::new("many", method, &comparisons)?.table(table))
    }

    /// # Errors
    /// As [`Self::report`].
    pub(crate) fn measure(&self) -> Result<Vec<Comparison>> {
        ensure!(self.few > 0 && self.many > 0, "at least one function is needed on each side");
        let dir = tempfile::tempdir().context("cannot make a temporary directory")?;
        let many = deployed(&dir.path().join("many"), self.many)?;
        let few = deployed(&dir.path().join("few"), self.few)?;
        let mut comparisons = Vec::new();
        for names in [Names::One, Names::All] {
            let sides = [
                Contender::server(&many, target(&many, self.many, names)),
                Contender::server(&few, target(&few, self.few, names)),
            ];
            for &connections in &self.connections {
                let duration = Duration::from_secs_f64(self.seconds);
                let load =
                    Load { connections, threads: load::default_threads(), duration, pace: Pace::Closed };
                let what = format!("{}, many and few deployed, connections: {connections}", names.text());
                let contest = Contest::hold(&what, &sides, load, self.rounds)?;
                comparisons.push(Comparison { names, connections, contest });
            }
        }
        Ok(comparisons)
    }
}

impl Names {
    /// In words.
    pub(crate) fn text(self) -> &'static str {
        match self {
            Self::One => "one function",
            Self::All => "all in turn",
        }
    }
}

fn name(at: usize) -> String {
    format!("many-{at}")
}

/// A server with so many functions, each invoked once.
fn deployed(dir: &Path, functions: usize) -> Result<Server> {
    progress(format_args!("many: deploying {functions} functions"));
    let server = Server::start(dir, 0)?;
    let address = server.addresses.gateway;
    let digest = Api::connect(address)?.put_module(&guests::echo())?;
    std::thread::scope(|scope| {
        let digest = &digest;
        let threads: Vec<_> = (0..DEPLOYERS)
            .map(|first| scope.spawn(move || deploy(address, digest, first..functions)))
            .collect();
        threads.into_iter().try_for_each(|thread| thread.join().expect("a deployer does not panic"))
    })?;
    Ok(server)
}

/// Deploys every so many-th function of a range, and invokes it.
fn deploy(address: SocketAddr, digest: &str, functions: std::ops::Range<usize>) -> Result<()> {
    let mut api = Api::connect(address)?;
    for at in functions.step_by(DEPLOYERS) {
        let name = name(at);
        api.deploy(&name, digest)?;
        ensure!(api.invoke(&name, BODY)? == BODY, "{name} answered something else");
    }
    Ok(())
}

fn target(server: &Server, functions: usize, names: Names) -> Target {
    let address = server.addresses.gateway;
    let request = |at| post(address, &format!("/function/{}", name(at)), BODY);
    let requests = match names {
        // From the middle: neither the first nor the last that was deployed.
        Names::One => [request(functions / 2)].into(),
        Names::All => (0..functions).map(|at| request(scattered(at, functions))).collect(),
    };
    Target { address, requests, answer_bytes: BODY.len() as u64 }
}

/// The numbers below `count` in an order that no prefetcher follows: each once, when 7919 and
/// `count` have no common divisor.
fn scattered(at: usize, count: usize) -> usize {
    const STEP: usize = 7_919;
    at * STEP % count
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_function_is_asked_for_once() {
        let mut order: Vec<_> = (0..10_000).map(|at| scattered(at, 10_000)).collect();
        order.sort_unstable();
        assert!(order.into_iter().eq(0..10_000));
    }
}
