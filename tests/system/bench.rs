//! `bramble bench` on a gateway that is somebody's: it measures, says what it could not, and leaves nothing.

use std::path::Path;
use std::process::{Command, Output, Stdio};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

use crate::auth::{RIGHT, credentials};
use crate::support::docker::Docker;
use crate::support::gateway::bramble;
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

/// Runs a bench that starts what it needs itself, on the shared Docker, and fails when it does; its output,
/// and its process' number.
fn alone(program: &Path, arguments: &[&str], docker: &Docker) -> (String, u32) {
    let home = tempfile::tempdir().unwrap();
    let mut bench = Command::new(program);
    bench.args(arguments).arg(format!("--docker-host={}", docker.host())).env("HOME", home.path());
    bench.current_dir(home.path()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let bench = bench.spawn().unwrap();
    let pid = bench.id();
    let Output { status, stdout, stderr } = bench.wait_with_output().unwrap();
    assert!(status.success(), "{}", String::from_utf8_lossy(&stderr));
    (String::from_utf8(stdout).unwrap(), pid)
}

/// The services that are there and that a bench named.
fn left_of_benches(docker: &Docker, named: impl Fn(&str) -> bool) -> Vec<String> {
    let names = docker.cli(&["service", "ls", "--format", "{{.Name}}", "--filter", "name=bench-"]);
    names.lines().filter(|name| named(name)).map(str::to_owned).collect()
}

#[test]
fn a_run_with_containers_measures_all_of_them_and_leaves_none() {
    let (docker, samples, out) = (Docker::shared(), samples("echo"), tempfile::tempdir().unwrap());
    let [samples, out_dir] = [samples.path(), out.path()].map(|path| path.to_str().unwrap());
    let short = ["bench", "--quick", "--seconds=0.05", "--connections=1", "--programs=echo"];
    let places = ["--samples", samples, "--out", out_dir];
    let (stdout, _) = alone(&bramble(), &[&short[..], &places].concat(), &docker);
    assert!(stdout.contains("container, new"), "{stdout}");
    // `bench-`, eight digits of the run, and a name.
    let run_of = |name: &str| name.split('-').nth(1).map(str::to_owned).unwrap_or_default();
    let is_suites = |name: &str| run_of(name).len() == 8 && u32::from_str_radix(&run_of(name), 16).is_ok();
    assert_eq!(left_of_benches(&docker, is_suites), Vec::<String>::new());

    let text = std::fs::read(out.path().join("results.json")).unwrap();
    let results: Value = serde_json::from_slice(&text).unwrap();
    let runs = results["programs"][0]["runtimes"].as_array().unwrap();
    let runtimes: Vec<_> = runs.iter().map(|run| &run["runtime"]).collect();
    assert_eq!(runtimes, ["wasm", "container"], "{}", results["skipped"]);
    let parts = ["create", "schedule", "start", "connect", "first_byte"];
    for (kind, parts) in [("new", &parts[..]), ("from_zero", &parts), ("frozen", &["thaw", "first_byte"])] {
        let starts = runs[1]["cold"].as_array().unwrap().iter().find(|starts| starts["kind"] == kind);
        let told = starts.unwrap()["samples"][0]["parts"].as_array().unwrap();
        assert_eq!(told.iter().map(|told| &told["part"]).collect::<Vec<_>>(), parts, "{kind}");
    }
    for run in runs {
        assert!(run["warm"]["latency"]["count"].as_u64() > Some(0), "{run}");
        assert!(run["memory"]["busy_bytes"].as_u64() > Some(0), "{run}");
    }
    for (list, field) in [(&results["memory"]["curves"], "points"), (&results["timelines"], "points")] {
        let of = |run: &&Value| run["runtime"] == "container";
        let container = list.as_array().unwrap().iter().find(of).unwrap();
        assert!(!container[field].as_array().unwrap().is_empty(), "{container}");
    }
    let budgets = results["budgets"].as_array().unwrap();
    let ratio = budgets.iter().find(|budget| budget["what"] == "start from 0, echo, container to wasm");
    assert!(ratio.unwrap()["figure"]["rounds"]["values"].as_array().unwrap().len() > 1, "{budgets:?}");
}

#[test]
fn functions_in_containers_are_held_against_what_they_do_without_a_gateway() {
    let docker = Docker::shared();
    let (program, out) = (bramble().with_file_name("bramble-bench"), tempfile::tempdir().unwrap());
    let json = out.path().join("results.json");
    let short = ["containers", "--only=warm,frozen,cold", "--connections=1", "--rounds=1", "--seconds=0.05"];
    let more = ["--starts=1", "--thaws=1", "--json", json.to_str().unwrap()];
    let (stdout, pid) = alone(&program, &[&short[..], &more].concat(), &docker);
    assert!(stdout.contains("container, 0 to 1, against by hand"), "{stdout}");
    assert_eq!(left_of_benches(&docker, |name| name.ends_with(&format!("-{pid}"))), Vec::<String>::new());
    let document: Value = serde_json::from_slice(&std::fs::read(json).unwrap()).unwrap();
    let results = &document["results"];
    let warm = results["warm"].as_array().unwrap();
    assert_eq!(warm.iter().map(|it| &it["mode"]).collect::<Vec<_>>(), ["fork", "prefork", "http"]);
    assert!(warm.iter().all(|it| it["rate_ratio"]["median"].as_f64() > Some(0.0)), "{results}");
    assert!(results["frozen"].is_object() && results["cold"].is_object(), "{results}");
}
