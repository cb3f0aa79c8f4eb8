//! Bodies that come in pieces, and connections that become something else.

use std::future::pending;
use std::sync::Arc;

use bramble_provider::{FunctionName, ProviderError};
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use tokio::sync::oneshot;

use super::*;
use crate::upstream::hold;

const CHUNKED: &str = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n";
const ENDLESS: &str = "HTTP/1.1 200 OK\r\ncontent-length: 1000000\r\n\r\n";

/// One exchange whose response has begun with `head`.
async fn begun(
    listener: &TcpListener,
    upstream: &Upstream,
    body: Body,
    head: &str,
) -> (Peer, Response<Body>) {
    let replica = async {
        let mut peer = Peer::accept(listener).await;
        peer.head().await.unwrap();
        peer.write(head).await;
        peer
    };
    let (peer, response) = tokio::join!(replica, within("the head", upstream.send(post(body))));
    (peer, response.unwrap())
}

#[tokio::test]
async fn a_small_response_is_whole_at_once() {
    let (listener, upstream) = replica().await;
    let chunks = format!("{CHUNKED}2\r\nok\r\n3\r\n, I\r\n0\r\nx-trailer: y\r\n\r\n");
    for (head, expected) in [(OK, "ok"), (&chunks, "ok, I")] {
        // In one write, so that it comes in one piece.
        let (_peer, response) = begun(&listener, &to_same(&upstream), Body::empty(), head).await;
        assert!(!response.headers().contains_key("transfer-encoding"));
        assert_eq!(response.into_body().into_whole().expect("it came whole"), expected);
    }
}

/// The same replica, with no connection to it yet.
fn to_same(upstream: &Upstream) -> Upstream {
    Upstream::new(upstream.address.clone(), upstream.dialer.clone())
}

#[tokio::test]
async fn events_arrive_one_by_one() {
    let (listener, upstream) = replica().await;
    let (mut peer, response) = begun(&listener, &upstream, Body::empty(), CHUNKED).await;
    let mut body = response.into_body();
    for _ in 0..20 {
        peer.write("9\r\ndata: x\n\n\r\n").await;
        assert_eq!(piece(&mut body).await, "data: x\n\n");
    }
    peer.write("0\r\n\r\n").await;
    assert!(within("the end", body.frame()).await.is_none());
    // The connection is taken again.
    tokio::spawn(answer_ok(peer));
    assert_eq!(text(upstream.send(post(Body::empty())).await.unwrap()).await, "ok");
}

#[tokio::test]
async fn both_bodies_stream_at_the_same_time() {
    let (listener, upstream) = replica().await;
    let (pieces, body) = streamed();
    let (mut peer, response) = begun(&listener, &upstream, body, CHUNKED).await;
    let mut answer = response.into_body();
    for _ in 0..20 {
        pieces.send(Ok("ping")).await.unwrap();
        assert_eq!(peer.until("ping\r\n").await.unwrap(), "4\r\nping\r\n");
        peer.write("4\r\npong\r\n").await;
        assert_eq!(piece(&mut answer).await, "pong");
    }
    drop(pieces);
    assert_eq!(peer.until("\r\n\r\n").await.unwrap(), "0\r\n\r\n");
    peer.write("0\r\n\r\n").await;
    assert!(within("the end", answer.frame()).await.is_none());
}

#[tokio::test]
async fn an_answer_comes_before_the_request_is_sent() {
    let (listener, upstream) = replica().await;
    let (pieces, body) = streamed();
    let (mut peer, response) = begun(&listener, &upstream, body, OK).await;
    assert_eq!(text(response).await, "ok");
    // A replica that reads on gets the rest, and its connection is used again.
    pieces.send(Ok("late")).await.unwrap();
    drop(pieces);
    assert_eq!(peer.until("0\r\n\r\n").await.unwrap(), "4\r\nlate\r\n0\r\n\r\n");
    tokio::spawn(answer_ok(peer));
    within("the connection to be idle", async {
        while upstream.pool.is_empty() {
            tokio::task::yield_now().await;
        }
    })
    .await;
    assert_eq!(text(within("a response", upstream.send(post(Body::empty()))).await.unwrap()).await, "ok");
}

#[tokio::test]
async fn a_slow_reader_holds_the_replica_back() {
    const PIECE: usize = 1 << 16;
    const PIECES: usize = 1024;
    let (listener, upstream) = replica().await;
    let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", PIECE * PIECES);
    let (mut peer, response) = begun(&listener, &upstream, Body::empty(), &head).await;
    let mut written = 0;
    let filling = vec![b'x'; PIECE];
    // Until the replica can write no more: nobody reads.
    while let Ok(done) = tokio::time::timeout(Duration::from_millis(200), peer.stream.write(&filling)).await {
        written += done.unwrap();
        assert!(written < 32 << 20, "{written} bytes were taken for nobody");
    }
    let rest = async { peer.stream.write_all(&vec![b'x'; PIECE * PIECES - written]).await.unwrap() };
    let (body, ()) = within("all of it", async { tokio::join!(response.into_body().collect(), rest) }).await;
    assert_eq!(body.unwrap().to_bytes().len(), PIECE * PIECES);
}

#[tokio::test]
async fn a_dropped_response_closes_the_connection() {
    let (listener, upstream) = replica().await;
    let (mut peer, response) = begun(&listener, &upstream, Body::empty(), ENDLESS).await;
    drop(response);
    peer.closed().await;

    // Also while the request is still being sent, to a replica that does not read it.
    let (pieces, body) = streamed();
    let (mut peer, response) = begun(&listener, &upstream, body, ENDLESS).await;
    let big: &'static str = String::leak("x".repeat(64 << 20));
    pieces.send(Ok(big)).await.unwrap();
    drop(response);
    peer.closed().await;
    within("the request to be let go", pieces.closed()).await;
}

#[tokio::test]
async fn a_dropped_wait_closes_the_connection() {
    let (listener, upstream) = replica().await;
    let waiting = tokio::spawn(async move { upstream.send(post(Body::empty())).await });
    let mut peer = Peer::accept(&listener).await;
    peer.head().await.unwrap();
    waiting.abort();
    peer.closed().await;
}

#[tokio::test]
async fn a_connection_may_be_upgraded() {
    let (listener, upstream) = replica().await;
    let replica = async {
        let mut peer = Peer::accept(&listener).await;
        let head = peer.head().await.unwrap();
        assert!(head.contains("upgrade: echo\r\n") && head.contains("connection: upgrade\r\n"), "{head}");
        // The first bytes of the new protocol come with the head.
        peer.write("HTTP/1.1 101 Switching Protocols\r\nupgrade: echo\r\nconnection: upgrade\r\n\r\nhi")
            .await;
        let line = peer.until("\n").await.unwrap();
        peer.write(&line).await;
        peer.closed().await;
    };
    let client = async {
        let mut request = Request::get("/").body(Body::empty()).unwrap();
        for (name, value) in [("connection", "upgrade"), ("upgrade", "echo")] {
            request.headers_mut().insert(name, http::HeaderValue::from_static(value));
        }
        let mut response = within("the answer", upstream.send(request)).await.unwrap();
        assert_eq!(response.status(), 101);
        assert_eq!(response.headers()["upgrade"], "echo");
        let upgrade = response.extensions_mut().remove::<OnUpgrade>().expect("it is in the extensions");
        let mut stream = TokioIo::new(within("the upgrade", upgrade).await.unwrap());
        stream.write_all(b"one line\n").await.unwrap();
        let mut echoed = [0; 11];
        within("the echo", stream.read_exact(&mut echoed)).await.unwrap();
        assert_eq!(&echoed, b"hione line\n");
        assert!(upstream.pool.is_empty(), "an upgraded connection was kept");
    };
    tokio::join!(replica, client);
}

/// Tells when it is dropped.
fn guard() -> (oneshot::Sender<()>, oneshot::Receiver<()>) {
    oneshot::channel()
}

#[tokio::test]
async fn a_guard_is_held_until_the_body_has_ended() {
    let (listener, upstream) = replica().await;

    let (held, mut let_go) = guard();
    let whole = hold(Response::new(whole("all of it")), held, pending());
    assert!(matches!(let_go.try_recv(), Err(oneshot::error::TryRecvError::Closed)));
    assert_eq!(text(whole).await, "all of it");

    let (mut peer, response) = begun(&listener, &upstream, Body::empty(), CHUNKED).await;
    let (held, mut let_go) = guard();
    let mut body = hold(response, held, pending()).into_body();
    peer.write("1\r\nx\r\n").await;
    assert_eq!(piece(&mut body).await, "x");
    assert!(matches!(let_go.try_recv(), Err(oneshot::error::TryRecvError::Empty)));
    peer.write("0\r\n\r\n").await;
    assert!(within("the end", body.frame()).await.is_none());
    assert!(matches!(let_go.try_recv(), Err(oneshot::error::TryRecvError::Closed)));

    let (_peer, response) = begun(&listener, &to_same(&upstream), Body::empty(), ENDLESS).await;
    let (held, mut let_go) = guard();
    let response = hold(response, held, pending());
    assert!(matches!(let_go.try_recv(), Err(oneshot::error::TryRecvError::Empty)));
    drop(response);
    assert!(matches!(let_go.try_recv(), Err(oneshot::error::TryRecvError::Closed)));
}

#[tokio::test]
async fn a_body_of_what_is_lost_ends_with_the_reason() {
    let (listener, upstream) = replica().await;
    let (mut peer, response) = begun(&listener, &upstream, Body::empty(), CHUNKED).await;
    let (held, mut let_go) = guard();
    let (lose, lost) = oneshot::channel::<()>();
    let name = FunctionName::parse("f").unwrap();
    let lost = async move {
        lost.await.unwrap();
        ProviderError::InvalidResponse { name, reason: "gone".to_owned() }
    };
    let mut body = hold(response, held, lost).into_body();
    peer.write("1\r\nx\r\n").await;
    assert_eq!(piece(&mut body).await, "x");
    lose.send(()).unwrap();
    let error = within("the end", body.frame()).await.unwrap().unwrap_err();
    assert!(error.to_string().contains("gone"), "{error}");
    assert!(matches!(let_go.try_recv(), Err(oneshot::error::TryRecvError::Closed)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_requests_at_once_get_their_own_answers() {
    let (listener, upstream) = replica().await;
    tokio::spawn(async move {
        loop {
            let mut peer = Peer::accept(&listener).await;
            tokio::spawn(async move {
                while let Some(head) = peer.head().await {
                    let id = head.split("x-id: ").nth(1).unwrap().split("\r\n").next().unwrap();
                    // In two pieces, so that some are streamed.
                    peer.write(&format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", id.len())).await;
                    peer.write(id).await;
                }
            });
        }
    });
    let upstream = Arc::new(upstream);
    let clients: Vec<_> = (0..16)
        .map(|client| {
            let upstream = Arc::clone(&upstream);
            tokio::spawn(async move {
                for at in 0..200 {
                    let id = format!("{client}-{at}");
                    let request = Request::get("/").header("x-id", &id).body(Body::empty()).unwrap();
                    let response = within("a response", upstream.send(request)).await.unwrap();
                    assert_eq!(text(response).await, id);
                }
            })
        })
        .collect();
    for client in clients {
        client.await.unwrap();
    }
}
