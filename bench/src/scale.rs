//! `scale`: the scaler's decisions over traces of requests, against the rules of two others; and what a
//! tick costs.
//!
//! A simulation: requests, queues and replicas are modelled, and only the decisions are the real code.
//! Every contender gets the same requests, the same start times and the same ceiling. Functions do not
//! share a host here.

use std::path::PathBuf;

use anyhow::{Result, ensure};
use bramble_provider::Runtime;
use clap::{Args, ValueEnum};
use serde::Serialize;

use crate::gateway::GatewayProcess;
use crate::idle::mebibytes;
use crate::report::{Report, progress};
use crate::stats::time;
use crate::table::Table;

use controller::{Ask, Contender, SECOND, Tunables};
use memory::LoopMemory;
use model::{Costs, Function, Micros, Outcome};
use replay::{Replay, Row, offered};
use tick::TickCost;
use trace::{Kind, Trace};
use whole::WholeTick;

mod controller;
mod memory;
mod model;
mod replay;
mod tick;
mod trace;
mod whole;

/// Functions of the ticks whose memory is measured.
const MANY: usize = 10_000;

/// Points of a plot.
const POINTS: u64 = 240;

/// Replays traces through the scaler's decisions, and measures a tick over 10,000 functions
#[derive(Debug, Clone, Args)]
pub(crate) struct Scale {
    /// Only this part
    #[arg(long)]
    only: Option<Part>,
    /// Traces [default: all]
    #[arg(long, value_delimiter = ',')]
    trace: Vec<Kind>,
    /// Who decides [default: all]
    #[arg(long, value_delimiter = ',')]
    contender: Vec<Contender>,
    /// What a replica is
    #[arg(long, value_delimiter = ',', default_value = "container,wasm")]
    replicas: Vec<Replica>,
    /// Mean time that a request runs, in milliseconds
    #[arg(long, default_value_t = 100.0)]
    service_ms: f64,
    /// Requests that a container runs at a time; a slot runs one
    #[arg(long, default_value_t = 4)]
    concurrency: u32,
    /// Most containers of a function; slots may be so many times the concurrency
    #[arg(long, default_value_t = 20)]
    max: u32,
    /// Functions of the traces that have many [default: 1,000]
    #[arg(long)]
    functions: Option<usize>,
    /// What requests are made from
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Write a plot of each trace to this directory
    #[arg(long, value_name = "DIR")]
    plots: Option<PathBuf>,
    /// Rounds of the tick
    #[arg(long, default_value_t = 200)]
    rounds: usize,
    /// Functions of the gateways whose whole ticks are measured; 0 measures none
    #[arg(long, default_value_t = 10_000)]
    whole: usize,
    /// Another gateway than the `bramble` beside this program
    #[arg(long, value_name = "PROGRAM")]
    bramble: Option<PathBuf>,
    #[command(flatten)]
    tunables: Tunables,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Part {
    /// The traces
    Traces,
    /// What a tick costs
    Tick,
}

/// What a replica is, by its start time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
enum Replica {
    Container,
    Wasm,
}

#[derive(Debug, Serialize)]
struct Results {
    traces: Vec<Replay>,
    ticks: Vec<TickCost>,
    /// Missing where ticks are not measured.
    memory: Option<LoopMemory>,
    whole_ticks: Vec<WholeTick>,
}

impl Scale {
    /// Replays, measures and reports.
    ///
    /// # Errors
    /// When a number makes no sense, or a plot cannot be written.
    pub(crate) fn report(&self) -> Result<Report> {
        ensure!(self.service_ms > 0.0 && self.service_ms.is_finite(), "--service-ms must be above 0");
        ensure!(self.concurrency > 0 && self.max > 0, "--concurrency and --max must be above 0");
        let mut results =
            Results { traces: Vec::new(), ticks: Vec::new(), memory: None, whole_ticks: Vec::new() };
        let mut tables = Vec::new();
        if self.only != Some(Part::Traces) {
            results.memory = Some(memory::measure(MANY)?);
        }
        if self.only != Some(Part::Tick) {
            for &replicas in &self.replicas {
                for kind in or_all(&self.trace, Kind::ALL) {
                    let replay = self.replay(kind, replicas)?;
                    tables.push(replay.table());
                    results.traces.push(replay);
                }
            }
        }
        if self.only != Some(Part::Traces) {
            progress("scale: ticks");
            results.ticks = [1_000, 10_000, 100_000]
                .map(|functions| {
                    tick::measure(functions, self.rounds.max(1) * 1_000 / functions.clamp(1_000, 100_000) + 5)
                })
                .into();
            tables.push(ticks_table(&results.ticks));
            tables.extend(results.memory.as_ref().map(memory_table));
            if self.whole > 0 {
                let program = GatewayProcess::program(self.bramble.as_deref())?;
                results.whole_ticks = whole::measure(&program, self.whole)?;
                tables.push(whole_table(&results.whole_ticks));
            }
        }
        let report = Report::new("scale", self.method(), &results)?;
        Ok(tables.into_iter().fold(report, Report::table))
    }

    fn method(&self) -> String {
        let Costs { start, start_each_more, thaw, .. } = self.costs(Replica::Container);
        format!(
            "simulated, seed {}; requests run {} ms in the mean (exponential; azure: as published); a container runs {} at a time, \
             starts in {} ms and {} ms more for each other that starts with it, thaws in {} ms; a slot runs 1 and starts in {} µs; \
             at most {} containers or {} slots for a function; ours freezes after {} s idle and goes to 0 after {} s, \
             where the trace allows 0",
            self.seed,
            self.service_ms,
            self.concurrency,
            start / 1_000,
            start_each_more / 1_000,
            thaw / 1_000,
            self.costs(Replica::Wasm).start,
            self.max,
            self.max * self.concurrency,
            self.tunables.freeze_after,
            self.tunables.zero_after,
        )
    }

    /// Start times as measured on the project's machines; see the containers' bench, and `cold`.
    fn costs(&self, replicas: Replica) -> Costs {
        match replicas {
            Replica::Container => Costs {
                start: 580_000,
                start_each_more: 120_000,
                thaw: 23_000,
                concurrency: self.concurrency,
            },
            Replica::Wasm => Costs { start: 300, start_each_more: 0, thaw: 0, concurrency: 1 },
        }
    }

    fn replay(&self, kind: Kind, replicas: Replica) -> Result<Replay> {
        let service = self.service_ms / 1_000.0;
        let costs = self.costs(replicas);
        let max = self.max * self.concurrency / costs.concurrency;
        let half = f64::from(self.max * self.concurrency) / 2.0;
        let mut trace = Trace::new(kind, service, half, self.seed);
        if trace.functions > 1 {
            trace.functions = self.functions.unwrap_or(trace.functions).max(1);
        }
        let contenders = or_all(&self.contender, Contender::ALL);
        let mut rows = Vec::new();
        for &contender in &contenders {
            progress(format_args!("scale: {}, {}, {}", kind.text(), replicas.text(), contender.text()));
            rows.push(self.run(&trace, replicas, costs, max, contender));
        }
        let replay =
            Replay { trace: kind, replicas, functions: trace.functions, seconds: trace.seconds, rows };
        if let Some(dir) = &self.plots {
            replay.plot(dir, &offered(&trace, costs.concurrency))?;
        }
        Ok(replay)
    }

    fn run(&self, trace: &Trace, replicas: Replica, costs: Costs, max: u32, contender: Contender) -> Row {
        let mut outcome = Outcome::new();
        let mut series = vec![0; usize::try_from(POINTS).unwrap_or(1)];
        let step = trace.seconds * SECOND / POINTS;
        for function in 0..trace.functions {
            let mut requests = trace.requests(function);
            let ask = Ask {
                runtime: replicas.runtime(),
                min: u32::from(!trace.zero),
                max,
                zero: trace.zero,
                rps_per_replica: f64::from(costs.concurrency) / requests.service,
                costs,
            };
            let mut controller = contender.controller(&ask, &self.tunables);
            let mut function = Function::new(costs, ask.min, &mut outcome, &mut series, step);
            let mut tick_at = controller.interval();
            let arrivals = std::mem::take(&mut requests.arrivals);
            let end = trace.seconds * SECOND;
            for arrival in arrivals.into_iter().map(Some).chain([None]) {
                let until = arrival.unwrap_or(end);
                while tick_at <= until {
                    function.advance(tick_at);
                    let order = controller.tick(tick_at, &function.view());
                    function.obey(order);
                    tick_at += controller.interval();
                }
                function.advance(until);
                if arrival.is_some() {
                    function.arrive(requests.next_service());
                }
            }
        }
        let slots = u64::from(costs.concurrency) * outcome.replica_micros;
        Row {
            contender,
            requests: outcome.requests,
            refused: outcome.refused,
            cold: outcome.cold,
            thawed: outcome.thawed,
            latency: outcome.latency.percentiles(),
            wait: outcome.wait.percentiles(),
            utilisation: outcome.running_micros as f64 / slots.max(1) as f64,
            replica_seconds: seconds(outcome.replica_micros),
            frozen_replica_seconds: seconds(outcome.frozen_micros),
            moves: outcome.moves,
            reversals: outcome.reversals,
            series: series.into_iter().map(|micros| micros as f64 / step as f64).collect(),
        }
    }
}

impl Replica {
    fn text(self) -> &'static str {
        match self {
            Self::Container => "containers",
            Self::Wasm => "slots",
        }
    }

    fn runtime(self) -> Runtime {
        match self {
            Self::Container => Runtime::Container,
            Self::Wasm => Runtime::Wasm,
        }
    }
}

fn ticks_table(ticks: &[TickCost]) -> Table {
    let columns = ["a tick over", "decisions", "for each", "slots divided", "labels read", "bytes for each"];
    let mut table = Table::new("the pure part of a tick: median (min..max)", columns);
    for cost in ticks {
        table.row([
            format!("{} functions", cost.functions),
            cost.decisions_ns.text(time),
            time(cost.decisions_ns.median / cost.functions as f64),
            cost.share_ns.text(time),
            cost.policies_ns.text(time),
            cost.bytes_per_function.to_string(),
        ]);
    }
    table
}

fn memory_table(memory: &LoopMemory) -> Table {
    let columns = ["ticks over", "peak", "kept"];
    let mut table = Table::new("resident memory of the loop, by the gateway's own counters", columns);
    table.row([
        format!("{} functions", memory.functions),
        mebibytes(memory.peak_bytes),
        mebibytes(memory.kept_bytes),
    ]);
    table
}

fn whole_table(ticks: &[WholeTick]) -> Table {
    let columns = ["load from", "functions", "a tick, waits included", "processor of the gateway"];
    let mut table = Table::new("whole ticks of a real gateway", columns);
    for tick in ticks {
        table.row([
            format!("{:?}", tick.from).to_lowercase(),
            tick.functions.to_string(),
            time(tick.seconds * 1e9),
            format!("{:.1}%", tick.cpu_part * 100.0),
        ]);
    }
    table
}

fn or_all<T: Copy, const N: usize>(asked: &[T], all: [T; N]) -> Vec<T> {
    if asked.is_empty() { all.into() } else { asked.into() }
}

fn seconds(micros: Micros) -> f64 {
    micros as f64 / SECOND as f64
}

#[cfg(test)]
mod tests;
