//! What a deployment says reaches the container, and what it no longer says does not.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader};

use serde_json::{Value, json};

use crate::support::docker::Docker;
use crate::support::{Gateway, wait};

/// The spec of the containers of a service.
#[track_caller]
fn container_spec(docker: &Docker, name: &str) -> Value {
    docker.inspect(&["service", "inspect", name])["Spec"]["TaskTemplate"].clone()
}

#[test]
fn a_variable_that_the_new_spec_drops_is_gone() {
    let docker = Docker::shared();
    let name = docker.name("spec-env");
    let gateway = docker.gateway();
    gateway.conform(&name, "/conform env", json!({"envVars": {"kept": "1", "dropped": "2"}}));
    let before = gateway.invoke(&name, "").expect(200).text();
    assert!(before.contains("kept=1\n") && before.contains("dropped=2\n"), "{before}");
    gateway.update(&name, "/conform env", json!({"envVars": {"kept": "3"}}));
    wait::until("the new revision answers", || gateway.invoke(&name, "").text().contains("kept=3\n"));
    wait::until("no old one does", || docker.containers(&name).len() == 1);
    let after = gateway.invoke(&name, "").expect(200).text();
    assert!(!after.contains("dropped"), "{after}");
    assert!(gateway.describe(&name)["envVars"].get("dropped").is_none());
}

#[test]
fn the_process_keeps_its_quotes() {
    let docker = Docker::shared();
    let name = docker.name("spec-quotes");
    let gateway = docker.gateway();
    gateway.conform(&name, r#"/conform word "two  words" 'it''s' "a\"b""#, json!({}));
    gateway.invoke(&name, "").says(200, "two  words its a\"b\n");
}

#[test]
fn labels_annotations_constraints_and_limits_reach_the_service() {
    let docker = Docker::shared();
    let name = docker.name("spec-labels");
    let gateway = docker.gateway();
    let more = json!({
        "labels": {"com.example.team": "green"},
        "annotations": {"topic": "a b"},
        "constraints": ["node.role == manager"],
        "limits": {"memory": "32Mi", "cpu": "500m"},
        "requests": {"memory": "16Mi", "cpu": "100m"},
    });
    gateway.conform(&name, "/conform allocate 8", more.clone());
    gateway.invoke(&name, "").says(200, "8 MiB\n");
    let told = gateway.describe(&name);
    for field in ["annotations", "constraints", "limits", "requests"] {
        assert_eq!(told[field], more[field], "{field}");
    }
    assert_eq!(told["labels"]["com.example.team"], "green");
    let task = container_spec(&docker, &name);
    let labels = &task["ContainerSpec"]["Labels"];
    assert_eq!(
        (&labels["com.example.team"], &labels["com.openfaas.annotations.topic"]),
        (&json!("green"), &json!("a b"))
    );
    assert_eq!(labels["bramble.function"], json!(name));
    assert_eq!(task["Placement"]["Constraints"], json!(["node.role == manager"]));
    assert_eq!(task["Resources"]["Limits"], json!({"NanoCPUs": 500_000_000, "MemoryBytes": 32 << 20}));
    assert_eq!(task["Resources"]["Reservations"], json!({"NanoCPUs": 100_000_000, "MemoryBytes": 16 << 20}));
    let container = docker.inspect(&["inspect", &docker.containers(&name)[0]]);
    assert_eq!(container["HostConfig"]["Memory"], 32 << 20);
    assert_eq!(container["HostConfig"]["NanoCpus"], 500_000_000);
}

#[test]
fn more_memory_than_the_limit_is_not_to_be_had() {
    let docker = Docker::shared();
    let name = docker.name("spec-memory");
    let gateway = docker.gateway();
    gateway.conform(&name, "/conform allocate 64", json!({"limits": {"memory": "32Mi"}}));
    // The kernel ends the program, and the watchdog says so.
    gateway.invoke(&name, "").expect(500);
    gateway.update(&name, "/conform allocate 64", json!({"limits": {"memory": "128Mi"}}));
    wait::until("it fits", || gateway.invoke(&name, "").text() == "64 MiB\n");
}

#[test]
fn secrets_are_files() {
    let docker = Docker::shared();
    let (name, secret) = (docker.name("spec-secret"), format!("spec-secret-{}", std::process::id()));
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), "not to be told").unwrap();
    docker.cli(&["secret", "create", &secret, file.path().to_str().unwrap()]);
    let removed = RemoveSecret(&docker, secret.clone());
    let gateway = docker.gateway();
    gateway.conform(
        &name,
        &format!("/conform read /var/openfaas/secrets/{secret}"),
        json!({"secrets": [secret]}),
    );
    gateway.invoke(&name, "").says(200, "not to be told");
    assert_eq!(gateway.describe(&name)["secrets"], json!([secret]));
    gateway.remove(&name);
    drop(removed);
}

struct RemoveSecret<'d>(&'d Docker, String);

impl Drop for RemoveSecret<'_> {
    fn drop(&mut self) {
        // Fails while a service uses it, which then is what the test shows.
        self.0.try_cli(&["secret", "rm", &self.1]);
    }
}

#[test]
fn a_read_only_root_has_a_writable_tmp() {
    let docker = Docker::shared();
    let (root, tmp) = (docker.name("spec-root"), docker.name("spec-tmp"));
    let gateway = docker.gateway();
    let read_only = json!({"readOnlyRootFilesystem": true});
    gateway.conform(&root, "/conform write /file", read_only.clone());
    gateway.conform(&tmp, "/conform write /tmp/file", read_only);
    gateway.invoke(&root, "12345").expect(500);
    gateway.invoke(&tmp, "12345").says(200, "5 bytes\n");
    assert_eq!(gateway.describe(&root)["readOnlyRootFilesystem"], true);
    gateway.update(&root, "/conform write /file", json!({}));
    wait::until("the root can be written", || gateway.invoke(&root, "12345").text() == "5 bytes\n");
}

/// The lines of a function's log, as `instance: text`.
#[track_caller]
fn log(gateway: &Gateway, name: &str, query: &str) -> Vec<(String, String)> {
    let text = gateway.get(&format!("/system/logs?name={name}{query}")).expect(200).text();
    text.lines().map(log_line).filter(|(_, text)| text.starts_with("told")).collect()
}

fn log_line(line: &str) -> (String, String) {
    let line: Value = serde_json::from_str(line).unwrap();
    (line["instance"].as_str().unwrap().to_owned(), line["text"].as_str().unwrap().to_owned())
}

#[test]
fn logs_are_by_task_and_can_be_cut_and_followed() {
    let docker = Docker::shared();
    let name = docker.name("spec-logs");
    let gateway = docker.gateway();
    let quiet = json!({"envVars": {"combine_output": "false", "prefix_logs": "false"}});
    gateway.conform(&name, "/conform log told one", quiet);
    for _ in 0..2 {
        gateway.invoke(&name, "x").says(200, "x");
    }
    wait::until("both lines are there", || log(&gateway, &name, "").len() == 2);
    let instance = &log(&gateway, &name, "")[0].0;
    let task = docker.cli(&["service", "ps", "-q", "--no-trunc", &name]);
    assert_eq!(*instance, task);
    assert_eq!(log(&gateway, &name, &format!("&instance={instance}")).len(), 2);
    assert_eq!(log(&gateway, &name, "&instance=nobody").len(), 0);
    assert_eq!(log(&gateway, &name, "&since=2099-01-01T00:00:00Z").len(), 0);
    // The watchdog has lines of its own.
    let all = gateway.get(&format!("/system/logs?name={name}&tail=1")).expect(200).text();
    assert_eq!(all.lines().count(), 1, "{all}");
    let last = format!("/system/logs?name={name}&instance={instance}&tail=1");
    let last = gateway.get(&last).expect(200).text();
    assert_eq!(last.lines().count(), 1, "{last}");
    let mut wire = gateway.wire();
    wire.head(&format!("GET /system/logs?name={name}&follow=1"), &[]);
    assert_eq!(wire.response().status, 200);
    let mut told = 0;
    while told < 2 {
        told += count_told(&wire.piece().unwrap().expect("a log that is followed goes on"));
    }
    gateway.invoke(&name, "x").says(200, "x");
    while told < 3 {
        told += count_told(&wire.piece().unwrap().expect("a log that is followed goes on"));
    }
}

fn count_told(piece: &[u8]) -> usize {
    BufReader::new(piece)
        .lines()
        .filter(|line| log_line(line.as_ref().unwrap()).1.starts_with("told"))
        .count()
}

#[test]
fn scaling_up_and_down_uses_every_replica_and_counts_it() {
    let docker = Docker::shared();
    let name = docker.name("spec-scale");
    let gateway = docker.gateway();
    gateway.conform(&name, "/conform hostname", json!({}));
    let counts = || {
        let all = gateway.get("/system/functions").expect(200).json();
        let listed =
            all.as_array().unwrap().iter().find(|function| function["name"] == name).unwrap().clone();
        let told = gateway.describe(&name);
        assert_eq!(listed["replicas"], told["replicas"]);
        told["replicas"].as_u64().unwrap()
    };
    let hosts =
        || (0..60).map(|_| gateway.invoke(&name, "").expect(200).text()).collect::<BTreeSet<_>>().len();
    for replicas in [1, 3, 1] {
        gateway.scale(&name, replicas);
        gateway.has_replicas(&name, replicas.into());
        assert_eq!(counts(), u64::from(replicas));
        wait::until("no container is too many", || docker.containers(&name).len() == replicas as usize);
        assert_eq!(hosts(), replicas as usize);
    }
    assert!(gateway.describe(&name)["invocationCount"].as_u64().unwrap() >= 180);
    gateway.remove(&name);
    assert!(!docker.has_service(&name));
    gateway.invoke(&name, "").refused(404, "unknown_function", &name);
    wait::until("nothing of it runs", || docker.containers(&name).is_empty());
}
