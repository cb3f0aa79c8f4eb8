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
    // Both are tried of each revision, or nobody would know which is faster.
    let both_answer = || {
        let taken = || ["wasm", "container"].map(|runtime| taken(&gateway, &name, runtime));
        let before = taken();
        wait::until("both answer", || taken().iter().zip(before).all(|(now, before)| *now >= before + 3.0));
    };
    let served = under_load(&gateway, &name, 6, || {
        both_answer();
        for next in ["one", "two"] {
            let wasm = crate::support::guest::says(&format!("wasm {next}\n"));
            let mut next_document = document(&name, &gateway.upload(&wasm), "fastest");
            next_document["envProcess"] = json!(format!("/conform word container {next}"));
            gateway.json("PUT", "/system/functions", &next_document).expect(202);
            assert_eq!(crate::containers::load::update_ended(&docker, &name), "completed");
            both_answer();
        }
        gateway.scale(&name, 0);
        // The module alone answers; whether containers are woken depends on which half is faster.
        wait::until("no container is left", || {
            docker.containers(&name).is_empty() || gateway.describe(&name)["replicas"] == 1
        });
        gateway.scale(&name, 1);
        gateway.has_replicas(&name, 1);
    });
    served.without_failures();
    let words = ["", " one", " two"].map(|word| [format!("wasm{word}"), format!("container{word}")]);
    assert_eq!(served.answers, words.into_iter().flatten().collect());
}

#[test]
fn a_refused_update_is_never_served() {
    let docker = Docker::shared();
    let name = docker.name("hybrid-never");
    let gateway = docker.gateway();
    gateway.hybrid(&name, "wasm-first", json!({}));
    let bad = gateway.upload(&crate::support::guest::says("refused\n"));
    let bad = super::with(document(&name, &bad, "wasm-first"), json!({"image": "bramble/there-is-none:1"}));
    let served = under_load(&gateway, &name, 4, || {
        gateway.json("PUT", "/system/functions", &bad).refused(400, "invalid_spec", "there-is-none");
    });
    served.without_failures();
    assert!(!served.answers.contains("refused"), "{:?}", served.answers);
}
