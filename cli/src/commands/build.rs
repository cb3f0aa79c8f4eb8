//! `bramble build`

use anyhow::Result;
use clap::Args;
use serde_json::json;

use super::{Context, key_value};
use crate::build::{Job, Options};
use crate::rollout::in_parallel;
use crate::stack::{Makes, Stack, StackFlags};

/// Build the functions of a stack file
#[derive(Debug, Args)]
#[command(after_help = "\
A function whose template is for wasm becomes build/NAME.wasm beside the stack file, without Docker; any
other becomes the container image that the file names, by `docker build`. Nothing is installed: a tool
that is missing is named, with how to get it. The whole output of a build is in build/NAME.log.

Rust needs a compiler for wasm32-wasip1: the one in PATH when it has the target, else `rustup target add`
gets it, else one is made in the cache from Debian's packages (a minute, once); BRAMBLE_RUSTC names another.

Examples:
  bramble build                             every function of stack.yml
  bramble build -f hello.yml
  bramble build -f stack.yml --filter 'api-*' --parallel 2
  bramble build -f stack.yml --shrinkwrap   only write what would be built")]
pub(crate) struct Build {
    #[command(flatten)]
    stack: StackFlags,
    #[command(flatten)]
    build: BuildFlags,
    /// Print what was built as JSON
    #[arg(short, long)]
    json: bool,
}

/// How functions are built.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Build")]
pub(crate) struct BuildFlags {
    /// Build, push or deploy so many functions at once
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=64))]
    parallel: u16,
    /// Build container images from nothing
    #[arg(long)]
    no_cache: bool,
    /// Only write the folders that would be built
    #[arg(long)]
    shrinkwrap: bool,
    /// Ask the registry for newer base images
    #[arg(long)]
    pull: bool,
    /// Give the builds of images this argument
    #[arg(short = 'b', long, value_name = "KEY=VALUE", value_parser = key_value)]
    build_arg: Vec<(String, String)>,
    /// Build with this set of packages, of those that the template knows
    #[arg(short = 'o', long, value_name = "NAME")]
    build_option: Vec<String>,
}

impl BuildFlags {
    /// How many things are done at once.
    pub(crate) fn parallel(&self) -> usize {
        usize::from(self.parallel)
    }

    /// Whether nothing is to be built.
    pub(crate) fn is_shrinkwrap(&self) -> bool {
        self.shrinkwrap
    }
}

/// A function that was built.
#[derive(Debug, Clone)]
pub(crate) struct Built {
    /// Its name.
    pub(crate) name: String,
    /// The file, or the image.
    pub(crate) made: String,
}

impl Build {
    /// Builds, and prints what was made.
    pub(crate) async fn run(&self, context: &Context) -> Result<()> {
        let stack = Stack::load(&self.stack, context).await?;
        let built = build(&stack, &self.build, context).await?;
        if self.json {
            let built = built.iter().map(|built| json!({"name": built.name, "made": built.made}));
            return context.output.json(&built.collect::<Vec<_>>());
        }
        if built.is_empty() {
            context.output.note("there is nothing to build: every function names what runs");
        }
        built
            .iter()
            .try_for_each(|built| context.output.line(format!("built {}  {}", built.name, built.made)))
    }
}

/// Builds what has to be built.
///
/// # Errors
/// The first failure; the other builds are done all the same.
pub(crate) async fn build(stack: &Stack, flags: &BuildFlags, context: &Context) -> Result<Vec<Built>> {
    let options = Options { no_cache: flags.no_cache, shrinkwrap: flags.shrinkwrap, pull: flags.pull };
    let mut jobs = Vec::new();
    for (name, function) in &stack.functions {
        if let Some(build) = stack.plan(name, function)?.build {
            let mut function = function.clone();
            function.build_args.extend(flags.build_arg.iter().cloned());
            function.build_options.extend(flags.build_option.iter().cloned());
            jobs.push(Job::new(stack, name, &function, build, options)?);
        }
    }
    let output = context.output;
    let tasks = jobs.into_iter().map(|job| async move {
        tokio::task::spawn_blocking(move || {
            let spinner = output.spinner(format!("building {}", job.name()));
            let text = spinner.text();
            let made = job.run(options, &mut |line| {
                // What takes a minute and fetches packages is told to everybody.
                if line.starts_with("wasm-target: ") && !line.starts_with("wasm-target: using ") {
                    output.note(line);
                }
                text.say(format!("building {}: {}", job.name(), shortened(line)));
            })?;
            Ok(Built { name: job.name().to_string(), made })
        })
        .await?
    });
    let mut built = in_parallel(tasks, flags.parallel(), output).await?;
    built.sort_by(|left, right| left.name.cmp(&right.name));
    Ok(built)
}

/// The images among what a stack builds.
///
/// # Errors
/// As [`Stack::plan`].
pub(crate) fn images(stack: &Stack) -> Result<Vec<String>> {
    let mut images = Vec::new();
    for (name, function) in &stack.functions {
        if let Some(Makes::Image(image)) = stack.plan(name, function)?.build.map(|build| build.makes) {
            images.push(image);
        }
    }
    Ok(images)
}

/// A line of a build as it fits behind a spinner.
fn shortened(line: &str) -> String {
    const MAX_CHARS: usize = 60;
    line.trim().chars().filter(|character| !character.is_control()).take(MAX_CHARS).collect()
}
