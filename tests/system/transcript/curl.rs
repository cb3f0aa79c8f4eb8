//! The routes beside the original's, asked with the real curl. Those of the original are in `reference.rs`.

use serde_json::json;

use super::exchange::{ask, check};
use crate::support::{Gateway, Start, guest, wait};

/// `IMAGE` is the digest of the module in `FILE`.
const EXCHANGES: &str = r##"
GET /readyz
    200 text OK
GET /openapi.json
    200 json {"openapi": "3.1.0", "paths": {"/openapi.json": "<any>", "...": "<any>"}, "...": "<any>"}
    < content-type: application/json
GET /store/functions.json
    200 json {"version": "0.2.1", "functions": "<any>"}
    < content-type: application/json

# Modules.
GET /system/modules
    200 json []
PUT /system/modules @FILE
    415 error unsupported_type
PUT /system/modules no module
    > content-type: application/wasm
    400 error invalid_module
PUT /system/modules @FILE
    > content-type: application/wasm
    201 json {"digest": "IMAGE", "kind": "wasip1-command", "size_bytes": "<count>", "imports": "<any>"}
PUT /system/modules @FILE
    > content-type: application/wasm
    200 json {"digest": "IMAGE", "kind": "wasip1-command", "size_bytes": "<count>", "imports": "<any>"}
GET /system/modules
    200 json [{"digest": "IMAGE", "kind": "wasip1-command", "size_bytes": "<count>", "imports": "<any>"}]
DELETE /system/modules/IMAGE
    204
DELETE /system/modules/IMAGE
    404 error unknown_module
DELETE /system/modules/nonsense
    400 error invalid_spec
PUT /system/functions/cat @FILE
    > content-type: application/wasm
    202 json {"digest": "IMAGE", "kind": "wasip1-command", "size_bytes": "<count>", "imports": "<any>"}
DELETE /system/modules/IMAGE
    409 error module_in_use

# A chain.
POST /function/cat%7Ccat some body
    200 text some body
    < x-chain-step: 2
POST /function/cat%7Cnobody
    404 error unknown_function

# Replicas.
POST /system/freeze-function/cat
    202 json {"frozen": 0}
POST /system/freeze-function/nobody
    404 error unknown_function
GET /system/scale-function/cat
    200 json {"name": "cat", "why": "the scaler is off", "...": "<any>"}
GET /system/scale-function/nobody
    404 error unknown_function
GET /system/scaler
    200 json {"wasm_slots": "<number>", "default_slots": "<count>", "functions": [{"name": "cat", "runtime": "wasm", "queue_depth": 0, "...": "<any>"}]}
POST /system/scaler/changes {"holder": "curl", "name": "cat", "action": "scale", "from": 16, "to": 3}
    409 json {"error": {"code": "scaler_lease_held", "message": "<any>"}}
PUT /system/scaler-lease {"holder": "curl", "seconds": 60}
    200 json {"holder": "curl", "seconds": "<number>"}
PUT /system/scaler-lease {"holder": "another", "seconds": 60}
    409 json {"error": {"code": "scaler_lease_held", "message": "<any>", "leader": "curl"}}
POST /system/scaler/changes {"holder": "curl", "name": "cat", "action": "scale", "from": 16, "to": 3}
    202 json {"changed": true}
POST /system/scaler/changes {"holder": "curl", "name": "cat", "action": "scale", "from": 16, "to": 3}
    202 json {"changed": false}
PUT /system/scaler/explanation {"holder": "curl", "name": "cat", "explained": {"why": "so"}}
    202
PUT /system/scaler/explanation {"holder": "another", "name": "cat", "explained": {}}
    409 json {"error": {"code": "scaler_lease_held", "message": "<any>", "leader": "curl"}}
DELETE /system/scaler-lease {"holder": "curl", "seconds": 0}
    202

# The queue.
GET /system/async
    200 json {"calls": [], "functions": [], "unfinished": 0, "running": 0, "callingBack": 0, "dead": 0, "bytes": 0, "limits": {"calls": "<count>", "bytes": "<count>", "workers": "<count>"}}
GET /system/async?limit=many
    400 error invalid_spec
GET /system/async/dead
    200 json []
GET /system/async/unknown
    404 error unknown_call
DELETE /system/async/unknown
    404 error unknown_call
POST /system/async/dead/unknown/replay
    404 error unknown_call

# A namespace whose name is in the body.
POST /system/namespace/ {"name": "team"}
    201
POST /system/namespace/ {}
    400 error invalid_spec
"##;

#[test]
fn curl_reaches_every_route_of_ours() {
    let gateway = Start::new().flag("--scaler", "off").start();
    let file = gateway.data_dir().join("cat.wasm");
    let wasm = guest::cat();
    std::fs::write(&file, &wasm).unwrap();
    let image = gateway.upload(&wasm);
    gateway.call("DELETE", &format!("/system/modules/{image}"), "", b"").expect(204);
    check(&gateway, "cat", &EXCHANGES.replace("IMAGE", &image).replace("FILE", file.to_str().unwrap()));
}

/// While `first` runs.
const QUEUED: &str = r##"
GET /system/async/first
    200 json {"callId": "first", "functionName": "slow", "state": "running", "starts": 1, "bodyBytes": "<count>", "acceptedAt": "<time>"}
GET /system/async/second
    200 json {"callId": "second", "functionName": "slow", "state": "queued", "starts": 0, "bodyBytes": "<count>", "acceptedAt": "<time>", "...": "<any>"}
DELETE /system/async/second
    202 json {"callId": "second", "wasRunning": false}
GET /system/async/second
    200 json {"callId": "second", "state": "cancelled", "endedAt": "<time>", "...": "<any>"}
DELETE /system/async/second
    409 error call_ended
DELETE /async-function/slow/third
    202
DELETE /system/async/first
    202 json {"callId": "first", "wasRunning": true}
"##;

/// Once `given-up` is a dead letter.
const GIVEN_UP: &str = r##"
GET /system/async/given-up
    200 json {"callId": "given-up", "state": "dead", "statusCode": 500, "reason": "<text>", "...": "<any>"}
GET /system/async/dead
    200 json [{"callId": "given-up", "functionName": "fails", "state": "dead", "...": "<any>"}]
POST /system/async/dead/given-up/replay
    202 json {"callId": "given-up"}
"##;

#[test]
fn curl_looks_after_what_is_queued() {
    let gateway = Gateway::start();
    let limits = json!({"envVars": {"max_inflight": "1", "exec_timeout": "10m"}});
    gateway.deploy_with("slow", &guest::sleeps(), limits);
    gateway.deploy("fails", &guest::running("unreachable"));
    let queue = |name: &str, id: &str| {
        let table = format!(
            "POST /async-function/{name} body\n    > x-call-id: {id}\n    202\n    < x-call-id: {id}"
        );
        check(&gateway, name, &table);
    };
    let until = |id: &str, state: &str| {
        wait::until(state, || gateway.get(&format!("/system/async/{id}")).json()["state"] == state);
    };
    queue("slow", "first");
    until("first", "running");
    queue("slow", "second");
    queue("slow", "third");
    check(&gateway, "slow", QUEUED);
    queue("fails", "given-up");
    until("given-up", "dead");
    check(&gateway, "fails", GIVEN_UP);
}

#[test]
fn curl_reads_the_metrics_where_they_are() {
    let gateway = Gateway::start();
    gateway.deploy("cat", &guest::cat());
    gateway.invoke("cat", "hi").expect(200);
    let answer = ask(&format!("http://{}/metrics", gateway.metrics_address), "GET", &[], "").expect(200);
    assert!(answer.header("content-type").starts_with("text/plain"), "{:?}", answer.headers);
    let series = r#"gateway_function_invocation_total{code="200",function_name="cat"} 1"#;
    assert!(answer.text().lines().any(|line| line == series), "{}", answer.text());
}
