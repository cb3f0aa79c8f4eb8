//! Every bench that needs nothing but its own program runs, prints a table and writes its JSON.
//!
//! Figures are not looked at: speed is no reason for a test to fail.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests too")]

use std::process::Command;

use serde_json::Value;

/// Runs a bench and gives back the results in its JSON file.
fn check(arguments: &[&str]) -> Value {
    let dir = tempfile::tempdir().unwrap();
    let json = dir.path().join("results.json");
    let output = Command::new(env!("CARGO_BIN_EXE_bramble-bench"))
        .args(arguments)
        .arg("--json")
        .arg(&json)
        .env_remove("BRAMBLE_EXAMPLES")
        .env("XDG_CACHE_HOME", dir.path())
        .output()
        .unwrap();
    let (stdout, stderr) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{arguments:?}: {stderr}");
    assert!(stdout.contains("-----"), "{arguments:?} printed no table: {stdout}");
    let document: Value = serde_json::from_slice(&std::fs::read(json).unwrap()).unwrap();
    assert_eq!(document["bench"], arguments[0]);
    assert!(document["machine"]["cores"].as_u64() > Some(0), "{document}");
    document["results"].clone()
}

#[test]
fn invoke_measures_both_echoes_at_one_task_and_at_two() {
    let results = check(&["invoke", "--rounds=1", "--seconds=0.05"]);
    let cases = results.as_array().unwrap();
    assert_eq!(cases.len(), 4);
    assert!(cases.iter().all(|case| case["latency"]["count"].as_u64() > Some(0)), "{results}");
}

#[test]
fn http_measures_both_sides_in_both_loops() {
    let bodies = "--body=100,200000";
    let results = check(&["http", "--rounds=1", "--seconds=0.1", "--connections=2", bodies, "--rate=200"]);
    for kind in ["closed", "open"] {
        let comparisons = results[kind].as_array().unwrap();
        assert_eq!(comparisons.len(), 2, "{results}");
        for side in [0, 1] {
            assert!(
                comparisons.iter().all(|it| it["sides"][side]["latency"]["count"].as_u64() > Some(0)),
                "{results}"
            );
        }
    }
}

#[test]
fn cold_measures_each_kind() {
    let results = check(&["cold", "--runs=2"]);
    let cases = results.as_array().unwrap();
    assert_eq!(cases.len(), 4, "{results}");
    assert!(cases.iter().all(|case| case["cold"]["count"] == 2), "{results}");
}

#[test]
fn many_measures_one_name_and_all() {
    let results = check(&["many", "--few=2", "--many=20", "--connections=2", "--rounds=1", "--seconds=0.1"]);
    assert_eq!(results.as_array().unwrap().len(), 2, "{results}");
}

#[test]
fn containers_says_what_is_missing() {
    for (host, cure) in [("unix:///nowhere", "docker.sh start"), ("tcp://manager:2375", "on this machine")] {
        let output = Command::new(env!("CARGO_BIN_EXE_bramble-bench"))
            .args(["containers", "--only=cold", "--docker-host", host])
            .output()
            .unwrap();
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success() && stderr.contains(cure), "{host}: {stderr}");
    }
}

#[test]
fn scale_replays_a_trace_for_every_contender() {
    let results = check(&["scale", "--trace=steady", "--only=traces"]);
    assert!(results.to_string().contains("knative"), "{results}");
}
