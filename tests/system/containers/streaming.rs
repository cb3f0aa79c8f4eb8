//! Bytes go through as they come, both ways, whatever they are.

use std::io::{Read, Write};
use std::time::Duration;

use serde_json::{Value, json};

use crate::support::docker::Docker;
use crate::support::process::growth_during;
use crate::support::{Gateway, Wire, wait};

/// A server behind the watchdog.
fn upstream() -> Value {
    json!({"envVars": {"mode": "http", "http_upstream_url": "http://127.0.0.1:8082"}})
}

fn serving(docker: &Docker, prefix: &str) -> (Gateway, String) {
    let name = docker.name(prefix);
    let gateway = docker.gateway();
    gateway.conform(&name, "/conform serve", upstream());
    gateway.has_replicas(&name, 1);
    (gateway, name)
}

#[test]
fn events_arrive_one_by_one() {
    let docker = Docker::shared();
    let (gateway, name) = serving(&docker, "stream-sse");
    let mut wire = gateway.wire();
    wire.head(&format!("GET /function/{name}/sse?events=3&ms=700"), &[]);
    let head = wire.response();
    assert_eq!(head.headers["content-type"], "text/event-stream");
    for event in 0..3 {
        let piece = wire.piece().unwrap().unwrap();
        assert_eq!(String::from_utf8(piece).unwrap(), format!("data: {event}\n\n"));
    }
    assert!(wire.piece().unwrap().is_none());
}

/// Sends a piece, waits for it to come back, and so on, in one request.
#[track_caller]
fn ping_pong(mut wire: Wire, path: &str) {
    wire.begin(path).chunk(b"first");
    let head = wire.response();
    assert_eq!(head.status, 200);
    let mut expected = b"first".to_vec();
    for piece in ["second", "third"] {
        assert_eq!(wire.piece().unwrap().unwrap(), expected);
        wire.chunk(piece.as_bytes());
        expected = piece.as_bytes().to_vec();
    }
    assert_eq!(wire.piece().unwrap().unwrap(), expected);
    wire.end();
    assert!(wire.piece().unwrap().is_none());
}

#[test]
fn chunks_go_both_ways_at_once_through_a_server() {
    let docker = Docker::shared();
    let (gateway, name) = serving(&docker, "stream-chunks");
    ping_pong(gateway.wire(), &format!("{name}/echo"));
}

#[test]
fn chunks_go_both_ways_at_once_through_a_program() {
    let docker = Docker::shared();
    let name = docker.name("stream-program");
    let gateway = docker.gateway();
    gateway.conform(&name, "/conform echo", json!({"envVars": {"mode": "streaming"}}));
    ping_pong(gateway.wire(), &name);
}

#[test]
fn a_websocket_goes_through() {
    let docker = Docker::shared();
    let (gateway, name) = serving(&docker, "stream-ws");
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
    let head = wire.response();
    assert_eq!(head.status, 101);
    assert_eq!(head.headers["sec-websocket-accept"], "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    let mut stream = wire.writer();
    stream.set_read_timeout(Some(wait::LIMIT)).unwrap();
    for word in [b"hello", b"again"] {
        // A masked text of five bytes; the mask is zeros.
        let mut frame = vec![0x81, 0x85, 0, 0, 0, 0];
        frame.extend(word);
        stream.write_all(&frame).unwrap();
        let mut back = [0; 7];
        stream.read_exact(&mut back).unwrap();
        assert_eq!(back, [&[0x81, 5][..], word].concat()[..]);
    }
    assert_eq!(gateway.inflight(&name), 1.0);
    drop((stream, wire));
    wait::until("it is counted", || gateway.counted(&name, 101) == 1.0);
    gateway.idle(&name);
}

#[test]
fn methods_paths_and_queries_arrive_as_they_are() {
    let docker = Docker::shared();
    let name = docker.name("stream-methods");
    let gateway = docker.gateway();
    gateway.conform(&name, "/conform env", json!({"envVars": {"cgi_headers": "true"}}));
    for method in ["GET", "PUT", "PATCH", "DELETE", "OPTIONS", "PROPFIND"] {
        let request =
            gateway.request(method, &format!("/function/{name}/a%20b/c?x=1&y=%2F")).header("x-mine", "m");
        let env = gateway.send(request, b"").expect(200).text();
        for expected in
            [&format!("Http_Method={method}"), "Http_Path=/a b/c", "Http_Query=x=1&y=%2F", "Http_X_Mine=m"]
        {
            assert!(env.lines().any(|line| line == expected), "{expected} is not in {env}");
        }
    }
    let mut wire = gateway.wire();
    wire.head(&format!("HEAD /function/{name}"), &[]);
    assert_eq!(wire.response().status, 200);
    // No body follows: the connection is good for another request.
    wire.head(&format!("GET /function/{name}"), &[]);
    assert_eq!(wire.response().status, 200);
}

#[test]
fn a_status_of_the_functions_own_is_passed_on() {
    let docker = Docker::shared();
    let (gateway, name) = serving(&docker, "stream-status");
    for status in [204, 404, 418, 503] {
        let answer = gateway.get(&format!("/function/{name}/status/{status}"));
        assert_eq!(answer.status.as_u16(), status);
        assert_eq!(gateway.counted(&name, status), 1.0);
    }
    let mut wire = gateway.wire();
    wire.head(&format!("POST /function/{name}/early"), &["content-length: 100000"]);
    assert_eq!(wire.response().status, 413, "an answer before the body was sent");
}

#[test]
fn a_large_body_goes_through_in_bounded_memory() {
    const BYTES: usize = 100 << 20;
    let docker = Docker::shared();
    let name = docker.name("stream-large");
    let gateway = docker.gateway();
    gateway.conform(&name, "/conform echo", json!({"envVars": {"mode": "streaming"}}));
    gateway.invoke(&name, "warm").says(200, "warm");
    let piece: Vec<u8> = (0..65_521_u32).map(|at| (at.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    let grown = growth_during(gateway.pid(), || {
        let mut wire = gateway.wire();
        wire.head(&format!("POST /function/{name}"), &[&format!("content-length: {BYTES}")]);
        let mut writer = wire.writer();
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let mut left = BYTES;
                while left > 0 {
                    let part = &piece[..piece.len().min(left)];
                    writer.write_all(part).unwrap();
                    left -= part.len();
                }
            });
            assert_eq!(wire.response().status, 200);
            let mut seen = 0;
            while let Some(back) = wire.piece().unwrap() {
                let mut back = &back[..];
                while !back.is_empty() {
                    let expected = &piece[seen % piece.len()..];
                    let count = back.len().min(expected.len());
                    assert!(back[..count] == expected[..count], "other bytes came back at {seen}");
                    (seen, back) = (seen + count, &back[count..]);
                }
            }
            assert_eq!(seen, BYTES);
        });
    });
    assert!(grown <= 16 << 20, "the gateway grew by {} KiB", grown >> 10);
}

#[test]
fn a_client_that_hangs_up_ends_the_program() {
    let docker = Docker::shared();
    let name = docker.name("stream-gone");
    let gateway = docker.gateway();
    gateway.conform(
        &name,
        "/conform drip 100000 20",
        json!({"envVars": {"mode": "streaming", "exec_timeout": "10m"}}),
    );
    gateway.has_replicas(&name, 1);
    let container = docker.containers(&name).remove(0);
    let programs = || docker.cli(&["top", &container]).lines().filter(|line| line.contains("drip")).count();
    let mut wire = gateway.wire();
    wire.head(&format!("GET /function/{name}"), &[]);
    assert_eq!(wire.response().status, 200);
    assert!(wire.piece().unwrap().is_some());
    assert_eq!(programs(), 1);
    drop(wire);
    wait::until("the program has ended", || programs() == 0);
    gateway.idle(&name);
    assert_eq!(gateway.counted(&name, 499), 1.0);
}

#[test]
fn a_client_that_hangs_up_before_the_answer_ends_the_program() {
    let docker = Docker::shared();
    let name = docker.name("stream-hang");
    let gateway = docker.gateway();
    gateway.conform(&name, "/conform hang", json!({}));
    gateway.has_replicas(&name, 1);
    let container = docker.containers(&name).remove(0);
    let programs = || docker.cli(&["top", &container]).lines().filter(|line| line.contains("hang")).count();
    let mut wire = gateway.wire();
    wire.head(&format!("GET /function/{name}"), &[]);
    wait::until("the program runs", || programs() == 1);
    wire.writer().set_read_timeout(Some(Duration::from_millis(1))).unwrap();
    drop(wire);
    wait::until("the program has ended", || programs() == 0);
    gateway.idle(&name);
}

#[test]
fn max_inflight_is_a_limit_of_each_replica() {
    let docker = Docker::shared();
    let name = docker.name("stream-each");
    let gateway = docker.gateway();
    let one_each = json!({"envVars": {"mode": "streaming", "max_inflight": "1"}});
    gateway.conform(&name, "/conform drip 1000 20", one_each);
    gateway.scale(&name, 2);
    gateway.has_replicas(&name, 2);
    let begin = || {
        let mut wire = gateway.wire();
        wire.head(&format!("GET /function/{name}"), &[]);
        let status = wire.response().status;
        (wire, status)
    };
    let (first, second, third) = (begin(), begin(), begin());
    assert_eq!([first.1, second.1, third.1].map(|status| status.as_u16()), [200, 200, 429]);
}
