//! `bramble bench` on a gateway that is somebody's: it measures, says what it could not, and leaves nothing.

use std::path::Path;
use std::process::{Command, Output, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

use crate::auth::{RIGHT, credentials};
use crate::support::{Gateway, Start, guest, wait};

/// A directory of samples with one program, which copies its input.
fn samples(name: &str) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("copy.wasm"), guest::cat()).unwrap();
    let manifest = json!([{ "name": name, "file": "copy.wasm" }]).to_string();
    std::fs::write(dir.path().join("manifest.json"), manifest).unwrap();
    dir
}

/// The command for a run that takes seconds.
fn bench(gateway: &Gateway, samples: &Path, name: &str, out: &Path) -> Command {
    let mut bench =
        gateway.cli(&["bench", "--quick", "--no-containers", "--seconds=0.05", "--connections=1,4"]);
    bench.arg(format!("--gateway=http://{}", gateway.address));
    bench.arg(format!("--metrics-url=http://{}/metrics", gateway.metrics_address));
    bench.arg(format!("--programs={name}")).arg("--samples").arg(samples).arg("--out").arg(out);
    bench
}

/// Functions and modules that are there.
fn there(gateway: &Gateway) -> (Vec<String>, usize) {
    (gateway.names(), gateway.get("/system/modules").json().as_array().unwrap().len())
}

#[test]
fn a_run_is_complete_and_leaves_only_what_was_there() {
    let (gateway, samples, out) = (Gateway::start(), samples("echo"), tempfile::tempdir().unwrap());
    gateway.deploy("mine", &guest::cat());
    let mut bench = bench(&gateway, samples.path(), "echo", out.path());
    bench.arg(format!("--target=other=http://{}/function/mine", gateway.address));
    let Output { status, stdout, stderr } = bench.output().unwrap();
    assert!(status.success(), "{}", String::from_utf8_lossy(&stderr));
    assert!(String::from_utf8_lossy(&stdout).contains("Cold starts"));
    assert_eq!(there(&gateway), (vec!["mine".to_owned()], 1));

    let text = std::fs::read(out.path().join("results.json")).unwrap();
    let results: Value = serde_json::from_slice(&text).unwrap();
    assert_eq!((&results["schema_version"], &results["gateway"]["own"]), (&json!(1), &json!(false)));
    let run = &results["programs"][0]["runtimes"][0];
    assert_eq!((&results["programs"][0]["name"], &run["runtime"]), (&json!("echo"), &json!("wasm")));
    for (at, kind, part) in [(0, "new", "compile"), (1, "from_zero", "load")] {
        let starts = &run["cold"][at];
        assert_eq!(starts["kind"], kind);
        let parts = starts["samples"][0]["parts"].as_array().unwrap();
        assert!(parts.iter().any(|told| told["part"] == part), "{starts}");
        assert_eq!(parts.last().unwrap()["part"], "first_byte", "{starts}");
    }
    assert_eq!(run["throughput"].as_array().unwrap().len(), 2);
    assert!(run["warm"]["latency"]["count"].as_u64() > Some(0), "{run}");
    assert!(run["load_curve"][0]["p99_ns"]["median"].as_f64() > Some(0.0), "{run}");
    assert!(results["deploy"]["p99_ratio"]["median"].as_f64() > Some(0.0), "{results}");
    let points = results["timelines"][0]["points"].as_array().unwrap();
    assert!(points.iter().any(|point| point["replicas"].as_u64() > Some(0)), "{points:?}");
    assert_eq!(points.last().unwrap()["replicas"], 0, "{points:?}");
    let sides = results["comparisons"][0]["sides"].as_array().unwrap();
    assert_eq!(sides.iter().map(|side| &side["name"]).collect::<Vec<_>>(), ["bramble", "other"]);
    let skipped = results["skipped"].as_array().unwrap();
    assert!(skipped.iter().any(|it| it["what"] == "containers" && it["why"] != ""), "{skipped:?}");
}

#[test]
fn a_wrong_answer_ends_a_run() {
    let (gateway, samples, out) = (Gateway::start(), samples("wordcount"), tempfile::tempdir().unwrap());
    let Output { status, stderr, .. } =
        bench(&gateway, samples.path(), "wordcount", out.path()).output().unwrap();
    assert_eq!(status.code(), Some(1));
    assert!(
        String::from_utf8_lossy(&stderr).contains("wrong answer"),
        "{}",
        String::from_utf8_lossy(&stderr)
    );
    assert_eq!(there(&gateway), (Vec::new(), 0));
}

#[test]
fn an_interrupted_run_removes_what_it_deployed() {
    let (gateway, samples, out) = (Gateway::start(), samples("echo"), tempfile::tempdir().unwrap());
    let mut bench = bench(&gateway, samples.path(), "echo", out.path());
    let mut child = bench.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    wait::until("something is deployed", || !gateway.names().is_empty());
    kill_process(Pid::from_child(&child), Signal::INT).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(1));
    assert_eq!(there(&gateway), (Vec::new(), 0));
    assert!(!out.path().join("results.json").exists());
}

#[test]
fn a_gateway_that_asks_is_shown_what_the_user_logged_in_with() {
    let (_directory, path) = credentials();
    let gateway = Start::new().flag("--basic-auth", "true").flag("--secret-mount-path", &path).start();
    let gateway = gateway.showing(RIGHT);
    let (samples, out) = (samples("wordcount"), tempfile::tempdir().unwrap());
    let run = |token: &[&str]| {
        let mut bench = bench(&gateway, samples.path(), "wordcount", out.path());
        let output = bench.args(token).output().unwrap();
        assert_eq!(output.status.code(), Some(1));
        String::from_utf8(output.stderr).unwrap()
    };
    let said = run(&[]);
    assert!(said.contains("bramble login"), "{said}");
    let login = gateway.cli(&["login", "--password", "the right one"]).output().unwrap();
    assert!(login.status.success(), "{}", String::from_utf8_lossy(&login.stderr));
    // It came as far as the program's answer, so it deployed and invoked.
    let said = run(&[]);
    assert!(said.contains("wrong answer"), "{said}");
    assert_eq!(there(&gateway), (Vec::new(), 0));
    // A token goes before the login.
    let said = run(&["--token", "x"]);
    assert!(said.contains("bramble login"), "{said}");
}
