//! Container functions from a stack file, with a real Docker: built, pushed, deployed, looked at, removed.

use std::process::Command;

use super::{Desk, contains};
use crate::containers::registry::Registry;
use crate::support::docker::{CONFORM, Docker};
use crate::support::{guest, wait};

fn desk(docker: &Docker) -> Desk {
    Desk { docker: Some(docker.host().to_owned()), ..Desk::of(docker.gateway()) }
}

/// An image to build upon, made of what is here: no registry of the world is reached. It has a program that
/// copies its input, and a folder for temporary files. Dropping it removes it.
struct Base<'a> {
    docker: &'a Docker,
    image: String,
}

impl<'a> Base<'a> {
    fn make(docker: &'a Docker, desk: &Desk) -> Self {
        let image = format!("bramble-test/base:{}", std::process::id());
        let tar = desk.path().join("base.tar");
        let tar = tar.to_str().unwrap();
        let container = docker.cli(&["create", CONFORM]);
        docker.cli(&["export", "-o", tar, &container]);
        docker.cli(&["rm", &container]);
        std::fs::create_dir(desk.path().join("tmp")).unwrap();
        let added =
            Command::new("tar").args(["-rf", tar, "--mode=1777", "tmp"]).current_dir(desk.path()).status();
        assert!(added.unwrap().success());
        docker.cli(&["import", tar, &image]);
        Self { docker, image }
    }
}

impl Drop for Base<'_> {
    fn drop(&mut self) {
        self.docker.try_cli(&["rmi", &self.image]);
    }
}

#[test]
fn a_dockerfile_becomes_a_function_that_answers() {
    let docker = Docker::shared();
    let name = docker.name("dockerfile");
    let desk = desk(&docker);
    let (base, registry) = (Base::make(&docker, &desk), Registry::open(&docker));
    let prefix = format!("{}/me", registry.address());
    desk.types(&format!("new --lang dockerfile {name} --prefix {prefix}"), 0);
    let (file, image) = (format!("{name}.yml"), format!("{prefix}/{name}:latest"));
    let more = format!("    fprocess: /conform echo\n    build_args: {{BASE: '{}'}}\n", base.image);
    desk.write(&file, desk.read(&file) + &more);

    contains(&desk.types(&format!("build -f {file}"), 0), &["built", &image]);
    contains(&desk.types(&format!("push -f {file}"), 0), &["pushed", &image]);
    // What is deployed is what the registry has: the build's own copy is gone.
    docker.cli(&["rmi", &image]);
    contains(&desk.types(&format!("deploy -f {file}"), 0), &["deployed", &name]);
    desk.types(&format!("ready {name}"), 0);
    assert_eq!(desk.pipes("from an image", &format!("invoke {name}"), 0), "from an image");
    contains(
        &desk.types(&format!("up -f {file} --env exec_timeout=9s"), 0),
        &["built", "pushed", "deployed"],
    );
    assert_eq!(desk.pipes("again", &format!("invoke {name}"), 0), "again");
    assert_eq!(desk.gateway.describe(&name)["envVars"]["exec_timeout"], "9s");

    desk.write(&format!("{name}/Dockerfile"), "FROM bramble/nowhere\n");
    let said = desk.types(&format!("up -f {file} --skip-push"), 1);
    contains(&said, &["cannot build", "hint:", "no image bramble/nowhere", "scripts/images.sh nowhere"]);
    assert_eq!(desk.pipes("still", &format!("invoke {name}"), 0), "still");
    desk.types(&format!("remove -f {file}"), 0);
    wait::until("the service is gone", || !docker.has_service(&name));
    docker.try_cli(&["rmi", "-f", &image]);
}

#[test]
fn one_stack_file_holds_wasm_and_containers() {
    let docker = Docker::shared();
    let (wasm, image) = (docker.name("stack-wasm"), docker.name("stack-image"));
    let desk = desk(&docker);
    desk.write("cat.wasm", guest::cat());
    let stack = format!(
        "provider: {{name: openfaas}}
functions:
  {wasm}: {{lang: wasm, image: cat.wasm, labels: {{team: blue}}}}
  {image}: {{image: {CONFORM}, fprocess: /conform log told, environment: {{combine_output: 'false', healthcheck_interval: 1s}}}}
"
    );
    desk.write("stack.yml", stack);
    contains(&desk.types("deploy", 0), &[&format!("deployed {wasm}"), &format!("deployed {image}")]);
    for name in [&wasm, &image] {
        desk.types(&format!("ready {name}"), 0);
        assert_eq!(desk.pipes("hi", &format!("invoke {name}"), 0), "hi");
        desk.types(&format!("scale {name} 2"), 0);
        desk.gateway.has_replicas(name, 2);
    }
    contains(&desk.types("list --sort invocations", 0), &[&wasm, &image, "2/2"]);
    contains(
        &desk.types(&format!("describe {image}"), 0),
        &[CONFORM, "2 available of 2", "healthcheck_interval=1s"],
    );
    contains(&desk.types(&format!("describe {wasm}"), 0), &["sha256:", "team=blue"]);
    wait::until("the log is there", || desk.types(&format!("logs {image} --tail=false"), 0).contains("told"));
    contains(&desk.types("diff", 0), &["nothing differs"]);
    contains(&desk.types(&format!("deploy --filter {image} --label a=b"), 0), &[&image]);
    contains(&desk.types("diff -f stack.yml", 0), &["nothing differs"]);
    let said = desk.types("generate --format compose", 0);
    contains(&said, &[&image, &format!("{wasm} is wasm")]);
    desk.types("remove -f stack.yml", 0);
    assert_eq!(desk.types("list --quiet", 0), "");
    wait::until("the service is gone", || !docker.has_service(&image));
}

#[test]
fn the_store_has_containers_of_our_own() {
    let docker = Docker::shared();
    let (desk, name) = (desk(&docker), docker.name("store"));
    let deploy = format!("store deploy wordcount --platform x86_64 --name {name}");
    contains(&desk.types(&deploy, 0), &["deployed", &name]);
    desk.types(&format!("ready {name}"), 0);
    assert_eq!(desk.pipes("one two\nthree\n", &format!("invoke {name}"), 0), "2 3 14\n");
    contains(&desk.types(&format!("describe {name}"), 0), &["bramble/wordcount:latest"]);
    desk.types(&format!("remove {name}"), 0);
    wait::until("the service is gone", || !docker.has_service(&name));
}
