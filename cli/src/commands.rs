//! The command line: one file for each verb.

mod agent;
mod auth;
mod bench;
mod build;
mod compile_module;
mod completion;
mod config;
mod connection;
mod deploy;
mod describe;
mod diff;
mod down;
pub(crate) mod foreign;
mod gateway;
mod generate;
mod invoke;
mod list;
mod local_run;
mod login;
mod logout;
mod logs;
mod modules;
mod namespace;
mod new;
mod push;
mod queue;
mod ready;
mod registry_login;
mod remove;
mod scale;
mod scaler;
mod secret;
mod store;
mod template;
mod typed;
mod up;
mod version;

use std::path::PathBuf;

use anyhow::Result;
use bramble_provider::{DEFAULT_NAMESPACE, FunctionName};
use clap::{Args, Parser, Subcommand};
use tokio::runtime::{Builder, Runtime};

use crate::config::Environment;
use crate::error::{CliError, Exit};
use crate::output::Output;
use crate::stack::Stack;
use connection::{Connection, Credentials};
pub(crate) use deploy::name_of;
pub(crate) use list::full_name;

const AFTER_HELP: &str = "\
Start here:
  bramble up                                a gateway on http://127.0.0.1:8080
  bramble deploy ./hello.wasm               upload a WASI program as the function `hello`
  echo hi | bramble invoke hello            call it
  bramble logs hello --follow               what it writes to stderr

From source:
  bramble new --lang rust hello             a folder with a function, and hello.yml
  bramble up -f hello.yml                   build and deploy it; --watch does so after each change

Exit codes:
  0  done
  1  the request or the function failed
  2  the command line or a setting is wrong
  3  the gateway cannot be reached
  4  no such function or module

The verbs speak to the gateway that --gateway names, else OPENFAAS_URL, else http://127.0.0.1:8080.
NO_COLOR switches colours off.";

/// Functions for a cluster of Raspberry Pis: WASI programs and containers behind one gateway.
#[derive(Debug, Parser)]
#[command(name = "bramble", version, after_help = AFTER_HELP, max_term_width = 110)]
pub(crate) struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Up(up::Up),
    Down(down::Down),
    Gateway(gateway::Gateway),
    Agent(agent::Agent),
    Scaler(scaler::Scaler),
    Config(config::Config),
    New(new::New),
    Build(build::Build),
    Push(push::Push),
    Deploy(deploy::Deploy),
    Invoke(invoke::Invoke),
    #[command(visible_alias = "ls")]
    List(list::List),
    Describe(describe::Describe),
    Logs(logs::Logs),
    Scale(scale::Scale),
    #[command(visible_alias = "rm")]
    Remove(remove::Remove),
    Ready(ready::Ready),
    LocalRun(local_run::LocalRun),
    Diff(diff::Diff),
    Generate(generate::Generate),
    Template(template::Template),
    Store(store::Store),
    RegistryLogin(registry_login::RegistryLogin),
    Modules(modules::Modules),
    Queue(queue::Queue),
    Secret(secret::Secret),
    #[command(visible_alias = "ns", alias = "namespaces")]
    Namespace(namespace::Namespace),
    Login(login::Login),
    Logout(logout::Logout),
    Auth(auth::Auth),
    Bench(Box<bench::Bench>),
    Version(version::Version),
    Completion(completion::Completion),
    #[command(hide = true, name = bramble_host::COMPILE_VERB)]
    CompileModule(compile_module::CompileModule),
}

/// What every command is given beside its arguments.
#[derive(Debug)]
pub(crate) struct Context {
    /// The variables.
    pub(crate) environment: Environment,
    /// Where to print.
    pub(crate) output: Output,
    /// The current directory.
    pub(crate) directory: PathBuf,
    /// The command as it was typed, for the commands that are suggested.
    pub(crate) program: String,
}

impl Context {
    /// The context of this process.
    pub(crate) fn of_process() -> Self {
        let environment = Environment::of_process();
        let output = Output::new(&environment);
        // A deleted directory holds no settings file, so it is no reason to refuse.
        let directory = std::env::current_dir().unwrap_or_default();
        let program = std::env::args_os().next().map(|program| program.to_string_lossy().into_owned());
        let program = program.unwrap_or_else(|| "bramble".to_owned());
        Self { environment, output, directory, program }
    }
}

/// Where a function is whose name does not say it.
#[derive(Debug, Clone, Default, Args)]
struct InNamespace {
    /// The function's namespace, unless its name ends with it
    #[arg(short, long, value_name = "NAME")]
    namespace: Option<String>,
}

impl InNamespace {
    /// The functions of a stack, all of them there when a namespace was said.
    fn stack(&self, stack: Stack) -> Result<Stack, CliError> {
        match &self.namespace {
            Some(namespace) => stack.in_namespace(namespace),
            None => Ok(stack),
        }
    }

    /// The function of this name there.
    fn name(&self, name: &FunctionName) -> Result<FunctionName, CliError> {
        in_namespace(name, self.namespace.as_deref())
    }
}

/// The function of this name in a namespace, if one is said.
fn in_namespace(name: &FunctionName, namespace: Option<&str>) -> Result<FunctionName, CliError> {
    let Some(namespace) = namespace else { return Ok(name.clone()) };
    if ![DEFAULT_NAMESPACE, namespace].contains(&name.namespace()) {
        let message =
            format!("{name} is in namespace {}, and --namespace says {namespace}", name.namespace());
        return Err(CliError::usage(message));
    }
    FunctionName::new(name.name(), namespace).map_err(|error| CliError::usage(error.to_string()))
}

/// Does what the command line says.
///
/// # Errors
/// Whatever stopped it; a [`CliError`] in the chain has the exit code.
pub(crate) fn run(cli: Cli, context: &Context) -> Result<()> {
    let verbs = || client_runtime();
    match cli.command {
        Command::Up(command) => command.run(context),
        Command::Down(command) => verbs()?.block_on(command.run(context)),
        Command::Gateway(command) => command.run(context),
        Command::Agent(command) => command.run(context),
        Command::Scaler(command) => command.run(context),
        Command::Config(command) => command.run(context),
        Command::New(command) => command.run(context),
        Command::Build(command) => verbs()?.block_on(command.run(context)),
        Command::Push(command) => verbs()?.block_on(command.run(context)),
        Command::Deploy(command) => verbs()?.block_on(command.run(context)),
        Command::Invoke(command) => verbs()?.block_on(command.run(context)),
        Command::List(command) => verbs()?.block_on(command.run(context)),
        Command::Describe(command) => verbs()?.block_on(command.run(context)),
        Command::Logs(command) => verbs()?.block_on(command.run(context)),
        Command::Scale(command) => verbs()?.block_on(command.run(context)),
        Command::Remove(command) => verbs()?.block_on(command.run(context)),
        Command::Ready(command) => verbs()?.block_on(command.run(context)),
        Command::Queue(command) => verbs()?.block_on(command.run(context)),
        Command::LocalRun(command) => command.run(context),
        Command::Diff(command) => verbs()?.block_on(command.run(context)),
        Command::Generate(command) => verbs()?.block_on(command.run(context)),
        Command::Template(command) => verbs()?.block_on(command.run(context)),
        Command::Store(command) => verbs()?.block_on(command.run(context)),
        Command::RegistryLogin(command) => command.run(context),
        Command::Modules(command) => verbs()?.block_on(command.run(context)),
        Command::Secret(command) => verbs()?.block_on(command.run(context)),
        Command::Namespace(command) => verbs()?.block_on(command.run(context)),
        Command::Login(command) => verbs()?.block_on(command.run(context)),
        Command::Logout(command) => command.run(context),
        Command::Auth(command) => verbs()?.block_on(command.run(context)),
        Command::Bench(command) => command.run(context),
        Command::Version(command) => verbs()?.block_on(command.run(context)),
        Command::Completion(command) => command.run(context),
        Command::CompileModule(command) => command.run(),
    }
}

/// One thread is enough for one request.
fn client_runtime() -> Result<Runtime> {
    Ok(Builder::new_current_thread().enable_all().build()?)
}

/// Whether there is no gateway to speak to.
fn is_unreachable(error: &CliError) -> bool {
    error.exit() == Exit::Unreachable
}

/// Reads a function's name from the command line.
fn function_name(text: &str) -> Result<FunctionName, CliError> {
    FunctionName::parse(text).map_err(|error| CliError::usage(error.to_string()))
}

/// Reads `KEY=VALUE`; the value may be empty and may have `=` in it.
fn key_value(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => Err("write KEY=VALUE".to_owned()),
    }
}

/// Reads a duration such as `10m`.
fn duration(text: &str) -> Result<std::time::Duration, String> {
    bramble_provider::quantity::parse_duration(text).map_err(|error| error.to_string())
}

/// A digest as it is shown to people: the first twelve digits.
fn short_digest(digest: &str) -> &str {
    let hex = digest.strip_prefix(bramble_provider::Digest::PREFIX).unwrap_or(digest);
    hex.get(..12).unwrap_or(hex)
}

/// A time for people, with so many digits of the second; what is no time stays as it is.
fn short_time(text: &str, digits: usize) -> String {
    text.parse::<jiff::Timestamp>().map_or_else(|_| text.to_owned(), |time| format!("{time:.digits$}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn reads_pairs() {
        assert_eq!(key_value("a=b=c"), Ok(("a".into(), "b=c".into())));
        assert_eq!(key_value("a="), Ok(("a".into(), String::new())));
        assert!(key_value("a").is_err() && key_value("=b").is_err());
    }

    #[test]
    fn a_namespace_may_be_said_apart() {
        let of = |name: &str, namespace| in_namespace(&function_name(name).unwrap(), namespace);
        assert_eq!(of("a", None).unwrap().as_str(), "a");
        assert_eq!(of("a", Some("team")).unwrap().as_str(), "a.team");
        assert_eq!(of("a.team", Some("team")).unwrap().as_str(), "a.team");
        assert_eq!(of("a", Some("openfaas-fn")).unwrap().as_str(), "a");
        assert!(of("a.other", Some("team")).is_err() && of("a", Some("A")).is_err());
    }

    #[test]
    fn shortens_times_only() {
        assert_eq!(short_time("2026-11-20T09:56:00.190546542Z", 0), "2026-11-20T09:56:00Z");
        assert_eq!(short_time("2026-11-20T09:56:00.190546542Z", 3), "2026-11-20T09:56:00.190Z");
        assert_eq!(short_time("", 0), "");
    }

    #[test]
    fn shortens_digests_only() {
        assert_eq!(short_digest("sha256:0123456789abcdef"), "0123456789ab");
        assert_eq!(short_digest("short"), "short");
    }
}
