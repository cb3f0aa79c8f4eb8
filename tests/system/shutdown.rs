//! Stopping: what runs finishes, nothing new begins, and there is an end to it.

use std::net::TcpStream;

use rustix::process::Signal;
use serde_json::json;

use crate::support::{Gateway, Start, Wire, guest, wait};

/// A gateway in which one invocation has begun and waits for the rest of its request.
fn with_one_running(start: &Start) -> (Gateway, Wire) {
    let gateway = start.start();
    gateway.deploy_with("cat", &guest::cat(), json!({"envVars": {"exec_timeout": "10m"}}));
    let mut wire = gateway.wire();
    wire.begin("cat").chunk(b"first");
    assert_eq!(wire.response().status, 200);
    assert_eq!(wire.piece().unwrap().unwrap(), b"first");
    (gateway, wire)
}

#[track_caller]
fn takes_no_more(gateway: &Gateway) {
    wait::until("connections are refused", || TcpStream::connect(gateway.address).is_err());
}

#[test]
fn a_running_invocation_finishes_and_nothing_new_begins() {
    let (mut gateway, mut wire) = with_one_running(&Start::new());
    gateway.signal(Signal::TERM);
    takes_no_more(&gateway);
    wire.chunk(b"second").end();
    assert_eq!(wire.piece().unwrap().unwrap(), b"second");
    assert_eq!(wire.piece().unwrap(), None);
    assert_eq!(gateway.ended().code(), Some(0));
}

#[test]
fn balancers_are_told_before_connections_are_refused() {
    let mut gateway = Start::new().flag("--drain-delay", "10m").start();
    gateway.deploy("cat", &guest::cat());
    assert_eq!(gateway.get("/readyz").status, 200);
    gateway.signal(Signal::TERM);
    wait::until("it says that it is stopping", || gateway.get("/readyz").status == 503);
    gateway.get("/healthz").expect(200);
    gateway.invoke("cat", "still").says(200, "still");
    gateway.signal(Signal::TERM);
    assert_eq!(gateway.ended().code(), Some(143));
}

#[test]
fn what_is_asked_while_it_says_so_is_answered_and_it_ends_by_itself() {
    let (mut gateway, mut wire) = with_one_running(&Start::new().flag("--drain-delay", "300ms"));
    gateway.signal(Signal::TERM);
    takes_no_more(&gateway);
    wire.chunk(b"second").end();
    assert_eq!(wire.piece().unwrap().unwrap(), b"second");
    assert_eq!(wire.piece().unwrap(), None);
    assert_eq!(gateway.ended().code(), Some(0));
}

#[test]
fn the_wait_for_what_runs_has_an_end() {
    let (mut gateway, mut wire) = with_one_running(&Start::new().flag("--drain-timeout", "300ms"));
    gateway.signal(Signal::TERM);
    assert_eq!(gateway.ended().code(), Some(0));
    assert!(gateway.log().contains("stopped with invocations still running"), "{}", gateway.log());
    assert!(wire.piece().is_err(), "the response ended as if it were whole");
}

#[test]
fn a_second_signal_ends_it_at_once() {
    let (mut gateway, _wire) = with_one_running(&Start::new());
    gateway.signal(Signal::INT);
    takes_no_more(&gateway);
    gateway.signal(Signal::INT);
    assert_eq!(gateway.ended().code(), Some(130));
}

#[test]
fn a_loop_does_not_keep_it_alive() {
    let mut gateway = Start::new().flag("--drain-timeout", "300ms").start();
    gateway.deploy_with("loops", &guest::loops(), json!({"envVars": {"exec_timeout": "10m"}}));
    let mut wire = gateway.wire();
    wire.head("GET /function/loops", &[]);
    wait::until("it loops", || gateway.busy("loops") == 1.0);
    gateway.signal(Signal::TERM);
    assert_eq!(gateway.ended().code(), Some(0));
}

#[test]
fn idle_connections_and_followed_logs_do_not_hold_it_up() {
    let mut gateway = Start::new().flag("--drain-timeout", "5m").start();
    gateway.deploy("cat", &guest::cat());
    let mut idle = gateway.wire();
    idle.head("POST /function/cat", &["content-length: 0"]);
    idle.answer().expect(200);
    let silent = gateway.wire();
    let mut log = gateway.wire();
    log.head("GET /system/logs?name=cat&follow=1", &[]);
    assert_eq!(log.response().status, 200);
    gateway.signal(Signal::TERM);
    assert_eq!(gateway.ended().code(), Some(0));
    assert_eq!(log.piece().unwrap(), None);
    drop(silent);
}

#[test]
fn under_load_every_answer_that_began_is_whole() {
    let mut gateway = Gateway::start();
    gateway.deploy("cat", &guest::cat());
    let body = vec![b'x'; 300_000];
    let address = gateway.address;
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                while let Ok(stream) = TcpStream::connect(address) {
                    let mut wire = Wire::over(stream);
                    let head = format!(
                        "POST /function/cat HTTP/1.1\r\nhost: x\r\ncontent-length: {}\r\n\r\n",
                        body.len()
                    );
                    // The connection may be closed before it is taken, but an answer that began is whole.
                    if wire.write(head.as_bytes()).and_then(|()| wire.write(&body)).is_err() {
                        continue;
                    }
                    let Ok(head) = wire.try_response() else { continue };
                    assert_eq!(head.status, 200);
                    let mut seen = 0;
                    while let Some(piece) = wire.piece().unwrap() {
                        seen += piece.len();
                    }
                    assert_eq!(seen, body.len());
                }
            });
        }
        wait::until("some were served", || gateway.counted("cat", 200) > 20.0);
        gateway.signal(Signal::TERM);
        assert_eq!(gateway.ended().code(), Some(0));
    });
}

#[test]
fn what_was_deployed_is_there_after_a_stop() {
    let mut gateway = Gateway::start();
    gateway.deploy("kept", &guest::says("kept\n"));
    gateway.scale("kept", 7);
    gateway.signal(Signal::TERM);
    assert_eq!(gateway.ended().code(), Some(0));
    let gateway = gateway.kill().start();
    gateway.invoke("kept", "").says(200, "kept\n");
    assert_eq!(gateway.get("/system/function/kept").json()["replicas"], 7);
}
