//! Replicas of a function in containers: up, frozen, away, and back.

use serde_json::{Value, json};

use super::{desired, until_desired};
use crate::containers::load::under_load;
use crate::support::docker::Docker;
use crate::support::{Gateway, wait};

#[test]
fn a_loaded_function_climbs_freezes_goes_to_zero_and_comes_back() {
    let docker = Docker::shared();
    let name = docker.name("scaled");
    let gateway =
        docker.start_scaling().flag("--scale-interval", "200ms").flag("--scale-down-window", "2s").start();
    gateway.connected();
    let labels = json!({
        "com.openfaas.scale.max": "3",
        "com.openfaas.scale.type": "capacity",
        "com.openfaas.scale.target": "2",
        "com.openfaas.scale.target-proportion": "1",
        "com.openfaas.scale.zero": "true",
        "com.openfaas.scale.zero-duration": "12s",
        "bramble.scale.freeze-after": "3s",
    });
    gateway.conform(&name, "/conform drip 2 100", json!({"labels": labels}));
    gateway.has_replicas(&name, 1);
    let served = under_load(&gateway, &name, 6, || {
        until_desired(&gateway, &name, |replicas| replicas == 3);
        gateway.has_replicas(&name, 3);
    });
    assert!(served.failures.is_empty(), "{:?}", served.failures);
    until_desired(&gateway, &name, |replicas| replicas == 1);
    let actions =
        |action: &str| gateway.metric(&format!("bramble_scaler_decisions_total{{action=\"{action}\"}}"));
    // Counted, for it is frozen only for a while: then it goes.
    wait::until("it was frozen", || actions("freeze") >= 1.0);
    until_desired(&gateway, &name, |replicas| replicas == 0);
    wait::until("its container is gone", || docker.containers(&name).is_empty());
    gateway.invoke(&name, "").expect(200);
    assert_eq!(desired(&gateway, &name), 1);
    assert!(actions("up") >= 1.0 && actions("zero") >= 1.0);
}

#[test]
fn a_function_climbs_by_the_processor_time_of_its_containers() {
    let docker = Docker::shared();
    let (name, other) = (docker.name("spins"), docker.name("unmetered"));
    let gateway =
        docker.start_scaling().flag("--scale-interval", "200ms").flag("--scale-down-window", "3s").start();
    gateway.connected();
    gateway.conform(&name, "/conform spin 50", json!({"labels": by_cpu()}));
    gateway.conform(&other, "/conform spin 50", json!({}));
    gateway.has_replicas(&name, 1);
    let served = under_load(&gateway, &name, 2, || {
        until_desired(&gateway, &name, |replicas| replicas == 3);
        gateway.has_replicas(&name, 3);
        gateway.invoke(&other, "").expect(200);
    });
    assert!(served.failures.is_empty(), "{:?}", served.failures);
    let before = cpu_seconds(&gateway, &name);
    assert!(before > 0.1, "{before} s for {} times 50 ms", served.count);
    until_desired(&gateway, &name, |replicas| replicas == 1);
    wait::until("the others are gone", || docker.containers(&name).len() == 1);
    assert!(cpu_seconds(&gateway, &name) >= before, "what is gone keeps what it took");
    assert_eq!(cpu_seconds(&gateway, &other), 0.0, "who does not ask is not metered");
}

/// Labels of a function that gets another replica for each tenth of a processor.
pub(super) fn by_cpu() -> Value {
    json!({
        "com.openfaas.scale.max": "3",
        "com.openfaas.scale.type": "cpu",
        "com.openfaas.scale.target": "100",
    })
}

/// What its containers took, as the gateway tells it.
pub(super) fn cpu_seconds(gateway: &Gateway, name: &str) -> f64 {
    gateway.metric(&format!("bramble_function_cpu_seconds_total{{function_name=\"{name}\"}}"))
}

#[test]
fn while_docker_is_away_nothing_changes_and_it_is_told_once() {
    let docker = Docker::own();
    let gateway =
        docker.start_scaling().flag("--scale-interval", "100ms").flag("--scale-down-window", "2s").start();
    gateway.connected();
    let labels = json!({
        "com.openfaas.scale.max": "2",
        "com.openfaas.scale.type": "capacity",
        "com.openfaas.scale.target": "2",
        "com.openfaas.scale.target-proportion": "1",
    });
    gateway.conform("away", "/conform drip 2 100", json!({"labels": labels}));
    gateway.has_replicas("away", 1);
    docker.kill();
    let failed = || gateway.metric("bramble_scaler_decisions_total{action=\"failed\"}");
    // Its container goes on without the daemon.
    under_load(&gateway, "away", 4, || wait::until("changes fail", || failed() >= 2.0));
    assert_eq!(desired(&gateway, "away"), 1);
    assert_eq!(gateway.log().matches("cannot change the replicas").count(), 1, "{}", gateway.log());
    docker.restart();
    gateway.connected();
    under_load(&gateway, "away", 4, || until_desired(&gateway, "away", |replicas| replicas == 2));
}
