//! The registry when the store cannot keep what it is asked to keep.

use std::sync::Barrier;
use std::sync::atomic::{AtomicU32, Ordering::SeqCst};
use std::time::SystemTime;

use bramble_host::{HostConfig, WasmProvider};
use bramble_provider::{Code, Provider, Scale};
use tempfile::TempDir;

use super::*;
use crate::store::small_disk::SmallDisk;

mod hybrids;

struct Fixture {
    functions: Functions,
    wasm: Arc<WasmProvider>,
    disk: SmallDisk,
    spec: FunctionSpec,
    _dir: TempDir,
}

/// There is no Docker.
fn providers(wasm: &Arc<WasmProvider>, dir: &std::path::Path) -> Providers {
    let mut config = bramble_swarm::SwarmConfig::in_dir(dir);
    config.docker_host = "unix:///nonexistent/docker.sock".parse().unwrap();
    let containers = bramble_swarm::SwarmProvider::open(config, wasm.cold_starts()).unwrap();
    Providers::new(wasm.clone(), Arc::new(containers))
}

/// A registry with one function, `echo`, over a disk that can be filled.
async fn fixture() -> Fixture {
    let dir = tempfile::tempdir().unwrap();
    let metrics = Metrics::new(SystemTime::now()).unwrap();
    let config = HostConfig { pool_slots: 8, ..HostConfig::in_dir(dir.path()) };
    let wasm = Arc::new(WasmProvider::open(config, metrics.registry()).unwrap());
    let module = wat::parse_str(r#"(module (memory (export "memory") 1) (func (export "_start")))"#).unwrap();
    let module = wasm.put_module(module.into()).await.unwrap();
    let disk = SmallDisk::default();
    let functions = Functions::new(disk.store(), providers(&wasm, dir.path()), &metrics, 4).unwrap();
    let spec = FunctionSpec::new(FunctionName::parse("echo").unwrap(), Code::Module(module.digest));
    assert_eq!(functions.deploy(spec.clone(), Mode::Create).await.unwrap(), Deployed::Created);
    assert_eq!(functions.deploy(spec.clone(), Mode::Upsert).await.unwrap(), Deployed::Unchanged);
    Fixture { functions, wasm, disk, spec, _dir: dir }
}

fn is_out_of_storage<T>(outcome: Result<T, GatewayError>) -> bool {
    matches!(outcome, Err(GatewayError::Provider(ProviderError::OutOfStorage(_))))
}

#[tokio::test]
async fn a_full_disk_changes_nothing_at_all() {
    let Fixture { functions, wasm, disk, spec, _dir } = fixture().await;
    let name = spec.name.clone();
    disk.fill_beyond(0);
    let mut other = spec.clone();
    other.env.insert("A".into(), "b".into());
    let another = FunctionSpec { name: FunctionName::parse("other").unwrap(), ..spec.clone() };
    assert!(is_out_of_storage(functions.deploy(other.clone(), Mode::Update).await));
    assert!(is_out_of_storage(functions.deploy(another, Mode::Create).await));
    assert!(is_out_of_storage(functions.scale(&name, 9).await));
    assert!(is_out_of_storage(functions.remove(&name).await));

    let function = functions.get("echo").unwrap();
    assert_eq!((&function.spec, function.revision, function.desired()), (&spec, 1, 4));
    assert_eq!(wasm.replicas(&name).await.unwrap().desired, 4);
    assert_eq!(wasm.list().await.unwrap(), std::slice::from_ref(&name));

    disk.fill_beyond(u64::MAX);
    assert_eq!(functions.deploy(other, Mode::Update).await.unwrap(), Deployed::Updated);
    functions.scale(&name, 9).await.unwrap();
    assert_eq!(wasm.replicas(&name).await.unwrap().desired, 9);
    functions.remove(&name).await.unwrap();
    assert!(functions.get("echo").is_none() && wasm.list().await.unwrap().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn max_inflight_holds_however_many_come_at_once() {
    const THREADS: usize = 4;
    let Fixture { functions, mut spec, _dir, .. } = fixture().await;
    spec.env.insert("max_inflight".into(), "1".into());
    functions.deploy(spec, Mode::Update).await.unwrap();
    let function = functions.get("echo").unwrap();
    let (running, together) = (AtomicU32::new(0), Barrier::new(THREADS));
    let (mut served, mut refused) = (0, 0);
    std::thread::scope(|scope| {
        let client = || {
            together.wait();
            let mut fates = [0, 0];
            for _ in 0..10_000 {
                match Inflight::admit(function.clone()) {
                    Err(refusal) => {
                        assert!(matches!(refusal, ProviderError::Saturated { .. }), "{refusal}");
                        fates[1] += 1;
                    }
                    Ok(admitted) => {
                        assert_eq!(running.fetch_add(1, SeqCst), 0, "two at once");
                        fates[0] += 1;
                        running.fetch_sub(1, SeqCst);
                        admitted.finish(http::StatusCode::OK);
                    }
                }
            }
            fates
        };
        let clients: Vec<_> = (0..THREADS).map(|_| scope.spawn(client)).collect();
        for client in clients {
            let [of_served, of_refused] = client.join().unwrap();
            (served, refused) = (served + of_served, refused + of_refused);
        }
    });
    assert!(served > 0 && served + refused == 10_000 * THREADS as u64);
    assert_eq!(function.metrics().invocations(), served + refused, "each is counted");
    assert_eq!(function.inflight(), 0);
}

#[tokio::test]
async fn a_write_goes_on_when_its_client_is_gone() {
    use futures_util::FutureExt;
    let Fixture { functions, spec, _dir, .. } = fixture().await;
    assert!(functions.scale(&spec.name, 7).now_or_never().is_none());
    functions.settle().await;
    assert_eq!(functions.get("echo.openfaas-fn").unwrap().desired(), 7);
}

#[tokio::test]
async fn names_are_found_as_clients_write_them() {
    let Fixture { functions, _dir, .. } = fixture().await;
    for (text, is_there) in [
        ("echo", true),
        ("echo.openfaas-fn", true),
        ("echo.", false),
        ("echo.team", false),
        ("../echo", false),
        ("", false),
    ] {
        assert_eq!(functions.get(text).is_some(), is_there, "{text:?}");
    }
}
