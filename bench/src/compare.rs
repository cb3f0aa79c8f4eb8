//! `compare`: what became slower or faster between two runs of the suite, beyond the noise.
//!
//! In: two files of results. Out: measuring. The properties that must hold: a run compared with itself
//! differs nowhere, and between two machines no time is held against another, only ratios.

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use clap::Args;
use serde::Serialize;

use crate::suite::read;
use crate::suite::results::{Machine, Results};
use crate::table::Table;

use figures::{Figure, figures, ratios};
use verdict::{Row, judge};

mod figures;
mod rank;
mod verdict;

const RULE: &str = "\
Two figures differ when their medians differ by --minimum, and not by chance: with 5 values or more on both sides by \
the test of Mann and Whitney at 1 %, two-sided; with 2 to 4 values when the ranges leave a gap of --minimum between \
them; with a single value when that gap is twice as wide. All else is `same`. Of so many figures about one in a \
hundred differs by chance all the same, and a machine has better and worse days: measure again what counts, the old \
and the new in turns.

Runs of two machines (another processor, or other numbers of cores and bytes) are compared by ratios alone: budgets \
that are ratios, wasm to container, other servers. Figures are the median and the lowest and highest value; of more \
than 10 values the middle half.

Examples:
  bramble-bench compare bench/results/before bench/results/after
  bramble-bench compare --fail-on-regression --minimum 10 before/results.json after/results.json";

/// What became slower or faster between two runs of the suite, beyond the noise
#[derive(Debug, Clone, Args)]
#[command(after_help = RULE)]
pub(crate) struct Compare {
    /// The run to hold the other against: its directory, or its results.json
    #[arg(value_name = "A")]
    before: PathBuf,
    /// The other run
    #[arg(value_name = "B")]
    after: PathBuf,
    /// Least difference of medians that counts, in per cent
    #[arg(long, value_name = "PER_CENT", default_value_t = 5.0)]
    minimum: f64,
    /// Exit code 1 when a figure became worse, or was not measured any more
    #[arg(long)]
    fail_on_regression: bool,
}

/// All that is said of two runs.
#[derive(Debug, Serialize)]
struct Comparison {
    /// Whether times are compared, or only ratios.
    one_machine: bool,
    notes: Vec<String>,
    /// Of figures that both have, worse ones first.
    rows: Vec<Row>,
    only_in_a: Vec<String>,
    only_in_b: Vec<String>,
}

impl Compare {
    /// Compares, prints, and writes the same as JSON where that is asked for.
    ///
    /// # Errors
    /// When results cannot be read, the JSON cannot be written, or a figure became worse and that is to be an error.
    pub(crate) fn run(&self, json: Option<&Path>) -> Result<()> {
        ensure!(
            self.minimum.is_finite() && self.minimum > 0.0,
            "--minimum: {} is not above 0 per cent",
            self.minimum
        );
        let (a, b) = (read::read(&self.before)?, read::read(&self.after)?);
        let comparison = compare(&a, &b, self.minimum / 100.0);
        // A reader that has seen enough (`| head`) must not cost the exit code.
        let _ = comparison.print(&a, &b);
        if let Some(path) = json {
            let text =
                serde_json::to_string_pretty(&comparison).context("the comparison has no JSON form")? + "\n";
            std::fs::write(path, text)
                .with_context(|| format!("cannot write the comparison to {}", path.display()))?;
        }
        let worse: Vec<&str> = comparison.rows.iter().filter(|row| row.is_worse()).map(Row::name).collect();
        ensure!(
            !self.fail_on_regression || worse.is_empty(),
            "{} of {} figures became worse: {}",
            worse.len(),
            comparison.rows.len(),
            worse.join("; ")
        );
        ensure!(
            !self.fail_on_regression || comparison.only_in_a.is_empty(),
            "{} figures were not measured any more: {}",
            comparison.only_in_a.len(),
            comparison.only_in_a.join("; ")
        );
        Ok(())
    }
}

fn compare(a: &Results, b: &Results, minimum: f64) -> Comparison {
    let one_machine = same_machine(&a.machine, &b.machine);
    let collect = |results: &Results| -> Vec<Figure> {
        let all = figures(results);
        // On one machine these tell nothing that the figures they are made of do not tell.
        if one_machine { all } else { all.into_iter().chain(ratios(results)).collect() }
    };
    let (before, after) = (collect(a), collect(b));
    let mut rows: Vec<Row> = before
        .iter()
        .filter_map(|figure| Some((figure, after.iter().find(|other| other.name == figure.name)?)))
        .filter(|(figure, _)| one_machine || figure.is_ratio())
        .map(|(figure, other)| judge(figure, other, minimum))
        .collect();
    // Stable: in the order of the report otherwise.
    rows.sort_by_key(Row::rank);
    Comparison {
        one_machine,
        notes: notes(a, b),
        rows,
        only_in_a: missing(&before, &after),
        only_in_b: missing(&after, &before),
    }
}

/// Names of figures that are in one and not in the other.
fn missing(these: &[Figure], others: &[Figure]) -> Vec<String> {
    let there = |figure: &&Figure| others.iter().all(|other| other.name != figure.name);
    these.iter().filter(there).map(|figure| figure.name.clone()).collect()
}

/// By what the kernel tells; two machines of one kind are taken for one.
fn same_machine(a: &Machine, b: &Machine) -> bool {
    let memory = a.memory_bytes.abs_diff(b.memory_bytes);
    a.cpu == b.cpu && a.cores == b.cores && memory <= a.memory_bytes.max(b.memory_bytes) / 50
}

/// What makes a comparison weaker than it seems.
fn notes(a: &Results, b: &Results) -> Vec<String> {
    let mut notes = Vec::new();
    for (name, results) in [("A", a), ("B", b)] {
        if results.machine.profile == "debug" {
            notes.push(format!("{name} is a debug build: its figures mean nothing"));
        }
        if !results.machine.quiet {
            let load = results.machine.load_average_at_start;
            notes.push(format!("in {name} the machine did other work (load average {load:.2})"));
        }
    }
    if a.quick != b.quick {
        notes.push("one is the short form of the run, with wider spreads".to_owned());
    }
    if a.machine.kernel != b.machine.kernel {
        notes.push(format!("the kernels differ: {} and {}", a.machine.kernel, b.machine.kernel));
    }
    if a.gateway.docker != b.gateway.docker {
        let version = |results: &Results| results.gateway.docker.clone().unwrap_or_else(|| "none".to_owned());
        notes.push(format!("the Dockers differ: {} and {}", version(a), version(b)));
    }
    notes
}

impl Comparison {
    fn print(&self, a: &Results, b: &Results) -> io::Result<()> {
        let mut out = io::stdout().lock();
        for (name, results) in [("A", a), ("B", b)] {
            let Machine { cpu, cores, .. } = &results.machine;
            writeln!(out, "{name}: {}, commit {}, {cpu}, {cores} cores", results.started_at, results.commit)?;
        }
        let scope = match self.one_machine {
            true => "one machine: all figures are compared",
            false => "two machines: only ratios are compared, no times, rates or bytes",
        };
        writeln!(out, "{scope}")?;
        self.notes.iter().try_for_each(|note| writeln!(out, "note: {note}"))?;
        let mut table = Table::new("Figures", ["figure", "A", "B", "B to A", "verdict"]);
        for row in &self.rows {
            table.row(row.cells());
        }
        write!(out, "{table}")?;
        for (name, only) in [("A", &self.only_in_a), ("B", &self.only_in_b)] {
            if !only.is_empty() {
                writeln!(out, "\nonly in {name}: {}", only.join("; "))?;
            }
        }
        let count = |rank| self.rows.iter().filter(|row| row.rank() == rank).count();
        let [worse, better, same, unknown] = [0, 1, 2, 3].map(count);
        writeln!(out, "\n{worse} worse, {better} better, {same} the same, {unknown} not comparable")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::suite::report::sample::sample;
    use crate::suite::results::{Rounds, Runtime};

    const MINIMUM: f64 = 0.05;

    fn changed(a: &Results, b: &Results) -> Vec<(String, bool)> {
        let rows = compare(a, b, MINIMUM).rows;
        rows.iter().filter(|row| row.rank() < 2).map(|row| (row.name().to_owned(), row.is_worse())).collect()
    }

    #[test]
    fn a_run_compared_with_itself_is_the_same_everywhere() {
        let run = sample();
        let comparison = compare(&run, &run, MINIMUM);
        assert!(comparison.one_machine && comparison.rows.len() > 100);
        assert!(comparison.rows.iter().all(|row| row.rank() == 2), "{:?}", changed(&run, &run));
        assert!(comparison.only_in_a.is_empty() && comparison.only_in_b.is_empty());
    }

    #[test]
    fn each_figure_that_became_30_percent_worse_is_named_and_no_other() {
        let all = figures(&sample());
        for (at, figure) in all.iter().enumerate() {
            let mut others = all.clone();
            let factor = if figure.lower_is_better { 1.3 } else { 1.0 / 1.3 };
            others[at].values.iter_mut().for_each(|value| *value *= factor);
            let worse: Vec<_> = all
                .iter()
                .zip(&others)
                .map(|(a, b)| judge(a, b, MINIMUM))
                .filter(|row| row.rank() != 2)
                .collect();
            let names: Vec<_> = worse.iter().map(|row| (row.name(), row.is_worse())).collect();
            assert_eq!(names, [(figure.name.as_str(), true)]);
            assert_eq!(all.iter().filter(|other| other.name == figure.name).count(), 1, "{}", figure.name);
        }
    }

    #[test]
    fn a_slower_function_is_named_in_results() {
        let (run, mut slow) = (sample(), sample());
        let point = &mut slow.programs[1].runtimes[0].throughput[2];
        let values = point.requests_per_second.values.iter().map(|rate| rate / 1.3);
        point.requests_per_second = Rounds::of(values).unwrap();
        assert_eq!(changed(&run, &slow), [("wordcount, wasm: throughput, 16 connections".to_owned(), true)]);
        assert_eq!(changed(&slow, &run), [("wordcount, wasm: throughput, 16 connections".to_owned(), false)]);
    }

    #[test]
    fn two_machines_are_compared_by_ratios_alone() {
        let (run, mut other) = (sample(), sample());
        other.machine.cpu = "Raspberry Pi 4 Model B Rev 1.4".to_owned();
        // All of it three times as slow: no ratio changes.
        for run in other.programs.iter_mut().flat_map(|program| &mut program.runtimes) {
            for cold in &mut run.cold {
                cold.samples.iter_mut().for_each(|sample| sample.total_ns *= 3);
            }
        }
        let comparison = compare(&run, &other, MINIMUM);
        assert!(!comparison.one_machine && comparison.rows.len() > 20);
        assert!(comparison.rows.iter().all(|row| row.rank() == 2), "{:?}", changed(&run, &other));
        let container = |run: &&mut crate::suite::results::ProgramRun| run.runtime == Runtime::Container;
        for run in other.programs[..1].iter_mut().flat_map(|program| &mut program.runtimes).filter(container)
        {
            let cold = run.cold.iter_mut().flat_map(|cold| &mut cold.samples);
            cold.for_each(|sample| sample.total_ns *= 2);
        }
        let names: Vec<_> = changed(&run, &other);
        let expected =
            ["echo: start from 0, container to wasm", "echo: start, frozen container to wasm from 0"];
        assert_eq!(names, expected.map(|name| (name.to_owned(), false)));
    }

    #[test]
    fn a_regression_fails_only_where_that_is_asked_for() {
        let dir = tempfile::tempdir().unwrap();
        let put = |name: &str, results: &Results| {
            let path = dir.path().join(name);
            std::fs::write(&path, serde_json::to_string(results).unwrap()).unwrap();
            path
        };
        let (run, mut slow) = (sample(), sample());
        slow.programs[0].runtimes[0].deploy_ns.iter_mut().for_each(|nanos| *nanos *= 2);
        let (before, after) = (put("a.json", &run), put("b.json", &slow));
        let check = |before: &PathBuf, after: &PathBuf, fail_on_regression| {
            let [before, after] = [before.clone(), after.clone()];
            let json = dir.path().join("comparison.json");
            Compare { before, after, minimum: 5.0, fail_on_regression }.run(Some(&json))
        };
        check(&before, &after, false).unwrap();
        check(&after, &before, true).unwrap();
        let error = check(&before, &after, true).unwrap_err().to_string();
        assert!(error.ends_with("became worse: echo, wasm: deployment"), "{error}");
        let json: serde_json::Value =
            serde_json::from_slice(&std::fs::read(dir.path().join("comparison.json")).unwrap()).unwrap();
        assert_eq!((&json["rows"][0]["verdict"], &json["one_machine"]), (&"worse".into(), &true.into()));
    }

    #[test]
    fn what_only_one_side_has_is_named() {
        let (run, mut other) = (sample(), sample());
        other.programs.pop();
        let comparison = compare(&run, &other, MINIMUM);
        assert!(comparison.only_in_b.is_empty());
        assert!(comparison.only_in_a.iter().all(|name| name.starts_with("bigstate")));
        assert!(comparison.only_in_a.len() > 10);
    }
}
