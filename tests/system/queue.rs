//! Asynchronous invocations: accepted is never lost, and every end is told.

mod callbacks;
mod crashes;
mod listener;

use std::net::TcpListener;

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::support::answer::Answer;
use crate::support::{Gateway, Start, guest, wait};
use listener::Listener;

/// Queues an invocation; answers its id.
#[track_caller]
fn queue(gateway: &Gateway, name: &str, body: &[u8], headers: &[(&str, &str)]) -> String {
    let answer = try_queue(gateway, name, body, headers).expect(202);
    assert!(!answer.header("x-start-time").is_empty());
    answer.header("x-call-id").to_owned()
}

#[track_caller]
fn try_queue(gateway: &Gateway, name: &str, body: &[u8], headers: &[(&str, &str)]) -> Answer {
    let request = gateway.request("POST", &format!("/async-function/{name}"));
    gateway.send(headers.iter().fold(request, |request, (key, value)| request.header(*key, *value)), body)
}

#[track_caller]
fn status(gateway: &Gateway, id: &str) -> Value {
    gateway.get(&format!("/system/async/{id}")).expect(200).json()
}

/// Waits until a call is in a state.
#[track_caller]
fn until(gateway: &Gateway, id: &str, state: &str) -> Value {
    wait::value(state, || Some(status(gateway, id)).filter(|call| call["state"] == state))
}

#[test]
fn an_invocation_is_run_later_and_its_answer_sent_on() {
    let (gateway, listener) = (Gateway::start(), Listener::start());
    gateway.deploy("env", &guest::tells_environment());
    let url = listener.url("/done?a=b");
    let headers = [("x-callback-url", url.as_str()), ("x-own", "7")];
    let id = queue(&gateway, "env/p/q?r=s", b"body", &headers);
    let received = wait::value("the callback came", || listener.received().pop());
    assert_eq!(received.line, "POST /done?a=b HTTP/1.1");
    let header = |name: &str| received.headers.get(name).map_or("", |value| value.to_str().unwrap());
    assert_eq!(header("x-call-id"), id);
    assert_eq!((header("x-function-name"), header("x-function-status")), ("env", "200"));
    assert!(header("x-duration-seconds").parse::<f64>().is_ok() && !header("x-start-time").is_empty());
    for line in
        ["Http_Method=POST", "Http_Path=/p/q", "Http_Query=r=s", "Http_X_Own=7", "Http_ContentLength=4"]
    {
        assert!(received.body.contains(&format!("{line}\n")), "{line} is not in\n{}", received.body);
    }
    assert!(!received.body.contains("Http_X_Retry"), "{}", received.body);
    let call = until(&gateway, &id, "done");
    assert_eq!(
        (&call["statusCode"], &call["starts"], &call["functionName"]),
        (&json!(200), &json!(1), &json!("env"))
    );
    assert_eq!(gateway.counted("env", 200), 1.0);
    assert_eq!(gateway.metric("bramble_queue_completed_total{outcome=\"done\"}"), 1.0);
}

#[test]
fn what_cannot_be_run_is_refused_at_once() {
    let gateway = Gateway::start();
    gateway.deploy("cat", &guest::cat());
    try_queue(&gateway, "nobody", b"", &[]).refused(404, "unknown_function", "nobody");
    for (url, says) in [("next", "no URL"), ("https://a!", "no certificate"), ("https://a:x/", "no URL")] {
        try_queue(&gateway, "cat", b"", &[("x-callback-url", url)]).refused(400, "invalid_spec", says);
    }
    assert_eq!(gateway.get("/async-function/cat").status, 405);
    gateway.get("/system/async/unknown").refused(404, "unknown_call", "unknown");
    let bad = json!({"annotations": {"com.openfaas.retry.attempts": "many"}});
    let refused = gateway.create("f", &gateway.upload(&guest::cat()), bad);
    refused.refused(400, "invalid_spec", "annotations.com.openfaas.retry.attempts: \"many\"");
}

#[test]
fn a_large_body_goes_through_a_file_that_is_gone_afterwards() {
    let (gateway, listener) = (Gateway::start(), Listener::start());
    gateway.deploy("cat", &guest::cat());
    let body = "0123456789abcdef".repeat(64 << 10);
    let id = queue(&gateway, "cat", body.as_bytes(), &[("x-callback-url", &listener.url("/"))]);
    let received = wait::value("the callback came", || listener.received().pop());
    assert!(received.body == body, "{} bytes came back", received.body.len());
    until(&gateway, &id, "done");
    let bodies = gateway.data_dir().join("queue/bodies");
    wait::until("the file is gone", || bodies.read_dir().unwrap().count() == 0);
}

#[test]
fn a_failure_is_retried_as_annotated_and_then_a_dead_letter_that_can_be_replayed() {
    let gateway = Gateway::start();
    let annotations = json!({"annotations": {
        "com.openfaas.retry.attempts": "2", "com.openfaas.retry.min_wait": "10ms",
    }});
    gateway.deploy_with("f", &guest::running("unreachable"), annotations);
    let id = queue(&gateway, "f", b"", &[]);
    let call = until(&gateway, &id, "dead");
    assert_eq!((&call["starts"], &call["statusCode"]), (&json!(3), &json!(500)));
    assert_eq!(call["reason"], "the function answered 500, after 3 runs");
    assert_eq!(gateway.counted("f", 500), 3.0);
    let gateway = gateway.kill().start();
    let dead = gateway.get("/system/async/dead?function=f").expect(200).json();
    assert_eq!((dead.as_array().unwrap().len(), &dead[0]["callId"]), (1, &json!(id)));

    let listener = Listener::start();
    gateway.deploy("f", &guest::tells_environment());
    let replay = format!("/system/async/dead/{id}/replay");
    gateway.call("POST", &replay, "", b"").expect(202);
    until(&gateway, &id, "done");
    gateway.call("POST", &replay, "", b"").refused(404, "unknown_call", &id);
    drop(listener);
}

#[test]
fn a_run_that_is_not_the_first_says_which_and_of_how_many() {
    let (gateway, listener) = (Gateway::start(), Listener::start());
    let spec = json!({
        "envVars": {"write_debug": "true"},
        "annotations": {
            "bramble.output": "cgi",
            "com.openfaas.retry.attempts": "2",
            "com.openfaas.retry.codes": "418",
            "com.openfaas.retry.min_wait": "10ms",
        },
    });
    gateway.deploy_with("teapot", &guest::tells_environment_after("Status: 418 I'm a teapot\n\n"), spec);
    let url = listener.url("/");
    let forged = [("x-callback-url", &*url), ("x-retry-max", "9")];
    let id = queue(&gateway, "teapot", b"", &forged);
    until(&gateway, &id, "dead");
    let log = gateway.get("/system/logs?name=teapot").expect(200).text();
    let told = |what: &str| log.lines().filter(|line| line.contains(what)).count();
    assert_eq!((told("Http_X_Retry=1"), told("Http_X_Retry=2"), told("Http_X_Retry=")), (1, 1, 2), "{log}");
    assert_eq!((told("Http_X_Retry_Max=2"), told("Http_X_Retry_Max=")), (3, 3), "{log}");
    let received = listener.received();
    assert_eq!(received.len(), 1, "what is run again has not ended");
    assert!(received[0].body.contains("Http_X_Retry=2\n") && received[0].headers.get("x-retry").is_none());
}

#[test]
fn what_a_caller_says_of_earlier_tries_is_passed_on() {
    let (gateway, listener) = (Gateway::start(), Listener::start());
    gateway.deploy("env", &guest::tells_environment());
    queue(&gateway, "env", b"", &[("x-callback-url", &*listener.url("/")), ("x-retry", "1")]);
    let received = wait::value("the callback came", || listener.received().pop());
    assert!(received.body.contains("Http_X_Retry=1\n"), "{}", received.body);
}

#[test]
fn an_answer_of_the_function_is_no_failure() {
    let gateway = Gateway::start();
    let teapot = guest::says("Status: 418 I'm a teapot\n\nshort and stout");
    gateway.deploy_with("teapot", &teapot, json!({"annotations": {"bramble.output": "cgi"}}));
    let id = queue(&gateway, "teapot", b"", &[]);
    assert_eq!(until(&gateway, &id, "done")["statusCode"], 418);
}

#[test]
fn a_call_can_be_cancelled_before_and_while_it_runs() {
    let gateway = Gateway::start();
    let limits = json!({"envVars": {"max_inflight": "1", "exec_timeout": "10m"}});
    gateway.deploy_with("slow", &guest::sleeps(), limits);
    let first = queue(&gateway, "slow", b"", &[]);
    until(&gateway, &first, "running");
    let second = queue(&gateway, "slow", b"", &[]);
    assert_eq!(status(&gateway, &second)["state"], "queued");
    let cancel = |id: &str| gateway.call("DELETE", &format!("/system/async/{id}"), "", b"");
    assert_eq!(cancel(&second).expect(202).json()["wasRunning"], false);
    assert_eq!(status(&gateway, &second)["state"], "cancelled");
    cancel(&second).refused(409, "call_ended", &second);
    assert_eq!(cancel(&first).expect(202).json()["wasRunning"], true);
    // It is given ten minutes, and stopped.
    until(&gateway, &first, "cancelled");
    gateway.idle("slow");
    assert_eq!(gateway.counted("slow", 499), 1.0);
    cancel("nobody").refused(404, "unknown_call", "nobody");
    let gateway = gateway.kill().start();
    gateway.get(&format!("/system/async/{second}")).refused(404, "unknown_call", &second);
}

#[test]
fn a_call_is_cancelled_where_it_was_queued_by_who_may_invoke_the_function() {
    let gateway = Gateway::start();
    gateway.json("POST", "/system/secrets", &json!({"name": "caller", "value": "shown"})).expect(201);
    let spec = json!({
        "envVars": {"max_inflight": "1", "exec_timeout": "10m"},
        "annotations": {"bramble.auth.token-secret": "caller"},
    });
    gateway.deploy_with("slow", &guest::sleeps(), spec);
    gateway.deploy("fails", &guest::running("unreachable"));
    let token = ("authorization", "Bearer shown");
    let calls = [(); 3].map(|()| queue(&gateway, "slow", b"", &[token]));
    until(&gateway, &calls[0], "running");
    let cancel = |path: &str, shown: Option<&str>| {
        let request = gateway.request("DELETE", &format!("/async-function/{path}"));
        let request =
            shown.into_iter().fold(request, |request, shown| request.header("authorization", shown));
        gateway.send(request, b"")
    };
    let path = format!("slow/{}", calls[1]);
    // A token that was replaced is none any more.
    for shown in [None, Some("Bearer old")] {
        cancel(&path, shown).refused(401, "token_required", "slow");
    }
    cancel(&format!("fails/{}", calls[1]), Some(token.1)).refused(404, "unknown_call", &calls[1]);
    assert_eq!(status(&gateway, &calls[1])["state"], "queued");
    cancel(&path, Some(token.1)).says(202, "");
    cancel(&path, Some(token.1)).refused(409, "call_ended", &calls[1]);
    cancel(&calls[2], Some(token.1)).says(202, "");
    for id in &calls[1..] {
        assert_eq!(status(&gateway, id)["state"], "cancelled");
    }
    cancel(&format!("slow.openfaas-fn/{}", calls[0]), Some(token.1)).says(202, "");
    // What an operator should see is not for everybody to take away.
    let dead = queue(&gateway, "fails", b"", &[]);
    until(&gateway, &dead, "dead");
    cancel(&dead, None).refused(409, "call_ended", &dead);
    assert_eq!(status(&gateway, &dead)["state"], "dead");
}

#[test]
fn a_full_queue_refuses_more_and_says_when_to_come_back() {
    let gateway = Start::new().flag("--queue-max", "2").flag("--queue-max-size", "1Mi").start();
    gateway.deploy_with("slow", &guest::sleeps(), json!({"envVars": {"exec_timeout": "10m"}}));
    let large = vec![b'x'; 600 << 10];
    queue(&gateway, "slow", &large, &[]);
    try_queue(&gateway, "slow", &large, &[]).refused(429, "queue_full", "--queue-max-size");
    queue(&gateway, "slow", b"", &[]);
    let refused = try_queue(&gateway, "slow", b"", &[]);
    assert_eq!(refused.header("retry-after"), "1");
    refused.refused(429, "queue_full", "--queue-max)");
    try_queue(&gateway, "slow", &[large.clone(), large].concat(), &[]).refused(413, "body_too_large", "");
    let queue = gateway.get("/system/async").expect(200).json();
    assert_eq!(queue["unfinished"], 2);
    let bytes = queue["bytes"].as_u64().unwrap();
    assert!(bytes > 600 << 10 && bytes < 601 << 10, "the body and what its calls came with: {bytes}");
}

#[test]
fn a_flood_of_one_function_does_not_keep_others_waiting() {
    let gateway = Start::new().flag("--queue-workers", "2").start();
    gateway.deploy_with("slow", &guest::sleeps(), json!({"envVars": {"exec_timeout": "10m"}}));
    gateway.deploy("quick", &guest::cat());
    for _ in 0..20 {
        queue(&gateway, "slow", b"", &[]);
    }
    for _ in 0..5 {
        let id = queue(&gateway, "quick", b"", &[]);
        until(&gateway, &id, "done");
    }
    let queue = gateway.get("/system/async?function=slow").expect(200).json();
    assert_eq!((&queue["running"], &queue["functions"][0]["queued"]), (&json!(2), &json!(18)));
    assert_eq!(gateway.metric("bramble_queue_depth{function_name=\"slow\"}"), 18.0);
}

#[test]
fn a_function_without_room_is_a_wait_and_no_failure() {
    // The log tells of the refused try; nothing else does.
    let gateway = Start::new().flag("--log-level", "info,bramble_gateway::queue=debug").start();
    gateway.deploy_with(
        "one",
        &guest::cat(),
        json!({"envVars": {"max_inflight": "1", "exec_timeout": "10m"}}),
    );
    // A caller that is in no hurry takes the only place.
    let mut wire = gateway.wire();
    wire.begin("one").chunk(b"x");
    assert_eq!(wire.response().status, 200);
    let id = queue(&gateway, "one", b"", &[]);
    wait::until("it was tried", || gateway.log().contains("a queued invocation waits"));
    until(&gateway, &id, "queued");
    wire.end();
    let call = until(&gateway, &id, "done");
    assert_eq!(call["starts"], 1);
}

#[test]
fn callbacks_that_nobody_answers_hold_up_those_to_the_same_host_only() {
    let gateway = Start::new().flag("--queue-workers", "1").start();
    for name in ["cat", "other"] {
        gateway.deploy(name, &guest::cat());
    }
    // It takes connections and says nothing.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    // More than may be on their way to it.
    let waiting: Vec<_> = (0..40)
        .map(|at| {
            let scheme = ["http", "https"][at % 2];
            let url = format!("{scheme}://{}/", silent.local_addr().unwrap());
            queue(&gateway, "cat", b"", &[("x-callback-url", &url)])
        })
        .collect();
    until(&gateway, &waiting[15], "calling_back");
    let listener = Listener::start();
    let url = listener.url("/");
    for id in [
        queue(&gateway, "cat", b"", &[]),
        queue(&gateway, "cat", b"", &[("x-callback-url", &url)]),
        queue(&gateway, "other", b"", &[]),
    ] {
        until(&gateway, &id, "done");
    }
    assert_eq!(status(&gateway, &waiting[0])["state"], "calling_back");
    assert_eq!(status(&gateway, &waiting[39])["state"], "queued");
}

#[test]
fn a_callback_that_is_refused_makes_a_dead_letter() {
    let (gateway, listener) = (Gateway::start(), Listener::answering(404));
    gateway.deploy("cat", &guest::cat());
    let id = queue(&gateway, "cat", b"", &[("x-callback-url", &listener.url("/"))]);
    let call = until(&gateway, &id, "dead");
    assert!(call["reason"].as_str().unwrap().contains("it answered 404"), "{call}");
}

#[test]
fn calls_of_a_function_that_is_removed_wait_for_it() {
    let gateway = Gateway::start();
    let limits = json!({"envVars": {"max_inflight": "1", "exec_timeout": "10m"}});
    gateway.deploy_with("slow", &guest::sleeps(), limits);
    gateway.deploy("other", &guest::cat());
    let first = queue(&gateway, "slow", b"", &[]);
    until(&gateway, &first, "running");
    let second = queue(&gateway, "slow", b"", &[]);
    gateway.remove("slow");
    // By then it was this one's turn too.
    let other = queue(&gateway, "other", b"", &[]);
    until(&gateway, &other, "done");
    assert_eq!(status(&gateway, &second)["state"], "queued");
    gateway.deploy("slow", &guest::cat());
    assert_eq!(until(&gateway, &second, "done")["starts"], 1);
}

#[test]
fn a_queue_of_dead_letters_refuses_more_and_drops_none() {
    let gateway = Start::new().flag("--queue-max", "2").start();
    gateway.deploy("fails", &guest::running("unreachable"));
    let dead = [(); 2].map(|()| {
        let id = queue(&gateway, "fails", b"", &[]);
        until(&gateway, &id, "dead");
        id
    });
    try_queue(&gateway, "fails", b"", &[]).refused(429, "queue_full", "replayed or deleted");
    assert_eq!(gateway.get("/system/async/dead").expect(200).json().as_array().unwrap().len(), 2);
    gateway.deploy("fails", &guest::cat());
    gateway.call("POST", &format!("/system/async/dead/{}/replay", dead[0]), "", b"").expect(202);
    until(&gateway, &dead[0], "done");
    queue(&gateway, "fails", b"", &[]);
    assert_eq!(status(&gateway, &dead[1])["state"], "dead");
}

#[test]
fn no_call_has_the_name_of_the_list_of_dead_letters() {
    let gateway = Gateway::start();
    gateway.deploy("cat", &guest::cat());
    let id = queue(&gateway, "cat", b"", &[("x-call-id", "dead")]);
    assert_ne!(id, "dead");
    until(&gateway, &id, "done");
    assert_eq!(queue(&gateway, "cat", b"", &[("x-call-id", "deaf")]), "deaf");
}

#[test]
fn a_function_at_zero_is_woken() {
    let gateway = Gateway::start();
    gateway.deploy("cat", &guest::cat());
    gateway.scale("cat", 0);
    let id = queue(&gateway, "cat", b"x", &[]);
    until(&gateway, &id, "done");
}

#[test]
fn a_stop_lets_what_runs_finish_and_keeps_the_rest() {
    let mut gateway = Start::new().flag("--queue-workers", "1").start();
    gateway.deploy("naps", &guest::running("(call $sleep (i64.const 3000000000))"));
    gateway.deploy("env", &guest::tells_environment());
    let first = queue(&gateway, "naps", b"", &[]);
    until(&gateway, &first, "running");
    let listener = Listener::start();
    let second = queue(&gateway, "naps", b"", &[("x-callback-url", &listener.url("/"))]);
    gateway.signal(Signal::TERM);
    assert_eq!(gateway.ended().code(), Some(0));
    let gateway = gateway.kill().start();
    gateway.get(&format!("/system/async/{first}")).refused(404, "unknown_call", &first);
    wait::until("the second one ran", || !listener.received().is_empty());
    assert_eq!(until(&gateway, &second, "done")["starts"], 1);
}

#[test]
fn the_command_line_queues_and_looks_after_it() {
    let gateway = Gateway::start();
    gateway.deploy("fails", &guest::running("unreachable"));
    let run = |arguments: &[&str]| {
        let output = gateway.cli(arguments).output().unwrap();
        assert!(output.status.success(), "{arguments:?}: {output:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    let id = run(&["invoke", "--async", "fails", "--data", "x"]).trim().to_owned();
    until(&gateway, &id, "dead");
    assert!(run(&["queue", "status", &id]).contains("\"dead\""));
    assert!(run(&["queue", "dead"]).contains(&id));
    gateway.deploy("fails", &guest::cat());
    run(&["queue", "replay", "--all"]);
    until(&gateway, &id, "done");
    assert!(!run(&["queue", "list"]).contains(&id));
    let unknown = gateway.cli(&["queue", "cancel", "nobody"]).output().unwrap();
    assert_eq!(unknown.status.code(), Some(4));
}
