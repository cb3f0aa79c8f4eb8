//! `bramble deploy`

mod options;
pub(super) mod stack;

use std::path::{Path, PathBuf};

use anyhow::Result;
use bramble_provider::FunctionName;
use bramble_provider::name::MAX_LABEL_BYTES;
use bramble_provider::spec::MODULE_ANNOTATION;
use bytes::Bytes;
use clap::Args;
use serde_json::json;

use super::{Connection, Context, function_name};
use crate::api::{Api, Existing, Module, read};
use crate::error::CliError;
use crate::output::Style;
use crate::stack::{Stack, StackFlags, has_stack_file};
pub(crate) use options::{Options, Resources};

/// Deploy a WASI program, whatever an image names, or the functions of a stack file
#[derive(Debug, Args)]
#[command(after_help = "\
A FILE is uploaded, checked and compiled; what it is (a WASI 0.1 command module, a WASI 0.2 command
or HTTP component) is found out. Its name is --name, else the file's own, made a valid one.
With --image the function NAME (or --name NAME) runs a container image, or a module that is stored already;
with --image and --module it is a hybrid: the module answers at once, and the gateway chooses for each
request (annotation bramble.policy: fastest, bridge or wasm-first).
With -f, or nothing at all beside a stack.yml, every function of a stack file is deployed: a wasm function's
module is uploaded (`bramble build` makes it), and the other options are added to what the file says.
Deploying again fails no request. Without options it changes the code and keeps the others; with
some it replaces all of them.

Examples:
  bramble deploy ./hello.wasm
  bramble deploy target/wasm32-wasip1/release/my_fn.wasm --name greeter --env GREETING=hi
  bramble deploy page.wasm --annotation bramble.output=cgi --memory-limit 64Mi --env exec_timeout=2s
  bramble deploy script.wasm --preinit
  bramble deploy hello-2 --image sha256:3f1c… --fprocess 'hello --loud'
  bramble deploy -f stack.yml --filter 'api-*'
  bramble deploy figlet --image ghcr.io/openfaas/figlet:latest
  bramble deploy resize --image ghcr.io/me/resize:1 --module resize.wasm --annotation bramble.policy=bridge")]
pub(crate) struct Deploy {
    /// A wasm file; with --image, the function's name
    #[arg(value_name = "FILE|NAME", conflicts_with_all = ["yaml", "filter", "regex"])]
    source: Option<PathBuf>,
    /// Call the function this instead of what the file is called
    #[arg(long, value_parser = function_name, conflicts_with = "yaml")]
    name: Option<FunctionName>,
    /// Run this: a container image, or `sha256:…` of a stored module
    #[arg(long, value_name = "IMAGE", conflicts_with = "yaml")]
    image: Option<String>,
    /// Beside an image: the same program as a wasm file
    #[arg(long, value_name = "FILE", requires = "image")]
    module: Option<PathBuf>,
    /// With -f: deploy so many functions at once
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=64))]
    parallel: u16,
    /// Run the module's initialisation once, now, and deploy what it leaves behind: for programs that take
    /// long to start. EXPORT is the function that does it, `wizer-initialize` unless given
    #[arg(long, value_name = "EXPORT", num_args = 0..=1, require_equals = true,
          default_missing_value = "true", conflicts_with_all = ["yaml", "filter", "regex"])]
    preinit: Option<String>,
    /// Print JSON
    #[arg(short, long)]
    json: bool,
    #[command(flatten)]
    stack: StackFlags,
    #[command(flatten)]
    connection: Connection,
    #[command(flatten)]
    options: Options,
}

impl Deploy {
    /// Uploads or describes, and prints where the function is.
    pub(crate) async fn run(&self, context: &Context) -> Result<()> {
        let api = self.connection.api(context)?;
        if self.preinit.is_some() && self.module.is_none() && (self.image.is_some() || self.source.is_none())
        {
            let failure = CliError::usage("--preinit is about a wasm file, and there is none");
            return Err(failure.hint("give the FILE, or --module FILE beside the image").into());
        }
        let (name, image) = match (&self.image, &self.source) {
            (Some(image), _) => {
                let name = self.options.place().name(&self.image_name()?)?;
                let mut deployment = self.options.deployment(&name, image);
                if let Some(path) = &self.module {
                    let digest = store(&api, context, path, self.preinit.as_deref()).await?;
                    deployment.annotations.insert(MODULE_ANNOTATION.to_owned(), digest);
                }
                api.deploy(&deployment, self.options.existing()).await?;
                (name, image.clone())
            }
            (None, Some(source)) => self.upload(source, &api, context).await?,
            (None, None) => return self.of_stack(context).await,
        };
        let url = api.invoke_url(&name);
        if self.json {
            return context.output.json(&json!({"name": name, "url": url, "image": image}));
        }
        context.output.line(format!("deployed {}  {url}", context.output.paint(Style::Bold, name.as_str())))
    }

    /// Deploys the functions of the stack file that was named, else of the one that is here.
    async fn of_stack(&self, context: &Context) -> Result<()> {
        if !self.stack.is_given() && !has_stack_file(&context.directory) {
            let error =
                CliError::usage("there is nothing to deploy: no FILE, no --image and no stack.yml here");
            return Err(error.hint("give a wasm file, NAME --image IMAGE, or a stack file with -f").into());
        }
        if self.name.is_some() {
            let error =
                CliError::usage("--name is for a FILE or an --image; a stack file names its functions");
            return Err(error.hint("--filter NAME deploys one of them").into());
        }
        let stack = self.options.place().stack(Stack::load(&self.stack, context).await?)?;
        let rollout =
            stack::Rollout { options: &self.options, parallel: usize::from(self.parallel), json: self.json };
        stack::run(&stack, &rollout, &self.connection, context).await
    }

    /// The name of a function that an image is given for.
    fn image_name(&self) -> Result<FunctionName, CliError> {
        let source =
            self.source.as_ref().map(|source| function_name(&source.to_string_lossy())).transpose()?;
        match (source, &self.name) {
            (Some(source), Some(name)) if source != *name => {
                Err(CliError::usage(format!("the function is called {source} and, by --name, {name}")))
            }
            (Some(name), _) => Ok(name),
            (None, Some(name)) => Ok(name.clone()),
            (None, None) => {
                let error = CliError::usage("a function with an --image needs a name");
                Err(error.hint("write NAME before --image, or --name NAME"))
            }
        }
    }

    /// Uploads the file and deploys it; with options that takes two calls. Answers the digest too.
    async fn upload(&self, path: &Path, api: &Api, context: &Context) -> Result<(FunctionName, String)> {
        let name = match &self.name {
            Some(name) => name.clone(),
            None => name_of(path)?,
        };
        let (name, existing) = (self.options.place().name(&name)?, self.options.existing());
        if path.extension().is_some_and(|extension| extension == "yml" || extension == "yaml") {
            let shown = path.display();
            let error = CliError::usage(format!("{shown} is no wasm file"));
            return Err(error
                .hint(format!("a stack file is named with -f: `bramble deploy -f {shown}`"))
                .into());
        }
        let wasm: Bytes = std::fs::read(path).map_err(|error| unreadable(path, &error))?.into();
        let spinner = context.output.spinner(format!("uploading {}", path.display()));
        let text = spinner.text();
        let compiling = format!("compiling {name}");
        if self.options.are_none() && existing == Existing::Update {
            let stored =
                api.deploy_wasm(&name, wasm, self.preinit.as_deref(), move || text.say(compiling)).await?;
            return Ok((name, read::<Module>(&stored)?.digest));
        }
        let checking = text.clone();
        let stored = api.put_module(wasm, self.preinit.as_deref(), move || checking.say("checking")).await?;
        let digest = read::<Module>(&stored)?.digest;
        text.say(compiling);
        api.deploy(&self.options.deployment(&name, &digest), existing).await?;
        Ok((name, digest))
    }
}

/// Uploads a module beside an image; answers its digest.
async fn store(api: &Api, context: &Context, path: &Path, preinit: Option<&str>) -> Result<String> {
    let wasm: Bytes = std::fs::read(path)
        .map_err(|error| {
            let path = path.display();
            CliError::usage(format!("cannot read {path}: {error}")).hint("--module takes a wasm file")
        })?
        .into();
    let spinner = context.output.spinner(format!("uploading {}", path.display()));
    let text = spinner.text();
    let stored = api.put_module(wasm, preinit, move || text.say("checking")).await?;
    Ok(read::<Module>(&stored)?.digest)
}

fn unreadable(path: &Path, error: &std::io::Error) -> CliError {
    let path = path.display();
    let failure = CliError::usage(format!("cannot read {path}: {error}"));
    match error.kind() {
        std::io::ErrorKind::NotFound => failure.hint(format!(
            "give the path of a wasm file, or `bramble deploy {path} --image IMAGE` for a container"
        )),
        _ => failure,
    }
}

/// A valid function name made of a file's name: `My_Fn.v2.wasm` is `my-fn-v2`.
///
/// # Errors
/// [`CliError`] when there is no letter or digit in it.
pub(crate) fn name_of(path: &Path) -> Result<FunctionName, CliError> {
    let stem = path.file_stem().map(|stem| stem.to_string_lossy().to_lowercase()).unwrap_or_default();
    let mut name = String::with_capacity(stem.len());
    for character in stem.chars() {
        match character {
            'a'..='z' | '0'..='9' => name.push(character),
            _ if name.ends_with('-') || name.is_empty() => {}
            _ => name.push('-'),
        }
    }
    name.truncate(MAX_LABEL_BYTES);
    FunctionName::parse(name.trim_end_matches('-')).map_err(|_| {
        CliError::usage(format!("no function name can be made of {}", path.display()))
            .hint("give one with --name")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn makes_a_name_of_a_file() {
        for (file, name) in [
            ("hello.wasm", "hello"),
            ("target/wasm32-wasip1/release/json_sum.wasm", "json-sum"),
            ("My Fn.v2.wasm", "my-fn-v2"),
            ("__a--b__.wasm", "a-b"),
            ("straße.wasm", "stra-e"),
            ("hello", "hello"),
        ] {
            assert_eq!(name_of(Path::new(file)).unwrap().as_str(), name, "{file}");
        }
        let long = format!("{}.wasm", "a".repeat(62) + "_b");
        assert_eq!(name_of(Path::new(&long)).unwrap().as_str(), "a".repeat(62));
        for file in ["...", "_.wasm", "🦀.wasm", "/"] {
            assert!(name_of(Path::new(file)).is_err(), "{file} got a name");
        }
    }

    #[test]
    fn a_file_without_options_needs_no_description() {
        #[derive(Debug, clap::Parser)]
        struct Command {
            #[command(flatten)]
            deploy: Deploy,
        }
        let parse = |words: &[&str]| {
            <Command as clap::Parser>::try_parse_from([&["deploy", "f.wasm"], words].concat()).unwrap().deploy
        };
        assert!(parse(&[]).options.are_none());
        assert!(parse(&["--name", "x"]).options.are_none());
        let alone = ["deploy", "f", "--module", "f.wasm"];
        assert!(<Command as clap::Parser>::try_parse_from(alone).is_err(), "a module alone is the FILE");
        assert!(!parse(&["-e", "a=b"]).options.are_none());
        assert!(!parse(&["--memory-limit", "1Mi"]).options.are_none());
        let described = parse(&["-e", "a=b", "--cpu-limit", "1", "--readonly"]).options;
        let name = FunctionName::parse("f").unwrap();
        assert_eq!(
            serde_json::to_value(described.deployment(&name, "i")).unwrap(),
            json!({"service": "f", "image": "i", "envVars": {"a": "b"}, "limits": {"cpu": "1"},
                   "readOnlyRootFilesystem": true})
        );
    }
}
