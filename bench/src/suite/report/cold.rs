//! Cold starts: how they are distributed, and what they consist of.

use super::names::{self, cold_tint, leading};
use super::page::{Block, Cell, Figure, Grid, Section};
use crate::plot::{Axis, Part, Scale, Stack, Stacks, Strip, StripGroup, Strips, Unit, quantile};
use crate::suite::results::{ColdKind, ColdStart, ColdStarts, Program, ProgramRun, Results, Rounds, Runtime};

/// What a cold start in the middle is made of is told by this part of all starts, by their total.
const MIDDLE: usize = 5;

/// Less than this share of the whole is not drawn as what the parts leave.
const REST_SHARE: f64 = 0.005;

pub(super) fn section(results: &Results) -> Option<Section> {
    let blocks = [distributions(results), parts(results), times(results)];
    let blocks: Vec<Block> = blocks.into_iter().flatten().collect();
    (!blocks.is_empty()).then(|| Section {
        id: "cold",
        title: "Cold starts",
        lead: "The first request to a function that is not running, from sending it to the last byte of the answer. \
               From 0: compiled code or the image is on disk. Frozen: a paused container. New: deployed in that \
               moment, so uploading and compiling, or making the service, are in it."
            .to_owned(),
        blocks,
    })
}

/// The name of a kind in a runtime.
fn name(runtime: Runtime, kind: ColdKind) -> String {
    match kind {
        ColdKind::Frozen => "frozen container".to_owned(),
        _ => format!("{}, {}", names::runtime(runtime), names::cold(kind)),
    }
}

/// In order of what is drawn: the quickest first.
fn kinds(program: &Program) -> Vec<(&ProgramRun, &ColdStarts)> {
    let all = program.runtimes.iter().flat_map(|run| run.cold.iter().map(move |cold| (run, cold)));
    let mut kinds: Vec<_> = all.filter(|(_, cold)| !cold.samples.is_empty()).collect();
    let frozen_between = |kind: ColdKind| kind != ColdKind::Frozen;
    kinds.sort_by_key(|(run, cold)| {
        (run.runtime, frozen_between(cold.kind), cold.kind == ColdKind::New, cold.kind)
    });
    kinds
}

/// Total times, sorted, in nanoseconds.
pub(super) fn totals(cold: &ColdStarts) -> Vec<f64> {
    let mut totals: Vec<f64> = cold.samples.iter().map(|sample| sample.total_ns as f64).collect();
    totals.sort_by(f64::total_cmp);
    totals
}

/// A container's start from 0 to the module's, round by round: both were measured in turns, some starts of the
/// module for each of the container. `None` where one of them has none.
pub(crate) fn from_zero_ratios(program: &Program) -> Option<Rounds> {
    let starts = |runtime| Some(&of(names::run(program, runtime)?, ColdKind::FromZero)?.samples);
    let (wasm, container) = (starts(Runtime::Wasm)?, starts(Runtime::Container)?);
    let each = (wasm.len() / container.len()).max(1);
    let median = |starts: &[ColdStart]| Rounds::of(starts.iter().map(|start| start.total_ns as f64));
    let ratio = |(container, wasm): (&ColdStart, &[ColdStart])| {
        Some(container.total_ns as f64 / median(wasm)?.median)
    };
    Rounds::of(container.iter().zip(wasm.chunks(each)).filter_map(ratio))
}

/// The cold starts of one kind; `None` where there are none.
pub(super) fn of(run: &ProgramRun, kind: ColdKind) -> Option<&ColdStarts> {
    run.cold.iter().find(|cold| cold.kind == kind && !cold.samples.is_empty())
}

fn distributions(results: &Results) -> Option<Block> {
    let strip = |(run, cold): (&ProgramRun, &ColdStarts)| Strip {
        name: name(run.runtime, cold.kind),
        tint: cold_tint(run.runtime, cold.kind),
        values: totals(cold),
    };
    let group = |program: &Program| StripGroup {
        name: program.name.clone(),
        strips: kinds(program)
            .into_iter()
            .filter(|(_, cold)| cold.kind != ColdKind::New)
            .map(strip)
            .collect(),
    };
    let groups: Vec<_> =
        results.programs.iter().map(group).filter(|group| !group.strips.is_empty()).collect();
    let values: Vec<f64> =
        groups.iter().flat_map(|group| &group.strips).flat_map(|strip| strip.values.clone()).collect();
    if values.is_empty() {
        return None;
    }
    let medians = groups
        .iter()
        .flat_map(|group| &group.strips)
        .map(|strip| format!("{}: {}", strip.name, Unit::Nanos.text(quantile(&strip.values, 0.5))));
    let plot = Strips {
        title: "Cold starts: each one a dot, on a logarithmic axis".to_owned(),
        about: format!("Medians: {}.", medians.collect::<Vec<_>>().join("; ")),
        x: Axis {
            name: "from request to answer, logarithmic".to_owned(),
            scale: Scale::log(values),
            unit: Unit::Nanos,
        },
        groups,
    };
    let caption = "The box holds the middle half, the mark in it and the figure beside it are the median. On a logarithmic axis \
                   the same distance is the same factor.";
    Some(Block::Figure(Figure::new("cold-starts", &plot, caption)))
}

fn times(results: &Results) -> Option<Block> {
    let columns = ["Program", "What", "#Starts", "#Median", "#p90", "#Slowest", "#The next request"];
    let mut grid = Grid::new("Cold starts from request to answer, and their parts", columns);
    for program in &results.programs {
        for (run, cold) in kinds(program) {
            let totals = totals(cold);
            let at = |share| Cell::figure(Unit::Nanos, Some(quantile(&totals, share)));
            let mut next: Vec<f64> = cold.next_ns.iter().map(|nanos| *nanos as f64).collect();
            next.sort_by(f64::total_cmp);
            grid.row([
                Cell::text(&program.name),
                Cell::text(name(run.runtime, cold.kind)).note(in_words(&middle(cold))),
                Cell::text(totals.len().to_string()),
                at(0.5),
                at(0.9),
                at(1.0),
                Cell::figure(Unit::Nanos, (!next.is_empty()).then(|| quantile(&next, 0.5))),
            ]);
        }
    }
    grid.block()
}

/// A cold start in the middle: the mean parts of the middle fifth, which add up to about the median.
fn middle(cold: &ColdStarts) -> Vec<Part> {
    let mut samples: Vec<&ColdStart> =
        cold.samples.iter().filter(|sample| !sample.parts.is_empty()).collect();
    samples.sort_by_key(|sample| sample.total_ns);
    // A fifth of them, one or two at least, with as many above as below.
    let taken = (samples.len() / MIDDLE).max(2 - samples.len() % 2).min(samples.len());
    let begin = (samples.len() - taken) / 2;
    let samples = &samples[begin..begin + taken];
    let mut kinds: Vec<_> = samples.iter().flat_map(|sample| &sample.parts).map(|part| part.part).collect();
    kinds.sort_unstable();
    kinds.dedup();
    let count = samples.len().max(1) as f64;
    let mean = |kind| {
        let parts = samples.iter().flat_map(|sample| &sample.parts).filter(|part| part.part == kind);
        parts.map(|part| part.nanos as f64).sum::<f64>() / count
    };
    let mut parts: Vec<Part> = kinds
        .into_iter()
        .map(|kind| Part { name: names::part(kind).to_owned(), value: mean(kind), rest: false })
        .collect();
    let total = samples.iter().map(|sample| sample.total_ns as f64).sum::<f64>() / count;
    let rest = total - parts.iter().map(|part| part.value).sum::<f64>();
    if !parts.is_empty() && rest > total * REST_SHARE {
        parts.push(Part { name: "between".to_owned(), value: rest, rest: true });
    }
    parts
}

fn in_words(parts: &[Part]) -> String {
    let words = parts
        .iter()
        .map(|part| format!("{}\u{a0}{}", part.name, Unit::Nanos.text(part.value).replace(' ', "\u{a0}")));
    words.collect::<Vec<_>>().join(", ")
}

fn parts(results: &Results) -> Option<Block> {
    let program = leading(results)?;
    let stack = |(run, cold): (&ProgramRun, &ColdStarts)| {
        let parts = middle(cold);
        (!parts.is_empty()).then(|| Stack {
            name: name(run.runtime, cold.kind),
            tint: cold_tint(run.runtime, cold.kind),
            unit: Unit::Nanos,
            parts,
        })
    };
    let stacks: Vec<Stack> = kinds(program).into_iter().filter_map(stack).collect();
    if stacks.is_empty() {
        return None;
    }
    let said = stacks.iter().map(|stack| format!("{}: {}", stack.name, in_words(&stack.parts)));
    let plot = Stacks {
        title: format!("What a cold start of {} consists of", program.name),
        about: format!("{}.", said.collect::<Vec<_>>().join("; ")),
        stacks,
    };
    let caption = "Each bar has a scale of its own: its whole length is the time at its right end. Parts are in order of \
                   time; they are means of the middle fifth of all starts, so they add up.";
    Some(Block::Figure(Figure::new("cold-parts", &plot, caption)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::suite::results::{Part as Kind, PartTime};

    #[test]
    fn the_parts_of_the_middle_add_up_to_a_total_in_the_middle() {
        let sample = |total_ns| ColdStart {
            total_ns,
            parts: vec![
                PartTime { part: Kind::Load, nanos: total_ns / 2 },
                PartTime { part: Kind::Instantiate, nanos: total_ns / 4 },
            ],
        };
        let samples = [900, 100, 700, 96, 1].map(sample).to_vec();
        let cold = ColdStarts { kind: ColdKind::FromZero, samples, next_ns: vec![] };
        let parts = middle(&cold);
        let names: Vec<&str> = parts.iter().map(|part| part.name.as_str()).collect();
        assert_eq!(names, ["load", "instantiate", "between"]);
        let total: f64 = parts.iter().map(|part| part.value).sum();
        assert!((total - 100.0).abs() < 1e-9, "{total}");
        assert!(middle(&ColdStarts { samples: vec![], ..cold }).is_empty());
    }

    #[test]
    fn a_start_is_held_against_those_of_its_own_round() {
        let mut program = super::super::sample::sample().programs.remove(0);
        let start = |total_ns| ColdStart { total_ns, parts: vec![] };
        let totals = [(Runtime::Wasm, vec![1, 2, 3, 10, 20, 30]), (Runtime::Container, vec![200, 4_000])];
        for (runtime, totals) in totals {
            let run = program.runtimes.iter_mut().find(|run| run.runtime == runtime).unwrap();
            let samples = totals.into_iter().map(start).collect();
            run.cold = vec![ColdStarts { kind: ColdKind::FromZero, samples, next_ns: vec![] }];
        }
        assert_eq!(from_zero_ratios(&program).unwrap().values, [100.0, 200.0]);
        program.runtimes.retain(|run| run.runtime == Runtime::Wasm);
        assert_eq!(from_zero_ratios(&program), None);
    }
}
