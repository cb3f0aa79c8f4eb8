//! The real binary where no gateway is needed: exit codes, pipes, settings.

#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Command, Output, Stdio};

/// The command with an environment that has nothing of ours in it.
fn bramble(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_bramble"));
    let home = env!("CARGO_TARGET_TMPDIR");
    command.args(arguments).env_clear().env("HOME", home).current_dir(home).stdin(Stdio::null());
    command
}

#[track_caller]
fn check(mut command: Command, code: i32, stderr: &str) -> Output {
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{said}");
    assert!(said.contains(stderr), "{stderr:?} is not in {said:?}");
    output
}

/// Answers every connection with this status line and body, after it has read the whole request.
fn answering(status: &'static str, body: &'static str) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            answer(stream.unwrap(), status, body);
        }
    });
    url
}

/// Answers one request; its first line is returned.
fn answer(mut stream: TcpStream, status: &str, body: &str) -> String {
    let mut request = BufReader::new(stream.try_clone().unwrap());
    let (mut length, mut first, mut line) = (0, String::new(), String::new());
    while request.read_line(&mut line).unwrap() > 2 {
        if let Some(value) = line.strip_prefix("content-length: ") {
            length = value.trim().parse().unwrap();
        }
        if first.is_empty() {
            first.clone_from(&line);
        }
        line.clear();
    }
    request.read_exact(&mut vec![0; length]).unwrap();
    write!(stream, "HTTP/1.1 {status}\r\ncontent-length: {}\r\n\r\n{body}", body.len()).unwrap();
    first
}

#[test]
fn a_wrong_command_line_is_2() {
    check(bramble(&["nonsense"]), 2, "nonsense");
    check(bramble(&["describe", "../etc"]), 2, "DNS label");
    check(bramble(&["list", "--gateway", "ftp://pi"]), 2, "ftp://pi");
    check(bramble(&["deploy", "not-there.wasm"]), 2, "not-there.wasm");
}

#[test]
fn a_flag_that_would_mean_nothing_is_refused() {
    for (words, says) in [
        ("up -g http://127.0.0.1:1", "--yaml"),
        ("up --tls-ca ca.pem", "--yaml"),
        ("up --tls-no-verify", "--yaml"),
        ("up --parallel 2", "--yaml"),
        ("up --no-cache", "--yaml"),
        ("up --shrinkwrap", "--yaml"),
        ("up -f not-there.yml --detach", "--detach"),
        ("up -f not-there.yml --samples .", "--samples"),
        ("up -f not-there.yml --skip-deploy --swarm-init", "--swarm-init"),
        ("deploy -f not-there.yml --preinit", "--preinit"),
    ] {
        let mut command = bramble(&words.split(' ').collect::<Vec<_>>());
        // So that none is started where it is not refused.
        command.env("BRAMBLE_LISTEN", "here");
        check(command, 2, says);
    }
}

#[test]
fn a_wrong_setting_is_2_and_says_where_it_is() {
    check(bramble(&["gateway", "--pool-slots", "0"]), 2, "pool_slots = \"0\" (from --pool-slots)");
    let mut command = bramble(&["up"]);
    command.env("BRAMBLE_LISTEN", "here");
    check(command, 2, "listen = \"here\" (from BRAMBLE_LISTEN)");
    check(bramble(&["config", "--config", "not-there.toml"]), 2, "not-there.toml");
}

#[test]
fn nobody_there_is_3_and_says_what_to_do() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    for verb in [&["list"][..], &["invoke", "a", "-d", "b"], &["remove", "a", "b"], &["logs", "a"]] {
        let mut command = bramble(verb);
        command.env("OPENFAAS_URL", &url);
        check(command, 3, "start it with `bramble up`");
    }
}

#[test]
fn what_is_not_there_is_4() {
    let url = answering("404 Not Found", r#"{"error":{"code":"unknown_function","message":"no such one"}}"#);
    for verb in [&["describe", "a"][..], &["invoke", "a", "-d", "b"], &["remove", "a"], &["logs", "a"]] {
        let mut command = bramble(verb);
        command.env("OPENFAAS_URL", &url);
        check(command, 4, "error: no such one\n");
    }
}

#[test]
fn what_somebody_else_created_meanwhile_is_updated() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let answers = ["404 Not Found", "409 Conflict", "202 Accepted"];
    let serving = std::thread::spawn(move || {
        answers.map(|status| answer(listener.accept().unwrap().0, status, "")).map(|line| {
            let (method, _) = line.split_once(' ').unwrap();
            method.to_owned()
        })
    });
    check(bramble(&["deploy", "a", "--image", "b", "-g", &url]), 0, "");
    assert_eq!(serving.join().unwrap(), ["PUT", "POST", "PUT"]);
}

#[test]
fn a_failed_function_is_1_with_its_body_on_stderr() {
    let url = answering("500 Internal Server Error", "the function's own words");
    let output = check(bramble(&["invoke", "a", "-g", &url, "-d", "b"]), 1, "the function's own words\n");
    assert!(output.stdout.is_empty());
}

#[test]
fn a_response_goes_to_stdout_as_it_is() {
    let url = answering("200 OK", "no line end");
    let output = check(bramble(&["invoke", "a", "-g", &url]), 0, "");
    assert_eq!((output.stdout, output.stderr), (b"no line end".to_vec(), Vec::new()));
}

#[test]
fn a_reader_that_goes_away_is_no_failure() {
    for arguments in [&["config"][..], &["completion", "bash"], &["--help"], &["help", "deploy"]] {
        let mut command = bramble(arguments);
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        command.stdout(writer).stderr(Stdio::piped());
        let output = command.spawn().unwrap().wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{arguments:?}");
        assert!(output.stderr.is_empty(), "{:?}", String::from_utf8_lossy(&output.stderr));
    }
}

#[test]
fn a_full_disk_is_a_failure() {
    let mut command = bramble(&["config"]);
    let Ok(full) = std::fs::File::options().write(true).open("/dev/full") else { return };
    let output = command.stdout(full).stderr(Stdio::piped()).spawn().unwrap().wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(1));
}

#[test]
fn nothing_to_stop_is_no_failure() {
    let output = check(bramble(&["down", "--data-dir", "nothing-here"]), 0, "");
    assert!(String::from_utf8_lossy(&output.stdout).contains("nothing-here"));
}
