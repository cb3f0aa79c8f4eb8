//! `hybrid`: functions of both runtimes against the same program in one of them.
//!
//! A gateway of its own on a Docker in Swarm mode, as `containers` has. Each program is deployed as a
//! module, as an image and as a hybrid; all get the same sessions of requests by the clock, in turns, and
//! after each the gateway's scaler takes the containers away. No service of the bench is left there, also
//! after Ctrl-C.

mod claims;
mod contender;
mod figures;
mod program;
pub(crate) mod replay;
pub(crate) mod session;

use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use clap::Args;
use serde::Serialize;
use serde_json::json;

use crate::config;
use crate::containers::{Docker, ECHOIT, Stage};
use crate::gateway::GatewayProcess;
use crate::report::{Report, progress};
use contender::{Contender, Function, Settings, Turn};
use figures::Figures;
use program::Program;
use session::sessions;

/// Hybrid functions against wasm alone and containers alone, under sessions with idle time between
#[derive(Debug, Clone, Args)]
pub(crate) struct Hybrid {
    /// A Docker in Swarm mode, on a socket of this machine [default: DOCKER_HOST]
    #[arg(long, value_name = "URL")]
    docker_host: Option<String>,
    /// What the functions run
    #[arg(long, value_delimiter = ',', value_enum, default_value = "wordcount,pbkdf2")]
    program: Vec<Program>,
    /// The policies of the hybrids
    #[arg(long, value_delimiter = ',', value_enum, default_value = "bridge,fastest")]
    policy: Vec<Contender>,
    /// Sessions that are measured; one more goes before them
    #[arg(long, default_value_t = 9)]
    sessions: usize,
    /// Seconds of a session; each third one is a few requests
    #[arg(long, default_value_t = 8.0)]
    seconds: f64,
    /// Seconds without a request after which containers go
    #[arg(long, default_value_t = 2)]
    idle: u32,
    /// Work of pbkdf2
    #[arg(long, default_value_t = 40_000)]
    iterations: u32,
    /// Requests are so many times as frequent
    #[arg(long, default_value_t = 1.0)]
    load: f64,
    /// What the sessions are made from
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// The gateway's program [default: `bramble` beside this one]
    #[arg(long, value_name = "FILE")]
    bramble: Option<PathBuf>,
}

/// What was measured.
#[derive(Debug, Serialize)]
struct Results {
    docker: String,
    programs: Vec<Run>,
}

/// One program, in all ways.
#[derive(Debug, Serialize)]
struct Run {
    program: Program,
    requests: usize,
    functions: Vec<Figures>,
}

impl Run {
    fn of(&self, contender: Contender) -> Option<&Figures> {
        self.functions.iter().find(|figures| figures.contender == contender)
    }

    fn hybrids(&self) -> impl Iterator<Item = &Figures> {
        self.functions.iter().filter(|figures| figures.contender.is_hybrid())
    }
}

impl Hybrid {
    /// Measures and reports.
    ///
    /// # Errors
    /// When there is no Docker, no image, no module, or something does not answer as it should.
    pub(crate) fn report(&self) -> Result<Report> {
        ensure!(self.sessions > 0, "--sessions must be above 0");
        ensure!((1.0..=60.0).contains(&self.seconds), "--seconds must be from 1 to 60");
        ensure!(self.idle > 0, "--idle must be above 0");
        ensure!(self.load > 0.0 && self.load <= 100.0, "--load must be above 0 and at most 100");
        ensure!(self.policy.iter().all(|policy| policy.is_hybrid()), "--policy is one of a hybrid");
        let results = self.measure()?;
        let mut report = Report::new("hybrid", self.method(&results), &results)?;
        for run in &results.programs {
            report = report.table(figures::table(run)).table(figures::ratios(run));
        }
        Ok(report.table(claims::table(&results.programs)))
    }

    fn method(&self, results: &Results) -> String {
        format!(
            "open loop, latency from the instant a request was due to the end of its answer; {} sessions of up to {} s from \
             seed {}, the functions in turns session by session, first one that is not measured; a turn ends when its \
             containers are gone, {} s after the last request; at most 1 container each; pbkdf2 of {} iterations; Docker {}",
            self.sessions, self.seconds, self.seed, self.idle, self.iterations, results.docker,
        )
    }

    fn measure(&self) -> Result<Results> {
        crate::wait::watch_signals()?;
        // What is missing is said before anything is measured.
        let modules: Vec<_> = self.program.iter().map(|program| program.module()).collect::<Result<_>>()?;
        let images: Vec<_> = self.program.iter().map(|program| program.image()).collect();
        let images: Vec<_> = images.iter().map(String::as_str).chain([ECHOIT]).collect();
        let host = self.docker_host.clone().unwrap_or_else(config::docker_host);
        let docker = Docker::open(&host, &images)?;
        ensure!(
            rustix::process::geteuid().is_root(),
            "the gateway calls containers in their network namespaces: run this as root"
        );
        let program = GatewayProcess::program(self.bramble.as_deref())?;
        let version = docker.version();
        let stage = Stage::set(docker, &program)?;
        // Its replica keeps the node's end of the network alive: without one all starts take longer.
        stage.deploy("keeper", ECHOIT, &json!({}))?;
        let mut programs = Vec::new();
        for (&program, module) in self.program.iter().zip(&modules) {
            programs.push(self.run(&stage, program, module)?);
        }
        Ok(Results { docker: version, programs })
    }

    fn run(&self, stage: &Stage, program: Program, module: &[u8]) -> Result<Run> {
        let digest = stage.api()?.put_module(module)?;
        let settings = Settings { iterations: self.iterations, idle_seconds: self.idle };
        let alone = [Contender::Wasm, Contender::Container, Contender::WasmAgain];
        let contenders = alone.into_iter().chain(self.policy.clone());
        let mut functions = Vec::new();
        for contender in contenders {
            progress(format_args!("hybrid: {}, deploying {}", program.text(), contender.text()));
            functions.push(Function::deploy(stage, contender, program, &digest, &settings)?);
        }
        let first = functions.first().context("there are contenders")?;
        functions.iter().try_for_each(|function| function.answers_as(first))?;
        let sessions = sessions(self.sessions + 1, self.seconds, program.rate() * self.load, self.seed);
        let mut turns: Vec<Vec<Turn>> = functions.iter().map(|_| Vec::new()).collect();
        for (at, session) in sessions.iter().enumerate() {
            // Each goes first in turn.
            for step in 0..functions.len() {
                let which = (at + step) % functions.len();
                let contender = functions[which].contender.text();
                progress(format_args!(
                    "hybrid: {}, session {at} of {}, {contender}",
                    program.text(),
                    self.sessions
                ));
                let turn = functions[which].turn(stage, session)?;
                // The first one is for code to be loaded, and for routers to know both halves.
                if at > 0 {
                    turns[which].push(turn);
                }
            }
        }
        let figures = functions.iter().zip(turns).map(|(function, turns)| {
            Ok(Figures::of(function.contender, &turns, function.service_seconds(stage)?))
        });
        let requests = sessions.iter().skip(1).map(|session| session.0.len()).sum();
        Ok(Run { program, requests, functions: figures.collect::<Result<_>>()? })
    }
}
