//! Secrets of functions in containers: the Swarm's are made, replaced and removed with the gateway's.

use serde_json::json;

use crate::support::docker::{CONFORM, Docker};
use crate::support::{guest, wait};

/// The names of the Swarm's secrets that are for one of the gateway's.
fn in_swarm(docker: &Docker, secret: &str) -> Vec<String> {
    let label = format!("label=bramble.secret={secret}");
    let names = docker.cli(&["secret", "ls", "--filter", &label, "--format", "{{.Name}}"]);
    names.lines().map(str::to_owned).collect()
}

#[test]
fn a_new_value_replaces_the_containers_and_the_old_ones_go() {
    let docker = Docker::shared();
    let name = docker.name("rotates");
    let secret = format!("rotated-{}", std::process::id());
    let gateway = docker.gateway();
    let write = |method: &str, value: &str| {
        gateway.json(method, "/system/secrets", &json!({"name": secret, "value": value}))
    };
    write("POST", "first").expect(201);
    let reads = format!("/conform read /var/openfaas/secrets/{secret}");
    gateway.conform(&name, &reads, json!({"secrets": [secret]}));
    gateway.invoke(&name, "").says(200, "first");
    let image = |docker: &Docker| {
        docker.inspect(&["service", "inspect", &name])["Spec"]["TaskTemplate"]["ContainerSpec"]["Image"]
            .clone()
    };
    let before = image(&docker);
    for value in ["second", "third", "fourth"] {
        write("PUT", value).expect(202);
        // None fails meanwhile: a replica with the new value is there before the old one goes.
        wait::until("it reads the new value", || gateway.invoke(&name, "").expect(200).text() == value);
    }
    assert_eq!(image(&docker), before);
    wait::until("the old values are gone", || in_swarm(&docker, &secret).len() <= 2);
    let names = in_swarm(&docker, &secret);
    assert!(names.iter().all(|name| name.starts_with(&secret)), "{names:?}");

    gateway.json("DELETE", "/system/secrets", &json!({"name": secret})).refused(409, "secret_in_use", &name);
    gateway.remove(&name);
    // A container that has it may not be gone yet, nor its service.
    wait::until("the service is gone", || !docker.has_service(&name));
    gateway.json("DELETE", "/system/secrets", &json!({"name": secret})).expect(202);
    wait::until("all values are gone", || in_swarm(&docker, &secret).is_empty());
}

#[test]
fn a_hybrid_has_one_secret_in_both_halves() {
    let docker = Docker::shared();
    let name = docker.name("rotates-both");
    let secret = format!("both-{}", std::process::id());
    let gateway = docker.gateway();
    let document = |value: &str| json!({"name": secret, "namespace": "openfaas-fn", "value": value});
    gateway.json("POST", "/system/secrets", &document("first")).expect(201);
    let module = gateway.upload(&guest::says("module"));
    let more = json!({
        "annotations": {"bramble.module": module, "bramble.policy": "bridge"},
        "envProcess": format!("/conform read /var/openfaas/secrets/{secret}"),
        "secrets": [secret],
    });
    gateway.create(&name, CONFORM, more).expect(202);
    wait::until("the container answers", || gateway.invoke(&name, "").text() == "first");
    gateway.json("PUT", "/system/secrets", &document("second")).expect(202);
    wait::until("with the new value", || gateway.invoke(&name, "").text() == "second");
    let views = std::fs::read_dir(gateway.data_dir().join("views")).unwrap();
    let seen = views.map(|view| std::fs::read_to_string(view.unwrap().path().join(&secret)).unwrap());
    assert_eq!(seen.collect::<Vec<_>>(), ["second"]);
    gateway.remove(&name);
    wait::until("the service is gone", || !docker.has_service(&name));
    gateway.json("DELETE", "/system/secrets", &document("")).expect(202);
    wait::until("all values are gone", || in_swarm(&docker, &secret).is_empty());
}
