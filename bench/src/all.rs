//! `all`: every bench in a short form, and one table of budgets.
//!
//! A missed budget is marked and never an error; a bench that cannot run here says why in its row.

use std::path::PathBuf;

use anyhow::Result;
use clap::Args;
use serde::Serialize;
use serde_json::{Map, Value};

use crate::cold::{self, Cold};
use crate::idle::{self, Idle, kibibytes};
use crate::invoke::{self, Invoke};
use crate::many::{self, Many};
use crate::over_http::{self, OverHttp, Rate};
use crate::report::Report;
use crate::stats::{Spread, ratio, time};
use crate::suite::results::{Budget, BudgetFigure, FigureUnit, Rounds, Verdict};
use crate::table::Table;

/// Connections at which the gateway is held against axum, and the bodies.
const RATIO_CONNECTIONS: usize = 16;
const SMALL_BYTES: usize = 100;
const LARGE_BYTES: usize = 1 << 20;

/// Budgets of the design (`Budgets`).
mod limit {
    pub(super) const RATIO: f64 = 0.80;
    pub(super) const LARGE_RATIO: f64 = 0.50;
    /// What the gateway adds to the p50 of a lone request.
    pub(super) const ADDED_NS: f64 = 12_000.0;
    pub(super) const ECHO_NS: f64 = 6_000.0;
    pub(super) const SDK_NS: f64 = 15_000.0;
    pub(super) const LARGE_ECHO_NS: f64 = 60_000.0;
    pub(super) const COLD_NS: f64 = 2_000_000.0;
    pub(super) const IDLE_BYTES: f64 = 40.0 * 1_048_576.0;
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
        let mut findings = self.measure()?;
        let table = table(&findings.budgets);
        findings.results.insert("budgets".to_owned(), serde_json::to_value(&findings.budgets)?);
        let method =
            format!("every bench in its short form, {} rounds; each bench alone tells more", self.rounds);
        Ok(Report::new("all", method, &findings.results)?.table(table))
    }

    /// The budgets alone, each measured or with the reason why not.
    ///
    /// # Errors
    /// As [`Self::report`].
    pub(crate) fn budgets(rounds: usize, many: usize, bramble: Option<PathBuf>) -> Result<Vec<Budget>> {
        let all = Self { rounds, many, sdk_guest: None, bramble };
        Ok(all.measure()?.budgets)
    }

    fn measure(&self) -> Result<Findings> {
        let mut findings = Findings::default();
        let lone_and_many = vec![1, RATIO_CONNECTIONS];
        findings.take("http", self.over_http(lone_and_many, SMALL_BYTES).measure(), over_http_budgets)?;
        let large = self.over_http(vec![RATIO_CONNECTIONS], LARGE_BYTES);
        findings.take("http, 1 MiB", large.measure(), over_http_budgets)?;
        findings.take("invoke", self.invoke().measure(), |cases| invoke_budgets(cases))?;
        findings.take("cold", self.cold().measure(), |cases| cold_budgets(cases))?;
        findings.take("idle", self.idle().measure(), idle_budgets)?;
        findings.take("many", self.many().measure(), |comparisons| many_budgets(comparisons))?;
        Ok(findings)
    }

    fn over_http(&self, connections: Vec<usize>, body_bytes: usize) -> OverHttp {
        OverHttp {
            connections,
            body: vec![body_bytes],
            rounds: self.rounds,
            seconds: 1.0,
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
                figure: None,
            }),
        }
        Ok(())
    }
}

/// The budgets, for people.
pub(crate) fn table(budgets: &[Budget]) -> Table {
    let mut table = Table::new("Budgets", ["what", "budget", "measured", "met"]);
    for budget in budgets {
        let verdict = match budget.verdict {
            Verdict::Met => "yes",
            Verdict::Missed => "MISSED",
            Verdict::NotMeasured => "not measured",
        };
        table.row([budget.what.clone(), budget.budget.clone(), budget.measured.clone(), verdict.to_owned()]);
    }
    table
}

/// What a budget is about, and how it is written.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limit {
    pub(crate) value: f64,
    pub(crate) unit: FigureUnit,
    pub(crate) lower_is_better: bool,
    pub(crate) write: fn(f64) -> String,
}

impl Limit {
    pub(crate) fn at_most(value: f64, unit: FigureUnit, write: fn(f64) -> String) -> Self {
        Self { value, unit, lower_is_better: true, write }
    }

    pub(crate) fn at_least(value: f64, unit: FigureUnit, write: fn(f64) -> String) -> Self {
        Self { value, unit, lower_is_better: false, write }
    }

    /// What was measured against the limit: by its median.
    pub(crate) fn judge(self, what: impl Into<String>, rounds: Rounds) -> Budget {
        let met = match self.lower_is_better {
            true => rounds.median <= self.value,
            false => rounds.median >= self.value,
        };
        let measured = match rounds.values.len() {
            1 => (self.write)(rounds.median),
            _ => {
                let spread = Spread { median: rounds.median, min: rounds.min, max: rounds.max };
                spread.text(self.write)
            }
        };
        let verdict = if met { Verdict::Met } else { Verdict::Missed };
        let figure = BudgetFigure { rounds, unit: self.unit, lower_is_better: self.lower_is_better };
        Budget { what: what.into(), budget: self.text(), measured, verdict, figure: Some(figure) }
    }

    fn text(self) -> String {
        format!("{} {}", if self.lower_is_better { "<=" } else { ">=" }, (self.write)(self.value))
    }

    /// A limit that nothing was held against.
    pub(crate) fn not_measured(self, what: String, why: &str) -> Budget {
        let verdict = Verdict::NotMeasured;
        Budget { what, budget: self.text(), measured: why.to_owned(), verdict, figure: None }
    }

    /// Of a spread whose rounds were not kept: its median and its ends.
    pub(crate) fn judge_spread(self, what: String, spread: Spread) -> Budget {
        match Rounds::of([spread.min, spread.median, spread.max]) {
            Some(rounds) => self.judge(what, rounds),
            None => self.not_measured(what, "nothing was measured"),
        }
    }

    pub(crate) fn judge_one(self, what: String, value: f64) -> Budget {
        match Rounds::of([value]) {
            Some(rounds) => self.judge(what, rounds),
            None => self.not_measured(what, "nothing was measured"),
        }
    }
}

fn over_http_budgets(results: &over_http::Results) -> Vec<Budget> {
    results.closed.iter().filter_map(over_http_budget).collect()
}

/// The budget that a comparison is for.
fn over_http_budget(comparison: &over_http::Comparison) -> Option<Budget> {
    let echo_of =
        |body| format!("gateway echo of {body} at {RATIO_CONNECTIONS} connections, against bare axum");
    let contest = &comparison.contest;
    let (limit, what) = match (comparison.body_bytes, comparison.connections) {
        (SMALL_BYTES, 1) => {
            let limit = Limit::at_most(limit::ADDED_NS, FigureUnit::Nanos, time);
            let what = "added to the p50 of a lone echo of 100 B, against bare axum".to_owned();
            return Some(limit.judge_spread(what, contest.p50_difference_ns));
        }
        (SMALL_BYTES, RATIO_CONNECTIONS) => (limit::RATIO, echo_of("100 B")),
        (LARGE_BYTES, RATIO_CONNECTIONS) => (limit::LARGE_RATIO, echo_of("1 MiB")),
        _ => return None,
    };
    let limit = Limit::at_least(limit, FigureUnit::Ratio, ratio);
    Some(match Rounds::of(contest.rate_ratios.iter().copied()) {
        Some(rounds) => limit.judge(what, rounds),
        None => limit.not_measured(what, "no round was measured"),
    })
}

fn invoke_budgets(cases: &[invoke::Case]) -> Vec<Budget> {
    let limits = [
        (invoke::ECHO, limit::ECHO_NS),
        (invoke::SDK, limit::SDK_NS),
        (invoke::LARGE_ECHO, limit::LARGE_ECHO_NS),
    ];
    let row = |(function, limit)| {
        let what = format!("in process, fresh instance, {function}: p50");
        let limit = Limit::at_most(limit, FigureUnit::Nanos, time);
        let case = cases.iter().find(|case| case.function == function && case.tasks == 1);
        match case {
            Some(case) => limit.judge_spread(what, case.p50_ns),
            None => limit.not_measured(what, "the examples are not built"),
        }
    };
    limits.map(row).into()
}

fn cold_budgets(cases: &[cold::Case]) -> Vec<Budget> {
    let limit = Limit::at_most(limit::COLD_NS, FigureUnit::Nanos, time);
    let row = |case: &cold::Case| {
        let what =
            format!("cold, {} ({} KiB), {}: p50", case.module, case.module_bytes >> 10, case.kind.text());
        limit.judge_one(what, case.cold.p50_ns as f64)
    };
    cases.iter().map(row).collect()
}

fn idle_budgets(results: &idle::Results) -> Vec<Budget> {
    let functions = results.few.functions;
    let total = Limit::at_most(limit::IDLE_BYTES, FigureUnit::Bytes, mebibytes_of);
    let each = Limit::at_most(limit::FURTHER_BYTES, FigureUnit::Bytes, kibibytes);
    let row = |what: &str, memory: idle::Memory, further: f64| {
        [
            total.judge_one(format!("idle, {functions} functions, {what}"), memory.resident_bytes as f64),
            each.judge_one(format!("idle, each further function, {what}"), further),
        ]
    };
    let restarted = row("restarted", results.few.restarted, results.further_bytes_restarted);
    let invoked = row("each invoked once", results.few.invoked, results.further_bytes_invoked);
    restarted.into_iter().chain(invoked).collect()
}

pub(crate) fn mebibytes_of(bytes: f64) -> String {
    format!("{:.1} MiB", bytes / f64::from(1 << 20))
}

fn many_budgets(comparisons: &[many::Comparison]) -> Vec<Budget> {
    let limit = Limit::at_most(limit::MANY_RATIO, FigureUnit::Ratio, ratio);
    let row = |comparison: &many::Comparison| {
        let what = format!(
            "many functions against few, {}, {} connection: p50",
            comparison.names.text(),
            comparison.connections
        );
        limit.judge_spread(what, comparison.contest.p50_ratio)
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
