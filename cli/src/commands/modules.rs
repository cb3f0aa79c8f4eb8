//! `bramble modules`

use std::path::PathBuf;

use anyhow::{Context as _, Result};
use bramble_provider::Digest;
use clap::{Args, Subcommand};
use serde_json::Value;

use super::{Connection, Context, short_digest};
use crate::api::{Api, Module, read};
use crate::error::{CliError, Exit};
use crate::output::Style;

/// Look after the WASI modules that the gateway stores
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
#[command(after_help = "\
Examples:
  bramble modules
  bramble modules upload ./hello.wasm
  bramble modules upload ./script.wasm --preinit
  bramble modules remove 3f1c0a55a2d4")]
pub(crate) struct Modules {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    list: List,
}

#[derive(Debug, Subcommand)]
enum Command {
    List(List),
    Upload(Upload),
    #[command(visible_alias = "rm")]
    Remove(Remove),
}

/// List the modules
#[derive(Debug, Args)]
struct List {
    /// Print the gateway's answer as JSON
    #[arg(short, long)]
    json: bool,
    #[command(flatten)]
    connection: Connection,
}

/// Store a module without deploying it
#[derive(Debug, Args)]
struct Upload {
    /// The module
    file: PathBuf,
    /// Store what the module's initialisation leaves behind instead: for programs that take long to start.
    /// EXPORT is the function that does it, `wizer-initialize` unless given
    #[arg(long, value_name = "EXPORT", num_args = 0..=1, require_equals = true,
          default_missing_value = "true")]
    preinit: Option<String>,
    /// Print the gateway's answer as JSON
    #[arg(short, long)]
    json: bool,
    #[command(flatten)]
    connection: Connection,
}

/// Remove a module that no function uses
#[derive(Debug, Args)]
struct Remove {
    /// The digest, or enough of its first digits
    digest: String,
    #[command(flatten)]
    connection: Connection,
}

impl Modules {
    /// Does what was asked, or lists.
    pub(crate) async fn run(&self, context: &Context) -> Result<()> {
        match &self.command {
            None => self.list.run(context).await,
            Some(Command::List(command)) => command.run(context).await,
            Some(Command::Upload(command)) => command.run(context).await,
            Some(Command::Remove(command)) => command.run(context).await,
        }
    }
}

impl List {
    async fn run(&self, context: &Context) -> Result<()> {
        let answer = self.connection.api(context)?.modules().await?;
        if self.json {
            return context.output.json(&answer);
        }
        let row = |module: Module| {
            [short_digest(&module.digest).to_owned(), module.kind, format_size(module.size_bytes)]
        };
        let rows: Vec<_> = read::<Vec<Module>>(&answer)?.into_iter().map(row).collect();
        context.output.table(["DIGEST", "KIND", "SIZE"], &rows)
    }
}

impl Upload {
    async fn run(&self, context: &Context) -> Result<()> {
        let api = self.connection.api(context)?;
        let wasm = std::fs::read(&self.file).with_context(|| format!("reading {}", self.file.display()))?;
        let spinner = context.output.spinner("uploading");
        let text = spinner.text();
        let sent = move || text.say("checking");
        let answer: Value = api.put_module(wasm.into(), self.preinit.as_deref(), sent).await?;
        drop(spinner);
        if self.json {
            return context.output.json(&answer);
        }
        let module: Module = read(&answer)?;
        let mut about = format!("{}, {}", module.kind, format_size(module.size_bytes));
        if let Some(source) = &module.preinitialised_from {
            about.push_str(&format!(", pre-initialised from {source}"));
        }
        context.output.line(format!("{}  {}", module.digest, context.output.paint(Style::Dim, &about)))
    }
}

impl Remove {
    async fn run(&self, context: &Context) -> Result<()> {
        let api = self.connection.api(context)?;
        let digest = match Digest::parse(&self.digest) {
            Ok(digest) => digest,
            Err(_) => find(&api, &self.digest).await?,
        };
        api.remove_module(&digest).await?;
        context.output.line(format!("removed {digest}"))
    }
}

/// The one module whose digest begins like this.
async fn find(api: &Api, text: &str) -> Result<Digest> {
    let modules: Vec<Module> = read(&api.modules().await?)?;
    let digests: Vec<_> = modules.into_iter().map(|module| module.digest).collect();
    Ok(Digest::parse(&one_of(&digests, text)?)?)
}

fn one_of(digests: &[String], text: &str) -> Result<String, CliError> {
    let start = text.strip_prefix(Digest::PREFIX).unwrap_or(text).to_lowercase();
    if start.is_empty() || !start.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Err(CliError::usage(format!("{text:?} is no digest; `bramble modules` lists them")));
    }
    let hex = |digest: &String| digest.strip_prefix(Digest::PREFIX).unwrap_or(digest).to_owned();
    let mut found = digests.iter().filter(|digest| hex(digest).starts_with(&start));
    match (found.next(), found.next()) {
        (Some(digest), None) => Ok(digest.clone()),
        (None, _) => Err(CliError::new(Exit::NotFound, format!("no module's digest begins with {start}"))),
        (Some(_), Some(_)) => Err(CliError::usage(format!("more than one digest begins with {start}"))),
    }
}

/// A size for people: bytes, or with one digit behind the point.
fn format_size(bytes: u64) -> String {
    const KIB: u64 = 1 << 10;
    const MIB: u64 = 1 << 20;
    let tenths = |scale: u64| format!("{}.{}", bytes / scale, bytes % scale * 10 / scale);
    match bytes {
        0..KIB => format!("{bytes} B"),
        KIB..MIB => format!("{} KiB", tenths(KIB)),
        _ => format!("{} MiB", tenths(MIB)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_a_module_by_its_first_digits() {
        let digests = ["sha256:abc1", "sha256:abd2"].map(str::to_owned);
        assert_eq!(one_of(&digests, "abc").unwrap(), "sha256:abc1");
        assert_eq!(one_of(&digests, "sha256:ABD").unwrap(), "sha256:abd2");
        assert_eq!(one_of(&digests, "ab").unwrap_err().exit(), Exit::Usage);
        assert_eq!(one_of(&digests, "ff").unwrap_err().exit(), Exit::NotFound);
        assert_eq!(one_of(&digests, "../x").unwrap_err().exit(), Exit::Usage);
    }

    #[test]
    fn sizes_are_short() {
        assert_eq!([500, 1536, 3 << 20].map(format_size), ["500 B", "1.5 KiB", "3.0 MiB"]);
    }
}
