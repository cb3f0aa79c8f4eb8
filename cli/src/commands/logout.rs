//! `bramble logout`

use anyhow::Result;
use clap::Args;

use super::{Connection, Context};

/// Forget the user and the password for a gateway
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  bramble logout
  bramble logout -g https://pi:8080")]
pub(crate) struct Logout {
    #[command(flatten)]
    connection: Connection,
}

impl Logout {
    /// Forgets them. That there are none is no failure.
    pub(crate) fn run(&self, context: &Context) -> Result<()> {
        let url = self.connection.url(context)?;
        let forgot = context.environment.logins().forget(&url)?;
        let said = if forgot { "logged out of" } else { "you were not logged in to" };
        context.output.line(format!("{said} {url}"))
    }
}
