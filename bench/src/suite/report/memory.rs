//! Memory against functions, how many fit, and deploying one more.

use super::names::{self, runs, tint};
use super::page::{Block, Cell, Figure, Grid, Section};
use crate::plot::{Axis, Key, Limit, Lines, Scale, Series, Unit, quantile};
use crate::suite::results::{LoadPoint, Memory, MemoryState, Results};

const MIB: f64 = 1_048_576.0;

/// What density is counted in.
const ROOM_MIB: f64 = 512.0;

pub(super) fn section(results: &Results) -> Option<Section> {
    let memory = results.memory.as_ref();
    let blocks = [memory.and_then(plot), memory.and_then(curves), functions(results)];
    let blocks: Vec<Block> = blocks.into_iter().flatten().collect();
    let ratio = memory.and_then(|memory| memory.density_ratio).map_or_else(String::new, |ratio| {
        format!(" In 512 MiB fit {} times as many wasm functions as containers.", Unit::Ratio.text(ratio))
    });
    let empty = memory.and_then(|memory| memory.gateway_bytes).map_or_else(String::new, |bytes| {
        format!(" Without any function it holds {}.", Unit::Bytes.text(bytes as f64))
    });
    (!blocks.is_empty()).then(|| Section {
        id: "memory",
        title: "Memory and density",
        lead: format!(
            "Resident memory of the gateway, and for containers that of all of them beside it.{empty}{ratio}"
        ),
        blocks,
    })
}

fn plot(memory: &Memory) -> Option<Block> {
    let drawn: Vec<_> = memory.curves.iter().filter(|curve| curve.points.len() > 1).collect();
    let lines: Vec<Series> = drawn
        .iter()
        .map(|curve| Series {
            name: format!("{}, {}", names::runtime(curve.runtime), names::state(curve.state)),
            tint: tint(curve.runtime),
            dash: usize::from(curve.state == MemoryState::Idle),
            points: curve
                .points
                .iter()
                .filter(|point| point.functions > 0)
                .map(|point| (point.functions as f64, point.bytes as f64 / MIB))
                .collect(),
            dots: true,
        })
        .collect();
    let points = || lines.iter().flat_map(|line| &line.points);
    points().next()?;
    let ends = lines.iter().filter_map(|line| {
        let (functions, mib) = line.points.last()?;
        let memory = Unit::Bytes.text(mib * MIB);
        Some(format!("{}: {memory} at {} functions", line.name, Unit::Count.text(*functions)))
    });
    let plot = Lines {
        title: "Memory against the number of functions".to_owned(),
        about: format!("{}.", ends.collect::<Vec<_>>().join("; ")),
        x: Axis {
            name: "functions deployed, logarithmic".to_owned(),
            scale: Scale::log(points().map(|point| point.0)),
            unit: Unit::Count,
        },
        y: Axis {
            name: "resident memory, MiB, logarithmic".to_owned(),
            scale: Scale::log(points().map(|point| point.1).chain([ROOM_MIB])),
            unit: Unit::Count,
        },
        area: None,
        limits: vec![Limit { name: "512 MiB".to_owned(), value: ROOM_MIB }],
        key: Key::Beside,
        frame_height: 300.0,
        lines,
    };
    let caption = "Each dot is a measurement. Both axes are logarithmic, so where a line is flat the gateway itself is most \
                   of the memory.";
    Some(Block::Figure(Figure::new("memory", &plot, caption)))
}

fn curves(memory: &Memory) -> Option<Block> {
    let columns = ["Runtime", "Functions", "#Each further one", "#Fit in 512 MiB", "#Most measured"];
    let mut grid = Grid::new("Memory of functions that wait", columns);
    for curve in &memory.curves {
        let most = curve.points.last();
        grid.row([
            Cell::text(names::runtime(curve.runtime)),
            Cell::text(names::state(curve.state)),
            Cell::figure(Unit::Bytes, curve.bytes_per_function),
            Cell::figure(Unit::Count, curve.fit_in_512_mib.map(|fit| fit as f64)),
            Cell::figure(Unit::Count, most.map(|point| point.functions as f64)),
        ]);
    }
    grid.block()
}

fn functions(results: &Results) -> Option<Block> {
    let columns = ["Program", "Runtime", "#Module or image", "#Idle", "#Busy", "#Requests at once"];
    let mut grid = Grid::new("Memory of one function, above the gateway without it", columns);
    for (program, run) in runs(results) {
        let Some(memory) = run.memory else { continue };
        let bytes = |bytes: Option<u64>| Cell::figure(Unit::Bytes, bytes.map(|bytes| bytes as f64));
        grid.row([
            Cell::text(&program.name),
            Cell::text(names::runtime(run.runtime)),
            bytes(run.artifact_bytes),
            bytes(memory.idle_bytes),
            bytes(memory.busy_bytes),
            Cell::text(memory.busy_inflight.to_string()),
        ]);
    }
    grid.block()
}

/// Deploying, and what a running function feels of it.
pub(super) fn deploy(results: &Results) -> Option<Section> {
    let mut blocks = Vec::new();
    let mut grid = Grid::new(
        "Until a new function has answered",
        ["Program", "Runtime", "#Module or image", "#Deployments", "#Median", "#Slowest"],
    );
    for (program, run) in runs(results).filter(|(_, run)| !run.deploy_ns.is_empty()) {
        let [median, slowest] = times(&run.deploy_ns);
        let artifact = run.artifact_bytes.map(|bytes| bytes as f64);
        grid.row([
            Cell::text(&program.name),
            Cell::text(names::runtime(run.runtime)),
            Cell::figure(Unit::Bytes, artifact),
            Cell::text(run.deploy_ns.len().to_string()),
            median,
            slowest,
        ]);
    }
    blocks.extend(grid.block());
    let mut lead = "From sending the deployment, upload included, to the function's first answer.".to_owned();
    if let Some(deploy) = &results.deploy {
        let module = Unit::Bytes.text(deploy.module_bytes as f64);
        let mut grid = Grid::new(
            format!("A module of {module}, while another function runs"),
            ["What", "#Deployments", "#Median", "#Slowest"],
        );
        for (what, nanos) in [("new bytes", &deploy.first_ns), ("the same bytes again", &deploy.again_ns)] {
            if !nanos.is_empty() {
                let [median, slowest] = times(nanos);
                grid.row([Cell::text(what), Cell::text(nanos.len().to_string()), median, slowest]);
            }
        }
        blocks.extend(grid.block());
        let mut grid = Grid::new(
            "The function that runs meanwhile",
            ["When", "#Schedule", "#p50", "#p99", "#p99 to before"],
        );
        let row = |what: &str, point: &LoadPoint, ratio| {
            [
                Cell::text(what),
                Cell::rate(point.rate),
                Cell::rounds(Unit::Nanos, Some(&point.p50_ns)),
                Cell::rounds(Unit::Nanos, Some(&point.p99_ns)),
                ratio,
            ]
        };
        if let Some(before) = &deploy.before {
            grid.row(row("before", before, Cell::text("")));
        }
        if let Some(during) = &deploy.during {
            let ratio = Cell::rounds(Unit::Ratio, deploy.p99_ratio.as_ref());
            grid.row(row("while modules are deployed", during, ratio));
        }
        blocks.extend(grid.block());
        lead += " Compiling has a low priority, so that functions that run keep their pace.";
    }
    (!blocks.is_empty()).then_some(Section { id: "deploy", title: "Deploying", lead, blocks })
}

/// The median and the slowest of some times.
fn times(nanos: &[u64]) -> [Cell; 2] {
    let mut sorted: Vec<f64> = nanos.iter().map(|nanos| *nanos as f64).collect();
    sorted.sort_by(f64::total_cmp);
    [0.5, 1.0].map(|share| Cell::figure(Unit::Nanos, Some(quantile(&sorted, share))))
}
