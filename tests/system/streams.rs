//! Bodies that are large or slow: both directions stream, in bounded memory.

use std::io::Write;

use serde_json::json;

use crate::support::process::growth_during;
use crate::support::{Gateway, Start, Wire, guest, wait};

const GIB: u64 = 1 << 30;

/// By how much the gateway may grow for a body of any size.
const ALLOWED_GROWTH_BYTES: u64 = 16 << 20;

/// No time limit on a function that moves a gibibyte on a busy machine.
fn patient() -> (Start, serde_json::Value) {
    (Start::new().flag("--upstream-timeout", "10m"), json!({"envVars": {"exec_timeout": "0"}}))
}

/// Bytes whose period is odd, so that a lost or doubled piece shows.
fn pattern() -> Vec<u8> {
    (0..65_521_u32).map(|at| (at.wrapping_mul(2_654_435_761) >> 24) as u8).collect()
}

/// Reads a body of so many bytes and compares it with the pattern.
#[track_caller]
fn read_pattern(wire: &mut Wire, bytes: u64) {
    let pattern = pattern();
    let mut seen = 0;
    while let Some(piece) = wire.piece().unwrap() {
        let mut rest = &piece[..];
        while !rest.is_empty() {
            let expected = &pattern[usize::try_from(seen).unwrap() % pattern.len()..];
            let count = rest.len().min(expected.len());
            assert!(rest[..count] == expected[..count], "the bytes from {seen} are not those that were sent");
            rest = &rest[count..];
            seen += count as u64;
        }
    }
    assert_eq!(seen, bytes);
}

#[test]
fn a_gibibyte_goes_through_a_guest_in_bounded_memory() {
    let (start, patient) = patient();
    let gateway = start.start();
    gateway.deploy_with("cat", &guest::cat(), patient);
    gateway.invoke("cat", "warm").says(200, "warm");
    let mut wire = gateway.wire();
    let grown = growth_during(gateway.pid(), || {
        wire.head("POST /function/cat", &[&format!("content-length: {GIB}")]);
        let mut writer = wire.writer();
        let sender = std::thread::spawn(move || {
            let pattern = pattern();
            let mut left = GIB;
            while left > 0 {
                let part = &pattern[..pattern.len().min(usize::try_from(left).unwrap())];
                writer.write_all(part).unwrap();
                left -= part.len() as u64;
            }
        });
        assert_eq!(wire.response().status, 200);
        read_pattern(&mut wire, GIB);
        sender.join().unwrap();
    });
    assert!(grown <= ALLOWED_GROWTH_BYTES, "the gateway grew by {} KiB", grown >> 10);
}

#[test]
fn a_guest_that_writes_a_gibibyte_is_passed_on_in_bounded_memory() {
    let (start, patient) = patient();
    let gateway = start.start();
    gateway.deploy_with("floods", &guest::floods(1, Some(16 << 10)), patient);
    let mut wire = gateway.wire();
    let grown = growth_during(gateway.pid(), || {
        wire.head("GET /function/floods", &[]);
        assert_eq!(wire.response().status, 200);
        let mut seen = 0;
        while let Some(piece) = wire.piece().unwrap() {
            seen += piece.len() as u64;
        }
        assert_eq!(seen, GIB);
    });
    assert!(grown <= ALLOWED_GROWTH_BYTES, "the gateway grew by {} KiB", grown >> 10);
    assert_eq!(gateway.counted("floods", 200), 1.0);
}

#[test]
fn a_client_that_does_not_read_holds_a_guest_back() {
    let gateway = Gateway::start();
    gateway.deploy("floods", &guest::floods(1, None));
    let mut wire = gateway.wire();
    let grown = growth_during(gateway.pid(), || {
        wire.head("GET /function/floods", &[]);
        assert_eq!(wire.response().status, 200);
        // It keeps running for as long as nobody reads, and others are served.
        gateway.deploy("cat", &guest::cat());
        for _ in 0..20 {
            gateway.invoke("cat", "served").says(200, "served");
        }
        assert_eq!(gateway.busy("floods"), 1.0);
    });
    assert!(grown <= ALLOWED_GROWTH_BYTES, "the gateway grew by {} KiB", grown >> 10);
}

#[test]
fn a_response_starts_before_the_request_has_ended() {
    let gateway = Gateway::start();
    gateway.deploy("cat", &guest::cat());
    let mut wire = gateway.wire();
    wire.begin("cat").chunk(b"first");
    assert_eq!(wire.response().status, 200);
    assert_eq!(wire.piece().unwrap().unwrap(), b"first");
    wire.chunk(b"second");
    assert_eq!(wire.piece().unwrap().unwrap(), b"second");
    wire.end();
    assert_eq!(wire.piece().unwrap(), None);
    gateway.idle("cat");
    assert_eq!(gateway.counted("cat", 200), 1.0);
}

#[test]
fn a_response_starts_early_when_the_length_is_known_too() {
    let gateway = Gateway::start();
    gateway.deploy("cat", &guest::cat());
    let mut wire = gateway.wire();
    wire.head("POST /function/cat", &["content-length: 11"]).write(b"first").unwrap();
    assert_eq!(wire.response().status, 200);
    assert_eq!(wire.piece().unwrap().unwrap(), b"first");
    wire.write(b"second").unwrap();
    assert_eq!(wire.piece().unwrap().unwrap(), b"second");
    assert_eq!(wire.piece().unwrap(), None);
}

#[test]
fn a_guest_that_drips_is_heard_before_it_ends() {
    let gateway = Gateway::start();
    gateway.deploy("drips", &guest::drips());
    let mut wire = gateway.wire();
    wire.head("GET /function/drips", &[]);
    assert_eq!(wire.response().status, 200);
    for _ in 0..2 {
        assert_eq!(wire.piece().unwrap().unwrap(), b".");
    }
    assert_eq!(gateway.busy("drips"), 1.0, "it goes on");
    drop(wire);
    gateway.idle("drips");
}

#[test]
fn a_time_limit_ends_a_response_that_has_begun() {
    let gateway = Gateway::start();
    gateway.deploy_with("drips", &guest::drips(), json!({"envVars": {"exec_timeout": "1500ms"}}));
    let mut wire = gateway.wire();
    wire.head("GET /function/drips", &[]);
    assert_eq!(wire.response().status, 200);
    while let Ok(piece) = wire.piece() {
        assert!(piece.is_some(), "a response that was cut short ended as if it were whole");
    }
    gateway.idle("drips");
    assert_eq!(gateway.counted("drips", 504), 1.0);
}

#[test]
fn the_gateways_own_time_limit_ends_a_response_that_never_pauses() {
    let gateway = Start::new().flag("--upstream-timeout", "2s").flag("--max-output-size", "1Ti").start();
    gateway.deploy_with("floods", &guest::floods(1, None), json!({"envVars": {"exec_timeout": "0"}}));
    let mut wire = gateway.wire();
    wire.head("GET /function/floods", &[]);
    assert_eq!(wire.response().status, 200);
    while let Ok(piece) = wire.piece() {
        assert!(piece.is_some(), "a response that was cut short ended as if it were whole");
    }
    gateway.idle("floods");
    assert_eq!(gateway.counted("floods", 504), 1.0);
}

#[test]
fn a_functions_time_limit_ends_a_response_that_nobody_reads() {
    let gateway = Start::new().flag("--upstream-timeout", "1h").start();
    gateway.deploy_with("floods", &guest::floods(1, None), json!({"envVars": {"exec_timeout": "1s"}}));
    let mut wire = gateway.wire();
    wire.head("GET /function/floods", &[]);
    assert_eq!(wire.response().status, 200);
    gateway.idle("floods");
    assert_eq!(gateway.counted("floods", 504), 1.0);
}

#[test]
fn the_gateways_own_time_limit_ends_a_response_that_nobody_reads() {
    let gateway = Start::new().flag("--upstream-timeout", "1s").start();
    gateway.deploy_with("floods", &guest::floods(1, None), json!({"envVars": {"exec_timeout": "0"}}));
    let mut wire = gateway.wire();
    wire.head("GET /function/floods", &[]);
    assert_eq!(wire.response().status, 200);
    gateway.idle("floods");
    assert_eq!(gateway.counted("floods", 504), 1.0);
    while let Ok(piece) = wire.piece() {
        assert!(piece.is_some(), "a response that was cut short ended as if it were whole");
    }
}

#[test]
fn a_body_that_is_announced_and_never_comes_ends_at_the_time_limit() {
    let gateway = Gateway::start();
    gateway.deploy_with("cat", &guest::cat(), json!({"envVars": {"exec_timeout": "300ms"}}));
    for length in ["content-length: 4", "content-length: 1000000"] {
        let mut wire = gateway.wire();
        wire.head("POST /function/cat", &[length]);
        wire.answer().refused(504, "timed_out", "exec_timeout");
    }
    gateway.idle("cat");
}

#[test]
fn a_time_limit_ends_a_wait_for_the_rest_of_a_body() {
    let gateway = Gateway::start();
    gateway.deploy_with("cat", &guest::cat(), json!({"envVars": {"exec_timeout": "300ms"}}));
    let mut wire = gateway.wire();
    wire.begin("cat");
    wire.answer().refused(504, "timed_out", "exec_timeout");
    gateway.idle("cat");
}

#[test]
fn a_body_over_the_limit_is_refused_by_its_length() {
    let gateway = Start::new().flag("--max-body-size", "1Mi").start();
    gateway.deploy("cat", &guest::cat());
    let exact = "x".repeat(1 << 20);
    gateway.invoke("cat", &exact).says(200, &exact);
    for bytes in [(1 << 20) + 1, 4 << 20, 64 << 20] {
        let body = vec![0; bytes];
        let answer = gateway.send(gateway.request("POST", "/function/cat"), &body);
        answer.refused(413, "body_too_large", "1048576");
    }
    gateway.idle("cat");
    assert_eq!(gateway.counted("cat", 413), 3.0);
}

#[test]
fn a_body_over_the_limit_is_refused_in_chunks_too() {
    let gateway = Start::new().flag("--max-body-size", "1Mi").start();
    // It reads all before it writes, so its response has not begun when the limit is met.
    let wasm = guest::running("(loop $more (br_if $more (call $read)))");
    gateway.deploy("reads", &wasm);
    let mut wire = gateway.wire();
    wire.begin("reads");
    for _ in 0..17 {
        wire.chunk(&vec![0; 64 << 10]);
    }
    wire.answer().refused(413, "body_too_large", "1048576");
    gateway.idle("reads");
    assert_eq!(gateway.counted("reads", 413), 1.0);
}

#[test]
fn a_body_over_the_limit_breaks_a_response_that_has_begun() {
    let gateway = Start::new().flag("--max-body-size", "1Mi").start();
    gateway.deploy("cat", &guest::cat());
    let mut wire = gateway.wire();
    wire.begin("cat").chunk(b"first");
    assert_eq!(wire.response().status, 200);
    let mut writer = wire.writer();
    let sender = std::thread::spawn(move || {
        let chunk = [b"10000\r\n", &[b'x'; 64 << 10][..], b"\r\n"].concat();
        // It may be cut off while it sends.
        (0..32).try_for_each(|_| writer.write_all(&chunk))
    });
    while let Ok(piece) = wire.piece() {
        assert!(piece.is_some(), "a response that was cut short ended as if it were whole");
    }
    let _ = sender.join().unwrap();
    gateway.idle("cat");
}

#[test]
fn a_refused_request_leaves_its_connection_to_the_next() {
    let gateway = Start::new().flag("--max-body-size", "1Mi").start();
    gateway.deploy("cat", &guest::cat());
    let mut wire = gateway.wire();
    for (path, bytes, status) in [
        ("/function/nobody", 300_000, 404),
        ("/function/cat", 2 << 20, 413),
        ("/system/functions", 2 << 20, 413),
    ] {
        wire.head(&format!("POST {path}"), &[&format!("content-length: {bytes}")]);
        wire.write(&vec![b'x'; bytes]).unwrap();
        wire.answer().expect(status);
    }
    wire.head("POST /function/cat", &["content-length: 4"]).write(b"next").unwrap();
    wire.answer().says(200, "next");
}

#[test]
fn a_client_that_asks_first_is_refused_before_it_sends() {
    let gateway = Start::new().flag("--max-body-size", "1Mi").start();
    gateway.deploy("cat", &guest::cat());
    for (path, status) in [("/function/nobody", 404), ("/function/cat", 413)] {
        let mut wire = gateway.wire();
        wire.head(&format!("POST {path}"), &["content-length: 2000000", "expect: 100-continue"]);
        wire.answer().expect(status);
    }
}

#[test]
fn small_bodies_of_every_size_come_back_whole() {
    let gateway = Gateway::start();
    gateway.deploy("cat", &guest::cat());
    let pattern = String::from_utf8(pattern().iter().map(|byte| b'a' + byte % 26).collect()).unwrap();
    let long = pattern.repeat(8);
    for bytes in [0, 1, 4_095, 4_096, 4_097, 65_535, 65_536, 65_537, 262_144, 300_000] {
        gateway.invoke("cat", &long[..bytes]).says(200, &long[..bytes]);
    }
}

#[test]
fn a_slow_sender_of_a_small_body_holds_no_slot() {
    let gateway = Gateway::start();
    let labels = json!({"com.openfaas.scale.min": "1", "com.openfaas.scale.max": "1"});
    gateway.deploy_with("cat", &guest::cat(), json!({"labels": labels}));
    let mut wire = gateway.wire();
    wire.head("POST /function/cat", &["content-length: 4", "expect: 100-continue"]);
    // Until it says more, and for a moment after, the only slot is free for others.
    gateway.invoke("cat", "other").says(200, "other");
    wait::until("the gateway asks for the body", || wire.response().status == 100);
    wire.write(b"slow").unwrap();
    wire.answer().says(200, "slow");
}
