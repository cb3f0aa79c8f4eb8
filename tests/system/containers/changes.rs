//! Changes that come one upon the other, or upon what is running: nothing is lost.

use std::time::{Duration, Instant};

use serde_json::json;

use super::load::{under_load, update_ended};
use crate::support::docker::{CONFORM, Docker};
use crate::support::{Gateway, wait};

/// Begins a request that answers a line every 100 ms.
fn dripping(gateway: &Gateway, name: &str) -> crate::support::Wire {
    let mut wire = gateway.wire();
    wire.head(&format!("GET /function/{name}"), &[]);
    assert_eq!(wire.response().status, 200);
    assert!(wire.piece().unwrap().is_some());
    wire
}

/// Reads such an answer to its end.
#[track_caller]
fn finishes(mut wire: crate::support::Wire, lines: usize) {
    let mut text = Vec::from(b"line 0\n");
    while let Some(piece) = wire.piece().unwrap() {
        text.extend(piece);
    }
    assert_eq!(text.iter().filter(|byte| **byte == b'\n').count(), lines);
}

#[test]
fn what_runs_is_finished_when_its_replica_goes() {
    let docker = Docker::shared();
    let name = docker.name("change-finish");
    let gateway = docker.gateway();
    let more = json!({"envVars": {"mode": "streaming"}});
    gateway.conform(&name, "/conform drip 45", more.clone());
    gateway.scale(&name, 3);
    gateway.has_replicas(&name, 3);
    // The least busy one takes the next: each has two.
    let scaled: Vec<_> = (0..6).map(|_| dripping(&gateway, &name)).collect();
    gateway.scale(&name, 1);
    scaled.into_iter().for_each(|wire| finishes(wire, 45));
    let updated = dripping(&gateway, &name);
    gateway.update(&name, "/conform drip 44", more);
    finishes(updated, 45);
    wait::until("the new revision answers", || gateway.invoke(&name, "").text().lines().count() == 44);
    let removed = dripping(&gateway, &name);
    gateway.remove(&name);
    gateway.invoke(&name, "").expect(404);
    finishes(removed, 44);
}

#[test]
fn updates_that_overtake_each_other_fail_no_request() {
    let docker = Docker::shared();
    let name = docker.name("change-fast");
    let gateway = docker.gateway();
    gateway.conform(&name, "/conform word 0", json!({}));
    gateway.scale(&name, 2);
    gateway.has_replicas(&name, 2);
    let served = under_load(&gateway, &name, 4, || {
        for next in 1..=6 {
            gateway.update(&name, &format!("/conform word {next}"), json!({}));
            wait::pause(Duration::from_millis(300));
        }
        wait::until("the last one answers", || gateway.invoke(&name, "").text() == "6\n");
        assert_eq!(update_ended(&docker, &name), "completed");
    });
    served.without_failures();
    gateway.has_replicas(&name, 2);
    wait::until("no old one is left", || docker.containers(&name).len() == 2);
}

#[test]
fn a_bad_update_that_is_scaled_meanwhile_fails_no_request() {
    let docker = Docker::shared();
    let name = docker.name("change-bad");
    let gateway = docker.gateway();
    gateway.conform(&name, "/conform word good", json!({}));
    gateway.scale(&name, 2);
    gateway.has_replicas(&name, 2);
    let served = under_load(&gateway, &name, 4, || {
        gateway.update(&name, "/conform word bad", json!({"envVars": {"conform": "exit"}}));
        gateway.scale(&name, 3);
        wait::until("it went back", || {
            gateway.describe(&name)["reason"].as_str().unwrap_or_default().contains("rolled back")
        });
        gateway.has_replicas(&name, 3);
    });
    served.without_failures();
    assert_eq!(served.answers, ["good".to_owned()].into());
}

#[test]
fn scaling_to_nothing_while_clients_call_fails_no_request() {
    let docker = Docker::shared();
    let name = docker.name("change-zero");
    let gateway = docker.gateway();
    gateway.conform(&name, "/conform word here", json!({}));
    gateway.has_replicas(&name, 1);
    let served = under_load(&gateway, &name, 4, || {
        for _ in 0..5 {
            gateway.scale(&name, 0);
            wait::until("somebody woke it", || gateway.describe(&name)["replicas"] == 1);
            gateway.has_replicas(&name, 1);
        }
    });
    served.without_failures();
}

#[test]
fn fifty_clients_thaw_a_frozen_function() {
    let docker = Docker::shared();
    let name = docker.name("change-thaw");
    let gateway = docker.gateway();
    gateway.conform(&name, "/conform word awake", json!({}));
    gateway.scale(&name, 2);
    gateway.has_replicas(&name, 2);
    for _ in 0..5 {
        let freeze = gateway.json("POST", &format!("/system/freeze-function/{name}"), &json!({}));
        assert!(freeze.expect(202).json()["frozen"].as_u64().unwrap() >= 1);
        std::thread::scope(|scope| {
            for _ in 0..50 {
                scope.spawn(|| gateway.invoke(&name, "").says(200, "awake\n"));
            }
        });
        gateway.idle(&name);
    }
}

#[test]
fn a_gateway_killed_in_an_update_leaves_one_service_of_one_revision() {
    let docker = Docker::shared();
    let name = docker.name("change-killed");
    let mut gateway = docker.gateway();
    gateway.conform(&name, "/conform word 0", json!({}));
    for next in 1..=4_u64 {
        let document =
            json!({"service": name, "image": CONFORM, "envProcess": format!("/conform word {next}")});
        let mut wire = gateway.wire();
        let length = format!("content-length: {}", document.to_string().len());
        wire.head("PUT /system/functions", &["content-type: application/json", &length]);
        wire.write(document.to_string().as_bytes()).unwrap();
        wait::pause(Duration::from_millis(10 * next));
        gateway = gateway.kill().start();
        let stored = gateway.describe(&name)["envProcess"].as_str().unwrap().to_owned();
        let word = stored.rsplit(' ').next().unwrap().to_owned();
        wait::until("what is stored is what runs", || {
            gateway.invoke(&name, "").expect(200).text().trim() == word
        });
        assert_eq!(
            docker.cli(&["service", "ls", "-q", "--filter", &format!("name={name}")]).lines().count(),
            1
        );
    }
}

#[test]
fn a_function_that_was_scaled_to_nothing_wakes_in_its_new_revision() {
    let docker = Docker::shared();
    let name = docker.name("change-asleep");
    let gateway = docker.gateway();
    gateway.conform(&name, "/conform word old", json!({}));
    gateway.has_replicas(&name, 1);
    gateway.scale(&name, 0);
    wait::until("nothing runs", || docker.containers(&name).is_empty());
    gateway.update(&name, "/conform word new", json!({}));
    let asked = Instant::now();
    gateway.invoke(&name, "").says(200, "new\n");
    assert!(asked.elapsed() < wait::LIMIT / 2);
}

/// An update that ends at once, so that the Swarm goes back.
fn bad(gateway: &Gateway, name: &str, word: &str) {
    gateway.update(name, &format!("/conform word {word}"), json!({"envVars": {"conform": "exit"}}));
}

/// Waits until it is told that an update was rolled back.
fn went_back(gateway: &Gateway, name: &str) {
    wait::until("it went back", || {
        gateway.describe(name)["reason"].as_str().unwrap_or_default().contains("rolled back")
    });
}

/// The revision that the Swarm is to run.
fn revision(docker: &Docker, name: &str) -> String {
    docker.cli(&["service", "inspect", "--format", r#"{{index .Spec.Labels "bramble.spec"}}"#, name])
}

#[test]
fn two_bad_updates_go_back_to_the_revision_that_works() {
    let docker = Docker::shared();
    let name = docker.name("change-bad-twice");
    let gateway = docker.gateway();
    gateway.conform(&name, "/conform word good", json!({}));
    gateway.scale(&name, 2);
    gateway.has_replicas(&name, 2);
    let good = revision(&docker, &name);
    let served = under_load(&gateway, &name, 4, || {
        bad(&gateway, &name, "first");
        bad(&gateway, &name, "second");
        went_back(&gateway, &name);
        assert_eq!(update_ended(&docker, &name), "rollback_completed");
    });
    served.without_failures();
    assert_eq!(served.answers, ["good".to_owned()].into());
    assert_eq!(revision(&docker, &name), good);
    gateway.has_replicas(&name, 2);
}

#[test]
fn what_was_rolled_back_is_not_tried_again_by_a_restart() {
    let docker = Docker::shared();
    let name = docker.name("change-refused");
    let mut gateway = docker.gateway();
    gateway.conform(&name, "/conform word good", json!({}));
    gateway.has_replicas(&name, 1);
    let good = revision(&docker, &name);
    bad(&gateway, &name, "bad");
    assert_eq!(update_ended(&docker, &name), "rollback_completed");
    // Once with what the Swarm remembers, once after a change of the number made it forget.
    for replicas in [2, 3] {
        gateway = gateway.kill().start();
        gateway.connected();
        went_back(&gateway, &name);
        gateway.scale(&name, replicas);
        gateway.has_replicas(&name, replicas.into());
        assert_eq!(revision(&docker, &name), good);
        gateway.invoke(&name, "").says(200, "good\n");
    }
    // Asked for again it is tried again.
    gateway.update(&name, "/conform word better", json!({}));
    wait::until("the new revision answers", || gateway.invoke(&name, "").text() == "better\n");
    assert!(gateway.describe(&name).get("reason").is_none());
}

#[test]
fn an_update_that_never_listens_is_rolled_back() {
    let docker = Docker::shared();
    let name = docker.name("change-deaf");
    let gateway = docker.start().flag("--activation-timeout", "3s").start();
    gateway.connected();
    gateway.conform(&name, "/conform word good", json!({}));
    gateway.has_replicas(&name, 1);
    let good = revision(&docker, &name);
    gateway.update(&name, "", json!({"envVars": {"conform": "never-listen"}}));
    wait::until("none is there", || gateway.describe(&name).get("availableReplicas").is_none());
    wait::until("the one before answers", || gateway.invoke(&name, "").text() == "good\n");
    went_back(&gateway, &name);
    let reason = gateway.describe(&name)["reason"].as_str().unwrap().to_owned();
    assert!(reason.contains("rolled back") && reason.contains("nothing listens"), "{reason}");
    assert_eq!(revision(&docker, &name), good);
}
