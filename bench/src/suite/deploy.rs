//! Deploying a module of 1 MiB, and what a function that runs meanwhile feels of it.

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use bytes::Bytes;
use serde_json::Value;

use super::cold::nanos;
use super::effort::Effort;
use super::programs::marked;
use super::results::{Deploy, Rounds};
use super::subject::Subject;
use super::warm::{OPEN_CONNECTIONS, load_point};
use crate::guests;
use crate::load::{self, Load, Outcome, Pace, Target};
use crate::report::progress;
use crate::wait;

/// Bytes of the module.
const MODULE_BYTES: usize = 1 << 20;
/// Requests per second of the function that runs meanwhile: what a busy function of a small machine gets.
const RATE: f64 = 500.0;
const WARM_UP: Duration = Duration::from_millis(500);
const BODY: &[u8] = &[b'x'; 100];

/// Deploys in rounds: with nothing else going on, then a load without and with deployments beside it.
///
/// # Errors
/// When the gateway refuses a module or the running function does not answer as it should.
pub(super) fn measure(subject: &Subject, effort: &Effort) -> Result<Deploy> {
    let (rounds, turn) = (effort.deploy_rounds, effort.deploy_turn);
    let padded = guests::padded_echo(MODULE_BYTES);
    let mut deploy = Deploy {
        module_bytes: padded.len() as u64,
        first_ns: Vec::new(),
        again_ns: Vec::new(),
        before: None,
        during: None,
        p99_ratio: None,
    };
    let neighbour = echo(subject, "neighbour")?;
    run(&neighbour, WARM_UP)?;
    let (mut before, mut during) = (Vec::new(), Vec::new());
    for round in 1..=rounds {
        progress(format_args!("deploying 1 MiB: round {round} of {rounds}"));
        wait::go_on()?;
        let wasm = marked(&padded, fastrand::u128(..));
        deploy.first_ns.push(nanos(upload(subject, "large", &wasm)?));
        deploy.again_ns.push(nanos(upload(subject, "large-again", &wasm)?));
        before.push(run(&neighbour, turn)?);
        during.push(beside(subject, &padded, || run(&neighbour, turn))?);
    }
    let p99 = |outcome: &Outcome| outcome.latencies.percentiles().p99_ns as f64;
    deploy.p99_ratio =
        Rounds::of(before.iter().zip(&during).map(|(before, during)| p99(during) / p99(before)));
    deploy.before = load_point(RATE, OPEN_CONNECTIONS, &before);
    deploy.during = load_point(RATE, OPEN_CONNECTIONS, &during);
    Ok(deploy)
}

/// Deploys the least of echoes, and checks it.
///
/// # Errors
/// When the gateway refuses it or it does not echo.
pub(super) fn echo(subject: &Subject, name: &str) -> Result<Target> {
    let name = subject.name(name);
    let wasm = marked(&guests::echo(), fastrand::u128(..));
    let mut api = subject.api()?;
    subject.stored(&api.put_module(&wasm)?);
    api.upload(&name, &wasm)?;
    anyhow::ensure!(api.invoke(&name, BODY)? == BODY, "{name} does not echo");
    Ok(Target::post(subject.address, &format!("/function/{name}"), BODY))
}

fn run(target: &Target, duration: Duration) -> Result<Outcome> {
    let threads = load::default_threads();
    load::run(target, Load { connections: OPEN_CONNECTIONS, threads, duration, pace: Pace::Open(RATE) })
}

/// Deploys bytes under a new name; how long it took.
fn upload(subject: &Subject, name: &str, wasm: &Bytes) -> Result<Duration> {
    let name = subject.name(name);
    let mut api = subject.api()?;
    let started = Instant::now();
    api.upload(&name, wasm)?;
    let took = started.elapsed();
    // In the answer to an upload is no digest; in the function's status there is.
    let status: Value = api.request("GET", &format!("/system/function/{name}"), None)?;
    subject.stored(status["image"].as_str().context("a function without an image")?);
    Ok(took)
}

/// Does something while modules that nobody has seen are deployed, one after the other.
fn beside(subject: &Subject, padded: &[u8], work: impl FnOnce() -> Result<Outcome>) -> Result<Outcome> {
    let over = AtomicBool::new(false);
    // Names are given out here: they are kept where other threads cannot come.
    let names: Vec<String> = (0..MOST_BESIDE).map(|_| subject.name("beside")).collect();
    let door = subject.door();
    let (outcome, digests, deployed) = std::thread::scope(|scope| {
        let deployer = scope.spawn(|| {
            let mut digests = Vec::new();
            let mut deploy = || -> Result<()> {
                let mut api = door.api()?;
                for name in &names {
                    if over.load(Relaxed) {
                        break;
                    }
                    let digest = api.put_module(&marked(padded, fastrand::u128(..)))?;
                    digests.push(digest.clone());
                    api.deploy(name, &digest)?;
                }
                Ok(())
            };
            let deployed = deploy();
            (digests, deployed)
        });
        let outcome = work();
        over.store(true, Relaxed);
        let (digests, deployed) = deployer.join().expect("the deployer does not panic");
        (outcome, digests, deployed)
    });
    // Also when one of them was refused: the others are there.
    digests.iter().for_each(|digest| subject.stored(digest));
    deployed?;
    outcome
}

/// Deployments beside one round of a load, at most.
const MOST_BESIDE: usize = 32;
