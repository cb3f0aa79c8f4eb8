//! Clients that go away: the guest is stopped, its slot is free, and it is counted once.

use std::io::Write;

use serde_json::json;

use crate::support::{Gateway, Start, Wire, guest, wait};

/// Waits until the one invocation of `function` runs, closes its connection, and looks what is left.
#[track_caller]
fn check(gateway: &Gateway, function: &str, wire: Wire) {
    wait::until("it runs", || gateway.inflight(function) == 1.0);
    drop(wire);
    gateway.idle(function);
    let codes = [200, 400, 408, 413, 429, 500, 502, 503, 504];
    let others: Vec<u16> = codes.into_iter().filter(|code| gateway.counted(function, *code) > 0.0).collect();
    assert_eq!((gateway.counted(function, 499), others), (1.0, vec![]), "what it was counted as");
}

/// A gateway with a function that is given ten minutes.
fn gateway(wasm: &[u8]) -> Gateway {
    let gateway = Gateway::start();
    gateway.deploy_with("f", wasm, json!({"envVars": {"exec_timeout": "10m"}}));
    gateway
}

#[test]
fn in_the_middle_of_a_body_in_chunks() {
    let gateway = gateway(&guest::cat());
    let mut wire = gateway.wire();
    wire.begin("f").chunk(b"first");
    wait::until("it runs", || gateway.busy("f") == 1.0);
    check(&gateway, "f", wire);
}

#[test]
fn in_the_middle_of_a_large_body() {
    let gateway = gateway(&guest::cat());
    let mut wire = gateway.wire();
    wire.head("POST /function/f", &["content-length: 10485760"]).write(&[0; 100_000]).unwrap();
    wait::until("it runs", || gateway.busy("f") == 1.0);
    check(&gateway, "f", wire);
}

#[test]
fn in_the_middle_of_a_small_body() {
    let gateway = gateway(&guest::cat());
    let mut wire = gateway.wire();
    wire.head("POST /function/f", &["content-length: 100"]).write(b"few").unwrap();
    check(&gateway, "f", wire);
}

/// Nothing tells a server that its client went while bytes lie unread between them. So here it is the
/// time limit that stops the guest.
#[test]
fn in_the_middle_of_a_body_that_nobody_reads() {
    let gateway = Gateway::start();
    gateway.deploy_with("f", &guest::loops(), json!({"envVars": {"exec_timeout": "2s"}}));
    let mut wire = gateway.wire();
    let mut writer = wire.writer();
    wire.head("POST /function/f", &["content-length: 104857600"]);
    wait::until("it runs", || gateway.busy("f") == 1.0);
    writer.set_nonblocking(true).unwrap();
    let chunk = vec![0; 1 << 20];
    while writer.write(&chunk).is_ok() {}
    drop((writer, wire));
    gateway.idle("f");
    assert_eq!(gateway.counted("f", 499) + gateway.counted("f", 504), 1.0);
}

#[test]
fn while_a_guest_loops() {
    let gateway = gateway(&guest::loops());
    let mut wire = gateway.wire();
    wire.head("GET /function/f", &[]);
    wait::until("it runs", || gateway.busy("f") == 1.0);
    check(&gateway, "f", wire);
}

#[test]
fn while_a_guest_sleeps() {
    let gateway = gateway(&guest::sleeps());
    let mut wire = gateway.wire();
    wire.head("GET /function/f", &[]);
    wait::until("it runs", || gateway.busy("f") == 1.0);
    check(&gateway, "f", wire);
}

#[test]
fn in_the_middle_of_a_response() {
    let gateway = gateway(&guest::floods(1, None));
    let mut wire = gateway.wire();
    wire.head("GET /function/f", &[]);
    assert_eq!(wire.response().status, 200);
    wire.piece().unwrap().unwrap();
    check(&gateway, "f", wire);
}

#[test]
fn in_the_middle_of_a_response_that_pauses() {
    let gateway = gateway(&guest::drips());
    let mut wire = gateway.wire();
    wire.head("GET /function/f", &[]);
    assert_eq!(wire.response().status, 200);
    check(&gateway, "f", wire);
}

#[test]
fn in_the_queue() {
    let gateway = Gateway::start();
    let labels = json!({"com.openfaas.scale.min": "1", "com.openfaas.scale.max": "1"});
    let one = json!({"labels": labels, "envVars": {"exec_timeout": "10m"}});
    gateway.deploy_with("f", &guest::cat(), one);
    let mut first = gateway.wire();
    first.begin("f");
    wait::until("it runs", || gateway.busy("f") == 1.0);
    let mut second = gateway.wire();
    second.head("GET /function/f", &[]);
    let queued = || gateway.metric("bramble_function_queued{function_name=\"f\"}");
    wait::until("the second waits", || queued() == 1.0);
    drop(second);
    wait::until("it left the queue", || queued() == 0.0 && gateway.counted("f", 499) == 1.0);
    first.end();
    first.answer().says(200, "");
    gateway.idle("f");
    assert_eq!((gateway.counted("f", 200), gateway.counted("f", 499)), (1.0, 1.0));
}

#[test]
fn as_soon_as_it_has_its_answer_it_was_served() {
    let gateway = gateway(&guest::says("done\n"));
    for _ in 0..20 {
        let mut wire = gateway.wire();
        wire.head("GET /function/f", &[]);
        wire.answer().says(200, "done\n");
    }
    gateway.idle("f");
    assert_eq!((gateway.counted("f", 200), gateway.counted("f", 499)), (20.0, 0.0));
}

#[test]
fn a_head_that_never_ends_is_not_waited_for() {
    let gateway = Start::new().flag("--read-timeout", "300ms").start();
    let mut wire = gateway.wire();
    wire.write(b"GET /healthz HTTP/1.1\r\nhost: ").unwrap();
    assert!(wire.try_response().map_or(true, |head| head.status == 408), "it went on waiting");
}

#[test]
fn more_of_them_than_the_soft_limit_of_descriptors_are_served() {
    let gateway = Start::new().under(&["prlimit", "--nofile=64:1024"]).start();
    gateway.deploy("f", &guest::cat());
    let mut wires: Vec<_> = (0..200).map(|_| gateway.wire()).collect();
    for wire in &mut wires {
        wire.head("POST /function/f", &["content-length: 6"]).write(b"served").unwrap();
        wire.answer().says(200, "served");
    }
}

#[test]
fn more_of_them_than_file_descriptors_leave_a_gateway_that_serves_when_some_go() {
    let gateway = Start::new().under(&["prlimit", "--nofile=100:100"]).start();
    gateway.deploy("f", &guest::cat());
    let wires: Vec<_> = (0..200).map(|_| gateway.wire()).collect();
    wait::until("it ran out", || gateway.log().contains("a connection could not be accepted"));
    drop(wires);
    gateway.invoke("f", "served").says(200, "served");
    // It says so once, not once for each try.
    let told = gateway.log().matches("a connection could not be accepted").count();
    assert!(told < 20, "it was logged {told} times");
}
