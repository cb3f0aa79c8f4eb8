//! What things are called on the page, and their colours: the same everywhere.

use crate::plot::Tint;
use crate::suite::results::{ColdKind, FigureUnit, MemoryState, Part, Program, ProgramRun, Results, Runtime};

/// Programs by which the page leads, the first that was measured; else the first of all.
const LEADING: &str = "echo";

/// In a sentence.
pub(crate) fn runtime(runtime: Runtime) -> &'static str {
    match runtime {
        Runtime::Wasm => "wasm",
        Runtime::Container => "container",
    }
}

pub(super) fn tint(runtime: Runtime) -> Tint {
    match runtime {
        Runtime::Wasm => Tint::Blue,
        Runtime::Container => Tint::Orange,
    }
}

/// What was cold, in words.
pub(crate) fn cold(kind: ColdKind) -> &'static str {
    match kind {
        ColdKind::New => "new",
        ColdKind::FromZero => "from 0",
        ColdKind::Restarted => "gateway restarted",
        ColdKind::Frozen => "frozen",
    }
}

pub(super) fn cold_tint(runtime: Runtime, kind: ColdKind) -> Tint {
    match kind {
        ColdKind::Frozen => Tint::Teal,
        ColdKind::New | ColdKind::FromZero | ColdKind::Restarted => tint(runtime),
    }
}

pub(crate) fn part(part: Part) -> &'static str {
    match part {
        Part::Upload => "upload",
        Part::Compile => "compile",
        Part::Load => "load",
        Part::Instantiate => "instantiate",
        Part::Create => "create",
        Part::Schedule => "schedule",
        Part::Start => "start",
        Part::Connect => "connect",
        Part::Thaw => "thaw",
        Part::FirstByte => "run and answer",
    }
}

pub(crate) fn state(state: MemoryState) -> &'static str {
    match state {
        MemoryState::Idle => "never invoked",
        MemoryState::Invoked => "each invoked once",
    }
}

/// The unit that a figure is written in.
pub(crate) fn unit(unit: FigureUnit) -> crate::plot::Unit {
    match unit {
        FigureUnit::Nanos => crate::plot::Unit::Nanos,
        FigureUnit::Bytes => crate::plot::Unit::Bytes,
        FigureUnit::PerSecond => crate::plot::Unit::PerSecond,
        FigureUnit::Ratio => crate::plot::Unit::Ratio,
    }
}

/// The program that plots and headlines are about.
pub(super) fn leading(results: &Results) -> Option<&Program> {
    let named = results.programs.iter().find(|program| program.name == LEADING);
    named.or(results.programs.first())
}

/// What was measured of a program in one runtime.
pub(crate) fn run(program: &Program, runtime: Runtime) -> Option<&ProgramRun> {
    program.runtimes.iter().find(|run| run.runtime == runtime)
}

/// All programs in all their runtimes.
pub(super) fn runs(results: &Results) -> impl Iterator<Item = (&Program, &ProgramRun)> {
    results.programs.iter().flat_map(|program| program.runtimes.iter().map(move |run| (program, run)))
}

/// `1 request`, `2 requests`.
pub(crate) fn count(count: usize, one: &str) -> String {
    if count == 1 { format!("1 {one}") } else { format!("{count} {one}s") }
}
