//! The order of a run.

use std::path::Path;
use std::time::Instant;

use anyhow::{Context, Result};
use rustix::process::geteuid;

use super::effort::Effort;
use super::energy::Meter;
use super::program_run::{Bench, tolerate};
use super::programs::{self, Sample};
use super::results::{Budget, Results, Runtime, SCHEMA_VERSION, Skipped};
use super::subject::Subject;
use super::{Suite, deploy, memory, summary, targets, timeline};
use crate::all::All;
use crate::config;
use crate::containers::{Containers, Docker};
use crate::machine::Machine;
use crate::report::progress;
use crate::wait;

/// Rounds of the benches of `all`, and functions of its gateway with many.
const BUDGET_ROUNDS: usize = 5;
const MANY: usize = 10_000;

/// Measures everything that can be measured here.
///
/// # Errors
/// When the gateway or the samples are not there, an answer is wrong, or somebody wanted an end.
pub(super) fn run(
    suite: &Suite,
    effort: &Effort,
    machine: &Machine,
    program: &Path,
    budgets: bool,
) -> Result<Results> {
    wait::watch_signals()?;
    let started = Instant::now();
    let started_at = jiff::Timestamp::now().strftime("%Y-%m-%dT%H:%M:%SZ").to_string();
    let mut skipped = Vec::new();
    let directory = suite.samples.clone().or_else(config::examples_dir);
    let directory =
        directory.context("there is no home directory to look for samples in: name it, --samples")?;
    let samples = programs::read(&directory, &suite.programs, &mut skipped)?;
    progress("looking at the machine");
    let meter = Meter::open();
    let docker = docker(suite, &mut skipped);
    let subject = match &suite.gateway {
        Some(url) => Subject::running(url, suite.login.clone(), suite.metrics_url.as_ref(), docker)?,
        None => Subject::start(program, docker)?,
    };
    let own = suite.gateway.is_none();
    let containers = !suite.no_containers && subject.has_containers()?;
    if !containers && !own && !suite.no_containers {
        skip(&mut skipped, "containers", "the gateway has none: its /system/info says so");
    }
    let gateway = subject.described()?;
    let commit = gateway.info["version"]["sha"].as_str().filter(|sha| *sha != "unknown");
    let mut results = Results {
        schema_version: SCHEMA_VERSION,
        machine: machine.described(),
        commit: commit.unwrap_or(machine.commit()).to_owned(),
        started_at,
        duration_seconds: 0.0,
        quick: suite.quick,
        method: summary::method(effort, own),
        gateway,
        programs: Vec::new(),
        memory: None,
        deploy: None,
        timelines: Vec::new(),
        comparisons: Vec::new(),
        budgets: Vec::new(),
        skipped: Vec::new(),
    };
    let restarted = own.then_some(program);
    for (at, sample) in samples.iter().enumerate() {
        let leading = at == 0;
        let bench = Bench { subject: &subject, effort, restarted, containers, meter: &meter, leading };
        results.programs.push(bench.measure(sample, &mut skipped)?);
    }
    results.comparisons = targets::measure(&subject, &suite.targets, effort, &mut skipped)?;
    let deployed = deploy::measure(&subject, effort);
    results.deploy = tolerate(deployed, "deploying 1 MiB".to_owned(), &mut skipped)?;
    timelines(&subject, &samples, effort, containers, &mut results, &mut skipped)?;
    memory(&subject, program, effort, [own, containers], &mut results, &mut skipped)?;
    if !own {
        skip(&mut skipped, "restarted gateway", "a gateway of its own is needed: leave --gateway out");
    }
    if let Err(why) = &meter {
        skip(&mut skipped, "energy", why);
    }
    // What was deployed is gone before the benches of single questions want the machine.
    drop(subject);
    results.budgets = summary::budgets(&results);
    if budgets {
        results.budgets.extend(of_all(program)?);
        if containers {
            let of_containers = Containers::budgets(suite.docker_host.clone(), program.to_owned());
            let of_containers = tolerate(of_containers, "budgets of containers".to_owned(), &mut skipped)?;
            results.budgets.extend(of_containers.unwrap_or_default());
        }
    }
    results.skipped = skipped;
    results.duration_seconds = started.elapsed().as_secs_f64();
    Ok(results)
}

/// The Docker that containers are looked at in; `None` with a reason when there is none to be seen.
fn docker(suite: &Suite, skipped: &mut Vec<Skipped>) -> Option<Docker> {
    if suite.no_containers {
        skip(skipped, "containers", "--no-containers");
        return None;
    }
    let what = if suite.gateway.is_some() { "what Docker tells of containers" } else { "containers" };
    let host = suite.docker_host.clone().unwrap_or_else(config::docker_host);
    let docker = Docker::open(&host, &[]);
    if suite.gateway.is_none() && docker.is_ok() && !geteuid().is_root() {
        skip(skipped, what, "the gateway enters the containers' network namespaces: run this as root");
        return None;
    }
    docker.map_err(|error| skip(skipped, what, &format!("{error:#}"))).ok()
}

fn skip(skipped: &mut Vec<Skipped>, what: &str, why: &str) {
    skipped.push(Skipped { what: what.to_owned(), why: why.to_owned() });
}

fn timelines(
    subject: &Subject,
    samples: &[Sample],
    effort: &Effort,
    containers: bool,
    results: &mut Results,
    skipped: &mut Vec<Skipped>,
) -> Result<()> {
    // The first program is the lightest one.
    let Some(sample) = samples.first() else { return Ok(()) };
    for runtime in [Runtime::Wasm, Runtime::Container] {
        if runtime == Runtime::Wasm || containers {
            let timeline = timeline::measure(subject, sample, runtime, effort);
            let what = format!("0 to N to 0, {runtime:?}");
            results.timelines.extend(tolerate(timeline, what, skipped)?);
        }
    }
    Ok(())
}

fn memory(
    subject: &Subject,
    program: &Path,
    effort: &Effort,
    [own, containers]: [bool; 2],
    results: &mut Results,
    skipped: &mut Vec<Skipped>,
) -> Result<()> {
    if !own {
        skip(skipped, "memory", "hundreds of functions want a gateway of their own: leave --gateway out");
        return Ok(());
    }
    let wasm = memory::wasm(program, effort.wasm_functions);
    let Some(mut memory) = tolerate(wasm, "memory, wasm".to_owned(), skipped)? else { return Ok(()) };
    if containers {
        let curves = memory::containers(subject, effort.container_functions);
        memory.curves.extend(tolerate(curves, "memory, containers".to_owned(), skipped)?.unwrap_or_default());
    }
    memory.density_ratio = memory::density_ratio(&memory.curves);
    results.memory = Some(memory);
    Ok(())
}

/// The budgets of the benches of single questions.
fn of_all(program: &Path) -> Result<Vec<Budget>> {
    wait::go_on()?;
    All::budgets(BUDGET_ROUNDS, MANY, Some(program.to_owned()))
}
