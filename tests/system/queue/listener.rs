//! Where callbacks go.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;

use http::{HeaderMap, HeaderName, HeaderValue};
use parking_lot::Mutex;

/// One request that came.
#[derive(Debug, Clone)]
pub(super) struct Received {
    pub(super) line: String,
    pub(super) headers: HeaderMap,
    pub(super) body: String,
}

/// A server on a port of its own that takes everything.
#[derive(Debug)]
pub(super) struct Listener {
    address: SocketAddr,
    received: Arc<Mutex<Vec<Received>>>,
}

impl Listener {
    pub(super) fn start() -> Self {
        Self::answering(200)
    }

    /// One that answers with this status.
    pub(super) fn answering(status: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let received = Arc::new(Mutex::new(Vec::new()));
        let sink = received.clone();
        // It ends with the test's process.
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                // The gateway may be killed at any moment of it.
                if let Some(request) = read(&stream) {
                    sink.lock().push(request);
                    let answer =
                        format!("HTTP/1.1 {status} x\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
                    let _gone = (&stream).write_all(answer.as_bytes()).is_err();
                }
            }
        });
        Self { address, received }
    }

    pub(super) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// All that came so far.
    pub(super) fn received(&self) -> Vec<Received> {
        self.received.lock().clone()
    }

    /// Looks at all that came so far.
    pub(super) fn look<T>(&self, look: impl FnOnce(&[Received]) -> T) -> T {
        look(&self.received.lock())
    }
}

fn read(stream: &TcpStream) -> Option<Received> {
    let mut reader = BufReader::new(stream);
    let mut line = String::new();
    reader.read_line(&mut line).ok()?;
    let mut headers = HeaderMap::new();
    loop {
        let mut header = String::new();
        reader.read_line(&mut header).ok()?;
        let Some((name, value)) = header.trim_end().split_once(':') else { break };
        headers.append(HeaderName::try_from(name).ok()?, HeaderValue::from_str(value.trim()).ok()?);
    }
    let length: usize = headers.get("content-length")?.to_str().ok()?.parse().ok()?;
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    Some(Received {
        line: line.trim_end().to_owned(),
        headers,
        body: String::from_utf8_lossy(&body).into_owned(),
    })
}
