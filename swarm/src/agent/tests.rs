//! Agents over real sockets: one that is made up, to say what a test needs, and the real one with a
//! real Docker.

use std::collections::HashMap;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use bollard::models::ContainerCreateBody;
use bollard::query_parameters::{CreateContainerOptions, RemoveContainerOptionsBuilder};
use bramble_provider::spec::SCALE_TYPE_LABEL;
use bramble_provider::{Body, Code, FunctionName, FunctionSpec};
use futures_util::FutureExt;
use http::header::AUTHORIZATION;
use http::{HeaderValue, Method, Request, StatusCode};
use http_body_util::BodyExt;
use prometheus::{HistogramOpts, HistogramVec};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::client::RemoteAgent;
use super::protocol::Event;
use super::*;
use crate::core::{Core, Link, Up};
use crate::cpu::SCALED_BY_CPU;
use crate::docker::{Docker, DockerError};
use crate::function::{Function, Started, Wanted};
use crate::network::Network;
use crate::replica::{Phase, Replica};
use crate::upstream::{Address, Dialer, Path as Way, Upstream};

const IMAGE: &str = "bramble/conform:latest";
const NOWHERE: &str = "unix:///nonexistent/docker.sock";

/// Waits for what is certain to come, but not for ever.
async fn until(what: &str, mut condition: impl AsyncFnMut() -> bool) {
    for _ in 0..1_500 {
        if condition().await {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("waited in vain for: {what}");
}

fn core(docker: &str, data_dir: &Path) -> Arc<Core> {
    let config = SwarmConfig::in_dir(data_dir);
    let docker = Docker::new(&docker.parse().unwrap()).unwrap();
    let cold_starts = HistogramVec::new(HistogramOpts::new("cold", "cold"), &["name", "runtime"]).unwrap();
    Arc::new(Core::new(config, docker, cold_starts).unwrap())
}

fn function(core: &Core, name: &str) -> Arc<Function> {
    let name = FunctionName::parse(name).unwrap();
    let mut spec = FunctionSpec::new(name.clone(), Code::Image(IMAGE.to_owned()));
    spec.process = ["/conform", "echo"].map(str::to_owned).into();
    spec.labels.insert(SCALE_TYPE_LABEL.to_owned(), SCALED_BY_CPU.to_owned());
    let wanted = Wanted { spec: Arc::new(spec), desired: 1 };
    let function = Arc::new(Function::new(name.clone(), name.as_str().to_owned(), wanted));
    core.functions.insert(name, Arc::clone(&function));
    function
}

fn upstream(port: u16) -> Upstream {
    let address = Address { socket: ([127, 0, 0, 1], port).into(), path: Way::Direct };
    Upstream::new(address, Dialer::default())
}

/// A gateway's end of an agent, which listens until it is dropped.
struct Gateway {
    agent: Arc<RemoteAgent>,
    following: JoinHandle<()>,
}

impl Gateway {
    fn new(core: &Arc<Core>, node: &str, port: u16, authorization: HeaderValue) -> Self {
        let agent = Arc::new(RemoteAgent::new(node.into(), upstream(port), authorization));
        let following = tokio::spawn({
            let (core, agent) = (Arc::clone(core), Arc::clone(&agent));
            async move { agent.follow(&core).await }
        });
        Self { agent, following }
    }

    async fn connected(self) -> Self {
        until("the agent's hello", async || self.agent.is_connected()).await;
        self
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        self.following.abort();
    }
}

/// A replica on `node` that is asked for nothing.
fn replica(core: &Arc<Core>, function: &Arc<Function>, node: &str, container: &str) -> Arc<Replica> {
    replica_at(core, function, node, container, 9)
}

/// As [`replica`], with a port.
fn replica_at(
    core: &Arc<Core>,
    function: &Arc<Function>,
    node: &str,
    container: &str,
    port: u16,
) -> Arc<Replica> {
    let (task, node, container): (Arc<str>, Arc<str>, Arc<str>) =
        ("t1".into(), node.into(), container.into());
    let started =
        Started { task: task.clone(), node: node.clone(), container: container.clone(), overlay: None };
    function.started(core, started);
    let replica =
        Arc::new(Replica::new(task, node, container, upstream(port), Phase::Ready, CancellationToken::new()));
    function.joined(Arc::clone(&replica));
    replica
}

/// A stream that a test writes line by line.
struct Script(TcpStream);

impl Script {
    async fn accept(listener: &TcpListener) -> Self {
        let (stream, _) = listener.accept().await.unwrap();
        Self::begin(stream).await.unwrap()
    }

    /// None when nothing is asked for.
    async fn begin(mut stream: TcpStream) -> Option<Self> {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(stream.read_u8().await.ok()?);
        }
        let head = String::from_utf8(head).unwrap().to_lowercase();
        assert!(
            head.starts_with("get /v1/events http/1.1") && head.contains("authorization: bearer t"),
            "{head}"
        );
        stream.write_all(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n").await.unwrap();
        Some(Self(stream))
    }

    async fn tell(&mut self, event: &Event) {
        let line = event.line();
        let chunk = [format!("{:x}\r\n", line.len()).as_bytes(), &line, b"\r\n"].concat();
        self.0.write_all(&chunk).await.unwrap();
    }

    async fn hello(&mut self, paused: &[&str]) {
        let paused = paused.iter().map(|id| (*id).to_owned()).collect();
        self.tell(&Event::Hello { node: "n2".to_owned(), version: "0".to_owned(), paused }).await;
    }
}

#[tokio::test]
async fn what_an_agent_tells_reaches_the_function() {
    let directory = tempfile::tempdir().unwrap();
    let core = core(NOWHERE, directory.path());
    let function = function(&core, "echo");
    let replica = replica(&core, &function, "n2", "c1");
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let gateway = Gateway::new(&core, "n2", port, HeaderValue::from_static("Bearer t"));
    let mut script = Script::accept(&listener).await;

    script.hello(&["c1"]).await;
    until("what the hello says is paused", async || replica.phase() == Phase::Frozen).await;
    assert!(gateway.agent.is_connected());
    let of = || ("echo".to_owned(), "t1".to_owned(), "c1".to_owned());
    let (function_name, task, container) = of();
    script.tell(&Event::Unpause { function: function_name, task, container }).await;
    until("it to be unpaused", async || replica.phase() == Phase::Ready).await;
    let (function_name, task, container) = of();
    script.tell(&Event::Die { function: function_name, task, container }).await;
    until("it to be gone", async || function.replicas().is_empty()).await;
}

/// An agent that says hello and a few beats, and then nothing over the open connection.
async fn falls_silent(listener: &TcpListener, function: &Function) -> Script {
    let mut script = Script::accept(listener).await;
    script.hello(&[]).await;
    for _ in 0..5 {
        script.tell(&Event::Beat).await;
        assert_eq!(function.replicas().len(), 1);
        tokio::time::sleep(Duration::from_millis(250)).await;
    }
    script
}

#[tokio::test]
async fn a_stream_that_falls_silent_costs_its_node_the_replicas() {
    let directory = tempfile::tempdir().unwrap();
    let core = core(NOWHERE, directory.path());
    let function = function(&core, "echo");
    // Once this many wait to be accepted no more are let in, as on a machine that is not there.
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(([127, 0, 0, 1], 0).into()).unwrap();
    let listener = socket.listen(1).unwrap();
    let address = listener.local_addr().unwrap();
    replica_at(&core, &function, "n2", "c1", address.port());
    let gateway = Gateway::new(&core, "n2", address.port(), HeaderValue::from_static("Bearer t"));
    let _script = falls_silent(&listener, &function).await;
    let filling = (0..4).map(|_| tokio::spawn(TcpStream::connect(address)));
    let filling: Vec<_> = filling.collect();
    until("the node to be given up", async || function.replicas().is_empty()).await;
    assert!(!gateway.agent.is_connected());
    filling.into_iter().for_each(|connecting| connecting.abort());
    // Those that wait are not all the gateway.
    let again = async {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            if let Some(script) = Script::begin(stream).await {
                break script;
            }
        }
    };
    let mut again = tokio::time::timeout(Duration::from_secs(15), again).await.unwrap();
    again.hello(&[]).await;
    until("the stream to be back", async || gateway.agent.is_connected()).await;
}

#[tokio::test]
async fn a_node_that_answers_is_not_lost_when_its_agent_is_silent() {
    let directory = tempfile::tempdir().unwrap();
    let core = core(NOWHERE, directory.path());
    let function = function(&core, "echo");
    replica(&core, &function, "n2", "c1");
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let gateway = Gateway::new(&core, "n2", port, HeaderValue::from_static("Bearer t"));
    let _script = falls_silent(&listener, &function).await;
    until("the silence to be noticed", async || !gateway.agent.is_connected()).await;
    tokio::time::sleep(Duration::from_millis(2_500)).await;
    assert_eq!(function.replicas().len(), 1);
}

/// An agent with a token, and its port.
async fn agent(docker: &str, directory: &Path) -> (JoinHandle<()>, u16, HeaderValue) {
    let token = Token::make_in(directory).unwrap();
    let config = AgentConfig {
        listen: ([127, 0, 0, 1], 0).into(),
        docker: docker.parse().unwrap(),
        token_file: directory.join("agent-token"),
        network: "functions".to_owned(),
    };
    let agent = Agent::bind(config).await.unwrap();
    let port = agent.local_address().unwrap().port();
    (tokio::spawn(agent.serve(std::future::pending())), port, token.header())
}

async fn status(port: u16, method: Method, path: &str, token: Option<&HeaderValue>) -> StatusCode {
    let mut request = Request::new(Body::empty());
    *request.method_mut() = method;
    *request.uri_mut() = path.parse().unwrap();
    if let Some(token) = token {
        request.headers_mut().insert(AUTHORIZATION, token.clone());
    }
    upstream(port).send(request).await.unwrap().status()
}

#[tokio::test]
async fn nothing_is_told_without_the_token_nor_without_docker() {
    let directory = tempfile::tempdir().unwrap();
    let (serving, port, token) = agent(NOWHERE, directory.path()).await;
    let wrong = HeaderValue::from_static("Bearer 0123456789012345678901234567890123456789");
    let pause = format!("/v1/containers/{}/pause", "a".repeat(64));
    let paths =
        [(Method::GET, "/v1/events"), (Method::GET, "/v1/cpu"), (Method::POST, &*pause), (Method::GET, "/")];
    for (method, path) in paths {
        assert_eq!(status(port, method.clone(), path, None).await, StatusCode::UNAUTHORIZED, "{path}");
        assert_eq!(status(port, method, path, Some(&wrong)).await, StatusCode::UNAUTHORIZED, "{path}");
    }
    for (method, path, expected) in [
        (Method::GET, "/v1/events", StatusCode::SERVICE_UNAVAILABLE),
        (Method::GET, "/v1/cpu", StatusCode::SERVICE_UNAVAILABLE),
        (Method::POST, "/v1/cpu", StatusCode::METHOD_NOT_ALLOWED),
        (Method::POST, &*pause, StatusCode::SERVICE_UNAVAILABLE),
        (Method::GET, &pause, StatusCode::METHOD_NOT_ALLOWED),
        (Method::POST, "/v1/containers/..%2Fimages/pause", StatusCode::NOT_FOUND),
        (Method::POST, "/v1/containers/abc/stop", StatusCode::NOT_FOUND),
        (Method::GET, "/", StatusCode::NOT_FOUND),
    ] {
        assert_eq!(status(port, method, path, Some(&token)).await, expected, "{path}");
    }
    serving.abort();
}

#[tokio::test]
async fn one_address_cannot_take_every_place() {
    let directory = tempfile::tempdir().unwrap();
    let (serving, port, token) = agent(NOWHERE, directory.path()).await;
    let from = async |last: u8| {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind(([127, 0, 0, last], 0).into()).unwrap();
        socket.connect(([127, 0, 0, 1], port).into()).await.unwrap()
    };
    let mut idle = Vec::new();
    for _ in 0..300 {
        idle.push(from(2).await);
    }
    assert_eq!(status(port, Method::GET, "/", Some(&token)).await, StatusCode::NOT_FOUND);
    // It was answered while the other still had all that it may.
    let first = idle[0].try_read(&mut [0]).unwrap_err();
    assert_eq!(first.kind(), std::io::ErrorKind::WouldBlock);
    serving.abort();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_agent_tells_and_freezes_on_a_real_docker() {
    #[expect(clippy::disallowed_methods, reason = "the daemon is the test run's, not a setting")]
    let host =
        std::env::var("BRAMBLE_TEST_DOCKER").expect("BRAMBLE_TEST_DOCKER names a Docker in Swarm mode");
    let directory = tempfile::tempdir().unwrap();
    let (serving, port, token) = agent(&host, directory.path()).await;
    let core = core(&host, directory.path());
    let swarm = core.docker.ask(core.docker.client().info()).await.unwrap().swarm.unwrap();
    let node: Arc<str> = swarm.node_id.unwrap().into();
    let door = Arc::clone(&core.door);
    let network =
        Network::open(&core.docker, "functions", "10.62.0.0/16", Arc::clone(&node), door).await.unwrap();
    core.set_link(Link::Up(Up { network, node: Arc::clone(&node), nodes: 1 }));
    let function = function(&core, &format!("agent-{}", fastrand::u32(..)));
    until("Docker to be known to the agent", async || {
        matches!(status(port, Method::GET, "/v1/events", Some(&token)).await, StatusCode::OK)
    })
    .await;

    let gateway = Gateway::new(&core, &node, port, token.clone()).connected().await;
    Box::pin(core.heal(&function)).await;
    let checked =
        AssertUnwindSafe(tells_and_freezes(&core, &function, &gateway, port, &token)).catch_unwind().await;
    core.delete(&function.name, &function).await.unwrap();
    if let Err(panic) = checked {
        std::panic::resume_unwind(panic);
    }
    // Nobody but the agent could tell.
    until("the end of the container", async || function.replicas().is_empty()).await;
    serving.abort();
}

async fn tells_and_freezes(
    core: &Arc<Core>,
    function: &Arc<Function>,
    gateway: &Gateway,
    port: u16,
    token: &HeaderValue,
) {
    until("a replica, of which only the agent can tell", async || function.replicas().len() == 1).await;
    let replica = Arc::clone(&function.replicas()[0]);
    let overlay = function.overlay_of(&replica.task).expect("the agent tells the address");
    assert!(overlay.to_string().starts_with("10."), "{overlay}");

    gateway.agent.set_paused(&replica.container, true).await.unwrap();
    until("its pause", async || replica.phase() == Phase::Frozen).await;
    assert!(!gateway.agent.cpu_nanos().await.unwrap().contains_key(&*replica.container));
    let mut request = Request::get("/v1/events").body(Body::empty()).unwrap();
    request.headers_mut().insert(AUTHORIZATION, token.clone());
    let mut told = upstream(port).send(request).await.unwrap().into_body();
    let hello = told.frame().await.unwrap().unwrap().into_data().unwrap();
    let hello = String::from_utf8(hello.to_vec()).unwrap();
    assert!(hello.contains(r#""type":"hello""#) && hello.contains(&*replica.container), "{hello}");
    gateway.agent.set_paused(&replica.container, false).await.unwrap();
    until("its thaw", async || replica.phase() == Phase::Ready).await;
    let again = gateway.agent.set_paused(&replica.container, false).await.unwrap_err();
    assert!(again.to_string().contains("is not paused"), "{again:?}");

    // Somebody else's container is as good as none.
    let other = ContainerCreateBody {
        image: Some(IMAGE.to_owned()),
        entrypoint: Some(vec!["/conform".to_owned(), "park".to_owned()]),
        labels: Some(HashMap::from([(SCALE_TYPE_LABEL.to_owned(), SCALED_BY_CPU.to_owned())])),
        ..ContainerCreateBody::default()
    };
    let client = core.docker.client();
    let other = client.create_container(None::<CreateContainerOptions>, other);
    let other = core.docker.change(other).await.unwrap().id;
    let started = core.docker.change(client.start_container(&other, None)).await;
    let refused = gateway.agent.set_paused(&other, true).await;
    let cpu = gateway.agent.cpu_nanos().await;
    let forced = RemoveContainerOptionsBuilder::default().force(true).build();
    core.docker.change(client.remove_container(&other, Some(forced))).await.unwrap();
    started.unwrap();
    assert!(matches!(refused, Err(DockerError::NotFound(_))), "{refused:?}");
    let cpu = cpu.unwrap();
    assert!(cpu[&*replica.container] > 0 && !cpu.contains_key(&other), "{cpu:?}");
    let none = gateway.agent.set_paused(&"a".repeat(64), true).await;
    assert!(matches!(none, Err(DockerError::NotFound(_))), "{none:?}");
}
