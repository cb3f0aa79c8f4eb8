//! A Docker in Swarm mode: the one that all tests share, or one of a test's own.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use parking_lot::Mutex;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::{Gateway, Start, wait};

/// The image with a function and a server of many behaviours: `examples/images/conform`.
pub(crate) const CONFORM: &str = "bramble/conform";

/// A Docker daemon. Dropping it removes the services that the test named, also when it failed.
///
/// Make it before the gateway: what is made last is dropped first, and a gateway brings services back.
#[derive(Debug)]
pub(crate) struct Docker {
    host: String,
    services: Mutex<Vec<String>>,
    own: Option<Own>,
}

/// What a daemon of one test is made of.
#[derive(Debug)]
struct Own {
    home: TempDir,
    /// The words that started the daemon, each with a zero behind it.
    command: String,
}

impl Docker {
    /// The one that `make test` starts.
    #[track_caller]
    pub(crate) fn shared() -> Self {
        #[expect(clippy::disallowed_methods, reason = "where the tests' Docker is, read once")]
        let host = std::env::var("BRAMBLE_TEST_DOCKER").ok().filter(|host| !host.is_empty());
        let host = host.expect(
            "tests of containers need a Docker in Swarm mode: type `make test`, or \
             `scripts/docker.sh start; eval \"$(scripts/docker.sh env)\"` first",
        );
        Self { host, services: Mutex::default(), own: None }
    }

    /// One of this test's own, with the shared one's image [`CONFORM`].
    #[track_caller]
    pub(crate) fn own() -> Self {
        // Docker makes sockets below it, and their paths have to be short.
        let home = tempfile::Builder::new().prefix("bramble").tempdir().unwrap();
        let host = format!("unix://{}/docker.sock", home.path().join("d").display());
        let own = Some(Own { home, command: String::new() });
        let mut docker = Self { host, services: Mutex::default(), own };
        script(docker.dir(), &["docker.sh", "start"]);
        let pid = fs::read_to_string(docker.dir().join("pid")).unwrap();
        docker.own.as_mut().unwrap().command =
            fs::read_to_string(format!("/proc/{}/cmdline", pid.trim())).unwrap();
        let image = docker.dir().with_file_name("conform.tar");
        Self::shared().cli(&["save", "-o", image.to_str().unwrap(), CONFORM]);
        docker.cli(&["load", "-q", "-i", image.to_str().unwrap()]);
        docker
    }

    /// Where a daemon of the test's own is.
    pub(crate) fn dir(&self) -> PathBuf {
        self.own.as_ref().unwrap().home.path().join("d")
    }

    /// Where it is asked.
    pub(crate) fn host(&self) -> &str {
        &self.host
    }

    /// Ends a daemon of the test's own as a power cut would; its containers go on.
    pub(crate) fn kill(&self) {
        bash(r#". scripts/dockerd.sh; dockerd_kill "$0""#, self.dir());
    }

    /// Starts a daemon of the test's own again, on what it had.
    pub(crate) fn restart(&self) {
        self.start_with(&[]);
    }

    /// As [`Self::kill`] and [`Self::restart`], with more flags.
    pub(crate) fn restart_with(&self, flags: &[&str]) {
        self.kill();
        self.start_with(flags);
    }

    fn start_with(&self, flags: &[&str]) {
        let net = format!("--net={}", self.dir().join("net").display());
        let words = self.own.as_ref().unwrap().command.split_terminator('\0').chain(flags.iter().copied());
        let log = File::options().append(true).open(self.dir().join("log")).unwrap();
        let mut daemon = Command::new("nsenter");
        daemon.arg(net).args(words).stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
        let mut daemon = daemon.spawn().unwrap();
        // Nobody else asks how it ended, and until then it is not gone.
        std::thread::spawn(move || daemon.wait());
        wait::until("the daemon answers", || self.try_cli(&["version"]).status.success());
    }

    /// A command to be run in the network of the daemon: its words are added.
    pub(crate) fn beside(&self) -> Command {
        let socket = Path::new(self.host.trim_start_matches("unix://"));
        let net = socket.with_file_name("net");
        let mut command = Command::new("nsenter");
        if net.exists() {
            command.arg(format!("--net={}", net.display()));
        }
        command.arg("--");
        command
    }

    /// Runs `docker` and answers what it prints; it must succeed.
    #[track_caller]
    pub(crate) fn cli(&self, arguments: &[&str]) -> String {
        let output = self.try_cli(arguments);
        assert!(output.status.success(), "docker {arguments:?}: {}", said(&output));
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    }

    /// Runs `docker`.
    pub(crate) fn try_cli(&self, arguments: &[&str]) -> Output {
        Command::new("docker").args(["-H", &self.host]).args(arguments).output().expect("docker is installed")
    }

    /// A gateway that uses it and leaves replicas alone, about to be started.
    pub(crate) fn start(&self) -> Start {
        self.start_scaling().flag("--scaler", "off")
    }

    /// A gateway that uses it and scales, about to be started.
    pub(crate) fn start_scaling(&self) -> Start {
        Start::new().flag("--docker-host", &self.host)
    }

    /// A gateway that uses it, connected to it.
    #[track_caller]
    pub(crate) fn gateway(&self) -> Gateway {
        let gateway = self.start().start();
        gateway.connected();
        gateway
    }

    /// A name for a function that no other test has. Its service is removed in the end.
    pub(crate) fn name(&self, name: &str) -> String {
        let name = format!("{name}-{}", std::process::id());
        self.services.lock().push(name.clone());
        name
    }

    /// The ids of the containers of a function that run, or are paused.
    #[track_caller]
    pub(crate) fn containers(&self, function: &str) -> Vec<String> {
        let label = format!("label=bramble.function={function}");
        let ids = self.cli(&["ps", "-q", "--no-trunc", "--filter", &label]);
        ids.lines().map(str::to_owned).collect()
    }

    /// Whether there is a service of this name.
    #[track_caller]
    pub(crate) fn has_service(&self, name: &str) -> bool {
        let filter = format!("name={name}");
        let names = self.cli(&["service", "ls", "--filter", &filter, "--format", "{{.Name}}"]);
        names.lines().any(|found| found == name)
    }

    /// What Docker knows of a thing: `["service", "inspect", NAME]`.
    #[track_caller]
    pub(crate) fn inspect(&self, arguments: &[&str]) -> Value {
        let all: Value = serde_json::from_str(&self.cli(arguments)).unwrap();
        all[0].clone()
    }
}

impl Drop for Docker {
    fn drop(&mut self) {
        if self.own.is_some() {
            script(self.dir(), &["docker.sh", "stop"]);
            return;
        }
        let services = self.services.get_mut();
        if !services.is_empty() {
            // Some were removed by the test, or never made.
            let arguments: Vec<_> =
                ["service", "rm"].into_iter().chain(services.iter().map(String::as_str)).collect();
            let _ = Command::new("docker").args(["-H", &self.host]).args(arguments).output();
        }
    }
}

/// Runs one of our scripts for the daemon in a directory.
#[track_caller]
fn script(dir: PathBuf, words: &[&str]) {
    let path = repository().join("scripts").join(words[0]);
    let output = Command::new(path).args(&words[1..]).env("BRAMBLE_DOCKER_DIR", dir).output().unwrap();
    assert!(output.status.success(), "{words:?}: {}", said(&output));
}

#[track_caller]
fn bash(text: &str, argument: impl AsRef<OsStr>) {
    let output =
        Command::new("bash").args(["-euc", text]).arg(argument).current_dir(repository()).output().unwrap();
    assert!(output.status.success(), "{text}: {}", said(&output));
}

fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}

fn said(output: &Output) -> String {
    format!("{} {}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

impl Gateway {
    /// Waits until it has found its Docker.
    #[track_caller]
    pub(crate) fn connected(&self) {
        wait::until("Docker is there", || self.containers()["available"] == true);
    }

    /// What it knows of its Docker.
    #[track_caller]
    pub(crate) fn containers(&self) -> Value {
        self.get("/system/info").expect(200).json()["containers"].clone()
    }

    /// Deploys the image [`CONFORM`] to run this, with more fields of the document.
    #[track_caller]
    pub(crate) fn conform(&self, name: &str, process: &str, more: Value) {
        let mut document = json!({"envProcess": process});
        document.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        self.create(name, CONFORM, document).expect(202);
    }

    /// Replaces the spec of a function: the image [`CONFORM`], this process, more fields.
    #[track_caller]
    pub(crate) fn update(&self, name: &str, process: &str, more: Value) {
        let mut document = json!({"service": name, "image": CONFORM, "envProcess": process});
        document.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        self.json("PUT", "/system/functions", &document).expect(202);
    }

    /// What the API tells of a function.
    #[track_caller]
    pub(crate) fn describe(&self, name: &str) -> Value {
        self.get(&format!("/system/function/{name}")).expect(200).json()
    }

    /// Waits until so many replicas are available.
    #[track_caller]
    pub(crate) fn has_replicas(&self, name: &str, count: u64) {
        wait::until(&format!("{name} has {count} replicas"), || {
            self.describe(name)["availableReplicas"].as_u64().unwrap_or_default() == count
        });
    }
}
