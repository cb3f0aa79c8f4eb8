//! What goes wrong below the gateway: each has its status, and heals by itself.

use std::io::ErrorKind;

use serde_json::json;

use super::load::under_load;
use crate::support::docker::Docker;
use crate::support::process::growth_during;
use crate::support::wait;

#[test]
fn a_service_that_somebody_deletes_comes_back() {
    let docker = Docker::shared();
    let name = docker.name("fault-deleted");
    let gateway = docker.gateway();
    gateway.conform(&name, "/conform word here", json!({}));
    gateway.has_replicas(&name, 1);
    docker.cli(&["service", "rm", &name]);
    wait::until("the service is back", || docker.has_service(&name));
    wait::until("it answers", || gateway.invoke(&name, "").text() == "here\n");
    gateway.has_replicas(&name, 1);
}

#[test]
fn somebody_elses_service_is_not_touched() {
    let docker = Docker::shared();
    let name = docker.name("fault-foreign");
    docker.cli(&["service", "create", "-d", "--name", &name, "--no-resolve-image", "bramble/conform"]);
    let before = docker.inspect(&["service", "inspect", &name]);
    let gateway = docker.gateway();
    gateway.create(&name, "bramble/conform", json!({})).refused(400, "invalid_spec", &name);
    assert_eq!(gateway.names(), [] as [&str; 0]);
    let after = docker.inspect(&["service", "inspect", &name]);
    assert_eq!(before["Spec"], after["Spec"]);
}

#[test]
fn a_gateway_that_was_killed_serves_at_once_when_it_is_back() {
    let docker = Docker::shared();
    let (name, other) = (docker.name("fault-killed"), docker.name("fault-killed-other"));
    let gateway = docker.gateway();
    gateway.conform(&name, "/conform hostname", json!({}));
    gateway.conform(&other, "/conform word other", json!({}));
    gateway.scale(&name, 2);
    gateway.has_replicas(&name, 2);
    let before = docker.inspect(&["service", "inspect", &name]);
    let gateway = gateway.kill().start();
    // It may not have found Docker yet; then this one waits for it.
    gateway.invoke(&name, "").expect(200);
    gateway.invoke(&other, "").says(200, "other\n");
    gateway.has_replicas(&name, 2);
    let after = docker.inspect(&["service", "inspect", &name]);
    assert_eq!(before["ID"], after["ID"]);
    assert_eq!(before["Version"], after["Version"], "nothing had to be changed");
    assert_eq!(docker.containers(&name).len(), 2);
}

#[test]
fn a_container_killed_in_the_middle_of_an_answer_breaks_it_off() {
    let docker = Docker::shared();
    let name = docker.name("fault-cut");
    let gateway = docker.gateway();
    gateway.conform(&name, "/conform drip 600 100", json!({"envVars": {"mode": "streaming"}}));
    gateway.has_replicas(&name, 1);
    let mut wire = gateway.wire();
    wire.head(&format!("GET /function/{name}"), &[]);
    assert_eq!(wire.response().status, 200);
    assert!(wire.piece().unwrap().is_some());
    docker.cli(&["kill", &docker.containers(&name)[0]]);
    let broken = loop {
        match wire.piece() {
            Ok(Some(_)) => {}
            Ok(None) => panic!("a body that was cut looks whole"),
            Err(error) => break error,
        }
    };
    assert!(matches!(broken.kind(), ErrorKind::UnexpectedEof | ErrorKind::ConnectionReset), "{broken}");
    // The Swarm starts another one.
    let mut wire = gateway.wire();
    wire.head(&format!("GET /function/{name}"), &[]);
    assert_eq!(wire.response().status, 200);
}

#[test]
fn a_container_killed_beside_another_is_not_asked_again() {
    let docker = Docker::shared();
    let name = docker.name("fault-one-of-two");
    let gateway = docker.gateway();
    gateway.conform(&name, "/conform hostname", json!({}));
    gateway.scale(&name, 2);
    gateway.has_replicas(&name, 2);
    let served = under_load(&gateway, &name, 4, || {
        docker.cli(&["kill", &docker.containers(&name)[0]]);
        wait::until("another one answers", || {
            docker.containers(&name).len() == 2 && gateway.describe(&name)["availableReplicas"] == 2
        });
    });
    // What ran in it could not be finished; nothing was sent to it afterwards.
    assert!(served.failures.len() <= 4, "{:#?}", served.failures);
    assert!(served.failures.iter().all(|failure| failure.contains("502")), "{:#?}", served.failures);
}

/// A function whose server answers in this way, whatever it is asked.
#[track_caller]
fn answers(prefix: &str, how: &str, status: u16, code: &str, says: &str) {
    let docker = Docker::shared();
    let name = docker.name(prefix);
    let gateway = docker.start().flag("--upstream-timeout", "5s").start();
    gateway.connected();
    gateway.conform(&name, "", json!({"envVars": {"conform": how}}));
    gateway.has_replicas(&name, 1);
    let grown = growth_during(gateway.pid(), || {
        for _ in 0..2 {
            gateway.invoke(&name, "hi").refused(status, code, says);
        }
    });
    assert!(grown <= 16 << 20, "the gateway grew by {} KiB", grown >> 10);
    assert_eq!(gateway.inflight(&name), 0.0);
}

#[test]
fn garbage_is_a_bad_gateway() {
    answers("fault-garbage", "garbage", 502, "invalid_response", "");
}

#[test]
fn endless_headers_are_a_bad_gateway_in_bounded_memory() {
    answers("fault-headers", "headers", 502, "invalid_response", "header");
}

#[test]
fn an_end_without_an_answer_is_a_bad_gateway() {
    answers("fault-reset", "reset", 502, "invalid_response", "");
}

#[test]
fn silence_is_a_timeout() {
    answers("fault-silent", "silent", 504, "timed_out", "");
}
