//! From no replica to one, for the requests that wait; and what they are told when that fails.

use std::time::Instant;

use serde_json::{Value, json};

use crate::support::docker::{CONFORM, Docker};
use crate::support::{Gateway, wait};

/// The version of a service: each change to it makes it higher.
fn changes(docker: &Docker, name: &str) -> u64 {
    docker.inspect(&["service", "inspect", name])["Version"]["Index"].as_u64().unwrap()
}

/// Asks for a function that cannot be, at deployment or when it is called: whichever tells first.
fn refusal(gateway: &Gateway, name: &str, more: Value) -> (u16, String) {
    let deployed = gateway.create(name, CONFORM, more);
    let answer = if deployed.status == 202 { gateway.invoke(name, "") } else { deployed };
    (answer.status.as_u16(), answer.text())
}

#[test]
fn fifty_clients_wait_for_one_start() {
    let docker = Docker::shared();
    let name = docker.name("act-fifty");
    let gateway = docker.gateway();
    gateway.conform(&name, "/conform echo", json!({}));
    gateway.has_replicas(&name, 1);
    gateway.scale(&name, 0);
    wait::until("nothing runs", || docker.containers(&name).is_empty());
    let before = changes(&docker, &name);
    std::thread::scope(|scope| {
        let clients: Vec<_> = (0..50)
            .map(|client| {
                let (gateway, name) = (&gateway, &name);
                scope
                    .spawn(move || gateway.invoke(name, &format!("{client}")).says(200, &format!("{client}")))
            })
            .collect();
        clients.into_iter().for_each(|client| client.join().unwrap());
    });
    assert_eq!(docker.containers(&name).len(), 1);
    let spec = docker.inspect(&["service", "inspect", &name]);
    assert_eq!(spec["Spec"]["Mode"]["Replicated"]["Replicas"], 1);
    assert!(changes(&docker, &name) > before);
    assert_eq!(spec["PreviousSpec"]["Mode"]["Replicated"]["Replicas"], 0, "changed more than once");
    let series =
        format!("bramble_cold_start_seconds_count{{function_name=\"{name}\",runtime=\"container\"}}");
    wait::until("cold starts are counted", || gateway.metric(&series) >= 1.0);
    assert!(gateway.metric(&series) <= 50.0);
    assert_eq!(gateway.counted(&name, 200), 50.0);
}

#[test]
fn what_cannot_be_deployed_is_refused_and_leaves_nothing() {
    let docker = Docker::shared();
    let name = docker.name("act-refused");
    let gateway = docker.gateway();
    let missing = "localhost:1/nobody/nothing:9";
    gateway.create(&name, missing, json!({})).refused(400, "invalid_spec", missing);
    gateway.create(&name, CONFORM, json!({"secrets": ["no-such-secret"]})).refused(
        400,
        "unknown_secret",
        "no-such-secret",
    );
    gateway.create(&name, CONFORM, json!({"constraints": ["this is no constraint"]})).refused(
        400,
        "invalid_spec",
        "constraint",
    );
    gateway.create(&name, CONFORM, json!({"limits": {"memory": "1Ki"}})).refused(
        400,
        "invalid_spec",
        "limits",
    );
    assert!(!docker.has_service(&name));
    assert_eq!(gateway.names(), [] as [&str; 0]);
    gateway.invoke(&name, "").refused(404, "unknown_function", &name);
}

#[test]
fn an_image_that_ends_at_once_is_told_with_its_exit() {
    let docker = Docker::shared();
    let name = docker.name("act-exit");
    let gateway = docker.gateway();
    gateway.conform(&name, "", json!({"envVars": {"conform": "exit", "conform_exit": "7"}}));
    let asked = Instant::now();
    gateway.invoke(&name, "").refused(503, "start_failed", "non-zero exit (7)");
    assert!(asked.elapsed() < wait::LIMIT / 3, "the failure was known long before");
    let reason = gateway.describe(&name)["reason"].as_str().unwrap().to_owned();
    assert!(reason.contains("non-zero exit (7)"), "{reason}");
}

#[test]
fn one_that_never_listens_is_given_up() {
    let docker = Docker::shared();
    let name = docker.name("act-deaf");
    let gateway = docker.start().flag("--activation-timeout", "3s").start();
    gateway.connected();
    gateway.conform(&name, "", json!({"envVars": {"conform": "never-listen"}}));
    gateway.invoke(&name, "").refused(504, "start_timed_out", "nothing listens");
}

#[test]
fn no_process_is_the_watchdogs_to_tell() {
    let docker = Docker::shared();
    let name = docker.name("act-empty");
    let gateway = docker.gateway();
    let (status, text) = refusal(&gateway, &name, json!({"envVars": {"fprocess": ""}}));
    assert!(matches!(status, 500 | 503) && text.contains("fprocess"), "{status} {text}");
}

#[test]
fn a_constraint_that_no_node_meets_is_named() {
    let docker = Docker::shared();
    let name = docker.name("act-nowhere");
    let gateway = docker.gateway();
    let constraint = "node.labels.bramble==nowhere";
    let (status, text) = refusal(&gateway, &name, json!({"constraints": [constraint]}));
    assert!(status == 503 && text.contains("constraint"), "{status} {text}");
}

#[test]
fn a_limit_above_the_node_is_named() {
    let docker = Docker::shared();
    let gateway_docker = &docker;
    for (field, amount) in [("memory", "900Ti"), ("cpu", "900")] {
        let name = docker.name(&format!("act-large-{field}"));
        let gateway = gateway_docker.gateway();
        let wanted = json!({"limits": {field: amount}, "requests": {field: amount}});
        let (status, text) = refusal(&gateway, &name, wanted);
        assert!(matches!(status, 400 | 503), "{status} {text}");
        assert!(text.contains("resources") || text.contains(field), "{status} {text}");
    }
}
