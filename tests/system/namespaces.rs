//! Namespaces: what is in one is not seen in another.

use std::net::TcpListener;

use serde_json::{Value, json};

use crate::support::answer::Answer;
use crate::support::{Gateway, Start, guest};

fn namespace(gateway: &Gateway, method: &str, name: &str, document: &Value) -> Answer {
    gateway.json(method, &format!("/system/namespace/{name}"), document)
}

fn names(gateway: &Gateway) -> Value {
    gateway.get("/system/namespaces").expect(200).json()
}

#[test]
fn a_namespace_is_made_changed_and_removed() {
    let gateway = Gateway::start();
    assert_eq!(names(&gateway), json!(["openfaas-fn"]));
    gateway.get("/system/namespace/team").refused(404, "unknown_namespace", "team");
    let made = json!({"name": "team", "labels": {"owner": "ops"}, "annotations": {"openfaas": "1"}});
    namespace(&gateway, "POST", "team", &made).says(201, "");
    namespace(&gateway, "POST", "team", &made).refused(409, "namespace_exists", "team");
    assert_eq!(gateway.get("/system/namespace/team").expect(200).json(), made);
    // As faas-cli asks: the name is in the body alone.
    gateway.json("POST", "/system/namespace/", &json!({"name": "other"})).says(201, "");
    assert_eq!(names(&gateway), json!(["openfaas-fn", "other", "team"]));

    let changed = json!({"name": "team", "labels": {}, "annotations": {"a": "b"}});
    namespace(&gateway, "PUT", "team", &changed).says(202, "");
    namespace(&gateway, "PUT", "nobody", &json!({})).refused(404, "unknown_namespace", "nobody");
    let gateway = gateway.kill().start();
    assert_eq!(gateway.get("/system/namespace/team").expect(200).json(), changed);

    namespace(&gateway, "DELETE", "other", &json!({})).says(202, "");
    namespace(&gateway, "DELETE", "other", &json!({})).refused(404, "unknown_namespace", "other");
    let default = namespace(&gateway, "DELETE", "openfaas-fn", &json!({}));
    default.refused(400, "invalid_spec", "openfaas-fn");
    namespace(&gateway, "POST", "openfaas-fn", &json!({})).refused(409, "namespace_exists", "openfaas-fn");
    assert_eq!(names(&gateway), json!(["openfaas-fn", "team"]));
}

#[test]
fn one_that_is_used_is_there_and_stays() {
    let gateway = Gateway::start();
    gateway.deploy("echo.team", &guest::cat());
    gateway
        .json("POST", "/system/secrets", &json!({"name": "a", "namespace": "dev", "value": "x"}))
        .expect(201);
    assert_eq!(names(&gateway), json!(["dev", "openfaas-fn", "team"]));
    let implied = gateway.get("/system/namespace/team").expect(200).json();
    assert_eq!(implied, json!({"name": "team", "labels": {}, "annotations": {}}));
    namespace(&gateway, "PUT", "team", &json!({"labels": {"a": "b"}})).says(202, "");
    namespace(&gateway, "DELETE", "team", &json!({})).refused(409, "namespace_in_use", "function echo.team");
    namespace(&gateway, "DELETE", "dev", &json!({})).refused(409, "namespace_in_use", "secret a");
    gateway.remove("echo.team");
    namespace(&gateway, "DELETE", "team", &json!({})).says(202, "");
}

#[test]
fn two_functions_of_one_name_have_nothing_in_common() {
    let gateway = Gateway::start();
    gateway.deploy("twin", &guest::says("default"));
    gateway.deploy("twin.team", &guest::says("team"));
    for name in ["twin", "twin.openfaas-fn"] {
        gateway.invoke(name, "").says(200, "default");
    }
    gateway.invoke("twin.team", "").says(200, "team");
    gateway.invoke("twin.nobody", "").refused(404, "unknown_function", "twin.nobody");
    let listed = |query: &str| -> Vec<(String, String)> {
        let functions = gateway.get(&format!("/system/functions{query}")).expect(200).json();
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        functions.as_array().unwrap().iter().map(|f| (text(&f["name"]), text(&f["namespace"]))).collect()
    };
    assert_eq!(listed(""), [("twin".to_owned(), "openfaas-fn".to_owned())]);
    assert_eq!(listed("?namespace=team"), [("twin".to_owned(), "team".to_owned())]);
    assert_eq!(listed("?namespace=nobody"), []);
    assert_eq!((gateway.counted("twin", 200), gateway.counted("twin.team", 200)), (2.0, 1.0));
    gateway.json("DELETE", "/system/functions?namespace=team", &json!({"functionName": "twin"})).expect(202);
    gateway.invoke("twin.team", "").expect(404);
    gateway.invoke("twin", "").says(200, "default");
}

#[test]
fn bad_namespaces_are_refused_by_the_field() {
    let gateway = Gateway::start();
    for (path, document, says) in [
        ("UPPER", json!({}), "UPPER"),
        ("a.b", json!({}), "a.b"),
        ("a", json!({"name": "b"}), "b"),
        ("a", json!({"name": 7}), "name"),
        ("a", json!({"labels": {"a": 7}}), "labels"),
        ("", json!({}), "name"),
        ("", json!({"name": "a_b"}), "a_b"),
    ] {
        namespace(&gateway, "POST", path, &document).refused(400, "invalid_spec", says);
    }
    assert_eq!(names(&gateway), json!(["openfaas-fn"]));
}

#[test]
fn the_command_line_has_the_verbs() {
    let gateway = Gateway::start();
    let run = |arguments: &[&str]| {
        let output = gateway.cli(arguments).output().unwrap();
        assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).unwrap()
    };
    run(&["namespace", "create", "team", "--label", "owner=ops"]);
    assert_eq!(run(&["namespace", "list"]), "openfaas-fn\nteam\n");
    let described: Value = serde_json::from_str(&run(&["namespace", "describe", "team"])).unwrap();
    assert_eq!(described["labels"], json!({"owner": "ops"}));
    run(&["namespace", "update", "team", "--annotation", "a=b"]);
    gateway.deploy("echo.team", &guest::cat());
    gateway.deploy("other", &guest::cat());
    assert_eq!(run(&["list", "-q", "-n", "team"]), "echo.team\n");
    assert_eq!(run(&["list", "-q", "--all-namespaces"]), "echo.team\nother\n");
    assert_eq!(run(&["invoke", "echo", "-n", "team", "-d", "hi"]), "hi");
    run(&["remove", "echo", "-n", "team"]);
    run(&["namespace", "remove", "team"]);
    assert_eq!(run(&["ns", "ls"]), "openfaas-fn\n");
    let gone = gateway.cli(&["namespace", "get", "team"]).output().unwrap();
    assert_eq!(gone.status.code(), Some(4));
}

#[test]
fn listing_needs_no_prometheus() {
    // It takes connections and never answers.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    for address in [silent.local_addr().unwrap(), nobody] {
        let gateway = Start::new().flag("--prometheus-url", &format!("http://{address}")).start();
        gateway.deploy("echo", &guest::cat());
        gateway.invoke("echo", "hi").says(200, "hi");
        let functions = gateway.get("/system/functions").expect(200).json();
        assert_eq!(functions[0]["name"], "echo");
        assert_eq!(functions[0]["invocationCount"].as_f64(), Some(1.0));
        gateway.get("/system/function/echo").expect(200);
    }
}
