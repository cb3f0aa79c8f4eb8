//! `all`: every bench in a short form, and one table of budgets.
//!
//! A missed budget is marked and never an error; a bench that cannot run here says why in its row.

use std::path::PathBuf;

use anyhow::Result;
use clap::Args;
use serde::Serialize;
use serde_json::{Map, Value};

use crate::cold::{self, Cold};
use crate::idle::{self, Idle, kibibytes, mebibytes};
use crate::invoke::{self, Invoke};
use crate::many::{self, Many};
use crate::over_http::{self, OverHttp, Rate};
use crate::report::Report;
use crate::stats::{ratio, time, time_of};
use crate::table::Table;

/// Connections at which the gateway is held against axum.
const RATIO_CONNECTIONS: usize = 16;

/// Budgets of the design (`Budgets`).
mod limit {
    pub(super) const RATIO: f64 = 0.80;
    pub(super) const ECHO_NS: f64 = 6_000.0;
    pub(super) const SDK_NS: f64 = 15_000.0;
    pub(super) const LARGE_ECHO_NS: f64 = 60_000.0;
    pub(super) const COLD_NS: u64 = 2_000_000;
    pub(super) const IDLE_BYTES: u64 = 40 << 20;
    pub(super) const FURTHER_BYTES: f64 = 100.0 * 1_024.0;
    pub(super) const MANY_RATIO: f64 = 1.10;
}

/// Every bench, short, against the budgets
#[derive(Debug, Clone, Args)]
pub(crate) struct All {
    /// Rounds of each bench
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Functions of the gateway with many
    #[arg(long, default_value_t = 10_000)]
    many: usize,
    /// The SDK's hello as wasm [default: hello.wasm among the built examples]
    #[arg(long, value_name = "FILE")]
    sdk_guest: Option<PathBuf>,
    /// The gateway's program [default: `bramble` beside this one]
    #[arg(long, value_name = "FILE")]
    bramble: Option<PathBuf>,
}

/// One budget and what came of it.
#[derive(Debug, Clone, PartialEq, Serialize)]
struct Budget {
    what: String,
    budget: String,
    measured: String,
    verdict: Verdict,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Verdict {
    Met,
    Missed,
    NotMeasured,
}

/// The results of all benches, with the budgets they are held against.
#[derive(Debug, Default)]
struct Findings {
    budgets: Vec<Budget>,
    results: Map<String, Value>,
}

impl All {
    /// Measures and reports.
    ///
    /// # Errors
    /// When the results have no JSON form.
    pub(crate) fn report(&self) -> Result<Report> {
        let mut findings = Findings::default();
        findings.take("http", self.over_http().measure(), over_http_budgets)?;
        findings.take("invoke", self.invoke().measure(), |cases| invoke_budgets(cases))?;
        findings.take("cold", self.cold().measure(), |cases| cold_budgets(cases))?;
        findings.take("idle", self.idle().measure(), idle_budgets)?;
        findings.take("many", self.many().measure(), |comparisons| many_budgets(comparisons))?;
        let mut table = Table::new("Budgets", ["what", "budget", "measured", "met"]);
        for Budget { what, budget, measured, verdict } in &findings.budgets {
            let verdict = match verdict {
                Verdict::Met => "yes",
                Verdict::Missed => "MISSED",
                Verdict::NotMeasured => "not measured",
            };
            table.row([what.clone(), budget.clone(), measured.clone(), verdict.to_owned()]);
        }
        findings.results.insert("budgets".to_owned(), serde_json::to_value(&findings.budgets)?);
        let method =
            format!("every bench in its short form, {} rounds; each bench alone tells more", self.rounds);
        Ok(Report::new("all", method, &findings.results)?.table(table))
    }

    fn over_http(&self) -> OverHttp {
        OverHttp {
            connections: vec![1, RATIO_CONNECTIONS],
            body: vec![100],
            rounds: self.rounds,
            seconds: 2.0,
            rate: Rate::Off,
            open_connections: 0,
            client_threads: None,
            server_threads: 0,
        }
    }

    fn invoke(&self) -> Invoke {
        Invoke { rounds: self.rounds, seconds: 0.5, sdk_guest: self.sdk_guest.clone() }
    }

    fn cold(&self) -> Cold {
        Cold { runs: 50, module: None }
    }

    fn idle(&self) -> Idle {
        Idle { functions: 50, further: 200, bramble: self.bramble.clone() }
    }

    fn many(&self) -> Many {
        Many { few: 10, many: self.many, connections: vec![1], rounds: 3 * self.rounds, seconds: 0.4 }
    }
}

impl Findings {
    fn take<T: Serialize>(
        &mut self,
        bench: &str,
        results: Result<T>,
        budgets: impl Fn(&T) -> Vec<Budget>,
    ) -> Result<()> {
        match results {
            Ok(results) => {
                self.budgets.extend(budgets(&results));
                self.results.insert(bench.to_owned(), serde_json::to_value(&results)?);
            }
            Err(error) => self.budgets.push(Budget {
                what: bench.to_owned(),
                budget: String::new(),
                measured: format!("{error:#}"),
                verdict: Verdict::NotMeasured,
            }),
        }
        Ok(())
    }
}

fn budget(what: impl Into<String>, budget: impl Into<String>, measured: String, met: bool) -> Budget {
    let verdict = if met { Verdict::Met } else { Verdict::Missed };
    Budget { what: what.into(), budget: budget.into(), measured, verdict }
}

fn over_http_budgets(results: &over_http::Results) -> Vec<Budget> {
    let at = results.closed.iter().filter(|comparison| comparison.connections == RATIO_CONNECTIONS);
    at.map(|comparison| {
        let what = format!("gateway echo of 100 B at {RATIO_CONNECTIONS} connections, against bare axum");
        let spread = comparison.contest.rate_ratio;
        budget(what, format!(">= {:.2}", limit::RATIO), spread.text(ratio), spread.median >= limit::RATIO)
    })
    .collect()
}

fn invoke_budgets(cases: &[invoke::Case]) -> Vec<Budget> {
    let limits = [
        (invoke::ECHO, limit::ECHO_NS),
        (invoke::SDK, limit::SDK_NS),
        (invoke::LARGE_ECHO, limit::LARGE_ECHO_NS),
    ];
    let row = |(function, limit)| {
        let what = format!("in process, fresh instance, {function}: p50");
        let case = cases.iter().find(|case| case.function == function && case.tasks == 1);
        let Some(case) = case else { return not_measured(what, format!("<= {}", time(limit))) };
        budget(what, format!("<= {}", time(limit)), case.p50_ns.text(time), case.p50_ns.median <= limit)
    };
    limits.map(row).into()
}

fn not_measured(what: String, budget: String) -> Budget {
    Budget { what, budget, measured: "the examples are not built".to_owned(), verdict: Verdict::NotMeasured }
}

fn cold_budgets(cases: &[cold::Case]) -> Vec<Budget> {
    let row = |case: &cold::Case| {
        let what =
            format!("cold, {} ({} KiB), {}: p50", case.module, case.module_bytes >> 10, case.kind.text());
        let met = case.cold.p50_ns <= limit::COLD_NS;
        budget(what, format!("<= {}", time_of(limit::COLD_NS)), time_of(case.cold.p50_ns), met)
    };
    cases.iter().map(row).collect()
}

fn idle_budgets(results: &idle::Results) -> Vec<Budget> {
    let functions = results.few.functions;
    let row = |what: &str, memory: idle::Memory, further: f64| {
        let (resident, limit) = (memory.resident_bytes, limit::IDLE_BYTES);
        let budgets = [mebibytes(limit), kibibytes(limit::FURTHER_BYTES)].map(|limit| format!("<= {limit}"));
        let [total, each] = budgets;
        [
            budget(
                format!("idle, {functions} functions, {what}"),
                total,
                mebibytes(resident),
                resident <= limit,
            ),
            budget(
                format!("idle, each further function, {what}"),
                each,
                kibibytes(further),
                further <= limit::FURTHER_BYTES,
            ),
        ]
    };
    let restarted = row("restarted", results.few.restarted, results.further_bytes_restarted);
    let invoked = row("each invoked once", results.few.invoked, results.further_bytes_invoked);
    restarted.into_iter().chain(invoked).collect()
}

fn many_budgets(comparisons: &[many::Comparison]) -> Vec<Budget> {
    let row = |comparison: &many::Comparison| {
        let what = format!(
            "many functions against few, {}, {} connection: p50",
            comparison.names.text(),
            comparison.connections
        );
        let spread = comparison.contest.p50_ratio;
        budget(
            what,
            format!("<= {:.2}", limit::MANY_RATIO),
            spread.text(ratio),
            spread.median <= limit::MANY_RATIO,
        )
    };
    comparisons.iter().map(row).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bench_that_failed_has_a_row_that_says_why() {
        let mut findings = Findings::default();
        let failed = Err::<(), _>(anyhow::anyhow!("no gateway").context("idle"));
        findings.take("idle", failed, |()| unreachable!("there are no results")).unwrap();
        assert_eq!(findings.budgets[0].verdict, Verdict::NotMeasured);
        assert_eq!(findings.budgets[0].measured, "idle: no gateway");
    }
}
