//! Slots: how many invocations run at once, who waits, who is refused, and the way to zero and back.

use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering::SeqCst};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use serde_json::json;

use crate::support::{Gateway, Start, guest, wait};

/// A document that asks for so many slots, whatever the load.
fn slots(count: u32) -> serde_json::Value {
    let count = count.to_string();
    json!({"labels": {"com.openfaas.scale.min": count, "com.openfaas.scale.max": count}})
}

/// How one of many clients fared.
enum Fate {
    Served,
    Refused,
}

#[test]
fn a_thousand_clients_of_ten_slots_are_all_answered_and_never_more_than_ten_run() {
    const CLIENTS: u32 = 1_000;
    const SLOTS: u32 = 10;
    const QUEUE: u32 = 100;
    let gateway = Start::new()
        .flag("--queue-limit", &QUEUE.to_string())
        .flag("--queue-wait", "2m")
        .flag("--upstream-timeout", "5m")
        .start();
    gateway.deploy_with("ten", &guest::cat(), slots(SLOTS));
    let files = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: files.maximum, ..files }).unwrap();
    let together = Barrier::new(CLIENTS as usize);
    let (running, most) = (AtomicU32::new(0), AtomicU32::new(0));
    let client = || {
        let mut wire = gateway.wire();
        together.wait();
        wire.begin("ten").chunk(b"ping");
        let head = wire.response();
        if head.status == 429 {
            assert!(head.headers.contains_key("retry-after"));
            return Fate::Refused;
        }
        assert_eq!(head.status, 200);
        // The guest has answered while its request is still open: it runs.
        assert_eq!(wire.piece().unwrap().unwrap(), b"ping");
        most.fetch_max(running.fetch_add(1, SeqCst) + 1, SeqCst);
        assert!(gateway.busy("ten") <= f64::from(SLOTS));
        running.fetch_sub(1, SeqCst);
        wire.end();
        assert_eq!(wire.piece().unwrap(), None);
        Fate::Served
    };
    let fates: Vec<Fate> = std::thread::scope(|scope| {
        let small = || std::thread::Builder::new().stack_size(256 << 10);
        let clients: Vec<_> = (0..CLIENTS).map(|_| small().spawn_scoped(scope, client).unwrap()).collect();
        clients.into_iter().map(|client| client.join().unwrap()).collect()
    });
    let served = fates.iter().filter(|fate| matches!(fate, Fate::Served)).count() as f64;
    assert!(most.load(SeqCst) <= SLOTS, "{} ran at once", most.load(SeqCst));
    assert!(served >= f64::from(SLOTS + QUEUE), "only {served} were served");
    gateway.idle("ten");
    let counted = (gateway.counted("ten", 200), gateway.counted("ten", 429), gateway.counted("ten", 499));
    assert_eq!(counted, (served, f64::from(CLIENTS) - served, 0.0));
}

#[test]
fn a_full_queue_is_429_with_a_time_to_try_again() {
    let gateway = Start::new().flag("--queue-limit", "0").start();
    gateway.deploy_with("one", &guest::cat(), slots(1));
    let mut first = gateway.wire();
    first.begin("one").chunk(b"here");
    assert_eq!(first.response().status, 200);
    let refused = gateway.invoke("one", "second");
    assert_eq!(refused.header("retry-after"), "1");
    refused.refused(429, "saturated", "one");
    first.end();
    assert_eq!(first.piece().unwrap().unwrap(), b"here");
    gateway.idle("one");
    gateway.invoke("one", "third").says(200, "third");
}

#[test]
fn a_wait_in_the_queue_has_an_end() {
    let gateway = Start::new().flag("--queue-wait", "200ms").start();
    gateway.deploy_with("one", &guest::cat(), slots(1));
    let mut first = gateway.wire();
    first.begin("one").chunk(b"here");
    assert_eq!(first.response().status, 200);
    gateway.invoke("one", "second").refused(429, "saturated", "one");
}

#[test]
fn max_inflight_refuses_what_is_over_it() {
    let gateway = Gateway::start();
    gateway.deploy_with("two", &guest::cat(), json!({"envVars": {"max_inflight": "2"}}));
    let mut held: Vec<_> = (0..2).map(|_| gateway.wire()).collect();
    for wire in &mut held {
        wire.begin("two").chunk(b"here");
        assert_eq!(wire.response().status, 200);
    }
    let refused = gateway.invoke("two", "third");
    assert!(!refused.header("x-call-id").is_empty() && !refused.header("x-start-time").is_empty());
    refused.refused(429, "saturated", "two");
    assert_eq!(gateway.counted("two", 429), 1.0);
    drop(held);
    gateway.idle("two");
    gateway.invoke("two", "fourth").says(200, "fourth");
}

#[test]
fn one_function_at_its_limit_does_not_hold_up_another() {
    let gateway = Gateway::start();
    gateway.deploy_with("one", &guest::cat(), slots(1));
    gateway.deploy("other", &guest::cat());
    let mut wires: Vec<_> = (0..5).map(|_| gateway.wire()).collect();
    for wire in &mut wires {
        wire.begin("one");
    }
    wait::until("the others wait", || gateway.inflight("one") == 5.0);
    gateway.invoke("other", "served").says(200, "served");
}

#[test]
fn all_functions_together_stay_within_the_pool() {
    const POOL: u32 = 8;
    let gateway = Start::new().flag("--pool-slots", &POOL.to_string()).flag("--queue-wait", "1m").start();
    let names = ["a", "b", "c"];
    for name in names {
        gateway.deploy_with(name, &guest::cat(), slots(POOL));
    }
    let sum = |of: fn(&Gateway, &str) -> f64| names.iter().map(|name| of(&gateway, name)).sum::<f64>();
    let queued = |gateway: &Gateway, name: &str| {
        gateway.metric(&format!("bramble_function_queued{{function_name=\"{name}\"}}"))
    };
    // Each function has a slot for each of its clients; the host has not.
    let mut wires: Vec<_> = (0..3 * POOL).map(|_| gateway.wire()).collect();
    for (at, wire) in wires.iter_mut().enumerate() {
        wire.begin(names[at % 3]).chunk(b"here");
    }
    wait::until("all but those that run wait", || sum(queued) == f64::from(2 * POOL));
    assert_eq!(sum(Gateway::busy), f64::from(POOL));
    assert_eq!(gateway.metric("bramble_wasm_pool_queued"), f64::from(2 * POOL));
    let running = AtomicU32::new(0);
    std::thread::scope(|scope| {
        for mut wire in wires {
            let (gateway, running) = (&gateway, &running);
            scope.spawn(move || {
                assert_eq!(wire.response().status, 200);
                // The guest has answered while its request is still open: it runs.
                assert_eq!(wire.piece().unwrap().unwrap(), b"here");
                let now = running.fetch_add(1, SeqCst) + 1;
                assert!(now <= POOL, "{now} ran at once");
                assert!(gateway.metric("bramble_wasm_pool_instances") <= f64::from(POOL));
                running.fetch_sub(1, SeqCst);
                wire.end();
                assert_eq!(wire.piece().unwrap(), None);
            });
        }
    });
    assert_eq!((sum(queued), gateway.metric("bramble_wasm_pool_queued")), (0.0, 0.0));
}

#[test]
fn who_waits_for_the_host_is_told_as_waiting() {
    let gateway = Start::new().flag("--pool-slots", "1").flag("--queue-wait", "300ms").start();
    gateway.deploy_with("held", &guest::cat(), slots(1));
    gateway.deploy_with("waits", &guest::cat(), slots(1));
    let mut first = gateway.wire();
    first.begin("held").chunk(b"here");
    assert_eq!(first.response().status, 200);
    // It has its function's slot at once, and never the host's.
    gateway.invoke("waits", "").refused(429, "saturated", "0 inflight");
    gateway.idle("waits");
    assert_eq!(gateway.counted("waits", 429), 1.0);
}

#[test]
fn the_pool_keeps_no_more_memory_than_its_share() {
    // 128 GiB for all slots that are asked for. A small machine does without a pool.
    let gateway = Start::new().flag("--keep-resident", "256Mi").start();
    let engine = gateway.get("/system/info").expect(200).json()["wasm"].clone();
    assert!(engine["reason"].as_str().unwrap().contains("of memory"), "{engine}");
    assert!(gateway.metric("bramble_wasm_pool_slots") < 512.0, "{engine}");
    gateway.deploy("cat", &guest::cat());
    gateway.invoke("cat", "served").says(200, "served");
}

#[test]
fn more_slots_let_those_in_who_wait() {
    let gateway = Gateway::start();
    gateway.deploy_with("grows", &guest::cat(), slots(1));
    let mut wires: Vec<_> = (0..3).map(|_| gateway.wire()).collect();
    for wire in &mut wires {
        wire.begin("grows");
    }
    wait::until("one runs and two wait", || gateway.inflight("grows") == 3.0 && gateway.busy("grows") == 1.0);
    gateway.scale("grows", 3);
    wait::until("all three run", || gateway.busy("grows") == 3.0);
}

#[test]
fn a_function_scaled_to_zero_is_unloaded_and_comes_back_by_itself() {
    let gateway = Gateway::start();
    gateway.deploy("naps", &guest::cat());
    gateway.invoke("naps", "awake").says(200, "awake");
    gateway.scale("naps", 0);
    assert_eq!(gateway.get("/system/function/naps").json().get("replicas"), None, "0 is left out");
    let cold = || gateway.metric("bramble_cold_start_seconds_count{function_name=\"naps\",runtime=\"wasm\"}");
    let before = cold();
    gateway.invoke("naps", "again").says(200, "again");
    assert_eq!(cold(), before + 1.0, "its code had to be loaded");
    assert!(gateway.get("/system/function/naps").json()["replicas"].as_u64().unwrap() > 0);
    gateway.invoke("naps", "warm").says(200, "warm");
    assert_eq!(cold(), before + 1.0, "it stays loaded");
}

#[test]
fn fifty_first_invocations_at_once_are_all_served() {
    let gateway = Gateway::start();
    gateway.deploy("naps", &guest::cat());
    gateway.scale("naps", 0);
    let loads = || gateway.metric("bramble_wasm_code_loads_total");
    let before = loads();
    let together = Barrier::new(50);
    std::thread::scope(|scope| {
        for _ in 0..50 {
            scope.spawn(|| {
                let mut wire = gateway.wire();
                together.wait();
                wire.head("POST /function/naps", &["content-length: 4"]).write(b"woke").unwrap();
                wire.answer().says(200, "woke");
            });
        }
    });
    assert!(gateway.get("/system/function/naps").json()["replicas"].as_u64().unwrap() > 0);
    assert_eq!(gateway.counted("naps", 200), 50.0);
    assert_eq!(loads(), before + 1.0, "its code was loaded for each of them");
}

#[test]
fn scaling_to_zero_lets_running_invocations_finish() {
    let gateway = Gateway::start();
    gateway.deploy("naps", &guest::cat());
    let mut wire = gateway.wire();
    wire.begin("naps").chunk(b"first");
    assert_eq!(wire.response().status, 200);
    gateway.scale("naps", 0);
    wire.chunk(b"second").end();
    assert_eq!(wire.piece().unwrap().unwrap(), b"first");
    assert_eq!(wire.piece().unwrap().unwrap(), b"second");
    assert_eq!(wire.piece().unwrap(), None);
}

#[test]
fn scaling_to_zero_and_back_under_load_fails_no_request() {
    let gateway = Gateway::start();
    gateway.deploy("naps", &guest::cat());
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                while !done.load(SeqCst) {
                    gateway.invoke("naps", "served").says(200, "served");
                }
            });
        }
        for round in 0..200 {
            gateway.scale("naps", round % 2 * 4);
        }
        done.store(true, SeqCst);
    });
}
