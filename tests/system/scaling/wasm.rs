//! Slots by the gateway's own counters.

use serde_json::json;

use super::{desired, follows, naps, pass, quick, until_desired};
use crate::containers::load::under_load;
use crate::support::{Start, guest, wait};

#[test]
fn a_loaded_function_climbs_within_its_bounds_and_returns() {
    let gateway = quick().start();
    gateway.deploy_with("naps", &naps(), follows(1, 6));
    assert_eq!(desired(&gateway, "naps"), 1);
    let served = under_load(&gateway, "naps", 10, || {
        until_desired(&gateway, "naps", |replicas| replicas == 6);
        pass(&gateway, "done", 10.0);
        assert_eq!(desired(&gateway, "naps"), 6, "a bound was crossed");
        wait::until("six run at once", || gateway.busy("naps") == 6.0);
    });
    assert!(served.failures.is_empty(), "{:?}", served.failures);
    until_desired(&gateway, "naps", |replicas| replicas == 1);
    for action in ["up", "down"] {
        let series = format!("bramble_scaler_decisions_total{{action=\"{action}\"}}");
        wait::until("the change is counted", || gateway.metric(&series) >= 1.0);
    }
}

#[test]
fn an_idle_function_goes_to_zero_and_the_next_request_brings_it_back() {
    let gateway = quick().start();
    let labels = json!({"com.openfaas.scale.zero": "true", "com.openfaas.scale.zero-duration": "500ms"});
    gateway.deploy_with("naps", &naps(), json!({"labels": labels}));
    gateway.invoke("naps", "").says(200, "");
    until_desired(&gateway, "naps", |replicas| replicas == 0);
    gateway.invoke("naps", "").says(200, "");
    assert!(desired(&gateway, "naps") >= 1);
    until_desired(&gateway, "naps", |replicas| replicas == 0);
    assert_eq!(gateway.counted("naps", 200), 2.0);
}

#[test]
fn nobody_is_taken_to_zero_while_a_request_is_inflight() {
    let gateway = quick().start();
    let labels = json!({"com.openfaas.scale.zero": "true", "com.openfaas.scale.zero-duration": "200ms"});
    gateway.deploy_with("cat", &guest::cat(), json!({"labels": labels}));
    let mut open = gateway.wire();
    open.begin("cat").chunk(b"here");
    assert_eq!(open.response().status, 200);
    pass(&gateway, "done", 20.0);
    assert!(desired(&gateway, "cat") >= 1, "it was inflight");
    open.end();
    assert_eq!(open.piece().unwrap().unwrap(), b"here");
    assert_eq!(open.piece().unwrap(), None);
    until_desired(&gateway, "cat", |replicas| replicas == 0);
}

#[test]
fn requests_that_meet_the_way_to_zero_are_all_served() {
    let gateway = quick().flag("--queue-wait", "5s").start();
    let labels = json!({"com.openfaas.scale.zero": "true", "com.openfaas.scale.zero-duration": "1ms"});
    gateway.deploy_with("says", &guest::says("here"), json!({"labels": labels}));
    let zeros = || gateway.metric("bramble_scaler_decisions_total{action=\"zero\"}");
    let mut asked = 0;
    wait::until("it went to zero often", || {
        gateway.invoke("says", "").says(200, "here");
        // Pauses of all lengths around that of a tick.
        wait::pause(std::time::Duration::from_millis(asked % 120));
        asked += 7;
        zeros() >= 20.0
    });
}

#[test]
fn a_minimum_keeps_it_from_zero() {
    let gateway = quick().start();
    let labels = json!({
        "com.openfaas.scale.min": "1", "com.openfaas.scale.max": "2",
        "com.openfaas.scale.zero": "true", "com.openfaas.scale.zero-duration": "100ms",
    });
    gateway.deploy_with("kept", &guest::cat(), json!({"labels": labels}));
    pass(&gateway, "done", 15.0);
    assert_eq!(desired(&gateway, "kept"), 1);
}

#[test]
fn a_function_without_labels_keeps_its_slots_under_load_and_idle() {
    let gateway = quick().start();
    gateway.deploy("plain", &naps());
    under_load(&gateway, "plain", 24, || pass(&gateway, "done", 10.0));
    pass(&gateway, "done", 25.0);
    assert_eq!(desired(&gateway, "plain"), 16);
    assert_eq!(gateway.metric("bramble_scaler_decisions_total{action=\"up\"}"), 0.0);
}

#[test]
fn a_hot_function_cannot_take_the_slots_of_another() {
    let gateway = quick().flag("--pool-slots", "12").start();
    gateway.deploy_with("hot", &naps(), follows(1, 100));
    gateway.deploy_with("warm", &naps(), follows(1, 100));
    under_load(&gateway, "hot", 30, || {
        until_desired(&gateway, "hot", |replicas| replicas >= 10);
        under_load(&gateway, "warm", 6, || {
            until_desired(&gateway, "warm", |replicas| replicas >= 5);
            let all = desired(&gateway, "hot") + desired(&gateway, "warm");
            assert!(all <= 13, "{all} of 12 slots were given, but for one change under way");
        });
    });
}

#[test]
fn what_a_function_without_labels_runs_is_not_given_to_others() {
    let gateway = quick().flag("--pool-slots", "12").start();
    gateway.deploy("plain", &guest::cat());
    gateway.deploy_with("follows", &naps(), follows(1, 100));
    let mut open: Vec<_> = (0..10).map(|_| gateway.wire()).collect();
    for wire in &mut open {
        wire.begin("plain").chunk(b"here");
        assert_eq!(wire.response().status, 200);
    }
    under_load(&gateway, "follows", 8, || {
        until_desired(&gateway, "follows", |replicas| replicas == 2);
        pass(&gateway, "done", 10.0);
        assert_eq!(desired(&gateway, "follows"), 2, "ten of the twelve slots are another's");
        drop(open);
        until_desired(&gateway, "follows", |replicas| replicas >= 6);
    });
}

#[test]
fn what_still_runs_does_not_undo_an_operators_zero() {
    let gateway = quick().start();
    gateway.deploy("naps", &guest::cat());
    let mut open = gateway.wire();
    open.begin("naps").chunk(b"first");
    assert_eq!(open.response().status, 200);
    gateway.scale("naps", 0);
    pass(&gateway, "done", 10.0);
    assert_eq!(desired(&gateway, "naps"), 0);
    open.chunk(b"second").end();
    assert_eq!(open.piece().unwrap().unwrap(), b"first");
    assert_eq!(open.piece().unwrap().unwrap(), b"second");
    assert_eq!(open.piece().unwrap(), None);
    pass(&gateway, "done", 10.0);
    assert_eq!(desired(&gateway, "naps"), 0, "nobody asked for it");
    gateway.invoke("naps", "awake").says(200, "awake");
    assert_eq!(desired(&gateway, "naps"), 16);
}

#[test]
fn who_waits_when_an_operator_takes_a_function_to_zero_is_served() {
    let start = Start::new().flag("--scaler", "off").flag("--queue-wait", "10m");
    let gateway = start.flag("--upstream-timeout", "10m").start();
    gateway.deploy_with("one", &guest::cat(), follows(1, 1));
    let mut first = gateway.wire();
    first.begin("one").chunk(b"first");
    assert_eq!(first.response().status, 200);
    let mut second = gateway.wire();
    second.begin("one").chunk(b"second").end();
    wait::until("it waits", || gateway.metric("bramble_function_queued{function_name=\"one\"}") == 1.0);
    gateway.scale("one", 0);
    drop(first);
    assert_eq!(second.response().status, 200);
    assert_eq!(second.piece().unwrap().unwrap(), b"second");
    assert_eq!(second.piece().unwrap(), None);
}

#[test]
fn a_function_that_is_removed_or_replaced_during_ticks_leaves_no_error() {
    let gateway = Start::new().flag("--scale-interval", "1ms").flag("--scale-down-window", "1ms").start();
    for round in 0..20 {
        let max = 2 + round % 3;
        gateway.deploy_with("naps", &naps(), follows(1, max));
        let answers = std::thread::scope(|scope| {
            let clients: Vec<_> = (0..6).map(|_| scope.spawn(|| gateway.invoke("naps", "").status)).collect();
            clients.into_iter().map(|client| client.join().unwrap()).collect::<Vec<_>>()
        });
        assert!(answers.iter().all(|status| *status == 200), "{answers:?}");
        gateway.remove("naps");
    }
    assert_eq!(gateway.metric("bramble_scaler_decisions_total{action=\"failed\"}"), 0.0);
    assert!(!gateway.log().contains("ERROR"), "{}", gateway.log());
}

#[test]
fn a_function_climbs_by_the_processor_time_it_takes() {
    let gateway = quick().start();
    let spins = guest::running(
        "(local $i i32)
        (loop $again
            (local.set $i (i32.add (local.get $i) (i32.const 1)))
            (br_if $again (i32.lt_u (local.get $i) (i32.const 30000000))))",
    );
    let labels = json!({
        "com.openfaas.scale.min": "1", "com.openfaas.scale.max": "3",
        "com.openfaas.scale.type": "cpu", "com.openfaas.scale.target": "50",
    });
    gateway.deploy_with("spins", &spins, json!({"labels": labels}));
    gateway.deploy_with("other", &naps(), follows(1, 2));
    under_load(&gateway, "spins", 3, || until_desired(&gateway, "spins", |replicas| replicas == 3));
    let seconds = |name: &str| {
        gateway.metric(&format!("bramble_function_cpu_seconds_total{{function_name=\"{name}\"}}"))
    };
    assert!(seconds("spins") > 0.01);
    gateway.invoke("other", "").says(200, "");
    assert_eq!(seconds("other"), 0.0, "who does not ask is not metered");
    until_desired(&gateway, "spins", |replicas| replicas == 1);
}
