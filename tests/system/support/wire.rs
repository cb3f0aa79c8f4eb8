//! HTTP/1.1 on a bare connection, for what a good client would not do.

use std::collections::VecDeque;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};

use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};

use super::answer::Answer;
use super::contract::{self, Port, Promised};
use super::wait;

/// One connection. Dropping it closes it.
#[derive(Debug)]
pub(crate) struct Wire {
    stream: BufReader<TcpStream>,
    /// How the body that is read next ends.
    framing: Framing,
    /// What was asked and is not answered: method and target.
    asked: VecDeque<(Method, String)>,
}

/// The head of a response.
#[derive(Debug)]
pub(crate) struct Head {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    /// What the API's document says of the body.
    promised: Promised,
}

#[derive(Debug, Clone, Copy)]
enum Framing {
    Length(u64),
    Chunked,
    UntilClosed,
}

impl Wire {
    pub(crate) fn open(address: SocketAddr) -> Self {
        Self::over(TcpStream::connect(address).unwrap())
    }

    pub(crate) fn over(stream: TcpStream) -> Self {
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(wait::LIMIT)).unwrap();
        stream.set_write_timeout(Some(wait::LIMIT)).unwrap();
        Self { stream: BufReader::new(stream), framing: Framing::Length(0), asked: VecDeque::new() }
    }

    /// Sends a request's head: a line such as `POST /function/echo`, and headers.
    pub(crate) fn head(&mut self, line: &str, headers: &[&str]) -> &mut Self {
        let mut head = format!("{line} HTTP/1.1\r\nhost: localhost\r\n");
        for header in headers {
            head.push_str(header);
            head.push_str("\r\n");
        }
        head.push_str("\r\n");
        let (method, target) = line.split_once(' ').unwrap();
        self.asked.push_back((method.parse().unwrap(), target.to_owned()));
        self.write(head.as_bytes()).unwrap();
        self
    }

    /// Begins a request to a function whose body comes in chunks.
    pub(crate) fn begin(&mut self, function: &str) -> &mut Self {
        self.head(&format!("POST /function/{function}"), &["transfer-encoding: chunked"])
    }

    /// Sends bytes as they are.
    pub(crate) fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.get_mut().write_all(bytes)
    }

    /// Sends one chunk of a body.
    pub(crate) fn chunk(&mut self, bytes: &[u8]) -> &mut Self {
        let framed = [format!("{:x}\r\n", bytes.len()).as_bytes(), bytes, b"\r\n"].concat();
        self.write(&framed).unwrap();
        self
    }

    /// Ends a body that came in chunks.
    pub(crate) fn end(&mut self) -> &mut Self {
        self.write(b"0\r\n\r\n").unwrap();
        self
    }

    /// Another handle to the connection, for writing while this one reads.
    pub(crate) fn writer(&self) -> TcpStream {
        self.stream.get_ref().try_clone().unwrap()
    }

    /// Reads a response's head.
    pub(crate) fn response(&mut self) -> Head {
        self.try_response().unwrap()
    }

    /// Reads a response's head, which may not come.
    pub(crate) fn try_response(&mut self) -> io::Result<Head> {
        let line = self.line()?;
        let status: StatusCode =
            line.split(' ').nth(1).and_then(|code| code.parse().ok()).ok_or_else(|| garbled(&line))?;
        let mut headers = HeaderMap::new();
        loop {
            let line = self.line()?;
            if line.is_empty() {
                break;
            }
            let (name, value) = line.split_once(':').ok_or_else(|| garbled(&line))?;
            headers.append(
                HeaderName::try_from(name).map_err(io::Error::other)?,
                HeaderValue::from_str(value.trim()).map_err(io::Error::other)?,
            );
        }
        let length = headers.get("content-length").map(|value| value.to_str().unwrap().parse().unwrap());
        self.framing = match length {
            Some(length) => Framing::Length(length),
            None if headers.contains_key("transfer-encoding") => Framing::Chunked,
            None => Framing::UntilClosed,
        };
        let asked = if status.as_u16() == 100 { None } else { self.asked.pop_front() };
        let promised = asked.map_or(Promised::Anything, |(method, target)| {
            contract::head(Port::Main, (&method, &target), status, &headers)
        });
        Ok(Head { status, headers, promised })
    }

    /// Reads the next part of the body; `None` at its end. An error when it breaks off before.
    pub(crate) fn piece(&mut self) -> io::Result<Option<Vec<u8>>> {
        const MOST_BYTES: u64 = 64 << 10;
        let mut piece = Vec::new();
        match &mut self.framing {
            Framing::Length(left) => {
                let want = (*left).min(MOST_BYTES);
                *left -= want;
                self.exactly(want, &mut piece)?;
            }
            Framing::UntilClosed => {
                (&mut self.stream).take(MOST_BYTES).read_to_end(&mut piece)?;
            }
            Framing::Chunked => {
                let line = self.line()?;
                let length = u64::from_str_radix(&line, 16).map_err(|_| garbled(&line))?;
                self.exactly(length, &mut piece)?;
                self.line()?;
                if length == 0 {
                    self.framing = Framing::Length(0);
                }
            }
        }
        Ok((!piece.is_empty()).then_some(piece))
    }

    /// Reads a whole response.
    pub(crate) fn answer(&mut self) -> Answer {
        let Head { status, headers, promised } = self.response();
        let mut body = Vec::new();
        while let Some(piece) = self.piece().unwrap() {
            body.extend(piece);
        }
        promised.check(&body);
        Answer { status, headers, body }
    }

    fn exactly(&mut self, bytes: u64, into: &mut Vec<u8>) -> io::Result<()> {
        match (&mut self.stream).take(bytes).read_to_end(into)? as u64 == bytes {
            true => Ok(()),
            false => Err(io::ErrorKind::UnexpectedEof.into()),
        }
    }

    fn line(&mut self) -> io::Result<String> {
        let mut line = String::new();
        self.stream.read_line(&mut line)?;
        match line.strip_suffix("\r\n") {
            Some(line) => Ok(line.to_owned()),
            None => Err(io::ErrorKind::UnexpectedEof.into()),
        }
    }
}

fn garbled(line: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("{line:?} is no HTTP"))
}
