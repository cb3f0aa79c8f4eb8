//! Results as a run might leave them, for tests: believable, and the same at every run.

use serde_json::json;

use crate::suite::results::*;

/// Programs, how long each works as a module and as native code, and its module's size.
const PROGRAMS: [(&str, &str, f64, f64, u64); 5] = [
    ("echo", "answers with the request", 4e3, 3e3, 32 << 10),
    ("wordcount", "counts words of 4 KiB", 40e3, 30e3, 68 << 10),
    ("markdown", "renders a page of Markdown", 400e3, 300e3, 410 << 10),
    ("pbkdf2", "derives a key, all arithmetic", 27e6, 7e6, 90 << 10),
    ("bigstate", "holds 50 MiB", 9e6, 8e6, 51 << 20),
];

/// A run with everything in it.
pub(crate) fn sample() -> Results {
    let mut dice = Dice(7);
    let programs: Vec<Program> = PROGRAMS.iter().map(|program| self::program(&mut dice, *program)).collect();
    Results {
        schema_version: SCHEMA_VERSION,
        machine: Machine {
            cpu: "AMD EPYC 7R13 Processor".to_owned(),
            cores: 2,
            memory_bytes: 25_233_186_816,
            kernel: "6.18.5".to_owned(),
            load_average_at_start: 0.12,
            quiet: true,
            rustc: "rustc 1.95.0".to_owned(),
            profile: "release".to_owned(),
        },
        commit: "0123456789ab".to_owned(),
        started_at: "2026-11-20T21:40:03Z".to_owned(),
        duration_seconds: 1_742.0,
        quick: false,
        method: vec![
            "Each program is one source, built as a module and as an image; every answer is checked."
                .to_owned(),
            "Runtimes take turns in rounds, so what the machine does otherwise falls on both.".to_owned(),
        ],
        gateway: Gateway {
            url: "http://127.0.0.1:43211".to_owned(),
            own: true,
            version: "0.1.0".to_owned(),
            info: json!({"orchestration": "bramble"}),
            docker: Some("20.10.24".to_owned()),
        },
        programs,
        memory: Some(memory()),
        deploy: Some(deploy(&mut dice)),
        timelines: vec![timeline(&mut dice, Runtime::Wasm), timeline(&mut dice, Runtime::Container)],
        comparisons: comparisons(&mut dice),
        budgets: budgets(&mut dice),
        skipped: vec![Skipped {
            what: "a guest of Python's size".to_owned(),
            why: "no module of that name is built; scripts/guests.sh python makes it".to_owned(),
        }],
    }
}

/// Numbers that look random (xorshift).
struct Dice(u64);

impl Dice {
    /// From 0 to 1.
    fn roll(&mut self) -> f64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// Around a value, with a tail above it as times have.
    fn around(&mut self, value: f64, spread: f64) -> f64 {
        let bell = (0..6).map(|_| self.roll()).sum::<f64>() / 3.0 - 1.0;
        let tail = if self.roll() > 0.97 { 1.0 + 2.0 * self.roll() } else { 1.0 };
        value * (1.0 + spread * bell) * tail
    }

    /// Around a value, without a tail.
    fn near(&mut self, value: f64, spread: f64) -> f64 {
        value * (1.0 + spread * (self.roll() - 0.5))
    }

    fn rounds(&mut self, value: f64) -> Rounds {
        Rounds::of((0..5).map(|_| self.near(value, 0.06))).expect("five values")
    }
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "times of a sample are positive")]
fn nanos(value: f64) -> u64 {
    value as u64
}

fn quantiles(p50: f64, p99: f64) -> Quantiles {
    let between = |share: f64| nanos(p50 * (p99 / p50).powf(share));
    Quantiles {
        count: 40_000,
        p50_ns: nanos(p50),
        p90_ns: between(0.45),
        p99_ns: nanos(p99),
        p999_ns: between(1.6),
        max_ns: between(2.2),
    }
}

fn point(dice: &mut Dice, rate: f64, p50: f64, p99: f64) -> LoadPoint {
    LoadPoint {
        rate,
        achieved: rate * 0.999,
        unsent: 0,
        connections: 16,
        latency: quantiles(p50, p99),
        p50_ns: dice.rounds(p50),
        p99_ns: dice.rounds(p99),
    }
}

fn program(dice: &mut Dice, (name, about, wasm, native, size): (&str, &str, f64, f64, u64)) -> Program {
    let cold = |dice: &mut Dice, kind, count: usize, parts: &[(Part, f64)]| ColdStarts {
        kind,
        samples: (0..count)
            .map(|_| {
                let parts: Vec<PartTime> = parts
                    .iter()
                    .map(|(part, time)| {
                        // A few values with a tail would hide what tests look for.
                        let time = if count < 10 { dice.near(*time, 0.1) } else { dice.around(*time, 0.25) };
                        PartTime { part: *part, nanos: nanos(time) }
                    })
                    .collect();
                let total = parts.iter().map(|part| part.nanos).sum::<u64>();
                ColdStart { total_ns: total + total / 25, parts }
            })
            .collect(),
        next_ns: (0..count).map(|_| nanos(dice.around(180e3, 0.2))).collect(),
    };
    let load = 120e3 + size as f64 * 0.9;
    let from_zero = [(Part::Load, load), (Part::Instantiate, 30e3), (Part::FirstByte, 150e3 + wasm)];
    let new = [
        (Part::Upload, 900e3 + size as f64),
        (Part::Compile, 9e6 + size as f64 * 90.0),
        (Part::Load, load),
        (Part::Instantiate, 30e3),
        (Part::FirstByte, 150e3 + wasm),
    ];
    let container = [
        (Part::Create, 40e6),
        (Part::Schedule, 95e6),
        (Part::Start, 360e6),
        (Part::Connect, 60e6),
        (Part::FirstByte, 2e6 + native),
    ];
    let frozen = [(Part::Thaw, 11e6), (Part::FirstByte, 3e6 + native)];
    let (slot, fork) = (20e3 + wasm, 700e3 + native);
    let runs = [
        (
            Runtime::Wasm,
            slot,
            size,
            90e3,
            vec![
                cold(dice, ColdKind::New, 20, &new),
                cold(dice, ColdKind::FromZero, 100, &from_zero),
                cold(dice, ColdKind::Restarted, 40, &from_zero),
            ],
        ),
        (
            Runtime::Container,
            fork,
            size + (4 << 20),
            5.5e6,
            vec![
                cold(dice, ColdKind::New, 5, &container),
                cold(dice, ColdKind::FromZero, 20, &container),
                cold(dice, ColdKind::Frozen, 40, &frozen),
            ],
        ),
    ];
    let runtimes = runs.map(|(runtime, service, artifact, idle, cold)| {
        let most = 1.6e9 / service;
        ProgramRun {
            runtime,
            artifact_bytes: Some(artifact),
            deploy_ns: cold[0].samples.iter().map(|sample| sample.total_ns).collect(),
            cold,
            warm: Some(point(dice, (most / 8.0).round(), service * 1.6, service * 4.5)),
            throughput: [1, 8, 16, 64]
                .map(|connections| Throughput {
                    connections,
                    requests_per_second: dice.rounds(most * (1.0 - 0.6 / connections as f64)),
                    latency: quantiles(service * connections as f64, service * 3.0 * connections as f64),
                })
                .to_vec(),
            load_curve: [0.1, 0.25, 0.5, 0.75, 0.9]
                .map(|share| {
                    let wait = 1.0 / (1.0 - share);
                    point(dice, (most * share).round(), service * 1.5 * wait.sqrt(), service * 4.0 * wait)
                })
                .to_vec(),
            memory: Some(FunctionMemory {
                idle_bytes: Some(nanos(idle)),
                busy_bytes: Some(nanos(idle * 9.0)),
                busy_inflight: 16,
            }),
            energy: Some(Energy {
                joules_per_1000: None,
                joules_per_1000_above_idle: None,
                reason: Some("this machine has no counter of energy that can be read".to_owned()),
            }),
        }
    });
    Program {
        name: name.to_owned(),
        about: about.to_owned(),
        request_bytes: 100,
        answer_bytes: 100,
        runtimes: runtimes.into(),
    }
}

fn memory() -> Memory {
    let gateway = 18_u64 << 20;
    let curve = |runtime, state, each: u64, counts: &[u64]| MemoryCurve {
        runtime,
        state,
        points: counts
            .iter()
            .map(|functions| MemoryPoint { functions: *functions, bytes: gateway + functions * each })
            .collect(),
        bytes_per_function: Some(each as f64),
        fit_in_512_mib: Some(((512 << 20) - gateway) / each),
    };
    let many = [1, 10, 100, 1_000, 5_000];
    let few = [1, 5, 10, 20, 40];
    Memory {
        gateway_bytes: Some(gateway),
        curves: vec![
            curve(Runtime::Wasm, MemoryState::Idle, 7 << 10, &many),
            curve(Runtime::Wasm, MemoryState::Invoked, 86 << 10, &many),
            curve(Runtime::Container, MemoryState::Invoked, 5_800 << 10, &few),
        ],
        density_ratio: Some(67.4),
    }
}

fn deploy(dice: &mut Dice) -> Deploy {
    Deploy {
        module_bytes: 1 << 20,
        first_ns: (0..10).map(|_| nanos(dice.near(1.4e9, 0.2))).collect(),
        again_ns: (0..10).map(|_| nanos(dice.near(9e6, 0.2))).collect(),
        before: Some(point(dice, 2_000.0, 80e3, 300e3)),
        during: Some(point(dice, 2_000.0, 84e3, 345e3)),
        p99_ratio: Some(dice.rounds(1.15)),
    }
}

fn timeline(dice: &mut Dice, runtime: Runtime) -> Timeline {
    let (slowest, slots) = if runtime == Runtime::Wasm { (0.3e6, 12.0) } else { (600e6, 6.0) };
    let points = (1..=90_u32).map(|second| {
        let at = f64::from(second);
        let offered = match at {
            at if at < 10.0 => 0.0,
            at if at < 60.0 => 400.0 * ((at - 10.0) / 50.0 * std::f64::consts::PI).sin().max(0.05),
            _ => 0.0,
        };
        let wanted = if (10.0..75.0).contains(&at) { (offered / 400.0 * slots).ceil().max(1.0) } else { 0.0 };
        let busy = offered > 0.0;
        let first = (10.0..12.0).contains(&at);
        let p50 = dice.near(0.5e6, 0.3);
        TimelinePoint {
            at_seconds: at,
            offered_per_second: offered,
            requests_per_second: if busy { dice.near(offered, 0.03) } else { 0.0 },
            failed: 0,
            replicas: nanos(if first && runtime == Runtime::Container { 0.0 } else { wanted }),
            desired_replicas: nanos(wanted),
            p50_ns: busy.then(|| nanos(p50)),
            p99_ns: busy.then(|| nanos(if first { slowest } else { p50 * 4.0 })),
        }
    });
    Timeline { program: "wordcount".to_owned(), runtime, points: points.collect() }
}

fn comparisons(dice: &mut Dice) -> Vec<Comparison> {
    let at = |dice: &mut Dice, connections: usize, rates: [f64; 3]| {
        let names = ["bramble", "spin", "openfaas"];
        let peer = |dice: &mut Dice, (at, name): (usize, &str)| Peer {
            name: name.to_owned(),
            url: format!("http://127.0.0.1:{}/echo", 8_080 + at),
            requests_per_second: dice.rounds(rates[at]),
            latency: quantiles(1e9 * connections as f64 / rates[at], 4e9 * connections as f64 / rates[at]),
            first_to_this: (at > 0).then(|| dice.rounds(rates[0] / rates[at])),
        };
        let sides = names.into_iter().enumerate().map(|side| peer(dice, side)).collect();
        Comparison { connections, request_bytes: 100, sides }
    };
    vec![at(dice, 1, [21_000.0, 11_000.0, 460.0]), at(dice, 16, [71_000.0, 24_000.0, 1_040.0])]
}

fn budgets(dice: &mut Dice) -> Vec<Budget> {
    let mut budget =
        |what: &str, limit: &str, measured: &str, verdict, value: f64, unit, lower_is_better| Budget {
            what: what.to_owned(),
            budget: limit.to_owned(),
            measured: measured.to_owned(),
            verdict,
            figure: Some(BudgetFigure { rounds: dice.rounds(value), unit, lower_is_better }),
        };
    use FigureUnit::{Bytes, Nanos, Ratio};
    use Verdict::{Met, Missed, NotMeasured};
    let mut budgets = vec![
        budget(
            "gateway echo of 100 B at 16 connections, against bare axum",
            ">= 0.80",
            "0.69 (0.63..0.69)",
            Missed,
            0.69,
            Ratio,
            false,
        ),
        budget(
            "in process, fresh instance, echo 100 B: p50",
            "<= 6.00 µs",
            "3.71 µs (3.65..3.80)",
            Met,
            3_710.0,
            Nanos,
            true,
        ),
        budget(
            "cold, json-sum.wasm (96 KiB), HTTP, from 0 replicas: p50",
            "<= 2.00 ms",
            "590 µs",
            Met,
            590e3,
            Nanos,
            true,
        ),
        budget(
            "idle, 50 functions, restarted",
            "<= 40.0 MiB",
            "18.7 MiB",
            Met,
            18.7 * 1_048_576.0,
            Bytes,
            true,
        ),
    ];
    budgets.push(Budget {
        what: "containers".to_owned(),
        budget: String::new(),
        measured: "Docker did not answer at /var/run/docker.sock: start it, or leave containers out"
            .to_owned(),
        verdict: NotMeasured,
        figure: None,
    });
    budgets
}
