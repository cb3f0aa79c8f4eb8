//! `bramble scale`

use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::Result;
use bramble_provider::FunctionName;
use clap::Args;
use serde::Deserialize;

use super::{Connection, Context, InNamespace, function_name};
use crate::api::read;
use crate::output::Style;

/// Set how many replicas of a function are desired, or tell why it has as many as it has
#[derive(Debug, Args)]
#[command(after_help = "\
A wasm function's replicas are its slots: how many invocations it runs at once. With 0 its code
leaves the memory, and the next invocation brings it back. Where labels ask the scaler to follow the
load, it takes the number from there.

Examples:
  bramble scale hello 32
  bramble scale hello 0
  bramble scale --explain hello")]
pub(crate) struct Scale {
    /// The function
    #[arg(value_parser = function_name)]
    name: FunctionName,
    /// How many
    #[arg(required_unless_present = "explain")]
    replicas: Option<u32>,
    /// Tell what the scaler decided last, and why
    #[arg(long, conflicts_with = "replicas")]
    explain: bool,
    /// With --explain: print the gateway's answer as JSON
    #[arg(short, long, requires = "explain")]
    json: bool,
    #[command(flatten)]
    place: InNamespace,
    #[command(flatten)]
    connection: Connection,
}

/// What is shown of an explanation; all but the reason may be missing.
#[derive(Debug, Deserialize)]
struct Explained {
    replicas: u32,
    action: String,
    why: String,
    source: Option<String>,
    decided_at: Option<f64>,
    policy: Option<Policy>,
    load: Option<Load>,
    state: Option<State>,
    last_change: Option<Change>,
    trouble: Option<String>,
}

#[derive(Debug, Deserialize)]
struct Policy {
    min: u32,
    max: u32,
    r#type: String,
    target: f64,
    proportion: f64,
    freeze_after: Option<f64>,
    zero_after: Option<f64>,
}

#[derive(Debug, Deserialize)]
struct Load {
    rps: Option<f64>,
    inflight: Option<f64>,
    queued: Option<f64>,
    cpu_cores: Option<f64>,
    idle_for: Option<f64>,
}

#[derive(Debug, Deserialize)]
struct State {
    desired: u32,
    available: u32,
    frozen: u32,
}

#[derive(Debug, Deserialize)]
struct Change {
    action: String,
    from: u32,
    to: u32,
    why: String,
    outcome: String,
}

impl Scale {
    /// Asks and prints.
    pub(crate) async fn run(&self, context: &Context) -> Result<()> {
        let (api, name) = (self.connection.api(context)?, self.place.name(&self.name)?);
        if let Some(replicas) = self.replicas {
            api.scale(&name, replicas).await?;
            return context.output.line(format!("{name} has {replicas} desired replicas"));
        }
        let answer = api.explain(&name).await?;
        if self.json {
            return context.output.json(&answer);
        }
        let mut text = String::new();
        for (label, value) in lines(&read(&answer)?, SystemTime::now()) {
            let label = context.output.paint(Style::Bold, &format!("{label:<12}"));
            text.push_str(&format!("{label}{value}\n"));
        }
        context.output.bytes(text.as_bytes())
    }
}

/// Label and value, line by line.
fn lines(explained: &Explained, now: SystemTime) -> Vec<(&'static str, String)> {
    let mut lines = vec![("Decision", format!("{}, {} replicas", explained.action, explained.replicas))];
    lines.push(("Why", explained.why.clone()));
    if let Some(at) = explained.decided_at {
        let now = now.duration_since(UNIX_EPOCH).map_or(0.0, |now| now.as_secs_f64());
        // The clocks of the two hosts need not agree.
        lines.push(("Decided", format!("{:.0} s ago", (now - at).max(0.0))));
    }
    if let Some(trouble) = &explained.trouble {
        lines.push(("Since then", trouble.clone()));
    }
    if let Some(State { desired, available, frozen }) = &explained.state {
        lines.push(("Replicas", format!("{desired} desired, {available} available, {frozen} frozen")));
    }
    if let Some(load) = &explained.load {
        let source = explained.source.as_deref().unwrap_or("unknown");
        lines.push(("Load", format!("{} (from {source})", load.text())));
    }
    if let Some(policy) = &explained.policy {
        lines.push(("Policy", policy.text()));
    }
    if let Some(change) = &explained.last_change {
        let Change { action, from, to, why, outcome } = change;
        lines.push(("Last change", format!("{action} from {from} to {to} ({outcome}): {why}")));
    }
    lines
}

impl Load {
    fn text(&self) -> String {
        let Self { rps, inflight, queued, cpu_cores, idle_for } = self;
        let parts = [
            rps.map(|rps| format!("{rps:.1} rps")),
            inflight.map(|inflight| format!("{inflight:.1} inflight")),
            queued.map(|queued| format!("{queued:.1} queued")),
            cpu_cores.map(|cores| format!("{cores:.2} CPUs")),
            idle_for.filter(|idle| *idle > 0.0).map(|idle| format!("idle for {idle:.0} s")),
        ];
        let known: Vec<String> = parts.into_iter().flatten().collect();
        if known.is_empty() { "not known".to_owned() } else { known.join(", ") }
    }
}

impl Policy {
    fn text(&self) -> String {
        let Self { min, max, r#type, target, proportion, freeze_after, zero_after } = self;
        let mut text = format!("{min} to {max} replicas by {type}, {:.2} for each", target * proportion);
        if let Some(after) = freeze_after {
            text.push_str(&format!(", frozen after {after} s"));
        }
        if let Some(after) = zero_after {
            text.push_str(&format!(", to 0 after {after} s"));
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use serde_json::json;

    #[test]
    fn tells_what_is_known_and_leaves_out_what_is_not() {
        let bare = read(&json!({"replicas": 3, "action": "keep", "why": "the scaler is off"})).unwrap();
        let now = UNIX_EPOCH + Duration::from_secs(1_010);
        assert_eq!(lines(&bare, now).len(), 2);
        let full = json!({
            "replicas": 5, "action": "scale", "why": "rps is 225.00", "source": "gateway",
            "decided_at": 1_000.4, "trouble": "cannot reach Prometheus",
            "policy": {"min": 1, "max": 20, "type": "rps", "target": 50.0, "proportion": 0.9, "zero_after": 60.0},
            "load": {"rps": 225.0, "inflight": null},
            "state": {"desired": 1, "available": 1, "frozen": 0, "runtime": "wasm"},
            "last_change": {"action": "up", "from": 1, "to": 5, "why": "rps", "outcome": "done"},
        });
        let shown = lines(&read(&full).unwrap(), now);
        let text: Vec<&str> = shown.iter().map(|(_, value)| value.as_str()).collect();
        assert_eq!(text[2..4], ["10 s ago", "cannot reach Prometheus"]);
        assert_eq!(text[5], "225.0 rps (from gateway)");
        assert_eq!(text[6], "1 to 20 replicas by rps, 45.00 for each, to 0 after 60 s");
        assert_eq!(text[7], "up from 1 to 5 (done): rps");
    }
}
