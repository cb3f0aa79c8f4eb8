//! What one invocation allocates, from its bytes on a socket to the bytes of its answer: a figure that
//! does not depend on how busy the machine is.

use std::time::Duration;

use allocation_counter::AllocationInfo;
use bramble_gateway::{GatewayConfig, Running};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::runtime::{Builder, Runtime};

use crate::support::config;

/// Copies stdin to stdout. One page of memory.
const ECHO: &str = r#"(module
    (import "wasi_snapshot_preview1" "fd_read" (func $read (param i32 i32 i32 i32) (result i32)))
    (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
    (memory (export "memory") 1 1)
    (func (export "_start")
        (loop $next
            (i32.store (i32.const 0) (i32.const 1024))
            (i32.store (i32.const 4) (i32.const 61440))
            (drop (call $read (i32.const 0) (i32.const 0) (i32.const 1) (i32.const 4)))
            (if (i32.eqz (i32.load (i32.const 4))) (then (return)))
            (drop (call $write (i32.const 1) (i32.const 0) (i32.const 1) (i32.const 8)))
            (br $next))))"#;

const BODY: [u8; 100] = [b'x'; 100];

const INVOCATIONS: u64 = 64;

/// Most allocations of one invocation, HTTP and the engine included: 37 when this was written.
const MOST_ALLOCATIONS: u64 = 40;
/// Most bytes of them: 19,075 then.
const MOST_BYTES: u64 = 20_480;

/// Sends a request and reads its answer, which ends with `end`.
async fn exchange(socket: &mut TcpStream, request: &[u8], answer: &mut [u8], end: &[u8]) -> usize {
    socket.write_all(request).await.unwrap();
    let mut length = 0;
    while !answer[..length].ends_with(end) {
        let count = socket.read(&mut answer[length..]).await.unwrap();
        assert!(count > 0, "the gateway hung up after {:?}", String::from_utf8_lossy(&answer[..length]));
        length += count;
    }
    length
}

fn request(method: &str, path: &str, kind: &str, body: &[u8]) -> Vec<u8> {
    let length = body.len();
    let head = format!(
        "{method} {path} HTTP/1.1\r\nhost: localhost\r\ncontent-type: {kind}\r\ncontent-length: {length}\r\n\r\n"
    );
    [head.as_bytes(), body].concat()
}

/// Serves on this thread, where the counting is, and answers a connection to it.
fn serve(runtime: &Runtime, config: GatewayConfig) -> TcpStream {
    let (ready, running) = tokio::sync::oneshot::channel::<Running>();
    let announce = |running: &Running| ready.send(*running).expect("the test waits for it");
    runtime.spawn(async move { bramble_gateway::run(config, announce, std::future::pending()).await });
    runtime.block_on(async { TcpStream::connect(running.await.unwrap().listen).await.unwrap() })
}

#[test]
fn an_invocation_allocates_little() {
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    let dir = tempfile::tempdir().unwrap();
    let localhost = ([127, 0, 0, 1], 0).into();
    let config = GatewayConfig { listen: localhost, metrics_listen: localhost, ..config(dir.path()) };
    let mut socket = serve(&runtime, config);
    let mut answer = vec![0; 16 << 10];
    let upload = request("PUT", "/system/functions/echo", "application/wasm", &wat::parse_str(ECHO).unwrap());
    let invoke = request("POST", "/function/echo", "application/octet-stream", &BODY);
    runtime.block_on(async {
        exchange(&mut socket, &upload, &mut answer, b"}").await;
        // What is made once: metrics, places in pools, the first instance's memory.
        for _ in 0..INVOCATIONS {
            let length = exchange(&mut socket, &invoke, &mut answer, &BODY).await;
            assert!(answer[..length].starts_with(b"HTTP/1.1 200 OK\r\n"));
        }
    });
    let mut count = || {
        allocation_counter::measure(|| {
            runtime.block_on(async {
                for _ in 0..INVOCATIONS {
                    exchange(&mut socket, &invoke, &mut answer, &BODY).await;
                }
            });
        })
    };
    // The least of several: what the gateway does once a second is nobody's invocation.
    let least = (0..5).map(|_| count()).min_by_key(|counted| counted.count_total).unwrap();
    let AllocationInfo { count_total, bytes_total, count_current, .. } = least;
    let (allocations, bytes) = (count_total / INVOCATIONS, bytes_total / INVOCATIONS);
    #[expect(clippy::print_stderr, reason = "the figure is of use beyond the bound")]
    {
        eprintln!("one invocation: {allocations} allocations of {bytes} bytes together");
    }
    assert!(allocations <= MOST_ALLOCATIONS, "{allocations} allocations, of {MOST_ALLOCATIONS} at most");
    assert!(bytes <= MOST_BYTES, "{bytes} bytes, of {MOST_BYTES} at most");
    assert!(count_current < 16, "{count_current} were kept by {INVOCATIONS} invocations");
    runtime.shutdown_timeout(Duration::from_secs(5));
}
