//! A client that others wrote: the npm package `openfaas-client`, generated from OpenFaaS' own description of its API.

use std::collections::HashMap;
use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};

use crate::auth::credentials;
use crate::support::{Start, guest};
use crate::{auth, examples};

/// What each call of `drive.js` came to.
#[track_caller]
fn drive(url: &str, image: &str) -> HashMap<String, Value> {
    let modules = examples::cache().join("tools/openfaas-client/node_modules");
    assert!(
        modules.join("openfaas-client").is_dir(),
        "{} has no openfaas-client: type `scripts/setup.sh test`",
        modules.display()
    );
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("clients/openfaas-client/drive.js");
    let mut node = Command::new("node");
    // Old code: what it should not use any more is told on stderr.
    node.env("NODE_PATH", modules).arg("--no-deprecation").arg(script);
    let output = node.args([url, "admin", "the right one", image]).output().expect("node is installed");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let lines = String::from_utf8(output.stdout).unwrap();
    let calls = lines.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    calls.map(|call| (call["name"].as_str().unwrap().to_owned(), call)).collect()
}

#[test]
fn deploys_lists_invokes_updates_and_deletes() {
    let (_directory, path) = credentials();
    let gateway = Start::new().flag("--basic-auth", "true").flag("--secret-mount-path", &path).start();
    let gateway = gateway.showing(auth::RIGHT);
    let image = gateway.upload(&guest::tells_environment());
    let calls = drive(&gateway.url(), &image);
    for (name, status) in [
        ("refused", 401),
        ("health", 200),
        ("info", 200),
        ("updateNothing", 404),
        ("deploy", 202),
        ("deployAgain", 409),
        ("list", 200),
        ("describe", 200),
        ("invoke", 200),
        ("queue", 202),
        ("createSecret", 201),
        ("updateSecret", 202),
        ("listSecrets", 200),
        ("update", 202),
        ("describeUpdated", 200),
        ("invokeUpdated", 200),
        ("scale", 202),
        ("alert", 200),
        ("logs", 200),
        ("remove", 202),
        ("describeNothing", 404),
        ("removeSecret", 202),
        ("listNothing", 200),
    ] {
        assert_eq!(calls[name]["status"], status, "{name}: {}", calls[name]);
    }
    let body = |name: &str| &calls[name]["body"];
    assert!(!body("info")["version"]["sha"].as_str().unwrap().is_empty(), "{}", body("info"));
    let listed = &body("list")[0];
    for (field, value) in [
        ("name", json!("env")),
        ("image", json!(image)),
        ("envProcess", json!("word")),
        ("invocationCount", json!(0)),
        ("labels", json!({"team": "blue", "faas_function": "env"})),
        ("annotations", json!({})),
    ] {
        assert_eq!(listed[field], value, "{field} of {listed}");
        assert_eq!(body("describe")[field], value, "{field}");
    }
    assert!(
        listed["replicas"].as_u64() > Some(0) && listed["availableReplicas"].as_u64() > Some(0),
        "{listed}"
    );
    assert_eq!(calls["queue"]["headers"]["x-call-id"], "of-the-caller");
    // The package takes a list of secrets for one.
    assert_eq!(calls["listSecrets"]["raw"], json!([{"name": "key", "namespace": "openfaas-fn"}]));
    assert_eq!(body("describeUpdated")["annotations"], json!({"topic": "t"}));
    for (name, line) in [("invoke", "A=b\n"), ("invokeUpdated", "A=c\n")] {
        assert!(body(name).as_str().unwrap().contains(line), "{}", body(name));
    }
    assert_eq!(*body("listNothing"), json!([]));
}
