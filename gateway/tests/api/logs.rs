//! What functions wrote, line by line.

use std::time::{Duration, SystemTime};

use axum::http::Request;
use bramble_gateway::ready::Phase;
use bramble_provider::{Body, CallId, FunctionName, Invocation, Provider};
use http_body_util::BodyExt;
use serde_json::{Value, json};

use crate::support::{Server, TALKS};

/// A gateway with a function that was invoked so many times, each printing one line.
async fn talked(times: u128) -> Server {
    let server = Server::start().await;
    let image = server.module(TALKS).await;
    server.json("POST", "/system/functions", json!({"service": "talks", "image": image})).await.expect(202);
    let name = FunctionName::parse("talks").unwrap();
    for time in 0..times {
        let (request, ()) = Request::get("/function/talks").body(()).unwrap().into_parts();
        let call_id = CallId::from_random(time);
        let invocation = Invocation {
            call_id,
            request,
            path_offset: 15,
            body: Body::empty(),
            peer: None,
            started_at: SystemTime::now(),
        };
        let response = server.gateway.wasm.invoke(&name, invocation).await.unwrap();
        assert_eq!(response.status(), 200);
        response.into_body().collect().await.unwrap();
    }
    server
}

async fn lines(server: &Server, query: &str) -> Vec<Value> {
    let answer = server.get(&format!("/system/logs?name=talks&{query}")).await.expect(200);
    assert_eq!(answer.header("content-type"), "application/x-ndjson");
    answer.text().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[tokio::test]
async fn lines_end_when_nobody_follows() {
    let server = talked(3).await;
    let all = lines(&server, "tail=-1&follow=false").await;
    assert_eq!(all.len(), 3);
    let first = all[0].as_object().unwrap();
    assert_eq!(first.keys().collect::<Vec<_>>(), ["instance", "name", "namespace", "text", "timestamp"]);
    assert_eq!((&first["name"], &first["namespace"]), (&json!("talks"), &json!("openfaas-fn")));
    assert_eq!(
        (&first["text"], &first["instance"]),
        (&json!("hello"), &json!(CallId::from_random(0).as_str()))
    );
    assert_eq!(lines(&server, "tail=2").await, all[1..]);
    assert_eq!(lines(&server, &format!("instance={}", CallId::from_random(1))).await, all[1..2]);
    assert_eq!(lines(&server, "since=2000-01-01T00:00:00Z").await, all);
    assert!(lines(&server, "since=2100-01-01T00:00:00%2B02:00").await.is_empty());
}

#[tokio::test]
async fn a_bad_question_is_refused() {
    let server = talked(0).await;
    server.get("/system/logs").await.refused(400, "invalid_spec", "name");
    server.get("/system/logs?name=nobody").await.refused(404, "unknown_function", "nobody");
    server.get("/system/logs?name=talks&tail=some").await.refused(400, "invalid_spec", "some");
    server.get("/system/logs?name=talks&since=yesterday").await.refused(400, "invalid_spec", "yesterday");
}

#[tokio::test]
async fn following_ends_cleanly_when_the_gateway_stops() {
    let server = talked(1).await;
    let stop = async {
        tokio::task::yield_now().await;
        server.gateway.readiness.advance(Phase::Draining);
    };
    let followed = async { tokio::join!(lines(&server, "follow=true"), stop).0 };
    let followed = tokio::time::timeout(Duration::from_secs(30), followed).await.unwrap();
    assert!(followed.len() <= 1);
}
