//! The command line against a running gateway: what the README tells people to type.

use std::io::{BufRead, BufReader, Read};
use std::net::TcpListener;
use std::process::{Command, Output, Stdio};
use std::sync::mpsc::channel;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

use crate::support::gateway::bramble;
use crate::support::{Gateway, guest, wait};

/// Runs a command and checks its exit code; answers its stdout.
#[track_caller]
fn check(mut command: Command, code: i32, stderr: &str) -> String {
    let Output { status, stdout, stderr: said } = command.output().unwrap();
    let said = String::from_utf8_lossy(&said);
    assert_eq!(status.code(), Some(code), "{said}");
    assert!(said.contains(stderr), "{stderr:?} is not in {said:?}");
    String::from_utf8(stdout).unwrap()
}

/// A gateway, and a directory with a module in it.
fn with_file(name: &str, wasm: &[u8]) -> (Gateway, tempfile::TempDir) {
    let (gateway, dir) = (Gateway::start(), tempfile::tempdir().unwrap());
    std::fs::write(dir.path().join(name), wasm).unwrap();
    (gateway, dir)
}

#[test]
fn deploy_and_invoke_in_one_line_of_a_shell() {
    let (gateway, dir) = with_file("my.wasm", &guest::cat());
    let mut shell = Command::new("sh");
    shell.args(["-c", "bramble deploy ./my.wasm && echo hi | bramble invoke my"]).current_dir(dir.path());
    let beside = bramble().parent().unwrap().to_str().unwrap().to_owned();
    shell.env_clear().env("PATH", format!("{beside}:/usr/bin:/bin"));
    shell.env("OPENFAAS_URL", format!("http://{}", gateway.address));
    let said = check(shell, 0, "");
    assert!(said.starts_with("deployed my") && said.ends_with("/function/my\nhi\n"), "{said:?}");
}

#[test]
fn a_bad_module_is_refused_with_the_gateways_words() {
    let (gateway, dir) = with_file("bad.wasm", b"#!/bin/sh\n");
    let path = dir.path().join("bad.wasm");
    check(gateway.cli(&["deploy", path.to_str().unwrap()]), 1, "not a WebAssembly file");
    assert_eq!(check(gateway.cli(&["list", "--quiet"]), 0, ""), "");
}

#[test]
fn a_failing_function_is_1_and_a_missing_one_is_4() {
    let gateway = Gateway::start();
    gateway.deploy("fails", &guest::running("(call $proc_exit (i32.const 3))"));
    check(gateway.cli(&["invoke", "fails"]), 1, "exit status 3");
    check(gateway.cli(&["invoke", "nobody"]), 4, "not deployed");
    check(gateway.cli(&["describe", "nobody"]), 4, "not deployed");
    check(gateway.cli(&["remove", "nobody"]), 4, "not deployed");
}

#[test]
fn the_verbs_do_what_they_say() {
    let (gateway, dir) = with_file("my.wasm", &guest::tells_environment());
    let path = dir.path().join("my.wasm");
    let deploy = ["deploy", path.to_str().unwrap(), "--name", "env", "--env", "A=b", "--json"];
    let deployed: Value = serde_json::from_str(&check(gateway.cli(&deploy), 0, "")).unwrap();
    assert_eq!(deployed["name"], "env");
    let invoke =
        ["invoke", "env", "-X", "PUT", "--path", "/p", "--query", "q=1", "-H", "X-Own: 7", "-d", "body"];
    let told = check(gateway.cli(&invoke), 0, "");
    for line in
        ["A=b", "Http_Method=PUT", "Http_Path=/p", "Http_Query=q=1", "Http_X_Own=7", "Http_ContentLength=4"]
    {
        assert!(told.lines().any(|told| told == line), "{line} is not in\n{told}");
    }
    let listed: Value = serde_json::from_str(&check(gateway.cli(&["list", "--json"]), 0, "")).unwrap();
    assert_eq!((&listed[0]["name"], &listed[0]["invocationCount"]), (&json!("env"), &json!(1)));
    check(gateway.cli(&["scale", "env", "3"]), 0, "");
    assert_eq!(gateway.get("/system/function/env").json()["replicas"], 3);
    assert!(check(gateway.cli(&["modules"]), 0, "").contains("wasip1-command"));
    check(gateway.cli(&["remove", "env"]), 0, "");
    assert_eq!(gateway.names(), [] as [&str; 0]);
}

#[test]
fn version_tells_of_the_command_and_of_the_gateway() {
    let mut gateway = Gateway::start();
    let own = env!("CARGO_PKG_VERSION");
    assert_eq!(check(gateway.cli(&["version", "--short"]), 0, ""), format!("{own}\n"));
    let told = check(gateway.cli(&["version"]), 0, "");
    let info = gateway.get("/system/info").expect(200).json();
    let release = info["version"]["release"].as_str().unwrap();
    let [client, of_gateway] = told.lines().collect::<Vec<_>>()[..] else { panic!("{told:?}") };
    assert_eq!(client, format!("client:  {own}"));
    assert!(of_gateway.starts_with(&format!("gateway: {release}")), "{told:?}");
    assert!(of_gateway.ends_with(&format!(" at {}", gateway.url())), "{told:?}");
    let told: Value = serde_json::from_str(&check(gateway.cli(&["version", "--json"]), 0, "")).unwrap();
    assert_eq!(told, json!({"client": {"version": own}, "gateway": info}));
    gateway.signal(Signal::TERM);
    gateway.ended();
    assert!(check(gateway.cli(&["version"]), 0, "").contains("gateway: none (cannot reach"));
}

#[test]
fn what_is_queued_is_taken_back_by_its_id() {
    let gateway = Gateway::start();
    let limits = json!({"envVars": {"max_inflight": "1", "exec_timeout": "10m"}});
    gateway.deploy_with("slow", &guest::sleeps(), limits);
    let queue = || check(gateway.cli(&["invoke", "--async", "slow", "-d", "x"]), 0, "").trim().to_owned();
    let state = |id: &str| {
        let told = check(gateway.cli(&["queue", "status", id]), 0, "");
        serde_json::from_str::<Value>(&told).unwrap()["state"].as_str().unwrap().to_owned()
    };
    let first = queue();
    wait::until("it runs", || state(&first) == "running");
    let second = queue();
    check(gateway.cli(&["queue", "cancel", &second]), 0, "taken out");
    assert_eq!(state(&second), "cancelled");
    check(gateway.cli(&["queue", "cancel", &second]), 1, &second);
    check(gateway.cli(&["queue", "cancel", &first]), 0, "it ran, and is stopped");
    wait::until("it is stopped", || state(&first) == "cancelled");
}

#[test]
fn a_large_body_streams_through_invoke_both_ways() {
    let gateway = Gateway::start();
    gateway.deploy("cat", &guest::cat());
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("large");
    let large: Vec<u8> = (0..32 << 20_u32).map(|at: u32| (at / 7).to_le_bytes()[0]).collect();
    std::fs::write(&file, &large).unwrap();
    let mut invoke = gateway.cli(&["invoke", "cat"]);
    invoke.stdin(std::fs::File::open(&file).unwrap());
    let output = invoke.output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    assert!(output.stdout == large, "{} bytes came back, or others", output.stdout.len());
}

#[test]
fn logs_are_followed_line_by_line_with_their_call_ids() {
    let gateway = Gateway::start();
    let wasm = guest::with(
        &guest::data("to the log\n"),
        "(call $write (i32.const 2) (i32.const 4096) (i32.const 11))",
    );
    gateway.deploy("talks", &wasm);
    let say = |id: &str| {
        let request = gateway.request("POST", "/function/talks").header("x-call-id", id);
        gateway.send(request, b"").expect(200);
    };
    say("before");
    let mut logs = gateway.cli(&["logs", "talks", "--follow"]).stdout(Stdio::piped()).spawn().unwrap();
    let (sender, lines) = channel();
    let stdout = BufReader::new(logs.stdout.take().unwrap());
    std::thread::spawn(move || stdout.lines().map_while(Result::ok).for_each(|line| drop(sender.send(line))));
    for id in ["before", "first", "second"] {
        if id != "before" {
            say(id);
        }
        let line = lines.recv_timeout(wait::LIMIT).unwrap();
        assert!(line.contains(&format!("({id})")) && line.ends_with(" to the log"), "{line:?}");
    }
    // It ends with the function, and that is no failure.
    gateway.remove("talks");
    assert_eq!(wait::value("it ends", || logs.try_wait().unwrap()).code(), Some(0));
    assert!(lines.recv_timeout(wait::LIMIT).is_err());
}

#[test]
fn logs_without_follow_end() {
    let gateway = Gateway::start();
    gateway.deploy("quiet", &guest::cat());
    assert_eq!(check(gateway.cli(&["logs", "quiet"]), 0, ""), "");
}

#[test]
fn up_deploys_samples_says_what_to_try_and_stops_on_ctrl_c() {
    let dir = tempfile::tempdir().unwrap();
    let samples = dir.path().join("samples");
    std::fs::create_dir(&samples).unwrap();
    std::fs::write(samples.join("wordcount.wasm"), guest::says("counted\n")).unwrap();
    let mut up = Command::new(bramble());
    up.args(["up", "--listen", "127.0.0.1:0", "--metrics-listen", "127.0.0.1:0", "--data-dir"]);
    up.arg(dir.path().join("data")).arg("--samples").arg(&samples);
    up.env_clear().env("HOME", dir.path()).current_dir(dir.path());
    let mut up = up.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let mut said = String::new();
    let mut stdout = BufReader::new(up.stdout.take().unwrap());
    // Up to the last of the commands, which a shell runs as it stands.
    let command = loop {
        let from = said.len();
        assert_ne!(stdout.read_line(&mut said).unwrap(), 0, "{said}");
        if said[from..].trim_start().starts_with("curl ") {
            break said[from..].trim().to_owned();
        }
    };
    assert!(said.contains("bramble is up at http://127.0.0.1:"), "{said}");
    let mut shell = Command::new("sh");
    shell.args(["-c", &format!("{command} --silent --show-error")]);
    assert_eq!(check(shell, 0, ""), "counted\n");
    kill_process(Pid::from_child(&up), Signal::INT).unwrap();
    stdout.read_to_string(&mut said).unwrap();
    assert_eq!(up.wait().unwrap().code(), Some(0), "{said}");
}

#[test]
fn a_gateway_that_cannot_start_says_why_in_one_line() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let dir = tempfile::tempdir().unwrap();
    let mut gateway = Command::new(bramble());
    gateway.args(["gateway", "--listen", &address, "--data-dir"]).arg(dir.path().join("data"));
    gateway.env_clear().env("HOME", dir.path()).current_dir(dir.path());
    let Output { status, stderr, .. } = gateway.output().unwrap();
    let stderr = String::from_utf8(stderr).unwrap();
    assert_eq!(status.code(), Some(1));
    let complaint = stderr.lines().last().unwrap();
    assert!(complaint.starts_with("error: cannot listen on") && complaint.contains(&address), "{stderr}");
}
