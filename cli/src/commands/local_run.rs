//! `bramble local-run`

mod private_gateway;

use std::path::Path;

use anyhow::Result;
use bramble_provider::FunctionName;
use bramble_provider::spec::MODULE_ANNOTATION;
use bramble_provider::url::query;
use clap::Args;
use http::{HeaderName, HeaderValue, Method, header};
use tokio::runtime::Builder;

use super::build::{BuildFlags, build};
use super::invoke;
use super::{Context, key_value, name_of};
use crate::api::{Api, Deployment, Existing};
use crate::error::CliError;
use crate::rollout::{LocalModule, Prepared, deploy, prepare};
use crate::stack::{Stack, StackFlags};
use private_gateway::PrivateGateway;

/// Run a wasm function here, without a gateway
#[derive(Debug, Args)]
#[command(after_help = "\
stdin is the request's body, stdout the response's, and what the function logs goes to stderr. It runs as it
does in a gateway: the same host, environment, limits and settings; in a temporary folder that is gone
afterwards. With --port it is served until it is interrupted. It is given no secrets.

Examples:
  echo Ada | bramble local-run ./build/hello.wasm
  echo Ada | bramble local-run hello -f hello.yml     builds it first
  bramble local-run hello -f hello.yml --port 9000    then: curl -d Ada http://127.0.0.1:9000/function/hello")]
pub(crate) struct LocalRun {
    /// A wasm file, or a function of the stack file
    #[arg(value_name = "FILE|NAME")]
    what: String,
    #[command(flatten)]
    stack: StackFlags,
    #[command(flatten)]
    build: BuildFlags,
    /// Run what was built before
    #[arg(long)]
    no_build: bool,
    /// Serve it on this port of 127.0.0.1; 0 takes a free one
    #[arg(short, long, value_name = "PORT")]
    port: Option<u16>,
    /// Set an environment variable of the function
    #[arg(short, long, value_name = "KEY=VALUE", value_parser = key_value)]
    env: Vec<(String, String)>,
    /// Its arguments
    #[arg(long, value_name = "WORDS")]
    fprocess: Option<String>,
    #[command(flatten)]
    request: RequestFlags,
}

#[derive(Debug, Args)]
#[command(next_help_heading = "Request")]
struct RequestFlags {
    /// Send this instead of stdin; @FILE sends a file
    #[arg(short, long, value_name = "TEXT|@FILE", conflicts_with = "port")]
    data: Option<String>,
    /// The request's method
    #[arg(short = 'X', long, default_value = "POST", value_parser = invoke::method)]
    method: Method,
    /// Add a header
    #[arg(short = 'H', long, value_name = "KEY: VALUE", value_parser = invoke::parse_header)]
    header: Vec<(HeaderName, HeaderValue)>,
    /// Add a parameter to the query
    #[arg(long, value_name = "KEY=VALUE", value_parser = key_value)]
    query: Vec<(String, String)>,
    /// Invoke the function at this path
    #[arg(long, value_name = "/PATH", default_value = "", hide_default_value = true, value_parser = invoke::path)]
    path: String,
}

impl LocalRun {
    /// Runs it once, or serves it.
    pub(crate) fn run(&self, context: &Context) -> Result<()> {
        // The host runs functions on several threads, as it does in a gateway.
        let runtime = Builder::new_multi_thread().enable_all().build()?;
        let done = runtime.block_on(async {
            let mut function = self.prepared(context).await?;
            function.deployment.env_vars.extend(self.env.iter().cloned());
            function.deployment.env_process =
                self.fprocess.clone().or(function.deployment.env_process.take());
            let gateway = PrivateGateway::start(self.port.unwrap_or(0)).await?;
            let work = self.work(function, gateway.api()?, context);
            gateway.during(work).await
        });
        // Whatever runs still has nobody to answer.
        runtime.shutdown_background();
        done
    }

    async fn prepared(&self, context: &Context) -> Result<Prepared> {
        if !self.stack.is_given()
            && Path::new(&self.what).extension().is_some_and(|extension| extension == "wasm")
        {
            let path = context.directory.join(&self.what);
            let name = name_of(&path)?;
            let wasm = std::fs::read(&path)
                .map_err(|error| CliError::usage(format!("cannot read {}: {error}", self.what)))?;
            let module = LocalModule::new(wasm.into());
            let deployment = Deployment::new(&name, module.digest.clone());
            return Ok(Prepared { name, deployment, module: Some(module) });
        }
        let mut stack = Stack::load(&self.stack, context).await?;
        stack.functions.retain(|name, _| name.name() == self.what || name.as_str() == self.what);
        let Some((name, function)) = stack.functions.iter().next() else {
            return Err(CliError::usage(format!("{} has no function {}", stack.source, self.what)).into());
        };
        if !self.no_build {
            build(&stack, &self.build, context).await?;
        }
        let mut prepared = prepare(&stack, name, function)?;
        let Some(module) = &prepared.module else {
            let message = format!("function {name} runs in a container: {}", prepared.deployment.image);
            return Err(CliError::usage(message)
                .hint("local-run runs wasm; `bramble deploy -f` deploys it")
                .into());
        };
        // Of a hybrid the half that runs here.
        prepared.deployment.image = module.digest.clone();
        prepared.deployment.annotations.remove(MODULE_ANNOTATION);
        prepared.deployment.namespace = None;
        prepared.name = FunctionName::parse(name.name())?;
        let secrets = std::mem::take(&mut prepared.deployment.secrets);
        if !secrets.is_empty() {
            context.output.warn(format!("{name} runs without its secrets: {}", secrets.join(", ")));
        }
        Ok(prepared)
    }

    async fn work(&self, function: Prepared, api: Api, context: &Context) -> Result<()> {
        let name = function.name.clone();
        deploy(api.clone(), function, false, Existing::Update, context.output).await?;
        if self.port.is_some() {
            context
                .output
                .line(format!("{name} is served at {}; interrupt to stop", api.invoke_url(&name)))?;
            let interrupted = tokio::signal::ctrl_c();
            return tokio::select! {
                done = private_gateway::logs(&api, &name, true, context.output) => done,
                _ = interrupted => Ok(()),
            };
        }
        let done = self.invoke(&api, &name, context).await;
        // The function's own words explain a failure better than ours.
        private_gateway::logs(&api, &name, false, context.output).await?;
        done
    }

    async fn invoke(&self, api: &Api, name: &FunctionName, context: &Context) -> Result<()> {
        let request = &self.request;
        let body = invoke::body(request.data.as_deref()).await?;
        let pairs = request.query.iter().map(|(key, value)| (key.as_str(), value.as_str()));
        let path = format!("/function/{name}{}{}", request.path, query(pairs));
        let mut sent = api.client().request(request.method.clone(), &path).body(body)?;
        sent.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("text/plain"));
        invoke::add_headers(sent.headers_mut(), &request.header);
        let response = api.client().send(sent, None).await?;
        if response.status().is_success() {
            return invoke::print(response, context.output).await;
        }
        Err(invoke::fail(name, response, context.output).await?.into())
    }
}
