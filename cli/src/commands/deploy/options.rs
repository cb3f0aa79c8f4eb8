//! The options of a function on the command line, and what becomes of one that is there.

use std::collections::BTreeMap;

use bramble_provider::{FunctionName, quantity};
use clap::{ArgAction, Args};
use serde_json::json;

use super::super::{InNamespace, key_value};
use crate::api::{Deployment, Existing};

/// What a function is told beside its code.
#[derive(Debug, Clone, Default, Args)]
#[command(next_help_heading = "Function")]
pub(crate) struct Options {
    /// Set an environment variable of the function
    #[arg(short, long, value_name = "KEY=VALUE", value_parser = key_value)]
    env: Vec<(String, String)>,
    /// Add a label
    #[arg(short, long, value_name = "KEY=VALUE", value_parser = key_value)]
    label: Vec<(String, String)>,
    /// Add an annotation
    #[arg(long, value_name = "KEY=VALUE", value_parser = key_value)]
    annotation: Vec<(String, String)>,
    /// Let the function read a secret, as a file below /var/openfaas/secrets
    #[arg(long, value_name = "NAME")]
    secret: Vec<String>,
    /// Its arguments (wasm), or its command (containers)
    #[arg(long, value_name = "WORDS")]
    fprocess: Option<String>,
    #[command(flatten)]
    resources: Resources,
    /// Where a container may run, such as `node.role == worker`
    #[arg(long, value_name = "CONSTRAINT")]
    constraint: Vec<String>,
    /// Make a container's root file system read-only
    #[arg(long)]
    readonly: bool,
    /// Remove a function that is there first; an update fails no request
    #[arg(long, value_name = "true|false", num_args = 0..=1, require_equals = true, default_missing_value = "true",
          default_value_t = false, hide_default_value = true, action = ArgAction::Set)]
    replace: bool,
    /// With --update=false and without --replace: refuse when the function is there
    #[arg(long, value_name = "true|false", num_args = 0..=1, require_equals = true, default_missing_value = "true",
          action = ArgAction::Set)]
    update: Option<bool>,
    #[command(flatten)]
    place: InNamespace,
}

/// The most that a replica may use, and what it is promised.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct Resources {
    /// Most memory of a replica, such as 64Mi
    #[arg(long, value_name = "SIZE", value_parser = memory)]
    memory_limit: Option<String>,
    /// Most processor time of a replica, such as 500m
    #[arg(long, value_name = "CPUS", value_parser = cpus)]
    cpu_limit: Option<String>,
    /// Memory that a replica is promised
    #[arg(long, value_name = "SIZE", value_parser = memory)]
    memory_request: Option<String>,
    /// Processor time that a replica is promised
    #[arg(long, value_name = "CPUS", value_parser = cpus)]
    cpu_request: Option<String>,
}

impl Resources {
    /// What it may use at most: `memory`, `cpu`.
    pub(crate) fn limits(&self) -> BTreeMap<&'static str, String> {
        said(&self.memory_limit, &self.cpu_limit)
    }

    /// What it is promised.
    pub(crate) fn requests(&self) -> BTreeMap<&'static str, String> {
        said(&self.memory_request, &self.cpu_request)
    }
}

fn said(memory: &Option<String>, cpu: &Option<String>) -> BTreeMap<&'static str, String> {
    let pairs = [("memory", memory), ("cpu", cpu)];
    pairs.into_iter().filter_map(|(key, amount)| Some((key, amount.clone()?))).collect()
}

impl Options {
    /// Where the function is, if its name does not say it.
    pub(in crate::commands) fn place(&self) -> &InNamespace {
        &self.place
    }

    /// What becomes of one that is there; to replace goes before to update.
    pub(crate) fn existing(&self) -> Existing {
        match (self.replace, self.update) {
            (true, _) => Existing::Replace,
            (false, Some(false)) => Existing::Refuse,
            (false, _) => Existing::Update,
        }
    }

    /// Whether the file says everything.
    pub(crate) fn are_none(&self) -> bool {
        let name = FunctionName::parse("any").expect("it is a label");
        let described = serde_json::to_value(self.deployment(&name, ""));
        described.is_ok_and(|described| described == json!({"service": "any", "image": ""}))
    }

    /// Adds what was given here to a deployment, and replaces what it says of the same.
    pub(crate) fn add_to(&self, deployment: &mut Deployment) {
        let given = self.deployment(&FunctionName::parse("any").expect("it is a label"), "");
        deployment.env_vars.extend(given.env_vars);
        deployment.labels.extend(given.labels);
        deployment.annotations.extend(given.annotations);
        deployment.limits.extend(given.limits);
        deployment.requests.extend(given.requests);
        deployment.env_process = given.env_process.or(deployment.env_process.take());
        deployment.read_only_root_filesystem |= given.read_only_root_filesystem;
        for (all, more) in
            [(&mut deployment.secrets, given.secrets), (&mut deployment.constraints, given.constraints)]
        {
            all.extend(more);
            all.sort();
            all.dedup();
        }
    }

    /// A deployment with these options.
    pub(crate) fn deployment(&self, name: &FunctionName, image: &str) -> Deployment {
        let map = |pairs: &[(String, String)]| pairs.iter().cloned().collect::<BTreeMap<_, _>>();
        Deployment {
            env_process: self.fprocess.clone(),
            env_vars: map(&self.env),
            labels: map(&self.label),
            annotations: map(&self.annotation),
            secrets: self.secret.clone(),
            constraints: self.constraint.clone(),
            limits: self.resources.limits(),
            requests: self.resources.requests(),
            read_only_root_filesystem: self.readonly,
            ..Deployment::new(name, image)
        }
    }
}

/// Checked here, so that a typing error is told before anything is uploaded.
fn memory(text: &str) -> Result<String, String> {
    quantity::parse_bytes(text).map(|_| text.to_owned()).map_err(|error| error.to_string())
}

fn cpus(text: &str) -> Result<String, String> {
    quantity::parse_cpu_millis(text).map(|_| text.to_owned()).map_err(|error| error.to_string())
}
