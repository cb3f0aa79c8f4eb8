//! `suite`, and `bramble bench` for users: the same programs as wasm and in containers, on any gateway.
//!
//! In: what is measured of them, and one file of results. Out: the benches of single questions, which
//! compare Bramble with itself and with bare axum; of them come the budgets that only `bramble-bench suite`
//! has. The properties that must hold: nothing of the gateway's users is touched and nothing is left there,
//! also after Ctrl-C; a wrong answer ends the run; what cannot be measured is in the results with its reason.

mod cold;
mod deploy;
mod effort;
mod energy;
mod memory;
mod metrics;
mod program_run;
mod programs;
pub(crate) mod read;
pub mod report;
mod restart;
pub mod results;
mod run;
mod subject;
mod summary;
mod targets;
mod timeline;
mod warm;

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use bramble_provider::HttpUrl;
use clap::Args;
use http::HeaderValue;

use crate::gateway::GatewayProcess;
use crate::{machine::Machine, report as console};
use effort::Effort;
use results::Results;
use targets::NamedUrl;

/// Where `make bench` keeps its runs.
const RESULTS_DIR: &str = "bench/results";

/// What is measured, and on which gateway
#[derive(Debug, Clone, Args)]
pub struct Suite {
    /// Measure this gateway [default: one of its own, on a directory that is removed]
    #[arg(short, long, value_name = "URL")]
    gateway: Option<HttpUrl>,
    /// What is shown to that gateway's API.
    #[arg(skip)]
    login: Option<HeaderValue>,
    /// Where that gateway tells its metrics, for the parts of cold starts
    #[arg(long, value_name = "URL", requires = "gateway")]
    metrics_url: Option<HttpUrl>,
    /// The programs, by their names in the samples [default: all that are made for it]
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    programs: Vec<String>,
    /// Where `examples/build.sh` put the samples [default: BRAMBLE_EXAMPLES, else below ~/.cache]
    #[arg(long, value_name = "DIR")]
    samples: Option<PathBuf>,
    /// Two minutes instead of ten, with wider spreads
    #[arg(long)]
    quick: bool,
    /// Connections of the closed loop [default: 1,8,16,64, with --quick 1,16]
    #[arg(long, value_name = "NUMBERS", value_delimiter = ',')]
    connections: Vec<usize>,
    /// Seconds of each side in each round [default: 0.4, with --quick 0.2]
    #[arg(long, value_name = "SECONDS")]
    seconds: Option<f64>,
    /// Also ask this URL what the gateway's echo is asked, in turns; may be repeated
    #[arg(long = "target", value_name = "NAME=URL")]
    targets: Vec<NamedUrl>,
    /// Nothing in containers
    #[arg(long)]
    no_containers: bool,
    /// A Docker in Swarm mode, on a socket of this machine [default: DOCKER_HOST]
    #[arg(long, value_name = "URL")]
    docker_host: Option<String>,
    /// Write the results into this directory [default: a new one for each run]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
}

/// The suite and the budgets, with results as JSON and as a page
#[derive(Debug, Clone, Args)]
pub(crate) struct WithBudgets {
    #[command(flatten)]
    suite: Suite,
    /// Leave the budgets of `all` out
    #[arg(long)]
    no_budgets: bool,
    /// The gateway's program [default: `bramble` beside this one]
    #[arg(long, value_name = "FILE")]
    bramble: Option<PathBuf>,
}

impl WithBudgets {
    /// Measures, prints and writes.
    ///
    /// # Errors
    /// As [`Suite::run`].
    pub(crate) fn run(&self) -> Result<()> {
        let program = GatewayProcess::program(self.bramble.as_deref())?;
        let budgets = !self.no_budgets && self.suite.gateway.is_none();
        self.suite.finish(&program, Path::new(RESULTS_DIR), budgets)
    }
}

impl Suite {
    /// The gateway that is to be measured, when it is not one of the run's own.
    pub fn gateway(&self) -> Option<&HttpUrl> {
        self.gateway.as_ref()
    }

    /// The same, showing these credentials to the API of that gateway; functions never see them.
    #[must_use]
    pub fn logged_in(self, login: Option<HeaderValue>) -> Self {
        Self { login, ..self }
    }

    /// Measures, prints tables, and writes the results into a directory of their own below `results_dir`, or
    /// into the one that was named. `program` is the `bramble` of which a gateway is started where one is
    /// needed. Takes minutes; a first Ctrl-C removes what was deployed and ends it.
    ///
    /// # Errors
    /// When the gateway or the samples are not there, an answer is wrong, the results cannot be written, or
    /// somebody wanted an end.
    pub fn run(&self, program: &Path, results_dir: &Path) -> Result<()> {
        self.finish(program, results_dir, false)
    }

    fn finish(&self, program: &Path, results_dir: &Path, budgets: bool) -> Result<()> {
        let effort = self.effort()?;
        let machine = Machine::probe();
        // A place that cannot be written to is known before minutes are spent.
        let parent = self.out.as_deref().unwrap_or(results_dir);
        make(parent)?;
        console::show_one_line();
        let results = run::run(self, &effort, &machine, program, budgets);
        console::clear_line();
        let results = results?;
        let dir = match &self.out {
            Some(dir) => dir.clone(),
            None => fresh(results_dir, &results)?,
        };
        write(&dir, &results)?;
        report::write(&dir, &results)?;
        // A reader that has seen enough must not cost the exit code.
        let _ = summary::print(&machine, &results, &dir);
        Ok(())
    }

    fn effort(&self) -> Result<Effort> {
        ensure!(!self.connections.contains(&0), "--connections: at least one connection is needed");
        let mut effort = if self.quick { Effort::quick() } else { Effort::whole() };
        if !self.connections.is_empty() {
            effort.connections.clone_from(&self.connections);
        }
        let Some(seconds) = self.seconds else { return Ok(effort) };
        ensure!((0.01..=60.0).contains(&seconds), "--seconds: {seconds} is not between 0.01 and 60");
        Ok(effort.with_turn(std::time::Duration::from_secs_f64(seconds)))
    }
}

/// A directory for these results: by date, machine and commit, and a number when there is one already.
fn fresh(parent: &Path, results: &Results) -> Result<PathBuf> {
    let name = summary::run_name(results);
    let names = (1..1_000).map(|at| if at == 1 { name.clone() } else { format!("{name}-{at}") });
    let mut paths = names.map(|name| parent.join(name));
    let path = paths.find(|path| !path.exists()).context("a thousand runs have this name: remove some")?;
    make(&path)?;
    Ok(path)
}

fn make(dir: &Path) -> Result<()> {
    std::fs::create_dir_all(dir).with_context(|| format!("cannot make the directory {}", dir.display()))
}

fn write(dir: &Path, results: &Results) -> Result<()> {
    let path = dir.join(results::FILE);
    let text = serde_json::to_string_pretty(results).context("the results have no JSON form")? + "\n";
    std::fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))
}
