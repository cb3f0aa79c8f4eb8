//! A hybrid from its deployment to its end: scaled, restarted, told of, removed.

use std::fs;
use std::os::unix::fs::symlink;

use serde_json::{Value, json};

use super::{CONTAINER, WASM, document, half, module, taken, with};
use crate::containers::load::update_ended;
use crate::support::docker::{CONFORM, Docker};
use crate::support::{Gateway, Start, guest, wait};

#[test]
fn without_containers_wasm_serves_and_a_bridge_brings_them_back() {
    let docker = Docker::shared();
    let (bridge, stays) = (docker.name("hybrid-zero"), docker.name("hybrid-stays"));
    let gateway = docker.gateway();
    gateway.hybrid(&bridge, "bridge", json!({}));
    gateway.hybrid(&stays, "wasm-first", json!({}));
    for name in [&bridge, &stays] {
        gateway.has_replicas(name, 1);
        // A replica serves before the Swarm calls it running, and until then may ignore that it is to end.
        wait::until("the Swarm calls it running", || {
            docker.cli(&["service", "ls", "--filter", &format!("name={name}"), "--format", "{{.Replicas}}"])
                == "1/1"
        });
        gateway.scale(name, 0);
        wait::until(&format!("no container of {name} is left"), || {
            assert_eq!(gateway.describe(name).get("replicas"), None, "nobody asked for it");
            docker.containers(name).is_empty()
        });
        assert_eq!(half(&gateway, name, "wasm")["replicas"], 16);
    }
    std::thread::scope(|scope| {
        for _ in 0..30 {
            scope.spawn(|| gateway.invoke(&bridge, "").expect(200));
            scope.spawn(|| gateway.invoke(&stays, "").says(200, WASM));
        }
    });
    wait::until("a container answers again", || gateway.invoke(&bridge, "").text() == CONTAINER);
    assert_eq!(gateway.describe(&bridge)["replicas"], 1);
    assert_eq!(docker.containers(&bridge).len(), 1);
    // Nothing asked for these.
    assert_eq!(gateway.describe(&stays).get("replicas"), None);
    assert!(docker.containers(&stays).is_empty());
}

#[test]
fn scaling_moves_containers_and_leaves_slots() {
    let docker = Docker::shared();
    let name = docker.name("hybrid-scale");
    let gateway = docker.gateway();
    gateway.hybrid(&name, "fastest", json!({}));
    gateway.scale(&name, 3);
    gateway.has_replicas(&name, 3);
    assert_eq!(docker.containers(&name).len(), 3);
    assert_eq!(half(&gateway, &name, "wasm")["replicas"], 16);
    // The same again, and another policy, restart no container.
    let before = docker.containers(&name);
    let digest = gateway.upload(&module());
    gateway.json("PUT", "/system/functions", &document(&name, &digest, "bridge")).expect(202);
    assert_eq!(gateway.describe(&name)["replicas"], 3);
    assert_eq!(docker.containers(&name), before);
    gateway.invoke(&name, "").says(200, CONTAINER);
}

#[test]
fn a_restart_restores_both_halves() {
    let docker = Docker::shared();
    let name = docker.name("hybrid-restart");
    let gateway = docker.gateway();
    gateway.hybrid(&name, "bridge", json!({}));
    gateway.scale(&name, 2);
    gateway.has_replicas(&name, 2);
    let before = docker.inspect(&["service", "inspect", &name]);
    let gateway = gateway.kill().start();
    let text = gateway.invoke(&name, "").expect(200).text();
    assert!(text == WASM || text == CONTAINER, "{text:?}");
    gateway.has_replicas(&name, 2);
    gateway.invoke(&name, "").says(200, CONTAINER);
    assert_eq!(half(&gateway, &name, "wasm")["replicas"], 16);
    let after = docker.inspect(&["service", "inspect", &name]);
    assert_eq!((&before["ID"], &before["Version"]), (&after["ID"], &after["Version"]));
    // Also where Docker is gone by then.
    let data = gateway.data_dir().to_owned();
    let _kept = gateway.kill();
    let gateway =
        Start::new().data_dir(data).flag("--docker-host", "unix:///nonexistent/docker.sock").start();
    gateway.invoke(&name, "").says(200, WASM);
    assert!(half(&gateway, &name, "container")["reason"].as_str().unwrap().contains("Docker"));
    let remove = json!({"functionName": name});
    gateway.json("DELETE", "/system/functions", &remove).refused(503, "unavailable", "Docker");
}

#[test]
fn a_hybrid_that_never_had_containers_goes_without_docker() {
    let start = Start::new().flag("--docker-host", "unix:///nonexistent/docker.sock");
    let gateway = start.start();
    for name in ["removed", "wasm-now"] {
        gateway.hybrid(name, "bridge", json!({}));
    }
    let gateway = gateway.kill().start();
    gateway.invoke("removed", "").says(200, WASM);
    gateway.remove("removed");
    gateway.create_over("wasm-now", &gateway.upload(&module())).expect(202);
    assert_eq!(gateway.describe("wasm-now").get("runtimes"), None);
    gateway.remove("wasm-now");
    assert_eq!(gateway.names(), [] as [&str; 0]);
}

#[test]
fn what_is_corrected_while_docker_is_away_is_made_when_it_is_back() {
    let docker = Docker::shared();
    let name = docker.name("hybrid-corrected");
    let home = tempfile::tempdir().unwrap();
    let socket = home.path().join("docker.sock");
    let connect = || symlink(docker.host().trim_start_matches("unix://"), &socket).unwrap();
    connect();
    let gateway = Start::new()
        .flag("--scaler", "off")
        .flag("--docker-host", &format!("unix://{}", socket.display()))
        .start();
    gateway.connected();
    gateway.hybrid(&name, "bridge", json!({}));
    gateway.has_replicas(&name, 1);
    let digest = gateway.upload(&module());
    let put = |more: Value| {
        let document = with(document(&name, &digest, "bridge"), more);
        gateway.json("PUT", "/system/functions", &document).expect(202);
    };
    put(json!({"envVars": {"conform": "exit"}}));
    assert_eq!(update_ended(&docker, &name), "rollback_completed");
    wait::until("it is told", || {
        gateway.describe(&name)["reason"].as_str().unwrap_or_default().contains("rolled back")
    });

    fs::remove_file(&socket).unwrap();
    wait::until("it is known", || gateway.containers()["available"] == false);
    put(json!({"envProcess": "/conform word corrected"}));
    connect();
    wait::until("what was asked for answers", || {
        gateway.invoke(&name, "").expect(200).text() == "corrected\n"
    });
    wait::until("nothing is wrong", || gateway.describe(&name).get("reason").is_none());
    gateway.remove(&name);
    assert!(!docker.has_service(&name));
}

#[test]
fn removing_leaves_nothing() {
    let docker = Docker::shared();
    let name = docker.name("hybrid-gone");
    let gateway = docker.gateway();
    let digest = gateway.upload(&module());
    gateway.json("POST", "/system/functions", &document(&name, &digest, "bridge")).expect(202);
    assert_eq!(gateway.names(), std::slice::from_ref(&name));
    gateway.invoke(&name, "").expect(200);
    wait::until("a container answers", || gateway.invoke(&name, "").text() == CONTAINER);
    gateway.json("DELETE", &format!("/system/modules/{digest}"), &json!({})).refused(
        409,
        "module_in_use",
        &name,
    );
    gateway.remove(&name);
    gateway.invoke(&name, "").refused(404, "unknown_function", &name);
    assert!(!docker.has_service(&name));
    wait::until("no container is left", || docker.containers(&name).is_empty());
    for runtime in ["wasm", "container"] {
        assert_eq!(taken(&gateway, &name, runtime), 0.0);
    }
    assert_eq!(gateway.busy(&name), 0.0);
    gateway.json("DELETE", &format!("/system/modules/{digest}"), &json!({})).expect(204);
}

#[test]
fn without_docker_the_module_serves_and_containers_follow() {
    let docker = Docker::shared();
    let name = docker.name("hybrid-away");
    let home = tempfile::tempdir().unwrap();
    let socket = home.path().join("docker.sock");
    let gateway = Start::new().flag("--docker-host", &format!("unix://{}", socket.display())).start();
    gateway.hybrid(&name, "bridge", json!({}));
    gateway.invoke(&name, "").says(200, WASM);
    let told = gateway.describe(&name);
    assert!(told["reason"].as_str().unwrap().contains("Docker"), "{told}");
    assert_eq!(told["replicas"], 1);
    // Another revision, in both halves.
    let digest = gateway.upload(&guest::says("second\n"));
    let second = with(document(&name, &digest, "bridge"), json!({"envProcess": "/conform word twice"}));
    gateway.json("PUT", "/system/functions", &second).expect(202);
    gateway.invoke(&name, "").says(200, "second\n");

    symlink(docker.host().trim_start_matches("unix://"), &socket).unwrap();
    gateway.connected();
    wait::until("a container answers", || gateway.invoke(&name, "").expect(200).text() == "twice\n");
    assert_eq!(gateway.describe(&name).get("reason"), None);

    // Away again. What would leave a service behind is refused, and changes nothing.
    fs::remove_file(&socket).unwrap();
    wait::until("it is known", || {
        let answer = gateway.json("DELETE", "/system/functions", &json!({"functionName": name}));
        assert_eq!(answer.status, 503, "{answer:?}");
        gateway.containers()["available"] == false
    });
    gateway.create_over(&name, &digest).refused(503, "unavailable", "Docker");
    gateway.json("POST", &format!("/system/scale-function/{name}"), &json!({"replicas": 2})).refused(
        503,
        "unavailable",
        "Docker",
    );
    gateway.invoke(&name, "").expect(200);
    // A new module goes in all the same.
    let third = gateway.upload(&guest::says("third\n"));
    let third = with(document(&name, &third, "wasm-first"), json!({"envProcess": "/conform word twice"}));
    gateway.json("PUT", "/system/functions", &third).expect(202);
    gateway.invoke(&name, "").says(200, "third\n");

    symlink(docker.host().trim_start_matches("unix://"), &socket).unwrap();
    gateway.connected();
    gateway.remove(&name);
    assert!(!docker.has_service(&name));
}

impl Gateway {
    /// Makes a function one of this module alone.
    #[track_caller]
    fn create_over(&self, name: &str, digest: &str) -> crate::support::answer::Answer {
        self.json("PUT", "/system/functions", &json!({"service": name, "image": digest}))
    }
}

#[test]
fn a_bad_policy_is_refused_by_name_and_value() {
    let gateway = Gateway::start();
    let digest = gateway.upload(&module());
    let refused = gateway.json("POST", "/system/functions", &document("policy", &digest, "quickest"));
    refused.refused(400, "invalid_spec", "annotations.bramble.policy: \"quickest\" is none of `wasm-first`");
    assert_eq!(gateway.names(), [] as [&str; 0]);
}

#[test]
fn a_refused_half_changes_nothing() {
    let docker = Docker::shared();
    let (name, fresh) = (docker.name("hybrid-half"), docker.name("hybrid-fresh"));
    let gateway = docker.gateway();
    gateway.deploy(&name, &guest::says("alone"));
    gateway.scale(&name, 5);
    let digest = gateway.upload(&module());
    let missing = json!({"image": "bramble/there-is-none:1"});
    let unknown = format!("sha256:{}", "0".repeat(64));
    for (method, target) in [("PUT", &name), ("POST", &fresh)] {
        let bad = with(document(target, &digest, "bridge"), missing.clone());
        gateway.json(method, "/system/functions", &bad).refused(400, "invalid_spec", "there-is-none");
        let bad = document(target, &unknown, "bridge");
        gateway.json(method, "/system/functions", &bad).refused(
            400,
            "invalid_spec",
            "annotations.bramble.module",
        );
    }
    gateway.invoke(&name, "").says(200, "alone");
    let told = gateway.describe(&name);
    assert_eq!((&told["replicas"], told.get("runtimes")), (&json!(5), None));
    assert_eq!(gateway.names(), std::slice::from_ref(&name));
    gateway.invoke(&fresh, "").expect(404);
    assert!(!docker.has_service(&name) && !docker.has_service(&fresh));
}

#[test]
fn an_upload_changes_the_module_and_leaves_the_image() {
    let docker = Docker::shared();
    let name = docker.name("hybrid-upload");
    let gateway = docker.gateway();
    gateway.hybrid(&name, "wasm-first", json!({}));
    gateway.has_replicas(&name, 1);
    let containers = docker.containers(&name);
    let next = guest::says("next\n");
    let digest = gateway.put(&name, &next).expect(202).json()["digest"].clone();
    gateway.invoke(&name, "").says(200, "next\n");
    let told = gateway.describe(&name);
    assert_eq!((&told["image"], &told["annotations"]["bramble.module"]), (&json!(CONFORM), &digest));
    assert_eq!(docker.containers(&name), containers);
}

#[test]
fn the_log_has_the_lines_of_both() {
    let docker = Docker::shared();
    let name = docker.name("hybrid-log");
    let gateway = docker.gateway();
    let complains = guest::with(
        &guest::data("from wasm\n"),
        "(call $write (i32.const 2) (i32.const 4096) (i32.const 10))",
    );
    let document = with(
        document(&name, &gateway.upload(&complains), "bridge"),
        json!({"envProcess": "/conform log from-container", "envVars": {"combine_output": "false"}}),
    );
    gateway.json("POST", "/system/functions", &document).expect(202);
    gateway.invoke(&name, "").expect(200);
    gateway.has_replicas(&name, 1);
    gateway.invoke(&name, "").expect(200);
    wait::until("both are in it", || {
        let log = gateway.get(&format!("/system/logs?name={name}")).expect(200).text();
        let lines: Vec<Value> = log.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let has = |text: &str| lines.iter().any(|line| line["text"].as_str().unwrap().contains(text));
        has("from wasm") && has("from-container")
    });
}

#[test]
fn the_command_line_deploys_a_hybrid() {
    let docker = Docker::shared();
    let name = docker.name("hybrid-cli");
    let gateway = docker.gateway();
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("my.wasm");
    fs::write(&file, module()).unwrap();
    let deploy = |more: &[&str]| {
        let words = ["deploy", &name, "--image", CONFORM, "--fprocess", "/conform word container"];
        let output = gateway.cli(&[&words, more].concat()).output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
        (output.status.code(), said.into_owned())
    };
    let file = file.to_str().unwrap();
    let (code, said) = deploy(&["--module", "/nonexistent.wasm"]);
    assert!(code == Some(2) && said.contains("/nonexistent.wasm"), "{code:?} {said}");
    let (code, said) = deploy(&["--module", file, "--annotation", "bramble.policy=soonest"]);
    assert!(
        code == Some(1) && said.contains("bramble.policy") && said.contains("soonest"),
        "{code:?} {said}"
    );
    let (code, said) = deploy(&["--module", file, "--annotation", "bramble.policy=bridge"]);
    assert!(code == Some(0) && said.starts_with("deployed"), "{code:?} {said}");
    let text = gateway.invoke(&name, "").expect(200).text();
    assert!(text == WASM || text == CONTAINER, "{text:?}");
    wait::until("a container answers", || gateway.invoke(&name, "").text() == CONTAINER);
    assert!(taken(&gateway, &name, "wasm") + taken(&gateway, &name, "container") >= 2.0);
    let told = String::from_utf8(gateway.cli(&["describe", &name]).output().unwrap().stdout).unwrap();
    for half in ["container: replicas 1 available of 1, ", "wasm: slots 16 available of 16, "] {
        assert!(told.contains(half), "{half:?} is not in\n{told}");
    }
}
