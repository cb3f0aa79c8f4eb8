//! What the gateway says about itself, and paths and methods that it does not have.

use axum::body::Body;
use bramble_gateway::ready::Phase;

use crate::support::{JSON, Server};

#[tokio::test]
async fn info_has_what_faas_cli_reads_and_what_the_engine_settled_on() {
    let server = Server::start().await;
    let info = server.get("/system/info").await.expect(200).value();
    assert_eq!(info["provider"]["provider"], "bramble");
    assert_eq!(info["provider"]["orchestration"], "wasm");
    for version in [&info["version"], &info["provider"]["version"]] {
        assert_eq!(version["release"], env!("CARGO_PKG_VERSION"));
        assert!(!version["sha"].as_str().unwrap().is_empty());
        assert!(version["commit_message"].is_string());
    }
    assert_eq!(info["arch"], std::env::consts::ARCH);
    assert!(info["wasm"]["allocator"].is_string());
    assert!(info["wasm"]["slots"].as_u64().unwrap() > 0);
}

#[tokio::test]
async fn ready_only_between_start_and_stop() {
    let server = Server::start().await;
    server.get("/healthz").await.expect(200);
    assert_eq!(server.get("/readyz").await.expect(200).text(), "OK");
    server.gateway.readiness.advance(Phase::Draining);
    let answer = server.get("/readyz").await;
    assert_eq!(answer.header("retry-after"), "1");
    answer.refused(503, "not_ready", "stopping");
    assert_eq!(server.get("/healthz").await.expect(200).text(), "OK");
}

#[tokio::test]
async fn unknown_paths_and_methods_are_told_apart() {
    let server = Server::start().await;
    for path in ["/system/nothing", "/x", "/ui/", "/metrics", "/system/functions/"] {
        server.get(path).await.refused(404, "unknown_path", path);
    }
    for (method, path) in [
        ("PATCH", "/system/functions"),
        ("GET", "/system/freeze-function/a"),
        ("POST", "/system/info"),
        ("POST", "/system/modules"),
        ("GET", "/system/modules/x"),
        ("DELETE", "/healthz"),
    ] {
        let answer = server.call(method, path, JSON, Body::empty()).await;
        assert_ne!(answer.header("allow"), "", "{method} {path}");
        answer.refused(405, "unknown_method", method);
    }
    let root = server.get("/").await.expect(307);
    assert_eq!(root.header("location"), "/ui/");
}
