//! What Prometheus is told.

use std::time::Duration;

use axum::http::StatusCode;
use bramble_gateway::functions::Inflight;
use bramble_gateway::store::{Keep, Store, StoredFunction};
use bramble_provider::{Code, Digest, FunctionName, FunctionSpec};
use serde_json::json;

use crate::support::Server;

#[track_caller]
fn has(text: &str, line: &str) {
    assert!(text.lines().any(|found| found == line), "{line:?} is not in\n{text}");
}

#[tokio::test]
async fn a_function_is_counted_under_the_names_that_dashboards_know() {
    let server = Server::start().await;
    server.deploy("echo").await;
    let text = server.metrics().await;
    has(&text, "gateway_service_count{function_name=\"echo\"} 16");
    has(&text, "bramble_function_inflight{function_name=\"echo\"} 0");
    has(&text, "bramble_function_queued{function_name=\"echo\"} 0");
    has(&text, "bramble_pool_slots{function_name=\"echo\",state=\"idle\"} 16");
    has(&text, "bramble_pool_slots{function_name=\"echo\",state=\"busy\"} 0");
    assert!(!text.contains("gateway_functions_seconds"), "a function that was never invoked has a histogram");

    let function = server.gateway.functions.get("echo").unwrap();
    Inflight::begin(function.clone()).finish(StatusCode::OK);
    drop(Inflight::begin(function.clone()));
    let running = Inflight::begin(function.clone());
    let text = server.metrics().await;
    has(&text, "gateway_function_invocation_started{function_name=\"echo\"} 3");
    has(&text, "gateway_function_invocation_total{code=\"200\",function_name=\"echo\"} 1");
    has(&text, "gateway_function_invocation_total{code=\"499\",function_name=\"echo\"} 1");
    has(&text, "gateway_functions_seconds_count{code=\"200\",function_name=\"echo\"} 1");
    has(&text, "bramble_function_inflight{function_name=\"echo\"} 1");
    assert_eq!(server.get("/system/function/echo").await.value()["invocationCount"], 2);

    server.json("DELETE", "/system/functions", json!({"functionName": "echo"})).await.expect(202);
    running.finish(StatusCode::OK);
    assert!(!server.metrics().await.contains("function_name=\"echo\""));
}

#[tokio::test]
async fn counters_survive_a_redeploy() {
    let server = Server::start().await;
    server.deploy("echo").await;
    let before = server.gateway.functions.get("echo").unwrap();
    let running = Inflight::begin(before.clone());
    let update = json!({"service": "echo", "image": image_of(&before.spec), "envVars": {"A": "b"}});
    server.json("PUT", "/system/functions", update).await.expect(202);
    let after = server.gateway.functions.get("echo").unwrap();
    assert_eq!((after.revision, after.inflight()), (2, 1));
    running.finish(StatusCode::OK);
    assert_eq!((after.inflight(), after.metrics().invocations()), (0, 1));
}

fn image_of(spec: &FunctionSpec) -> String {
    match &spec.code {
        Code::Module(digest) => digest.to_string(),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn requests_to_the_api_are_counted_by_route() {
    let server = Server::start().await;
    server.get("/system/function/nobody").await.expect(404);
    server.get("/system/function/nobody-else").await.expect(404);
    server.get("/healthz").await.expect(200);
    let text = server.metrics().await;
    has(&text, "http_requests_total{method=\"GET\",path=\"/system/function/{name}\",status=\"404\"} 2");
    assert!(text.contains("http_request_duration_seconds_bucket{"), "{text}");
    assert!(!text.contains("healthz") && !text.contains("nobody"), "{text}");
}

#[tokio::test]
async fn ten_thousand_functions_are_restored_listed_and_scraped() {
    let server = Server::start().await;
    let module = Digest::parse(&server.module(crate::support::IDLE).await).unwrap();
    let Server { gateway, dir } = server;
    drop(gateway);
    let store = Store::open(dir.path()).unwrap();
    for count in 0..10_000 {
        let spec =
            FunctionSpec::new(FunctionName::parse(&format!("f{count}")).unwrap(), Code::Module(module));
        let function = StoredFunction { spec, revision: 1, desired: 1, created_at_unix_nanos: 1 };
        let keep = if count == 9_999 { Keep::Durably } else { Keep::Lazily };
        store.put(&function, keep).await.unwrap();
    }
    drop(store);
    let server = Server::start_in(dir).await;
    for function in server.gateway.functions.list() {
        function.metrics().started();
        function.metrics().finished(StatusCode::OK, Duration::ZERO);
    }
    let text = server.metrics().await;
    assert_eq!(text.matches("\ngateway_service_count{").count(), 10_000);
    assert_eq!(text.matches("\ngateway_function_invocation_total{").count(), 10_000);
    assert_eq!(server.get("/system/functions").await.value().as_array().unwrap().len(), 10_000);
}
