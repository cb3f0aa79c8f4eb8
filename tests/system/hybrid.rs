//! Functions of both runtimes, with real modules and a real Docker in Swarm mode.

mod changes;
mod faults;
mod lifecycle;
mod routing;

use serde_json::{Value, json};

use crate::support::docker::CONFORM;
use crate::support::{Gateway, guest};

/// What the container of [`document`] answers; its module answers [`WASM`].
const CONTAINER: &str = "container\n";
const WASM: &str = "wasm\n";

/// A module that answers [`WASM`].
fn module() -> Vec<u8> {
    guest::says(WASM)
}

/// A deployment of a module that is stored, beside an image that answers [`CONTAINER`].
fn document(name: &str, digest: &str, policy: &str) -> Value {
    json!({
        "service": name,
        "image": CONFORM,
        "envProcess": "/conform word container",
        "annotations": {"bramble.module": digest, "bramble.policy": policy},
    })
}

/// Adds fields to a document, over those that it has.
fn with(mut document: Value, more: Value) -> Value {
    document.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    document
}

/// One runtime of a hybrid, as the status tells of it.
#[track_caller]
fn half(gateway: &Gateway, name: &str, runtime: &str) -> Value {
    gateway.describe(name)["runtimes"][runtime].clone()
}

/// Invocations that a runtime took, by the metrics.
#[track_caller]
fn taken(gateway: &Gateway, name: &str, runtime: &str) -> f64 {
    gateway.metric(&format!(
        "bramble_hybrid_invocations_total{{function_name=\"{name}\",runtime=\"{runtime}\"}}"
    ))
}

impl Gateway {
    /// Deploys a hybrid that answers [`WASM`] or [`CONTAINER`], with more fields of the document.
    #[track_caller]
    fn hybrid(&self, name: &str, policy: &str, more: Value) {
        let digest = self.upload(&module());
        self.json("POST", "/system/functions", &with(document(name, &digest, policy), more)).expect(202);
    }
}
