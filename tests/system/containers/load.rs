//! Changing a function while clients call it: nobody notices but by what is answered.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use serde_json::json;

use crate::support::docker::{CONFORM, Docker};
use crate::support::{Gateway, wait};

/// Between two requests of a client. What answers in microseconds would leave the daemon no processor.
const BREATH: Duration = Duration::from_millis(3);

/// What clients got while something else was going on.
#[derive(Debug, Default)]
pub(crate) struct Served {
    pub(crate) count: usize,
    pub(crate) answers: BTreeSet<String>,
    pub(crate) failures: Vec<String>,
}

/// Lets clients call a function, one request after the other, for as long as `work` goes on.
pub(crate) fn under_load(gateway: &Gateway, name: &str, clients: usize, work: impl FnOnce()) -> Served {
    let (stop, count) = (AtomicBool::new(false), AtomicUsize::new(0));
    let seen = Mutex::new(Served::default());
    let began = Instant::now();
    std::thread::scope(|scope| {
        let clients: Vec<_> = (0..clients)
            .map(|_| scope.spawn(|| client(gateway, name, &stop, &count, &seen, began)))
            .collect();
        // Ends the clients also when the work panics.
        let stopping = Stopping(&stop);
        wait::until("the clients are served", || count.load(SeqCst) >= 8);
        work();
        drop(stopping);
        clients.into_iter().for_each(|client| client.join().unwrap());
    });
    Served { count: count.into_inner(), ..seen.into_inner() }
}

struct Stopping<'s>(&'s AtomicBool);

impl Drop for Stopping<'_> {
    fn drop(&mut self) {
        self.0.store(true, SeqCst);
    }
}

fn client(
    gateway: &Gateway,
    name: &str,
    stop: &AtomicBool,
    count: &AtomicUsize,
    seen: &Mutex<Served>,
    began: Instant,
) {
    let mut wire = gateway.wire();
    while !stop.load(SeqCst) {
        wire.head(&format!("GET /function/{name}"), &[]);
        let answer = wire.answer();
        count.fetch_add(1, SeqCst);
        let mut seen = seen.lock();
        if answer.status == 200 {
            seen.answers.insert(answer.text().trim().to_owned());
        } else if seen.failures.len() < 20 {
            let after = began.elapsed();
            seen.failures.push(format!("after {after:?}: {} {}", answer.status, answer.text()));
        }
        drop(seen);
        wait::pause(BREATH);
    }
}

impl Served {
    #[track_caller]
    pub(crate) fn without_failures(&self) {
        assert!(self.failures.is_empty(), "of {}: {:#?}", self.count, self.failures);
    }
}

/// Waits until the Swarm has nothing more to do for a service, and tells how it ended.
#[track_caller]
pub(crate) fn update_ended(docker: &Docker, name: &str) -> String {
    wait::value("the update has ended", || {
        let state = docker.cli(&[
            "service",
            "inspect",
            "--format",
            "{{if .UpdateStatus}}{{.UpdateStatus.State}}{{end}}",
            name,
        ]);
        matches!(state.as_str(), "completed" | "rollback_completed").then_some(state)
    })
}

#[test]
fn an_update_and_a_scaling_fail_no_request() {
    let docker = Docker::shared();
    let name = docker.name("load-update");
    let gateway = docker.gateway();
    let word = |word: &str| format!("/conform word {word}");
    gateway.conform(&name, &word("one"), json!({}));
    gateway.scale(&name, 2);
    gateway.has_replicas(&name, 2);
    let served = under_load(&gateway, &name, 8, || {
        for next in ["two", "three"] {
            gateway.update(&name, &word(next), json!({"envVars": {"revision": next}}));
            wait::until("the new revision answers", || gateway.invoke(&name, "").text().trim() == next);
            assert_eq!(update_ended(&docker, &name), "completed");
        }
        gateway.scale(&name, 1);
        gateway.has_replicas(&name, 1);
        wait::until("one container is left", || docker.containers(&name).len() == 1);
        gateway.scale(&name, 3);
        gateway.has_replicas(&name, 3);
    });
    served.without_failures();
    assert_eq!(served.answers, ["one", "two", "three"].map(str::to_owned).into());
    for _ in 0..20 {
        gateway.invoke(&name, "").says(200, "three\n");
    }
}

#[test]
fn an_update_that_does_not_start_is_rolled_back_without_a_failed_request() {
    let docker = Docker::shared();
    let name = docker.name("load-rollback");
    let gateway = docker.gateway();
    gateway.conform(&name, "/conform word good", json!({}));
    gateway.scale(&name, 2);
    gateway.has_replicas(&name, 2);
    let served = under_load(&gateway, &name, 8, || {
        gateway.update(&name, "/conform word bad", json!({"envVars": {"conform": "exit"}}));
        assert_eq!(update_ended(&docker, &name), "rollback_completed");
        wait::until("it says why", || {
            let reason = gateway.describe(&name)["reason"].as_str().unwrap_or_default().to_owned();
            reason.contains("rolled back") && reason.contains("exit")
        });
    });
    served.without_failures();
    assert_eq!(served.answers, ["good".to_owned()].into());
    gateway.has_replicas(&name, 2);
    // The next good one clears it.
    gateway.update(&name, "/conform word better", json!({}));
    wait::until("the new revision answers", || gateway.invoke(&name, "").text() == "better\n");
    wait::until("nothing is wrong", || gateway.describe(&name).get("reason").is_none());
}

#[test]
fn a_large_function_is_replaced_gently() {
    // As many old replicas go on answering as are wanted, until the new ones do.
    let docker = Docker::shared();
    let name = docker.name("load-slow");
    let gateway = docker.gateway();
    gateway.conform(&name, "/conform word old", json!({}));
    let slow = json!({"envVars": {"conform_delay_ms": "1500"}, "image": CONFORM});
    let served = under_load(&gateway, &name, 4, || {
        let asked = Instant::now();
        gateway.update(&name, "/conform word new", slow);
        wait::until("the new revision answers", || gateway.invoke(&name, "").text() == "new\n");
        assert!(asked.elapsed() >= Duration::from_millis(1_500), "the new one cannot have answered yet");
    });
    served.without_failures();
}
