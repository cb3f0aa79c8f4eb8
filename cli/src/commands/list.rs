//! `bramble list`

use anyhow::Result;
use bramble_provider::DEFAULT_NAMESPACE;
use clap::{Args, ValueEnum};
use serde_json::Value;

use super::{Connection, Context, short_digest, short_time};
use crate::api::{Api, FunctionStatus, read};

/// List the functions
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  bramble list
  bramble list --sort invocations
  bramble list -q | xargs bramble remove
  bramble list --json | jq '.[].name'")]
pub(crate) struct List {
    /// Print the gateway's answer as JSON
    #[arg(short, long, conflicts_with_all = ["quiet", "verbose"])]
    json: bool,
    /// Print names only
    #[arg(short, long, conflicts_with = "verbose")]
    quiet: bool,
    /// Print whole digests, the process and the date too
    #[arg(short, long)]
    verbose: bool,
    /// The functions of this namespace
    #[arg(short, long, value_name = "NAME", default_value = DEFAULT_NAMESPACE)]
    namespace: String,
    /// The functions of all namespaces
    #[arg(long, conflicts_with = "namespace")]
    all_namespaces: bool,
    /// What comes first: by name, the most invocations, or what was deployed last
    #[arg(long, value_enum, value_name = "ORDER", default_value_t = Order::Name)]
    sort: Order,
    #[command(flatten)]
    connection: Connection,
}

/// In which order functions are listed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Order {
    Name,
    Invocations,
    Creation,
}

impl List {
    /// Asks and prints.
    pub(crate) async fn run(&self, context: &Context) -> Result<()> {
        let api = self.connection.api(context)?;
        let answer = match self.all_namespaces {
            true => everywhere(&api).await?,
            false => api.functions(&self.namespace).await?,
        };
        if self.json {
            return context.output.json(&answer);
        }
        let mut functions: Vec<FunctionStatus> = read(&answer)?;
        functions.sort_by_key(full_name);
        match self.sort {
            Order::Name => {}
            Order::Invocations => {
                functions.sort_by(|a, b| b.invocation_count.total_cmp(&a.invocation_count));
            }
            // Times of one form and zone sort as they are written.
            Order::Creation => functions.sort_by(|a, b| b.created_at.cmp(&a.created_at)),
        }
        if self.quiet {
            let names: String = functions.iter().map(|function| full_name(function) + "\n").collect();
            return context.output.bytes(names.as_bytes());
        }
        if functions.is_empty() {
            context.output.note("no functions yet; deploy one with `bramble deploy FILE.wasm`");
        }
        if self.verbose {
            let row = |function: &FunctionStatus| {
                let [name, image, replicas, count] = columns(function, function.image.clone());
                [
                    name,
                    image,
                    replicas,
                    count,
                    function.env_process.clone(),
                    short_time(&function.created_at, 0),
                ]
            };
            let headings = ["NAME", "IMAGE", "REPLICAS", "INVOCATIONS", "PROCESS", "CREATED"];
            return context.output.table(headings, &functions.iter().map(row).collect::<Vec<_>>());
        }
        let row = |function: &FunctionStatus| columns(function, short_digest(&function.image).to_owned());
        let rows: Vec<_> = functions.iter().map(row).collect();
        context.output.table(["NAME", "IMAGE", "REPLICAS", "INVOCATIONS"], &rows)
    }
}

/// Every function, as the gateway said it of each namespace.
async fn everywhere(api: &Api) -> Result<Value> {
    let mut all = Vec::new();
    for namespace in api.namespaces().await? {
        match api.functions(&namespace).await? {
            Value::Array(functions) => all.extend(functions),
            other => all.push(other),
        }
    }
    Ok(all.into())
}

/// The name as the other verbs take it.
pub(crate) fn full_name(function: &FunctionStatus) -> String {
    match function.namespace.as_str() {
        "" | DEFAULT_NAMESPACE => function.name.clone(),
        namespace => format!("{}.{namespace}", function.name),
    }
}

fn columns(function: &FunctionStatus, image: String) -> [String; 4] {
    [
        full_name(function),
        image,
        format!("{}/{}", function.available_replicas, function.replicas),
        format!("{:.0}", function.invocation_count),
    ]
}
