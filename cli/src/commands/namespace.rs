//! `bramble namespace`

use std::collections::BTreeMap;

use anyhow::Result;
use clap::{Args, Subcommand};
use http::Method;
use serde_json::{Value, json};

use super::{Connection, Context, key_value};

/// Make, list, describe, change and remove namespaces
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
#[command(after_help = "\
A function is deployed into a namespace as NAME.NAMESPACE, or with --namespace. A namespace need not be
made first; it is there as long as it was made, or has a function or a secret in it.

Examples:
  bramble namespace create team --label owner=ops
  bramble namespace list                    as `bramble namespace` alone does
  bramble namespace remove team")]
pub(crate) struct Namespace {
    #[command(subcommand)]
    verb: Option<Verb>,
    #[command(flatten)]
    list: List,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Make a namespace
    Create(Write),
    /// Replace what is written on a namespace
    Update(Write),
    /// Print what is written on a namespace
    #[command(visible_alias = "get")]
    Describe(Named),
    /// List the namespaces
    #[command(visible_alias = "ls")]
    List(List),
    /// Remove a namespace in which nothing is
    #[command(visible_aliases = ["rm", "delete"])]
    Remove(Named),
}

#[derive(Debug, Args)]
struct Write {
    /// The namespace
    name: String,
    /// A label
    #[arg(short, long, value_name = "KEY=VALUE", value_parser = key_value)]
    label: Vec<(String, String)>,
    /// An annotation
    #[arg(long, value_name = "KEY=VALUE", value_parser = key_value)]
    annotation: Vec<(String, String)>,
    #[command(flatten)]
    connection: Connection,
}

#[derive(Debug, Args)]
struct Named {
    /// The namespace
    name: String,
    #[command(flatten)]
    connection: Connection,
}

#[derive(Debug, Args)]
struct List {
    /// Print the gateway's answer as JSON
    #[arg(short, long)]
    json: bool,
    #[command(flatten)]
    connection: Connection,
}

impl Namespace {
    /// Does what is asked for.
    pub(crate) async fn run(&self, context: &Context) -> Result<()> {
        let output = context.output;
        match &self.verb {
            None => self.list.run(context).await,
            Some(Verb::Create(write)) => write.run(context, Method::POST, "created").await,
            Some(Verb::Update(write)) => write.run(context, Method::PUT, "updated").await,
            Some(Verb::Describe(Named { name, connection })) => {
                output.json(&connection.api(context)?.namespace(name).await?)
            }
            Some(Verb::List(list)) => list.run(context).await,
            Some(Verb::Remove(Named { name, connection })) => {
                connection.api(context)?.write_namespace(Method::DELETE, name, None).await?;
                output.line(format!("removed namespace {name}"))
            }
        }
    }
}

impl List {
    async fn run(&self, context: &Context) -> Result<()> {
        let names = self.connection.api(context)?.namespaces().await?;
        match self.json {
            true => context.output.json(&names),
            false => names.iter().try_for_each(|name| context.output.line(name)),
        }
    }
}

impl Write {
    async fn run(&self, context: &Context, method: Method, done: &str) -> Result<()> {
        let pairs = |pairs: &[(String, String)]| pairs.iter().cloned().collect::<BTreeMap<_, _>>();
        let document: Value =
            json!({"name": self.name, "labels": pairs(&self.label), "annotations": pairs(&self.annotation)});
        self.connection.api(context)?.write_namespace(method, &self.name, Some(&document)).await?;
        context.output.line(format!("{done} namespace {}", self.name))
    }
}
