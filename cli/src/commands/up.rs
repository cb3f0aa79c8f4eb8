//! `bramble up`

mod detach;
mod greeting;
mod swarm_init;

use anyhow::Result;
use clap::Args;

use super::Context;
use crate::api::Api;
use crate::client::Client;
use crate::config::{SettingFlags, resolve};
use crate::output::Output;
use crate::samples::{self, Sample};
use crate::serve;
use greeting::Greeting;

/// Start a gateway with everything in one process, and deploy the sample functions
#[derive(Debug, Args)]
#[command(after_help = "\
Every flag has the variable that is shown with it, and a key in the settings file: the flag with
underscores. `bramble config` shows what would be used, and why. Starting again is harmless: what
runs already is left alone, and a function that you deployed under a sample's name is kept.

Examples:
  bramble up
  bramble up --detach --samples ./samples    then: bramble list
  bramble up --swarm-init                    with functions in containers too, where Docker is new
  bramble down                               stops a detached one")]
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
}

impl Up {
    /// Runs until it is told to stop; detached, until the other process is ready.
    pub(crate) fn run(self, context: &Context) -> Result<()> {
        let settings = resolve(&self.flags, &context.environment, &context.directory)?.settings;
        if let Some(address) = &self.swarm_init {
            let containers = &settings.gateway.containers;
            let started = swarm_init::run(containers, address.as_deref(), context);
            super::client_runtime()?.block_on(started)?;
        }
        let samples = settings.samples.as_deref().map_or(Ok(Vec::new()), samples::read)?;
        if self.detach {
            return super::client_runtime()?.block_on(detach::run(&self.flags, &settings, samples, context));
        }
        let data_dir = settings.gateway.data_dir.clone();
        let (output, program) = (context.output, context.program.clone());
        serve::run(settings, output.without_progress(), async move |serving| {
            let api = Api::new(Client::new(serving.url));
            // A sample that cannot be deployed does not stop a gateway that somebody may use.
            if let Err(error) = deploy_samples(&api, samples, output.without_progress()).await {
                output.complain(format!("{error:#}"), None);
            }
            // Nobody reads stdout: the gateway runs all the same.
            let _ = Greeting::of(&api, &program).await.print(&data_dir, output);
        })
    }
}

/// Deploys what is not deployed yet.
async fn deploy_samples(api: &Api, samples: Vec<Sample>, output: Output) -> Result<()> {
    if samples.is_empty() { Ok(()) } else { samples::deploy(api, samples, output).await }
}
