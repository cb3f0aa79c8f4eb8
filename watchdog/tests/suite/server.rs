//! The function's own server, played by the test.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;

/// A request as the server got it.
#[derive(Debug)]
pub(crate) struct Got {
    /// First line and headers.
    pub(crate) head: String,
    /// The body as it came, chunks not decoded.
    pub(crate) body: Vec<u8>,
}

impl Got {
    /// A header's value, or nothing.
    pub(crate) fn header(&self, name: &str) -> &str {
        let value = |line: &'_ str| {
            let (named, value) = line.split_once(':')?;
            named.eq_ignore_ascii_case(name).then(|| value.trim().to_owned().leak() as &str)
        };
        self.head.lines().find_map(value).unwrap_or_default()
    }
}

/// Serves connections on `listener` for as long as the test runs; `answer` writes the response and says whether to go on.
pub(crate) fn serve(
    listener: TcpListener,
    answer: impl Fn(Got, &mut TcpStream) -> bool + Send + Sync + 'static,
) -> u16 {
    let port = listener.local_addr().unwrap().port();
    let answer = Arc::new(answer);
    std::thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let answer = Arc::clone(&answer);
            std::thread::spawn(move || {
                let mut reader = BufReader::new(stream.try_clone().unwrap());
                let mut stream = stream;
                while let Some(got) = read(&mut reader) {
                    if !answer(got, &mut stream) {
                        return;
                    }
                }
            });
        }
    });
    port
}

fn read(reader: &mut BufReader<TcpStream>) -> Option<Got> {
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        if reader.read_line(&mut head).ok()? == 0 {
            return None;
        }
    }
    let mut got = Got { head, body: Vec::new() };
    if let Ok(length) = got.header("content-length").parse() {
        got.body = vec![0; length];
        reader.read_exact(&mut got.body).ok()?;
    } else if got.header("transfer-encoding") == "chunked" {
        while !got.body.ends_with(b"0\r\n\r\n") {
            let available = reader.fill_buf().ok()?.to_vec();
            if available.is_empty() {
                return None;
            }
            reader.consume(available.len());
            got.body.extend_from_slice(&available);
        }
    }
    Some(got)
}

/// Answers 200 with `body`.
pub(crate) fn answer_text(stream: &mut TcpStream, body: &str) -> bool {
    write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len()).is_ok()
}
