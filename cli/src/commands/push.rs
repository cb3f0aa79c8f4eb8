//! `bramble push`

use std::process::{Command, Stdio};

use anyhow::Result;
use clap::Args;

use super::build::{BuildFlags, images};
use super::{Connection, Context};
use crate::error::CliError;
use crate::output::Output;
use crate::rollout::{in_parallel, prepare, stored, upload};
use crate::stack::{Stack, StackFlags};

/// Send what was built to where it runs from
#[derive(Debug, Args)]
#[command(after_help = "\
A container image goes to its registry, by `docker push`; a wasm module goes to the gateway, which
checks and stores it under its digest.

Examples:
  bramble push -f stack.yml
  bramble push -f stack.yml --parallel 4")]
pub(crate) struct Push {
    #[command(flatten)]
    stack: StackFlags,
    #[command(flatten)]
    build: BuildFlags,
    #[command(flatten)]
    connection: Connection,
}

impl Push {
    /// Sends, and prints what is where.
    pub(crate) async fn run(&self, context: &Context) -> Result<()> {
        let stack = Stack::load(&self.stack, context).await?;
        push_images(&stack, self.build.parallel(), context.output).await?;
        let mut modules = Vec::new();
        for (name, function) in &stack.functions {
            if let Some(module) = prepare(&stack, name, function)?.module {
                modules.push((name.clone(), module));
            }
        }
        if modules.is_empty() {
            return Ok(());
        }
        let api = self.connection.of_stack(context, &stack)?;
        let stored = stored(&api).await?;
        let output = context.output;
        let tasks = modules.into_iter().map(|(name, module)| {
            let (api, is_stored, digest) =
                (api.clone(), stored.contains(&module.digest), module.digest.clone());
            async move {
                if !is_stored {
                    upload(&api, &name, module, output).await?;
                }
                output.line(format!("pushed {name}  {digest}"))
            }
        });
        in_parallel(tasks, self.build.parallel(), output).await.map(drop)
    }
}

/// Pushes the images that a stack builds.
///
/// # Errors
/// The first failure; the others are pushed all the same.
pub(super) async fn push_images(stack: &Stack, parallel: usize, output: Output) -> Result<()> {
    let tasks = images(stack)?.into_iter().map(|image| async move {
        tokio::task::spawn_blocking(move || {
            let spinner = output.spinner(format!("pushing {image}"));
            let mut docker = Command::new("docker");
            docker.args(["push", "--quiet", &image]).stdin(Stdio::null());
            let done = docker.output().map_err(|error| {
                CliError::failed(format!("cannot push {image}: docker does not start: {error}"))
            })?;
            drop(spinner);
            if !done.status.success() {
                let said = String::from_utf8_lossy(&done.stderr);
                return Err(CliError::failed(format!("cannot push {image}: {}", said.trim()))
                    .hint("`docker login` first, or --skip-push where the image need not leave this machine")
                    .into());
            }
            output.line(format!("pushed {image}"))
        })
        .await?
    });
    in_parallel(tasks, parallel, output).await.map(drop)
}
