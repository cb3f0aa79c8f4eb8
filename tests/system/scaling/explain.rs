//! Why a function has the replicas it has.

use serde_json::json;

use super::{follows, naps, pass, quick, until_desired};
use crate::containers::load::under_load;
use crate::support::Start;

#[test]
fn the_last_decision_is_told_with_what_it_was_made_of() {
    let gateway = quick().start();
    gateway.deploy_with("naps", &naps(), follows(1, 4));
    under_load(&gateway, "naps", 8, || until_desired(&gateway, "naps", |replicas| replicas == 4));
    pass(&gateway, "done", 2.0);
    let told = gateway.get("/system/scale-function/naps").expect(200).json();
    assert_eq!((&told["name"], &told["source"]), (&json!("naps"), &json!("gateway")));
    assert_eq!(told["policy"]["max"], 4);
    assert_eq!(told["last_change"]["action"], "up");
    assert!(told["last_change"]["why"].as_str().unwrap().contains("at most 4"), "{told}");
    let output = gateway.cli(&["scale", "--explain", "naps"]).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success() && text.contains("1 to 4 replicas by capacity"), "{text}");
    gateway.get("/system/scale-function/nobody").refused(404, "unknown_function", "nobody");
    let output = gateway.cli(&["scale", "--explain", "nobody"]).output().unwrap();
    assert_eq!(output.status.code(), Some(4));
}

#[test]
fn labels_that_cannot_be_followed_are_refused_by_name_and_value() {
    let gateway = quick().start();
    let module = gateway.upload(&naps());
    for (label, value) in [
        ("com.openfaas.scale.max", "abc"),
        ("com.openfaas.scale.max", "1e9"),
        ("com.openfaas.scale.max", "-1"),
        ("com.openfaas.scale.target", "NaN"),
        ("com.openfaas.scale.type", "moon"),
    ] {
        let refused = gateway.create("bad", &module, json!({"labels": {label: value}}));
        let said = refused.text();
        refused.refused(400, "invalid_spec", label);
        assert!(said.contains(value), "{said}");
    }
    let crossed = json!({"com.openfaas.scale.min": "5", "com.openfaas.scale.max": "2"});
    gateway.create("bad", &module, json!({"labels": crossed})).refused(400, "invalid_spec", "scale.min");
    assert_eq!(gateway.names(), [] as [&str; 0]);
}

#[test]
fn a_dry_run_tells_and_changes_nothing() {
    let gateway = quick().flag("--scale-dry-run", "true").start();
    gateway.deploy_with("naps", &naps(), follows(1, 4));
    under_load(&gateway, "naps", 8, || pass(&gateway, "done", 20.0));
    let told = gateway.get("/system/scale-function/naps").expect(200).json();
    assert!(told["last_change"]["outcome"].as_str().unwrap().contains("dry run"), "{told}");
    assert_eq!(super::desired(&gateway, "naps"), 1);
    assert!(gateway.log().contains("would scale"), "{}", gateway.log());
}

#[test]
fn a_gateway_whose_scaler_is_off_says_so() {
    let gateway = Start::new().flag("--scaler", "off").start();
    gateway.deploy_with("naps", &naps(), follows(1, 4));
    let told = gateway.get("/system/scale-function/naps").expect(200).json();
    assert_eq!(told["why"], "the scaler is off");
    let refused = Start::new().flag("--scaler", "perhaps").try_start().unwrap_err();
    assert!(refused.code == Some(2) && refused.stderr.contains("perhaps"), "{refused:?}");
}
