//! `containers`: functions in containers against what they would do without us.
//!
//! Through the gateway against calling the watchdog directly; a start from nothing against the Swarm's
//! own; a thaw; and the watchdog outside of any container. A gateway of its own on a Docker in Swarm
//! mode; no service of the bench is left there, also after Ctrl-C.

mod cold;
pub(crate) mod docker;
pub(crate) mod namespace;
mod stage;
mod upstream;
mod warm;
mod watchdog;

use std::path::PathBuf;

use anyhow::{Result, ensure};
use clap::{Args, ValueEnum};
use serde::Serialize;

use crate::all::{Limit, mebibytes_of, table};
use crate::config;
use crate::contest::Contest;
use crate::gateway::GatewayProcess;
use crate::report::Report;
use crate::stats::{ratio, whole};
use crate::suite::results::{Budget, FigureUnit};
use warm::Mode;

pub(crate) use docker::Docker;
pub(crate) use stage::Stage;
pub(crate) use upstream::Upstream;

/// A function that starts a process for each request.
pub(crate) const ECHOIT: &str = "bramble/echoit:latest";
/// A function with a server.
const CONFORM: &str = "bramble/conform:latest";

/// Budgets of the design.
mod limit {
    /// Through the gateway against directly.
    pub(super) const WARM_RATIO: f64 = 0.70;
    /// Against the original's gateway, which no run has beside it.
    pub(super) const ORIGINAL_RATIO: f64 = 1.5;
    pub(super) const COLD_RATIO: f64 = 1.15;
    /// Against the classic watchdog.
    pub(super) const FORK_RATIO: f64 = 1.2;
    pub(super) const MEMORY_RATIO: f64 = 1.0 / 3.0;
    pub(super) const RESIDENT_BYTES: u64 = 5 << 20;
    pub(super) const HTTP_RATIO: f64 = 0.80;
    pub(super) const PREFORK_RATIO: f64 = 2.0;
}

/// Requests per second at so many connections, measured once on other machines of two cores: of the original's
/// gateway, of the classic watchdog. What a machine does absolutely is shown beside them and never judged.
mod elsewhere {
    pub(super) const GATEWAY: [(usize, f64); 2] = [(1, 490.0), (16, 1_080.0)];
    pub(super) const WATCHDOG: [(usize, f64); 2] = [(1, 890.0), (8, 1_600.0)];
}

/// Functions in containers: warm, from nothing, frozen, and the watchdog alone
#[derive(Debug, Clone, Args)]
pub(crate) struct Containers {
    /// A Docker in Swarm mode, on a socket of this machine [default: DOCKER_HOST]
    #[arg(long, value_name = "URL")]
    docker_host: Option<String>,
    /// Measure only these
    #[arg(long, value_delimiter = ',', value_enum, default_value = "warm,frozen,cold,watchdog")]
    only: Vec<Part>,
    /// Connections of the warm part
    #[arg(long, value_delimiter = ',', default_value = "1,8,16")]
    connections: Vec<usize>,
    /// Rounds; each asks both sides
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// Seconds for each side in each round
    #[arg(long, default_value_t = 1.0)]
    seconds: f64,
    /// Starts from nothing, of each side
    #[arg(long, default_value_t = 7)]
    starts: usize,
    /// Thaws
    #[arg(long, default_value_t = 20)]
    thaws: usize,
    /// The gateway's program [default: `bramble` beside this one]
    #[arg(long, value_name = "FILE")]
    bramble: Option<PathBuf>,
    /// The watchdog [default: the static one that images hold]
    #[arg(long, value_name = "FILE")]
    fwatchdog: Option<PathBuf>,
    /// Another watchdog that takes the same variables, to be held against
    #[arg(long, value_name = "FILE")]
    other_watchdog: Option<PathBuf>,
}

/// What can be measured by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Part {
    Warm,
    Frozen,
    Cold,
    Watchdog,
}

/// What was measured.
#[derive(Debug, Default, Serialize)]
struct Results {
    docker: String,
    warm: Vec<warm::Comparison>,
    frozen: Option<cold::Frozen>,
    cold: Option<cold::Results>,
    watchdog: Option<watchdog::Results>,
}

impl Containers {
    /// Measures and reports.
    ///
    /// # Errors
    /// When there is no Docker, no image, no root, or something does not answer as it should.
    pub(crate) fn report(&self) -> Result<Report> {
        let results = self.measure()?;
        let mut report = Report::new("containers", self.method(&results), &results)?;
        if !results.warm.is_empty() {
            report = report.table(warm::table(&results.warm));
        }
        if results.cold.is_some() || results.frozen.is_some() {
            report = report.table(cold::table(results.cold.as_ref(), results.frozen.as_ref()));
        }
        if let Some(watchdog) = &results.watchdog {
            report = report.table(watchdog::table(watchdog));
        }
        // A thaw has none.
        if self.only != [Part::Frozen] {
            report = report.table(table(&judged(&results)));
        }
        Ok(report.notes(limited(&results)))
    }

    /// The budgets alone, in a short form.
    ///
    /// # Errors
    /// As [`Self::report`].
    pub(crate) fn budgets(docker_host: Option<String>, bramble: PathBuf) -> Result<Vec<Budget>> {
        let short = Self {
            docker_host,
            only: vec![Part::Warm, Part::Cold, Part::Watchdog],
            connections: vec![1, 16],
            rounds: 3,
            seconds: 0.5,
            starts: 4,
            thaws: 0,
            bramble: Some(bramble),
            fwatchdog: None,
            other_watchdog: None,
        };
        Ok(judged(&short.measure()?))
    }

    fn method(&self, results: &Results) -> String {
        let watchdog = results.watchdog.as_ref().map(|watchdog| format!("; {}", watchdog.program.display()));
        format!(
            "echo of 100 bytes, closed loop, {} rounds of {} s for each side in turns; Docker {}, a gateway of its own \
             that enters network namespaces, as the direct side does{}",
            self.rounds,
            self.seconds,
            results.docker,
            watchdog.unwrap_or_default()
        )
    }

    fn measure(&self) -> Result<Results> {
        crate::wait::watch_signals()?;
        let wants = |part| self.only.contains(&part);
        let mut results = Results::default();
        // What is missing is said before anything is measured.
        let fwatchdog =
            wants(Part::Watchdog).then(|| watchdog::program(self.fwatchdog.as_deref())).transpose()?;
        if wants(Part::Warm) || wants(Part::Frozen) || wants(Part::Cold) {
            let host = self.docker_host.clone().unwrap_or_else(config::docker_host);
            let docker = Docker::open(&host, &[ECHOIT, CONFORM])?;
            ensure!(
                rustix::process::geteuid().is_root(),
                "containers are called in their network namespaces: run this as root"
            );
            let program = GatewayProcess::program(self.bramble.as_deref())?;
            results.docker = docker.version();
            let stage = Stage::set(docker, &program)?;
            if wants(Part::Warm) {
                results.warm = warm::measure(&stage, &self.connections, self.rounds, self.seconds)?;
            }
            if wants(Part::Frozen) {
                results.frozen = Some(cold::measure_frozen(&stage, self.thaws)?);
            }
            if wants(Part::Cold) {
                results.cold = Some(cold::measure(&stage, self.starts)?);
            }
        }
        if let Some(program) = fwatchdog {
            let other = self.other_watchdog.as_deref();
            let plan =
                watchdog::Plan { program: &program, other, rounds: self.rounds, seconds: self.seconds };
            results.watchdog = Some(plan.measure()?);
        }
        Ok(results)
    }
}

/// Where the sender was the slowest of all.
fn limited(results: &Results) -> Vec<String> {
    let warm = results
        .warm
        .iter()
        .map(|warm| (format!("{}, {}", warm.mode.text(), warm.connections), &warm.contest));
    let http = results.watchdog.iter().flat_map(|watchdog| &watchdog.http);
    let http = http
        .map(|http| (format!("watchdog, http, {} µs, {}", http.work_us, http.connections), &http.contest));
    let limited = warm.chain(http).filter(|(_, contest)| contest.sender_limits());
    limited
        .map(|(what, _)| format!("{what} connections: the sender was busy all the time, and limits a side"))
        .collect()
}

/// What was measured against what it should be.
fn judged(results: &Results) -> Vec<Budget> {
    let ratio_of = |value| Limit::at_least(value, FigureUnit::Ratio, ratio);
    let mut budgets = Vec::new();
    for warm::Comparison { mode, connections, contest } in &results.warm {
        let what = format!("gateway to container, {}, {connections} connections", mode.text());
        let directly = format!("{what}, against the watchdog directly");
        budgets.push(ratio_of(limit::WARM_RATIO).judge_spread(directly, contest.rate_ratio));
        if let Some(why) = apart(&elsewhere::GATEWAY, *connections, contest).filter(|_| *mode == Mode::Fork) {
            let what = format!("{what}, against the original's gateway");
            budgets.push(ratio_of(limit::ORIGINAL_RATIO).not_measured(what, &why));
        }
    }
    budgets.extend(results.watchdog.iter().flat_map(watchdog_budgets));
    if let Some(cold) = &results.cold {
        let limit = Limit::at_most(limit::COLD_RATIO, FigureUnit::Ratio, ratio);
        budgets.push(limit.judge_spread("container, 0 to 1, against by hand".to_owned(), cold.ratio));
    }
    budgets
}

fn watchdog_budgets(watchdog: &watchdog::Results) -> Vec<Budget> {
    let ratio_of = |value| Limit::at_least(value, FigureUnit::Ratio, ratio);
    let mut budgets = Vec::new();
    for fork in &watchdog.fork {
        let body = if fork.body_bytes == watchdog::BODY_BYTES { "" } else { ", 100 kB" };
        let what = format!("watchdog, fork, {} connections{body}, against the other", fork.connections);
        if fork.contest.sides.len() == 2 {
            budgets.push(ratio_of(limit::FORK_RATIO).judge_spread(what, fork.contest.rate_ratio));
        } else if let Some(why) =
            apart(&elsewhere::WATCHDOG, fork.connections, &fork.contest).filter(|_| body.is_empty())
        {
            let why = format!("{why}; --other-watchdog names one");
            budgets.push(ratio_of(limit::FORK_RATIO).not_measured(what, &why));
        }
    }
    for http in &watchdog.http {
        let (work, connections) = (http.work_us, http.connections);
        let what = format!("watchdog, http, {work} µs, {connections} connections, against directly");
        budgets.push(ratio_of(limit::HTTP_RATIO).judge_spread(what, http.contest.rate_ratio));
    }
    if let Some(prefork) = watchdog.prefork.iter().find(|prefork| prefork.rate_per_second.is_none()) {
        let what = "watchdog, prefork against fork, 20 ms start".to_owned();
        budgets.push(ratio_of(limit::PREFORK_RATIO).judge_spread(what, prefork.contest.rate_ratio));
    }
    let memory = |side: usize| {
        watchdog.fork.iter().filter_map(|fork| fork.resident_bytes.get(side)).max().map(|bytes| *bytes as f64)
    };
    if let Some(own) = memory(0) {
        let limit = Limit::at_most(limit::RESIDENT_BYTES as f64, FigureUnit::Bytes, mebibytes_of);
        budgets.push(limit.judge_one("watchdog, resident".to_owned(), own));
        if let Some(other) = memory(1) {
            let limit = Limit::at_most(limit::MEMORY_RATIO, FigureUnit::Ratio, ratio);
            budgets.push(limit.judge_one("watchdog, resident, against the other".to_owned(), own / other));
        }
    }
    budgets
}

/// Why a rate is held against nothing, with that of the original elsewhere to look at. `None` where there is none.
fn apart(elsewhere: &[(usize, f64)], connections: usize, contest: &Contest) -> Option<String> {
    let (_, rate) = elsewhere.iter().find(|(at, _)| *at == connections)?;
    let here = whole(contest.sides[0].requests_per_second.median);
    Some(format!(
        "none is here; {here}/s, and the original's {}/s on other machines of two cores",
        whole(*rate)
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::suite::results::Verdict;

    #[test]
    fn a_rate_alone_is_shown_and_not_judged() {
        let contest = Contest::of_rates(&[&[500.0]]);
        let fork = watchdog::Fork { connections: 1, body_bytes: 100, resident_bytes: vec![4 << 20], contest };
        let watchdog =
            watchdog::Results { program: "x".into(), fork: vec![fork], http: vec![], prefork: vec![] };
        let budgets = watchdog_budgets(&watchdog);
        assert_eq!(
            budgets.iter().map(|it| it.verdict).collect::<Vec<_>>(),
            [Verdict::NotMeasured, Verdict::Met]
        );
        assert!(budgets[0].measured.contains("500/s") && budgets[0].measured.contains("890/s"));
    }

    #[test]
    fn against_another_watchdog_rate_and_memory_are_judged() {
        let contest = Contest::of_rates(&[&[600.0], &[400.0]]);
        let resident_bytes = vec![4 << 20, 10 << 20];
        let fork = watchdog::Fork { connections: 8, body_bytes: 100, resident_bytes, contest };
        let watchdog =
            watchdog::Results { program: "x".into(), fork: vec![fork], http: vec![], prefork: vec![] };
        let verdicts: Vec<_> = watchdog_budgets(&watchdog).iter().map(|it| it.verdict).collect();
        assert_eq!(verdicts, [Verdict::Met, Verdict::Met, Verdict::Missed]);
    }
}
