//! `bramble diff`

use std::collections::BTreeMap;

use anyhow::Result;
use bramble_provider::quantity::{format_bytes, format_cpu_millis, parse_bytes, parse_cpu_millis};
use bramble_provider::{FunctionName, words};
use clap::Args;
use serde_json::{Value, json};

use super::{Connection, Context, InNamespace};
use crate::api::{Deployment, FunctionStatus, read};
use crate::error::{CliError, Exit};
use crate::rollout::prepare;
use crate::stack::{Stack, StackFlags};

/// Show how what is deployed differs from a stack file
#[derive(Debug, Args)]
#[command(after_help = "\
Exit code 0 says that nothing differs, 1 that something does. What the gateway adds to a function by
itself (labels and annotations that the file does not name) is no difference, nor is the same amount or command
in other words, such as 1 and 1000m. A module is compared by the digest of its file, so build first.

Examples:
  bramble diff -f stack.yml
  bramble diff -f stack.yml --json | jq -r '.[].function'")]
pub(crate) struct Diff {
    #[command(flatten)]
    stack: StackFlags,
    #[command(flatten)]
    place: InNamespace,
    /// Print the differences as JSON
    #[arg(short, long)]
    json: bool,
    #[command(flatten)]
    connection: Connection,
}

/// One field that differs; `null` is what is not there.
#[derive(Debug, PartialEq)]
struct Difference {
    field: String,
    deployed: Value,
    file: Value,
}

impl Diff {
    /// Compares, and prints what differs.
    pub(crate) async fn run(&self, context: &Context) -> Result<()> {
        let stack = self.place.stack(Stack::load(&self.stack, context).await?)?;
        let api = self.connection.of_stack(context, &stack)?;
        let (mut rows, mut json) = (Vec::new(), Vec::new());
        for (name, function) in &stack.functions {
            let wanted = prepare(&stack, name, function)?.deployment;
            let deployed = match api.function(name).await {
                Ok(answer) => Some(read::<FunctionStatus>(&answer)?),
                Err(error) if is_missing(&error) => None,
                Err(error) => return Err(error),
            };
            for difference in differences(&wanted, deployed.as_ref()) {
                json.push(json!({"function": name, "field": &difference.field,
                                 "deployed": &difference.deployed, "file": &difference.file}));
                rows.push(row(name, &difference));
            }
        }
        if self.json {
            context.output.json(&json)?;
        } else if rows.is_empty() {
            context.output.line("nothing differs")?;
        } else {
            context.output.table(["FUNCTION", "FIELD", "DEPLOYED", "FILE"], &rows)?;
        }
        match rows.len() {
            0 => Ok(()),
            count => Err(CliError::failed(format!("{count} fields differ")).into()),
        }
    }
}

fn is_missing(error: &anyhow::Error) -> bool {
    error.downcast_ref::<CliError>().is_some_and(|error| error.exit() == Exit::NotFound)
}

fn row(name: &FunctionName, difference: &Difference) -> [String; 4] {
    let text = |value: &Value| match value {
        Value::Null => "-".to_owned(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    [name.to_string(), difference.field.clone(), text(&difference.deployed), text(&difference.file)]
}

fn differences(wanted: &Deployment, deployed: Option<&FunctionStatus>) -> Vec<Difference> {
    let Some(deployed) = deployed else {
        let file = wanted.image.clone().into();
        return vec![Difference { field: "image".to_owned(), deployed: Value::Null, file }];
    };
    let mut found = Vec::new();
    let mut compare = |field: &str, deployed: Value, file: Value| {
        if deployed != file {
            found.push(Difference { field: field.to_owned(), deployed, file });
        }
    };
    compare("image", deployed.image.clone().into(), wanted.image.clone().into());
    let process = wanted.env_process.as_deref().unwrap_or_default();
    compare("fprocess", command(&deployed.env_process), command(process));
    let read_only = (deployed.read_only_root_filesystem, wanted.read_only_root_filesystem);
    compare("readonly_root_filesystem", read_only.0.into(), read_only.1.into());
    let sorted = |list: &[String]| {
        let mut list = list.to_vec();
        list.sort();
        Value::from(list)
    };
    compare("secrets", sorted(&deployed.secrets), sorted(&wanted.secrets));
    compare("constraints", sorted(&deployed.constraints), sorted(&wanted.constraints));
    let mut maps =
        |field: &str, deployed: &BTreeMap<String, Value>, file: BTreeMap<String, Value>, exact: bool| {
            let gone = deployed.keys().filter(|key| exact && !file.contains_key(*key));
            for key in file.keys().chain(gone) {
                let (deployed, file) = (deployed.get(key), file.get(key));
                compare(&format!("{field}.{key}"), deployed.cloned().into(), file.cloned().into());
            }
        };
    maps("environment", &values(&deployed.env_vars), values(&wanted.env_vars), true);
    maps("labels", &values(&deployed.labels), values(&wanted.labels), false);
    maps("annotations", &values(&deployed.annotations), values(&wanted.annotations), false);
    for (field, deployed, wanted) in
        [("limits", &deployed.limits, &wanted.limits), ("requests", &deployed.requests, &wanted.requests)]
    {
        let there = deployed.iter().map(|(key, value)| (key.clone(), amount(key, value)));
        let file = wanted.iter().map(|(key, text)| ((*key).to_owned(), amount(key, &text.as_str().into())));
        maps(field, &there.collect(), file.collect(), true);
    }
    found
}

/// A command as the gateway writes it; what it would refuse stays as it is.
fn command(text: &str) -> Value {
    words::split(text).map_or_else(|_| text.to_owned(), |split| words::join(&split)).into()
}

/// An amount as the gateway writes it; what it would refuse stays as it is.
fn amount(key: &str, value: &Value) -> Value {
    let Some(text) = value.as_str() else { return value.clone() };
    let written = match key {
        "cpu" => parse_cpu_millis(text).map(format_cpu_millis),
        _ => parse_bytes(text).map(format_bytes),
    };
    written.map_or_else(|_| value.clone(), Value::from)
}

fn values(of: &BTreeMap<String, String>) -> BTreeMap<String, Value> {
    of.iter().map(|(key, value)| (key.clone(), Value::from(value.as_str()))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_what_differs_and_not_what_the_gateway_adds() {
        let name = FunctionName::parse("a").unwrap();
        let map = |pairs: &[(&str, &str)]| {
            pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect::<BTreeMap<_, _>>()
        };
        let mut wanted = Deployment::new(&name, "i:1");
        wanted.env_vars = map(&[("A", "1"), ("B", "2")]);
        wanted.labels = map(&[("l", "1")]);
        wanted.secrets = vec!["b".into(), "a".into()];
        let mut deployed = FunctionStatus {
            image: "i:1".into(),
            env_vars: wanted.env_vars.clone(),
            labels: map(&[("l", "1"), ("faas_function", "a")]),
            secrets: vec!["a".into(), "b".into()],
            ..FunctionStatus::default()
        };
        assert_eq!(differences(&wanted, Some(&deployed)), []);
        deployed.env_vars = map(&[("A", "0"), ("C", "3"), ("B", "2")]);
        deployed.image = "i:0".into();
        let found = differences(&wanted, Some(&deployed));
        let fields: Vec<_> = found.iter().map(|found| found.field.as_str()).collect();
        assert_eq!(fields, ["image", "environment.A", "environment.C"]);
        assert_eq!(differences(&wanted, None).len(), 1);
    }

    #[test]
    fn the_same_in_other_words_is_no_difference_and_what_is_gone_is_one() {
        let mut wanted = Deployment::new(&FunctionName::parse("a").unwrap(), "i:1");
        wanted.env_process = Some("sh  -c 'a b'".to_owned());
        wanted.limits = BTreeMap::from([("cpu", "1".to_owned()), ("memory", "40M".to_owned())]);
        wanted.requests = BTreeMap::from([("cpu", "0.5".to_owned())]);
        let amounts = |pairs: &[(&str, &str)]| {
            pairs.iter().map(|(key, amount)| ((*key).to_owned(), json!(amount))).collect::<BTreeMap<_, _>>()
        };
        let mut deployed = FunctionStatus {
            image: "i:1".into(),
            env_process: "sh -c \"a b\"".into(),
            limits: amounts(&[("cpu", "1000m"), ("memory", "40000000")]),
            requests: amounts(&[("cpu", "500m")]),
            ..FunctionStatus::default()
        };
        assert_eq!(differences(&wanted, Some(&deployed)), []);
        deployed.requests = amounts(&[("cpu", "250m"), ("memory", "1Mi")]);
        deployed.read_only_root_filesystem = true;
        let found = differences(&wanted, Some(&deployed));
        let fields: Vec<_> = found.iter().map(|found| found.field.as_str()).collect();
        assert_eq!(fields, ["readonly_root_filesystem", "requests.cpu", "requests.memory"]);
        wanted.env_process = Some("sh -c 'a".to_owned());
        assert_eq!(differences(&wanted, Some(&deployed))[0].field, "fprocess");
    }
}
