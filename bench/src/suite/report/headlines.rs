//! What the run says in a few figures.

use super::cold::{from_zero_ratios, of, totals};
use super::names::{leading, run};
use super::page::Headline;
use crate::plot::{Unit, quantile};
use crate::suite::results::{ColdKind, MemoryState, Program, Results, Runtime, Throughput, Verdict};

/// What the page is about.
pub(super) fn subject(results: &Results) -> &'static str {
    let mut runtimes: Vec<Runtime> =
        results.programs.iter().flat_map(|program| &program.runtimes).map(|run| run.runtime).collect();
    runtimes.sort_unstable();
    runtimes.dedup();
    match runtimes[..] {
        [Runtime::Wasm] => "Functions as wasm",
        [Runtime::Container] => "Functions as containers",
        _ => "The same programs as wasm and as containers",
    }
}

/// One sentence about the whole run.
pub(super) fn lead(results: &Results) -> String {
    let Some(program) = leading(results) else {
        return "What was measured, how, and what came of it.".to_owned();
    };
    let median = |runtime| {
        let cold = of(run(program, runtime)?, ColdKind::FromZero)?;
        Some(quantile(&totals(cold), 0.5))
    };
    match (median(Runtime::Wasm), median(Runtime::Container)) {
        (Some(wasm), Some(container)) => format!(
            "From 0 replicas, {} answers its first request in {} as a WebAssembly module in the gateway's process, and \
             in {} as a container: {} the time.",
            program.name,
            Unit::Nanos.text(wasm),
            Unit::Nanos.text(container),
            from_zero_ratios(program).map_or_else(String::new, |ratios| times(ratios.median)),
        ),
        (Some(wasm), None) => format!(
            "From 0 replicas, {} answers its first request in {} as a WebAssembly module in the gateway's process.",
            program.name,
            Unit::Nanos.text(wasm),
        ),
        _ => "The same programs, measured by the same client in the same run.".to_owned(),
    }
}

/// The large figures, those that were measured.
pub(super) fn headlines(results: &Results) -> Vec<Headline> {
    let program = leading(results);
    let all = [
        program.and_then(cold),
        program.and_then(latency),
        program.and_then(throughput),
        density(results),
        budgets(results),
    ];
    all.into_iter().flatten().collect()
}

fn cold(program: &Program) -> Option<Headline> {
    let median = |runtime, kind| Some(quantile(&totals(of(run(program, runtime)?, kind)?), 0.5));
    let wasm = median(Runtime::Wasm, ColdKind::FromZero)?;
    let container = median(Runtime::Container, ColdKind::FromZero).map(|container| {
        let frozen = median(Runtime::Container, ColdKind::Frozen);
        let frozen = frozen.map_or(String::new(), |frozen| format!(", frozen {}", Unit::Nanos.text(frozen)));
        let ratio = from_zero_ratios(program).map_or_else(String::new, |ratios| {
            let [min, max] = [ratios.min, ratios.max].map(|ratio| Unit::Count.text(ratio.round()));
            format!(": {} the time ({min} to {max})", times(ratios.median))
        });
        format!("median; container {}{frozen}{ratio}", Unit::Nanos.text(container))
    });
    Some(Headline {
        what: format!("Cold start of {}", program.name),
        figure: Unit::Nanos.text(wasm),
        note: container.unwrap_or_else(|| "wasm, from 0 replicas".to_owned()),
    })
}

fn latency(program: &Program) -> Option<Headline> {
    let warm = |runtime| run(program, runtime)?.warm.as_ref();
    let wasm = warm(Runtime::Wasm)?;
    let note = warm(Runtime::Container).map_or_else(
        || format!("at {}", Unit::PerSecond.text(wasm.rate)),
        |container| format!("container {}", Unit::Nanos.text(container.latency.p50_ns as f64)),
    );
    Some(Headline {
        what: format!("Warm p50 of {}", program.name),
        figure: Unit::Nanos.text(wasm.latency.p50_ns as f64),
        note,
    })
}

fn throughput(program: &Program) -> Option<Headline> {
    let best = |throughput: &[Throughput]| {
        let rate = |point: &&Throughput| point.requests_per_second.median;
        throughput.iter().max_by(|a, b| rate(a).total_cmp(&rate(b))).cloned()
    };
    let wasm = best(&run(program, Runtime::Wasm)?.throughput)?;
    let rate = wasm.requests_per_second.median;
    let container = run(program, Runtime::Container).and_then(|run| best(&run.throughput));
    let note = container.map_or_else(String::new, |container| {
        let other = container.requests_per_second.median;
        format!("; container {}, {} as many", Unit::PerSecond.text(other), times(rate / other))
    });
    Some(Headline {
        what: format!("Throughput of {}", program.name),
        figure: Unit::PerSecond.text(rate),
        note: format!("a fresh instance each, {} connections{note}", wasm.connections),
    })
}

fn density(results: &Results) -> Option<Headline> {
    let memory = results.memory.as_ref()?;
    let fit = |runtime| {
        let of = |state| memory.curves.iter().find(|curve| curve.runtime == runtime && curve.state == state);
        of(MemoryState::Invoked).or(of(MemoryState::Idle))?.fit_in_512_mib
    };
    let wasm = fit(Runtime::Wasm)?;
    let note = fit(Runtime::Container).map_or_else(
        || "wasm".to_owned(),
        |container| format!("containers: {}", Unit::Count.text(container as f64)),
    );
    Some(Headline { what: "Functions in 512 MiB".to_owned(), figure: Unit::Count.text(wasm as f64), note })
}

fn budgets(results: &Results) -> Option<Headline> {
    let count = |verdict| results.budgets.iter().filter(|budget| budget.verdict == verdict).count();
    let (met, missed, unknown) = (count(Verdict::Met), count(Verdict::Missed), count(Verdict::NotMeasured));
    let note = match unknown {
        0 => "all were measured".to_owned(),
        _ => format!("{unknown} not measured"),
    };
    (met + missed > 0).then(|| Headline {
        what: "Budgets met".to_owned(),
        figure: format!("{met} of {}", met + missed),
        note,
    })
}

/// `1,400 times`, `2.3 times`.
fn times(ratio: f64) -> String {
    let text = if ratio >= 10.0 { Unit::Count.text(ratio.round()) } else { format!("{ratio:.1}") };
    format!("{text} times")
}
