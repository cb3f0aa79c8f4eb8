//! Slots by what a real Prometheus has.

use super::containers::by_cpu;
use super::monitoring::{Server, free_address, release};
use super::{desired, follows, naps, pass, quick, until_desired};
use crate::containers::load::under_load;
use crate::support::docker::Docker;
use crate::support::{guest, wait};

#[test]
fn a_loaded_function_climbs_and_returns_and_a_prometheus_that_is_away_changes_nothing() {
    let (address, alertmanager) = (free_address(), free_address());
    let gateway = quick().flag("--prometheus-url", &format!("http://{address}")).start();
    gateway.deploy_with("naps", &naps(), follows(1, 6));
    pass(&gateway, "source_failed", 1.0);
    let prometheus = Server::prometheus(&gateway, address, alertmanager);
    pass(&gateway, "done", 1.0);
    under_load(&gateway, "naps", 10, || {
        until_desired(&gateway, "naps", |replicas| replicas == 6);
        let told = gateway.get("/system/scale-function/naps").expect(200).json();
        assert_eq!(told["source"], "prometheus", "{told}");
        prometheus.kill();
        pass(&gateway, "source_failed", 1.0);
    });
    // The load is gone, and nobody knows.
    let told = || gateway.log().matches("cannot scale").count();
    let before = told();
    pass(&gateway, "source_failed", 40.0);
    assert_eq!(desired(&gateway, "naps"), 6, "what is not known changed something");
    assert!(before > 0 && told() == before, "told at every look\n{}", gateway.log());
    let explained = gateway.get("/system/scale-function/naps").expect(200).json();
    assert!(explained["trouble"].as_str().unwrap().contains(&address.to_string()), "{explained}");
    // It comes back without what it had.
    let _prometheus = Server::prometheus(&gateway, address, alertmanager);
    until_desired(&gateway, "naps", |replicas| replicas == 1);
}

#[test]
fn containers_climb_by_the_processor_time_that_was_scraped() {
    let docker = Docker::shared();
    let name = docker.name("spins-scraped");
    let (address, alertmanager) = (free_address(), free_address());
    let gateway = docker
        .start_scaling()
        .flag("--prometheus-url", &format!("http://{address}"))
        .flag("--scale-interval", "200ms")
        .flag("--scale-down-window", "3s")
        .start();
    gateway.connected();
    gateway.conform(&name, "/conform spin 50", serde_json::json!({"labels": by_cpu()}));
    gateway.has_replicas(&name, 1);
    let _prometheus = Server::prometheus(&gateway, address, alertmanager);
    under_load(&gateway, &name, 2, || until_desired(&gateway, &name, |replicas| replicas == 3));
    until_desired(&gateway, &name, |replicas| replicas == 1);
}

#[test]
fn what_waits_in_the_asynchronous_queue_wants_replicas() {
    let (address, alertmanager) = (free_address(), free_address());
    let gateway =
        quick().flag("--prometheus-url", &format!("http://{address}")).flag("--queue-workers", "1").start();
    let labels = serde_json::json!({
        "com.openfaas.scale.min": "1",
        "com.openfaas.scale.max": "6",
        "com.openfaas.scale.type": "queue",
        "com.openfaas.scale.target": "1",
    });
    let more = serde_json::json!({"labels": labels, "envVars": {"exec_timeout": "10m"}});
    gateway.deploy_with("slow", &guest::sleeps(), more);
    let _prometheus = Server::prometheus(&gateway, address, alertmanager);
    pass(&gateway, "done", 2.0);
    assert_eq!(desired(&gateway, "slow"), 1);
    // One of them runs: the function itself has nobody waiting.
    for _ in 0..20 {
        gateway.send(gateway.request("POST", "/async-function/slow"), b"").expect(202);
    }
    until_desired(&gateway, "slow", |replicas| replicas == 6);
}

#[test]
fn an_idle_function_goes_to_zero_and_comes_back() {
    let (address, alertmanager) = (free_address(), free_address());
    let gateway = quick().flag("--prometheus-url", &format!("http://{address}")).start();
    let labels = serde_json::json!({
        "com.openfaas.scale.zero": "true", "com.openfaas.scale.zero-duration": "2s",
    });
    gateway.deploy_with("naps", &naps(), serde_json::json!({"labels": labels}));
    let _prometheus = Server::prometheus(&gateway, address, alertmanager);
    until_desired(&gateway, "naps", |replicas| replicas == 0);
    gateway.invoke("naps", "").says(200, "");
    assert!(desired(&gateway, "naps") >= 1);
    until_desired(&gateway, "naps", |replicas| replicas == 0);
}

#[test]
fn only_series_that_the_selector_names_count() {
    for own in [true, false] {
        let (address, alertmanager, metrics) = (free_address(), free_address(), free_address());
        // Prometheus scrapes itself too.
        let instance = if own { metrics } else { address };
        release(metrics);
        let gateway = quick()
            .flag("--metrics-listen", &metrics.to_string())
            .flag("--prometheus-url", &format!("http://{address}"))
            .flag("--prometheus-selector", &format!("job=\"gateway\",instance=\"{instance}\""))
            .start();
        gateway.deploy_with("naps", &naps(), follows(1, 6));
        let _prometheus = Server::prometheus(&gateway, address, alertmanager);
        under_load(&gateway, "naps", 4, || {
            if own {
                until_desired(&gateway, "naps", |replicas| replicas > 1);
                return;
            }
            wait::until("Prometheus has scraped the load", || {
                let query = format!("http://{address}/api/v1/query?query=sum(bramble_function_inflight)%3E0");
                let mut answer = ureq::get(query).call().unwrap();
                answer.body_mut().read_to_string().unwrap().contains("\"value\"")
            });
            pass(&gateway, "done", 5.0);
            assert_eq!(desired(&gateway, "naps"), 1);
        });
    }
}
