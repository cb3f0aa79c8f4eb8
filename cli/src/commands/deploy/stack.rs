//! `bramble deploy -f`: the functions of a stack file.

use anyhow::Result;
use serde_json::json;

use super::super::{Connection, Context};
use super::Options;
use crate::output::Style;
use crate::rollout::{deploy, in_parallel, prepare, stored};
use crate::stack::Stack;

/// How the functions of a stack are deployed.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rollout<'a> {
    /// What is added to each, and wins over the file.
    pub(crate) options: &'a Options,
    /// How many at once.
    pub(crate) parallel: usize,
    /// Whether what was done is printed as JSON.
    pub(crate) json: bool,
}

/// Uploads what is not stored yet, deploys all, and prints where they are.
pub(crate) async fn run(
    stack: &Stack,
    rollout: &Rollout<'_>,
    connection: &Connection,
    context: &Context,
) -> Result<()> {
    let Rollout { options, parallel, json } = *rollout;
    let existing = options.existing();
    let mut prepared = Vec::new();
    for (name, function) in &stack.functions {
        let mut function = prepare(stack, name, function)?;
        options.add_to(&mut function.deployment);
        prepared.push(function);
    }
    let api = connection.of_stack(context, stack)?;
    // What needs no upload asks no question.
    let known = match prepared.iter().any(|function| function.module.is_some()) {
        true => stored(&api).await?,
        false => Default::default(),
    };
    let output = context.output;
    let tasks = prepared.into_iter().map(|function| {
        let is_stored = function.module.as_ref().is_some_and(|module| known.contains(&module.digest));
        let api = api.clone();
        async move {
            let done = deploy(api.clone(), function, is_stored, existing, output).await?;
            let url = api.invoke_url(&done.name);
            if !json {
                output.line(format!("deployed {}  {url}", output.paint(Style::Bold, done.name.as_str())))?;
            }
            Ok(json!({"name": done.name, "url": url, "image": done.deployment.image}))
        }
    });
    let mut done = in_parallel(tasks, parallel, output).await?;
    if json {
        done.sort_by_key(|function| function["name"].to_string());
        output.json(&done)?;
    }
    Ok(())
}
