//! Puts a stack's functions onto a gateway: modules are uploaded, then functions are deployed.
//!
//! In: what is sent for a function, doing many things at once. Out: building ([`crate::build`]).

use std::collections::HashSet;
use std::future::Future;
use std::path::Path;

use anyhow::{Context as _, Result};
use bramble_provider::spec::MODULE_ANNOTATION;
use bramble_provider::{Digest, FunctionName};
use bytes::Bytes;
use sha2::{Digest as _, Sha256};
use tokio::task::JoinSet;

use crate::api::{Api, Deployment, Existing, Module, read};
use crate::error::CliError;
use crate::output::Output;
use crate::stack::{Code, Function, Stack};

/// A function that is ready to be sent.
#[derive(Debug, Clone)]
pub(crate) struct Prepared {
    /// The function.
    pub(crate) name: FunctionName,
    /// What the gateway is told.
    pub(crate) deployment: Deployment,
    /// The module that it runs, when it comes from a file.
    pub(crate) module: Option<LocalModule>,
}

/// A module in memory.
#[derive(Debug, Clone)]
pub(crate) struct LocalModule {
    /// Its bytes.
    pub(crate) wasm: Bytes,
    /// Their digest.
    pub(crate) digest: String,
}

impl LocalModule {
    /// These bytes, with their digest.
    pub(crate) fn new(wasm: Bytes) -> Self {
        let digest = Digest::from_sha256(Sha256::digest(&wasm).into()).to_string();
        Self { wasm, digest }
    }

    /// Reads a wasm file of a function.
    ///
    /// # Errors
    /// [`CliError`] that says how to make the file when it is not there.
    pub(crate) fn read(name: &FunctionName, path: &Path) -> Result<Self, CliError> {
        let wasm = std::fs::read(path).map_err(|error| {
            CliError::usage(format!("functions.{name}: cannot read its module {}: {error}", path.display()))
                .hint("`bramble build -f FILE` builds it, `bramble up -f FILE` builds and deploys")
        })?;
        Ok(Self::new(wasm.into()))
    }
}

/// What is to be sent for a function of a stack. Reads its module.
///
/// # Errors
/// [`CliError`] for a module that is not there and whatever the stack file lacks.
pub(crate) fn prepare(stack: &Stack, name: &FunctionName, function: &Function) -> Result<Prepared> {
    let plan = stack.plan(name, function)?;
    let (image, module) = match &plan.code {
        Code::Image(image) => (image.clone(), None),
        Code::Module(path) => {
            let module = LocalModule::read(name, path)?;
            (module.digest.clone(), Some(module))
        }
        Code::Hybrid { image, module } => (image.clone(), Some(LocalModule::read(name, module)?)),
    };
    let mut deployment = stack.deployment(name, function, &image)?;
    if let (Code::Hybrid { .. }, Some(module)) = (&plan.code, &module) {
        deployment.annotations.insert(MODULE_ANNOTATION.to_owned(), module.digest.clone());
    }
    if deployment.env_process.is_none() {
        deployment.env_process = plan.fprocess;
    }
    Ok(Prepared { name: name.clone(), deployment, module })
}

/// The digests of the modules that a gateway stores.
///
/// # Errors
/// When it cannot be asked.
pub(crate) async fn stored(api: &Api) -> Result<HashSet<String>> {
    let modules: Vec<Module> = read(&api.modules().await?)?;
    Ok(modules.into_iter().map(|module| module.digest).collect())
}

/// Uploads the module of a function.
///
/// # Errors
/// When the gateway refuses it.
pub(crate) async fn upload(
    api: &Api,
    name: &FunctionName,
    module: LocalModule,
    output: Output,
) -> Result<()> {
    let spinner = output.spinner(format!("uploading {name}"));
    let (text, checking) = (spinner.text(), format!("checking {name}"));
    let stored = api.put_module(module.wasm, None, move || text.say(checking)).await;
    stored.with_context(|| format!("function {name}")).map(drop)
}

/// Uploads what is not stored, and deploys.
///
/// # Errors
/// When the gateway refuses it.
pub(crate) async fn deploy(
    api: Api,
    prepared: Prepared,
    is_stored: bool,
    existing: Existing,
    output: Output,
) -> Result<Prepared> {
    if let Some(module) = prepared.module.clone().filter(|_| !is_stored) {
        upload(&api, &prepared.name, module, output).await?;
    }
    let spinner = output.spinner(format!("deploying {}", prepared.name));
    api.deploy(&prepared.deployment, existing)
        .await
        .with_context(|| format!("function {}", prepared.name))?;
    drop(spinner);
    Ok(prepared)
}

/// Does things beside each other, at most `limit` at once, and all of them whatever becomes of one.
/// The first failure is the answer, the others are told.
///
/// # Errors
/// The first failure.
pub(crate) async fn in_parallel<T, F>(
    tasks: impl IntoIterator<Item = F>,
    limit: usize,
    output: Output,
) -> Result<Vec<T>>
where
    T: Send + 'static,
    F: Future<Output = Result<T>> + Send + 'static,
{
    let (mut tasks, mut running) = (tasks.into_iter(), JoinSet::new());
    let (mut done, mut failure) = (Vec::new(), None);
    loop {
        while running.len() < limit.max(1) {
            let Some(task) = tasks.next() else { break };
            running.spawn(task);
        }
        let Some(result) = running.join_next().await else { break };
        match result.context("a task ended early")? {
            Ok(result) => done.push(result),
            Err(error) if failure.is_none() => failure = Some(error),
            Err(error) => output.complain(format!("{error:#}"), hint_of(&error)),
        }
    }
    failure.map_or(Ok(done), Err)
}

fn hint_of(error: &anyhow::Error) -> Option<&str> {
    error.downcast_ref::<CliError>().and_then(CliError::hint_text)
}
