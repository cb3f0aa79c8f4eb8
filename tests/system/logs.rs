//! A function's log: what it prints on stderr, by call id, and what settings put there or elsewhere.

use serde_json::{Value, json};

use crate::support::{Gateway, guest};

/// Prints one line on stdout and one on stderr.
fn talks() -> Vec<u8> {
    guest::with(
        &guest::data("out\nerr\n"),
        "(call $write (i32.const 1) (i32.const 4096) (i32.const 4))
        (call $write (i32.const 2) (i32.const 4100) (i32.const 4))",
    )
}

/// The lines of a log, as `instance: text`.
fn lines(gateway: &Gateway, query: &str) -> Vec<String> {
    let text = gateway.get(&format!("/system/logs?name=talks{query}")).expect(200).text();
    let lines = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    lines
        .map(|line| format!("{}: {}", line["instance"].as_str().unwrap(), line["text"].as_str().unwrap()))
        .collect()
}

fn invoke(gateway: &Gateway, id: &str) -> String {
    let request = gateway.request("POST", "/function/talks").header("x-call-id", id);
    gateway.send(request, b"").expect(200).text()
}

#[test]
fn each_line_has_the_id_of_its_invocation() {
    let gateway = Gateway::start();
    gateway.deploy("talks", &talks());
    assert_eq!(invoke(&gateway, "one"), "out\n");
    invoke(&gateway, "two");
    assert_eq!(lines(&gateway, ""), ["one: err", "two: err"]);
    assert_eq!(lines(&gateway, "&tail=1"), ["two: err"]);
    assert_eq!(lines(&gateway, "&instance=one"), ["one: err"]);
    assert_eq!(lines(&gateway, "&since=2099-01-01T00:00:00Z"), [] as [&str; 0]);
}

#[test]
fn write_debug_puts_the_answer_into_the_log_too() {
    let gateway = Gateway::start();
    gateway.deploy_with("talks", &talks(), json!({"envVars": {"write_debug": "true"}}));
    assert_eq!(invoke(&gateway, "one"), "out\n");
    assert_eq!(lines(&gateway, ""), ["one: out", "one: err"]);
}

#[test]
fn combine_output_puts_stderr_into_the_answer() {
    let gateway = Gateway::start();
    gateway.deploy_with("talks", &talks(), json!({"envVars": {"combine_output": "true"}}));
    assert_eq!(invoke(&gateway, "one"), "out\nerr\n");
    assert_eq!(lines(&gateway, ""), [] as [&str; 0]);
}

#[test]
fn a_bad_query_is_refused_by_name() {
    let gateway = Gateway::start();
    gateway.deploy("talks", &talks());
    for (query, field) in [("&tail=many", "tail"), ("&since=yesterday", "since")] {
        gateway.get(&format!("/system/logs?name=talks{query}")).refused(400, "invalid_spec", field);
    }
    gateway.get("/system/logs").refused(400, "invalid_spec", "name");
}

#[test]
fn what_is_no_text_is_logged_as_text_all_the_same() {
    let gateway = Gateway::start();
    let wasm = guest::with(
        r#"(data (i32.const 4096) "\ff\00\0dx\0a")"#,
        "(call $write (i32.const 2) (i32.const 4096) (i32.const 5))",
    );
    gateway.deploy("talks", &wasm);
    assert_eq!(invoke(&gateway, "one"), "");
    assert_eq!(lines(&gateway, ""), ["one: \u{fffd}\0\rx"]);
}
