//! Clients that hang up in the middle of a change: it is made whole, and nothing else comes in between.

use std::pin::Pin;
use std::sync::mpsc::{Sender, channel};

use axum::body::Body;
use axum::http::Request;
use axum::http::header::CONTENT_TYPE;
use bramble_gateway::api;
use futures_util::FutureExt;
use serde_json::{Value, json};
use tokio::runtime::{Builder, Runtime};
use tokio::task::yield_now;
use tower::ServiceExt;

use crate::support::{IDLE, JSON, Server, WASM};

/// A runtime in which work on files goes on when the test says so: it has one thread for that.
fn runtime() -> Runtime {
    Builder::new_current_thread().max_blocking_threads(1).enable_all().build().unwrap()
}

/// Work on files stops until this is dropped.
fn stop_file_work() -> Sender<()> {
    let (release, released) = channel();
    tokio::task::spawn_blocking(move || released.recv());
    release
}

/// Begins a request, gets it to where it waits for file work, and hangs up.
async fn hang_up(server: &Server, method: &str, path: &str, document: Value) {
    let request = Request::builder().method(method).uri(path).header(CONTENT_TYPE, JSON);
    let request = request.body(Body::from(document.to_string())).unwrap();
    let mut answer = Box::pin(api::router(server.gateway.clone()).oneshot(request));
    for _ in 0..16 {
        assert!(Pin::new(&mut answer).now_or_never().is_none(), "it is not to end before the client does");
        yield_now().await;
    }
}

/// That a change of secrets, or a deployment with some, is under way.
async fn is_busy(server: &Server) -> bool {
    yield_now().await;
    server.gateway.secrets.turn().now_or_never().is_none()
}

/// What the functions see of the secret `db`.
fn seen(server: &Server) -> Vec<String> {
    let views = std::fs::read_dir(server.dir.path().join("views")).unwrap();
    views.map(|view| std::fs::read_to_string(view.unwrap().path().join("db")).unwrap()).collect()
}

/// A gateway with a secret, and a function that has it.
async fn with_secret() -> (Server, String) {
    let server = Server::start().await;
    server.json("POST", "/system/secrets", json!({"name": "db", "value": "first"})).await.expect(201);
    let image = server.module(IDLE).await;
    let document = json!({"service": "reads", "image": image, "secrets": ["db"]});
    server.json("POST", "/system/functions", document).await.expect(202);
    (server, image)
}

#[test]
fn a_changed_secret_is_shown_to_functions_though_its_client_hangs_up() {
    runtime().block_on(async {
        let (server, _) = with_secret().await;
        let release = stop_file_work();
        hang_up(&server, "PUT", "/system/secrets", json!({"name": "db", "value": "second"})).await;
        assert!(is_busy(&server).await, "another one could write the same file");
        drop(release);
        drop(server.gateway.secrets.turn().await.unwrap());
        assert_eq!(seen(&server), ["second"]);
    });
}

#[test]
fn a_deployment_keeps_secrets_from_changing_though_its_client_hangs_up() {
    runtime().block_on(async {
        let (server, image) = with_secret().await;
        let release = stop_file_work();
        let document = json!({"service": "later", "image": image, "secrets": ["db"]});
        hang_up(&server, "POST", "/system/functions", document).await;
        assert!(is_busy(&server).await, "it could end with a value that was replaced");
        drop(release);
        drop(server.gateway.secrets.turn().await.unwrap());
        assert!(server.gateway.functions.get("later").is_some());
    });
}

#[test]
fn a_namespace_is_known_once_it_is_stored_though_its_client_hangs_up() {
    runtime().block_on(async {
        let server = Server::start().await;
        let release = stop_file_work();
        hang_up(&server, "POST", "/system/namespace/team", json!({"labels": {"a": "b"}})).await;
        drop(release);
        // One change after the other.
        server.json("POST", "/system/namespace/other", json!({})).await.expect(201);
        let team = server.get("/system/namespace/team").await.expect(200).value();
        assert_eq!(team["labels"], json!({"a": "b"}));
    });
}

#[test]
fn an_upload_waits_until_no_secret_changes() {
    runtime().block_on(async {
        let server = Server::start().await;
        let turn = server.gateway.secrets.turn().await.unwrap();
        let module = wat::parse_str(IDLE).unwrap();
        let mut upload = Box::pin(server.call("PUT", "/system/functions/idle", WASM, module));
        // It is stored first.
        let stored = async {
            while server.gateway.wasm.modules().await.unwrap().is_empty() {
                yield_now().await;
            }
        };
        tokio::select! {
            biased;
            answer = &mut upload => panic!("it did not wait: {answer:?}"),
            () = stored => {}
        }
        // Somebody else's work gets its turn, and this does not.
        for _ in 0..64 {
            assert!(Pin::new(&mut upload).now_or_never().is_none(), "it did not wait");
            server.gateway.secrets.all().await.unwrap();
        }
        drop(turn);
        upload.await.expect(202);
    });
}
