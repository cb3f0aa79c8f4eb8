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

use std::io::Write as _;
use std::process::ExitCode;
use std::time::Duration;

use config::{Config, Env};
use log::log;

/// Threads that serve. Starting a process blocks one of them until the new program is loaded.
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
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(processors.clamp(*THREADS.start(), *THREADS.end()))
        .max_blocking_threads(8)
        .enable_all()
        .build();
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(error) => return fail(&format!("cannot start: {error}"), 1),
    };
    // A worker runs it: the thread of `block_on` would have to be woken for every event.
    let ended = runtime.block_on(async { tokio::spawn(run::run(config)).await });
    // Drops what is left, and with it the processes of requests that were given up.
    runtime.shutdown_timeout(Duration::from_millis(100));
    match ended {
        Ok(Ok(())) => ExitCode::SUCCESS,
        Ok(Err(error)) => fail(&error, 1),
        Err(error) => fail(&error.to_string(), 1),
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
