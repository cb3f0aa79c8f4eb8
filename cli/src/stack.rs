//! Stack files: which functions there are, what they are built from and how they are deployed.
//!
//! In: OpenFaaS's `stack.yml`, variables, what is wrong with one. Out: building ([`crate::build`]) and
//! speaking to a gateway. The property that must hold: a key that means nothing here is told, never
//! silently dropped; what makes no sense names the file, the function, the key and the value.

mod deployment;
mod document;
mod keys;
mod plan;
mod select;
mod source;
mod substitute;
mod tag;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::Result;
use bramble_provider::FunctionName;

use crate::commands::Context;
use crate::error::CliError;
pub(crate) use document::{Function, TemplateSource};
pub(crate) use plan::{Build, Code, Makes};
pub(crate) use select::StackFlags;
pub(crate) use source::has_stack_file;

/// A stack file that was read.
#[derive(Debug)]
pub(crate) struct Stack {
    /// Where it came from, for messages: a path or a URL.
    pub(crate) source: String,
    /// What its paths are relative to.
    pub(crate) directory: PathBuf,
    /// The gateway that it names.
    pub(crate) gateway: Option<String>,
    /// Its functions, by the names that they are deployed under.
    pub(crate) functions: BTreeMap<FunctionName, Function>,
    /// Templates that it asks for.
    pub(crate) templates: Vec<TemplateSource>,
    /// Folders that are copied into every handler.
    pub(crate) copy: Vec<PathBuf>,
    /// What is odd about it and no reason to refuse it.
    pub(crate) warnings: Vec<String>,
}

impl Stack {
    /// Reads the file that the flags name, keeps the functions that they choose, and tells its warnings.
    ///
    /// # Errors
    /// [`CliError`] of kind usage for a file that cannot be read or understood, and when no function
    /// is chosen.
    pub(crate) async fn load(flags: &StackFlags, context: &Context) -> Result<Self> {
        let (source, directory, text) = source::read(flags.yaml(), context).await?;
        // Doubled, each dollar sign means itself.
        let text = if flags.has_variables() { text } else { text.replace('$', "$$") };
        let stack = Self::parse(&source, directory, &text, &|name| context.environment.raw(name))?;
        let mut stack = flags.select(stack)?;
        if let Some(tag) = flags.tag() {
            tag::apply(&mut stack, tag)?;
        }
        for warning in &stack.warnings {
            context.output.warn(warning);
        }
        Ok(stack)
    }

    /// Understands the text of a stack file.
    ///
    /// # Errors
    /// [`CliError`] that names the file, and the line or the key.
    pub(crate) fn parse(
        source: &str,
        directory: PathBuf,
        text: &str,
        lookup: &dyn Fn(&str) -> Option<String>,
    ) -> Result<Self, CliError> {
        let text = substitute::substitute(text, lookup).map_err(|bad| {
            CliError::usage(format!("{source}, line {}: {}", bad.line, shortened(&bad.reason)))
        })?;
        let mut warnings: Vec<String> = text
            .unset
            .iter()
            .map(|(name, line)| {
                let name = shortened(name);
                format!(
                    "{source}, line {line}: the variable {name} is not set and has no default; it is empty"
                )
            })
            .collect();
        let document = document::read(source, &text.text)?;
        keys::check(source, &text.text, &mut warnings)?;
        document.into_stack(source, directory, warnings)
    }

    /// The same functions in a namespace, whatever the file says of theirs.
    ///
    /// # Errors
    /// [`CliError`] for what is no namespace.
    pub(crate) fn in_namespace(mut self, namespace: &str) -> Result<Self, CliError> {
        let moved = |(name, function): (FunctionName, Function)| {
            let name = FunctionName::new(name.name(), namespace);
            Ok((name.map_err(|error| CliError::usage(error.to_string()))?, function))
        };
        self.functions = self.functions.into_iter().map(moved).collect::<Result<_, CliError>>()?;
        Ok(self)
    }

    /// A path of the stack file.
    pub(crate) fn path(&self, path: &Path) -> PathBuf {
        self.directory.join(path)
    }
}

/// A name, a value or a reason as it fits a message: a file may have any of a megabyte.
fn shortened(text: &str) -> String {
    const MOST_CHARS: usize = 300;
    match text.char_indices().nth(MOST_CHARS) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests;
