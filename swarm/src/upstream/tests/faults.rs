//! Replicas that refuse, break off, or answer nonsense.

use http_body::Body as _;

use super::*;

async fn send(upstream: &Upstream, request: Request<Body>) -> Result<Response<Body>, SendError> {
    within("an outcome", upstream.send(request)).await
}

#[track_caller]
fn not_sent(sent: Result<Response<Body>, SendError>) -> Request<Body> {
    match sent {
        Err(SendError::NotSent { request, .. }) => *request,
        other => panic!("not what was expected: {other:?}"),
    }
}

/// Sends a request to a replica that answers it with `answer`, then closes.
async fn answered(answer: &str) -> Result<Response<Body>, SendError> {
    let (listener, upstream) = replica().await;
    let replica = async {
        let mut peer = Peer::accept(&listener).await;
        peer.head().await.unwrap();
        peer.write(answer).await;
    };
    tokio::join!(send(&upstream, post(Body::empty())), replica).0
}

#[tokio::test]
async fn a_refused_connection_gives_the_request_back() {
    let upstream = to(nobody_there().await);
    let request = not_sent(send(&upstream, post(whole("hello"))).await);
    assert_eq!(request.headers()["host"], "replica");
    assert_eq!(request.into_body().into_whole().unwrap(), "hello");

    let (pieces, body) = streamed();
    let request = not_sent(send(&upstream, post(body)).await);
    pieces.try_send(Ok("still read by nobody")).unwrap();
    assert_eq!(piece(&mut request.into_body()).await, "still read by nobody");
}

#[tokio::test]
async fn a_request_that_a_kept_connection_did_not_take_is_given_back() {
    let (listener, upstream) = replica().await;
    let serve = async {
        let mut peer = Peer::accept(&listener).await;
        peer.head().await.unwrap();
        peer.write(OK).await;
    };
    let (response, ()) = tokio::join!(send(&upstream, post(Body::empty())), serve);
    response.unwrap();
    drop(listener);
    tokio::task::yield_now().await;
    let request = not_sent(send(&upstream, post(whole("hello"))).await);
    assert_eq!(request.into_body().into_whole().unwrap(), "hello");
}

#[tokio::test]
async fn a_reset_after_the_head_is_not_tried_again() {
    let (listener, upstream) = replica().await;
    let serve = async {
        let mut peer = Peer::accept(&listener).await;
        peer.head().await.unwrap();
        peer.write(OK).await;
        // Closed with something unread, a connection is reset.
        peer.stream.readable().await.unwrap();
        drop(peer);
        listener
    };
    let requests = async {
        send(&upstream, post(Body::empty())).await.unwrap();
        send(&upstream, post(whole("hello"))).await
    };
    let (second, listener) = tokio::join!(requests, serve);
    assert!(matches!(second, Err(SendError::Broken(_))), "{second:?}");
    let again = tokio::time::timeout(Duration::from_millis(50), listener.accept()).await;
    assert!(again.is_err(), "the request was sent again");
}

#[tokio::test]
async fn a_response_that_does_not_come_is_broken() {
    let sent = answered("").await;
    assert!(matches!(sent, Err(SendError::Broken(_))), "{sent:?}");
    let sent = answered("HTTP/1.1 200 OK\r\nx-half").await;
    assert!(matches!(sent, Err(SendError::Broken(_))), "{sent:?}");
}

#[tokio::test]
async fn a_body_that_breaks_off_is_an_error() {
    let cut = async {
        let response = answered("HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf").await?;
        Ok::<_, SendError>(response.into_body().collect().await)
    };
    // Whether the break was there with the head is the network's to say.
    match within("the end", cut).await {
        Err(SendError::Broken(_)) | Ok(Err(_)) => {}
        other => panic!("half a body looks whole: {other:?}"),
    }
}

#[tokio::test]
async fn garbage_is_an_invalid_response() {
    for garbage in [
        "\x01\x02\x03 what is this\r\n\r\n",
        "HTTP/1.1 abc OK\r\n\r\n",
        "HTTP/1.1 200 OK\r\nno colon\r\n\r\n",
        "HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nab",
        "HTTP/1.1 101 Switching Protocols\r\nupgrade: echo\r\nconnection: upgrade\r\n\r\n",
    ] {
        let sent = answered(garbage).await;
        assert!(matches!(sent, Err(SendError::InvalidResponse(_))), "{garbage}: {sent:?}");
    }
}

#[tokio::test]
async fn a_head_without_end_is_refused_early() {
    let name = format!("{}: ", "x".repeat(1000));
    for filling in [name.clone() + &"y".repeat(1 << 16), (name + "y\r\n").repeat(64)] {
        let (listener, upstream) = replica().await;
        let replica = async {
            let mut peer = Peer::accept(&listener).await;
            peer.head().await.unwrap();
            peer.write("HTTP/1.1 200 OK\r\n").await;
            let mut written = 0;
            while written < 100 << 20 {
                match within("the refusal", peer.stream.write(filling.as_bytes())).await {
                    Ok(length) => written += length,
                    Err(_) => break,
                }
            }
            written
        };
        let (sent, written) = tokio::join!(send(&upstream, post(Body::empty())), replica);
        assert!(matches!(sent, Err(SendError::InvalidResponse(_))), "{sent:?}");
        // What the sockets' buffers take; none of it is ours.
        assert!(written < 16 << 20, "{written} bytes of head were taken");
    }
}

#[tokio::test]
async fn a_hundred_headers_are_enough() {
    let head = |count: usize| {
        let headers: String = (1..count).map(|at| format!("x-{at}: y\r\n")).collect();
        format!("HTTP/1.1 200 OK\r\n{headers}content-length: 2\r\n\r\nok")
    };
    assert_eq!(text(answered(&head(100)).await.unwrap()).await, "ok");
    let sent = answered(&head(101)).await;
    assert!(matches!(sent, Err(SendError::InvalidResponse(_))), "{sent:?}");
}

#[tokio::test]
async fn a_request_that_breaks_off_never_looks_whole() {
    let (listener, upstream) = replica().await;
    let (pieces, body) = streamed();
    let replica = async {
        let mut peer = Peer::accept(&listener).await;
        peer.until("half\r\n").await.unwrap();
        pieces.send(Err("the client went away")).await.unwrap();
        peer.closed().await;
        peer.read
    };
    pieces.try_send(Ok("half")).unwrap();
    let (sent, rest) = tokio::join!(send(&upstream, post(body)), replica);
    assert!(matches!(sent, Err(SendError::Broken(_))), "{sent:?}");
    assert_eq!(rest, b"", "the body was ended as if it were whole");
}

#[tokio::test]
async fn a_request_that_breaks_off_during_the_response_breaks_it_off_too() {
    let (listener, upstream) = replica().await;
    let (pieces, body) = streamed();
    let requests = send(&upstream, post(body));
    let replica = async {
        let mut peer = Peer::accept(&listener).await;
        peer.head().await.unwrap();
        peer.write("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n").await;
        peer
    };
    let (response, mut peer) = tokio::join!(requests, replica);
    let body = response.unwrap().into_body();
    assert!(!body.is_end_stream());
    pieces.send(Err("the client went away")).await.unwrap();
    within("the error", body.collect()).await.expect_err("the response looks whole");
    peer.closed().await;
}
