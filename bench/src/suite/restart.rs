//! A program alone in a gateway of its own that is started again and again: the first request to a fresh
//! process, and the memory of one function.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use serde_json::json;

use super::cold::{nanos, wasm_parts};
use super::metrics::Metrics;
use super::programs::Sample;
use super::results::{ColdKind, ColdStart, ColdStarts, FunctionMemory, Runtime};
use super::subject::resident_bytes;
use crate::api::Api;
use crate::gateway::GatewayProcess;
use crate::load::{self, Load, Pace, Target, post};
use crate::wait;

/// Requests at once when a function is busy.
pub(super) const BUSY: usize = 8;
/// Between two looks at the memory of something busy.
const LOOK: Duration = Duration::from_millis(20);
/// A pause after which a process that does nothing holds what it holds.
const SETTLE: Duration = Duration::from_millis(300);
/// Between two looks at whether it takes requests.
const READY: Duration = Duration::from_millis(5);
const LIMIT: Duration = Duration::from_secs(30);
const NAME: &str = "bench-restarted";
const FLAGS: [&str; 1] = ["--docker-host=unix:///nonexistent/bramble-bench.sock"];

/// Starts a gateway with the one function so often, and asks it; looks at the memory of the last.
///
/// # Errors
/// When the gateway does not start, or an answer is wrong.
pub(super) fn measure(
    program: &Path,
    sample: &Sample,
    restarts: usize,
    busy: Duration,
) -> Result<(ColdStarts, FunctionMemory)> {
    let dir = tempfile::tempdir().context("cannot make a temporary directory")?;
    let gateway = start(program, dir.path())?;
    let mut api = Api::connect(gateway.address)?;
    let digest = api.put_module(&sample.wasm)?;
    let mut document = json!({
        "service": NAME, "image": digest, "envVars": sample.env, "annotations": sample.annotations,
    });
    if let Some(process) = &sample.process {
        document["envProcess"] = json!(process);
    }
    api.request("POST", "/system/functions", Some(&document))?;
    gateway.stop()?;
    let mut starts = ColdStarts { kind: ColdKind::Restarted, samples: Vec::new(), next_ns: Vec::new() };
    let mut memory = FunctionMemory { idle_bytes: None, busy_bytes: None, busy_inflight: BUSY };
    for run in 1..=restarts.max(1) {
        wait::go_on()?;
        let gateway = start(program, dir.path())?;
        let last = run >= restarts;
        if last {
            wait::pause(SETTLE);
        }
        let before = resident_bytes(gateway.pid());
        let spent = || {
            Ok::<_, anyhow::Error>(Metrics::fetch(gateway.metrics, "/metrics")?.spent(NAME, Runtime::Wasm))
        };
        let spent_before = spent()?;
        let mut api = Api::connect(gateway.address)?;
        let mut invoke = || -> Result<Duration> {
            let started = Instant::now();
            let answer = api.invoke(NAME, &sample.body)?;
            let took = started.elapsed();
            sample.check(Runtime::Wasm, &answer).map(|()| took)
        };
        let took = invoke()?;
        let parts = wasm_parts(took, spent()?.since(spent_before));
        starts.samples.push(ColdStart { total_ns: nanos(took), parts });
        starts.next_ns.push(nanos(invoke()?));
        if last {
            wait::pause(SETTLE);
            let above = |now: Option<u64>| now.zip(before).map(|(now, before)| now.saturating_sub(before));
            memory.idle_bytes = above(resident_bytes(gateway.pid()));
            let most = most_while(
                || resident_bytes(gateway.pid()),
                || load::run(&target(gateway.address, NAME, sample), busy_load(busy)).map(drop),
            )?;
            memory.busy_bytes = above(most);
        }
        gateway.stop()?;
    }
    Ok((starts, memory))
}

/// A closed loop on so many connections.
pub(super) fn busy_load(duration: Duration) -> Load {
    Load { connections: BUSY, threads: load::default_threads(), duration, pace: Pace::Closed }
}

/// The request of a program to a function.
pub(super) fn target(address: SocketAddr, name: &str, sample: &Sample) -> Target {
    let request = post(address, &format!("/function/{name}"), &sample.body);
    Target { address, requests: [request].into(), answer_bytes: sample.answer_bytes() }
}

/// The highest of what is seen while something is done.
///
/// # Errors
/// Those of what is done.
pub(super) fn most_while(
    look: impl Fn() -> Option<u64> + Sync,
    work: impl FnOnce() -> Result<()>,
) -> Result<Option<u64>> {
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let watch = scope.spawn(|| {
            let mut most = None;
            while !over.load(Relaxed) {
                most = most.max(look());
                wait::pause(LOOK);
            }
            most
        });
        let done = work();
        over.store(true, Relaxed);
        let most = watch.join().expect("the watch does not panic");
        done.map(|()| most)
    })
}

fn start(program: &Path, dir: &Path) -> Result<GatewayProcess> {
    let gateway = GatewayProcess::start_with(program, dir, &FLAGS.map(str::to_owned))?;
    let mut api = Api::connect(gateway.address)?;
    wait::until("the gateway is ready", LIMIT, READY, || Ok(api.get("/readyz").ok().map(drop)))?;
    Ok(gateway)
}
