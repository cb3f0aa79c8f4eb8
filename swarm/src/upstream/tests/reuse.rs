//! Which connection a request goes over.

use std::io::{Read, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

use super::*;
use crate::upstream::Probe;

/// A replica that answers everything, and counts its connections.
async fn counting() -> (Arc<AtomicUsize>, Upstream) {
    let (listener, upstream) = replica().await;
    let accepted = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&accepted);
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            counter.fetch_add(1, Ordering::Relaxed);
            tokio::spawn(answer_ok(Peer { stream, read: Vec::new() }));
        }
    });
    (accepted, upstream)
}

#[tokio::test]
async fn keeps_a_connection_for_the_next_request() {
    let (accepted, upstream) = counting().await;
    for _ in 0..50 {
        let response = within("a response", upstream.send(post(Body::empty()))).await.unwrap();
        assert_eq!(text(response).await, "ok");
    }
    assert_eq!(accepted.load(Ordering::Relaxed), 1);
}

#[tokio::test]
async fn keeps_a_probes_connection() {
    let (accepted, upstream) = counting().await;
    assert!(matches!(upstream.probe(LIMIT).await, Probe::Ready));
    within("a response", upstream.send(post(Body::empty()))).await.unwrap();
    assert_eq!(accepted.load(Ordering::Relaxed), 1);
}

#[tokio::test]
async fn keeps_no_connection_that_is_announced_to_close() {
    let (listener, upstream) = replica().await;
    let server = tokio::spawn(async move {
        for _ in 0..2 {
            let mut peer = Peer::accept(&listener).await;
            peer.head().await.unwrap();
            peer.write("HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 2\r\n\r\nok").await;
            peer.closed().await;
        }
    });
    for _ in 0..2 {
        assert_eq!(text(upstream.send(post(Body::empty())).await.unwrap()).await, "ok");
    }
    within("the replica", server).await.unwrap();
}

#[tokio::test]
async fn responses_without_a_body_end_with_their_head() {
    let (listener, upstream) = replica().await;
    let server = tokio::spawn(async move {
        let mut peer = Peer::accept(&listener).await;
        for head in [
            "HTTP/1.1 204 No Content\r\n\r\n",
            "HTTP/1.1 304 Not Modified\r\ncontent-length: 7\r\n\r\n",
            "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 7\r\n\r\n",
        ] {
            peer.head().await.unwrap();
            peer.write(head).await;
        }
    });
    for (method, status) in [("POST", 204), ("GET", 304), ("HEAD", 200)] {
        let request = Request::builder().method(method).uri("/").body(Body::empty()).unwrap();
        let response = within("a response", upstream.send(request)).await.unwrap();
        assert_eq!(response.status(), status);
        assert_eq!(text(response).await, "");
    }
    within("the replica", server).await.unwrap();
}

/// A replica that closes each connection after one answer, when told to, without a word.
///
/// What comes back orders a close and returns when it is done.
fn silently_closing() -> (SocketAddr, impl Fn()) {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let (order, orders) = channel();
    let (closed, done) = channel();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut head = [0; 4096];
            assert!(stream.read(&mut head).unwrap() > 0);
            stream.write_all(OK.as_bytes()).unwrap();
            if orders.recv().is_err() {
                return;
            }
            drop(stream);
            closed.send(()).unwrap();
        }
    });
    let close = move || {
        order.send(()).unwrap();
        done.recv_timeout(LIMIT).expect("the replica closes when told to");
    };
    (address, close)
}

#[tokio::test]
async fn no_request_fails_when_idle_connections_are_closed() {
    let (address, close) = silently_closing();
    let upstream = to(address);
    for _ in 0..200 {
        let response = within("a response", upstream.send(post(Body::empty()))).await.unwrap();
        assert_eq!(text(response).await, "ok");
        close();
        // The reactor takes its turn, as it does before any request arrives.
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn sees_a_close_that_the_reactor_has_not_told_of() {
    let (address, close) = silently_closing();
    let upstream = to(address);
    for _ in 0..20 {
        let response = within("a response", upstream.send(post(Body::empty()))).await.unwrap();
        assert_eq!(text(response).await, "ok");
        let begin = Instant::now();
        close();
        // Without letting the reactor have a turn.
        while begin.elapsed() < Duration::from_millis(2) {
            std::hint::spin_loop();
        }
    }
}

#[tokio::test]
async fn keeps_no_more_connections_than_it_may() {
    const AT_ONCE: usize = 70;
    let (listener, upstream) = replica().await;
    let upstream = Arc::new(upstream);
    let requests: Vec<_> = (0..AT_ONCE)
        .map(|_| {
            let upstream = Arc::clone(&upstream);
            tokio::spawn(async move { upstream.send(post(Body::empty())).await.unwrap() })
        })
        .collect();
    let mut peers = Vec::new();
    for _ in 0..AT_ONCE {
        let mut peer = Peer::accept(&listener).await;
        peer.head().await.unwrap();
        peers.push(peer);
    }
    for peer in &mut peers {
        peer.write(OK).await;
    }
    for request in requests {
        within("a response", request).await.unwrap();
    }
    let (ended, mut ends) = mpsc::unbounded_channel();
    for mut peer in peers {
        let ended = ended.clone();
        tokio::spawn(async move {
            peer.closed().await;
            ended.send(()).unwrap();
        });
    }
    for _ in 0..AT_ONCE - 64 {
        within("surplus connections to be closed", ends.recv()).await.unwrap();
    }
    assert!(ends.try_recv().is_err(), "more connections were closed than need be");
    drop(upstream);
    for _ in 0..64 {
        within("the idle connections to be closed", ends.recv()).await.unwrap();
    }
}

#[tokio::test]
async fn a_replica_is_ready_when_it_answers() {
    for (answer, is_ready) in [
        (OK, true),
        ("HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n", true),
        ("HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\n\r\n", false),
        ("HTTP/1.1 429 Too Many Requests\r\ncontent-length: 0\r\n\r\n", false),
        ("no HTTP at all\r\n\r\n", true),
        ("", false),
    ] {
        let (listener, upstream) = replica().await;
        let server = tokio::spawn(async move {
            let mut peer = Peer::accept(&listener).await;
            let head = peer.head().await.unwrap();
            assert!(head.starts_with("GET /_/health HTTP/1.1\r\n"), "{head}");
            peer.write(answer).await;
        });
        let probe = within("an answer", upstream.probe(LIMIT)).await;
        assert_eq!(matches!(probe, Probe::Ready), is_ready, "{answer}: {probe:?}");
        within("the replica", server).await.unwrap();
    }
}

#[tokio::test]
async fn a_replica_that_refuses_or_says_nothing_is_not_ready() {
    let probe = to(nobody_there().await).probe(LIMIT).await;
    assert!(matches!(probe, Probe::NotYet(_)), "{probe:?}");

    let (listener, upstream) = replica().await;
    let probe = within("the probe", upstream.probe(Duration::from_millis(50))).await;
    assert!(matches!(probe, Probe::NotYet(_)), "{probe:?}");
    Peer::accept(&listener).await.closed().await;
}
