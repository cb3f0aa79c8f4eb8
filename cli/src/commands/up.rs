//! `bramble up`

mod credentials;
mod detach;
mod greeting;
mod stack;
mod swarm_init;

use anyhow::Result;
use clap::Args;

use super::build::BuildFlags;
use super::deploy::Options;
use super::{Connection, Context};
use crate::api::Api;
use crate::client::{Client, Trust};
use crate::config::{SettingFlags, Settings, resolve};
use crate::error::CliError;
use crate::logins::Logins;
use crate::output::Output;
use crate::samples::{self, Sample};
use crate::serve;
use crate::stack::{StackFlags, has_stack_file};
use bramble_provider::HttpUrl;
use credentials::Login;
use greeting::{Greeting, Made};

/// Start a gateway with everything in one process, or bring up the functions of a stack file
#[derive(Debug, Args)]
#[command(after_help = "\
Without -f it starts a gateway and deploys the sample functions. With -f it builds, pushes and deploys the
functions of a stack file; when there is no gateway on this machine yet, it starts one in the background.

Every flag has the variable that is shown with it, and a key in the settings file: the flag with
underscores. `bramble config` shows what would be used, and why. Starting again is harmless: what
runs already is left alone, and a function that you deployed under a sample's name is kept.

Examples:
  bramble up
  bramble up --detach --samples ./samples    then: bramble list
  bramble up --listen 0.0.0.0:8080           for others too: with a password, made at the first start
  bramble up --swarm-init                    with functions in containers too, where Docker is new
  bramble down                               stops a detached one
  bramble new --lang rust hello && bramble up -f hello.yml
  bramble up -f hello.yml --watch            again after each change of the source")]
// What would mean nothing is refused: a gateway that is started is on this machine and builds nothing, and
// functions of a stack file need no samples.
#[command(mut_arg("gateway", |flag| flag.requires("yaml")), mut_arg("tls_ca", |flag| flag.requires("yaml")))]
#[command(mut_arg("tls_no_verify", |flag| flag.requires("yaml")), mut_arg("token", |flag| flag.requires("yaml")))]
#[command(mut_arg("parallel", |flag| flag.requires("yaml")), mut_arg("no_cache", |flag| flag.requires("yaml")))]
#[command(mut_arg("shrinkwrap", |flag| flag.requires("yaml")))]
#[command(mut_arg("samples", |flag| flag.conflicts_with("yaml")))]
pub(crate) struct Up {
    /// Go to the background once the gateway is ready and the samples are deployed
    #[arg(short, long, conflicts_with = "yaml")]
    detach: bool,
    /// First put Docker into Swarm mode, which functions in containers need (`docker swarm init`);
    /// nodes that join later reach this one at ADDRESS
    #[arg(long, value_name = "ADDRESS", num_args = 0..=1, require_equals = true,
          conflicts_with = "skip_deploy")]
    swarm_init: Option<Option<String>>,
    #[command(flatten)]
    flags: SettingFlags<true>,
    #[command(flatten)]
    stack: StackFlags,
    #[command(flatten)]
    build: BuildFlags,
    #[command(flatten)]
    rollout: stack::RolloutFlags,
    #[command(flatten)]
    options: Options,
    #[command(flatten)]
    connection: Connection,
}

impl Up {
    /// Runs until it is told to stop; detached, until the other process is ready.
    pub(crate) fn run(self, context: &Context) -> Result<()> {
        if self.stack.is_given() {
            return super::client_runtime()?.block_on(stack::run(&self, context));
        }
        self.is_of_no_stack(context)?;
        let resolve = |flags: &_| resolve(flags, &context.environment, &context.directory);
        let resolved = resolve(&self.flags)?;
        let flags = offering(credentials::provide(self.flags.clone(), &resolved)?, &resolved.settings)?;
        let resolved = resolve(&flags)?;
        let login = credentials::read(&resolved)?;
        let settings = resolved.settings;
        super::client_runtime()?.block_on(self.init_swarm(&settings, context))?;
        let samples = settings.samples.as_deref().map_or(Ok(Vec::new()), samples::read)?;
        if self.detach {
            let run = detach::run(&flags, &settings, samples, login.as_ref(), context);
            return super::client_runtime()?.block_on(run);
        }
        let data_dir = settings.gateway.data_dir.clone();
        let (output, program) = (context.output, context.program.clone());
        let logins = context.environment.logins();
        serve::run(settings, output.without_progress(), async move |serving| {
            let (api, login) = match api(serving.url, login.as_ref(), &logins, output) {
                Ok(reached) => reached,
                Err(error) => return output.complain(format!("{error:#}"), None),
            };
            // A sample that cannot be deployed does not stop a gateway that somebody may use.
            if let Err(error) = deploy_samples(&api, samples, output.without_progress()).await {
                output.complain(format!("{error:#}"), None);
            }
            // Nobody reads stdout: the gateway runs all the same.
            let _ = Greeting::of(&api, &program).await.print(&data_dir, login, output);
        })
    }

    /// Puts Docker into Swarm mode, if that was asked for.
    async fn init_swarm(&self, settings: &Settings, context: &Context) -> Result<()> {
        match &self.swarm_init {
            Some(address) => swarm_init::run(&settings.gateway.containers, address.as_deref(), context).await,
            None => Ok(()),
        }
    }

    /// Refuses what is only about a stack file, and tells who may have meant the one that is here.
    fn is_of_no_stack(&self, context: &Context) -> Result<(), CliError> {
        let here = has_stack_file(&context.directory);
        if !self.options.are_none() || self.options.place().namespace.is_some() {
            let error = CliError::usage("options of functions, such as --env, need a stack file");
            return Err(error.hint("name one with -f, as in `bramble up -f stack.yml`"));
        }
        if here {
            context
                .output
                .note("starting a gateway; `bramble up -f FILE` brings up the stack file that is here");
        }
        Ok(())
    }
}

/// The API of the gateway that was started, to which this user is logged in from now on; and what is to be
/// told of the password, if one was made. That it cannot be kept for other verbs is told, and no end.
///
/// # Errors
/// When the credentials are none.
fn api<'a>(
    url: HttpUrl,
    login: Option<&'a Login>,
    logins: &Logins,
    output: Output,
) -> Result<(Api, Option<Made<'a>>)> {
    // It is our own, on this machine; its certificate is for the name that others know it by.
    let client = Client::trusting(url, &Trust::Anyone)?;
    let Some(login) = login else { return Ok((Api::new(client), None)) };
    let made = login.made_in.as_deref().map(|folder| {
        let kept = logins.remember(client.url(), &login.user, login.password());
        if let Err(error) = &kept {
            output.warn(format!("you are not logged in: {error}"));
        }
        Made { user: &login.user, folder, is_kept: kept.is_ok() }
    });
    Ok((Api::new(client.logged_in(Some(login.header()?.into()))), made))
}

/// The flags with which the gateway's store offers the samples, unless another folder is named for that.
fn offering(flags: SettingFlags<true>, settings: &Settings) -> Result<SettingFlags<true>> {
    Ok(match (&settings.samples, &settings.gateway.store_dir) {
        (Some(samples), None) => flags.with("store_dir", &std::path::absolute(samples)?.to_string_lossy()),
        _ => flags,
    })
}

/// Deploys what is not deployed yet.
async fn deploy_samples(api: &Api, samples: Vec<Sample>, output: Output) -> Result<()> {
    if samples.is_empty() { Ok(()) } else { samples::deploy(api, samples, output).await }
}
