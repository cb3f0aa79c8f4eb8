//! As much of HTTP/1.1 as the server needs: requests and their bodies, and chunks.

use std::io::{self, BufRead, BufReader, Error, Read, Write};
use std::net::TcpStream;

/// No head or chunk line of a request is longer.
const LINE_BYTES: u64 = 64 << 10;

/// A request's head. Names of headers are in lower case.
pub(crate) struct Head {
    pub(crate) path: String,
    pub(crate) query: String,
    pub(crate) headers: Vec<(String, String)>,
}

impl Head {
    /// The next request's head; `None` when the client has gone.
    pub(crate) fn read(connection: &mut BufReader<TcpStream>) -> io::Result<Option<Self>> {
        let Some(first) = line(connection)? else { return Ok(None) };
        let target = first.split(' ').nth(1).ok_or_else(|| Error::other("no request line"))?;
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let mut head = Self { path: path.to_owned(), query: query.to_owned(), headers: Vec::new() };
        while let Some(header) = line(connection)?.filter(|header| !header.is_empty()) {
            let (name, value) = header.split_once(':').ok_or_else(|| Error::other("no header"))?;
            head.headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
        }
        Ok(Some(head))
    }

    /// A header's value.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(other, _)| other == name).map(|(_, value)| value.as_str())
    }

    /// A number of the query, such as 5 of `?events=5`.
    pub(crate) fn number(&self, name: &str, default: u64) -> u64 {
        let mut pairs = self.query.split('&').filter_map(|pair| pair.split_once('='));
        let value = pairs.find(|(other, _)| *other == name).map(|(_, value)| value.parse());
        value.and_then(Result::ok).unwrap_or(default)
    }

    /// How the body comes.
    pub(crate) fn body(&self) -> io::Result<Framing> {
        match (self.header("transfer-encoding"), self.header("content-length")) {
            (Some(_), _) => Ok(Framing::Chunked),
            (None, Some(length)) => Ok(Framing::Length(crate::function::number(length)?)),
            (None, None) => Ok(Framing::Length(0)),
        }
    }
}

/// How a body's end is known.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Framing {
    Length(u64),
    Chunked,
}

/// Gives the body to `take` in pieces, as they come.
pub(crate) fn body(
    connection: &mut BufReader<TcpStream>,
    framing: Framing,
    mut take: impl FnMut(&[u8]) -> io::Result<()>,
) -> io::Result<()> {
    match framing {
        Framing::Length(length) => exactly(connection, length, &mut take),
        Framing::Chunked => loop {
            let size = line(connection)?.ok_or(io::ErrorKind::UnexpectedEof)?;
            let size = u64::from_str_radix(&size, 16).map_err(Error::other)?;
            exactly(connection, size, &mut take)?;
            line(connection)?;
            if size == 0 {
                return Ok(());
            }
        },
    }
}

fn exactly(
    connection: &mut BufReader<TcpStream>,
    mut rest: u64,
    take: &mut impl FnMut(&[u8]) -> io::Result<()>,
) -> io::Result<()> {
    while rest > 0 {
        let piece = connection.fill_buf()?;
        if piece.is_empty() {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let length = piece.len().min(usize::try_from(rest).unwrap_or(usize::MAX));
        take(&piece[..length])?;
        connection.consume(length);
        rest -= length as u64;
    }
    Ok(())
}

/// Sends a chunk; an empty one is the end.
pub(crate) fn chunk(output: &mut impl Write, piece: &[u8]) -> io::Result<()> {
    let mut bytes = format!("{:x}\r\n", piece.len()).into_bytes();
    bytes.extend_from_slice(piece);
    bytes.extend_from_slice(b"\r\n");
    output.write_all(&bytes)
}

/// A whole response.
pub(crate) fn answer(output: &mut impl Write, status: u64, body: &str) -> io::Result<()> {
    let length = body.len();
    let head =
        format!("HTTP/1.1 {status} As-Asked\r\ncontent-type: text/plain\r\ncontent-length: {length}\r\n\r\n");
    output.write_all((head + body).as_bytes())
}

fn line(connection: &mut BufReader<TcpStream>) -> io::Result<Option<String>> {
    let mut line = String::new();
    if connection.take(LINE_BYTES).read_line(&mut line)? == 0 {
        return Ok(None);
    }
    match line.strip_suffix('\n') {
        Some(line) => Ok(Some(line.trim_end_matches('\r').to_owned())),
        None => Err(Error::other("a line that is cut off or too long")),
    }
}
