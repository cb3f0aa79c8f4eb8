//! One gateway in a directory of its own, and what a test needs to ask it.

use std::path::Path;
use std::sync::Arc;

use axum::body::Body;
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderMap, Request, StatusCode};
use bramble_gateway::GatewayConfig;
use bramble_gateway::api;
use bramble_gateway::ready::Phase;
use bramble_gateway::state::Gateway;
use bytes::Bytes;
use http_body_util::BodyExt;
use serde_json::{Value, json};
use tempfile::TempDir;
use tower::ServiceExt;

pub(crate) const JSON: &str = "application/json";
pub(crate) const WASM: &str = "application/wasm";

/// A module that does nothing and succeeds.
pub(crate) const IDLE: &str = r#"(module (memory (export "memory") 1) (func (export "_start")))"#;

/// A module that prints one line on stderr.
pub(crate) const TALKS: &str = r#"(module
    (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
    (memory (export "memory") 1)
    (data (i32.const 0) "\08\00\00\00\06\00\00\00hello\n")
    (func (export "_start")
        (drop (call $write (i32.const 2) (i32.const 0) (i32.const 1) (i32.const 100)))))"#;

/// A running gateway.
pub(crate) struct Server {
    pub(crate) gateway: Arc<Gateway>,
    pub(crate) dir: TempDir,
}

/// An answer that was read to its end.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

pub(crate) fn config(dir: &Path) -> GatewayConfig {
    let mut config = GatewayConfig::in_dir(dir);
    config.wasm.pool_slots = 32;
    // These tests have no Docker, also on a machine that does.
    let nowhere = format!("unix://{}/docker.sock", dir.display());
    config.containers.docker_host = nowhere.parse().expect("the path is absolute");
    config.wasm.max_module_bytes = 1 << 20;
    config
}

impl Server {
    pub(crate) async fn start() -> Self {
        Self::start_in(tempfile::tempdir().unwrap()).await
    }

    pub(crate) async fn start_in(dir: TempDir) -> Self {
        let gateway = Gateway::open(config(dir.path())).await.unwrap();
        gateway.readiness.advance(Phase::Ready);
        Self { gateway, dir }
    }

    /// Closes the gateway and opens another one on the same directory.
    pub(crate) async fn restart(self) -> Self {
        let Self { gateway, dir } = self;
        gateway.functions.settle().await;
        drop(gateway);
        Self::start_in(dir).await
    }

    pub(crate) async fn send(&self, request: Request<Body>) -> Answer {
        read(api::router(self.gateway.clone()).oneshot(request).await.unwrap()).await
    }

    pub(crate) async fn call(&self, method: &str, path: &str, kind: &str, body: impl Into<Body>) -> Answer {
        let request = Request::builder().method(method).uri(path).header(CONTENT_TYPE, kind);
        self.send(request.body(body.into()).unwrap()).await
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.call("GET", path, JSON, Body::empty()).await
    }

    pub(crate) async fn json(&self, method: &str, path: &str, body: Value) -> Answer {
        self.call(method, path, JSON, body.to_string()).await
    }

    /// Uploads a module and answers its digest.
    pub(crate) async fn module(&self, wat: &str) -> String {
        let answer = self.call("PUT", "/system/modules", WASM, wat::parse_str(wat).unwrap()).await;
        assert!(answer.status.is_success(), "{answer:?}");
        answer.value()["digest"].as_str().unwrap().to_owned()
    }

    /// Deploys the idle module under a name.
    pub(crate) async fn deploy(&self, name: &str) {
        let image = self.module(IDLE).await;
        self.json("POST", "/system/functions", json!({"service": name, "image": image})).await.expect(202);
    }

    pub(crate) async fn metrics(&self) -> String {
        let request = Request::builder().uri("/metrics").body(Body::empty()).unwrap();
        let answer = read(api::metrics_router(self.gateway.clone()).oneshot(request).await.unwrap()).await;
        assert_eq!(answer.status, 200);
        assert!(answer.header("content-type").starts_with("text/plain; version=0.0.4"));
        answer.text()
    }
}

async fn read(response: axum::response::Response) -> Answer {
    let (parts, body) = response.into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    Answer { status: parts.status, headers: parts.headers, body }
}

impl Answer {
    #[track_caller]
    pub(crate) fn expect(self, status: u16) -> Self {
        assert_eq!(self.status.as_u16(), status, "{self:?}");
        self
    }

    /// That this is an error of ours, with the status, the code and some of the message.
    #[track_caller]
    pub(crate) fn refused(self, status: u16, code: &str, says: &str) {
        assert_eq!(self.status.as_u16(), status, "{self:?}");
        assert_eq!(self.header("content-type"), JSON);
        let error = self.value();
        assert_eq!(error["error"]["code"], code, "{error}");
        let message = error["error"]["message"].as_str().unwrap();
        assert!(message.contains(says), "{message:?} does not have {says:?} in it");
        assert_eq!(error, json!({"error": {"code": code, "message": message}}));
    }

    #[track_caller]
    pub(crate) fn value(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8(self.body.to_vec()).unwrap()
    }
}
