//! `bramble remove`

use anyhow::Result;
use bramble_provider::FunctionName;
use clap::Args;

use super::{Connection, Context, InNamespace, function_name};
use crate::error::{CliError, Exit};

/// Remove functions
#[derive(Debug, Args)]
#[command(after_help = "\
The function's module stays stored; see `bramble modules`. Running invocations finish.

Examples:
  bramble remove hello
  bramble list -q | xargs bramble remove")]
pub(crate) struct Remove {
    /// The functions
    #[arg(required = true, value_name = "NAME", value_parser = function_name)]
    names: Vec<FunctionName>,
    #[command(flatten)]
    place: InNamespace,
    #[command(flatten)]
    connection: Connection,
}

impl Remove {
    /// Removes what can be removed; the first failure makes the exit code.
    pub(crate) async fn run(&self, context: &Context) -> Result<()> {
        let api = self.connection.api(context)?;
        let mut failure = None;
        for name in &self.names {
            let name = &self.place.name(name)?;
            match api.remove(name).await {
                Ok(()) => context.output.line(format!("removed {name}"))?,
                // Without a gateway the others fail the same way.
                Err(error) if is_unreachable(&error) => return Err(error),
                Err(error) if failure.is_none() => failure = Some(error),
                Err(error) => context.output.complain(format!("{error:#}"), None),
            }
        }
        failure.map_or(Ok(()), Err)
    }
}

fn is_unreachable(error: &anyhow::Error) -> bool {
    error.downcast_ref::<CliError>().is_some_and(|error| error.exit() == Exit::Unreachable)
}
