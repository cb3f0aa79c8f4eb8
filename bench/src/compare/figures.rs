//! The figures of a run, each with all its values and a name that is the same in every run.

use crate::plot::Unit;
use crate::suite::report::cold::from_zero_ratios;
use crate::suite::report::names;
use crate::suite::results::{ColdKind, ColdStarts, LoadPoint, Program, ProgramRun, Results, Runtime};

/// One figure.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Figure {
    pub(super) name: String,
    pub(super) unit: Unit,
    pub(super) lower_is_better: bool,
    /// Of rounds, or samples; never empty, all finite.
    pub(super) values: Vec<f64>,
    /// Requests that fell due in a second, where that was the run's choice.
    pub(super) schedule: Option<f64>,
}

impl Figure {
    /// Whether it means something on another machine.
    pub(super) fn is_ratio(&self) -> bool {
        self.unit == Unit::Ratio
    }
}

/// Figures by name, as they are found.
#[derive(Debug, Default)]
struct Figures(Vec<Figure>);

impl Figures {
    fn add(&mut self, name: String, unit: Unit, lower_is_better: bool, values: Vec<f64>) {
        self.add_at(name, unit, lower_is_better, values, None);
    }

    fn add_at(
        &mut self,
        name: String,
        unit: Unit,
        lower_is_better: bool,
        values: Vec<f64>,
        schedule: Option<f64>,
    ) {
        if !values.is_empty() {
            self.0.push(Figure { name, unit, lower_is_better, values, schedule });
        }
    }

    fn times(&mut self, name: String, nanos: &[u64]) {
        self.add(name, Unit::Nanos, true, nanos.iter().map(|nanos| *nanos as f64).collect());
    }

    fn bytes(&mut self, name: String, bytes: Option<f64>) {
        self.add(name, Unit::Bytes, true, bytes.into_iter().collect());
    }
}

/// All figures of a run. Latency against load is not among them: its rates are the run's own.
pub(super) fn figures(results: &Results) -> Vec<Figure> {
    let mut all = Figures::default();
    for budget in &results.budgets {
        if let Some(figure) = &budget.figure {
            let name = format!("budget: {}", budget.what);
            all.add(name, names::unit(figure.unit), figure.lower_is_better, figure.rounds.values.clone());
        }
    }
    for program in &results.programs {
        for run in &program.runtimes {
            program_run(&mut all, &format!("{}, {}", program.name, names::runtime(run.runtime)), run);
        }
    }
    if let Some(memory) = &results.memory {
        all.bytes("memory of the empty gateway".to_owned(), memory.gateway_bytes.map(|bytes| bytes as f64));
        for curve in &memory.curves {
            let (runtime, state) = (names::runtime(curve.runtime), names::state(curve.state));
            all.bytes(
                format!("memory of each further function, {runtime}, {state}"),
                curve.bytes_per_function,
            );
        }
        let density = memory.density_ratio.into_iter().collect();
        all.add("functions in 512 MiB, wasm to container".to_owned(), Unit::Ratio, false, density);
    }
    if let Some(deploy) = &results.deploy {
        all.times("deploying 1 module, new".to_owned(), &deploy.first_ns);
        all.times("deploying 1 module, again".to_owned(), &deploy.again_ns);
        let ratio = deploy.p99_ratio.iter().flat_map(|ratio| ratio.values.clone()).collect();
        all.add("p99 while deploying, to before".to_owned(), Unit::Ratio, true, ratio);
    }
    peers(&mut all, results);
    all.0
}

fn program_run(all: &mut Figures, name: &str, run: &ProgramRun) {
    all.times(format!("{name}: deployment"), &run.deploy_ns);
    for cold in &run.cold {
        let what = format!("{name}: start, {}", names::cold(cold.kind));
        let totals: Vec<u64> = cold.samples.iter().map(|sample| sample.total_ns).collect();
        all.times(what.clone(), &totals);
        let mut parts: Vec<_> =
            cold.samples.iter().flat_map(|sample| &sample.parts).map(|part| part.part).collect();
        parts.sort_unstable();
        parts.dedup();
        for part in parts {
            let times = cold.samples.iter().flat_map(|sample| &sample.parts).filter(|time| time.part == part);
            let times: Vec<u64> = times.map(|time| time.nanos).collect();
            all.times(format!("{what}, of it {}", names::part(part)), &times);
        }
        all.times(format!("{what}, the next request"), &cold.next_ns);
    }
    if let Some(warm) = &run.warm {
        for (quantile, rounds) in [("p50", &warm.p50_ns), ("p99", &warm.p99_ns)] {
            let what = format!("{name}: warm {quantile}");
            all.add_at(what, Unit::Nanos, true, rounds.values.clone(), Some(warm.rate));
        }
    }
    for point in &run.throughput {
        let what = format!("{name}: throughput, {}", connections(point.connections));
        all.add(what, Unit::PerSecond, false, point.requests_per_second.values.clone());
    }
    if let Some(memory) = run.memory {
        all.bytes(format!("{name}: memory, idle"), memory.idle_bytes.map(|bytes| bytes as f64));
        all.bytes(format!("{name}: memory, busy"), memory.busy_bytes.map(|bytes| bytes as f64));
    }
    if let Some(energy) = &run.energy {
        let joules = energy.joules_per_1000.into_iter().collect();
        all.add(format!("{name}: energy of 1,000 invocations"), Unit::Joules, true, joules);
    }
}

fn peers(all: &mut Figures, results: &Results) {
    for comparison in &results.comparisons {
        for side in &comparison.sides {
            let at = format!("{} B at {}", comparison.request_bytes, connections(comparison.connections));
            let rates = side.requests_per_second.values.clone();
            all.add(format!("{}: rate, {at}", side.name), Unit::PerSecond, false, rates);
            if let Some(ratio) = &side.first_to_this {
                let first = comparison.sides.first().map_or("first", |side| side.name.as_str());
                let name = format!("{first}'s rate to {}'s, {at}", side.name);
                all.add(name, Unit::Ratio, false, ratio.values.clone());
            }
        }
    }
}

/// What wasm is to containers in one run, in pairs of what was measured beside each other. More is better for wasm.
pub(super) fn ratios(results: &Results) -> Vec<Figure> {
    let mut all = Figures::default();
    for program in &results.programs {
        let of = |runtime| names::run(program, runtime);
        if let (Some(wasm), Some(container)) = (of(Runtime::Wasm), of(Runtime::Container)) {
            program_ratios(&mut all, program, wasm, container);
        }
    }
    all.0
}

fn program_ratios(all: &mut Figures, program: &Program, wasm: &ProgramRun, container: &ProgramRun) {
    let name = &program.name;
    let from_zero = totals(wasm, ColdKind::FromZero);
    let ratios = from_zero_ratios(program).map(|ratios| ratios.values).unwrap_or_default();
    all.add(format!("{name}: start from 0, container to wasm"), Unit::Ratio, false, ratios);
    let mut add = |what: String, these: &[f64], others: &[f64]| {
        let pairs = these.iter().zip(others).filter(|(_, other)| **other > 0.0);
        let ratios = pairs.map(|(this, other)| this / other).collect();
        all.add(format!("{name}: {what}"), Unit::Ratio, false, ratios);
    };
    add(
        "start, frozen container to wasm from 0".to_owned(),
        &totals(container, ColdKind::Frozen),
        &from_zero,
    );
    let warm =
        |run: &ProgramRun, of: fn(&LoadPoint) -> Vec<f64>| run.warm.as_ref().map(of).unwrap_or_default();
    let p50: fn(&LoadPoint) -> Vec<f64> = |point| point.p50_ns.values.clone();
    let p99: fn(&LoadPoint) -> Vec<f64> = |point| point.p99_ns.values.clone();
    add("warm p50, container to wasm".to_owned(), &warm(container, p50), &warm(wasm, p50));
    add("warm p99, container to wasm".to_owned(), &warm(container, p99), &warm(wasm, p99));
    for point in &wasm.throughput {
        let other = container.throughput.iter().find(|other| other.connections == point.connections);
        if let Some(other) = other {
            let what = format!("throughput, {}, wasm to container", connections(point.connections));
            add(what, &point.requests_per_second.values, &other.requests_per_second.values);
        }
    }
    let idle = |run: &ProgramRun| run.memory.and_then(|memory| memory.idle_bytes).map(|bytes| bytes as f64);
    let [these, others] = [idle(container), idle(wasm)].map(|bytes| bytes.into_iter().collect::<Vec<_>>());
    add("memory, idle, container to wasm".to_owned(), &these, &others);
}

fn connections(number: usize) -> String {
    names::count(number, "connection")
}

fn totals(run: &ProgramRun, kind: ColdKind) -> Vec<f64> {
    let of_kind = |cold: &&ColdStarts| cold.kind == kind;
    let samples = run.cold.iter().filter(of_kind).flat_map(|cold| &cold.samples);
    samples.map(|sample| sample.total_ns as f64).collect()
}
