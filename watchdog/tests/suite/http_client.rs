//! A client that sees every byte: what is chunked, what is cut off, what stays open.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{self, BufRead as _, BufReader, ErrorKind, Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use crate::dog::LIMIT;

/// An open connection.
pub(crate) struct Connection {
    stream: BufReader<TcpStream>,
}

/// A whole response.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    /// Names in lower case.
    pub(crate) headers: BTreeMap<String, String>,
    pub(crate) body: Vec<u8>,
}

impl Reply {
    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", String::as_str)
    }
}

impl Connection {
    pub(crate) fn open(port: u16) -> Self {
        Self::try_open(port).unwrap()
    }

    pub(crate) fn try_open(port: u16) -> io::Result<Self> {
        let stream = TcpStream::connect(("127.0.0.1", port))?;
        stream.set_read_timeout(Some(LIMIT))?;
        stream.set_write_timeout(Some(LIMIT))?;
        stream.set_nodelay(true)?;
        Ok(Self { stream: BufReader::new(stream) })
    }

    /// Sends a request with its body's length.
    pub(crate) fn send(&mut self, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) {
        let length = body.len().to_string();
        let length = [("Content-Length", length.as_str())];
        let length = if body.is_empty() && method != "POST" { &[][..] } else { &length };
        self.send_head(method, path, &[headers, length].concat());
        // A watchdog that refuses the request may have closed its side already.
        let _ = self.write(body);
    }

    pub(crate) fn send_head(&mut self, method: &str, path: &str, headers: &[(&str, &str)]) {
        let mut head = format!("{method} {path} HTTP/1.1\r\nHost: function.test\r\n");
        for (name, value) in headers {
            let _ = write!(head, "{name}: {value}\r\n");
        }
        self.write(format!("{head}\r\n").as_bytes()).unwrap();
    }

    pub(crate) fn send_chunk(&mut self, chunk: &[u8]) {
        self.write(format!("{:x}\r\n", chunk.len()).as_bytes()).unwrap();
        self.write(chunk).unwrap();
        self.write(b"\r\n").unwrap();
    }

    pub(crate) fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.get_mut().write_all(bytes)
    }

    /// A second handle, to send from another thread.
    pub(crate) fn sender(&self) -> TcpStream {
        self.stream.get_ref().try_clone().unwrap()
    }

    /// Reads a whole response.
    ///
    /// # Errors
    /// It is cut off, or no response.
    pub(crate) fn reply(&mut self, method: &str) -> io::Result<Reply> {
        let mut reply = self.head()?;
        let mut body = Vec::new();
        if method != "HEAD" && ![204, 304].contains(&reply.status) {
            self.read_body(&reply, |piece| body.extend_from_slice(piece))?;
        }
        reply.body = body;
        Ok(reply)
    }

    /// Reads the head of a response.
    ///
    /// # Errors
    /// It is cut off, or no response.
    pub(crate) fn head(&mut self) -> io::Result<Reply> {
        let line = self.line()?;
        let status = line.split(' ').nth(1).and_then(|status| status.parse().ok());
        let status = status.ok_or_else(|| io::Error::other(format!("no status line: {line:?}")))?;
        let mut headers = BTreeMap::new();
        loop {
            let line = self.line()?;
            let Some((name, value)) = line.split_once(':') else { break };
            headers.insert(name.to_ascii_lowercase(), value.trim().to_owned());
        }
        Ok(Reply { status, headers, body: Vec::new() })
    }

    /// Reads the body that belongs to a head, piece by piece.
    ///
    /// # Errors
    /// It is cut off.
    pub(crate) fn read_body(&mut self, head: &Reply, mut take: impl FnMut(&[u8])) -> io::Result<()> {
        if head.header("transfer-encoding") == "chunked" {
            while let Some(chunk) = self.chunk()? {
                take(&chunk);
            }
            return Ok(());
        }
        let mut piece = vec![0; 64 << 10];
        let mut left: u64 = head.header("content-length").parse().unwrap_or(u64::MAX);
        while left > 0 {
            let most = usize::try_from(left).unwrap_or(usize::MAX).min(piece.len());
            let count = self.stream.read(&mut piece[..most])?;
            if count == 0 && left > u64::MAX / 2 {
                break;
            }
            if count == 0 {
                return Err(ErrorKind::UnexpectedEof.into());
            }
            take(&piece[..count]);
            left -= count as u64;
        }
        Ok(())
    }

    /// Reads one chunk; `None` for the last.
    ///
    /// # Errors
    /// It is cut off.
    pub(crate) fn chunk(&mut self) -> io::Result<Option<Vec<u8>>> {
        let line = self.line()?;
        let length =
            usize::from_str_radix(&line, 16).map_err(|_| io::Error::other(format!("no chunk: {line:?}")))?;
        let mut chunk = vec![0; length + 2];
        self.stream.read_exact(&mut chunk)?;
        chunk.truncate(length);
        Ok((length > 0).then_some(chunk))
    }

    /// Reads exactly so many bytes.
    pub(crate) fn bytes(&mut self, count: usize) -> Vec<u8> {
        let mut bytes = vec![0; count];
        self.stream.read_exact(&mut bytes).unwrap();
        bytes
    }

    /// Whether nothing comes for a moment.
    pub(crate) fn is_silent(&mut self) -> bool {
        self.stream.get_ref().set_read_timeout(Some(Duration::from_millis(100))).unwrap();
        let silent = self.stream.fill_buf().is_err_and(|error| error.kind() == ErrorKind::WouldBlock);
        self.stream.get_ref().set_read_timeout(Some(LIMIT)).unwrap();
        silent
    }

    /// Whether the other side closes the connection without another byte.
    pub(crate) fn is_closed(&mut self) -> bool {
        match self.stream.fill_buf() {
            Ok(bytes) => bytes.is_empty(),
            Err(error) => error.kind() == ErrorKind::ConnectionReset,
        }
    }

    fn line(&mut self) -> io::Result<String> {
        let mut line = String::new();
        if self.stream.read_line(&mut line)? == 0 {
            return Err(ErrorKind::UnexpectedEof.into());
        }
        Ok(line.trim_end().to_owned())
    }
}
