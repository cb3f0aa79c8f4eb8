//! `results.json`: what a run of the suite leaves behind, and what reports and comparisons read.
//!
//! In: plain data, the same in memory and in the file. Out: how it was measured and how it is shown.
//! The property that must hold: a file of this [`SCHEMA_VERSION`] can always be read. Fields are only
//! added, each with `#[serde(default)]`; what changes its meaning gets another version.
//!
//! Times are nanoseconds in integers, rates are in a second, memory is bytes. No number is NaN or
//! infinite: what could not be measured is absent (`null`), and [`Results::skipped`] says why.

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// The version of this form.
pub const SCHEMA_VERSION: u32 = 1;

/// The file's name in the directory of a run.
pub const FILE: &str = "results.json";

/// One run of the suite.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Results {
    /// [`SCHEMA_VERSION`] of whoever wrote it.
    pub schema_version: u32,
    /// Where the client ran, which is where the gateway ran too unless [`Gateway::own`] is false.
    pub machine: Machine,
    /// Of the gateway that was measured, as it tells it; else of the checkout; else `unknown`.
    pub commit: String,
    /// RFC 3339, UTC.
    pub started_at: String,
    /// The whole run.
    pub duration_seconds: f64,
    /// Whether it was the short form, whose spreads are wider.
    pub quick: bool,
    /// How it was measured, a sentence or two in each line.
    pub method: Vec<String>,
    /// What was measured.
    pub gateway: Gateway,
    /// Each program in each runtime, in the order they were measured.
    pub programs: Vec<Program>,
    /// How memory grows with functions; `None` when the gateway's memory cannot be seen.
    pub memory: Option<Memory>,
    /// Deploying, and what a running function feels of it.
    pub deploy: Option<Deploy>,
    /// Runs from 0 replicas up and back to 0, one for each runtime that was run.
    pub timelines: Vec<Timeline>,
    /// The gateway beside the URLs of `--target`, by the same client in turns.
    pub comparisons: Vec<Comparison>,
    /// The design's budgets with what was measured.
    pub budgets: Vec<Budget>,
    /// What was not measured.
    pub skipped: Vec<Skipped>,
}

/// The machine, as the kernel tells it. Nothing that names its owner.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Machine {
    /// The processor's model, or the board's.
    pub cpu: String,
    /// Cores that the run could use.
    pub cores: usize,
    /// Main memory.
    pub memory_bytes: u64,
    /// The kernel's release.
    pub kernel: String,
    /// Runnable tasks over the minute before anything was measured.
    pub load_average_at_start: f64,
    /// Whether that was little enough to trust times, and not only ratios.
    pub quiet: bool,
    /// The compiler of the bench.
    pub rustc: String,
    /// `release` or `debug`; figures of the latter mean nothing.
    pub profile: String,
}

/// The gateway that was measured.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Gateway {
    /// Its address, as it was called.
    pub url: String,
    /// Whether the run started it for itself, on a fresh data directory.
    pub own: bool,
    /// Its release.
    pub version: String,
    /// What it answers on `/system/info`.
    pub info: Value,
    /// The Docker's version, when containers were measured.
    pub docker: Option<String>,
}

/// Where a function runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Runtime {
    /// A fresh instance of a module, in the gateway's process.
    Wasm,
    /// A container with the watchdog in front of the same program.
    Container,
}

/// One program: the same source as a module and as an image.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Program {
    /// As in the examples' manifest.
    pub name: String,
    /// What it does, in some words.
    pub about: String,
    /// What each request sent.
    pub request_bytes: u64,
    /// What each answer was checked to be, byte for byte on the first request and by length afterwards.
    pub answer_bytes: u64,
    /// What was measured of it in each runtime; at most one entry for each.
    pub runtimes: Vec<ProgramRun>,
}

/// One program in one runtime.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ProgramRun {
    /// Where it ran.
    pub runtime: Runtime,
    /// Bytes of the module, or of the image's layers.
    pub artifact_bytes: Option<u64>,
    /// From the request to deploy, upload included, until the function had answered once.
    pub deploy_ns: Vec<u64>,
    /// Cold starts, one entry for each kind that was measured.
    pub cold: Vec<ColdStarts>,
    /// Open loop at a fixed schedule, well below what it can do.
    pub warm: Option<LoadPoint>,
    /// Closed loop, one entry for each number of connections.
    pub throughput: Vec<Throughput>,
    /// Open loop at rising rates, the last ones near what it can do.
    pub load_curve: Vec<LoadPoint>,
    /// Memory of this function alone.
    pub memory: Option<FunctionMemory>,
    /// `None` when it was not asked for; see [`Energy::reason`] for where the machine does not tell it.
    pub energy: Option<Energy>,
}

/// What was cold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ColdKind {
    /// Never seen before: upload (or the service's making), compilation, first answer.
    New,
    /// Scaled to 0, then asked: compiled code is on disk; a container's image is there.
    FromZero,
    /// The first request to a function after the gateway's process was started again.
    Restarted,
    /// A paused container, thawed by a request.
    Frozen,
}

/// Cold starts of one kind.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ColdStarts {
    /// What was cold.
    pub kind: ColdKind,
    /// In the order they were made.
    pub samples: Vec<ColdStart>,
    /// The request right behind each, for comparison; as many as `samples`, or none.
    pub next_ns: Vec<u64>,
}

/// One cold start.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ColdStart {
    /// From sending the request to the answer's last byte.
    pub total_ns: u64,
    /// Its parts in order of time, those that are known. They do not overlap; what they leave of the total
    /// is spent between them.
    pub parts: Vec<PartTime>,
}

/// How long a part of a cold start took.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartTime {
    /// Which.
    pub part: Part,
    /// How long.
    pub nanos: u64,
}

/// The parts of cold starts: of wasm the first five, of containers the rest, each in order of time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Part {
    /// wasm: the bytes to the gateway, checked and stored.
    Upload,
    /// wasm: making machine code of it.
    Compile,
    /// wasm: code from disk into memory, linked.
    Load,
    /// wasm: a fresh instance.
    Instantiate,
    /// Container: the service's task made, as the Swarm tells it.
    Create,
    /// Container: the task on a node, and accepted there.
    Schedule,
    /// Container: the container made and started, as Docker tells it.
    Start,
    /// Container: from a started process to a replica the gateway sends a request to.
    Connect,
    /// A paused container running again.
    Thaw,
    /// Both: the rest, to the answer: running the program, and HTTP.
    FirstByte,
}

/// Latencies, from a histogram with three digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Quantiles {
    /// Answers.
    pub count: u64,
    /// Median.
    pub p50_ns: u64,
    /// 90 %.
    pub p90_ns: u64,
    /// 99 %.
    pub p99_ns: u64,
    /// 99.9 %.
    pub p999_ns: u64,
    /// The slowest.
    pub max_ns: u64,
}

/// A figure that was taken in several rounds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Rounds {
    /// Each round's, in order; never empty.
    pub values: Vec<f64>,
    /// Of the values.
    pub median: f64,
    /// Of the values.
    pub min: f64,
    /// Of the values.
    pub max: f64,
}

/// Requests by the clock, latency from the instant each was due.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LoadPoint {
    /// Requests that fell due in a second.
    pub rate: f64,
    /// Requests that were answered in a second.
    pub achieved: f64,
    /// Requests that were due and could not be sent in time; above 0 the function was overloaded.
    pub unsent: u64,
    /// Connections the schedule was spread over.
    pub connections: usize,
    /// Of all rounds together.
    pub latency: Quantiles,
    /// The p50 of each round.
    pub p50_ns: Rounds,
    /// The p99 of each round.
    pub p99_ns: Rounds,
}

/// As many requests as so many connections get through.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Throughput {
    /// Each with one request on its way.
    pub connections: usize,
    /// Round by round.
    pub requests_per_second: Rounds,
    /// Of all rounds together, from sending to the last byte.
    pub latency: Quantiles,
}

/// Memory of one function.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct FunctionMemory {
    /// More than without the function, deployed and invoked once, nothing running.
    pub idle_bytes: Option<u64>,
    /// The most above that level of no function while it was under load.
    pub busy_bytes: Option<u64>,
    /// Requests at once when it was busy.
    pub busy_inflight: usize,
}

/// Energy as the processor's own counters tell it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Energy {
    /// For 1,000 invocations, all of the package's energy while they ran; `None` when it is not told.
    pub joules_per_1000: Option<f64>,
    /// The same, less what the package used while idle.
    pub joules_per_1000_above_idle: Option<f64>,
    /// Why there is no figure.
    pub reason: Option<String>,
}

/// Memory against functions.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Memory {
    /// The gateway's process without any function.
    pub gateway_bytes: Option<u64>,
    /// One for each runtime and state that was measured.
    pub curves: Vec<MemoryCurve>,
    /// Functions of the wasm runtime to those of containers that fit in 512 MiB, idle.
    pub density_ratio: Option<f64>,
}

/// What the functions of a curve had done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MemoryState {
    /// Deployed, never invoked.
    Idle,
    /// Each was invoked once and waits.
    Invoked,
}

/// How memory grows with the number of functions.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MemoryCurve {
    /// Where they run.
    pub runtime: Runtime,
    /// What they had done.
    pub state: MemoryState,
    /// In order of the number of functions.
    pub points: Vec<MemoryPoint>,
    /// The slope, by least squares.
    pub bytes_per_function: Option<f64>,
    /// How many fit in 512 MiB with the gateway, by the line through the points.
    pub fit_in_512_mib: Option<u64>,
}

/// One point of a [`MemoryCurve`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemoryPoint {
    /// Functions deployed.
    pub functions: u64,
    /// The gateway's resident memory, and of containers that of all of them.
    pub bytes: u64,
}

/// Deploying a module of 1 MiB while another function runs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Deploy {
    /// Bytes of the module.
    pub module_bytes: u64,
    /// Bytes that the gateway had not seen, until they were deployed.
    pub first_ns: Vec<u64>,
    /// The same bytes again under another name.
    pub again_ns: Vec<u64>,
    /// The running function without deployments.
    pub before: Option<LoadPoint>,
    /// The same schedule while modules are deployed one after the other.
    pub during: Option<LoadPoint>,
    /// The p99 during to the p99 before, round by round.
    pub p99_ratio: Option<Rounds>,
}

/// A run from 0 replicas up and back.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Timeline {
    /// The program's name.
    pub program: String,
    /// Where it ran.
    pub runtime: Runtime,
    /// In order of time.
    pub points: Vec<TimelinePoint>,
}

/// What was seen in one interval.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct TimelinePoint {
    /// The interval's end, since the start of the run.
    pub at_seconds: f64,
    /// Requests that fell due in a second.
    pub offered_per_second: f64,
    /// Requests that were answered in a second.
    pub requests_per_second: f64,
    /// Requests that were answered by anything but the right answer.
    pub failed: u64,
    /// Replicas that were there at the end of the interval.
    pub replicas: u64,
    /// Replicas that were asked for.
    pub desired_replicas: u64,
    /// Of what was answered in the interval, from the instant it was due.
    pub p50_ns: Option<u64>,
    /// Of the same.
    pub p99_ns: Option<u64>,
}

/// The same requests to the gateway and to others, in turns.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Comparison {
    /// Connections of the closed loop.
    pub connections: usize,
    /// What each request sent.
    pub request_bytes: u64,
    /// The gateway's echo first, then the targets as they were named.
    pub sides: Vec<Peer>,
}

/// One of those that are compared.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Peer {
    /// `bramble`, or as it was named.
    pub name: String,
    /// Where it was asked.
    pub url: String,
    /// Round by round.
    pub requests_per_second: Rounds,
    /// Of all rounds together.
    pub latency: Quantiles,
    /// The first side's rate to this one's, round by round; `None` on the first.
    pub first_to_this: Option<Rounds>,
}

/// One budget and what came of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Budget {
    /// What it is about.
    pub what: String,
    /// The limit, as text: `<= 2.00 ms`. Empty when a whole bench could not run.
    pub budget: String,
    /// What was measured, as text, or why it was not.
    pub measured: String,
    /// Whether it holds.
    pub verdict: Verdict,
    /// The number behind `measured`, for comparing runs; `None` when it was not measured.
    #[serde(default)]
    pub figure: Option<BudgetFigure>,
}

/// What is held against a budget, as a number.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct BudgetFigure {
    /// Round by round; one value where it is measured once.
    pub rounds: Rounds,
    /// What it counts. Only ratios are compared between machines.
    pub unit: FigureUnit,
    /// Whether less is better.
    pub lower_is_better: bool,
}

/// What a figure counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FigureUnit {
    /// A time in nanoseconds.
    Nanos,
    /// Bytes of memory.
    Bytes,
    /// Requests in a second.
    PerSecond,
    /// One figure divided by another of the same run.
    Ratio,
}

/// Whether a budget holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// It does.
    Met,
    /// It does not.
    Missed,
    /// Nobody knows.
    NotMeasured,
}

/// What was not measured.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Skipped {
    /// What.
    pub what: String,
    /// The reason, and what would help.
    pub why: String,
}

impl Rounds {
    /// Of finite values; `None` without any.
    pub fn of(values: impl IntoIterator<Item = f64>) -> Option<Self> {
        let values: Vec<f64> = values.into_iter().filter(|value| value.is_finite()).collect();
        let mut sorted = values.clone();
        sorted.sort_by(f64::total_cmp);
        let (&min, &max) = (sorted.first()?, sorted.last()?);
        let middle = sorted.len() / 2;
        let median = match sorted.len() % 2 {
            1 => sorted[middle],
            _ => f64::midpoint(sorted[middle - 1], sorted[middle]),
        };
        Some(Self { values, median, min, max })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rounds_are_of_finite_values_only() {
        let rounds = Rounds::of([3.0, f64::NAN, 1.0]).unwrap();
        assert_eq!((rounds.min, rounds.median, rounds.max), (1.0, 2.0, 3.0));
        assert_eq!(rounds.values, [3.0, 1.0]);
        assert_eq!(Rounds::of([f64::INFINITY]), None);
    }
}
