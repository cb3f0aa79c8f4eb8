//! `bramble queue`

use anyhow::Result;
use clap::{Args, Subcommand};
use serde::Deserialize;
use serde_json::Value;

use super::{Connection, Context, short_time};
use crate::api::read;

/// Most calls that are asked for at once.
const MOST_LISTED: usize = 10_000;

/// Look after asynchronous invocations
#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
#[command(after_help = "\
Examples:
  bramble invoke --async hello              queue one; prints its call id
  bramble queue                             what waits and runs
  bramble queue status 5f1c…                how one is
  bramble queue dead                        those that were given up, and why
  bramble queue replay --all                run them again")]
pub(crate) struct Queue {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    list: List,
}

#[derive(Debug, Subcommand)]
enum Command {
    List(List),
    Status(One),
    Cancel(Cancel),
    Dead(Dead),
    Replay(Replay),
}

/// List what waits and runs, the oldest first
#[derive(Debug, Args)]
struct List {
    #[command(flatten)]
    what: What,
}

/// Show one invocation
#[derive(Debug, Args)]
struct One {
    /// The call id
    id: String,
    #[command(flatten)]
    connection: Connection,
}

/// Take an invocation back, which is stopped if it runs, or a dead letter away
#[derive(Debug, Args)]
struct Cancel {
    /// The call id
    id: String,
    #[command(flatten)]
    connection: Connection,
}

/// List the invocations that were given up, and why
#[derive(Debug, Args)]
struct Dead {
    #[command(flatten)]
    what: What,
}

/// Run invocations again that were given up
#[derive(Debug, Args)]
struct Replay {
    /// The call id
    #[arg(required_unless_present = "all", conflicts_with = "all")]
    id: Option<String>,
    /// All of them
    #[arg(long)]
    all: bool,
    #[command(flatten)]
    connection: Connection,
}

/// Which ones are listed, and how.
#[derive(Debug, Args)]
struct What {
    /// Those of this function
    #[arg(long, value_name = "NAME")]
    function: Option<String>,
    /// At most so many
    #[arg(long, value_name = "N", default_value_t = 100)]
    limit: usize,
    /// Print the gateway's answer as JSON
    #[arg(short, long)]
    json: bool,
    #[command(flatten)]
    connection: Connection,
}

/// One invocation, as the gateway tells it.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Call {
    call_id: String,
    function_name: String,
    state: String,
    starts: u32,
    accepted_at: String,
    #[serde(default)]
    reason: String,
}

impl Queue {
    /// Asks and prints.
    pub(crate) async fn run(&self, context: &Context) -> Result<()> {
        match &self.command {
            None => self.list.run(context).await,
            Some(Command::List(list)) => list.run(context).await,
            Some(Command::Status(one)) => {
                let call = one.connection.api(context)?.queued(&one.id).await?;
                context.output.json(&call)
            }
            Some(Command::Cancel(one)) => {
                let answer = one.connection.api(context)?.cancel_queued(&one.id).await?;
                let began = answer["wasRunning"] == Value::Bool(true);
                context.output.note(if began {
                    "it ran, and is stopped; it will not be run again, nor its callback sent"
                } else {
                    "taken out"
                });
                Ok(())
            }
            Some(Command::Dead(dead)) => dead.run(context).await,
            Some(Command::Replay(replay)) => replay.run(context).await,
        }
    }
}

impl List {
    async fn run(&self, context: &Context) -> Result<()> {
        let What { function, limit, json, connection } = &self.what;
        let answer = connection.api(context)?.queue(function.as_deref(), *limit).await?;
        if *json {
            return context.output.json(&answer);
        }
        let calls: Vec<Call> = read(&answer["calls"])?;
        let count = |key: &str| answer[key].as_u64().unwrap_or_default();
        context.output.note(format!(
            "{} unfinished, {} running, {} given up (`bramble queue dead`)",
            count("unfinished"),
            count("running"),
            count("dead")
        ));
        let rows: Vec<_> = calls
            .into_iter()
            .map(|call| {
                let accepted = short_time(&call.accepted_at, 0);
                [call.call_id, call.function_name, call.state, call.starts.to_string(), accepted]
            })
            .collect();
        context.output.table(["CALL ID", "FUNCTION", "STATE", "STARTS", "ACCEPTED"], &rows)
    }
}

impl Dead {
    async fn run(&self, context: &Context) -> Result<()> {
        let What { function, limit, json, connection } = &self.what;
        let answer = connection.api(context)?.dead_letters(function.as_deref(), *limit).await?;
        if *json {
            return context.output.json(&answer);
        }
        let calls: Vec<Call> = read(&answer)?;
        let rows: Vec<_> = calls
            .into_iter()
            .map(|call| [call.call_id, call.function_name, call.starts.to_string(), call.reason])
            .collect();
        context.output.table(["CALL ID", "FUNCTION", "STARTS", "REASON"], &rows)
    }
}

impl Replay {
    async fn run(&self, context: &Context) -> Result<()> {
        let api = self.connection.api(context)?;
        let ids = match &self.id {
            Some(id) => vec![id.clone()],
            None => {
                let dead: Vec<Call> = read(&api.dead_letters(None, MOST_LISTED).await?)?;
                dead.into_iter().map(|call| call.call_id).collect()
            }
        };
        for id in &ids {
            api.replay(id).await?;
        }
        context.output.note(format!("{} queued again", ids.len()));
        Ok(())
    }
}
