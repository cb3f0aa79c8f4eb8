//! Instances that serve more than one request, where the function asks for that: when they are kept, and
//! when never.

use serde_json::{Value, json};

use crate::support::{Gateway, Start, guest, wait};

/// Answers 210 and how many requests its instance has served; misbehaves when it is asked to.
fn counter() -> Vec<u8> {
    wat::parse_str(include_str!("../wat/counter.wat")).unwrap()
}

/// A document with this policy, and one slot.
fn reuse(policy: &str) -> Value {
    json!({
        "annotations": {"bramble.reuse": policy},
        "labels": {"com.openfaas.scale.min": "1", "com.openfaas.scale.max": "1"},
        "envVars": {"exec_timeout": "10m"},
    })
}

fn ask(gateway: &Gateway, method: &str) -> u16 {
    let request = gateway.request(method, "/function/counter").header("x-call-id", method);
    gateway.send(request, b"").status.as_u16()
}

/// What many requests are answered, by their methods.
fn asked(gateway: &Gateway, methods: &[&str]) -> Vec<u16> {
    methods.iter().map(|method| ask(gateway, method)).collect()
}

fn kept(gateway: &Gateway) -> f64 {
    gateway.metric("bramble_wasm_idle_instances{function_name=\"counter\"}")
}

fn counted(gateway: &Gateway, instance: &str) -> f64 {
    gateway.metric(&format!("bramble_wasm_reuse_total{{function_name=\"counter\",instance=\"{instance}\"}}"))
}

#[test]
fn an_instance_serves_as_many_requests_as_its_function_asks_for() {
    let gateway = Gateway::start();
    gateway.deploy_with("counter", &counter(), json!({}));
    assert_eq!(asked(&gateway, &["GET", "GET"]), [211, 211], "without the annotation each is fresh");
    gateway.json("PUT", "/system/functions", &{
        let mut document = reuse("requests=3,idle=1h");
        document["service"] = "counter".into();
        document["image"] = gateway.upload(&counter()).into();
        document
    });
    assert_eq!(asked(&gateway, &["GET", "POST", "GET", "TRACE"]), [211, 212, 213, 211]);
    assert_eq!((counted(&gateway, "created"), counted(&gateway, "reused"), kept(&gateway)), (2.0, 2.0, 1.0));
    let log = gateway.get("/system/logs?name=counter").expect(200).text();
    let calls: Vec<_> = log.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()).collect();
    let calls: Vec<_> = calls.iter().map(|line| line["instance"].as_str().unwrap()).collect();
    assert_eq!(calls, ["GET", "GET", "GET", "POST", "GET", "TRACE"], "a line has the id of another request");
    gateway.remove("counter");
    assert_eq!((counted(&gateway, "created"), kept(&gateway)), (0.0, 0.0));
}

#[test]
fn an_instance_that_misbehaved_is_not_used_again() {
    let gateway = Gateway::start();
    let mut hurried = reuse("requests=100,idle=1h");
    hurried["envVars"] = json!({"exec_timeout": "2s"});
    gateway.deploy_with("counter", &counter(), hurried);
    assert_eq!(asked(&gateway, &["GET", "GET"]), [211, 212]);
    // It traps, runs out of time, asks for too much memory, keeps what belongs to a request.
    for (method, status) in [("DELETE", 500), ("PUT", 504), ("PATCH", 213), ("OPTIONS", 213)] {
        assert_eq!(ask(&gateway, method), status, "{method}");
        gateway.idle("counter");
        assert_eq!(kept(&gateway), 0.0, "{method}");
        assert_eq!(asked(&gateway, &["GET", "GET"]), [211, 212], "{method}");
    }
}

#[test]
fn a_client_that_goes_away_ends_its_instance() {
    let gateway = Gateway::start();
    gateway.deploy_with("counter", &counter(), reuse("requests=100,idle=1h"));
    assert_eq!(ask(&gateway, "GET"), 211);
    let mut wire = gateway.wire();
    wire.head("PUT /function/counter", &[]);
    wait::until("it runs", || gateway.busy("counter") == 1.0 && kept(&gateway) == 0.0);
    drop(wire);
    gateway.idle("counter");
    assert_eq!(kept(&gateway), 0.0);
    assert_eq!(ask(&gateway, "GET"), 211);
}

#[test]
fn a_redeployment_and_scaling_to_zero_end_reuse() {
    let gateway = Gateway::start();
    gateway.deploy_with("counter", &counter(), reuse("requests=100,idle=1h"));
    assert_eq!(asked(&gateway, &["GET", "GET"]), [211, 212]);
    let mut next = reuse("requests=100,idle=30m");
    next["service"] = "counter".into();
    next["image"] = gateway.upload(&counter()).into();
    gateway.json("PUT", "/system/functions", &next).expect(202);
    assert_eq!(kept(&gateway), 0.0);
    assert_eq!(asked(&gateway, &["GET", "GET"]), [211, 212]);
    gateway.scale("counter", 0);
    assert_eq!(kept(&gateway), 0.0);
    assert_eq!(ask(&gateway, "GET"), 211);
}

#[test]
fn an_idle_instance_gives_way_to_others_and_ends_after_its_time() {
    let gateway = Start::new().flag("--pool-slots", "1").start();
    gateway.deploy_with("counter", &counter(), reuse("requests=100,idle=1h"));
    gateway.deploy("other", &guest::says("here\n"));
    assert_eq!(asked(&gateway, &["GET", "GET"]), [211, 212]);
    // There is one place for an instance, and it is taken.
    gateway.invoke("other", "").says(200, "here\n");
    assert_eq!(kept(&gateway), 0.0);
    assert_eq!(asked(&gateway, &["GET", "GET"]), [211, 212]);
    let mut next = reuse("requests=100,idle=50ms");
    next["service"] = "counter".into();
    next["image"] = gateway.upload(&counter()).into();
    gateway.json("PUT", "/system/functions", &next).expect(202);
    assert_eq!(ask(&gateway, "GET"), 211);
    wait::until("its time is over", || kept(&gateway) == 0.0);
    assert_eq!(ask(&gateway, "GET"), 211);
}

#[test]
fn a_policy_that_cannot_be_followed_is_refused_with_the_reason() {
    let gateway = Gateway::start();
    let (handler, command) = (gateway.upload(&counter()), gateway.upload(&guest::cat()));
    let component = gateway.upload(&guest::component("", "i32.const 0"));
    for (image, policy, says) in [
        (&handler, "requests=many", "\"many\""),
        (&handler, "requests=8,concurrency=2", "one request at a time"),
        (&command, "requests=8", "wasip1-command"),
        (&component, "requests=8", "wasip2-command"),
        (&"example.org/echo:1".to_owned(), "requests=8", "container image"),
    ] {
        let answer = gateway.create("counter", image, reuse(policy));
        assert!(answer.text().contains("annotations.bramble.reuse"), "{answer:?}");
        answer.refused(400, "invalid_spec", says);
    }
    assert!(gateway.names().is_empty());
}
