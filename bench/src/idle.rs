//! `idle`: what a gateway holds in memory while its functions wait.
//!
//! The real `bramble gateway`, each function a module of its own. Resident memory as the kernel
//! counts it (`VmRSS`), so pages of the program's file that were touched are in it.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};
use clap::Args;
use serde::Serialize;

use crate::api::Api;
use crate::gateway::GatewayProcess;
use crate::guests;
use crate::report::{Report, progress};
use crate::table::Table;

/// Between two looks at the memory of a process that settles.
const LOOK_INTERVAL: Duration = Duration::from_millis(250);

/// Looks without a change after which it has settled, and the most that are taken.
const STEADY_LOOKS: usize = 4;
const MAX_LOOKS: usize = 80;

/// A change that is none, in bytes.
const STEADY_BYTES: u64 = 64 << 10;

/// Memory of an idle gateway with many functions deployed
#[derive(Debug, Clone, Args)]
pub(crate) struct Idle {
    /// Functions of the first figure
    #[arg(long, default_value_t = 50)]
    pub(crate) functions: usize,
    /// Functions deployed on top, for what each further one costs
    #[arg(long, default_value_t = 500)]
    pub(crate) further: usize,
    /// The gateway's program [default: `bramble` beside this one]
    #[arg(long, value_name = "FILE")]
    pub(crate) bramble: Option<PathBuf>,
}

/// What was measured.
#[derive(Debug, Serialize)]
pub(crate) struct Results {
    pub(crate) few: Held,
    pub(crate) many: Held,
    /// Bytes of each further function: after a restart, and after each was invoked once.
    pub(crate) further_bytes_restarted: f64,
    pub(crate) further_bytes_invoked: f64,
}

/// A gateway's memory at one number of functions.
#[derive(Debug, Serialize)]
pub(crate) struct Held {
    pub(crate) functions: usize,
    /// After a restart: no function was invoked.
    pub(crate) restarted: Memory,
    /// After each function was invoked once: all code is loaded.
    pub(crate) invoked: Memory,
}

/// Resident memory.
#[derive(Debug, Clone, Copy, Serialize)]
pub(crate) struct Memory {
    pub(crate) resident_bytes: u64,
    /// Of it, what belongs to no file.
    pub(crate) anonymous_bytes: u64,
}

impl Idle {
    /// Measures and reports.
    ///
    /// # Errors
    /// When the gateway cannot start or refuses a function.
    pub(crate) fn report(&self) -> Result<Report> {
        let results = self.measure()?;
        let mut table = Table::new(
            "Resident memory of an idle gateway",
            ["functions", "restarted", "of it anonymous", "each invoked once", "of it anonymous"],
        );
        for held in [&results.few, &results.many] {
            let [restarted, invoked] = [held.restarted, held.invoked];
            table.row([
                held.functions.to_string(),
                mebibytes(restarted.resident_bytes),
                mebibytes(restarted.anonymous_bytes),
                mebibytes(invoked.resident_bytes),
                mebibytes(invoked.anonymous_bytes),
            ]);
        }
        table.row([
            "each further".to_owned(),
            kibibytes(results.further_bytes_restarted),
            String::new(),
            kibibytes(results.further_bytes_invoked),
            String::new(),
        ]);
        let method = "VmRSS of `bramble gateway` after its memory has settled; every function has a small module \
                      of its own";
        Ok(Report::new("idle", method, &results)?.table(table))
    }

    /// # Errors
    /// As [`Self::report`].
    pub(crate) fn measure(&self) -> Result<Results> {
        let dir = tempfile::tempdir().context("cannot make a temporary directory")?;
        let program = GatewayProcess::program(self.bramble.as_deref())?;
        let few = held(&program, dir.path(), 0, self.functions)?;
        let many = held(&program, dir.path(), self.functions, self.functions + self.further)?;
        let further = |of: fn(&Held) -> Memory| {
            let (few, many) = (of(&few).resident_bytes as f64, of(&many).resident_bytes as f64);
            (many - few) / self.further as f64
        };
        Ok(Results {
            further_bytes_restarted: further(|held| held.restarted),
            further_bytes_invoked: further(|held| held.invoked),
            few,
            many,
        })
    }
}

/// Deploys functions `from..to` beside those there are, restarts the gateway, and looks.
///
/// # Errors
/// When the gateway does not start or refuses a function.
pub(crate) fn held(program: &Path, dir: &Path, from: usize, to: usize) -> Result<Held> {
    progress(format_args!("idle: deploying functions {from} to {to}"));
    {
        let gateway = GatewayProcess::start(program, dir)?;
        let mut api = Api::connect(gateway.address)?;
        (from..to).try_for_each(|at| api.upload(&name(at), &guests::marked_echo(at)))?;
        drop(api);
        gateway.stop()?;
    }
    progress(format_args!("idle: {to} functions, restarted"));
    let gateway = GatewayProcess::start(program, dir)?;
    let restarted = settled(&gateway)?;
    let mut api = Api::connect(gateway.address)?;
    (0..to).try_for_each(|at| api.invoke(&name(at), b"x").map(drop))?;
    drop(api);
    let invoked = settled(&gateway)?;
    gateway.stop()?;
    Ok(Held { functions: to, restarted, invoked })
}

fn name(at: usize) -> String {
    format!("idle-{at}")
}

/// The memory of a process once it stops changing.
fn settled(gateway: &GatewayProcess) -> Result<Memory> {
    let mut last = gateway.memory()?;
    let mut steady = 0;
    for _ in 0..MAX_LOOKS {
        if steady == STEADY_LOOKS {
            break;
        }
        pause();
        let now = gateway.memory()?;
        let same = now.resident_bytes.abs_diff(last.resident_bytes) <= STEADY_BYTES;
        steady = if same { steady + 1 } else { 0 };
        last = now;
    }
    Ok(last)
}

#[expect(clippy::disallowed_methods, reason = "this is the wait for a condition with a limit")]
fn pause() {
    std::thread::sleep(LOOK_INTERVAL);
}

/// Bytes in MiB, as text.
pub(crate) fn mebibytes(bytes: u64) -> String {
    format!("{:.1} MiB", bytes as f64 / f64::from(1 << 20))
}

/// Bytes in KiB, as text.
pub(crate) fn kibibytes(bytes: f64) -> String {
    format!("{:.1} KiB", bytes / 1_024.0)
}
