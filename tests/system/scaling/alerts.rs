//! Alertmanager's webhook: by hand, and by the real thing with the rules that are shipped.

use serde_json::{Value, json};

use super::monitoring::{Server, free_address};
use super::{desired, until_desired};
use crate::containers::load::under_load;
use crate::support::{Gateway, Start, guest};

/// What Alertmanager posts of one alert.
fn posted(status: &str, name: &str) -> Value {
    json!({
        "receiver": "scale", "status": status, "version": "4", "truncatedAlerts": 0,
        "groupKey": "{}:{alertname=\"APIHighInvocationRate\", service=\"gateway\"}",
        "groupLabels": {"alertname": "APIHighInvocationRate", "service": "gateway"},
        "externalURL": "http://vm:9093",
        "alerts": [{
            "status": status,
            "labels": {"alertname": "APIHighInvocationRate", "function_name": name,
                "service": "gateway", "severity": "major"},
            "annotations": {"summary": "Many invocations"},
            "startsAt": "2026-11-20T07:16:23.202Z", "endsAt": "0001-01-01T00:00:00Z",
            "generatorURL": "http://c5676955ee36:9090/graph?g0.tab=1",
            "fingerprint": "faa15c53e4513833",
        }],
    })
}

#[track_caller]
fn post(gateway: &Gateway, document: &Value) -> Value {
    gateway.json("POST", "/system/alert", document).expect(200).json()
}

fn labels(min: &str, max: &str, factor: &str) -> Value {
    json!({"labels": {
        "com.openfaas.scale.min": min, "com.openfaas.scale.max": max, "com.openfaas.scale.factor": factor,
    }})
}

#[test]
fn a_firing_alert_adds_a_step_and_a_resolved_one_goes_back_to_the_minimum() {
    let gateway = Start::new().flag("--scaler", "off").start();
    gateway.deploy_with("steps", &guest::cat(), labels("2", "10", "25"));
    for expected in [5, 8, 10, 10] {
        let told = post(&gateway, &posted("firing", "steps"));
        assert_eq!(told["scaled"][0]["to"], expected, "{told}");
        assert_eq!(desired(&gateway, "steps"), expected);
    }
    post(&gateway, &posted("resolved", "steps.openfaas-fn"));
    assert_eq!(desired(&gateway, "steps"), 2);
    gateway.deploy_with("fixed", &guest::cat(), labels("2", "10", "0"));
    post(&gateway, &posted("firing", "fixed"));
    assert_eq!(desired(&gateway, "fixed"), 2, "a factor of 0 is no scaling");
}

#[test]
fn what_is_unknown_is_told_and_does_not_fail_the_others() {
    let gateway = Start::new().flag("--scaler", "off").start();
    gateway.deploy_with("steps", &guest::cat(), labels("1", "10", "20"));
    let mut document = posted("firing", "nobody");
    let alerts = document["alerts"].as_array_mut().unwrap();
    for name in ["steps", "steps", "steps.openfaas-fn", "../etc"] {
        alerts.push(posted("firing", name)["alerts"][0].clone());
    }
    alerts.push(json!({"status": "firing", "labels": {"alertname": "GatewayDown"}}));
    let told = post(&gateway, &document);
    assert_eq!(told["unknown"], json!(["../etc", "nobody"]));
    assert_eq!(told["scaled"], json!([{"name": "steps", "from": 1, "to": 3}]));
    for bad in ["", "[]", "{}", "{\"alerts\":7}", "nonsense"] {
        let answer = gateway.call("POST", "/system/alert", "application/json", bad.as_bytes());
        assert_eq!(answer.status, 400, "{bad}: {answer:?}");
    }
}

#[test]
fn the_loop_leaves_up_what_an_alert_brought_up() {
    let gateway = super::quick().start();
    gateway.deploy_with("steps", &guest::cat(), labels("1", "10", "50"));
    post(&gateway, &posted("firing", "steps"));
    super::pass(&gateway, "done", 40.0);
    assert_eq!(desired(&gateway, "steps"), 6);
    post(&gateway, &posted("resolved", "steps"));
    assert_eq!(desired(&gateway, "steps"), 1);
}

#[test]
fn a_real_alertmanager_scales_by_the_rules_that_are_shipped() {
    let gateway = Start::new().flag("--scaler", "off").start();
    gateway.deploy_with("says", &guest::says("hi"), labels("1", "10", "20"));
    let (prometheus, alertmanager) = (free_address(), free_address());
    let _alertmanager = Server::alertmanager(&gateway, alertmanager);
    let _prometheus = Server::prometheus(&gateway, prometheus, alertmanager);
    under_load(&gateway, "says", 2, || until_desired(&gateway, "says", |replicas| replicas >= 5));
    until_desired(&gateway, "says", |replicas| replicas == 1);
}
