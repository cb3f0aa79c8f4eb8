//! What only a real connection shows: answers to clients that are still sending.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use bramble_gateway::api;

use crate::support::Server;

/// Serves the API on a port of its own for as long as the runtime lives.
async fn serve(server: &Server) -> SocketAddr {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let router = api::router(server.gateway.clone());
    tokio::spawn(async move { axum::serve(listener, router).await });
    address
}

/// Sends a head and then as much of a body as the server takes; answers all that came back.
fn send(address: SocketAddr, head: String, body_bytes: usize) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    stream.set_write_timeout(Some(Duration::from_secs(30))).unwrap();
    stream.write_all(head.as_bytes()).unwrap();
    let chunk = vec![0; 64 << 10];
    for _ in 0..body_bytes.div_ceil(chunk.len()) {
        if stream.write_all(&chunk).is_err() {
            break;
        }
    }
    let mut answer = Vec::new();
    let _cut_off = stream.read_to_end(&mut answer);
    String::from_utf8_lossy(&answer).into_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_sends_too_much_reads_why_it_was_refused() {
    let server = Server::start().await;
    let address = serve(&server).await;
    let head = |length: usize| {
        format!(
            "PUT /system/modules HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/wasm\r\ncontent-length: {length}\r\n\
             connection: close\r\n\r\n"
        )
    };
    for length in [(1 << 20) + 1, 3 << 20, 64 << 20] {
        let answer = tokio::task::spawn_blocking({
            let head = head(length);
            move || send(address, head, length)
        });
        let answer = answer.await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 413 "), "{length}: {answer:?}");
        assert!(answer.contains("module_too_large"), "{length}: {answer:?}");
    }
}
