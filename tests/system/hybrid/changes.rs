//! From one runtime to another and back, while clients call.

use serde_json::{Value, json};

use super::{CONTAINER, WASM, document, module, taken};
use crate::containers::load::under_load;
use crate::support::docker::{CONFORM, Docker};
use crate::support::{Gateway, wait};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Wasm,
    Container,
    Hybrid(&'static str),
}

impl Kind {
    fn has_containers(self) -> bool {
        self != Self::Wasm
    }

    fn document(self, name: &str, digest: &str) -> Value {
        match self {
            Self::Wasm => json!({"service": name, "image": digest}),
            Self::Container => {
                json!({"service": name, "image": CONFORM, "envProcess": "/conform word container"})
            }
            Self::Hybrid(policy) => document(name, digest, policy),
        }
    }
}

/// Waits until the function is of this kind and nothing of another is left.
#[track_caller]
fn settled(docker: &Docker, gateway: &Gateway, name: &str, kind: Kind) {
    let slots = format!("bramble_pool_slots{{function_name=\"{name}\",state=\"idle\"}}");
    if kind.has_containers() {
        gateway.has_replicas(name, 1);
    } else {
        assert!(!docker.has_service(name), "{kind:?}");
        wait::until("no container is left", || docker.containers(name).is_empty());
    }
    let told = gateway.describe(name);
    assert_eq!(told.get("runtimes").is_some(), matches!(kind, Kind::Hybrid(_)), "{kind:?}");
    let has_slots = gateway.metric(&slots) + gateway.busy(name) > 0.0;
    assert_eq!(has_slots, kind != Kind::Container, "{kind:?}");
    if !matches!(kind, Kind::Hybrid(_)) {
        assert_eq!(taken(gateway, name, "wasm") + taken(gateway, name, "container"), 0.0, "{kind:?}");
    }
}

#[test]
fn every_change_of_the_runtime_fails_no_request() {
    use Kind::{Container, Hybrid, Wasm};
    let docker = Docker::shared();
    let name = docker.name("hybrid-changes");
    let gateway = docker.gateway();
    let digest = gateway.upload(&module());
    gateway.json("POST", "/system/functions", &Wasm.document(&name, &digest)).expect(202);
    let served = under_load(&gateway, &name, 6, || {
        for kind in [
            Hybrid("fastest"),
            Container,
            Hybrid("bridge"),
            Wasm,
            Hybrid("wasm-first"),
            Wasm,
            Hybrid("bridge"),
            Container,
            Wasm,
            Container,
            Hybrid("fastest"),
        ] {
            gateway.json("PUT", "/system/functions", &kind.document(&name, &digest)).expect(202);
            settled(&docker, &gateway, &name, kind);
            let answered = gateway.counted(&name, 200);
            wait::until("it serves", || gateway.counted(&name, 200) >= answered + 50.0);
        }
    });
    served.without_failures();
    assert_eq!(served.answers, [WASM.trim().to_owned(), CONTAINER.trim().to_owned()].into());
    // A container that was there stays, whatever is put beside it.
    let containers = docker.containers(&name);
    for kind in [Container, Hybrid("bridge"), Container] {
        gateway.json("PUT", "/system/functions", &kind.document(&name, &digest)).expect(202);
        settled(&docker, &gateway, &name, kind);
        assert_eq!(docker.containers(&name), containers);
    }
}

#[test]
fn redeploying_a_hybrid_fails_no_request() {
    let docker = Docker::shared();
    let name = docker.name("hybrid-redeploy");
    let gateway = docker.gateway();
    gateway.hybrid(&name, "fastest", json!({}));
    gateway.has_replicas(&name, 1);
    let served = under_load(&gateway, &name, 6, || {
        for next in ["one", "two"] {
            let wasm = crate::support::guest::says(&format!("wasm {next}\n"));
            let mut next_document = document(&name, &gateway.upload(&wasm), "fastest");
            next_document["envProcess"] = json!(format!("/conform word container {next}"));
            gateway.json("PUT", "/system/functions", &next_document).expect(202);
            assert_eq!(crate::containers::load::update_ended(&docker, &name), "completed");
            wait::until("both are new", || {
                let text = gateway.invoke(&name, "").expect(200).text();
                text.ends_with(&format!("{next}\n"))
            });
        }
        gateway.scale(&name, 0);
        wait::until("somebody woke it", || gateway.describe(&name)["replicas"] == 1);
        gateway.has_replicas(&name, 1);
    });
    served.without_failures();
}
