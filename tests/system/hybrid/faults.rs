//! One half is lost: the other one answers.

use std::fs;

use serde_json::json;

use super::{CONTAINER, WASM, document, half, module, taken};
use crate::support::docker::Docker;
use crate::support::{Gateway, guest, wait};

#[test]
fn a_killed_container_falls_back_to_wasm() {
    let docker = Docker::shared();
    let name = docker.name("hybrid-killed");
    let gateway = docker.gateway();
    gateway.hybrid(&name, "bridge", json!({}));
    gateway.has_replicas(&name, 1);
    gateway.invoke(&name, "").says(200, CONTAINER);
    let mut by_wasm = 0;
    for _ in 0..4 {
        docker.cli(&["kill", &docker.containers(&name)[0]]);
        // Until the gateway is told, some milliseconds, a request may wait for the next container.
        wait::until("the next container answers", || {
            let text = gateway.invoke(&name, "").expect(200).text();
            by_wasm += u32::from(text == WASM);
            text == CONTAINER
        });
    }
    assert!(by_wasm > 0, "four times nothing but containers answered");
}

/// Forgets a module behind the gateway's back, and its compiled code.
fn lose(gateway: &Gateway, digest: &str) {
    let hex = digest.strip_prefix("sha256:").unwrap();
    let mut lost = 0;
    let mut folders = vec![gateway.data_dir().join("modules"), gateway.data_dir().join("cache")];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.file_name().unwrap().to_string_lossy().starts_with(hex) {
                fs::remove_file(path).unwrap();
                lost += 1;
            }
        }
    }
    assert!(lost >= 2, "a module and its code");
}

#[test]
fn a_module_that_does_not_load_leaves_containers() {
    let docker = Docker::shared();
    let name = docker.name("hybrid-lost");
    let gateway = docker.gateway();
    // The module shouts, the container echoes: that one gets the body.
    let digest = gateway.upload(&module());
    let mut echo = document(&name, &digest, "wasm-first");
    echo["envProcess"] = json!("/conform echo");
    gateway.json("POST", "/system/functions", &echo).expect(202);
    gateway.has_replicas(&name, 1);
    gateway.invoke(&name, "").says(200, WASM);
    // Taken up by what is known of it, and lost before its code is loaded.
    let gateway = gateway.kill().start();
    gateway.has_replicas(&name, 1);
    lose(&gateway, &digest);
    let large = "y".repeat(300_000);
    for body in ["small", &large] {
        assert!(gateway.invoke(&name, body).expect(200).text() == body);
    }
    let reason = half(&gateway, &name, "wasm")["reason"].clone();
    assert!(reason.as_str().unwrap().contains(&digest), "{reason}");
    assert_eq!((taken(&gateway, &name, "wasm"), taken(&gateway, &name, "container")), (0.0, 2.0));
    gateway.scale(&name, 0);
    gateway.invoke(&name, "woken").says(200, "woken");
    // What woke it need not survive a kill; this does.
    gateway.scale(&name, 2);
    gateway.has_replicas(&name, 2);

    // Not even taken up.
    let gateway = gateway.kill().start();
    gateway.invoke(&name, "still").says(200, "still");
    let told = gateway.describe(&name);
    assert!(told["reason"].as_str().unwrap().contains(&digest), "{told}");
    gateway.scale(&name, 1);
    gateway.has_replicas(&name, 1);

    // A new module makes it whole.
    gateway.put(&name, &guest::says("whole\n")).expect(202);
    gateway.invoke(&name, "x").says(200, "whole\n");
    assert!(half(&gateway, &name, "wasm").get("reason").is_none());
    gateway.remove(&name);
    assert!(!docker.has_service(&name));
}

#[test]
fn an_image_that_does_not_start_leaves_wasm_and_tells_why() {
    let docker = Docker::shared();
    let name = docker.name("hybrid-exits");
    let gateway = docker.gateway();
    gateway.hybrid(&name, "bridge", json!({"envVars": {"conform": "exit", "conform_exit": "7"}}));
    wait::until("it is told why", || {
        gateway.invoke(&name, "").says(200, WASM);
        gateway.describe(&name)["reason"].as_str().unwrap_or_default().contains("non-zero exit (7)")
    });
    let reason = half(&gateway, &name, "container")["reason"].clone();
    assert!(reason.as_str().unwrap().contains("non-zero exit (7)"), "{reason}");
    assert_eq!(taken(&gateway, &name, "container"), 0.0);
}
