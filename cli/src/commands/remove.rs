//! `bramble remove`

use anyhow::Result;
use bramble_provider::FunctionName;
use clap::Args;

use super::{Connection, Context, InNamespace, function_name, is_unreachable};
use crate::stack::{Stack, StackFlags};

/// Remove functions
#[derive(Debug, Args)]
#[command(after_help = "\
The function's module stays stored; see `bramble modules`. Running invocations finish.

Examples:
  bramble remove hello
  bramble remove -f stack.yml               every function that the file names
  bramble list -q | xargs bramble remove")]
pub(crate) struct Remove {
    /// The functions
    #[arg(required_unless_present_any = ["yaml", "filter", "regex"], conflicts_with_all = ["yaml", "filter", "regex"])]
    #[arg(value_name = "NAME", value_parser = function_name)]
    names: Vec<FunctionName>,
    #[command(flatten)]
    place: InNamespace,
    #[command(flatten)]
    stack: StackFlags,
    #[command(flatten)]
    connection: Connection,
}

impl Remove {
    /// Removes what can be removed; the first failure makes the exit code.
    pub(crate) async fn run(&self, context: &Context) -> Result<()> {
        let (api, names) = match self.stack.is_given() {
            false => {
                let names = self.names.iter().map(|name| self.place.name(name)).collect::<Result<_, _>>()?;
                (self.connection.api(context)?, names)
            }
            true => {
                let stack = self.place.stack(Stack::load(&self.stack, context).await?)?;
                (self.connection.of_stack(context, &stack)?, stack.functions.into_keys().collect::<Vec<_>>())
            }
        };
        let mut failure = None;
        for name in &names {
            match api.remove(name).await {
                Ok(()) => context.output.line(format!("removed {name}"))?,
                // Without a gateway the others fail the same way.
                Err(error) if error.downcast_ref().is_some_and(is_unreachable) => return Err(error),
                Err(error) if failure.is_none() => failure = Some(error),
                Err(error) => context.output.complain(format!("{error:#}"), None),
            }
        }
        failure.map_or(Ok(()), Err)
    }
}
