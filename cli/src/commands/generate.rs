//! `bramble generate`

use std::collections::BTreeMap;

use anyhow::Result;
use clap::{Args, ValueEnum};
use serde_json::{Value, json};

use super::{Context, InNamespace};
use crate::api::Deployment;
use crate::rollout::prepare;
use crate::stack::{Stack, StackFlags};

/// Print a stack file as what another tool takes
#[derive(Debug, Args)]
#[command(after_help = "\
json: the documents that `POST /system/functions` takes, one for each function, with the digests of modules
as they are built; the modules themselves must be uploaded. compose: the container functions as services of
a Swarm stack (`docker stack deploy`) that runs without a gateway; functions in wasm are left out, and named.

Examples:
  bramble generate -f stack.yml | jq '.[0]' | curl --json @- http://127.0.0.1:8080/system/functions
  bramble generate -f stack.yml --format compose > functions.yml")]
pub(crate) struct Generate {
    #[command(flatten)]
    stack: StackFlags,
    #[command(flatten)]
    place: InNamespace,
    /// What to print
    #[arg(long, value_enum, default_value_t = Format::Json)]
    format: Format,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// Deployments, as the API takes them
    Json,
    /// A stack for Docker Swarm
    Compose,
}

impl Generate {
    /// Prints.
    pub(crate) async fn run(&self, context: &Context) -> Result<()> {
        let stack = self.place.stack(Stack::load(&self.stack, context).await?)?;
        let mut deployments = Vec::new();
        for (name, function) in &stack.functions {
            let prepared = prepare(&stack, name, function)?;
            if self.format == Format::Compose && prepared.deployment.image.starts_with("sha256:") {
                context.output.warn(format!("{name} is wasm, which Swarm does not run: left out"));
                continue;
            }
            deployments.push(prepared.deployment);
        }
        match self.format {
            Format::Json => context.output.json(&deployments),
            Format::Compose => {
                let text = serde_norway::to_string(&compose(&deployments))?;
                context.output.bytes(text.as_bytes())
            }
        }
    }
}

fn compose(deployments: &[Deployment]) -> Value {
    let mut secrets = BTreeMap::new();
    let service = |deployment: &Deployment| {
        let mut environment = deployment.env_vars.clone();
        environment.extend(deployment.env_process.clone().map(|words| ("fprocess".to_owned(), words)));
        let constraints: Vec<_> = deployment.constraints.iter().map(|text| literal(text)).collect();
        let mounted: Vec<Value> = deployment
            .secrets
            .iter()
            .map(|name| json!({"source": name, "target": format!("/var/openfaas/secrets/{name}")}))
            .collect();
        let amounts = |of: &BTreeMap<&'static str, String>| {
            let name = |key: &str| if key == "cpu" { "cpus".to_owned() } else { key.to_owned() };
            of.iter().map(|(key, amount)| (name(key), amount_of(key, amount))).collect::<BTreeMap<_, _>>()
        };
        json!({
            "image": deployment.image,
            "environment": literals(&environment),
            "secrets": mounted,
            "read_only": deployment.read_only_root_filesystem,
            "deploy": {
                "labels": literals(&deployment.labels),
                "placement": {"constraints": constraints},
                "resources": {"limits": amounts(&deployment.limits),
                              "reservations": amounts(&deployment.requests)},
            },
        })
    };
    let mut services = BTreeMap::new();
    for deployment in deployments {
        secrets.extend(deployment.secrets.iter().map(|name| (name.clone(), json!({"external": true}))));
        services.insert(deployment.service.clone(), service(deployment));
    }
    json!({"version": "3.8", "services": services, "secrets": secrets})
}

/// A text as a compose file has it, in which a dollar sign begins a variable.
fn literal(text: &str) -> String {
    text.replace('$', "$$")
}

fn literals(of: &BTreeMap<String, String>) -> BTreeMap<&str, String> {
    of.iter().map(|(key, value)| (key.as_str(), literal(value))).collect()
}

/// An amount as a compose file has it: processors as a number, memory in bytes.
fn amount_of(key: &str, amount: &str) -> Value {
    use bramble_provider::quantity::{parse_bytes, parse_cpu_millis};
    let cpu = |millis: u32| format!("{}.{:03}", millis / 1000, millis % 1000);
    match key {
        "cpu" => parse_cpu_millis(amount).map(cpu).unwrap_or_else(|_| amount.to_owned()).into(),
        _ => parse_bytes(amount).map(|bytes| bytes.to_string()).unwrap_or_else(|_| amount.to_owned()).into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bramble_provider::FunctionName;

    #[test]
    fn a_stack_for_swarm() {
        let mut deployment = Deployment::new(&FunctionName::parse("a").unwrap(), "i:1");
        deployment.env_process = Some("sh -c 'echo $HOME'".to_owned());
        deployment.labels = BTreeMap::from([("price".to_owned(), "${5}".to_owned())]);
        deployment.constraints = vec!["node.labels.a == $b".to_owned()];
        deployment.secrets = vec!["s".to_owned()];
        deployment.limits = BTreeMap::from([("cpu", "250m".to_owned()), ("memory", "1Mi".to_owned())]);
        let stack = compose(&[deployment]);
        assert_eq!(stack["services"]["a"]["environment"]["fprocess"], "sh -c 'echo $$HOME'");
        let deploy = &stack["services"]["a"]["deploy"];
        assert_eq!(deploy["labels"]["price"], "$${5}");
        assert_eq!(deploy["placement"]["constraints"][0], "node.labels.a == $$b");
        let limits = json!({"cpus": "0.250", "memory": "1048576"});
        assert_eq!(stack["services"]["a"]["deploy"]["resources"]["limits"], limits);
        assert_eq!(stack["secrets"]["s"]["external"], true);
    }
}
