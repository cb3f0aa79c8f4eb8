use std::collections::HashSet;

use bramble_provider::Provider;
use futures_util::FutureExt;
use parking_lot::Mutex;
use prometheus::{HistogramOpts, HistogramVec};
use tempfile::TempDir;

use super::*;
use crate::config::SwarmConfig;

#[derive(Default)]
struct Remembered(Mutex<HashSet<FunctionName>>);

impl Ledger for Remembered {
    fn may_exist(&self, name: &FunctionName) -> bool {
        self.0.lock().contains(name)
    }

    fn begins<'n>(&'n self, name: &'n FunctionName) -> BoxFuture<'n, Result<(), ProviderError>> {
        self.0.lock().insert(name.clone());
        async { Ok(()) }.boxed()
    }

    fn ended<'n>(&'n self, name: &'n FunctionName) -> BoxFuture<'n, ()> {
        self.0.lock().remove(name);
        async {}.boxed()
    }
}

/// A provider without a Docker.
fn away() -> (SwarmProvider, TempDir) {
    let dir = tempfile::tempdir().unwrap();
    let mut config = SwarmConfig::in_dir(dir.path());
    config.docker_host = "unix:///nonexistent/docker.sock".parse().unwrap();
    let cold_starts = HistogramVec::new(HistogramOpts::new("cold", "cold"), &["name", "runtime"]).unwrap();
    (SwarmProvider::open(config, cold_starts).unwrap(), dir)
}

fn spec(image: &str) -> FunctionSpec {
    FunctionSpec::new(FunctionName::parse("echo").unwrap(), Code::Image(image.to_owned()))
}

#[tokio::test]
async fn what_is_wanted_without_docker_leaves_the_function_that_is_there() {
    let (provider, _dir) = away();
    assert!(provider.restore(vec![(spec("first"), 1)]).is_empty());
    let before = provider.core.function(&spec("").name).unwrap();
    assert!(!before.is_anew());
    provider.want(spec("second"), 2).unwrap();
    let after = provider.core.function(&spec("").name).unwrap();
    assert!(Arc::ptr_eq(&before, &after), "its replicas and its writers are those of one function");
    let wanted = after.wanted.lock().clone();
    assert_eq!((wanted.spec.code.clone(), wanted.desired), (spec("second").code, 2));
    assert!(after.is_anew(), "a deployment, not a restart");
}

#[tokio::test]
async fn without_docker_only_what_never_had_a_service_is_removed() {
    let (provider, _dir) = away();
    let (name, ledger) = (spec("").name, Arc::new(Remembered::default()));
    provider.keep(&ledger);
    provider.want(spec("some"), 1).unwrap();
    ledger.begins(&name).await.unwrap();
    let refused = provider.remove(&name).await;
    assert!(matches!(refused, Err(ProviderError::Unavailable { .. })), "{refused:?}");
    assert_eq!(provider.list().await.unwrap(), std::slice::from_ref(&name));
    ledger.ended(&name).await;
    provider.remove(&name).await.unwrap();
    assert!(provider.list().await.unwrap().is_empty());
    // Somebody who has looked it up before makes no service of it now: Docker would be asked.
    provider.want(spec("some"), 1).unwrap();
    let known = provider.core.function(&name).unwrap();
    provider.remove(&name).await.unwrap();
    provider.core.restore(&known).await.unwrap();
}

#[tokio::test]
async fn without_a_ledger_every_function_may_have_a_service() {
    let (provider, _dir) = away();
    provider.want(spec("some"), 1).unwrap();
    assert!(provider.remove(&spec("").name).await.is_err());
    // It is given up all the same where it is something else by now.
    provider.remove_later(&spec("").name);
    assert!(provider.list().await.unwrap().is_empty());
}

#[tokio::test]
async fn what_is_about_to_be_deployed_gets_a_secrets_value_with_that() {
    let (provider, _dir) = away();
    assert!(provider.restore(vec![(spec("first"), 1)]).is_empty());
    let function = provider.core.function(&spec("").name).unwrap();
    let asked = provider.core.rotate(&function).await;
    assert!(matches!(asked, Err(ProviderError::Unavailable { .. })), "Docker is asked: {asked:?}");
    provider.want(spec("second"), 1).unwrap();
    provider.core.rotate(&function).await.unwrap();
}
