//! `bramble new`

use std::fmt::Write as _;
use std::fs::OpenOptions;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use bramble_provider::FunctionName;
use clap::Args;
use serde_json::json;

use super::deploy::Resources;
use super::{Context, function_name};
use crate::config::DEFAULT_GATEWAY;
use crate::error::CliError;
use crate::templates::{Kind, Template, Templates, place};

/// Make a new function from a template
#[derive(Debug, Args)]
#[command(after_help = "\
Writes a folder NAME with the source, and NAME.yml, a stack file that builds and deploys it. Templates
are those of this command, and those in ./template, which go first; see `bramble template`.

Examples:
  bramble new --list
  bramble new --lang rust hello && bramble up -f hello.yml
  bramble new --lang c wc --append stack.yml     one more function in a stack file that there is
  bramble new --lang dockerfile figlet --prefix registry.local:5000/me")]
pub(crate) struct New {
    /// The function
    #[arg(required_unless_present = "list", value_parser = function_name)]
    name: Option<FunctionName>,
    /// The template
    #[arg(long, value_name = "TEMPLATE")]
    lang: Option<String>,
    /// List the templates
    #[arg(long, conflicts_with_all = ["name", "lang"])]
    list: bool,
    /// Add the function to this stack file instead of writing one
    #[arg(short, long, value_name = "FILE")]
    append: Option<PathBuf>,
    /// The folder of the source, when not NAME
    #[arg(long, value_name = "FOLDER")]
    handler: Option<PathBuf>,
    /// What a container image's name begins with [env: OPENFAAS_PREFIX]
    #[arg(short, long, value_name = "PREFIX")]
    prefix: Option<String>,
    /// The gateway that the stack file names
    #[arg(short, long, value_name = "URL", default_value = DEFAULT_GATEWAY, conflicts_with = "append")]
    gateway: String,
    #[command(flatten)]
    resources: Resources,
    /// Say nothing about how to go on
    #[arg(short, long)]
    quiet: bool,
    /// With --list: print JSON
    #[arg(short, long, requires = "list")]
    json: bool,
}

impl New {
    /// Writes the files, and says how to go on.
    pub(crate) fn run(&self, context: &Context) -> Result<()> {
        let templates = Templates::beside(&context.directory);
        let Some(name) = &self.name else {
            return list(&templates, self.json, context);
        };
        let Some(lang) = &self.lang else {
            let error = CliError::usage("a new function needs a template");
            return Err(error
                .hint("name one with --lang; `bramble new --list` names those there are")
                .into());
        };
        let Some(template) = templates.find(lang)? else {
            let error = CliError::usage(format!("there is no template {lang:?}"));
            return Err(match templates.like(lang) {
                Some(like) => error.hint(format!("did you mean {like}?")),
                None => error.hint("`bramble new --list` names those there are"),
            }
            .into());
        };
        let handler = self.handler.clone().unwrap_or_else(|| name.name().into());
        let folder = context.directory.join(&handler);
        let file = self.append.clone().unwrap_or_else(|| format!("{}.yml", name.name()).into());
        let path = context.directory.join(&file);
        if folder.exists() {
            return Err(there_already(&handler)
                .hint("give the function another name, or --handler FOLDER")
                .into());
        }
        let entry = self.entry(name, &template, &handler, context)?;
        let text = match (&self.append, path.exists()) {
            (Some(_), _) => appended(&file, &path, name, &entry)?,
            (None, true) => {
                return Err(there_already(&file).hint("--append FILE adds to a stack file").into());
            }
            (None, false) => {
                let gateway = &self.gateway;
                format!(
                    "version: 1.0\nprovider:\n  name: openfaas\n  gateway: {gateway}\nfunctions:\n{entry}"
                )
            }
        };
        place(&template.source_files()?, &folder)?;
        std::fs::write(&path, text).with_context(|| format!("writing {}", path.display()))?;
        ignore_builds(&context.directory)?;
        context.output.line(format!(
            "{name} is in {}/, and its stack file is {}",
            handler.display(),
            file.display()
        ))?;
        if self.quiet {
            return Ok(());
        }
        if let Some(welcome) = template.welcome() {
            context.output.line(welcome)?;
        }
        let program = &context.program;
        context.output.line(format!("\nTry:\n  {program} up -f {}", file.display()))?;
        context.output.line(format!("  echo Ada | {program} invoke {name}"))
    }

    /// The function's lines in a stack file.
    fn entry(
        &self,
        name: &FunctionName,
        template: &Template,
        handler: &Path,
        context: &Context,
    ) -> Result<String, CliError> {
        let mut lines = format!("  {}:\n    lang: {}\n", name.name(), template.name());
        let handler = if handler.is_absolute() { handler.to_owned() } else { Path::new(".").join(handler) };
        let _ = writeln!(lines, "    handler: {}", handler.display());
        if template.kind() == Kind::Image {
            let prefix = match &self.prefix {
                Some(prefix) => Some(prefix.as_str()),
                None => context.environment.get("OPENFAAS_PREFIX")?,
            };
            let prefix =
                prefix.map(|prefix| format!("{}/", prefix.trim_end_matches('/'))).unwrap_or_default();
            let _ = writeln!(lines, "    image: {prefix}{}:latest", name.name());
        }
        if name.namespace() != bramble_provider::DEFAULT_NAMESPACE {
            let _ = writeln!(lines, "    namespace: {}", name.namespace());
        }
        for (key, amounts) in [("limits", self.resources.limits()), ("requests", self.resources.requests())] {
            if !amounts.is_empty() {
                let _ = writeln!(lines, "    {key}:");
            }
            for (key, amount) in amounts {
                let _ = writeln!(lines, "      {key}: {amount}");
            }
        }
        Ok(lines)
    }
}

/// Prints the templates.
pub(super) fn list(templates: &Templates, json: bool, context: &Context) -> Result<()> {
    let templates = templates.list()?;
    let makes = |template: &Template| match template.kind() {
        Kind::Wasm => "wasm",
        Kind::Image => "image",
    };
    if json {
        let rows = templates.iter().map(|template| {
            json!({"name": template.name(), "makes": makes(template), "description": template.description(),
                   "folder": template.folder()})
        });
        return context.output.json(&rows.collect::<Vec<_>>());
    }
    let row = |template: &Template| {
        [template.name().to_owned(), makes(template).to_owned(), template.description().to_owned()]
    };
    context.output.table(["TEMPLATE", "MAKES", "DESCRIPTION"], &templates.iter().map(row).collect::<Vec<_>>())
}

/// A stack file with one more function. Comments and order stay: the lines are put below `functions:`.
fn appended(file: &Path, path: &Path, name: &FunctionName, entry: &str) -> Result<String> {
    let text = std::fs::read_to_string(path)
        .map_err(|error| CliError::usage(format!("cannot read {}: {error}", file.display())))?;
    let heading = text.lines().position(|line| line.trim_end() == "functions:").ok_or_else(|| {
        CliError::usage(format!("{} has no line `functions:` to add a function below", file.display()))
    })?;
    let taken =
        text.lines().any(|line| line.trim_start() == format!("{}:", name.name()) && line.starts_with(' '));
    if taken {
        return Err(CliError::usage(format!("{} has a function {name} already", file.display())).into());
    }
    let mut lines: Vec<&str> = text.lines().collect();
    // With the indentation that the other functions have.
    let indent = lines[heading + 1..]
        .iter()
        .find(|line| !line.trim().is_empty() && !line.trim_start().starts_with('#'))
        .map_or(2, |line| line.len() - line.trim_start().len())
        .max(1);
    let moved = entry.lines().map(|line| format!("{}{}", " ".repeat(indent), &line[2..])).collect::<Vec<_>>();
    let moved = moved.join("\n");
    lines.insert(heading + 1, &moved);
    Ok(lines.join("\n") + "\n")
}

/// What builds make is nobody's source.
fn ignore_builds(directory: &Path) -> Result<()> {
    let path = directory.join(".gitignore");
    let text = std::fs::read_to_string(&path).unwrap_or_default();
    if text.lines().any(|line| matches!(line.trim(), "build" | "/build" | "build/" | "/build/")) {
        return Ok(());
    }
    let start = if text.is_empty() || text.ends_with('\n') { "" } else { "\n" };
    let append = || {
        OpenOptions::new()
            .create(true)
            .append(true)
            .open(&path)?
            .write_all(format!("{start}/build/\n").as_bytes())
    };
    append().with_context(|| format!("writing {}", path.display()))
}

fn there_already(path: &Path) -> CliError {
    CliError::usage(format!("{} is there already", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn appends_with_the_indentation_of_the_file() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("s.yml");
        let name = FunctionName::parse("b").unwrap();
        let add = |text: &str| {
            std::fs::write(&path, text).unwrap();
            appended(Path::new("s.yml"), &path, &name, "  b:\n    lang: c\n")
        };
        assert_eq!(
            add("functions:\n    # first\n    a:\n        image: x\n").unwrap(),
            "functions:\n    b:\n      lang: c\n    # first\n    a:\n        image: x\n"
        );
        assert_eq!(add("functions:").unwrap(), "functions:\n  b:\n    lang: c\n");
        assert!(add("provider:\n").is_err());
        assert!(add("functions:\n  b:\n    image: x\n").is_err());
    }
}
