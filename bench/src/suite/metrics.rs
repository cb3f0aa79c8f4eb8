//! Reading single figures from a gateway's metrics.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, Result};

use super::results::Runtime;
use crate::api::Api;

/// A text in Prometheus' form, as it was at one moment.
#[derive(Debug, Clone)]
pub(super) struct Metrics(String);

/// What a gateway spent on cold starts so far.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Spent {
    /// Waiting for code or a replica, of one function.
    waited_seconds: f64,
    waits: f64,
    /// Making instances, of all functions.
    instantiating_seconds: f64,
    instances: f64,
}

/// What one invocation spent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Start {
    /// Waiting for code or a replica; `None` when it did not wait.
    pub(super) waited: Option<Duration>,
    /// Making its instance; `None` when others were made meanwhile.
    pub(super) instantiating: Option<Duration>,
}

impl Metrics {
    /// Asks for them.
    ///
    /// # Errors
    /// When nobody answers there.
    pub(super) fn fetch(address: SocketAddr, path: &str) -> Result<Self> {
        let text = Api::connect(address)?.get(path).context("cannot read the gateway's metrics")?;
        Ok(Self(String::from_utf8(text).context("the gateway's metrics are no text")?))
    }

    /// The value of the first series with this name and these labels.
    pub(super) fn value(&self, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
        let labels: Vec<String> = labels.iter().map(|(key, value)| format!("{key}=\"{value}\"")).collect();
        self.0.lines().find_map(|line| {
            let rest = line.strip_prefix(name)?;
            let (series, value) = rest.rsplit_once(' ')?;
            let ours = series.is_empty() || series.starts_with('{');
            (ours && labels.iter().all(|label| series.contains(label))).then(|| value.parse().ok())?
        })
    }

    /// What was spent on cold starts of a function, and on instances at all.
    pub(super) fn spent(&self, function: &str, runtime: Runtime) -> Spent {
        let runtime = match runtime {
            Runtime::Wasm => "wasm",
            Runtime::Container => "container",
        };
        let wait = [("function_name", function), ("runtime", runtime)];
        let value = |name, labels: &[_]| self.value(name, labels).unwrap_or_default();
        Spent {
            waited_seconds: value("bramble_cold_start_seconds_sum", &wait),
            waits: value("bramble_cold_start_seconds_count", &wait),
            instantiating_seconds: value("bramble_wasm_instantiate_seconds_sum", &[]),
            instances: value("bramble_wasm_instantiate_seconds_count", &[]),
        }
    }
}

impl Spent {
    /// What the one invocation spent between an earlier look and this one.
    pub(super) fn since(self, before: Self) -> Start {
        let one = |count: f64, seconds: f64| {
            (count == 1.0).then(|| Duration::try_from_secs_f64(seconds).ok()).flatten()
        };
        Start {
            waited: one(self.waits - before.waits, self.waited_seconds - before.waited_seconds),
            instantiating: one(
                self.instances - before.instances,
                self.instantiating_seconds - before.instantiating_seconds,
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn metrics(waits: u32, sum: f64) -> Metrics {
        Metrics(format!(
            "# HELP x y\n\
             bramble_cold_start_seconds_sum{{function_name=\"a\",runtime=\"container\"}} 9\n\
             bramble_cold_start_seconds_sum{{function_name=\"a\",runtime=\"wasm\"}} {sum}\n\
             bramble_cold_start_seconds_count{{function_name=\"a\",runtime=\"wasm\"}} {waits}\n\
             bramble_wasm_instantiate_seconds_sum 0.5\nbramble_wasm_instantiate_seconds_count 7\n"
        ))
    }

    #[test]
    fn finds_a_series_by_its_name_and_labels() {
        let metrics = metrics(1, 0.25);
        let sum = "bramble_cold_start_seconds_sum";
        assert_eq!(metrics.value(sum, &[("runtime", "wasm")]), Some(0.25));
        assert_eq!(metrics.value(sum, &[("runtime", "wasm"), ("function_name", "b")]), None);
        assert_eq!(metrics.value("bramble_wasm_instantiate_seconds_sum", &[]), Some(0.5));
        assert_eq!(metrics.value("bramble_wasm", &[]), None);
    }

    #[test]
    fn an_invocation_is_told_apart_only_when_it_was_alone() {
        let before = metrics(1, 0.25).spent("a", Runtime::Wasm);
        let start = metrics(2, 0.75).spent("a", Runtime::Wasm).since(before);
        assert_eq!(start, Start { waited: Some(Duration::from_millis(500)), instantiating: None });
        assert_eq!(metrics(3, 0.75).spent("a", Runtime::Wasm).since(before).waited, None);
    }
}
