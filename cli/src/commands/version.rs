//! `bramble version`

use anyhow::Result;
use clap::Args;
use serde_json::{Value, json};

use super::{Connection, Context};

/// Print the versions of this command and of the gateway
#[derive(Debug, Args)]
#[command(after_help = "\
That no gateway can be reached is printed, and is no failure.

Examples:
  bramble version
  bramble version --json | jq -r .gateway.version.release")]
pub(crate) struct Version {
    /// Print JSON
    #[arg(short, long)]
    json: bool,
    /// Print the version of this command only, and ask nobody
    #[arg(long, visible_alias = "short-version", conflicts_with = "json")]
    short: bool,
    #[command(flatten)]
    connection: Connection,
}

impl Version {
    /// Asks and prints.
    pub(crate) async fn run(&self, context: &Context) -> Result<()> {
        let client = env!("CARGO_PKG_VERSION");
        if self.short {
            return context.output.line(client);
        }
        let api = self.connection.api(context)?;
        let gateway = api.info().await;
        if self.json {
            let client = json!({"version": client});
            return context.output.json(&json!({"client": client, "gateway": gateway.ok()}));
        }
        context.output.line(format!("client:  {client}"))?;
        match gateway {
            Ok(info) => context.output.line(format!("gateway: {} at {}", release(&info), api.client().url())),
            Err(error) => context.output.line(format!("gateway: none ({error:#})")),
        }
    }
}

fn release(info: &Value) -> String {
    let part = |pointer| info.pointer(pointer).and_then(Value::as_str).filter(|text| !text.is_empty());
    match (part("/version/release"), part("/version/sha")) {
        (Some(release), Some(sha)) => format!("{release} ({sha})"),
        (Some(release), None) => release.to_owned(),
        (None, sha) => sha.unwrap_or("of unknown version").to_owned(),
    }
}
