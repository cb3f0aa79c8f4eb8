//! `bramble store`

mod catalogue;

use anyhow::Result;
use clap::{Args, Subcommand};
use serde_json::json;

use super::deploy::Options;
use super::{Connection, Context, function_name};
use crate::api::Deployment;
use crate::output::Style;
use crate::rollout::{Prepared, deploy};
use bramble_gateway::api::store::{Entry, WASM_PLATFORM};
use catalogue::Catalogue;

/// List and deploy ready-made functions
#[derive(Debug, Args)]
#[command(after_help = "\
A store is a list of functions as OpenFaaS has them (`functions.json`). Bramble's own is in this command:
the sample functions, whose wasm files are looked for in the folder that --samples names, which
examples/build.sh of the sources fills. A .wasm file in another store is looked for beside its list.

Examples:
  bramble store list
  bramble store inspect figlet
  bramble store deploy figlet --samples ~/.cache/bramble/examples
  bramble store deploy figlet --name banner -n team --env exec_timeout=2s
  bramble store list --url ./functions.json
  bramble store deploy nodeinfo --platform x86_64         its container image")]
pub(crate) struct Store {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    #[command(visible_alias = "ls")]
    List(List),
    #[command(visible_alias = "describe")]
    Inspect(Inspect),
    Deploy(Box<Deploy>),
}

/// Which store, and which of its images.
#[derive(Debug, Args)]
struct StoreFlags {
    /// The list: a file or a URL [env: OPENFAAS_STORE] [default: the one in this command]
    #[arg(long, value_name = "FILE|URL")]
    url: Option<String>,
    /// The images for this platform
    #[arg(short, long, value_name = "PLATFORM", default_value = WASM_PLATFORM)]
    platform: String,
}

/// List the functions of a store
#[derive(Debug, Args)]
struct List {
    #[command(flatten)]
    store: StoreFlags,
    /// Those for other platforms too
    #[arg(short, long)]
    all: bool,
    /// Print JSON
    #[arg(short, long)]
    json: bool,
}

/// Print everything that a store says about a function, as JSON
#[derive(Debug, Args)]
struct Inspect {
    /// The function
    name: String,
    #[command(flatten)]
    store: StoreFlags,
}

/// Deploy a function of a store
#[derive(Debug, Args)]
struct Deploy {
    /// The function
    name: String,
    /// Call it this
    #[arg(long = "name", alias = "as", value_name = "NAME")]
    called: Option<String>,
    /// Where the wasm files of Bramble's own store are [env: BRAMBLE_SAMPLES]
    #[arg(long, value_name = "FOLDER")]
    samples: Option<std::path::PathBuf>,
    /// Print JSON
    #[arg(short, long)]
    json: bool,
    #[command(flatten)]
    store: StoreFlags,
    #[command(flatten)]
    connection: Connection,
    #[command(flatten)]
    options: Options,
}

impl Store {
    /// Does what was asked.
    pub(crate) async fn run(&self, context: &Context) -> Result<()> {
        match &self.command {
            Command::List(command) => command.run(context).await,
            Command::Inspect(command) => command.run(context).await,
            Command::Deploy(command) => command.run(context).await,
        }
    }
}

impl StoreFlags {
    async fn read(&self, context: &Context) -> Result<Catalogue> {
        let named = match &self.url {
            Some(url) => Some(url.as_str()),
            None => context.environment.get("OPENFAAS_STORE")?,
        };
        Catalogue::read(named, &context.directory).await
    }
}

impl List {
    async fn run(&self, context: &Context) -> Result<()> {
        let catalogue = self.store.read(context).await?;
        let platform = &self.store.platform;
        let chosen = |entry: &&Entry| self.all || entry.image(platform).is_some();
        let entries: Vec<&Entry> = catalogue.entries().iter().filter(chosen).collect();
        if self.json {
            return context.output.json(&entries);
        }
        if entries.is_empty() {
            context
                .output
                .note(format!("no function of {} is for {platform}; see --all", catalogue.source()));
        }
        let row = |entry: &&Entry| {
            [
                entry.name.clone(),
                entry.platforms(),
                entry.description.lines().next().unwrap_or_default().to_owned(),
            ]
        };
        let rows: Vec<_> = entries.iter().map(row).collect();
        context.output.table(["FUNCTION", "PLATFORMS", "DESCRIPTION"], &rows)
    }
}

impl Inspect {
    async fn run(&self, context: &Context) -> Result<()> {
        let catalogue = self.store.read(context).await?;
        context.output.json(catalogue.find(&self.name)?)
    }
}

impl Deploy {
    async fn run(&self, context: &Context) -> Result<()> {
        let catalogue = self.store.read(context).await?;
        let entry = catalogue.find(&self.name)?;
        let name =
            self.options.place().name(&function_name(self.called.as_deref().unwrap_or(&entry.name))?)?;
        let samples = match &self.samples {
            Some(samples) => Some(samples.clone()),
            None => context.environment.get("BRAMBLE_SAMPLES")?.map(Into::into),
        };
        let (image, module) = catalogue.code(entry, &self.store.platform, samples.as_deref()).await?;
        let mut deployment = Deployment {
            env_process: entry.fprocess.clone().filter(|words| !words.is_empty()),
            env_vars: entry.environment.clone(),
            labels: entry.labels.clone(),
            annotations: entry.annotations.clone(),
            read_only_root_filesystem: entry.read_only_root_filesystem,
            ..Deployment::new(&name, image)
        };
        self.options.add_to(&mut deployment);
        let api = self.connection.api(context)?;
        let prepared = Prepared { name: name.clone(), deployment, module };
        let done = deploy(api.clone(), prepared, false, self.options.existing(), context.output).await?;
        let url = api.invoke_url(&name);
        if self.json {
            return context.output.json(&json!({"name": name, "url": url, "image": done.deployment.image}));
        }
        context.output.line(format!("deployed {}  {url}", context.output.paint(Style::Bold, name.as_str())))
    }
}
