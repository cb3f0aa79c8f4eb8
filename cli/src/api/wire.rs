//! The API's JSON, as far as the verbs look into it.
//!
//! What the gateway sends is read leniently: Go omits what is empty and writes `null` for an empty
//! map or list, and a newer gateway says more than this command knows.

use std::collections::BTreeMap;

use bramble_provider::{DEFAULT_NAMESPACE, FunctionName};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// A function as the gateway lists it. What the gateway leaves out is empty or 0.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct FunctionStatus {
    /// Its name, without the namespace.
    pub(crate) name: String,
    /// Its namespace.
    pub(crate) namespace: String,
    /// What runs: an image, or the digest of a module.
    pub(crate) image: String,
    /// Its arguments (wasm) or its command (containers).
    pub(crate) env_process: String,
    /// Its environment.
    #[serde(deserialize_with = "or_default")]
    pub(crate) env_vars: BTreeMap<String, String>,
    /// Its labels.
    #[serde(deserialize_with = "or_default")]
    pub(crate) labels: BTreeMap<String, String>,
    /// Its annotations.
    #[serde(deserialize_with = "or_default")]
    pub(crate) annotations: BTreeMap<String, String>,
    /// Its secrets' names.
    #[serde(deserialize_with = "or_default")]
    pub(crate) secrets: Vec<String>,
    /// Where it may run.
    #[serde(deserialize_with = "or_default")]
    pub(crate) constraints: Vec<String>,
    /// The most a replica may use: `memory`, `cpu`.
    #[serde(deserialize_with = "or_default")]
    pub(crate) limits: BTreeMap<String, Value>,
    /// What a replica is promised.
    #[serde(deserialize_with = "or_default")]
    pub(crate) requests: BTreeMap<String, Value>,
    /// Whether a container's root file system is read-only.
    pub(crate) read_only_root_filesystem: bool,
    /// Replicas asked for.
    pub(crate) replicas: u64,
    /// Replicas able to take an invocation.
    pub(crate) available_replicas: u64,
    /// Of these, paused until they are needed.
    pub(crate) frozen_replicas: u64,
    /// Why fewer are available than asked for.
    pub(crate) reason: Option<String>,
    /// Invocations so far; the original makes it a fraction.
    pub(crate) invocation_count: f64,
    /// When it was deployed (RFC 3339).
    pub(crate) created_at: String,
    /// What it uses, when the gateway can tell.
    pub(crate) usage: Option<Usage>,
    /// The halves of a hybrid, by their runtimes.
    #[serde(deserialize_with = "or_default")]
    pub(crate) runtimes: BTreeMap<String, Half>,
}

/// One half of a hybrid function. A replica of the module is a slot.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Half {
    /// Replicas asked for.
    pub(crate) replicas: u64,
    /// Replicas able to take an invocation.
    pub(crate) available_replicas: u64,
    /// Of these, paused until they are needed.
    pub(crate) frozen_replicas: u64,
    /// Invocations that it runs now.
    pub(crate) inflight: u64,
    /// Invocations that wait for one of its replicas.
    pub(crate) queued: u64,
    /// Invocations that it took.
    pub(crate) invocation_count: u64,
    /// Its mean time to a response's head, once measured.
    pub(crate) service_seconds: Option<f64>,
    /// What is wrong with it.
    pub(crate) reason: Option<String>,
}

/// What a function uses now.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Usage {
    /// Bytes over all replicas; the original makes it a fraction.
    pub(crate) total_memory_bytes: f64,
}

/// What is deployed: the body of `POST` and `PUT /system/functions`. Empty fields are not sent.
#[derive(Debug, Clone, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Deployment {
    /// The function's name.
    pub(crate) service: String,
    /// Its namespace, when not the default one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) namespace: Option<String>,
    /// A container image, or the digest of a module.
    pub(crate) image: String,
    /// Its arguments (wasm) or its command (containers).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) env_process: Option<String>,
    /// Its environment.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) env_vars: BTreeMap<String, String>,
    /// Its labels.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) labels: BTreeMap<String, String>,
    /// Its annotations.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) annotations: BTreeMap<String, String>,
    /// Its secrets' names.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) secrets: Vec<String>,
    /// Where it may run.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) constraints: Vec<String>,
    /// The most a replica may use: `memory`, `cpu`.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) limits: BTreeMap<&'static str, String>,
    /// What a replica is promised.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub(crate) requests: BTreeMap<&'static str, String>,
    /// Whether a container may write to its root file system.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(crate) read_only_root_filesystem: bool,
}

/// A module as the gateway lists it.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Module {
    /// Its digest, `sha256:…`.
    pub(crate) digest: String,
    /// What it is: a command module, a command component, an HTTP component.
    pub(crate) kind: String,
    /// Its size, in bytes.
    pub(crate) size_bytes: u64,
    /// What it imports.
    pub(crate) imports: Vec<String>,
    /// The digest of what was uploaded, where it was pre-initialised.
    pub(crate) preinitialised_from: Option<String>,
}

impl Deployment {
    /// A deployment that says nothing but the name and what runs.
    pub(crate) fn new(name: &FunctionName, image: impl Into<String>) -> Self {
        let mut deployment = Self { service: name.name().to_owned(), image: image.into(), ..Self::default() };
        deployment.namespace = other_namespace(name).map(str::to_owned);
        deployment
    }
}

/// The namespace of a name, when it is not the default one.
pub(super) fn other_namespace(name: &FunctionName) -> Option<&str> {
    Some(name.namespace()).filter(|namespace| *namespace != DEFAULT_NAMESPACE)
}

/// Go writes an empty map or list as `null`.
fn or_default<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: serde::Deserializer<'de>,
    T: Default + Deserialize<'de>,
{
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::read;
    use serde_json::json;

    #[test]
    fn reads_a_function_that_leaves_most_out() {
        let value = json!({"name": "a", "image": "i", "labels": null, "invocationCount": 3});
        let status: FunctionStatus = read(&value).unwrap();
        assert_eq!((status.replicas, status.invocation_count, status.labels.len()), (0, 3.0, 0));
    }

    #[test]
    fn sends_only_what_was_said() {
        let name = FunctionName::parse("a.b").unwrap();
        let sent = serde_json::to_value(Deployment::new(&name, "img")).unwrap();
        assert_eq!(sent, json!({"service": "a", "namespace": "b", "image": "img"}));
    }
}
