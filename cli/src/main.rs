//! The `bramble` command: runs the gateway, and speaks to one.
//!
//! In: flags and settings, printing, exit codes, the process (signals, background). Out: what a
//! function is and how it runs, which is the gateway's business.

#![forbid(unsafe_code)]

mod api;
mod build;
mod client;
mod commands;
mod config;
mod error;
mod fetch;
mod instance;
mod logins;
mod output;
mod remote;
mod rollout;
mod samples;
mod serve;
mod stack;
mod templates;

use std::process::ExitCode;

use clap::Parser;

use commands::{Cli, Context};
use error::{CliError, Exit};
use output::{Output, ReaderGone};

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        // Help and versions come this way too. A reader that went away is no failure.
        Err(error) => {
            let _ = error.print();
            if let Some(hint) = commands::foreign::hint(&error, std::env::args().nth(1).as_deref()) {
                Context::of_process().output.hint(hint);
            }
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(Exit::Usage as u8));
        }
    };
    let context = Context::of_process();
    match commands::run(cli, &context) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => ExitCode::from(report(&error, context.output) as u8),
    }
}

/// Tells what went wrong, and which exit code says so.
fn report(error: &anyhow::Error, output: Output) -> Exit {
    if error.is::<ReaderGone>() {
        return Exit::Done;
    }
    match error.downcast_ref::<CliError>() {
        Some(known) => {
            output.complain(format!("{error:#}"), known.hint_text());
            known.exit()
        }
        None => {
            output.complain(format!("{error:#}"), None);
            Exit::Failed
        }
    }
}
