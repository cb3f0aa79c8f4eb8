//! `bramble ready`

use std::time::Duration;

use anyhow::Result;
use bramble_provider::FunctionName;
use clap::Args;
use tokio::time::{Instant, MissedTickBehavior, interval};

use super::{Connection, Context, InNamespace, duration, function_name};
use crate::api::{Api, FunctionStatus, read};
use crate::error::{CliError, Exit};

/// Time between two questions when nothing else is said, and as faas-cli has it where they are counted.
const INTERVAL: Duration = Duration::from_millis(100);
const COUNTED_INTERVAL: Duration = Duration::from_secs(1);

/// Wait until the gateway, or a function, can take an invocation
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  bramble up --detach && bramble ready
  bramble ready hello --timeout 10s && echo hi | bramble invoke hello
  bramble ready hello -n team --attempts 10 --interval 500ms")]
pub(crate) struct Ready {
    /// The function; without it, the gateway
    #[arg(value_parser = function_name)]
    name: Option<FunctionName>,
    /// Longest wait
    #[arg(long, value_name = "DURATION", default_value = "60s", value_parser = duration)]
    timeout: Duration,
    /// Ask at most so many times, in place of --timeout
    #[arg(long, value_name = "N", conflicts_with = "timeout", value_parser = clap::value_parser!(u32).range(1..))]
    attempts: Option<u32>,
    /// Time between two questions [default: 100ms, with --attempts 1s]
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    interval: Option<Duration>,
    #[command(flatten)]
    place: InNamespace,
    #[command(flatten)]
    connection: Connection,
}

impl Ready {
    /// Asks until the answer is yes or time is up.
    pub(crate) async fn run(&self, context: &Context) -> Result<()> {
        let api = self.connection.api(context)?;
        let name = self.name.as_ref().map(|name| self.place.name(name)).transpose()?;
        let what = name.as_ref().map_or("the gateway".to_owned(), |name| format!("function {name}"));
        let default = if self.attempts.is_some() { COUNTED_INTERVAL } else { INTERVAL };
        // At once again and again would ask as fast as the gateway answers.
        let pause = self.interval.unwrap_or(default).max(Duration::from_millis(1));
        // The first question is asked at once.
        let limit = self.attempts.map_or(self.timeout, |attempts| pause.saturating_mul(attempts - 1));
        let spinner = context.output.spinner(format!("waiting for {what}"));
        let end = Instant::now().checked_add(limit);
        let mut ticks = interval(pause);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            let failure = match is_ready(&api, name.as_ref()).await {
                Ok(true) => break,
                Ok(false) => CliError::failed(format!("{what} is not ready after {limit:?}")).into(),
                Err(error) if may_pass(&error) => error,
                Err(error) => return Err(error),
            };
            if end.is_some_and(|end| Instant::now() >= end) {
                return Err(failure);
            }
        }
        drop(spinner);
        context.output.line(format!("{what} is ready"))
    }
}

async fn is_ready(api: &Api, name: Option<&FunctionName>) -> Result<bool> {
    let Some(name) = name else { return Ok(api.is_ready().await?) };
    let status: FunctionStatus = read(&api.function(name).await?)?;
    if status.replicas == 0 {
        let error = CliError::failed(format!("function {name} is scaled to zero"));
        return Err(error.hint(format!("invoke it, or `bramble scale {name} 1`")).into());
    }
    Ok(status.available_replicas > 0)
}

/// Whether waiting can help.
fn may_pass(error: &anyhow::Error) -> bool {
    error.downcast_ref::<CliError>().is_some_and(|error| error.exit() == Exit::Unreachable)
}
