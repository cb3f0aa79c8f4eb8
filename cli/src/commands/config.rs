//! `bramble config`

use anyhow::Result;
use clap::Args;
use serde_json::json;

use super::Context;
use crate::config::{SettingFlags, Source, resolve};

/// Print every setting of the gateway and where it came from
#[derive(Debug, Args)]
#[command(after_help = "\
A flag comes before the environment, the environment before the file, the file before the default.
In the file a setting is the flag with underscores: `max_body_size = \"4Gi\"`.

Examples:
  bramble config
  BRAMBLE_LISTEN=0.0.0.0:8080 bramble config --json | jq '.[] | select(.source != \"default\")'")]
pub(crate) struct Config {
    /// Print JSON
    #[arg(short, long)]
    json: bool,
    #[command(flatten)]
    flags: SettingFlags<true>,
}

impl Config {
    /// Prints the settings that `bramble up` would start with.
    pub(crate) fn run(&self, context: &Context) -> Result<()> {
        let resolved = resolve(&self.flags, &context.environment, &context.directory)?;
        let value = |setting: &crate::config::table::Setting| setting.get(&resolved.settings);
        if self.json {
            let entry = |(setting, source): &(&'static crate::config::table::Setting, Source)| {
                let from = (*source != Source::Default).then(|| source.to_string());
                json!({"key": setting.key, "value": value(setting), "source": source.kind(), "from": from})
            };
            return context.output.json(&resolved.sources.iter().map(entry).collect::<Vec<_>>());
        }
        let row = |(setting, source): &(&'static crate::config::table::Setting, Source)| {
            let place = match source {
                Source::Default => "default".to_owned(),
                found => format!("{} {found}", found.kind()),
            };
            [setting.key.to_owned(), value(setting), place]
        };
        let rows: Vec<_> = resolved.sources.iter().map(row).collect();
        context.output.table(["KEY", "VALUE", "FROM"], &rows)
    }
}
