//! Start, health, arguments, and what stops the start.

use std::process::Output;

use crate::dog::{Dog, command, wait_until};

/// Runs the watchdog with arguments until it ends.
fn run(arguments: &[&str], variables: &[(&str, &str)]) -> Output {
    let directory = tempfile::tempdir().unwrap();
    command(directory.path(), variables).args(arguments).output().unwrap()
}

fn refusal(variables: &[(&str, &str)]) -> String {
    let output = run(&[], variables);
    assert_eq!(output.status.code(), Some(1));
    String::from_utf8(output.stderr).unwrap()
}

#[test]
fn a_bad_setting_stops_the_start_by_name() {
    assert!(refusal(&[]).contains("fprocess is not set or empty"));
    assert!(refusal(&[("fprocess", "")]).contains("fprocess is not set or empty"));
    assert!(refusal(&[("fprocess", "echo 'a")]).contains("fprocess=\"echo 'a\""));
    assert!(refusal(&[("fprocess", "cat"), ("exec_timeout", "soon")]).contains("exec_timeout=\"soon\""));
    assert!(
        refusal(&[("fprocess", "cat"), ("mode", "afterburn")]).contains("mode=\"afterburn\" was removed")
    );
    assert!(refusal(&[("fprocess", "cat"), ("jwt_auth", "true")]).contains("jwt_auth=\"true\""));
    assert!(refusal(&[("fprocess", "cat"), ("prefork", "2")]).contains("cgi_headers=false"));
    assert!(refusal(&[("fprocess", "cat"), ("mode", "http")]).contains("upstream_url"));
}

#[test]
fn a_port_in_use_is_named() {
    let taken = std::net::TcpListener::bind("[::]:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    assert!(
        refusal(&[("fprocess", "cat"), ("port", &port)]).contains(&format!("port={port}: cannot listen"))
    );
    let text = refusal(&[("fprocess", "cat"), ("metrics_port", &port)]);
    assert!(text.contains(&format!("metrics_port={port}: cannot listen")));
}

#[test]
fn a_lock_file_that_cannot_be_written_stops_the_start() {
    let text = refusal(&[("fprocess", "cat"), ("TMPDIR", "/proc/no-such-directory")]);
    assert!(text.contains("lock file") && text.contains("suppress_lock"), "{text}");
}

#[test]
fn help_teaches_and_version_tells() {
    let help = run(&["--help"], &[]);
    let text = String::from_utf8(help.stdout).unwrap();
    for name in ["fprocess", "exec_timeout", "prefork", "upstream_url", "--run-healthcheck"] {
        assert!(text.contains(name), "{name}");
    }
    let version = run(&["--version"], &[]);
    assert_eq!(version.stdout, format!("fwatchdog {}\n", env!("CARGO_PKG_VERSION")).as_bytes());
    let unknown = run(&["--hlep"], &[]);
    assert_eq!(unknown.status.code(), Some(2));
    assert!(String::from_utf8(unknown.stderr).unwrap().contains("--hlep"));
}

#[test]
fn the_start_is_logged_as_the_classic_watchdog_does() {
    let dog = Dog::running("cat", &[("exec_timeout", "1m30s")]);
    dog.wait_for_log(" Version: ");
    dog.wait_for_log(" Timeouts: read: 30s write: 30s hard: 90s health: 0s.");
    dog.wait_for_log(&format!(" Writing lock-file to: {}", dog.file(".lock").display()));
}

#[test]
fn health_follows_the_lock_file() {
    let dog = Dog::running("cat", &[]);
    assert!(dog.file(".lock").exists());
    let reply = dog.get("/_/health");
    assert_eq!((reply.status, reply.text()), (200, "OK"));
    assert_eq!(dog.request("HEAD", "/_/health", &[], b"").status, 200);
    assert_eq!(dog.request("POST", "/_/health", &[], b"").status, 405);
    assert_eq!(dog.get("/_/ready").status, 200);
    std::fs::remove_file(dog.file(".lock")).unwrap();
    assert_eq!((dog.get("/_/health").status, dog.get("/_/ready").status), (503, 503));
    assert_eq!(dog.post(b"still served").text(), "still served");
}

#[test]
fn health_needs_no_lock_file_when_it_is_suppressed() {
    let dog = Dog::running("cat", &[("suppress_lock", "true")]);
    assert_eq!(dog.get("/_/health").status, 200);
    assert!(!dog.file(".lock").exists());
}

#[test]
fn run_healthcheck_tells_by_its_exit_code() {
    let dog = Dog::running("cat", &[]);
    let directory = dog.file("");
    let check = |variables: &[(&str, &str)]| {
        command(&directory, variables).arg("--run-healthcheck").output().unwrap().status.code()
    };
    assert_eq!(check(&[]), Some(0));
    let port = dog.port.to_string();
    let suppressed = [("suppress_lock", "true"), ("port", port.as_str())];
    assert_eq!(check(&suppressed), Some(0));
    std::fs::remove_file(dog.file(".lock")).unwrap();
    assert_eq!(check(&[]), Some(1));
    assert_eq!(check(&suppressed), Some(1), "it asks the watchdog, which looks for its lock file");
    drop(dog);
    assert_eq!(check(&suppressed), Some(1));
}

#[test]
fn ready_asks_the_function_when_it_has_a_path_for_it() {
    let dog =
        Dog::running("sh -c 'test $Http_Path = /am/i && test -e $dir/ready'", &[("ready_path", "/am/i")]);
    assert_eq!(dog.get("/_/ready").status, 500);
    std::fs::write(dog.file("ready"), "").unwrap();
    wait_until("it is ready", || dog.get("/_/ready").status == 200);
}
