//! Deploying: what is refused in a document or a name, and that nothing of it is kept.

use serde_json::{Value, json};

use crate::support::gateway::{JSON, WASM};
use crate::support::{Gateway, guest};

/// A gateway with one function, `old`, and the digest of its module.
fn gateway() -> (Gateway, String) {
    let gateway = Gateway::start();
    gateway.deploy("old", &guest::says("old\n"));
    let digest = gateway.upload(&guest::says("old\n"));
    (gateway, digest)
}

/// Asks for `bad` by a document that must be refused, as a new function and in place of `old`.
#[track_caller]
fn check(more: Value, says: &str) {
    let (gateway, digest) = gateway();
    gateway.create("bad", &digest, more.clone()).refused(400, "invalid_spec", says);
    let mut document = json!({"service": "old", "image": digest});
    document.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    gateway.json("PUT", "/system/functions", &document).refused(400, "invalid_spec", says);
    unharmed(&gateway);
}

#[track_caller]
fn unharmed(gateway: &Gateway) {
    assert_eq!(gateway.names(), ["old"]);
    gateway.invoke("old", "").says(200, "old\n");
}

#[test]
fn refuses_a_memory_limit_that_is_no_size() {
    check(json!({"limits": {"memory": "12Q"}}), "limits.memory: \"12Q\"");
}

#[test]
fn refuses_a_cpu_limit_that_is_no_number() {
    check(json!({"limits": {"cpu": "many"}}), "limits.cpu: \"many\"");
}

#[test]
fn refuses_a_memory_limit_below_what_the_module_starts_with() {
    check(json!({"limits": {"memory": "64Ki"}}), "limits.memory");
}

#[test]
fn refuses_a_timeout_that_is_no_duration() {
    check(json!({"envVars": {"exec_timeout": "soon"}}), "envVars.exec_timeout: \"soon\"");
}

#[test]
fn refuses_fields_of_other_types_by_name() {
    for (more, field) in [
        (json!({"envVars": {"PORT": 8080}}), "envVars.PORT"),
        (json!({"envVars": ["A=1"]}), "envVars"),
        (json!({"labels": {"a": null}}), "labels.a"),
        (json!({"secrets": "one"}), "secrets"),
        (json!({"secrets": [1]}), "secrets[0]"),
        (json!({"limits": "64Mi"}), "limits"),
        (json!({"limits": {"memory": 64}}), "limits.memory"),
        (json!({"readOnlyRootFilesystem": "yes"}), "readOnlyRootFilesystem"),
        (json!({"envProcess": ["cat"]}), "envProcess"),
    ] {
        check(more, field);
    }
}

#[test]
fn refuses_a_name_of_another_type() {
    let (gateway, digest) = gateway();
    for service in [json!(7), json!(["a"]), json!({"a": "b"})] {
        let document = json!({"service": service, "image": digest});
        gateway.json("POST", "/system/functions", &document).refused(400, "invalid_spec", "service");
    }
    unharmed(&gateway);
}

#[test]
fn refuses_replicas_that_are_no_count() {
    let (gateway, _) = gateway();
    for replicas in [json!(-1), json!("3"), json!(1.5), json!(4_294_967_296_u64)] {
        let document = json!({"serviceName": "old", "replicas": replicas});
        gateway.json("POST", "/system/scale-function/old", &document).refused(
            400,
            "invalid_spec",
            "replicas",
        );
    }
    unharmed(&gateway);
}

#[test]
fn refuses_what_is_no_json() {
    let (gateway, _) = gateway();
    for text in ["", "{", "[]", "\"old\"", "{\"service\":", "\u{0}"] {
        let answer = gateway.call("POST", "/system/functions", JSON, text.as_bytes());
        answer.refused(400, "invalid_json", "");
    }
    unharmed(&gateway);
}

#[test]
fn refuses_a_document_without_end() {
    let (gateway, _) = gateway();
    let document = format!("{{\"service\":\"{}\"}}", "x".repeat(2 << 20));
    let answer = gateway.call("POST", "/system/functions", JSON, document.as_bytes());
    answer.refused(413, "body_too_large", "");
    unharmed(&gateway);
}

#[test]
fn refuses_names_that_are_no_dns_label_in_a_document() {
    let (gateway, digest) = gateway();
    let long = "a".repeat(64);
    for name in ["../etc/passwd", "..", "a/b", "A", "-a", "a-", "a_b", "a b", "ä", "a\u{0}", &long] {
        gateway.create(name, &digest, json!({})).refused(400, "invalid_spec", "DNS label");
        let removal = json!({"functionName": name});
        gateway.json("DELETE", "/system/functions", &removal).refused(400, "invalid_spec", "DNS label");
    }
    unharmed(&gateway);
}

#[test]
fn refuses_names_that_are_no_dns_label_in_a_path() {
    let (gateway, _) = gateway();
    let before = entries(gateway.data_dir());
    for name in ["..%2Fetc", "%2e%2e%2f%2e%2e%2fetc", "a%2Fb", "A", "-a", "a%00", &"a".repeat(64)] {
        let path = format!("/system/functions/{name}");
        gateway.call("PUT", &path, WASM, &guest::cat()).refused(400, "invalid_spec", "DNS label");
        gateway.get(&format!("/system/function/{name}")).refused(400, "invalid_spec", "DNS label");
        gateway.get(&format!("/function/{name}")).refused(400, "invalid_spec", "DNS label");
        let scaling = json!({"replicas": 1});
        let path = format!("/system/scale-function/{name}");
        gateway.json("POST", &path, &scaling).refused(400, "invalid_spec", "DNS label");
    }
    unharmed(&gateway);
    assert_eq!(entries(gateway.data_dir()), before);
}

#[test]
fn refuses_a_path_that_climbs_as_it_was_written() {
    let (gateway, _) = gateway();
    for line in ["GET /function/../system/info", "GET /function/old/../../system/info", "GET /system/../etc"]
    {
        let mut wire = gateway.wire();
        wire.head(line, &[]);
        let answer = wire.answer();
        assert!(
            [400, 404].contains(&answer.status.as_u16()) || answer.text() == "old\n",
            "{line}: {answer:?}"
        );
    }
}

fn entries(dir: &std::path::Path) -> Vec<std::ffi::OsString> {
    let mut names: Vec<_> = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    names.sort();
    names
}

#[test]
fn refuses_a_module_that_is_not_stored() {
    let (gateway, _) = gateway();
    let digest = format!("sha256:{}", "0".repeat(64));
    gateway.create("bad", &digest, json!({})).refused(400, "invalid_spec", &digest);
    unharmed(&gateway);
}

#[test]
fn refuses_a_secret_that_there_is_not_and_names_it() {
    let (gateway, digest) = gateway();
    let secrets = json!({"secrets": ["db-password"]});
    gateway.create("bad", &digest, secrets).refused(400, "unknown_secret", "db-password");
    unharmed(&gateway);
}

#[test]
fn refuses_a_secret_whose_name_is_a_path() {
    let (gateway, digest) = gateway();
    for name in ["../bramble.redb", "a/b", "..", ""] {
        let secrets = json!({"secrets": [name]});
        gateway.create("bad", &digest, secrets).refused(400, "invalid_spec", "secrets");
    }
    unharmed(&gateway);
}

#[test]
fn refuses_to_create_what_is_there_and_to_update_what_is_not() {
    let (gateway, digest) = gateway();
    gateway.create("old", &digest, json!({})).refused(409, "already_deployed", "old");
    let document = json!({"service": "new", "image": digest});
    gateway.json("PUT", "/system/functions", &document).refused(404, "unknown_function", "new");
    unharmed(&gateway);
}

#[test]
fn an_unknown_function_is_not_found() {
    let (gateway, _) = gateway();
    gateway.invoke("nobody", "").refused(404, "unknown_function", "nobody");
    gateway.get("/system/function/nobody").refused(404, "unknown_function", "nobody");
    gateway.get("/system/logs?name=nobody").refused(404, "unknown_function", "nobody");
}
