//! Functions of both runtimes where there is no Docker.

use std::time::Duration;

use bramble_provider::Runtime;
use bramble_swarm::Ledger;

use super::*;

/// `echo` with an image beside its module.
fn hybrid(spec: &FunctionSpec) -> FunctionSpec {
    let Code::Module(module) = spec.code else { panic!("it is a module") };
    FunctionSpec { code: Code::Hybrid { module, image: "me/echo".to_owned() }, ..spec.clone() }
}

fn is_away<T>(outcome: &Result<T, GatewayError>) -> bool {
    matches!(outcome, Err(GatewayError::Provider(ProviderError::Unavailable { .. })))
}

#[tokio::test]
async fn what_never_had_a_service_goes_without_docker() {
    let Fixture { functions, spec, _dir, .. } = fixture().await;
    for _ in 0..2 {
        functions.deploy(hybrid(&spec), Mode::Update).await.unwrap();
        assert_eq!(functions.get("echo").unwrap().runtime, Runtime::Hybrid);
        functions.deploy(spec.clone(), Mode::Update).await.unwrap();
    }
    functions.deploy(hybrid(&spec), Mode::Update).await.unwrap();
    functions.remove(&spec.name).await.unwrap();
    assert!(functions.get("echo").is_none());
}

#[tokio::test]
async fn what_may_have_a_service_stays_until_docker_is_there_also_over_a_restart() {
    let Fixture { functions, wasm, disk, spec, _dir } = fixture().await;
    functions.deploy(hybrid(&spec), Mode::Update).await.unwrap();
    functions.0.services.begins(&spec.name).await.unwrap();
    assert!(is_away(&functions.remove(&spec.name).await));
    assert!(is_away(&functions.deploy(spec.clone(), Mode::Update).await));

    let metrics = Metrics::new(SystemTime::now()).unwrap();
    let again = Functions::new(disk.store(), providers(&wasm, _dir.path()), &metrics, 4).unwrap();
    again.restore().await.unwrap();
    assert!(is_away(&again.remove(&spec.name).await));
    assert_eq!(again.get("echo").unwrap().runtime, Runtime::Hybrid);
    again.0.services.ended(&spec.name).await;
    again.remove(&spec.name).await.unwrap();
}

/// The answer tells of what was stored and is visible, and a service that cannot be removed yet is not taken up.
#[tokio::test]
async fn leaving_containers_is_done_also_when_docker_goes_away_meanwhile() {
    let Fixture { functions, spec, _dir, .. } = fixture().await;
    functions.deploy(hybrid(&spec), Mode::Update).await.unwrap();
    let inflight = Inflight::begin(functions.get("echo").unwrap());
    let leaving = tokio::spawn({
        let (functions, spec) = (functions.clone(), spec.clone());
        async move { functions.deploy(spec, Mode::Update).await }
    });
    while functions.get("echo").unwrap().runtime != Runtime::Wasm {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    // Its invocation keeps the old half. From now on there may be a service, so that leaving it needs Docker.
    functions.0.services.begins(&spec.name).await.unwrap();
    inflight.finish(http::StatusCode::OK);
    assert_eq!(leaving.await.unwrap().unwrap(), Deployed::Updated);
    assert!(functions.providers().containers(Runtime::Hybrid, &spec.name).is_none());
    functions.remove(&spec.name).await.unwrap();
}

/// Whoever looks at a function, as the scaler does, keeps nobody waiting; only its invocations do.
#[tokio::test]
async fn leaving_a_runtime_waits_for_invocations_alone() {
    let Fixture { functions, spec, _dir, .. } = fixture().await;
    functions.deploy(hybrid(&spec), Mode::Update).await.unwrap();
    let looked_at = functions.get("echo").unwrap();
    let soon = Duration::from_secs(1);
    tokio::time::timeout(soon, write::unused(&looked_at)).await.expect("nobody invokes it");
    let inflight = Inflight::begin(looked_at);
    let waiting = tokio::time::timeout(Duration::from_millis(50), write::unused(inflight.function()));
    assert!(waiting.await.is_err(), "its half is still asked for");
}

#[tokio::test]
async fn a_half_without_a_log_is_no_unknown_function() {
    let Fixture { functions, wasm, spec, _dir, .. } = fixture().await;
    functions.deploy(hybrid(&spec), Mode::Update).await.unwrap();
    // As when it could not be taken up.
    wasm.remove(&spec.name).await.unwrap();
    let query = bramble_provider::LogQuery::default();
    let refused = functions.providers().logs(Runtime::Hybrid, &spec.name, query).await.unwrap_err();
    assert!(matches!(refused, ProviderError::Unavailable { .. }), "{refused}");
}

/// Its containers follow what they take: the scaler neither adds some for the module's load nor keeps them for it.
#[tokio::test]
async fn what_the_module_takes_is_no_load_of_the_containers() {
    let Fixture { functions, spec, _dir, .. } = fixture().await;
    let counted = || functions.observe(false, |_| false)[0].counters;
    let invoked = |half: Half| {
        let inflight = Inflight::begin(functions.get("echo").unwrap());
        inflight.function().hybrid().unwrap().taken(half);
        inflight.finish(http::StatusCode::OK);
    };
    for _ in 0..3 {
        Inflight::begin(functions.get("echo").unwrap()).finish(http::StatusCode::OK);
    }
    assert_eq!(counted().started, 3);
    functions.deploy(hybrid(&spec), Mode::Update).await.unwrap();
    (0..100).for_each(|_| invoked(Half::Wasm));
    assert_eq!(counted().started, 3);
    invoked(Half::Container);
    let running = Inflight::begin(functions.get("echo").unwrap());
    assert_eq!((counted().started, counted().inflight, counted().queued), (4, 0, 0));
    // It gets as far as to ask Docker.
    assert!(is_away(&functions.rescale(&spec.name, 1, 0).await));
    running.finish(http::StatusCode::OK);
    // The count goes on where it was: else one that fell or leapt would be a load.
    functions.deploy(spec.clone(), Mode::Update).await.unwrap();
    assert_eq!(counted().started, 4);
    Inflight::begin(functions.get("echo").unwrap()).finish(http::StatusCode::OK);
    assert_eq!(counted().started, 5);
}
