//! Deploying, listing, scaling and removing.

use bramble_gateway::state::Gateway;
use serde_json::{Value, json};

use crate::support::{IDLE, Server, TALKS, WASM, config};

const FUNCTIONS: &str = "/system/functions";

#[tokio::test]
async fn a_deployment_has_the_statuses_that_faas_cli_depends_on() {
    let server = Server::start().await;
    let image = server.module(IDLE).await;
    let document = json!({"service": "echo", "image": image});
    server.json("PUT", FUNCTIONS, document.clone()).await.refused(404, "unknown_function", "echo");
    server.json("POST", FUNCTIONS, document.clone()).await.expect(202);
    server.json("POST", FUNCTIONS, document.clone()).await.refused(409, "already_deployed", "echo");
    server.json("PUT", FUNCTIONS, document).await.expect(202);
    server.json("DELETE", FUNCTIONS, json!({"functionName": "echo"})).await.expect(202);
    server.json("DELETE", FUNCTIONS, json!({"functionName": "echo"})).await.refused(
        404,
        "unknown_function",
        "echo",
    );
    server.get("/system/function/echo").await.refused(404, "unknown_function", "echo");
    assert_eq!(server.get(FUNCTIONS).await.value(), json!([]));
}

#[tokio::test]
async fn a_plain_function_is_listed_with_nothing_empty_but_labels_and_annotations() {
    let server = Server::start().await;
    server.deploy("echo").await;
    let image = server.module(IDLE).await;
    let listed = server.get(FUNCTIONS).await.expect(200).value();
    let created_at = listed[0]["createdAt"].as_str().unwrap();
    assert!(created_at.starts_with("20") && created_at.ends_with('Z'), "{created_at}");
    let slots = server.gateway.config.wasm.default_slots;
    let expected = json!({
        "name": "echo", "image": image, "namespace": "openfaas-fn",
        "labels": {"faas_function": "echo"}, "annotations": {},
        "invocationCount": 0, "replicas": slots, "availableReplicas": slots, "createdAt": created_at,
    });
    assert_eq!(listed, json!([expected]));
    for path in ["echo", "echo.openfaas-fn", "echo?namespace=openfaas-fn&usage=0"] {
        assert_eq!(server.get(&format!("/system/function/{path}")).await.expect(200).value(), expected);
    }
}

#[tokio::test]
async fn what_was_deployed_is_listed_field_by_field() {
    let server = Server::start().await;
    let image = server.module(IDLE).await;
    std::fs::create_dir_all(&server.gateway.config.wasm.secrets_dir).unwrap();
    std::fs::write(server.gateway.config.wasm.secrets_dir.join("key"), "value").unwrap();
    let document = json!({
        "service": "full", "image": image, "namespace": "", "envProcess": "one \"two words\"",
        "envVars": {"A": "b", "exec_timeout": "5s"}, "constraints": ["node.role == worker"], "secrets": ["key"],
        "labels": {"com.openfaas.scale.min": "3", "team": "x"}, "annotations": {"topic": "cron"},
        "limits": {"memory": "64Mi", "cpu": "0.5"}, "requests": {"memory": "1Mi"},
        "readOnlyRootFilesystem": true, "unknown": {"is": "ignored"},
    });
    server.json("POST", FUNCTIONS, document).await.expect(202);
    let mut listed = server.get("/system/function/full").await.expect(200).value();
    listed.as_object_mut().unwrap().remove("createdAt").unwrap();
    let expected = json!({
        "name": "full", "image": image, "namespace": "openfaas-fn", "envProcess": "one \"two words\"",
        "envVars": {"A": "b", "exec_timeout": "5s"}, "constraints": ["node.role == worker"], "secrets": ["key"],
        "labels": {"com.openfaas.scale.min": "3", "team": "x", "faas_function": "full"},
        "annotations": {"topic": "cron"}, "limits": {"memory": "64Mi", "cpu": "500m"}, "requests": {"memory": "1Mi"},
        "readOnlyRootFilesystem": true, "invocationCount": 0, "replicas": 3, "availableReplicas": 3,
    });
    assert_eq!(listed, expected);
}

#[tokio::test]
async fn an_upload_deploys_and_keeps_the_rest_of_the_spec() {
    let server = Server::start().await;
    let bytes = wat::parse_str(IDLE).unwrap();
    let answer = server.call("PUT", "/system/functions/echo", WASM, bytes).await.expect(202).value();
    assert_eq!(answer["digest"].as_str().unwrap(), server.module(IDLE).await);
    let change = json!({"service": "echo", "image": answer["digest"], "envVars": {"A": "b"}});
    server.json("PUT", FUNCTIONS, change).await.expect(202);
    let bytes = wat::parse_str(TALKS).unwrap();
    let answer =
        server.call("PUT", "/system/functions/echo.openfaas-fn", WASM, bytes).await.expect(202).value();
    let status = server.get("/system/function/echo").await.value();
    assert_eq!((&status["image"], &status["envVars"]["A"]), (&answer["digest"], &json!("b")));
    assert_eq!(server.gateway.functions.get("echo").unwrap().revision, 3);
}

#[tokio::test]
async fn scaling_is_seen_at_once_and_zero_is_left_out() {
    let server = Server::start().await;
    server.deploy("echo").await;
    let scale = |body: Value| server.json("POST", "/system/scale-function/echo", body);
    scale(json!({"serviceName": "echo", "replicas": 5})).await.expect(202);
    assert_eq!(server.get("/system/function/echo").await.value()["replicas"], 5);
    scale(json!({"replicas": 0, "namespace": "openfaas-fn"})).await.expect(202);
    let status = server.get("/system/function/echo").await.value();
    assert_eq!((status.get("replicas"), status.get("availableReplicas")), (None, None));
    scale(json!({"serviceName": "other", "replicas": 1})).await.refused(400, "invalid_spec", "other");
    scale(json!({"serviceName": "echo"})).await.refused(400, "invalid_spec", "replicas");
    scale(json!({"replicas": -1})).await.refused(400, "invalid_spec", "-1");
    scale(json!({"replicas": 10_001})).await.refused(
        400,
        "invalid_spec",
        "replicas: 10001 is more than 10000",
    );
    scale(json!({"replicas": u32::MAX})).await.refused(400, "invalid_spec", "4294967295");
    let body = json!({"replicas": 1});
    server.json("POST", "/system/scale-function/nobody", body).await.refused(
        404,
        "unknown_function",
        "nobody",
    );
}

#[tokio::test]
async fn a_scaling_that_names_two_namespaces_scales_in_none() {
    let server = Server::start().await;
    let image = server.module(IDLE).await;
    for namespace in ["dev", "team"] {
        let document = json!({"service": "echo", "image": image, "namespace": namespace});
        server.json("POST", FUNCTIONS, document).await.expect(202);
    }
    let scale = async |path: &str, body: Value| {
        server.json("POST", &format!("/system/scale-function/{path}"), body).await
    };
    let body = json!({"namespace": "dev", "replicas": 2});
    scale("echo.team", body.clone()).await.refused(400, "invalid_spec", "namespace");
    assert_ne!(server.gateway.functions.get("echo.dev").unwrap().desired(), 2);
    scale("echo", body).await.expect(202);
    scale("echo.team", json!({"namespace": "team", "replicas": 3})).await.expect(202);
    let desired = |name| server.gateway.functions.get(name).unwrap().desired();
    assert_eq!((desired("echo.dev"), desired("echo.team")), (2, 3));
}

#[tokio::test]
async fn activation_is_done_once_for_all_that_wait() {
    let server = Server::start().await;
    server.deploy("echo").await;
    server.json("POST", "/system/scale-function/echo", json!({"replicas": 0})).await.expect(202);
    let function = server.gateway.functions.get("echo").unwrap();
    let activations = (0..200).map(|_| server.gateway.functions.activate(&function));
    for activated in futures_util::future::join_all(activations).await {
        activated.unwrap();
    }
    // A slot costs nothing until it is used, so it wakes with all of them.
    let slots = server.gateway.config.wasm.default_slots;
    assert_eq!(function.desired(), slots);
    assert_eq!(server.get("/system/function/echo").await.value()["availableReplicas"], slots);
}

#[tokio::test]
async fn a_redeploy_keeps_the_replicas_unless_it_asks_for_others() {
    let server = Server::start().await;
    server.deploy("echo").await;
    let image = server.module(IDLE).await;
    let replicas = async |labels: Value| {
        let body = json!({"service": "echo", "image": image, "labels": labels});
        server.json("PUT", FUNCTIONS, body).await.expect(202);
        server.get("/system/function/echo").await.value()["replicas"].as_u64()
    };
    server.json("POST", "/system/scale-function/echo", json!({"replicas": 7})).await.expect(202);
    assert_eq!(replicas(json!({"a": "b"})).await, Some(7));
    assert_eq!(replicas(json!({"com.openfaas.scale.min": "2"})).await, Some(2));
    assert_eq!(replicas(json!({"com.openfaas.scale.min": "0"})).await, None);
    assert_eq!(replicas(json!({})).await, Some(16));
    server.json("POST", "/system/scale-function/echo", json!({"replicas": 0})).await.expect(202);
    assert_eq!(replicas(json!({"c": "d"})).await, Some(16), "not one slot for good");
}

#[tokio::test]
async fn namespaces_keep_functions_apart() {
    let server = Server::start().await;
    let image = server.module(IDLE).await;
    for body in [
        json!({"service": "echo", "image": image}),
        json!({"service": "echo", "image": image, "namespace": "team"}),
    ] {
        server.json("POST", FUNCTIONS, body).await.expect(202);
    }
    assert_eq!(server.get("/system/namespaces").await.value(), json!(["openfaas-fn", "team"]));
    assert_eq!(server.get(FUNCTIONS).await.value().as_array().unwrap().len(), 1);
    let listed = server.get("/system/functions?namespace=team").await.value();
    assert_eq!((&listed[0]["name"], &listed[0]["namespace"]), (&json!("echo"), &json!("team")));
    assert_eq!(server.get("/system/function/echo.team").await.value()["namespace"], "team");
    // The portal puts the namespace in the query, the command line in the body.
    let query = "/system/functions?namespace=team";
    server.json("DELETE", query, json!({"functionName": "echo"})).await.expect(202);
    server.get("/system/function/echo?namespace=team").await.expect(404);
    server.get("/system/function/echo").await.expect(200);
}

#[tokio::test]
async fn everything_is_there_again_after_a_restart() {
    let server = Server::start().await;
    for name in ["a", "b", "c"] {
        server.deploy(name).await;
    }
    server.json("POST", "/system/scale-function/a", json!({"replicas": 4})).await.expect(202);
    server.json("DELETE", FUNCTIONS, json!({"functionName": "b"})).await.expect(202);
    let before = server.get(FUNCTIONS).await.value();
    let server = server.restart().await;
    let mut after = server.get(FUNCTIONS).await.value();
    for (before, after) in before.as_array().unwrap().iter().zip(after.as_array_mut().unwrap()) {
        // Code is loaded by the first invocation, so what is available may differ.
        after["availableReplicas"] = before["availableReplicas"].clone();
    }
    assert_eq!(after, before);
    assert_eq!(after[0]["replicas"], 4);
}

#[tokio::test]
async fn a_function_whose_module_is_gone_stays_and_can_be_deployed_again() {
    let server = Server::start().await;
    server.deploy("echo").await;
    let Server { gateway, dir } = server;
    drop(gateway);
    std::fs::remove_dir_all(dir.path().join("modules")).unwrap();
    let server = Server::start_in(dir).await;
    let function = server.gateway.functions.get("echo").unwrap();
    assert!(function.fault().unwrap().contains("sha256:"), "{function:?}");
    let status = server.get("/system/function/echo").await.expect(200).value();
    assert_eq!((&status["name"], status.get("availableReplicas")), (&json!("echo"), None));
    let image = server.module(IDLE).await;
    server.json("PUT", FUNCTIONS, json!({"service": "echo", "image": image})).await.expect(202);
    assert_eq!(server.gateway.functions.get("echo").unwrap().fault(), None);
    assert_eq!(server.get("/system/function/echo").await.value()["availableReplicas"], 16);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn deployments_of_one_name_at_once_end_in_one_state() {
    let server = Server::start().await;
    let image = server.module(IDLE).await;
    let deploy = |count: usize| {
        let body = json!({"service": "echo", "image": image, "envVars": {"COUNT": count.to_string()}});
        server.json(if count.is_multiple_of(2) { "POST" } else { "PUT" }, FUNCTIONS, body)
    };
    let removal = || server.json("DELETE", FUNCTIONS, json!({"functionName": "echo"}));
    let (answers, removals) = tokio::join!(
        futures_util::future::join_all((0..20).map(deploy)),
        futures_util::future::join_all((0..3).map(|_| removal())),
    );
    for answer in answers.iter().chain(&removals) {
        assert!(matches!(answer.status.as_u16(), 202 | 404 | 409), "{answer:?}");
    }
    deploy(0).await;
    let before = server.get("/system/function/echo").await.expect(200).value();
    let after = server.restart().await.get("/system/function/echo").await.expect(200).value();
    assert_eq!((&before["envVars"], &before["createdAt"]), (&after["envVars"], &after["createdAt"]));
}

#[tokio::test]
async fn a_second_gateway_on_the_same_directory_is_refused() {
    let server = Server::start().await;
    let error = Gateway::open(config(server.dir.path())).await.unwrap_err().to_string();
    assert!(error.contains("in use") && error.contains(&*server.dir.path().to_string_lossy()), "{error}");
    assert!(error.contains(&std::process::id().to_string()), "{error}");
}
