//! Bad input: a clear error, and nothing half-done remains.

use std::time::Duration;

use axum::body::Body;
use serde_json::json;

use crate::support::{IDLE, JSON, Server, WASM};

const FUNCTIONS: &str = "/system/functions";

#[tokio::test]
async fn a_bad_document_is_refused_by_field_and_value() {
    let server = Server::start().await;
    let image = server.module(IDLE).await;
    let with = |key: &str, value: serde_json::Value| {
        let mut document = json!({"service": "echo", "image": image});
        document[key] = value;
        document
    };
    for (document, field, value) in [
        (with("service", json!("")), "service", "required"),
        (with("service", json!("../etc")), "service", "../etc"),
        (with("service", json!("Echo")), "service", "Echo"),
        (with("service", json!(7)), "service", "7"),
        (with("image", json!("")), "image", "required"),
        (with("image", json!("oci://r/x:1")), "image", "not supported"),
        (with("limits", json!({"memory": "12Q"})), "limits.memory", "12Q"),
        (with("limits", json!({"memory": 12})), "limits.memory", "12"),
        (with("envVars", json!({"A": 5})), "envVars.A", "5"),
        (with("envVars", json!({"exec_timeout": "soon"})), "envVars.exec_timeout", "soon"),
        (with("labels", json!({"com.openfaas.scale.min": "few"})), "labels.com.openfaas.scale.min", "few"),
        (with("secrets", json!("key")), "secrets", "key"),
        (with("secrets", json!(["no-such-secret"])), "secret", "no-such-secret"),
    ] {
        let answer = server.json("POST", FUNCTIONS, document.clone()).await;
        let message = answer.expect(400).value()["error"]["message"].to_string();
        assert!(message.contains(field) && message.contains(value), "{document}: {message}");
    }
    assert_eq!(server.get(FUNCTIONS).await.value(), json!([]));
    assert_eq!(server.restart().await.get(FUNCTIONS).await.value(), json!([]));
}

#[tokio::test]
async fn what_is_no_json_is_refused() {
    let server = Server::start().await;
    for body in ["", "{", "service: echo", "[]"] {
        server.call("POST", FUNCTIONS, JSON, body).await.refused(400, "invalid_json", "JSON");
    }
    server.call("POST", FUNCTIONS, JSON, vec![b' '; (1 << 20) + 1]).await.refused(
        413,
        "body_too_large",
        "1048576",
    );
}

#[tokio::test]
async fn a_module_that_is_not_stored_is_the_documents_fault() {
    let server = Server::start().await;
    let image = format!("sha256:{}", "0".repeat(64));
    let document = json!({"service": "echo", "image": image});
    server.json("POST", FUNCTIONS, document).await.refused(
        400,
        "invalid_spec",
        "upload it with PUT /system/modules",
    );
}

#[tokio::test]
async fn containers_are_unavailable_and_leave_nothing() {
    let server = Server::start().await;
    let answer = server.json("POST", FUNCTIONS, json!({"service": "figlet", "image": "figlet:latest"})).await;
    assert_ne!(answer.header("retry-after"), "");
    answer.refused(503, "unavailable", "there is no Docker at");
    server.get("/system/function/figlet").await.expect(404);
}

#[tokio::test]
async fn a_refused_update_leaves_the_old_function_also_over_a_restart() {
    let server = Server::start().await;
    server.deploy("echo").await;
    let image = server.module(IDLE).await;
    let update = json!({"service": "echo", "image": image, "secrets": ["missing"], "envVars": {"A": "b"}});
    server.json("PUT", FUNCTIONS, update).await.refused(400, "unknown_secret", "missing");
    for server in [server.restart().await] {
        let status = server.get("/system/function/echo").await.expect(200).value();
        assert_eq!((status.get("secrets"), status.get("envVars")), (None, None));
        let function = server.gateway.functions.get("echo").unwrap();
        assert_eq!((function.revision, function.fault()), (1, None));
    }
}

#[tokio::test]
async fn a_name_with_a_path_in_it_is_invalid_wherever_it_stands() {
    let server = Server::start().await;
    for path in
        ["/system/function/..%2Fetc", "/system/function/a/b", "/system/function/A", "/system/function/%ff"]
    {
        assert_eq!(server.get(path).await.status, 400, "{path}");
    }
    let body = || json!({"replicas": 1});
    server.json("POST", "/system/scale-function/../x", body()).await.refused(400, "invalid_spec", "../x");
    server.call("PUT", "/system/functions/..%2f..", WASM, "").await.refused(400, "invalid_spec", "../..");
    server.json("DELETE", FUNCTIONS, json!({"functionName": "../a"})).await.refused(
        400,
        "invalid_spec",
        "../a",
    );
    server.json("DELETE", FUNCTIONS, json!({})).await.refused(400, "invalid_spec", "functionName");
}

#[tokio::test]
async fn an_upload_that_is_no_module_is_refused() {
    let server = Server::start().await;
    let whole = wat::parse_str(IDLE).unwrap();
    for bytes in [b"not wasm".to_vec(), Vec::new(), whole[..whole.len() - 3].to_vec()] {
        server.call("PUT", "/system/modules", WASM, bytes.clone()).await.refused(400, "invalid_module", "");
        server.call("PUT", "/system/functions/x", WASM, bytes).await.refused(400, "invalid_module", "");
    }
    server.call("PUT", "/system/modules", JSON, whole).await.refused(415, "unsupported_type", WASM);
    assert_eq!(server.get("/system/modules").await.value(), json!([]));
    assert_eq!(server.get(FUNCTIONS).await.value(), json!([]));
}

#[tokio::test]
async fn an_upload_over_the_limit_is_not_read_to_its_end() {
    let server = Server::start().await;
    let large = vec![0; (1 << 20) + 1];
    server.call("PUT", "/system/modules", WASM, large).await.refused(413, "module_too_large", "1048576");
    // Without a length, and without an end: only the bound ends it.
    let endless = futures_util::stream::repeat_with(|| Ok::<_, std::io::Error>(vec![0_u8; 64 << 10]));
    let answer = server.call("PUT", "/system/modules", WASM, Body::from_stream(endless));
    let answer = tokio::time::timeout(Duration::from_secs(30), answer).await.unwrap();
    answer.refused(413, "module_too_large", "1048576");
}

#[tokio::test]
async fn a_client_that_breaks_off_leaves_nothing() {
    let server = Server::start().await;
    let whole = wat::parse_str(IDLE).unwrap();
    let broken = futures_util::stream::iter([Ok(whole), Err(std::io::Error::other("gone"))]);
    server
        .call("PUT", "/system/functions/x", WASM, Body::from_stream(broken))
        .await
        .refused(400, "body_cut", "gone");
    assert_eq!(server.get("/system/modules").await.value(), json!([]));
}
