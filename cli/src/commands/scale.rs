//! `bramble scale`

use anyhow::Result;
use bramble_provider::FunctionName;
use clap::Args;

use super::{Connection, Context, function_name};

/// Set how many replicas of a function are desired
#[derive(Debug, Args)]
#[command(after_help = "\
A wasm function's replicas are its slots: how many invocations it runs at once. With 0 its code
leaves the memory, and the next invocation brings it back.

Examples:
  bramble scale hello 32
  bramble scale hello 0")]
pub(crate) struct Scale {
    /// The function
    #[arg(value_parser = function_name)]
    name: FunctionName,
    /// How many
    replicas: u32,
    #[command(flatten)]
    connection: Connection,
}

impl Scale {
    /// Asks and prints.
    pub(crate) async fn run(&self, context: &Context) -> Result<()> {
        self.connection.api(context)?.scale(&self.name, self.replicas).await?;
        context.output.line(format!("{} has {} desired replicas", self.name, self.replicas))
    }
}
