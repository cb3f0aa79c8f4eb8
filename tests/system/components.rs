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
fn a_handler_that_traps_after_it_answered_has_failed() {
    // Nothing of the response is sent yet, so nobody takes half of it for the whole.
    let trap = "(call $open (i32.const 200)) (call $send (i32.const 100)) unreachable";
    check(&guest::answers(None, trap), 500, "function_failed", "unreachable");
    check(&guest::answers(Some(100), trap), 500, "function_failed", "unreachable");
}

#[test]
fn a_handler_that_traps_in_the_middle_of_its_body_cuts_it_short() {
    let gateway = Gateway::start();
    let trap = "(call $open (i32.const 200)) (call $send (i32.const 100000)) unreachable";
    gateway.deploy("bad", &guest::answers(None, trap));
    let mut wire = gateway.wire();
    wire.head("GET /function/bad", &[]);
    assert_eq!(wire.response().status, 200);
    let broken = loop {
        match wire.piece() {
            Ok(Some(_)) => {}
            Ok(None) => break false,
            Err(_) => break true,
        }
    };
    assert!(broken, "a response that was cut short ended as if it were whole");
    gateway.idle("bad");
    assert_eq!((gateway.counted("bad", 200), gateway.counted("bad", 500)), (0.0, 1.0));
}

/// Asks a handler by this method and looks that its answer is whole and counted as this status, and no other.
#[track_caller]
fn check_counted(method: &str, wasm: &[u8], status: u16, length: usize) {
    let gateway = Gateway::start();
    gateway.deploy("answers", wasm);
    let mut wire = gateway.wire();
    wire.head(&format!("{method} /function/answers"), &[]);
    assert_eq!(wire.response().status.as_u16(), status);
    let mut seen = 0;
    while seen < length {
        seen += wire.piece().unwrap().expect("it ended early").len();
    }
    // Nothing of a body stands between this answer and the next.
    wire.head("GET /healthz", &[]);
    wire.answer().expect(200);
    gateway.idle("answers");
    let counted = (gateway.counted("answers", status), gateway.counted("answers", 499));
    assert_eq!(counted, (1.0, 0.0), "{method} {status}");
}

const WHOLE: &str = "(call $send (i32.const 10000)) (call $finish)";

#[test]
fn answers_of_which_no_body_is_sent_are_counted_as_what_they_are() {
    for status in [204, 304] {
        let handle = format!("(call $open (i32.const {status})) (call $finish)");
        check_counted("GET", &guest::answers(None, &handle), status, 0);
    }
    let handle = format!("(call $open (i32.const 200)) {WHOLE}");
    check_counted("HEAD", &guest::answers(None, &handle), 200, 0);
    check_counted("HEAD", &guest::answers(Some(10_000), &handle), 200, 0);
    // More than is kept of a body: the handler still writes when its answer is over.
    let endless = "(call $open (i32.const 200)) (loop $more (call $send (i32.const 4096)) (br $more))";
    check_counted("HEAD", &guest::answers(None, endless), 200, 0);
}

#[test]
fn an_answer_with_a_length_is_counted_as_what_it_is() {
    let handle = format!("(call $open (i32.const 201)) {WHOLE}");
    check_counted("GET", &guest::answers(Some(10_000), &handle), 201, 10_000);
    // It goes on for ever when its client has all of its answer.
    let handle = format!("{handle} (loop $again (br $again))");
    check_counted("GET", &guest::answers(Some(10_000), &handle), 201, 10_000);
}

#[test]
fn an_answer_with_a_length_leaves_its_instance_for_the_next() {
    let gateway = Gateway::start();
    let wasm = guest::answers(Some(10_000), &format!("(call $open (i32.const 200)) {WHOLE}"));
    gateway.deploy_with("kept", &wasm, json!({"annotations": {"bramble.reuse": "requests=10,idle=1h"}}));
    for _ in 0..3 {
        assert_eq!(gateway.invoke("kept", "").expect(200).body.len(), 10_000);
        gateway.idle("kept");
    }
    let reused = "bramble_wasm_reuse_total{function_name=\"kept\",instance=\"reused\"}";
    assert_eq!(gateway.metric(reused), 2.0);
}

#[test]
fn a_component_that_fills_the_hosts_memory_instead_of_its_own_is_stopped() {
    let gateway = Gateway::start();
    let wasm = guest::answers(None, "(loop $more (br_if $more (i32.eqz (call $hoard)))) unreachable");
    let more = json!({"envVars": {"exec_timeout": "1s"}, "limits": {"memory": "8Mi"}});
    gateway.deploy_with("hungry", &wasm, more);
    gateway.deploy("good", &guest::component("", "i32.const 0"));
    gateway.invoke("good", "").says(200, "");
    let grown = growth_during(gateway.pid(), || {
        gateway.invoke("hungry", "").refused(500, "function_failed", "more than 256 open files");
    });
    assert!(grown <= 32 << 20, "the gateway grew by {} KiB", grown >> 10);
    gateway.invoke("good", "").says(200, "");
}

#[test]
fn an_instance_that_gathers_what_it_never_lets_go_of_is_replaced_before_it_fails() {
    let gateway = Gateway::start();
    let wasm = guest::answers(None, &format!("(drop (call $hoard)) (call $open (i32.const 200)) {WHOLE}"));
    gateway.deploy_with("leaks", &wasm, json!({"annotations": {"bramble.reuse": "requests=1000,idle=1h"}}));
    for _ in 0..300 {
        gateway.invoke("leaks", "").expect(200);
    }
    let made = "bramble_wasm_reuse_total{function_name=\"leaks\",instance=\"created\"}";
    assert!((2.0..10.0).contains(&gateway.metric(made)), "{} were made", gateway.metric(made));
}

#[test]
fn a_limit_below_what_a_component_starts_with_is_refused() {
    let gateway = Gateway::start();
    for wasm in [guest::component("(memory 160)", "i32.const 0"), guest::handler("(memory 160)", "")] {
        let digest = gateway.upload(&wasm);
        let more = |memory: &str| json!({"limits": {"memory": memory}});
        gateway.create("large", &digest, more("8Mi")).refused(400, "invalid_spec", "starts with 10Mi");
        gateway.create("large", &digest, more("10Mi")).expect(202);
        gateway.remove("large");
    }
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
