//! `bramble down`

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, Result};
use clap::Args;
use rustix::io::Errno;
use rustix::process::{Pid, Signal, kill_process};
use tokio::time::{Instant, interval};

use super::{Context, duration};
use crate::config::{SettingFlags, resolve};
use crate::error::CliError;
use crate::instance;

/// Time between two looks.
const INTERVAL: Duration = Duration::from_millis(20);

/// Stop the gateway that runs on a data directory
#[derive(Debug, Args)]
#[command(after_help = "\
Running invocations finish first, as far as the gateway's --drain-timeout goes. That nothing runs is
no failure.

Examples:
  bramble down
  bramble down --data-dir /var/lib/bramble")]
pub(crate) struct Down {
    /// The data directory [env: BRAMBLE_DATA_DIR] [default: ~/.local/share/bramble]
    #[arg(long, value_name = "DIR")]
    data_dir: Option<String>,
    /// Read settings from this file [env: BRAMBLE_CONFIG]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Longest wait for the gateway to end
    #[arg(long, value_name = "DURATION", default_value = "60s", value_parser = duration)]
    timeout: Duration,
}

impl Down {
    /// Asks it to stop and waits until it has.
    pub(crate) async fn run(self, context: &Context) -> Result<()> {
        let values: Vec<_> = self.data_dir.iter().map(|value| ("data_dir", value.as_str())).collect();
        let flags = SettingFlags::<false>::of(&values).with_config(self.config);
        let settings = resolve(&flags, &context.environment, &context.directory)?.settings;
        let data_dir = settings.gateway.data_dir.as_path();
        let Some(running) = instance::find(data_dir)? else {
            return context.output.line(format!("no gateway runs on {}", data_dir.display()));
        };
        let pid = Pid::from_raw(running.pid).context("the announced process number is 0")?;
        match kill_process(pid, Signal::TERM) {
            // It ended by itself since it was found.
            Ok(()) | Err(Errno::SRCH) => {}
            Err(error) => return Err(error).with_context(|| format!("cannot stop process {}", running.pid)),
        }
        let spinner = context.output.spinner(format!("stopping the gateway at {}", running.url));
        let end = Instant::now() + self.timeout;
        let mut ticks = interval(INTERVAL);
        while instance::find(data_dir)?.is_some_and(|now| now.pid == running.pid) {
            if Instant::now() >= end {
                let message = format!("process {} still runs after {:?}", running.pid, self.timeout);
                return Err(CliError::failed(message)
                    .hint("invocations may still be running; wait, or kill it")
                    .into());
            }
            ticks.tick().await;
        }
        drop(spinner);
        context.output.line(format!("stopped the gateway at {}", running.url))
    }
}
