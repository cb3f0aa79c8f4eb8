//! A Docker that is not there, may not be used, is not in Swarm mode, or goes away.

use std::fs;
use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::os::unix::fs::{chown, symlink};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::Instant;

use serde_json::json;

use super::load::under_load;
use crate::support::docker::{CONFORM, Docker};
use crate::support::gateway::bramble;
use crate::support::{Gateway, Start, wait};

/// That functions in containers are refused for now, with these words, and all else works.
#[track_caller]
fn away(gateway: &Gateway, says: &str) {
    wait::until("it is known", || gateway.containers()["reason"].as_str().unwrap_or_default().contains(says));
    assert_eq!(gateway.containers()["available"], false);
    gateway.create("away", CONFORM, json!({})).refused(503, "unavailable", says);
    gateway.deploy("here", &crate::support::guest::says("here"));
    gateway.invoke("here", "").says(200, "here");
}

#[test]
fn no_docker_is_told_with_the_way_out_and_heals() {
    let docker = Docker::shared();
    let name = docker.name("daemon-none");
    let home = tempfile::tempdir().unwrap();
    let socket = home.path().join("docker.sock");
    let gateway = Start::new().flag("--docker-host", &format!("unix://{}", socket.display())).start();
    away(&gateway, "install it and start it, or set DOCKER_HOST");
    symlink(docker.host().trim_start_matches("unix://"), &socket).unwrap();
    gateway.connected();
    gateway.conform(&name, "/conform word healed", json!({}));
    gateway.invoke(&name, "").says(200, "healed\n");
    // Away again: what runs is still reached, and nothing can be changed.
    fs::remove_file(&socket).unwrap();
    gateway.json("POST", &format!("/system/scale-function/{name}"), &json!({"replicas": 2})).refused(
        503,
        "unavailable",
        "",
    );
    gateway.invoke(&name, "").says(200, "healed\n");
}

#[test]
fn a_socket_without_permission_names_the_group() {
    let docker = Docker::shared();
    let home = tempfile::tempdir().unwrap();
    // Nobody's own, and a program that nobody may read: the tests' may be in root's home.
    let (data, copy) = (home.path().join("data"), home.path().join("bramble"));
    fs::create_dir(&data).unwrap();
    fs::copy(bramble(), &copy).unwrap();
    for path in [home.path(), &data, &copy] {
        chown(path, Some(65_534), Some(65_534)).unwrap();
    }
    let run = format!("shift; exec {} \"$@\"", copy.display());
    let start = docker.start().data_dir(&data).under(&[
        "setpriv",
        "--reuid=65534",
        "--regid=65534",
        "--clear-groups",
        "sh",
        "-c",
        &run,
        "sh",
    ]);
    let gateway = start.start();
    away(&gateway, "group `docker`");
}

/// A socket that passes everything on, but for the answer to the `nth` request of those with this in their head.
/// That is told.
pub(super) fn losing_an_answer(
    docker: &Docker,
    socket: &Path,
    (nth, what): (usize, &'static str),
) -> Receiver<String> {
    let (tell, told) = channel();
    let (listener, real) = (UnixListener::bind(socket).unwrap(), docker.host().to_owned());
    // Ends with the process of the test.
    thread::spawn(move || {
        let mut seen = 0;
        for client in listener.incoming().map_while(Result::ok) {
            let server = UnixStream::connect(real.trim_start_matches("unix://")).unwrap();
            let mut head = [0; 128];
            let length = { &client }.read(&mut head).unwrap();
            { &server }.write_all(&head[..length]).unwrap();
            let counts = String::from_utf8_lossy(&head).contains(what);
            seen += usize::from(counts);
            let lose = counts && seen == nth;
            let (client_in, server_out) = (client.try_clone().unwrap(), server.try_clone().unwrap());
            thread::spawn(move || pass(client_in, server_out));
            let tell = tell.clone();
            thread::spawn(move || match lose {
                false => pass(server, client),
                true => {
                    let mut answer = [0; 12];
                    { &server }.read_exact(&mut answer).unwrap();
                    tell.send(String::from_utf8_lossy(&answer).into_owned()).unwrap();
                    client.shutdown(Shutdown::Both).unwrap();
                }
            });
        }
    });
    told
}

fn pass(mut from: UnixStream, mut to: UnixStream) {
    let _ = io::copy(&mut from, &mut to);
    let _ = to.shutdown(Shutdown::Write);
}

#[test]
fn a_deployment_whose_answer_is_lost_leaves_no_service() {
    let docker = Docker::shared();
    let name = docker.name("daemon-lost");
    let home = tempfile::tempdir().unwrap();
    let socket = home.path().join("docker.sock");
    let lost = losing_an_answer(&docker, &socket, (1, "/services/create"));
    let gateway = Start::new().flag("--docker-host", &format!("unix://{}", socket.display())).start();
    gateway.connected();
    gateway.create(&name, CONFORM, json!({})).refused(503, "unavailable", "Docker");
    assert_eq!(gateway.names(), [] as [&str; 0]);
    assert_eq!(lost.recv_timeout(wait::LIMIT).unwrap(), "HTTP/1.1 201", "there is a service");
    wait::until("it is removed", || !docker.has_service(&name));
    gateway.conform(&name, "/conform word second", json!({}));
    // A container of the first one may still be there, and is not asked.
    gateway.invoke(&name, "").says(200, "second\n");
}

#[test]
fn a_docker_that_is_not_in_swarm_mode_is_told_what_to_type() {
    let docker = Docker::own();
    docker.cli(&["swarm", "leave", "--force"]);
    let gateway = docker.start().start();
    away(&gateway, "docker swarm init");
    let home = tempfile::tempdir().unwrap();
    let mut up = Command::new(bramble());
    up.args(["up", "--swarm-init=127.0.0.1", "--listen", "127.0.0.1:0", "--metrics-listen", "127.0.0.1:0"]);
    up.args(["--docker-host", docker.host(), "--data-dir"]).arg(home.path());
    up.env("HOME", home.path()).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let mut up = up.spawn().unwrap();
    wait::until("there is a Swarm", || {
        docker.cli(&["info", "--format", "{{.Swarm.LocalNodeState}}"]) == "active"
    });
    // The one that was there all the time finds it too.
    gateway.connected();
    up.kill().unwrap();
    up.wait().unwrap();
    gateway.conform("swarmed", "/conform word swarmed", json!({}));
    gateway.invoke("swarmed", "").says(200, "swarmed\n");
}

#[test]
fn a_daemon_killed_during_a_deployment_leaves_the_replicas_serving() {
    let docker = Docker::own();
    let gateway = docker.gateway();
    gateway.conform("served", "/conform word served", json!({}));
    gateway.scale("served", 2);
    gateway.has_replicas("served", 2);
    let served = under_load(&gateway, "served", 4, || {
        thread::scope(|scope| {
            let deploying = scope
                .spawn(|| gateway.create("during", CONFORM, json!({"envProcess": "/conform word during"})));
            docker.kill();
            let answer = deploying.join().unwrap();
            assert!(matches!(answer.status.as_u16(), 202 | 503), "{answer:?}");
        });
        let asked = Instant::now();
        gateway.create("after", CONFORM, json!({})).refused(503, "unavailable", "");
        assert!(asked.elapsed() < wait::LIMIT / 3);
        wait::until("it says so", || gateway.containers()["available"] == false);
        assert!(gateway.describe("served")["reason"].as_str().unwrap().contains("Docker"));
    });
    served.without_failures();
    docker.restart();
    gateway.connected();
    // A daemon that starts ends the containers of the one before, and the Swarm starts others.
    wait::until("it answers again", || gateway.invoke("served", "").text() == "served\n");
    gateway.has_replicas("served", 2);
    let known = gateway.names().contains(&"during".to_owned());
    assert_eq!(docker.has_service("during"), known, "half of a deployment is left");
    gateway.create("after", CONFORM, json!({"envProcess": "/conform word after"})).expect(202);
    wait::until("the next one answers", || gateway.invoke("after", "").text() == "after\n");
}
