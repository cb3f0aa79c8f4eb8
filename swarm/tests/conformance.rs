//! The container provider keeps the promises that every provider makes, on a real Docker in Swarm mode.
//!
//! `BRAMBLE_TEST_DOCKER` names the daemon, which has the image `bramble/conform`; `make test` sets up both.

use std::time::Duration;

use bramble_provider::conformance::{self, Behaviour, Fixture};
use bramble_provider::{Code, FunctionName, FunctionSpec, Provider};
use bramble_swarm::{SwarmConfig, SwarmProvider};
use prometheus::{HistogramOpts, HistogramVec};

struct Containers {
    provider: SwarmProvider,
}

impl Fixture for Containers {
    type Provider = SwarmProvider;

    fn provider(&self) -> &SwarmProvider {
        &self.provider
    }

    fn spec(&self, name: &FunctionName, behaviour: Behaviour) -> FunctionSpec {
        let verb = match behaviour {
            Behaviour::Echo => &["echo"][..],
            Behaviour::Shout => &["word", "shouted"],
            Behaviour::Fail => &["exit"],
            Behaviour::Hang => &["hang"],
            Behaviour::Complain => &["log", "a complaint"],
        };
        let mut spec = FunctionSpec::new(name.clone(), Code::Image("bramble/conform:latest".to_owned()));
        let words = ["/conform"].into_iter().chain(verb.iter().copied());
        // Else the watchdog puts stderr into the response.
        spec.env.insert("combine_output".to_owned(), "false".to_owned());
        spec.process = words.map(str::to_owned).collect();
        spec
    }

    async fn pause(&self) {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn keeps_what_a_provider_promises() {
    let directory = tempfile::tempdir().unwrap();
    #[expect(clippy::disallowed_methods, reason = "the daemon is the test run's, not a setting")]
    let docker =
        std::env::var("BRAMBLE_TEST_DOCKER").expect("BRAMBLE_TEST_DOCKER names a Docker in Swarm mode");
    let config =
        SwarmConfig { docker_host: docker.parse().unwrap(), ..SwarmConfig::in_dir(directory.path()) };
    let cold_starts =
        HistogramVec::new(HistogramOpts::new("cold", "cold"), &["function_name", "runtime"]).unwrap();
    let containers = Containers { provider: SwarmProvider::open(config, cold_starts).unwrap() };
    for _ in 0..100 {
        if containers.provider.info().available {
            break;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert!(containers.provider.info().available, "{:?}", containers.provider.info());
    conformance::check(&containers).await;
    for name in containers.provider.list().await.unwrap() {
        containers.provider.remove(&name).await.unwrap();
    }
}
