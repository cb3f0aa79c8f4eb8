//! A function of a stack file as the gateway is told of it.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::Result;
use bramble_provider::FunctionName;
use serde::Deserialize;

use super::{Function, Stack};
use crate::api::Deployment;
use crate::error::CliError;

/// Largest file of variables that is read.
const MAX_ENVIRONMENT_BYTES: u64 = 1 << 20;

impl Stack {
    /// The deployment of a function whose code is `image`. Reads its environment files.
    ///
    /// # Errors
    /// [`CliError`] for an environment file that cannot be read or understood.
    pub(crate) fn deployment(
        &self,
        name: &FunctionName,
        function: &Function,
        image: &str,
    ) -> Result<Deployment> {
        let mut env_vars = function.environment.clone();
        for file in &function.environment_file {
            env_vars.extend(read_environment(&self.path(file))?);
        }
        Ok(Deployment {
            env_process: function.fprocess.clone().filter(|words| !words.is_empty()),
            env_vars,
            labels: function.labels.clone(),
            annotations: function.annotations.clone(),
            secrets: function.secrets.clone(),
            constraints: function.constraints.clone(),
            limits: resources(&function.limits),
            requests: resources(&function.requests),
            read_only_root_filesystem: function.readonly_root_filesystem,
            ..Deployment::new(name, image)
        })
    }
}

fn resources(written: &BTreeMap<String, String>) -> BTreeMap<&'static str, String> {
    let known = ["memory", "cpu"].into_iter();
    known.filter_map(|key| Some((key, written.get(key).filter(|text| !text.is_empty())?.clone()))).collect()
}

fn read_environment(path: &Path) -> Result<BTreeMap<String, String>, CliError> {
    #[derive(Deserialize)]
    struct Document {
        environment: Option<BTreeMap<String, String>>,
    }
    let shown = path.display();
    let refused = |reason: String| CliError::usage(format!("environment_file {shown}: {reason}"));
    let size = std::fs::metadata(path).map_err(|error| refused(error.to_string()))?.len();
    if size > MAX_ENVIRONMENT_BYTES {
        return Err(refused(format!("it has more than {MAX_ENVIRONMENT_BYTES} bytes")));
    }
    let text = std::fs::read_to_string(path).map_err(|error| refused(error.to_string()))?;
    let document: Document = serde_norway::from_str(&text).map_err(|error| refused(error.to_string()))?;
    Ok(document.environment.unwrap_or_default())
}
