//! What a function sees of a request, and what a client sees of its answer.

use serde_json::json;

use crate::support::answer::Answer;
use crate::support::{Gateway, guest, wait};

/// A gateway with a function that tells its environment.
fn gateway() -> Gateway {
    let gateway = Gateway::start();
    gateway.deploy_with("env", &guest::tells_environment(), json!({"envVars": {"OWN": "value"}}));
    gateway
}

/// That each of these lines was answered.
#[track_caller]
fn tells(answer: Answer, lines: &[&str]) {
    let text = answer.expect(200).text();
    for line in lines {
        assert!(text.lines().any(|told| told == *line), "{line:?} is not in\n{text}");
    }
}

/// That no line of an answer begins with this.
#[track_caller]
fn silent_about(answer: &Answer, start: &str) {
    let text = answer.text();
    assert!(!text.lines().any(|told| told.starts_with(start)), "{start:?} begins a line of\n{text}");
}

/// A function that answers this CGI block.
fn cgi(block: &str) -> Gateway {
    let gateway = Gateway::start();
    let annotations = json!({"annotations": {"bramble.output": "cgi"}});
    gateway.deploy_with("cgi", &guest::says(block), annotations);
    gateway
}

#[test]
fn a_function_sees_method_path_query_and_its_own_variables() {
    let answer = gateway().get("/function/env/a/b%20c?x=1&y=%2F");
    let lines = ["Http_Method=GET", "Http_Path=/a/b c", "Http_Query=x=1&y=%2F", "OWN=value"];
    tells(answer, &lines);
}

#[test]
fn a_function_sees_headers_and_the_length() {
    let gateway = gateway();
    let request =
        gateway.request("POST", "/function/env").header("x-first-name", "Ada").header("accept", "a/b");
    let lines = ["Http_X_First_Name=Ada", "Http_Accept=a/b", "Http_ContentLength=4", "Http_Content_Length=4"];
    tells(gateway.send(request, b"body"), &lines);
}

#[test]
fn a_function_sees_its_name_and_words_as_arguments() {
    let gateway = Gateway::start();
    gateway.deploy_with("env", &guest::tells_environment(), json!({"envProcess": "--loud 'two words'"}));
    let text = gateway.invoke("env", "").expect(200).text();
    let lines: Vec<&str> = text.lines().collect();
    assert!(lines.ends_with(&["env", "--loud", "two words"]), "{text}");
}

#[test]
fn every_method_reaches_a_function() {
    let gateway = gateway();
    for method in ["GET", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "PROPFIND", "BREW"] {
        let answer = gateway.send(gateway.request(method, "/function/env"), b"");
        tells(answer, &[&format!("Http_Method={method}")]);
    }
}

#[test]
fn a_head_request_is_answered_without_a_body() {
    let gateway = Gateway::start();
    gateway.deploy("hello", &guest::says("hello\n"));
    let mut wire = gateway.wire();
    wire.head("HEAD /function/hello", &[]);
    let head = wire.response();
    assert_eq!((head.status.as_u16(), &head.headers["content-length"]), (200, &"6".parse().unwrap()));
    // Nothing of a body stands between this answer and the next.
    wire.head("GET /function/hello", &[]);
    wire.answer().says(200, "hello\n");
}

#[test]
fn a_head_request_to_a_function_that_streams_is_counted_as_answered() {
    let gateway = Gateway::start();
    // More than is held back until the outcome is certain.
    gateway.deploy("floods", &guest::floods(1, Some(16)));
    let mut wire = gateway.wire();
    for _ in 0..2 {
        wire.head("HEAD /function/floods", &[]);
        assert_eq!(wire.response().status, 200);
    }
    gateway.idle("floods");
    assert_eq!((gateway.counted("floods", 200), gateway.counted("floods", 499)), (2.0, 0.0));
}

#[test]
fn the_call_id_is_the_clients_own_or_a_new_one() {
    let gateway = gateway();
    let request = gateway.request("GET", "/function/env").header("x-call-id", "my-own-7");
    let answer = gateway.send(request, b"");
    assert_eq!(answer.header("x-call-id"), "my-own-7");
    tells(answer, &["Http_X_Call_Id=my-own-7"]);
    let (first, second) = (gateway.get("/function/env"), gateway.get("/function/env"));
    assert_ne!(first.header("x-call-id"), second.header("x-call-id"));
    let own = format!("Http_X_Call_Id={}", first.header("x-call-id"));
    tells(first, &[&own]);
}

#[test]
fn an_answer_tells_when_it_began_and_how_long_it_took() {
    let answer = gateway().get("/function/env");
    let started: u64 = answer.header("x-start-time").parse().unwrap();
    let took: f64 = answer.header("x-duration-seconds").parse().unwrap();
    assert!(started > 1_700_000_000_000_000_000 && took >= 0.0, "{answer:?}");
}

#[test]
fn a_failure_has_a_call_id_too() {
    let gateway = Gateway::start();
    gateway.deploy("fails", &guest::running("unreachable"));
    let request = gateway.request("GET", "/function/fails").header("x-call-id", "of-a-failure");
    assert_eq!(gateway.send(request, b"").expect(500).header("x-call-id"), "of-a-failure");
}

#[test]
fn headers_about_the_connection_are_for_the_gateway_only() {
    let gateway = gateway();
    let mut wire = gateway.wire();
    let headers =
        ["connection: close, X-Private", "x-private: 1", "te: trailers", "upgrade: h2c", "x-public: 2"];
    wire.head("GET /function/env", &headers);
    let answer = wire.answer();
    for gone in ["Http_Connection", "Http_X_Private", "Http_Te", "Http_Upgrade"] {
        silent_about(&answer, gone);
    }
    tells(answer, &["Http_X_Public=2"]);
}

#[test]
fn a_function_cannot_set_headers_about_the_connection() {
    let block = "Connection: close\nContent-Length: 9999\nTransfer-Encoding: chunked\nKeep-Alive: 5\nX-Own: 1\n\nbody";
    let gateway = cgi(block);
    let mut wire = gateway.wire();
    for _ in 0..2 {
        wire.head("GET /function/cgi", &[]);
        let answer = wire.answer();
        assert_eq!((answer.header("connection"), answer.header("keep-alive")), ("", ""));
        assert_eq!(answer.header("x-own"), "1");
        answer.says(200, "body");
    }
}

#[test]
fn a_function_sets_status_and_headers_as_a_cgi_program() {
    let answer = cgi("Status: 418 Short And Stout\nContent-Type: text/tea\nX-A: 1\nX-A: 2\n\nbrewed")
        .get("/function/cgi");
    assert_eq!(answer.header("content-type"), "text/tea");
    assert_eq!(answer.headers.get_all("x-a").iter().count(), 2);
    answer.says(418, "brewed");
}

#[test]
fn cgi_headers_may_come_bit_by_bit() {
    let gateway = Gateway::start();
    // The head in two parts with a long pause between them, then the body while the request is open.
    let wasm = guest::with(
        &guest::data("Status: 203\nX-A: 1\n\nbody"),
        "(call $write (i32.const 1) (i32.const 4096) (i32.const 15))
        (call $sleep (i64.const 300000000))
        (call $write (i32.const 1) (i32.const 4111) (i32.const 9))
        (drop (call $read))",
    );
    gateway.deploy_with("cgi", &wasm, json!({"annotations": {"bramble.output": "cgi"}}));
    let mut wire = gateway.wire();
    wire.begin("cgi");
    let head = wire.response();
    assert_eq!((head.status.as_u16(), &head.headers["x-a"]), (203, &"1".parse().unwrap()));
    assert_eq!(wire.piece().unwrap().unwrap(), b"body");
    wire.end();
    assert_eq!(wire.piece().unwrap(), None);
}

#[test]
fn cgi_headers_may_come_after_a_wait_for_the_body() {
    let gateway = Gateway::start();
    let wasm = guest::with(
        &guest::data("Status: 203\n\nbody"),
        "(call $write (i32.const 1) (i32.const 4096) (i32.const 9))
        (drop (call $read))
        (call $write (i32.const 1) (i32.const 4105) (i32.const 8))",
    );
    gateway.deploy_with("cgi", &wasm, json!({"annotations": {"bramble.output": "cgi"}}));
    let mut wire = gateway.wire();
    wire.begin("cgi");
    wait::until("it waits for the body", || gateway.busy("cgi") == 1.0);
    wire.chunk(b"x").end();
    wire.answer().says(203, "body");
}

#[test]
fn what_is_no_cgi_block_is_a_bad_answer() {
    for block in ["no header at all\n\nbody", "Status: soon\n\n", "X-A: 1\n"] {
        cgi(block).get("/function/cgi").refused(502, "invalid_response", "");
    }
}

#[test]
fn an_answer_without_a_body_has_none() {
    let gateway = cgi("Status: 204\n\n");
    let mut wire = gateway.wire();
    for _ in 0..2 {
        wire.head("GET /function/cgi", &[]);
        assert_eq!(wire.response().status, 204);
    }
}

#[test]
fn the_content_type_is_the_functions_or_the_requests_or_found_out() {
    let gateway = Gateway::start();
    gateway.deploy("cat", &guest::cat());
    gateway.deploy_with("typed", &guest::cat(), json!({"envVars": {"content_type": "text/csv"}}));
    let type_of = |path: &str, kind: Option<&str>, body: &[u8]| {
        let mut request = gateway.request("POST", path);
        if let Some(kind) = kind {
            request = request.header("content-type", kind);
        }
        gateway.send(request, body).expect(200).header("content-type").to_owned()
    };
    assert_eq!(type_of("/function/typed", Some("image/png"), b"1,2"), "text/csv");
    assert_eq!(type_of("/function/cat", Some("image/png"), b"1,2"), "image/png");
    assert_eq!(type_of("/function/cat", None, b"1,2"), "text/plain; charset=utf-8");
    assert_eq!(type_of("/function/cat", None, b"\xff\0"), "application/octet-stream");
}

#[test]
fn a_request_that_is_no_http_is_refused() {
    let gateway = gateway();
    let mut wire = gateway.wire();
    wire.write(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 TLS to the wrong port\r\n\r\n").unwrap();
    assert!(wire.try_response().map_or(true, |head| head.status == 400));
    gateway.get("/function/env").expect(200);
}

#[test]
fn headers_without_end_are_refused() {
    let gateway = gateway();
    let mut wire = gateway.wire();
    let header = format!("x-long: {}", "x".repeat(64 << 10));
    let headers = vec![header.as_str(); 64];
    // It may be cut off while it sends.
    let text = format!("GET /function/env HTTP/1.1\r\nhost: x\r\n{}\r\n\r\n", headers.join("\r\n"));
    let _ = wire.write(text.as_bytes());
    assert!(wire.try_response().map_or(true, |head| head.status == 431), "it was accepted");
    gateway.get("/function/env").expect(200);
}

#[test]
fn an_unknown_path_or_method_is_said_so() {
    let gateway = gateway();
    gateway.get("/nothing/here").refused(404, "unknown_path", "/nothing/here");
    gateway.call("PATCH", "/system/functions", "text/plain", b"").refused(405, "unknown_method", "PATCH");
    gateway.get("/function/").refused(400, "invalid_spec", "DNS label");
}
