//! `bramble secret`

use std::io::IsTerminal;
use std::path::PathBuf;

use anyhow::{Context as _, Result};
use bramble_provider::{DEFAULT_NAMESPACE, SecretName};
use clap::{Args, Subcommand};
use http::Method;

use super::typed::read_bytes;
use super::{Connection, Context};
use crate::api::SecretWrite;
use crate::error::CliError;

/// Longest value, as the gateway takes it.
const MAX_VALUE_BYTES: u64 = 500 * 1_024;

/// Make, list, replace and remove the secrets of functions
#[derive(Debug, Args)]
#[command(after_help = "\
A function that names a secret reads it as the file /var/openfaas/secrets/NAME. After an update, wasm
functions read the new value as soon as they open the file again; containers are replaced one by one.
A value can never be read back from the gateway.

Examples:
  bramble secret create db-password --from-file ./password.txt
  pass show db | bramble secret update db-password
  bramble secret list -n team
  bramble secret remove db-password")]
pub(crate) struct Secret {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Make a new secret
    Create(Write),
    /// Give a secret another value
    Update(Write),
    /// List the names of the secrets
    #[command(visible_alias = "ls")]
    List(List),
    /// Remove a secret that no function needs
    #[command(visible_aliases = ["rm", "delete"])]
    Remove(Remove),
}

#[derive(Debug, Args)]
struct Write {
    /// The secret's name
    #[arg(value_parser = secret_name)]
    name: SecretName,
    /// The value; others on this machine may see it while the command runs
    #[arg(long, value_name = "TEXT", conflicts_with = "from_file")]
    from_literal: Option<String>,
    /// Read the value from this file; from stdin unless one of the two is given
    #[arg(long, value_name = "FILE")]
    from_file: Option<PathBuf>,
    /// Take white space off both ends of the value
    #[arg(long, default_value_t = true, num_args = 0..=1, default_missing_value = "true", action = clap::ArgAction::Set)]
    trim: bool,
    /// Where the secret exists, give it this value
    #[arg(long)]
    replace: bool,
    #[command(flatten)]
    place: Place,
}

#[derive(Debug, Args)]
struct List {
    /// Print the gateway's answer as JSON
    #[arg(short, long, conflicts_with = "quiet")]
    json: bool,
    /// Print names only
    #[arg(short, long)]
    quiet: bool,
    #[command(flatten)]
    place: Place,
}

#[derive(Debug, Args)]
struct Remove {
    /// The secret's name
    #[arg(value_parser = secret_name)]
    name: SecretName,
    #[command(flatten)]
    place: Place,
}

#[derive(Debug, Args)]
struct Place {
    /// The namespace
    #[arg(short, long, value_name = "NAME", default_value = DEFAULT_NAMESPACE)]
    namespace: String,
    #[command(flatten)]
    connection: Connection,
}

impl Secret {
    /// Does what is asked for.
    pub(crate) async fn run(&self, context: &Context) -> Result<()> {
        match &self.verb {
            Verb::Create(write) => write.run(context, write.create()).await,
            Verb::Update(write) => write.run(context, SecretWrite::Update).await,
            Verb::List(list) => list.run(context).await,
            Verb::Remove(remove) => {
                let api = remove.place.connection.api(context)?;
                api.remove_secret(remove.name.as_str(), &remove.place.namespace).await?;
                context.output.line(format!("removed secret {}", remove.name))
            }
        }
    }
}

impl Write {
    fn create(&self) -> SecretWrite {
        if self.replace { SecretWrite::CreateOrUpdate } else { SecretWrite::Create }
    }

    async fn run(&self, context: &Context, write: SecretWrite) -> Result<()> {
        let value = self.value()?;
        let api = self.place.connection.api(context)?;
        let method = api.write_secret(write, self.name.as_str(), &self.place.namespace, &value).await?;
        let done = if method == Method::POST { "created" } else { "updated" };
        context.output.line(format!("{done} secret {}", self.name))
    }

    fn value(&self) -> Result<Vec<u8>> {
        let value = match (&self.from_literal, &self.from_file) {
            (Some(text), _) => read_bytes(text.as_bytes(), MAX_VALUE_BYTES, "the value")?,
            (None, Some(path)) => {
                let shown = path.display().to_string();
                let file = std::fs::File::open(path).with_context(|| format!("reading {shown}"))?;
                read_bytes(file, MAX_VALUE_BYTES, &shown)?
            }
            (None, None) => {
                let stdin = std::io::stdin();
                if stdin.is_terminal() {
                    let error = CliError::usage("there is no value");
                    return Err(error.hint("pipe it in, or name a file with --from-file").into());
                }
                read_bytes(stdin, MAX_VALUE_BYTES, "the value")?
            }
        };
        let value = if self.trim { value.trim_ascii() } else { &value };
        if value.is_empty() {
            Err(CliError::usage("the value is empty").into())
        } else {
            Ok(value.to_owned())
        }
    }
}

impl List {
    async fn run(&self, context: &Context) -> Result<()> {
        let answer = self.place.connection.api(context)?.secrets(&self.place.namespace).await?;
        if self.json {
            return context.output.json(&answer);
        }
        let names = answer.as_array().into_iter().flatten().filter_map(|secret| secret["name"].as_str());
        if self.quiet {
            return names.into_iter().try_for_each(|name| context.output.line(name));
        }
        let rows: Vec<_> = names.map(|name| [name.to_owned()]).collect();
        context.output.table(["NAME"], &rows)
    }
}

fn secret_name(text: &str) -> Result<SecretName, String> {
    SecretName::parse(text).map_err(|error| error.to_string())
}
