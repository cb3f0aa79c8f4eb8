//! `bramble gateway`

use anyhow::{Context as _, Result};
use clap::Args;

use super::Context;
use crate::config::{SettingFlags, resolve};
use crate::serve;

/// Run the gateway in the foreground
#[derive(Debug, Args)]
#[command(after_help = "\
Every flag has the variable that is shown with it, and a key in the settings file: the flag with
underscores. `bramble config` shows what would be used, and why. Ctrl-C and SIGTERM stop gracefully:
not ready, running invocations finish (--drain-timeout), exit 0. A second Ctrl-C ends it at once.

Examples:
  bramble gateway --listen 0.0.0.0:8080 --data-dir /var/lib/bramble
  BRAMBLE_LOG_FORMAT=json bramble gateway --config /etc/bramble.toml")]
pub(crate) struct Gateway {
    /// Leave the session of the terminal, for `up --detach`
    #[arg(long, hide = true)]
    session: bool,
    #[command(flatten)]
    flags: SettingFlags<false>,
}

impl Gateway {
    /// Runs until it is told to stop.
    pub(crate) fn run(self, context: &Context) -> Result<()> {
        if self.session {
            rustix::process::setsid().context("cannot leave the terminal's session")?;
        }
        let settings = resolve(&self.flags, &context.environment, &context.directory)?.settings;
        let output = context.output;
        serve::run(settings, output, async move |serving| {
            // A supervisor that reads this learns the ports; that it is gone is no reason to stop.
            let _ = output.line(format!("listening on {}, metrics on {}", serving.url, serving.metrics_url));
        })
    }
}
