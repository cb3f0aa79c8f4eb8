//! Secrets of functions in containers: the Swarm's are made, replaced and removed with the gateway's.

use std::fs;

use serde_json::{Value, json};

use super::daemons::losing_an_answer;
use super::load::update_ended;
use crate::support::docker::{CONFORM, Docker};
use crate::support::{Gateway, Start, guest, wait};

/// The names of the Swarm's secrets that are for one of the gateway's.
fn in_swarm(docker: &Docker, secret: &str) -> Vec<String> {
    let label = format!("label=bramble.secret={secret}");
    let names = docker.cli(&["secret", "ls", "--filter", &label, "--format", "{{.Name}}"]);
    names.lines().map(str::to_owned).collect()
}

/// The image that a service runs.
fn image_of(docker: &Docker, name: &str) -> Value {
    docker.inspect(&["service", "inspect", name])["Spec"]["TaskTemplate"]["ContainerSpec"]["Image"].clone()
}

/// A function that answers a secret of its own, as it is when this returns: the name of that.
fn reads_its_secret(gateway: &Gateway, name: &str, image: &str, value: &str) -> String {
    let secret = format!("of-{name}");
    gateway.json("POST", "/system/secrets", &json!({"name": secret, "value": value})).expect(201);
    gateway.create(name, image, reading(&secret)).expect(202);
    gateway.invoke(name, "").says(200, value);
    secret
}

/// What is deployed for that.
fn reading(secret: &str) -> Value {
    json!({"envProcess": format!("/conform read /var/openfaas/secrets/{secret}"), "secrets": [secret]})
}

/// Takes both away again.
fn forget(docker: &Docker, gateway: &Gateway, name: &str, secret: &str) {
    gateway.remove(name);
    wait::until("the service is gone", || !docker.has_service(name));
    gateway.json("DELETE", "/system/secrets", &json!({"name": secret})).expect(202);
    wait::until("all values are gone", || in_swarm(docker, secret).is_empty());
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
    let elsewhere = json!({"secrets": ["nowhere"], "namespace": "team"});
    let refused = gateway.create(&name, CONFORM, elsewhere);
    assert!(!refused.text().contains(&secret), "what another namespace has: {}", refused.text());
    refused.refused(400, "unknown_secret", "nowhere; possible choices: none");
    let before = image_of(&docker, &name);
    for value in ["second", "third", "fourth"] {
        write("PUT", value).expect(202);
        // None fails meanwhile: a replica with the new value is there before the old one goes.
        wait::until("it reads the new value", || gateway.invoke(&name, "").expect(200).text() == value);
    }
    assert_eq!(image_of(&docker, &name), before);
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
    let views = fs::read_dir(gateway.data_dir().join("views")).unwrap();
    let seen = views.map(|view| fs::read_to_string(view.unwrap().path().join(&secret)).unwrap());
    assert_eq!(seen.collect::<Vec<_>>(), ["second"]);
    gateway.remove(&name);
    wait::until("the service is gone", || !docker.has_service(&name));
    gateway.json("DELETE", "/system/secrets", &document("")).expect(202);
    wait::until("all values are gone", || in_swarm(&docker, &secret).is_empty());
}

#[test]
fn a_value_that_changed_while_the_gateway_was_away_brings_no_other_image() {
    let docker = Docker::shared();
    let name = docker.name("rotates-away");
    let image = format!("{name}:1");
    docker.cli(&["tag", CONFORM, &image]);
    let gateway = docker.gateway();
    let secret = reads_its_secret(&gateway, &name, &image, "first");
    let before = image_of(&docker, &name);
    let file = gateway.data_dir().join("secrets").join(&secret);
    let start = gateway.kill();
    // The image's name means another one now.
    docker.cli(&["commit", &docker.containers(&name)[0], &image]);
    assert_ne!(docker.cli(&["image", "inspect", "--format", "{{.Id}}", &image]), before.as_str().unwrap());
    fs::write(file, "second").unwrap();
    let gateway = start.start();
    gateway.connected();
    wait::until("it reads the new value", || gateway.invoke(&name, "").expect(200).text() == "second");
    assert_eq!(image_of(&docker, &name), before);
    forget(&docker, &gateway, &name, &secret);
    docker.cli(&["rmi", &image]);
}

#[test]
fn what_is_deployed_again_after_a_bad_update_gets_new_values() {
    let docker = Docker::shared();
    let name = docker.name("rotates-after");
    let gateway = docker.gateway();
    let secret = reads_its_secret(&gateway, &name, CONFORM, "first");
    let update = |more: Value| {
        let mut document = json!({"service": name, "image": CONFORM});
        for fields in [reading(&secret), more] {
            document.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
        }
        gateway.json("PUT", "/system/functions", &document).expect(202);
    };
    update(json!({"envVars": {"conform": "exit"}}));
    assert_eq!(update_ended(&docker, &name), "rollback_completed");
    update(json!({}));
    gateway.json("PUT", "/system/secrets", &json!({"name": secret, "value": "second"})).expect(202);
    wait::until("it reads the new value", || gateway.invoke(&name, "").text() == "second");
    forget(&docker, &gateway, &name, &secret);
}

#[test]
fn an_answer_of_docker_that_is_lost_does_not_keep_a_value_from_containers() {
    let docker = Docker::shared();
    let name = docker.name("rotates-lost");
    let home = tempfile::tempdir().unwrap();
    let socket = home.path().join("docker.sock");
    // The first one is that of the deployment.
    let lost = losing_an_answer(&docker, &socket, (2, "/secrets/create"));
    let gateway = Start::new().flag("--docker-host", &format!("unix://{}", socket.display())).start();
    gateway.connected();
    let secret = reads_its_secret(&gateway, &name, CONFORM, "first");
    gateway.json("PUT", "/system/secrets", &json!({"name": secret, "value": "second"})).expect(202);
    assert_eq!(lost.recv_timeout(wait::LIMIT).unwrap(), "HTTP/1.1 201", "the Swarm has the value");
    wait::until("it reads the new value", || gateway.invoke(&name, "").expect(200).text() == "second");
    forget(&docker, &gateway, &name, &secret);
}
