//! A gateway that is killed while thousands of invocations wait and run.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

use parking_lot::Mutex;

use std::thread::JoinHandle;

use rustix::process::Signal;
use serde_json::{Value, json};

use super::listener::Listener;
use super::queue;
use crate::support::{Gateway, guest, wait};

/// Invocations that are accepted in all.
const CALLS: usize = 10_000;
const CLIENTS: usize = 32;

/// What a function that logs `first` or `again` logged of one run: its call's id, and the word.
type Run = (String, String);

fn runs(log: &str) -> Vec<Run> {
    // The last line may be cut off.
    let lines = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let text = |line: &Value, key: &str| line[key].as_str().unwrap().to_owned();
    lines.map(|line| (text(&line, "instance"), text(&line, "text"))).collect()
}

/// Reads what the function logs until the gateway is gone.
fn follow(gateway: &Gateway) -> JoinHandle<Vec<Run>> {
    let mut wire = gateway.wire();
    wire.head("GET /system/logs?name=env&follow=true", &[]);
    assert_eq!(wire.response().status, 200);
    std::thread::spawn(move || {
        let mut log = Vec::new();
        while let Ok(Some(piece)) = wire.piece() {
            log.extend(piece);
        }
        runs(&String::from_utf8_lossy(&log))
    })
}

/// Queues until there are so many, or the gateway is gone.
fn fill(gateway: &Gateway, url: &str, accepted: &Mutex<HashSet<String>>, most: usize) {
    while accepted.lock().len() < most {
        let request = gateway.request("POST", "/async-function/env").header("x-callback-url", url);
        let Ok(answer) = gateway.try_send(request, b"") else { return };
        accepted.lock().insert(answer.expect(202).header("x-call-id").to_owned());
    }
}

/// Fills up to `most` with many clients, and kills the gateway once `enough` calls were answered for.
fn fill_and_kill(
    gateway: Gateway,
    url: &str,
    accepted: &Mutex<HashSet<String>>,
    most: usize,
    is_time: impl Fn() -> bool,
) -> Gateway {
    let filling = AtomicUsize::new(CLIENTS);
    std::thread::scope(|scope| {
        for _ in 0..CLIENTS {
            let (gateway, filling) = (&gateway, &filling);
            scope.spawn(move || {
                fill(gateway, url, accepted, most);
                filling.fetch_sub(1, SeqCst);
            });
        }
        wait::until("it is time to kill", || is_time() || filling.load(SeqCst) == 0);
        gateway.signal(Signal::KILL);
    });
    gateway.kill().start()
}

#[test]
fn a_kill_loses_no_invocation_and_repeats_none_without_saying_so() {
    let listener = Listener::start();
    let (url, accepted) = (listener.url("/"), Mutex::new(HashSet::new()));
    let gateway = Gateway::start();
    gateway.deploy("env", &guest::tells_retry(""));
    let mut logs = vec![follow(&gateway)];
    // In the middle of accepting, and of running.
    let gateway = fill_and_kill(gateway, &url, &accepted, CALLS, || accepted.lock().len() > CALLS / 3);
    logs.push(follow(&gateway));
    let gateway = fill_and_kill(gateway, &url, &accepted, CALLS, || accepted.lock().len() > CALLS * 2 / 3);
    logs.push(follow(&gateway));
    std::thread::scope(|scope| {
        for _ in 0..CLIENTS {
            scope.spawn(|| fill(&gateway, &url, &accepted, CALLS));
        }
    });
    // While only running is left.
    gateway.signal(Signal::KILL);
    let gateway = gateway.kill().start();
    logs.push(follow(&gateway));
    wait::until("all is done", || gateway.get("/system/async").expect(200).json()["unfinished"] == 0);
    let accepted = accepted.into_inner();
    assert!(accepted.len() >= CALLS);
    listener.look(|received| {
        let mut runs: HashMap<&str, (u32, u32)> = HashMap::new();
        for callback in received {
            let id = callback.headers["x-call-id"].to_str().unwrap();
            let (all, unmarked) = runs.entry(id).or_default();
            *all += 1;
            *unmarked += u32::from(callback.body != "again\n");
        }
        let lost = accepted.iter().filter(|id| !runs.contains_key(id.as_str())).count();
        assert_eq!(lost, 0, "of {}", accepted.len());
        let silent = runs.values().filter(|(_, unmarked)| *unmarked > 1).count();
        assert_eq!(silent, 0, "were run twice without X-Retry");
    });
    // What ran and had no callback yet: the function itself saw it.
    drop(gateway);
    let seen: Vec<_> = logs.into_iter().flat_map(|log| log.join().unwrap()).collect();
    let told = |word: &str| {
        let mut of_call = HashMap::<&str, u32>::new();
        for (id, _) in seen.iter().filter(|(_, said)| said == word) {
            *of_call.entry(id).or_default() += 1;
        }
        of_call
    };
    let (first, again) = (told("first"), told("again"));
    assert_eq!(first.values().filter(|runs| **runs > 1).count(), 0, "ran twice without X-Retry");
    assert!(again.keys().any(|id| first.contains_key(id)), "of {} runs none was repeated", seen.len());
}

#[test]
fn what_runs_when_the_gateway_is_killed_says_so_when_it_runs_again() {
    let gateway = Gateway::start();
    let sleeps = guest::tells_retry("(call $sleep (i64.const 3600000000000))");
    gateway.deploy_with("env", &sleeps, json!({"envVars": {"exec_timeout": "10m"}}));
    let mut ids = [(); 8].map(|()| queue(&gateway, "env", b"", &[]));
    ids.sort();
    let logged = |gateway: &Gateway| {
        let mut runs = runs(&gateway.get("/system/logs?name=env").expect(200).text());
        runs.sort();
        runs
    };
    let all = |word: &str| ids.clone().map(|id| (id, word.to_owned()));
    wait::until("they run", || logged(&gateway) == all("first"));
    gateway.signal(Signal::KILL);
    let gateway = gateway.kill().start();
    wait::until("they run again", || logged(&gateway).len() == ids.len());
    assert_eq!(logged(&gateway), all("again"));
}
