//! Frozen replicas: paused by Docker, woken by the next request.

use std::time::{Duration, Instant};

use serde_json::json;

use super::load::under_load;
use crate::support::docker::Docker;
use crate::support::{Gateway, wait};

#[track_caller]
fn freeze(gateway: &Gateway, name: &str) -> u64 {
    let answer = gateway.json("POST", &format!("/system/freeze-function/{name}"), &json!({})).expect(202);
    answer.json()["frozen"].as_u64().unwrap()
}

fn paused(docker: &Docker, name: &str) -> usize {
    let is_paused = |id: &&String| docker.inspect(&["inspect", id])["State"]["Paused"] == true;
    docker.containers(name).iter().filter(is_paused).count()
}

#[test]
fn a_request_thaws_what_was_frozen() {
    let docker = Docker::shared();
    let name = docker.name("frozen-thaw");
    let gateway = docker.gateway();
    gateway.conform(&name, "/conform word awake", json!({}));
    gateway.scale(&name, 2);
    gateway.has_replicas(&name, 2);
    assert_eq!(freeze(&gateway, &name), 2);
    assert_eq!(paused(&docker, &name), 2);
    let told = gateway.describe(&name);
    assert_eq!((&told["frozenReplicas"], &told["availableReplicas"]), (&json!(2), &json!(2)));
    gateway.invoke(&name, "").says(200, "awake\n");
    assert_eq!(paused(&docker, &name), 1);
    wait::until("one is awake", || gateway.describe(&name)["frozenReplicas"] == 1);
    assert_eq!(freeze(&gateway, &name), 1);
    // Somebody else's doing is seen too.
    docker.cli(&["unpause", &docker.containers(&name)[0]]);
    wait::until("it is seen", || gateway.describe(&name)["frozenReplicas"] == 1);
    docker.cli(&["pause", &docker.containers(&name)[0]]);
    wait::until("it is seen", || gateway.describe(&name)["frozenReplicas"] == 2);
    gateway.invoke(&name, "").says(200, "awake\n");
}

#[test]
fn freezing_while_clients_call_fails_no_request() {
    let docker = Docker::shared();
    let name = docker.name("frozen-load");
    let gateway = docker.gateway();
    gateway.conform(&name, "/conform word awake", json!({}));
    gateway.scale(&name, 2);
    gateway.has_replicas(&name, 2);
    let mut frozen = 0;
    let served = under_load(&gateway, &name, 2, || {
        let end = Instant::now() + Duration::from_secs(5);
        while Instant::now() < end {
            frozen += freeze(&gateway, &name);
        }
    });
    assert!(served.failures.is_empty(), "{served:?}\n{}", gateway.log());
    assert!(frozen > 0, "nothing was ever idle in {} requests", served.count);
}

#[test]
fn a_gateway_that_starts_knows_what_is_frozen() {
    let docker = Docker::shared();
    let name = docker.name("frozen-restart");
    let gateway = docker.gateway();
    gateway.conform(&name, "/conform word awake", json!({}));
    gateway.has_replicas(&name, 1);
    assert_eq!(freeze(&gateway, &name), 1);
    let gateway = gateway.kill().start();
    wait::until("it knows", || gateway.describe(&name)["frozenReplicas"] == 1);
    gateway.invoke(&name, "").says(200, "awake\n");
    assert_eq!(paused(&docker, &name), 0);
}

#[test]
fn a_frozen_function_scales_to_nothing_and_back() {
    let docker = Docker::shared();
    let name = docker.name("frozen-zero");
    let gateway = docker.gateway();
    gateway.conform(&name, "/conform word awake", json!({}));
    gateway.has_replicas(&name, 1);
    assert_eq!(freeze(&gateway, &name), 1);
    gateway.scale(&name, 0);
    gateway.has_replicas(&name, 0);
    gateway.invoke(&name, "").says(200, "awake\n");
    wait::until("the frozen one is gone", || docker.containers(&name).len() == 1);
}

#[test]
fn a_frozen_function_is_updated() {
    let docker = Docker::shared();
    let name = docker.name("frozen-update");
    let gateway = docker.gateway();
    gateway.conform(&name, "/conform word old", json!({}));
    gateway.has_replicas(&name, 1);
    assert_eq!(freeze(&gateway, &name), 1);
    gateway.update(&name, "/conform word new", json!({}));
    wait::until("the new revision answers", || gateway.invoke(&name, "").expect(200).text() == "new\n");
}

#[test]
fn a_wasm_function_has_nothing_to_freeze() {
    let gateway = Gateway::start();
    gateway.deploy("hello", &crate::support::guest::says("hello"));
    let answer = gateway.json("POST", "/system/freeze-function/hello", &json!({}));
    assert!(answer.status == 202 && answer.json()["frozen"] == 0 || answer.status == 400, "{answer:?}");
}
