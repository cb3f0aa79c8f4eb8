//! Guests that misbehave: each ends with an answer that says why, and takes nobody with it.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::support::process::{cpu_time, growth_during};
use crate::support::{Gateway, Start, guest, wait};

/// Invokes a guest that fails and checks what its caller is told, then that the next one is served.
#[track_caller]
fn check(wasm: &[u8], status: u16, code: &str, says: &str) {
    let gateway = Gateway::start();
    gateway.deploy_with("bad", wasm, json!({"envVars": {"exec_timeout": "300ms"}}));
    gateway.deploy("good", &guest::cat());
    gateway.invoke("bad", "body").refused(status, code, says);
    gateway.invoke("good", "still here").says(200, "still here");
    gateway.idle("bad");
    assert_eq!(gateway.counted("bad", status), 1.0);
}

#[test]
fn a_loop_ends_at_its_time_limit() {
    check(&guest::loops(), 504, "timed_out", "exec_timeout");
}

#[test]
fn a_blocked_host_call_ends_at_its_time_limit() {
    check(&guest::sleeps(), 504, "timed_out", "exec_timeout");
}

#[test]
fn a_loop_in_the_start_section_ends_at_its_time_limit() {
    let wasm = wat::parse_str(
        r#"(module (memory (export "memory") 1) (func $spin (loop $again (br $again)))
            (start $spin) (func (export "_start")))"#,
    );
    check(&wasm.unwrap(), 504, "timed_out", "exec_timeout");
}

#[test]
fn taking_memory_without_end_is_refused_at_the_limit() {
    let gateway = Gateway::start();
    gateway.deploy_with("hungry", &guest::allocates(), json!({"limits": {"memory": "16Mi"}}));
    gateway.invoke("hungry", "").refused(500, "function_failed", "memory limit of 16Mi");
    gateway.idle("hungry");
}

#[test]
fn taking_memory_without_end_ends_at_the_default_limit_too() {
    let gateway = Start::new().flag("--default-memory", "8Mi").start();
    gateway.deploy("hungry", &guest::allocates());
    gateway.invoke("hungry", "").refused(500, "function_failed", "memory limit of 8Mi");
}

#[test]
fn tables_count_against_the_memory_limit() {
    let gateway = Gateway::start();
    let wasm = guest::with(
        "(table $t 1 funcref)",
        "(loop $more (br_if $more (i32.ne (table.grow $t (ref.null func) (i32.const 4096)) (i32.const -1))))
        unreachable",
    );
    gateway.deploy_with("hungry", &wasm, json!({"limits": {"memory": "1Mi"}}));
    gateway.invoke("hungry", "").refused(500, "function_failed", "memory limit of 1Mi");
}

#[test]
fn recursion_ends_at_the_stack_limit() {
    let wasm = guest::with(
        "(func $deeper (param i64) (result i64) (i64.add (call $deeper (local.get 0)) (i64.const 1)))",
        "(drop (call $deeper (i64.const 1)))",
    );
    check(&wasm, 500, "function_failed", "recurses too deep");
}

#[test]
fn a_trap_is_named() {
    check(&guest::running("unreachable"), 500, "function_failed", "unreachable");
    check(&guest::running("(drop (i32.div_u (i32.const 1) (i32.const 0)))"), 500, "function_failed", "divi");
    check(&guest::running("(drop (i32.load (i32.const -4)))"), 500, "function_failed", "out-of-bounds");
}

#[test]
fn a_failing_exit_status_is_told() {
    check(&guest::running("(call $proc_exit (i32.const 3))"), 500, "function_failed", "exit status 3");
}

#[test]
fn output_before_a_failure_is_no_success() {
    let wasm = guest::with(
        &guest::data("partial"),
        "(call $write (i32.const 1) (i32.const 4096) (i32.const 7)) (call $proc_exit (i32.const 3))",
    );
    check(&wasm, 500, "function_failed", "exit status 3");
}

#[test]
fn an_exit_with_0_is_success() {
    let gateway = Gateway::start();
    let wasm = guest::with(
        &guest::data("all\n"),
        "(call $write (i32.const 1) (i32.const 4096) (i32.const 4)) (call $proc_exit (i32.const 0)) unreachable",
    );
    gateway.deploy("exits", &wasm);
    gateway.invoke("exits", "").says(200, "all\n");
}

#[test]
fn host_calls_with_wild_pointers_are_errors_and_no_harm() {
    // Every address out of memory: the call answers an error, which `$write` turns into a trap.
    check(
        &guest::running("(call $write (i32.const 1) (i32.const -16) (i32.const 1000))"),
        500,
        "function_failed",
        "unreachable",
    );
    check(
        &guest::running(
            "(if (call $fd_read (i32.const 0) (i32.const -4) (i32.const 9) (i32.const -1)) (then unreachable))",
        ),
        500,
        "function_failed",
        "unreachable",
    );
    check(
        &guest::running("(if (call $environ_get (i32.const -8) (i32.const -8)) (then unreachable))"),
        500,
        "function_failed",
        "unreachable",
    );
}

#[test]
fn more_loops_than_cores_leave_time_for_others() {
    let gateway = Gateway::start();
    gateway.deploy_with("loops", &guest::loops(), json!({"envVars": {"exec_timeout": "10m"}}));
    gateway.deploy("cat", &guest::cat());
    let cores = std::thread::available_parallelism().unwrap().get();
    let mut loopers: Vec<_> = (0..4 * cores).map(|_| gateway.wire()).collect();
    for looper in &mut loopers {
        looper.head("GET /function/loops", &[]);
    }
    wait::until("all of them loop", || gateway.busy("loops") == loopers.len() as f64);
    for _ in 0..10 {
        gateway.invoke("cat", "served").says(200, "served");
        gateway.get("/healthz").expect(200);
    }
    assert_eq!(gateway.busy("loops"), loopers.len() as f64, "they looped all the while");
}

#[test]
fn a_stopped_loop_gives_its_core_back() {
    let gateway = Gateway::start();
    gateway.deploy_with("loops", &guest::loops(), json!({"envVars": {"exec_timeout": "200ms"}}));
    gateway.invoke("loops", "").expect(504);
    const WINDOW: Duration = Duration::from_millis(500);
    let mut since = (Instant::now(), cpu_time(gateway.pid()));
    wait::until("it uses hardly any processor time", || {
        let (now, used) = (Instant::now(), cpu_time(gateway.pid()));
        if now - since.0 < WINDOW {
            return false;
        }
        let calm = used - since.1 < WINDOW / 5;
        since = (now, used);
        calm
    });
}

#[test]
fn printing_to_stderr_without_end_is_bounded() {
    let gateway = Start::new().flag("--log-size", "256Ki").start();
    let wasm = guest::floods(2, None);
    gateway.deploy_with("noisy", &wasm, json!({"envVars": {"exec_timeout": "1s"}}));
    gateway.deploy("cat", &guest::cat());
    let grown = growth_during(gateway.pid(), || {
        std::thread::scope(|scope| {
            let noisy = scope.spawn(|| gateway.invoke("noisy", ""));
            wait::until("it prints", || gateway.busy("noisy") == 1.0);
            gateway.invoke("cat", "served").says(200, "served");
            noisy.join().unwrap().refused(504, "timed_out", "");
        });
    });
    assert!(grown <= 16 << 20, "the gateway grew by {grown} bytes");
    let log = gateway.get("/system/logs?name=noisy").expect(200);
    // The text, and what JSON puts around each line of 8 KiB.
    assert!((1..512 << 10).contains(&log.body.len()), "{} bytes of log", log.body.len());
}

#[test]
fn much_on_stderr_does_not_keep_a_guest_from_answering() {
    let gateway = Gateway::start();
    let wasm = guest::with(
        &guest::data("done\n"),
        "(local $left i32) (local.set $left (i32.const 160))
        (loop $more
            (call $write (i32.const 2) (i32.const 65536) (i32.const 65536))
            (br_if $more (local.tee $left (i32.sub (local.get $left) (i32.const 1)))))
        (call $write (i32.const 1) (i32.const 4096) (i32.const 5))",
    );
    gateway.deploy("noisy", &wasm);
    gateway.invoke("noisy", "").says(200, "done\n");
}

#[test]
fn writing_without_end_stops_at_the_output_limit() {
    let gateway = Start::new().flag("--max-output-size", "16Mi").start();
    gateway.deploy("floods", &guest::floods(1, None));
    let mut wire = gateway.wire();
    wire.head("GET /function/floods", &[]);
    assert_eq!(wire.response().status, 200);
    let mut received = 0;
    let broken = loop {
        match wire.piece() {
            Ok(Some(piece)) => received += piece.len(),
            Ok(None) => break false,
            Err(_) => break true,
        }
    };
    assert!(broken, "a response that was cut short ended as if it were whole");
    assert!(received <= 16 << 20, "{received} bytes came");
    gateway.idle("floods");
    assert_eq!(gateway.counted("floods", 500), 1.0);
}

#[test]
fn a_small_output_over_the_limit_is_a_failure_that_names_the_limit() {
    let gateway = Start::new().flag("--max-output-size", "1Ki").start();
    gateway.deploy("floods", &guest::floods(1, Some(1)));
    gateway.invoke("floods", "").refused(500, "function_failed", "more than 1Ki of output");
}

#[test]
fn a_guest_that_never_reads_its_stdin_answers_all_the_same() {
    let gateway = Gateway::start();
    gateway.deploy("deaf", &guest::says("done\n"));
    let body = vec![0; 10 << 20];
    for _ in 0..5 {
        gateway.send(gateway.request("POST", "/function/deaf"), &body).says(200, "done\n");
    }
    gateway.idle("deaf");
    assert_eq!(gateway.counted("deaf", 200), 5.0);
}
