//! `bramble up`

mod credentials;
mod detach;
mod greeting;
mod stack;
mod swarm_init;

use anyhow::Result;
use clap::Args;

use super::build::BuildFlags;
use super::{Connection, Context};
use crate::api::Api;
use crate::client::{Client, Trust};
use crate::config::{SettingFlags, resolve};
use crate::logins::Logins;
use crate::output::Output;
use crate::samples::{self, Sample};
use crate::serve;
use crate::stack::StackFlags;
use bramble_provider::HttpUrl;
use credentials::Login;
use greeting::Greeting;

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
pub(crate) struct Up {
    /// Go to the background once the gateway is ready and the samples are deployed
    #[arg(short, long)]
    detach: bool,
    /// First put Docker into Swarm mode, which functions in containers need (`docker swarm init`);
    /// nodes that join later reach this one at ADDRESS
    #[arg(long, value_name = "ADDRESS", num_args = 0..=1, require_equals = true)]
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
    connection: Connection,
}

impl Up {
    /// Runs until it is told to stop; detached, until the other process is ready.
    pub(crate) fn run(self, context: &Context) -> Result<()> {
        if self.stack.is_given() {
            return super::client_runtime()?.block_on(stack::run(&self, context));
        }
        let resolve = |flags: &_| resolve(flags, &context.environment, &context.directory);
        let flags = credentials::provide(self.flags.clone(), &resolve(&self.flags)?)?;
        let resolved = resolve(&flags)?;
        let login = credentials::read(&resolved)?;
        let settings = resolved.settings;
        if let Some(address) = &self.swarm_init {
            let containers = &settings.gateway.containers;
            let started = swarm_init::run(containers, address.as_deref(), context);
            super::client_runtime()?.block_on(started)?;
        }
        let samples = settings.samples.as_deref().map_or(Ok(Vec::new()), samples::read)?;
        if self.detach {
            let run = detach::run(&flags, &settings, samples, login.as_ref(), context);
            return super::client_runtime()?.block_on(run);
        }
        let data_dir = settings.gateway.data_dir.clone();
        let (output, program) = (context.output, context.program.clone());
        let logins = context.environment.logins();
        serve::run(settings, output.without_progress(), async move |serving| {
            let api = match api(serving.url, login.as_ref(), &logins) {
                Ok(api) => api,
                Err(error) => return output.complain(format!("{error:#}"), None),
            };
            // A sample that cannot be deployed does not stop a gateway that somebody may use.
            if let Err(error) = deploy_samples(&api, samples, output.without_progress()).await {
                output.complain(format!("{error:#}"), None);
            }
            // Nobody reads stdout: the gateway runs all the same.
            let _ = Greeting::of(&api, &program).await.print(&data_dir, login.as_ref(), output);
        })
    }
}

/// The API of the gateway that was started, to which this user is logged in from now on.
///
/// # Errors
/// When the login cannot be kept.
fn api(url: HttpUrl, login: Option<&Login>, logins: &Logins) -> Result<Api> {
    // It is our own, on this machine; its certificate is for the name that others know it by.
    let mut client = Client::trusting(url, &Trust::Anyone)?;
    if let Some(login) = login {
        if login.made_in.is_some() {
            logins.remember(client.url(), &login.user, login.password())?;
        }
        client = client.logged_in(Some(login.header()?));
    }
    Ok(Api::new(client))
}

/// Deploys what is not deployed yet.
async fn deploy_samples(api: &Api, samples: Vec<Sample>, output: Output) -> Result<()> {
    if samples.is_empty() { Ok(()) } else { samples::deploy(api, samples, output).await }
}
