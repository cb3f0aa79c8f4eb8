//! Measures Bramble against the budgets of the design, on the machine at hand.
//!
//! In: one command per question, an own load generator, reports as tables and JSON; and the suite,
//! which measures any gateway and is also the command's `bramble bench`. Out: pass or fail; a missed
//! budget is marked, and the exit code stays 0. The property that must hold: every ratio compares two
//! things measured in one run, in turns, and says how quiet the machine was.

mod all;
mod api;
mod cold;
mod compare;
mod config;
mod containers;
mod contest;
mod gateway;
mod guests;
mod hybrid;
mod idle;
mod invoke;
mod load;
mod machine;
pub mod manifest;
mod many;
mod over_http;
mod plot;
mod report;
mod scale;
mod server;
mod stats;
pub mod suite;
mod table;
mod wait;

use std::path::PathBuf;

use anyhow::{Result, ensure};
use clap::{Parser, Subcommand};

use machine::Machine;
pub use suite::Suite;

/// Measure Bramble: in-process, over HTTP against a bare axum echo, and in containers
#[derive(Debug, Parser)]
#[command(version)]
struct Cli {
    /// Also write the results, with the machine and the method, to this file
    #[arg(long, global = true, value_name = "FILE")]
    json: Option<PathBuf>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Invoke(invoke::Invoke),
    Http(over_http::OverHttp),
    Cold(cold::Cold),
    Idle(idle::Idle),
    Many(many::Many),
    Containers(containers::Containers),
    Hybrid(hybrid::Hybrid),
    Scale(Box<scale::Scale>),
    All(all::All),
    Suite(Box<suite::WithBudgets>),
    Render(suite::report::Render),
    Compare(compare::Compare),
    #[command(hide = true)]
    Serve(server::Serve),
    #[command(hide = true)]
    Upstream(containers::Upstream),
}

/// Does what the command line of `bramble-bench` says.
///
/// # Errors
/// When something cannot be measured, or its results cannot be written.
pub fn run() -> Result<()> {
    let cli = Cli::parse();
    let machine = Machine::probe();
    let report = match cli.command {
        Command::Invoke(bench) => bench.report()?,
        Command::Http(bench) => bench.report()?,
        Command::Cold(bench) => bench.report()?,
        Command::Idle(bench) => bench.report()?,
        Command::Many(bench) => bench.report()?,
        Command::Containers(bench) => bench.report()?,
        Command::Hybrid(bench) => bench.report()?,
        Command::Scale(bench) => bench.report()?,
        Command::All(bench) => bench.report()?,
        Command::Suite(suite) => {
            ensure!(cli.json.is_none(), "--json: the suite writes results.json into the directory of --out");
            return suite.run();
        }
        Command::Render(render) => return render.run(),
        Command::Compare(compare) => return compare.run(cli.json.as_deref()),
        Command::Serve(serve) => return serve.run(),
        Command::Upstream(upstream) => return upstream.run(),
    };
    report.publish(&machine, cli.json.as_deref())
}
