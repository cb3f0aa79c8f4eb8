//! A daemon that is behind with what it did, which a real one is for milliseconds only, and seldom.

use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering::SeqCst};

use bramble_provider::{Code, FunctionName, FunctionSpec};
use prometheus::{HistogramOpts, HistogramVec};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, UnixListener};
use tokio_util::sync::CancellationToken;

use super::*;
use crate::config::SwarmConfig;
use crate::core::{Link, Up};
use crate::docker::Docker;
use crate::function::{Started, Wanted};
use crate::network::Network;
use crate::upstream::{Address, Dialer, Path as Way, Upstream};

/// One function with one replica, and the daemon of its node.
struct Scene {
    core: Arc<Core>,
    function: Arc<Function>,
    replica: Arc<Replica>,
    daemon: Arc<Daemon>,
}

/// What the daemon says, and what it did.
#[derive(Default)]
struct Daemon {
    /// It says of what is paused that it is not, for so many requests to unpause it.
    behind_for: AtomicU32,
    thaws: AtomicU32,
    says_paused: AtomicBool,
    /// Whether the replica's process runs.
    awake: AtomicBool,
}

impl Daemon {
    fn answer(&self, request: &str) -> (&'static str, String) {
        if request.contains("/networks/") {
            let network =
                r#"{"Name":"functions","Id":"n","Driver":"overlay","Scope":"swarm","Attachable":true}"#;
            return ("200 OK", network.to_owned());
        }
        if request.contains("/json") {
            return ("200 OK", format!(r#"{{"State":{{"Paused":{}}}}}"#, self.says_paused.load(SeqCst)));
        }
        if request.contains("/pause") {
            self.awake.store(false, SeqCst);
            return ("204 No Content", String::new());
        }
        assert!(request.contains("/unpause"), "{request}");
        self.thaws.fetch_add(1, SeqCst);
        let behind = self.behind_for.fetch_update(SeqCst, SeqCst, |left| left.checked_sub(1)).is_ok();
        if behind || self.awake.load(SeqCst) {
            return ("409 Conflict", r#"{"message":"Container c1 is not paused"}"#.to_owned());
        }
        self.awake.store(true, SeqCst);
        ("204 No Content", String::new())
    }

    async fn serve(self: Arc<Self>, listener: UnixListener) {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                head.push(stream.read_u8().await.unwrap());
            }
            let head = String::from_utf8(head).unwrap();
            let (status, body) = self.answer(head.lines().next().unwrap());
            let answer = format!(
                "HTTP/1.1 {status}\r\ncontent-type: application/json\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{body}",
                body.len()
            );
            stream.write_all(answer.as_bytes()).await.unwrap();
        }
    }

    /// The replica's process: its kernel takes connections, it answers while it is awake.
    async fn run(self: Arc<Self>, listener: TcpListener) {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let daemon = Arc::clone(&self);
            tokio::spawn(async move {
                while !daemon.awake.load(SeqCst) {
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
                // Whoever asked may have given up.
                let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await;
                let _ = stream.read(&mut [0; 1024]).await;
            });
        }
    }
}

impl Scene {
    async fn set(directory: &Path, phase: Phase, daemon: Daemon) -> Self {
        let daemon = Arc::new(daemon);
        let socket = directory.join("docker.sock");
        tokio::spawn(Arc::clone(&daemon).serve(UnixListener::bind(&socket).unwrap()));
        let process = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = process.local_addr().unwrap().port();
        tokio::spawn(Arc::clone(&daemon).run(process));

        let docker = Docker::new(&format!("unix://{}", socket.display()).parse().unwrap()).unwrap();
        let cold_starts =
            HistogramVec::new(HistogramOpts::new("cold", "cold"), &["name", "runtime"]).unwrap();
        let core = Arc::new(Core::new(SwarmConfig::in_dir(directory), docker, cold_starts).unwrap());
        let door = Arc::clone(&core.door);
        let network = Network::open(&core.docker, "functions", "10.62.0.0/16", "n1".into(), door);
        let network = network.await.unwrap();
        core.set_link(Link::Up(Up { network, node: "n1".into(), nodes: 1 }));

        let name = FunctionName::parse("echo").unwrap();
        let spec = FunctionSpec::new(name.clone(), Code::Image("echo".to_owned()));
        let wanted = Wanted { spec: Arc::new(spec), desired: 1 };
        let function = Arc::new(Function::new(name, "echo".to_owned(), wanted));
        let (task, node, container): (Arc<str>, Arc<str>, Arc<str>) = ("t1".into(), "n1".into(), "c1".into());
        let (started, lost) = (
            Started { task: task.clone(), node: node.clone(), container: container.clone(), overlay: None },
            CancellationToken::new(),
        );
        function.started(&core, started);
        let address = Address { socket: ([127, 0, 0, 1], port).into(), path: Way::Direct };
        let upstream = Upstream::new(address, Dialer::default());
        let replica = Arc::new(Replica::new(task, node, container, upstream, phase, lost));
        function.joined(Arc::clone(&replica));
        Self { core, function, replica, daemon }
    }

    async fn until(&self, phase: Phase) {
        let reached = async {
            while self.replica.phase() != phase {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(10), reached).await.unwrap();
    }
}

#[tokio::test]
async fn one_that_docker_calls_awake_too_early_is_thawed_all_the_same() {
    let directory = tempfile::tempdir().unwrap();
    let daemon = Daemon { behind_for: AtomicU32::new(2), ..Daemon::default() };
    let scene = Scene::set(directory.path(), Phase::Frozen, daemon).await;
    let claim = scene.function.claim(&scene.core).await.unwrap();
    assert!(scene.daemon.awake.load(SeqCst), "a request went to a paused process");
    assert_eq!(scene.daemon.thaws.load(SeqCst), 3);
    drop(claim);
}

#[tokio::test]
async fn one_that_somebody_else_thawed_takes_requests() {
    let directory = tempfile::tempdir().unwrap();
    let daemon = Daemon { awake: AtomicBool::new(true), ..Daemon::default() };
    let scene = Scene::set(directory.path(), Phase::Frozen, daemon).await;
    scene.function.claim(&scene.core).await.unwrap();
    assert_eq!(scene.daemon.thaws.load(SeqCst), 1);
}

#[tokio::test]
async fn late_news_of_a_thaw_wakes_nobody_who_sleeps() {
    let directory = tempfile::tempdir().unwrap();
    let daemon = Daemon { awake: AtomicBool::new(true), ..Daemon::default() };
    let scene = Scene::set(directory.path(), Phase::Ready, daemon).await;
    assert_eq!(scene.core.freeze(&scene.function).await.unwrap(), 1);
    assert_eq!(scene.replica.phase(), Phase::Frozen);
    // The daemon tells of an earlier thaw, and believes it for a moment itself.
    assert_eq!(scene.core.find_paused(&scene.replica).await, None);
    scene.daemon.says_paused.store(true, SeqCst);
    assert_eq!(scene.core.find_paused(&scene.replica).await, Some(true));
    // Somebody thawed it in fact.
    scene.daemon.awake.store(true, SeqCst);
    scene.core.saw_paused(&scene.function, "c1", false);
    scene.until(Phase::Ready).await;
}

#[tokio::test]
async fn one_that_is_paused_under_its_requests_is_thawed() {
    let directory = tempfile::tempdir().unwrap();
    let daemon = Daemon { awake: AtomicBool::new(true), ..Daemon::default() };
    let scene = Scene::set(directory.path(), Phase::Ready, daemon).await;
    let claim = scene.function.claim(&scene.core).await.unwrap();
    scene.daemon.awake.store(false, SeqCst);
    scene.core.saw_paused(&scene.function, "c1", true);
    scene.until(Phase::Ready).await;
    assert!(scene.daemon.awake.load(SeqCst), "its request would wait for ever");
    drop(claim);
    // Without requests it stays as it was left.
    scene.daemon.awake.store(false, SeqCst);
    scene.daemon.says_paused.store(true, SeqCst);
    scene.core.saw_paused(&scene.function, "c1", true);
    scene.until(Phase::Frozen).await;
    assert_eq!(scene.daemon.thaws.load(SeqCst), 1);
}
