//! `bramble ready`

use std::time::Duration;

use anyhow::Result;
use bramble_provider::FunctionName;
use clap::Args;
use tokio::time::{Instant, MissedTickBehavior, interval};

use super::{Connection, Context, duration, function_name};
use crate::api::{Api, FunctionStatus, read};
use crate::error::{CliError, Exit};

/// Time between two questions.
const INTERVAL: Duration = Duration::from_millis(100);

/// Wait until the gateway, or a function, can take an invocation
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  bramble up --detach && bramble ready
  bramble ready hello --timeout 10s && echo hi | bramble invoke hello")]
pub(crate) struct Ready {
    /// The function; without it, the gateway
    #[arg(value_parser = function_name)]
    name: Option<FunctionName>,
    /// Longest wait
    #[arg(long, value_name = "DURATION", default_value = "60s", value_parser = duration)]
    timeout: Duration,
    #[command(flatten)]
    connection: Connection,
}

impl Ready {
    /// Asks until the answer is yes or time is up.
    pub(crate) async fn run(&self, context: &Context) -> Result<()> {
        let api = self.connection.api(context)?;
        let what = self.name.as_ref().map_or("the gateway".to_owned(), |name| format!("function {name}"));
        let spinner = context.output.spinner(format!("waiting for {what}"));
        let end = Instant::now() + self.timeout;
        let mut ticks = interval(INTERVAL);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            let failure = match self.is_ready(&api).await {
                Ok(true) => break,
                Ok(false) => CliError::failed(format!("{what} is not ready after {:?}", self.timeout)).into(),
                Err(error) if may_pass(&error) => error,
                Err(error) => return Err(error),
            };
            if Instant::now() >= end {
                return Err(failure);
            }
        }
        drop(spinner);
        context.output.line(format!("{what} is ready"))
    }

    async fn is_ready(&self, api: &Api) -> Result<bool> {
        let Some(name) = &self.name else { return Ok(api.is_ready().await?) };
        let status: FunctionStatus = read(&api.function(name).await?)?;
        if status.replicas == 0 {
            let error = CliError::failed(format!("function {name} is scaled to zero"));
            return Err(error.hint(format!("invoke it, or `bramble scale {name} 1`")).into());
        }
        Ok(status.available_replicas > 0)
    }
}

/// Whether waiting can help.
fn may_pass(error: &anyhow::Error) -> bool {
    error.downcast_ref::<CliError>().is_some_and(|error| error.exit() == Exit::Unreachable)
}
