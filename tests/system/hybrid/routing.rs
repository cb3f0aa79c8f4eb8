//! Which runtime answers, under each policy.

use std::io::{Read, Write};

use serde_json::json;

use super::{CONTAINER, WASM, document, half, taken, with};
use crate::support::docker::{CONFORM, Docker};
use crate::support::{Gateway, Wire, guest, wait};

/// Sends requests one after the other on one connection, and answers by what each was answered.
#[track_caller]
fn answers(gateway: &Gateway, name: &str, count: usize) -> Vec<String> {
    let mut wire = gateway.wire();
    let answers = (0..count).map(|_| {
        wire.head(&format!("GET /function/{name}"), &[]);
        let answer = wire.answer();
        assert_eq!(answer.status, 200, "{answer:?}");
        answer.text()
    });
    answers.collect()
}

fn count(answers: &[String], text: &str) -> usize {
    answers.iter().filter(|answer| *answer == text).count()
}

#[test]
fn a_bridge_answers_by_wasm_until_a_container_is_there() {
    let docker = Docker::shared();
    let name = docker.name("hybrid-bridge");
    let gateway = docker.gateway();
    // Late, so that there is none for some time.
    gateway.hybrid(&name, "bridge", json!({"envVars": {"conform_delay_ms": "1500"}}));
    let mut by_wasm = 0;
    wait::until("a container answers", || match gateway.invoke(&name, "").expect(200).text() {
        text if text == WASM => {
            by_wasm += 1;
            false
        }
        text => text == CONTAINER,
    });
    assert!(by_wasm > 0, "the module was there at once");
    assert_eq!(answers(&gateway, &name, 50), vec![CONTAINER; 50]);

    let told = gateway.describe(&name);
    assert_eq!((&told["replicas"], &told["availableReplicas"]), (&json!(1), &json!(1)));
    let (wasm, container) = (&told["runtimes"]["wasm"], &told["runtimes"]["container"]);
    assert_eq!((&wasm["replicas"], &wasm["availableReplicas"]), (&json!(16), &json!(16)));
    assert_eq!((&container["replicas"], &container["availableReplicas"]), (&json!(1), &json!(1)));
    for (runtime, told, least) in [("wasm", wasm, f64::from(by_wasm)), ("container", container, 51.0)] {
        assert!(taken(&gateway, &name, runtime) >= least);
        assert_eq!(told["invocationCount"].as_f64().unwrap(), taken(&gateway, &name, runtime));
        assert!(told["serviceSeconds"].as_f64().unwrap() > 0.0);
        let labels = format!("{{function_name=\"{name}\",runtime=\"{runtime}\"}}");
        assert!(gateway.metric(&format!("bramble_hybrid_seconds_count{labels}")) >= least);
    }
    let all = gateway.counted(&name, 200);
    assert_eq!(all, taken(&gateway, &name, "wasm") + taken(&gateway, &name, "container"));
}

#[test]
fn the_thousandth_is_answered_by_the_better_of_the_two() {
    let docker = Docker::shared();
    let gateway = docker.gateway();
    // `drip` prints a line and waits; a guest that sleeps does so before it prints.
    let slow_container = "/conform drip 1 30";
    let slow_module = guest::with(
        &guest::data(WASM),
        "(call $sleep (i64.const 30000000)) (call $write (i32.const 1) (i32.const 4096) (i32.const 5))",
    );
    for (name, wasm, process, best) in [
        ("fast-wasm", guest::says(WASM), slow_container, WASM),
        ("fast-container", slow_module, "/conform word container", CONTAINER),
    ] {
        let name = docker.name(name);
        let document = document(&name, &gateway.upload(&wasm), "fastest");
        gateway
            .json("POST", "/system/functions", &with(document, json!({"envProcess": process})))
            .expect(202);
        gateway.invoke(&name, "").says(200, WASM);
        gateway.has_replicas(&name, 1);
        let answers = answers(&gateway, &name, 1_000);
        let last = &answers[800..];
        assert!(count(last, best) >= 180, "{name}: {} of the last {}", count(last, best), last.len());
        // Both were tried, or nobody would know.
        assert!(count(&answers, best) < answers.len());
        let seconds = |runtime| half(&gateway, &name, runtime)["serviceSeconds"].as_f64().unwrap();
        assert_eq!(seconds("wasm") < seconds("container"), best == WASM);
        gateway.remove(&name);
    }
}

/// Begins an invocation that a module runs until its body ends.
fn held(gateway: &Gateway, name: &str) -> Wire {
    let mut wire = gateway.wire();
    wire.begin(name).chunk(b"ping");
    assert_eq!(wire.response().status, 200);
    assert_eq!(wire.piece().unwrap().unwrap(), b"ping", "the module answers");
    wire
}

/// A hybrid whose module answers what it is sent, and whose container answers [`CONTAINER`].
#[track_caller]
fn deploy_cat(gateway: &Gateway, name: &str, policy: &str, more: serde_json::Value) {
    let document = document(name, &gateway.upload(&guest::cat()), policy);
    gateway.json("POST", "/system/functions", &with(document, more)).expect(202);
}

#[test]
fn wasm_first_spills_when_all_slots_are_busy() {
    let docker = Docker::shared();
    let name = docker.name("hybrid-spill");
    let gateway = docker.start().flag("--default-slots", "2").start();
    gateway.connected();
    deploy_cat(&gateway, &name, "wasm-first", json!({}));
    gateway.has_replicas(&name, 1);
    gateway.invoke(&name, "by wasm").says(200, "by wasm");
    let busy: Vec<_> = (0..2).map(|_| held(&gateway, &name)).collect();
    for _ in 0..10 {
        gateway.invoke(&name, "by a container").says(200, CONTAINER);
    }
    drop(busy);
    gateway.idle(&name);
    gateway.invoke(&name, "by wasm").says(200, "by wasm");
    assert_eq!(taken(&gateway, &name, "container"), 10.0);
}

#[test]
fn what_the_pool_refuses_waits_for_a_container_with_its_body() {
    let docker = Docker::shared();
    let name = docker.name("hybrid-refused");
    let start = docker.start().flag("--default-slots", "1").flag("--queue-limit", "0");
    let gateway = start.flag("--log-level", "debug").start();
    gateway.connected();
    // No container is there yet, so the pool is asked first and refuses.
    let more = json!({"envProcess": "/conform echo", "envVars": {"conform_delay_ms": "3000"}});
    deploy_cat(&gateway, &name, "wasm-first", more);
    let busy = held(&gateway, &name);
    let large = "x".repeat(300_000);
    std::thread::scope(|scope| {
        let whole = scope.spawn(|| gateway.invoke(&name, "whole"));
        let streamed = scope.spawn(|| gateway.invoke(&name, &large));
        whole.join().unwrap().says(200, "whole");
        assert!(streamed.join().unwrap().expect(200).text() == large);
    });
    assert_eq!(taken(&gateway, &name, "container"), 2.0);
    assert_eq!(taken(&gateway, &name, "wasm"), 1.0);
    let asked_again = |line: &&str| line.contains("the other runtime is asked") && line.contains(&name);
    assert_eq!(gateway.log().lines().filter(asked_again).count(), 2, "{}", gateway.log());
    drop(busy);
}

#[test]
fn without_docker_a_full_pool_is_told_as_it_is() {
    let gateway = crate::support::Start::new()
        .flag("--docker-host", "unix:///nonexistent/docker.sock")
        .flag("--default-slots", "1")
        .flag("--queue-limit", "0")
        .start();
    deploy_cat(&gateway, "full", "fastest", json!({}));
    let busy = held(&gateway, "full");
    gateway.invoke("full", "x").refused(429, "saturated", "full");
    drop(busy);
    gateway.idle("full");
    gateway.invoke("full", "x").says(200, "x");
}

#[test]
fn what_may_have_had_effects_is_not_tried_again() {
    let docker = Docker::shared();
    let name = docker.name("hybrid-once");
    let gateway = docker.gateway();
    let fails = guest::running("(call $proc_exit (i32.const 3))");
    let document = document(&name, &gateway.upload(&fails), "wasm-first");
    gateway.json("POST", "/system/functions", &document).expect(202);
    gateway.has_replicas(&name, 1);
    gateway.invoke(&name, "").refused(500, "function_failed", "exit status 3");
    assert_eq!((taken(&gateway, &name, "wasm"), taken(&gateway, &name, "container")), (1.0, 0.0));
}

#[test]
fn what_leaves_http_goes_to_a_container() {
    let docker = Docker::shared();
    let name = docker.name("hybrid-ws");
    let gateway = docker.gateway();
    let serves = json!({
        "image": CONFORM, "envProcess": "/conform serve",
        "envVars": {"mode": "http", "http_upstream_url": "http://127.0.0.1:8082"},
    });
    gateway.hybrid(&name, "wasm-first", serves);
    // There may be no container yet: it is waited for.
    let mut wire = gateway.wire();
    wire.head(
        &format!("GET /function/{name}/ws"),
        &[
            "connection: Upgrade",
            "upgrade: websocket",
            "sec-websocket-version: 13",
            "sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==",
        ],
    );
    assert_eq!(wire.response().status, 101);
    let mut stream = wire.writer();
    stream.set_read_timeout(Some(wait::LIMIT)).unwrap();
    stream.write_all(b"\x81\x85\0\0\0\0hello").unwrap();
    let mut back = [0; 7];
    stream.read_exact(&mut back).unwrap();
    assert_eq!(&back, b"\x81\x05hello");
    // Beside it, what HTTP can do goes on in wasm, also where the client offers HTTP/2.
    gateway.invoke(&name, "").says(200, WASM);
    let mut wire = gateway.wire();
    let offer =
        ["connection: Upgrade, HTTP2-Settings", "upgrade: h2c", "http2-settings: AAMAAABkAAQAoAAAAAIAAAAA"];
    wire.head(&format!("GET /function/{name}"), &offer);
    let answer = wire.answer();
    assert!(answer.status == 200 && answer.text() == WASM, "{answer:?}");
}

#[test]
fn a_frozen_container_ends_a_bridge_too() {
    let docker = Docker::shared();
    let name = docker.name("hybrid-frozen");
    let gateway = docker.gateway();
    gateway.hybrid(&name, "bridge", json!({}));
    gateway.has_replicas(&name, 1);
    let freeze = gateway.json("POST", &format!("/system/freeze-function/{name}"), &json!({})).expect(202);
    assert_eq!(freeze.json()["frozen"], 1);
    assert_eq!(half(&gateway, &name, "container")["frozenReplicas"], 1);
    gateway.invoke(&name, "").says(200, CONTAINER);
}
