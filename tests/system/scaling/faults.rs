//! What answers in Prometheus' place, and is none.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};

use super::{desired, follows, naps, pass, quick};
use crate::containers::load::under_load;

/// Answers every connection with these bytes, and keeps it open when there are none.
fn answers(bytes: &'static [u8]) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        let mut kept = Vec::new();
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { return };
            if bytes.is_empty() {
                kept.push(stream);
                continue;
            }
            std::thread::spawn(move || {
                // Nobody cares how much of it arrives.
                let _ = stream.read(&mut [0; 4096]);
                let _ = stream.write_all(bytes);
            });
        }
    });
    address
}

/// That nothing is scaled while such a thing is where Prometheus is looked for.
fn changes_nothing(bytes: &'static [u8]) {
    let url = format!("http://{}", answers(bytes));
    let gateway = quick().flag("--prometheus-url", &url).start();
    gateway.deploy_with("naps", &naps(), follows(1, 6));
    gateway.scale("naps", 3);
    under_load(&gateway, "naps", 8, || pass(&gateway, "source_failed", 2.0));
    assert_eq!(desired(&gateway, "naps"), 3);
}

#[test]
fn garbage_changes_nothing() {
    changes_nothing(b"HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\n<html>");
    changes_nothing(b"nonsense\r\n\r\n");
    changes_nothing(b"HTTP/1.1 200 OK\r\ncontent-length: 60\r\n\r\n{\"status\":\"success\"");
}

#[test]
fn an_error_changes_nothing() {
    changes_nothing(b"HTTP/1.1 503 Service Unavailable\r\ncontent-length: 4\r\n\r\nbusy");
}

#[test]
fn silence_changes_nothing() {
    changes_nothing(b"");
}
