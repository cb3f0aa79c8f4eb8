//! Functions that are running: latency, throughput, latency against load.

use super::names::{self, count, leading, run, runs, tint};
use super::page::{Block, Cell, Figure, Grid, Section, spread};
use crate::plot::{Axis, Key, Lines, Scale, Series, Unit};
use crate::suite::results::{LoadPoint, Program, ProgramRun, Quantiles, Results, Runtime};

pub(super) fn section(results: &Results) -> Option<Section> {
    let blocks = [latency(results), curve(results), throughput(results), energy(results)];
    let blocks: Vec<Block> = blocks.into_iter().flatten().collect();
    (!blocks.is_empty()).then(|| Section {
        id: "warm",
        title: "Warm latency and throughput",
        lead: "Requests sent by a fixed schedule, each latency counted from the instant the request was due: who \
               waits behind a slow one is in the figures. Throughput is measured apart, as many requests as so many \
               connections get through one after the other."
            .to_owned(),
        blocks,
    })
}

fn latency(results: &Results) -> Option<Block> {
    let both = results.programs.iter().any(|program| run(program, Runtime::Container).is_some());
    let columns = ["Program", "Runtime", "#Schedule", "#p50", "#p90", "#p99", "#p99.9"];
    let ratio = both.then_some("#Container's p50 to it");
    let mut grid = Grid::new("Latency at a fixed schedule", columns.into_iter().chain(ratio));
    for (program, this) in runs(results) {
        let Some(warm) = &this.warm else { continue };
        let Quantiles { p50_ns, p90_ns, p99_ns, p999_ns, .. } = warm.latency;
        let container = run(program, Runtime::Container).and_then(|run| run.warm.as_ref());
        let ratio = container
            .filter(|_| this.runtime == Runtime::Wasm)
            .map(|container| container.latency.p50_ns as f64 / p50_ns.max(1) as f64);
        let ratio = ratio.map_or_else(|| Cell::text(""), |ratio| Cell::figure(Unit::Ratio, Some(ratio)));
        let cells = [
            Cell::text(&program.name),
            Cell::text(names::runtime(this.runtime)),
            Cell::rate(warm.rate),
            Cell::time(Some(p50_ns)).note(spread(Unit::Nanos, &warm.p50_ns)),
            Cell::time(Some(p90_ns)),
            Cell::time(Some(p99_ns)),
            Cell::time(Some(p999_ns)),
        ];
        grid.row(cells.into_iter().chain(both.then_some(ratio)));
    }
    grid.block()
}

fn throughput(results: &Results) -> Option<Block> {
    let mut connections: Vec<usize> =
        runs(results).flat_map(|(_, run)| &run.throughput).map(|point| point.connections).collect();
    connections.sort_unstable();
    connections.dedup();
    let columns = ["Program".to_owned(), "Runtime".to_owned()].into_iter();
    let columns =
        columns.chain(connections.iter().map(|number| format!("#{}", count(*number, "connection"))));
    let mut grid = Grid::new("Throughput, requests per second", columns);
    for (program, run) in runs(results).filter(|(_, run)| !run.throughput.is_empty()) {
        let names = [Cell::text(&program.name), Cell::text(names::runtime(run.runtime))];
        let rate = |number: &usize| {
            let point = run.throughput.iter().find(|point| point.connections == *number);
            Cell::rounds(Unit::PerSecond, point.map(|point| &point.requests_per_second))
        };
        grid.row(names.into_iter().chain(connections.iter().map(rate)));
    }
    grid.block()
}

/// Both runtimes' latencies of one program, as the load rises.
fn curve(results: &Results) -> Option<Block> {
    let has_curve = |program: &&Program| program.runtimes.iter().any(|run| run.load_curve.len() > 1);
    let program = leading(results).filter(has_curve).or(results.programs.iter().find(has_curve))?;
    let mut lines = Vec::new();
    for run in program.runtimes.iter().filter(|run| run.load_curve.len() > 1) {
        let line = |quantile: &str, dash, of: fn(&LoadPoint) -> u64| Series {
            name: format!("{} {quantile}", names::runtime(run.runtime)),
            tint: tint(run.runtime),
            dash,
            points: run.load_curve.iter().map(|point| (point.rate, of(point) as f64)).collect(),
            dots: true,
        };
        lines.push(line("p99", 1, |point| point.latency.p99_ns));
        lines.push(line("p50", 0, |point| point.latency.p50_ns));
    }
    let points = || lines.iter().flat_map(|line| &line.points);
    let overloaded = program.runtimes.iter().flat_map(|run| &run.load_curve).filter(|point| point.unsent > 0);
    let overloaded = overloaded.count();
    let plot = Lines {
        title: format!("Latency of {} against load", program.name),
        about: about(program),
        x: Axis {
            name: "requests due per second, logarithmic".to_owned(),
            scale: Scale::log(points().map(|point| point.0)),
            unit: Unit::PerSecond,
        },
        y: Axis {
            name: "latency, logarithmic".to_owned(),
            scale: Scale::log(points().map(|point| point.1)),
            unit: Unit::Nanos,
        },
        area: None,
        lines,
        limits: Vec::new(),
        key: Key::Beside,
        frame_height: 300.0,
    };
    let more = match overloaded {
        0 => String::new(),
        _ => format!(
            " At {} the function could not take all that was due, and latency grows with the time of the measurement.",
            count(overloaded, "point")
        ),
    };
    let caption = format!(
        "Both axes are logarithmic. The rates of each runtime rise until near what it can do, so the lines end where the \
         runtime ends.{more}"
    );
    Some(Block::Figure(Figure::new("latency-load", &plot, caption)))
}

fn about(program: &Program) -> String {
    let of = |run: &ProgramRun| {
        let (first, last) = (run.load_curve.first()?, run.load_curve.last()?);
        let text = |point: &LoadPoint| {
            let time = |nanos: u64| Unit::Nanos.text(nanos as f64);
            let Quantiles { p50_ns, p99_ns, .. } = point.latency;
            format!("at {} p50 {}, p99 {}", Unit::PerSecond.text(point.rate), time(p50_ns), time(p99_ns))
        };
        Some(format!("{}: {}; {}.", names::runtime(run.runtime), text(first), text(last)))
    };
    program.runtimes.iter().filter_map(of).collect::<Vec<_>>().join(" ")
}

fn energy(results: &Results) -> Option<Block> {
    let columns = ["Program", "Runtime", "#1,000 invocations", "#Above idle"];
    let mut grid = Grid::new("Energy of the processor's package", columns);
    for (program, run) in runs(results) {
        let Some(energy) = &run.energy else { continue };
        if energy.joules_per_1000.is_none() {
            continue;
        }
        grid.row([
            Cell::text(&program.name),
            Cell::text(names::runtime(run.runtime)),
            Cell::figure(Unit::Joules, energy.joules_per_1000),
            Cell::figure(Unit::Joules, energy.joules_per_1000_above_idle),
        ]);
    }
    grid.block()
}
