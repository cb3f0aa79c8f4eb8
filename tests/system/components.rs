//! Components: the same limits and the same answers as for modules.

use std::io::Write;

use serde_json::json;

use crate::examples;
use crate::support::process::growth_during;
use crate::support::{Gateway, guest, wait};

/// Invokes a component that fails, and looks that the next one is served.
#[track_caller]
fn check(wasm: &[u8], status: u16, code: &str, says: &str) {
    let gateway = Gateway::start();
    let more = json!({"envVars": {"exec_timeout": "300ms"}, "limits": {"memory": "8Mi"}});
    gateway.deploy_with("bad", wasm, more);
    gateway.deploy("good", &guest::component("", "i32.const 0"));
    gateway.invoke("bad", "body").refused(status, code, says);
    gateway.invoke("good", "").says(200, "");
    gateway.idle("bad");
    assert_eq!(gateway.counted("bad", status), 1.0);
}

const HUNGRY: &str =
    "(loop $more (br_if $more (i32.ne (memory.grow (i32.const 16)) (i32.const -1)))) unreachable";

#[test]
fn a_command_that_loops_ends_at_its_time_limit() {
    check(&guest::component("", "(loop $again (br $again)) unreachable"), 504, "timed_out", "exec_timeout");
}

#[test]
fn a_command_that_traps_is_told_so() {
    check(&guest::component("", "unreachable"), 500, "function_failed", "unreachable");
}

#[test]
fn a_command_that_takes_memory_without_end_is_refused_at_the_limit() {
    check(&guest::component("(memory 1)", HUNGRY), 500, "function_failed", "memory limit of 8Mi");
}

#[test]
fn a_command_that_recurses_is_told_so() {
    let deeper =
        "(func $deeper (param i64) (result i64) (i64.add (call $deeper (local.get 0)) (i64.const 1)))";
    let run = "(drop (call $deeper (i64.const 1))) i32.const 0";
    check(&guest::component(deeper, run), 500, "function_failed", "recurses too deep");
}

#[test]
fn a_command_that_reports_an_error_exits_with_1() {
    check(&guest::component("", "i32.const 1"), 500, "function_failed", "exit status 1");
}

#[test]
fn a_handler_that_loops_ends_at_its_time_limit() {
    check(&guest::handler("", "(loop $again (br $again))"), 504, "timed_out", "exec_timeout");
}

#[test]
fn a_handler_that_traps_is_told_so() {
    check(&guest::handler("", "unreachable"), 500, "function_failed", "unreachable");
}

#[test]
fn a_handler_that_takes_memory_without_end_is_refused_at_the_limit() {
    check(&guest::handler("(memory 1)", HUNGRY), 500, "function_failed", "memory limit of 8Mi");
}

#[test]
fn a_handler_that_answers_nothing_is_told_so() {
    check(&guest::handler("", ""), 500, "function_failed", "without setting a response");
}

#[test]
fn a_client_that_goes_away_stops_a_handler() {
    let gateway = Gateway::start();
    let wasm = guest::handler("", "(loop $again (br $again))");
    gateway.deploy_with("loops", &wasm, json!({"envVars": {"exec_timeout": "10m"}}));
    let mut wire = gateway.wire();
    wire.head("GET /function/loops", &[]);
    wait::until("it runs", || gateway.busy("loops") == 1.0);
    drop(wire);
    gateway.idle("loops");
    assert_eq!(gateway.counted("loops", 499), 1.0);
}

const LARGE_BYTES: usize = 128 << 20;

/// Sends a large body while the answer is read.
fn send(gateway: &Gateway, name: &str, bytes: usize) -> usize {
    let mut wire = gateway.wire();
    wire.head(&format!("POST /function/{name}"), &[&format!("content-length: {bytes}")]);
    let mut writer = wire.writer();
    let sender = std::thread::spawn(move || {
        let line = [b'x'; 64 << 10];
        (0..bytes / line.len()).for_each(|_| writer.write_all(&line).unwrap());
    });
    assert_eq!(wire.response().status, 200);
    let mut seen = 0;
    while let Some(piece) = wire.piece().unwrap() {
        seen += piece.len();
    }
    sender.join().unwrap();
    seen
}

#[test]
fn a_large_body_goes_through_a_handler_in_bounded_memory() {
    let gateway = Gateway::start();
    let patient = json!({"envVars": {"exec_timeout": "10m"}});
    gateway.deploy_with("echo", &examples::wasm("http-hello.wasm"), patient);
    gateway.invoke("echo", "warm").says(200, "warm");
    let grown = growth_during(gateway.pid(), || assert_eq!(send(&gateway, "echo", LARGE_BYTES), LARGE_BYTES));
    assert!(grown <= 16 << 20, "the gateway grew by {} KiB", grown >> 10);
}

#[test]
fn a_large_body_goes_into_a_command_in_bounded_memory() {
    let gateway = Gateway::start();
    let patient = json!({"envVars": {"exec_timeout": "10m"}});
    gateway.deploy_with("count", &examples::wasm("wordcount-component.wasm"), patient);
    gateway.invoke("count", "warm").says(200, "0 1 4\n");
    let grown = growth_during(gateway.pid(), || {
        send(&gateway, "count", LARGE_BYTES);
    });
    assert!(grown <= 16 << 20, "the gateway grew by {} KiB", grown >> 10);
}
