//! `bramble bench`

use std::path::Path;

use anyhow::{Context as _, Result};
use bramble_bench::Suite;
use clap::Args;

use super::{Context, Credentials};

/// Where runs are kept, in the current directory.
const RESULTS_DIR: &str = "bramble-bench";

/// Measure functions as wasm and in containers: cold starts, latency, throughput, memory
#[derive(Debug, Args)]
#[command(after_help = "\
The samples of `examples/build.sh` are deployed under names of their own, checked, measured, and removed, also
after Ctrl-C. Without --gateway a gateway is started for it, on a directory that is removed. One that asks for
credentials is shown what `bramble login` kept for it. It is spoken to in the clear: over TLS the client would be
measured too. Containers need a Docker in Swarm mode (DOCKER_HOST) with the images of `scripts/images.sh`.
Results are a table, and results.json and a page in a new directory below ./bramble-bench.

Examples:
  bramble bench --quick                                        about two minutes
  bramble bench --programs echo,pbkdf2 --no-containers
  bramble bench --gateway http://pi:8080 --metrics-url http://pi:8082/metrics
  bramble bench --target spin=http://127.0.0.1:3000/echo       the same requests to others, in turns")]
pub(crate) struct Bench {
    #[command(flatten)]
    suite: Suite,
    #[command(flatten)]
    credentials: Credentials,
}

impl Bench {
    /// Measures, prints and writes.
    pub(crate) fn run(&self, context: &Context) -> Result<()> {
        let program = std::env::current_exe().context("cannot find this program")?;
        let login = self.suite.gateway().map(|url| self.credentials.of(url, context)).transpose()?;
        let suite = self.suite.clone().logged_in(login.flatten().map(|shown| shown.header));
        suite.run(&program, &context.directory.join(Path::new(RESULTS_DIR)))
    }
}
