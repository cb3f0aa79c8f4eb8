//! `mode=http`: requests go on to a server of the function's own.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use rustix::net::{AddressFamily, SocketType};
use rustix::process::Signal;

use crate::dog::{Dog, FEW_PLACES, wait_until};
use crate::server::{answer_text, serve};

/// The watchdog in front of the server on `port`; the process it runs only waits.
fn in_front_of(port: u16, variables: &[(&str, &str)]) -> Dog {
    let dog = starting(port, variables);
    dog.wait_until_healthy();
    dog
}

fn starting(port: u16, variables: &[(&str, &str)]) -> Dog {
    let url = format!("http://localhost:{port}/base");
    let own = [("mode", "http"), ("fprocess", "sleep 1000"), ("upstream_url", url.as_str())];
    Dog::start(&[&own[..], variables].concat())
}

fn listener() -> TcpListener {
    TcpListener::bind("127.0.0.1:0").unwrap()
}

#[test]
fn passes_requests_and_responses_on() {
    let port = serve(listener(), |got, stream| {
        let line = got.head.lines().next().unwrap().to_owned();
        let body = format!("{line}|{}|{}", got.header("x-a"), String::from_utf8_lossy(&got.body));
        assert_eq!((got.header("host"), got.header("te")), ("function.test", ""));
        let head = "HTTP/1.1 418 Teapot\r\nX-B: c\r\nSet-Cookie: d\r\nConnection: keep-alive\r\n";
        write!(stream, "{head}Content-Length: {}\r\n\r\n{body}", body.len()).is_ok()
    });
    let dog = in_front_of(port, &[("log_callid", "true")]);
    let headers = [("X-A", "value"), ("TE", "trailers"), ("X-Call-Id", "call-7")];
    let reply = dog.request("PUT", "/path?q=1", &headers, b"body");
    assert_eq!((reply.status, reply.text()), (418, "PUT /base/path?q=1 HTTP/1.1|value|body"));
    assert_eq!((reply.header("x-b"), reply.header("set-cookie")), ("c", "d"));
    assert!(!reply.header("x-duration-seconds").is_empty());
    dog.wait_for_log("[call-7] PUT /path?q=1 - 418 I'm a teapot - ContentLength: ");
}

#[test]
fn connections_to_the_server_are_kept_and_renewed() {
    let connections = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&connections);
    let port = serve(listener(), move |got, stream| {
        if got.head.starts_with("GET /base/first") {
            counted.fetch_add(1, Ordering::Relaxed);
        }
        // `close` without saying so: the next request finds out.
        answer_text(stream, "ok") && !got.head.starts_with("POST /base/last")
    });
    let dog = in_front_of(port, &[]);
    let mut client = dog.connect();
    for path in ["/first", "/second", "/third", "/last", "/fourth"] {
        let method = if path == "/last" { "POST" } else { "GET" };
        client.send(method, path, &[], b"");
        assert_eq!(client.reply(method).unwrap().text(), "ok", "{path}");
    }
    assert_eq!(connections.load(Ordering::Relaxed), 1);
}

#[test]
fn a_head_keeps_its_length_and_bodiless_answers_stay_so() {
    let port = serve(listener(), |got, stream| {
        let head =
            if got.head.starts_with("HEAD") { "200 OK\r\nContent-Length: 123" } else { "204 No Content" };
        write!(stream, "HTTP/1.1 {head}\r\n\r\n").is_ok()
    });
    let dog = in_front_of(port, &[]);
    let reply = dog.request("HEAD", "/", &[], b"");
    assert_eq!((reply.status, reply.header("content-length")), (200, "123"));
    assert_eq!(dog.request("DELETE", "/", &[], b"").status, 204);
}

#[test]
fn chunked_requests_are_passed_on_or_collected() {
    let port = serve(listener(), |got, stream| {
        let body = format!(
            "{}|{}|{}",
            got.header("transfer-encoding"),
            got.header("content-length"),
            got.body.len()
        );
        answer_text(stream, &body)
    });
    for (buffered, expected) in [("false", "chunked||"), ("true", "|10|10")] {
        let dog = in_front_of(port, &[("http_buffer_req_body", buffered)]);
        let mut connection = dog.connect();
        connection.send_head("POST", "/", &[("Transfer-Encoding", "chunked")]);
        connection.send_chunk(b"01234");
        connection.send_chunk(b"56789");
        connection.write(b"0\r\n\r\n").unwrap();
        let reply = connection.reply("POST").unwrap();
        assert!(reply.text().starts_with(expected), "{}", reply.text());
        assert_eq!(dog.post(b"12").text(), "|2|2", "a known length stays");
    }
}

#[test]
fn a_body_beyond_the_bound_is_not_collected() {
    let port = serve(listener(), |_, stream| answer_text(stream, "ok"));
    let dog = in_front_of(port, &[("buffer_http", "true")]);
    let mut connection = dog.connect();
    connection.send_head("POST", "/", &[("Transfer-Encoding", "chunked")]);
    let mut sender = connection.sender();
    std::thread::spawn(move || {
        let chunk = [b"10000\r\n".to_vec(), vec![b'x'; 0x10000], b"\r\n".to_vec()].concat();
        while sender.write_all(&chunk).is_ok() {}
    });
    match connection.head() {
        Ok(reply) => assert_eq!(reply.status, 413),
        Err(error) => assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset),
    }
    dog.wait_for_log("http_buffer_req_body takes at most");
}

#[test]
fn events_arrive_one_by_one() {
    let (next, asked) = std::sync::mpsc::channel::<()>();
    let asked = parking_lot::Mutex::new(asked);
    let port = serve(listener(), move |_, stream| {
        let head = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n";
        stream.write_all(head.as_bytes()).unwrap();
        for event in 0..3 {
            stream.write_all(format!("9\r\ndata: {event}\n\n\r\n").as_bytes()).unwrap();
            asked.lock().recv().unwrap();
        }
        stream.write_all(b"0\r\n\r\n").is_ok()
    });
    // Events outlive exec_timeout: it limits the head.
    let dog = in_front_of(port, &[("exec_timeout", "2s")]);
    let mut connection = dog.connect();
    connection.send("GET", "/", &[("Accept", "text/event-stream")], b"");
    assert_eq!(connection.head().unwrap().header("content-type"), "text/event-stream");
    for event in 0..3 {
        assert_eq!(connection.chunk().unwrap().unwrap(), format!("data: {event}\n\n").as_bytes());
        next.send(()).unwrap();
    }
    assert_eq!(connection.chunk().unwrap(), None);
}

#[test]
fn an_upgraded_connection_carries_bytes_both_ways() {
    let port = serve(listener(), |got, stream| {
        assert_eq!((got.header("upgrade"), got.header("connection")), ("websocket", "upgrade"));
        let head = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n";
        stream.write_all(head.as_bytes()).unwrap();
        let mut buffer = [0; 64];
        while let Ok(count @ 1..) = stream.read(&mut buffer) {
            stream.write_all(&buffer[..count].to_ascii_uppercase()).unwrap();
        }
        false
    });
    let dog = in_front_of(port, &[]);
    let mut connection = dog.connect();
    connection.send("GET", "/", &[("Connection", "Upgrade"), ("Upgrade", "websocket")], b"");
    let head = connection.head().unwrap();
    assert_eq!((head.status, head.header("upgrade")), (101, "websocket"));
    for text in [&b"hello"[..], b"again"] {
        connection.write(text).unwrap();
        assert_eq!(connection.bytes(text.len()), text.to_ascii_uppercase());
    }
    assert!(crate::metrics::scrape(&dog).contains("http_requests_in_flight 1"));
    drop(connection);
    wait_until("it has ended", || crate::metrics::scrape(&dog).contains("http_requests_in_flight 0"));
}

#[test]
fn upgraded_connections_keep_their_places() {
    let port = serve(listener(), |got, stream| {
        if got.header("upgrade").is_empty() {
            return answer_text(stream, "ok");
        }
        let head = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n";
        stream.write_all(head.as_bytes()).unwrap();
        while let Ok(1..) = stream.read(&mut [0; 64]) {}
        false
    });
    let url = format!("http://127.0.0.1:{port}");
    // In the end they are given up after write_timeout: nothing else ends them.
    let own =
        [("mode", "http"), ("fprocess", "sleep 1000"), ("upstream_url", &url), ("write_timeout", "300ms")];
    let mut dog = Dog::with_few_places(&own);
    let upgraded = |_| {
        let mut connection = dog.connect();
        connection.send("GET", "/", &[("Connection", "Upgrade"), ("Upgrade", "websocket")], b"");
        assert_eq!(connection.head().unwrap().status, 101);
        connection
    };
    let mut connections: Vec<_> = (0..FEW_PLACES).map(upgraded).collect();
    let mut late = dog.connect();
    late.send("GET", "/", &[], b"");
    assert!(late.is_silent());
    connections.pop();
    assert_eq!(late.reply("GET").unwrap().text(), "ok");
    dog.signal(Signal::TERM);
    dog.wait_for_log("Giving up 15 requests in flight");
    dog.wait_for_good_end();
}

#[test]
fn a_body_that_does_not_arrive_is_given_up() {
    let port = serve(listener(), |_, stream| answer_text(stream, "ok"));
    for buffered in ["false", "true"] {
        let dog = in_front_of(port, &[("read_timeout", "300ms"), ("http_buffer_req_body", buffered)]);
        let mut connection = dog.connect();
        connection.send_head("POST", "/", &[("Transfer-Encoding", "chunked")]);
        connection.send_chunk(b"part");
        let reply = connection.reply("POST").unwrap();
        assert_eq!((reply.status, reply.header("x-openfaas-internal")), (408, "of-watchdog"));
        assert!(reply.text().contains("read_timeout"), "{}", reply.text());
        assert_eq!(dog.post(b"whole").text(), "ok");
    }
}

#[test]
fn a_request_waits_for_a_server_that_is_not_up_yet() {
    // Bound, so that nobody else gets the port, and not listening.
    let socket = rustix::net::socket(AddressFamily::INET, SocketType::STREAM, None).unwrap();
    rustix::net::bind(&socket, &SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).unwrap();
    let listener = TcpListener::from(socket);
    let dog = starting(listener.local_addr().unwrap().port(), &[]);
    assert_eq!((dog.get("/_/health").status, dog.get("/_/ready").status), (503, 503));
    let mut early = dog.connect();
    early.send("GET", "/early", &[], b"");
    rustix::net::listen(&listener, 16).unwrap();
    serve(listener, |_, stream| answer_text(stream, "up"));
    assert_eq!(early.reply("GET").unwrap().text(), "up");
    dog.wait_until_healthy();
}

#[test]
fn exec_timeout_is_a_504_and_a_request_may_shorten_it() {
    let port = serve(listener(), |_, stream| stream.read(&mut [0]).is_err());
    let dog = in_front_of(port, &[("exec_timeout", "400ms")]);
    for headers in [&[][..], &[("X-Timeout", "100ms")], &[("X-Timeout", "1h")]] {
        let reply = dog.request("POST", "/", headers, b"");
        assert_eq!((reply.status, reply.header("x-openfaas-internal")), (504, "of-watchdog"));
    }
    dog.wait_for_log("did not answer within 100ms");
}

#[test]
fn a_response_that_does_not_end_is_broken_off() {
    let port = serve(listener(), |_, stream| {
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\npart").unwrap();
        stream.read(&mut [0]).is_err()
    });
    let dog = in_front_of(port, &[("exec_timeout", "400ms")]);
    let mut connection = dog.connect();
    connection.send("GET", "/", &[], b"");
    let head = connection.head().unwrap();
    assert_eq!(head.status, 200);
    assert!(connection.read_body(&head, |_| {}).is_err());
}

#[test]
fn nonsense_is_a_502_and_a_server_that_went_away_a_500() {
    let port = serve(listener(), |_, stream| stream.write_all(b"this is no response\r\n\r\n").is_err());
    let reply = in_front_of(port, &[]).post(b"");
    assert_eq!((reply.status, reply.header("x-openfaas-internal")), (502, "of-watchdog"));
    let once = listener();
    let port = once.local_addr().unwrap().port();
    let dog = starting(port, &[]);
    drop(once.accept().unwrap());
    dog.wait_until_healthy();
    drop(once);
    let reply = dog.post(b"");
    assert_eq!((reply.status, reply.header("x-openfaas-internal")), (500, "of-watchdog"));
    assert!(reply.text().contains("upstream_url"), "{}", reply.text());
}

#[test]
fn a_client_that_leaves_is_seen_by_the_server() {
    let (seen, left) = std::sync::mpsc::channel();
    let port = serve(listener(), move |_, stream| {
        seen.send(false).unwrap();
        let ended = matches!(stream.read(&mut [0]), Ok(0) | Err(_));
        seen.send(ended).unwrap();
        false
    });
    let dog = in_front_of(port, &[]);
    let mut connection = dog.connect();
    connection.send("GET", "/", &[], b"");
    assert!(!left.recv_timeout(crate::dog::LIMIT).unwrap(), "the request has arrived");
    drop(connection);
    assert!(left.recv_timeout(crate::dog::LIMIT).unwrap());
}

#[test]
fn the_watchdog_ends_with_a_server_that_failed() {
    let fprocess = "sh -c 'echo to stdout; echo to stderr >&2; exit 3'";
    let url = ("upstream_url", "http://127.0.0.1:9");
    let mut dog = Dog::start(&[("mode", "http"), ("fprocess", fprocess), url]);
    assert_eq!(dog.wait_for_exit().code(), Some(1));
    dog.wait_for_log("Forked function has terminated: exit status 3");
    dog.wait_for_log("Forking: sh");
    let output =
        crate::dog::command(&dog.file(""), &[("mode", "http"), ("fprocess", "no-such-program"), url]);
    let output = { output }.output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8(output.stderr).unwrap().contains("fork/exec no-such-program"));
}

#[test]
fn the_servers_output_is_in_the_log() {
    let port = serve(listener(), |_, stream| answer_text(stream, "ok"));
    let url = format!("http://127.0.0.1:{port}");
    let fprocess = "sh -c 'echo hello; echo trouble >&2; exec sleep 1000'";
    let dog = Dog::start(&[("mode", "http"), ("fprocess", fprocess), ("upstream_url", &url)]);
    dog.wait_for_log(" stdout: hello\n");
    dog.wait_for_log(" stderr: trouble\n");
}

#[test]
fn sigterm_reaches_the_server_after_the_last_request() {
    let port = serve(listener(), |got, stream| answer_text(stream, &got.body.len().to_string()));
    let fprocess = "sh -c 'trap \"echo bye; exit 0\" TERM; while :; do sleep 0.02; done'";
    let mut dog = in_front_of(port, &[("fprocess", fprocess)]);
    let mut connection = dog.connect();
    connection.send_head("POST", "/", &[("Content-Length", "4")]);
    wait_until("it is in flight", || crate::metrics::scrape(&dog).contains("http_requests_in_flight 1"));
    dog.signal(Signal::TERM);
    dog.wait_for_log("waiting for 1 requests in flight");
    assert!(!dog.log().contains("stdout: bye"));
    connection.write(b"body").unwrap();
    assert_eq!(connection.reply("POST").unwrap().text(), "4");
    dog.wait_for_good_end();
    dog.wait_for_log(" stdout: bye\n");
}
