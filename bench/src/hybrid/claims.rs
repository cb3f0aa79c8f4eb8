//! What hybrids are to be, and whether they were.

use super::Run;
use super::contender::Contender;
use crate::stats::{ratio, time};
use crate::table::Table;

/// The first request while no container is there, where the program itself takes no time.
const FIRST_NS: f64 = 2e6;
/// How far it is to be below a container's own start.
const BELOW_COLD: f64 = 0.99;
/// Mean response to that of one runtime alone.
const MEAN_RATIO: f64 = 1.0;
/// Up to here two are even: exploring may cost 5 % by design.
const EVEN_RATIO: f64 = 1.05;

/// The claims, each marked.
pub(super) fn table(runs: &[Run]) -> Table {
    let mut table = Table::new("Claims", ["what", "claim", "measured", "held"]);
    for run in runs {
        for row in first(run).into_iter().chain(means(run)) {
            table.row([row.what, row.claim, row.measured, row.held.to_owned()]);
        }
    }
    table
}

struct Row {
    what: String,
    claim: String,
    measured: String,
    held: &'static str,
}

fn verdict(held: bool) -> &'static str {
    if held { "yes" } else { "NO" }
}

/// The first request of a session, by the policy that is for it.
fn first(run: &Run) -> Vec<Row> {
    let of = |contender| run.of(contender).map(|figures| figures.first_ns.median);
    let (Some(ours), Some(wasm), Some(cold)) =
        (of(Contender::Bridge), of(Contender::Wasm), of(Contender::Container))
    else {
        return Vec::new();
    };
    let what = format!("{}, bridge, first after idle, p50", run.program.text());
    if !run.program.is_light() {
        // What the module takes is not the router's.
        return vec![Row {
            what: format!("{what}, more than wasm alone"),
            claim: format!("<= {}", time(FIRST_NS)),
            measured: format!("{} of {}; containers {}", time(ours - wasm), time(ours), time(cold)),
            held: verdict(ours - wasm <= FIRST_NS),
        }];
    }
    let below = 1.0 - ours / cold;
    let absolute = Row {
        what: what.clone(),
        claim: format!("<= {}", time(FIRST_NS)),
        measured: time(ours),
        held: verdict(ours <= FIRST_NS),
    };
    let below_cold = Row {
        what: format!("{what}, below a container's start"),
        claim: format!(">= {:.0}%", 100.0 * BELOW_COLD),
        measured: format!("{:.2}% of {}", 100.0 * below, time(cold)),
        held: verdict(below >= BELOW_COLD),
    };
    vec![absolute, below_cold]
}

/// What is said of a ratio of mean responses, where two functions of one kind differed by the factor `noise`.
fn compared(ratio: f64, noise: f64) -> &'static str {
    match ratio {
        ratio if ratio <= MEAN_RATIO => "yes",
        ratio if ratio <= EVEN_RATIO.max(noise) => "even",
        _ => "NO",
    }
}

/// How far two wasm functions that are the same differed in this run, as a factor of 1 or more.
fn noise(run: &Run) -> f64 {
    let pair = run.of(Contender::WasmAgain).zip(run.of(Contender::Wasm));
    let ratio = pair.map_or(1.0, |(again, wasm)| again.against(wasm).all);
    ratio.max(1.0 / ratio)
}

/// Mean responses.
fn means(run: &Run) -> Vec<Row> {
    let noise = noise(run);
    let alone = [(Contender::Wasm, "wasm alone", noise), (Contender::Container, "containers alone", 1.0)];
    let row = |hybrid: &super::Figures, (other, text, noise)| {
        let against = hybrid.against(run.of(other)?);
        Some(Row {
            what: format!("{}, {}, mean response to {text}", run.program.text(), hybrid.contender.text()),
            claim: format!("<= {}", ratio(MEAN_RATIO)),
            measured: match noise > 1.0 {
                true => format!("{}; two wasm functions {}", ratio(against.all), ratio(noise)),
                false => ratio(against.all),
            },
            held: compared(against.all, noise),
        })
    };
    let rows = run.hybrids().flat_map(|hybrid| alone.map(|other| row(hybrid, other)));
    rows.flatten().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_slower_is_not_held() {
        for (ratio, said) in [(0.6, "yes"), (1.0, "yes"), (1.01, "even"), (1.06, "NO"), (f64::NAN, "NO")] {
            assert_eq!(compared(ratio, 1.0), said, "{ratio}");
        }
        assert_eq!((compared(1.2, 1.25), compared(1.3, 1.25)), ("even", "NO"));
    }
}
