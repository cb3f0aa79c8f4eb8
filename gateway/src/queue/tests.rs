//! The queue with its workers in a real gateway, where a test would have to wait for too long outside.

use bramble_provider::{CallId, Code, FunctionSpec};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::*;
use crate::config::GatewayConfig;
use crate::functions::Mode;
use crate::state::Gateway;

async fn open(dir: &Path) -> Arc<Gateway> {
    let mut config = GatewayConfig::in_dir(dir);
    config.wasm.pool_slots = 8;
    config.containers.docker_host = "unix:///nonexistent/docker.sock".parse().unwrap();
    Gateway::open(config).await.unwrap()
}

fn name() -> FunctionName {
    FunctionName::parse("f").unwrap()
}

async fn deploy(gateway: &Gateway) {
    let module = wat::parse_str(r#"(module (memory (export "memory") 1) (func (export "_start")))"#).unwrap();
    let module = gateway.wasm.put_module(module.into()).await.unwrap();
    gateway
        .functions
        .deploy(FunctionSpec::new(name(), Code::Module(module.digest)), Mode::Create)
        .await
        .unwrap();
}

/// Queues a call; answers its id.
async fn queue(gateway: &Gateway, callback: Option<String>) -> String {
    let id = CallId::from_random(fastrand::u128(..)).to_string();
    let call = Call { callback, accepted_at_unix_nanos: 1, ..call::tests::call("f", &id) };
    let new = NewCall { call, body: NewBody::Inline(Bytes::new()), scheduled_for: None };
    gateway.queue.accept(new).await.unwrap();
    id
}

async fn until(gateway: &Gateway, id: &str, state: &str) -> CallView {
    let found = async {
        loop {
            match gateway.queue.call(id) {
                Some(call) if call.state == state => return call,
                _ => tokio::time::sleep(Duration::from_millis(5)).await,
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(60), found).await.unwrap()
}

#[tokio::test]
async fn who_waits_for_the_answer_of_a_function_that_stays_away_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let gateway = open(dir.path()).await;
    deploy(&gateway).await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/told", listener.local_addr().unwrap());
    let (silent, told) = (queue(&gateway, None).await, queue(&gateway, Some(url)).await);
    gateway.functions.remove(&name()).await.unwrap();
    gateway.queue.book.lock().set_grace(Duration::ZERO);
    let mut workers = start(&gateway);
    let (mut stream, _) = listener.accept().await.unwrap();
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        head.push(char::from(stream.read_u8().await.unwrap()));
    }
    stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await.unwrap();
    for line in ["POST /told HTTP/1.1", "x-function-status: 503", "x-function-name: f", "content-length: 0"] {
        assert!(head.contains(line), "{line} is not in {head}");
    }
    assert!(head.contains(&format!("x-call-id: {told}")), "{head}");
    for id in [&silent, &told] {
        let call = until(&gateway, id, "dead").await;
        assert_eq!(call.reason.unwrap(), "its function was removed before it ran");
        assert_eq!(call.starts, 0);
    }
    workers.stop();
    workers.drained().await;
}
