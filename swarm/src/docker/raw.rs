//! Calls that bollard's types are too narrow for: its tasks have no addresses, its services no spec
//! before the last, its logs no task.

use std::time::{Duration, SystemTime};

use bollard::models::ServiceSpec;
use bramble_provider::url::encode;
use bytes::Bytes;
use http::Request;
use http_body_util::{BodyExt, Empty, Limited};
use hyper::body::Incoming;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::{Docker, DockerError};

/// Largest answer that is read: a list of tasks.
const MAX_BYTES: usize = 64 << 20;
const DEADLINE: Duration = Duration::from_secs(5);

/// One task, as far as it matters here.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct RawTask {
    #[serde(rename = "ID")]
    pub(crate) id: String,
    #[serde(rename = "NodeID", default)]
    pub(crate) node: String,
    #[serde(rename = "ServiceID", default)]
    pub(crate) service: String,
    #[serde(default)]
    pub(crate) version: RawVersion,
    /// Which of the service's replicas it is, from 1.
    #[serde(default)]
    pub(crate) slot: u64,
    #[serde(default)]
    pub(crate) desired_state: String,
    pub(crate) status: RawStatus,
    pub(crate) spec: RawSpec,
    #[serde(default)]
    networks_attachments: Option<Vec<RawAttachment>>,
}

/// When the Swarm last changed something, as a number that only grows, whatever its nodes' clocks say.
#[derive(Debug, Clone, Copy, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct RawVersion {
    #[serde(default)]
    pub(crate) index: u64,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct RawStatus {
    #[serde(default)]
    timestamp: String,
    #[serde(default)]
    pub(crate) state: String,
    #[serde(default)]
    pub(crate) message: String,
    #[serde(default)]
    pub(crate) err: String,
    #[serde(default)]
    container_status: Option<RawContainerStatus>,
}

#[derive(Debug, Clone, Default, Deserialize)]
struct RawContainerStatus {
    #[serde(rename = "ContainerID", default)]
    container: String,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct RawSpec {
    #[serde(default)]
    container_spec: Option<RawContainerSpec>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct RawContainerSpec {
    #[serde(default)]
    labels: Option<std::collections::HashMap<String, String>>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct RawAttachment {
    #[serde(default)]
    network: Option<RawNetwork>,
    #[serde(default)]
    addresses: Option<Vec<String>>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct RawNetwork {
    #[serde(default)]
    spec: Option<RawNetworkSpec>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct RawNetworkSpec {
    #[serde(default)]
    name: String,
}

/// How far a task has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TaskState {
    /// On its way: no container runs yet.
    Coming,
    /// Its container runs.
    Running,
    /// It will never run, or not again.
    Over,
}

impl RawTask {
    /// How far it has come.
    pub(crate) fn state(&self) -> TaskState {
        match self.status.state.as_str() {
            "running" => TaskState::Running,
            "complete" | "shutdown" | "failed" | "rejected" | "remove" | "orphaned" => TaskState::Over,
            _ => TaskState::Coming,
        }
    }

    /// Whether the Swarm wants it to run. A lost node's tasks read `running` for long, but are not wanted.
    pub(crate) fn is_wanted(&self) -> bool {
        matches!(self.desired_state.as_str(), "running" | "ready" | "accepted")
    }

    /// What keeps it from running, when something does.
    pub(crate) fn problem(&self) -> Option<&str> {
        let ended = matches!(self.status.state.as_str(), "failed" | "rejected");
        // A task that waits for a node which could take it says so, and stays.
        let stuck = self.status.state == "pending" && !self.status.err.is_empty();
        match (ended || stuck, self.status.err.as_str()) {
            (false, _) => None,
            (true, "") => Some(&self.status.message),
            (true, error) => Some(error),
        }
    }

    /// When it came into its state, by the clock of its manager.
    pub(crate) fn since(&self) -> Option<SystemTime> {
        self.status.timestamp.parse::<jiff::Timestamp>().ok().map(SystemTime::from)
    }

    /// Its container, once it has one.
    pub(crate) fn container(&self) -> Option<&str> {
        let container = self.status.container_status.as_ref().map(|status| status.container.as_str());
        container.filter(|id| !id.is_empty())
    }

    /// A label of its container.
    pub(crate) fn label(&self, key: &str) -> Option<&str> {
        self.spec.container_spec.as_ref()?.labels.as_ref()?.get(key).map(String::as_str)
    }

    /// Its address on a network, once it was given one.
    pub(crate) fn address(&self, network: &str) -> Option<std::net::IpAddr> {
        let attachments = self.networks_attachments.as_ref()?;
        let on = |attachment: &&RawAttachment| {
            let spec = attachment.network.as_ref().and_then(|network| network.spec.as_ref());
            spec.is_some_and(|spec| spec.name == network)
        };
        let address = attachments.iter().find(on)?.addresses.as_ref()?.first()?;
        address.split('/').next()?.parse().ok()
    }
}

impl Docker {
    /// Tasks, filtered: `[("label", "a=b"), ("desired-state", "running")]`.
    ///
    /// # Errors
    /// [`DockerError`]
    pub(crate) async fn tasks(&self, filters: &[(&str, &str)]) -> Result<Vec<RawTask>, DockerError> {
        self.get_json(&format!("/tasks?filters={}", encode_filters(filters))).await
    }

    /// What a service was before the last change of it.
    ///
    /// # Errors
    /// [`DockerError`]
    pub(crate) async fn previous_spec(&self, service: &str) -> Result<Option<ServiceSpec>, DockerError> {
        #[derive(Deserialize)]
        struct RawService {
            #[serde(rename = "PreviousSpec")]
            previous: Option<ServiceSpec>,
        }
        Ok(self.get_json::<RawService>(&format!("/services/{service}")).await?.previous)
    }

    async fn get_json<T: DeserializeOwned>(&self, path: &str) -> Result<T, DockerError> {
        let bytes = tokio::time::timeout(DEADLINE, async {
            let body = Limited::new(self.get(path).await?, MAX_BYTES).collect().await;
            body.map(|body| body.to_bytes()).map_err(|error| self.unusable(&*error))
        });
        let bytes = bytes.await.unwrap_or_else(|_| Err(DockerError::timed_out(DEADLINE, self.host())))?;
        serde_json::from_slice(&bytes).map_err(|error| self.unusable(&error))
    }

    /// The body of a successful GET. The head has a deadline; the body is the caller's to bound.
    ///
    /// # Errors
    /// [`DockerError`]
    pub(crate) async fn get(&self, path: &str) -> Result<Incoming, DockerError> {
        let request =
            Request::get(path).body(Empty::<Bytes>::new()).map_err(|error| self.unusable(&error))?;
        let response = self.ask(self.transport.send(request)).await?;
        if response.status().is_success() {
            return Ok(response.into_body());
        }
        let status = response.status().as_u16();
        let body = Limited::new(response.into_body(), 64 << 10).collect();
        let body = tokio::time::timeout(DEADLINE, body).await.ok().and_then(Result::ok);
        let body = body.map(|body| body.to_bytes()).unwrap_or_default();
        #[derive(Deserialize)]
        struct Refusal {
            message: String,
        }
        let message = match serde_json::from_slice::<Refusal>(&body) {
            Ok(refusal) => refusal.message,
            Err(_) => String::from_utf8_lossy(&body).into_owned(),
        };
        Err(DockerError::answered(status, message))
    }

    fn unusable(&self, error: &dyn std::error::Error) -> DockerError {
        DockerError::Unreachable(format!("Docker at {} gave no usable answer: {error}", self.host()))
    }
}

/// Docker's filters, `{"label":["a=b"]}`, in the form of a query.
fn encode_filters(filters: &[(&str, &str)]) -> String {
    let mut by_key = std::collections::BTreeMap::<&str, Vec<&str>>::new();
    for (key, value) in filters {
        by_key.entry(key).or_default().push(value);
    }
    encode(&serde_json::to_string(&by_key).unwrap_or_default()).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filters_are_json_in_a_query() {
        let encoded = encode_filters(&[("label", "a=b"), ("label", "c")]);
        assert_eq!(encoded, "%7B%22label%22%3A%5B%22a%3Db%22%2C%22c%22%5D%7D");
    }

    #[test]
    fn a_task_tells_its_address_and_its_problem() {
        let task: RawTask = serde_json::from_value(serde_json::json!({
            "ID": "t1", "NodeID": "n1", "DesiredState": "running",
            "Spec": {"ContainerSpec": {"Labels": {"bramble.function": "echo"}}},
            "Status": {"Timestamp": "2026-11-20T12:00:00.5Z", "State": "pending", "Message": "m", "Err": "no suitable node"},
            "NetworksAttachments": [{"Network": {"Spec": {"Name": "functions"}}, "Addresses": ["10.62.0.7/16"]}],
        }))
        .unwrap();
        assert_eq!(task.address("functions"), Some([10, 62, 0, 7].into()));
        assert_eq!(task.address("other"), None);
        assert_eq!(task.problem(), Some("no suitable node"));
        assert_eq!(task.label("bramble.function"), Some("echo"));
        assert_eq!((task.state(), task.is_wanted()), (TaskState::Coming, true));
    }
}
