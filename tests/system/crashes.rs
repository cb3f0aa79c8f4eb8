//! A gateway that is killed at any moment: whatever it acknowledged is there afterwards.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering::SeqCst};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use crate::support::gateway::WASM;
use crate::support::{Gateway, guest, wait};

/// What a name may answer after the crash.
#[derive(Debug, Clone, Default)]
struct Known {
    /// What was acknowledged last; `None` for a name that is deleted or never was.
    acknowledged: Option<u32>,
    /// What was asked for and not answered: it may have happened or not.
    asked: Option<Option<u32>>,
}

fn text(version: u32) -> String {
    format!("version {version}\n")
}

/// Deploys, redeploys and deletes functions until the gateway is gone.
fn change(gateway: &Gateway, known: &Mutex<BTreeMap<String, Known>>, acknowledged: &AtomicU32, seed: u64) {
    let mut random = fastrand::Rng::with_seed(seed);
    loop {
        // Each thread has names of its own, so that it knows their order.
        let name = format!("f{}-{}", seed, random.u8(0..4));
        let version = random.u32(0..1_000_000);
        let there = known.lock().get(&name).is_some_and(|known| known.acknowledged.is_some());
        let next = if there && random.u8(0..4) == 0 { None } else { Some(version) };
        known.lock().entry(name.clone()).or_default().asked = Some(next);
        let answer = match next {
            Some(version) => {
                let request = gateway.request("PUT", &format!("/system/functions/{name}"));
                gateway.try_send(request.header("content-type", WASM), &guest::says(&text(version)))
            }
            None => {
                let body = format!("{{\"functionName\":\"{name}\"}}");
                gateway.try_send(gateway.request("DELETE", "/system/functions"), body.as_bytes())
            }
        };
        let Ok(answer) = answer else { return };
        answer.expect(202);
        known.lock().insert(name, Known { acknowledged: next, asked: None });
        acknowledged.fetch_add(1, SeqCst);
    }
}

#[test]
fn what_was_acknowledged_answers_after_a_kill_at_any_moment() {
    let seed = fastrand::u64(..);
    let mut random = fastrand::Rng::with_seed(seed);
    let known = Mutex::new(BTreeMap::new());
    let mut gateway = Gateway::start();
    for round in 0..6 {
        let (acknowledged, stop) = (AtomicU32::new(0), AtomicBool::new(false));
        let (enough, delay) = (random.u32(1..25), Duration::from_micros(random.u64(0..8_000)));
        std::thread::scope(|scope| {
            for thread in 0..2 {
                let (gateway, known, acknowledged) = (&gateway, &known, &acknowledged);
                scope.spawn(move || change(gateway, known, acknowledged, thread));
            }
            wait::until("it has acknowledged some", || acknowledged.load(SeqCst) >= enough);
            // Any moment of the change that is under way.
            let moment = Instant::now() + delay;
            while Instant::now() < moment {
                std::hint::spin_loop();
            }
            gateway.signal(rustix::process::Signal::KILL);
            stop.store(true, SeqCst);
        });
        gateway = gateway.kill().start();
        for (name, known) in known.lock().iter_mut() {
            let found = gateway.invoke(name, "");
            let found = match found.status.as_u16() {
                404 => None,
                200 => Some(found.text()),
                _ => panic!("seed {seed}, round {round}, {name}: {known:?}, {found:?}"),
            };
            let candidates = [Some(known.acknowledged), known.asked].into_iter().flatten();
            let is = candidates.into_iter().find(|version| version.map(text) == found);
            let is = is.unwrap_or_else(|| panic!("seed {seed}, round {round}, {name}: {known:?}, {found:?}"));
            *known = Known { acknowledged: is, asked: None };
        }
        let there = known.lock().values().filter(|known| known.acknowledged.is_some()).count();
        assert_eq!(gateway.names().len(), there, "seed {seed}, round {round}");
    }
}

#[test]
fn what_was_scaled_stays_scaled_after_a_kill() {
    let mut gateway = Gateway::start();
    gateway.deploy("f", &guest::cat());
    for replicas in [5, 0, 3] {
        gateway.scale("f", replicas);
        gateway = gateway.kill().start();
        let status = gateway.get("/system/function/f").json();
        assert_eq!(status["replicas"].as_u64().unwrap_or_default(), u64::from(replicas), "{status}");
    }
}

#[test]
fn an_upload_that_was_cut_off_by_a_kill_leaves_nothing_that_is_taken_for_a_module() {
    let gateway = Gateway::start();
    let mut wire = gateway.wire();
    wire.head("PUT /system/modules", &["content-type: application/wasm", "content-length: 1000000"]);
    wire.write(&guest::cat()).unwrap();
    let gateway = gateway.kill().start();
    assert_eq!(gateway.get("/system/modules").json(), serde_json::json!([]));
}
