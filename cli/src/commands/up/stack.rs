//! `bramble up -f`: build, push and deploy a stack's functions, once or after each change.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::Metadata;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use anyhow::Result;
use bramble_gateway::GatewayConfig;
use clap::Args;

use super::super::build::build;
use super::super::deploy;
use super::super::push::push_images;
use super::super::{Context, is_unreachable};
use super::{Up, credentials, detach};
use crate::config::resolve;
use crate::error::CliError;
use crate::stack::{Code, Makes, Stack};
use crate::templates::{Templates, is_executable, list_folder};
use bramble_provider::HttpUrl;

/// Time between two looks at the source with --watch.
const LOOK: Duration = Duration::from_millis(300);

/// Which steps are taken, and how often.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Stack file")]
pub(super) struct RolloutFlags {
    /// Do not push container images
    #[arg(long, requires = "yaml")]
    skip_push: bool,
    /// Build and push only
    #[arg(long, requires = "yaml")]
    skip_deploy: bool,
    /// Do it again whenever the stack file, or what it names changes (a handler, a module, a copied folder, a
    /// template of its own), until it is interrupted
    #[arg(long, requires = "yaml")]
    watch: bool,
}

/// Brings the functions up.
pub(super) async fn run(up: &Up, context: &Context) -> Result<()> {
    let stack = load(up, context).await?;
    if !up.rollout.skip_deploy {
        start_gateway(up, &stack, context).await?;
    }
    if !up.rollout.watch {
        return bring_up(up, &stack, context).await;
    }
    let mut seen = look(&stack, up);
    report(bring_up(up, &stack, context).await, context);
    context.output.note("watching for changes; interrupt to stop");
    let mut ticks = tokio::time::interval(LOOK);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut stack = stack;
    loop {
        ticks.tick().await;
        let now = look(&stack, up);
        if now == seen {
            continue;
        }
        // What changes while it is built is found at the next look.
        seen = now;
        match load(up, context).await {
            Ok(read) => stack = read,
            Err(error) => {
                report(Err(error), context);
                continue;
            }
        }
        report(bring_up(up, &stack, context).await, context);
    }
}

async fn bring_up(up: &Up, stack: &Stack, context: &Context) -> Result<()> {
    for built in build(stack, &up.build, context).await? {
        context.output.line(format!("built {}  {}", built.name, built.made))?;
    }
    if up.build.is_shrinkwrap() {
        return Ok(());
    }
    if !up.rollout.skip_push {
        push_images(stack, up.build.parallel(), context.output).await?;
    }
    if up.rollout.skip_deploy {
        return Ok(());
    }
    let rollout = deploy::stack::Rollout { options: &up.options, parallel: up.build.parallel(), json: false };
    deploy::stack::run(stack, &rollout, &up.connection, context).await
}

async fn load(up: &Up, context: &Context) -> Result<Stack> {
    Ok(up.options.place().stack(Stack::load(&up.stack, context).await?)?)
}

/// A gateway in the background, when the one that is meant would be this machine's and there is none.
async fn start_gateway(up: &Up, stack: &Stack, context: &Context) -> Result<()> {
    let api = up.connection.of_stack(context, stack)?;
    let is_up = match api.is_ready().await {
        Err(error) => !is_unreachable(&error),
        Ok(_) => true,
    };
    if is_up && up.swarm_init.is_none() {
        return Ok(());
    }
    let resolve = |flags: &_| resolve(flags, &context.environment, &context.directory);
    let resolved = resolve(&up.flags)?;
    // Before anything is made for it.
    if !would_be_at(&resolved.settings.gateway, api.client().url()) {
        return match up.swarm_init {
            Some(_) => Err(elsewhere(api.client().url()).into()),
            None => Ok(()),
        };
    }
    up.init_swarm(&resolved.settings, context).await?;
    if is_up {
        return Ok(());
    }
    let flags = credentials::provide(up.flags.clone(), &resolved)?;
    let resolved = resolve(&flags)?;
    let login = credentials::read(&resolved)?;
    context.output.note("there is no gateway yet: starting one; `bramble down` stops it");
    detach::run(&flags, &resolved.settings, Vec::new(), login.as_ref(), context).await
}

/// Whether a gateway with these settings would be the one at a URL.
fn would_be_at(gateway: &GatewayConfig, url: &HttpUrl) -> bool {
    HttpUrl::local(gateway.listen).over_tls(gateway.tls_cert.is_some()) == *url
}

fn elsewhere(url: &HttpUrl) -> CliError {
    CliError::usage(format!("--swarm-init is for the Docker of this machine, and the gateway is at {url}"))
        .hint("type `bramble up --swarm-init` where that gateway is started")
}

fn report(done: Result<()>, context: &Context) {
    if let Err(error) = done {
        let hint = error.downcast_ref::<CliError>().and_then(|error| error.hint_text());
        context.output.complain(format!("{error:#}"), hint);
    }
}

/// When a file was written, how long it is, and whether it can be run.
type Stamp = (Option<SystemTime>, u64, bool);

/// What the functions are made of looks like, without what builds make of it.
fn look(stack: &Stack, up: &Up) -> BTreeMap<PathBuf, Stamp> {
    let stamp = |metadata: &Metadata| (metadata.modified().ok(), metadata.len(), is_executable(metadata));
    let (mut seen, builds) = (BTreeMap::new(), stack.build_folder());
    let sources = sources(stack);
    for file in up.stack.file().into_iter().chain(sources.files) {
        let stamp = std::fs::metadata(&file).map_or((None, 0, false), |metadata| stamp(&metadata));
        seen.insert(file, stamp);
    }
    for folder in sources.folders {
        // One that is being changed may not be readable for a moment: the next look sees it.
        for (file, metadata) in list_folder(&folder, Some(&builds)).unwrap_or_default() {
            seen.insert(folder.join(file), stamp(&metadata));
        }
    }
    for made in sources.made {
        seen.remove(&made);
    }
    seen
}

/// Where what a stack's functions are made of is.
#[derive(Debug, Default)]
struct Sources {
    files: BTreeSet<PathBuf>,
    folders: BTreeSet<PathBuf>,
    /// Modules that builds make, which may lie in a folder of these.
    made: BTreeSet<PathBuf>,
}

fn sources(stack: &Stack) -> Sources {
    let mut sources = Sources::default();
    sources.folders.extend(stack.copy.iter().map(|folder| stack.path(folder)));
    for (name, function) in &stack.functions {
        sources.files.extend(function.environment_file.iter().map(|file| stack.path(file)));
        sources.folders.extend(function.handler.iter().map(|folder| stack.path(folder)));
        // What is wrong with one is told when it is brought up; its template may be what is repaired.
        sources
            .folders
            .extend(function.lang().and_then(|lang| Templates::beside(&stack.directory).folder(lang)));
        let Ok(plan) = stack.plan(name, function) else { continue };
        let made = plan.build.map(|build| build.makes);
        if let Some(Makes::Module(made)) = made {
            sources.made.insert(made);
        } else if let Code::Module(module) | Code::Hybrid { module, .. } = plan.code {
            sources.files.insert(module);
        }
    }
    sources
}
