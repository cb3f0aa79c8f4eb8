//! The follower over a real queue: what each second and each restart does.

use bramble_provider::{Code, FunctionSpec};
use tempfile::TempDir;

use super::*;
use crate::config::GatewayConfig;
use crate::functions::Mode;

const NAME: &str = "nightly";

async fn open(dir: &TempDir) -> Arc<Gateway> {
    let mut config = GatewayConfig::in_dir(dir.path());
    config.wasm.pool_slots = 8;
    config.containers.docker_host = "unix:///nonexistent/docker.sock".parse().unwrap();
    Gateway::open(config).await.unwrap()
}

async fn deploy(gateway: &Gateway, schedule: &str) {
    let module = wat::parse_str(r#"(module (memory (export "memory") 1) (func (export "_start")))"#).unwrap();
    let module = gateway.wasm.put_module(module.into()).await.unwrap();
    let mut spec = FunctionSpec::new(FunctionName::parse(NAME).unwrap(), Code::Module(module.digest));
    let annotations = [("topic", CRON_TOPIC), ("schedule", schedule)];
    spec.annotations = annotations.iter().map(|(key, value)| ((*key).into(), (*value).into())).collect();
    gateway.functions.deploy(spec, Mode::Upsert).await.unwrap();
}

fn follower(gateway: &Arc<Gateway>) -> Follower {
    let marks = gateway.queue.take_schedules();
    Follower { gateway: gateway.clone(), marks, plans: HashMap::new(), looked: None }
}

fn queued(gateway: &Gateway) -> usize {
    gateway.queue.list(false, None, 100).len()
}

fn at(text: &str) -> Timestamp {
    text.parse().unwrap()
}

#[tokio::test]
async fn runs_each_instant_once_and_makes_up_for_one_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let gateway = open(&dir).await;
    deploy(&gateway, "*/10 * * * *").await;
    let mut first = follower(&gateway);
    for (time, expected) in [
        ("2026-05-01T12:04:00Z", 0), // what was before it was deployed is not missed
        ("2026-05-01T12:09:59Z", 0),
        ("2026-05-01T12:10:00Z", 1),
        ("2026-05-01T12:10:01Z", 1),
        ("2026-05-01T12:09:00Z", 1), // the clock goes back
        ("2026-05-01T12:10:00Z", 1),
        ("2026-05-01T12:20:01Z", 2),
    ] {
        first.look(at(time)).await;
        assert_eq!(queued(&gateway), expected, "{time}");
    }
    gateway.functions.settle().await;
    drop((first, gateway));
    for (time, expected) in [
        ("2026-05-01T12:21:00Z", 2), // a restart repeats nothing
        ("2026-05-01T12:52:00Z", 3), // of three that were missed one is made up for
        ("2026-05-01T12:53:00Z", 3),
        ("2026-05-01T13:08:00Z", 3), // too long ago
        ("2026-05-01T13:10:00Z", 4),
    ] {
        let gateway = open(&dir).await;
        let mut follower = follower(&gateway);
        follower.look(at(time)).await;
        assert_eq!(queued(&gateway), expected, "{time}");
        gateway.functions.settle().await;
    }
}

#[tokio::test]
async fn another_schedule_counts_from_its_deployment() {
    let dir = tempfile::tempdir().unwrap();
    let gateway = open(&dir).await;
    deploy(&gateway, "0 * * * *").await;
    let mut follower = follower(&gateway);
    follower.look(at("2026-05-01T12:00:30Z")).await;
    follower.look(at("2026-05-01T12:31:00Z")).await;
    deploy(&gateway, "*/30 * * * *").await;
    follower.look(at("2026-05-01T12:31:01Z")).await;
    assert_eq!(queued(&gateway), 0);
    follower.look(at("2026-05-01T13:00:00Z")).await;
    assert_eq!(queued(&gateway), 1);
    gateway.functions.remove(&FunctionName::parse(NAME).unwrap()).await.unwrap();
    follower.look(at("2026-05-01T13:30:00Z")).await;
    assert_eq!(queued(&gateway), 1, "it is gone");
    assert!(follower.plans.is_empty());
}

#[tokio::test]
async fn an_update_that_leaves_the_schedule_alone_loses_no_run() {
    let dir = tempfile::tempdir().unwrap();
    let gateway = open(&dir).await;
    deploy(&gateway, "0 * * * *").await;
    let mut follower = follower(&gateway);
    follower.look(at("2026-05-01T12:59:59Z")).await;
    deploy(&gateway, "0 * * * *").await;
    follower.look(at("2026-05-01T13:00:01Z")).await;
    assert_eq!(queued(&gateway), 1);
}

#[tokio::test]
async fn a_function_that_is_removed_and_deployed_between_two_looks_has_its_new_schedule() {
    let dir = tempfile::tempdir().unwrap();
    let gateway = open(&dir).await;
    deploy(&gateway, "0 * * * *").await;
    let mut follower = follower(&gateway);
    follower.look(at("2026-05-01T12:15:00Z")).await;
    gateway.functions.remove(&FunctionName::parse(NAME).unwrap()).await.unwrap();
    deploy(&gateway, "*/30 * * * *").await;
    follower.look(at("2026-05-01T12:15:01Z")).await;
    follower.look(at("2026-05-01T12:30:00Z")).await;
    assert_eq!(queued(&gateway), 1);
}
