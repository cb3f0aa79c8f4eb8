//! Where, when and how it was measured, and what was not.

use super::names::count;
use super::page::{Block, Cell, Fact, Grid, Section};
use crate::plot::Unit;
use crate::suite::results::{Results, Skipped};

/// Reading a spread, for who has not read the manual.
const SPREADS: &str = "A figure of several rounds is their median, and the small figures are the lowest and the \
                       highest round. Ratios are taken round by round, of two things measured in turns.";

/// What must be said before any figure.
pub(super) fn warnings(results: &Results) -> Vec<String> {
    let machine = &results.machine;
    let mut warnings = Vec::new();
    if machine.profile == "debug" {
        warnings.push("this was a debug build of the benchmark. Its figures mean nothing.".to_owned());
    }
    if !machine.quiet {
        warnings.push(format!(
            "the machine did other work when the run began (load average {:.2} over {}). Trust ratios, not times.",
            machine.load_average_at_start,
            count(machine.cores, "core"),
        ));
    }
    if results.quick {
        warnings.push("this is the short form of the run, with wider spreads.".to_owned());
    }
    if !results.gateway.own {
        warnings.push(
            "the gateway is one that was running already, and not a fresh one: what else it did is in the figures."
                .to_owned(),
        );
    }
    warnings
}

/// The machine and the code.
pub(super) fn facts(results: &Results) -> Vec<Fact> {
    let machine = &results.machine;
    let mut facts = vec![
        Fact { name: "Processor", text: format!("{}, {}", machine.cpu, count(machine.cores, "core")) },
        Fact { name: "Memory", text: Unit::Bytes.text(machine.memory_bytes as f64) },
        Fact { name: "Kernel", text: format!("Linux {}", machine.kernel) },
        Fact { name: "Load before the run", text: format!("{:.2}", machine.load_average_at_start) },
        Fact { name: "Bramble", text: format!("{}, commit {}", results.gateway.version, results.commit) },
        Fact { name: "Compiler", text: machine.rustc.clone() },
        Fact { name: "Begin", text: results.started_at.replace('T', " ").replace('Z', " UTC") },
        Fact { name: "Duration", text: Unit::Clock.text(results.duration_seconds) },
    ];
    if let Some(docker) = &results.gateway.docker {
        facts.insert(5, Fact { name: "Docker", text: docker.clone() });
    }
    facts
}

/// What was not measured, and why.
pub(super) fn skipped(results: &Results) -> Option<Section> {
    let mut grid = Grid::new("Not measured", ["What", "Why"]).stacking();
    for Skipped { what, why } in &results.skipped {
        grid.row([Cell::text(what), Cell::text(why)]);
    }
    let block = grid.block()?;
    Some(Section {
        id: "skipped",
        title: "What was skipped",
        lead: "Left out of this run. Nothing else on the page depends on it.".to_owned(),
        blocks: vec![block],
    })
}

/// How it was measured.
pub(super) fn method(results: &Results) -> Section {
    let mut grid = Grid::new("Programs", ["Name", "What it does", "#Request", "#Answer"]).stacking();
    for program in &results.programs {
        let [request, answer] = [program.request_bytes, program.answer_bytes].map(|bytes| Some(bytes as f64));
        grid.row([
            Cell::text(&program.name),
            Cell::text(&program.about),
            Cell::figure(Unit::Bytes, request),
            Cell::figure(Unit::Bytes, answer),
        ]);
    }
    let list = Block::List { items: results.method.clone() };
    let blocks = [Some(list), grid.block()].into_iter().flatten().collect();
    Section { id: "method", title: "Method", lead: SPREADS.to_owned(), blocks }
}
