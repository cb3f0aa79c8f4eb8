//! Secrets of functions in wasm: stored, told by name alone, seen anew after an update.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use serde_json::{Value, json};

use crate::isolation::files;
use crate::support::answer::Answer;
use crate::support::{Gateway, Start, wait};

/// The names that are listed for a namespace.
fn listed(gateway: &Gateway, query: &str) -> Vec<String> {
    let answer = gateway.get(&format!("/system/secrets{query}")).expect(200);
    assert!(!answer.text().contains("value"), "{}", answer.text());
    let secrets = answer.json();
    secrets.as_array().unwrap().iter().map(|secret| secret["name"].as_str().unwrap().to_owned()).collect()
}

fn write(gateway: &Gateway, method: &str, document: Value) -> Answer {
    gateway.json(method, "/system/secrets", &document)
}

#[test]
fn a_secret_is_made_replaced_and_removed() {
    let gateway = Gateway::start();
    assert_eq!(listed(&gateway, ""), [] as [&str; 0]);
    let create = json!({"name": "db", "value": "first"});
    write(&gateway, "POST", create.clone()).says(201, "");
    write(&gateway, "POST", create).refused(409, "secret_exists", "db");
    let all = gateway.get("/system/secrets").expect(200).json();
    assert_eq!(all, json!([{"name": "db", "namespace": "openfaas-fn"}]));
    write(&gateway, "PUT", json!({"name": "nobody", "value": "x"})).refused(404, "unknown_secret", "nobody");
    write(&gateway, "DELETE", json!({"name": "nobody"})).refused(404, "unknown_secret", "nobody");

    gateway.deploy_with("files", &files(), json!({"secrets": ["db"]}));
    gateway.invoke("files", "r3db").says(200, "first");
    write(&gateway, "PUT", json!({"name": "db", "value": "second and longer"})).says(202, "");
    gateway.invoke("files", "r3db").says(200, "second and longer");
    // As faas-cli sends the content of a file, of any bytes.
    write(&gateway, "PUT", json!({"name": "db", "value": "?", "rawValue": "AAH/"})).expect(202);
    assert_eq!(gateway.invoke("files", "r3db").expect(200).body, [0, 1, 255]);

    write(&gateway, "DELETE", json!({"name": "db"})).refused(409, "secret_in_use", "files");
    gateway.remove("files");
    write(&gateway, "DELETE", json!({"name": "db"})).says(202, "");
    assert_eq!(listed(&gateway, ""), [] as [&str; 0]);
}

#[test]
fn values_are_kept_over_a_kill_where_only_the_gateway_reads_them() {
    let gateway = Gateway::start();
    write(&gateway, "POST", json!({"name": "db", "value": "kept"})).expect(201);
    write(&gateway, "PUT", json!({"name": "db", "value": "kept anew"})).expect(202);
    gateway.deploy_with("files", &files(), json!({"secrets": ["db"]}));
    let mode = |path: &str| fs::metadata(gateway.data_dir().join(path)).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode("secrets"), mode("secrets/db")), (0o700, 0o600));
    let gateway = gateway.kill().start();
    gateway.invoke("files", "r3db").says(200, "kept anew");
    assert_eq!(listed(&gateway, ""), ["db"]);
}

#[test]
fn namespaces_do_not_see_each_others() {
    let gateway = Gateway::start();
    for (namespace, value) in [("openfaas-fn", "one"), ("team", "two")] {
        let document = json!({"name": "db", "namespace": namespace, "value": value});
        write(&gateway, "POST", document).expect(201);
    }
    write(&gateway, "POST", json!({"name": "own", "namespace": "team", "value": "x"})).expect(201);
    assert_eq!(listed(&gateway, ""), ["db"]);
    assert_eq!(listed(&gateway, "?namespace=team"), ["db", "own"]);
    gateway.deploy_with("files", &files(), json!({"secrets": ["db"]}));
    gateway.deploy_with("files", &files(), json!({"secrets": ["db"], "namespace": "team"}));
    gateway.invoke("files", "r3db").says(200, "one");
    gateway.invoke("files.team", "r3db").says(200, "two");
    let image = gateway.upload(&files());
    let other = gateway.create("other", &image, json!({"secrets": ["own"]}));
    other.refused(400, "unknown_secret", "secret not found: own; possible choices: db");
}

#[test]
fn bad_secrets_are_refused_by_the_field() {
    let gateway = Gateway::start();
    let long = "x".repeat(500 * 1024);
    for (document, says) in [
        (json!({"value": "x"}), "name"),
        (json!({"name": "", "value": "x"}), "name"),
        (json!({"name": "../x", "value": "x"}), "../x"),
        (json!({"name": "UPPER", "value": "x"}), "UPPER"),
        (json!({"name": "a_team", "value": "x"}), "a_team"),
        (json!({"name": 7, "value": "x"}), "name"),
        (json!({"name": "a", "value": ""}), "value"),
        (json!({"name": "a"}), "value"),
        (json!({"name": "a", "value": 7}), "value"),
        (json!({"name": "a", "value": long}), "value"),
        (json!({"name": "a", "rawValue": "no base64!"}), "rawValue"),
        (json!({"name": "a", "value": "x", "namespace": "../x"}), "namespace"),
        (json!({"name": "a", "value": "x", "namespace": "a_b"}), "namespace"),
        (json!({"name": longest_name(), "value": "x", "namespace": "team"}), "name"),
    ] {
        for method in ["POST", "PUT"] {
            write(&gateway, method, document.clone()).refused(400, "invalid_spec", says);
        }
    }
    gateway.call("POST", "/system/secrets", "application/json", b"{").refused(400, "invalid_json", "");
    assert_eq!(
        fs::read_dir(gateway.data_dir())
            .unwrap()
            .filter(|e| e.as_ref().unwrap().file_name() == "secrets")
            .count(),
        0
    );
}

/// A name as long as they get.
fn longest_name() -> String {
    [63, 63, 63, 61].map(|length| "a".repeat(length)).join(".")
}

#[test]
fn a_secret_with_the_longest_name_is_one_like_any_other() {
    let gateway = Gateway::start();
    let name = longest_name();
    write(&gateway, "POST", json!({"name": name, "value": "first"})).expect(201);
    gateway.deploy_with("files", &files(), json!({"secrets": [name]}));
    write(&gateway, "PUT", json!({"name": name, "value": "second"})).expect(202);
    gateway.invoke("files", &format!("r3{name}")).says(200, "second");
    let document = json!({"name": name, "namespace": "team"});
    write(&gateway, "DELETE", document).refused(400, "invalid_spec", "name");
    let image = gateway.upload(&files());
    let other = gateway.create("other", &image, json!({"secrets": [name], "namespace": "team"}));
    other.refused(400, "invalid_spec", "secrets");
}

#[test]
fn the_command_line_reads_values_from_anywhere() {
    let gateway = Start::new().start();
    let run = |arguments: &[&str]| {
        let output = gateway.cli(arguments).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{arguments:?}: {said}");
        String::from_utf8(output.stdout).unwrap()
    };
    let file = gateway.data_dir().with_file_name("value");
    fs::write(&file, " from a file\n").unwrap();
    let path = file.to_str().unwrap();
    run(&["secret", "create", "literal", "--from-literal", "text"]);
    run(&["secret", "create", "file", "--from-file", path]);
    run(&["secret", "create", "whole", "--from-file", path, "--trim=false"]);
    let mut piped = gateway.cli(&["secret", "create", "piped", "-n", "team"]);
    assert!(piped.stdin(fs::File::open(&file).unwrap()).status().unwrap().success());
    assert_eq!(run(&["secret", "list", "-q"]), "file\nliteral\nwhole\n");
    assert_eq!(run(&["secret", "ls", "-q", "--namespace", "team"]), "piped\n");
    let value = |name: &str| fs::read_to_string(gateway.data_dir().join("secrets").join(name)).unwrap();
    assert_eq!((value("literal"), value("file")), ("text".to_owned(), "from a file".to_owned()));
    assert_eq!(
        (value("whole"), value("piped_team")),
        (" from a file\n".to_owned(), "from a file".to_owned())
    );

    let exists = gateway.cli(&["secret", "create", "literal", "--from-literal", "new"]).output().unwrap();
    assert_eq!(exists.status.code(), Some(1));
    assert!(run(&["secret", "create", "literal", "--from-literal", "new", "--replace"]).contains("updated"));
    assert_eq!(value("literal"), "new");
    run(&["secret", "update", "literal", "--from-literal", "newer"]);
    assert_eq!(value("literal"), "newer");
    run(&["secret", "remove", "literal"]);
    let gone = gateway.cli(&["secret", "rm", "literal"]).output().unwrap();
    assert_eq!(gone.status.code(), Some(4), "{gone:?}");
}

#[test]
fn updates_and_deployments_at_once_end_with_the_last_value() {
    let gateway = Gateway::start();
    write(&gateway, "POST", json!({"name": "db", "value": "0"})).expect(201);
    let image = gateway.upload(&files());
    std::thread::scope(|scope| {
        for at in 0..8 {
            let (gateway, image) = (&gateway, &image);
            scope.spawn(move || {
                gateway.create(&format!("files-{at}"), image, json!({"secrets": ["db"]})).expect(202);
            });
        }
        for value in 1..=8 {
            write(&gateway, "PUT", json!({"name": "db", "value": value.to_string()})).expect(202);
        }
    });
    for at in 0..8 {
        gateway.invoke(&format!("files-{at}"), "r3db").says(200, "8");
    }
    wait::until("nothing is left behind", || {
        let left = fs::read_dir(gateway.data_dir().join("secrets")).unwrap();
        left.map(|entry| entry.unwrap().file_name()).eq(["db"])
    });
}
