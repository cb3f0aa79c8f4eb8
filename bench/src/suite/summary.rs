//! What people see at the end of a run: tables, budgets, how it was done.

use std::io::{self, Write};
use std::path::Path;

use super::effort::Effort;
use super::report::cold::from_zero_ratios;
use super::results::{
    Budget, ColdKind, FigureUnit, LoadPoint, MemoryState, Part, Program, ProgramRun, Results, Rounds,
    Runtime, Throughput,
};
use crate::all::{self, Limit};
use crate::idle::{kibibytes, mebibytes};
use crate::machine::Machine;
use crate::stats::{Spread, ratio, time, whole};
use crate::table::Table;

/// How far from half of the best a schedule may be, as shares of it, to be called that.
const HALF_WITHIN: f64 = 0.02;
/// The share of a schedule's rate that was answered when it was kept.
const KEPT: f64 = 0.98;

/// Budgets of the design.
mod limit {
    /// A container's start from 0 to that of the same program as wasm.
    pub(super) const COLD_RATIO: f64 = 100.0;
    /// p99 to p50 at half of the best rate.
    pub(super) const TAIL_RATIO: f64 = 5.0;
    /// Idle functions in 512 MiB, wasm to containers.
    pub(super) const DENSITY_RATIO: f64 = 20.0;
    pub(super) const DEPLOY_NS: f64 = 2e9;
    pub(super) const AGAIN_NS: f64 = 20e6;
    /// The p99 of a running function during a deployment to before.
    pub(super) const NEIGHBOUR_RATIO: f64 = 1.20;
}

/// How it was measured, for the results.
pub(super) fn method(effort: &Effort, own: bool) -> Vec<String> {
    let gateway = match own {
        true => "A gateway of the run's own with its defaults, on the machine that the client runs on.",
        false => "A gateway that ran already, with whatever else it does.",
    };
    let wasm = "A function is a module with a mark of its own, so nothing of it was known before; a container \
                is the watchdog with the same program, one replica whatever the load.";
    let load = format!(
        "Throughput: a closed loop, {} rounds of {:?} for each runtime, in turns; the first round and the \
         begin of each turn are for warming up and not counted. Warm latency and latency against load: an \
         open loop by the clock over {} connections, counted from the instant a request was due.",
        effort.rounds,
        effort.turn,
        super::warm::OPEN_CONNECTIONS
    );
    let cold = "Cold starts: one request on a connection that is there already, to its last byte, those from 0 replicas \
                of both runtimes in turns; their parts by \
                the gateway's metrics (load, instantiate, connect, thaw) and by the daemon's timestamps (create, \
                schedule, start). Upload is the same module sent again; compile is what the first time took longer.";
    let memory = "Memory: resident memory of the gateway's process as the kernel counts it, of containers that of \
                  their processes without cache; what the daemon needs for each container is not in it.";
    let answers = "Answers are compared byte for byte between the runtimes, and by length under load.";
    [gateway, wasm, &load, cold, memory, answers].map(str::to_owned).into()
}

/// The name of a run's directory: date, machine, commit. Nothing in it names the machine's owner.
pub(super) fn run_name(results: &Results) -> String {
    let date = results.started_at.get(..10).unwrap_or("undated");
    let commit: String = results.commit.chars().filter(|c| c.is_ascii_alphanumeric() || *c == '-').collect();
    format!("{date}-{}-{}c-{commit}", slug(&results.machine.cpu), results.machine.cores)
}

/// A processor's name in lower case, its words joined; without marks, and without its frequency.
fn slug(cpu: &str) -> String {
    const MAX: usize = 32;
    let text =
        cpu.split('@').next().unwrap_or_default().to_lowercase().replace("(r)", " ").replace("(tm)", " ");
    let words =
        text.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty() && *word != "cpu");
    let mut slug = String::new();
    for word in words {
        if slug.len() + word.len() >= MAX {
            break;
        }
        if !slug.is_empty() {
            slug.push('-');
        }
        slug.push_str(word);
    }
    if slug.is_empty() { "unknown".to_owned() } else { slug }
}

/// What was measured against what it should be.
pub(super) fn budgets(results: &Results) -> Vec<Budget> {
    let judge =
        |limit: Limit, what: String, rounds: Option<Rounds>| rounds.map(|rounds| limit.judge(what, rounds));
    let ratio_of = |value| Limit::at_most(value, FigureUnit::Ratio, ratio);
    let mut budgets = Vec::new();
    if let Some(program) = results.programs.first() {
        let name = &program.name;
        let starts = Limit::at_least(limit::COLD_RATIO, FigureUnit::Ratio, whole);
        budgets.extend(judge(
            starts,
            format!("start from 0, {name}, container to wasm"),
            from_zero_ratios(program),
        ));
        budgets.extend(tail(program));
    }
    if let Some(memory) = &results.memory {
        let density = Limit::at_least(limit::DENSITY_RATIO, FigureUnit::Ratio, ratio);
        let what = "idle functions in 512 MiB, wasm to containers".to_owned();
        budgets.extend(judge(density, what, Rounds::of(memory.density_ratio)));
    }
    if let Some(deploy) = &results.deploy {
        let rounds = |times: &[u64]| Rounds::of(times.iter().map(|time| *time as f64));
        let within = |nanos| Limit::at_most(nanos, FigureUnit::Nanos, time);
        let neighbour = "p99 of a running function during a deployment, to before".to_owned();
        let judged = [
            judge(within(limit::DEPLOY_NS), "deploy of 1 MiB".to_owned(), rounds(&deploy.first_ns)),
            judge(
                within(limit::AGAIN_NS),
                "deploy of the same bytes again".to_owned(),
                rounds(&deploy.again_ns),
            ),
            judge(ratio_of(limit::NEIGHBOUR_RATIO), neighbour, deploy.p99_ratio.clone()),
        ];
        budgets.extend(judged.into_iter().flatten());
    }
    budgets
}

/// p99 to p50 of the program as wasm, at the schedule that was half of its best. `None` without a schedule.
fn tail(program: &Program) -> Option<Budget> {
    let run = of(program, Runtime::Wasm)?;
    let best = run.throughput.iter().map(|at| at.requests_per_second.median).fold(0.0, f64::max);
    let apart = |point: &&LoadPoint| (point.rate / best - 0.5).abs();
    let point = run.load_curve.iter().min_by(|a, b| apart(a).total_cmp(&apart(b)))?;
    let limit = Limit::at_most(limit::TAIL_RATIO, FigureUnit::Ratio, ratio);
    let what = format!("{} as wasm, p99 to p50 at half its best", program.name);
    if apart(&point) > HALF_WITHIN {
        let why = format!("the nearest schedule was {:.0} % of its best", 100.0 * point.rate / best);
        return Some(limit.not_measured(what, &why));
    }
    let ratios = point.p99_ns.values.iter().zip(&point.p50_ns.values).map(|(p99, p50)| p99 / p50);
    Some(noted(limit.judge(what, Rounds::of(ratios)?), &schedule(point)))
}

/// The schedule of a point, and what came of it where that is less.
fn schedule(point: &LoadPoint) -> String {
    let due = format!("{} due a second", whole(point.rate));
    match point.achieved < KEPT * point.rate || point.unsent > 0 {
        true => format!("{due}, {} answered", whole(point.achieved)),
        false => due,
    }
}

/// A budget that says more about what was measured.
fn noted(mut budget: Budget, note: &str) -> Budget {
    budget.measured = match budget.measured.strip_suffix(')') {
        Some(spread) => format!("{spread}, {note})"),
        None => format!("{} ({note})", budget.measured),
    };
    budget
}

fn of(program: &Program, runtime: Runtime) -> Option<&ProgramRun> {
    program.runtimes.iter().find(|run| run.runtime == runtime)
}

/// The totals of the cold starts of one kind.
fn cold(program: &Program, runtime: Runtime, kind: ColdKind) -> Option<Vec<f64>> {
    let starts = of(program, runtime)?.cold.iter().find(|starts| starts.kind == kind)?;
    Some(starts.samples.iter().map(|sample| sample.total_ns as f64).collect())
}

fn median(values: Vec<f64>) -> Option<f64> {
    Rounds::of(values).map(|rounds| rounds.median)
}

/// Prints the tables, and where the results are.
///
/// # Errors
/// When nobody reads.
pub(super) fn print(machine: &Machine, results: &Results, dir: &Path) -> io::Result<()> {
    let mut out = io::stdout().lock();
    writeln!(out, "{}", machine.line())?;
    if let Some(warning) = machine.warning() {
        writeln!(out, "warning: {warning}")?;
    }
    for table in [starts(results), parts(results), throughput(results), warm(results)] {
        write!(out, "{table}")?;
    }
    if results.memory.is_some() {
        write!(out, "{}", memory(results))?;
    }
    if !results.comparisons.is_empty() {
        write!(out, "{}", targets(results))?;
    }
    write!(out, "{}", all::table(&results.budgets))?;
    writeln!(out)?;
    for skipped in &results.skipped {
        writeln!(out, "not measured: {}: {}", skipped.what, skipped.why)?;
    }
    writeln!(out, "{:.0} s; results are in {}", results.duration_seconds, dir.display())
}

fn text<T>(value: Option<T>, write: impl Fn(T) -> String) -> String {
    value.map_or_else(|| "-".to_owned(), write)
}

fn starts(results: &Results) -> Table {
    let mut table = Table::new(
        "Cold starts: median time to the whole answer",
        [
            "program",
            "wasm, never seen",
            "wasm from 0",
            "restarted",
            "container, new",
            "from 0",
            "frozen",
            "from 0, ratio",
        ],
    );
    for program in &results.programs {
        let told = |runtime, kind| text(cold(program, runtime, kind).and_then(median), time);
        table.row([
            program.name.clone(),
            told(Runtime::Wasm, ColdKind::New),
            told(Runtime::Wasm, ColdKind::FromZero),
            told(Runtime::Wasm, ColdKind::Restarted),
            told(Runtime::Container, ColdKind::New),
            told(Runtime::Container, ColdKind::FromZero),
            told(Runtime::Container, ColdKind::Frozen),
            text(from_zero_ratios(program), |ratios| spread(&ratios).text(whole)),
        ]);
    }
    table
}

fn parts(results: &Results) -> Table {
    let mut table = Table::new("Parts of cold starts: medians", ["program", "runtime", "kind", "parts"]);
    for program in &results.programs {
        for run in &program.runtimes {
            for starts in &run.cold {
                let all: Vec<_> = starts.samples.iter().flat_map(|sample| &sample.parts).collect();
                let mut kinds: Vec<Part> = all.iter().map(|part| part.part).collect();
                kinds.sort_unstable();
                kinds.dedup();
                let median = |kind| {
                    let times = all.iter().filter(|part| part.part == kind).map(|part| part.nanos as f64);
                    format!("{kind:?} {}", text(median(times.collect()), time))
                };
                let cells: Vec<_> = kinds.into_iter().map(median).collect();
                if !cells.is_empty() {
                    let [runtime, kind] = [format!("{:?}", run.runtime), format!("{:?}", starts.kind)];
                    table.row([program.name.clone(), runtime, kind, cells.join(", ")]);
                }
            }
        }
    }
    table
}

fn throughput(results: &Results) -> Table {
    let mut table = Table::new(
        "Throughput: requests per second, median (lowest..highest)",
        ["program", "conns", "wasm", "container", "ratio"],
    );
    for program in &results.programs {
        let at = |runtime, connections| -> Option<&Throughput> {
            of(program, runtime)?.throughput.iter().find(|at| at.connections == connections)
        };
        let mut connections: Vec<usize> =
            program.runtimes.iter().flat_map(|run| &run.throughput).map(|at| at.connections).collect();
        connections.sort_unstable();
        connections.dedup();
        for connections in connections {
            let [wasm, container] =
                [Runtime::Wasm, Runtime::Container].map(|runtime| at(runtime, connections));
            let rate = |at: Option<&Throughput>| {
                at.map_or_else(|| "-".to_owned(), |at| spread(&at.requests_per_second).text(whole))
            };
            let pair = wasm.zip(container);
            let times = pair.map(|(wasm, container)| {
                wasm.requests_per_second.median / container.requests_per_second.median
            });
            table.row([
                program.name.clone(),
                connections.to_string(),
                rate(wasm),
                rate(container),
                text(times, ratio),
            ]);
        }
    }
    table
}

fn warm(results: &Results) -> Table {
    let columns = ["program", "runtime", "per second", "p50", "p90", "p99", "p99.9", "max", "idle", "busy"];
    let mut table = Table::new("Warm latency on a schedule, and memory of one function", columns);
    for program in &results.programs {
        for run in &program.runtimes {
            let Some(warm) = &run.warm else { continue };
            let latency = warm.latency;
            let times = [latency.p50_ns, latency.p90_ns, latency.p99_ns, latency.p999_ns, latency.max_ns];
            let [p50, p90, p99, p999, max] = times.map(|nanos| time(nanos as f64));
            let memory = [run.memory.and_then(|it| it.idle_bytes), run.memory.and_then(|it| it.busy_bytes)];
            let [idle, busy] = memory.map(|bytes| bytes.map_or_else(|| "-".to_owned(), mebibytes));
            let runtime = format!("{:?}", run.runtime);
            table.row([
                program.name.clone(),
                runtime,
                whole(warm.rate),
                p50,
                p90,
                p99,
                p999,
                max,
                idle,
                busy,
            ]);
        }
    }
    table
}

fn memory(results: &Results) -> Table {
    let columns = ["runtime", "functions were", "each", "in 512 MiB"];
    let mut table = Table::new("Memory of many functions", columns);
    for curve in results.memory.iter().flat_map(|memory| &memory.curves) {
        let state = match curve.state {
            MemoryState::Idle => "idle",
            MemoryState::Invoked => "invoked once",
        };
        let fit = curve.fit_in_512_mib.map_or_else(|| "-".to_owned(), |fit| fit.to_string());
        let each = text(curve.bytes_per_function, kibibytes);
        table.row([format!("{:?}", curve.runtime), state.to_owned(), each, fit]);
    }
    table
}

fn targets(results: &Results) -> Table {
    let mut table = Table::new(
        "Targets: requests per second",
        ["target", "conns", "rate", "p50", "p99", "bramble to it"],
    );
    for comparison in &results.comparisons {
        for side in &comparison.sides {
            let ratios = side.first_to_this.as_ref().map(|rounds| spread(rounds).text(ratio));
            table.row([
                side.name.clone(),
                comparison.connections.to_string(),
                spread(&side.requests_per_second).text(whole),
                time(side.latency.p50_ns as f64),
                time(side.latency.p99_ns as f64),
                ratios.unwrap_or_default(),
            ]);
        }
    }
    table
}

fn spread(rounds: &Rounds) -> Spread {
    Spread { median: rounds.median, min: rounds.min, max: rounds.max }
}

#[cfg(test)]
mod tests {
    use super::super::results::Verdict;
    use super::*;

    #[test]
    fn a_processor_has_a_short_name() {
        for (cpu, name) in [
            ("Intel(R) Xeon(R) CPU E5-2680 v4 @ 2.40GHz", "intel-xeon-e5-2680-v4"),
            ("Raspberry Pi 4 Model B Rev 1.4", "raspberry-pi-4-model-b-rev-1-4"),
            ("unknown", "unknown"),
            ("", "unknown"),
        ] {
            assert_eq!(slug(cpu), name);
        }
    }

    #[test]
    fn a_tail_is_judged_at_half_of_the_best_or_not_at_all() {
        let mut program = super::super::report::sample::sample().programs.remove(0);
        let run = program.runtimes.iter_mut().find(|run| run.runtime == Runtime::Wasm).unwrap();
        run.throughput.truncate(1);
        run.throughput[0].requests_per_second = Rounds::of([60_000.0]).unwrap();
        run.load_curve.truncate(1);
        let mut tail_at = |rate, achieved| {
            let run = program.runtimes.iter_mut().find(|run| run.runtime == Runtime::Wasm).unwrap();
            let rounds = |nanos: f64| Rounds::of([nanos]).unwrap();
            let point = &mut run.load_curve[0];
            (point.rate, point.achieved, point.unsent) = (rate, achieved, 0);
            (point.p50_ns, point.p99_ns) = (rounds(100.0), rounds(300.0));
            let tail = tail(&program).unwrap();
            (tail.verdict, tail.measured)
        };
        assert_eq!(tail_at(30_000.0, 29_900.0), (Verdict::Met, "3.00 (30000 due a second)".to_owned()));
        let late = "3.00 (30000 due a second, 25000 answered)".to_owned();
        assert_eq!(tail_at(30_000.0, 25_000.0), (Verdict::Met, late));
        let third = "the nearest schedule was 33 % of its best".to_owned();
        assert_eq!(tail_at(20_000.0, 20_000.0), (Verdict::NotMeasured, third));
    }
}
