//! Modules by digest.

use serde_json::json;

use crate::support::{IDLE, Server, TALKS, WASM};

#[tokio::test]
async fn a_module_is_new_once() {
    let server = Server::start().await;
    let bytes = wat::parse_str(TALKS).unwrap();
    let first = server.call("PUT", "/system/modules", WASM, bytes.clone()).await.expect(201).value();
    let again = server.call("PUT", "/system/modules", "application/wasm; charset=x", bytes.clone()).await;
    assert_eq!(again.expect(200).value(), first);
    assert!(first["digest"].as_str().unwrap().starts_with("sha256:"), "{first}");
    assert_eq!(first["size_bytes"], bytes.len());
    assert!(first["kind"].as_str().is_some_and(|kind| !kind.is_empty()), "{first}");
    assert!(first["imports"].is_array(), "{first}");
    assert_eq!(server.get("/system/modules").await.expect(200).value(), json!([first]));
    let server = server.restart().await;
    assert_eq!(server.get("/system/modules").await.expect(200).value(), json!([first]));
}

#[tokio::test]
async fn a_module_in_use_cannot_be_removed() {
    let server = Server::start().await;
    server.deploy("echo").await;
    let digest = server.module(IDLE).await;
    let path = format!("/system/modules/{digest}");
    server.call("DELETE", &path, "", "").await.refused(409, "module_in_use", "echo");
    server.json("DELETE", "/system/functions", json!({"functionName": "echo"})).await.expect(202);
    server.call("DELETE", &path, "", "").await.expect(204);
    server.call("DELETE", &path, "", "").await.refused(404, "unknown_module", &digest);
    server.call("DELETE", "/system/modules/latest", "", "").await.refused(400, "invalid_spec", "latest");
}
