//! The wasm and the container twin of one example answer the same bytes.

use serde_json::json;

use crate::examples::wasm;
use crate::support::docker::Docker;

/// An example's file, the image of its twin, and what both are sent.
#[track_caller]
fn check(example: &str, image: &str, bodies: &[&[u8]]) {
    let docker = Docker::shared();
    let (guest, container) =
        (docker.name(&format!("{example}-wasm")), docker.name(&format!("{example}-image")));
    let gateway = docker.gateway();
    gateway.deploy(&guest, &wasm(&format!("{example}.wasm")));
    gateway.create(&container, &format!("bramble/{image}"), json!({})).expect(202);
    for body in bodies {
        let ask = |name: &str| {
            let request = gateway.request("POST", &format!("/function/{name}/a?b=c"));
            gateway.send(request.header("content-type", "text/plain"), body).expect(200)
        };
        let (from_guest, from_container) = (ask(&guest), ask(&container));
        assert!(from_guest.body == from_container.body, "{from_guest:?}\n{from_container:?}");
        assert_eq!(from_guest.header("content-length"), from_container.header("content-length"));
    }
    gateway.remove(&container);
    assert!(!docker.has_service(&container));
}

/// Neither text nor short.
fn bytes() -> Vec<u8> {
    (0..300_000_u32).map(|at| (at.wrapping_mul(2_654_435_761) >> 24) as u8).collect()
}

#[test]
fn echo() {
    check("echo", "echoit", &[b"", b"any bytes\n", &bytes()]);
}

#[test]
fn wordcount() {
    check("wordcount", "wordcount", &[b"", b"one two\nthree\n", &bytes()]);
}

#[test]
fn base64() {
    check("base64", "base64", &[b"", b"bramble", &bytes()]);
}

#[test]
fn markdown() {
    check("markdown", "markdown", &[b"", b"# Hi\n\n*x* ~~y~~\n\n| a | b |\n|---|---|\n| 1 | 2 |\n"]);
}

#[test]
fn json_sum() {
    check("json-sum", "json-sum", &[b"[]", b"[1, {\"a\": 2.5}, \"7\"]"]);
}

#[test]
fn pbkdf2() {
    check("pbkdf2", "pbkdf2", &[b"", b"a password"]);
}

#[test]
fn state() {
    check("state", "state", &[b"", b"2 360 1048576 13107199\n"]);
}

#[test]
fn qjs() {
    check("qjs", "qjs", &[b"", b"one two\nthree two\n", "größer ist größer\n".as_bytes()]);
}

#[test]
fn c_wordcount() {
    check("c-wordcount", "c-wordcount", &[b"", b"one two\nthree\n", &bytes()]);
}
