//! A Swarm of three nodes on one machine, made for one test by `scripts/nodes.sh`.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::net::SocketAddr;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use super::docker::CONFORM;
use super::{Gateway, Start, wait};

/// The image with the gateway and the agent: `deploy/Dockerfile`.
pub(crate) const BRAMBLE: &str = "bramble/bramble:latest";
/// The nodes: the first is the manager.
pub(crate) const NODES: [u8; 3] = [1, 2, 3];

/// Three nodes with the images, and the test's thread on the first one's network: what it starts, and the
/// threads it makes, are there too. Dropping it removes all, also when the test failed.
#[derive(Debug)]
pub(crate) struct Nodes {
    dir: PathBuf,
    /// The network that the thread came from.
    home: File,
    /// Held: one set at a time is enough for a small machine.
    _turn: File,
}

impl Nodes {
    #[track_caller]
    pub(crate) fn up() -> Self {
        #[expect(clippy::disallowed_methods, reason = "where the tests' nodes are put, read once")]
        let place = std::env::var("BRAMBLE_TEST_NODES").ok().filter(|place| !place.is_empty());
        let place = PathBuf::from(place.expect(
            "tests of several nodes need a place for them: type `make test`, or \
             `scripts/docker.sh start; eval \"$(scripts/docker.sh env)\"` first",
        ));
        fs::create_dir_all(&place).unwrap();
        let turn = File::create(place.join("turn")).unwrap();
        turn.lock().unwrap();
        let home = File::open("/proc/thread-self/ns/net").unwrap();
        let nodes = Self { dir: place.join(std::process::id().to_string()), home, _turn: turn };
        nodes.script(&["up", "3"]);
        nodes.script(&["image", CONFORM, BRAMBLE]);
        enter(&File::open(nodes.dir.join("node1/net")).unwrap());
        nodes
    }

    /// Runs `nodes.sh`, which must succeed.
    #[track_caller]
    pub(crate) fn script(&self, words: &[&str]) {
        let output = self.command(words).output().unwrap();
        assert!(output.status.success(), "nodes.sh {words:?}: {}", said(&output));
    }

    /// Runs `docker` on a node and answers what it prints; it must succeed.
    #[track_caller]
    pub(crate) fn docker(&self, node: u8, words: &[&str]) -> String {
        let output = Command::new("docker").arg("-H").arg(self.host(node)).args(words).output().unwrap();
        assert!(output.status.success(), "docker {words:?} on node {node}: {}", said(&output));
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }

    /// The ids of the containers of a function on a node, those that are paused too.
    #[track_caller]
    pub(crate) fn containers(&self, node: u8, function: &str) -> Vec<String> {
        let label = format!("label=bramble.function={function}");
        let ids = self.docker(node, &["ps", "-q", "--no-trunc", "--filter", &label]);
        ids.lines().map(str::to_owned).collect()
    }

    /// The paused ones among them.
    #[track_caller]
    pub(crate) fn paused(&self, node: u8, function: &str) -> Vec<String> {
        let label = format!("label=bramble.function={function}");
        let ids = self.docker(node, &["ps", "-q", "--filter", &label, "--filter", "status=paused"]);
        ids.lines().map(str::to_owned).collect()
    }

    /// Kills a container, without the time that the command line takes.
    #[track_caller]
    pub(crate) fn kill_container(&self, node: u8, id: &str) {
        let mut socket = UnixStream::connect(self.socket(node)).unwrap();
        let head =
            format!("POST /containers/{id}/kill HTTP/1.0\r\nhost: docker\r\ncontent-length: 0\r\n\r\n");
        socket.write_all(head.as_bytes()).unwrap();
        let mut answer = String::new();
        socket.read_to_string(&mut answer).unwrap();
        assert!(answer.contains(" 204 "), "{answer}");
    }

    /// A gateway that runs on node 1 as a process, with an agent on every node; once they answer.
    #[track_caller]
    pub(crate) fn process(&self) -> Gateway {
        let place = format!("BRAMBLE_NODES_DIR={}", self.dir.display());
        let script = script_path();
        let gateway = Start::new()
            .under(&["env", &place, script.to_str().unwrap(), "in", "1"])
            .flag("--docker-host", "unix:///var/run/docker.sock")
            .flag("--agent-image", BRAMBLE)
            .start();
        gateway.connected();
        gateway
    }

    /// A gateway in a container on the functions' network, with an agent on every node: `deploy/stack.yml`.
    #[track_caller]
    pub(crate) fn stack(&self) -> Gateway {
        // The stack makes its own, for which the daemon needs a moment after the end of another.
        self.docker(1, &["network", "rm", "functions"]);
        // `admin` and the password of the tests of `auth`.
        for (name, text) in [("basic-auth-user", "admin"), ("basic-auth-password", "the right one")] {
            let file = self.dir.join(name);
            fs::write(&file, text).unwrap();
            self.docker(1, &["secret", "create", name, file.to_str().unwrap()]);
        }
        let id = self.docker(1, &["image", "inspect", "--format", "{{.Id}}", BRAMBLE]);
        let file = script_path().with_file_name("../deploy/stack.yml");
        let mut deploy = Command::new("docker");
        deploy.arg("-H").arg(self.host(1)).args(["stack", "deploy", "--resolve-image", "never"]);
        deploy.arg("--compose-file").arg(file).arg("bramble").env("BRAMBLE_IMAGE", id);
        wait::until("the stack is deployed", || deploy.output().unwrap().status.success());
        let mut logs = Command::new("docker");
        logs.arg("-H").arg(self.host(1)).args(["service", "logs", "--raw", "--follow", "bramble_gateway"]);
        let gateway = Gateway::elsewhere(SocketAddr::from(([127, 0, 0, 1], 8080)), &mut logs);
        let gateway = gateway.showing(crate::auth::RIGHT);
        let ready = || gateway.try_send(gateway.request("GET", "/readyz"), b"");
        wait::until("the gateway is ready", || ready().is_ok_and(|answer| answer.status == 200));
        gateway.connected();
        gateway
    }

    fn socket(&self, node: u8) -> PathBuf {
        self.dir.join(format!("node{node}/docker.sock"))
    }

    fn host(&self, node: u8) -> String {
        format!("unix://{}", self.socket(node).display())
    }

    fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new(script_path());
        command.args(words).env("BRAMBLE_NODES_DIR", &self.dir);
        command
    }
}

impl Drop for Nodes {
    fn drop(&mut self) {
        // A thread that stays there would keep the network.
        enter(&self.home);
        // What is paused does not end.
        for node in NODES {
            let all = r#"timeout 10 docker -H "$0" ps -q -f status=paused | xargs -r timeout 10 docker -H "$0" unpause"#;
            let _ = Command::new("sh").args(["-c", all, &self.host(node)]).output();
        }
        let output = self.command(&["down"]).output().unwrap();
        let left = self.dir.exists();
        if !std::thread::panicking() {
            assert!(output.status.success() && !left, "nodes.sh down: {}", said(&output));
        }
    }
}

fn enter(network: &File) {
    use std::os::fd::AsFd;
    move_into_link_name_space(network.as_fd(), Some(LinkNameSpaceType::Network)).unwrap();
}

fn script_path() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).with_file_name("scripts").join("nodes.sh")
}

fn said(output: &Output) -> String {
    format!("{} {}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}
