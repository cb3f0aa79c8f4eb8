//! A gateway that is killed while thousands of invocations wait and run.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

use parking_lot::Mutex;

use super::listener::Listener;
use crate::support::{Gateway, guest, wait};

/// Invocations that are accepted in all.
const CALLS: usize = 10_000;
const CLIENTS: usize = 32;

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
        gateway.signal(rustix::process::Signal::KILL);
    });
    gateway.kill().start()
}

#[test]
fn a_kill_loses_no_invocation_and_repeats_none_without_saying_so() {
    let listener = Listener::start();
    let (url, accepted) = (listener.url("/"), Mutex::new(HashSet::new()));
    let gateway = Gateway::start();
    gateway.deploy("env", &guest::tells_environment());
    // In the middle of accepting, and of running.
    let gateway = fill_and_kill(gateway, &url, &accepted, CALLS, || accepted.lock().len() > CALLS / 3);
    let gateway = fill_and_kill(gateway, &url, &accepted, CALLS, || accepted.lock().len() > CALLS * 2 / 3);
    std::thread::scope(|scope| {
        for _ in 0..CLIENTS {
            scope.spawn(|| fill(&gateway, &url, &accepted, CALLS));
        }
    });
    // While only running is left.
    gateway.signal(rustix::process::Signal::KILL);
    let gateway = gateway.kill().start();
    wait::until("all is done", || gateway.get("/system/async").expect(200).json()["unfinished"] == 0);
    let accepted = accepted.into_inner();
    assert!(accepted.len() >= CALLS);
    listener.look(|received| {
        let mut runs: HashMap<&str, (u32, u32)> = HashMap::new();
        for callback in received {
            let id = callback.headers["x-call-id"].to_str().unwrap();
            let (all, unmarked) = runs.entry(id).or_default();
            *all += 1;
            *unmarked += u32::from(!callback.body.contains("Http_X_Retry="));
        }
        let lost = accepted.iter().filter(|id| !runs.contains_key(id.as_str())).count();
        assert_eq!(lost, 0, "of {}", accepted.len());
        let silent = runs.values().filter(|(_, unmarked)| *unmarked > 1).count();
        assert_eq!(silent, 0, "were run twice without X-Retry");
    });
}
