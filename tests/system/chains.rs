//! Chains of functions: `/function/a|b|c`.

use serde_json::json;

use crate::support::{Gateway, guest};

/// Copies stdin to stdout between a mark before and a mark after.
fn framing(mark: &str) -> Vec<u8> {
    let length = mark.len();
    guest::with(
        &guest::data(mark),
        &format!(
            "(local $count i32)
            (call $write (i32.const 1) (i32.const 4096) (i32.const {length}))
            (loop $more
                (local.set $count (call $read))
                (if (local.get $count) (then
                    (call $write (i32.const 1) (i32.const 65536) (local.get $count))
                    (br $more))))"
        ),
    )
}

fn gateway() -> Gateway {
    let gateway = Gateway::start();
    for (name, mark) in [("a", "a:"), ("b", "b:"), ("c", "c:")] {
        gateway.deploy(name, &framing(mark));
    }
    gateway.deploy("fails", &guest::running("unreachable"));
    gateway
}

#[test]
fn each_step_gets_what_the_one_before_answered() {
    let gateway = gateway();
    for chain in ["a|b|c", "a%7Cb%7cc", "a.openfaas-fn|b|c"] {
        let request = gateway.request("POST", &format!("/function/{chain}")).header("x-call-id", "the-one");
        let answer = gateway.send(request, b"x").expect(200);
        assert_eq!(answer.text(), "c:b:a:x", "{chain}");
        assert_eq!(answer.header("x-call-id"), "the-one");
        assert_eq!((answer.header("x-chain-step"), answer.header("x-chain-function")), ("3", "c"));
    }
    for name in ["a", "b", "c"] {
        gateway.idle(name);
        assert_eq!(gateway.counted(name, 200), 3.0, "{name}");
    }
}

#[test]
fn the_first_failure_ends_it_and_says_where() {
    let gateway = gateway();
    let answer = gateway.invoke("a|fails|c", "x").expect(500);
    assert_eq!((answer.header("x-chain-step"), answer.header("x-chain-function")), ("2", "fails"));
    gateway.idle("a");
    assert_eq!(gateway.counted("a", 200), 1.0);
    assert_eq!(gateway.counted("fails", 500), 1.0);
    assert_eq!(gateway.metric("gateway_function_invocation_started{function_name=\"c\"}"), 0.0);
}

#[test]
fn what_is_no_chain_is_refused_before_anything_runs() {
    let gateway = gateway();
    gateway.invoke("a|nobody", "").refused(404, "unknown_function", "nobody");
    gateway.invoke("a|", "").refused(400, "invalid_spec", "function name");
    gateway.invoke("a|a|a|a|a|a|a|a|a", "").refused(400, "invalid_spec", "9 steps");
    gateway.invoke("a|a|a|a|a|a|a|a", "x").expect(200);
    let nine = gateway.metric("gateway_function_invocation_started{function_name=\"a\"}");
    assert_eq!(nine, 8.0);
    let deploy = gateway.create("a|b", &gateway.upload(&guest::cat()), json!({}));
    deploy.refused(400, "invalid_spec", "a|b");
}

#[test]
fn a_large_body_streams_from_step_to_step() {
    let gateway = gateway();
    let body = "0123456789abcdef".repeat(256 << 10);
    let answer = gateway.invoke("a|b", &body).expect(200);
    assert_eq!(answer.body.len(), body.len() + 4);
    assert!(answer.text().starts_with("b:a:0123"));
}

#[test]
fn the_first_step_alone_gets_the_path() {
    let gateway = gateway();
    gateway.deploy("env", &guest::tells_environment());
    let first = gateway.send(gateway.request("PUT", "/function/env|a/p/q?r=s"), b"").expect(200).text();
    assert!(first.contains("Http_Path=/p/q") && first.contains("Http_Query=r=s"), "{first}");
    assert!(first.contains("Http_Method=PUT"), "{first}");
    let second = gateway.send(gateway.request("PUT", "/function/a|env/p/q?r=s"), b"").expect(200).text();
    assert!(second.contains("Http_Path=/\n") && second.contains("Http_Method=POST"), "{second}");
}
