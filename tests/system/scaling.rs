//! The scaler in the real gateway: by its own counters, by a real Prometheus, by a real Alertmanager.

mod alerts;
mod containers;
mod explain;
mod faults;
mod lease;
mod monitoring;
mod prometheus;
mod wasm;

use serde_json::{Value, json};

use crate::support::{Gateway, Start, guest, wait};

/// A gateway that looks often and takes replicas away soon.
fn quick() -> Start {
    Start::new().flag("--scale-interval", "100ms").flag("--scale-down-window", "2s")
}

/// Sleeps for 50 ms and answers nothing: one slot bears 20 invocations per second of it.
fn naps() -> Vec<u8> {
    guest::running("(call $sleep (i64.const 50000000))")
}

/// Labels of a function that follows its load, one invocation for each slot.
fn follows(min: u32, max: u32) -> Value {
    json!({"labels": {
        "com.openfaas.scale.min": min.to_string(),
        "com.openfaas.scale.max": max.to_string(),
        "com.openfaas.scale.type": "capacity",
        "com.openfaas.scale.target": "1",
        "com.openfaas.scale.target-proportion": "1",
    }})
}

/// Replicas that are asked for.
#[track_caller]
fn desired(gateway: &Gateway, name: &str) -> u64 {
    let told = gateway.get(&format!("/system/function/{name}")).expect(200).json();
    told["replicas"].as_u64().unwrap_or_default()
}

#[track_caller]
fn until_desired(gateway: &Gateway, name: &str, holds: impl Fn(u64) -> bool) {
    let mut last = 0;
    wait::until(&format!("{name} has the replicas that are waited for"), || {
        last = desired(gateway, name);
        holds(last)
    });
}

/// Passes of the scaler with this outcome.
#[track_caller]
fn ticks(gateway: &Gateway, outcome: &str) -> f64 {
    gateway.metric(&format!("bramble_scaler_ticks_total{{outcome=\"{outcome}\"}}"))
}

/// Waits for so many more of them.
#[track_caller]
fn pass(gateway: &Gateway, outcome: &str, count: f64) {
    let before = ticks(gateway, outcome);
    wait::until(&format!("the scaler's passes end with {outcome}"), || {
        ticks(gateway, outcome) >= before + count
    });
}
