//! `bramble template`

use anyhow::Result;
use clap::{Args, Subcommand};

use super::Context;
use super::new::list;
use crate::error::CliError;
use crate::stack::{Stack, StackFlags};
use crate::templates::{ADDRESS_VARIABLE, FOLDER, Templates, place, pull};

/// List, fetch and write templates
#[derive(Debug, Args)]
#[command(after_help = "\
A template is a folder ./template/NAME: `template.yml`, a folder `function` with what a new function begins
as, and beside it either a Dockerfile or, when template.yml has a `build`, that script. The script is run by
sh in a folder with the function's source in ./function, and writes a WASI program to $BRAMBLE_OUTPUT; exit
code 69 says that a tool is missing. $BRAMBLE_HANDLER is where the source was copied from, without `target`,
`node_modules` and `.git`. A pulled template's script runs on this machine: read it first.

Examples:
  bramble template list
  bramble template pull https://git.example.org/me/templates#v2
  bramble template pull ../templates --only rust-http
  bramble template pull -f stack.yml              those that configuration.templates names
  bramble template pull stack                     the same, of the stack.yml that is here
  bramble template new my-rust --from rust        a copy of one to change")]
pub(crate) struct Template {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    List(List),
    Pull(Pull),
    New(NewTemplate),
}

/// List the templates
#[derive(Debug, Args)]
struct List {
    /// Print JSON
    #[arg(short, long)]
    json: bool,
}

/// Copy templates to ./template from a folder or a git repository
#[derive(Debug, Args)]
struct Pull {
    /// A folder, or a git address with `#BRANCH` or `#TAG` [env: OPENFAAS_TEMPLATE_URL]
    #[arg(value_name = "ADDRESS", conflicts_with = "yaml")]
    address: Option<String>,
    /// Only this one
    #[arg(long, value_name = "NAME", conflicts_with = "yaml")]
    only: Option<String>,
    /// Replace those that are there
    #[arg(long)]
    overwrite: bool,
    #[command(flatten)]
    stack: StackFlags,
}

/// Write a template to ./template as a copy of another
#[derive(Debug, Args)]
#[command(name = "new")]
struct NewTemplate {
    /// Its name
    name: String,
    /// The one to copy
    #[arg(long, value_name = "TEMPLATE")]
    from: String,
}

impl Template {
    /// Does what was asked.
    pub(crate) async fn run(&self, context: &Context) -> Result<()> {
        match &self.command {
            Command::List(command) => list(&Templates::beside(&context.directory), command.json, context),
            Command::Pull(command) => command.run(context).await,
            Command::New(command) => command.run(context),
        }
    }
}

impl Pull {
    async fn run(&self, context: &Context) -> Result<()> {
        let directory = context.directory.clone();
        let mut wanted = Vec::new();
        // As faas-cli says it, unless it is a folder.
        let of_stack = self.address.as_deref() == Some("stack") && !directory.join("stack").exists();
        if self.stack.is_given() || of_stack {
            for template in Stack::load(&self.stack, context).await?.templates {
                match template.source {
                    Some(source) => wanted.push((source, Some(template.name))),
                    None => context.output.warn(format!("template {} has no source", template.name)),
                }
            }
            if wanted.is_empty() {
                let message = "the stack file names no source of a template in configuration.templates";
                return Err(CliError::usage(message).into());
            }
        } else {
            let address = match &self.address {
                Some(address) => Some(address.as_str()),
                None => context.environment.get(ADDRESS_VARIABLE)?,
            };
            let address = address.ok_or_else(|| {
                CliError::usage("where are the templates?")
                    .hint(format!("give a folder or a git address, or set {ADDRESS_VARIABLE}"))
            })?;
            wanted.push((address.to_owned(), self.only.clone()));
        }
        for (address, only) in wanted {
            let spinner = context.output.spinner(format!("fetching {address}"));
            let (directory, overwrite) = (directory.clone(), self.overwrite);
            let pulling = move || pull(&address, &directory, only.as_deref(), overwrite);
            let pulled = tokio::task::spawn_blocking(pulling).await??;
            drop(spinner);
            for name in pulled {
                context.output.line(format!("pulled {FOLDER}/{name}"))?;
            }
        }
        Ok(())
    }
}

impl NewTemplate {
    fn run(&self, context: &Context) -> Result<()> {
        let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
        if self.name.is_empty() || !self.name.chars().all(plain) {
            let message = format!("{:?} is no template's name: use a-z, 0-9 and `-`", self.name);
            return Err(CliError::usage(message).into());
        }
        let templates = Templates::beside(&context.directory);
        let from = templates.find(&self.from)?.ok_or_else(|| {
            CliError::usage(format!("there is no template {:?}", self.from))
                .hint("`bramble template list` names them")
        })?;
        let folder = context.directory.join(FOLDER).join(&self.name);
        if folder.exists() {
            return Err(CliError::usage(format!("{} is there already", folder.display())).into());
        }
        place(&from.all_files()?, &folder)?;
        context.output.line(format!("wrote {FOLDER}/{}, a copy of {}", self.name, self.from))
    }
}
