//! `fwatchdog` makes any binary an HTTP function: it is the process in front of it in a container.
//!
//! A request's body becomes the binary's stdin, its stdout the response (`mode` unset, `streaming`,
//! `serializing`), or requests are passed on to a server of its own (`http`), or there is no binary
//! and files are served (`static`). Settings come from the environment; see `help.txt`.

#![forbid(unsafe_code)]

mod calls;
mod config;
mod duration;
mod fork;
mod health;
mod listen;
mod log;
mod metrics;
mod orphans;
mod payload;
mod probe;
mod process;
mod program;
mod run;
mod service;
mod sniff;
mod static_files;
mod upstream;
mod words;
mod workers;

use std::io::Write as _;
use std::process::ExitCode;
use std::sync::Arc;

use config::{Config, Env};
use log::log;
use workers::Workers;

/// Threads that serve, depending on the processors; see [`workers`].
const THREADS: std::ops::RangeInclusive<usize> = 2..=4;
/// What `--help` prints.
const HELP: &str = include_str!("help.txt");

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [] => serve(),
        ["--help" | "-help" | "-h"] => print(HELP),
        ["--version" | "-version"] => print(concat!("fwatchdog ", env!("CARGO_PKG_VERSION"), "\n")),
        ["--run-healthcheck" | "-run-healthcheck"] => match probe::run_healthcheck(&Env::of_process()) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => fail(&error, 1),
        },
        [word, ..] => fail(&format!("{word:?} is no argument of fwatchdog; see --help"), 2),
    }
}

fn serve() -> ExitCode {
    let config = match Config::read(&Env::of_process()) {
        Ok(config) => config,
        Err(error) => return fail(&error.to_string(), 1),
    };
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    let threads = processors.clamp(*THREADS.start(), *THREADS.end());
    let started = workers::runtime().and_then(|runtime| Ok((runtime, Workers::start(threads)?)));
    let (runtime, workers) = match started {
        Ok((runtime, workers)) => (runtime, Arc::new(workers)),
        Err(error) => return fail(&format!("cannot start: {error}"), 1),
    };
    let ended = runtime.block_on(run::run(config, Arc::clone(&workers)));
    // What is left is dropped, and with it the processes of requests that were given up.
    drop(runtime);
    drop(workers);
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(&error, 1),
    }
}

fn fail(message: &str, code: u8) -> ExitCode {
    log!("{message}");
    ExitCode::from(code)
}

fn print(text: &str) -> ExitCode {
    match std::io::stdout().write_all(text.as_bytes()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    }
}
