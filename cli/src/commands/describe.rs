//! `bramble describe`

use std::collections::BTreeMap;
use std::fmt::Display;

use anyhow::Result;
use bramble_provider::FunctionName;
use clap::Args;
use serde_json::Value;

use super::{Connection, Context, InNamespace, function_name};
use crate::api::{FunctionStatus, Half, read};
use crate::output::Style;

/// Show one function
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  bramble describe hello
  bramble describe hello --json | jq .availableReplicas")]
pub(crate) struct Describe {
    /// The function
    #[arg(value_parser = function_name)]
    name: FunctionName,
    #[command(flatten)]
    place: InNamespace,
    /// Print the gateway's answer as JSON
    #[arg(short, long)]
    json: bool,
    #[command(flatten)]
    connection: Connection,
}

impl Describe {
    /// Asks and prints.
    pub(crate) async fn run(&self, context: &Context) -> Result<()> {
        let api = self.connection.api(context)?;
        let name = self.place.name(&self.name)?;
        let answer = api.function(&name).await?;
        if self.json {
            return context.output.json(&answer);
        }
        let status: FunctionStatus = read(&answer)?;
        let mut text = String::new();
        for (label, value) in lines(&status, &api.invoke_url(&name)) {
            let label = context.output.paint(Style::Bold, &format!("{label:<14}"));
            text.push_str(format!("{label}{value}").trim_end());
            text.push('\n');
        }
        context.output.bytes(text.as_bytes())
    }
}

/// Label and value, line by line; the lines of a list have no label after the first.
fn lines(status: &FunctionStatus, url: &str) -> Vec<(&'static str, String)> {
    let mut lines = vec![
        ("Name", super::full_name(status)),
        ("URL", url.to_owned()),
        ("Image", status.image.clone()),
        ("Replicas", replicas(status.available_replicas, status.replicas, status.frozen_replicas)),
        ("Invocations", format!("{:.0}", status.invocation_count)),
    ];
    let memory =
        status.usage.as_ref().map(|usage| format!("{:.1} MiB", usage.total_memory_bytes / 1_048_576.0));
    let said = |text: &String| Some(text.clone()).filter(|text| !text.is_empty());
    list(&mut lines, "Reason", Vec::from_iter(status.reason.clone()));
    list(&mut lines, "Runtimes", status.runtimes.iter().map(|(runtime, told)| half(runtime, told)).collect());
    list(&mut lines, "Memory", Vec::from_iter(memory));
    list(&mut lines, "Process", Vec::from_iter(said(&status.env_process)));
    list(&mut lines, "Created", Vec::from_iter(said(&super::short_time(&status.created_at, 0))));
    list(&mut lines, "Environment", pairs(&status.env_vars));
    list(&mut lines, "Secrets", status.secrets.clone());
    list(&mut lines, "Labels", pairs(&status.labels));
    list(&mut lines, "Annotations", pairs(&status.annotations));
    list(&mut lines, "Constraints", status.constraints.clone());
    list(&mut lines, "Limits", pairs(&plain(&status.limits)));
    list(&mut lines, "Requests", pairs(&plain(&status.requests)));
    lines
}

fn replicas(available: u64, replicas: u64, frozen: u64) -> String {
    let counts = format!("{available} available of {replicas}");
    match frozen {
        0 => counts,
        frozen => format!("{counts}, {frozen} frozen"),
    }
}

/// One line on one half of a hybrid.
fn half(runtime: &str, told: &Half) -> String {
    let (what, taken) = (if runtime == "wasm" { "slots" } else { "replicas" }, told.invocation_count);
    let counts = replicas(told.available_replicas, told.replicas, told.frozen_replicas);
    let mut text = format!("{runtime}: {what} {counts}, {taken} invocations");
    for (count, word) in [(told.inflight, "running"), (told.queued, "waiting")] {
        if count > 0 {
            text.push_str(&format!(", {count} {word}"));
        }
    }
    if let Some(seconds) = told.service_seconds {
        text.push_str(&format!(", {:.1} ms each", seconds * 1_000.0));
    }
    if let Some(reason) = &told.reason {
        text.push_str(&format!(": {reason}"));
    }
    text
}

fn list(lines: &mut Vec<(&'static str, String)>, label: &'static str, values: Vec<String>) {
    let labels = std::iter::once(label).chain(std::iter::repeat(""));
    lines.extend(labels.zip(values));
}

fn pairs(map: &BTreeMap<String, impl Display>) -> Vec<String> {
    map.iter().map(|(key, value)| format!("{key}={value}")).collect()
}

/// Texts without their quotes.
fn plain(map: &BTreeMap<String, Value>) -> BTreeMap<String, String> {
    let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    map.iter().map(|(key, value)| (key.clone(), text(value))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hybrid_tells_of_both_halves() {
        let status: FunctionStatus = serde_json::from_value(serde_json::json!({
            "name": "both", "replicas": 2, "availableReplicas": 1,
            "runtimes": {
                "wasm": {"replicas": 16, "availableReplicas": 16, "inflight": 3, "invocationCount": 40,
                         "serviceSeconds": 0.00042},
                "container": {"replicas": 2, "availableReplicas": 1, "frozenReplicas": 1, "queued": 2,
                              "reason": "no such image"},
            },
        }))
        .unwrap();
        let lines = lines(&status, "url");
        let at = lines.iter().position(|(label, _)| *label == "Runtimes").unwrap();
        assert_eq!(
            lines[at..at + 2],
            [
                (
                    "Runtimes",
                    "container: replicas 1 available of 2, 1 frozen, 0 invocations, 2 waiting: no such image"
                        .to_owned()
                ),
                ("", "wasm: slots 16 available of 16, 40 invocations, 3 running, 0.4 ms each".to_owned()),
            ]
        );
    }

    #[test]
    fn any_other_function_has_no_runtimes() {
        let lines = lines(&FunctionStatus::default(), "url");
        assert!(lines.iter().all(|(label, _)| *label != "Runtimes"));
    }
}
