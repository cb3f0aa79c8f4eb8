//! The YAML of a stack file, as it is written.

use std::collections::BTreeMap;
use std::path::PathBuf;

use bramble_provider::{DEFAULT_NAMESPACE, FunctionName, quantity};
use serde::{Deserialize, Deserializer};

use super::{Stack, shortened};
use crate::error::CliError;

/// Most functions of one file.
const MAX_FUNCTIONS: usize = 10_000;

#[derive(Debug, Default, Deserialize)]
#[serde(default, expecting = "a map with a key `functions`")]
pub(super) struct Document {
    version: Option<String>,
    #[serde(deserialize_with = "or_default")]
    provider: Provider,
    #[serde(deserialize_with = "or_default")]
    functions: BTreeMap<String, Option<Function>>,
    #[serde(deserialize_with = "or_default")]
    configuration: Configuration,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, expecting = "a map with `name` and `gateway`")]
struct Provider {
    name: Option<String>,
    gateway: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default, expecting = "a map with `templates` and `copy`")]
struct Configuration {
    #[serde(deserialize_with = "or_default")]
    templates: Vec<TemplateSource>,
    #[serde(deserialize_with = "or_default")]
    copy: Vec<PathBuf>,
}

/// A template that the stack asks for, and where it is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default, expecting = "a map with `name` and `source`")]
pub(crate) struct TemplateSource {
    /// Its name.
    pub(crate) name: String,
    /// A git address, `ADDRESS#REF`, or a directory.
    pub(crate) source: Option<String>,
}

/// One function of a stack file. What is not written is empty.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default, expecting = "a map such as {image: NAME} or {lang: TEMPLATE, handler: FOLDER}")]
pub(crate) struct Function {
    /// The template's name.
    pub(crate) lang: Option<String>,
    /// The folder of its source.
    pub(crate) handler: Option<PathBuf>,
    /// A container image, a `.wasm` file or the digest of a stored module.
    pub(crate) image: Option<String>,
    /// Its command (containers) or arguments (wasm).
    pub(crate) fprocess: Option<String>,
    /// Its namespace.
    pub(crate) namespace: Option<String>,
    /// Its environment.
    #[serde(deserialize_with = "or_default")]
    pub(crate) environment: BTreeMap<String, String>,
    /// Files with more of it; a later one wins, and all win over `environment`.
    #[serde(deserialize_with = "or_default")]
    pub(crate) environment_file: Vec<PathBuf>,
    /// Names of secrets.
    #[serde(deserialize_with = "or_default")]
    pub(crate) secrets: Vec<String>,
    /// Labels.
    #[serde(deserialize_with = "or_default")]
    pub(crate) labels: BTreeMap<String, String>,
    /// Annotations.
    #[serde(deserialize_with = "or_default")]
    pub(crate) annotations: BTreeMap<String, String>,
    /// Where it may run.
    #[serde(deserialize_with = "or_default")]
    pub(crate) constraints: Vec<String>,
    /// The most a replica may use: `memory`, `cpu`.
    #[serde(deserialize_with = "or_default")]
    pub(crate) limits: BTreeMap<String, String>,
    /// What a replica is promised.
    #[serde(deserialize_with = "or_default")]
    pub(crate) requests: BTreeMap<String, String>,
    /// Whether a container may write to its root file system.
    pub(crate) readonly_root_filesystem: bool,
    /// Whether the image is there already.
    pub(crate) skip_build: bool,
    /// Arguments of the image's build.
    #[serde(deserialize_with = "or_default")]
    pub(crate) build_args: BTreeMap<String, String>,
    /// Sets of packages that the template knows.
    #[serde(deserialize_with = "or_default")]
    pub(crate) build_options: Vec<String>,
    /// Secret files of the image's build.
    #[serde(deserialize_with = "or_default")]
    pub(crate) build_secrets: BTreeMap<String, PathBuf>,
    /// Platforms of the image, comma-separated.
    pub(crate) platforms: Option<String>,
}

/// Reads the text; a mistake is told with its line and column.
pub(super) fn read(source: &str, text: &str) -> Result<Document, CliError> {
    serde_norway::from_str(text).map_err(|error| {
        let message = format!("{source} cannot be understood: {}", shortened(&error.to_string()));
        let line = error.location().map(|location| location.line());
        let indented_by_tab = |line: &str| line.trim_start_matches(' ').starts_with('\t');
        let about = line.into_iter().flat_map(|line| [line, line.saturating_sub(1)]);
        let tab = about
            .filter(|line| *line > 0)
            .find(|line| text.lines().nth(line - 1).is_some_and(indented_by_tab));
        match tab {
            Some(line) => CliError::usage(message)
                .hint(format!("line {line} is indented with a tab; YAML takes only spaces")),
            None => CliError::usage(message),
        }
    })
}

impl Document {
    pub(super) fn into_stack(
        self,
        source: &str,
        directory: PathBuf,
        warnings: Vec<String>,
    ) -> Result<Stack, CliError> {
        let refused = |reason: String| CliError::usage(format!("{source}: {}", shortened(&reason)));
        if let Some(version) = self.version.filter(|version| version != "1.0" && version != "1") {
            return Err(refused(format!("version: {version:?} is not known; write 1.0")));
        }
        let provider = self.provider.name.as_deref();
        if let Some(name) = provider.filter(|name| !matches!(*name, "openfaas" | "faas" | "bramble")) {
            return Err(refused(format!("provider.name: {name:?} is none of ours; write openfaas")));
        }
        if self.functions.is_empty() {
            return Err(refused("it has no functions".to_owned())
                .hint("`bramble new --lang rust NAME` writes a stack file with one"));
        }
        if self.functions.len() > MAX_FUNCTIONS {
            return Err(refused(format!("it has more than {MAX_FUNCTIONS} functions")));
        }
        let mut functions = BTreeMap::new();
        for (name, function) in self.functions {
            let refused = |reason: String| refused(format!("functions.{}: {reason}", shortened(&name)));
            let function = function.ok_or_else(|| refused("it is empty".to_owned()))?;
            let namespace = function.namespace.as_deref().filter(|text| !text.is_empty());
            let full = FunctionName::new(&name, namespace.unwrap_or(DEFAULT_NAMESPACE));
            let full = full.map_err(|error| refused(error.to_string()))?;
            function.check().map_err(refused)?;
            functions.insert(full, function);
        }
        Ok(Stack {
            source: source.to_owned(),
            directory,
            gateway: self.provider.gateway.filter(|url| !url.is_empty()),
            functions,
            templates: self.configuration.templates,
            copy: self.configuration.copy,
            warnings,
        })
    }
}

impl Function {
    fn check(&self) -> Result<(), String> {
        for (key, amounts) in [("limits", &self.limits), ("requests", &self.requests)] {
            if let Some(memory) = amounts.get("memory").filter(|text| !text.is_empty()) {
                quantity::parse_bytes(memory).map_err(|error| format!("{key}.memory: {error}"))?;
            }
            if let Some(cpu) = amounts.get("cpu").filter(|text| !text.is_empty()) {
                quantity::parse_cpu_millis(cpu).map_err(|error| format!("{key}.cpu: {error}"))?;
            }
        }
        if self.lang().is_none() && self.image().is_none() {
            return Err("it has neither a lang (with a handler) nor an image".to_owned());
        }
        Ok(())
    }

    /// The template, when one is named. `wasm` says that the image is a file, and names none.
    pub(crate) fn lang(&self) -> Option<&str> {
        // `lang@ref` pins a template's version where templates are fetched; here its name counts.
        let name = self.lang.as_deref().map(|lang| lang.split('@').next().unwrap_or(lang));
        name.filter(|lang| !lang.is_empty() && *lang != "wasm")
    }

    /// The image, when there is one.
    pub(crate) fn image(&self) -> Option<&str> {
        self.image.as_deref().filter(|image| !image.is_empty())
    }
}

/// An empty value is the default one, as in `labels:` with nothing behind it.
fn or_default<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Default + Deserialize<'de>,
{
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}
